"""Every layer that has a rule: removed units are units at zero where they are read."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from keras.src.applications.convnext import LayerScale, StochasticDepth
from keras.src.applications.inception_resnet_v2 import CustomScaleLayer
from masked_models import assert_removed, assert_same_function, assert_visible, masked_by_hand, saved_and_loaded, shapes
from sample_networks import around, randomize

from tfunits import layers as own
from tfunits.surgery import RULES, coupled_units, mask, remove_units, unit_layers
from tfunits.surgery.rules import _PRIVATE

GONE = [1, 4]
VECTOR, SEQUENCE, IMAGE, VOLUME = (7,), (8, 3), (8, 6, 3), (6, 4, 4, 2)
_RANKS = {"1D": SEQUENCE, "2D": IMAGE, "3D": VOLUME}


def by_rank(names: str, **options: object) -> dict:
    """Layers of one, two and three dimensions, with their input shapes."""
    found = {}
    for name in names.split():
        for suffix, shape in _RANKS.items():
            kind = name.replace("*", suffix)
            found[kind] = (lambda kind=kind: getattr(layers, kind)(**options), shape)
    return found


# Every unit of the result depends on the same unit of what is read: name of the class -> (layer, input shape).
KEEPING = {
    **by_rank("MaxPooling* AveragePooling*", pool_size=2),
    **by_rank("GlobalMaxPooling* GlobalAveragePooling*", keepdims=True),
    **by_rank("AdaptiveAveragePooling* AdaptiveMaxPooling*", output_size=2),
    **by_rank("ZeroPadding* Cropping*"),
    **by_rank("UpSampling*", size=2),
    **by_rank("SpatialDropout*", rate=0.5),
    "Resizing": (lambda: layers.Resizing(5, 7), IMAGE),
    "CenterCrop": (lambda: layers.CenterCrop(4, 4), IMAGE),
    "ReLU": (lambda: layers.ReLU(max_value=0.7), VECTOR),
    "LeakyReLU": (layers.LeakyReLU, VECTOR),
    "ELU": (layers.ELU, VECTOR),
    "Identity": (layers.Identity, VECTOR),
    "Dropout": (lambda: layers.Dropout(0.5), VECTOR),
    "GaussianNoise": (lambda: layers.GaussianNoise(1.0), VECTOR),
    "GaussianDropout": (lambda: layers.GaussianDropout(0.5), VECTOR),
    "AlphaDropout": (lambda: layers.AlphaDropout(0.5), VECTOR),
    "ReplicaDropout": (lambda: own.ReplicaDropout(0.5), VECTOR),
    "ActivityRegularization": (lambda: layers.ActivityRegularization(0.1), VECTOR),
    "Rescaling": (lambda: layers.Rescaling(3.0, offset=2.0), VECTOR),
    "PReLU": (lambda: layers.PReLU(), SEQUENCE),
    "Softmax": (lambda: layers.Softmax(axis=1), SEQUENCE),
    "ChannelMask": (lambda: own.ChannelMask([1, 1, 0, 1, 1, 1]), IMAGE),
    "PositionBias": (own.PositionBias, IMAGE),
    "BatchNormalization": (layers.BatchNormalization, IMAGE),
    "OwnBatchNormalization": (own.BatchNormalization, IMAGE),
    "Activation": (lambda: layers.Activation("swish"), VECTOR),
    "RepeatVector": (lambda: layers.RepeatVector(3), VECTOR),
    "Reshape": (lambda: layers.Reshape((6, 8, 6)), IMAGE),
    "DepthwiseConv1D": (lambda: layers.DepthwiseConv1D(3, activation="relu"), SEQUENCE),
    "DepthwiseConv2D": (lambda: layers.DepthwiseConv2D(3, strides=2), IMAGE),
}  # fmt: skip


@pytest.mark.parametrize("kind", KEEPING)
def test_units_pass_through(kind):
    build, shape = KEEPING[kind]
    model = around(build(), shape)
    thin = assert_removed(model, {"made": GONE}, {"between": GONE})
    assert thin.get_layer("between").output.shape[-1] == 4
    assert thin.get_layer("made").units == 4


MERGING = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")


@pytest.mark.parametrize("kind", MERGING)
def test_units_that_are_merged_go_together(kind):
    def build(made):
        other = layers.Dense(6, "tanh", name="other")(made)
        return getattr(layers, kind)(name="merged")([made, other])

    model = around(build, VECTOR)
    thin = assert_removed(model, {"other": GONE}, {"between": GONE, "made": GONE})
    assert unit_layers(thin) == {"made": 4, "other": 4, "head": 3}
    assert [unit.members for unit in coupled_units(model, "made")] == [{"made": (i,), "other": (i,)} for i in range(6)]


# Layers that read all units and make new ones: class -> (layer, input shape).
MAKING = {
    "Dense": (lambda: layers.Dense(5, "relu", name="reader"), SEQUENCE),
    **{
        f"Conv{suffix}": (lambda s=suffix: getattr(layers, f"Conv{s}")(5, 2, name="reader"), shape)
        for suffix, shape in _RANKS.items()
    },
    **{
        f"Conv{suffix}Transpose": (
            lambda s=suffix: getattr(layers, f"Conv{s}Transpose")(5, 2, strides=2, name="reader"), shape,
        )
        for suffix, shape in _RANKS.items()
    },
    **{
        f"SeparableConv{suffix}": (
            lambda s=suffix: getattr(layers, f"SeparableConv{s}")(5, 2, depth_multiplier=2, name="reader"),
            _RANKS[suffix],
        )
        for suffix in ("1D", "2D")
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", MAKING)
def test_units_are_read_and_new_ones_are_made(kind):
    """Units before the layer and behind it, alone and together."""
    build, shape = MAKING[kind]
    model = around(build(), shape)
    assert unit_layers(model) == {"made": 6, "reader": 5, "head": 3}
    assert_removed(model, {"made": GONE}, {"made": GONE})
    assert_removed(model, {"reader": [0, 3]}, {"between": [0, 3]})
    thin = assert_removed(model, {"made": GONE, "reader": [0, 3]}, {"made": GONE, "between": [0, 3]})
    assert unit_layers(thin) == {"made": 4, "reader": 3, "head": 3}
    # Nothing is tied to a unit that only a kernel reads.
    assert [unit.members for unit in coupled_units(model, "made")] == [{"made": (i,)} for i in range(6)]


def test_columns_of_an_embedding_are_units():
    words = keras.Input((4,), dtype="int32")
    embedded = layers.Embedding(7, 5, name="table")(words)
    model = randomize(keras.Model(words, layers.Dense(2)(layers.Flatten(name="flat")(embedded))))
    gone = [step * 5 + unit for step in range(4) for unit in GONE]
    thin = assert_removed(model, {"table": GONE}, {"flat": gone})
    np.testing.assert_array_equal(
        thin.get_layer("table").embeddings, np.delete(model.get_layer("table").embeddings.numpy(), GONE, axis=1)
    )


@pytest.mark.parametrize("axis", [-1, 1])
def test_a_concatenation_of_units_and_of_positions(axis):
    def build(made):
        other = layers.Dense(6, "tanh", name="other")(made)
        return layers.Concatenate(axis=axis)([other, made])

    model = around(build, SEQUENCE)
    if axis == -1:
        assert_removed(model, {"made": GONE}, {"made": GONE, "between": [7, 10]})
        assert_removed(model, {"other": GONE}, {"between": GONE})
        assert coupled_units(model, "made")[1].members == {"made": (1,)}
    else:
        assert_removed(model, {"made": GONE}, {"made": GONE, "between": GONE})
        assert coupled_units(model, "made")[1].members == {"made": (1,), "other": (1,)}


def test_flattened_units_stand_at_every_position():
    model = around(lambda made: layers.Flatten(name="flat")(made), SEQUENCE)
    gone = [step * 6 + unit for step in range(8) for unit in GONE]
    thin = assert_removed(model, {"made": GONE}, {"between": gone})
    assert thin.get_layer("flat").output.shape == (None, 32)


def test_a_permutation_moves_units_to_another_axis():
    model = around(lambda made: layers.Permute((2, 1), name="turned")(made), SEQUENCE)
    thin = remove_units(model, {"made": GONE})
    assert thin.get_layer("turned").output.shape == (None, 4, 8)
    turned_back = randomize(around(lambda made: layers.Permute((2, 1))(layers.Permute((2, 1))(made)), SEQUENCE))
    assert_removed(turned_back, {"made": GONE}, {"between": GONE})
    assert_same_function(thin, masked_by_hand(model, {"made": GONE}))


def test_a_constant_normalization_of_the_input_stays_as_it_is():
    for axis in (-1, None):
        norm = layers.Normalization(axis=axis, name="norm")
        norm.adapt(np.random.default_rng(0).normal(3, 2, size=(20, 7)).astype("float32"))
        inputs = keras.Input(VECTOR)
        hidden = layers.Dense(6, "tanh", name="hidden")(norm(inputs))
        model = keras.Model(inputs, layers.Dense(2)(hidden))
        thin = assert_removed(model, {"hidden": GONE}, {"hidden": GONE})
        np.testing.assert_allclose(thin.get_layer("norm")(np.ones((1, 7))), norm(np.ones((1, 7))), rtol=1e-6)


def test_statistics_behind_units_must_stay():
    norm = layers.Normalization(name="norm")
    norm.adapt(np.random.default_rng(0).normal(size=(20, 6)).astype("float32"))
    model = around(norm, VECTOR)
    with pytest.raises(ValueError, match="made: expected units that can be removed.*'norm' holds statistics"):
        remove_units(model, {"made": [0]})


# Layers that mix units and keep count of those that are gone: name -> (layer, input shape).
COUNTING = {
    "LayerNormalization": (lambda: layers.LayerNormalization(name="norm"), SEQUENCE),
    "LayerNormalization without weights": (
        lambda: layers.LayerNormalization(center=False, scale=False, name="norm"), SEQUENCE,
    ),
    "RMSNormalization": (lambda: layers.RMSNormalization(epsilon=0.1, name="norm"), SEQUENCE),
    "GroupNormalization": (lambda: layers.GroupNormalization(3, name="norm"), IMAGE),
    "GroupNormalization of one group": (lambda: layers.GroupNormalization(1, epsilon=0.1, name="norm"), VECTOR),
    "GroupNormalization of single units": (lambda: layers.GroupNormalization(-1, name="norm"), IMAGE),
    "LocalResponseNormalization": (lambda: own.LocalResponseNormalization(2, 1.0, 0.5, 0.75, name="norm"), IMAGE),
    "UnitNormalization": (lambda: layers.UnitNormalization(name="norm"), SEQUENCE),
    "CountedLayerNormalization": (
        lambda: own.CountedLayerNormalization(6 * [True], num_counted=9, name="norm"), SEQUENCE,
    ),
    "CountedRMSNormalization": (
        lambda: own.CountedRMSNormalization([True] * 5 + [False], num_counted=9, name="norm"), SEQUENCE,
    ),
    "CountedGroupNormalization": (
        lambda: own.CountedGroupNormalization([0, 0, 0, 2, 2, 1], counted=6 * [True], num_counted=4, name="norm"),
        IMAGE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", COUNTING)
def test_normalisations_over_units_count_as_before(kind, tmp_path):
    """At once, in two steps, and after a save in between."""
    build, shape = COUNTING[kind]
    model = around(build(), shape)
    gone = [0, 1, 4]
    masked = {"made": gone, "between": gone}
    thin = assert_removed(model, {"made": gone}, masked)
    expected = masked_by_hand(model, masked)
    first = saved_and_loaded(remove_units(model, {"made": [1, 4]}), tmp_path)
    assert_same_function(remove_units(first, {"made": [0]}), expected)
    assert_same_function(saved_and_loaded(thin, tmp_path), expected)
    assert thin.get_layer("norm").output.shape[-1] == 3
    for weight in thin.get_layer("norm").weights:
        assert weight.shape == (3,)


@pytest.mark.parametrize("kind", ["LayerNormalization", "GroupNormalization"])
def test_counted_normalisations_keep_their_options(kind):
    options = {"epsilon": 0.2, "gamma_regularizer": "l2", "beta_constraint": "non_neg", "trainable": False}
    model = around(getattr(layers, kind)(name="norm", **({"groups": 2} if kind[0] == "G" else {}), **options), SEQUENCE)
    norm = remove_units(model, {"made": GONE}).get_layer("norm")
    assert norm.epsilon == 0.2
    assert not norm.trainable
    assert isinstance(norm.gamma.regularizer, keras.regularizers.L2)
    assert isinstance(norm.beta.constraint, keras.constraints.NonNeg)


def test_a_normalisation_whose_units_stay_keeps_its_class():
    model = around(
        lambda made: layers.Dense(5, name="between_them")(layers.LayerNormalization(name="norm")(made)), VECTOR
    )
    thin = assert_removed(model, {"between_them": [2]}, {"between": [2]})
    assert type(thin.get_layer("norm")) is layers.LayerNormalization


REFUSED_LAYERS = {
    "softmax": (lambda: layers.Softmax(name="culprit"), VECTOR),
    "softmax as activation": (lambda: layers.Activation("softmax", name="culprit"), VECTOR),
    "log-softmax as activation": (lambda: layers.Activation("log_softmax", name="culprit"), VECTOR),
    "TensorFlow's softmax": (lambda: layers.Activation(tf.nn.softmax, name="culprit"), VECTOR),
    "an activation that mixes units": (
        lambda: layers.Activation(lambda x: x - ops.mean(x, axis=-1, keepdims=True), name="culprit"), VECTOR,
    ),
    "an activation with a constant a unit": (
        lambda: layers.Activation(lambda x: x * np.arange(6, dtype="float32"), name="culprit"), VECTOR,
    ),
    "scaled by the deviation": (lambda: layers.LayerNormalization(rms_scaling=True, name="culprit"), VECTOR),
    "several axes": (lambda: layers.LayerNormalization(axis=[1, 2], name="culprit"), SEQUENCE),
    "a function": (lambda: layers.Lambda(lambda x: 2.0 * x, name="culprit"), VECTOR),
    "recurrent": (lambda: layers.LSTM(4, name="culprit"), SEQUENCE),
    "a mixture of positions": (lambda: layers.EinsumDense("abc,cd->abd", (8, 4), name="culprit"), SEQUENCE),
    "wrapped": (lambda: layers.TimeDistributed(layers.Dense(4), name="culprit"), SEQUENCE),
    "a gate of scales": (lambda: layers.Rescaling(np.arange(6.0), name="culprit"), VECTOR),
    "units become positions": (
        lambda: lambda made: layers.Conv1D(4, 2, name="culprit")(layers.Permute((2, 1))(made)), SEQUENCE,
    ),
    "pooled as positions": (
        lambda: lambda made: layers.MaxPooling1D(2, name="culprit")(layers.Permute((2, 1))(made)), SEQUENCE,
    ),
    "normalised as positions": (
        lambda: lambda made: layers.BatchNormalization(name="culprit")(layers.Permute((2, 1))(made)), SEQUENCE,
    ),
    "grouped as positions": (
        lambda: lambda made: layers.GroupNormalization(2, name="culprit")(layers.Permute((2, 1))(made)), SEQUENCE,
    ),
    "a slope a position": (lambda: lambda made: layers.PReLU(name="culprit")(layers.Permute((2, 1))(made)), SEQUENCE),
    "attention": (lambda: lambda made: layers.MultiHeadAttention(2, 2, name="culprit")(made, made), SEQUENCE),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:You passed `rms_scaling", "ignore:The object being serialized includes a `lambda`")
@pytest.mark.parametrize("kind", REFUSED_LAYERS)
def test_what_cannot_be_followed_is_refused_by_name_and_kept_otherwise(kind):
    build, shape = REFUSED_LAYERS[kind]
    inputs = keras.Input(shape)
    made = layers.Dense(6, name="made")(layers.Dense(5, "relu", name="earlier")(inputs))
    model = randomize(keras.Model(inputs, layers.Dense(3, name="head")(layers.Flatten()(build()(made)))))
    with pytest.raises(ValueError, match="made: expected units that can be removed.*'culprit'"):
        remove_units(model, {"made": GONE})
    assert all("'culprit'" in unit.reason for unit in coupled_units(model, "made"))
    assert_removed(model, {"earlier": [2]}, {"earlier": [2]})


def test_units_joined_with_the_input_stay():
    inputs = keras.Input((6,))
    made = layers.Dense(6, "relu", name="made")(inputs)
    joined = layers.Concatenate(name="joined")([made, inputs])
    added = layers.Add(name="added")([layers.Dense(6, name="other")(joined), inputs])
    model = randomize(keras.Model(inputs, layers.Dense(2, name="head")(added)))
    with pytest.raises(ValueError, match="other: .* since 'added' combines it with what is no unit"):
        remove_units(model, {"other": [0]})
    with pytest.raises(ValueError, match="joined: .* since it is no unit"):
        remove_units(model, {"joined": [6]})
    assert_removed(model, {"joined": [1]}, {"joined": [1]})


def test_a_gate_of_one_number_stays_and_does_not_tie_units():
    def build(made):
        return layers.Multiply(name="gated")([made, layers.Dense(1, "sigmoid", name="gate")(made)])

    model = around(build, VECTOR)
    assert_removed(model, {"made": GONE}, {"made": GONE, "between": GONE})
    assert coupled_units(model, "made")[2].members == {"made": (2,)}
    assert "'gated' spreads it over other units" in coupled_units(model, "gate")[0].reason


def test_a_map_for_one_unit_of_a_vector_is_spread_over_positions():
    def build(made):
        pooled = layers.GlobalAveragePooling2D(name="pooled")(made)
        squeezed = layers.Dense(3, "tanh", name="squeeze")(pooled)
        gate = layers.Dense(6, "sigmoid", name="gate")(squeezed)
        return layers.Multiply(name="gated")([made, layers.Reshape((1, 1, 6))(gate)])

    model = around(build, IMAGE)
    assert_removed(model, {"gate": GONE}, {"pooled": GONE, "between": GONE})
    assert_removed(model, {"squeeze": [0]}, {"squeeze": [0]})
    assert [u.members for u in coupled_units(model, "gate")] == [{"made": (i,), "gate": (i,)} for i in range(6)]
    assert [u.members for u in coupled_units(model, "squeeze")] == [{"squeeze": (i,)} for i in range(3)]


def test_a_vector_that_becomes_a_map_is_removed_by_channels():
    def build(made):
        grown = layers.Dense(24, "tanh", name="grown")(made)
        return layers.Conv2D(4, 2, name="conv")(layers.Reshape((2, 3, 4), name="map")(grown))

    model = around(build, VECTOR)
    gone = [position * 4 + 1 for position in range(6)]
    thin = assert_removed(model, {"grown": [9]}, {"grown": gone})
    assert shapes(thin)["map"] == (None, 2, 3, 3)
    assert coupled_units(model, "grown")[9].members == {"grown": tuple(gone)}


def test_a_form_without_whole_channels_ties_no_more_than_it_must():
    model = around(lambda x: layers.Reshape((3, 2), name="map")(x), VECTOR)
    assert [unit.members for unit in coupled_units(model, "made")] == 3 * [{"made": (0, 2, 4)}, {"made": (1, 3, 5)}]
    assert_removed(model, {"made": [0]}, {"between": [0]})


def test_units_that_a_dense_layer_takes_for_examples_pass_through():
    """As in a mixer, whose dense layers read positions and channels in turn."""

    def build(made):
        mixed = layers.Dense(5, "tanh", name="mixed")(layers.Permute((2, 1))(made))
        return ops.sum(layers.Dense(4, name="inner")(mixed), axis=1)

    model = around(build, SEQUENCE)
    assert unit_layers(model) == {"made": 6, "mixed": 5, "inner": 4, "head": 3}
    assert coupled_units(model, "mixed")[2].members == {"mixed": (2,)}
    assert_removed(model, {"mixed": [2]}, {"mixed": [2]})
    thin = remove_units(model, {"made": GONE, "mixed": [2]})
    assert shapes(thin)["mixed"] == (None, 4, 4)
    rows = np.ones((6, 4))
    rows[GONE] = 0
    expected = mask(model, {"mixed": np.arange(5) != 2, "inner": rows})
    assert_same_function(thin, expected)
    assert_visible(masked_by_hand(model, {"mixed": [2]}), expected)


def test_taken_units_are_followed_in_their_order():
    model = around(lambda made: own.TakeUnits([4, 0, 5, 2], name="taken")(made), VECTOR)
    assert coupled_units(model, "taken")[1].members == {"made": (0,)}
    thin = remove_units(model, {"made": [0, 3]})
    assert thin.get_layer("taken").indices == [2, 3, 1]
    assert_same_function(thin, mask(model, {"taken": [1, 0, 1, 1]}))
    assert_same_function(remove_units(model, {"made": [3]}), model)


PRIVATE = {
    "LayerScale": lambda: LayerScale(0.1, 6),
    "StochasticDepth": lambda: StochasticDepth(0.5),
    "CustomScaleLayer": lambda: lambda made: CustomScaleLayer(0.3)([made, layers.Dense(6, name="other")(made)]),
}


@pytest.mark.parametrize("kind", PRIVATE)
def test_private_layers_of_keras_applications(kind):
    model = around(PRIVATE[kind](), SEQUENCE)
    masked = {"made": GONE, "between": GONE} if kind == "CustomScaleLayer" else {"between": GONE}
    assert_removed(model, {"made": GONE}, masked)


def test_every_rule_has_a_test():
    """A new rule fails here until a model above uses it."""
    own_class = {"OwnBatchNormalization": "BatchNormalization"}
    tested = {own_class.get(name, name) for name in (*KEEPING, *MERGING, *MAKING)}
    tested |= {name.partition(" ")[0] for name in COUNTING}
    tested |= {"Embedding", "Concatenate", "Flatten", "Permute", "Normalization", "Lambda", "TakeUnits"}
    assert {kind.__name__ for kind in RULES if kind.__module__.startswith(("keras", "tfunits"))} == tested
    assert set(_PRIVATE) == set(PRIVATE)


SHARED = {
    "PReLU": lambda: layers.PReLU(name="shared"),
    "BatchNormalization": lambda: layers.BatchNormalization(name="shared"),
    "LayerNormalization": lambda: layers.LayerNormalization(name="shared"),
    "DepthwiseConv1D": lambda: layers.DepthwiseConv1D(2, padding="same", name="shared"),
    "ChannelMask": lambda: own.ChannelMask([1, 1, 0, 1, 1, 1], name="shared"),
    "PositionBias": lambda: own.PositionBias(name="shared"),
    "Dense": lambda: layers.Dense(6, name="shared"),
}


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("kind", SHARED)
def test_a_layer_shared_with_the_input_keeps_its_units(kind, is_first):
    inputs = keras.Input((8, 6))
    made = layers.Dense(6, "tanh", name="made")(inputs)
    shared = SHARED[kind]()
    first, second = (shared(inputs), shared(made)) if is_first else (shared(made), shared(inputs))[::-1]
    model = randomize(keras.Model(inputs, [layers.Dense(2)(first), layers.Dense(2)(second)]))
    with pytest.raises(ValueError, match="made: .* since 'shared' is shared, and elsewhere reads no units"):
        remove_units(model, {"made": GONE})


def test_one_slope_for_all_units_can_be_shared_between_widths():
    inputs = keras.Input(VECTOR)
    slope = layers.PReLU(shared_axes=[1], name="slope")
    first = slope(layers.Dense(6, name="first")(inputs))
    second = slope(layers.Dense(5, name="second")(first))
    model = randomize(keras.Model(inputs, layers.Dense(2)(second)))
    assert_removed(model, {"first": GONE, "second": [2]}, {"slope": GONE, "slope#2": [2]})


def test_noise_of_a_shape_is_drawn_for_the_units_that_are_left():
    model = around(layers.Dropout(0.5, noise_shape=(None, 1, 6)), SEQUENCE)
    thin = remove_units(model, {"made": GONE})
    assert thin(np.ones((2, *SEQUENCE)), training=True).shape == (2, 3)
    assert thin.layers[2].noise_shape == (None, 1, 4)
