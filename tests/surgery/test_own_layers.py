"""Layers and functions of a user's own: refused until a rule is registered, or taken for what they compute."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from masked_models import assert_removed
from sample_networks import around, randomize

from tfunits.surgery import RULES, Kernel, PerUnit, Rule, register, remove_units, unit_layers

GONE = [1, 4]
VECTOR, SEQUENCE = (7,), (8, 3)


@keras.saving.register_keras_serializable("test_own_layers")
class Scaled(layers.Layer):
    def build(self, shape):
        self.factor = self.add_weight(shape=(shape[-1],), initializer="ones", name="factor")

    def call(self, inputs):
        return inputs * self.factor


class Projected(layers.Layer):
    """A dense layer with its kernel the other way round and another name for its size."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width

    def build(self, shape):
        self.kernel = self.add_weight(shape=(self.width, shape[-1]), name="kernel")
        self.bias = self.add_weight(shape=(self.width,), name="bias")

    def call(self, inputs):
        return ops.matmul(inputs, ops.transpose(self.kernel)) + self.bias

    def get_config(self):
        return {**super().get_config(), "width": self.width}


class Interleaved(layers.Layer):
    """Units twice, one beside the other."""

    def call(self, inputs):
        return ops.repeat(inputs, 2, axis=-1)


class Twice(Rule):
    def couple(self, call, units):
        layout = list(units.layouts[call.inputs[0]])
        layout[-1] = None if layout[-1] is None else np.repeat(layout[-1], 2)
        units.set(call, layout)


@pytest.fixture
def rules():
    """What a test registers is forgotten behind it."""
    before = dict(RULES)
    yield RULES
    RULES.clear()
    RULES.update(before)


def test_a_layer_that_no_rule_knows_is_refused_until_one_is_registered(rules):
    model = around(Scaled(name="scaled"), SEQUENCE)
    with pytest.raises(ValueError, match="'scaled' reads it, a Scaled that no rule knows; tfunits.surgery.register"):
        remove_units(model, {"made": GONE})
    register(Scaled, PerUnit("factor"))
    thin = assert_removed(model, {"made": GONE}, {"between": GONE})
    kept = np.delete(model.get_layer("scaled").factor.numpy(), GONE)
    np.testing.assert_array_equal(thin.get_layer("scaled").factor, kept)


def test_a_registered_kernel(rules):
    register(Projected, Kernel("out", "in", size="width", is_dense=True))
    model = around(Projected(5, name="projected"), SEQUENCE)
    assert unit_layers(model) == {"made": 6, "projected": 5, "head": 3}
    thin = assert_removed(model, {"made": GONE, "projected": [0]}, {"made": GONE, "between": [0]})
    assert thin.get_layer("projected").width == 4
    assert thin.get_layer("projected").kernel.shape == (4, 4)


def test_a_registered_rule_of_ones_own(rules):
    register(Interleaved, Twice())
    model = around(Interleaved(), VECTOR)
    assert_removed(model, {"made": GONE}, {"between": [2, 3, 8, 9]})


def test_an_unknown_layer_elsewhere_is_kept_with_its_weights():
    inputs = keras.Input(SEQUENCE)
    scaled = Scaled(name="scaled")(inputs)
    hidden = layers.Dense(6, "tanh", name="hidden")(layers.LSTM(5, return_sequences=True, name="memory")(scaled))
    model = randomize(keras.Model(inputs, Scaled(name="scaled_again")(layers.Dense(2, name="head")(hidden))))
    thin = assert_removed(model, {"hidden": GONE}, {"hidden": GONE})
    for name in ("scaled", "memory", "scaled_again"):
        for before, after in zip(model.get_layer(name).weights, thin.get_layer(name).weights, strict=True):
            np.testing.assert_array_equal(before, after)


def test_a_subclass_is_taken_for_its_base_only_where_it_computes_the_same():
    class Named(layers.Dense):
        """Another name, the same arithmetic."""

    class Standardized(layers.Conv1D):
        """The documented way to change a convolution's kernel."""

        def convolution_op(self, inputs, kernel):
            return super().convolution_op(inputs, kernel - ops.mean(kernel, axis=(0, 1), keepdims=True))

    class Normed(layers.Dense):
        def call(self, inputs):
            return super().call(inputs / (1.0 + ops.sum(ops.abs(inputs), axis=-1, keepdims=True)))

    class Tempered(layers.Dense):
        def __call__(self, inputs):
            return super().__call__(ops.normalize(inputs))

    model = around(Named(5, name="named"), SEQUENCE)
    assert_removed(model, {"made": GONE, "named": [2]}, {"made": GONE, "between": [2]})
    for build in (Standardized(5, 2, name="changed"), Normed(5, name="changed")):
        model = around(build, SEQUENCE)
        with pytest.raises(ValueError, match=f"'changed' reads it, a {type(build).__name__} that no rule knows"):
            remove_units(model, {"made": GONE})
        assert "changed" not in unit_layers(model)
    model = around(Tempered(5, name="changed"), SEQUENCE)
    with pytest.raises(ValueError, match="made: expected units that can be removed"):
        remove_units(model, {"made": GONE})


def test_a_layer_with_weights_beside_those_that_its_rule_knows_is_refused():
    class Gated(layers.Dense):
        def __init__(self, units, **kwargs):
            super().__init__(units, **kwargs)
            self.gate = self.add_weight(shape=(), name="gate")

    model = around(Gated(5, name="extra"), SEQUENCE)
    with pytest.raises(ValueError, match="'extra' reads it, a Gated that no rule knows"):
        remove_units(model, {"made": GONE})


def test_an_activation_inside_a_layer_has_no_weights():
    model = around(layers.Dense(5, layers.LeakyReLU(0.5), name="leaky"), SEQUENCE)
    assert_removed(model, {"made": GONE, "leaky": [2]}, {"made": GONE, "between": [2]})
    model = around(layers.Dense(5, layers.PReLU(), name="parametric"), SEQUENCE)
    with pytest.raises(ValueError, match="without weights, received 'parametric' with a PReLU inside"):
        remove_units(model, {"made": GONE})


def test_what_is_registered_is_checked():
    for layer, rule in ((Scaled, "factor"), (Scaled(), PerUnit()), ("Scaled", PerUnit())):
        with pytest.raises(TypeError, match="register: expected a layer's class and a Rule"):
            register(layer, rule)


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
def test_functions_of_ones_own_as_options():
    def near_one(shape, dtype=None):
        return ops.ones(shape, dtype)

    options = {"kernel_initializer": near_one, "kernel_regularizer": lambda w: ops.sum(ops.abs(w))}
    model = around(layers.Dense(5, "tanh", name="own", **options), VECTOR)
    thin = assert_removed(model, {"own": [3]}, {"between": [3]})
    expected = np.abs(np.delete(model.get_layer("own").kernel, 3, axis=1)).sum()
    np.testing.assert_allclose(float(thin.get_layer("own").losses[0]), expected, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
def test_functions_of_ones_own_as_activations():
    """A function of single numbers is told from one that mixes units by what it computes."""
    model = around(layers.Dense(5, lambda x: x * ops.sigmoid(2.0 * x), name="own"), VECTOR)
    assert_removed(model, {"made": GONE, "own": [3]}, {"made": GONE, "between": [3]})
    model = around(layers.Dense(5, tf.nn.relu, name="own"), VECTOR)
    assert_removed(model, {"made": GONE, "own": [3]}, {"made": GONE, "between": [3]})
    for activation in ("softmax", tf.nn.softmax, lambda x: x / (1e-3 + ops.max(ops.abs(x), axis=-1, keepdims=True))):
        model = around(layers.Dense(5, activation, name="own"), VECTOR)
        assert_removed(model, {"made": GONE}, {"made": GONE})
        with pytest.raises(ValueError, match="own: .* since the activation .* of 'own' mixes it with the others"):
            remove_units(model, {"own": [3]})
