"""The report of a grid: one table, measures against width, gains."""

import dataclasses
import pathlib
from collections.abc import Sequence

import pandas as pd

from tfunits.artifacts import write_figure, write_table
from tfunits.configs import MeasureConfig
from tfunits.reports.plots import plot_against_width
from tfunits.reports.records import NETWORK, RunRecord, flat_settings, tabulate, varied_settings
from tfunits.reports.tables import gain_table, grid_table

_PLOTTED = ("accuracy", "prunability", "redundancy")
_FIGURE_DPI = 130


@dataclasses.dataclass(frozen=True, kw_only=True)
class GridReport:
    """What the runs of a grid have in common and in what they differ.

    Attributes:
      table: one row a run.
      gains: one row a curve and measure; empty without a doubling of width.
      files: what was written.
    """

    table: pd.DataFrame
    gains: pd.DataFrame
    files: Sequence[pathlib.Path]


def report_grid(records: Sequence[RunRecord], measure: MeasureConfig, folder: pathlib.Path) -> GridReport:
    """Write the report of a grid: runs.csv, and where widths differ gains.csv and width.png.

    Args:
      records: the finished runs.
      measure: with which options they were measured.
      folder: where the files go.

    Returns: a `GridReport`.
    """
    table = grid_table(records, measure)
    write_table(folder / "runs.csv", table)
    files = [folder / "runs.csv"]
    frame = _network_frame(records, measure)
    gains = pd.DataFrame()
    if frame["size"].nunique() > 1 and not frame.empty:
        skip_first = ("redundancy",) if measure.protocol == "authors" else ()
        gains = gain_table(frame, skip_first=skip_first)
        write_table(folder / "gains.csv", gains)
        figure = plot_against_width(frame, _PLOTTED, title=_title(frame), skip_first=skip_first)
        write_figure(folder / "width.png", figure, _FIGURE_DPI)
        files += [folder / "gains.csv", folder / "width.png"]
    return GridReport(table=table, gains=gains, files=files)


def _title(frame: pd.DataFrame) -> str:
    names = [" and ".join(dict.fromkeys(frame[column])) for column in ("model", "dataset")]
    return " on ".join(names)


def _network_frame(records: Sequence[RunRecord], measure: MeasureConfig) -> pd.DataFrame:
    """Numbers of whole networks on the first measured split (accuracy: on test), with a column that names curves."""
    frame = tabulate([record for record in records if record.state == "finished"], measure)
    split = measure.measured_splits[0]
    wanted = (frame["tap"] == NETWORK) & (
        ((frame["measure"] == "accuracy") & (frame["split"] == "test"))
        | ((frame["measure"] != "accuracy") & (frame["split"] == split))
    )
    frame = frame[wanted & frame["unit"].isin(["", measure.ablation_unit[0]])].copy()
    varied = varied_settings([record.config for record in records])
    names = {record.run_dir.name: _curve_name(record, varied) for record in records}
    frame["curve"] = frame["run"].map(names)
    return frame


def _curve_name(record: RunRecord, varied: Sequence[str]) -> str:
    """What a run's curve differs in from the others."""
    own = flat_settings(record.config)
    named = [str(own[name]) if name in ("model", "dataset") else f"{name} {own[name]}" for name in varied]
    return ", ".join(named) or own["model"]
