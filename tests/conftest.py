"""Shared by all tests: two logical CPU devices with one strategy on them, and tiny networks and data."""

import gc
import importlib
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# As programs do (`console.import_tensorflow`).
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from made_data import make_dataset

from tfunits import datasets, training

tf.get_logger().setLevel("ERROR")
# Before TensorFlow makes its devices; a second strategy object would break collectives (one serves the session).
_TWO_DEVICES = training.make_strategy(2)
# Thousands of graphs are made that are freed by counting, and few that only a collection finds.
gc.set_threshold(100_000, 50, 1000)


def pytest_collection_finish() -> None:
    """Collections of garbage pass over TensorFlow's own objects, as in programs, and over the collected tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def a_checkpoint_every_epoch():
    """Tests stop trainings after an epoch of their choice, which takes less than the time between checkpoints."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.import_module("tfunits.training.trainer"), "CHECKPOINT_SECONDS", 0.0)
        yield


@pytest.fixture(autouse=True, scope="module")
def graphs_of_a_module_are_freed():
    """Else every collection of garbage walks through the graphs of thousands of tests."""
    with training.forgetting_gradients():
        yield


@pytest.fixture(scope="session")
def two_devices() -> tf.distribute.Strategy:
    """A MirroredStrategy on two logical CPU devices."""
    return _TWO_DEVICES


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def branched_model() -> keras.Model:
    """A small network of any user: residual sum, concatenation, batch normalisation, a gate, raw operations."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((8, 8, 3), name="image")
    first = layers.Conv2D(4, 3, padding="same", activation="relu", name="first")(inputs)
    second = layers.Conv2D(4, 3, padding="same", name="second")(first)
    second = layers.BatchNormalization(name="norm")(second)
    summed = layers.Add(name="summed")([first, second])
    rectified = layers.ReLU(name="rectified")(summed)
    joined = layers.Concatenate(name="joined")([rectified, first])
    gate = layers.Dense(8, activation="sigmoid", name="gate")(layers.GlobalAveragePooling2D(name="squeeze")(joined))
    gated = layers.Multiply(name="gated")([joined, layers.Reshape((1, 1, 8), name="gate_shape")(gate)])
    pooled = layers.GlobalAveragePooling2D(name="pooled")(gated * 2.0)
    model = keras.Model(inputs, layers.Dense(5, name="scores")(pooled), name="branched")
    generator = np.random.default_rng(2)
    for variable in model.variables:
        noise = generator.normal(size=variable.shape).astype("float32")
        variable.assign(np.abs(noise) + 0.5 if "variance" in variable.path else noise)
    return model


@pytest.fixture
def images(rng: np.random.Generator) -> np.ndarray:
    """Inputs of `branched_model`; their number leaves an uneven last batch."""
    return rng.normal(size=(27, 8, 8, 3)).astype("float32")


@pytest.fixture
def blobs(rng: np.random.Generator) -> datasets.Dataset:
    """Three Gaussian clouds in five dimensions; 75 training examples, so that batches of 8 end unevenly."""
    labels = rng.integers(3, size=100)
    centres = 2 * rng.normal(size=(3, 5))
    return make_dataset(centres[labels] + rng.normal(size=(100, 5)), labels, 3)
