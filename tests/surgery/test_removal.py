"""Smaller models compute what the whole model computes with units masked, and keep all else of it."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from masked_models import (
    CLOSE,
    IMAGE,
    assert_removed,
    assert_same_function,
    assert_visible,
    convolutional,
    difference,
    masked_by_hand,
    saved_and_loaded,
    shapes,
)
from sample_networks import call, chain, inputs_of, make, randomize

from tfunits.surgery import (
    Graph,
    chunk,
    coupled_units,
    find_tensors,
    keep_units,
    removal_error,
    remove_units,
    unit_layers,
)

# What stays as it is.


def test_removing_nothing_is_the_identity():
    model = convolutional()
    for none in ({}, {"second": []}):
        same = remove_units(model, none)
        for left, right in zip(model.weights, same.weights, strict=True):
            np.testing.assert_array_equal(left, right)
        np.testing.assert_array_equal(call(same, inputs_of(model))[0], call(model, inputs_of(model))[0])
        assert [layer.name for layer in same.layers[1:]] == [layer.name for layer in model.layers[1:]]


def test_two_steps_are_one():
    model = convolutional()
    once = remove_units(model, {"first": [0, 3], "second": [1, 5], "hidden": [2]})
    steps = remove_units(
        remove_units(model, {"first": [3], "second": [1]}), {"first": [0], "second": [4], "hidden": [2]}
    )
    assert steps.name == once.name
    for left, right in zip(once.weights, steps.weights, strict=True):
        np.testing.assert_array_equal(left, right)


def test_keeping_is_removing_the_rest(branched_model, images):
    for name, kept, gone in (("second", [3, 0], [1, 2]), ("gate", [2, 5], [0, 3])):
        keeping = keep_units(branched_model, {name: kept})
        np.testing.assert_array_equal(keeping(images), remove_units(branched_model, {name: gone})(images))
        assert_visible(branched_model, keeping, [images])
    assert unit_layers(keep_units(convolutional(), {"first": [1], "hidden": [0, 6]})) == {
        "first": 1, "second": 6, "hidden": 2, "scores": 3,
    }  # fmt: skip
    with pytest.raises(ValueError, match="tied to no others, received units that go with first"):
        keep_units(branched_model, {"second": [0]}, coupled="raise")


def test_options_of_layers_stay():
    inputs = keras.Input((6,))
    hidden = layers.Dense(
        5, "tanh", name="hidden", kernel_regularizer=keras.regularizers.L2(0.3), bias_constraint="non_neg",
        kernel_initializer=keras.initializers.HeNormal(seed=3),
    )(inputs)  # fmt: skip
    frozen = layers.Dense(4, name="frozen", trainable=False, use_bias=False)(
        layers.Dropout(0.5, seed=7, name="drop")(hidden)
    )
    normed = layers.BatchNormalization(epsilon=0.2, momentum=0.7, name="norm", trainable=False)(frozen)
    model = randomize(keras.Model(inputs, layers.Dense(2, name="head", activity_regularizer="l1")(normed), name="mine"))
    thin = assert_removed(model, {"hidden": [1], "frozen": [0]}, {"drop": [1], "norm": [0]})
    assert thin.name == "mine_thin"
    assert [layer.name for layer in thin.layers[1:]] == [layer.name for layer in model.layers[1:]]
    assert [v.path for v in thin.trainable_variables] == [v.path for v in model.trainable_variables]
    assert (thin.get_layer("norm").epsilon, thin.get_layer("norm").momentum) == (0.2, 0.7)
    assert not thin.get_layer("frozen").use_bias
    ours, theirs = ({**m.get_layer("hidden").get_config(), "units": 0} for m in (thin, model))
    assert ours == theirs
    expected = 0.3 * np.sum(np.square(np.delete(model.get_layer("hidden").kernel, 1, axis=1)))
    np.testing.assert_allclose(float(thin.get_layer("hidden").losses[0]), expected, rtol=1e-5)
    seeds = [m.get_layer("drop").seed_generator.state.numpy() for m in (model, thin)]
    np.testing.assert_array_equal(*seeds)


def test_the_given_model_is_untouched_and_shares_nothing():
    model = convolutional()
    (array,) = inputs_of(model, examples=16)
    config, weights = model.get_config(), model.get_weights()
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    thin = remove_units(model, {"second": [0]}, masked_at="layer")
    assert model.get_config() == config
    assert [len(layer._inbound_nodes) for layer in model.layers] == nodes
    before = thin(array).numpy()
    labels = np.arange(16) % 3
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(array, labels, verbose=0)
    assert difference([model(array).numpy()], [keras.Model.from_config(config)(array).numpy()]) > 0
    np.testing.assert_array_equal(thin(array), before)
    trained = model.get_weights()
    thin.compile("sgd", "sparse_categorical_crossentropy")
    thin.fit(array, labels, verbose=0)
    assert np.abs(thin(array) - before).max() > CLOSE
    for left, right in zip(trained, model.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)
    assert any((left != right).any() for left, right in zip(weights, trained, strict=True))


def test_a_smaller_model_is_saved_and_loaded(tmp_path):
    model = convolutional()
    for options in ({}, {"masked_at": "layer"}):
        thin = remove_units(model, {"first": [1], "second": [0, 4]}, **options)
        assert_same_function(saved_and_loaded(thin, tmp_path), thin)


# Nested models, several inputs and outputs.


def test_nested_models():
    model = make("nested")
    read = [f"{inner}/{layer}" for inner in ("inner", "inner#2") for layer in ("wide", "block/deep", "sum")]
    masked = {**dict.fromkeys(read, [1]), "both": [1, 5]}
    with pytest.raises(ValueError, match="inner/wide: .* since 'wide' is shared, and elsewhere reads no units"):
        remove_units(model, {"inner/wide": [1]})
    inputs = keras.Input((4,))
    behind = randomize(keras.Model(inputs, model(layers.Dense(4, "tanh", name="stem")(inputs))))
    path = next(made.name for made in Graph(behind).calls if made.name.endswith("inner/wide"))
    prefix = path.removesuffix("inner/wide")
    hand = {"stem": [1], **{f"{prefix}{name}": units for name, units in masked.items()}}
    thin = assert_removed(behind, {path: [1]}, hand)
    assert sorted(set(unit_layers(thin).values())) == [3]


def two_of_one_name() -> keras.Model:
    inputs = keras.Input((6,))
    values = inputs
    for name in ("left", "right"):
        inner = keras.Input((values.shape[-1],))
        hidden = layers.Dense(5, "tanh", name="hidden")(inner)
        values = keras.Model(
            inner, layers.Dense(4, name="out")(layers.BatchNormalization(name="norm")(hidden)), name=name
        )(values)
    tail = keras.Sequential([keras.Input((4,)), layers.Dense(5, "tanh", name="hidden"), layers.Dense(2)], name="tail")
    return randomize(keras.Model(inputs, tail(values)))


def test_nested_models_with_layers_of_one_name(tmp_path):
    model = two_of_one_name()
    thin = remove_units(model, {"left/hidden": [0], "right/norm": [1, 2], "left/out": [3], "tail/hidden": [4]})
    names = [layer.name for layer in thin.layers]
    assert {"left_hidden", "right_hidden", "left_norm", "right_norm", "tail_hidden"} <= set(names)
    assert [thin.get_layer(f"{n}_hidden").units for n in ("left", "right", "tail")] == [4, 3, 4]
    (array,) = inputs_of(model)
    values = array.astype("float64")
    for name, gone in (("left", [0]), ("right", [1, 2])):
        inner = model.get_layer(name)
        kernel, bias = (w.numpy() for w in inner.get_layer("hidden").weights)
        gamma, beta, mean, variance = (w.numpy() for w in inner.get_layer("norm").weights)
        hidden = gamma * (np.tanh(values @ kernel + bias) - mean) / np.sqrt(variance + 1e-3) + beta
        hidden[:, gone] = 0
        kernel, bias = (w.numpy() for w in inner.get_layer("out").weights)
        values = hidden @ kernel + bias
        if name == "left":
            values[:, 3] = 0
    first, last = model.get_layer("tail").layers
    hidden = np.tanh(values @ first.kernel.numpy() + first.bias.numpy())
    hidden[:, 4] = 0
    np.testing.assert_allclose(thin(array), hidden @ last.kernel.numpy() + last.bias.numpy(), rtol=1e-4, atol=1e-5)
    assert_same_function(saved_and_loaded(thin, tmp_path), thin)


def test_a_sequential_model():
    model = make("sequential")
    thin = assert_removed(model, {"first": [0, 4]}, {"first": [0, 4]})
    assert thin.get_layer("first").units == 3
    assert_removed(make("sequential_built_later"), {"first": [2]}, {"first": [2]})


def test_several_inputs():
    model = make("two_inputs")
    arrays = inputs_of(model)
    thin = assert_removed(model, {"told": [1, 2]}, {"mean": [1, 2]})
    assert [tensor.name for tensor in thin.inputs] == ["image", "vector"]
    assert removal_error(model, thin, {"told": [1, 2]}, arrays) < CLOSE


def test_inputs_in_a_dict():
    model = make("dict_inputs")
    joined = next(made.name for made in Graph(model).calls if made.name.startswith("concatenate"))
    thin = assert_removed(model, {"of_right": [1, 2]}, {joined: [1, 2]})
    left, right = inputs_of(model)
    value = thin({"right": right, "left": left})
    np.testing.assert_array_equal(value, call(thin, [left, right])[0])
    error = removal_error(model, thin, {"of_right": [1, 2]}, {"right": right, "left": left})
    assert error < CLOSE


def test_several_outputs():
    model = make("two_outputs")
    thin = assert_removed(model, {"hidden": [3]}, {"hidden": [3], "again": [3]})
    assert isinstance(thin.output, list)
    inputs = keras.Input((6,))
    hidden = layers.Dense(5, "tanh", name="hidden")(inputs)
    outputs = {"value": layers.Dense(1, name="value")(hidden), "policy": layers.Dense(3, name="policy")(hidden)}
    model = randomize(keras.Model(inputs, outputs))
    thin = remove_units(model, {"hidden": [1]})
    expected = masked_by_hand(model, {"hidden": [1]})
    (array,) = inputs_of(model)
    for name, value in thin(array).items():
        assert difference([value.numpy()], [expected(array)[name].numpy()]) < CLOSE
        assert difference([value.numpy()], [model(array)[name].numpy()]) > CLOSE


def test_an_operation_graph():
    model = make("operators")
    low_high = {"hidden": (4,)}
    assert [dict(unit.members) for unit in coupled_units(model, "hidden")][1:3] == [
        {"hidden": (1, 4)},
        {"hidden": (2, 5)},
    ]
    mixed = next(made.name for made in Graph(model).calls if made.name.startswith("maximum"))
    thin = assert_removed(model, low_high, {mixed: [1, 4, 6]})
    assert thin.get_layer("hidden").units == 4
    assert shapes(thin)[mixed] == (None, 5)


# Other formats and types.


def channels_first() -> keras.Model:
    options = {"data_format": "channels_first"}
    return randomize(
        chain(
            layers.Conv2D(5, 3, padding="same", name="first", **options),
            layers.BatchNormalization(axis=1, name="norm"), layers.ReLU(name="rectified"),
            layers.MaxPooling2D(2, **options), layers.DepthwiseConv2D(2, name="depthwise", **options),
            layers.Conv2D(6, 2, padding="same", name="second", **options), layers.GroupNormalization(3, axis=1),
            layers.Flatten(**options, name="flat"), layers.Dense(3), shape=(2, 8, 8),
        )
    )  # fmt: skip


def test_channels_first():
    model = channels_first()
    second = model.get_layer("second")
    thin = remove_units(model, {"first": [1], "second": [0, 5]})
    assert shapes(thin)["rectified"] == (None, 4, 8, 8)
    assert thin.get_layer("flat").output.shape == (None, 4 * 9)
    np.testing.assert_array_equal(thin.get_layer("second").kernel, np.delete(second.kernel, 1, axis=2)[..., 1:5])
    assert_same_function(remove_units(model, {}), model)
    graph = Graph(model)
    keys = find_tensors(graph, ["depthwise", "second", "flat"])
    kept = {keys["depthwise"]: ([1], 1), keys["second"]: ([0, 5], 1)}
    kept[keys["flat"]] = ([6 * position + unit for position in range(9) for unit in (0, 5)], 1)

    def zeroed(key, value):
        for indices, axis in [kept[key]] if key in kept else []:
            value = value.numpy()
            value[(slice(None),) * axis + (indices,)] = 0
        return value

    given = dict(zip(graph.inputs, inputs_of(model), strict=True))
    (masked,) = graph.run(given, graph.outputs, edit=zeroed, inference=True)
    assert difference(call(thin, inputs_of(model), training=False), [masked.numpy()]) < CLOSE
    assert difference([masked.numpy()], call(model, inputs_of(model))) > CLOSE


def test_mixed_precision():
    policy = keras.mixed_precision.Policy("mixed_float16")
    model = randomize(
        chain(
            layers.Conv2D(5, 3, name="conv", dtype=policy), layers.LayerNormalization(name="norm", dtype=policy),
            layers.Flatten(dtype=policy), layers.Dense(4, "tanh", name="hidden", dtype=policy),
            layers.Dense(2, dtype="float32"), shape=IMAGE,
        )
    )  # fmt: skip
    thin = remove_units(model, {"conv": [0, 2], "hidden": [1]})
    expected = masked_by_hand(model, {"conv": [0, 2], "norm": [0, 2], "hidden": [1]})
    arrays = inputs_of(model)
    # Sums in half precision, in another order.
    assert difference(call(thin, arrays), call(expected, arrays)) < 0.02
    assert difference(call(model, arrays), call(expected, arrays)) > 0.05
    for layer in ("conv", "norm", "hidden"):
        assert thin.get_layer(layer).dtype_policy.name == "mixed_float16"
        assert {str(v.dtype) for v in thin.get_layer(layer).variables} == {"float32"}
        assert thin.get_layer(layer).output.dtype == "float16"


def test_inputs_of_any_size():
    model = randomize(
        chain(
            layers.Conv2D(5, 3, name="conv"), layers.BatchNormalization(), layers.ReLU(name="rectified"),
            layers.GlobalAveragePooling2D(name="pooled"), layers.Dense(2), shape=(None, None, 2),
        )
    )  # fmt: skip
    arrays = [np.random.default_rng(1).normal(size=(3, 7, 9, 2)).astype("float32")]
    assert_removed(model, {"conv": [1, 3]}, {"pooled": [1, 3]}, arrays=arrays)
    with pytest.raises(ValueError, match="expected inputs of known size .* build it with a fixed one"):
        remove_units(model, {"conv": [1]}, masked_at="layer")


# The error that a removal makes.


def test_the_error_of_a_removal(branched_model, images):
    gone = {"second": [1, 2]}
    thin = remove_units(branched_model, gone)
    assert 0 <= removal_error(branched_model, thin, gone, images) < CLOSE
    wrong = remove_units(branched_model, {"second": [0, 2]})
    expected = masked_by_hand(branched_model, {"first": [1, 2], "joined": [1, 2, 5, 6], "gated": [1, 2, 5, 6]})
    found = removal_error(branched_model, wrong, gone, images)
    assert found > 0.01
    assert found == pytest.approx(difference([wrong(images).numpy()], [expected(images).numpy()]), rel=1e-3)


def test_what_is_not_finite_at_zero_is_masked_as_well():
    inputs = keras.Input((6,))
    hidden = layers.Dense(4, "sigmoid", name="hidden")(inputs)
    values = layers.Concatenate(name="both")([ops.log(hidden), 1.0 / hidden])
    model = randomize(keras.Model(inputs, layers.Dense(3)(values)))
    thin = assert_removed(model, {"hidden": [1]}, {"both": [1, 5]})
    assert removal_error(model, thin, {"hidden": [1]}, inputs_of(model)) < CLOSE


def test_an_error_that_is_no_number_is_not_hidden_behind_another_output():
    inputs = keras.Input((6,))
    hidden = layers.Dense(4, name="hidden")(inputs)
    model = randomize(keras.Model(inputs, [layers.Dense(2)(hidden), layers.Dense(2, name="last")(hidden)]))
    thin = remove_units(model, {"hidden": [0]})
    thin.get_layer("last").bias.assign([np.nan, 0])
    assert np.isnan(removal_error(model, thin, {"hidden": [0]}, inputs_of(model)))


# Masks at the layers that make the units.


def test_a_chunk_of_the_last_hidden_layer(rng):
    model = convolutional()
    kernel, bias = (w.numpy().astype("float64") for w in model.get_layer("scores").weights)
    (array,) = inputs_of(model)
    hidden = keras.Model(model.input, model.get_layer("hidden").output)(array).numpy()
    for kept in ([4, 0, 2], [3]):
        part = chunk(model, kept)
        logits = hidden[:, kept] @ kernel[kept] + bias
        expected = np.exp(logits - logits.max(axis=1, keepdims=True))
        expected /= expected.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(part(array), expected, rtol=1e-4, atol=1e-6)
        assert part.get_layer("hidden").units == len(kept)
    assert_same_function(chunk(model, range(7)), model)


def test_a_chunk_of_a_flattened_map_or_of_shared_units(tmp_path):
    """The other units stay, and the last layer alone does not see them."""
    inputs = keras.Input((6,))
    stem = layers.Dense(5, "tanh", name="stem")(inputs)
    normed = layers.LayerNormalization(name="norm")(stem)
    model = randomize(keras.Model(inputs, layers.Dense(3, name="scores")(normed)))
    flat = randomize(
        chain(
            layers.Conv2D(3, 3, name="conv"), layers.Flatten(name="norm"), layers.Dense(3, name="scores"), shape=IMAGE
        )
    )
    for whole, kept in ((model, [3, 1]), (flat, [0, 5, 40])):
        part = chunk(whole, kept)
        (array,) = inputs_of(whole)
        values = keras.Model(whole.input, whole.get_layer("norm").output)(array).numpy()
        kernel, bias = (w.numpy() for w in whole.get_layer("scores").weights)
        np.testing.assert_allclose(part(array), values[:, kept] @ kernel[kept] + bias, rtol=1e-4, atol=1e-5)
        assert part.get_layer("scores").kernel.shape == (len(kept), 3)
        assert_same_function(saved_and_loaded(part, tmp_path), part)


def test_a_chunk_of_no_unit_or_of_a_network_that_does_not_end_in_scores():
    with pytest.raises(ValueError, match="indices: expected at least one of the 7 units"):
        chunk(convolutional(), [])
    with pytest.raises(ValueError, match="expected indices from 0 to 6, received \\[7\\]"):
        chunk(convolutional(), [0, 7])
    with pytest.raises(ValueError, match="expected every index once, received \\[1\\]"):
        chunk(convolutional(), [1, 1])
    with pytest.raises(ValueError, match="expected a network that ends in a dense layer"):
        chunk(randomize(chain(layers.Conv2D(3, 3), layers.GlobalAveragePooling2D(), shape=IMAGE)), [0])
    inputs = keras.Input((3,))
    last = layers.Dense(3, name="scores")
    with pytest.raises(ValueError, match="called once, received 'scores', which is shared"):
        chunk(keras.Model(inputs, last(last(inputs))), [0])


# Bad input.


@pytest.mark.parametrize(
    ("layers_given", "message"),
    [
        (
            {"nothing": [0]},
            "expected layers of .*, received 'nothing'; those that make units: first, second, hidden, scores",
        ),
        (
            {"scores": [0]},
            "scores: expected units that can be removed, .* since the activation softmax of 'scores' mixes",
        ),
        ({"first": [5]}, r"first: expected indices from 0 to 4, received \[5\]"),
        ({"first": [-1]}, r"first: expected indices from 0 to 4, received \[-1\]"),
        ({"first": [0, 2, 0]}, r"first: expected every index once, received \[0\]"),
        ({"first": [True, False]}, "first: expected indices of units, whole numbers, .* use np.flatnonzero"),
        ({"first": np.array([True, False, True, False, False])}, "first: expected indices of units, whole numbers"),
        ({"first": [0.5]}, "first: expected indices of units, whole numbers"),
        ({"first": range(5)}, "first: expected at least one unit to be left, received all 5; keep one"),
        ({"hidden": range(7)}, "hidden: expected at least one unit to be left, received all 7; keep one"),
    ],
)
def test_wrong_layers_and_indices_are_refused(layers_given, message):
    with pytest.raises(ValueError, match=message):
        remove_units(convolutional(), layers_given)


def test_a_layer_without_units_is_refused():
    inputs = keras.Input((6,))
    scaled = layers.Rescaling(2.0, name="scaled")(inputs)
    model = randomize(keras.Model(inputs, layers.Dense(2)(layers.Dense(4, name="hidden")(scaled))))
    for function in (
        lambda: remove_units(model, {"scaled": [0]}),
        lambda: keep_units(model, {"scaled": [0]}),
        lambda: coupled_units(model, "scaled"),
        lambda: removal_error(model, model, {"scaled": [0]}, inputs_of(model)),
    ):
        with pytest.raises(
            ValueError, match="expected a layer with units, received 'scaled' of Rescaling, which has none"
        ):
            function()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coupled": "yes"}, "coupled: expected one of remove, raise, received 'yes'"),
        ({"masked_at": "input"}, "masked_at: expected one of reader, layer, received 'input'"),
    ],
)
def test_wrong_options_are_refused(options, message):
    for function in (remove_units, keep_units):
        with pytest.raises(ValueError, match=message):
            function(convolutional(), {"first": [0]}, **options)


def test_keeping_no_unit_is_refused():
    with pytest.raises(ValueError, match="first: expected at least one unit to be left, received all 5"):
        keep_units(convolutional(), {"first": []})


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, inputs):
        return self.dense(inputs)


@pytest.mark.parametrize("build", [Subclassed, lambda: keras.Sequential([layers.Dense(3)])])
def test_a_model_that_is_not_functional_is_refused_with_what_to_do(build):
    model = build()
    for function in (
        lambda: remove_units(model, {"dense": [0]}),
        lambda: keep_units(model, {"dense": [0]}),
        lambda: coupled_units(model, "dense"),
        lambda: unit_layers(model),
        lambda: chunk(model, [0]),
    ):
        with pytest.raises(
            ValueError, match="model: expected a functional Keras model, received (the subclass|an unbuilt).*(use|call)"
        ) as error:
            function()
        assert "\n" not in str(error.value)
