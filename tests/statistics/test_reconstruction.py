"""Reconstruction from covariances against scikit-learn's ridge regression on the rows themselves, in float64."""

import io
import warnings

import numpy as np
import pytest
from scipy import special
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

from tfunits.statistics import (
    Moments,
    Reconstruction,
    ReconstructionCurve,
    mean_absolute_correlation,
    noise_floor,
    reconstruct,
    reconstruction_curve,
)

R2_ERROR, CORRELATION_ERROR = 1e-6, 1e-4
PENALTY, FLOOR = 1e-8, 1e-8
ROWS, MANY_ROWS, WIDTH = 600, 12_000, 24


def mean_correlation(residuals: np.ndarray) -> float:
    """FACTS 14.3: C_ij / (sqrt(C_ii C_jj) + 1e-8), mean of |.| over the strict lower triangle."""
    covariance = np.cov(residuals, rowvar=False)
    std = np.sqrt(np.diag(covariance))
    lower = np.tril_indices(len(covariance), -1)
    return float(np.abs(covariance / (np.outer(std, std) + FLOOR))[lower].mean())


def by_hand(
    rows: np.ndarray, chunk: np.ndarray, *, target: np.ndarray | None = None, penalty: float = PENALTY
) -> tuple[float, float]:
    """R2 and correlation on the rows of the fit, all pairs."""
    wanted = rows if target is None else rows[:, target]
    model = Ridge(alpha=penalty, solver="svd").fit(rows[:, chunk], wanted)
    predicted = model.predict(rows[:, chunk])
    return r2_score(wanted, predicted, multioutput="variance_weighted"), mean_correlation(wanted - predicted)


def by_hand_held_out(fitted: np.ndarray, other: np.ndarray, chunk: np.ndarray) -> tuple[float, float]:
    """R2 of all units, and correlation of those outside the chunk that change, on other rows."""
    predicted = Ridge(alpha=PENALTY, solver="svd").fit(fitted[:, chunk], fitted).predict(other[:, chunk])
    outside = np.setdiff1d(np.flatnonzero(np.ptp(other, axis=0) > 0), chunk)
    r2 = r2_score(other, predicted, multioutput="variance_weighted")
    return r2, mean_correlation((other - predicted)[:, outside]) if len(outside) > 1 else np.nan


def rectified(rng: np.random.Generator, rows: int = ROWS, width: int = WIDTH) -> np.ndarray:
    """Units of different spread that share six directions."""
    mixed = rng.normal(size=(rows, 6)) @ rng.normal(size=(6, width)) + 0.5 * rng.normal(size=(rows, width))
    return np.maximum(mixed, 0) * rng.uniform(0.3, 3, size=width)


def layer(kind: str, rng: np.random.Generator) -> np.ndarray:
    """Rows of which every other one is shifted, so that an intercept fitted on the rest is not theirs.

    Copies have many: the penalty leaves 1e-8 / N of their spread, too little for the digits of a covariance, and too
    much for the floor where N is small.
    """
    rows = rectified(rng, MANY_ROWS if "copies" in kind else ROWS)
    rows[1::2] = 1.1 * rows[1::2] + 0.1
    if kind == "dead":
        rows[:, ::3] = 0
    elif kind == "constant":
        rows[:, ::3] = 7
    elif kind == "copies":
        rows[:, WIDTH // 2 :] = rows[:, : WIDTH // 2]
    elif kind == "scaled_copies":
        rows[:, WIDTH // 2 :] = 1 - rows[:, : WIDTH // 2] / 3
    elif kind == "large_mean":
        rows += 1e3
    elif kind == "few_rows":
        rows = rows[:16]
    elif kind == "small":
        rows *= 1e-3
    return rows


LAYERS = ("rectified", "dead", "constant", "copies", "scaled_copies", "large_mean", "few_rows", "small")


@pytest.mark.parametrize("size", [1, 8, 14, WIDTH])
@pytest.mark.parametrize("kind", LAYERS)
def test_in_sample_numbers_are_those_of_ridge_regression(kind: str, size: int, rng: np.random.Generator) -> None:
    """Singular covariances of dead and copied units, and of more units than rows, among them."""
    rows = layer(kind, rng)
    chunk = rng.permutation(WIDTH)[:size]
    found = reconstruct(Moments.from_samples(rows), chunk)
    r2, correlation = by_hand(rows, chunk)
    assert found.r2 == pytest.approx(r2, abs=R2_ERROR)
    assert found.correlation == pytest.approx(correlation, abs=CORRELATION_ERROR)
    assert np.isnan([found.held_out_r2, found.held_out_correlation]).all()


@pytest.mark.parametrize("size", [1, 8, 14, WIDTH - 1])
@pytest.mark.parametrize("kind", [kind for kind in LAYERS if kind != "few_rows"])
def test_held_out_numbers_are_those_of_ridge_regression(kind: str, size: int, rng: np.random.Generator) -> None:
    rows = layer(kind, rng)
    fitted, other = rows[::2], rows[1::2]
    chunk = rng.permutation(WIDTH)[:size]
    found = reconstruct(Moments.from_samples(fitted), chunk, held_out=Moments.from_samples(other))
    r2, correlation = by_hand_held_out(fitted, other, chunk)
    assert found.held_out_r2 == pytest.approx(r2, abs=R2_ERROR)
    # One unit outside has no pair.
    assert np.isnan(correlation) == (size == WIDTH - 1)
    assert found.held_out_correlation == pytest.approx(correlation, abs=CORRELATION_ERROR, nan_ok=True)
    assert found.r2 == reconstruct(Moments.from_samples(fitted), chunk).r2


def test_the_tolerances_tell_other_fits_apart(rng: np.random.Generator) -> None:
    """Negative controls: no intercept, another chunk, a larger penalty, and the fitted rows taken for other ones."""
    rows = rectified(rng)
    fitted, other, chunk = rows[::2], rows[1::2], np.arange(8)
    moments = Moments.from_samples(rows)
    r2, correlation = by_hand(rows, chunk)
    through_zero = Ridge(alpha=PENALTY, fit_intercept=False).fit(rows[:, chunk], rows).predict(rows[:, chunk])
    assert abs(r2_score(rows, through_zero, multioutput="variance_weighted") - r2) > 1e3 * R2_ERROR
    assert abs(reconstruct(moments, np.arange(1, 9)).r2 - r2) > 1e3 * R2_ERROR
    assert abs(reconstruct(moments, np.arange(1, 9)).correlation - correlation) > 10 * CORRELATION_ERROR
    assert abs(reconstruct(moments, chunk, penalty=10).r2 - r2) > R2_ERROR
    half = reconstruct(Moments.from_samples(fitted), chunk, held_out=Moments.from_samples(other))
    assert abs(half.held_out_r2 - half.r2) > 1e3 * R2_ERROR
    assert abs(half.held_out_correlation - half.correlation) > 10 * CORRELATION_ERROR


@pytest.mark.parametrize("penalty", [1.0, 100.0])
def test_the_penalty_is_on_the_sum_of_squares(penalty: float, rng: np.random.Generator) -> None:
    rows, chunk = rectified(rng), np.arange(0, WIDTH, 2)
    found = reconstruct(Moments.from_samples(rows), chunk, penalty=penalty)
    r2, correlation = by_hand(rows, chunk, penalty=penalty)
    assert found.r2 == pytest.approx(r2, abs=1e-12)
    assert found.correlation == pytest.approx(correlation, abs=1e-9)


@pytest.mark.parametrize("size", [1, 4])
def test_a_chunk_may_reconstruct_another(size: int, rng: np.random.Generator) -> None:
    rows = rectified(rng)
    chunk, target = rng.permutation(WIDTH)[: 2 * size].reshape(2, size)
    found = reconstruct(Moments.from_samples(rows), chunk, target=target)
    r2 = r2_score(
        rows[:, target],
        Ridge(alpha=PENALTY).fit(rows[:, chunk], rows[:, target]).predict(rows[:, chunk]),
        multioutput="variance_weighted",
    )
    assert found.r2 == pytest.approx(r2, abs=R2_ERROR)
    if size == 1:
        assert np.isnan(found.correlation)
    else:
        assert found.correlation == pytest.approx(by_hand(rows, chunk, target=target)[1], abs=CORRELATION_ERROR)


@pytest.mark.parametrize("scale", [1e3, 1e4, 1e6])
@pytest.mark.parametrize("kind", ["rectified", "copies"])
def test_large_activations_are_no_more_correlated(kind: str, scale: float, rng: np.random.Generator) -> None:
    """The covariance keeps 16 digits of a variance, so that a chunk's own units seem to keep a residual of 1e-16 of it,
    which beyond a spread of 1e4 is more than the floor. They have none: only pairs outside count."""
    rows, chunk = layer(kind, rng), np.arange(8)
    fitted, other = scale * rows[::2], scale * rows[1::2]
    predicted = Ridge(alpha=PENALTY, solver="svd").fit(fitted[:, chunk], fitted).predict(fitted[:, chunk])
    free = np.arange(8, WIDTH if kind == "rectified" else WIDTH // 2)
    pairs = len(free) * (len(free) - 1)
    expected = mean_correlation((fitted - predicted)[:, free]) * pairs
    if kind == "copies":  # Units 20 and more are copies of free ones.
        free = np.r_[8:12, 20:24]
        expected = mean_correlation((fitted - predicted)[:, free]) * 8 * 7
    found = reconstruct(Moments.from_samples(fitted), chunk, held_out=Moments.from_samples(other))
    assert found.correlation == pytest.approx(expected / (WIDTH * (WIDTH - 1)), abs=CORRELATION_ERROR)
    small = reconstruct(Moments.from_samples(rows[::2]), chunk, held_out=Moments.from_samples(rows[1::2]))
    assert found.held_out_correlation == pytest.approx(small.held_out_correlation, abs=CORRELATION_ERROR)
    assert found.held_out_r2 == pytest.approx(small.held_out_r2, abs=R2_ERROR)


@pytest.mark.parametrize("scale", [1, 1e4])
def test_copies_in_a_chunk_add_nothing(scale: float, rng: np.random.Generator) -> None:
    """At a large scale rounding is more than the penalty, and makes their covariance indefinite."""
    rows = scale * layer("scaled_copies", rng)
    fitted, other = Moments.from_samples(rows[::2]), Moments.from_samples(rows[1::2])
    half = WIDTH // 2
    once = reconstruct(fitted, np.arange(6), held_out=other, target=np.arange(6, half))
    twice = reconstruct(fitted, np.r_[:6, half : half + 6], held_out=other, target=np.arange(6, half))
    for name in ("r2", "held_out_r2"):
        assert getattr(twice, name) == pytest.approx(getattr(once, name), abs=R2_ERROR)
    for name in ("correlation", "held_out_correlation"):
        assert getattr(twice, name) == pytest.approx(getattr(once, name), abs=CORRELATION_ERROR)
    assert 0.2 < once.r2 < 0.99


def test_all_units_reconstruct_all_units(rng: np.random.Generator) -> None:
    halves = [Moments.from_samples(rectified(rng)) for _ in range(2)]
    found = reconstruct(halves[0], rng.permutation(WIDTH), held_out=halves[1])
    assert found.r2 == pytest.approx(1, abs=1e-12)
    assert found.held_out_r2 == pytest.approx(1, abs=1e-12)
    assert found.correlation < CORRELATION_ERROR
    assert np.isnan(found.held_out_correlation)


def test_a_linear_function_is_reconstructed_and_noise_is_not(rng: np.random.Generator) -> None:
    signal, noise = rng.normal(size=(2, 4000, 3))
    rows = np.hstack([signal, signal @ rng.normal(size=(3, 5)) + 4, noise])
    even, odd = Moments.from_samples(rows[::2]), Moments.from_samples(rows[1::2])
    linear = reconstruct(even, np.arange(3), held_out=odd, target=np.arange(3, 8))
    assert min(linear.r2, linear.held_out_r2) > 1 - R2_ERROR
    unrelated = reconstruct(even, np.arange(3), held_out=odd, target=np.arange(8, 11))
    assert 0 <= unrelated.r2 < 0.01
    assert -0.01 < unrelated.held_out_r2 < 0.002


def test_order_of_the_chunk_and_of_the_target_changes_nothing(rng: np.random.Generator) -> None:
    halves = [Moments.from_samples(rectified(rng)) for _ in range(2)]
    chunk = rng.permutation(WIDTH)[:9]
    one = reconstruct(halves[0], chunk, held_out=halves[1])
    two = reconstruct(halves[0], np.sort(chunk), held_out=halves[1], target=rng.permutation(WIDTH))
    for name in ("r2", "correlation", "held_out_r2", "held_out_correlation"):
        assert getattr(one, name) == pytest.approx(getattr(two, name), rel=1e-9)


@pytest.mark.parametrize("size", [8, 16, 24])
def test_pairs_with_the_chunks_own_units_take_their_share_off(size: int, rng: np.random.Generator) -> None:
    """The authors' mean over all pairs falls by about (1 - w/W)^2 though nothing is explained; outside it does not."""
    width = 32
    rows = rng.normal(size=(4000, width))
    rows[:, :] += 0.3 * rng.normal(size=(4000, 1))
    moments = Moments.from_samples(rows)
    chunk = np.arange(size)
    inside = reconstruct(moments, chunk)
    outside = reconstruct(moments, chunk, target=np.arange(size, width))
    pairs = (width - size) * (width - size - 1) / (width * (width - 1))
    assert inside.correlation == pytest.approx(pairs * outside.correlation, rel=1e-4)
    assert pairs == pytest.approx((1 - size / width) ** 2, abs=0.02)


def exact_noise_floor(freedom: int) -> float:
    """Mean |r| of two independent normal variables: r^2 has the distribution Beta(1/2, (freedom - 1) / 2)."""
    return np.exp(special.gammaln(freedom / 2) - special.gammaln((freedom + 1) / 2)) / np.sqrt(np.pi)


@pytest.mark.parametrize(("num_rows", "size"), [(100, 0), (100, 50), (2000, 32), (100, 89)])
def test_the_noise_floor_is_the_mean_correlation_of_noise(num_rows: int, size: int) -> None:
    assert noise_floor(num_rows, size) == pytest.approx(exact_noise_floor(num_rows - size - 1), rel=0.03)
    assert abs(noise_floor(num_rows, size) / exact_noise_floor(num_rows) - 1) > (0.03 if size > 32 else 0)


def test_independent_residuals_are_at_the_noise_floor_on_either_rows(rng: np.random.Generator) -> None:
    """40 units that follow ten others, each with its own noise; 780 pairs, so that the mean is known to 3 %."""
    size, freely = 10, 40
    signal = rng.normal(size=(400, size))
    rows = np.hstack([signal, signal @ rng.normal(size=(size, freely)) + rng.normal(size=(400, freely))])
    even, odd = Moments.from_samples(rows[::2]), Moments.from_samples(rows[1::2])
    chunk, target = np.arange(size), np.arange(size, size + freely)
    inside = reconstruct(even.merge(odd), chunk, target=target)
    outside = reconstruct(even, chunk, held_out=odd, target=target)
    assert inside.correlation == pytest.approx(noise_floor(400, size), rel=0.08)
    assert outside.held_out_correlation == pytest.approx(noise_floor(200, size), rel=0.08)
    # Negative control: the floor of the other number of rows.
    assert abs(outside.held_out_correlation / noise_floor(400, size) - 1) > 0.2


def test_there_is_no_floor_where_no_freedom_is_left() -> None:
    assert np.isnan(noise_floor(10, 9))
    assert np.isnan(noise_floor(10, 20))
    assert noise_floor(11, 9) == pytest.approx(np.sqrt(2 / np.pi))


def test_correlations_by_hand() -> None:
    covariance = np.array([[4.0, -1, 0], [-1, 1, 0.5], [0, 0.5, 1]])
    assert mean_absolute_correlation(covariance) == pytest.approx((0.5 + 0 + 0.5) / 3)
    # Half of 1e-8 over 1e-8 and the floor; a variance that rounding made negative is none.
    assert mean_absolute_correlation(np.array([[1e-8, 5e-9], [5e-9, 1e-8]])) == pytest.approx(0.25)
    assert mean_absolute_correlation(np.array([[-1e-17, 1e-17], [1e-17, 1.0]])) == pytest.approx(1e-9)
    assert np.isnan(mean_absolute_correlation(np.eye(1)))


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_dead_layer_is_reconstructed() -> None:
    dead = Moments.from_samples(np.zeros((50, 4)))
    assert reconstruct(dead, np.array([1]), held_out=dead) == Reconstruction(
        r2=1, correlation=0, held_out_r2=1, held_out_correlation=pytest.approx(np.nan, nan_ok=True)
    )


def test_dead_units_do_not_hide_the_correlation_of_the_others(rng: np.random.Generator) -> None:
    rows = rectified(rng)
    dead = np.concatenate([rows, np.zeros_like(rows)], axis=1)
    found = [
        reconstruct(Moments.from_samples(part[::2]), np.arange(2), held_out=Moments.from_samples(part[1::2]))
        for part in (rows, dead)
    ]
    assert found[1].held_out_correlation == pytest.approx(found[0].held_out_correlation, rel=1e-9)
    # In-sample, as the authors count, they do.
    assert found[1].correlation < found[0].correlation / 2


def test_a_constant_that_moves_is_missed(rng: np.random.Generator) -> None:
    """A unit that has another value on the other rows, where it never changes either: as scikit-learn has it, 0."""
    rows = rng.normal(size=(60, 2))
    fitted, other = np.column_stack([rows[:30], np.full(30, 3)]), np.column_stack([rows[30:], np.full(30, 4)])
    found = reconstruct(
        Moments.from_samples(fitted), np.arange(2), held_out=Moments.from_samples(other), target=np.array([2])
    )
    predicted = Ridge(alpha=PENALTY).fit(fitted[:, :2], fitted[:, 2:]).predict(other[:, :2])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        assert found.held_out_r2 == r2_score(other[:, 2:], predicted) == 0
    assert found.r2 == 1


@pytest.mark.parametrize(
    "units",
    [{"chunk": []}, {"chunk": [4]}, {"chunk": [-1]}, {"chunk": [0], "target": []}, {"chunk": [0], "target": [9]}],
)
def test_units_that_are_not_there_are_refused(units: dict, rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="chunk, target: expected units below 4, at least one, received"):
        reconstruct(Moments.from_samples(rng.normal(size=(9, 4))), **{k: np.array(v) for k, v in units.items()})


@pytest.fixture
def rows(rng: np.random.Generator) -> np.ndarray:
    return rectified(rng)


def curve_of(rows: np.ndarray, sizes: list[int], orders: np.ndarray, **options: bool) -> ReconstructionCurve:
    even, odd = Moments.from_samples(rows[::2]), Moments.from_samples(rows[1::2])
    return reconstruction_curve(even, odd, np.array(sizes), orders, **options)


def test_a_curve_is_made_of_reconstructions(rows: np.ndarray, rng: np.random.Generator) -> None:
    sizes = [2, 8, WIDTH]
    orders = np.array([[rng.permutation(WIDTH) for _ in range(3)] for _ in sizes])
    found = curve_of(rows, sizes, orders)
    assert found.r2.shape == found.held_out_correlation.shape == (3, 3)
    assert (found.width, found.num_rows, found.sizes.tolist()) == (WIDTH, ROWS, sizes)
    for i, j in np.ndindex(3, 3):
        chunk = orders[i, j, : sizes[i]]
        r2, correlation = by_hand(rows, chunk)
        assert found.r2[i, j] == pytest.approx(r2, abs=R2_ERROR)
        assert found.correlation[i, j] == pytest.approx(correlation, abs=CORRELATION_ERROR)
        if sizes[i] == WIDTH:
            assert np.isnan(found.held_out_correlation[i, j])
            continue
        r2, correlation = by_hand_held_out(rows[::2], rows[1::2], chunk)
        assert found.held_out_r2[i, j] == pytest.approx(r2, abs=R2_ERROR)
        assert found.held_out_correlation[i, j] == pytest.approx(correlation, abs=CORRELATION_ERROR)


def test_a_curve_to_chunks_is_of_the_units_that_follow(rows: np.ndarray, rng: np.random.Generator) -> None:
    orders = np.array([[rng.permutation(WIDTH) for _ in range(2)] for _ in range(2)])
    found = curve_of(rows, [3, 12], orders, to_chunk=True)
    for i, size in enumerate([3, 12]):
        chunk, target = orders[i, 1, :size], orders[i, 1, size : 2 * size]
        r2, correlation = by_hand(rows, chunk, target=target)
        assert found.r2[i, 1] == pytest.approx(r2, abs=R2_ERROR)
        assert found.correlation[i, 1] == pytest.approx(correlation, abs=CORRELATION_ERROR)
        model = Ridge(alpha=PENALTY, solver="svd").fit(rows[::2][:, chunk], rows[::2][:, target])
        predicted, other = model.predict(rows[1::2][:, chunk]), rows[1::2][:, target]
        expected = r2_score(other, predicted, multioutput="variance_weighted")
        assert found.held_out_r2[i, 1] == pytest.approx(expected, abs=R2_ERROR)
        expected = mean_correlation(other - predicted)
        assert found.held_out_correlation[i, 1] == pytest.approx(expected, abs=CORRELATION_ERROR)
    with pytest.raises(ValueError, match="sizes: expected at most half of 24 units, received 13"):
        curve_of(rows, [3, 13], orders, to_chunk=True)


@pytest.mark.parametrize(("num_rows", "few"), [(160, [False, False]), (159, [False, True]), (38, [True, True])])
def test_more_than_a_tenth_of_the_fitted_rows_is_too_much(num_rows: int, few: list, rng: np.random.Generator) -> None:
    """Half of the rows are fitted: 16 and 8 units need 160 and 80."""
    sizes = [2, 8]
    orders = np.array([[rng.permutation(10)]] * 2)
    found = curve_of(rng.normal(size=(num_rows, 10)), sizes, orders)
    assert found.too_few_rows.tolist() == few
    frame = found.to_frame()
    assert frame["too_few_rows"].tolist() == few
    floors = [noise_floor(num_rows // 2, size) for size in sizes]
    assert frame["noise_floor"].tolist() == floors == found.noise_floor.tolist()
    assert frame["held_out_r2"].tolist() == found.held_out_r2.mean(axis=1).tolist()
    assert f"10 units, {num_rows} examples" in str(found)


def test_a_curve_survives_npz(rows: np.ndarray, rng: np.random.Generator) -> None:
    found = curve_of(rows, [2, WIDTH], np.array([[rng.permutation(WIDTH)]] * 2))
    file = io.BytesIO()
    np.savez(file, **found.to_arrays())
    file.seek(0)
    with np.load(file) as stored:
        again = ReconstructionCurve.from_arrays(stored)
    assert (type(again.width), type(again.num_rows)) == (int, int)
    assert again.to_frame().equals(found.to_frame())
