"""Compiled steps: an epoch is a few calls of one function, on one device or many."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfunits.configs import TrainingConfig
from tfunits.training.losses import (
    LOSSES,
    decayed_variables,
    make_training_loss,
    predicted_labels,
    weight_penalty,
)

# Weight of an auxiliary head's loss (Szegedy et al. 2015, section 5; the authors' TensorFlow programs keep it).
_AUXILIARY_FACTOR = 0.4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Totals:
    """Sums over examples.

    Attributes:
      loss: sum of the examples' losses.
      correct: number of examples whose predicted class is the label.
      count: number of examples.
    """

    loss: float = 0.0
    correct: float = 0.0
    count: float = 0.0

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(loss=self.loss + other.loss, correct=self.correct + other.correct, count=self.count + other.count)

    @property
    def mean_loss(self) -> float:
        """Mean loss of an example."""
        return self.loss / self.count

    @property
    def accuracy(self) -> float:
        """Share of examples whose predicted class is the label."""
        return self.correct / self.count


# (inputs, labels, weights) of a replica's part of a batch -> [loss, correct, count].
ReplicaStep = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


def _sums(losses: tf.Tensor, outputs: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """[loss, correct, count] of one batch, float64."""
    right = tf.cast(predicted_labels(outputs) == labels, tf.float64)
    weights = tf.cast(weights, tf.float64)
    return tf.stack([
        tf.reduce_sum(tf.cast(losses, tf.float64) * weights), tf.reduce_sum(right * weights), tf.reduce_sum(weights)
    ])  # fmt: skip


def _heads(outputs: Any) -> list[tf.Tensor]:
    """A model's outputs in float32, the one that predicts first."""
    return [tf.cast(head, tf.float32) for head in (outputs if isinstance(outputs, list | tuple) else [outputs])]


def make_train_steps(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    config: TrainingConfig,
    strategy: tf.distribute.Strategy,
    averages: "Averages | None" = None,
) -> Callable[[Iterator, int], Totals]:
    """A function that trains on the next batches of an iterator; see `make_train_step`.

    Returns: (iterator of distributed (inputs, labels, weights), number of steps) -> `Totals` over these steps, of the
      first head and without the penalty.
    """
    decay = config.weight_decay if config.weight_decay > 0 else None
    return make_loop(make_train_step(model, optimizer, config, weight_decay=decay, averages=averages), strategy)


def make_train_step(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    config: TrainingConfig,
    *,
    weight_decay: float | tf.Variable | None,
    averages: "Averages | None" = None,
) -> ReplicaStep:
    """What one replica does in a training step.

    The gradient is that of  sum_i loss_i / N + weight_decay * sum(w^2) / 2  over the N examples of the global batch,
    whatever the number of devices; a second head's loss is added with a factor of 0.4.

    Args:
      model: built inside the strategy's scope.
      optimizer: built inside the strategy's scope.
      config: loss, and which variables the penalty is on.
      weight_decay: of the penalty; a variable may change between steps; None for no penalty.
      averages: moving averages of the weights, moved on after every step.

    Returns: a step that returns the sums of the first head, without the penalty.
    """
    loss = make_training_loss(config)
    penalized = [] if weight_decay is None else decayed_variables(model, config.decayed_variables)
    scales = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)

    def replica_step(inputs: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        count = context.all_reduce("SUM", tf.reduce_sum(weights))
        with tf.GradientTape() as tape:
            outputs, *others = _heads(model(inputs, training=True))
            losses = loss(labels, outputs)
            total = losses + _AUXILIARY_FACTOR * tf.add_n([loss(labels, o) for o in others]) if others else losses
            objective = tf.reduce_sum(total * weights) / count
            if penalized:
                # The optimiser sums gradients over replicas; each contributes its share of the penalty.
                objective += weight_penalty(penalized, weight_decay) / context.num_replicas_in_sync
            scaled = optimizer.scale_loss(objective) if scales else objective
        gradients = tape.gradient(scaled, model.trainable_variables)
        optimizer.apply(_share_overflow(gradients, context) if scales else gradients, model.trainable_variables)
        if averages is not None:
            averages.move()
        return _sums(losses, outputs, labels, weights)

    return replica_step


def _share_overflow(gradients: list[tf.Tensor], context: tf.distribute.ReplicaContext) -> list[tf.Tensor]:
    """Gradients that are infinite on all replicas if any is on one: Keras' loss scaling asks the first alone."""
    if context.num_replicas_in_sync == 1:
        return gradients
    overflows = tf.logical_not(tf.reduce_all([tf.reduce_all(tf.math.is_finite(gradient)) for gradient in gradients]))
    somewhere = context.all_reduce("SUM", tf.cast(overflows, tf.float32)) > 0
    return [tf.where(somewhere, np.inf, gradient) for gradient in gradients]


def averaged_weights(model: keras.Model) -> list[keras.Variable]:
    """The weights that have a moving average, in order: all but counters and seeds."""
    return [weight for weight in model.weights if "float" in weight.dtype]


class Averages:
    """Moving averages of a model's weights, batch normalisation's statistics included.

      a <- decay * a + (1 - decay) * w

    Args:
      model: its weights are averaged; made inside the strategy's scope.
      decay: in (0, 1).

    Source: Szegedy et al. 2016 evaluate averaged weights (FACTS 2.4).
    """

    def __init__(self, model: keras.Model, decay: float) -> None:
        self.weights = averaged_weights(model)
        self.decay = decay
        # Of a copy: Keras would take the weight's own TensorFlow variable for the average's.
        self.variables = [
            keras.Variable(weight.numpy(), trainable=False, dtype=weight.dtype, name=f"average_{number}")
            for number, weight in enumerate(self.weights)
        ]

    def move(self) -> None:
        """One step of every average; equal on all replicas, since weights are."""
        for average, weight in zip(self.variables, self.weights, strict=True):
            average.assign(average.value + (weight.value - average.value) * (1 - self.decay))

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """The model has the averages for the block, and its own weights after it."""
        own = [weight.numpy() for weight in self.weights]
        try:
            for weight, average in zip(self.weights, self.variables, strict=True):
                weight.assign(average.numpy())
            yield
        finally:
            for weight, value in zip(self.weights, own, strict=True):
                weight.assign(value)


def make_evaluation(
    model: keras.Model, loss_name: str, strategy: tf.distribute.Strategy
) -> Callable[[Any, int], Totals]:
    """A function that evaluates a model, exactly, on every example once.

    Args:
      model: built inside the strategy's scope.
      loss_name: one of `LOSSES`.
      strategy: where to evaluate.

    Returns: (distributed batches of (inputs, labels, weights), number of batches) -> `Totals`.
    """
    loop = make_loop(make_evaluation_step(model, loss_name), strategy)
    return lambda batches, num_batches: loop(iter(batches), num_batches)


def make_evaluation_step(model: keras.Model, loss_name: str) -> ReplicaStep:
    """What one replica does to evaluate a batch."""
    loss = LOSSES[loss_name]

    def replica_step(inputs: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        outputs = _heads(model(inputs, training=False))[0]
        return _sums(loss(labels, outputs), outputs, labels, weights)

    return replica_step


def make_loop(replica_step: ReplicaStep, strategy: tf.distribute.Strategy) -> Callable[[Iterator, int], Totals]:
    """A compiled loop of a step over the next batches of an iterator, its sums added over steps and replicas."""

    @tf.function(reduce_retracing=True)
    def run(iterator: Iterator, num_steps: tf.Tensor) -> tf.Tensor:
        totals = tf.zeros([3], tf.float64)
        for _ in tf.range(num_steps):
            per_replica = strategy.run(replica_step, args=next(iterator))
            totals += strategy.reduce("SUM", per_replica, axis=None)
        return totals

    return lambda iterator, num_steps: _to_totals(run(iterator, tf.constant(num_steps)))


def make_indexed_loop(
    replica_step: ReplicaStep,
    strategy: tf.distribute.Strategy,
    inputs: tf.Tensor,
    labels: tf.Tensor,
    batch_size: int,
) -> Callable[[tf.Tensor, int, int], Totals]:
    """A compiled loop of a step over batches of examples in memory, on one device.

    Args:
      replica_step: the step.
      strategy: of one replica.
      inputs: of all examples, [examples, ...].
      labels: int32 [examples].
      batch_size: examples of a batch.

    Returns: (positions of examples in their order, int32 [n]; first batch; number of batches) -> `Totals`; the last
      batch of the order may be smaller.
    """
    number = tf.TensorSpec([], tf.int32)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32), number, number])
    def run(order: tf.Tensor, first: tf.Tensor, num_steps: tf.Tensor) -> tf.Tensor:
        totals = tf.zeros([3], tf.float64)
        for step in tf.range(first, first + num_steps):
            chosen = order[step * batch_size : (step + 1) * batch_size]
            batch = (tf.gather(inputs, chosen), tf.gather(labels, chosen), tf.ones_like(chosen, tf.float32))
            totals += strategy.reduce("SUM", strategy.run(replica_step, args=batch), axis=None)
        return totals

    return lambda order, first, num_steps: _to_totals(run(order, first, num_steps))


def _to_totals(sums: tf.Tensor) -> Totals:
    loss, correct, count = sums.numpy().tolist()
    return Totals(loss=loss, correct=correct, count=count)


def predict(model: keras.Model, batches: tf.data.Dataset) -> np.ndarray:
    """A model's outputs for every example, in order.

    Args:
      model: with one output, or an auxiliary second one.
      batches: batches of (inputs, labels).

    Returns: float32 [examples, outputs].
    """
    return predict_splits(model, {"": batches})[""][0]


def predict_splits(
    model: keras.Model, splits: Mapping[str, tf.data.Dataset]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """A model's outputs, as `predict`, and the labels beside them, of several splits of one data set."""
    spec, _ = next(iter(splits.values())).element_spec
    # Any number of examples: the first split may end with a full batch and another not.
    inputs_spec = tf.TensorSpec([None, *spec.shape[1:]], spec.dtype)
    run = tf.function(lambda inputs: _heads(model(inputs, training=False))[0], input_signature=[inputs_spec])
    run = run.get_concrete_function()
    found = {}
    for name, batches in splits.items():
        pairs = [(run(inputs).numpy(), labels.numpy()) for inputs, labels in batches]
        found[name] = tuple(np.concatenate(column) for column in zip(*pairs, strict=True))
    return found
