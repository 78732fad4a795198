"""Which layers feed a tap, and the norms of their weights, against numpy."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from sample_networks import chain, make, randomize

from tfunits.layers import LocalResponseNormalization
from tfunits.surgery import Graph, feeding_layers, find_tensors, incoming_norms, kernel_of

# Of images with an even number of channels.
IMAGE = (7, 6, 4)


def norms_of(model: keras.Model, name: str) -> np.ndarray:
    graph = Graph(model)
    return incoming_norms(graph, find_tensors(graph, [name])[name])


def feeding(model: keras.Model, name: str) -> list[str]:
    graph = Graph(model)
    return [call.name for call in feeding_layers(graph, find_tensors(graph, [name])[name])]


def kernel(model: keras.Model, name: str, attribute: str = "kernel") -> np.ndarray:
    return np.abs(getattr(model.get_layer(name), attribute).numpy().astype("float64"))


# Layer -> (kernel, norms) by its axes.
LAYERS = {
    "dense": (lambda: layers.Dense(5, name="layer"), "kernel", "hwcu->u"),
    "conv": (lambda: layers.Conv2D(5, (2, 3), name="layer"), "kernel", "hwcu->u"),
    "grouped": (lambda: layers.Conv2D(6, 3, groups=2, name="layer"), "kernel", "hwcu->u"),
    "depthwise": (lambda: layers.DepthwiseConv2D(3, depth_multiplier=2, name="layer"), "kernel", "hwcm->cm"),
    "depthwise, one each": (lambda: layers.DepthwiseConv2D(3, name="layer"), "kernel", "hwcm->cm"),
    "separable": (lambda: layers.SeparableConv2D(5, 3, name="layer"), "pointwise_kernel", "hwcu->u"),
    "transposed": (lambda: layers.Conv2DTranspose(5, 3, name="layer"), "kernel", "hwuc->u"),
    "transposed, square": (lambda: layers.Conv2DTranspose(4, 3, name="layer"), "kernel", "hwuc->u"),
}


def by_axes(values: np.ndarray, axes: str) -> np.ndarray:
    given, kept = axes.split("->")
    values = values.reshape((1,) * (len(given) - values.ndim) + values.shape)
    return np.einsum(f"{given}->{kept}", values).ravel()


@pytest.mark.parametrize("kind", LAYERS)
def test_norms_of_every_kind_of_layer_through_normalisation_and_pooling(kind):
    build, attribute, axes = LAYERS[kind]
    model = randomize(
        chain(
            build(), layers.BatchNormalization(), layers.PReLU(), layers.MaxPooling2D(2), LocalResponseNormalization(),
            layers.Dropout(0.5), layers.GlobalAveragePooling2D(name="pooled"), layers.Dense(3), shape=IMAGE,
        )
    )  # fmt: skip
    expected = by_axes(kernel(model, "layer", attribute), axes)
    np.testing.assert_allclose(norms_of(model, "pooled"), expected, rtol=1e-12)
    assert feeding(model, "pooled") == ["layer"]
    assert np.ptp(expected) > 0.1
    assert tuple(kernel_of(model.get_layer("layer")).shape) == kernel(model, "layer", attribute).shape


def test_norms_of_sequences():
    model = randomize(
        chain(
            layers.DepthwiseConv1D(3, depth_multiplier=2, name="depthwise"), layers.Conv1D(5, 2, name="conv"),
            layers.Conv1DTranspose(3, 2, name="transposed"), layers.SeparableConv1D(6, 2, name="separable"),
            layers.Dense(4, name="dense"), shape=(9, 3),
        )
    )  # fmt: skip
    np.testing.assert_allclose(norms_of(model, "depthwise"), kernel(model, "depthwise").sum(axis=0).ravel())
    np.testing.assert_allclose(norms_of(model, "conv"), kernel(model, "conv").sum(axis=(0, 1)))
    np.testing.assert_allclose(norms_of(model, "transposed"), kernel(model, "transposed").sum(axis=(0, 2)))
    pointwise = kernel(model, "separable", "pointwise_kernel")
    np.testing.assert_allclose(norms_of(model, "separable"), pointwise.sum(axis=(0, 1)))
    assert feeding(model, "dense") == ["dense"]


def test_a_flattened_map_repeats_the_norms_of_its_channels():
    model = randomize(
        chain(layers.Conv2D(5, 3, name="conv"), layers.Flatten(name="flat"), layers.Dense(2), shape=IMAGE)
    )
    values = kernel(model, "conv").sum(axis=(0, 1, 2))
    np.testing.assert_allclose(norms_of(model, "flat"), np.tile(values, 5 * 4))


def joined_branches(axis: int = -1) -> keras.Model:
    inputs = keras.Input((6, 4))
    first = layers.Dense(3, name="first")(inputs)
    second = layers.ReLU()(layers.Dense(3, name="second")(first))
    joined = layers.Concatenate(axis=axis, name="joined")([second, first])
    return randomize(keras.Model(inputs, layers.Dense(2)(layers.ReLU(name="rectified")(joined))))


def test_a_concatenation_keeps_its_parts_apart_in_their_order():
    model = joined_branches()
    first, second = (kernel(model, name).sum(axis=0) for name in ("first", "second"))
    np.testing.assert_allclose(norms_of(model, "rectified"), np.concatenate([second, first]))
    assert feeding(model, "rectified") == ["first", "second"]


def test_a_concatenation_of_positions_is_fed_by_all_parts():
    model = joined_branches(axis=1)
    first, second = (kernel(model, name).sum(axis=0) for name in ("first", "second"))
    np.testing.assert_allclose(norms_of(model, "rectified"), first + second)


def test_a_residual_stream_is_fed_by_all_that_was_added():
    inputs = keras.Input((4,))
    stream = layers.Dense(5, name="stem")(inputs)
    for i in range(2):
        inside = layers.Dense(7, "relu", name=f"inside_{i}")(stream)
        stream = layers.Add(name=f"sum_{i}")([stream, layers.Dense(5, name=f"outside_{i}")(inside)])
    model = randomize(keras.Model(inputs, layers.Dense(2, name="head")(stream)))
    names = ["stem", "outside_0", "outside_1"]
    assert feeding(model, "sum_1") == names
    assert feeding(model, "sum_0") == names[:2]
    expected = sum(kernel(model, name).sum(axis=0) for name in names)
    np.testing.assert_allclose(norms_of(model, "sum_1"), expected)
    # Negative control: layers behind other units do not count.
    assert np.abs(norms_of(model, "inside_1") - kernel(model, "inside_1").sum(axis=0)).max() < 1e-9


def test_shared_layers_and_nested_models():
    shared = make("shared")
    assert feeding(shared, "twice") == ["twice"]
    np.testing.assert_allclose(norms_of(shared, "twice#2"), kernel(shared, "twice").sum(axis=0))
    nested = make("nested")
    assert feeding(nested, "inner/sum") == ["inner/wide", "inner/block/deep"]
    wide, deep = (
        kernel(nested.get_layer("inner"), "wide"),
        kernel(nested.get_layer("inner").get_layer("block"), "deep"),
    )
    sums = wide.sum(axis=0) + deep.sum(axis=0)
    np.testing.assert_allclose(norms_of(nested, "both"), np.concatenate([sums, sums]))


def test_a_gate_counts_beside_what_it_multiplies(branched_model):
    """One number for all channels, or one a channel."""
    inputs = keras.Input((6,))
    values, gate = layers.Dense(4, name="values")(inputs), layers.Dense(1, "sigmoid", name="gate")(inputs)
    model = randomize(keras.Model(inputs, layers.Dense(2)(layers.Multiply(name="gated")([values, gate]))))
    expected = kernel(model, "values").sum(axis=0) + kernel(model, "gate").sum()
    np.testing.assert_allclose(norms_of(model, "gated"), expected)
    assert feeding(branched_model, "gated") == ["first", "second", "gate"]


def test_the_kernel_of_layers():
    for layer, shape, attribute in (
        (layers.Dense(3), (5, 4), "kernel"),
        (layers.Conv2D(3, 2), (5, 6, 6, 4), "kernel"),
        (layers.DepthwiseConv2D(2), (5, 6, 6, 4), "kernel"),
        (layers.SeparableConv2D(3, 2), (5, 6, 6, 4), "pointwise_kernel"),
    ):
        assert kernel_of(layer) is None
        layer.build(shape)
        assert kernel_of(layer) is getattr(layer, attribute)
    for layer in (layers.BatchNormalization(), layers.Embedding(3, 4), layers.ReLU(), object()):
        assert kernel_of(layer) is None


def tapped(build) -> keras.Model:
    """Units behind a layer of as many units as it reads, on four steps of four features."""
    inputs = keras.Input((4, 4))
    made = build(layers.Dense(4, name="before")(inputs))
    return randomize(keras.Model(inputs, layers.Dense(2)(layers.ReLU(name="rectified")(made))))


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("lstm", lambda x: layers.LSTM(4, return_sequences=True, name="lstm")(x)),
        ("attention", lambda x: layers.MultiHeadAttention(2, 2, name="attention")(x, x)),
        ("weightless", lambda x: layers.Attention(name="weightless")([x, x])),
        ("distributed", lambda x: layers.TimeDistributed(layers.Dense(4), name="distributed")(x)),
        ("permuted", lambda x: layers.Permute((2, 1), name="permuted")(x)),
        ("matmul", lambda x: ops.matmul(x, x)),
        ("sliced", lambda x: x[..., 1:4]),
        ("reshaped", lambda x: layers.Reshape((8, 2), name="reshaped")(x)),
    ],
)
def test_units_that_an_operation_mixes_are_refused(name, build):
    model = tapped(build)
    for function in (norms_of, feeding):
        with pytest.raises(ValueError, match="taps: expected units that dense .* mixes; leave that tap out"):
            function(model, "rectified")
        assert len(function(model, "before"))


@pytest.mark.parametrize("function", [norms_of, feeding])
def test_units_of_the_input_are_refused_wherever_they_come_in(function):
    inputs = keras.Input((4,))
    rectified = layers.ReLU(name="rectified")(inputs)
    summed = layers.Add(name="summed")([inputs, layers.Dense(4)(inputs)])
    joined = layers.Concatenate(name="joined")([layers.Dense(3)(summed), rectified])
    model = randomize(keras.Model(inputs, layers.Dense(2)(joined)))
    for name in ("rectified", "summed", "joined"):
        with pytest.raises(ValueError, match="received units that are the network's input; leave that tap out"):
            function(model, name)
