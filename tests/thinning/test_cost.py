"""FLOPs of small networks, counted by hand, and measured time."""

import keras
import numpy as np
import pytest
from keras import layers

from tfunits import models
from tfunits.surgery import remove_units
from tfunits.thinning import count_flops, measure_seconds

IMAGE = (8, 6, 4)


def alone(layer: keras.layers.Layer, shape: tuple[int, ...] = IMAGE) -> keras.Model:
    inputs = keras.Input(shape)
    return keras.Model(inputs, layer(inputs))


# A multiplication and an addition for every weight, wherever it is applied.
KERNELS = {
    "dense": (lambda: layers.Dense(7), (5,), 2 * 5 * 7),
    "dense at every step": (lambda: layers.Dense(7, use_bias=False), (3, 5), 2 * 5 * 7 * 3),
    "dense at every position": (lambda: layers.Dense(7), IMAGE, 2 * 4 * 7 * 8 * 6),
    "convolution": (lambda: layers.Conv2D(7, 3), IMAGE, 2 * 9 * 4 * 7 * 6 * 4),
    "padded": (lambda: layers.Conv2D(7, 3, padding="same"), IMAGE, 2 * 9 * 4 * 7 * 8 * 6),
    "strided": (lambda: layers.Conv2D(7, (3, 2), strides=2), IMAGE, 2 * 6 * 4 * 7 * 3 * 3),
    "dilated": (lambda: layers.Conv2D(7, 3, dilation_rate=2), IMAGE, 2 * 9 * 4 * 7 * 4 * 2),
    "grouped": (lambda: layers.Conv2D(6, 3, groups=2), IMAGE, 2 * 9 * 2 * 6 * 6 * 4),
    "along a line": (lambda: layers.Conv1D(7, 3, strides=3), (9, 4), 2 * 3 * 4 * 7 * 3),
    "in space": (lambda: layers.Conv3D(7, 2), (4, 3, 3, 2), 2 * 8 * 2 * 7 * 3 * 2 * 2),
    "depthwise": (lambda: layers.DepthwiseConv2D(3), IMAGE, 2 * 9 * 4 * 6 * 4),
    "depthwise with a multiplier": (lambda: layers.DepthwiseConv2D(3, depth_multiplier=3, strides=2), IMAGE,
                                    2 * 9 * 4 * 3 * 3 * 2),
    "separable": (lambda: layers.SeparableConv2D(7, 3), IMAGE, 2 * (9 * 4 + 4 * 7) * 6 * 4),
    "separable with a multiplier": (lambda: layers.SeparableConv1D(7, 3, depth_multiplier=2, padding="same"), (9, 4),
                                    2 * (3 * 8 + 8 * 7) * 9),
    "transposed": (lambda: layers.Conv2DTranspose(7, 3, strides=2), IMAGE, 2 * 9 * 4 * 7 * 8 * 6),
    "channels first": (lambda: layers.Conv2D(7, 3, data_format="channels_first"), (4, 8, 6), 2 * 9 * 4 * 7 * 6 * 4),
    "transposed with channels first": (lambda: layers.Conv2DTranspose(7, 3, data_format="channels_first"), (4, 8, 6),
                                       2 * 9 * 4 * 7 * 8 * 6),
    "normalisation": (layers.BatchNormalization, IMAGE, 0),
    "table": (lambda: layers.Embedding(9, 5), (4,), 0),
}  # fmt: skip


@pytest.mark.parametrize("kind", KERNELS)
def test_layers_by_hand(kind):
    build, shape, expected = KERNELS[kind]
    found = count_flops(alone(build(), shape))
    assert found == expected
    assert type(found) is int


def test_all_calls_of_a_network_are_added():
    """A layer that is called twice counts twice, nested models count as their layers do."""
    inputs = keras.Input((6,))
    twice = layers.Dense(6, "relu")
    nested = keras.Sequential([keras.Input((6,)), layers.Dense(4), layers.ReLU(), layers.Dense(3)])
    model = keras.Model(inputs, nested(twice(twice(inputs))))
    assert count_flops(model) == 2 * (36 + 36 + 24 + 12)


def test_a_removed_unit_saves_its_share():
    model = models.build("mlp", input_shape=(10,), num_classes=2)
    assert count_flops(model) == 2 * 128 * (10 + 2)
    assert count_flops(remove_units(model, {"hidden": range(28)})) == 2 * 100 * (10 + 2)


def test_sizes_must_be_known():
    model = alone(layers.Conv2D(7, 3, name="open"), (None, None, 3))
    with pytest.raises(ValueError, match=r"expected layers of known size, received 'open' .*; fix the input's size"):
        count_flops(model)
    with pytest.raises(ValueError, match="model: expected a functional Keras model"):
        count_flops(keras.Sequential([layers.Dense(3)]))


def test_seconds_of_several_networks():
    """The best of several passes; ten thousand times the work takes longer."""
    inputs = keras.Input((1500,))
    wide = layers.Dense(1500)(layers.Dense(1500)(inputs))
    large, small = keras.Model(inputs, layers.Dense(2)(wide)), keras.Model(inputs, layers.Dense(2)(inputs[:, :3]))
    array = np.ones((128, 1500), "float32")
    for order in ([small, large], [large, small]):
        found = dict(zip(map(id, order), measure_seconds(order, [array]), strict=True))
        assert 0 < found[id(small)] < found[id(large)] < 10


def test_seconds_with_several_inputs():
    given = [keras.Input((3,)), keras.Input((2,), dtype="int32")]
    model = keras.Model(given, layers.Concatenate()([given[0], layers.Flatten()(layers.Embedding(5, 2)(given[1]))]))
    (found,) = measure_seconds([model], [np.ones((4, 3), "float32"), np.ones((4, 2), "int32")])
    assert 0 < found < 10
