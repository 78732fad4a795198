"""How a check is decided: from one value a seed to agrees, disagrees or cannot tell (CLAIMS, rules (1) to (5)).

Every rule reads t intervals over seeds, which stand for replicates. "Greater" agrees if the interval lies wholly on the
claimed side and disagrees if wholly on the other; "same" agrees if it lies wholly inside a margin, since a difference
that is not significant is not the same as none, and disagrees if wholly outside.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tfunits.configs import Margins
from tfunits.reports.figures.verdicts import AGREEING, Outcome, Verdict
from tfunits.statistics import FEWEST_REPLICATES, Interval, contrast_interval, holm, ratio_interval, t_interval

# One value a seed.
Values = Mapping[int, float]


def decide_greater(
    check: str,
    values: Values,
    bound: float = 0.0,
    *,
    than: Values | None = None,
    margins: Margins | None = None,
) -> Verdict:
    """Whether a quantity is above a bound, or above another quantity by more than a bound.

      agrees if low > bound, disagrees if high < bound;   [low, high] of the mean of values, or of values - than

    Args:
      check: what is compared, for the reader.
      values: one a seed; NaN is left out.
      bound: compared with.
      than: the other quantity, one a seed; paired by seeds where these are the same.
      margins: of which the confidence is read.

    Example:
      >>> decide_greater("g(P) > 2", {0: 2.4, 1: 2.5, 2: 2.6}, 2).outcome
      <Outcome.AGREES: 'agrees'>

    Source: CLAIMS, rule (1).
    """
    margins = margins or Margins()
    interval = _interval(values, than, margins)
    if interval is None:
        return _too_few(check, values, than)
    return _verdict(
        check,
        interval,
        _groups(values, than),
        agrees=interval.low > bound,
        disagrees=interval.high < bound,
        p_for=interval.p_value(bound, "above"),
        p_against=interval.p_value(bound, "below"),
    )


def decide_less(
    check: str,
    values: Values,
    bound: float = 0.0,
    *,
    than: Values | None = None,
    margins: Margins | None = None,
) -> Verdict:
    """Whether a quantity is below a bound, or below another quantity by more than -bound; else as `decide_greater`."""
    margins = margins or Margins()
    interval = _interval(values, than, margins)
    if interval is None:
        return _too_few(check, values, than)
    return _verdict(
        check,
        interval,
        _groups(values, than),
        agrees=interval.high < bound,
        disagrees=interval.low > bound,
        p_for=interval.p_value(bound, "below"),
        p_against=interval.p_value(bound, "above"),
    )


def decide_inside(
    check: str,
    values: Values,
    low: float,
    high: float,
    *,
    than: Values | None = None,
    margins: Margins | None = None,
) -> Verdict:
    """Whether a quantity, or its difference from another one, lies between two bounds: a test of equivalence.

      agrees if low <= [interval] <= high, disagrees if the interval lies wholly outside

    Args:
      check: what is compared, for the reader.
      values: one a seed; NaN is left out.
      low, high: bounds.
      than: the other quantity, one a seed; paired by seeds where these are the same.
      margins: of which the confidence is read.

    Example:
      >>> decide_inside("g(P) = 2", {0: 1.8, 1: 2.0, 2: 2.2}, 1.6, 2.4).outcome
      <Outcome.CANNOT_TELL: 'cannot tell'>
      >>> decide_inside("g(P) = 2", {0: 1.99, 1: 2.0, 2: 2.01}, 1.6, 2.4).outcome
      <Outcome.AGREES: 'agrees'>

    Source: CLAIMS, rule (2); two one-sided tests (Schuirmann 1987), each at half of 1 - confidence.
    """
    margins = margins or Margins()
    interval = _interval(values, than, margins)
    if interval is None:
        return _too_few(check, values, than)
    return _verdict(
        check,
        interval,
        _groups(values, than),
        agrees=low <= interval.low and interval.high <= high,
        disagrees=interval.high < low or interval.low > high,
        p_for=_largest(interval.p_value(low, "above"), interval.p_value(high, "below")),
        p_against=min(interval.p_value(low, "below"), interval.p_value(high, "above")),
    )


def decide_same(check: str, first: Values, second: Values, margin: float, *, margins: Margins | None = None) -> Verdict:
    """Whether two quantities differ by at most a margin; as `decide_inside` of -margin and margin."""
    return decide_inside(check, first, -margin, margin, than=second, margins=margins)


def decide_same_ratio(check: str, first: Values, second: Values, *, margins: Margins | None = None) -> Verdict:
    """Whether the quotient of two quantities, which are not negative, lies in 1 / ratio ... ratio.

      agrees if first - second / ratio >= 0 and first - ratio second <= 0, each with its whole interval

    Args:
      check: what is compared, for the reader.
      first, second: one a seed; nothing but zeros are the same as nothing but zeros.
      margins: of which ratio and confidence are read.

    Returns: a `Verdict`, whose numbers are the quotient of the means and its interval (`statistics.ratio_interval`).

    Example:
      >>> decide_same_ratio("P", {0: 0.50, 1: 0.51, 2: 0.52}, {0: 0.49, 1: 0.50, 2: 0.53}).outcome
      <Outcome.AGREES: 'agrees'>
    """
    margins = margins or Margins()
    options = {"confidence": margins.confidence}
    first, second = _known(first), _known(second)
    if min(len(first), len(second)) < FEWEST_REPLICATES:
        return _too_few(check, first, second)
    shown = ratio_interval(first, second, **options)
    at_low = contrast_interval(first, second, factor=1 / margins.ratio, **options)
    at_high = contrast_interval(first, second, factor=margins.ratio, **options)
    return _verdict(
        check,
        shown,
        (first, second),
        agrees=at_low.low >= 0 and at_high.high <= 0,
        disagrees=at_low.high < 0 or at_high.low > 0,
        p_for=_largest(at_low.p_value(0, "above"), at_high.p_value(0, "below")),
        p_against=min(at_low.p_value(0, "below"), at_high.p_value(0, "above")),
    )


def decide_gain(
    check: str,
    gains: Values,
    bound: float = 2.0,
    *,
    untrained: Values | None,
    on_means: float = math.nan,
    margins: Margins | None = None,
) -> Verdict:
    """Whether a gain is above a bound, and whether it is above that of untrained networks.

    Args:
      check: what is compared, for the reader.
      gains: one a seed.
      bound: compared with.
      untrained: gains of untrained networks of the same widths, data and rows, one a seed; None without any.
      on_means: the gain of seed means, shown beside.
      margins: of which the confidence is read.

    Returns: as `decide_greater`; "agrees, but not above untrained" where the difference from the untrained gains does
      not lie wholly above 0; "cannot tell" where the gain is above the bound and there are too few untrained ones.

    Source: CLAIMS, rule (3).
    """
    found = decide_greater(check, gains, bound, margins=margins)
    found = dataclasses.replace(found, numbers={**found.numbers, "on_means": on_means})
    untrained = _known(untrained or {})
    if not _enough(untrained) and found.outcome == Outcome.AGREES:
        reason = f"it is above, but {FEWEST_REPLICATES} untrained networks (--epochs=0) a width are needed beside it"
        found = dataclasses.replace(found, outcome=Outcome.CANNOT_TELL, reason=reason, p_for=math.nan)
    if not untrained:
        return found
    found = dataclasses.replace(found, numbers={**found.numbers, "untrained": _mean(untrained)})
    if found.outcome != Outcome.AGREES:
        return found
    above = decide_greater(check, gains, than=untrained, margins=margins)
    if above.outcome != Outcome.AGREES:
        found = dataclasses.replace(found, outcome=Outcome.NOT_ABOVE_UNTRAINED, reason=above.reason)
    return found


def all_of(check: str, verdicts: Sequence[Verdict], *, margins: Margins | None = None) -> Verdict:
    """A check that is the conjunction of others, such as an order: disagrees if one of them does, after Holm."""
    adjusted = holm(np.array([verdict.p_against for verdict in verdicts]))
    outcome = combine(verdicts)
    if outcome == Outcome.DISAGREES and not any(
        verdict.outcome == Outcome.DISAGREES and not p_value > _error(margins)
        for verdict, p_value in zip(verdicts, adjusted, strict=True)
    ):
        outcome = Outcome.CANNOT_TELL
    return _join(
        check,
        verdicts,
        outcome,
        is_conjunction=True,
        p_for=_largest(*(verdict.p_for for verdict in verdicts)),
        p_against=_smallest(adjusted),
    )


def any_of(check: str, verdicts: Sequence[Verdict], *, margins: Margins | None = None) -> Verdict:
    """A check that is the disjunction of others: agrees if one of them does, after Holm; disagrees if all do."""
    adjusted = holm(np.array([verdict.p_for for verdict in verdicts]))
    outcomes = [verdict.outcome for verdict in verdicts]
    if any(
        verdict.outcome in AGREEING and not p_value > _error(margins)
        for verdict, p_value in zip(verdicts, adjusted, strict=True)
    ):
        outcome = Outcome.AGREES
    elif verdicts and all(found == Outcome.DISAGREES for found in outcomes):
        outcome = Outcome.DISAGREES
    else:
        outcome = Outcome.CANNOT_TELL
    return _join(
        check,
        verdicts,
        outcome,
        is_conjunction=False,
        p_for=_smallest(adjusted),
        p_against=_largest(*(verdict.p_against for verdict in verdicts)),
    )


def combine(verdicts: Iterable[Verdict]) -> Outcome:
    """The outcome of a panel from those of its curves: agrees if all agree, disagrees if one disagrees.

    Source: CLAIMS, rule (1).
    """
    outcomes = {verdict.outcome for verdict in verdicts}
    if Outcome.DISAGREES in outcomes:
        return Outcome.DISAGREES
    if not outcomes or Outcome.CANNOT_TELL in outcomes:
        return Outcome.CANNOT_TELL
    return Outcome.NOT_ABOVE_UNTRAINED if Outcome.NOT_ABOVE_UNTRAINED in outcomes else Outcome.AGREES


def correct(verdicts: Sequence[Verdict], margins: Margins | None = None) -> list[Verdict]:
    """The verdicts of one figure's curves, of which those that disagree only by their number cannot tell.

    Args:
      verdicts: of all curves of the figure.
      margins: of which the confidence is read.

    Returns: as many; a "disagrees" whose p value, adjusted for all of them after Holm, is above 1 - confidence has
      become "cannot tell".

    Source: CLAIMS, rule (5).
    """
    error = _error(margins)
    adjusted = holm(np.array([verdict.p_against for verdict in verdicts], float))
    corrected = []
    for verdict, p_value in zip(verdicts, adjusted, strict=True):
        if verdict.outcome == Outcome.DISAGREES and p_value > error:
            reason = f"against the claim only before Holm's correction for {len(verdicts)} curves (p = {p_value:.2g})"
            verdict = dataclasses.replace(verdict, outcome=Outcome.CANNOT_TELL, reason=reason)
        corrected.append(verdict)
    return corrected


def cannot_tell(check: str, reason: str, **fields: object) -> Verdict:
    """A check that nothing decides, and why; further fields of the `Verdict`."""
    return Verdict(check=check, outcome=Outcome.CANNOT_TELL, reason=reason, **fields)


def _verdict(
    check: str,
    interval: Interval,
    groups: Sequence[Values],
    *,
    agrees: bool,
    disagrees: bool,
    p_for: float,
    p_against: float,
) -> Verdict:
    outcome = Outcome.AGREES if agrees else Outcome.DISAGREES if disagrees else Outcome.CANNOT_TELL
    numbers = {"value": interval.value, "low": interval.low, "high": interval.high, "seeds": interval.count}
    if len(groups) > 1:
        numbers |= dict(zip(("first", "second"), map(_mean, groups), strict=True))
    reason = "" if agrees or disagrees else "the interval over seeds holds both answers"
    return Verdict(
        check=check, outcome=outcome, numbers=numbers, reason=reason, p_for=float(p_for), p_against=float(p_against)
    )


def _join(
    check: str, verdicts: Sequence[Verdict], outcome: Outcome, *, is_conjunction: bool, p_for: float, p_against: float
) -> Verdict:
    """One verdict of several: the numbers of the one that decided, reasons and marks of all.

    Of several that decided, that with the weakest evidence where all had to agree, or else with the strongest.
    """
    deciding = [verdict for verdict in verdicts if verdict.outcome == outcome] or [
        *verdicts[:1],
        *([] if verdicts else [cannot_tell(check, "there is nothing to compare")]),
    ]
    if outcome == Outcome.CANNOT_TELL:
        deciding = deciding[0]
    else:
        p_values = [v.p_against if outcome == Outcome.DISAGREES else v.p_for for v in deciding]
        weakest = is_conjunction != (outcome == Outcome.DISAGREES)
        deciding = deciding[int(np.argmax(p_values) if weakest else np.argmin(p_values))]
    reason = "" if outcome != Outcome.CANNOT_TELL else deciding.reason or f"not decided by {deciding.check}"
    return Verdict(
        check=f"{check} ({deciding.check})" if len(verdicts) > 1 else check,
        outcome=outcome,
        numbers=deciding.numbers,
        reason=reason,
        data=tuple(dict.fromkeys(name for verdict in verdicts for name in verdict.data)),
        marks=tuple(dict.fromkeys(mark for verdict in verdicts for mark in verdict.marks)),
        p_for=p_for,
        p_against=p_against,
    )


def _interval(values: Values, than: Values | None, margins: Margins) -> Interval | None:
    """Of the values or of their difference; None where there are too few."""
    values = _known(values)
    if than is None:
        return t_interval(list(values.values()), confidence=margins.confidence) if _enough(values) else None
    than = _known(than)
    if not (_enough(values) and _enough(than)):
        return None
    return contrast_interval(values, than, confidence=margins.confidence)


def _known(values: Values) -> dict[int, float]:
    return {seed: float(value) for seed, value in values.items() if math.isfinite(value)}


def _enough(values: Values) -> bool:
    return len(values) >= FEWEST_REPLICATES


def _too_few(check: str, values: Values, than: Values | None) -> Verdict:
    groups = _groups(values, than)
    count = min(map(len, groups))
    reason = f"{FEWEST_REPLICATES} seeds are needed, {count} {'has' if count == 1 else 'have'} the numbers"
    means = [_mean(group) for group in groups]
    numbers = (
        {"value": means[0] - means[1], "first": means[0], "second": means[1]}
        if than is not None
        else {"value": means[0]}
    )
    return cannot_tell(check, reason, numbers={**numbers, "seeds": count})


def _groups(values: Values, than: Values | None) -> list[dict[int, float]]:
    return [_known(values), *([] if than is None else [_known(than)])]


def _mean(values: Values) -> float:
    return float(np.mean(list(values.values()))) if values else math.nan


def _error(margins: Margins | None) -> float:
    return 1 - (margins or Margins()).confidence


def _largest(*p_values: float) -> float:
    """NaN if one is: a test that was not made is no evidence."""
    return float(np.max(p_values)) if p_values else math.nan


def _smallest(p_values: Sequence[float]) -> float:
    known = [p_value for p_value in p_values if not math.isnan(p_value)]
    return float(min(known)) if known else math.nan
