"""Which tensors are taps: of our own networks by name, of any other by rule."""

import keras
import pytest
from keras import layers, ops
from outlines import without_weights
from sample_networks import chain, make

from tfunits import models
from tfunits.surgery import Graph, find_taps, tap_keys


def dense(name: str, activation: object = None) -> layers.Dense:
    return layers.Dense(4, activation=activation, name=name)


def taps_of(tensor, inputs) -> list[str]:
    """Taps of a network that ends in a dense head on a tensor."""
    return list(find_taps(keras.Model(inputs, dense("head")(tensor))))


@pytest.fixture
def inputs():
    return keras.Input((4,))


@pytest.fixture
def hidden(inputs):
    return dense("hidden", "relu")(inputs)


OWN_TAPS = {
    "alexnet": ["conv1", "conv2", "fc3", "fc4"],
    "fc5": ["hidden1", "hidden2", "hidden3", "hidden4"],
    "mlp": ["hidden"],
    "resnet18": ["stem", "stage1", "stage2", "stage3", "stage4"],
    "densenet40": ["stem", "stage1", "stage2", "stage3", "pooled"],
    "resnet50": ["stem", "stage1", "stage2", "stage3", "stage4", "pooled"],
    "resnet56": ["stem", "stage1", "stage2", "stage3"],
    "wide_resnet28": ["stem", "stage1", "stage2", "stage3", "pooled"],
    "inception_v3": [
        "conv0", "conv1", "conv2", "conv3", "conv4", "mixed_35x35x256a", "mixed_35x35x288a", "mixed_35x35x288b",
        "mixed_17x17x768a", "mixed_17x17x768b", "mixed_17x17x768c", "mixed_17x17x768d", "mixed_17x17x768e",
        "mixed_17x17x1280a", "mixed_8x8x2048a", "mixed_8x8x2048b",
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", OWN_TAPS)
def test_taps_of_our_networks(name):
    with without_weights():
        model = models.build(name, size=0.125, input_shape=(32, 32, 3), num_classes=2)
    assert find_taps(model) == {tap: f"tap_{tap}" for tap in OWN_TAPS[name]}
    assert models.taps is find_taps


def test_taps_of_a_mixed_network(branched_model):
    assert list(find_taps(branched_model)) == ["first", "rectified", "joined", "gated"]


def test_tap_keys_name_the_tensors(branched_model):
    graph = Graph(branched_model)
    for name, key in tap_keys(graph).items():
        assert graph.producer[key].name == name


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "gelu", "selu", keras.activations.silu])
def test_a_non_linear_activation_of_a_layer_is_a_tap(activation):
    assert list(find_taps(chain(dense("hidden", activation), dense("head")))) == ["hidden"]


@pytest.mark.parametrize(
    "layer",
    [layers.ReLU, layers.LeakyReLU, layers.PReLU, layers.ELU, lambda name: layers.Activation("relu", name=name)],
)
def test_an_activation_layer_is_a_tap_and_the_linear_layer_before_it_is_not(layer):
    assert list(find_taps(chain(dense("linear"), layer(name="active"), dense("head")))) == ["active"]


@pytest.mark.parametrize("operation", [ops.relu, ops.silu, ops.tanh, ops.gelu])
def test_an_activation_from_keras_ops_is_a_tap(operation, inputs):
    assert len(taps_of(operation(dense("linear")(inputs)), inputs)) == 1


@pytest.mark.parametrize(
    "layer",
    [
        layers.Activation("linear", name="not_a_tap"),
        layers.Activation("softmax", name="not_a_tap"),
        layers.Softmax(name="not_a_tap"),
        dense("not_a_tap", "softmax"),
        dense("not_a_tap", layers.Softmax()),
        dense("not_a_tap", "log_softmax"),
        dense("not_a_tap", "linear"),
        layers.BatchNormalization(name="not_a_tap"),
    ],
)
def test_linear_layers_and_hidden_softmax_are_no_taps(layer):
    assert list(find_taps(chain(dense("hidden", "relu"), layer, dense("head")))) == ["hidden"]


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "softmax"])
def test_an_output_is_no_tap(activation):
    assert list(find_taps(chain(dense("hidden", "relu"), dense("head", activation)))) == ["hidden"]


@pytest.mark.parametrize("last", [layers.Activation("linear", dtype="float32"), layers.Reshape((4,))])
def test_an_output_that_is_only_cast_or_reshaped_is_no_tap(last):
    assert list(find_taps(chain(dense("hidden", "relu"), dense("scores", "sigmoid"), last))) == ["hidden"]


@pytest.mark.parametrize("merge", [layers.Add, layers.Average, layers.Maximum, layers.Concatenate, layers.Subtract])
def test_a_merge_is_a_tap(merge, inputs, hidden):
    merged = merge(name="merged")([hidden, dense("linear")(inputs)])
    assert taps_of(merged, inputs) == ["hidden", "merged"]


def test_a_merge_by_an_operator_is_a_tap(inputs, hidden):
    assert len(taps_of(hidden + dense("linear")(inputs), inputs)) == 2


def test_of_a_sum_read_by_an_activation_alone_only_the_activation_is_a_tap(inputs, hidden):
    summed = layers.Add(name="summed")([hidden, dense("linear")(inputs)])
    assert taps_of(layers.ReLU(name="active")(summed), inputs) == ["hidden", "active"]


def test_of_a_sum_read_by_an_activation_and_another_both_are_taps(inputs, hidden):
    summed = layers.Add(name="summed")([hidden, dense("linear")(inputs)])
    joined = layers.Concatenate(name="joined")([layers.ReLU(name="active")(summed), summed])
    assert taps_of(joined, inputs) == ["hidden", "summed", "active", "joined"]


@pytest.mark.parametrize("reshaped", [False, True])
def test_a_gate_is_no_tap(reshaped, inputs, hidden):
    """Squeeze and excitation: the gate is multiplied on, directly or through a Reshape."""
    gate = dense("gate", "sigmoid")(hidden)
    gate = layers.Reshape((4,))(gate) if reshaped else gate
    assert taps_of(layers.Multiply(name="gated")([dense("linear")(inputs), gate]), inputs) == ["hidden", "gated"]


def test_a_sigmoid_that_is_also_read_elsewhere_is_a_tap(inputs, hidden):
    """Negative control of the gate's rule."""
    gate = dense("gate", "sigmoid")(hidden)
    gated = layers.Multiply(name="gated")([dense("linear")(inputs), gate])
    assert taps_of(layers.Concatenate(name="joined")([gated, gate]), inputs) == ["hidden", "gate", "gated", "joined"]


def test_an_activation_scaled_by_a_constant_is_no_gate(inputs, hidden):
    """A Multiply with one tensor in it gates nothing."""
    assert taps_of(hidden * 2.0, inputs) == ["hidden"]


def test_a_constant_added_is_no_merge(inputs, hidden):
    assert taps_of(hidden + 1.0, inputs) == ["hidden"]


def test_every_call_of_a_shared_layer_is_a_tap():
    assert list(find_taps(make("shared"))) == ["twice", "twice#2"]


def test_taps_inside_nested_models():
    inner = ["wide", "block/deep", "sum"]
    assert list(find_taps(make("nested"))) == [f"inner{n}/{name}" for n in ("", "#2") for name in inner] + ["both"]


def test_a_named_tap_overrides_the_rule():
    model = chain(dense("hidden", "relu"), layers.Dense(3, name="tap_chosen"), dense("head"))
    assert find_taps(model) == {"chosen": "tap_chosen"}


def test_a_model_without_taps_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match="expected activations or merges .* name a layer tap_<name>"):
        find_taps(chain(dense("linear"), dense("head")))


def test_a_model_that_is_not_functional_is_refused():
    with pytest.raises(ValueError, match="expected a functional Keras model, received an unbuilt Sequential"):
        find_taps(keras.Sequential([layers.Dense(3)]))


@pytest.mark.parametrize("name", ["MobileNetV2", "DenseNet121", "EfficientNetB0"])
def test_taps_of_known_architectures(name):
    model = getattr(keras.applications, name)(weights=None, input_shape=(32, 32, 3), classes=10)
    graph = Graph(model)
    found = tap_keys(graph)
    assert len(found) > 10
    assert not set(found.values()) & set(graph.outputs)
    activations = {getattr(graph.producer[key].operation, "activation", None) for key in found.values()}
    names = {getattr(activation, "__name__", None) for activation in activations}
    assert not names & {"softmax", "sigmoid", "linear"}
    if name == "EfficientNetB0":
        # Squeeze and excitation in each of its 16 blocks.
        gates = [made.name for made in graph.calls if made.name.endswith("_se_expand")]
        assert len(gates) == 16
        assert not set(gates) & set(found)
