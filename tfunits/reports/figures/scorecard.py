"""The scorecard: what all finished figures below a folder say about the papers' claims."""

import collections
import dataclasses
import html as text_html
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from tfunits.artifacts import write_text
from tfunits.configs import Margins
from tfunits.reports import html
from tfunits.reports.figures.claims import CONTRADICTIONS
from tfunits.reports.figures.figure import Figure
from tfunits.reports.figures.judging import (
    claims_file,
    describe_judgements,
    describe_numbers,
    find_claims_files,
    judge,
    measured_ways,
    read_judgements,
    write_judgements,
)
from tfunits.reports.figures.runs import Runs
from tfunits.reports.figures.verdicts import Outcome

_TITLE = "Scorecard"
_COLUMNS = ("claim", "figure", "data", "rows", "outcome", "curves", "what the paper says", "where it says so")
# Sentences wrap, unlike the numbers of other tables.
_WRAPPED = "<style>.claims td { white-space: normal; min-width: 7rem; vertical-align: top }</style>"
_HEADINGS = {
    "papers": "On the papers' own data",
    "stand-in": "On stand-in data",
    "none": "Without an answer",
}
_NOTES = {
    "papers": "Verdicts on the papers. A claim agrees if all its curves do, disagrees if one does (after Holm's "
    "correction over the curves of a figure), and otherwise cannot tell. Every curve is decided by t intervals "
    "over seeds, three at least, of 95 % where no other confidence stands above; that two things are the same only if "
    "the whole interval lies inside a margin.",
    "stand-in": "The same checks on other data than the papers'. None of these lines is a verdict on a paper.",
    "none": "Claims of drawn figures of which there are no runs.",
}


def report_claims(
    figure: Figure, runs: Runs, folder: pathlib.Path, margins: Margins | None = None
) -> tuple[str, list[pathlib.Path]]:
    """Judge the claims of a figure that is drawn, and draw the scorecard anew.

    Args:
      figure: of `FIGURES`.
      runs: the figure's; those that were also measured in the figure's further ways are judged in each.
      folder: of the figures' files.
      margins: what counts as the same; ours if None.

    Returns: lines to print below the plot, and the files <name>.claims.json, scorecard.md and scorecard.html; nothing
      for a figure without claims.
    """
    if not figure.claims:
        return "", []
    judgements = judge(figure, measured_ways(figure, runs), margins)
    file = claims_file(folder, figure.name)
    write_judgements(file, figure, judgements, runs, margins)
    return describe_judgements(judgements), [file, *write_scorecard(folder)]


def write_scorecard(folder: pathlib.Path) -> list[pathlib.Path]:
    """Write scorecard.md and scorecard.html of every figure below a folder, and return them.

    A damaged file is named on the page and left out.
    """
    figures, damaged = [], []
    for path in find_claims_files(folder):
        try:
            figures.append(read_judgements(path))
        except (ValueError, OSError) as error:
            damaged.append(str(error))
    files = [folder / "scorecard.md", folder / "scorecard.html"]
    write_text(files[0], _markdown(figures, damaged))
    html.write_page(files[1], _web_page(figures, damaged, folder))
    return files


def tabulate_claims(figures: Sequence[Mapping[str, Any]]) -> dict[str, pd.DataFrame]:
    """Kind of data (papers, stand-in, none) -> a row a claim, figure, data sets and way of measuring.

    Args:
      figures: from `read_judgements`, one a figure.
    """
    rows: dict[str, list[dict[str, str]]] = {kind: [] for kind in _HEADINGS}
    for figure in figures:
        for judgement in figure["judgements"]:
            kind = "none" if not judgement["data"] else "papers" if judgement["on_papers_data"] else "stand-in"
            cells = (
                judgement["claim"],
                figure["figure"],
                ", ".join(judgement["data"]),
                "all" if judgement["rows"] is None else f"{judgement['rows']:,}",
                judgement["outcome"],
                _count_outcomes(judgement),
                judgement["text"],
                judgement["paper"],
            )
            rows[kind].append(dict(zip(_COLUMNS, cells, strict=True)))
    frames = {kind: pd.DataFrame(found, columns=list(_COLUMNS)) for kind, found in rows.items()}
    return {kind: frame.sort_values(["claim", "figure"], kind="stable") for kind, frame in frames.items()}


def _count_outcomes(judgement: Mapping[str, Any]) -> str:
    """How many curves say what, e.g. "2 agree, 1 cannot tell"."""
    counts = collections.Counter(verdict["outcome"] for verdict in judgement["verdicts"])
    words = {
        Outcome.AGREES: "agree",
        Outcome.NOT_ABOVE_UNTRAINED: "agree but not above untrained",
        Outcome.DISAGREES: "disagree",
        Outcome.CANNOT_TELL: "cannot tell",
    }
    return ", ".join(f"{counts[outcome]} {word}" for outcome, word in words.items() if counts[outcome])


def _summary(figures: Sequence[Mapping[str, Any]], tables: Mapping[str, pd.DataFrame]) -> list[str]:
    lines = ["1 figure" if len(figures) == 1 else f"{len(figures)} figures"]
    for kind in ("papers", "stand-in"):
        # Figures of several papers share runs, and a claim that stands in two of them is one claim.
        claims = tables[kind].groupby(["claim", "data", "rows"])["outcome"].agg(_join_outcomes)
        counts = claims.value_counts()
        found = ", ".join(f"{counts[outcome]} {outcome}" for outcome in Outcome if outcome in counts)
        lines.append(f"{_HEADINGS[kind].lower()}, a claim once for its data and rows: {found or 'nothing yet'}")
    return lines + _describe_margins(figures)


def _describe_margins(figures: Sequence[Mapping[str, Any]]) -> list[str]:
    """Margins that are not ours, and of which figures."""
    ours = dataclasses.asdict(Margins())
    found: dict[str, list[str]] = {}
    for figure in figures:
        for name, usual in ours.items():
            if (value := figure["margins"].get(name, usual)) != usual:
                text = f"{name.replace('_', ' ')} {value}, not {usual}"
                found.setdefault(text, []).append(figure["figure"])
    return [f"judged with another margin, {text}: {', '.join(names)}" for text, names in found.items()]


def _join_outcomes(outcomes: pd.Series) -> str:
    """Of one claim in several figures: no agreement outweighs a disagreement or a doubt."""
    order = (Outcome.DISAGREES, Outcome.CANNOT_TELL, Outcome.NOT_ABOVE_UNTRAINED, Outcome.AGREES)
    return str(next(outcome for outcome in order if outcome in set(outcomes)))


def _contradictions(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """What the papers say against each other, of claims that stand in the tables."""
    known = {claim for frame in tables.values() for claim in frame["claim"]}
    return [text for claims, text in CONTRADICTIONS.items() if known & set(claims)]


def _markdown(figures: Sequence[Mapping[str, Any]], damaged: Sequence[str]) -> str:
    tables = tabulate_claims(figures)
    parts = [f"# {_TITLE}", "\n".join(f"- {line}" for line in _summary(figures, tables))]
    parts += [f"**{line}**" for line in damaged]
    for kind, frame in tables.items():
        if len(frame):
            parts += [f"## {_HEADINGS[kind]}", _NOTES[kind], _markdown_table(frame)]
    contradictions = _contradictions(tables)
    if contradictions:
        parts += ["## Claims that contradict each other", "\n".join(f"- {line}" for line in contradictions)]
    for figure in figures:
        parts += [f"## {figure['figure']}: {figure['title']}", f"![{figure['figure']}]({figure['figure']}.png)"]
        parts += [_details(judgement) for judgement in figure["judgements"]]
    return "\n\n".join(parts) + "\n"


def _markdown_table(frame: pd.DataFrame) -> str:
    rows = [list(frame.columns), ["---"] * len(frame.columns), *frame.to_numpy().tolist()]
    # A bar within a cell would end it.
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def _details(judgement: Mapping[str, Any]) -> str:
    """Every curve of a judgement with its numbers."""
    lines = [f"**{judgement['claim']}{_where(judgement)}: {judgement['outcome']}** ({judgement['text']})", ""]
    lines += [f"- {_describe(verdict)}".replace("|", "\\|") for verdict in judgement["verdicts"]]
    return "\n".join(lines)


def _where(judgement: Mapping[str, Any]) -> str:
    if not judgement["data"]:
        return ""
    kind = "" if judgement["on_papers_data"] else "stand-in data "
    rows = "" if judgement["rows"] is None else f", {judgement['rows']:,} rows"
    return f" on {kind}{', '.join(judgement['data'])}{rows}"


def _describe(verdict: Mapping[str, Any]) -> str:
    marks = f" [{', '.join(verdict['marks'])}]" if verdict["marks"] else ""
    numbers = describe_numbers(verdict["numbers"])
    reason = f"; {verdict['reason']}" if verdict["reason"] else ""
    return f"{verdict['outcome']}: {verdict['check']}{f': {numbers}' if numbers else ''}{marks}{reason}"


def _web_page(figures: Sequence[Mapping[str, Any]], damaged: Sequence[str], folder: pathlib.Path) -> str:
    tables = tabulate_claims(figures)
    sections = {
        _HEADINGS[kind]: f'{_WRAPPED}{html.paragraph(_NOTES[kind], dim=True)}<div class="claims">'
        + html.table(frame)
        + "</div>"
        for kind, frame in tables.items()
        if len(frame)
    }
    contradictions = _contradictions(tables)
    if contradictions:
        sections["Claims that contradict each other"] = html.listing(contradictions)
    for figure in figures:
        picture = folder / f"{figure['figure']}.png"
        shown = html.image(picture, alt=figure["title"]) if picture.is_file() else ""
        details = "".join(_web_details(judgement) for judgement in figure["judgements"])
        sections[f"{figure['figure']}: {figure['title']}"] = shown + details
    return html.page(_TITLE, sections, subtitle="; ".join(_summary(figures, tables)), warnings=damaged)


def _web_details(judgement: Mapping[str, Any]) -> str:
    """A judgement that opens to its curves."""
    title = f"{judgement['claim']}{_where(judgement)}: {judgement['outcome']}"
    curves = html.listing(_describe(verdict) for verdict in judgement["verdicts"])
    head = f"<summary><b>{text_html.escape(title)}</b> {text_html.escape(judgement['text'])}</summary>"
    return f"<details>{head}\n{curves}</details>\n"
