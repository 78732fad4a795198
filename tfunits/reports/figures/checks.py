"""Checks of curves in the words of CLAIMS: gains, changes over widths, sameness, with what a reader must know beside.

Of each letter (P, R, nP, nR, A, C, S, acc) `lines.MEASURES` has the measure. A check of a `Missing` line cannot tell.
"""

import dataclasses
from collections.abc import Callable, Sequence

from tfunits.configs import NETWORK, Margins
from tfunits.reports.figures.lines import Line, Missing
from tfunits.reports.figures.rules import (
    Values,
    all_of,
    cannot_tell,
    decide_gain,
    decide_greater,
    decide_inside,
    decide_less,
    decide_same,
    decide_same_ratio,
)
from tfunits.reports.figures.verdicts import Outcome, Verdict
from tfunits.reports.plots import size_label

NO_RUNS = "there are no such runs"
_OPPOSITE = {
    Outcome.AGREES: Outcome.DISAGREES,
    Outcome.DISAGREES: Outcome.AGREES,
    Outcome.CANNOT_TELL: Outcome.CANNOT_TELL,
}


def gain_above(
    line: Line | Missing, letter: str, margins: Margins, *, bound: float = 2.0, tap: str = NETWORK
) -> Verdict:
    """g(X) > bound, with the untrained networks' gain beside."""

    def decide(line: Line) -> Verdict:
        untrained = line.gains(letter, tap=tap, untrained=True) if line.baseline else None
        on_means = line.gain_on_means(letter, tap=tap)
        gains = line.gains(letter, tap=tap)
        return decide_gain("", gains, bound, untrained=untrained, on_means=on_means, margins=margins)

    return of_line(f"g({_name(letter, tap)}) > {bound:g}", line, letter, decide, tap=tap)


def gain_at_most(
    line: Line | Missing, letter: str, margins: Margins, *, bound: float = 2.0, tap: str = NETWORK
) -> Verdict:
    """g(X) <= bound."""

    def decide(line: Line) -> Verdict:
        found = decide_less("", line.gains(letter, tap=tap), bound, margins=margins)
        return _with_gain(line, letter, tap, found)

    return of_line(f"g({_name(letter, tap)}) <= {bound:g}", line, letter, decide, tap=tap)


def gain_inside(line: Line | Missing, letter: str, low: float, high: float, margins: Margins) -> Verdict:
    """low < g(X) < high: the whole interval."""

    def decide(line: Line) -> Verdict:
        return _with_gain(line, letter, NETWORK, decide_inside("", line.gains(letter), low, high, margins=margins))

    return of_line(f"{low:g} < g({letter}) < {high:g}", line, letter, decide)


def untrained_gain_near(line: Line, letter: str, margins: Margins, *, value: float = 2.0) -> Verdict:
    """g(X) of untrained networks is a value, within the margin of gains; `line` is of untrained networks."""
    low, high = value - margins.gain, value + margins.gain
    return of_line(
        f"g({letter}) = {value:g}",
        line,
        letter,
        lambda line: decide_inside("", line.gains(letter), low, high, margins=margins),
    )


def rises(line: Line | Missing, letter: str, margins: Margins, *, tap: str = NETWORK) -> Verdict:
    """D(X) > 0: more in the widest network than in the thinnest."""
    return of_line(
        f"D({_name(letter, tap)}) > 0",
        line,
        letter,
        lambda line: decide_greater("", line.changes(letter, tap=tap), margins=margins),
        tap=tap,
    )


def falls(line: Line | Missing, letter: str, margins: Margins, *, tap: str = NETWORK) -> Verdict:
    """D(X) < 0: less in the widest network than in the thinnest."""
    return of_line(
        f"D({_name(letter, tap)}) < 0",
        line,
        letter,
        lambda line: decide_less("", line.changes(letter, tap=tap), margins=margins),
        tap=tap,
    )


def flat(line: Line | Missing, letter: str, margins: Margins, *, tap: str = NETWORK) -> Verdict:
    """X is at every width the same as at the thinnest, within its margin."""

    def decide(line: Line) -> Verdict:
        thinnest, *others = line.widths
        first = line.values(letter, thinnest, tap=tap)
        each = [
            same(f"{_width(w)} and {_width(thinnest)}", letter, line.values(letter, w, tap=tap), first, margins)
            for w in others
        ]
        return all_of("", each, margins=margins)

    return of_line(f"{_name(letter, tap)} flat", line, letter, decide, tap=tap)


def same(check: str, letter: str, first: Values, second: Values, margins: Margins) -> Verdict:
    """Whether two values of a measure are the same, within the margin of that measure."""
    absolute = {"A": margins.area, "acc": margins.accuracy, "C": margins.compressibility}
    if letter in absolute:
        return decide_same(check, first, second, absolute[letter], margins=margins)
    return decide_same_ratio(check, first, second, margins=margins)


def same_gain(
    first: Line | Missing, second: Line | Missing, letter: str, margins: Margins, *, within: float | None = None
) -> Verdict:
    """g(X) of two lines is the same, within the margin of gains or another one."""
    margin = margins.gain if within is None else within
    return of_lines(
        f"g({letter}) same",
        (first, second),
        letter,
        lambda one, other: decide_same("", one.gains(letter), other.gains(letter), margin, margins=margins),
    )


def greater_gain(first: Line | Missing, second: Line | Missing, letter: str, margins: Margins) -> Verdict:
    """g(X) of the first line > that of the second."""
    return of_lines(
        f"g({letter}) greater",
        (first, second),
        letter,
        lambda one, other: decide_greater("", one.gains(letter), than=other.gains(letter), margins=margins),
    )


def greater_change(first: Line | Missing, second: Line | Missing, letter: str, margins: Margins) -> Verdict:
    """D(X) of the first line > that of the second."""
    return of_lines(
        f"D({letter}) greater",
        (first, second),
        letter,
        lambda one, other: decide_greater("", one.changes(letter), than=other.changes(letter), margins=margins),
    )


def greater_at_widest(first: Line | Missing, second: Line | Missing, letter: str, margins: Margins) -> Verdict:
    """X of the widest network of the first line > that of the second's, at the largest width that both have."""

    def decide(one: Line, other: Line) -> Verdict:
        width = common_widths(one, other)[-1]
        return decide_greater(
            f"at {_width(width)}", one.values(letter, width), than=other.values(letter, width), margins=margins
        )

    return of_lines(f"{letter} greater", (first, second), letter, decide)


def same_at_each_width(first: Line | Missing, second: Line | Missing, letter: str, margins: Margins) -> Verdict:
    """X of two lines is the same at every width that both have."""
    return of_lines(
        f"{letter} same",
        (first, second),
        letter,
        lambda one, other: all_of(
            "",
            [
                same(f"at {_width(w)}", letter, one.values(letter, w), other.values(letter, w), margins)
                for w in common_widths(one, other)
            ],
            margins=margins,
        ),
    )


def greater_at_each_width(first: Line | Missing, second: Line | Missing, letter: str, margins: Margins) -> Verdict:
    """X of the first line > that of the second at every width that both have."""
    return _at_each_width(decide_greater, "greater", (first, second), letter, margins)


def less_at_each_width(first: Line | Missing, second: Line | Missing, letter: str, margins: Margins) -> Verdict:
    """X of the first line < that of the second at every width that both have."""
    return _at_each_width(decide_less, "less", (first, second), letter, margins)


def _at_each_width(
    decide: Callable[..., Verdict], word: str, lines: tuple[Line | Missing, ...], letter: str, margins: Margins
) -> Verdict:
    def decide_all(one: Line, other: Line) -> Verdict:
        each = [
            decide(f"at {_width(w)}", one.values(letter, w), than=other.values(letter, w), margins=margins)
            for w in common_widths(one, other)
        ]
        return all_of("", each, margins=margins)

    return of_lines(f"{letter} {word} at each width", lines, letter, decide_all)


def greater_mean(first: Line | Missing, second: Line | Missing, letter: str, margins: Margins) -> Verdict:
    """X of the first line, averaged over widths, > that of the second."""
    return _mean(decide_greater, "greater", (first, second), letter, margins)


def less_mean(first: Line | Missing, second: Line | Missing, letter: str, margins: Margins) -> Verdict:
    """X of the first line, averaged over widths, < that of the second."""
    return _mean(decide_less, "less", (first, second), letter, margins)


def _mean(
    decide: Callable[..., Verdict], word: str, lines: tuple[Line | Missing, ...], letter: str, margins: Margins
) -> Verdict:
    return of_lines(
        f"{letter} {word} on average",
        lines,
        letter,
        lambda one, other: decide("", one.means(letter), than=other.means(letter), margins=margins),
    )


def same_sign_of_change(first: Line | Missing, second: Line | Missing, letter: str, margins: Margins) -> Verdict:
    """D(X) of two lines is on the same side of 0; one whose interval holds 0 cannot tell."""

    def decide(one: Line, other: Line) -> Verdict:
        above = [decide_greater("", line.changes(letter), margins=margins) for line in (one, other)]
        return same_side(above, margins=margins)

    return of_lines(f"sign of D({letter}) same", (first, second), letter, decide)


def same_side(above: Sequence[Verdict], *, margins: Margins | None = None) -> Verdict:
    """Whether quantities, each decided to be above a bound or not, lie on the same side of it."""
    below = [dataclasses.replace(v, outcome=_OPPOSITE[v.outcome], p_for=v.p_against, p_against=v.p_for) for v in above]
    sides = [all_of("", side, margins=margins) for side in (above, below)]
    outcomes = {side.outcome for side in sides}
    numbers = {f"value {number}": v.numbers.get("value", float("nan")) for number, v in enumerate(above, start=1)}
    # Of the two sides, one agreeing is enough; both must be ruled out.
    p_for = min(side.p_for for side in sides)
    p_against = max(side.p_against for side in sides)
    if Outcome.AGREES in outcomes:
        outcome, reason = Outcome.AGREES, ""
    elif outcomes == {Outcome.DISAGREES}:
        outcome, reason = Outcome.DISAGREES, ""
    else:
        outcome = Outcome.CANNOT_TELL
        reason = next((v.reason for v in above if v.outcome == Outcome.CANNOT_TELL), "not after Holm's correction")
    return Verdict(check="", outcome=outcome, numbers=numbers, reason=reason, p_for=p_for, p_against=p_against)


def of_line(
    check: str, line: Line | Missing, letter: str, decide: Callable[[Line], Verdict], *, tap: str = NETWORK
) -> Verdict:
    """What `decide` says of a line, with its label, data and marks; "cannot tell" of a missing one.

    Args:
      check: in the reader's words.
      line: of which it is checked.
      letter: whose marks the verdict bears.
      decide: from the line to a verdict, whose check is put into brackets.
      tap: of the marks.
    """
    if isinstance(line, Missing):
        return cannot_tell(f"{check}, {line.label}", NO_RUNS)
    found = decide(line)
    return dataclasses.replace(
        found,
        check=f"{check}{_detail(found.check)}, {line.label}",
        data=(line.dataset,),
        marks=tuple(dict.fromkeys([*found.marks, *line.marks(letter, tap=tap)])),
    )


def of_lines(
    check: str, lines: tuple[Line | Missing, Line | Missing], letter: str, decide: Callable[[Line, Line], Verdict]
) -> Verdict:
    """What `decide` says of two lines, otherwise as `of_line`."""
    known = [line for line in lines if isinstance(line, Line)]
    data = tuple(dict.fromkeys(line.dataset for line in known))
    label = f"{check}: {' against '.join(line.label for line in lines)}"
    if len(known) < 2:
        return cannot_tell(label, NO_RUNS, data=data)
    if not common_widths(*known):
        return cannot_tell(label, "the two have no width in common", data=data)
    found = decide(*known)
    marks = tuple(dict.fromkeys(mark for line in known for mark in line.marks(letter)))
    return dataclasses.replace(found, check=label + _detail(found.check), data=data, marks=marks)


def common_widths(*lines: Line) -> list[float]:
    """Widths that all lines have, rising."""
    return sorted(set.intersection(*(set(line.members) for line in lines)))


def _detail(check: str) -> str:
    """What a rule said that it compared, behind the words of the check."""
    # Rules put what decided into brackets behind a check, which is empty here.
    inner = check.strip().removeprefix("(").removesuffix(")") if check.startswith(" (") else check
    return f" ({inner})" if inner else ""


def _with_gain(line: Line, letter: str, tap: str, verdict: Verdict) -> Verdict:
    """With the gains that stand beside: of seed means, and of untrained networks."""
    numbers = {"on_means": line.gain_on_means(letter, tap=tap)}
    if line.baseline:
        untrained = [*line.gains(letter, tap=tap, untrained=True).values()]
        numbers["untrained"] = sum(untrained) / len(untrained) if untrained else float("nan")
    return dataclasses.replace(verdict, numbers={**verdict.numbers, **numbers})


def _name(letter: str, tap: str) -> str:
    return letter if tap == NETWORK else f"{letter} of {tap}"


def _width(width: float) -> str:
    return f"{size_label(width)}x"
