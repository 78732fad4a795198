"""A perceptron on few examples, and what its training is compared by."""

import keras
import numpy as np
import tensorflow as tf

from tfunits import models
from tfunits.configs import TrainingConfig

# 75 training examples: nine batches of 8 and one of 3.
CONFIG = TrainingConfig(learning_rate=0.1, batch_size=8, epochs=2)


def make_mlp(strategy: tf.distribute.Strategy | None = None, **options) -> keras.Model:
    with (strategy or tf.distribute.get_strategy()).scope():
        return models.build("mlp", size=0.0625, input_shape=(5,), num_classes=3, initializer="he_normal", **options)


def read(model: keras.Model) -> list[np.ndarray]:
    return [variable.numpy() for variable in model.variables]


def distance(first: list[np.ndarray], second: list[np.ndarray]) -> float:
    """The largest difference between two networks' variables."""
    return max(np.abs(a.astype("float64") - b).max() for a, b in zip(first, second, strict=True))


def assert_same_bits(first: list[np.ndarray], second: list[np.ndarray]) -> None:
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def forward(model: keras.Model, inputs: np.ndarray) -> np.ndarray:
    """Logits of the mlp in float64."""
    kernel, bias, last_kernel, last_bias = (value.astype("float64") for value in read(model))
    return np.maximum(inputs @ kernel + bias, 0) @ last_kernel + last_bias


def losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]
