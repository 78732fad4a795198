"""Trainable parameters of every network at every published width (FACTS section 1)."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
from outlines import without_weights

from tfunits import models

SIZES = (0.25, 0.5, 1, 2, 4)
THREE_SIZES = SIZES[:3]
IMAGENET = (299, 299, 3)
# (network, input shape, classes, sizes) -> published counts at these sizes.
PUBLISHED = {
    ("alexnet", (32, 32, 3), 10, SIZES): (438746, 1749930, 6989642, 27938442, 111713546),
    ("resnet56", (32, 32, 3), 10, SIZES): (54518, 215362, 856058, 3413482, 13632458),
    ("resnet18", (224, 224, 3), 1001, SIZES): (831513, 3057225, 11694249, 45710697, 180713193),
    ("inception_v3", IMAGENET, 1001, THREE_SIZES): (2286026, 7571266, 27145970),
    ("mlp", (10,), 2, SIZES): (418, 834, 1666, 3330, 6658),
    ("mlp", (10_000,), 2, SIZES): (320098, 640194, 1280386, 2560770, 5121538),
    # FACTS 14.1; a size of a quarter and a half is 4 and 8 stem channels with a widening of 1.
    ("wide_resnet28", (32, 32, 3), 10, (*SIZES, 8)): (23646, 93106, 369498, 1467610, 5849050, 23354842),
    ("wide_resnet28", (32, 32, 3), 100, (16,)): (93430324,),
    ("densenet40", (32, 32, 3), 10, (1, 2, 4, 8, 16)): (79882, 310026, 1221130, 4846602, 19310602),
    # He et al. 2016 with 1000 classes.
    ("resnet50", (224, 224, 3), 1000, (1,)): (25557032,),
}
CASES = [
    (name, {"input_shape": shape, "num_classes": num_classes, "size": size}, count)
    for (name, shape, num_classes, sizes), counts in PUBLISHED.items()
    for size, count in zip(sizes, counts, strict=True)
]
# Size of the varied block of Inception-v3 -> published count, at size 1 of all others.
PUBLISHED_LAYER = dict(zip(SIZES, (25993598, 26350842, 27145970, 29058786, 34174658), strict=True))
THIN_INCEPTION = {"input_shape": IMAGENET, "num_classes": 1001, "size": 0.25}


def count_in_outline(name: str, **options) -> int:
    """Trainable parameters of the Keras model itself."""
    with without_weights():
        model = models.build(name, **options)
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)


@pytest.mark.parametrize(("name", "options", "count"), CASES)
def test_published_counts(name, options, count):
    assert models.count_parameters(name, **options) == count
    assert count_in_outline(name, **options) == count


@pytest.mark.parametrize("layer_size", SIZES)
def test_published_counts_of_the_inception_with_one_varied_block(layer_size):
    options = {**THIN_INCEPTION, "size": 1, "layer_size": layer_size}
    assert models.count_parameters("inception_v3", **options) == PUBLISHED_LAYER[layer_size]
    assert count_in_outline("inception_v3", **options) == PUBLISHED_LAYER[layer_size]


@pytest.mark.parametrize(
    ("name", "options", "count"), [case for case in CASES if case[1]["size"] == 0.25 or case[0] == "densenet40"][:7]
)
def test_a_built_network_has_the_published_count(name, options, count):
    model = models.build(name, **options)
    assert sum(np.size(variable.numpy()) for variable in model.trainable_variables) == count


@pytest.mark.parametrize(
    ("name", "options", "missing"),
    [
        ("alexnet", {"input_shape": (28, 28, 3)}, 438746 - 346586),
        ("resnet18", {"num_classes": 1000}, 129),
        # One class less in both heads, each with a bias: 2048 / 4 and 768 / 4 units.
        ("inception_v3", {"num_classes": 1000}, 513 + 193),
        ("inception_v3", {"unscaled_branch": False}, 55440),
        # 1x1 and 5x5 convolutions with an offset per unit, and the dense head.
        ("inception_v3", {"auxiliary_head": False}, 192 * 32 + 32 + 25 * 32 * 192 + 192 + 193 * 1001),
    ],
)
def test_another_convention_gives_another_count(name, options, missing):
    """Negative control: FACTS states what a smaller image and one class less would give at a quarter."""
    [(published, count)] = [case[1:] for case in CASES if case[0] == name and case[1]["size"] == 0.25]
    assert models.count_parameters(name, **{**published, **options}) == count - missing
    assert count_in_outline(name, **{**published, **options}) == count - missing


def test_the_unscaled_branch_at_a_half():
    options = {**THIN_INCEPTION, "size": 0.5, "unscaled_branch": False}
    assert models.count_parameters("inception_v3", **options) == 7571266 - 73824
    assert count_in_outline("inception_v3", **options) == 7571266 - 73824


@pytest.mark.parametrize("side", [8, 32, 75, 224])
def test_the_count_of_inception_is_that_of_every_image_size(side):
    options = {**THIN_INCEPTION, "input_shape": [side, side, 3]}
    assert models.count_parameters("inception_v3", **options) == 2286026
    assert count_in_outline("inception_v3", **options) == 2286026


@pytest.mark.parametrize(
    ("name", "sizes", "counts"),
    [
        ("resnet56", (0.25, 4), (1072, 17152)),
        ("resnet18", (0.25, 4), (2432, 38912)),
        ("inception_v3", THREE_SIZES, (9344, 18304, 36224)),
    ],
)
def test_moving_statistics_are_not_trained(name, sizes, counts):
    for size, count in zip(sizes, counts, strict=True):
        with without_weights():
            model = models.build(name, size=size, input_shape=(32, 32, 3), num_classes=10)
        assert sum(np.prod(variable.shape) for variable in model.non_trainable_variables) == count


@pytest.mark.parametrize(
    ("name", "size", "features"), [("wide_resnet28", 2, 128), ("densenet40", 2, 176), ("resnet50", 0.25, 512)]
)
def test_a_last_width_adds_one_convolution(name, size, features):
    """features * width + 2 * width of the convolution and its normalisation, and a head that reads `width` units."""
    shapes = {"size": size, "input_shape": (32, 32, 3), "num_classes": 10}
    width = 64
    added = features * width + 2 * width + (width - features) * 10
    plain = models.count_parameters(name, **shapes)
    assert models.count_parameters(name, **shapes, last_width=width) == plain + added
    assert count_in_outline(name, **shapes, last_width=width) == plain + added


def test_counts_of_fc5():
    """Four hidden layers of h units and one output: 10 h + h + 3 (h^2 + h) + h + 1."""
    for size, h in ((1 / 16, 8), (4, 512)):
        options = {"size": size, "input_shape": (10,), "num_classes": 2}
        expected = 11 * h + 3 * (h * h + h) + h + 1
        assert models.count_parameters("fc5", **options) == count_in_outline("fc5", **options) == expected


def test_counting_makes_no_network(monkeypatch):
    """At size 4 the weights of Inception-v3 would take 1.6 GB."""
    monkeypatch.setattr(models, "BUILDERS", dict.fromkeys(models.BUILDERS))
    [count] = [count for name, options, count in CASES if name == "resnet18" and options["size"] == 4]
    assert models.count_parameters("resnet18", size=4, input_shape=(224, 224, 3), num_classes=1001) == count
    # Negative control: what makes one fails.
    with pytest.raises(TypeError, match="not callable"):
        models.build("resnet18", size=4, input_shape=(224, 224, 3), num_classes=1001)


def test_counting_makes_no_weights():
    """At size 4 ResNet18 would take 180,713,193 * 4 bytes = 723 MB, Inception-v3 1.6 GB."""
    # Not getrusage, whose peak a new process inherits from the one that started it.
    program = """
import pathlib, re, time
from tfunits import models
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1])
def count(size):
    for name in ("resnet18", "inception_v3"):
        models.count_parameters(name, size=size, input_shape=(299, 299, 3), num_classes=1001)
    return peak()
first, start = count(0.25), time.monotonic()
print(count(4) - first, peak(), time.monotonic() - start)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    grown, largest, seconds = map(float, finished.stdout.split()[-3:])
    assert grown < 300_000
    assert largest < 2 * 1024**2
    assert seconds < 10


def test_unknown_networks_are_refused():
    with pytest.raises(ValueError, match="name: expected one of alexnet, .*, received 'vgg'"):
        models.count_parameters("vgg", size=1, input_shape=(10,), num_classes=2)


@pytest.mark.parametrize("name", models.BUILDERS)
@pytest.mark.parametrize(
    ("shape", "num_classes"),
    [
        *[(shape, 2) for shape in ((), (16,), (0, 0, 3), (1, 1, 3), (3, 3, 1), (8, 8), (8, 8, 3, 1))],
        ((8, 8, 3), 3), ((8, 8, 3), 2.5), ((8, 8, 3), 0), ((8.0, 8, 3), 2),
    ],
)  # fmt: skip
def test_what_cannot_be_built_is_not_counted(name, shape, num_classes):
    options = {"size": 0.25, "input_shape": shape, "num_classes": num_classes}
    try:
        expected = count_in_outline(name, **options)
    except (ValueError, TypeError):
        with pytest.raises(
            ValueError, match="^(input_shape|num_classes): expected .*, received|^input_shape: .* receives"
        ):
            models.count_parameters(name, **options)
    else:
        assert models.count_parameters(name, **options) == expected


def test_sides_that_are_not_known_are_not_counted():
    options = {"size": 0.25, "input_shape": (None, None, 3), "num_classes": 2}
    assert count_in_outline("resnet18", **options) > 0
    with pytest.raises(ValueError, match=r"input_shape: expected sides that are known, received \(None, None, 3\)"):
        models.count_parameters("resnet18", **options)
