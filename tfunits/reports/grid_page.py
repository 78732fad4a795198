"""The report of a grid as one web page."""

import json
import pathlib
import shlex
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from tfunits.configs import MeasureConfig
from tfunits.reports import html
from tfunits.reports.consistency import compare_environments, name_runs
from tfunits.reports.grid import GridReport
from tfunits.reports.plots import ABLATED
from tfunits.reports.records import RunRecord, first_unit

# Figure -> what it shows, for those who cannot see it, too.
_CAPTIONS = {
    "width.png": "Test accuracy, prunable and redundant units against width: a line a curve, bars are standard "
    "deviations over seeds, g the gain per doubling of width.",
    "chunks.png": "Errors of whole networks against their last width, and of chunks of the widest network against "
    "their size.",
}


def write_grid_page(
    folder: pathlib.Path,
    report: GridReport,
    records: Sequence[RunRecord],
    measure: MeasureConfig,
    *,
    command: Sequence[str] = (),
    damaged: Mapping[str, str] | None = None,
    files: Iterable[pathlib.Path] = (),
) -> pathlib.Path:
    """Write report.html of a grid: one file with plots, tables, environment and commands, readable on a phone.

    Args:
      folder: of the grid's report, below the folder of its runs.
      report: of `report_grid`.
      records: of the runs.
      measure: with which options they were measured.
      command: the words that repeat the grid, the program's name first; those that the runs noted if empty.
      damaged: name of a run that could not be read -> what is wrong with it.
      files: further results whose pictures are shown, beside those of the report.

    Returns: the page.
    """
    damaged = damaged or {}
    warnings = [report.refusal] if report.refusal else []
    warnings += [f"{name} is damaged and left out: {problem}" for name, problem in damaged.items()] + [*report.notes]
    pictures = [path for path in (*report.files, *files) if path.suffix == ".png"]
    sections = {
        "Plots": "".join(_show_picture(path) for path in pictures),
        "Gains per doubling of width": html.table(report.gains) if len(report.gains) else "",
        "Runs": html.paragraph(_describe_measures(measure), dim=True)
        + html.table(report.table.dropna(axis=1, how="all")),
        "Environment": _show_environment(records),
        "Commands": _show_commands(folder, records, command, has_events=(folder / "tensorboard").is_dir()),
    }
    count = f"{len(records) + len(damaged)} runs"
    path = folder / "report.html"
    html.write_page(path, html.page(report.title, sections, subtitle=f"{folder.name}, {count}", warnings=warnings))
    return path


def _show_picture(path: pathlib.Path) -> str:
    caption = _CAPTIONS.get(path.name, path.stem.replace("_", " "))
    return html.image(path, alt=caption, caption=caption)


def _describe_measures(measure: MeasureConfig) -> str:
    unit = first_unit(measure)
    return (
        f"Prunability, redundancy and similarity on {measure.measured_splits[0]} data, {ABLATED.get(unit, unit)}; "
        "prunable and redundant units over the units of the network at size 4. A click on a heading sorts."
    )


def _show_environment(records: Sequence[RunRecord]) -> str:
    """What all runs were made with, and the runs that differ."""
    found = compare_environments(records)
    shared = pd.DataFrame(
        [(name.replace("_", " "), next(iter(values))) for name, values in found.items() if len(values) == 1],
        columns=["what", "of all runs"],
    )
    rows = [
        (name.replace("_", " "), value, len(runs), name_runs(runs))
        for name, values in found.items()
        if len(values) > 1
        for value, runs in values.items()
    ]
    parts = [html.table(shared)] if len(shared) else []
    if rows:
        differing = pd.DataFrame(rows, columns=["what", "value", "runs", "which"])
        parts += [html.paragraph("In these the runs differ:"), html.table(differing)]
    if silent := [record for record in records if not record.environment]:
        text = f"{len(silent)} of {len(records)} runs say nothing of what they were made with."
        parts.append(html.paragraph(text, dim=True))
    return "".join(parts)


def _show_commands(
    folder: pathlib.Path, records: Sequence[RunRecord], command: Sequence[str], *, has_events: bool
) -> str:
    given = [tuple(command)] if command else [tuple(record.environment.get("command", ())) for record in records]
    lines = ["# the same once more: finished runs are skipped"] if any(given) else []
    lines += [shlex.join(["python", *words]) for words in dict.fromkeys(given) if words]
    root = shlex.quote(str(folder.parent))
    lines += ["# every run in TensorBoard", f"tensorboard --logdir {root}"]
    if has_events:
        events = shlex.quote(str(folder / "tensorboard"))
        lines += ["# measures against width (set its smoothing to 0)", f"tensorboard --logdir {events}"]
    # In double quotes, since the shell's are single ones.
    load = f"import tfunits; print(tfunits.reports.load({json.dumps(str(folder.parent))}))"
    lines += ["# every number as a table", shlex.join(["python", "-c", load])]
    return html.commands(lines)
