"""Finished runs as one tidy frame of every number, and that frame as a file."""

import pathlib
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tfunits.artifacts import replacing
from tfunits.configs import NETWORK, MeasureConfig, check_export
from tfunits.reports.records import RunRecord, find_runs, flat_settings, read_runs
from tfunits.reports.widths import network_size
from tfunits.statistics import STRICTLY_FITTED_ERROR, AblationCurve, UnitStatistics

_COLUMNS = ("run", "model", "dataset", "size", "seed", "state", "split", "unit", "tap", "measure", "value")
# Settings that are columns of every frame; any other is where runs differ in it.
_SETTINGS = (
    "layer_size", "last_width", "num_examples", "random_labels", "data_seed", "initializer", "init_scale", "optimizer",
    "learning_rate", "batch_size", "k", "epochs", "regularizers", "weight_decay",
)  # fmt: skip
_NAMED = ("model", "dataset", "size", "seed")
# A field whose name is that of another column.
_RENAMED = {"split": "split_rule"}


def load(run_root: str | pathlib.Path, measure: MeasureConfig | None = None, *, dynamics: bool = False) -> pd.DataFrame:
    """Every number of every run below a root, as one tidy frame: a row a run, tap and measure.

    A damaged run is left out with a warning, and stands in `frame.attrs["damaged"]`: name -> what is wrong.

    Args:
      run_root: folder of run directories.
      measure: with which options runs were measured; the defaults if None.
      dynamics: whether what was measured after kept epochs is there too.

    Returns: columns run, model, dataset, size, seed, the settings layer_size, last_width, num_examples, random_labels,
      data_seed, initializer, init_scale, optimizer, learning_rate, batch_size, k, epochs, regularizers, weight_decay
      (the chosen one) and every other in which runs differ, version (of tfunits), state, epoch (missing for the trained
      network), split, unit, tap ("network" for the whole), measure, value. Text is categorical. Shares of prunable and
      redundant units count against the network at size 4.

    Raises:
      ValueError: the root is no folder.

    Example:
      `tfunits.reports.load("runs").query("measure == 'prunability' and tap == 'network'")`
    """
    records, damaged = read_runs(find_runs(run_root), measure, dynamics=dynamics)
    for name, problem in damaged.items():
        warnings.warn(f"{name} is left out: {problem}", stacklevel=2)
    frame = tabulate_settings(records, measure)
    frame.attrs["damaged"] = damaged
    return frame


def tabulate(records: Iterable[RunRecord], measure: MeasureConfig | None = None) -> pd.DataFrame:
    """Every number of the given runs, as one tidy frame.

    Args:
      records: of the runs.
      measure: with which options they were measured; the defaults if None.

    Returns: columns run, model, dataset, size, seed, state, split, unit, tap, measure, value.
    """
    measure = measure or MeasureConfig()
    rows = []
    for record in records:
        config = record.config
        run = (record.run_dir.name, config.model.model, config.data.dataset, config.model.size, config.training.seed)
        rows += [(*run, record.state, *numbers) for numbers in _numbers(record, measure)]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def tabulate_settings(records: Sequence[RunRecord], measure: MeasureConfig | None = None) -> pd.DataFrame:
    """Every number of the given runs with the settings of each; arguments and columns as `load`.

    Rows of what was measured after kept epochs are there for records that hold it.
    """
    measure = measure or MeasureConfig()
    settings = _setting_table(records)
    runs, epochs, numbers = [], [], []
    for index, record in enumerate(records):
        for epoch, known in [(None, record), *record.dynamics.items()]:
            found = list(_numbers(known, measure))
            numbers += found
            runs += [index] * len(found)
            epochs += [epoch] * len(found)
    frame = settings.iloc[runs].reset_index(drop=True)
    frame["epoch"] = pd.array(epochs, dtype="Int64")
    *texts, values = list(zip(*numbers, strict=True)) or [()] * 5
    for name, column in zip(("split", "unit", "tap", "measure"), texts, strict=True):
        frame[name] = pd.Categorical(column)
    frame["value"] = np.asarray(values, dtype="float64")
    return frame


def _setting_table(records: Sequence[RunRecord]) -> pd.DataFrame:
    """One row a run: its name, settings, version and state; text categorical."""
    rows = []
    for record in records:
        own = flat_settings(record.config)
        own["num_examples"] = record.config.data.num_train
        if record.chosen_weight_decay is not None:
            own["weight_decay"] = record.chosen_weight_decay
        rows.append(own)
    varied = [name for name in (rows[0] if rows else ()) if len({row[name] for row in rows}) > 1]
    names = dict.fromkeys((*_NAMED, *_SETTINGS, *varied))
    columns: dict[str, Sequence[Any]] = {"run": [record.run_dir.name for record in records]}
    columns |= {_RENAMED.get(name, name): [row[name] for row in rows] for name in names}
    columns["version"] = [record.environment.get("tfunits") for record in records]
    columns["state"] = [record.state for record in records]
    return pd.DataFrame({name: _as_column(values) for name, values in columns.items()})


def _as_column(values: Sequence[Any]) -> pd.Series:
    """Text as categories, other settings as numbers; a missing number as NaN."""
    if any(isinstance(value, str) for value in values):
        return pd.Series(pd.Categorical(values))
    if all(isinstance(value, bool) for value in values):
        return pd.Series(values, dtype=bool)
    is_whole = all(isinstance(value, int) for value in values)
    return pd.Series(values, dtype="int64" if is_whole else "float64")


def export_frame(path: str | pathlib.Path, frame: pd.DataFrame) -> pathlib.Path:
    """Write a frame of results as a file, whole or not at all.

    Args:
      path: ends in .parquet (which needs pyarrow, of the extra export), .csv or .json (a list of rows).
      frame: of `load` or `tabulate_settings`.

    Returns: the path.

    Raises:
      UserError: another suffix, or no pyarrow.
      OSError: the file cannot be written.
    """
    check_export(str(path))
    path = pathlib.Path(path)
    with replacing(path) as temporary:
        if path.suffix == ".parquet":
            frame.to_parquet(temporary, index=False)
        elif path.suffix == ".csv":
            frame.to_csv(temporary, index=False, lineterminator="\n")
        else:
            frame.to_json(temporary, orient="records", double_precision=15)
    return path


def _numbers(record: RunRecord, measure: MeasureConfig) -> Iterator[tuple[str, str, str, str, float]]:
    """(split, unit, tap, measure, value) of everything measured."""
    for split, values in record.accuracy.items():
        for name, value in values.items():
            yield split, "", NETWORK, name, np.nan if value is None else value
    for (split, unit), taps in record.curves.items():
        units = {tap: curve.num_units for tap, curve in taps.items() if tap != NETWORK}
        for tap, curve in taps.items():
            size = network_size(record.config, units) if tap == NETWORK else record.tap_size(tap)
            area = curve.area if tap != NETWORK else _mean_area(taps)
            at_end = float(curve.agreement[:, -1].mean())
            if unit == "noise":
                # A size of noise, which no width scales.
                noise = float(curve.crossings(measure.tolerance).mean())
                found = {"noise_tolerance": noise, "agreement_at_largest": at_end}
            else:
                found = {**_prunable_numbers(curve, size, measure), "agreement_at_1": at_end}
            for name, value in {**found, "area": area}.items():
                yield split, unit, tap, name, value
    yield from _chunk_numbers(record)
    for split, by_tap in record.statistics.items():
        found = {tap: _unit_numbers(units, record.tap_size(tap), measure) for tap, units in by_tap.items()}
        for tap, values in found.items():
            for name, value in values.items():
                yield split, "", tap, name, value
        for name in ("redundancy", "non_redundancy", "compressibility", "similarity"):
            yield split, "", NETWORK, name, float(np.mean([values[name] for values in found.values()]))
        for name in ("units", "dead", "silent", "constant"):
            yield split, "", NETWORK, name, float(np.sum([values[name] for values in found.values()]))


def _prunable_numbers(curve: AblationCurve, size: float | None, measure: MeasureConfig) -> dict[str, float]:
    options = {"size": size, "by_mean": measure.standard_error is not None}
    prunable, mean = curve.prunability(measure.tolerance, **options)
    left = curve.non_prunability(measure.tolerance, **options)
    return {"prunability": prunable, "mean_prunability": mean, "non_prunability": left}


def _chunk_numbers(record: RunRecord) -> Iterator[tuple[str, str, str, str, float]]:
    """(split, unit, tap, measure, value) of the last hidden layer, of kinds of units and of dropout stability."""
    for split, errors in record.chunks.items():
        found = {
            "clone_size": errors.clone_size(),
            "clone_size_at_0.1%": errors.clone_size(STRICTLY_FITTED_ERROR),
            "clones": errors.num_clones(),
        }
        for name, value in found.items():
            yield split, "", NETWORK, name, np.nan if value is None else value
        yield split, "", NETWORK, "last_width", errors.width
    for stored in record.values.get("dimension", ()):
        yield (
            stored["settings"]["split"],
            "",
            NETWORK,
            "intrinsic_dimension",
            np.nan if stored["value"] is None else stored["value"],
        )
    for stored in record.values.get("kinds", ()):
        for tap, row in [*stored["taps"].items(), (NETWORK, stored["network"])]:
            for name, value in row.items():
                if name not in ("units", "rank_limited", "silent", "constant"):
                    yield stored["settings"]["split"], "", tap, name, value
    for stored in record.values.get("stability", ()):
        unit = f"half dropped, times {stored['settings']['factor']:g}"
        for name in ("loss", "error"):
            change = float(np.mean(stored[f"dropped_{name}"])) - stored[name]
            yield stored["settings"]["split"], unit, NETWORK, f"{name}_change", change


def _mean_area(taps: dict[str, AblationCurve]) -> float:
    return float(np.mean([curve.area for tap, curve in taps.items() if tap != NETWORK]))


def _unit_numbers(units: UnitStatistics, size: float | None, measure: MeasureConfig) -> dict[str, float]:
    redundant, not_redundant = units.redundancy(measure.variance_fraction, rule=measure.protocol, size=size)
    raw_share, _ = units.redundancy(measure.variance_fraction, rule=measure.protocol)
    return {
        "redundancy": redundant,
        "non_redundancy": not_redundant,
        "compressibility": 100 * raw_share,
        "similarity": units.mean_similar(constant_counts=-1 if measure.protocol == "authors" else 0),
        "units": units.num_units,
        "dead": int(units.dead.sum()),
        "silent": int(units.silent().sum()),
        "constant": int(units.nearly_constant().sum()),
        "rows": units.num_rows,
        "rank_limited": float(units.rank_limited),
    }
