"""Kept units take over what removed ones did: against least squares in numpy, wherever units are read."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from made_data import make_dataset
from masked_models import (
    CLOSE,
    IMAGE,
    activations,
    assert_same_function,
    assert_visible,
    difference,
    saved_and_loaded,
    weights_of,
)
from sample_networks import call, chain, inputs_of, make, randomize, shared_reader

from tfunits.layers import LocalResponseNormalization, PositionBias
from tfunits.surgery import coupled_units, factorize, fold_units, read, remove_units, unit_layers

# Float32 activations, of which least squares are taken in float64.
ROUNDING = {"rtol": 1e-4, "atol": 1e-5}


def depend(model: keras.Model, name: str, *, constant: float = 0.7, copies: bool = False) -> None:
    """Give unit 3 of a layer the weights 2 u_0 + 3 u_1 + c; or those of 2 u_0, which a ReLU keeps."""
    layer = model.get_layer(name)
    transposed = "Transpose" in type(layer).__name__
    for weight in layer.weights:
        value = weight.numpy()
        units = np.moveaxis(value, -2 if transposed and value.ndim > 1 else -1, 0)
        units[3] = 2 * units[0] if copies else 2 * units[0] + 3 * units[1] + constant * (weight.path.endswith("bias"))
        weight.assign(value)


def least_squares(rows: np.ndarray, keep: list[int], remove: list[int], *, intercept: bool = True) -> tuple:
    """Coefficients [keep, remove] and constants [remove]."""
    given = np.hstack([rows[:, keep], np.ones((len(rows), 1))]) if intercept else rows[:, keep]
    found = np.linalg.lstsq(given, rows[:, remove], rcond=None)[0]
    return found[: len(keep)], found[-1] if intercept else np.zeros(len(remove))


def names_of(model: keras.Model) -> list[str]:
    return [layer.name for layer in model.layers]


def assert_folded(model: keras.Model, name: str, arrays: list, **options: object) -> keras.Model:
    """Unit 3 of a layer can go without a trace; removed without folding it leaves one."""
    before = [value.numpy() for value in model.variables]
    thin = fold_units(model, name, None, [3], (arrays,) if len(arrays) > 1 else arrays[0], **options)
    assert_same_function(thin, model, arrays)
    assert_visible(model, remove_units(model, {name: [3]}), arrays)
    assert unit_layers(thin)[name] == unit_layers(model)[name] - 1
    for value, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(variable, value)
    return thin


# Units that are linear functions of others.


def image_network(*behind: keras.layers.Layer, first: keras.layers.Layer | None = None) -> keras.Model:
    """A convolution of which unit 3 depends on others, and layers behind it."""
    model = randomize(chain(first or layers.Conv2D(5, 3, padding="same", name="hidden"), *behind, shape=IMAGE))
    depend(model, "hidden")
    return model


def head() -> list[keras.layers.Layer]:
    return [layers.ReLU(), layers.Flatten(), layers.Dense(3)]


BEHIND = {
    "dense": lambda: [layers.Dense(4, "tanh"), *head()],
    "same_convolution": lambda: [layers.Conv2D(4, 3, padding="same", activation="tanh"), *head()],
    "strided_convolution": lambda: [layers.Conv2D(4, 3, padding="same", strides=2, use_bias=False), *head()],
    "transposed": lambda: [layers.Conv2DTranspose(4, 3, padding="same", activation="relu"), layers.Flatten(),
                           layers.Dense(3)],
    "flattened": lambda: [layers.Flatten(), layers.Dense(4, "relu"), layers.Dense(3)],
    "channels_before_positions": lambda: [layers.Permute((3, 1, 2)), layers.Flatten(), layers.Dense(3)],
    "normalized": lambda: [layers.BatchNormalization(), layers.Conv2D(4, 3, padding="same"), *head()],
    "averaged": lambda: [layers.AveragePooling2D(2), layers.Conv2D(4, 2), *head()],
    "globally_averaged": lambda: [layers.GlobalAveragePooling2D(), layers.Dense(3)],
}  # fmt: skip


@pytest.mark.parametrize("behind", BEHIND)
def test_a_unit_that_is_a_linear_function_of_others_goes_without_a_trace(behind):
    model = image_network(*BEHIND[behind]())
    assert_folded(model, "hidden", inputs_of(model, 30))


@pytest.mark.parametrize(
    "first",
    [
        lambda: layers.Conv2DTranspose(5, 3, name="hidden"),
        lambda: layers.Conv2D(5, 3, strides=2, use_bias=False, name="hidden"),
        lambda: layers.Dense(5, name="hidden"),
    ],
)
def test_layers_that_make_the_units(first):
    model = image_network(layers.Conv2D(4, 2, padding="same", name="next"), *head(), first=first())
    assert_folded(model, "hidden", inputs_of(model, 30))


def test_dense_layers_by_hand():
    """w_0 + 2 w_3, w_1 + 3 w_3, and 0.7 w_3 into the bias."""
    model = randomize(chain(layers.Dense(5, name="hidden"), layers.Dense(3, name="next")))
    depend(model, "hidden")
    kernel, bias = weights_of(model, "next")
    thin = assert_folded(model, "hidden", inputs_of(model, 50))
    expected = kernel[[0, 1, 2, 4]]
    expected[0] += 2 * kernel[3]
    expected[1] += 3 * kernel[3]
    np.testing.assert_allclose(weights_of(thin, "next")[0], expected, **ROUNDING)
    np.testing.assert_allclose(weights_of(thin, "next")[1], bias + 0.7 * kernel[3], **ROUNDING)
    hidden, _ = weights_of(model, "hidden")
    np.testing.assert_array_equal(weights_of(thin, "hidden")[0], np.delete(hidden, 3, axis=1))
    assert names_of(thin)[1:] == names_of(model)[1:]


def test_rectified_units_that_are_multiples_of_each_other():
    model = randomize(chain(layers.Dense(5, "relu", name="hidden"), layers.Dense(4, "relu"), layers.Dense(3)))
    depend(model, "hidden", copies=True)
    assert_folded(model, "hidden", inputs_of(model, 50))


def test_the_constant_stands_where_padding_makes_it_differ():
    """It depends on the position behind a padded convolution alone; elsewhere the bias takes it, made if need be."""
    for padding, is_by_position in (("same", True), ("valid", False)):
        model = image_network(layers.Conv2D(4, 3, padding=padding, use_bias=False, name="next"), *head())
        thin = assert_folded(model, "hidden", inputs_of(model, 30))
        added = [layer for layer in thin.layers if isinstance(layer, PositionBias)]
        assert len(added) == is_by_position
        assert thin.get_layer("next").use_bias == (not is_by_position)
    # Units without a constant leave none.
    model = image_network(layers.Conv2D(4, 3, padding="same", use_bias=False, name="next"), *head())
    depend(model, "hidden", constant=0)
    thin = assert_folded(model, "hidden", inputs_of(model, 30))
    assert not any(isinstance(layer, PositionBias) for layer in thin.layers)


def test_every_reader_has_coefficients_of_its_own():
    """One behind normalisation, one before it; and one behind a ReLU, where nothing is a linear function."""
    inputs = keras.Input(IMAGE)
    hidden = layers.Conv2D(5, 3, padding="same", name="hidden")(inputs)
    scaled = layers.BatchNormalization(name="scaled")(hidden)
    parts = [
        layers.Conv2D(4, 3, padding="same", name="raw")(hidden),
        layers.Conv2D(4, 3, padding="same", name="normalized")(scaled),
    ]
    model = randomize(keras.Model(inputs, layers.Dense(3)(layers.Flatten()(layers.Add()(parts)))))
    depend(model, "hidden")
    arrays = inputs_of(model, 30)
    thin = assert_folded(model, "hidden", arrays)
    for name, tensor in (("raw", "hidden"), ("normalized", "scaled")):
        gamma, _ = least_squares(activations(model, tensor, arrays[0]), [0, 1, 2, 4], [3])
        kernel, *_ = weights_of(model, name)
        expected = kernel[:, :, [0, 1, 2, 4]] + gamma * kernel[:, :, 3:4]
        np.testing.assert_allclose(weights_of(thin, name)[0], expected, **ROUNDING)


def test_a_map_with_zeros_around_it():
    """Behind padding every unit is 0: what has no constant goes without a trace."""
    model = randomize(
        chain(layers.Conv2D(5, 3, name="hidden"), layers.ZeroPadding2D(1), layers.Conv2D(4, 3), *head(), shape=IMAGE)
    )
    depend(model, "hidden", constant=0)
    assert_folded(model, "hidden", inputs_of(model, 30))


def test_units_of_a_residual_stream_go_together():
    inputs = keras.Input((6,))
    stream = layers.Dense(5, name="stem")(inputs)
    inside = layers.Dense(4, "tanh", name="inside")(stream)
    stream = layers.Add(name="sum")([stream, layers.Dense(5, name="out")(inside)])
    model = randomize(keras.Model(inputs, layers.Dense(3, name="head")(stream)))
    depend(model, "stem")
    depend(model, "out", constant=-0.2)
    for name in ("stem", "out", "sum"):
        thin = fold_units(model, name, None, [3], inputs_of(model, 50)[0])
        assert_same_function(thin, model)
        assert unit_layers(thin) == {"stem": 4, "inside": 4, "out": 4, "head": 3}
    assert_visible(model, remove_units(model, {"stem": [3]}))


def test_a_layer_called_twice_takes_over_what_both_calls_read():
    model = shared_reader()
    for name in "ab":
        depend(model, name)
    assert_folded(model, "a", inputs_of(model, 20))
    # With a constant by position in both calls, before the activation of each.
    model = shared_reader(padding="same")
    for name in "ab":
        depend(model, name)
    thin = assert_folded(model, "a", inputs_of(model, 20))
    assert sum(isinstance(layer, PositionBias) for layer in thin.layers) == 2
    # Where the fits of the two calls differ, one fit to both.
    model = shared_reader("relu")
    arrays = inputs_of(model, 20)
    thin = fold_units(model, "b", [0, 2], [3], (arrays,))
    rows = [activations(model, name, arrays) for name in "ab"]
    gamma, constant = least_squares(np.concatenate(rows), [0, 2], [3])
    kernel, bias = weights_of(model, "reader")
    expected = kernel[:, :, [0, 1, 2, 4]]
    expected[:, :, [0, 2]] += gamma * kernel[:, :, 3:4]
    np.testing.assert_allclose(weights_of(thin, "reader")[0], expected, **ROUNDING)
    expected = bias + constant * kernel[:, :, 3].sum(axis=(0, 1))
    np.testing.assert_allclose(weights_of(thin, "reader")[1], expected, **ROUNDING)
    # Negative control: the fit to one call alone is another.
    alone, _ = least_squares(rows[0], [0, 2], [3])
    assert np.abs(alone - gamma).max() > 0.01


def test_a_call_that_reads_other_units_has_no_constant():
    """Of a shared layer only one call reads units that can go: the other's result stays."""
    inputs = keras.Input((6,))
    reader = layers.Dense(4, "tanh", name="reader")
    hidden = layers.Dense(5, name="hidden")(inputs)
    other = layers.Dense(5, "relu", name="other")(inputs)
    model = randomize(keras.Model(inputs, layers.Dense(3)(layers.Concatenate()([reader(hidden), reader(other)]))))
    depend(model, "hidden")
    depend(model, "other", copies=True)
    (array,) = inputs_of(model, 60)
    rows = [activations(model, name, array) for name in ("hidden", "other")]
    thin = fold_units(model, "hidden", None, [3], array)
    gamma, constant = least_squares(np.concatenate(rows), [0, 1, 2, 4], [3])
    kernel, bias = weights_of(model, "reader")
    expected = kernel[[0, 1, 2, 4]] + gamma * kernel[3]
    np.testing.assert_allclose(weights_of(thin, "reader")[0], expected, **ROUNDING)
    np.testing.assert_allclose(weights_of(thin, "reader")[1], bias + constant * kernel[3], **ROUNDING)


def test_response_normalisation_is_passed():
    """The fit is to what is read behind it; a silent unit damps no other, and goes without a trace."""

    def build() -> keras.Model:
        return randomize(
            chain(
                layers.Conv2D(6, 3, activation="relu", name="hidden"),
                LocalResponseNormalization(radius=1, alpha=0.5, name="damped"),
                layers.Conv2D(4, 2, padding="same", name="next"), *head(), shape=IMAGE,
            )
        )  # fmt: skip

    model = build()
    arrays = inputs_of(model, 30)
    thin = fold_units(model, "hidden", [0, 1, 2], [4], arrays[0], intercept=False)
    gamma, _ = least_squares(activations(model, "damped", arrays[0]), [0, 1, 2], [4], intercept=False)
    kernel, bias = weights_of(model, "next")
    expected = kernel[:, :, [0, 1, 2, 3, 5]]
    expected[:, :, :3] += np.einsum("kr,xyro->xyko", gamma, kernel[:, :, 4:5])
    np.testing.assert_allclose(weights_of(thin, "next")[0], expected, **ROUNDING)
    np.testing.assert_array_equal(weights_of(thin, "next")[1], bias)
    assert thin.get_layer("damped").places == [0, 1, 2, 3, 5]
    hidden, bias = weights_of(model, "hidden")
    hidden[..., 3] = bias[3] = 0
    model.get_layer("hidden").set_weights([hidden, bias])
    assert_same_function(fold_units(model, "hidden", None, [3], arrays[0]), model, arrays)


# Units in general.


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(("keep", "remove"), [(None, [1, 4]), ([0, 5], [1, 4]), ([6], [0]), (None, [2, 0, 6, 3, 1, 5])])
def test_new_weights_are_those_of_least_squares(keep, remove, intercept):
    model = randomize(
        chain(layers.Dense(7, "relu", name="hidden"), layers.Dense(4, "tanh", name="next"), layers.Dense(3))
    )
    (array,) = inputs_of(model, 80)
    thin = fold_units(model, "hidden", keep, remove, array, intercept=intercept)
    kept = [i for i in range(7) if i not in remove] if keep is None else keep
    rows = activations(model, "hidden", array)
    gamma, constant = least_squares(rows, kept, remove, intercept=intercept)
    kernel, bias = weights_of(model, "next")
    expected = kernel.copy()
    expected[kept] += gamma @ kernel[remove]
    left = [i for i in range(7) if i not in remove]
    np.testing.assert_allclose(weights_of(thin, "next")[0], expected[left], **ROUNDING)
    np.testing.assert_allclose(weights_of(thin, "next")[1], bias + constant @ kernel[remove], **ROUNDING)
    # Folding loses less of what the reader receives than removing.
    whole = rows @ kernel + bias
    folded = rows[:, left] @ weights_of(thin, "next")[0] + weights_of(thin, "next")[1]
    without = rows[:, left] @ kernel[left] + bias
    assert ((folded - whole) ** 2).sum() < ((without - whole) ** 2).sum()


def test_positions_of_a_map_share_coefficients():
    model = randomize(
        chain(
            layers.Conv2D(5, 3, activation="relu", name="hidden"), layers.MaxPooling2D(name="pooled"),
            layers.Flatten(), layers.Dense(3, name="next"), shape=IMAGE,
        )
    )  # fmt: skip
    (array,) = inputs_of(model, 60)
    thin = fold_units(model, "hidden", [0, 4], [1, 2], array)
    gamma, constant = least_squares(activations(model, "pooled", array), [0, 4], [1, 2])
    kernel, bias = weights_of(model, "next")
    by_position = kernel.reshape(4, 5, 3)
    expected = by_position.copy()
    expected[:, [0, 4]] += np.einsum("kr,pro->pko", gamma, by_position[:, [1, 2]])
    np.testing.assert_allclose(weights_of(thin, "next")[0], expected[:, [0, 3, 4]].reshape(12, 3), **ROUNDING)
    expected = bias + np.einsum("r,pro->o", constant, by_position[:, [1, 2]])
    np.testing.assert_allclose(weights_of(thin, "next")[1], expected, **ROUNDING)


def test_units_beside_others_are_folded_among_themselves():
    inputs = keras.Input((6,))
    parts = [layers.Dense(n, "relu", name=name)(inputs) for name, n in (("first", 3), ("hidden", 5), ("last", 2))]
    model = randomize(keras.Model(inputs, layers.Dense(3, name="next")(layers.Concatenate()(parts))))
    (array,) = inputs_of(model, 60)
    thin = fold_units(model, "hidden", None, [3], array)
    gamma, constant = least_squares(activations(model, "hidden", array), [0, 1, 2, 4], [3])
    kernel, bias = weights_of(model, "next")
    expected = kernel.copy()
    expected[[3, 4, 5, 7]] += gamma * kernel[6]
    np.testing.assert_allclose(weights_of(thin, "next")[0], np.delete(expected, 6, axis=0), **ROUNDING)
    np.testing.assert_allclose(weights_of(thin, "next")[1], bias + constant * kernel[6], **ROUNDING)


def test_several_positions_of_one_unit_go_together():
    """Of a flattened map, or of a grouped convolution whose groups are tied."""
    model = image_network(layers.Flatten(name="flat"), layers.Dense(3))
    (array,) = inputs_of(model, 30)
    thin = fold_units(model, "flat", None, [8], array)
    assert thin.get_layer("hidden").filters == 4
    assert_same_function(thin, model, [array])
    with pytest.raises(ValueError, match=re.escape("nor tied to removed ones, received [13]")):
        fold_units(model, "flat", [0, 13], [8], array)
    tied = randomize(
        chain(layers.Conv2D(4, 1), layers.Conv2D(6, 2, groups=2, name="hidden"), layers.Flatten(), layers.Dense(3),
              shape=IMAGE)
    )  # fmt: skip
    thin = fold_units(tied, "hidden", None, [0], array)
    assert thin.get_layer("hidden").filters == 4
    names = {i for unit in (1, 2) for i in coupled_units(tied, "hidden")[unit].members["hidden"]}
    assert names == {1, 2, 4, 5}
    kept = fold_units(tied, "hidden", [1, 2], [0], array)
    assert_same_function(kept, thin, [array])


def test_constants_of_a_fit_do_not_ask_what_changes_units():
    """What a gate by position multiplies is fitted behind it."""
    inputs = keras.Input(IMAGE)
    hidden = layers.Conv2D(5, 3, name="hidden")(inputs)
    gate = layers.Conv2D(1, 1, activation="sigmoid", name="gate")(layers.Conv2D(4, 3, name="beside")(inputs))
    gated = layers.Multiply(name="gated")([hidden, gate])
    model = randomize(keras.Model(inputs, layers.Dense(3, name="next")(layers.GlobalAveragePooling2D()(gated))))
    (array,) = inputs_of(model, 40)
    thin = fold_units(model, "hidden", [0, 1], [3], array)
    pooled = read(model, ["gated"])(array)["gated"].numpy().astype("float64").mean(axis=(1, 2))
    gamma, constant = least_squares(pooled, [0, 1], [3])
    kernel, bias = weights_of(model, "next")
    expected = kernel.copy()
    expected[[0, 1]] += gamma * kernel[3]
    np.testing.assert_allclose(weights_of(thin, "next")[0], np.delete(expected, 3, axis=0), **ROUNDING)
    np.testing.assert_allclose(weights_of(thin, "next")[1], bias + constant * kernel[3], **ROUNDING)


def test_silent_and_constant_units_go_without_a_trace():
    """Also where all kept units are silent or constant, and nothing can be fitted."""
    model = randomize(chain(layers.Dense(4, "relu", name="hidden"), layers.Dense(3, name="next")))
    kernel, bias = weights_of(model, "hidden")
    kernel[:, 1:] = 0
    bias[:] = [1, -2, 1.5, 0]
    model.get_layer("hidden").set_weights([kernel, bias])
    (array,) = inputs_of(model, 30)
    for keep, remove in ((None, [1, 2, 3]), ([3], [1, 2]), ([1, 3], [2]), ([2], [1])):
        assert_same_function(fold_units(model, "hidden", keep, remove, array), model, [array])
    # Without a constant the silent ones alone.
    assert_same_function(fold_units(model, "hidden", [0], [1, 3], array, intercept=False), model, [array])
    assert_visible(model, fold_units(model, "hidden", [3], [2], array, intercept=False), [array])


# Data.


def test_forms_of_data_give_the_same_weights(rng):
    model = randomize(chain(layers.Dense(7, "relu", name="hidden"), layers.Dense(3, name="next")))
    array, labels = inputs_of(model, 64)[0], rng.integers(3, size=64)
    batches = tf.data.Dataset.from_tensor_slices(array)
    forms = {
        "array": array,
        "tensor": tf.constant(array),
        "float64": array.astype("float64"),
        "pair": (array, labels),
        "batches": batches.batch(64),
        "uneven batches": batches.batch(7),
        "single examples": batches.batch(1),
        "labelled batches": tf.data.Dataset.from_tensor_slices((array, labels)).batch(23),
        "data set": make_dataset(np.concatenate([array, array + 1])[:85], rng.integers(3, size=85), 3),
    }  # fmt: skip
    expected = weights_of(fold_units(model, "hidden", [0, 1], [4, 2], array), "next")
    for name, data in forms.items():
        # Three quarters of 85 are 63 examples: the first split of the data set is nearly, but not all of the array.
        options = {"rtol": 1e-5, "atol": 1e-6} if name != "data set" else {"rtol": 0.2, "atol": 0.2}
        found = weights_of(fold_units(model, "hidden", [0, 1], [4, 2], data), "next")
        for given, wanted in zip(found, expected, strict=True):
            np.testing.assert_allclose(given, wanted, err_msg=name, **options)


def test_splits_of_a_data_set(rng):
    model = randomize(chain(layers.Dense(7, "relu", name="hidden"), layers.Dense(3, name="next")))
    array = inputs_of(model, 160)[0]
    data = make_dataset(array, rng.integers(3, size=160), 3)
    for options, part in (({}, array[:120]), ({"split": "test"}, array[140:])):
        expected = fold_units(model, "hidden", None, [4], part)
        given = fold_units(model, "hidden", None, [4], data, **options)
        np.testing.assert_allclose(weights_of(given, "next")[0], weights_of(expected, "next")[0], rtol=1e-5)
        expected = factorize(model, "hidden", 3, part)
        given = factorize(model, "hidden", 3, data, **options)
        np.testing.assert_allclose(weights_of(given, "next")[0], weights_of(expected, "next")[0], rtol=1e-4, atol=1e-5)


def test_several_inputs_by_order_and_by_name():
    model = make("two_inputs")
    image, vector = inputs_of(model, 40)
    forms = [([image, vector],), {"vector": vector, "image": image}]
    found = [fold_units(model, "told", [0, 1], [2], data) for data in forms]
    assert_same_function(found[0], found[1])
    assert unit_layers(found[0])["seen"] == unit_layers(found[0])["told"] == 3


# The new model.


def test_a_folded_model_is_one_of_its_own(tmp_path):
    model = image_network(layers.Conv2D(4, 3, padding="same", activation="relu", name="next"), *head())
    arrays = inputs_of(model, 30)
    thin = fold_units(model, "hidden", None, [3], arrays[0])
    assert thin.name == f"{model.name}_folded"
    # Again, with a second constant at every position.
    thinner = fold_units(thin, "hidden", None, [3], arrays[0])
    assert thinner.name == thin.name
    gamma, constant = least_squares(activations(thin, "hidden", arrays[0]), [0, 1, 2], [3])
    kernel = weights_of(thin, "next")[0]
    expected = kernel[:, :, :3] + gamma * kernel[:, :, 3:]
    np.testing.assert_allclose(weights_of(thinner, "next")[0], expected, **ROUNDING)
    added = [layer.bias.numpy() for layer in thinner.layers if isinstance(layer, PositionBias)]
    np.testing.assert_allclose(added[0][2, 2], constant * kernel[:, :, 3].sum(axis=(0, 1)), **ROUNDING)
    loaded = saved_and_loaded(thin, tmp_path)
    assert difference(call(loaded, arrays), call(thin, arrays)) < CLOSE
    before = [value.numpy() for value in model.variables]
    thin.compile(optimizer="sgd", loss="mse")
    thin.fit(arrays[0], np.ones((30, 3)), epochs=1, verbose=0)
    assert difference(call(thin, arrays), call(loaded, arrays)) > CLOSE
    for value, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_no_unit_to_remove_leaves_the_model():
    model = make("residual")
    thin = fold_units(model, "stem", None, [], inputs_of(model)[0])
    np.testing.assert_array_equal(call(thin, inputs_of(model))[0], call(model, inputs_of(model))[0])


# What cannot be folded.


def refusing_network(reader: keras.layers.Layer) -> keras.Model:
    return randomize(
        chain(layers.Conv2D(4, 3, name="hidden"), reader, layers.Flatten(), layers.Dense(3, name="top"), shape=IMAGE)
    )


@pytest.mark.parametrize(
    ("reader", "kind"),
    [
        (lambda: layers.Conv2D(4, 3, groups=2, name="reader"), "Conv2D"),
        (lambda: layers.SeparableConv2D(4, 3, name="reader"), "SeparableConv2D"),
        (lambda: layers.LayerNormalization(name="reader"), "LayerNormalization"),
        (lambda: layers.GroupNormalization(2, name="reader"), "GroupNormalization"),
        (lambda: layers.RMSNormalization(name="reader"), "RMSNormalization"),
    ],
)
def test_readers_that_cannot_take_over_are_named(reader, kind):
    model = refusing_network(reader())
    message = f"reader: expected dense layers and convolutions of one group to read the units, received a {kind}"
    for operation in (
        lambda: fold_units(model, "hidden", None, [1], inputs_of(model)[0]),
        lambda: factorize(model, "hidden", 2, inputs_of(model)[0]),
        lambda: factorize(model, "hidden", 2, inputs_of(model)[0], basis="components"),
    ):
        with pytest.raises(ValueError, match=message):
            operation()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("hidden", [0, 1], [1]), r"keep: expected units that are not removed.* received \[1\]"),
        (("hidden", [], [1]), "keep: expected at least one unit that takes over"),
        (("hidden", None, [0, 1, 2, 3]), "keep: expected at least one unit that takes over"),
        (("hidden", [4], [1]), r"keep: expected indices from 0 to 3, received \[4\]"),
        (("hidden", [0, 0], [1]), r"keep: expected every index once, received \[0\]"),
        (("hidden", None, [-1]), r"remove: expected indices from 0 to 3, received \[-1\]"),
        (("hidden", None, [1, 1]), r"remove: expected every index once, received \[1\]"),
        (("hidden", None, [0.5]), "remove: expected indices of units, whole numbers"),
        (("hidden", None, [True, False]), "remove: expected indices of units, whole numbers"),
        (("top", None, [1]), "top: expected units that can be removed, .* since it is the model's output"),
        (("absent", None, [1]), "layers: expected layers of .* received 'absent'; those that make units: hidden, top"),
    ],
)
def test_refused_choices(arguments, message):
    model = randomize(chain(layers.Dense(4, name="hidden"), layers.ReLU(), layers.Dense(3, name="top")))
    with pytest.raises(ValueError, match=message):
        fold_units(model, *arguments, inputs_of(model)[0])


def test_refused_data():
    model = make("sequential")
    for operation in (
        lambda data: fold_units(model, "first", None, [0], data),
        lambda data: factorize(model, "first", 2, data),
    ):
        with pytest.raises(ValueError, match=r"data: expected batches of inputs of shape \(6,\), .* received \(5,\)"):
            operation(np.zeros((4, 5), "float32"))
        with pytest.raises(ValueError, match="data: expected at least one batch, received none"):
            operation(np.zeros((0, 6), "float32"))
        with pytest.raises(TypeError, match="data: expected a tfunits Dataset"):
            operation("digits")
    with pytest.raises(ValueError, match="split: expected one of"):
        fold_units(model, "first", None, [0], make_dataset(np.zeros((8, 6)), np.zeros(8), 2), split="held_out")


def test_units_that_no_kernel_reads():
    inputs = keras.Input((4,))
    hidden = layers.Dense(4, name="hidden")(inputs)
    layers.Dense(5)(hidden)
    total = keras.ops.sum(hidden, axis=-1, keepdims=True)
    model = keras.Model(inputs, layers.Dense(2)(total))
    with pytest.raises(ValueError, match="received a Sum, whose weights cannot take other units over"):
        fold_units(model, "hidden", None, [0], np.ones((3, 4), "float32"))


def test_units_of_layers_that_are_not_read_together():
    inputs = keras.Input((4,))
    both = layers.Concatenate(name="both")([layers.Dense(3, name=n)(inputs) for n in "ab"])
    split = layers.Dense(2)(both[:, :3]) + layers.Dense(2)(both)
    model = randomize(keras.Model(inputs, split))
    with pytest.raises(ValueError, match="expected units that are read together"):
        fold_units(model, "both", [4], [1], np.ones((3, 4), "float32"))
