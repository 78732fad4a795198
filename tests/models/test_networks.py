"""Every network computes what its description says: against plain NumPy, float64."""

import functools
import re

import keras
import numpy as np
import numpy_forward
import pytest
from outlines import without_weights

from tfunits import models
from tfunits.configs import MODELS
from tfunits.layers import LocalResponseNormalization
from tfunits.surgery import Graph, tap_keys

IMAGE = (32, 32, 3)
INPUT_SHAPES = dict.fromkeys(models.BUILDERS, IMAGE) | {"mlp": (8, 8, 1), "fc5": (10,)}
# At the smallest sizes some networks have a single unit in a layer, which may be dead.
SIZES = {"resnet56": 0.25, "wide_resnet28": 0.25, "densenet40": 0.25}
LAST_WIDTH = [name for name, known in MODELS.items() if "last_width" in known.options]


def build(name: str, *, seed: int = 0, **options) -> keras.Model:
    options = {"size": SIZES.get(name, 0.0625), "input_shape": INPUT_SHAPES[name], "num_classes": 2, **options}
    return models.build(name, seed=seed, **options)


def outline(name: str, **options) -> keras.Model:
    """A network without weights."""
    with without_weights():
        return models.build(name, **{"num_classes": 2, **options})


def tap_shapes(model: keras.Model) -> dict[str, tuple[int, ...]]:
    graph = Graph(model)
    return {tap: graph.shape(key)[1:] for tap, key in tap_keys(graph).items()}


@functools.cache
def randomized(name: str, **options) -> tuple[keras.Model, dict[str, np.ndarray], np.ndarray]:
    """A tiny network, its variables and inputs, all random; pre-activations keep a standard deviation near 100."""
    model, generator = build(name, **options), np.random.default_rng(0)
    for variable in model.variables:
        values = generator.normal(size=variable.shape)
        if variable.path.endswith("variance"):
            values = generator.uniform(0.5, 2, size=variable.shape)
        elif variable.path.endswith("kernel"):
            values *= np.sqrt(2 / np.prod(variable.shape[:-1]))
        variable.assign(values)
    weights = {variable.path: variable.numpy().astype("float64") for variable in model.variables}
    # Large inputs, since the response normalisation's constant of 2e-5 does nothing to small ones.
    return model, weights, 100 * generator.normal(size=(3, *model.input_shape[1:])).astype("float32")


def largest_difference(name: str, options: dict, **change) -> float:
    """Between Keras' and NumPy's logits, in units of the logits' standard deviation; of two outputs, the larger."""
    model, weights, inputs = randomized(name, **options)
    received = keras.tree.flatten(model(inputs, training=False))
    expected = keras.tree.flatten(getattr(numpy_forward, name)(weights, inputs.astype("float64"), **change))
    differences = [np.abs(left - right).max() / right.std() for left, right in zip(received, expected, strict=True)]
    return max(differences)


# Float32 rounding (6e-8) through sums of up to a thousand terms in up to a hundred layers.
TOLERANCE = 1e-4
# From 75 pixels on, Inception-v3 does not pad.
UNPADDED = {"input_shape": (75, 75, 3)}
WIDENED = {"size": 2}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {}) for name in models.BUILDERS),
        *((name, {"last_width": 5}) for name in LAST_WIDTH),
        ("wide_resnet28", WIDENED),
        ("inception_v3", UNPADDED),
        ("inception_v3", {"input_shape": (8, 8, 1)}),
    ],
)
def test_logits_are_those_of_plain_numpy(name, options):
    assert largest_difference(name, options) < TOLERANCE


@pytest.mark.parametrize(
    ("name", "options", "change"),
    [
        ("alexnet", {}, {"alpha": 0.0}),
        ("alexnet", {}, {"alpha": 2e-5 / 5}),  # Divided by the window, as in the first AlexNet.
        ("alexnet", {}, {"pool_padding": (1, 0)}),  # The odd pixel in front.
        ("resnet18", {}, {"fixed_padding": False}),
        ("resnet18", {}, {"epsilon": 1e-3}),  # Keras' default.
        ("resnet56", {}, {"fixed_padding": False}),
        ("resnet56", {}, {"epsilon": 1e-3}),
        ("resnet56", {}, {"pooled_stem": True}),
        ("resnet50", {}, {"strided_3x3": True}),  # Version 1.5.
        ("resnet50", {}, {"epsilon": 1e-3}),
        ("resnet50", {}, {"rectified_branch": True}),
        ("resnet50", {}, {"fixed_padding": False}),
        ("resnet50", {}, {"pool_padding": (1, 0)}),
        ("wide_resnet28", {}, {"same_padding": True}),
        ("wide_resnet28", {}, {"last_relu": True}),
        ("wide_resnet28", {}, {"activated_shortcut": True}),
        ("wide_resnet28", WIDENED, {"activated_shortcut": True}),
        ("wide_resnet28", {}, {"epsilon": 1e-3}),
        ("densenet40", {}, {"new_first": True}),
        ("densenet40", {}, {"last_relu": True}),
        ("densenet40", {}, {"max_pooled": True}),
        ("densenet40", {}, {"epsilon": 1e-3}),
        ("inception_v3", {}, {"counts_padding": True}),
        ("inception_v3", {}, {"max_pooled_branch": True}),
        ("inception_v3", {}, {"pool_first": True}),
        ("inception_v3", {}, {"epsilon": 1e-5}),
        ("inception_v3", UNPADDED, {"smallest_unpadded": 76}),
        ("inception_v3", UNPADDED, {"counts_padding": True}),
    ],
)
def test_every_detail_of_the_description_shows(name, options, change):
    """Negative control of the comparison above."""
    assert largest_difference(name, options, **change) > 2 * TOLERANCE


def rows(sides: dict[str, int], widths: dict[str, int]) -> dict[str, tuple[int, ...]]:
    return {tap: (side, side, widths[tap]) for tap, side in sides.items()}


INCEPTION_SIDES = {
    "conv0": 149, "conv1": 147, "conv2": 147, "conv3": 73, "conv4": 71,
    "mixed_35x35x256a": 35, "mixed_35x35x288a": 35, "mixed_35x35x288b": 35,
    "mixed_17x17x768a": 17, "mixed_17x17x768b": 17, "mixed_17x17x768c": 17, "mixed_17x17x768d": 17,
    "mixed_17x17x768e": 17, "mixed_17x17x1280a": 8, "mixed_8x8x2048a": 8, "mixed_8x8x2048b": 8,
}  # fmt: skip
INCEPTION_WIDTHS = {
    "conv0": 32, "conv1": 32, "conv2": 64, "conv3": 80, "conv4": 192,
    **{name: int(re.search(r"x(\d+)[a-e]$", name)[1]) for name in INCEPTION_SIDES if name.startswith("mixed")},
}  # fmt: skip
# (network, input shape) -> taps at a quarter, and at 1.
TAP_SHAPES = {
    ("alexnet", (32, 32, 3)): (
        {"conv1": (32, 32, 24), "conv2": (16, 16, 64), "fc3": (96,), "fc4": (48,)},
        {"conv1": (32, 32, 96), "conv2": (16, 16, 256), "fc3": (384,), "fc4": (192,)},
    ),
    ("resnet56", (32, 32, 3)): (
        {"stem": (32, 32, 4), "stage1": (32, 32, 4), "stage2": (16, 16, 8), "stage3": (8, 8, 16)},
        {"stem": (32, 32, 16), "stage1": (32, 32, 16), "stage2": (16, 16, 32), "stage3": (8, 8, 64)},
    ),
    ("resnet18", (224, 224, 3)): (
        {"stem": (112, 112, 16), "stage1": (56, 56, 16), "stage2": (28, 28, 32), "stage3": (14, 14, 64),
         "stage4": (7, 7, 128)},
        {"stem": (112, 112, 64), "stage1": (56, 56, 64), "stage2": (28, 28, 128), "stage3": (14, 14, 256),
         "stage4": (7, 7, 512)},
    ),
    ("resnet50", (224, 224, 3)): (
        {"stem": (112, 112, 64), "stage1": (56, 56, 64), "stage2": (28, 28, 128), "stage3": (14, 14, 256),
         "stage4": (7, 7, 512), "pooled": (512,)},
        {"stem": (112, 112, 64), "stage1": (56, 56, 256), "stage2": (28, 28, 512), "stage3": (14, 14, 1024),
         "stage4": (7, 7, 2048), "pooled": (2048,)},
    ),
    ("inception_v3", (299, 299, 3)): (
        # A quarter of every width but that of the block with 192 units that do not scale.
        rows(INCEPTION_SIDES, {tap: width // 4 for tap, width in INCEPTION_WIDTHS.items()}
             | {"mixed_17x17x768d": 336}),
        rows(INCEPTION_SIDES, INCEPTION_WIDTHS),
    ),
    ("wide_resnet28", (32, 32, 3)): (
        {"stem": (32, 32, 4), "stage1": (32, 32, 4), "stage2": (16, 16, 8), "stage3": (8, 8, 16), "pooled": (16,)},
        {"stem": (32, 32, 16), "stage1": (32, 32, 16), "stage2": (16, 16, 32), "stage3": (8, 8, 64), "pooled": (64,)},
    ),
    ("densenet40", (32, 32, 3)): (
        {"stem": (32, 32, 4), "stage1": (32, 32, 16), "stage2": (16, 16, 20), "stage3": (8, 8, 22), "pooled": (22,)},
        {"stem": (32, 32, 16), "stage1": (32, 32, 64), "stage2": (16, 16, 80), "stage3": (8, 8, 88), "pooled": (88,)},
    ),
    ("mlp", (8, 8, 1)): ({"hidden": (32,)}, {"hidden": (128,)}),
    ("fc5", (10,)): tuple({f"hidden{i}": (width,) for i in (1, 2, 3, 4)} for width in (32, 128)),
}  # fmt: skip


@pytest.mark.parametrize(("name", "input_shape"), TAP_SHAPES)
def test_taps_and_their_shapes_at_the_papers_images(name, input_shape):
    for size, expected in zip((0.25, 1), TAP_SHAPES[name, input_shape], strict=True):
        received = tap_shapes(outline(name, size=size, input_shape=input_shape))
        assert received == expected
        assert list(received) == list(expected)


def test_widening_leaves_the_stem_of_the_wide_resnet():
    shapes = tap_shapes(outline("wide_resnet28", size=8, input_shape=IMAGE))
    assert {tap: shape[-1] for tap, shape in shapes.items()} == {
        "stem": 16, "stage1": 128, "stage2": 256, "stage3": 512, "pooled": 512,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("size", "unscaled_branch", "width"),
    [(0.25, None, 336), (0.5, None, 480), (1, None, 768), (0.5, True, 480), (0.5, False, 384), (1, False, 768)],
)
def test_one_branch_of_inception_keeps_its_192_units(size, unscaled_branch, width):
    model = outline("inception_v3", size=size, input_shape=IMAGE, unscaled_branch=unscaled_branch)
    assert tap_shapes(model)["mixed_17x17x768d"][-1] == width


def test_the_layer_size_of_inception_changes_one_block_and_what_pooling_passes_on():
    plain = tap_shapes(outline("inception_v3", size=0.5, input_shape=IMAGE))
    for layer_size, width in ((0.25, 72), (4, 1152)):
        model = outline("inception_v3", size=0.5, layer_size=layer_size, input_shape=IMAGE)
        shapes = tap_shapes(model)
        changed = {tap: shape[-1] for tap, shape in shapes.items() if shape != plain[tap]}
        assert changed == {"mixed_35x35x288b": width, "mixed_17x17x768a": 240 + width}
        units = [
            layer.filters // layer_size
            for layer in model.layers
            if layer.name.startswith("mixed_35x35x288b") and isinstance(layer, keras.layers.Conv2D)
        ]
        assert sorted(units) == sorted([64, 48, 64, 64, 96, 96, 64])


def test_widths_inside_the_blocks_of_inception():
    model = outline("inception_v3", size=1, input_shape=IMAGE)
    inner = {
        letter: {model.get_layer(f"mixed_17x17x768{letter}_branch{branch}_step1").filters for branch in (2, 3)}
        for letter in "bcde"
    }
    assert inner == {"b": {128}, "c": {160}, "d": {160}, "e": {192}}
    assert [model.get_layer(f"auxiliary_conv{i}").filters for i in (1, 2)] == [128, 768]
    thin = outline("inception_v3", size=0.25, input_shape=IMAGE)
    assert [thin.get_layer(f"auxiliary_conv{i}").filters for i in (1, 2)] == [32, 192]


@pytest.mark.parametrize("name", LAST_WIDTH)
def test_a_last_width_is_that_of_the_pooled_tap_at_every_size(name):
    for size in (0.25, 2):
        plain = tap_shapes(outline(name, size=size, input_shape=IMAGE))
        shapes = tap_shapes(outline(name, size=size, input_shape=IMAGE, last_width=7))
        assert shapes == {**plain, "pooled": (7,)}


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
    model = build(name, num_classes=num_classes)
    heads = ["logits", "auxiliary_logits"] if name == "inception_v3" else ["output" if name == "fc5" else "logits"]
    graph = Graph(model)
    assert [graph.producer[key].name for key in graph.outputs] == heads
    for head, output in zip(heads, model.outputs, strict=True):
        assert output.shape == (None, 1 if name == "fc5" else 7)
        assert model.get_layer(head).activation is keras.activations.linear


@pytest.mark.parametrize("name", [name for name, known in MODELS.items() if "image" in known.input_kinds])
def test_image_networks_build_for_small_images(name):
    model = build(name, input_shape=(8, 8, 1), num_classes=3)
    for logits in keras.tree.flatten(model(np.ones((2, 8, 8, 1), "float32"))):
        assert np.isfinite(logits).all()
    assert tap_shapes(outline(name, input_shape=(8, 8, 4))).keys() == models.taps(model).keys()


@pytest.mark.parametrize(("side", "left"), [(74, 2), (75, 1), (299, 1), (347, 2)])
def test_inception_has_the_same_weights_at_every_image_size(side, left):
    """Also where its auxiliary convolution, of 5x5 as 299 pixels leave it, meets a larger or smaller image."""
    shapes = [variable.shape for variable in outline("inception_v3", input_shape=IMAGE).variables]
    model = outline("inception_v3", input_shape=(side, side, 3))
    assert [variable.shape for variable in model.variables] == shapes
    assert model.get_layer("auxiliary_mean").input.shape == (None, left, left, 768)


# network -> number of layers, (momentum, epsilon, beta, gamma).
NORMALIZATIONS = {
    "densenet40": (1 + 3 * 6 * 2 + 2 + 1, (0.9, 1e-5, True, True)),
    "inception_v3": (5 + 3 * 7 + 4 + 4 * 10 + 6 + 2 * 9 + 2, (0.9997, 1e-3, True, False)),
    "resnet18": (1 + 4 * (2 * 2 + 1), (0.997, 1e-5, True, True)),
    "resnet50": (1 + 16 * 3 + 4, (0.997, 1e-5, True, True)),
    "resnet56": (1 + 3 * (9 * 2 + 1), (0.997, 1e-5, True, True)),
    "wide_resnet28": (3 * 4 * 2 + 1, (0.9, 1e-5, True, True)),
}


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_batch_normalisation_is_that_of_the_recipe(name):
    number, constants = NORMALIZATIONS[name]
    model = outline(name, input_shape=IMAGE)
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(layers) == number
    assert {(layer.momentum, layer.epsilon, layer.center, layer.scale) for layer in layers} == {constants}
    assert all(layer.synchronized and layer.name.endswith("_bn") for layer in layers)


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


def test_dropout_of_inception_stands_behind_the_mean():
    model, whole = build("inception_v3", dropout_rate=0.2, size=0.25), build("inception_v3", size=0.25)
    graph = Graph(model)
    [dropped] = [call for call in graph.calls if call.name.startswith("dropout")]
    assert graph.producer[dropped.inputs[0]].name == "mean"
    assert [call.name for call in graph.consumers(dropped.outputs[0])] == ["logits"]
    assert model.get_layer("dropout_mean").rate == 0.2
    assert not any("dropout" in layer.name for layer in whole.layers)


def test_without_auxiliary_head_the_layers_are_the_same():
    model, _, inputs = randomized("inception_v3")
    logits, _ = model(inputs, training=False)
    alone = models.without_auxiliary_head(model)
    np.testing.assert_array_equal(alone(inputs, training=False), logits)
    assert alone.output_shape == (None, 2)
    assert models.taps(alone) == models.taps(model)
    left = {layer.name: layer for layer in alone.layers}
    assert all(model.get_layer(name) is layer for name, layer in left.items())
    removed = {layer.name for layer in model.layers} - set(left)
    assert removed
    assert all(name.startswith("auxiliary") for name in removed)
    assert models.without_auxiliary_head(alone) is alone


def test_a_network_built_without_auxiliary_head_is_the_other_one_without_it():
    without = build("inception_v3", auxiliary_head=False)
    cut = models.without_auxiliary_head(build("inception_v3"))
    assert without.output_shape == (None, 2)
    for left, right in zip(without.variables, cut.variables, strict=True):
        assert left.path == right.path
        np.testing.assert_array_equal(left.numpy(), right.numpy())


def policies(model: keras.Model) -> dict[str, str]:
    """Precision of every layer that computes."""
    return {layer.name: layer.dtype_policy.name for layer in model.layers[1:]}


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        *((name, "mixed_bfloat16") for name in models.BUILDERS),
        ("alexnet", "mixed_float16"),
        ("wide_resnet28", "mixed_float16"),
    ],
)
def test_precision_is_that_of_every_layer_but_the_heads(name, precision):
    model, exact = build(name, precision=precision), build(name)
    heads = {"logits", "auxiliary_logits", "output"}
    for layer, policy in policies(model).items():
        # TensorFlow has no response normalisation in bfloat16 for CPUs.
        in_float32 = layer in heads or isinstance(model.get_layer(layer), LocalResponseNormalization)
        assert policy == ("float32" if in_float32 else precision), layer
    for left, right in zip(model.variables, exact.variables, strict=True):
        assert left.dtype == "float32"
        np.testing.assert_array_equal(left.numpy(), right.numpy())
    inputs = np.random.default_rng(0).normal(size=(2, *INPUT_SHAPES[name])).astype("float32")
    for logits in keras.tree.flatten(model(inputs, training=False)):
        assert logits.dtype == "float32"
        assert np.isfinite(logits).all()
    assert set(policies(exact).values()) == {"float32"}


@pytest.mark.parametrize("own", ["float32", "mixed_float16"])
def test_building_leaves_the_precision_of_other_layers(own):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(own)
    try:
        assert build("mlp").get_layer("hidden").dtype_policy.name == "float32"
        build("mlp", precision="mixed_bfloat16")
        assert keras.layers.Dense(1).dtype_policy.name == own
        with pytest.raises(ValueError, match="num_classes: expected 2"):
            build("fc5", num_classes=3, precision="mixed_bfloat16")
        assert keras.layers.Dense(1).dtype_policy.name == own
    finally:
        keras.config.set_dtype_policy(before)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {}) for name in models.BUILDERS),
        ("wide_resnet28", {"last_width": 5, "precision": "mixed_bfloat16"}),
    ],
)
def test_networks_save_and_load(name, options, tmp_path):
    model, _, inputs = randomized(name, **options)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for left, right in zip(keras.tree.flatten(loaded(inputs)), keras.tree.flatten(model(inputs)), strict=True):
        np.testing.assert_array_equal(left, right)
    assert models.taps(loaded) == models.taps(model)
    assert policies(loaded) == policies(model)


def test_a_loaded_inception_gives_up_its_auxiliary_head(tmp_path):
    model, _, inputs = randomized("inception_v3")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(models.without_auxiliary_head(loaded)(inputs), model(inputs)[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "vgg"}, "name: expected one of alexnet, densenet40, .*, wide_resnet28, received 'vgg'"),
        ({"name": "mlp", "size": 0}, "size=0: expected a number above 0"),
        ({"name": "mlp", "size": -1}, "size=-1: expected a number above 0"),
        ({"name": "mlp", "size": 0.001}, "hidden would have .* = 0 units; use --size=0.0078"),
        ({"name": "mlp", "initializer": "zeros"}, "initializer=zeros: expected one of glorot_normal, .*"),
        ({"name": "fc5", "num_classes": 10}, "num_classes: expected 2, since fc5 has one output, received 10"),
        ({"name": "mlp", "dropout_rate": 0.5}, "dropout_rate: expected 0, since mlp has no dropout, received 0.5"),
        ({"name": "mlp", "layer_size": 2.0}, "layer_size=2: expected no such flag with --model=mlp; .*inception_v3"),
        (
            {"name": "alexnet", "auxiliary_head": False},
            "auxiliary_head=False: expected .* --model=alexnet; .*inception",
        ),
        ({"name": "resnet50", "unscaled_branch": True}, "unscaled_branch=True: expected .*; .*inception_v3"),
        ({"name": "resnet56", "last_width": 64}, "last_width=64: expected .*; .*densenet40, resnet50, wide_resnet28"),
        ({"name": "inception_v3", "layer_size": 0}, "layer_size=0: expected a number above 0"),
        ({"name": "densenet40", "last_width": 0}, "last_width=0: expected a whole number of at least 1"),
        ({"name": "mlp", "precision": "float64"}, "precision: expected one of float32, .*, received float64"),
        ({"name": "resnet50", "size": 0.01}, r"size=0.01: .* would have int\(64 \* 0.01\) = 0 units"),
        ({"name": "inception_v3", "layer_size": 0.02}, r"layer_size=0.02: .* would have int\(48 \* 0.02\) = 0 units"),
    ],
)
def test_what_cannot_be_built_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        models.build(**{"input_shape": (32, 32, 3), "num_classes": 2, **options})


@pytest.mark.parametrize(
    ("field", "value"), [("layer_size", 0.0), ("last_width", 0), ("precision", "half"), ("init_scale", 0.0)]
)
def test_build_options_check_themselves(field, value):
    with pytest.raises(ValueError, match=f"{field}: expected .*, received {value}"):
        models.BuildOptions(input_shape=IMAGE, num_classes=2, **{field: value})
