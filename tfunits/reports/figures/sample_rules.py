"""How a check is decided from bootstrap samples: of exponents, of ratios of excess errors, and of sizes.

The samples are drawn over networks and test examples together where errors are compared (CLAIMS, rule (2)).
"""

import math

import numpy as np

from tfunits.configs import Margins
from tfunits.reports.figures.rules import cannot_tell
from tfunits.reports.figures.verdicts import Outcome, Verdict
from tfunits.statistics import PowerLawInterval, percentile_interval

_BOTH = "the interval of bootstrap samples holds both answers"


def decide_exponent(
    check: str, law: PowerLawInterval, exponent: float, *, networks: int, margins: Margins | None = None
) -> Verdict:
    """Whether a falling power law has an exponent.

      agrees if low <= exponent <= high < 0, disagrees if the exponent is outside [low, high]

    Args:
      check: what is compared, for the reader.
      law: with its interval.
      exponent: that the law is said to have, below 0.
      networks: how many the interval rests on.
      margins: whose `exponent_width` is the widest interval that tells anything.

    Example:
      >>> from tfunits.statistics import bootstrap_power_law
      >>> small, large = np.random.default_rng(0).uniform(size=(2, 5, 100))
      >>> law = bootstrap_power_law([16, 64], [small, large / 2], np.zeros(100), paired=True)
      >>> decide_exponent("as w^-1/2", law, -0.5, networks=5).outcome
      <Outcome.AGREES: 'agrees'>

    Source: CLAIMS, rule (2).
    """
    outside = _two_sided(law.exponents, exponent)
    return _verdict(
        check,
        law.law.exponent,
        (law.low, law.high),
        networks,
        agrees=law.low <= exponent <= law.high < 0,
        disagrees=not law.low <= exponent <= law.high,
        p_for=_p_value(~(law.exponents < 0)),
        p_against=outside,
        widest=(margins or Margins()).exponent_width,
    )


def decide_other_exponent(
    check: str, law: PowerLawInterval, exponent: float, *, networks: int, margins: Margins | None = None
) -> Verdict:
    """Whether a power law does not have an exponent: the interval excludes it; otherwise as `decide_exponent`.

    agrees if the exponent is outside [low, high], disagrees if inside
    """
    inside = law.low <= exponent <= law.high
    return _verdict(
        check,
        law.law.exponent,
        (law.low, law.high),
        networks,
        agrees=not inside,
        disagrees=inside,
        p_for=_two_sided(law.exponents, exponent),
        # An interval that holds a number is no test against others.
        p_against=math.nan,
        widest=(margins or Margins()).exponent_width,
    )


def decide_samples(
    check: str,
    value: float,
    samples: np.ndarray,
    *,
    networks: int,
    low: float = -math.inf,
    high: float = math.inf,
    widest: float = math.inf,
    margins: Margins | None = None,
) -> Verdict:
    """Whether a quantity lies between two bounds.

      agrees if low <= [interval] <= high, disagrees if the interval lies wholly outside

    Args:
      check: what is compared, for the reader.
      value: of the whole data.
      samples: of the bootstrap, [samples]; NaN lies outside on both sides.
      networks: how many they rest on.
      low, high: bounds.
      widest: interval that tells anything; `Margins.exponent_width` for exponents.
      margins: of which the confidence is read.

    Example:
      >>> decide_samples("ratio", 1.0, np.linspace(0.9, 1.1, 100), networks=20, low=0.5, high=2).outcome
      <Outcome.AGREES: 'agrees'>

    Source: CLAIMS, rules (1) and (2).
    """
    ends = percentile_interval(samples, (margins or Margins()).confidence)
    bounds = [(bound, side) for bound, side in ((low, 1), (high, -1)) if math.isfinite(bound)]
    return _verdict(
        check,
        value,
        ends,
        networks,
        agrees=low <= ends[0] and ends[1] <= high,
        disagrees=ends[1] < low or ends[0] > high,
        # Turned by the side, being inside is being at least the bound; NaN is evidence neither way.
        p_for=max((_p_value(~(side * samples >= side * bound)) for bound, side in bounds), default=math.nan),
        p_against=min((_p_value(~(side * samples < side * bound)) for bound, side in bounds), default=math.nan),
        widest=widest,
    )


def _verdict(
    check: str,
    value: float,
    ends: tuple[float, float],
    networks: int,
    *,
    agrees: bool,
    disagrees: bool,
    p_for: float,
    p_against: float,
    widest: float,
) -> Verdict:
    numbers = {"value": value, "low": ends[0], "high": ends[1], "networks": networks}
    # Ends that are both infinite have no difference.
    if not ends[1] - ends[0] <= widest:
        reason = f"the interval, {ends[0]:.2f} to {ends[1]:.2f}, is wider than {widest:g}"
        return cannot_tell(check, reason, numbers=numbers)
    outcome = Outcome.AGREES if agrees else Outcome.DISAGREES if disagrees else Outcome.CANNOT_TELL
    reason = _BOTH if outcome == Outcome.CANNOT_TELL else ""
    return Verdict(check=check, outcome=outcome, numbers=numbers, reason=reason, p_for=p_for, p_against=p_against)


def _p_value(contrary: np.ndarray) -> float:
    """Two-sided p value from the samples that say the contrary, and one more."""
    return float(min(1.0, 2 * (1 + np.sum(contrary)) / (1 + len(contrary))))


def _two_sided(samples: np.ndarray, bound: float) -> float:
    """P value that the quantity differs from a number; NaN is evidence neither way."""
    return min(_p_value(~(samples > bound)), _p_value(~(samples < bound)))
