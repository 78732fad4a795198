"""The report of a grid: one table, measures against width, gains."""

import collections
import dataclasses
import pathlib
import shutil
from collections.abc import Mapping, Sequence

import pandas as pd

from tfunits.artifacts import write_figure, write_table
from tfunits.configs import MeasureConfig, UserError
from tfunits.reports.chunks import plot_widths, width_table
from tfunits.reports.consistency import check_mixture, describe_missing_seeds
from tfunits.reports.frames import tabulate
from tfunits.reports.grid_events import write_width_events
from tfunits.reports.plots import plot_against_width
from tfunits.reports.records import NETWORK, RunRecord, first_unit, flat_settings, varied_settings
from tfunits.reports.tables import gain_table, grid_table
from tfunits.reports.widths import WIDTHS, width_field, width_of

_PLOTTED = ("accuracy", "prunability", "redundancy")
_FIGURE_DPI = 130
_EVENTS = "tensorboard"
# What an earlier report of the same runs may have left, of averages that are refused now.
_AVERAGES = ("gains.csv", "width.png", "chunks.csv", "chunks.png")


@dataclasses.dataclass(frozen=True, kw_only=True)
class GridReport:
    """What the runs of a grid have in common and in what they differ.

    Attributes:
      title: networks and data.
      table: one row a run.
      gains: one row a curve and measure; empty without a doubling of width.
      files: what was written.
      notes: what a reader must know: runs that are not finished, seeds that are missing.
      refusal: why nothing was averaged; empty where it was.
    """

    title: str
    table: pd.DataFrame
    gains: pd.DataFrame
    files: Sequence[pathlib.Path]
    notes: Sequence[str] = ()
    refusal: str = ""


def report_grid(
    records: Sequence[RunRecord],
    measure: MeasureConfig,
    folder: pathlib.Path,
    *,
    untrained: Mapping[str, RunRecord] | None = None,
) -> GridReport:
    """Write the report of a grid: runs.csv, and where widths differ gains.csv, width.png and the same for TensorBoard;
    where they have chunks, chunks.csv and chunks.png.

    The width is the size, or in a grid of one size what else was varied, layer_size or last_width. Of runs that may not
    be averaged (`check_mixture`) there is the table alone, and the reason.

    Args:
      records: the runs.
      measure: with which options they were measured.
      folder: where the files go.
      untrained: name of a run -> the same network untrained, whose gain then stands beside.

    Returns: a `GridReport`.
    """
    table = grid_table(records, measure)
    write_table(folder / "runs.csv", table)
    files = [folder / "runs.csv"]
    title = _describe(records)
    notes = _describe_gaps(records)
    try:
        check_mixture(record for record in records if record.state == "finished")
    except UserError as error:
        for name in _AVERAGES:
            (folder / name).unlink(missing_ok=True)
        shutil.rmtree(folder / _EVENTS, ignore_errors=True)
        empty = pd.DataFrame()
        return GridReport(title=title, table=table, gains=empty, files=files, notes=notes, refusal=str(error))
    frame = _network_frame(records, measure)
    by = width_field([record.config for record in records])
    gains = pd.DataFrame()
    if not frame.empty and frame[by].nunique() > 1:
        skip_first = ("redundancy",) if measure.protocol == "authors" else ()
        gains = gain_table(frame, skip_first=skip_first, by=by)
        gains = _add_untrained(gains, frame, untrained or {}, measure, skip_first, by)
        write_table(folder / "gains.csv", gains)
        figure = plot_against_width(frame, _PLOTTED, title=title, skip_first=skip_first, by=by)
        picture = write_figure(folder / "width.png", figure, _FIGURE_DPI)
        files += [folder / "gains.csv", folder / "width.png"]
        files.append(write_width_events(folder / _EVENTS, frame, by=by, picture=picture))
    curves = _chunked_curves(records)
    if curves:
        write_table(folder / "chunks.csv", _width_tables(curves, measure))
        split = measure.measured_splits[0]
        split = split if all(split in r.chunks for members in curves.values() for r in members) else "train"
        figure = plot_widths(curves, split=split, title=title)
        write_figure(folder / "chunks.png", figure, _FIGURE_DPI)
        files += [folder / "chunks.csv", folder / "chunks.png"]
    return GridReport(title=title, table=table, gains=gains, files=files, notes=notes)


def _describe_gaps(records: Sequence[RunRecord]) -> list[str]:
    """Runs that are not finished, and seeds that curves lack."""
    states = collections.Counter(record.state for record in records if record.state != "finished")
    notes = [f"{number} of {len(records)} runs {state}" for state, number in states.items()]
    names = _name_curves(records)
    by = width_field([record.config for record in records])
    seeds: dict[tuple[str, float], list[int]] = {}
    for record in records:
        finished = seeds.setdefault((names[record.run_dir.name], width_of(record.config, by)), [])
        if record.state == "finished":
            finished.append(record.config.training.seed)
    return notes + describe_missing_seeds(seeds)


def _chunked_curves(records: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    """Curve -> its runs with chunks, of the curves with several widths of the last hidden layer."""
    # A width of the last layer alone is what a curve runs over; the size of the rest then is not.
    varied = [name for name in varied_settings([record.config for record in records]) if name != "last_width"]
    if any(record.config.model.last_width for record in records) and len({record.size for record in records}) > 1:
        varied.append("size")
    found: dict[str, list[RunRecord]] = {}
    for record in records:
        if "train" in record.chunks:
            found.setdefault(_curve_name(record, varied), []).append(record)
    return {
        curve: members
        for curve, members in found.items()
        if len({record.chunks["train"].width for record in members}) > 1
    }


def _width_tables(by_curve: Mapping[str, Sequence[RunRecord]], measure: MeasureConfig) -> pd.DataFrame:
    """Full networks against chunks of the widest, of every curve."""
    parts = []
    for curve, members in by_curve.items():
        for split in dict.fromkeys(("train", measure.measured_splits[0])):
            known = [record for record in members if split in record.chunks]
            if len({record.chunks[split].width for record in known}) > 1:
                table = width_table(known, split).reset_index()
                parts.append(table.assign(curve=curve, split=split))
    return pd.concat(parts, ignore_index=True)


def _add_untrained(
    gains: pd.DataFrame,
    frame: pd.DataFrame,
    untrained: Mapping[str, RunRecord],
    measure: MeasureConfig,
    skip_first: Sequence[str],
    by: str,
) -> pd.DataFrame:
    """A column with the gain of the same networks before training, where all of a curve's are there."""
    names = {record.run_dir.name for record in untrained.values()}
    trained = frame[~frame["run"].isin(names)]
    complete = trained.groupby("curve")["run"].agg(lambda runs: all(run in untrained for run in runs))
    curves = complete[complete].index
    if gains.empty or not len(curves):
        return gains
    parts = []
    for run, curve in trained[trained["curve"].isin(curves)].groupby("run")["curve"].first().items():
        record = untrained[run]
        part = _views(tabulate([record], measure), measure)
        parts.append(part.assign(curve=curve, **{by: width_of(record.config, by)}))
    beside = gain_table(pd.concat(parts).drop_duplicates(), skip_first=skip_first, by=by)
    if beside.empty:
        return gains
    column = beside.set_index(["curve", "measure"])["gain"].rename("untrained_gain")
    return gains.join(column, on=["curve", "measure"])


def _views(frame: pd.DataFrame, measure: MeasureConfig) -> pd.DataFrame:
    """Numbers of whole networks on the first measured split, of the first kind of unit; accuracies on test."""
    split = measure.measured_splits[0]
    wanted = (frame["tap"] == NETWORK) & (
        ((frame["measure"] == "accuracy") & (frame["split"] == "test"))
        | ((frame["measure"] != "accuracy") & (frame["split"] == split))
    )
    return frame[wanted & frame["unit"].isin(["", first_unit(measure)])].copy()


def _describe(records: Sequence[RunRecord]) -> str:
    """Networks and data of a grid."""
    models, data = (
        " and ".join(dict.fromkeys(names))
        for names in ([r.config.model.model for r in records], [r.config.data.dataset for r in records])
    )
    return f"{models} on {data}"


def _network_frame(records: Sequence[RunRecord], measure: MeasureConfig) -> pd.DataFrame:
    """Numbers of whole networks on the first measured split (accuracy: on test), with columns that name curves and
    hold the width.
    """
    frame = _views(tabulate([record for record in records if record.state == "finished"], measure), measure)
    by = width_field([record.config for record in records])
    frame["curve"] = frame["run"].map(_name_curves(records))
    frame[by] = frame["run"].map({record.run_dir.name: width_of(record.config, by) for record in records})
    return frame


def _name_curves(records: Sequence[RunRecord]) -> dict[str, str]:
    """Name of a run -> its curve."""
    configs = [record.config for record in records]
    by = width_field(configs)
    varied = [name for name in varied_settings(configs) if name != by]
    return {record.run_dir.name: _curve_name(record, varied) for record in records}


def _curve_name(record: RunRecord, varied: Sequence[str]) -> str:
    """What a run's curve differs in from the others."""
    own = flat_settings(record.config)
    # A layer whose width was not given grows with the size, along the curve.
    told = [name for name in varied if name not in WIDTHS or own[name] is not None]
    named = [str(own[name]) if name in ("model", "dataset") else f"{name} {own[name]}" for name in told]
    return ", ".join(named) or own["model"]
