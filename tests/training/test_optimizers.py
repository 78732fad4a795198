"""Optimisers against their equations in float64."""

import keras
import numpy as np
import pytest

from tfunits.configs import TrainingConfig
from tfunits.training import OPTIMIZERS, Momentum, StepSchedule, make_optimizer

DROP = 5
RATES = np.array([0.1] * DROP + [0.01] * 7)


@pytest.fixture
def gradients(rng) -> np.ndarray:
    return rng.normal(size=(len(RATES), 4, 3))


def path(optimizer: keras.optimizers.Optimizer, gradients: np.ndarray) -> np.ndarray:
    """A variable that starts at 1, after each step of an optimiser."""
    variable = keras.Variable(np.ones(gradients.shape[1:]), dtype="float32")
    values = []
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient, "float32")], [variable])
        values.append(variable.numpy())
    return np.array(values)


def momentum(gradients: np.ndarray, rates: np.ndarray, factor: float) -> np.ndarray:
    weights, velocity, values = np.ones(gradients.shape[1:]), 0.0, []
    for gradient, rate in zip(gradients, rates, strict=True):
        velocity = factor * velocity + gradient
        weights = weights - rate * velocity
        values.append(weights)
    return np.array(values)


def rmsprop(gradients: np.ndarray, rates: np.ndarray) -> np.ndarray:
    weights, square, values = np.ones(gradients.shape[1:]), 0.0, []
    for gradient, rate in zip(gradients, rates, strict=True):
        square = 0.9 * square + 0.1 * gradient**2
        weights = weights - rate * gradient / np.sqrt(square + 1e-10)
        values.append(weights)
    return np.array(values)


def adam(gradients: np.ndarray, rates: np.ndarray) -> np.ndarray:
    weights, mean, square, values = np.ones(gradients.shape[1:]), 0.0, 0.0, []
    for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        unbiased = mean / (1 - 0.9**step), square / (1 - 0.999**step)
        weights = weights - rate * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-7)
        values.append(weights)
    return np.array(values)


EXPECTED = {
    "momentum": lambda gradients: momentum(gradients, RATES, 0.8),
    "sgd": lambda gradients: momentum(gradients, RATES, 0),
    "adam": lambda gradients: adam(gradients, RATES),
    "rmsprop": lambda gradients: rmsprop(gradients, RATES),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_follow_their_equations_through_a_drop_of_the_rate(name, gradients):
    optimizer = make_optimizer(TrainingConfig(optimizer=name, momentum=0.8), StepSchedule(RATES))
    # A dozen steps of float32 rounding; Adam's 1 - 0.999^step keeps four digits of its first steps of 0.1.
    tolerance = 5e-5 if name == "adam" else 5e-6
    np.testing.assert_allclose(path(optimizer, gradients), EXPECTED[name](gradients), atol=tolerance)


def test_keras_own_momentum_differs_after_a_drop_of_the_rate(gradients):
    keras_path = path(keras.optimizers.SGD(StepSchedule(RATES), momentum=0.8), gradients)
    expected = momentum(gradients, RATES, 0.8)
    np.testing.assert_allclose(keras_path[:DROP], expected[:DROP], atol=1e-5)
    assert np.abs(keras_path[DROP:] - expected[DROP:]).max() > 0.1


def test_momentum_survives_serialization():
    stored = keras.optimizers.serialize(Momentum(0.3, momentum=0.7))
    restored = keras.optimizers.deserialize(stored)
    assert isinstance(restored, Momentum)
    assert restored.momentum == 0.7
    assert float(restored.learning_rate) == pytest.approx(0.3)


def test_momentum_has_one_velocity_a_variable():
    optimizer = Momentum(0.1)
    variables = [keras.Variable(np.zeros((2, 3))), keras.Variable(np.zeros(5))]
    optimizer.build(variables)
    optimizer.build(variables)
    assert [tuple(velocity.shape) for velocity in optimizer.velocities] == [(2, 3), (5,)]
