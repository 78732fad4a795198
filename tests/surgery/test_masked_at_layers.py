"""Units masked at the layers that make them: constants that flow on are folded into their readers."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from masked_models import (
    IMAGE,
    assert_removed,
    assert_same_function,
    assert_visible,
    convolutional,
    difference,
    masked_by_hand,
    saved_and_loaded,
)
from sample_networks import call, chain, inputs_of, randomize

from tfunits.layers import LocalResponseNormalization
from tfunits.surgery import (
    remove_units,
)


def masked_at_layers(model: keras.Model, masks: dict[str, list[int]], **options) -> keras.Model:
    """Compare with masks right behind the layers that make the units."""
    (name,) = masks
    thin = assert_removed(model, masks, masks, masked_at="layer", **options)
    other = remove_units(model, masks)
    assert (
        difference(call(other, inputs_of(model), training=False), call(thin, inputs_of(model), training=False)) > 1e-3
    )
    return thin


READERS = {
    "dense": lambda: layers.Dense(4, name="reader"),
    "dense without bias": lambda: layers.Dense(4, use_bias=False, name="reader"),
    "dense with activation": lambda: layers.Dense(4, "sigmoid", name="reader"),
    "valid": lambda: layers.Conv2D(4, 3, name="reader"),
    "valid without bias": lambda: layers.Conv2D(4, 3, use_bias=False, activation="tanh", name="reader"),
    "valid with stride": lambda: layers.Conv2D(4, 2, strides=2, name="reader"),
    "dilated": lambda: layers.Conv2D(4, 2, dilation_rate=2, name="reader"),
    "same": lambda: layers.Conv2D(4, 3, padding="same", name="reader"),
    "same with activation": lambda: layers.Conv2D(4, 3, padding="same", activation="tanh", name="reader"),
    "same without bias": lambda: layers.Conv2D(4, 3, padding="same", use_bias=False, activation="elu", name="reader"),
    "same with stride": lambda: layers.Conv2D(4, 3, padding="same", strides=2, name="reader"),
    "transposed": lambda: layers.Conv2DTranspose(4, 3, strides=2, activation="tanh", name="reader"),
    "separable": lambda: layers.SeparableConv2D(4, 3, activation="tanh", name="reader"),
    "separable, same": lambda: layers.SeparableConv2D(4, 3, padding="same", name="reader"),
}  # fmt: skip


@pytest.mark.parametrize("kind", READERS)
def test_constants_behind_a_normalisation_are_folded(kind, tmp_path):
    model = randomize(
        chain(
            layers.Conv2D(5, 3, padding="same", name="conv"), layers.BatchNormalization(), layers.Activation("sigmoid"),
            READERS[kind](), layers.ReLU(max_value=2.0), layers.Flatten(), layers.Dense(3), shape=IMAGE,
        )
    )  # fmt: skip
    thin = masked_at_layers(model, {"conv": [0, 3]})
    names = [layer.name for layer in thin.layers]
    # Where zeros of the padding are read in the place of the constant.
    assert ("reader_shift" in names) == ("same" in kind or kind == "transposed")
    assert thin.get_layer("conv").filters == 3
    assert_same_function(saved_and_loaded(thin, tmp_path), thin)


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_constants_that_were_folded_stay_when_more_are(padding):
    model = randomize(
        chain(
            layers.Conv2D(5, 3, padding="same", name="conv"), layers.BatchNormalization(),
            layers.Conv2D(4, 3, padding=padding, activation="tanh", name="reader"), shape=IMAGE,
        )
    )  # fmt: skip
    first = remove_units(model, {"conv": [0, 3]}, masked_at="layer")
    for options, masked in (({"masked_at": "layer"}, {"conv": [0, 2, 3]}), ({}, None)):
        again = remove_units(first, {"conv": [1]}, **options)
        if masked is not None:
            assert_same_function(again, masked_by_hand(model, masked))
        else:
            norm = next(layer.name for layer in first.layers if isinstance(layer, layers.BatchNormalization))
            assert_same_function(again, masked_by_hand(first, {norm: [1]}))
            assert_visible(first, again)


def test_the_constant_of_a_bias_by_hand():
    """ReLU((0 - mean) gamma / deviation + beta) w, added to the reader's bias."""
    model = randomize(
        chain(
            layers.Dense(4, name="made"), layers.BatchNormalization(name="norm"), layers.ReLU(),
            layers.Dense(3, name="reader"),
        )
    )  # fmt: skip
    model.get_layer("norm").beta.assign([3.0, 4.0, 5.0, -9.0])
    gamma, beta, mean, variance = (w.numpy() for w in model.get_layer("norm").weights)
    constant = np.maximum(-mean * gamma / np.sqrt(variance + 1e-3) + beta, 0)
    kernel, bias = (w.numpy() for w in model.get_layer("reader").weights)
    thin = remove_units(model, {"made": [1, 3]}, masked_at="layer")
    expected = bias + constant[1] * kernel[1] + constant[3] * kernel[3]
    assert np.abs(expected - bias).max() > 0.1
    np.testing.assert_allclose(thin.get_layer("reader").bias, expected, rtol=1e-5)
    np.testing.assert_array_equal(thin.get_layer("reader").kernel, kernel[[0, 2]])


def test_a_constant_behind_padding_by_hand():
    """At a corner only four of nine weights see the constant."""
    model = randomize(
        chain(layers.Conv2D(3, 1, name="made"), layers.BatchNormalization(name="norm"),
              layers.Conv2D(2, 3, padding="same", name="reader"), shape=IMAGE)
    )  # fmt: skip
    gamma, beta, mean, variance = (w.numpy() for w in model.get_layer("norm").weights)
    constant = (-mean * gamma / np.sqrt(variance + 1e-3) + beta)[1]
    kernel = model.get_layer("reader").kernel.numpy()[:, :, 1]
    shift = remove_units(model, {"made": [1]}, masked_at="layer").get_layer("reader_shift").bias.numpy()
    np.testing.assert_allclose(shift[0, 0], constant * kernel[1:, 1:].sum(axis=(0, 1)), rtol=1e-4)
    np.testing.assert_allclose(shift[2, 3], constant * kernel.sum(axis=(0, 1)), rtol=1e-4)
    np.testing.assert_allclose(shift[5, 2], constant * kernel[:2].sum(axis=(0, 1)), rtol=1e-4)


def test_without_a_constant_both_masks_are_one():
    model = convolutional()
    model.get_layer("norm").beta.assign(np.zeros(5))
    model.get_layer("norm").moving_mean.assign(np.zeros(5))
    reader, layer = (remove_units(model, {"first": [1]}, masked_at=where) for where in ("reader", "layer"))
    assert [made.name for made in reader.layers] == [made.name for made in layer.layers]
    for left, right in zip(reader.weights, layer.weights, strict=True):
        np.testing.assert_array_equal(left, right)


def test_constants_through_padding_pooling_and_flattening():
    model = randomize(
        chain(
            layers.Conv2D(5, 3, name="conv"), layers.BatchNormalization(), layers.ZeroPadding2D(1),
            layers.DepthwiseConv2D(2, padding="same"), layers.AveragePooling2D(2, padding="same"), layers.Flatten(),
            layers.Dense(3), shape=IMAGE,
        )
    )  # fmt: skip
    masked_at_layers(model, {"conv": [2, 4]})


def test_two_readers_and_a_sum():
    """Constants of two layers meet in the sum that both readers see."""
    inputs = keras.Input(IMAGE)
    first = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same", name="first")(inputs))
    second = layers.BatchNormalization()(layers.Conv2D(4, 1, name="second")(inputs))
    added = layers.ReLU()(layers.Add()([first, second]))
    read = [
        layers.Conv2D(2, 3, activation="tanh", name="valid")(added),
        layers.Flatten()(layers.Conv2D(3, 3, padding="same", name="same")(added)),
        layers.Dense(2, name="pooled")(layers.GlobalAveragePooling2D()(added)),
    ]
    model = randomize(keras.Model(inputs, read))
    model.get_layer(index=3).beta.assign([3.0, 2.0, 2.0, 3.0])
    thin = remove_units(model, {"first": [1]}, masked_at="layer")
    expected = masked_by_hand(model, {"first": [1], "second": [1]})
    assert_same_function(thin, expected)
    assert_visible(model, expected)
    assert difference(call(remove_units(model, {"first": [1]}), inputs_of(model)), call(thin, inputs_of(model))) > 1e-3


def test_a_reader_behind_another_one():
    model = randomize(
        chain(
            layers.Dense(5, name="made"), layers.BatchNormalization(), layers.Dense(4, name="next"),
            layers.BatchNormalization(), layers.Activation("sigmoid"), layers.Dense(3), shape=(6,),
        )
    )  # fmt: skip
    both = {"made": [1], "next": [0, 2]}
    assert_removed(model, both, both, masked_at="layer")


@pytest.mark.parametrize(
    ("sees", "activation"),
    [
        ("one constant", None),
        ("one constant", "tanh"),
        ("two constants", None),
        ("two constants", "tanh"),
    ],
)
def test_a_reader_that_is_shared(sees, activation):
    """Its two calls see different constants, or only one of them sees any."""
    inputs = keras.Input((6,))
    made = layers.Dense(4, name="made")(inputs)
    shared = layers.Dense(3, activation, name="shared")
    first = layers.BatchNormalization()(made)
    second = layers.BatchNormalization()(made) if sees == "two constants" else layers.ReLU()(made)
    model = randomize(keras.Model(inputs, [layers.Dense(2)(shared(first)), layers.Dense(2)(shared(second))]))
    masked_at_layers(model, {"made": [1]})


def test_response_normalisation_between_leaves_a_constant():
    model = randomize(
        chain(
            layers.Conv2D(5, 3, name="conv"), LocalResponseNormalization(1, 1.0, 0.5, 0.75),
            layers.BatchNormalization(),
            layers.Conv2D(3, 2, name="reader"), shape=IMAGE,
        )
    )  # fmt: skip
    masked_at_layers(model, {"conv": [2]})


def constant_refused(build, name: str = "reader") -> None:
    """A mask at the layer is refused, the one at the reader is not."""
    inputs = keras.Input((5, 6))
    made = layers.Dense(6, name="made")(inputs)
    model = randomize(keras.Model(inputs, layers.Dense(2, name="reader")(build(made))))
    with pytest.raises(ValueError, match=f"{name}.*: expected .*; use masked_at='reader'"):
        remove_units(model, {"made": [1]}, masked_at="layer")
    remove_units(model, {"made": [1]})


REFUSED_CONSTANTS = {
    "a normalisation reads it": (lambda x: layers.LayerNormalization(name="norm")(x + 1.0), "norm"),
    "a response normalisation reads it": (lambda x: layers.UnitNormalization(name="norm")(x + 1.0), "norm"),
    "a sum reads it": (lambda x: ops.sum(x + 1.0, axis=-1, keepdims=True) * x, "sum"),
    "a normalisation makes it": (lambda x: layers.LayerNormalization(name="norm")(x), "reader"),
    "groups make it": (lambda x: layers.GroupNormalization(2, name="norm")(x), "reader"),
    "a gate multiplies it": (
        lambda x: layers.Multiply()([x + 1.0, layers.Dense(1, "sigmoid")(x)]), "reader",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED_CONSTANTS)
def test_constants_that_cannot_be_taken_in_are_refused(case):
    constant_refused(*REFUSED_CONSTANTS[case])


def test_the_layer_that_makes_a_constant_change_is_named():
    model = randomize(
        chain(layers.Dense(6, name="made"), layers.LayerNormalization(name="norm"), layers.Dense(2, name="reader"))
    )
    with pytest.raises(ValueError, match="reader: .* units that 'norm' changes by example"):
        remove_units(model, {"made": [1]}, masked_at="layer")


def test_a_gate_that_is_closed_where_the_input_is_zero_is_seen():
    """At a network's input of zeros the constant behind this gate is zero."""
    inputs = keras.Input((6,))
    made = layers.Dense(4, name="made")(inputs)
    gate = layers.Dense(1, use_bias=False, name="gate")(inputs)
    gated = layers.Multiply()([made + 1.0, gate])
    model = randomize(keras.Model(inputs, layers.Dense(2, name="reader")(gated)))
    with pytest.raises(ValueError, match="reader: .* that change by example; use masked_at='reader'"):
        remove_units(model, {"made": [1]}, masked_at="layer")


def test_what_is_not_finite_at_other_units_does_not_matter_to_a_constant():
    inputs = keras.Input((6,))
    made = layers.Dense(4, name="made", use_bias=False)(inputs)
    squashed = layers.BatchNormalization()(made)
    both = layers.Concatenate(name="both")([squashed, ops.log(ops.abs(layers.Dense(3, use_bias=False)(inputs)))])
    model = randomize(keras.Model(inputs, layers.Dense(2, name="reader")(both)))
    masked_at_layers(model, {"made": [1]})


# The last hidden layer.
