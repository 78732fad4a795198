"""How the numbers of runs depend on how they are read: tolerances, splits, samplings; and the untrained networks."""

import dataclasses
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from tfunits.configs import MeasureConfig
from tfunits.reports.frames import tabulate
from tfunits.reports.records import NETWORK, RunRecord, find_runs, read_run
from tfunits.statistics import REFERENCE_SIZE, count_redundant

# AAAI section 4, the tolerances that its authors tried; CLAIMS F27.
PRUNABILITY_TOLERANCES = (0.1, 0.2, 0.3, 0.4, 0.5)
REDUNDANCY_TOLERANCES = (0.05, 0.1, 0.15)


def tolerance_table(
    records: Sequence[RunRecord],
    measure: MeasureConfig | None = None,
    *,
    prunability: Sequence[float] = PRUNABILITY_TOLERANCES,
    redundancy: Sequence[float] = REDUNDANCY_TOLERANCES,
) -> pd.DataFrame:
    """Prunability and redundancy of every network at several tolerances, from the stored raw counts.

    Args:
      records: measured runs.
      measure: with which options they were measured; the defaults if None.
      prunability: shares of changed predictions.
      redundancy: shares of variance that may be lost.

    Returns: columns run, model, dataset, size, seed, split, unit, measure, tolerance, value; networks only.
    """
    measure = measure or MeasureConfig()
    parts = []
    for name, tolerances in (("prunability", prunability), ("redundancy", redundancy)):
        for tolerance in tolerances:
            field = {"tolerance": tolerance} if name == "prunability" else {"variance_fraction": 1 - tolerance}
            frame = tabulate(records, dataclasses.replace(measure, **field))
            frame = frame[(frame["tap"] == NETWORK) & (frame["measure"] == name)]
            parts.append(frame.drop(columns=["state", "tap"]).assign(tolerance=tolerance))
    columns = ["run", "model", "dataset", "size", "seed", "split", "unit", "measure", "tolerance", "value"]
    return pd.concat(parts, ignore_index=True)[columns]


def split_table(
    records: Sequence[RunRecord],
    measure: MeasureConfig | None = None,
    measures: Sequence[str] = ("prunability", "redundancy", "similarity", "area"),
) -> pd.DataFrame:
    """Measures of every network on training and on test data, side by side.

    Args:
      records: runs measured on both (`--measured_splits=train,test`).
      measure: with which options they were measured; the defaults if None.
      measures: which.

    Returns: columns run, model, dataset, size, seed, unit, measure, train, test, difference; runs without one of the
      splits are left out.
    """
    frame = tabulate(records, measure)
    frame = frame[(frame["tap"] == NETWORK) & frame["measure"].isin(measures) & frame["split"].isin(["train", "test"])]
    keys = ["run", "model", "dataset", "size", "seed", "unit", "measure"]
    wide = frame.pivot_table(index=keys, columns="split", values="value", sort=False, observed=True)
    wide = wide.reindex(columns=["train", "test"]).dropna().reset_index().rename_axis(columns=None)
    return wide.assign(difference=wide["train"] - wide["test"])


def sampling_table(records: Sequence[RunRecord], measure: MeasureConfig | None = None) -> pd.DataFrame:
    """How much redundancy and similarity differ between the independent samplings of positions.

    Args:
      records: measured runs.
      measure: with which options they were measured; the defaults if None.

    Returns: one row a run, split and measure: the network's mean over samplings (redundancy as elsewhere against size
      4), its standard deviation (n - 1), and their quotient. Taps of which every position was read count with the same
      value in each sampling; runs without any sampled tap are left out.

    Source: Casper et al. 2021, appendix D; CLAIMS F29.
    """
    measure = measure or MeasureConfig()
    rows = []
    for record in records:
        for split, taps in record.statistics.items():
            counts = [len(units.mean) for units in taps.values()]
            if max(counts) < 2:
                continue
            redundant, similar = [], []
            for tap, units in taps.items():
                size = record.tap_size(tap)
                scale = 1 if size is None else size / REFERENCE_SIZE
                shares = [
                    scale * count_redundant(v, measure.variance_fraction, rule=measure.protocol) / units.num_units
                    for v in units.principal_variances
                ]
                redundant.append(np.resize(shares, max(counts)))
                similar.append(np.resize(units.num_similar.mean(axis=1), max(counts)))
            for name, values in (("redundancy", redundant), ("similarity", similar)):
                network = np.mean(values, axis=0)
                mean, std = network.mean(), network.std(ddof=1)
                rows.append({
                    "run": record.run_dir.name,
                    "split": split,
                    "measure": name,
                    "samplings": max(counts),
                    "mean": mean,
                    "std": std,
                    "relative_std": std / mean if mean else np.nan,
                })  # fmt: skip
    return pd.DataFrame(rows, columns=["run", "split", "measure", "samplings", "mean", "std", "relative_std"])


def find_untrained(
    records: Iterable[RunRecord], run_root: str | pathlib.Path, measure: MeasureConfig | None = None
) -> dict[str, RunRecord]:
    """Name of a run -> the record of the same network, data and seed without training, where it was measured.

    An untrained network is a run with `--epochs=0`.

    Args:
      records: of the runs.
      run_root: below which to look.
      measure: with which options they were measured; the defaults if None.
    """
    records = list(records)
    sought = {(record.config.model, record.config.data, record.config.training.seed) for record in records}
    read = {record.run_dir.name: record for record in records}
    found = {}
    for run_dir in find_runs(run_root) if pathlib.Path(run_root).is_dir() else ():
        try:
            config = read[run_dir.name].config if run_dir.name in read else run_dir.config()
            key = (config.model, config.data, config.training.seed)
            if config.training.epochs != 0 or key not in sought:
                continue
            record = read.get(run_dir.name) or read_run(run_dir, measure)
        except (ValueError, TypeError, AttributeError, OSError):
            # Not one of these runs, which were read whole.
            continue
        if record.curves or record.statistics:
            found[key] = record
    keys = {r.run_dir.name: (r.config.model, r.config.data, r.config.training.seed) for r in records}
    return {name: found[key] for name, key in keys.items() if key in found}
