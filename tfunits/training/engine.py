"""Compiled steps: an epoch is a few calls of one function, on one device or many."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfunits.configs import TrainingConfig
from tfunits.training.losses import LOSSES, decayed_variables, predicted_labels, weight_penalty


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


def _sums(losses: tf.Tensor, outputs: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """[loss, correct, count] of one batch, float64."""
    right = tf.cast(predicted_labels(outputs) == labels, tf.float64)
    weights = tf.cast(weights, tf.float64)
    return tf.stack([
        tf.reduce_sum(tf.cast(losses, tf.float64) * weights), tf.reduce_sum(right * weights), tf.reduce_sum(weights)
    ])  # fmt: skip


def make_train_steps(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    config: TrainingConfig,
    strategy: tf.distribute.Strategy,
) -> Callable[[Iterator, int], Totals]:
    """A function that trains on the next batches of an iterator.

    The gradient is that of  sum_i loss_i / N + weight_decay * sum(w^2) / 2  over the N examples of the global batch,
    whatever the number of devices.

    Args:
      model: built inside the strategy's scope.
      optimizer: built inside the strategy's scope.
      config: loss and penalty.
      strategy: where to train.

    Returns: (iterator of distributed (inputs, labels, weights), number of steps) -> `Totals` over these steps.
    """
    loss = LOSSES[config.loss]
    penalized = decayed_variables(model, config.decayed_variables) if config.weight_decay > 0 else []

    def replica_step(inputs: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        count = context.all_reduce("SUM", tf.reduce_sum(weights))
        with tf.GradientTape() as tape:
            outputs = model(inputs, training=True)
            losses = loss(labels, outputs)
            objective = tf.reduce_sum(losses * weights) / count
            if penalized:
                # The optimiser sums gradients over replicas; each contributes its share of the penalty.
                objective += weight_penalty(penalized, config.weight_decay) / context.num_replicas_in_sync
        gradients = tape.gradient(objective, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return _sums(losses, outputs, labels, weights)

    return _make_loop(replica_step, strategy)


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
    loss = LOSSES[loss_name]

    def replica_step(inputs: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        outputs = model(inputs, training=False)
        return _sums(loss(labels, outputs), outputs, labels, weights)

    loop = _make_loop(replica_step, strategy)
    return lambda batches, num_batches: loop(iter(batches), num_batches)


def _make_loop(
    replica_step: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor], strategy: tf.distribute.Strategy
) -> Callable[[Iterator, int], Totals]:
    """A compiled loop of a step over the next batches of an iterator, its sums added over steps and replicas."""

    @tf.function(reduce_retracing=True)
    def run(iterator: Iterator, num_steps: tf.Tensor) -> tf.Tensor:
        totals = tf.zeros([3], tf.float64)
        for _ in tf.range(num_steps):
            per_replica = strategy.run(replica_step, args=next(iterator))
            totals += strategy.reduce("SUM", per_replica, axis=None)
        return totals

    def loop(iterator: Iterator, num_steps: int) -> Totals:
        loss, correct, count = run(iterator, tf.constant(num_steps)).numpy().tolist()
        return Totals(loss=loss, correct=correct, count=count)

    return loop


def predict(model: keras.Model, batches: tf.data.Dataset) -> np.ndarray:
    """A model's outputs for every example, in order.

    Args:
      model: with one output.
      batches: batches of (inputs, labels).

    Returns: float32 [examples, outputs].
    """
    return predict_splits(model, {"": batches})[""]


def predict_splits(model: keras.Model, splits: Mapping[str, tf.data.Dataset]) -> dict[str, np.ndarray]:
    """A model's outputs for every example of several splits of one data set, as `predict`, compiled once."""
    inputs_spec, _ = next(iter(splits.values())).element_spec
    run = tf.function(lambda inputs: model(inputs, training=False), input_signature=[inputs_spec])
    run = run.get_concrete_function()
    return {name: np.concatenate([run(inputs).numpy() for inputs, _ in batches]) for name, batches in splits.items()}
