"""Training losses per example, the classes they imply, and the weight penalty."""

import functools
import re
from collections.abc import Callable

import keras
import tensorflow as tf

from tfunits.configs import TrainingConfig, reject


def cross_entropy(labels: tf.Tensor, outputs: tf.Tensor, smoothing: float = 0.0) -> tf.Tensor:
    """Cross-entropy of every example with its label, part of which is spread evenly over the classes.

      (1 - s) (-log p[label]) + s mean_c(-log p[c]),    p = softmax(outputs)

    Args:
      labels: int [batch].
      outputs: logits [batch, classes].
      smoothing: s in [0, 1).

    Returns: [batch].

    Source: Doimo et al. 2022, as their program smooths (FACTS 14.2).
    """
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=outputs)
    if smoothing == 0:
        return losses
    spread = -tf.reduce_mean(tf.nn.log_softmax(outputs), axis=-1)
    return (1 - smoothing) * losses + smoothing * spread


def hinge(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """max(0, 1 - y f) of every example, y = -1 for label 0 and +1 for label 1; outputs [batch, 1]. Returns [batch].

    Source: Doimo et al. 2022, section 2.
    """
    signs = 2 * tf.cast(labels, outputs.dtype) - 1
    return tf.nn.relu(1 - signs * tf.squeeze(outputs, -1))


def squared_hinge(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """The square of `hinge` of every example, [batch].

    Source: Geiger et al. 2020, whose protocol Doimo et al. 2022 follow for the MNIST parity.
    """
    return tf.square(hinge(labels, outputs))


LOSSES: dict[str, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {
    "cross_entropy": cross_entropy,
    "hinge": hinge,
    "squared_hinge": squared_hinge,
}


def make_training_loss(config: TrainingConfig) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """The loss that training lowers: the named one, with label smoothing where it is asked for.

    Raises:
      UserError: smoothed labels with a hinge loss.
    """
    if config.label_smoothing and config.loss != "cross_entropy":
        raise reject("label_smoothing", config.label_smoothing, f"no such flag with --loss={config.loss}")
    if config.label_smoothing:
        return functools.partial(cross_entropy, smoothing=config.label_smoothing)
    return LOSSES[config.loss]


def predicted_labels(outputs: tf.Tensor) -> tf.Tensor:
    """The class of every example, int32 [batch]: the largest logit, or of one output 1 where it is positive."""
    if outputs.shape[-1] == 1:
        return tf.cast(tf.squeeze(outputs, -1) > 0, tf.int32)
    return tf.argmax(outputs, axis=-1, output_type=tf.int32)


def decayed_variables(model: keras.Model, pattern: str) -> list[keras.Variable]:
    """The trainable variables whose path matches a regular expression.

    Raises:
      ValueError: a pattern that matches none.
    """
    chosen = [variable for variable in model.trainable_variables if re.search(pattern, variable.path)]
    if not chosen:
        paths = ", ".join(variable.path for variable in model.trainable_variables[:4])
        raise reject("decayed_variables", pattern, "a pattern that matches variables", f"their paths are like {paths}")
    return chosen


def weight_penalty(variables: list[keras.Variable], weight_decay: float) -> tf.Tensor:
    """weight_decay * sum(w^2) / 2 over variables, a float32 scalar."""
    return weight_decay * tf.add_n([tf.nn.l2_loss(variable.value) for variable in variables])
