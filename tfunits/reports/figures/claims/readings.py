"""Numbers of runs that no table of measures holds, for the claims that speak of them: seed -> number, of one width."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tfunits.artifacts import read_json
from tfunits.configs import NETWORK, MeasureConfig, VisualizationConfig, short_hash
from tfunits.reports.drawings import is_drawn, read_drawing
from tfunits.reports.figures.lines import MEASURES, Line
from tfunits.reports.figures.runs import Runs
from tfunits.reports.records import RunRecord, first_unit
from tfunits.reports.sweeps import sampling_table
from tfunits.reports.width_test import DrawnRun, pair_widths, width_test
from tfunits.statistics import gain

# Of |r|, as the ICLR paper's violins show it.
UPPER_QUANTILE = 0.95


def members(line: Line, width: float) -> dict[int, RunRecord]:
    """Seed -> the record of a line's network of one width."""
    return {seed: line.records[name] for seed, name in line.members[width].items()}


def training_accuracies(line: Line, width: float) -> dict[int, float]:
    """Accuracy on the training data, with the labels that were trained on."""
    found = {seed: record.accuracy.get("train", {}).get("accuracy") for seed, record in members(line, width).items()}
    return {seed: value for seed, value in found.items() if value is not None}


def agreements(line: Line, width: float) -> dict[int, np.ndarray]:
    """Mean over draws of the agreement at every level, of units ablated in all taps at once."""
    measure = line.runs.measure
    key = (measure.measured_splits[0], first_unit(measure))
    found = {seed: record.curves.get(key, {}).get(NETWORK) for seed, record in members(line, width).items()}
    return {seed: curve.agreement.mean(axis=0) for seed, curve in found.items() if curve is not None}


def gains_at_tolerance(line: Line, letter: str, tolerance: float) -> dict[int, float]:
    """Seed -> the network's gain of P or R at another tolerance, from stored raw counts; seeds with every width."""
    by_seed: dict[int, dict[float, float]] = {}
    for width in line.widths:
        for seed, record in members(line, width).items():
            value = _share_at_tolerance(record, letter, tolerance, line.runs.measure)
            by_seed.setdefault(seed, {}).update({} if value is None else {width: value})
    return {seed: gain(values).value for seed, values in by_seed.items() if len(values) == len(line.widths)}


def _share_at_tolerance(record: RunRecord, letter: str, tolerance: float, measure: MeasureConfig) -> float | None:
    split = measure.measured_splits[0]
    if letter == "P":
        curve = record.curves.get((split, first_unit(measure)), {}).get(NETWORK)
        by_mean = measure.standard_error is not None
        return None if curve is None else curve.prunability(tolerance, size=record.size, by_mean=by_mean)[0]
    options = {"rule": measure.protocol, "size": record.size}
    shares = [units.redundancy(1 - tolerance, **options)[0] for units in record.statistics.get(split, {}).values()]
    return float(np.mean(shares)) if shares else None


def correlation_counts(line: Line, width: float, tap: str) -> dict[int, np.ndarray]:
    """Pairs of units by |r|, in equal bins of [0, 1], summed over samplings; seeds without a pair are left out."""
    split = line.runs.measure.measured_splits[0]
    found = {}
    for seed, record in members(line, width).items():
        units = record.statistics.get(split, {}).get(tap)
        if units is not None and units.correlation_histogram.any():
            found[seed] = units.correlation_histogram.sum(axis=0)
    return found


def mean_correlations(line: Line, width: float, tap: str) -> dict[int, float]:
    """Mean |r| over pairs of units, each taken at the middle of its bin, which is at most 0.01 off."""
    return {
        seed: float(np.average((np.arange(len(counts)) + 0.5) / len(counts), weights=counts))
        for seed, counts in correlation_counts(line, width, tap).items()
    }


def high_correlation_shares(line: Line, width: float, tap: str, threshold: float = 0.5) -> dict[int, float]:
    """Share of the pairs of units with |r| at or above a threshold, which is the edge of a bin."""
    return {
        seed: float(counts[round(threshold * len(counts)) :].sum() / counts.sum())
        for seed, counts in correlation_counts(line, width, tap).items()
    }


def upper_correlations(line: Line, width: float, tap: str, quantile: float = UPPER_QUANTILE) -> dict[int, float]:
    """The |r| below which a share of the pairs of units lies, interpolated within its bin."""
    found = {}
    for seed, counts in correlation_counts(line, width, tap).items():
        cumulated = np.concatenate([[0], np.cumsum(counts)]) / counts.sum()
        found[seed] = float(np.interp(quantile, cumulated, np.linspace(0, 1, len(counts) + 1)))
    return found


def correlation_bin(line: Line, width: float, tap: str) -> float:
    """Width of the bins in which pairs of units are counted by |r|; NaN where there are none."""
    counts = next(iter(correlation_counts(line, width, tap).values()), None)
    return float("nan") if counts is None else 1 / len(counts)


def past_epochs(line: Line, width: float, letters: Sequence[str]) -> dict[int, dict[str, dict[int, float]]]:
    """Epochs before the end -> letter -> seed -> the network's measure then; of runs with the step dynamics."""
    measure, table = line.runs.measure, line.runs.dynamics
    found: dict[int, dict[str, dict[int, float]]] = {}
    if table.empty:
        return found
    units, split = ("", first_unit(measure)), measure.measured_splits[0]
    known = table[(table["tap"] == NETWORK) & table["unit"].isin(units) & (table["split"] == split)]
    known = known[known["run"].isin(line.members[width].values())].dropna(subset="value")
    for letter in letters:
        rows = known[known["measure"] == MEASURES[letter]]
        for past, seed, value in zip(rows["epochs_to_end"], rows["seed"], rows["value"], strict=True):
            found.setdefault(int(past), {}).setdefault(letter, {})[int(seed)] = float(value)
    return found


def sampling_spreads(line: Line, width: float) -> dict[int, float]:
    """Standard deviation of R over independent samplings of positions, relative to its mean."""
    by_name = {record.run_dir.name: seed for seed, record in members(line, width).items()}
    table = sampling_table(list(members(line, width).values()), line.runs.measure)
    table = table[(table["measure"] == "redundancy") & (table["split"] == line.runs.measure.measured_splits[0])]
    return {by_name[row.run]: float(row.relative_std) for row in table.itertuples() if np.isfinite(row.relative_std)}


def drawing_tests(runs: Runs) -> pd.DataFrame:
    """The width test of every pair of a thin and a wide network whose units were drawn in the same way."""
    drawn = [*runs.drawn, *map(_read_drawn, runs.records)]
    return width_test(pair_widths([run for run in drawn if run.drawings]), VisualizationConfig())


def _read_drawn(record: RunRecord) -> DrawnRun:
    """The run with its images; of several ways of drawing that with the most taps."""
    ways: dict[str, dict] = {}
    for path in sorted(record.run_dir.visualizations.glob("*.json")):
        if is_drawn(path):
            settings = {name: value for name, value in read_json(path).get("settings", {}).items() if name != "tap"}
            drawing = read_drawing(path)
            ways.setdefault(short_hash(settings), {})[drawing.tap] = drawing
    drawings: Mapping = max(ways.values(), key=len, default={})
    return DrawnRun(name=record.run_dir.name, config=record.config, drawings=drawings)
