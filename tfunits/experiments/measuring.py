"""What is measured of a run's network: each measure one JSON file, and arrays beside it where numbers are many."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfunits import measures, reports, training
from tfunits.artifacts import RunDir, read_arrays, read_json, write_arrays, write_json
from tfunits.configs import (
    MEASURES_OF_STEPS,
    SPLITS,
    ExperimentConfig,
    MeasureConfig,
    UserError,
    short_hash,
)
from tfunits.experiments.load import kept_epochs, load_epoch
from tfunits.experiments.run import Run

# Logits of a split are kept up to 400 MB; ImageNet's 1.3 million training images would have 5 GB.
_MOST_LOGITS = 10**8
# What a measure finds: values for its JSON, arrays for its npz.
Found = tuple[dict[str, Any], dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measure:
    """One measure.

    Attributes:
      settings: the options that decide it and name its file, one entry a file.
      make: (run, network, settings) -> what it finds.
      has_arrays: whether arrays stand beside the JSON.
    """

    settings: Callable[[MeasureConfig], list[dict[str, Any]]]
    make: Callable[[Run, keras.Model, Mapping[str, Any]], Found]
    has_arrays: bool = False


def _per_split(options: MeasureConfig, **settings: Any) -> list[dict[str, Any]]:
    return [{"split": split, **settings} for split in options.measured_splits]


def _ablation_settings(options: MeasureConfig) -> list[dict[str, Any]]:
    found = []
    for split in options.measured_splits:
        for order in options.ablation_order:
            # Noise and weights know no other units.
            for unit in options.ablation_unit if order not in ("noise", "weights") else ("channel",):
                settings = {
                    "split": split, "unit": unit, "draws": options.draws, "levels": options.levels,
                    "protocol": options.protocol, "seed": options.measure_seed,
                }  # fmt: skip
                # Named only where they are not the default, since they name files of finished runs.
                settings |= {} if order == "random" else {"order": order}
                settings |= {} if options.standard_error is None else {"standard_error": options.standard_error}
                found.append(settings)
    return found


def _unit_settings(options: MeasureConfig) -> list[dict[str, Any]]:
    precision = {} if options.moments_precision == "float32" else {"precision": options.moments_precision}
    return _per_split(
        options,
        max_rows=options.max_rows or "all",
        samplings=options.samplings,
        similarity_threshold=options.similarity_threshold,
        seed=options.measure_seed,
        **precision,
    )


def _chunk_settings(options: MeasureConfig) -> list[dict[str, Any]]:
    # w* is a property of the training set, whatever else is measured.
    splits = dict.fromkeys(("train", *options.measured_splits))
    return [{"split": split, "draws": options.chunk_draws, "seed": options.measure_seed} for split in splits]


def _reconstruction_settings(options: MeasureConfig) -> list[dict[str, Any]]:
    own = {"draws": options.reconstruction_draws, "seed": options.measure_seed}
    return [settings for target in ("layer", "chunk") for settings in _per_split(options, **own, target=target)]


def _stability_settings(options: MeasureConfig) -> list[dict[str, Any]]:
    return [{"split": "train", "share": 0.5, "factor": factor, "draws": 10, "seed": options.measure_seed}
            for factor in (1.0, 2.0)]  # fmt: skip


def _measure_accuracy(run: Run, model: keras.Model, _: Mapping[str, Any]) -> Found:
    """Accuracy and loss on every split; the trained network's outputs are kept beside."""
    # The stored outputs are those of every example.
    is_final = vars(run).get("model") is model and run.config.measure.measured_examples is None
    if is_final and run.run_dir.logits.exists():
        arrays = read_arrays(run.run_dir.logits)
    else:
        sizes = {split: len(part) * run.measured_data.num_classes for split, part in run.measured_data.splits.items()}
        kept = [split for split in SPLITS if 0 < sizes.get(split, 0) <= _MOST_LOGITS]
        found = training.predict_splits(model, {split: run.measured_data.batches(split) for split in kept})
        outputs = {split: outputs for split, (outputs, _) in found.items()}
        arrays = {**outputs, **{f"{split}_labels": labels for split, (_, labels) in found.items()}}
        if is_final:
            write_arrays(run.run_dir.logits, arrays, compress=False)
            arrays = read_arrays(run.run_dir.logits)
    kept = [split for split in SPLITS if split in arrays]
    return {"splits": {split: _scores(run, model, arrays[split], arrays[f"{split}_labels"]) for split in kept}}, {}


def _scores(run: Run, model: keras.Model, outputs: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    # A user's network may give probabilities or logits; only its classes are known to mean something.
    is_file = run.config.model.is_file
    classes = measures.predicted_classes(model, outputs) if is_file else training.predicted_labels(outputs).numpy()
    scores: dict[str, Any] = {"accuracy": float(np.mean(classes == labels)), "examples": len(labels)}
    if not is_file:
        scores["loss"] = float(np.mean(_losses(run, labels, outputs), dtype=np.float64))
    return scores


def _losses(run: Run, labels: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    return training.LOSSES[run.config.training.loss](tf.constant(labels), tf.constant(outputs)).numpy()


def _measure_ablation(run: Run, model: keras.Model, settings: Mapping[str, Any]) -> Found:
    order = settings.get("order", "random")
    common = {key: settings[key] for key in ("split", "draws", "levels", "seed", "standard_error") if key in settings}
    if order in ("noise", "weights"):
        measure = measures.noise_curves if order == "noise" else measures.weight_ablation_curves
    else:
        measure = functools.partial(
            measures.ablation_curves, order=order, unit=settings["unit"], protocol=settings["protocol"]
        )
    curves = measure(model, run.measured_data, strategy=run.strategy, **common).to_dict()
    return {"taps": curves["taps"], "joint": curves["joint"]}, {}


def _measure_units(run: Run, model: keras.Model, settings: Mapping[str, Any]) -> Found:
    options = {**settings, "max_rows": None if settings["max_rows"] == "all" else settings["max_rows"]}
    found = measures.unit_statistics(model, run.measured_data, strategy=run.strategy, **options)
    arrays = {f"{tap}/{name}": a for tap, units in found.taps.items() for name, a in units.to_arrays().items()}
    return {"taps": {tap: {"units": u.num_units, "rows": u.num_rows} for tap, u in found.taps.items()}}, arrays


def _measure_chunks(run: Run, model: keras.Model, settings: Mapping[str, Any]) -> Found:
    found = measures.chunks(model, run.measured_data, strategy=run.strategy, **settings)
    return {"width": found.width, "sizes": found.sizes.tolist(), "errors": found.errors.tolist()}, found.to_arrays()


def _measure_reconstruction(run: Run, model: keras.Model, settings: Mapping[str, Any]) -> Found:
    found = measures.reconstruction(model, run.measured_data, strategy=run.strategy, **settings)
    return {"width": found.width, "sizes": found.sizes.tolist(), "rows": found.num_rows}, found.to_arrays()


def _measure_dimension(run: Run, model: keras.Model, settings: Mapping[str, Any]) -> Found:
    try:
        return measures.intrinsic_dimension(model, run.measured_data, strategy=run.strategy, **settings).to_dict(), {}
    except ValueError as error:
        # A dead layer, or one of few different points, has no dimension; that is a result, and the next measure's turn.
        if not str(error).startswith("points: "):
            raise
        return {"value": None, "reason": str(error)}, {}


def _measure_kinds(run: Run, model: keras.Model, settings: Mapping[str, Any]) -> Found:
    options = {**settings, "max_rows": None if settings["max_rows"] == "all" else settings["max_rows"]}
    found = measures.unit_kinds(model, run.measured_data, strategy=run.strategy, **options).to_dict()
    return {"taps": found["taps"], "network": found["network"]}, {}


def _measure_stability(run: Run, model: keras.Model, settings: Mapping[str, Any]) -> Found:
    loss = None if run.config.model.is_file else functools.partial(_losses, run)
    found = measures.dropout_stability(model, run.measured_data, loss=loss, strategy=run.strategy, **settings).to_dict()
    return {key: value for key, value in found.items() if key != "settings"}, {}


MEASURES: Mapping[str, Measure] = {
    "accuracy": Measure(settings=lambda options: [{}], make=_measure_accuracy),
    "ablation": Measure(settings=_ablation_settings, make=_measure_ablation),
    "units": Measure(settings=_unit_settings, make=_measure_units, has_arrays=True),
    "chunks": Measure(settings=_chunk_settings, make=_measure_chunks, has_arrays=True),
    "reconstruction": Measure(settings=_reconstruction_settings, make=_measure_reconstruction, has_arrays=True),
    "dimension": Measure(
        settings=lambda options: _per_split(options, seed=options.measure_seed), make=_measure_dimension
    ),
    "kinds": Measure(
        settings=lambda options: _per_split(
            options, variance_fraction=options.variance_fraction, max_rows=options.max_rows or "all",
            seed=options.measure_seed,
        ),
        make=_measure_kinds,
    ),
    "stability": Measure(settings=_stability_settings, make=_measure_stability),
}  # fmt: skip


def _files(names: tuple[str, ...], options: MeasureConfig, epoch: int | None) -> Iterator[tuple[str, dict, str]]:
    """(measure, its settings, its file's name) of everything that some measures write."""
    mark = "" if epoch is None else f"@{epoch}"
    for name in names:
        for settings in settings_of(name, options):
            yield name, settings, f"{name}{mark}-{short_hash(settings)}.json"


def settings_of(name: str, options: MeasureConfig) -> list[dict[str, Any]]:
    """The options that decide a measure and name its files, one entry a file."""
    # Named only where it is given, since settings name files of finished runs.
    limit = {} if options.measured_examples is None else {"examples": options.measured_examples}
    return [{**settings, **limit} for settings in MEASURES[name].settings(options)]


def _is_measured(path: pathlib.Path, measure: Measure) -> bool:
    """Whether a measure's file is there, with the arrays that belong to it."""
    return path.is_file() and (not measure.has_arrays or path.with_suffix(".npz").is_file())


def measure_files(config: ExperimentConfig, step: str = "measure") -> list[str]:
    """Names of the files that a step that measures the trained network writes last."""
    return [file for _, _, file in _files(MEASURES_OF_STEPS[step], config.measure, None)]


def is_measured(run_dir: RunDir, step: str, config: ExperimentConfig) -> bool:
    """Whether every file is there that a step that measures writes."""
    if step == "dynamics":
        # Where --save has deleted the checkpoints, those that were measured.
        epochs = kept_epochs(run_dir) or reports.read_epochs(run_dir)
        names = config.measure.dynamics
        return bool(epochs or _is_untrained(config)) and all(_are_measured(run_dir, names, config, e) for e in epochs)
    return _are_measured(run_dir, MEASURES_OF_STEPS[step], config, None)


def _are_measured(run_dir: RunDir, names: tuple[str, ...], config: ExperimentConfig, epoch: int | None) -> bool:
    return all(
        _is_measured(run_dir.measures / file, MEASURES[name]) for name, _, file in _files(names, config.measure, epoch)
    )


def measure_step(step: str, run: Run) -> str:
    """Measure the trained network in every way a step names; a finished measure is skipped.

    Returns: "finished".
    """
    _raise_refused(_measure(run, MEASURES_OF_STEPS[step], lambda: run.model, None))
    return "finished"


def measure_dynamics(run: Run) -> str:
    """Measure the network as it was after every epoch that was kept.

    Returns: "finished".

    Raises:
      UserError: a run that is not trained, or kept none.
    """
    if not run.run_dir.is_done("train"):
        raise UserError(
            f"--steps=dynamics: expected a trained run, received {run.run_dir.name}; add the step train, "
            "and --keep_epochs, e.g. --keep_epochs=1,2,5,every10,last8"
        )
    epochs = kept_epochs(run.run_dir)
    if not epochs and not _is_untrained(run.config):
        raise UserError(
            f"--steps=dynamics: expected a run that kept epochs, received {run.run_dir.name}, which kept none; "
            "train it with --keep_epochs, e.g. --keep_epochs=1,2,5,every10,last8, under another --run_root"
        )
    refused = []
    for epoch in epochs:
        load = functools.cache(functools.partial(load_epoch, run.run_dir, epoch))
        refused += _measure(run, run.config.measure.dynamics, load, epoch)
    _raise_refused(refused)
    return "finished"


def _is_untrained(config: ExperimentConfig) -> bool:
    return config.training.epochs == 0


def _measure(run: Run, names: tuple[str, ...], load: Callable[[], keras.Model], epoch: int | None) -> list[str]:
    """Write what is missing; returns why measures were refused that the network cannot be asked."""
    refused: list[str] = []
    for name, settings, file in _files(names, run.config.measure, epoch):
        path, measure = run.run_dir.measures / file, MEASURES[name]
        if _is_measured(path, measure):
            continue
        model = load()
        try:
            values, arrays = measure.make(run, model, {key: v for key, v in settings.items() if key != "examples"})
        except ValueError as error:
            # What a network cannot be asked takes nothing from the other measures.
            refused.append(f"{name}: {error}")
            continue
        if arrays:
            write_arrays(path.with_suffix(".npz"), arrays)
        of_epoch = {} if epoch is None else {"epoch": epoch}
        write_json(path, {"measure": name, **of_epoch, "settings": settings, **values})
    return refused


def _raise_refused(refused: list[str]) -> None:
    """Raise `UserError`, once all else is measured."""
    if refused:
        raise UserError("; ".join(dict.fromkeys(refused)))


def final_epoch(run_dir: RunDir) -> int:
    """The number of epochs that a run was trained."""
    return int(read_json(run_dir.done_file("train")).get("epochs", 0)) if run_dir.is_done("train") else 0
