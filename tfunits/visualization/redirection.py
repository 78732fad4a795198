"""ReLUs that let gradients through where nothing else would: a silent unit can then be woken."""

import contextlib
import functools
from collections.abc import Iterator

import tensorflow as tf

_UPPER_BOUNDS = {"Relu": None, "Relu6": 6.0}


@contextlib.contextmanager
def redirected_relus() -> Iterator[None]:
    """ReLUs of the graph that is being traced have redirected gradients, for `tf.gradients`.

    Where an image's whole gradient would stop at a ReLU, what would pull its input towards the range in which it is
    alive passes: up from below 0, and of ReLU6 also down from above 6. Everything else is as ever.

    Source: Lucid 0.3.10, misc.redirected_relu_grad; Olah et al. 2017.
    Differs: an input of exactly 0 (of ReLU6, 6) counts as silent, as in TensorFlow's own gradient; gradients too small
    for Lucid's norm are some here. Only `tf.gradients` sees it, not
    `tf.GradientTape`.
    """
    overrides = {operation: _register(operation) for operation in _UPPER_BOUNDS}
    with tf.compat.v1.get_default_graph().gradient_override_map(overrides):
        yield


@functools.cache
def _register(operation: str) -> str:
    """Make TensorFlow know the gradient, once a process; returns its name."""
    name = f"Redirected{operation}"
    tf.RegisterGradient(name)(functools.partial(_redirect, _UPPER_BOUNDS[operation]))
    return name


def _redirect(upper_bound: float | None, operation: tf.Operation, gradient: tf.Tensor) -> tf.Tensor:
    """The gradient of a loss that is minimised: a positive one pushes its input down."""
    # The outputs, not the inputs, so that TensorFlow can still compute the ReLU with the layer before it.
    output = operation.outputs[0]
    silent = output <= 0
    passes = ~(silent & (gradient > 0))
    alive = ~silent
    if upper_bound is not None:
        saturated = output >= upper_bound
        passes &= ~(saturated & (gradient < 0))
        alive &= ~saturated
    zero = tf.zeros_like(gradient)
    plain = tf.where(alive, gradient, zero)
    axes = list(range(1, len(output.shape)))
    is_blocked = tf.logical_not(tf.reduce_any(plain != 0, axis=axes, keepdims=True))
    return tf.where(is_blocked, tf.where(passes, gradient, zero), plain)
