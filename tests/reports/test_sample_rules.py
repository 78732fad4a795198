"""Rules that read bootstrap samples, at and beyond their bounds."""

import dataclasses
import math

import numpy as np
import pytest

from tfunits.configs import Margins
from tfunits.reports.figures.sample_rules import decide_exponent, decide_other_exponent, decide_samples
from tfunits.reports.figures.verdicts import Outcome
from tfunits.statistics import PowerLaw, PowerLawInterval, percentile_interval

AGREES, DISAGREES, CANNOT_TELL = Outcome.AGREES, Outcome.DISAGREES, Outcome.CANNOT_TELL


def law(low: float, high: float) -> PowerLawInterval:
    """A power law of which nearly all samples lie between two ends."""
    exponents = np.linspace(low, high, 1001)
    return PowerLawInterval(
        law=PowerLaw(coefficient=1, exponent=(low + high) / 2), low=low, high=high, confidence=0.95, exponents=exponents
    )  # fmt: skip


@pytest.mark.parametrize(
    ("low", "high", "outcome", "other"),
    [
        (-0.6, -0.4, AGREES, DISAGREES),
        (-0.5, -0.3, AGREES, DISAGREES),
        (-0.9, -0.6, DISAGREES, AGREES),
        (-0.4, -0.2, DISAGREES, AGREES),
        (-0.4, 0.05, DISAGREES, AGREES),
        # Holds -1/2 and 0, or is too wide although it holds -1/2.
        (-0.5, 0.0, CANNOT_TELL, DISAGREES),
        (-0.8, -0.2, CANNOT_TELL, CANNOT_TELL),
        (-3.0, -0.7, CANNOT_TELL, CANNOT_TELL),
        (-np.inf, np.inf, CANNOT_TELL, CANNOT_TELL),
    ],
)
def test_exponents(low: float, high: float, outcome: Outcome, other: Outcome) -> None:
    found = dataclasses.replace(law(max(low, -20.0), min(high, 20.0)), low=low, high=high)
    assert decide_exponent("a law", found, -0.5, networks=20).outcome == outcome
    assert decide_other_exponent("a law", found, -0.5, networks=20).outcome == other


def test_the_widest_interval_that_tells_is_a_margin() -> None:
    verdict = decide_exponent("a law", law(-0.6, -0.4), -0.5, networks=20, margins=Margins(exponent_width=0.1))
    assert verdict.outcome == CANNOT_TELL
    assert verdict.reason == "the interval, -0.60 to -0.40, is wider than 0.1"
    assert verdict.numbers == {"value": -0.5, "low": -0.6, "high": -0.4, "networks": 20}


def test_p_values_are_shares_of_samples() -> None:
    """None of 1001 samples on the other side: 2 / 1002, which Holm's correction of 25 curves leaves below 0.05."""
    against = decide_exponent("a law", law(-0.9, -0.6), -0.5, networks=20)
    assert (against.p_for, against.p_against) == (pytest.approx(2 / 1002),) * 2
    middle = decide_exponent("a law", law(-0.6, -0.4), -0.5, networks=20)
    assert middle.p_against == pytest.approx(1, abs=0.01)


SAMPLES = np.linspace(0.9, 1.1, 1001)


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (0.5, 2.0, AGREES),
        (1.2, 2.0, DISAGREES),
        (0.1, 0.8, DISAGREES),
        (1.0, 2.0, CANNOT_TELL),
        (-math.inf, 1.2, AGREES),
        (-math.inf, 0.8, DISAGREES),
        (0.8, math.inf, AGREES),
        (1.0, math.inf, CANNOT_TELL),
    ],
)
def test_bounds(low: float, high: float, outcome: Outcome) -> None:
    verdict = decide_samples("a ratio", 1.0, SAMPLES, networks=20, low=low, high=high)
    assert verdict.outcome == outcome
    assert (verdict.reason == "") == (outcome != CANNOT_TELL)
    assert (verdict.p_for < 0.05) == (outcome == AGREES)
    assert (verdict.p_against < 0.05) == (outcome == DISAGREES)


def test_samples_on_the_bound_are_inside() -> None:
    """Sizes of chunks are few: w* may be the peak itself in every sample."""
    verdict = decide_samples("w* is the peak", 0.0, np.zeros(100), networks=20, low=0)
    assert (verdict.outcome, verdict.p_against) == (AGREES, 1)
    assert verdict.p_for == pytest.approx(2 / 101)


def test_samples_without_a_number_are_evidence_neither_way() -> None:
    samples = np.where(np.arange(1001) % 10 == 0, np.nan, SAMPLES)
    for bounds in ({"low": 0.5}, {"low": 2}, {"low": 0.5, "high": 2}):
        verdict = decide_samples("a ratio", 1.0, samples, networks=20, **bounds)
        assert verdict.outcome == CANNOT_TELL
        assert min(verdict.p_for, verdict.p_against) > 0.05


def test_confidence_is_a_margin() -> None:
    narrow = Margins(confidence=0.5)
    assert decide_samples("", 1.0, SAMPLES, networks=20, low=0.93).outcome == CANNOT_TELL
    verdict = decide_samples("", 1.0, SAMPLES, networks=20, low=0.93, margins=narrow)
    assert verdict.outcome == AGREES
    assert (verdict.numbers["low"], verdict.numbers["high"]) == percentile_interval(SAMPLES, 0.5)
