"""Every network computes what its description says: against plain NumPy, float64."""

import keras
import numpy as np
import numpy_forward
import pytest

from tfunits import models
from tfunits.surgery import Graph, tap_keys

INPUT_SHAPES = {"mlp": (8, 8, 1), "fc5": (10,), "alexnet": (32, 32, 3), "resnet18": (32, 32, 3)}


def build(name: str, *, size: float = 0.0625, seed: int = 0, **options) -> keras.Model:
    return models.build(name, size=size, input_shape=INPUT_SHAPES[name], num_classes=2, seed=seed, **options)


def randomized(name: str) -> tuple[keras.Model, dict[str, np.ndarray], np.ndarray]:
    """A tiny network, its variables and inputs, all random; pre-activations keep a standard deviation near 100."""
    model, generator = build(name), np.random.default_rng(0)
    for variable in model.variables:
        values = generator.normal(size=variable.shape)
        if variable.path.endswith("variance"):
            values = generator.uniform(0.5, 2, size=variable.shape)
        elif variable.path.endswith("kernel"):
            values *= np.sqrt(2 / np.prod(variable.shape[:-1]))
        variable.assign(values)
    weights = {variable.path: variable.numpy().astype("float64") for variable in model.variables}
    # Large inputs, since the response normalisation's constant of 2e-5 does nothing to small ones.
    return model, weights, 100 * generator.normal(size=(3, *INPUT_SHAPES[name])).astype("float32")


def largest_difference(name: str, **change) -> float:
    """Between Keras' and NumPy's logits, in units of the logits' standard deviation."""
    model, weights, inputs = randomized(name)
    expected = getattr(numpy_forward, name)(weights, inputs.astype("float64"), **change)
    return np.abs(model(inputs, training=False) - expected).max() / expected.std()


# Float32 rounding (6e-8) through sums of up to a thousand terms in up to 18 layers.
TOLERANCE = 1e-4


@pytest.mark.parametrize("name", models.BUILDERS)
def test_logits_are_those_of_plain_numpy(name):
    assert largest_difference(name) < TOLERANCE


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("alexnet", {"alpha": 0.0}),
        ("alexnet", {"alpha": 2e-5 / 5}),  # Divided by the window, as in the first AlexNet.
        ("alexnet", {"pool_padding": (1, 0)}),  # The odd pixel in front.
        ("resnet18", {"fixed_padding": False}),
        ("resnet18", {"epsilon": 1e-3}),  # Keras' default.
    ],
)
def test_every_detail_of_the_description_shows(name, change):
    """Negative control of the comparison above."""
    assert largest_difference(name, **change) > 2 * TOLERANCE


TAP_SHAPES = {
    ("alexnet", (32, 32, 3)): {"conv1": (32, 32, 24), "conv2": (16, 16, 64), "fc3": (96,), "fc4": (48,)},
    ("resnet18", (224, 224, 3)): {
        "stem": (112, 112, 16), "stage1": (56, 56, 16), "stage2": (28, 28, 32), "stage3": (14, 14, 64),
        "stage4": (7, 7, 128),
    },
    ("mlp", (8, 8, 1)): {"hidden": (32,)},
    ("fc5", (10,)): {f"hidden{i}": (32,) for i in (1, 2, 3, 4)},
}  # fmt: skip


@pytest.mark.parametrize(("name", "input_shape"), TAP_SHAPES)
def test_taps_and_their_shapes_at_a_quarter(name, input_shape):
    graph = Graph(models.build(name, size=0.25, input_shape=input_shape, num_classes=2))
    shapes = {tap: graph.shape(key)[1:] for tap, key in tap_keys(graph).items()}
    assert shapes == TAP_SHAPES[name, input_shape]


@pytest.mark.parametrize(("size", "width"), [(1 / 16, 8), (4, 512)])
def test_widths_of_fc5(size, width):
    model = build("fc5", size=size)
    assert [model.get_layer(f"hidden{i}").units for i in (1, 2, 3, 4)] == 4 * [width]
    assert model.output_shape == (None, 1)


def test_widths_are_truncated():
    assert build("mlp", size=0.1).get_layer("hidden").units == 12  # int(12.8)


@pytest.mark.parametrize("name", models.BUILDERS)
def test_outputs_are_logits_of_every_class(name):
    num_classes = 2 if name == "fc5" else 7
    model = models.build(name, size=0.0625, input_shape=INPUT_SHAPES[name], num_classes=num_classes)
    assert model.output_shape == (None, 1 if name == "fc5" else 7)
    assert keras.activations.linear is model.layers[-1].activation


@pytest.mark.parametrize("name", ["alexnet", "resnet18"])
def test_convolutional_networks_build_for_small_images(name):
    model = models.build(name, size=0.0625, input_shape=(8, 8, 1), num_classes=3)
    assert np.isfinite(model(np.ones((2, 8, 8, 1), "float32"))).all()


def test_batch_normalisation_is_that_of_the_recipe():
    layers = [layer for layer in build("resnet18").layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(layers) == 1 + 4 * (2 * 2 + 1)
    assert {(layer.momentum, layer.epsilon, layer.center, layer.scale, layer.synchronized) for layer in layers} == {
        (0.997, 1e-5, True, True, True)
    }


def test_dropout_stands_behind_the_taps_of_both_dense_layers():
    model = build("alexnet", dropout_rate=0.5)
    inputs = np.random.default_rng(0).normal(size=(64, *INPUT_SHAPES["alexnet"])).astype("float32")
    whole = build("alexnet")
    np.testing.assert_array_equal(model(inputs, training=False), whole(inputs, training=False))
    assert np.abs(model(inputs, training=True) - whole(inputs)).max() > 0
    graph = Graph(model)
    readers = {tap: [call.name for call in graph.consumers(key)] for tap, key in tap_keys(graph).items()}
    assert readers == {
        "conv1": ["pool1"], "conv2": ["pool2"], "fc3": ["dropout_fc3"], "fc4": ["dropout_fc4"],
    }  # fmt: skip
    assert {model.get_layer(f"dropout_{name}").rate for name in ("fc3", "fc4")} == {0.5}


@pytest.mark.parametrize("name", models.BUILDERS)
def test_networks_save_and_load(name, tmp_path):
    model, _, inputs = randomized(name)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(inputs), model(inputs))
    assert models.taps(loaded) == models.taps(model)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "vgg"}, "name: expected one of alexnet, fc5, mlp, resnet18, received 'vgg'"),
        ({"name": "mlp", "size": 0}, "size=0: expected a number above 0"),
        ({"name": "mlp", "size": -1}, "size=-1: expected a number above 0"),
        ({"name": "mlp", "size": 0.001}, "hidden would have .* = 0 units; use --size=0.0078125 or more"),
        ({"name": "mlp", "initializer": "zeros"}, "initializer=zeros: expected one of glorot_normal, .*"),
        ({"name": "fc5", "num_classes": 10}, "num_classes: expected 2, since fc5 has one output, received 10"),
    ],
)
def test_what_cannot_be_built_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        models.build(**{"input_shape": (10,), "num_classes": 2, **options})
