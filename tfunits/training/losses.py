"""Training losses per example, the classes they imply, and the weight penalty."""

import re
from collections.abc import Callable

import keras
import tensorflow as tf

from tfunits.configs import reject


def cross_entropy(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """-log softmax(outputs)[label] of every example; outputs are logits [batch, classes]. Returns [batch]."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=outputs)


def hinge(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """max(0, 1 - y f) of every example, y = -1 for label 0 and +1 for label 1; outputs [batch, 1]. Returns [batch].

    Source: Doimo et al. 2022, section 2.
    """
    signs = 2 * tf.cast(labels, outputs.dtype) - 1
    return tf.nn.relu(1 - signs * tf.squeeze(outputs, -1))


LOSSES: dict[str, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {"cross_entropy": cross_entropy, "hinge": hinge}


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
