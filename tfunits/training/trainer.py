"""One training loop, compiled once, through which networks that differ only in values are trained one by one."""

import contextlib
import dataclasses
import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm.auto import tqdm

from tfunits.artifacts import EventWriter, RunDir, write_table
from tfunits.configs import ExecutionConfig, KeepRule, TrainingConfig, UserError, reject, short_hash
from tfunits.configs.same_steps import VALUE_FIELDS, fixed_fields, is_penalized, same_steps
from tfunits.training.checkpoint import Checkpoints, State, assign_variables, pack, read_variables, unpack
from tfunits.training.engine import Averages, Totals, averaged_weights, make_evaluation_step, make_train_step
from tfunits.training.exchange import broadcast, is_chief, num_workers
from tfunits.training.feeding import Resident, choose_feed
from tfunits.training.optimizers import make_optimizer
from tfunits.training.schedules import StepSchedule, learning_rates

# Steps between two updates of the progress bar; also the longest that a diverged training goes on.
_STEPS_PER_CALL = 16
# Of networks so small that a call takes longer than their steps.
_SMALL_STEPS_PER_CALL = 256
_SMALL_PARAMETERS = 100_000
_MAX_HISTOGRAM_EPOCHS = 10
# Moving averages have a memory of 1 / (1 - momentum) steps; a tenth of the training lets them converge.
_AVERAGING_SHARE = 10
_BAR_DELAY_SECONDS = 2
# A kill loses no more than this and an epoch.
CHECKPOINT_SECONDS = ExecutionConfig.checkpoint_seconds


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What a training leaves beside the trained model.

    Attributes:
      history: one row an epoch, counted from 1: steps, learning_rate, train_loss, train_accuracy (while training),
        validation_loss, validation_accuracy (with a validation set), evaluated_train_loss, evaluated_train_accuracy
        (after the epoch, where the training set is monitored).
      best_epoch: first epoch of the highest monitored accuracy, the last one where nothing is; 0 if untrained.
      diverged: whether the loss stopped being finite; then the weights are of no use.
      batch_norm_momentum: what the batch normalisations used; None without any.
      best_weights, last_weights: values of the model's variables, in order; averaged ones where they are. None for
        best weights that were lost with a damaged checkpoint.
      stop: why training ended: "epochs", "patience", "accuracy" or "diverged".
      weight_decay: what was used: the configuration's, or the one that validation chose.
      candidates: validation of every weight decay to choose from; None without a choice.
    """

    history: pd.DataFrame
    best_epoch: int
    diverged: bool
    batch_norm_momentum: float | None
    best_weights: Sequence[np.ndarray] | None
    last_weights: Sequence[np.ndarray]
    stop: str
    weight_decay: float
    candidates: Sequence[Mapping[str, float]] | None = None


class Trainer:
    """A network's training, compiled once; `train` runs it from the network's present weights.

    Args:
      model: built inside the strategy's scope.
      data: what to train on.
      config: of the trainings, which may differ in `VALUE_FIELDS`.
      strategy: where to train.

    Raises:
      ValueError: as `fit`.
    """

    def __init__(self, model: keras.Model, data: Any, config: TrainingConfig, strategy: tf.distribute.Strategy) -> None:
        self.model, self.data, self.strategy = model, data, strategy
        self.key, self.config = same_steps(config), config
        self.replicas, self.workers = strategy.num_replicas_in_sync, num_workers(strategy)
        if "train" not in data.splits:
            raise UserError(f"data: expected training examples, received {', '.join(data.splits)} alone")
        _check_batch_size(config.effective_batch_size, len(data.splits["train"]), self.replicas, self.workers)
        norms = [layer for layer in _all_layers(model) if isinstance(layer, keras.layers.BatchNormalization)]
        self.norms, self.own_momenta = norms, [layer.momentum for layer in norms]
        # Padding would enter the statistics of batch normalisation; on one device no padding is needed.
        drop_last = bool(norms) and self.replicas > 1
        self.feed = choose_feed(data, "train", config, strategy, training=True, drop_last=drop_last)
        self.steps = self.feed.num_steps
        is_small = isinstance(self.feed, Resident) and model.count_params() <= _SMALL_PARAMETERS
        self.steps_per_call = _SMALL_STEPS_PER_CALL if is_small else _STEPS_PER_CALL
        memory = _longest_memory(config.epochs * self.steps)
        # Lowered while the steps are traced, and for as long as they run.
        self.momenta = [min(momentum, memory) for momentum in self.own_momenta]
        with strategy.scope():
            self.schedule = StepSchedule(learning_rates(config, self.steps))
            self.optimizer = make_optimizer(config, self.schedule)
            self.optimizer.build(model.trainable_variables)
            self.averages = Averages(model, min(config.average_decay, memory)) if config.average_decay else None
            self.weight_decay = tf.Variable(0.0, trainable=False, name="weight_decay") if is_penalized(config) else None
        self.slots = read_variables(self.optimizer.variables)
        step = make_train_step(model, self.optimizer, config, weight_decay=self.weight_decay, averages=self.averages)
        self.run_steps = self.feed.make_loop(step)
        evaluation = make_evaluation_step(model, config.loss)
        evaluated = ("validation", *(("train",) if config.monitor == "train" else ()))
        feeds = {
            split: choose_feed(data, split, config, strategy, training=False, drop_last=False)
            for split in evaluated
            if split in data.splits
        }
        self.evaluated = {split: (feed, feed.make_loop(evaluation)) for split, feed in feeds.items()}

    @property
    def variables(self) -> list[keras.Variable]:
        """Everything that must be restored: weights, statistics, seed generators, optimiser slots, step, averages."""
        averages = self.averages.variables if self.averages else []
        return [*self.model.variables, *self.optimizer.variables, *averages]

    def train(
        self,
        config: TrainingConfig,
        run_dir: RunDir | None = None,
        keep: KeepRule | None = None,
        checkpoint_seconds: float | None = None,
    ) -> TrainingResult:
        """Train from the last checkpoint, or from the model's present weights, to the end.

        Args:
          config: like the trainer's but for `VALUE_FIELDS`; its choices of weight decays are not read.
          run_dir: as `fit`.
          keep: as `fit`.
          checkpoint_seconds: as `fit`.
        """
        if fixed_fields(config) != fixed_fields(self.config) or (config.weight_decay and self.weight_decay is None):
            raise ValueError(f"config: expected fields like the trainer's but for {', '.join(VALUE_FIELDS)}")
        self._reset(config)
        for layer, momentum in zip(self.norms, self.momenta, strict=True):
            layer.momentum = momentum
        try:
            return _Training(self, config, run_dir, keep, checkpoint_seconds).run()
        finally:
            # After an error too, since the network may be trained again.
            for layer, momentum in zip(self.norms, self.own_momenta, strict=True):
                layer.momentum = momentum

    def _reset(self, config: TrainingConfig) -> None:
        """The optimiser as it was made, averages at the weights, and the training's own values."""
        assign_variables(self.optimizer.variables, self.slots)
        if self.averages:
            assign_variables(self.averages.variables, read_variables(averaged_weights(self.model)))
        self.schedule.assign(learning_rates(config, self.steps))
        if self.weight_decay is not None:
            self.weight_decay.assign(config.weight_decay)


def _check_batch_size(batch_size: int, num_examples: int, replicas: int, workers: int) -> None:
    if batch_size < replicas:
        raise reject(
            "batch_size", batch_size, f"at least one example for each of the {replicas} devices of a batch"
        )  # fmt: skip
    if batch_size > num_examples:
        raise reject("batch_size", batch_size, f"at most the {num_examples} training examples that are there")
    if workers > 1 and batch_size % replicas:
        raise reject("batch_size", batch_size, f"a multiple of the {replicas} devices of all machines")


class _Training:
    """One training: the state that a checkpoint holds, and what is noted of it."""

    def __init__(
        self,
        trainer: Trainer,
        config: TrainingConfig,
        run_dir: RunDir | None,
        keep: KeepRule | None,
        checkpoint_seconds: float | None,
    ) -> None:
        self.trainer, self.config, self.run_dir = trainer, config, run_dir
        self.model, self.steps = trainer.model, trainer.steps
        self.monitored = self._choose_monitored()
        self.rates = learning_rates(config, self.steps)
        self.checkpoints = (
            Checkpoints(run_dir.checkpoints, keep, needs_best=config.measured_weights == "best") if run_dir else None
        )
        self.checkpoint_seconds = CHECKPOINT_SECONDS if checkpoint_seconds is None else checkpoint_seconds
        self.last_saved = time.monotonic()
        self.history: list[dict[str, Any]] = []
        self.timing: list[dict[str, Any]] = []
        self.best_weights: Sequence[np.ndarray] | None = None

    def _choose_monitored(self) -> str | None:
        """The column of the history that says which epoch is the best; None where every epoch is as good."""
        if self.config.monitor == "train":
            return "evaluated_train_accuracy"
        if "validation" in self.trainer.data.splits:
            return "validation_accuracy"
        needs = self.config.patience is not None or self.config.stop_accuracy is not None
        if needs or self.config.measured_weights == "best":
            raise UserError("data: expected a validation set, which patience, stop_accuracy and best weights need")
        return None

    def run(self) -> TrainingResult:
        """Train from the last checkpoint, or from the start, to the end."""
        self._restore()
        events = EventWriter(self.run_dir.tensorboard) if self.run_dir else None
        diverged = False
        total = self.config.epochs * self.steps
        with tqdm(
            desc="training", total=total, initial=len(self.history) * self.steps, unit="step",
            disable=None if is_chief(self.trainer.strategy) else True,
            delay=_BAR_DELAY_SECONDS, dynamic_ncols=True,
        ) as bar:  # fmt: skip
            while self._reason_to_stop() is None:
                start = time.perf_counter()
                row, per_step = self._run_epoch(len(self.history), bar)
                losses = [value for name, value in row.items() if name.endswith("_loss")]
                diverged = not np.isfinite(losses).all()
                seconds = {"seconds": time.perf_counter() - start, "seconds_per_step": per_step}
                self._finish_epoch(row, seconds, events, diverged)
                bar.set_postfix(epoch=row["epoch"], accuracy=f"{row[self.monitored or 'train_accuracy']:.3f}")
                if diverged:
                    break
        if events:
            events.close()
        return self._result("diverged" if diverged else self._reason_to_stop())

    def _run_epoch(self, epoch: int, bar: tqdm) -> tuple[dict[str, Any], float]:
        """Train and evaluate; returns the row of the history, and seconds per training step."""
        trainer = self.trainer
        batches = trainer.feed.read(epoch, self.config.seed)
        totals, done, start = Totals(), 0, time.perf_counter()
        while done < self.steps and np.isfinite(totals.loss):
            count = min(trainer.steps_per_call, self.steps - done)
            totals += trainer.run_steps(batches, done, count)
            done += count
            bar.update(count)
        per_step = (time.perf_counter() - start) / done
        row = {
            "epoch": epoch + 1,
            "steps": epoch * self.steps + done,
            "learning_rate": float(self.rates[epoch * self.steps]),
            "train_loss": totals.mean_loss,
            "train_accuracy": totals.accuracy,
        }
        with trainer.averages.used() if trainer.averages else contextlib.nullcontext():
            for split, (feed, evaluate) in trainer.evaluated.items():
                found = evaluate(feed.read(None, self.config.seed), 0, feed.num_steps)
                name = "evaluated_train" if split == "train" else split
                row |= {f"{name}_loss": found.mean_loss, f"{name}_accuracy": found.accuracy}
        return row, per_step

    def _finish_epoch(
        self, row: dict[str, Any], seconds: Mapping[str, float], events: EventWriter | None, diverged: bool
    ) -> None:
        """Note an epoch in history and, with a run directory, in its files; the checkpoint is written last."""
        self.history.append(row)
        self.timing.append({"epoch": row["epoch"], **seconds})
        if self.monitored is not None and self._best_epoch() == row["epoch"]:
            self.best_weights = self._read_weights()
        if not self.run_dir:
            return
        self._write_events(events, row, seconds["seconds_per_step"])
        ends = diverged or self._reason_to_stop() is not None
        if not (ends or self._is_due(row["epoch"])):
            return
        write_table(self.run_dir.history, pd.DataFrame(self.history))
        self._write_timing()
        if not diverged:
            state = State(
                epoch=row["epoch"],
                variables=read_variables(self.trainer.variables),
                best_weights=self.best_weights,
                history=self.history,
                origin=self._origin(),
            )
            self.checkpoints.save(state, self._best_epoch() if self.monitored else 0)
        self.last_saved = time.monotonic()

    def _is_due(self, epoch: int) -> bool:
        """Whether a state is to be written: it is to be kept, or the last one is old."""
        # What `lastN` keeps is only known at the end, so that every state is written.
        rule = self.checkpoints.keep
        kept = bool(rule.last) or epoch in rule.select([epoch])
        return kept or time.monotonic() - self.last_saved >= self.checkpoint_seconds

    def _write_events(self, events: EventWriter, row: Mapping[str, Any], seconds_per_step: float) -> None:
        epoch = row["epoch"]
        scalars = {"learning_rate": row["learning_rate"], "seconds_per_step": seconds_per_step}
        for name in ("train", "validation", "evaluated_train"):
            for kind in ("loss", "accuracy"):
                if f"{name}_{kind}" in row:
                    scalars[f"{kind}/{name}"] = row[f"{name}_{kind}"]
        events.scalars(scalars, epoch)
        shown = np.unique(np.linspace(1, self.config.epochs, _MAX_HISTOGRAM_EPOCHS).round())
        if epoch in shown:
            events.histograms({f"weights/{v.path}": v.numpy() for v in self.model.trainable_variables}, epoch)

    def _restore(self) -> None:
        state = self.checkpoints.latest() if self.checkpoints else None
        if state is not None:
            self._check_origin(state.origin)
        if self.trainer.workers > 1:
            state = unpack(broadcast(self.trainer.strategy, pack(state)))
        if state is None:
            return
        assign_variables(self.trainer.variables, state.variables)
        self.history = [dict(row) for row in state.history]
        self.best_weights = state.best_weights

    def _origin(self) -> dict[str, Any]:
        """What a checkpoint must share with this training to continue it with the same bits."""
        # Seed generators and optimisers are numbered as they are made; only weights have lasting names.
        network = [
            [variable.path for variable in self.model.trainable_variables],
            [list(v.shape) for v in self.trainer.variables],
        ]
        data = {name: _describe_examples(split) for name, split in self.trainer.data.splits.items()}
        return {
            "settings": short_hash(_without_defaults(self.config)),
            "network": short_hash(network),
            "data": short_hash(data),
            "num_devices": self.trainer.replicas,
        }

    def _check_origin(self, origin: Mapping[str, Any]) -> None:
        own = self._origin()
        if origin["num_devices"] != own["num_devices"]:
            raise reject(
                "num_devices", own["num_devices"],
                f"the {origin['num_devices']} on which {self.run_dir.path} was begun, since others give other bits",
            )  # fmt: skip
        for part in ("settings", "network", "data"):
            if part in origin and origin.get(part) != own[part]:
                raise UserError(
                    f"run_dir: expected the checkpoints of this training, received those of other {part} in "
                    f"{self.run_dir.checkpoints}; use another directory"
                )

    def _result(self, stop: str) -> TrainingResult:
        last = self._read_weights()
        # Where nothing is monitored, or no epoch was trained, the last weights are the best.
        best = last if self.monitored is None or not self.history else self.best_weights
        assign_variables(self.model.variables, best if self.config.measured_weights == "best" else last)
        return TrainingResult(
            history=pd.DataFrame(self.history),
            best_epoch=self._best_epoch(),
            diverged=stop == "diverged",
            batch_norm_momentum=float(self.trainer.momenta[0]) if self.trainer.momenta else None,
            best_weights=best,
            last_weights=last,
            stop=stop,
            weight_decay=self.config.weight_decay,
        )

    def _write_timing(self) -> None:
        """Seconds of every epoch; of those before an interruption, as they were noted then."""
        rows = pd.read_csv(self.run_dir.timing) if self.run_dir.timing.exists() else pd.DataFrame()
        earlier = rows[rows["epoch"] < self.timing[0]["epoch"]] if len(rows) else rows
        write_table(self.run_dir.timing, pd.concat([earlier, pd.DataFrame(self.timing)], ignore_index=True))

    def _read_weights(self) -> list[np.ndarray]:
        """Values of the model's variables as they are evaluated."""
        with self.trainer.averages.used() if self.trainer.averages else contextlib.nullcontext():
            return read_variables(self.model.variables)

    def _best_epoch(self) -> int:
        """First epoch, from 1, of the highest monitored accuracy, or the last; 0 before the first."""
        if not self.history or self.monitored is None:
            return len(self.history)
        return int(np.argmax([row[self.monitored] for row in self.history])) + 1

    def _reason_to_stop(self) -> str | None:
        """Why no further epoch is trained; None if one is."""
        enough, patience = self.config.stop_accuracy, self.config.patience
        if self.history and enough is not None and self.history[-1][self.monitored] >= enough:
            return "accuracy"
        if patience is not None and len(self.history) - self._best_epoch() >= patience:
            return "patience"
        return "epochs" if len(self.history) >= self.config.epochs else None


def _without_defaults(config: TrainingConfig) -> dict[str, Any]:
    """The fields that differ from their defaults, so that one added later changes no hash."""
    return {f.name: v for f in dataclasses.fields(config) if (v := getattr(config, f.name)) != f.default}


def _describe_examples(split: Any) -> list[Any]:
    """What tells one split from another without reading files: its size, and labels that are held in memory."""
    in_memory = dataclasses.is_dataclass(split) and "labels" in {field.name for field in dataclasses.fields(split)}
    labels = np.ascontiguousarray(split.labels) if in_memory else np.empty(0)
    return [len(split), hashlib.sha256(labels).hexdigest()]


def _longest_memory(num_steps: int) -> float:
    """The largest decay of a moving average that converges within a training: 1 - 10 / steps; DESIGN section 5."""
    return max(0.0, 1 - _AVERAGING_SHARE / num_steps) if num_steps else 1.0


def _all_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Layers of a model and of the models inside it."""
    inner = [_all_layers(layer) if isinstance(layer, keras.Model) else [layer] for layer in model.layers]
    return [layer for layers in inner for layer in layers]
