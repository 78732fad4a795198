"""What is measured of a run's network: each measure one JSON file, and arrays beside it where numbers are many."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfunits import measures, training
from tfunits.artifacts import RunDir, read_arrays, read_json, write_arrays, write_json
from tfunits.configs import (
    MEASURES_OF_STEPS,
    SPLITS,
    UserError,
)
from tfunits.experiments.load import kept_epochs, load_epoch
from tfunits.experiments.measured_files import files_of, is_whole
from tfunits.experiments.run import Run

# Logits of a split are kept up to 400 MB; ImageNet's 1.3 million training images would have 5 GB.
_MOST_LOGITS = 10**8
# What a measure finds: values for its JSON, arrays for its npz.
Found = tuple[dict[str, Any], dict[str, np.ndarray]]


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


MEASURES: Mapping[str, Callable[[Run, keras.Model, Mapping[str, Any]], Found]] = {
    "accuracy": _measure_accuracy,
    "ablation": _measure_ablation,
    "units": _measure_units,
    "chunks": _measure_chunks,
    "reconstruction": _measure_reconstruction,
    "dimension": _measure_dimension,
    "kinds": _measure_kinds,
    "stability": _measure_stability,
}


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
    if not epochs and not run.config.training.epochs == 0:
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


def _measure(run: Run, names: tuple[str, ...], load: Callable[[], keras.Model], epoch: int | None) -> list[str]:
    """Write what is missing; returns why measures were refused that the network cannot be asked."""
    refused: list[str] = []
    for name, settings, file in files_of(names, run.config.measure, epoch):
        path = run.run_dir.measures / file
        if is_whole(path, name):
            continue
        model = load()
        try:
            values, arrays = MEASURES[name](run, model, {key: v for key, v in settings.items() if key != "examples"})
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
