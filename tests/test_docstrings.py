"""Every example in a docstring runs and gives what it says."""

import doctest
import importlib
import pkgutil

import keras
import numpy as np
import pytest

import tfunits

# The command-line entry points reconfigure the process when imported by themselves.
MODULES = sorted(module.name for module in pkgutil.walk_packages(tfunits.__path__, "tfunits."))


@pytest.fixture(scope="module")
def examples_namespace() -> dict:
    """Names that examples may use without making them."""
    model = tfunits.models.build("alexnet", size=0.125, input_shape=(32, 32, 3), num_classes=10)
    images = np.random.default_rng(0).normal(size=(6, 32, 32, 3)).astype("float32")
    return {"tfunits": tfunits, "np": np, "keras": keras, "model": model, "images": images, "data": images}


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name: str, examples_namespace: dict) -> None:
    module = importlib.import_module(name)
    names = {**examples_namespace, **vars(module)}
    names.update({key: examples_namespace[key] for key in ("model", "images")})
    if "data" not in vars(module):
        names["data"] = examples_namespace["data"]
    failed, _ = doctest.testmod(module, globs=names, optionflags=doctest.ELLIPSIS)
    assert failed == 0
