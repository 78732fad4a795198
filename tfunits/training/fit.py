"""The one training loop."""

import dataclasses
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm.auto import tqdm

from tfunits.artifacts import EventWriter, RunDir, write_table
from tfunits.configs import TrainingConfig, UserError, reject, short_hash
from tfunits.training.batches import with_weights
from tfunits.training.checkpoint import Checkpoints, State, assign_variables, read_variables
from tfunits.training.engine import Totals, make_evaluation, make_train_steps
from tfunits.training.optimizers import make_optimizer
from tfunits.training.schedules import StepSchedule, learning_rates

# Steps between two updates of the progress bar; also the longest that a diverged training goes on.
_STEPS_PER_CALL = 16
_MAX_HISTOGRAM_EPOCHS = 10
# Moving averages have a memory of 1 / (1 - momentum) steps; a tenth of the training lets them converge.
_AVERAGING_SHARE = 10
_BAR_DELAY_SECONDS = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What a training leaves beside the trained model.

    Attributes:
      history: one row an epoch, counted from 1: steps, learning_rate, train_loss, train_accuracy (while training),
        validation_loss, validation_accuracy.
      best_epoch: first epoch of the highest validation accuracy; 0 if untrained.
      diverged: whether the loss stopped being finite; then the weights are of no use.
      batch_norm_momentum: what the batch normalisations used; None without any.
      best_weights, last_weights: values of the model's variables, in order.
    """

    history: pd.DataFrame
    best_epoch: int
    diverged: bool
    batch_norm_momentum: float | None
    best_weights: Sequence[np.ndarray]
    last_weights: Sequence[np.ndarray]


def steps_per_epoch(num_examples: int, batch_size: int, *, drop_last: bool) -> int:
    """Number of batches in an epoch, with or without a smaller last one."""
    return num_examples // batch_size if drop_last else -(-num_examples // batch_size)


def fit(
    model: keras.Model,
    data: Any,
    config: TrainingConfig,
    *,
    run_dir: RunDir | str | pathlib.Path | None = None,
    strategy: tf.distribute.Strategy | None = None,
) -> TrainingResult:
    """Train a model; afterwards it has the weights that `config.measured_weights` names.

    With a run directory the state is kept after every epoch, and the same call continues from there with the same
    bits. Short trainings lower the momentum of batch normalisation to 1 - 10 / steps, so that its averages have
    converged by the end.

    Args:
      model: built inside the strategy's scope, with logits (or one score, for the hinge loss) as output.
      data: a `tfunits.datasets.Dataset`, or anything with its `.epoch`, `.batches` and `.splits`.
      config: how to train.
      run_dir: where history.csv, timing.csv, checkpoints and TensorBoard events go; None keeps nothing.
      strategy: where to train; TensorFlow's current one if None.

    Returns: a `TrainingResult`.

    Raises:
      ValueError: a batch larger than the data or smaller than the number of devices, or a run directory whose
        checkpoints are of another training, network or number of devices.

    Example:
      >>> data = tfunits.datasets.load("digits", preprocessing="vector64")
      >>> model = tfunits.models.build("mlp", input_shape=data.input_shape, num_classes=data.num_classes)
      >>> result = tfunits.training.fit(model, data, TrainingConfig(learning_rate=0.1, batch_size=32, epochs=5))
    """
    if run_dir is not None and not isinstance(run_dir, RunDir):
        run_dir = RunDir(run_dir)
    return _Training(model, data, config, run_dir, strategy or tf.distribute.get_strategy()).run()


class _Training:
    """One training: what is compiled once, and the state that a checkpoint holds."""

    def __init__(
        self,
        model: keras.Model,
        data: Any,
        config: TrainingConfig,
        run_dir: RunDir | None,
        strategy: tf.distribute.Strategy,
    ) -> None:
        self.model, self.data, self.config, self.run_dir, self.strategy = model, data, config, run_dir, strategy
        self.batch_size = config.effective_batch_size
        self.replicas = strategy.num_replicas_in_sync
        if self.batch_size < self.replicas:
            raise reject(
                "batch_size",
                self.batch_size,
                f"at least one example for each of the {self.replicas} devices of a batch",
            )
        norms = [layer for layer in _all_layers(model) if isinstance(layer, keras.layers.BatchNormalization)]
        # Padding would enter the statistics of batch normalisation; on one device no padding is needed.
        self.drop_last = bool(norms) and self.replicas > 1
        self.steps = steps_per_epoch(len(data.splits["train"]), self.batch_size, drop_last=self.drop_last)
        if not self.steps:
            raise reject("batch_size", self.batch_size, f"at most the {len(data.splits['train'])} training examples")
        self.batch_norm_momentum = _shorten_averages(norms, config.epochs * self.steps)
        self.rates = learning_rates(config, self.steps)
        with strategy.scope():
            self.optimizer = make_optimizer(config, StepSchedule(self.rates))
            self.optimizer.build(model.trainable_variables)
        self.train_steps = make_train_steps(model, self.optimizer, config, strategy)
        self.evaluate = make_evaluation(model, config.loss, strategy)
        self.validation = self._distribute(data.batches("validation", self.batch_size))
        self.validation_batches = steps_per_epoch(len(data.splits["validation"]), self.batch_size, drop_last=False)
        self.checkpoints = Checkpoints(run_dir.checkpoints) if run_dir else None
        self.history: list[dict[str, Any]] = []
        self.best_weights: Sequence[np.ndarray] | None = None

    @property
    def variables(self) -> list[keras.Variable]:
        """Everything that must be restored: weights, statistics, seed generators, optimiser slots and step."""
        return [*self.model.variables, *self.optimizer.variables]

    def run(self) -> TrainingResult:
        """Train from the last checkpoint, or from the start, to the end."""
        self._restore()
        events = EventWriter(self.run_dir.tensorboard) if self.run_dir else None
        diverged = False
        total = self.config.epochs * self.steps
        with tqdm(
            desc="training", total=total, initial=len(self.history) * self.steps, unit="step", disable=None,
            delay=_BAR_DELAY_SECONDS, dynamic_ncols=True,
        ) as bar:  # fmt: skip
            while len(self.history) < self.config.epochs and not self._is_patience_over():
                start = time.perf_counter()
                row, per_step = self._run_epoch(len(self.history), bar)
                diverged = not np.isfinite([row["train_loss"], row["validation_loss"]]).all()
                seconds = {"seconds": time.perf_counter() - start, "seconds_per_step": per_step}
                self._finish_epoch(row, seconds, events, diverged)
                bar.set_postfix(epoch=row["epoch"], validation=f"{row['validation_accuracy']:.3f}")
                if diverged:
                    break
        if events:
            events.close()
        return self._result(diverged)

    def _run_epoch(self, epoch: int, bar: tqdm) -> tuple[dict[str, Any], float]:
        """Train and validate; returns the row of the history, and seconds per training step."""
        augment = "augmentation" in self.config.regularizers
        batches = self.data.epoch(epoch, self.config.seed, self.batch_size, augment=augment)
        iterator = iter(self._distribute(batches.take(self.steps)))
        totals, done, start = Totals(), 0, time.perf_counter()
        while done < self.steps and np.isfinite(totals.loss):
            count = min(_STEPS_PER_CALL, self.steps - done)
            totals += self.train_steps(iterator, count)
            done += count
            bar.update(count)
        per_step = (time.perf_counter() - start) / done
        validation = self.evaluate(self.validation, self.validation_batches)
        row = {
            "epoch": epoch + 1,
            "steps": epoch * self.steps + done,
            "learning_rate": float(self.rates[epoch * self.steps]),
            "train_loss": totals.mean_loss,
            "train_accuracy": totals.accuracy,
            "validation_loss": validation.mean_loss,
            "validation_accuracy": validation.accuracy,
        }
        return row, per_step

    def _finish_epoch(
        self, row: dict[str, Any], seconds: Mapping[str, float], events: EventWriter | None, diverged: bool
    ) -> None:
        """Note an epoch in history and, with a run directory, in its files; the checkpoint is written last."""
        self.history.append(row)
        if self._best_epoch() == row["epoch"]:
            self.best_weights = read_variables(self.model.variables)
        if not self.run_dir:
            return
        write_table(self.run_dir.history, pd.DataFrame(self.history))
        _append_timing(self.run_dir, {"epoch": row["epoch"], **seconds})
        self._write_events(events, row, seconds["seconds_per_step"])
        if not diverged:
            state = State(
                epoch=row["epoch"],
                variables=read_variables(self.variables),
                best_weights=self.best_weights,
                history=self.history,
                origin=self._origin(),
            )
            self.checkpoints.save(state, self._best_epoch())

    def _write_events(self, events: EventWriter, row: Mapping[str, Any], seconds_per_step: float) -> None:
        epoch = row["epoch"]
        scalars = {
            "loss/train": row["train_loss"],
            "loss/validation": row["validation_loss"],
            "accuracy/train": row["train_accuracy"],
            "accuracy/validation": row["validation_accuracy"],
            "learning_rate": row["learning_rate"],
            "seconds_per_step": seconds_per_step,
        }
        events.scalars(scalars, epoch)
        shown = np.unique(np.linspace(1, self.config.epochs, _MAX_HISTOGRAM_EPOCHS).round())
        if epoch in shown:
            events.histograms({f"weights/{v.path}": v.numpy() for v in self.model.trainable_variables}, epoch)

    def _restore(self) -> None:
        state = self.checkpoints.latest() if self.checkpoints else None
        if state is None:
            return
        self._check_origin(state.origin)
        assign_variables(self.variables, state.variables)
        self.history = [dict(row) for row in state.history]
        self.best_weights = state.best_weights

    def _origin(self) -> dict[str, Any]:
        """What a checkpoint must share with this training to continue it with the same bits."""
        # Seed generators and optimisers are numbered as they are made; only weights have lasting names.
        network = [
            [variable.path for variable in self.model.trainable_variables],
            [list(v.shape) for v in self.variables],
        ]
        return {
            "settings": short_hash(dataclasses.asdict(self.config)),
            "network": short_hash(network),
            "num_devices": self.replicas,
        }

    def _check_origin(self, origin: Mapping[str, Any]) -> None:
        own = self._origin()
        if origin["num_devices"] != own["num_devices"]:
            raise reject(
                "num_devices", own["num_devices"],
                f"the {origin['num_devices']} on which {self.run_dir.path} was begun, since others give other bits",
            )  # fmt: skip
        for part in ("settings", "network"):
            if origin[part] != own[part]:
                raise UserError(
                    f"run_dir: expected the checkpoints of this training, received those of other {part} in "
                    f"{self.run_dir.checkpoints}; use another directory"
                )

    def _result(self, diverged: bool) -> TrainingResult:
        last = read_variables(self.model.variables)
        best = self.best_weights if self.best_weights is not None else last
        if self.config.measured_weights == "best":
            assign_variables(self.model.variables, best)
        return TrainingResult(
            history=pd.DataFrame(self.history),
            best_epoch=self._best_epoch(),
            diverged=diverged,
            batch_norm_momentum=self.batch_norm_momentum,
            best_weights=best,
            last_weights=last,
        )

    def _best_epoch(self) -> int:
        """First epoch, from 1, of the highest validation accuracy; 0 before the first."""
        accuracies = [row["validation_accuracy"] for row in self.history]
        return int(np.argmax(accuracies)) + 1 if accuracies else 0

    def _is_patience_over(self) -> bool:
        patience = self.config.patience
        return patience is not None and len(self.history) - self._best_epoch() >= patience

    def _distribute(self, batches: tf.data.Dataset) -> Any:
        return self.strategy.experimental_distribute_dataset(with_weights(batches, self.batch_size, self.replicas))


def _shorten_averages(norms: Sequence[keras.layers.BatchNormalization], num_steps: int) -> float | None:
    """Lower the momentum of batch normalisations to min(own, 1 - 10 / steps); DESIGN section 5."""
    if not norms:
        return None
    if num_steps:
        limit = max(0.0, 1 - _AVERAGING_SHARE / num_steps)
        for layer in norms:
            layer.momentum = min(layer.momentum, limit)
    return float(norms[0].momentum)


def _all_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Layers of a model and of the models inside it."""
    inner = [_all_layers(layer) if isinstance(layer, keras.Model) else [layer] for layer in model.layers]
    return [layer for layers in inner for layer in layers]


def _append_timing(run_dir: RunDir, row: Mapping[str, Any]) -> None:
    rows = pd.read_csv(run_dir.timing) if run_dir.timing.exists() else pd.DataFrame()
    earlier = rows[rows["epoch"] < row["epoch"]] if len(rows) else rows
    write_table(run_dir.timing, pd.concat([earlier, pd.DataFrame([row])], ignore_index=True))
