"""Wider models compute the same function, with the weights that theory asks for (DESIGN section 6)."""

import re
from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import layers
from masked_models import CLOSE, assert_same_function, assert_visible, difference, saved_and_loaded, weights_of
from sample_networks import NETWORKS, call, chain, inputs_of, randomize

from tfunits import layers as own
from tfunits import measures, models
from tfunits.surgery import coupled_units, fold_units, keep_units, mask, read, remove_units, unit_layers, widen

HOW = ("balanced", "blocked_copy", "blocked_new", "silent", "split")
COPIES = ("balanced", "blocked_copy", "split")
BLOCKED = ("blocked_copy", "blocked_new")
FACTORS = (1, 1.5, 2, 3)
IMAGE = (6, 6, 2)


# Networks of every kind; each activation is 0 at 0, so that silent units are silent.


def mlp() -> keras.Model:
    return chain(
        layers.Dense(5, "relu", name="first"), layers.Dense(4, "tanh", name="second"), layers.Dense(3, name="scores")
    )


def convolutional() -> keras.Model:
    return chain(
        layers.Conv2D(4, 3, padding="same", use_bias=False, name="first"), layers.BatchNormalization(name="norm"),
        layers.ReLU(), layers.MaxPooling2D(2), layers.Conv2D(5, 2, name="second"),
        layers.BatchNormalization(scale=False, name="unscaled"), layers.PReLU(),
        layers.Flatten(), layers.Dense(6, "swish", name="hidden"), layers.Dense(3, name="scores"),
        shape=IMAGE,
    )  # fmt: skip


def normalized() -> keras.Model:
    return chain(
        layers.Conv2D(4, 3, name="first"), layers.GroupNormalization(2), layers.ReLU(),
        layers.Conv2D(6, 2, name="second"), layers.LayerNormalization(), layers.GroupNormalization(-1),
        layers.Conv2D(4, 2, name="third"), layers.RMSNormalization(), own.LocalResponseNormalization(radius=1),
        layers.GlobalAveragePooling2D(), layers.Dense(3, name="scores"), shape=IMAGE,
    )  # fmt: skip


def gated() -> keras.Model:
    """Depthwise convolutions, and attention over channels."""
    inputs = keras.Input(IMAGE)
    tensor = layers.Conv2D(4, 1, activation="relu", name="expanded")(inputs)
    tensor = layers.ReLU(6.0)(layers.DepthwiseConv2D(3, name="depthwise")(tensor))
    squeezed = layers.GlobalAveragePooling2D(keepdims=True)(tensor)
    squeezed = layers.Conv2D(2, 1, activation="relu", name="squeezed")(squeezed)
    tensor = layers.Multiply()([tensor, layers.Conv2D(4, 1, activation="sigmoid", name="gate")(squeezed)])
    tensor = layers.SeparableConv2D(6, 2, activation="relu", name="separable")(tensor)
    return keras.Model(inputs, layers.Dense(3, name="scores")(layers.Flatten()(tensor)))


def grouped() -> keras.Model:
    return chain(
        layers.Conv2D(4, 1, name="before"), layers.Conv2D(8, 3, groups=2, activation="relu", name="grouped"),
        layers.Conv2DTranspose(4, 2, activation="relu", name="transposed"), layers.Flatten(),
        layers.Dense(3, name="scores"), shape=IMAGE,
    )  # fmt: skip


def joined() -> keras.Model:
    """The given channels beside units, and units twice."""
    inputs = keras.Input(IMAGE)
    first = layers.Conv2D(4, 3, padding="same", activation="relu", name="first")(inputs)
    both = layers.Concatenate()([inputs, first])
    second = layers.Conv2D(2, 3, padding="same", activation="tanh", name="second")(both)
    tensor = layers.Flatten()(layers.Concatenate()([first, second, both]))
    return keras.Model(inputs, layers.Dense(3, name="scores")(tensor))


def shared() -> keras.Model:
    """A nested model called twice, with a layer inside that is called on its own output."""
    inner_inputs = keras.Input((4,))
    twice = layers.Dense(4, "tanh", name="twice")
    stem = layers.Dense(4, "relu", name="stem")(inner_inputs)
    block = keras.Sequential([keras.Input((4,)), layers.Dense(6, "relu", name="deep")], name="block")
    inner = keras.Model(inner_inputs, block(twice(twice(stem))), name="inner")
    given = [keras.Input((4,)), keras.Input((4,))]
    joined = layers.Concatenate()([inner(tensor) for tensor in given])
    return keras.Model(given, layers.Dense(3, name="scores")(joined))


def words() -> keras.Model:
    inputs = keras.Input((12,), dtype="int32")
    embedded = layers.Embedding(7, 4, name="embedded")(inputs)
    hidden = layers.Conv1D(4, 3, activation="relu", name="hidden")(embedded)
    return keras.Model(inputs, layers.Dense(3, name="scores")(layers.GlobalMaxPooling1D()(hidden)))


def alexnet() -> keras.Model:
    return models.build("alexnet", size=0.125, input_shape=(32, 32, 3), num_classes=3)


BUILDERS: dict[str, Callable[[], keras.Model]] = {
    **{build.__name__: build for build in (mlp, convolutional, normalized, gated, grouped, joined, shared, words)},
    **{name: NETWORKS[name] for name in ("sequential", "residual", "two_inputs", "two_outputs")},
}
SHARED_OUT: dict[str, keras.Model] = {}


def network(name: str) -> keras.Model:
    """One model for all tests, which none of them may change."""
    if name not in SHARED_OUT:
        SHARED_OUT[name] = randomize(BUILDERS[name]())
    return SHARED_OUT[name]


def arrays_of(model: keras.Model) -> list[np.ndarray]:
    return inputs_of(model, 6)


def weights_by_name(model: keras.Model) -> dict[str, np.ndarray]:
    return {v.path: v.numpy() for v in model.variables if "seed" not in v.path}


def free_layers(model: keras.Model) -> dict[str, int]:
    """Layers all of whose units can go, and how many they have."""
    counts = unit_layers(model)
    return {n: c for n, c in counts.items() if all(u.reason is None for u in coupled_units(model, n))}


def plain(layer_name: str) -> str:
    """The name of a layer in a model that is laid open."""
    return layer_name.rpartition("/")[2].partition("#")[0]


# The function.


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", BUILDERS)
def test_wider_models_compute_the_same_function(name, how, factor):
    model = network(name)
    arrays = arrays_of(model)
    before = [value.numpy() for value in model.variables]
    wide = widen(model, how, factor=factor)
    assert difference(call(wide, arrays), call(model, arrays)) < CLOSE
    for value, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(variable, value)
    counts = {plain(layer): count for layer, count in unit_layers(wide).items()}
    free = free_layers(model)
    for layer, count in unit_layers(model).items():
        assert counts[plain(layer)] == (int(count * factor) if layer in free else count), layer
    assert free
    assert (wide.count_params() > model.count_params()) == (factor > 1)


@pytest.mark.parametrize(("how", "factor"), [("split", 2), ("balanced", 1.5), ("blocked_new", 3), ("silent", 2)])
def test_our_alexnet(how, factor):
    """With response normalisation that does not see copies, and weights of its own initialiser."""
    model = alexnet()
    # As large as the weights themselves: float32 loses what cancels beside larger ones.
    wide = widen(model, how, factor=factor, offset=0.02)
    arrays = inputs_of(model, 3)
    assert difference(call(wide, arrays), call(model, arrays)) < CLOSE
    for layer, count in unit_layers(model).items():
        assert unit_layers(wide)[layer] == (int(count * factor) if layer != "logits" else count)


@pytest.mark.parametrize("name", ["mlp", "convolutional", "normalized", "gated", "joined"])
def test_outgoing_weights_are_what_keeps_the_function(name):
    """Negative control: of a widened model, half of the units alone compute another function."""
    model = network(name)
    wide = widen(model, "split")
    layer = next(iter(free_layers(model)))
    count = unit_layers(model)[layer]
    assert_visible(model, keep_units(wide, {layer: range(0, 2 * count, 2)}), arrays_of(model))


@pytest.mark.parametrize("how", HOW)
def test_a_wide_model_is_one_of_its_own(how, tmp_path):
    model = network("convolutional")
    wide = widen(model, how)
    assert wide.name == f"{model.name}_wide"
    assert widen(wide, how).name == wide.name
    arrays = arrays_of(model)
    loaded = saved_and_loaded(wide, tmp_path)
    assert difference(call(loaded, arrays), call(wide, arrays)) < CLOSE
    before = [value.numpy() for value in model.variables]
    wide.compile(optimizer="sgd", loss="mse")
    wide.fit(arrays[0], np.ones((6, 3)), epochs=1, verbose=0)
    assert difference(call(wide, arrays), call(loaded, arrays)) > CLOSE
    for value, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_widening_twice():
    model = network("normalized")
    assert_same_function(widen(widen(model, "split", factor=1.5), "balanced"), model, arrays_of(model))


# Which units.


@pytest.mark.parametrize(
    ("factor", "positions"),
    [(1, [0, 1, 2, 3, 4]), (1.2, [0, 0, 1, 2, 3, 4]), (1.5, [0, 0, 1, 1, 2, 3, 4]), (1.99, [0, 0, 1, 1, 2, 2, 3, 3, 4]),
     (2, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]), (2.4, [0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 4, 4]),
     (3, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4])],
)  # fmt: skip
def test_copies_stand_behind_their_units(factor, positions):
    model = network("mlp")
    for how in COPIES:
        wide = widen(model, how, factor=factor, layers=["first"])
        for before, after in zip(weights_of(model, "first"), weights_of(wide, "first"), strict=True):
            np.testing.assert_array_equal(after, before[..., positions])


def test_one_layer_alone():
    model = network("convolutional")
    for layer in ("first", "second", "hidden"):
        for how in HOW:
            wide = widen(model, how, layers=[layer])
            assert unit_layers(wide) == {**unit_layers(model), layer: 2 * unit_layers(model)[layer]}
            assert_same_function(wide, model, arrays_of(model))
    both = widen(model, layers=["hidden", "first"], factor=1.5)
    assert unit_layers(both) == {"first": 6, "second": 5, "hidden": 9, "scores": 3}


def test_tied_units_are_widened_together():
    inputs = keras.Input((6,))
    stem = layers.Dense(4, name="stem")(inputs)
    inside = layers.Dense(3, "relu", name="inside")(stem)
    stream = layers.Add(name="sum")([stem, layers.Dense(4, name="out")(inside)])
    model = randomize(keras.Model(inputs, layers.Dense(2, name="head")(stream)))
    for name in ("stem", "out", "sum"):
        wide = widen(model, layers=[name], factor=1.5)
        assert unit_layers(wide) == {"stem": 6, "inside": 3, "out": 6, "head": 2}
        assert_same_function(wide, model)


# The weights.


@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("how", HOW)
def test_weights_of_dense_layers(how, factor):
    """DESIGN section 6: incoming and outgoing weights of the units and of those that stand behind them."""
    model = network("mlp")
    wide = widen(model, how, factor=factor, offset=0.7, layers=["first"])
    incoming, bias = weights_of(model, "first")
    outgoing, following = weights_of(model, "second")
    found, found_bias = weights_of(wide, "first")
    parts = [found[:, i::factor] for i in range(factor)]
    np.testing.assert_array_equal(parts[0], incoming)
    np.testing.assert_array_equal(found_bias[::factor], bias)
    for i in range(1, factor):
        if how == "silent":
            np.testing.assert_array_equal(parts[i], 0)
            np.testing.assert_array_equal(found_bias[i::factor], 0)
        elif how == "blocked_new":
            assert np.abs(parts[i] - incoming).min() > 1e-3
        else:
            np.testing.assert_array_equal(parts[i], incoming)
            np.testing.assert_array_equal(found_bias[i::factor], bias)
    expected = {
        "split": [outgoing / factor] * factor,
        "blocked_copy": [outgoing] + [0 * outgoing] * (factor - 1),
        "blocked_new": [outgoing] + [0 * outgoing] * (factor - 1),
        "silent": [outgoing] * factor,
        "balanced": [outgoing / factor + b for b in {2: (0.7, -0.7), 3: (0.7, 0, -0.7)}[factor]],
    }[how]
    after = weights_of(wide, "second")[0]
    for i in range(factor):
        np.testing.assert_allclose(after[i::factor], expected[i], rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(weights_of(wide, "second")[1], following)


@pytest.mark.parametrize("how", HOW)
def test_units_without_a_copy_keep_their_weights(how):
    """With half as many more, the last units stay alone."""
    model = network("mlp")
    wide = widen(model, how, factor=1.5, layers=["first"])
    np.testing.assert_array_equal(weights_of(wide, "first")[0][:, 4:], weights_of(model, "first")[0][:, 2:])
    np.testing.assert_array_equal(weights_of(wide, "second")[0][4:], weights_of(model, "second")[0][2:])
    if how in ("split", "balanced"):
        assert (weights_of(wide, "second")[0][:4:2] != weights_of(model, "second")[0][:2]).all()


@pytest.mark.parametrize("offset", [0.0, 0.3, 20.0])
def test_balanced_offsets(offset):
    model = network("mlp")
    wide = widen(model, "balanced", offset=offset)
    after = weights_of(wide, "scores")[0]
    np.testing.assert_allclose((after[::2] - after[1::2]) / 2, offset, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(after[::2] + after[1::2], weights_of(model, "scores")[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("how", HOW)
def test_weights_of_convolutions_and_flattened_maps(how):
    model = network("convolutional")
    wide = widen(model, how, layers=["second"], offset=0.3)
    kernel = weights_of(model, "second")[0]
    found = weights_of(wide, "second")[0]
    assert found.shape == (2, 2, 4, 10)
    np.testing.assert_array_equal(found[..., ::2], kernel)
    outgoing = weights_of(model, "hidden")[0].reshape(4, 5, 6)
    after = weights_of(wide, "hidden")[0].reshape(4, 10, 6)
    first, second = {
        "split": (outgoing / 2, outgoing / 2),
        "balanced": (outgoing / 2 + 0.3, outgoing / 2 - 0.3),
        "silent": (outgoing, outgoing),
    }.get(how, (outgoing, 0 * outgoing))
    np.testing.assert_allclose(after[:, ::2], first, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(after[:, 1::2], second, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "tensors"),
    [
        ("mlp", {"first": 5, "second": 4}),
        ("convolutional", {"norm": 4, "unscaled": 5, "hidden": 6}),
        ("gated", {"expanded": 4, "depthwise": 4, "squeezed": 2, "separable": 6}),
        ("grouped", {"grouped": 8, "transposed": 4}),
        ("words", {"embedded": 4, "hidden": 4}),
    ],
)
def test_silent_units_are_silent(name, tensors):
    """They are 0 for every input; all others are what they were."""
    model = network(name)
    arrays = arrays_of(model)
    wide = widen(model, "silent")
    before, after = (read(m, list(tensors))(arrays[0]) for m in (model, wide))
    for tensor, count in tensors.items():
        values = after[tensor].numpy()
        assert values.shape[-1] == 2 * count
        assert not values[..., 1::2].any(), tensor
        np.testing.assert_allclose(values[..., ::2], before[tensor], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("how", COPIES)
def test_copies_do_what_their_units_do(how):
    for name, tensors in (("convolutional", ["norm", "second", "hidden"]), ("gated", ["depthwise", "separable"])):
        model = network(name)
        arrays = arrays_of(model)
        before, after = (read(m, tensors)(arrays[0]) for m in (model, widen(model, how)))
        for tensor in tensors:
            expected = np.repeat(before[tensor].numpy(), 2, axis=-1)
            np.testing.assert_allclose(after[tensor], expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_new_units_are_no_copies_and_are_drawn_from_the_seed():
    model = network("mlp")
    first, again, other = (widen(model, "blocked_new", seed=seed) for seed in (0, 0, 1))
    values = [weights_by_name(m) for m in (first, again, other)]
    for path in values[0]:
        np.testing.assert_array_equal(values[0][path], values[1][path])
    assert np.abs(weights_of(first, "first")[0][:, 1::2] - weights_of(other, "first")[0][:, 1::2]).min() > 1e-4
    np.testing.assert_array_equal(weights_of(first, "first")[0][:, ::2], weights_of(other, "first")[0][:, ::2])
    # What is read is not.
    np.testing.assert_array_equal(weights_of(first, "scores")[0], weights_of(other, "scores")[0])
    for how in ("split", "silent"):
        kernels = [weights_of(widen(model, how, seed=seed), "second")[0] for seed in (0, 1)]
        np.testing.assert_array_equal(*kernels)


@pytest.mark.parametrize(
    ("name", "layer", "axis"),
    [
        ("convolutional", "second", -1),
        ("gated", "depthwise", -2),
        ("grouped", "transposed", -2),
        ("words", "embedded", -1),
    ],
)
def test_new_units_of_every_kind_of_layer(name, layer, axis):
    """What makes a unit, or follows it alone, is new behind it; not so where copies are added."""
    model = network(name)
    for how, is_new in (("blocked_new", True), ("blocked_copy", False)):
        kernel = weights_of(widen(model, how, layers=[layer]), layer)[0]
        units = np.moveaxis(kernel, axis, 0)
        np.testing.assert_array_equal(units[::2], np.moveaxis(weights_of(model, layer)[0], axis, 0))
        assert (units[1::2] != units[::2]).all() == is_new
        assert (units[1::2] == units[::2]).all() != is_new


def test_new_units_have_the_mean_and_variance_of_their_layer(rng):
    model = chain(layers.Dense(300, "relu", name="hidden"), layers.Dense(3), shape=(50,))
    kernel = rng.normal(0.5, 0.2, size=(50, 300))
    model.get_layer("hidden").kernel.assign(kernel)
    new = weights_of(widen(model, "blocked_new"), "hidden")[0][:, 1::2]
    assert new.mean() == pytest.approx(0.5, abs=0.01)
    assert new.std() == pytest.approx(0.2, abs=0.01)
    columns = np.corrcoef(new, rowvar=False)
    assert np.abs(columns - np.eye(300)).max() < 0.7
    # In a layer between, what new units read is theirs too, but of the units before only what is not blocked matters.
    wide = widen(network("mlp"), "blocked_new")
    before = weights_of(network("mlp"), "second")[0]
    assert np.abs(weights_of(wide, "second")[0][::2, 1::2] - before).min() > 1e-4
    np.testing.assert_array_equal(weights_of(wide, "second")[0][::2, ::2], before)
    np.testing.assert_array_equal(weights_of(wide, "second")[0][1::2, ::2], 0)


# What theory says (DESIGN section 6), on a small classifier.

UNITS = 10


def widen_hidden(model: keras.Model, how: str, **options: float) -> keras.Model:
    return widen(model, how, layers=["hidden"], **options)


@pytest.fixture(scope="module")
def classifier() -> keras.Model:
    """With a layer behind the widened one: an offset of all classes' scores would change no class."""
    parts = [layers.Dense(UNITS, "relu", name="hidden"), layers.Dense(8, "tanh"), layers.Dense(3, name="top")]
    return randomize(chain(*parts), seed=0)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(1200, 6)).astype("float32")


def classes(model: keras.Model, vectors: np.ndarray) -> np.ndarray:
    return model(vectors).numpy().argmax(axis=1)


@pytest.mark.parametrize("how", HOW)
def test_masking_blocked_or_silent_units_changes_no_class(how, classifier, vectors):
    wide = widen_hidden(classifier, how, offset=2.0)
    masked = mask(wide, {"hidden": np.tile([1, 0], UNITS)})
    agreement = (classes(masked, vectors) == classes(classifier, vectors)).mean()
    if how in (*BLOCKED, "silent"):
        assert agreement == 1
    elif how == "balanced":
        assert agreement < 0.9
    # Without their units, copies alone do not do.
    others = mask(wide, {"hidden": np.tile([0, 1], UNITS)})
    if how != "split":
        assert (classes(others, vectors) == classes(classifier, vectors)).mean() < 0.9


@pytest.mark.parametrize("how", [*COPIES, "silent"])
def test_each_copy_or_silent_unit_is_redundant(how, classifier, vectors):
    rows = [measures.redundancy(m, vectors).rows["hidden"] for m in (classifier, widen_hidden(classifier, how))]
    assert rows[1]["redundant_units"] == rows[0]["redundant_units"] + UNITS


def test_new_units_are_not_redundant_for_being_blocked(classifier, vectors):
    rows = [
        measures.redundancy(m, vectors).rows["hidden"] for m in (classifier, widen_hidden(classifier, "blocked_new"))
    ]
    assert rows[1]["redundant_units"] < rows[0]["redundant_units"] + UNITS


@pytest.mark.parametrize("how", COPIES)
def test_copies_take_similarity_s_to_2s_plus_1(how, classifier, vectors):
    before, after = (
        measures.similarity(m, vectors).rows["hidden"]["similar"] for m in (classifier, widen_hidden(classifier, how))
    )
    assert before > 0
    assert after == pytest.approx(2 * before + 1)


def test_balanced_offsets_lower_the_curve_and_sharing_raises_it(classifier, vectors):
    """Agreement with half of the units masked at random: the larger b, the lower."""

    def agreement(model: keras.Model) -> float:
        generator = np.random.default_rng(3)
        same = []
        for _ in range(10):
            masked = mask(model, {"hidden": generator.permutation(np.repeat([0, 1], UNITS))})
            same.append((classes(masked, vectors) == classes(classifier, vectors)).mean())
        return float(np.mean(same))

    found = [agreement(widen_hidden(classifier, "balanced", offset=b)) for b in (0.0, 2.0, 10.0)]
    assert found[0] > found[1] > found[2]
    assert agreement(widen_hidden(classifier, "split")) == pytest.approx(found[0])


# And back.


@pytest.mark.parametrize(
    "name", ["mlp", "convolutional", "normalized", "gated", "grouped", "joined", "words", "residual"]
)
@pytest.mark.parametrize("how", ["blocked_copy", "blocked_new", "silent"])
def test_removing_what_was_added_restores_the_network(how, name):
    model = network(name)
    wide = widen(model, how)
    added = {layer: range(1, 2 * count, 2) for layer, count in free_layers(model).items()}
    thin = remove_units(wide, added)
    assert thin.count_params() == model.count_params()
    assert_same_function(thin, model, arrays_of(model))
    for before, after in zip(model.variables, thin.variables, strict=True):
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("how", COPIES)
def test_folding_copies_restores_the_network(how):
    """One layer after another; the outgoing weights of copies are added again."""
    model = network("convolutional")
    arrays = inputs_of(model, 40)
    thin = widen(model, how)
    for layer, count in free_layers(model).items():
        thin = fold_units(thin, layer, range(0, 2 * count, 2), range(1, 2 * count, 2), arrays[0], intercept=False)
    assert thin.count_params() == model.count_params()
    assert_same_function(thin, model, arrays)
    for before, after in zip(model.variables, thin.variables, strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-3)


# What cannot be widened.


@keras.saving.register_keras_serializable(package="tests")
class Reverse(keras.layers.Layer):
    """A layer that surgery knows nothing of."""

    def call(self, inputs: object) -> object:
        return inputs[..., ::-1]


def test_refused_arguments():
    model = network("mlp")
    with pytest.raises(ValueError, match="how: expected one of balanced, blocked_copy, .* received 'double'"):
        widen(model, "double")
    for factor in (0.5, -1, float("nan")):
        with pytest.raises(ValueError, match=f"factor: expected at least 1, received {factor}"):
            widen(model, factor=factor)
    with pytest.raises(ValueError, match="layers: expected layers of .* received 'absent'; .* first, second, scores"):
        widen(model, layers=["absent"])
    message = "scores: expected units that can be repeated, received units that cannot, since it is the model's output"
    with pytest.raises(ValueError, match=message):
        widen(model, layers=["first", "scores"])
    with pytest.raises(ValueError, match="model: expected a functional Keras model"):
        widen(keras.Sequential([layers.Dense(3)]))


@pytest.mark.parametrize(
    ("reader", "reason"),
    [
        (lambda: Reverse(name="reader"), "'reader' reads it, a Reverse that no rule knows"),
        (lambda: layers.DepthwiseConv2D(2, depth_multiplier=2, name="reader"), "'reader' has a depth multiplier"),
        (lambda: layers.SeparableConv2D(4, 2, depth_multiplier=2, name="reader"), "'reader' has a depth multiplier"),
        (lambda: layers.UnitNormalization(name="reader"), "'reader' divides by the length of all units"),
        (lambda: layers.Softmax(name="reader"), "'reader' mixes it with the others"),
    ],
)
def test_units_that_cannot_be_repeated_are_named_or_passed_over(reader, reason):
    model = randomize(
        chain(layers.Conv2D(4, 3, name="before"), reader(), layers.Conv2D(4, 2, name="behind"),
              layers.GlobalAveragePooling2D(), layers.Dense(3, name="scores"), shape=IMAGE)
    )  # fmt: skip
    with pytest.raises(
        ValueError,
        match=re.escape(f"received units that cannot, since {reason}"),
    ):
        widen(model, layers=["before"])
    wide = widen(model)
    assert unit_layers(wide)["before"] == 4
    assert unit_layers(wide)["behind"] == 8
    assert_same_function(wide, model)


def test_a_model_without_units_to_repeat():
    model = chain(layers.Dense(3, name="scores"), layers.Softmax())
    with pytest.raises(ValueError, match=f"model: expected a layer that can be widened, received '{model.name}'"):
        widen(model)
    assert_same_function(widen(model, factor=1), model)


@pytest.mark.parametrize(
    "part", [lambda: layers.Dense(4, "sigmoid", name="hidden"), lambda: layers.Dense(4, "softplus", name="hidden")]
)
def test_silent_units_need_an_activation_that_is_0_at_0(part):
    model = randomize(chain(part(), layers.Dense(3)))
    with pytest.raises(ValueError, match="how: 'silent': expected activations that are 0 at 0, .* use 'blocked_copy'"):
        widen(model, "silent")
    for how in ("blocked_copy", "blocked_new", "split", "balanced"):
        assert_same_function(widen(model, how), model)


def test_silent_units_behind_words():
    """What is tried are words of the smallest table."""
    inputs = keras.Input((60,), dtype="int32")
    embedded = layers.Embedding(1, 4, name="embedded")(inputs)
    hidden = layers.Dense(3, "relu", name="hidden")(layers.GlobalAveragePooling1D()(embedded))
    model = randomize(keras.Model(inputs, layers.Dense(2)(hidden)))
    wide = widen(model, "silent")
    array = np.zeros((2, 60), "int32")
    np.testing.assert_allclose(wide(array), model(array), rtol=1e-5)
