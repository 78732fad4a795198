"""Trainable parameters of every network at every published width (FACTS section 1)."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tfunits import models

SIZES = (0.25, 0.5, 1, 2, 4)
# (network, input shape, classes) -> published counts at `SIZES`.
PUBLISHED = {
    ("alexnet", (32, 32, 3), 10): (438746, 1749930, 6989642, 27938442, 111713546),
    ("resnet18", (224, 224, 3), 1001): (831513, 3057225, 11694249, 45710697, 180713193),
    ("mlp", (10,), 2): (418, 834, 1666, 3330, 6658),
    ("mlp", (10_000,), 2): (320098, 640194, 1280386, 2560770, 5121538),
}
CASES = [(*case, size, count) for case, counts in PUBLISHED.items() for size, count in zip(SIZES, counts, strict=True)]


@pytest.mark.parametrize(("name", "input_shape", "num_classes", "size", "count"), CASES)
def test_published_counts(name, input_shape, num_classes, size, count):
    received = models.count_parameters(name, size=size, input_shape=input_shape, num_classes=num_classes)
    assert received == count


@pytest.mark.parametrize(("name", "input_shape", "num_classes", "size", "count"), CASES[:: len(SIZES)])
def test_a_built_network_has_the_published_count(name, input_shape, num_classes, size, count):
    model = models.build(name, size=size, input_shape=input_shape, num_classes=num_classes)
    assert sum(np.size(variable.numpy()) for variable in model.trainable_variables) == count


@pytest.mark.parametrize(
    ("name", "input_shape", "num_classes", "missing"),
    [
        ("alexnet", (28, 28, 3), 10, 438746 - 346586),
        ("resnet18", (224, 224, 3), 1000, 129),
    ],
)
def test_another_convention_gives_another_count(name, input_shape, num_classes, missing):
    """Negative control: FACTS states what a smaller image and one class less would give at a quarter."""
    published = next(counts[0] for (network, *_), counts in PUBLISHED.items() if network == name)
    received = models.count_parameters(name, size=0.25, input_shape=input_shape, num_classes=num_classes)
    assert received == published - missing


def test_counts_of_fc5():
    """Four hidden layers of h units and one output: 10 h + h + 3 (h^2 + h) + h + 1."""
    for size, h in ((1 / 16, 8), (4, 512)):
        received = models.count_parameters("fc5", size=size, input_shape=(10,), num_classes=2)
        assert received == 11 * h + 3 * (h * h + h) + h + 1


def test_counting_makes_no_weights():
    """ResNet18 at size 4 would take 180,713,193 * 4 bytes = 723 MB."""
    # Not getrusage, whose peak a new process inherits from the one that started it.
    program = """
import pathlib, re
from tfunits import models
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1])
def count(size):
    models.count_parameters("resnet18", size=size, input_shape=(224, 224, 3), num_classes=1001)
    return peak()
print(-count(0.25) + count(4))
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    kibibytes = int(finished.stdout.split()[-1])
    assert kibibytes < 300_000


def test_unknown_networks_are_refused():
    with pytest.raises(ValueError, match="name: expected one of alexnet, .*, received 'vgg'"):
        models.count_parameters("vgg", size=1, input_shape=(10,), num_classes=2)
