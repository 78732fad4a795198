"""Learning rates against their formulas."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfunits.configs import TrainingConfig
from tfunits.training import StepSchedule, learning_rates

STEPS = 4
EPOCH = np.repeat(np.arange(6), STEPS)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({"schedule": "constant"}, np.full(24, 0.3)),
        ({"schedule": "exponential", "decay_rate": 0.9}, 0.3 * 0.9**EPOCH),
        (
            {"schedule": "cosine", "final_learning_rate": 0.1},
            0.1 + 0.2 * (1 + np.cos(np.pi * EPOCH / 6)) / 2,
        ),
        # Drops before step 4 * 1.5 = 6 and before step 16.
        (
            {"schedule": "piecewise", "drop_epochs": (1.5, 4), "drop_factor": 0.2},
            np.concatenate([np.full(6, 0.3), np.full(10, 0.06), np.full(8, 0.012)]),
        ),
    ],
    ids=lambda value: value["schedule"] if isinstance(value, dict) else "",
)
def test_rates_follow_their_formula(schedule, expected):
    config = TrainingConfig(learning_rate=0.3, epochs=6, **schedule)
    np.testing.assert_array_equal(learning_rates(config, STEPS), expected.astype("float32"))


def test_a_staircase_is_not_a_slope():
    config = TrainingConfig(learning_rate=0.3, epochs=6, schedule="exponential", decay_rate=0.9)
    slope = 0.3 * 0.9 ** (np.arange(24) / STEPS)
    assert np.abs(learning_rates(config, STEPS) - slope).max() > 0.01


def test_the_order_of_drops_does_not_matter():
    one, other = (
        TrainingConfig(schedule="piecewise", drop_epochs=drops, epochs=6) for drops in ((1.5, 4.0), (4.0, 1.5))
    )
    np.testing.assert_array_equal(learning_rates(one, STEPS), learning_rates(other, STEPS))


def test_the_factor_k_multiplies_the_rate():
    one, double = (TrainingConfig(learning_rate=0.1, k=k, schedule="exponential") for k in (1, 2))
    np.testing.assert_allclose(learning_rates(double, STEPS), 2 * learning_rates(one, STEPS), rtol=1e-7)


def test_no_epoch_has_a_rate_too():
    rates = learning_rates(TrainingConfig(learning_rate=0.3, epochs=0, schedule="cosine"), STEPS)
    np.testing.assert_array_equal(rates, np.float32(0.3))


def test_a_schedule_looks_its_steps_up_and_stays_at_the_last():
    schedule = StepSchedule([0.5, 0.25, 0.125])
    assert [float(schedule(tf.constant(step))) for step in (0, 1, 2, 3, 99)] == [0.5, 0.25, 0.125, 0.125, 0.125]


def test_a_schedule_survives_serialization():
    stored = keras.saving.serialize_keras_object(StepSchedule([0.5, 0.25]))
    np.testing.assert_array_equal(keras.saving.deserialize_keras_object(stored).rates, [0.5, 0.25])
