"""Cuts that are easy to get wrong, in the smallest networks that show it."""

import keras
import numpy as np
import pytest
from keras import layers
from sample_networks import randomize

from tfunits import surgery
from tfunits.surgery import fold_units, keep_units, mask, read, register, remove_units, widen


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(6, *shape)).astype("float32")


def difference(first, second, inputs) -> float:
    ours, expected = (np.asarray(model(inputs, training=False)) for model in (first, second))
    return np.abs(ours - expected).max() / np.abs(expected).max()


def flattened_by_channel() -> keras.Model:
    inputs = keras.Input((4, 4, 3))
    hidden = layers.Conv2D(4, 3, activation="relu", name="hidden")(inputs)
    rows = layers.Flatten(name="flat")(layers.Permute((3, 1, 2))(hidden))
    top = layers.Dense(5, "relu", name="top")(rows)
    return randomize(keras.Model(inputs, layers.Dense(3, name="scores")(top)))


@pytest.mark.parametrize("how", ["split", "balanced", "blocked_copy", "blocked_new", "silent"])
def test_units_whose_copies_would_stand_elsewhere_are_not_repeated(how):
    model = flattened_by_channel()
    wide = widen(model, how)
    assert difference(wide, model, images(4, 4, 3)) < 1e-5
    assert (wide.get_layer("hidden").filters, wide.get_layer("top").units) == (4, 10)
    with pytest.raises(ValueError, match="hidden: .* 'flat' puts copies away from their units"):
        widen(model, how, layers=["hidden"])


def test_removal_does_not_mind_where_they_stand():
    model = flattened_by_channel()
    thin = remove_units(model, {"hidden": [1, 2]})
    assert difference(thin, mask(model, {"hidden": [1, 0, 0, 1]}), images(4, 4, 3)) < 1e-5


def test_shuffled_channels_are_not_repeated():
    inputs = keras.Input((4, 4, 3))
    hidden = layers.Conv2D(8, 3, padding="same", activation="relu", name="hidden")(inputs)
    groups = layers.Permute((1, 2, 4, 3))(layers.Reshape((4, 4, 2, 4))(hidden))
    shuffled = layers.Reshape((4, 4, 8))(groups)
    model = randomize(keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(shuffled))))
    with pytest.raises(ValueError, match="model: expected a layer that can be widened, .* without any"):
        widen(model, "split")
    assert surgery.coupled_units(model, "hidden")[0].members == {"hidden": (0, 4)}


def test_constants_pass_a_layer_that_mixes_positions():
    inputs = keras.Input((5, 6))
    made = layers.Dense(7, "relu", name="made")(inputs)
    mixed = layers.Permute((2, 1))(layers.Dense(4, "tanh", name="mixed")(layers.Permute((2, 1))(made)))
    hidden = layers.Dense(3, name="hidden")(mixed)
    model = randomize(keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling1D()(hidden))))
    rest = np.ones(7)
    rest[[1, 2]] = 0
    inputs = images(5, 6)
    thin = remove_units(model, {"made": [1, 2]}, masked_at="layer")
    expected = mask(model, {"made": rest})
    assert difference(thin, expected, inputs) < 1e-5
    assert difference(remove_units(model, {"made": [1, 2]}), expected, inputs) > 1e-3


class Doubled(keras.Model):
    def call(self, inputs, training=None):
        return 2 * super().call(inputs)


def test_a_nested_model_with_a_call_of_its_own_is_no_open_book():
    ends = keras.Input((4,))
    inner = Doubled(ends, layers.Dense(4, name="within")(ends), name="inner")
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Dense(2, name="scores")(inner(layers.Dense(4, name="hidden")(inputs))))
    assert set(surgery.unit_layers(model)) == {"hidden", "scores"}
    with pytest.raises(ValueError, match="hidden: .* 'inner' reads it, a Doubled that no rule knows"):
        remove_units(model, {"hidden": [0]})


def slight(weights):
    return 0.01 * keras.ops.sum(weights**2)


def test_a_reader_with_functions_of_the_users_own_takes_constants():
    inputs = keras.Input((6, 6, 2))
    hidden = layers.BatchNormalization(name="norm")(layers.Conv2D(4, 3, name="hidden")(inputs))
    top = layers.Conv2D(3, 3, padding="same", kernel_regularizer=slight, use_bias=False, name="top")(hidden)
    model = randomize(keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(top))))
    thin = remove_units(model, {"hidden": [1]}, masked_at="layer")
    inputs = images(6, 6, 2)
    assert difference(thin, mask(model, {"hidden": [1, 0, 1, 1]}), inputs) < 1e-5
    assert thin.get_layer("top").kernel_regularizer is slight
    assert fold_units(model, "hidden", [0, 2], [1], inputs).get_layer("top").kernel_regularizer is slight


class Own(layers.Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, shape):
        self.w = self.add_weight(name="w", shape=(shape[-1], self.units))

    def call(self, inputs):
        return inputs @ self.w

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@pytest.fixture
def with_own_kernel():
    register(Own, surgery.Kernel("in", "out", size="units", kernel="w"))
    yield
    del surgery.RULES[Own]


def test_a_registered_kernel_is_cut_and_not_folded_into(with_own_kernel):
    inputs = keras.Input((5,))
    model = randomize(keras.Model(inputs, layers.Dense(2)(Own(4, name="own")(layers.Dense(6, name="hidden")(inputs)))))
    thin = remove_units(model, {"hidden": [2], "own": [0, 3]})
    expected = mask(model, {"hidden": [1, 1, 0, 1, 1, 1], "own": [0, 1, 1, 0]})
    assert difference(thin, expected, images(5)) < 1e-5
    assert difference(widen(model, "split"), model, images(5)) < 1e-5
    with pytest.raises(ValueError, match="own: expected dense layers and convolutions .* received a Own"):
        fold_units(model, "hidden", [0], [1], images(5))


def test_a_chunk_of_a_last_layer_with_other_weights_is_refused():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(3, name="scores")(layers.Dense(8, "relu")(inputs)))
    model.get_layer("scores").enable_lora(2)
    with pytest.raises(ValueError, match="expected a last layer that surgery knows, received 'scores'"):
        surgery.chunk(model, [0, 1])


def test_units_that_are_kept_are_not_removed_through_others():
    inputs = keras.Input((4,))
    left, right = (layers.Dense(5, name=name)(inputs) for name in ("left", "right"))
    model = keras.Model(inputs, layers.Dense(2)(layers.Add()([left, right])))
    with pytest.raises(ValueError, match="left: expected units that no other layer's choice removes"):
        keep_units(model, {"left": [0, 1, 2], "right": [2, 3]})
    assert keep_units(model, {"left": [0, 1], "right": [0, 1]}).get_layer("left").units == 2


def test_new_units_have_the_spread_of_their_layer_and_biases_of_their_own():
    inputs = keras.Input((200,))
    hidden = layers.Dense(300, "relu", name="hidden")(layers.Dense(200, name="first")(inputs))
    model = randomize(keras.Model(inputs, layers.Dense(2)(hidden)))
    kernel, bias = widen(model, "blocked_new").get_layer("hidden").get_weights()
    before = model.get_layer("hidden").kernel.numpy()
    assert kernel[:, 1::2].std() == pytest.approx(before.std(), rel=0.02)
    assert np.abs(bias[1::2] - bias[::2]).min() > 0


def test_what_is_padded_by_a_layer_is_folded_exactly():
    inputs = keras.Input((5, 5, 2))
    hidden = layers.Conv2D(3, 1, name="hidden")(inputs)
    model = randomize(keras.Model(inputs, layers.Flatten()(layers.Conv2D(4, 3)(layers.ZeroPadding2D()(hidden)))))
    kernel, bias = model.get_layer("hidden").get_weights()
    kernel[..., 1], bias[1] = 2 * kernel[..., 0], 2 * bias[0] + 0.5
    model.get_layer("hidden").set_weights([kernel, bias])
    inputs = images(5, 5, 2)
    assert difference(fold_units(model, "hidden", [0, 2], [1], inputs), model, inputs) < 1e-5
    assert difference(fold_units(model, "hidden", [0, 2], [1], inputs, intercept=False), model, inputs) > 1e-3


def test_one_unit_with_a_slope_is_repeated():
    inputs = keras.Input((4,))
    hidden = layers.PReLU(name="slope")(layers.Dense(1, name="hidden")(inputs))
    model = randomize(keras.Model(inputs, layers.Dense(2)(hidden)))
    wide = widen(model, "split", layers=["hidden"], factor=3)
    assert wide.get_layer("slope").alpha.shape == (3,)
    assert difference(wide, model, images(4)) < 1e-5


def test_a_bias_by_position_is_cut_along_the_units():
    inputs = keras.Input((2, 9, 9))
    hidden = layers.BatchNormalization(axis=1)(layers.Conv2D(4, 3, data_format="channels_first", name="hidden")(inputs))
    top = layers.Conv2D(5, 3, padding="same", data_format="channels_first", name="top")(hidden)
    model = randomize(keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D("channels_first")(top))))
    once = remove_units(model, {"hidden": [1]}, masked_at="layer")
    twice = remove_units(once, {"top": [3]})
    assert twice.get_layer("top_shift").bias.shape[0] == 4
    inputs = images(2, 9, 9)
    expected = read(once, ["top_shift"])(inputs)["top_shift"]
    np.testing.assert_allclose(
        read(twice, ["top_shift"])(inputs)["top_shift"], np.delete(expected, 3, axis=1), rtol=1e-4, atol=1e-4
    )


def test_a_list_of_names_is_refused_in_one_line():
    model = flattened_by_channel()
    for layers_given in ("hidden", ["hidden"]):
        with pytest.raises(TypeError, match="layers: expected a dict, layer -> indices"):
            remove_units(model, layers_given)
    with pytest.raises(TypeError, match="layers: expected a list of names, received 'hidden'"):
        widen(model, layers="hidden")


class Glu(layers.Layer):
    """The README's example: the first half of the units times a gate of the second."""

    def build(self, shape):
        self.w = self.add_weight(name="w", shape=(shape[-1] // 2,), initializer="ones")

    def call(self, inputs):
        first, second = keras.ops.split(inputs, 2, axis=-1)
        return first * keras.ops.sigmoid(self.w * second)

    def compute_output_shape(self, shape):
        return (*shape[:-1], shape[-1] // 2)


class GluRule(surgery.Rule):
    def couple(self, call, units):
        *others, ids = units.layouts[call.inputs[0]]
        halves = [None, None] if ids is None else ids.reshape(2, -1)
        made = units.tie(*halves, "it is no unit")
        units.slot(call.operation, "units", made)
        units.set(call, [*others, made])

    def weight_axes(self, layer):
        return {"w": ("units",)}


def test_the_readmes_rule_of_ones_own():
    register(Glu, GluRule())
    try:
        inputs = keras.Input((5,))
        hidden = Glu(name="glu")(layers.Dense(6, name="hidden")(inputs))
        model = randomize(keras.Model(inputs, layers.Dense(2)(hidden)))
        assert surgery.coupled_units(model, "hidden")[1].members == {"hidden": (1, 4)}
        thin = remove_units(model, {"hidden": [1]})
        assert thin.get_layer("hidden").units == 4
        assert difference(thin, mask(model, {"glu": [1, 0, 1]}), images(5)) < 1e-5
        assert difference(thin, model, images(5)) > 1e-3
    finally:
        del surgery.RULES[Glu]
