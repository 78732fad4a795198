"""Moments against numpy in float64, however the samples are cut and merged."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfunits.statistics import Moments

SEARCH = settings(deadline=None, derandomize=True, max_examples=60)


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


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"samples: expected shape \[samples, units\], received \(3,\)"):
        Moments.from_samples(np.zeros(3))
    with pytest.raises(ValueError, match="other: expected 2 units, received 3"):
        Moments.empty(2).merge(Moments.empty(3))
    with pytest.raises(ValueError, match="expected at least two, received 1"):
        _ = Moments.from_samples(np.ones((1, 2))).covariance
