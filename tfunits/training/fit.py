"""The one training loop."""

import contextlib
import dataclasses
import hashlib
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm.auto import tqdm

from tfunits.artifacts import EventWriter, RunDir, write_table
from tfunits.configs import KeepRule, TrainingConfig, UserError, reject, short_hash
from tfunits.training.batches import with_weights
from tfunits.training.checkpoint import Checkpoints, State, assign_variables, pack, read_variables, unpack
from tfunits.training.engine import Averages, Totals, make_evaluation, make_train_steps
from tfunits.training.exchange import broadcast, is_chief, num_workers
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
    keep: KeepRule | None = None,
) -> TrainingResult:
    """Train a model; afterwards it has the weights that `config.measured_weights` names.

    With a run directory the state is kept after every epoch, and the same call continues from there with the same
    bits. Short trainings lower the momentum of batch normalisation, and the decay of averaged weights, to
    1 - 10 / steps, so that the averages have converged by the end. With `config.weight_decay_choices` a network is
    trained from the same weights with each, and the one with the highest validation accuracy after the last epoch
    stays; of equals that with the lower loss.

    Args:
      model: built inside the strategy's scope, with logits (or one score, for a hinge loss) as output.
      data: a `tfunits.datasets.Dataset`, or anything with its `.epoch`, `.batches` and `.splits`.
      config: how to train.
      run_dir: where history.csv, timing.csv, checkpoints and TensorBoard events go; None keeps nothing. Of several
        workers, only the chief's is used.
      strategy: where to train; TensorFlow's current one if None.
      keep: which epochs' checkpoints stay beside those needed to continue.

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
    strategy = strategy or tf.distribute.get_strategy()
    if run_dir is not None and not isinstance(run_dir, RunDir):
        run_dir = RunDir(run_dir)
    if not is_chief(strategy):
        run_dir = None
    if config.weight_decay_choices is None:
        return _Training(model, data, config, run_dir, strategy, keep).run()
    return _fit_choices(model, data, config, run_dir, strategy, keep)


def _fit_choices(
    model: keras.Model,
    data: Any,
    config: TrainingConfig,
    run_dir: RunDir | None,
    strategy: tf.distribute.Strategy,
    keep: KeepRule | None,
) -> TrainingResult:
    """Train with every weight decay to choose from, and keep the one that validates best."""
    if "validation" not in data.splits:
        raise UserError("data: expected a validation set, which weight_decay_choices need")
    initial = read_variables(model.variables)
    results = {}
    for weight_decay in sorted(config.weight_decay_choices):
        assign_variables(model.variables, initial)
        chosen = dataclasses.replace(config, weight_decay=weight_decay, weight_decay_choices=None)
        folder = run_dir.candidate(candidate_name(weight_decay)) if run_dir else None
        results[weight_decay] = _Training(model, data, chosen, folder, strategy, keep).run()
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


class _Training:
    """One training: what is compiled once, and the state that a checkpoint holds."""

    def __init__(
        self,
        model: keras.Model,
        data: Any,
        config: TrainingConfig,
        run_dir: RunDir | None,
        strategy: tf.distribute.Strategy,
        keep: KeepRule | None,
    ) -> None:
        self.model, self.data, self.config, self.run_dir, self.strategy = model, data, config, run_dir, strategy
        self.batch_size = config.effective_batch_size
        self.replicas = strategy.num_replicas_in_sync
        self.workers = num_workers(strategy)
        if "train" not in data.splits:
            raise UserError(f"data: expected training examples, received {', '.join(data.splits)} alone")
        self._check_batch_size()
        self.monitored = self._choose_monitored()
        norms = [layer for layer in _all_layers(model) if isinstance(layer, keras.layers.BatchNormalization)]
        self.norms, self.own_momenta = norms, [layer.momentum for layer in norms]
        # Padding would enter the statistics of batch normalisation; on one device no padding is needed.
        self.drop_last = bool(norms) and self.replicas > 1
        self.steps = steps_per_epoch(len(data.splits["train"]), self.batch_size, drop_last=self.drop_last)
        self.batch_norm_momentum = _shorten_averages(norms, config.epochs * self.steps)
        self.rates = learning_rates(config, self.steps)
        with strategy.scope():
            self.optimizer = make_optimizer(config, StepSchedule(self.rates))
            self.optimizer.build(model.trainable_variables)
            decay = min(config.average_decay, _longest_memory(config.epochs * self.steps))
            self.averages = Averages(model, decay) if config.average_decay else None
        self.train_steps = make_train_steps(model, self.optimizer, config, strategy, self.averages)
        self.evaluate = make_evaluation(model, config.loss, strategy)
        self.evaluated = {
            split: self._distribute_evaluation(split)
            for split in ("validation", *({"train"} if self.monitored == "evaluated_train_accuracy" else ()))
            if split in data.splits
        }
        self.checkpoints = (
            Checkpoints(run_dir.checkpoints, keep, needs_best=config.measured_weights == "best") if run_dir else None
        )
        self.history: list[dict[str, Any]] = []
        self.best_weights: Sequence[np.ndarray] | None = None

    def _check_batch_size(self) -> None:
        if self.batch_size < self.replicas:
            raise reject(
                "batch_size", self.batch_size,
                f"at least one example for each of the {self.replicas} devices of a batch",
            )  # fmt: skip
        num_examples = len(self.data.splits["train"])
        if self.batch_size > num_examples:
            raise reject("batch_size", self.batch_size, f"at most the {num_examples} training examples that are there")
        if self.workers > 1 and self.batch_size % self.replicas:
            raise reject("batch_size", self.batch_size, f"a multiple of the {self.replicas} devices of all machines")

    def _choose_monitored(self) -> str | None:
        """The column of the history that says which epoch is the best; None where every epoch is as good."""
        if self.config.monitor == "train":
            return "evaluated_train_accuracy"
        if "validation" in self.data.splits:
            return "validation_accuracy"
        needs = self.config.patience is not None or self.config.stop_accuracy is not None
        if needs or self.config.measured_weights == "best":
            raise UserError("data: expected a validation set, which patience, stop_accuracy and best weights need")
        return None

    @property
    def variables(self) -> list[keras.Variable]:
        """Everything that must be restored: weights, statistics, seed generators, optimiser slots, step, averages."""
        averages = self.averages.variables if self.averages else []
        return [*self.model.variables, *self.optimizer.variables, *averages]

    def run(self) -> TrainingResult:
        """Train from the last checkpoint, or from the start, to the end."""
        try:
            return self._train()
        finally:
            # After an error too, since the network may be trained again.
            for layer, momentum in zip(self.norms, self.own_momenta, strict=True):
                layer.momentum = momentum

    def _train(self) -> TrainingResult:
        self._restore()
        events = EventWriter(self.run_dir.tensorboard) if self.run_dir else None
        diverged = False
        total = self.config.epochs * self.steps
        with tqdm(
            desc="training", total=total, initial=len(self.history) * self.steps, unit="step",
            disable=None if is_chief(self.strategy) else True,
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
        iterator = iter(self._distribute_epoch(epoch))
        totals, done, start = Totals(), 0, time.perf_counter()
        while done < self.steps and np.isfinite(totals.loss):
            count = min(_STEPS_PER_CALL, self.steps - done)
            totals += self.train_steps(iterator, count)
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
        with self.averages.used() if self.averages else contextlib.nullcontext():
            for split, (batches, count) in self.evaluated.items():
                found, name = self.evaluate(batches, count), "evaluated_train" if split == "train" else split
                row |= {f"{name}_loss": found.mean_loss, f"{name}_accuracy": found.accuracy}
        return row, per_step

    def _finish_epoch(
        self, row: dict[str, Any], seconds: Mapping[str, float], events: EventWriter | None, diverged: bool
    ) -> None:
        """Note an epoch in history and, with a run directory, in its files; the checkpoint is written last."""
        self.history.append(row)
        if self.monitored is not None and self._best_epoch() == row["epoch"]:
            self.best_weights = self._read_weights()
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
            self.checkpoints.save(state, self._best_epoch() if self.monitored else 0)

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
        if self.workers > 1:
            state = unpack(broadcast(self.strategy, pack(state)))
        if state is None:
            return
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
        data = {name: _describe_examples(split) for name, split in self.data.splits.items()}
        return {
            "settings": short_hash(_without_defaults(self.config)),
            "network": short_hash(network),
            "data": short_hash(data),
            "num_devices": self.replicas,
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
            batch_norm_momentum=self.batch_norm_momentum,
            best_weights=best,
            last_weights=last,
            stop=stop,
            weight_decay=self.config.weight_decay,
        )

    def _read_weights(self) -> list[np.ndarray]:
        """Values of the model's variables as they are evaluated."""
        with self.averages.used() if self.averages else contextlib.nullcontext():
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

    def _distribute_epoch(self, epoch: int) -> Any:
        """The training batches of an epoch, `self.steps` of them, over all devices."""
        options = {"augment": "augmentation" in self.config.regularizers, "shuffle": self.config.shuffle}
        if self.workers == 1:
            batches = self.data.epoch(epoch, self.config.seed, self.batch_size, **options).take(self.steps)
            return self._distribute(batches, whole=self.drop_last)
        return self._distribute_over_workers(
            lambda size, shard: self.data.epoch(epoch, self.config.seed, size, shard=shard, **options), self.steps
        )

    def _distribute_evaluation(self, split: str) -> tuple[Any, int]:
        """A split's batches over all devices, and their number."""
        count = steps_per_epoch(len(self.data.splits[split]), self.batch_size, drop_last=False)
        if self.workers == 1:
            return self._distribute(self.data.batches(split, self.batch_size)), count
        # Shards differ by one example at most; the largest decides.
        largest = -(-len(self.data.splits[split]) // self.workers)
        count = steps_per_epoch(largest * self.workers, self.batch_size, drop_last=False)
        return self._distribute_over_workers(
            lambda size, shard: self.data.batches(split, size, shard=shard), count
        ), count

    def _distribute(self, batches: tf.data.Dataset, *, whole: bool = False) -> Any:
        """Global batches, perhaps known to be whole, split over the devices of this machine."""
        weighted = with_weights(batches, self.batch_size, pad=self.replicas > 1 and not whole)
        return self.strategy.experimental_distribute_dataset(weighted)

    def _distribute_over_workers(self, read: Callable[[int, tuple[int, int]], tf.data.Dataset], count: int) -> Any:
        """Every worker's part of `count` global batches, read from its own shard."""

        def make(context: tf.distribute.InputContext) -> tf.data.Dataset:
            size = context.get_per_replica_batch_size(self.batch_size)
            local_batches = count * self.replicas // self.workers
            shard = (context.input_pipeline_id, context.num_input_pipelines)
            return with_weights(read(size, shard), size, pad=True, num_batches=local_batches)

        return self.strategy.distribute_datasets_from_function(make)


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


def _shorten_averages(norms: Sequence[keras.layers.BatchNormalization], num_steps: int) -> float | None:
    """Lower the momentum of batch normalisations to min(own, 1 - 10 / steps); DESIGN section 5."""
    if not norms:
        return None
    for layer in norms:
        layer.momentum = min(layer.momentum, _longest_memory(num_steps))
    return float(norms[0].momentum)


def _all_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Layers of a model and of the models inside it."""
    inner = [_all_layers(layer) if isinstance(layer, keras.Model) else [layer] for layer in model.layers]
    return [layer for layers in inner for layer in layers]


def _append_timing(run_dir: RunDir, row: Mapping[str, Any]) -> None:
    rows = pd.read_csv(run_dir.timing) if run_dir.timing.exists() else pd.DataFrame()
    earlier = rows[rows["epoch"] < row["epoch"]] if len(rows) else rows
    write_table(run_dir.timing, pd.concat([earlier, pd.DataFrame([row])], ignore_index=True))
