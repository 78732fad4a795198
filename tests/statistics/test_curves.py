"""Where an ablation curve falls through the line, and what is read off it."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfunits.statistics import AblationCurve, area_under_curve, crossing_fraction

SEARCH = settings(deadline=None, derandomize=True, max_examples=100)
NUM_EXAMPLES = 40
TOLERANCES = st.floats(0.01, 1)


@st.composite
def curves(draw: st.DrawFn) -> AblationCurve:
    """A curve of any shape that starts at full agreement."""
    levels, draws = draw(st.integers(2, 8)), draw(st.integers(1, 4))
    counts = st.lists(st.integers(0, NUM_EXAMPLES), min_size=levels - 1, max_size=levels - 1)
    rows = [[NUM_EXAMPLES, *draw(counts)] for _ in range(draws)]
    return AblationCurve(
        num_units=12, num_examples=NUM_EXAMPLES, fractions=np.linspace(0, 1, levels), num_agreeing=np.array(rows)
    )


@SEARCH
@given(
    steps=st.lists(st.floats(1e-3, 1), min_size=2, max_size=8),
    gaps=st.lists(st.floats(1e-3, 1), min_size=8, max_size=8),
    tolerance=TOLERANCES,
)
def test_on_a_falling_curve_it_is_numpys_interpolation(steps: list, gaps: list, tolerance: float) -> None:
    fractions = np.concatenate([[0], np.cumsum(gaps[: len(steps)]) / sum(gaps[: len(steps)])])
    agreement = 1 - np.concatenate([[0], np.cumsum(steps) / sum(steps)])
    expected = np.interp(1 - tolerance, agreement[::-1], fractions[::-1])
    assert crossing_fraction(fractions, agreement, tolerance) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("agreement", "tolerance", "expected"),
    [
        ([1, 0.9, 0.5], 0.2, 0.625),
        ([1, 0, 0], 0.2, 0.1),  # at the first level
        ([1, 1, 0], 0.2, 0.6),  # at the last
        ([1, 0.9, 0.85], 0.2, 1),  # never
        ([1, 0.8, 0.8], 0.2, 1),  # it touches the line without falling through
        ([1, 0.8, 0.6], 0.2, 0.5),
        ([1, 0.6, 1], 0.2, 0.25),  # it recovers: the first fall counts
        ([1, 0, 0], 1, 1),  # every prediction may change
        ([1, 0.5, 0], 1e-9, 1e-9),
    ],
)
def test_crossings_by_hand(agreement: list, tolerance: float, expected: float) -> None:
    assert crossing_fraction([0, 0.5, 1], agreement, tolerance) == pytest.approx(expected, abs=1e-12)


@SEARCH
@given(curve=curves(), tolerance=TOLERANCES, tail=st.integers(0, NUM_EXAMPLES))
def test_what_comes_after_the_first_fall_is_ignored(curve: AblationCurve, tolerance: float, tail: int) -> None:
    row = curve.agreement[0]
    below = np.flatnonzero(row < 1 - tolerance)
    changed = row.copy()
    if len(below):
        changed[below[0] + 1 :] = tail / NUM_EXAMPLES
    found = crossing_fraction(curve.fractions, changed, tolerance)
    assert found == crossing_fraction(curve.fractions, row, tolerance)
    assert (found == 1) or len(below)


@SEARCH
@given(curve=curves(), tolerance=TOLERANCES, size=st.sampled_from([0.25, 0.5, 1, 2, 4]))
def test_prunable_and_not_prunable_units_are_all_units(curve: AblationCurve, tolerance: float, size: float) -> None:
    largest, mean = curve.prunability(tolerance, size=size)
    crossings = [crossing_fraction(curve.fractions, row, tolerance) for row in curve.agreement]
    assert largest == pytest.approx(max(crossings) * size / 4)
    assert mean == pytest.approx(sum(crossings) / len(crossings) * size / 4)
    assert largest + curve.non_prunability(tolerance, size=size) == pytest.approx(size / 4)
    assert curve.prunability(tolerance) == pytest.approx((largest * 4 / size, mean * 4 / size))
    assert curve.non_prunability(tolerance) == pytest.approx(1 - max(crossings))


@SEARCH
@given(curve=curves(), tolerances=st.tuples(TOLERANCES, TOLERANCES))
def test_more_tolerance_never_prunes_less(curve: AblationCurve, tolerances: tuple[float, float]) -> None:
    strict, lenient = (curve.crossings(tolerance) for tolerance in sorted(tolerances))
    # Two crossings on one falling piece may differ by rounding.
    assert (lenient >= strict - 1e-12).all()


@SEARCH
@given(curve=curves())
def test_the_area_is_the_plain_mean(curve: AblationCurve) -> None:
    assert curve.area == pytest.approx(curve.num_agreeing.sum() / curve.num_agreeing.size / NUM_EXAMPLES)
    assert area_under_curve(curve.agreement).shape == curve.num_agreeing.shape[:1]
    # Not the trapezoid rule, which weighs the ends by half.
    ends = np.array([1.0, 0, 0])
    assert area_under_curve(ends) == pytest.approx(1 / 3)
    assert np.trapezoid(ends, [0, 0.5, 1]) != pytest.approx(1 / 3)


@SEARCH
@given(curve=curves())
def test_a_curve_survives_json(curve: AblationCurve) -> None:
    again = AblationCurve.from_dict(json.loads(json.dumps(curve.to_dict())))
    assert (again.num_units, again.num_examples) == (curve.num_units, curve.num_examples)
    np.testing.assert_array_equal(again.fractions, curve.fractions)
    np.testing.assert_array_equal(again.num_agreeing, curve.num_agreeing)


def test_the_stored_form_never_moves() -> None:
    """If it does, the ablation files of finished runs can no longer be read: add names, never change them."""
    curve = AblationCurve(num_units=2, num_examples=4, fractions=np.array([0, 0.5]), num_agreeing=np.array([[4, 3]]))
    stored = {"num_units": 2, "num_examples": 4, "fractions": [0.0, 0.5], "num_agreeing": [[4, 3]]}
    assert curve.to_dict() == stored


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"agreement: expected shape \(2,\) as fractions, received \(3,\)"):
        crossing_fraction([0, 1], [1, 1, 0])
    for tolerance in (0, -0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match=r"tolerance: expected a number in \(0, 1\]"):
            crossing_fraction([0, 1], [1, 0], tolerance)
