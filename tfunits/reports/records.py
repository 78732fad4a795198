"""What run directories hold, read back."""

import dataclasses
import pathlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tfunits.artifacts import RunDir, read_arrays, read_json
from tfunits.configs import (
    IDENTITY_SECTIONS,
    NETWORK,
    DamageError,
    ExperimentConfig,
    MeasureConfig,
    UserError,
    resolve_defaults,
)
from tfunits.reports.widths import tap_size
from tfunits.statistics import AblationCurve, ChunkErrors, ReconstructionCurve, UnitStatistics

_EPOCH = re.compile(r"@(\d+)-")
# What a measure without a result of its own must hold.
_STORED = {
    "dimension": ("value",),
    "kinds": ("network", "taps"),
    "stability": ("loss", "error", "dropped_loss", "dropped_error"),
}


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
      environment: what it was trained with, of `artifacts.describe_environment`; empty where nothing says so.
      dynamics: epoch -> what was measured after it, where `read_run` was asked for it.
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
    environment: dict[str, Any] = dataclasses.field(default_factory=dict)
    dynamics: dict[int, "RunRecord"] = dataclasses.field(default_factory=dict)

    @property
    def size(self) -> float | None:
        """Width multiplier; None for a user's own network, whose fractions stay raw."""
        return None if self.config.model.is_file else self.config.model.size

    def tap_size(self, tap: str) -> float | None:
        """Width multiplier of a tap's layer, which where that alone was varied is its own; as `size` otherwise."""
        return tap_size(self.config, tap)

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
    epochs = read_epochs(run_dir)
    # Most runs of a grid have none, and need not be opened for that.
    found = _read_epochs(run_dir, measure or MeasureConfig(), epochs) if epochs else {}
    return {epoch: found[epoch] for epoch in epochs}


def read_epochs(run_dir: RunDir) -> list[int]:
    """Epochs that the step dynamics measured, with whatever options, rising."""
    return sorted({int(found[1]) for path in run_dir.measures.glob("*@*.json") if (found := _EPOCH.search(path.name))})


def read_runs(
    run_dirs: Iterable[RunDir], measure: MeasureConfig | None = None, *, dynamics: bool = False
) -> tuple[list[RunRecord], dict[str, str]]:
    """Runs as `read_run` reads each, without those that are damaged.

    Args:
      run_dirs: of the runs.
      measure: which options, where a run was measured with several; the defaults if None.
      dynamics: whether what was measured after kept epochs is read too.

    Returns: the records, and name of a damaged run -> what is wrong with it.
    """
    records, damaged = [], {}
    for run_dir in run_dirs:
        try:
            records.append(read_run(run_dir, measure, dynamics=dynamics))
        except (ValueError, OSError) as error:
            damaged[run_dir.name] = str(error)
    return records, damaged


def read_run(
    run_dir: RunDir, measure: MeasureConfig | None = None, *, epoch: int | None = None, dynamics: bool = False
) -> RunRecord:
    """Everything that a run directory holds of one way of measuring; no file is read twice.

    Args:
      run_dir: of the run.
      measure: which options, where a run was measured with several; the defaults if None.
      epoch: what the step dynamics measured after this epoch; of the trained network if None.
      dynamics: whether the record of the trained network holds what was measured after every kept epoch too.

    Raises:
      ValueError: a damaged file; the error names it.
      OSError: no such run, or a file that cannot be read.
    """
    found = _read_epochs(run_dir, measure or MeasureConfig(), None if dynamics else (epoch,))
    if not dynamics:
        return found[epoch]
    kept = {number: found[number] for number in sorted(number for number in found if number is not None)}
    return dataclasses.replace(found[None], dynamics=kept)


def _read_epochs(
    run_dir: RunDir, measure: MeasureConfig, epochs: Collection[int | None] | None
) -> dict[int | None, RunRecord]:
    """Epoch -> its record, of the given epochs or of all; the trained network's under None."""
    common = _read_common(run_dir)
    by_epoch: dict[int | None, dict[str, dict]] = {}
    for path in sorted(run_dir.measures.glob("*.json")):
        found = _EPOCH.search(path.name)
        number = int(found[1]) if found else None
        if epochs is None or number in epochs:
            _read_measure(path, measure, by_epoch.setdefault(number, _make_parts()))
    for number in (None,) if epochs is None else epochs:
        by_epoch.setdefault(number, _make_parts())
    return {number: RunRecord(**common, **parts) for number, parts in by_epoch.items()}


def _make_parts() -> dict[str, dict]:
    """What a record without a measure holds."""
    return {name: {} for name in ("accuracy", "curves", "statistics", "chunks", "reconstructions", "values")}


def _read_common(run_dir: RunDir) -> dict[str, Any]:
    """What a run's records have in common at all epochs."""
    try:
        config = run_dir.config()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamageError(_describe_damage(run_dir.config_file, error)) from None
    environment = read_json(run_dir.environment) if run_dir.environment.is_file() else {}
    if not isinstance(environment, dict):
        raise DamageError(f"{run_dir.environment}: expected an environment, received a damaged file; delete it")
    has_choice = config.training.weight_decay_choices is not None and run_dir.is_done("train")
    try:
        chosen = read_json(run_dir.done_file("train"))["weight_decay"] if has_choice else None
    except (KeyError, TypeError) as error:
        raise DamageError(_describe_damage(run_dir.done_file("train"), error)) from None
    return {
        "run_dir": run_dir,
        "config": config,
        "state": run_dir.status().get("state", "unknown"),
        "chosen_weight_decay": chosen,
        "environment": environment,
    }


def _describe_damage(path: pathlib.Path, error: Exception) -> str:
    """A line that names a damaged file, which the error may do itself."""
    text = str(error) if isinstance(error, ValueError) else repr(error)
    return text if str(path) in text else f"{path}: expected a run's own file, received a damaged file ({text})"


def _read_measure(path: pathlib.Path, measure: MeasureConfig, parts: dict[str, dict]) -> None:
    """Put what a measure's file holds into the parts of a record, if it was measured in the way asked for."""
    stored = read_json(path)
    try:
        settings = stored["settings"]
        if not _is_wanted(stored["measure"], settings, measure):
            return
        if stored["measure"] == "accuracy":
            parts["accuracy"] = {split: dict(scores) for split, scores in stored["splits"].items()}
        elif stored["measure"] == "ablation":
            parts["curves"][settings["split"], _unit_label(settings)] = _read_curves(stored)
        elif stored["measure"] == "units":
            arrays = read_arrays(path.with_suffix(".npz"))
            parts["statistics"][settings["split"]] = _split_arrays(arrays, list(stored["taps"]))
        elif stored["measure"] == "chunks":
            parts["chunks"][settings["split"]] = ChunkErrors.from_arrays(read_arrays(path.with_suffix(".npz")))
        elif stored["measure"] == "reconstruction":
            found = ReconstructionCurve.from_arrays(read_arrays(path.with_suffix(".npz")))
            parts["reconstructions"][settings["split"], settings["target"]] = found
        else:
            missing = {*_STORED.get(stored["measure"], ())} - stored.keys()
            if missing:
                raise KeyError(min(missing))
            parts["values"].setdefault(stored["measure"], []).append(stored)
    except (KeyError, TypeError, AttributeError, FileNotFoundError) as error:
        raise DamageError(
            f"{path}: expected a whole measure, received a damaged one ({error!r}); delete it and measure again"
        ) from None


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


def flat_settings(config: ExperimentConfig) -> dict[str, Any]:
    """Every field of model, data and training by name, as plain values; lists joined by "+"."""
    values = {
        field.name: getattr(section, field.name)
        for section in (getattr(config, name) for name in IDENTITY_SECTIONS)
        for field in dataclasses.fields(section)
    }
    return {name: "+".join(map(str, value)) if isinstance(value, tuple) else value for name, value in values.items()}


# By which recipes are found: these are named wherever they differ.
_OF_RECIPES = ("model", "dataset", "random_labels")


def varied_settings(configs: Sequence[ExperimentConfig]) -> list[str]:
    """Fields, by name, that a user set and in which experiments differ; size and seed are left out.

    A field whose value follows from model, data set and random labels by their presets does not count.
    """
    known: dict[tuple, dict[str, Any]] = {}
    presets = []
    for config in configs:
        key = (config.model.model, config.data.dataset, config.data.folder_sha256, config.data.random_labels)
        # A user's own network stands for itself.
        if config.model.is_file:
            presets.append(flat_settings(config))
        else:
            if key not in known:
                known[key] = flat_settings(resolve_defaults(config, keep_labels=True))
            presets.append(known[key])
    settings = [flat_settings(config) for config in configs]

    def is_set(name: str) -> bool:
        return any(own[name] != preset.get(name, own[name]) for own, preset in zip(settings, presets, strict=True))

    return [
        name
        for name in settings[0]
        if name not in ("size", "seed")
        and len({str(own[name]) for own in settings}) > 1
        and (name in _OF_RECIPES or is_set(name))
    ]
