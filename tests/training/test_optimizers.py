"""Optimisers against their equations in float64."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfunits.configs import TrainingConfig
from tfunits.training import OPTIMIZERS, Momentum, RMSProp, StepSchedule, learning_rates, make_optimizer

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


def momentum_inside(gradients: np.ndarray, rates: np.ndarray, factor: float) -> np.ndarray:
    """Keras' way: the velocity holds the rate at which each gradient came."""
    weights, velocity, values = np.ones(gradients.shape[1:]), 0.0, []
    for gradient, rate in zip(gradients, rates, strict=True):
        velocity = factor * velocity + rate * gradient
        weights = weights - velocity
        values.append(weights)
    return np.array(values)


def rmsprop(
    gradients: np.ndarray,
    rates: np.ndarray,
    factor: float = 0.0,
    epsilon: float = 1e-10,
    *,
    first: float = 1.0,
    inside: bool = True,
) -> np.ndarray:
    """TensorFlow 1's: the mean square begins at 1, epsilon stands inside the root, the rate inside the momentum."""
    weights, square, moment, values = np.ones(gradients.shape[1:]), first, 0.0, []
    for gradient, rate in zip(gradients, rates, strict=True):
        square = 0.9 * square + 0.1 * gradient**2
        root = np.sqrt(square + epsilon) if inside else np.sqrt(square) + epsilon
        moment = factor * moment + rate * gradient / root
        weights = weights - moment
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
    np.testing.assert_allclose(keras_path, momentum_inside(gradients, RATES, 0.8), atol=1e-5)


@pytest.mark.parametrize(
    "constants",
    [{"rmsprop_momentum": 0.9}, {"rmsprop_epsilon": 1.0}, {"rmsprop_momentum": 0.5, "rmsprop_epsilon": 0.1}],
)
def test_rmsprop_has_tensorflow_1s_start_epsilon_and_momentum(gradients, constants):
    optimizer = make_optimizer(TrainingConfig(optimizer="rmsprop", **constants), StepSchedule(RATES))
    found = path(optimizer, gradients)
    factor, epsilon = constants.get("rmsprop_momentum", 0.0), constants.get("rmsprop_epsilon", 1e-10)
    # A dozen steps of float32 rounding, each kept by the momentum for ten more.
    np.testing.assert_allclose(found, rmsprop(gradients, RATES, factor, epsilon), atol=2e-5)
    # The negative controls: a mean square from 0, as Keras starts it; epsilon beside the root; the rate outside.
    assert np.abs(found - rmsprop(gradients, RATES, factor, epsilon, first=0.0)).max() > 0.05
    if epsilon > 1e-3:
        assert np.abs(found - rmsprop(gradients, RATES, factor, epsilon, inside=False)).max() > 0.01
    if factor:
        ratios = rmsprop(gradients, np.ones(len(RATES)), 0.0, epsilon)
        steps = -np.diff(ratios, axis=0, prepend=1.0)
        assert np.abs(found - momentum(steps, RATES, factor)).max() > 0.05


@pytest.mark.parametrize(
    ("own", "theirs"),
    [
        (lambda rate: Momentum(rate, 0.9), lambda rate: tf.compat.v1.train.MomentumOptimizer(rate, 0.9)),
        (lambda rate: RMSProp(rate, 0.9, 1.0), lambda rate: tf.compat.v1.train.RMSPropOptimizer(rate, 0.9, 0.9, 1.0)),
    ],
    ids=["momentum", "rmsprop"],
)
def test_steps_are_bit_by_bit_those_of_tensorflow_1(gradients, own, theirs):
    schedule, count = StepSchedule(RATES), iter(range(len(RATES)))
    variable = tf.Variable(tf.ones(gradients.shape[1:]))
    optimizer = theirs(lambda: schedule(next(count)))
    values = []
    for gradient in gradients:
        optimizer.apply_gradients([(tf.constant(gradient, tf.float32), variable)])
        values.append(variable.numpy())
    np.testing.assert_array_equal(path(own(schedule), gradients), values)


def test_keras_own_rmsprop_takes_other_first_steps(gradients):
    keras_path = path(keras.optimizers.RMSprop(StepSchedule(RATES), rho=0.9), gradients)
    assert np.abs(keras_path[0] - rmsprop(gradients, RATES)[0]).max() > 0.1
    np.testing.assert_allclose(keras_path[0], rmsprop(gradients, RATES, first=0.0)[0], atol=1e-4)


# Rate 1 and epsilon 1 as in Inception's recipe, the others in small.
RECIPES = {
    "momentum and drops": {
        "optimizer": "momentum", "momentum": 0.9, "schedule": "piecewise", "drop_epochs": (1, 2), "warmup_epochs": 1,
    },
    "rmsprop and a staircase": {
        "optimizer": "rmsprop", "rmsprop_epsilon": 1.0, "schedule": "exponential", "decay_rate": 0.5, "decay_epochs": 2,
    },
    "sgd and a cosine": {"optimizer": "sgd", "schedule": "cosine", "final_learning_rate": 0.01},
}  # fmt: skip


@pytest.mark.parametrize("name", RECIPES)
def test_optimizers_take_the_rates_of_their_schedule_step_by_step(name, gradients):
    config = TrainingConfig(learning_rate=1.0, epochs=4, **RECIPES[name])
    rates = learning_rates(config, 3)
    assert len(set(rates.tolist())) > 1
    found = path(make_optimizer(config, StepSchedule(rates)), gradients)

    def expected(rates: np.ndarray) -> np.ndarray:
        if config.optimizer == "rmsprop":
            return rmsprop(gradients, rates, epsilon=1.0)
        return momentum(gradients, rates, config.momentum if config.optimizer == "momentum" else 0)

    exact = rates.astype("float64")
    # Weights of up to ten, a dozen roundings.
    np.testing.assert_allclose(found, expected(exact), atol=2e-5)
    # The negative control: every rate a step late.
    assert np.abs(found - expected(np.concatenate([exact[:1], exact[:-1]]))).max() > 0.05


def test_momentum_survives_serialization():
    stored = keras.optimizers.serialize(Momentum(0.3, momentum=0.7))
    restored = keras.optimizers.deserialize(stored)
    assert isinstance(restored, Momentum)
    assert restored.momentum == 0.7
    assert float(restored.learning_rate) == pytest.approx(0.3)


def test_rmsprop_survives_serialization():
    restored = keras.optimizers.deserialize(keras.optimizers.serialize(RMSProp(0.3, momentum=0.7, epsilon=0.5)))
    assert isinstance(restored, RMSProp)
    assert (restored.momentum, restored.epsilon) == (0.7, 0.5)
    assert float(restored.learning_rate) == pytest.approx(0.3)


def test_rmsprop_has_a_mean_square_of_1_and_a_momentum_a_variable():
    optimizer = RMSProp(0.1)
    variables = [keras.Variable(np.zeros((2, 3))), keras.Variable(np.zeros(5))]
    optimizer.build(variables)
    optimizer.build(variables)
    for slots, start in ((optimizer.squares, 1), (optimizer.moments, 0)):
        assert [tuple(slot.shape) for slot in slots] == [(2, 3), (5,)]
        assert all(np.all(slot.numpy() == start) for slot in slots)


@pytest.mark.parametrize(
    ("precision", "scales"), [("float32", False), ("mixed_bfloat16", False), ("mixed_float16", True)]
)
def test_only_float16_scales_its_loss(precision, scales):
    """bfloat16 has the exponents of float32, so that nothing underflows."""
    optimizer = make_optimizer(TrainingConfig(optimizer="rmsprop", precision=precision), 0.1)
    assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer) == scales
    assert isinstance(optimizer.inner_optimizer if scales else optimizer, RMSProp)


def test_momentum_has_one_velocity_a_variable():
    optimizer = Momentum(0.1)
    variables = [keras.Variable(np.zeros((2, 3))), keras.Variable(np.zeros(5))]
    optimizer.build(variables)
    optimizer.build(variables)
    assert [tuple(velocity.shape) for velocity in optimizer.velocities] == [(2, 3), (5,)]
