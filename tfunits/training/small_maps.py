"""Gradients of convolutions over maps of few positions, where TensorFlow's own take most of a step on CPUs.

TensorFlow sends a convolution's gradient back one image at a time, and reads the whole kernel for each; a kernel of
3 x 3 x 512 x 512 on a map of one position takes it a hundred times as long as the products that count.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

# Beyond, TensorFlow's are as fast (`benchmarks/small_maps.py`).
_MOST_POSITIONS = 16


def send_gradients_as_products(model: keras.Model, run: Callable[..., Any]) -> Callable[..., Any]:
    """A function that trains, whose convolutions over few positions send their gradients back by matrix products.

      dx[p] = sum over taps t, positions q that read p through t, of dy[q] W[t]^T

    Outputs and the gradients of kernels have the same bits as without, those of inputs the same to rounding. Nothing
    changes for other convolutions than plain ones in float32 with at most 16 output positions, nor where there are
    GPUs, whose own library has no such case.

    Args:
      model: whose layers are called within; nothing of it remains changed.
      run: compiles, when it is first called, a function that calls the model.

    Returns: a function of the same arguments and result.

    Example:
      >>> train = send_gradients_as_products(model, tf.function(step))
    """
    convolutions = [layer for layer in _layers(model) if _is_plain(layer)]
    if not convolutions or tf.config.list_logical_devices("GPU"):
        return run

    def run_within(*args: Any) -> Any:
        for layer in convolutions:
            # Where Keras reads it; not through its setter, which follows what a layer owns.
            vars(layer)["convolution_op"] = functools.partial(_convolve, layer)
        try:
            return run(*args)
        finally:
            for layer in convolutions:
                vars(layer).pop("convolution_op", None)

    return run_within


def _layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _layers(layer)


def _is_plain(layer: keras.layers.Layer) -> bool:
    return (
        isinstance(layer, keras.layers.Conv2D)
        and type(layer).convolution_op is keras.layers.Conv2D.convolution_op
        and "convolution_op" not in vars(layer)
        and layer.data_format == "channels_last"
        and layer.groups == 1
        and set(layer.dilation_rate) == {1}
    )


def _convolve(layer: keras.layers.Conv2D, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    kernel = tf.convert_to_tensor(kernel)
    size, (strides, padding) = inputs.shape[1:3], (layer.strides, layer.padding.upper())
    own = type(layer).convolution_op
    if None in size or inputs.dtype != tf.float32 or kernel.dtype != tf.float32:
        return own(layer, inputs, kernel)
    taps = _find_taps(tuple(size), tuple(kernel.shape[:2]), tuple(strides), padding)
    if taps is None:
        return own(layer, inputs, kernel)
    return _with_gradient(inputs, kernel, taps, strides, padding)


# Position of the kernel -> positions of the output that use it, and of the input that it reads there.
Taps = dict[tuple[int, int], tuple[np.ndarray, np.ndarray]]


@functools.lru_cache
def _find_taps(size: tuple[int, int], kernel: tuple[int, int], strides: tuple[int, int], padding: str) -> Taps | None:
    """What every tap of a kernel reads, without what it reads beyond the border; None for maps of many positions."""
    counts, befores = [], []
    for positions, taps, stride in zip(size, kernel, strides, strict=True):
        if padding == "SAME":
            counts.append(-(-positions // stride))
            befores.append(max((counts[-1] - 1) * stride + taps - positions, 0) // 2)
        else:
            counts.append(-(-(positions - taps + 1) // stride))
            befores.append(0)
    if counts[0] * counts[1] > _MOST_POSITIONS:
        return None
    rows, columns = (axis.ravel() for axis in np.indices(counts))
    found = {}
    for tap in np.ndindex(kernel):
        row, column = (
            stride * axis + at - before
            for axis, stride, at, before in zip((rows, columns), strides, tap, befores, strict=True)
        )
        inside = (row >= 0) & (row < size[0]) & (column >= 0) & (column < size[1])
        if inside.any():
            found[tap] = (np.flatnonzero(inside), (row * size[1] + column)[inside])
    return found


def _with_gradient(inputs: tf.Tensor, kernel: tf.Tensor, taps: Taps, strides: Sequence[int], padding: str) -> tf.Tensor:
    steps = [1, *strides, 1]

    @tf.custom_gradient
    def convolve(inputs: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        outputs = tf.nn.conv2d(inputs, kernel, steps, padding)

        def send_back(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            of_kernel = tf.raw_ops.Conv2DBackpropFilter(
                input=inputs, filter_sizes=kernel.shape, out_backprop=upstream, strides=steps, padding=padding
            )
            return _gradient_of_inputs(upstream, kernel, inputs.shape, taps), of_kernel

        return outputs, send_back

    return convolve(inputs, kernel)


def _gradient_of_inputs(upstream: tf.Tensor, kernel: tf.Tensor, shape: tf.TensorShape, taps: Taps) -> tf.Tensor:
    size, channels, filters = shape[1] * shape[2], kernel.shape[2], kernel.shape[3]
    flat = tf.reshape(upstream, [-1, upstream.shape[1] * upstream.shape[2], filters])
    sent = []
    for tap, (outputs, _) in taps.items():
        rows = flat if len(outputs) == flat.shape[1] else tf.gather(flat, outputs, axis=1)
        products = tf.matmul(tf.reshape(rows, [-1, filters]), kernel[tap], transpose_b=True)
        sent.append(tf.reshape(products, [-1, len(outputs), channels]))
    sent = tf.concat(sent, axis=1)
    read = np.concatenate([inputs for _, inputs in taps.values()])
    if not np.array_equal(read, np.arange(size)):
        # A sum over the taps through which a position is read; 0 where none reads it.
        sent = tf.matmul(tf.constant(np.eye(size, dtype=np.float32)[:, read]), sent)
    return tf.reshape(sent, [-1, *shape[1:]])
