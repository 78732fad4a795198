"""Training of one network, of one with a choice of weight decays, and of many that differ in values."""

import dataclasses
import itertools
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfunits.artifacts import RunDir, write_table
from tfunits.configs import KeepRule, TrainingConfig, UserError
from tfunits.training.checkpoint import assign_variables, read_variables
from tfunits.training.exchange import is_chief
from tfunits.training.trainer import Trainer, TrainingResult, same_steps

# Stands for a run directory that is not there; None is one that is not wanted.
_MISSING = object()


def fit(
    model: keras.Model,
    data: Any,
    config: TrainingConfig,
    *,
    run_dir: RunDir | str | pathlib.Path | None = None,
    strategy: tf.distribute.Strategy | None = None,
    keep: KeepRule | None = None,
    checkpoint_seconds: float | None = None,
) -> TrainingResult:
    """Train a model; afterwards it has the weights that `config.measured_weights` names.

    With a run directory the state is kept after an epoch, and the same call continues from there with the same bits.
    Short trainings lower the momentum of batch normalisation, and the decay of averaged weights, to 1 - 10 / steps, so
    that the averages have converged by the end. With `config.weight_decay_choices` a network is trained from the same
    weights with each, and the one with the highest validation accuracy after the last epoch stays; of equals that with
    the lower loss.

    Args:
      model: built inside the strategy's scope, with logits (or one score, for a hinge loss) as output.
      data: a `tfunits.datasets.Dataset`, or anything with its `.epoch`, `.batches` and `.splits`.
      config: how to train.
      run_dir: where history.csv, timing.csv, checkpoints and TensorBoard events go; None keeps nothing. Of several
        workers, only the chief's is used.
      strategy: where to train; TensorFlow's current one if None.
      keep: which epochs' checkpoints stay beside those needed to continue.
      checkpoint_seconds: after how long an unfinished training's state is written again; ten if None, 0 for after
        every epoch.

    Returns: a `TrainingResult`.

    Raises:
      ValueError: a batch larger than the data, smaller than the number of devices or not divisible by that of several
        machines, no validation set where one is needed, or a run directory whose checkpoints are of another training,
        network, data or number of devices.

    Example:
      >>> data = tfunits.datasets.load("digits", preprocessing="vector64")
      >>> model = tfunits.models.build("mlp", input_shape=data.input_shape, num_classes=data.num_classes)
      >>> result = tfunits.training.fit(model, data, TrainingConfig(learning_rate=0.1, batch_size=32, epochs=5))
    """
    run_dirs = None if run_dir is None else [run_dir]
    (result,) = fit_many(
        model, data, [config], run_dirs=run_dirs, strategy=strategy, keep=keep, checkpoint_seconds=checkpoint_seconds
    )
    return result


def fit_many(
    model: keras.Model,
    data: Any,
    configs: Iterable[TrainingConfig],
    *,
    initial_weights: Iterable[Sequence[np.ndarray]] | None = None,
    run_dirs: Iterable[RunDir | str | pathlib.Path] | None = None,
    strategy: tf.distribute.Strategy | None = None,
    keep: KeepRule | None = None,
    checkpoint_seconds: float | None = None,
) -> Iterator[TrainingResult]:
    """Train networks that differ only in values, one after the other through the same compiled steps.

    Each is trained as `fit` would train it alone. Trainings whose fields outside `VALUE_FIELDS` (learning rates, their
    schedule, seeds, weight decays, when to stop) differ from those before are compiled anew.

    Args:
      model: as `fit`; when a result is given out it has that network's weights.
      data: as `fit`, the same for all.
      configs: how to train each; taken one by one.
      initial_weights: values of `model.variables` with which each begins; the model's present ones for all if None.
      run_dirs: one a network, as `fit`; None keeps nothing.
      strategy: as `fit`.
      keep: as `fit`.
      checkpoint_seconds: as `fit`.

    Returns: a `TrainingResult` after the other.

    Raises:
      ValueError: as `fit`, or fewer initial weights or run directories than configurations.

    Example:
      >>> data = tfunits.datasets.load("digits", preprocessing="vector64")
      >>> model = tfunits.models.build("mlp", input_shape=data.input_shape, num_classes=data.num_classes)
      >>> configs = [TrainingConfig(learning_rate=rate, batch_size=32, epochs=2) for rate in (0.1, 0.01)]
      >>> [len(result.history) for result in tfunits.training.fit_many(model, data, configs)]
      [2, 2]
    """
    strategy = strategy or tf.distribute.get_strategy()
    first = None if initial_weights is not None else read_variables(model.variables)
    weights = itertools.repeat(first) if initial_weights is None else iter(initial_weights)
    folders = itertools.repeat(None) if run_dirs is None else iter(run_dirs)
    trainer = None
    for config in configs:
        values, folder = next(weights, None), next(folders, _MISSING)
        if values is None or folder is _MISSING:
            missing = "initial_weights" if values is None else "run_dirs"
            raise ValueError(f"{missing}: expected one for every configuration, received fewer")
        assign_variables(model.variables, values)
        if trainer is None or trainer.key != same_steps(config):
            trainer = Trainer(model, data, config, strategy)
        yield fit_once(trainer, config, run_dir=folder, keep=keep, checkpoint_seconds=checkpoint_seconds)


def fit_once(
    trainer: Trainer,
    config: TrainingConfig,
    *,
    run_dir: RunDir | str | pathlib.Path | None = None,
    keep: KeepRule | None = None,
    checkpoint_seconds: float | None = None,
) -> TrainingResult:
    """Train from the network's present weights with a trainer that is compiled already; see `fit`."""
    if run_dir is not None and not isinstance(run_dir, RunDir):
        run_dir = RunDir(run_dir)
    if not is_chief(trainer.strategy):
        run_dir = None
    if config.weight_decay_choices is None:
        return trainer.train(config, run_dir, keep, checkpoint_seconds)
    return _fit_choices(trainer, config, run_dir, keep, checkpoint_seconds)


def _fit_choices(
    trainer: Trainer,
    config: TrainingConfig,
    run_dir: RunDir | None,
    keep: KeepRule | None,
    checkpoint_seconds: float | None,
) -> TrainingResult:
    """Train with every weight decay to choose from, and keep the one that validates best."""
    model = trainer.model
    if "validation" not in trainer.data.splits:
        raise UserError("data: expected a validation set, which weight_decay_choices need")
    initial = read_variables(model.variables)
    results = {}
    for weight_decay in sorted(config.weight_decay_choices):
        assign_variables(model.variables, initial)
        chosen = dataclasses.replace(config, weight_decay=weight_decay, weight_decay_choices=None)
        folder = run_dir.candidate(candidate_name(weight_decay)) if run_dir else None
        results[weight_decay] = trainer.train(chosen, folder, keep, checkpoint_seconds)
    rows = [{"weight_decay": value} | _last_validation(result) for value, result in results.items()]
    usable = [row for row in rows if not results[row["weight_decay"]].diverged] or rows
    best = min(usable, key=lambda row: (-row["validation_accuracy"], row["validation_loss"], row["weight_decay"]))
    result = results[best["weight_decay"]]
    assign_variables(model.variables, result.best_weights if config.measured_weights == "best" else result.last_weights)
    if run_dir:
        write_table(run_dir.history, result.history)
    return dataclasses.replace(result, candidates=rows)


def candidate_name(weight_decay: float) -> str:
    """The folder of the training with one of several weight decays to choose from."""
    return f"weight_decay-{weight_decay!r}"


def _last_validation(result: TrainingResult) -> dict[str, float]:
    """Validation after the last epoch; of an untrained network nothing is known."""
    if not len(result.history):
        return {"validation_accuracy": 0.0, "validation_loss": 0.0}
    last = result.history.iloc[-1]
    return {name: float(last[name]) for name in ("validation_accuracy", "validation_loss")}
