"""Intervals against scipy's tests, by hand, and their coverage on data of known means."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tfunits.statistics import contrast_interval, pair_replicates, ratio_interval, t_interval

SEARCH = settings(deadline=None, derandomize=True, max_examples=60)
VALUES = st.lists(st.integers(-1000, 1000), min_size=3, max_size=6)


def by_seed(values, first: int = 0) -> dict[int, float]:
    return {first + number: float(value) for number, value in enumerate(values)}


@SEARCH
@given(VALUES, st.floats(-900, 900))
def test_it_is_scipys_interval_and_its_p_value_scipys(values, bound):
    found = t_interval(values)
    if found.error == 0:
        assert (found.low, found.high) == (values[0], values[0])
        return
    oracle = stats.ttest_1samp(values, bound)
    interval = oracle.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-9, abs=1e-9)
    side = "above" if np.mean(values) > bound else "below"
    assert found.p_value(bound, side) == pytest.approx(oracle.pvalue, rel=1e-9)
    # An interval wholly beyond a bound and a p value of at most 5 % are one thing.
    assert (found.low > bound) == (found.p_value(bound, "above") < 0.05)
    assert (found.high < bound) == (found.p_value(bound, "below") < 0.05)


@SEARCH
@given(VALUES, VALUES, st.floats(-2, 2))
def test_common_replicates_are_pairs_and_others_are_welchs_groups(first, second, factor):
    pairs = contrast_interval(by_seed(first), by_seed(second), factor=factor)
    length = min(len(first), len(second))
    assert pairs == t_interval(np.array(first[:length], float) - factor * np.array(second[:length], float))
    groups = contrast_interval(by_seed(first), by_seed(second, first=100), factor=factor)
    scaled = factor * np.array(second, float)
    if not np.ptp(first) and not np.ptp(scaled):
        assert groups.error == 0
        return
    interval = stats.ttest_ind(first, scaled, equal_var=False).confidence_interval(0.95)
    assert (groups.low, groups.high) == pytest.approx((interval.low, interval.high), rel=1e-7, abs=1e-7)


def test_pairs_remove_what_seeds_have_in_common():
    shared = np.array([0.0, 50, 100])
    first, second = by_seed(shared + [1.0, 1.1, 0.9]), by_seed(shared)
    assert contrast_interval(first, second).low > 0.5
    assert contrast_interval(first, by_seed(shared, first=7)).low < -100
    one, other, is_paired = pair_replicates({0: 1, 1: 2, 5: 3}, {5: 4, 7: 5, 1: 6})
    assert not is_paired
    assert (one.tolist(), other.tolist()) == ([1, 2, 3], [6, 4, 5])
    one, other, is_paired = pair_replicates({0: 1, 1: 2, 5: 3, 6: 8}, {5: 4, 1: 6, 0: 9})
    assert is_paired
    assert (one.tolist(), other.tolist()) == ([1, 2, 3], [9, 6, 4])


@SEARCH
@given(st.lists(st.floats(5, 15), min_size=4, max_size=6), st.lists(st.floats(5, 15), min_size=4, max_size=4))
def test_at_its_ends_a_ratio_is_just_not_ruled_out(first, second):
    first = first[:4]
    found = ratio_interval(by_seed(first), by_seed(second))
    for end in (found.low, found.high):
        if math.isfinite(end) and found.high - found.low > 1e-6:
            p_value = stats.ttest_rel(first, end * np.array(second)).pvalue
            assert p_value == pytest.approx(0.05, abs=1e-6)
    assert found.low <= found.value <= found.high


def test_ratios_of_zeros():
    zeros, ones = by_seed([0, 0, 0]), by_seed([1, 1.1, 0.9])
    same = ratio_interval(zeros, zeros)
    assert (same.value, same.low, same.high) == (1, 1, 1)
    assert ratio_interval(zeros, ones).high == 0
    without = ratio_interval(ones, zeros)
    assert (without.value, without.low, without.high) == (math.inf, -math.inf, math.inf)


@pytest.mark.parametrize("paired", [True, False])
def test_intervals_hold_the_truth_as_often_as_they_say(paired):
    """And the negative control: with normal instead of t quantiles three replicates miss it far more often."""
    rng = np.random.default_rng(0)
    held = {"difference": 0, "ratio": 0, "normal": 0}
    trials = 1500
    for _ in range(trials):
        shared = rng.normal(size=3) if paired else 0
        first = by_seed(20 + rng.normal(size=3) + shared)
        second = by_seed(10 + rng.normal(size=3) + shared, first=0 if paired else 9)
        difference = contrast_interval(first, second)
        held["difference"] += difference.low < 10 < difference.high
        ratio = ratio_interval(first, second)
        held["ratio"] += ratio.low < 2 < ratio.high
        held["normal"] += abs(difference.value - 10) < 1.96 * difference.error
    error = 4 * np.sqrt(0.05 * 0.95 / trials)
    # Welch's and the unpaired ratio's intervals are only nearly of their size.
    slack = 0 if paired else 0.02
    for name in ("difference", "ratio"):
        assert abs(held[name] / trials - 0.95) < error + slack
    assert held["normal"] / trials < 0.93


def test_one_replicate_has_no_interval():
    for found in (t_interval([3.0]), contrast_interval({0: 3.0}, {0: 0.0}), ratio_interval({0: 3.0}, {0: 1.0})):
        assert (found.value, found.count) == (3, 1)
        assert math.isnan(found.low)
        assert math.isnan(found.high)
    assert math.isnan(t_interval([3.0]).p_value(0, "above"))
    assert math.isnan(contrast_interval({0: 3.0}, {1: 0.0, 2: 1.0}).low)


def test_equal_replicates_have_no_width_whatever_their_rounding():
    found = t_interval([0.1, 0.1, 0.1])
    assert (found.low, found.high, found.error) == (found.value, found.value, 0)
    assert (found.p_value(0, "above"), found.p_value(0, "below"), found.p_value(1, "below")) == (0, 1, 0)


def test_errors():
    with pytest.raises(ValueError, match="values: expected a list of at least one value, received shape"):
        t_interval([])
    with pytest.raises(ValueError, match="second: expected finite values"):
        contrast_interval({0: 1.0}, {0: math.nan})
    with pytest.raises(ValueError, match="first: expected a list of at least one value"):
        ratio_interval({}, {0: 1.0})
