"""The permutation test against its definition, against scipy and on data of known kind; Holm's adjustment by hand."""

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tfunits.statistics import PermutationTest, holm, permutation_test, tail_probability

SEARCH = settings(deadline=None, derandomize=True, max_examples=100)
FEW_DIFFERENT = st.lists(st.integers(-2, 2), min_size=1, max_size=5)
ANY_FLOATS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5)


def enumerate_sums(thin: list, wide: list) -> tuple[float, np.ndarray]:
    """The sum of ranks and those of every split by the definition: a rank counts the smaller values, half the equal."""
    values = [*thin, *wide]
    ranks = [sum(other < value for other in values) + (values.count(value) + 1) / 2 for value in values]
    splits = itertools.combinations(range(len(values)), len(thin))
    return sum(ranks[: len(thin)]), np.array([sum(ranks[i] for i in split) for split in splits])


@SEARCH
@given(thin=FEW_DIFFERENT | ANY_FLOATS, wide=FEW_DIFFERENT | ANY_FLOATS)
def test_exact_it_is_the_share_of_all_splits(thin: list, wide: list) -> None:
    observed, sums = enumerate_sums(thin, wide)
    found = permutation_test(thin, wide)
    assert (found.statistic, found.num_splits, found.is_exact) == (observed, len(sums), True)
    assert found.p_value == found.corrected_p_value == np.mean(sums <= observed)
    assert found.upper_p_value == np.mean(sums >= observed)
    assert found.p_value + found.upper_p_value - np.mean(sums == observed) == pytest.approx(1, abs=1e-12)


def test_by_hand() -> None:
    """Two ranks of 1..5 have the sums 3, 4, 5, 5, 6, 6, 7, 7, 8, 9, two of 1, 2.5, 2.5, 4 the sums 3.5, 3.5, 5, 5,
    6.5, 6.5."""
    found = permutation_test([2, 6], [4, 8, 12])
    assert found == PermutationTest(
        statistic=4,
        p_value=0.2,
        upper_p_value=0.9,
        corrected_p_value=0.2,
        effect=0.5,
        num_splits=10,
        is_exact=True,
    )
    assert found.two_sided_p_value == 0.4
    plain = [float, float, float, float, float, int, bool]
    assert [type(value) for value in vars(found).values()] == plain
    tied = permutation_test([1, 3], [2, 2])
    assert (tied.statistic, tied.p_value, tied.upper_p_value) == (5, 4 / 6, 4 / 6)
    assert tied.two_sided_p_value == 1


@pytest.mark.parametrize(("num_thin", "num_wide"), [(8, 8), (3, 11), (9, 4), (1, 6), (6, 1), (1, 1)])
def test_without_ties_it_is_the_mann_whitney_test(num_thin: int, num_wide: int, rng: np.random.Generator) -> None:
    for shift in (-1, 0, 1):
        thin, wide = rng.normal(size=num_thin) + shift, rng.normal(size=num_wide)
        found = permutation_test(thin, wide)
        for alternative, p_value in (("less", found.p_value), ("greater", found.upper_p_value)):
            known = stats.mannwhitneyu(thin, wide, method="exact", alternative=alternative)
            assert p_value == pytest.approx(known.pvalue, rel=1e-12)
        assert found.statistic == known.statistic + num_thin * (num_thin + 1) / 2
        known = stats.mannwhitneyu(thin, wide, method="exact", alternative="two-sided")
        assert found.two_sided_p_value == pytest.approx(known.pvalue, rel=1e-12)


@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_with_ties_it_is_scipys_permutation_test(shift: int, rng: np.random.Generator) -> None:
    thin, wide = rng.integers(5, size=6) + shift, rng.integers(5, size=7)
    ranks = stats.rankdata([*thin, *wide])
    found = permutation_test(thin, wide)
    for alternative, p_value in (("less", found.p_value), ("greater", found.upper_p_value)):
        known = stats.permutation_test(
            (ranks[:6], ranks[6:]), lambda x, y, axis: x.sum(axis=axis), alternative=alternative, vectorized=True
        )
        assert (found.statistic, p_value) == (known.statistic, pytest.approx(known.pvalue, rel=1e-12))


def test_eight_against_eight_is_exact_and_quick(rng: np.random.Generator) -> None:
    start = time.perf_counter()
    found = permutation_test(rng.normal(size=8), rng.normal(size=8))
    assert time.perf_counter() - start < 1
    assert (found.num_splits, found.is_exact) == (12_870, True)


@pytest.mark.parametrize(
    ("num_thin", "num_wide", "is_exact"), [(11, 11, True), (12, 12, False), (1412, 2, True), (2, 1413, False)]
)
def test_up_to_a_million_splits_are_enumerated(num_thin: int, num_wide: int, is_exact: bool) -> None:
    """2 of 1414 values have 998,991 splits, 2 of 1415 have 1,000,405."""
    thin, wide = np.arange(num_thin), num_thin + np.arange(num_wide)
    found = permutation_test(thin, wide, num_shuffles=10)
    assert found.is_exact is is_exact
    assert found.num_splits == (math.comb(num_thin + num_wide, num_thin) if is_exact else 10)
    assert found.upper_p_value == 1
    if is_exact:
        assert found.p_value == 1 / found.num_splits


def test_one_value_against_very_many_has_few_splits() -> None:
    """Just a million, either way round; enumerated by the larger group they would take hours."""
    many = np.arange(999_999)
    low, high = (permutation_test(*groups, num_shuffles=1) for groups in (([-1], many), (many, [-1])))
    assert low.is_exact
    assert high.is_exact
    assert (low.p_value, low.upper_p_value) == (high.upper_p_value, high.p_value) == (1e-6, 1)


@pytest.mark.parametrize("values", ["different", "tied"])
@pytest.mark.parametrize("shift", [0, 1])
def test_shuffles_approach_the_exact_value(values: str, shift: int, rng: np.random.Generator) -> None:
    """Within four standard errors in both tails."""
    thin, wide = (rng.normal(size=7), rng.normal(size=9)) if values == "different" else rng.integers(4, size=(2, 8))
    exact = permutation_test(thin - shift, wide)
    for num_shuffles in (25_000, 100_000):
        found = permutation_test(thin - shift, wide, exact=False, num_shuffles=num_shuffles)
        assert (found.statistic, found.effect) == (exact.statistic, exact.effect)
        assert (found.num_splits, found.is_exact) == (num_shuffles, False)
        for name in ("p_value", "upper_p_value"):
            share = getattr(exact, name)
            error = 4 * math.sqrt(share * (1 - share) / num_shuffles)
            assert getattr(found, name) == pytest.approx(share, abs=error)
            assert getattr(found, name) != share


def test_shuffles_of_many_values_approach_the_normal_distribution(rng: np.random.Generator) -> None:
    """Groups of unequal sizes, drawn in several blocks."""
    thin, wide = rng.normal(size=400) - 0.05, rng.normal(size=300)
    found = permutation_test(thin, wide, num_shuffles=20_000)
    known = stats.mannwhitneyu(thin, wide, method="asymptotic", alternative="less").pvalue
    assert not found.is_exact
    assert 0.01 < known < 0.5
    assert found.p_value == pytest.approx(known, abs=4 * math.sqrt(known * (1 - known) / 20_000) + 1e-3)


def test_every_shuffle_of_very_many_values_is_another(rng: np.random.Generator) -> None:
    """More values than are shuffled at once; the same shuffle again and again would give a p value of 0 or 1."""
    found = permutation_test(*rng.normal(size=(2, 2**19 + 1)), num_shuffles=12)
    assert found.num_splits == 12
    assert 0 < found.p_value < 1


def test_as_many_shuffles_as_the_paper_draws(rng: np.random.Generator) -> None:
    assert permutation_test(*rng.normal(size=(2, 12))).num_splits == 100_000


def test_the_seed_decides_the_shuffles(rng: np.random.Generator) -> None:
    thin, wide = rng.normal(size=(2, 20))
    found = [permutation_test(thin, wide, num_shuffles=5000, seed=seed) for seed in (0, 0, 1, 2)]
    assert found[0] == found[1] == permutation_test(thin, wide, num_shuffles=5000)
    assert len({test.p_value for test in found}) == 3


def test_the_corrected_p_value_counts_what_was_observed_as_one_more_shuffle(rng: np.random.Generator) -> None:
    thin, wide = rng.normal(size=(2, 20))
    found = permutation_test(thin, wide, num_shuffles=999)
    assert found.corrected_p_value == (1 + round(999 * found.p_value)) / 1000
    never = permutation_test(thin - 100, wide, num_shuffles=999)
    assert (never.p_value, never.corrected_p_value, never.two_sided_p_value) == (0, 0.001, 0)


@SEARCH
@given(thin=FEW_DIFFERENT | ANY_FLOATS, wide=FEW_DIFFERENT | ANY_FLOATS)
def test_swapping_the_groups_swaps_the_tails(thin: list, wide: list) -> None:
    found, swapped = permutation_test(thin, wide), permutation_test(wide, thin)
    assert (swapped.p_value, swapped.upper_p_value) == (found.upper_p_value, found.p_value)
    assert swapped.two_sided_p_value == found.two_sided_p_value
    count = len(thin) + len(wide)
    assert found.statistic + swapped.statistic == count * (count + 1) / 2


@pytest.mark.parametrize("exact", [True, False])
def test_order_and_monotone_maps_change_nothing(exact: bool, rng: np.random.Generator) -> None:
    thin, wide = rng.normal(size=(2, 8)).round(1)
    found = permutation_test(thin, wide, exact=exact, num_shuffles=1000)
    others = [
        permutation_test(move(thin), move(wide), exact=exact, num_shuffles=1000)
        for move in (rng.permutation, np.exp, np.cbrt, lambda values: 1e-12 * values - 7)
    ]
    assert {(test.statistic, test.p_value, test.upper_p_value) for test in others} == {
        (found.statistic, found.p_value, found.upper_p_value)
    }
    # Negative control: falling maps swap the tails.
    assert permutation_test(-thin, -wide).p_value == permutation_test(thin, wide).upper_p_value != found.p_value


@SEARCH
@given(thin=ANY_FLOATS, wide=ANY_FLOATS)
def test_the_effect_is_the_ratio_of_the_means(thin: list, wide: list) -> None:
    found = permutation_test(thin, wide).effect
    if math.fsum(wide) == 0 or np.mean(wide) == 0:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(np.mean(thin) / np.mean(wide), rel=1e-12)


def test_the_effect_does_not_go_by_ranks() -> None:
    assert permutation_test([1, 2], [1, 11]).effect == 0.25
    assert permutation_test([-1, -3], [4]).effect == -0.5
    assert permutation_test([0, 0], [4, 1]).effect == 0
    assert math.isnan(permutation_test([1, 2], [-1, 1]).effect)
    assert math.isnan(permutation_test([0], [0]).effect)


def test_equal_values_tell_nothing() -> None:
    found = permutation_test([3, 3, 3], [3, 3])
    assert (found.statistic, found.p_value, found.upper_p_value, found.two_sided_p_value) == (9, 1, 1, 1)


def test_groups_of_one_kind_give_uniform_p_values(rng: np.random.Generator) -> None:
    """Negative control, by the Kolmogorov-Smirnov distance: 0.073 is exceeded once in 100 at 500 repeats. The two-sided
    p value has steps of up to 0.084, twice those of each tail, and lies above uniform ones there."""
    found = [permutation_test(*rng.exponential(size=(2, 8))) for _ in range(500)]
    for name in ("p_value", "upper_p_value"):
        p_values = [getattr(test, name) for test in found]
        assert stats.kstest(p_values, "uniform").statistic < 0.073
    two_sided = [test.two_sided_p_value for test in found]
    assert stats.kstest(two_sided, "uniform").statistic < 0.073 + 0.084
    assert stats.kstest(two_sided, "uniform", alternative="greater").statistic < 0.073


def test_over_all_splits_the_p_values_are_conservative(rng: np.random.Generator) -> None:
    """P(p <= a) <= a exactly, for every a, whatever is tied: over all the splits of one set of values."""
    for values in (rng.normal(size=8), rng.integers(3, size=8), np.repeat([1, 2], 4)):
        splits = [set(split) for split in itertools.combinations(range(8), 4)]
        found = [
            permutation_test([values[i] for i in split], [values[i] for i in range(8) if i not in split])
            for split in splits
        ]
        for name in ("p_value", "upper_p_value"):
            p_values = np.array([getattr(test, name) for test in found])
            for threshold in np.unique(p_values):
                # A p that can be reached is reached by just this share of the splits.
                assert np.mean(p_values <= threshold) == pytest.approx(threshold, abs=1e-12)


def test_tied_groups_of_one_kind_are_not_rejected_too_often(rng: np.random.Generator) -> None:
    """Negative control, up to three standard errors of the repeats."""
    p_values = np.array([permutation_test(*rng.integers(3, size=(2, 8))).p_value for _ in range(500)])
    for threshold in (0.025, 0.05, 0.1, 0.3, 0.5):
        error = 3 * math.sqrt(threshold * (1 - threshold) / 500)
        assert np.mean(p_values <= threshold) <= threshold + error


@pytest.mark.parametrize("exact", [True, False])
def test_shifted_values_are_found_on_the_side_they_are_shifted_to(exact: bool, rng: np.random.Generator) -> None:
    """Positive control."""
    thin, wide = rng.normal(size=(2, 8))
    lower, higher = (permutation_test(thin + shift, wide, exact=exact) for shift in (-6, 6))
    assert lower.p_value < 0.001
    assert lower.upper_p_value > 0.999
    assert higher.upper_p_value < 0.001
    assert higher.p_value > 0.999
    if exact:
        assert lower.p_value == 1 / 12_870


@pytest.mark.parametrize("exact", [True, False])
def test_few_values_cannot_give_a_small_p_value(exact: bool) -> None:
    assert permutation_test([1, 2], [30, 40], exact=exact).p_value == pytest.approx(1 / 6, abs=0.005)


def test_the_values_stay_as_they_are(rng: np.random.Generator) -> None:
    thin, wide = rng.normal(size=(2, 8))
    before = thin.copy(), wide.copy()
    permutation_test(thin, wide, exact=False, num_shuffles=10)
    np.testing.assert_array_equal([thin, wide], before)


@pytest.mark.parametrize("values", [[], [[1, 2]], 3.0])
@pytest.mark.parametrize("side", ["thin", "wide"])
def test_another_shape_is_refused(values: list, side: str) -> None:
    groups = {"thin": [1, 2], "wide": [3], side: values}
    with pytest.raises(ValueError, match=rf"^{side}: expected a list of at least one value, received shape \("):
        permutation_test(**groups)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("side", ["thin", "wide"])
def test_values_that_are_not_finite_are_refused(value: float, side: str) -> None:
    groups = {"thin": [1, 2], "wide": [3], side: [1, value]}
    with pytest.raises(ValueError, match=f"^{side}: expected finite values, received .*; leave the others out$"):
        permutation_test(**groups)


@pytest.mark.parametrize("num_thin", [12, 50_000])
def test_too_many_splits_to_be_exact_are_refused(num_thin: int) -> None:
    """Also where their number has more digits than Python prints."""
    sizes = f"{num_thin} against {num_thin} values"
    with pytest.raises(
        ValueError, match=rf"^exact: expected at most 1,000,000 splits, received those of {sizes}; leave it None"
    ):
        permutation_test(np.arange(num_thin), np.arange(num_thin), exact=True)


@pytest.mark.parametrize("num_shuffles", [0, -3])
@pytest.mark.parametrize("exact", [None, False])
def test_no_shuffles_are_refused(num_shuffles: int, exact: bool | None) -> None:
    with pytest.raises(ValueError, match=f"^num_shuffles: expected 1 or more, received {num_shuffles}$"):
        permutation_test([1], [2], exact=exact, num_shuffles=num_shuffles)


def test_holm_by_hand() -> None:
    """0.01 * 4, 0.02 * 3, 0.03 * 2 and 0.04 * 1, the last raised to those before it."""
    np.testing.assert_allclose(holm([0.04, 0.01, 0.03, 0.02]), [0.06, 0.04, 0.06, 0.06], rtol=1e-15)
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02], rtol=1e-15)
    np.testing.assert_array_equal(holm([0.5, 0.75, 0]), [1, 1, 0])
    np.testing.assert_array_equal(holm([0.3]), [0.3])


def rejected(p_values: np.ndarray, level: float) -> set[int]:
    """Holm's procedure in words: from the smallest p on, reject while it is at most the level / tests that are left."""
    remaining, found = sorted(range(len(p_values)), key=lambda test: p_values[test]), set()
    while remaining and p_values[remaining[0]] <= level / len(remaining):
        found.add(remaining.pop(0))
    return found


@SEARCH
@given(st.lists(st.integers(0, 1000).map(lambda share: share / 1000), min_size=1, max_size=12))
def test_holm_gives_the_smallest_level_at_which_a_test_is_rejected(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    candidates = sorted({min(1.0, p * count) for p in p_values for count in range(1, len(p_values) + 1)} | {1.0})
    for test, value in enumerate(adjusted):
        # A level of 1 rejects all by convention; levels are tried a little above, for p * m / m is rounded.
        smallest = next(level for level in candidates if level == 1 or test in rejected(p_values, level * (1 + 1e-9)))
        assert value == pytest.approx(smallest, rel=1e-8)


@SEARCH
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_holm_is_monotone_between_p_and_bonferroni(p_values: list[float], random: object) -> None:
    adjusted = holm(p_values)
    assert (np.diff(adjusted[np.argsort(p_values)]) >= 0).all()
    assert (adjusted >= p_values).all()
    assert (adjusted <= np.minimum(1, np.multiply(p_values, len(p_values)))).all()
    order = random.sample(range(len(p_values)), len(p_values))
    np.testing.assert_array_equal(holm(np.array(p_values)[order]), adjusted[order])


def test_tests_that_were_not_made_do_not_count(rng: np.random.Generator) -> None:
    p_values = rng.uniform(high=0.1, size=(3, 4))
    p_values[[0, 2], [1, 3]] = math.nan
    known = ~np.isnan(p_values)
    adjusted = holm(p_values)
    assert adjusted.shape == (3, 4)
    assert np.isnan(adjusted).tolist() == (~known).tolist()
    np.testing.assert_array_equal(adjusted[known], holm(p_values[known]))
    assert np.isnan(holm([math.nan, math.nan])).all()
    assert holm([]).shape == (0,)
    assert math.isnan(p_values[0, 1])


def test_holm_rejects_a_true_hypothesis_in_few_families(rng: np.random.Generator) -> None:
    """Negative control: of 2000 families of 32 uniform p values, 5 % have one at most 0.05; unadjusted, 81 % have."""
    families = rng.uniform(size=(2000, 32))
    share = np.mean([holm(family).min() <= 0.05 for family in families])
    assert 0.03 < share < 0.065
    assert np.mean(families.min(axis=1) <= 0.05) == pytest.approx(1 - 0.95**32, abs=0.03)


@pytest.mark.parametrize("p_value", [-0.01, 1.01, math.inf])
def test_p_values_that_are_none_are_refused(p_value: float) -> None:
    with pytest.raises(ValueError, match=r"^p_values: expected numbers in \[0, 1\] or NaN, received"):
        holm([0.5, math.nan, p_value])


@pytest.mark.parametrize(("thin", "wide"), [(8, 8), (3, 5), (2, 2), (1, 1), (4, 9)])
def test_what_chance_alone_gives_is_the_share_of_all_splits(thin, wide):
    ranks = np.arange(thin + wide)
    found = []
    for chosen in itertools.combinations(ranks, thin):
        test = permutation_test(np.array(chosen), np.setdiff1d(ranks, chosen)) if thin + wide < 10 else None
        if test is None:
            break
        found.append(test.p_value < 0.025 or (test.p_value > 0.975 and test.upper_p_value <= 0.05))
    if found:
        assert tail_probability(thin, wide, 0.025) == pytest.approx(np.mean(found))
    else:
        rng = np.random.default_rng(0)
        tests = [permutation_test(*np.split(rng.permutation(ranks), [thin])) for _ in range(1500)]
        drawn = [t.p_value < 0.025 or (t.p_value > 0.975 and t.upper_p_value <= 0.05) for t in tests]
        expected = tail_probability(thin, wide, 0.025)
        assert abs(np.mean(drawn) - expected) < 4 * np.sqrt(expected * (1 - expected) / 1500)


def test_of_many_splits_chance_gives_both_tails():
    assert tail_probability(30, 30, 0.025) == 0.05
