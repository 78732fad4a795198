"""Strided convolutions that are computed in another way, against loops in numpy, and which these are."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfunits.visualization.convolutions import find_replacement

BENDS = {
    None: (lambda x: x, lambda x: np.ones_like(x)),
    "relu": (lambda x: np.maximum(x, 0), lambda x: (x > 0) * 1.0),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
}


def build(channels: int, **options) -> keras.layers.Conv2D:
    """A convolution of five units with weights."""
    layer = layers.Conv2D(5, **options)
    layer.build((None, 9, 9, channels))
    generator = np.random.default_rng(8)
    layer.set_weights([generator.normal(size=weight.shape) for weight in layer.get_weights()])
    return layer


def in_loops(layer: keras.layers.Conv2D, images: np.ndarray, upstream: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outputs and gradient of the inputs, kernel place by kernel place, in float64."""
    kernel, *bias = (weight.astype("float64") for weight in layer.get_weights())
    (rows, columns), strides = layer.kernel_size, layer.strides
    before = [0, 0]
    padded = images.astype("float64")
    if layer.padding == "same":
        missing = [
            max((-(-length // stride) - 1) * stride + side - length, 0)
            for length, stride, side in zip(images.shape[1:3], strides, layer.kernel_size, strict=True)
        ]
        before = [number // 2 for number in missing]
        sides = [(first, number - first) for first, number in zip(before, missing, strict=True)]
        padded = np.pad(padded, [(0, 0), *sides, (0, 0)])
    height, width = upstream.shape[1:3]

    def window(row: int, column: int) -> tuple[slice, slice, slice]:
        down = slice(row, row + (height - 1) * strides[0] + 1, strides[0])
        return np.s_[:, down, column : column + (width - 1) * strides[1] + 1 : strides[1]]

    places = [(row, column) for row in range(rows) for column in range(columns)]
    linear = sum(padded[window(*place)] @ kernel[place] for place in places) + (bias[0] if bias else 0)
    bend, slope = BENDS[layer.activation.__name__ if layer.activation.__name__ != "linear" else None]
    gradient = np.zeros_like(padded)
    for place in places:
        gradient[window(*place)] += (upstream * slope(linear)) @ kernel[place].T
    top, left = before
    return bend(linear), gradient[:, top : top + images.shape[1], left : left + images.shape[2]]


@pytest.mark.parametrize("size", [(9, 9), (8, 11), (7, 12)])
@pytest.mark.parametrize(
    ("channels", "options"),
    [
        (3, {"kernel_size": 1, "strides": 2, "activation": "relu"}),
        (7, {"kernel_size": 1, "strides": (1, 3), "use_bias": False}),
        (2, {"kernel_size": 1, "strides": (3, 2), "padding": "same", "activation": "tanh"}),
        (3, {"kernel_size": 3, "strides": 2, "activation": "relu"}),
        (3, {"kernel_size": 7, "strides": 2, "padding": "same", "use_bias": False}),
        (1, {"kernel_size": (2, 5), "strides": 3, "padding": "same", "activation": "tanh"}),
        (4, {"kernel_size": (5, 2), "strides": 4}),
        (3, {"kernel_size": 2, "strides": 3, "padding": "same"}),
        (3, {"kernel_size": 2, "strides": 3, "activation": "relu"}),
    ],
    ids=str,
)
def test_values_and_gradients_are_those_of_the_convolution(channels, options, size, rng):
    layer = build(channels, **options)
    images = rng.normal(size=(2, *size, channels)).astype("float32")
    replaced = find_replacement(layer)
    # Of unknown size, as behind random transforms.
    signature = tf.TensorSpec([None, None, None, channels], tf.float32)

    @tf.function(input_signature=[signature], autograph=False)
    def compute(given: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        outputs = replaced(given)
        upstream = tf.random.stateless_normal(tf.shape(outputs), (1, 2))
        return outputs, upstream, tf.gradients(outputs, given, upstream)[0]

    outputs, upstream, gradient = (tensor.numpy() for tensor in compute(images))
    assert outputs.shape == layer(images).shape
    expected, expected_gradient = in_loops(layer, images, upstream)
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-4)
    # Negative control: a kernel upside down gives others.
    flipped = layer.get_weights()
    flipped[0] = flipped[0][::-1, ::-1, ::-1]
    layer.set_weights(flipped)
    assert np.abs(in_loops(layer, images, upstream)[1] - gradient).max() > 0.1 or channels == 1


@pytest.mark.parametrize(
    ("channels", "options"),
    [
        (3, {"kernel_size": 3}),
        (8, {"kernel_size": 3, "strides": 2}),
        (3, {"kernel_size": 3, "strides": (1, 2)}),
        (3, {"kernel_size": 1}),
        (5, {"kernel_size": 1, "strides": 2, "groups": 5}),
        (3, {"kernel_size": 3, "dilation_rate": 2}),
    ],
)
def test_other_convolutions_are_left_alone(channels, options):
    assert find_replacement(build(channels, **options)) is None


def test_layers_of_other_kinds_are_left_alone():
    class OwnConvolution(layers.Conv2D):
        """A subclass may compute anything."""

    own = OwnConvolution(2, 1, strides=2)
    own.build((None, 4, 4, 3))
    others = [own, layers.Dense(3), layers.ReLU(), layers.DepthwiseConv2D(3, strides=2), keras.ops.relu]
    assert [find_replacement(other) for other in others] == [None] * len(others)
