"""Weights of first layers as images."""

import keras
import numpy as np
import pytest
from drawn_networks import chain
from keras import layers

from tfunits.visualization import weight_images


def as_images(weights: np.ndarray) -> np.ndarray:
    """Every unit's weights [units, ...], the largest of them black or white, none of them grey."""
    images = [weight / (2 * np.abs(weight).max()) + 0.5 for weight in weights.astype("float64")]
    return np.stack(images)


def test_a_convolutions_images_are_its_kernels():
    model = chain(layers.Conv2D(4, (3, 5), activation="relu", name="conv"), layers.ReLU(), shape=(12, 10, 3))
    received = weight_images(model, "conv")
    assert (received.shape, received.dtype) == ((4, 3, 5, 3), np.float32)
    kernel = model.get_layer("conv").get_weights()[0]
    expected = as_images(np.stack([kernel[..., unit] for unit in range(4)]))
    np.testing.assert_allclose(received, expected, atol=1e-6)
    np.testing.assert_allclose(np.abs(received - 0.5).max(axis=(1, 2, 3)), 0.5, atol=1e-6)
    # Negative control: units are apart, and upside down is something else.
    assert np.abs(received - expected[::-1]).max() > 0.1
    assert np.abs(received - expected[:, ::-1]).max() > 0.1


@pytest.mark.parametrize("shape", [(4, 6, 3), (6, 4, 3), (8, 9, 1)])
def test_a_dense_layer_reads_pixels_row_by_row(shape):
    model = chain(layers.Dense(5, activation="relu", name="first"), layers.Dense(2, name="last"), shape=(72,))
    received = weight_images(model, "first", shape)
    assert received.shape == (5, *shape)
    kernel = model.get_layer("first").kernel.numpy()
    for unit in range(5):
        largest = np.abs(kernel[:, unit]).max()
        for place, (row, column, channel) in enumerate(np.ndindex(*shape)):
            expected = kernel[place, unit] / (2 * largest) + 0.5
            assert abs(received[unit, row, column, channel] - expected) < 1e-6


def test_a_dense_layer_behind_a_flattening_has_the_inputs_shape():
    model = chain(layers.Flatten(), layers.Dense(3, name="dense"), layers.ReLU(name="tap_hidden"), shape=(4, 5, 2))
    kernel = model.get_layer("dense").kernel.numpy()
    expected = as_images(kernel.T.reshape(3, 4, 5, 2))
    for name in ("dense", "hidden", "tap_hidden"):
        np.testing.assert_allclose(weight_images(model, name), expected, atol=1e-6)
    # What a unit answers most to is its image: the product with the weights is highest.
    signs = np.where(expected > 0.5, 1.0, 0.0).astype("float32")
    answers = np.asarray(keras.Model(model.input, model.get_layer("dense").output)(signs))
    assert (answers.argmax(axis=0) == range(3)).all()


def test_behind_batch_normalisation_weights_are_those_of_the_layer():
    model = chain(
        layers.Conv2D(2, 3, name="conv"), layers.BatchNormalization(), layers.ReLU(name="end"), shape=(8, 8, 1)
    )
    np.testing.assert_array_equal(weight_images(model, "end"), weight_images(model, "conv"))


def test_units_without_weights_are_grey():
    model = chain(layers.Conv2D(2, 3, name="conv"), shape=(8, 8, 1))
    kernel, bias = model.get_layer("conv").get_weights()
    kernel[..., 0] = 0
    model.get_layer("conv").set_weights([kernel, bias])
    received = weight_images(model, "conv")
    np.testing.assert_array_equal(received[0], 0.5)
    assert np.ptp(received[1]) > 0.3


def both_read_the_image() -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    parts = [layers.Conv2D(2, 3, name=name)(inputs) for name in ("left", "right")]
    return keras.Model(inputs, layers.Add(name="both")(parts))


REFUSED = {
    "a layer that is not there": (
        lambda: chain(layers.Dense(2, name="dense"), shape=(12,)), "conv", None,
        "expected taps or layers of 'drawn', received 'conv'; .*dense",
    ),
    "a second layer": (
        lambda: chain(layers.Conv2D(3, 3), layers.Conv2D(2, 3, name="second"), shape=(8, 8, 3)), "second", None,
        "layer: expected a layer that reads the input of 'drawn', received 'second'",
    ),
    "two layers": (
        both_read_the_image, "both", None, "layer: expected a layer that reads the input of .*, received 'both'",
    ),
    "a vector without a shape": (
        lambda: chain(layers.Dense(2, name="dense"), shape=(12,)), "dense", None,
        r"image_shape: expected .height, width, channels. of 12 numbers, received \(12,\); an input that is no image",
    ),
    "a shape of other size": (
        lambda: chain(layers.Dense(2, name="dense"), shape=(12,)), "dense", (2, 3, 3),
        r"image_shape: expected .* of 12 numbers, received \(2, 3, 3\)",
    ),
    "a shape without channels": (
        lambda: chain(layers.Dense(2, name="dense"), shape=(12,)), "dense", (3, 4),
        r"image_shape: expected .* of 12 numbers, received \(3, 4\)",
    ),
    "a row of numbers": (
        lambda: chain(layers.Conv1D(2, 3, name="conv"), shape=(8, 3)), "conv", None,
        "layer: expected a dense or two-dimensional layer, received 'conv'",
    ),
    # Their kernels' last axis is no unit.
    "a transposed convolution": (
        lambda: chain(layers.Conv2DTranspose(2, 3, name="conv"), shape=(8, 8, 3)), "conv", None,
        "layer: expected a dense or two-dimensional layer, received 'conv'",
    ),
    "a depthwise convolution": (
        lambda: chain(layers.DepthwiseConv2D(3, name="conv"), shape=(8, 8, 3)), "conv", None,
        "layer: expected a dense or two-dimensional layer, received 'conv'",
    ),
    "a separable convolution": (
        lambda: chain(layers.SeparableConv2D(2, 3, name="conv"), shape=(8, 8, 3)), "conv", None,
        "layer: expected a dense or two-dimensional layer, received 'conv'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_weights_that_are_no_images_are_refused(case):
    build, name, shape, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        weight_images(build(), name, shape)
