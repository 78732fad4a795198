"""Convolutions whose gradients TensorFlow computes wrongly or slowly on CPUs, computed in another way."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

# Images have so few channels, for which the gradient of a strided convolution takes several times the convolution.
_IMAGE_CHANNELS = 4


def find_replacement(layer: Any) -> Callable[[tf.Tensor], tf.Tensor] | None:
    """What computes the same as a layer, to rounding, with a better gradient; None where the layer is as good."""
    if type(layer) is not keras.layers.Conv2D or layer.data_format != "channels_last" or max(layer.strides) == 1:
        return None
    if layer.groups != 1 or max(layer.dilation_rate) > 1:
        return None
    if tuple(layer.kernel_size) == (1, 1):
        return lambda images: _pick_and_convolve(layer, images)
    is_stem = layer.kernel.shape[2] <= _IMAGE_CHANNELS and len(set(layer.strides)) == 1
    return (lambda images: _convolve_stem(layer, images)) if is_stem else None


def _pick_and_convolve(layer: keras.layers.Conv2D, images: tf.Tensor) -> tf.Tensor:
    """A strided 1x1 convolution: the same positions, picked first.

    TensorFlow 2.21 corrupts memory in the gradient of strided 1x1 convolutions of few channels.
    """
    rows, columns = layer.strides
    return _finish(layer, tf.nn.conv2d(images[:, ::rows, ::columns], _kernel(layer, images), 1, "VALID"))


def _convolve_stem(layer: keras.layers.Conv2D, images: tf.Tensor) -> tf.Tensor:
    """A strided convolution of an image.

    Input place s q + r of a stride s is reached by kernel rows s t + r of outputs q - t. So the gradient is a
    convolution without stride of the outputs' gradient, whose s^2 results at a place are an s x s patch of the input.
    """
    stride = layer.strides[0]
    kernel = _kernel(layer, images)
    sides = layer.kernel_size
    if layer.padding == "same":
        images = _pad_same(images, sides, stride)

    @tf.custom_gradient
    def convolve(inputs: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            return _spread(upstream, kernel, tf.shape(inputs), sides, stride)

        return tf.nn.conv2d(inputs, kernel, stride, "VALID"), gradient

    return _finish(layer, convolve(images))


def _spread(upstream: tf.Tensor, kernel: tf.Tensor, shape: tf.Tensor, sides: tuple[int, int], stride: int) -> tf.Tensor:
    """The gradient of a strided convolution's inputs, whose shape is given, out of that of its outputs."""
    channels, units = kernel.shape[2:]
    rows, columns = (-(-side // stride) for side in sides)
    filled = tf.pad(kernel, [[0, rows * stride - sides[0]], [0, columns * stride - sides[1]], [0, 0], [0, 0]])
    split = tf.reshape(filled, [rows, stride, columns, stride, channels, units])[::-1, :, ::-1]
    backward = tf.reshape(tf.transpose(split, (0, 2, 5, 1, 3, 4)), [rows, columns, units, stride * stride * channels])
    around = tf.pad(upstream, [[0, 0], [rows - 1, rows - 1], [columns - 1, columns - 1], [0, 0]])
    patches = tf.nn.conv2d(around, backward, 1, "VALID")
    size = tf.shape(patches)
    patches = tf.reshape(patches, [size[0], size[1], size[2], stride, stride * channels])
    spread = tf.reshape(tf.transpose(patches, (0, 1, 3, 2, 4)), [size[0], size[1] * stride, size[2] * stride, channels])
    # The last rows and columns may reach beyond the inputs, or leave some that no output reads.
    kept = tf.slice(spread, [0, 0, 0, 0], tf.minimum(shape, tf.shape(spread)))
    return tf.pad(kept, tf.stack([tf.zeros([4], tf.int32), shape - tf.shape(kept)], axis=1))


def _pad_same(images: tf.Tensor, sides: tuple[int, int], stride: int) -> tf.Tensor:
    """Zeros as TensorFlow's padding SAME adds them."""
    padding = [[0, 0]]
    for axis, side in enumerate(sides, start=1):
        length = tf.shape(images)[axis]
        missing = tf.maximum((-(-length // stride) - 1) * stride + side - length, 0)
        padding.append([missing // 2, missing - missing // 2])
    return tf.ensure_shape(tf.pad(images, [*padding, [0, 0]]), [None, None, None, images.shape[-1]])


def _kernel(layer: keras.layers.Conv2D, images: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.convert_to_tensor(layer.kernel), images.dtype)


def _finish(layer: keras.layers.Conv2D, outputs: tf.Tensor) -> tf.Tensor:
    """Bias and activation."""
    if layer.use_bias:
        outputs += tf.cast(tf.convert_to_tensor(layer.bias), outputs.dtype)
    return outputs if layer.activation is None else layer.activation(outputs)
