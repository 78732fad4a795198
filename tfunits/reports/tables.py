"""Summary tables for people."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tfunits.configs import MeasureConfig
from tfunits.reports.frames import tabulate
from tfunits.reports.plots import ABLATED
from tfunits.reports.records import NETWORK, RunRecord, first_unit, flat_settings, varied_settings
from tfunits.statistics import gain

_TAP_MEASURES = (
    "units", "prunability", "mean_prunability", "noise_tolerance", "area", "agreement_at_1", "agreement_at_largest",
    "redundancy", "similarity", "dead", "silent", "constant",
)  # fmt: skip
_ALWAYS_SHOWN = ("model", "size", "dataset", "seed")
_GRID_MEASURES = ("prunability", "redundancy", "similarity")
_GAIN_COLUMNS = (
    "curve", "measure", "gain", "gain_mean_over_seeds", "gain_std_over_seeds", "doublings", "left_out",
)  # fmt: skip
# Of numbers with three decimals.
_SMALLEST_DECIMAL = 1e-3


def run_table(record: RunRecord, measure: MeasureConfig) -> pd.DataFrame:
    """One row a tap, the network last: units, prunable, redundant and similar units, dead, silent and constant ones.

    Args:
      record: of a measured run.
      measure: with which options it was measured; the first split and kind of unit are shown.

    Returns: a frame with the taps as index, empty where nothing was measured.
    """
    frame = _first_views(tabulate([record], measure), measure)
    wide = frame[frame["measure"].isin(_TAP_MEASURES)].pivot(index="tap", columns="measure", values="value")
    order = [tap for tap in dict.fromkeys(frame["tap"]) if tap != NETWORK and tap in wide.index]
    order += [NETWORK] if NETWORK in wide.index else []
    return wide.reindex(index=order, columns=[name for name in _TAP_MEASURES if name in wide])


def run_notes(record: RunRecord, measure: MeasureConfig) -> list[str]:
    """What a reader of `run_table` must know: the split, the scale, and which taps have too few rows."""
    split, unit = measure.measured_splits[0], first_unit(measure)
    scale = "shares of the network's own units" if record.size is None else "units here / units at size 4"
    notes = [f"on {split} data, {ABLATED.get(unit, unit)}; prunability and redundancy: {scale}"]
    limited = [tap for tap, units in record.statistics.get(split, {}).items() if units.rank_limited]
    if limited:
        notes.append(f"rank-limited, fewer than 5 rows a unit, so that redundancy is inflated: {', '.join(limited)}")
    return notes


def grid_table(records: Sequence[RunRecord], measure: MeasureConfig) -> pd.DataFrame:
    """One row a run: what sets it apart, its state, its accuracies, and its network's measures."""
    frame = _first_views(tabulate(records, measure), measure, splits=("train", "validation", "test"))
    frame = frame[frame["tap"] == NETWORK]
    known = frame.set_index(["run", "split", "measure"])["value"].to_dict()
    varied = [name for name in varied_settings([record.config for record in records]) if name not in _ALWAYS_SHOWN]
    rows = []
    for record in records:
        name = record.run_dir.name
        settings = flat_settings(record.config)
        row = {field: settings[field] for field in (*_ALWAYS_SHOWN, *varied)}
        row["state"] = record.state
        for split in ("train", "validation", "test"):
            row[f"{split}_accuracy"] = known.get((name, split, "accuracy"), np.nan)
        row |= {m: known.get((name, measure.measured_splits[0], m), np.nan) for m in _GRID_MEASURES}
        rows.append({**row, "run": name})
    return pd.DataFrame(rows)


def gain_table(
    frame: pd.DataFrame,
    measures: Sequence[str] = _GRID_MEASURES,
    *,
    skip_first: Sequence[str] = (),
    by: str = "size",
) -> pd.DataFrame:
    """Gain per doubling of width, of every measure and curve.

    Args:
      frame: from `load` or `tabulate`, with a column "curve" that names the curves, of networks only.
      measures: which.
      skip_first: measures whose smallest doubling is left out, as the authors do for redundancy.
      by: column of the width that doubles.

    Returns: one row a (curve, measure) with at least one doubling: gain on seed means, mean and std of the gains of
      single seeds, doublings averaged, doublings left out because a value is 0.
    """
    rows = []
    for (curve, name), part in frame[frame["measure"].isin(measures)].groupby(["curve", "measure"], sort=False):
        means = part.groupby(by)["value"].mean().to_dict()
        whole = gain(means, skip_first=name in skip_first)
        if not whole.num_doublings + whole.num_left_out:
            continue
        per_seed = [
            gain(one.groupby(by)["value"].mean().to_dict(), skip_first=name in skip_first).value
            for _, one in part.groupby("seed")
        ]
        per_seed = [value for value in per_seed if not np.isnan(value)]
        rows.append({
            "curve": curve,
            "measure": name,
            "gain": whole.value,
            "gain_mean_over_seeds": np.mean(per_seed) if per_seed else np.nan,
            "gain_std_over_seeds": np.std(per_seed, ddof=1) if len(per_seed) > 1 else np.nan,
            "doublings": whole.num_doublings,
            "left_out": whole.num_left_out,
        })  # fmt: skip
    return pd.DataFrame(rows, columns=_GAIN_COLUMNS)


def format_table(table: pd.DataFrame, *, index: bool = True) -> str:
    """A frame as aligned text: counts whole, other numbers with three decimals, nothing for what is missing.

    Numbers between 0 and 0.001 have three digits, since rates such as 0.0001 would read as 0.
    """

    def cell(value: object) -> str:
        if isinstance(value, float):
            if not np.isfinite(value):
                return "" if np.isnan(value) else f"{value:g}"
            if value and abs(value) < _SMALLEST_DECIMAL:
                return f"{value:.3g}"
            return f"{value:.0f}" if value == int(value) and abs(value) >= 2 else f"{value:.3f}"
        return str(value)

    shown = table.map(cell)
    for name in ("size", "seed", "units", "dead", "silent", "constant", "doublings", "left_out"):
        if name in table:
            shown[name] = [f"{value:g}" if pd.notna(value) else "" for value in table[name]]
    return shown.to_string(index=index, index_names=False)


def _first_views(frame: pd.DataFrame, measure: MeasureConfig, splits: Sequence[str] | None = None) -> pd.DataFrame:
    """Only the first measured split (accuracies: `splits`) and the first kind and order of ablation units."""
    first = (frame["split"] == measure.measured_splits[0]) & frame["unit"].isin(["", first_unit(measure)])
    scores = (frame["measure"] == "accuracy") & frame["split"].isin(splits or ())
    return frame[(first & ~frame["measure"].isin(["accuracy", "loss"])) | scores]
