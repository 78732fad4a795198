"""Redundant, similar, dead, silent and constant units of layers whose answer is known."""

import io

import numpy as np
import pytest
from scipy import integrate, optimize

from tfunits.statistics import Moments, UnitStatistics, class_selectivity


def describe(*samplings: np.ndarray, threshold: float = 0.5) -> UnitStatistics:
    """The statistics of arrays [rows, units], one a sampling."""
    moments = [Moments.from_samples(rows) for rows in samplings]
    return UnitStatistics.from_moments(moments, (np.concatenate(samplings) != 0).mean(axis=0), threshold)


@pytest.fixture
def mixed(rng: np.random.Generator) -> np.ndarray:
    """Twelve rectified units over 500 rows, some of them similar."""
    return np.maximum(rng.normal(size=(500, 5)) @ rng.normal(size=(5, 12)) + 0.3 * rng.normal(size=(500, 12)), 0)


def test_copies_add_one_redundant_unit_each(mixed: np.ndarray) -> None:
    one, two = describe(mixed), describe(np.hstack([mixed, mixed]))
    assert two.num_components() == one.num_components()
    assert two.num_redundant() == one.num_redundant() + 12
    # A fresh draw of the same layer is no copy.
    assert describe(np.hstack([mixed, np.roll(mixed, 1, axis=0)])).num_components() > one.num_components()


def test_copies_take_similarity_s_to_2s_plus_1(mixed: np.ndarray) -> None:
    similar = describe(mixed).mean_similar()
    assert 0 < similar < 11
    for copies in (mixed, -mixed, 5 * mixed + 1):
        assert describe(np.hstack([mixed, copies])).mean_similar() == pytest.approx(2 * similar + 1)


def test_a_silent_unit_adds_one_redundant_unit(mixed: np.ndarray) -> None:
    one, more = describe(mixed), describe(np.hstack([mixed, np.zeros((500, 3))]))
    assert more.num_redundant() == one.num_redundant() + 3
    assert more.dead.tolist() == [False] * 12 + [True] * 3


@pytest.mark.parametrize("num_units", [8, 24, 40])
def test_independent_units_are_neither_similar_nor_redundant(num_units: int, rng: np.random.Generator) -> None:
    units = describe(rng.normal(size=(100 * num_units, num_units)))
    assert units.mean_similar() == 0
    assert units.num_redundant() == num_units // 20
    assert not units.rank_limited


def marchenko_pastur_redundant(num_units: int, num_rows: int, held: float = 0.95) -> float:
    """How many of independent units seem redundant for want of rows, in the limit of large layers.

    The eigenvalues of their sample covariance have the density sqrt((b - x)(x - a)) / (2 pi y x) on [a, b] with
    y = units / rows and a, b = (1 -+ sqrt(y))^2.
    """
    ratio = num_units / num_rows
    low, high = (1 - ratio**0.5) ** 2, (1 + ratio**0.5) ** 2

    def moment(power: int, upper: float) -> float:
        density = lambda x: x ** (power - 1) * np.sqrt((high - x) * (x - low)) / (2 * np.pi * ratio)  # noqa: E731
        return integrate.quad(density, low, upper)[0]

    line = optimize.brentq(lambda x: moment(1, x) - (1 - held), low, high)
    return num_units * moment(0, line)


@pytest.mark.parametrize(("num_units", "num_rows", "limited"), [(512, 1000, True), (128, 12_800, False)])
def test_too_few_rows_make_independent_units_look_redundant(
    num_units: int, num_rows: int, limited: bool, rng: np.random.Generator
) -> None:
    units = describe(rng.normal(size=(num_rows, num_units)))
    expected = marchenko_pastur_redundant(num_units, num_rows)
    assert units.num_redundant() == pytest.approx(expected, abs=2)
    assert units.rank_limited is limited


def test_at_512_units_and_1000_rows_about_115_look_redundant() -> None:
    """DESIGN section 6: why results say that they are rank-limited; with enough rows it is 25."""
    assert marchenko_pastur_redundant(512, 1000) == pytest.approx(115, abs=3)
    assert marchenko_pastur_redundant(512, 512 * 10_000) == pytest.approx(25.6, abs=1)


@pytest.mark.parametrize(("num_rows", "limited"), [(49, True), (50, False)])
def test_five_rows_a_unit_are_enough(num_rows: int, limited: bool, rng: np.random.Generator) -> None:
    assert describe(rng.normal(size=(num_rows, 10))).rank_limited is limited


def test_dead_silent_and_constant_units(rng: np.random.Generator) -> None:
    rows = np.zeros((1000, 6))
    rows[:, 0] = rng.normal(size=1000)  # varies
    rows[:9, 1] = 1  # active on 0.9 % of the rows
    rows[:11, 2] = 1  # on 1.1 %
    rows[:, 3] = 0.1  # never changes
    rows[:, 4] = -1 + 0.005 * rng.normal(size=1000)  # hardly changes; unit 5 is dead
    units = describe(rows)
    assert units.dead.tolist() == [False, False, False, False, False, True]
    assert units.silent().tolist() == [False, True, False, False, False, True]
    assert units.silent(0.02).tolist() == [False, True, True, False, False, True]
    assert units.nearly_constant().tolist() == [False, False, False, True, True, True]
    assert units.constant[0].tolist() == [False, False, False, True, False, True]
    np.testing.assert_allclose(units.active_share, [1, 0.009, 0.011, 1, 1, 0], atol=1e-12)


def test_constant_units_count_none_or_minus_one() -> None:
    rows = np.array([[0, 1, 2, 3.0], [1, 0, 2, 3.0], [4, 2, 2, 3.0]])
    r = abs(np.corrcoef(rows[:, 0], rows[:, 1])[0, 1])
    assert r >= 0.5
    assert describe(rows).mean_similar() == 2 / 4
    assert describe(rows).mean_similar(constant_counts=-1) == 0


@pytest.mark.parametrize("value", [0, 0.5, np.float32(0.1)])
def test_a_layer_in_which_nothing_varies_is_wholly_redundant(value: float) -> None:
    units = describe(np.full((1001, 4), value))
    assert units.constant.all()
    assert units.num_redundant() == 4


def test_rounding_is_no_variance_of_a_layer_in_which_nothing_varies() -> None:
    """The mean of many float64 tenths is not exactly a tenth, so that a trace of variance is left."""
    units = describe(np.full((1001, 4), 0.1) + np.array([0, 0.2, 1, 3]))
    assert units.constant.all()
    assert units.num_redundant() == 4


def test_samplings_are_averaged(mixed: np.ndarray) -> None:
    halves = mixed[:250], np.tile(mixed[250:, :1], (1, 12))
    both, first, second = describe(*halves), describe(halves[0]), describe(halves[1])
    assert second.num_components() == 1
    assert both.num_components() == (first.num_components() + 1) / 2
    assert both.mean_similar() == pytest.approx((first.mean_similar() + 11) / 2)
    assert (both.num_rows, both.num_units) == (250, 12)


def test_a_unit_is_dead_only_if_it_is_in_every_sampling() -> None:
    off, on = np.zeros((10, 1)), np.eye(10)[:, :1]
    assert describe(off, off).dead.tolist() == [True]
    assert describe(off, on).dead.tolist() == [False]


def test_numbers_are_numpys(mixed: np.ndarray) -> None:
    units = describe(mixed, threshold=0.3)
    r = np.corrcoef(mixed, rowvar=False)
    np.testing.assert_allclose(units.mean[0], mixed.mean(axis=0))
    np.testing.assert_allclose(units.std[0], mixed.std(axis=0, ddof=1))
    np.testing.assert_allclose(units.principal_variances[0].sum(), mixed.var(axis=0, ddof=1).sum())
    assert units.num_similar[0].tolist() == ((np.abs(r) >= 0.3).sum(axis=1) - 1).tolist()
    assert units.correlation_histogram.sum() == 12 * 11 / 2


def test_statistics_survive_npz(mixed: np.ndarray) -> None:
    units = describe(mixed, mixed[::-1], threshold=0.25)
    file = io.BytesIO()
    np.savez(file, **units.to_arrays())
    file.seek(0)
    with np.load(file) as stored:
        again = UnitStatistics.from_arrays(stored)
    assert (again.num_rows, again.similarity_threshold) == (500, 0.25)
    assert (type(again.num_rows), type(again.similarity_threshold)) == (int, float)
    for name, array in units.to_arrays().items():
        np.testing.assert_array_equal(getattr(again, name), array)


def test_the_stored_form_never_moves(mixed: np.ndarray) -> None:
    """If it does, the unit statistics of finished runs can no longer be read."""
    shapes = {name: array.shape for name, array in describe(mixed).to_arrays().items()}
    assert shapes == {
        "num_rows": (), "mean": (1, 12), "std": (1, 12), "active_share": (12,), "principal_variances": (1, 12),
        "num_similar": (1, 12), "correlation_histogram": (1, 50), "constant": (1, 12), "selectivity": (12,),
        "similarity_threshold": (),
    }  # fmt: skip


@pytest.mark.parametrize("spread", [1, 0.01])
def test_rank_is_numpys_of_the_centred_rows(spread: float, rng: np.random.Generator) -> None:
    """An offset is no direction of its own; copies, sums and dead units are none either."""
    rows = np.maximum(rng.normal(size=(300, 4)), -1) + 5
    rows[:, 3] *= spread
    rows = np.hstack([rows, 2 - rows[:, :1], rows[:, 1:2] + rows[:, 2:3], np.zeros((300, 1))])
    assert describe(rows).rank() == np.linalg.matrix_rank(rows - rows.mean(axis=0)) == 4
    # Negative control: uncentred rows have one direction more.
    assert np.linalg.matrix_rank(rows) == 5
    assert describe(1e-5 * rows).rank() == describe(1e5 * rows).rank() == 4
    single = [Moments.from_samples(rows.astype("float32"), "float32")]
    assert UnitStatistics.from_moments(single, np.ones(7)).rank() == 4


def test_rank_of_few_rows_and_of_nothing(rng: np.random.Generator) -> None:
    assert describe(rng.normal(size=(5, 12))).rank() == 4
    assert describe(np.full((20, 3), 7)).rank() == 0
    assert describe(rng.normal(size=(20, 1))).rank() == 1


def test_rank_counts_shares_of_the_largest_variance_and_is_averaged(rng: np.random.Generator) -> None:
    rows = rng.normal(size=(500, 3)) * [1, 1e-2, 1e-4]
    assert [describe(rows).rank(tolerance) for tolerance in (1e-10, 1e-6, 1e-3)] == [3, 2, 1]
    assert describe(rows, rows * [1, 0, 0]).rank() == 1.5


def test_selectivity_by_hand() -> None:
    """Five units over three classes: a class's own, another's, the same for all, dead, and twice as much for one."""
    means = np.array([[6, 0, 2, 0, 1], [0, 3, 2, 0, 2], [0, 0, 2, 0, 1.0]])
    np.testing.assert_allclose(class_selectivity(means), [1, 1, 0, 0, 1 / 3], rtol=1e-15)


def test_selectivity_against_a_loop(rng: np.random.Generator) -> None:
    means = rng.uniform(size=(4, 6))
    expected = []
    for unit in range(6):
        best = int(np.argmax(means[:, unit]))
        rest = np.mean([means[i, unit] for i in range(4) if i != best])
        expected.append((means[best, unit] - rest) / (means[best, unit] + rest))
    np.testing.assert_allclose(class_selectivity(means), expected, rtol=1e-14)
    np.testing.assert_allclose(class_selectivity(means[::-1]), expected, rtol=1e-14)
    np.testing.assert_allclose(class_selectivity(7 * means), expected, rtol=1e-14)
    assert ((class_selectivity(means) >= 0) & (class_selectivity(means) <= 1)).all()
    assert np.abs(class_selectivity(means + 1) - expected).min() > 0.01


@pytest.mark.filterwarnings("error")
def test_a_single_class_makes_no_unit_selective() -> None:
    assert class_selectivity(np.array([[3.0, 0]])).tolist() == [0, 0]
    assert np.isnan(class_selectivity(np.array([[1.0], [-1]]))).all()


def test_selective_units_are_counted_from_a_threshold_on(mixed: np.ndarray) -> None:
    means = np.full((2, 12), 1.0)
    means[0, :3] = [1.06 / 0.94, 1.04 / 0.96, 3]  # selectivities 0.06, 0.04 and 0.5
    moments = [Moments.from_samples(mixed)]
    units = UnitStatistics.from_moments(moments, np.ones(12), class_means=means)
    assert units.has_classes
    assert units.selective().nonzero()[0].tolist() == [0, 2]
    assert units.selective(units.selectivity[0]).nonzero()[0].tolist() == [0, 2]
    assert units.selective(0.5 - 1e-12).nonzero()[0].tolist() == [2]
    assert units.selective(0.03).nonzero()[0].tolist() == [0, 1, 2]


def test_without_labels_no_unit_is_selective(mixed: np.ndarray) -> None:
    units = describe(mixed)
    assert not units.has_classes
    assert np.isnan(units.selectivity).all()
    assert not units.selective(1e-9).any()
    # Results of runs made before there was a selectivity can be read.
    arrays = {name: array for name, array in units.to_arrays().items() if name != "selectivity"}
    assert not UnitStatistics.from_arrays(arrays).has_classes
