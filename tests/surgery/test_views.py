"""Reading, masking and splitting a model against Keras' own sub-models and plain arithmetic."""

import keras
import numpy as np
import pytest
from keras import layers
from sample_networks import call, chain, inputs_of, make, randomize

from tfunits.surgery import Graph, after, find_taps, find_tensors, mask, read, tap_keys

TAPPED = ("sequential", "residual", "nested", "shared", "two_inputs", "dict_inputs", "two_outputs", "recurrent")


@pytest.fixture(params=[*TAPPED, "branched"])
def model(request, branched_model) -> keras.Model:
    return branched_model if request.param == "branched" else make(request.param)


def units_of(model: keras.Model, tap: str) -> int:
    graph = Graph(model)
    return graph.shape(tap_keys(graph)[tap])[-1]


def random_mask(units: int, seed: int = 0) -> np.ndarray:
    """Half of the units masked, at least one masked and one kept."""
    return np.random.default_rng(seed).permutation(np.arange(units) % 2)


def assert_same(received, expected) -> None:
    for left, right in zip(received, expected, strict=True):
        np.testing.assert_array_equal(left, right)


def test_read_is_a_keras_sub_model(branched_model, images):
    values = read(branched_model, ["first", "rectified", "joined", "gated", "gate", "scores"])(images)
    for name, value in values.items():
        expected = keras.Model(branched_model.input, branched_model.get_layer(name).output)(images)
        np.testing.assert_array_equal(value, expected)


def test_read_reaches_into_nested_models():
    model = make("nested")
    (array,) = inputs_of(model)
    inner = model.get_layer("inner")
    wide = keras.Model(inner.input, inner.get_layer("wide").output)
    values = read(model, ["inner/wide", "inner#2/wide"])(array)
    np.testing.assert_array_equal(values["inner/wide"], wide(array))
    np.testing.assert_array_equal(values["inner#2/wide"], wide(inner(array)))


def test_read_takes_the_inputs_as_the_model_does():
    model = make("dict_inputs")
    left, right = inputs_of(model)
    value = read(model, ["of_right"])({"left": left, "right": right})["of_right"]
    np.testing.assert_array_equal(value, model.get_layer("of_right")(right))


def test_a_tap_hides_a_layer_of_its_name():
    model = chain(layers.Dense(4, name="a"), layers.ReLU(name="tap_a"), layers.Dense(2))
    keys = find_tensors(Graph(model), ["a", "tap_a"])
    assert keys["a"] == keys["tap_a"]


def test_a_model_without_taps_still_has_layers():
    model = chain(layers.Dense(4, name="a"), layers.Dense(2))
    (array,) = inputs_of(model)
    np.testing.assert_array_equal(read(model, ["a"])(array)["a"], model.get_layer("a")(array))


def test_masks_of_ones_change_nothing(model):
    arrays = inputs_of(model)
    masked = mask(model, {tap: np.ones(units_of(model, tap)) for tap in find_taps(model)})
    assert_same(call(masked, arrays), call(model, arrays))


def test_a_mask_is_arithmetic_on_the_tap_and_the_part_behind(model):
    arrays = inputs_of(model)
    for tap in find_taps(model):
        kept = random_mask(units_of(model, tap))
        suffix, prefix = after(model, tap)
        tensors = call(prefix, arrays)
        expected = call(suffix, [tensors[0] * kept.astype("float32"), *tensors[1:]])
        assert_same(call(mask(model, {tap: kept}), arrays), expected)


def test_masking_units_is_cutting_their_outgoing_weights(branched_model, images):
    kept = np.array([1, 0, 0, 1, 1, 0, 1, 0])
    received = mask(branched_model, {"gated": kept})(images)
    kernel = branched_model.get_layer("scores").kernel
    kernel.assign(kernel * kept[:, None].astype("float32"))
    np.testing.assert_allclose(received, branched_model(images), rtol=1e-5, atol=1e-5)


def test_masking_other_units_gives_other_outputs(branched_model, images):
    """Negative control: the order of the mask's entries is that of the units."""
    left = mask(branched_model, {"gated": [1, 0, 0, 1, 1, 0, 1, 0]})(images)
    right = mask(branched_model, {"gated": [0, 1, 0, 1, 1, 0, 1, 0]})(images)
    assert np.abs(left - right).max() > 0.01


def test_masks_of_several_taps_apply_one_after_the_other(branched_model, images):
    kept = {"first": random_mask(4), "joined": random_mask(8)}
    first_only = mask(branched_model, {"first": kept["first"]})
    suffix, prefix = after(first_only, "joined")
    joined = prefix(images)
    expected = suffix(joined * kept["joined"].astype("float32"))
    np.testing.assert_array_equal(mask(branched_model, kept)(images), expected)


def test_a_mask_of_locations(branched_model, images):
    kept = np.random.default_rng(1).integers(2, size=(8, 8, 4)).astype("float32")
    suffix, prefix = after(branched_model, "rectified")
    tensors = prefix(images)
    expected = suffix([tensors[0] * kept, *tensors[1:]])
    np.testing.assert_array_equal(mask(branched_model, {"rectified": kept})(images), expected)


def test_a_mask_given_as_input_is_a_constant_mask(branched_model, images):
    kept = random_mask(4).astype("float32")
    open_model = mask(branched_model, {"first": None})
    assert [tensor.name for tensor in open_model.inputs] == ["image", "mask_first"]
    given = np.broadcast_to(kept, (len(images), 1, 1, 4))
    np.testing.assert_array_equal(open_model([images, given]), mask(branched_model, {"first": kept})(images))


def test_a_mask_given_as_input_may_differ_between_examples(branched_model, images):
    masks = np.random.default_rng(2).integers(2, size=(3, 8)).astype("float32")
    received = mask(branched_model, {"gated": None})([images[:3], masks[:, None, None]])
    for row, kept, image in zip(received, masks, images, strict=False):
        expected = mask(branched_model, {"gated": kept})(image[None])[0]
        np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-5)


def test_the_given_model_is_untouched(model):
    arrays, names = inputs_of(model), [layer.name for layer in model.layers]
    outputs, weights = call(model, arrays), [v.numpy() for v in model.variables]
    tap = next(iter(find_taps(model)))
    mask(model, {tap: random_mask(units_of(model, tap))})
    read(model, [tap])
    assert_same(call(model, arrays), outputs)
    assert_same([v.numpy() for v in model.variables], weights)
    assert [layer.name for layer in model.layers] == names
    assert keras.Model(model.inputs, model.layers[-1].output) is not None


def test_weights_are_shared(branched_model, images):
    masked = mask(branched_model, {"first": np.ones(4), "gated": np.ones(8)})
    suffix, _ = after(branched_model, "gated")
    known = {id(variable) for variable in branched_model.variables}
    for view in (masked, suffix, read(branched_model, ["first"])):
        assert {id(variable) for variable in view.variables} <= known
    before = masked(images).numpy()
    kernel = branched_model.get_layer("scores").kernel
    masked.get_layer("scores").kernel.assign(kernel + 1.0)
    np.testing.assert_array_equal(masked(images), branched_model(images))
    assert np.abs(masked(images) - before).max() > 0.01


def test_after_starts_at_every_tap(model):
    arrays = inputs_of(model)
    for tap in find_taps(model):
        suffix, prefix = after(model, tap)
        assert_same(call(prefix, arrays)[0], call(read(model, [tap]), arrays)[0])
        assert_same(call(suffix, call(prefix, arrays)), call(model, arrays))


def test_after_starts_at_a_tap_that_has_the_name_of_another_layer():
    """`a` is read behind the tap `a` (the layer tap_a) too."""
    inputs = keras.Input((6,))
    linear = layers.Dense(4, name="a")(inputs)
    rectified = layers.ReLU(name="tap_a")(linear)
    model = randomize(keras.Model(inputs, layers.Dense(3)(layers.Add()([linear, rectified]))))
    (array,) = inputs_of(model)
    suffix, prefix = after(model, "a")
    np.testing.assert_array_equal(suffix(prefix(array)), model(array))


@pytest.mark.parametrize("make_view", ["mask", "read", "after"])
@pytest.mark.parametrize("name", ["branched", "nested", "shared", "residual"])
def test_new_models_save_and_load(make_view, name, branched_model, tmp_path):
    model = branched_model if name == "branched" else make(name)
    tap = list(find_taps(model))[-1]
    view = {
        "mask": lambda: mask(model, {tap: random_mask(units_of(model, tap))}),
        "read": lambda: read(model, list(find_taps(model))),
        "after": lambda: after(model, tap)[0],
    }[make_view]()
    view.save(tmp_path / "view.keras")
    loaded = keras.saving.load_model(tmp_path / "view.keras")
    arrays = inputs_of(view)
    assert_same(call(loaded, arrays), call(view, arrays))


def test_a_masked_model_can_be_masked_again():
    model = make("sequential")
    arrays = inputs_of(model)
    twice = mask(mask(model, {"first": [1, 1, 1, 1, 0]}), {"first": [0, 1, 1, 1, 1]})
    assert_same(call(twice, arrays), call(mask(model, {"first": [0, 1, 1, 1, 0]}), arrays))


def test_inner_models_that_use_the_same_names_are_refused():
    def inner(name):
        inputs = keras.Input((6,))
        return keras.Model(inputs, layers.Dense(5, "relu", name="hidden")(inputs), name=name)

    inputs = keras.Input((6,))
    model = randomize(keras.Model(inputs, layers.Dense(3)(inner("left")(inputs) - inner("right")(inputs))))
    with pytest.raises(
        ValueError, match="layers of different names in all nested models, received several named 'hidden'"
    ):
        mask(model, {"left/hidden": np.ones(5)})


def test_outputs_keep_their_structure():
    inputs = keras.Input((6,))
    hidden = layers.Dense(5, "relu", name="hidden")(inputs)
    model = keras.Model(inputs, {"first": layers.Dense(3)(hidden), "second": layers.Dense(2)(hidden)})
    masked = mask(model, {"hidden": np.ones(5)})
    assert isinstance(masked.output, dict)
    assert set(masked.output) == {"first", "second"}


def test_unknown_names_are_refused_with_the_known_ones(branched_model):
    for function in (
        lambda: read(branched_model, ["nothing"]),
        lambda: mask(branched_model, {"nothing": np.ones(4)}),
        lambda: after(branched_model, "nothing"),
    ):
        with pytest.raises(ValueError, match="expected taps or layers of 'branched', received 'nothing'; .*rectified"):
            function()


@pytest.mark.parametrize("shape", [(5,), (1,), (8, 8, 3), (1, 1, 4), ()])
def test_masks_of_the_wrong_shape_are_refused(shape, branched_model):
    with pytest.raises(ValueError, match=r"masks\['first'\]: expected shape \(4,\) or \(8, 8, 4\), received"):
        mask(branched_model, {"first": np.ones(shape)})


def test_a_tap_that_does_not_cut_the_input_off_is_refused():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(2)(layers.Add()([inputs, layers.Dense(4, "relu", name="h")(inputs)])))
    with pytest.raises(ValueError, match="expected a tap that cuts the model's input off, received 'h'; use mask"):
        after(model, "h")


def test_models_without_a_graph_are_refused():
    unbuilt = keras.Sequential([layers.Dense(3)])
    for function in (lambda: read(unbuilt, ["a"]), lambda: mask(unbuilt, {}), lambda: after(unbuilt, "a")):
        with pytest.raises(ValueError, match="expected a functional Keras model"):
            function()
