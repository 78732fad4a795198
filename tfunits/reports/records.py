"""Finished runs as tables: one tidy frame of every number."""

import dataclasses
import json
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tfunits.artifacts import RunDir, read_arrays, read_json
from tfunits.configs import NETWORK, VARIED_BLOCK, ExperimentConfig, MeasureConfig, UserError, resolve_defaults
from tfunits.statistics import (
    STRICTLY_FITTED_ERROR,
    AblationCurve,
    ChunkErrors,
    ReconstructionCurve,
    UnitStatistics,
)

_EPOCH = re.compile(r"@(\d+)-")
_COLUMNS = ("run", "model", "dataset", "size", "seed", "state", "split", "unit", "tap", "measure", "value")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What one run directory holds.

    Attributes:
      run_dir: where.
      config: the experiment.
      state: of `artifacts.STATES`.
      accuracy: split -> {"accuracy": ..., "loss": ...}.
      curves: (split, unit) -> tap -> curve; the joint curve under "network". Of other than random orders the unit has
        the order behind it: "channel targeted"; of noise and of weights it is "noise" or "weights".
      statistics: split -> tap -> statistics of its units.
      chunks: split -> errors of chunks of the last hidden layer.
      reconstructions: (split, target) -> reconstruction from such chunks.
      values: measure -> what its JSON holds, one entry a file: of dimension, kinds and stability.
      chosen_weight_decay: what validation chose, where there was a choice.
    """

    run_dir: RunDir
    config: ExperimentConfig
    state: str
    accuracy: dict[str, dict[str, float]]
    curves: dict[tuple[str, str], dict[str, AblationCurve]]
    statistics: dict[str, dict[str, UnitStatistics]]
    chunks: dict[str, ChunkErrors] = dataclasses.field(default_factory=dict)
    reconstructions: dict[tuple[str, str], ReconstructionCurve] = dataclasses.field(default_factory=dict)
    values: dict[str, list[dict[str, Any]]] = dataclasses.field(default_factory=dict)
    chosen_weight_decay: float | None = None

    @property
    def size(self) -> float | None:
        """Width multiplier; None for a user's own network, whose fractions stay raw."""
        return None if self.config.model.is_file else self.config.model.size

    def tap_size(self, tap: str) -> float | None:
        """Width multiplier of a tap's layer, which for one block of inception_v3 is its own."""
        if tap == VARIED_BLOCK and self.config.model.layer_size is not None:
            return self.config.model.layer_size
        return self.size

    def outputs(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """The network's outputs [examples, classes] and the labels on a split, as its run has stored them.

        Raises:
          UserError: a run that has none.
        """
        names = [split, f"{split}_labels"]
        if self.run_dir.logits.is_file():
            found = read_arrays(self.run_dir.logits)
            if split in found:
                return found[split], found[names[1]]
        raise UserError(f"{self.run_dir.name}: expected stored outputs on {split} data; add the step measure")


def find_runs(run_root: str | pathlib.Path) -> list[RunDir]:
    """The run directories below a root, by name.

    Raises:
      ValueError: the root is no folder.
    """
    root = pathlib.Path(run_root)
    if not root.is_dir():
        raise ValueError(f"run_root: expected a folder of runs, received {str(run_root)!r}, which is none")
    return [RunDir(path.parent) for path in sorted(root.glob("*/config.json"))]


def read_dynamics(run_dir: RunDir, measure: MeasureConfig | None = None) -> dict[int, RunRecord]:
    """Epoch -> what was measured after it, of the epochs that the step dynamics measured, rising.

    Arguments and errors as `read_run`.
    """
    return {epoch: read_run(run_dir, measure, epoch=epoch) for epoch in read_epochs(run_dir)}


def read_epochs(run_dir: RunDir) -> list[int]:
    """Epochs that the step dynamics measured, with whatever options, rising."""
    return sorted({int(found[1]) for path in run_dir.measures.glob("*@*.json") if (found := _EPOCH.search(path.name))})


def read_run(run_dir: RunDir, measure: MeasureConfig | None = None, *, epoch: int | None = None) -> RunRecord:
    """Everything that a run directory holds of one way of measuring.

    Args:
      run_dir: of the run.
      measure: which options, where a run was measured with several; the defaults if None.
      epoch: what the step dynamics measured after this epoch; of the trained network if None.

    Raises:
      ValueError: a damaged file; the error names it.
    """
    measure = measure or MeasureConfig()
    curves: dict[tuple[str, str], dict[str, AblationCurve]] = {}
    statistics: dict[str, dict[str, UnitStatistics]] = {}
    accuracy, chunks, reconstructions, values = {}, {}, {}, {}
    mark = "" if epoch is None else f"@{epoch}"
    for path in sorted(run_dir.measures.glob(f"*{mark}-*.json")):
        if epoch is None and "@" in path.name:
            continue
        stored = read_json(path)
        try:
            settings = stored["settings"]
            if not _is_wanted(stored["measure"], settings, measure):
                continue
            if stored["measure"] == "accuracy":
                accuracy = stored["splits"]
            elif stored["measure"] == "ablation":
                curves[settings["split"], _unit_label(settings)] = _read_curves(stored)
            elif stored["measure"] == "units":
                arrays = read_arrays(path.with_suffix(".npz"))
                statistics[settings["split"]] = _split_arrays(arrays, list(stored["taps"]))
            elif stored["measure"] == "chunks":
                chunks[settings["split"]] = ChunkErrors.from_arrays(read_arrays(path.with_suffix(".npz")))
            elif stored["measure"] == "reconstruction":
                found = ReconstructionCurve.from_arrays(read_arrays(path.with_suffix(".npz")))
                reconstructions[settings["split"], settings["target"]] = found
            else:
                values.setdefault(stored["measure"], []).append(stored)
        except (KeyError, TypeError, AttributeError, FileNotFoundError) as error:
            raise UserError(
                f"{path}: expected a whole measure, received a damaged one ({error!r}); delete it and measure again"
            ) from None
    config = run_dir.config()
    has_choice = config.training.weight_decay_choices is not None and run_dir.is_done("train")
    return RunRecord(
        run_dir=run_dir,
        config=config,
        state=run_dir.status().get("state", "unknown"),
        accuracy=accuracy,
        curves=curves,
        statistics=statistics,
        chunks=chunks,
        reconstructions=reconstructions,
        values=values,
        chosen_weight_decay=read_json(run_dir.done_file("train"))["weight_decay"] if has_choice else None,
    )


def _unit_label(settings: Mapping[str, Any]) -> str:
    """What one unit of an ablation is, and in which order units went."""
    order = settings.get("order", "random")
    if order in ("noise", "weights"):
        return order
    return settings["unit"] if order == "random" else f"{settings['unit']} {order}"


def first_unit(measure: MeasureConfig) -> str:
    """What summaries show of several ablations: the label of the first kind of unit in the first order."""
    return _unit_label({"unit": measure.ablation_unit[0], "order": measure.ablation_order[0]})


def _read_curves(stored: Mapping[str, Any]) -> dict[str, AblationCurve]:
    taps = {name: AblationCurve.from_dict(values) for name, values in stored["taps"].items()}
    joint = {NETWORK: AblationCurve.from_dict(stored["joint"])} if stored["joint"] else {}
    return {**taps, **joint}


def _is_wanted(name: str, settings: dict[str, Any], measure: MeasureConfig) -> bool:
    """Whether a stored measure was made with the options asked for."""
    if settings.get("examples") != measure.measured_examples:
        return False
    if name == "ablation":
        return (
            settings["draws"], settings["levels"], settings["protocol"], settings["seed"],
            settings.get("standard_error"),
        ) == (
            measure.draws, measure.levels, measure.protocol, measure.measure_seed, measure.standard_error,
        )  # fmt: skip
    if name == "units":
        return (
            settings["max_rows"], settings["samplings"], settings["similarity_threshold"], settings["seed"],
            settings.get("precision", "float32"),
        ) == (
            measure.max_rows or "all", measure.samplings, measure.similarity_threshold, measure.measure_seed,
            measure.moments_precision,
        )  # fmt: skip
    if name == "chunks":
        return (settings["draws"], settings["seed"]) == (measure.chunk_draws, measure.measure_seed)
    if name == "reconstruction":
        return (settings["draws"], settings["seed"]) == (measure.reconstruction_draws, measure.measure_seed)
    if name == "kinds" and (settings["variance_fraction"], settings["max_rows"]) != (
        measure.variance_fraction, measure.max_rows or "all",
    ):  # fmt: skip
        return False
    return settings.get("seed", measure.measure_seed) == measure.measure_seed


def _split_arrays(arrays: dict[str, np.ndarray], taps: list[str]) -> dict[str, UnitStatistics]:
    return {
        tap: UnitStatistics.from_arrays(
            {name.removeprefix(f"{tap}/"): a for name, a in arrays.items() if name.startswith(f"{tap}/")}
        )
        for tap in taps
    }


def load(run_root: str | pathlib.Path, measure: MeasureConfig | None = None) -> pd.DataFrame:
    """Every number of every run below a root, as one tidy frame.

    Args:
      run_root: folder of run directories.
      measure: with which options runs were measured; the defaults if None.

    Returns: columns run, model, dataset, size, seed, state, split, unit, tap ("network" for the whole), measure, value.
      Shares of prunable and redundant units count against the network at size 4.

    Raises:
      ValueError: the root is no folder, or a file is damaged.

    Example:
      `tfunits.reports.load("runs").query("measure == 'prunability' and tap == 'network'")`
    """
    return tabulate((read_run(run_dir, measure) for run_dir in find_runs(run_root)), measure)


def tabulate(records: Iterable[RunRecord], measure: MeasureConfig | None = None) -> pd.DataFrame:
    """Every number of the given runs as one tidy frame; columns as `load`."""
    measure = measure or MeasureConfig()
    rows = []
    for record in records:
        config = record.config
        run = {
            "run": record.run_dir.name,
            "model": config.model.model,
            "dataset": config.data.dataset,
            "size": config.model.size,
            "seed": config.training.seed,
            "state": record.state,
        }
        for split, unit, tap, name, value in _numbers(record, measure):
            rows.append({**run, "split": split, "unit": unit, "tap": tap, "measure": name, "value": value})
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _numbers(record: RunRecord, measure: MeasureConfig) -> Iterator[tuple[str, str, str, str, float]]:
    """(split, unit, tap, measure, value) of everything measured."""
    for split, values in record.accuracy.items():
        for name, value in values.items():
            yield split, "", NETWORK, name, np.nan if value is None else value
    for (split, unit), taps in record.curves.items():
        for tap, curve in taps.items():
            area = curve.area if tap != NETWORK else _mean_area(taps)
            at_end = float(curve.agreement[:, -1].mean())
            if unit == "noise":
                # A size of noise, which no width scales.
                noise = float(curve.crossings(measure.tolerance).mean())
                found = {"noise_tolerance": noise, "agreement_at_largest": at_end}
            else:
                found = {**_prunable_numbers(curve, record.tap_size(tap), measure), "agreement_at_1": at_end}
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


def flat_settings(config: ExperimentConfig) -> dict[str, Any]:
    """Every field of model, data and training by name, as plain values; lists joined by "+"."""
    sections = json.loads(json.dumps(dataclasses.asdict(config)))
    fields = {name: value for part in ("model", "data", "training") for name, value in sections[part].items()}
    return {name: "+".join(map(str, value)) if isinstance(value, list) else value for name, value in fields.items()}


def varied_settings(configs: Sequence[ExperimentConfig]) -> list[str]:
    """Fields, by name, that a user set and in which experiments differ; size and seed are left out.

    A field whose value follows from model and data set by their presets does not count.
    """
    presets = [flat_settings(resolve_defaults(config)) for config in configs]
    settings = [flat_settings(config) for config in configs]

    def is_set(name: str) -> bool:
        return any(own[name] != preset.get(name, own[name]) for own, preset in zip(settings, presets, strict=True))

    return [
        name
        for name in settings[0]
        if name not in ("size", "seed")
        and len({str(own[name]) for own in settings}) > 1
        and (name in ("model", "dataset") or is_set(name))
    ]
