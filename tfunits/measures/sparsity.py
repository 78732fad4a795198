"""Which layers can leave out the arithmetic of masked channels."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfunits.surgery import Call, Graph, TensorKey, activation_name, is_change_of_form, kernel_of

_POOLING = ("MaxPooling", "AveragePooling", "GlobalMaxPooling", "GlobalAveragePooling", "UpSampling", "ZeroPadding")
# Activations with f(0) = 0.
_ZERO_AT_ZERO = frozenset(
    {"elu", "gelu", "hardtanh", "leakyrelu", "relu", "relu6", "selu", "silu", "softsign", "swish", "tanh"}
)
_LAYERS = frozenset({"ELU", "LeakyReLU", "LocalResponseNormalization", "PReLU"})


def keeps_zeros(graph: Graph, call: Call) -> bool:
    """Whether a channel that is 0 everywhere stays 0 everywhere, in its place."""
    if len(call.inputs) != 1 or len(call.outputs) != 1:
        return False
    if graph.shape(call.inputs[0])[-1] != graph.shape(call.outputs[0])[-1]:
        return False
    kind = type(call.operation).__name__
    if kind == "ReLU":
        return not (call.operation.threshold and call.operation.negative_slope)  # f(0) = -slope * threshold
    if kind in _LAYERS or kind.startswith(_POOLING) or is_change_of_form(call):
        return True
    return kind == "Activation" and activation_name(call.operation) in _ZERO_AT_ZERO


def can_leave_out(call: Call) -> bool:
    """Whether a layer can be run on some of its input's channels alone."""
    layer = call.operation
    # Low-rank or quantised kernels are not what the layer multiplies with.
    if kernel_of(layer) is None or getattr(layer, "quantization_mode", None):
        return False
    if type(layer) is keras.layers.Dense:
        return True
    return type(layer) is keras.layers.Conv2D and layer.groups == 1 and layer.data_format == "channels_last"


def sparse_calls(graph: Graph, calls: Sequence[Call], masked: TensorKey) -> list[Call]:
    """Calls that can leave channels out and read a masked tensor, or one whose channels are zero with its."""
    zero, found = {masked}, []
    for call in calls:
        if not zero.intersection(call.inputs):
            continue
        if can_leave_out(call):
            found.append(call)
        elif keeps_zeros(graph, call):
            zero.update(call.outputs)
    return found


def multiplications(graph: Graph, calls: Sequence[Call]) -> float:
    """Multiplications an example needs in dense and convolutional layers."""
    kernels = [(call, kernel_of(call.operation)) for call in calls]
    return float(
        sum(
            np.prod(kernel.shape) * np.prod([size or 1 for size in graph.shape(call.outputs[0])[1:-1]])
            for call, kernel in kernels
            if kernel is not None
        )
    )


def run_on_channels(call: Call, value: tf.Tensor, channels: tf.Tensor) -> list[Any]:
    """A call's outputs from some channels of its input, all others being 0.

    Args:
      call: one that `can_leave_out`.
      value: of its input, [batch, ..., units].
      channels: int32 [kept].
    """
    layer = call.operation
    kept = tf.cast(tf.gather(value, channels, axis=-1), layer.compute_dtype)
    kernel = tf.cast(tf.gather(layer.kernel.value, channels, axis=-2), layer.compute_dtype)
    if type(layer) is keras.layers.Dense:
        outputs = tf.tensordot(kept, kernel, 1)
    else:
        outputs = keras.ops.conv(
            kept, kernel, layer.strides, layer.padding, data_format=layer.data_format, dilation_rate=layer.dilation_rate
        )
    if layer.use_bias:
        outputs += tf.cast(layer.bias.value, layer.compute_dtype)
    return [outputs if layer.activation is None else layer.activation(outputs)]
