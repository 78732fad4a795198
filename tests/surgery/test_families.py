"""Removing units from whole networks: tfunits' own, and every convolutional family of keras.applications."""

import keras
import numpy as np
import pytest

from benchmarks import surgery as families
from tfunits import surgery

# Sums of a hundred layers in float32, relative to the largest output.
TOLERANCE = 1e-5
# Two of the applications in every run, one of which has gates and depthwise convolutions; the others are slow.
FAST = ("ResNet50V2", "MobileNetV3Small")


def check(model: keras.Model) -> None:
    found = families.check(families.randomize(model))
    assert found["error"] < TOLERANCE
    # Removing nothing, or units that do nothing, would show no error either.
    assert found["changed"] > 100 * TOLERANCE or found["changed"] > 100 * found["error"]
    assert found["left"] < 0.99
    assert found["removable"] == found["layers"] - len(found["reasons"])
    assert all("output" in reason for reason in found["reasons"].values())


@pytest.mark.parametrize("name", families.OWN)
def test_removed_equals_masked_in_our_networks(name):
    keras.utils.set_random_seed(0)
    check(families.build_own(name))


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in families.APPLICATIONS]
)
def test_removed_equals_masked_in_applications(name):
    keras.utils.set_random_seed(0)
    check(families.build_application(name, size=32))
    keras.utils.clear_session()


def test_the_check_finds_a_wrong_unit():
    keras.utils.set_random_seed(0)
    model = families.randomize(families.build_own("alexnet"))
    inputs = np.random.default_rng(0).uniform(size=(2, 32, 32, 3)).astype("float32")
    thin = surgery.remove_units(model, {"conv2": [3]})
    assert surgery.removal_error(model, thin, {"conv2": [3]}, inputs) < TOLERANCE
    assert surgery.removal_error(model, thin, {"conv2": [4]}, inputs) > 10 * TOLERANCE
