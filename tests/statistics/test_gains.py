"""The average factor per doubling of width."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfunits.statistics import Gain, gain

SIZES = (0.25, 0.5, 1, 2, 4)
SEARCH = settings(deadline=None, derandomize=True, max_examples=60)


@SEARCH
@given(power=st.floats(-3, 3), factor=st.floats(1e-6, 1e6), order=st.permutations(SIZES))
def test_a_power_of_the_width_gains_two_to_the_power(power: float, factor: float, order: list) -> None:
    found = gain({size: factor * size**power for size in order})
    assert found.value == pytest.approx(2**power, rel=1e-12)
    assert (found.num_doublings, found.num_left_out) == (4, 0)


@SEARCH
@given(st.lists(st.floats(1e-3, 1e3), min_size=5, max_size=5))
def test_it_is_the_mean_of_the_ratios_of_successive_sizes(values: list[float]) -> None:
    ratios = [high / low for low, high in zip(values, values[1:], strict=False)]
    assert gain(dict(zip(SIZES, values, strict=True))).value == pytest.approx(sum(ratios) / 4, rel=1e-12)


@pytest.mark.parametrize("nothing", [0, 0.0, math.nan])
def test_a_zero_or_missing_value_leaves_two_doublings_out_and_is_counted(nothing: float) -> None:
    assert gain({0.25: 1, 0.5: nothing, 1: 6, 2: 18}) == Gain(value=3, num_doublings=1, num_left_out=2)


def test_the_first_doubling_can_be_skipped() -> None:
    values = {0.25: 1, 0.5: 10, 1: 20, 2: 60}
    assert gain(values) == Gain(value=5, num_doublings=3, num_left_out=0)
    for order in (values, dict(reversed(values.items()))):
        assert gain(order, skip_first=True) == Gain(value=2.5, num_doublings=2, num_left_out=0)


def test_a_size_without_its_double_gives_no_ratio() -> None:
    assert gain({0.25: 5, 1: 2, 2: 6, 3: 100}) == Gain(value=3, num_doublings=1, num_left_out=0)


@pytest.mark.parametrize("values", [{}, {1: 3}, {1: 3, 4: 5}, {1: 0, 2: 0}])
def test_without_a_ratio_there_is_no_gain(values: dict) -> None:
    found = gain(values)
    assert math.isnan(found.value)
    assert found.num_doublings == 0
