"""Moments against numpy in float64, however the samples are cut and merged."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfunits.statistics import PRECISIONS, Moments, StreamingMoments

SEARCH = settings(deadline=None, derandomize=True, max_examples=60)
# Of each entry over sqrt(C_ii C_jj); what float32 may lose where its rounding errors do not cancel.
LARGEST_ERROR, LARGEST_FLOAT32_ERROR = 1e-6, 5e-6
MANY_ROWS = 9000


@st.composite
def cut_samples(draw: st.DrawFn) -> tuple[np.ndarray, list[np.ndarray]]:
    """Samples of a few units at any offset and scale, and the same samples in pieces, empty ones among them."""
    num_samples, num_units = draw(st.integers(2, 60)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    offset, scale = draw(st.sampled_from([0, -3, 1e4])), draw(st.sampled_from([1e-3, 1, 1e3]))
    samples = offset + scale * rng.normal(size=(num_samples, num_units))
    cuts = sorted(draw(st.lists(st.integers(0, num_samples), max_size=6)))
    return samples, draw(st.permutations(np.split(samples, cuts)))


def assert_moments_of(moments: Moments, samples: np.ndarray) -> None:
    # An offset of 1e7 standard deviations leaves about 9 of the 16 digits of a float64.
    spread = samples.std(axis=0).max()
    assert moments.count == len(samples)
    np.testing.assert_allclose(moments.mean, samples.mean(axis=0), rtol=1e-13, atol=1e-13 * spread)
    covariance = np.cov(samples, rowvar=False).reshape(moments.scatter.shape)
    np.testing.assert_allclose(moments.covariance, covariance, rtol=1e-7, atol=1e-7 * spread**2)
    np.testing.assert_allclose(moments.std, samples.std(axis=0, ddof=1), rtol=1e-7)


@SEARCH
@given(cut_samples())
def test_any_cutting_in_any_order_gives_numpys_moments(case: tuple) -> None:
    samples, pieces = case
    assert_moments_of(functools.reduce(Moments.merge, map(Moments.from_samples, pieces)), samples)


@SEARCH
@given(cut_samples())
def test_merging_from_either_end_agrees(case: tuple) -> None:
    samples, pieces = case
    parts = [Moments.from_samples(piece) for piece in pieces]
    assert_moments_of(functools.reduce(lambda right, left: left.merge(right), reversed(parts)), samples)


def test_nothing_is_neutral(rng: np.random.Generator) -> None:
    moments = Moments.from_samples(rng.normal(size=(5, 3)))
    assert moments.merge(Moments.empty(3)) is moments
    assert Moments.empty(3).merge(moments) is moments
    assert Moments.from_samples(np.zeros((0, 3))).count == 0
    assert moments.num_units == 3


def in_batches(samples: np.ndarray, size: int) -> Moments:
    pieces = (samples[start : start + size] for start in range(0, len(samples), size))
    return functools.reduce(Moments.merge, map(Moments.from_samples, pieces))


def test_a_large_offset_costs_no_digits(rng: np.random.Generator) -> None:
    """The naive one-pass E[x^2] - E[x]^2 fails the same tolerance by far, in float32 and even in float64."""
    samples = (1e4 + 1e-3 * rng.normal(size=(5000, 3))).astype("float32")
    exact = samples.astype("float64")
    two_pass = ((exact - exact.mean(axis=0)) ** 2).sum(axis=0) / (len(exact) - 1)
    np.testing.assert_allclose(in_batches(samples, 64).std ** 2, two_pass, rtol=1e-6)
    for kind in ("float32", "float64"):
        data = samples.astype(kind)
        naive = (data**2).mean(axis=0) - data.mean(axis=0) ** 2
        assert (np.abs(naive / two_pass - 1) > 1e-6).all(), kind


@SEARCH
@given(
    value=st.floats(-1e6, 1e6),
    kind=st.sampled_from(["float32", "float64"]),
    sizes=st.lists(st.integers(1, 300), min_size=2, max_size=30),
)
def test_a_unit_that_never_changes_is_constant(value: float, kind: str, sizes: list[int]) -> None:
    pieces = [Moments.from_samples(np.full((size, 1), value, kind)) for size in sizes]
    assert functools.reduce(Moments.merge, pieces).constant.tolist() == [True]


def test_a_tenth_over_many_float32_batches_is_constant() -> None:
    assert in_batches(np.full((20_000, 2), 0.1, "float32"), 37).constant.all()


def test_one_value_over_many_rows_of_one_piece_is_constant() -> None:
    """In float64 a third is rounded at every addition, and the roundings of 200,000 of them add up."""
    assert Moments.from_samples(np.full((200_000, 2), 1 / 3)).constant.all()


def test_a_small_spread_at_a_large_offset_is_no_constant(rng: np.random.Generator) -> None:
    samples = 1e4 + 1e-3 * rng.normal(size=(1000, 2))
    assert not in_batches(samples, 64).constant.any()


def test_one_float32_that_differs_in_its_last_bit_is_no_constant() -> None:
    samples = np.full((1000, 1), 0.1, "float32")
    samples[500] = np.nextafter(samples[500], np.float32(1))
    assert not in_batches(samples, 64).constant.any()


def covariance_error(covariance: np.ndarray, samples: np.ndarray) -> float:
    """Largest error of an entry over sqrt(C_ii C_jj), against numpy's two passes in float64."""
    exact = np.cov(samples.astype("float64"), rowvar=False)
    std = np.sqrt(np.diag(exact))
    return float(np.abs((covariance - exact) / np.outer(std, std)).max())


def ill_scaled(rng: np.random.Generator, offset: float, scale: float, kind: str = "float32") -> np.ndarray:
    """Five correlated units of different spread, far from 0."""
    mixed = rng.normal(size=(MANY_ROWS, 5)) @ rng.normal(size=(5, 5))
    return (offset + scale * mixed * [1, 10, 1, 0.3, 1]).astype(kind)


def streamed(pieces: list[np.ndarray], precision: str = "float64") -> Moments:
    stream = StreamingMoments(pieces[0].shape[1], precision)
    for piece in pieces:
        stream.add(piece)
    return stream.moments()


@pytest.mark.parametrize(
    ("offset", "scale", "kind"),
    [(0, 1, "float32"), (1e4, 4e-3, "float32"), (-3e5, 0.5, "float32"), (1e4, 1e-3, "float64"), (0, 1e-12, "float32")],
)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_either_precision_is_right_to_six_digits(
    precision: str, offset: float, scale: float, kind: str, rng: np.random.Generator
) -> None:
    samples = ill_scaled(rng, offset, scale, kind)
    found = streamed(np.array_split(samples, 7), precision)
    assert covariance_error(found.covariance, samples) < LARGEST_ERROR
    assert (found.mean.dtype, found.scatter.dtype) == ("float64", "float64")
    spread = samples.std(axis=0, dtype="float64")
    assert (np.abs(found.mean - samples.mean(axis=0, dtype="float64")) < LARGEST_ERROR * spread).all()
    # Negative control: E[x y] - E[x] E[y] in float32.
    if offset:
        single = samples.astype("float32")
        means = single.mean(axis=0)
        naive = single.T @ single / np.float32(len(single)) - np.outer(means, means)
        assert covariance_error(naive, samples) > 1e3 * LARGEST_ERROR


def test_float32_loses_digits_that_float64_keeps(rng: np.random.Generator) -> None:
    """Each precision is the one asked for: an error of float64's size would mean that float32 saves nothing."""
    samples = ill_scaled(rng, 0, 1)
    errors = {name: covariance_error(streamed([samples], name).covariance, samples) for name in PRECISIONS}
    assert errors["float64"] < 1e-13
    assert 1e-10 < errors["float32"] < LARGEST_ERROR


def test_an_outlier_in_the_first_row_costs_no_digits(rng: np.random.Generator) -> None:
    """Rows are centred about the first, which may be the farthest of all."""
    samples = ill_scaled(rng, 0, 1)
    samples[0] = 1e4
    assert covariance_error(streamed([samples]).covariance, samples) < LARGEST_ERROR
    assert covariance_error(streamed([samples], "float32").covariance, samples) < LARGEST_FLOAT32_ERROR
    # Negative control: centred about the first row alone.
    shifted = samples - samples[0]
    means = shifted.mean(axis=0)
    naive = shifted.T @ shifted / len(shifted) - np.outer(means, means)
    assert covariance_error(naive, samples) > 10 * LARGEST_FLOAT32_ERROR


@pytest.mark.parametrize("kind", ["rectified", "sparse", "whole", "two_values", "clipped", "tiny"])
def test_equal_values_time_and_again_cost_float32_few_digits(kind: str, rng: np.random.Generator) -> None:
    mixed = rng.normal(size=(MANY_ROWS, 8)) @ rng.normal(size=(8, 20))
    samples = {
        "rectified": np.maximum(mixed, 0),
        "sparse": np.maximum(mixed - 4, 0),
        "whole": np.round(mixed),
        "two_values": np.where(mixed > 0, 0.1, 0),
        "clipped": np.clip(mixed, 0, 0.7),
        "tiny": 1e-12 * mixed,
    }[kind].astype("float32")
    found = streamed([samples], "float32").covariance
    assert covariance_error(found, samples) < (1e-12 if kind == "whole" else LARGEST_FLOAT32_ERROR)
    assert covariance_error(streamed([samples]).covariance, samples) < 1e-12


@pytest.mark.parametrize("spread", [2, 10, 50, 150, 200, 300, 500, 1000, 2000, 10_000])
@pytest.mark.parametrize("kind", ["normal", "uniform", "rectified"])
def test_values_on_a_grid_cost_float32_few_digits(kind: str, spread: int, rng: np.random.Generator) -> None:
    """Many different ones six digits are left of; where half of them are zeros, five."""
    drawn = rng.uniform(-2, 2, size=(MANY_ROWS, 6)) if kind == "uniform" else rng.normal(size=(MANY_ROWS, 6))
    drawn[:, 3:] += drawn[:, :3]
    samples = np.round(spread * (np.maximum(drawn, 0) if kind == "rectified" else drawn)).astype("float32")
    found = streamed([samples], "float32").covariance
    assert covariance_error(found, samples) < (LARGEST_FLOAT32_ERROR if kind == "rectified" else LARGEST_ERROR)
    # Negative control: the squares of odd numbers, 1 mod 8, added up one by one.
    whole = samples - np.round(samples.mean(axis=0))
    one_by_one = np.add.accumulate(whole[:, 0] ** 2)[-1]
    exact = (whole[:, 0].astype("float64") ** 2).sum()
    assert spread not in (300, 500, 1000) or kind == "rectified" or abs(one_by_one / exact - 1) > LARGEST_ERROR


def test_a_few_whole_numbers_are_exact_in_float32(rng: np.random.Generator) -> None:
    """Too few rows to say that their values do not repeat."""
    samples = rng.integers(0, 50, size=(12, 4)).astype("float32")
    assert covariance_error(Moments.from_samples(samples, "float32").covariance, samples) < 1e-14
    # Negative control: centred about a mean that float32 rounds.
    centred = samples - samples.mean(axis=0)
    assert covariance_error(centred.T @ centred / np.float32(11), samples) > 1e-9


@pytest.mark.parametrize("kind", ["float16", "int32", "uint8"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_samples_of_any_kind(precision: str, kind: str, rng: np.random.Generator) -> None:
    samples = rng.integers(0, 200, size=(300, 3)).astype(kind)
    found = Moments.from_samples(samples, precision)
    assert covariance_error(found.covariance, samples) < LARGEST_ERROR
    np.testing.assert_allclose(found.mean, samples.mean(axis=0, dtype="float64"), rtol=1e-6)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_stream_is_the_same_to_the_last_bit_however_it_is_cut(precision: str, rng: np.random.Generator) -> None:
    """One piece, single rows, empty pieces, other layouts in memory, and pieces across the edges of blocks."""
    samples = ill_scaled(rng, 3, 1)
    whole = streamed([samples], precision)
    cuts = [
        np.array_split(samples, MANY_ROWS),
        np.split(samples, [0, 1, 1, 4095, 4096, 4097, 8192, 8999]),
        np.split(samples, np.sort(rng.integers(0, MANY_ROWS, 30))),
        [np.asfortranarray(samples)],
        [np.repeat(samples, 2, axis=0)[::2]],
    ]
    for pieces in cuts:
        found = streamed(pieces, precision)
        assert found.count == MANY_ROWS
        np.testing.assert_array_equal(found.mean, whole.mean)
        np.testing.assert_array_equal(found.scatter, whole.scatter)
    # Negative control: merging the moments of pieces is right only to rounding.
    merged = functools.reduce(Moments.merge, map(Moments.from_samples, np.array_split(samples, 7)))
    assert (merged.scatter != whole.scatter).any()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_stream_in_another_order_agrees_to_rounding(precision: str, rng: np.random.Generator) -> None:
    samples = ill_scaled(rng, 1e4, 4e-3)
    found = streamed([rng.permutation(samples)], precision)
    assert covariance_error(found.covariance, samples) < LARGEST_ERROR
    assert (found.scatter != streamed([samples], precision).scatter).any()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_merging_is_associative_to_rounding(precision: str, rng: np.random.Generator) -> None:
    samples = ill_scaled(rng, 1e4, 4e-3)
    a, b, c = (Moments.from_samples(part, precision) for part in np.split(samples, [10, 5000]))
    left, right = a.merge(b).merge(c), a.merge(b.merge(c))
    for found in (left, right, c.merge(a).merge(b)):
        assert covariance_error(found.covariance, samples) < LARGEST_ERROR
        np.testing.assert_allclose(found.scatter, left.scatter, rtol=1e-9)
        np.testing.assert_allclose(found.mean, left.mean, rtol=1e-15)


def test_a_stream_may_be_asked_at_any_time(rng: np.random.Generator) -> None:
    samples = rng.normal(size=(5000, 2))
    stream = StreamingMoments(2)
    assert stream.moments().count == 0
    for first in range(0, 5000, 700):
        stream.add(samples[first : first + 700])
        assert covariance_error(stream.moments().covariance, samples[: first + 700]) < 1e-13
    np.testing.assert_array_equal(stream.moments().scatter, streamed([samples]).scatter)


def test_rows_may_be_overwritten_once_they_are_added(rng: np.random.Generator) -> None:
    samples = rng.normal(size=(5000, 2))
    stream, buffer = StreamingMoments(2), np.empty((250, 2))
    for piece in np.split(samples, 20):
        buffer[:] = piece
        stream.add(buffer)
    buffer[:] = 0
    np.testing.assert_array_equal(stream.moments().scatter, streamed([samples]).scatter)


@pytest.mark.parametrize("value", [0, 0.1, -1e30, 3e-38])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_constant_units_beside_others_are_exact(precision: str, value: float, rng: np.random.Generator) -> None:
    samples = rng.normal(size=(MANY_ROWS, 3)).astype("float32")
    samples[:, 1] = value
    found = streamed(np.array_split(samples, 11), precision)
    assert found.constant.tolist() == [False, True, False]
    assert found.mean[1] == np.float32(value)
    assert (found.scatter[1] == 0).all()
    assert (found.scatter[:, 1] == 0).all()


@pytest.mark.filterwarnings("error")
def test_squares_beyond_float32_are_those_of_float64(rng: np.random.Generator) -> None:
    rows = rng.normal(size=(500, 6)).astype("float32") + np.float32(0.5)
    extreme = rows * np.array([1e30, 1e-5, 1, 1e25, 1e-24, 1e-30], "float32")
    found, expected = Moments.from_samples(extreme, "float32"), Moments.from_samples(extreme.astype("float64"))
    scale = np.sqrt(np.diag(expected.scatter))
    np.testing.assert_allclose(
        found.scatter / scale / scale[:, None], expected.scatter / scale / scale[:, None], atol=1e-5
    )
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-5)
    assert not found.constant.any()
    # Negative control: float32 does not hold these squares.
    with np.errstate(over="ignore", under="ignore"):
        squares = (extreme * extreme).sum(axis=0)
    assert (np.isinf(squares) | (squares == 0)).tolist() == [True, False, False, True, True, True]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_no_unit_has_no_moments(precision: str) -> None:
    found = Moments.from_samples(np.zeros((5, 0), "float32"), precision)
    assert (found.count, found.mean.shape, found.scatter.shape) == (5, (0,), (0, 0))


def test_errors() -> None:
    with pytest.raises(ValueError, match="precision: expected one of float32, float64, received 'half'"):
        Moments.from_samples(np.zeros((2, 2)), "half")
    with pytest.raises(ValueError, match=r"samples: expected shape \[samples, units\], received \(3,\)"):
        Moments.from_samples(np.zeros(3))
    with pytest.raises(ValueError, match="other: expected 2 units, received 3"):
        Moments.empty(2).merge(Moments.empty(3))
    with pytest.raises(ValueError, match="expected at least two, received 1"):
        _ = Moments.from_samples(np.ones((1, 2))).covariance
