"""Claims judged on runs: what stands beside a figure, in its file and below its plot."""

import collections
import dataclasses
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfunits.artifacts import read_json, write_json
from tfunits.configs import Margins, UserError
from tfunits.reports.figures.checks import NO_RUNS
from tfunits.reports.figures.claims import CLAIMS
from tfunits.reports.figures.figure import Figure
from tfunits.reports.figures.lines import RANK_LIMITED
from tfunits.reports.figures.rules import cannot_tell, combine, correct
from tfunits.reports.figures.runs import Runs
from tfunits.reports.figures.verdicts import Claim, Judgement, Outcome, Verdict

_SUFFIX = ".claims.json"


def judge(figure: Figure, ways: Runs | Sequence[Runs], margins: Margins | None = None) -> list[Judgement]:
    """What runs say about the claims of a figure.

    Args:
      figure: whose claims.
      ways: the runs; or several times the same runs, measured in several ways, such as on other numbers of examples.
      margins: what counts as the same; ours if None.

    Returns: for every claim, every way and every group of data sets one `Judgement`, the papers' own data before
      stand-ins; of a claim of which no run says anything one that cannot tell.
    """
    return judge_claims([CLAIMS[name] for name in figure.claims], figure.name, ways, margins)


def judge_claims(
    claims: Iterable[Claim], figure: str, ways: Runs | Sequence[Runs], margins: Margins | None = None
) -> list[Judgement]:
    """As `judge`, of any claims; `figure` is the name under which the judgements stand."""
    margins = margins or Margins()
    judgements = []
    for claim in claims:
        found = []
        for runs in [ways] if isinstance(ways, Runs) else ways:
            found += _judge_one(claim, figure, runs, margins)
        judgements += found or [_without_runs(claim, figure)]
    return _correct_together(judgements, margins)


def _judge_one(claim: Claim, figure: str, runs: Runs, margins: Margins) -> list[Judgement]:
    by_data: dict[tuple[str, ...], list[Verdict]] = {}
    for verdict in claim.check(runs.with_beside(claim.beside) if claim.beside else runs, margins):
        by_data.setdefault(tuple(sorted(verdict.data)), []).append(verdict)
    judgements = []
    for data, verdicts in by_data.items():
        is_papers = set(data) <= set(claim.data)
        settled = verdicts if is_papers else [_distrust(verdict) for verdict in verdicts]
        judgements.append(
            Judgement(
                claim=claim,
                figure=figure,
                data=data,
                on_papers_data=is_papers and bool(data),
                rows=runs.measure.measured_examples,
                outcome=combine(settled),
                verdicts=settled,
            )
        )
    return sorted(judgements, key=lambda judgement: not judgement.on_papers_data)


def _distrust(verdict: Verdict) -> Verdict:
    """On stand-in data too few rows decide nothing (CLAIMS, rule (4))."""
    if RANK_LIMITED not in verdict.marks or verdict.outcome == Outcome.CANNOT_TELL:
        return verdict
    reason = "fewer than five rows a unit: redundant units cannot be told from unseen directions"
    return dataclasses.replace(verdict, outcome=Outcome.CANNOT_TELL, reason=reason, p_for=math.nan, p_against=math.nan)


def _correct_together(judgements: Sequence[Judgement], margins: Margins) -> list[Judgement]:
    """Holm's correction over all curves of the figure, of one way of measuring and one kind of data at a time."""
    corrected: list[Judgement] = [*judgements]
    families: dict[tuple[Any, ...], list[int]] = {}
    for number, judgement in enumerate(judgements):
        families.setdefault((judgement.rows, judgement.on_papers_data), []).append(number)
    for numbers in families.values():
        counts = [len(judgements[number].verdicts) for number in numbers]
        together = correct([v for number in numbers for v in judgements[number].verdicts], margins)
        for number, count in zip(numbers, counts, strict=True):
            own, together = together[:count], together[count:]
            corrected[number] = dataclasses.replace(judgements[number], verdicts=own, outcome=combine(own))
    return corrected


def _without_runs(claim: Claim, figure: str) -> Judgement:
    verdict = cannot_tell(claim.text, NO_RUNS)
    return Judgement(
        claim=claim,
        figure=figure,
        data=(),
        on_papers_data=False,
        rows=None,
        outcome=verdict.outcome,
        verdicts=[verdict],
    )


def measured_ways(figure: Figure, runs: Runs) -> list[Runs]:
    """The runs as they are, and as measured in each further way of the figure; those that were not are left out."""
    further = [runs.measured(**fields) for fields in figure.further]
    return [runs, *(found for found in further if len(found))]


def claims_file(folder: pathlib.Path, figure: str) -> pathlib.Path:
    """Where the judgements of a figure stand."""
    path = folder / figure
    return path.with_name(path.name + _SUFFIX)


def find_claims_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """Those of every figure below a folder."""
    return sorted(folder.glob(f"**/*{_SUFFIX}"))


def write_judgements(
    path: pathlib.Path, figure: Figure, judgements: Sequence[Judgement], runs: Runs, margins: Margins | None = None
) -> None:
    """Write what `read_judgements` reads: judgements with all their numbers, and the margins they were made with."""
    write_json(
        path,
        {
            "figure": figure.name,
            "title": figure.title,
            "runs": len(runs),
            "seeds": sorted({record.config.training.seed for record in runs.records}),
            "margins": dataclasses.asdict(margins or Margins()),
            "judgements": [_as_dict(judgement) for judgement in judgements],
        },
    )


def read_judgements(path: pathlib.Path) -> dict[str, Any]:
    """What `write_judgements` wrote, as plain values.

    Raises:
      UserError: a damaged file; the error names it.
    """
    stored = read_json(path)
    try:
        for name in ("figure", "title", "runs"):
            stored[name]
        Margins(**stored["margins"])
        for judgement in stored["judgements"]:
            for name in ("claim", "paper", "text", "data", "on_papers_data", "rows", "outcome", "verdicts"):
                judgement[name]
            Outcome(judgement["outcome"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: expected the claims of a figure, received another file ({error!r}); delete it"
        ) from None
    return stored


def _as_dict(judgement: Judgement) -> dict[str, Any]:
    claim = judgement.claim
    verdicts = [
        {
            "check": verdict.check,
            "outcome": str(verdict.outcome),
            "numbers": dict(verdict.numbers),
            "reason": verdict.reason,
            "marks": list(verdict.marks),
            "p_for": verdict.p_for,
            "p_against": verdict.p_against,
        }
        for verdict in judgement.verdicts
    ]
    return {
        "claim": claim.id,
        "paper": claim.paper,
        "text": claim.text,
        "data": list(judgement.data),
        "on_papers_data": judgement.on_papers_data,
        "rows": judgement.rows,
        "outcome": str(judgement.outcome),
        "verdicts": verdicts,
    }


# What is shown first of a claim's curves, how many of them, and how the rest is counted.
_TELLING = (Outcome.DISAGREES, Outcome.NOT_ABOVE_UNTRAINED, Outcome.CANNOT_TELL, Outcome.AGREES)
_MOST_SHOWN = 3
_SAID = {
    Outcome.DISAGREES: "disagree",
    Outcome.NOT_ABOVE_UNTRAINED: "agree, but not above untrained",
    Outcome.CANNOT_TELL: "cannot tell",
    Outcome.AGREES: "agree",
}


def describe_judgements(judgements: Sequence[Judgement]) -> str:
    """A few lines below a plot: what the paper claims, whether these runs agree, and the numbers that say most.

    Of many curves those come first that speak against the claim; the others are counted, and stand in the file.
    """
    lines = []
    for judgement in judgements:
        lines.append(f"  {judgement.claim.id} {judgement.outcome}{_where(judgement)}: {judgement.claim.text}")
        telling = sorted(judgement.verdicts, key=lambda verdict: _TELLING.index(verdict.outcome))
        lines += [f"      {line}" for line in map(describe_verdict, telling[:_MOST_SHOWN])]
        if rest := collections.Counter(verdict.outcome for verdict in telling[_MOST_SHOWN:]):
            lines.append("      and " + ", ".join(f"{count} that {_SAID[outcome]}" for outcome, count in rest.items()))
    return "\n".join(lines)


def _where(judgement: Judgement) -> str:
    if not judgement.data:
        return ""
    names = " and ".join(judgement.data)
    kind = f"on {names}" if judgement.on_papers_data else f"on stand-in data, {names}; no verdict on the paper"
    rows = "" if judgement.rows is None else f", {judgement.rows:,} rows"
    return f" ({kind}{rows})"


def describe_verdict(verdict: Verdict) -> str:
    """One line: the check, what came out, with which numbers, and why where nothing did."""
    marks = f" [{', '.join(verdict.marks)}]" if verdict.marks else ""
    numbers = describe_numbers(verdict.numbers)
    reason = f"; {verdict.reason}" if verdict.reason else ""
    return f"{verdict.outcome}: {verdict.check}{f': {numbers}' if numbers else ''}{marks}{reason}"


def describe_numbers(numbers: Mapping[str, float | None]) -> str:
    """The numbers of a verdict: the value with its interval, then all others by name."""
    known = {name: value for name, value in numbers.items() if value is not None and not math.isnan(value)}
    parts = []
    if "value" in known:
        ends = f" [{known['low']:.3g}, {known['high']:.3g}]" if {"low", "high"} <= set(known) else ""
        parts.append(f"{known['value']:.3g}{ends}")
    others = {name: value for name, value in known.items() if name not in ("value", "low", "high")}
    return ", ".join([*parts, *(f"{name.replace('_', ' ')} {value:.3g}" for name, value in others.items())])
