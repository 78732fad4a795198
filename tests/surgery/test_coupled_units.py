"""What goes with a removed unit: rows and columns behind it, and the units that are tied to it."""

import re

import keras
import numpy as np
import pytest
from keras import layers
from masked_models import IMAGE, assert_removed, assert_same_function, assert_visible, convolutional, masked_by_hand
from sample_networks import chain, inputs_of, make, randomize

from tfunits.surgery import coupled_units, remove_units, unit_layers


def members(model: keras.Model, layer: str) -> list[dict]:
    return [dict(unit.members) for unit in coupled_units(model, layer)]


# keras-surgeon's published behaviours.


def test_channels_before_flattening():
    model = convolutional()
    flat = [position * 6 + channel for position in range(4) for channel in (0, 4)]
    thin = assert_removed(model, {"second": [0, 4]}, {"flat": flat})
    assert thin.get_layer("flat").output.shape == (None, 16)
    rows = np.delete(model.get_layer("hidden").kernel.numpy(), flat, axis=0)
    np.testing.assert_array_equal(thin.get_layer("hidden").kernel, rows)


def test_channels_before_batch_normalisation():
    model = convolutional()
    thin = assert_removed(model, {"first": [1, 2]}, {"squashed": [1, 2]})
    for name in ("gamma", "beta", "moving_mean", "moving_variance"):
        before, after = (getattr(m.get_layer("norm"), name).numpy() for m in (model, thin))
        np.testing.assert_array_equal(after, before[[0, 3, 4]])
    np.testing.assert_array_equal(
        thin.get_layer("second").kernel, model.get_layer("second").kernel.numpy()[:, :, [0, 3, 4]]
    )


def test_channels_before_concatenation():
    inputs = keras.Input(IMAGE)
    left, right = layers.Conv2D(4, 3, name="left")(inputs), layers.Conv2D(3, 3, name="right")(inputs)
    joined = layers.Concatenate(name="joined")([left, right, left])
    model = randomize(keras.Model(inputs, layers.Conv2D(2, 2, name="head")(joined)))
    assert_removed(model, {"right": [1]}, {"joined": [5]})
    thin = assert_removed(model, {"left": [0, 2], "right": [2]}, {"joined": [0, 2, 6, 7, 9]})
    assert thin.get_layer("joined").output.shape[-1] == 6
    assert members(model, "left") == [{"left": (i,)} for i in range(4)]
    assert members(model, "joined") == [
        *({"left": (i,)} for i in range(4)), *({"right": (i,)} for i in range(3)), *({"left": (i,)} for i in range(4)),
    ]  # fmt: skip


def test_channels_of_a_shared_layer():
    """One layer that sees two inputs, and one that reads its own output."""
    first, second = keras.Input(IMAGE), keras.Input(IMAGE)
    shared = layers.Conv2D(4, 3, activation="tanh", name="shared")
    joined = layers.Concatenate(name="joined")([shared(first), shared(second)])
    model = randomize(keras.Model([first, second], layers.Conv2D(2, 2, name="head")(joined)))
    thin = assert_removed(model, {"shared": [1]}, {"joined": [1, 5]})
    assert thin.get_layer("shared").filters == 3
    assert members(model, "shared") == [{"shared": (i,), "shared#2": (i,)} for i in range(4)]
    inputs = keras.Input((5,))
    recurrent = layers.Dense(5, "tanh", name="recurrent")
    states = recurrent(recurrent(layers.Dense(5, "tanh", name="start")(inputs)))
    model = randomize(keras.Model(inputs, layers.Dense(2, name="head")(states)))
    thin = assert_removed(model, {"recurrent": [3]}, {"start": [3], "recurrent": [3], "recurrent#2": [3]})
    assert unit_layers(thin) == {"start": 4, "recurrent": 4, "recurrent#2": 4, "head": 2}


# Arithmetic of numpy alone, without any code of surgery.


def test_rows_and_columns_of_kernels():
    model = chain(
        layers.Dense(4, "relu", name="hidden"), layers.Dense(5, "tanh", name="next"), layers.Dense(2, name="out")
    )
    randomize(model)
    hidden, following, out = ([w.numpy().astype("float64") for w in layer.weights] for layer in model.layers[1:])
    (array,) = inputs_of(model)
    thin = remove_units(model, {"hidden": [2], "next": [0, 3]})
    values = np.maximum(array @ hidden[0] + hidden[1], 0)
    values[:, 2] = 0
    values = np.tanh(values @ following[0] + following[1])
    values[:, [0, 3]] = 0
    np.testing.assert_allclose(thin(array), values @ out[0] + out[1], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(thin.get_layer("next").kernel, np.delete(np.delete(following[0], 2, 0), [0, 3], 1))
    assert thin.count_params() == (6 * 3 + 3) + (3 * 3 + 3) + (3 * 2 + 2)


def test_zeroed_kernels_of_a_copy(branched_model, images):
    """The masks of a residual network, put into the kernels of all that reads its channels."""
    copy = keras.models.clone_model(branched_model)
    copy.set_weights(branched_model.get_weights())
    for name, rows in (("second", [1, 2]), ("gate", [1, 2, 5, 6]), ("scores", [1, 2, 5, 6])):
        kernel = copy.get_layer(name).kernel.numpy()
        kernel[..., rows, :] = 0
        copy.get_layer(name).kernel.assign(kernel)
    thin = remove_units(branched_model, {"second": [1, 2]})
    assert_same_function(thin, copy, [images])
    assert_visible(branched_model, copy, [images])
    assert unit_layers(thin) == {"first": 2, "second": 2, "gate": 4, "scores": 5}
    assert members(branched_model, "first") == [{"first": (i,), "second": (i,), "gate": (i, i + 4)} for i in range(4)]


# What is tied.


def residual_network() -> keras.Model:
    """Two streams of three blocks each, with inner layers that nothing is tied to."""
    inputs = keras.Input((7,))
    streams = []
    for side in "ab":
        stream = layers.Dense(5, name=f"{side}_stem")(inputs)
        for i in range(2):
            inside = layers.Dense(4, "tanh", name=f"{side}_inside{i}")(stream)
            stream = layers.Add(name=f"{side}_sum{i}")([stream, layers.Dense(5, name=f"{side}_out{i}")(inside)])
        streams.append(stream)
    joined = layers.Concatenate(name="joined")(streams)
    return randomize(keras.Model(inputs, layers.Dense(3, name="head")(joined)))


def test_groups_of_a_residual_stream():
    model = residual_network()
    group = ("a_stem", "a_out0", "a_out1")
    assert members(model, "a_out1") == [dict.fromkeys(group, (i,)) for i in range(5)]
    assert members(model, "a_inside0") == [{"a_inside0": (i,)} for i in range(4)]
    read = {"a_stem": [2], "a_sum0": [2], "joined": [2]}
    thin = assert_removed(model, {"a_out0": [2]}, read)
    assert unit_layers(thin) == {**unit_layers(model), **dict.fromkeys(group, 4)}
    assert_removed(model, {"a_inside1": [0], "b_sum1": [4]}, {
        "a_inside1": [0], "b_stem": [4], "b_sum0": [4], "joined": [9],
    })  # fmt: skip


def test_a_unit_and_what_it_goes_with_as_text():
    model = residual_network()
    assert str(coupled_units(model, "a_out1")[3]) == "a_stem[3], a_out0[3], a_out1[3]"
    assert str(coupled_units(model, "head")[1]) == "head[1]: stays, it is the model's output"


def test_groups_of_a_grouped_convolution():
    model = randomize(
        chain(
            layers.Conv2D(6, 3, name="before"), layers.ReLU(name="rectified"),
            layers.Conv2D(9, 3, groups=3, name="grouped"), layers.ReLU(name="behind"), layers.Flatten(name="flat"),
            layers.Dense(2), shape=IMAGE,
        )
    )  # fmt: skip
    assert members(model, "before") == 3 * [{"before": (0, 2, 4)}, {"before": (1, 3, 5)}]
    assert members(model, "grouped") == 3 * [{"grouped": (i, i + 3, i + 6)} for i in range(3)]
    flat = [position * 9 + unit for position in range(4) for unit in (1, 4, 7)]
    thin = assert_removed(model, {"before": [2], "grouped": [1]}, {"rectified": [0, 2, 4], "flat": flat})
    assert thin.get_layer("grouped").kernel.shape == (3, 3, 1, 6)
    assert thin.get_layer("grouped").groups == 3


def test_groups_of_depthwise_convolutions_with_a_multiplier():
    """As a layer of that name, and as a convolution of as many groups as channels."""
    for build in (
        lambda: layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise"),
        lambda: layers.Conv2D(8, 3, groups=4, name="depthwise"),
    ):
        model = randomize(chain(layers.Conv2D(4, 1, name="before"), build(), layers.Conv2D(2, 2), shape=IMAGE))
        assert members(model, "before") == [{"before": (i,)} for i in range(4)]
        assert members(model, "depthwise") == [{"before": (i,)} for i in range(4) for _ in range(2)]
        thin = assert_removed(model, {"before": [0, 2]}, {"depthwise": [0, 1, 4, 5]})
        assert thin.get_layer("depthwise").output.shape[-1] == 4
        thinner = remove_units(thin, {"before": [1]})
        assert_same_function(thinner, masked_by_hand(model, {"depthwise": [0, 1, 4, 5, 6, 7]}))
        assert_removed(model, {"depthwise": [3]}, {"depthwise": [2, 3]})


def test_coupled_units_are_named_on_request(branched_model):
    message = "layers: expected units that are tied to no others, received units that go with first[2], gate[2, 6]"
    with pytest.raises(ValueError, match=re.escape(message)):
        remove_units(branched_model, {"second": [2]}, coupled="raise")
    with pytest.raises(ValueError, match=re.escape("go with first[2], second[2], gate[2, 6]; name these too")):
        remove_units(branched_model, {"rectified": [2]}, coupled="raise")
    named = {"first": [2], "second": [2], "gate": [2, 6]}
    remove_units(branched_model, named, coupled="raise")
    with pytest.raises(ValueError, match=re.escape("go with gate[6]; name")):
        remove_units(branched_model, {**named, "gate": [2]}, coupled="raise")
    model = convolutional()
    for name in ("second", "rectified", "pooled", "hidden"):
        remove_units(model, {name: [1]}, coupled="raise")


def test_units_that_must_stay_say_why():
    inputs = keras.Input((4,))
    stem = layers.Dense(4, name="stem")(inputs)
    added = layers.Add(name="added")([stem, inputs])
    hidden = layers.Dense(3, name="hidden")(added)
    model = keras.Model(inputs, [layers.Dense(2, name="head")(hidden), hidden])
    for name, reason in (
        ("stem", "'added' combines it with what is no unit"),
        ("head", "it is the model's output"),
        ("hidden", "it is the model's output"),
    ):
        with pytest.raises(ValueError, match=f"{name}: expected units that can be removed, .* since {reason}"):
            remove_units(model, {name: [0]})
        assert reason in coupled_units(model, name)[0].reason
        assert str(coupled_units(model, name)[0]).endswith(f"stays, {reason}")
    assert coupled_units(convolutional(), "first")[0].reason is None


def test_layers_whose_units_can_be_named():
    assert unit_layers(convolutional()) == {"first": 5, "second": 6, "hidden": 7, "scores": 3}
    assert unit_layers(make("nested")) == {
        "inner/wide": 4, "inner/block/deep": 4, "inner#2/wide": 4, "inner#2/block/deep": 4, "head": 3,
    }  # fmt: skip


def test_a_name_behind_a_layer_stands_for_its_units():
    model = convolutional()
    thin = remove_units(model, {"second": [1]})
    for name, index in (("rectified", 1), ("pooled", 1), ("flat", 6 * 3 + 1)):
        again = remove_units(model, {name: [index]})
        for left, right in zip(thin.weights, again.weights, strict=True):
            np.testing.assert_array_equal(left, right)
