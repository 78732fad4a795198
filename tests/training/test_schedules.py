"""Learning rates against their formulas."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfunits.configs import TrainingConfig
from tfunits.configs.presets import find_preset
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


@pytest.mark.parametrize("num_examples", [45_000, 47_500, 50_000])
def test_resnet56_drops_at_the_steps_of_the_official_program_whatever_the_split(num_examples):
    """FACTS 4.2: 91, 136 and 182 epochs of 50,000 images."""
    recipe = find_preset("resnet56", "cifar10", random_labels=False, augmented=True)
    fields = {name: value for name, value in recipe.items() if name in TrainingConfig.__dataclass_fields__}
    assert (fields["batch_size"], fields["epochs"]) == (128, 182)
    # More epochs than the recipe's 182, since their steps end before the last drop.
    rates = learning_rates(TrainingConfig(**{**fields, "epochs": 210}), -(-num_examples // 128))
    drops = np.flatnonzero(np.diff(rates)) + 1
    np.testing.assert_array_equal(drops, [35546, 53125, 71093])
    np.testing.assert_allclose(rates[[0, *drops]], [0.1, 0.01, 0.001, 0.0001], rtol=1e-6)
    # The negative control: in epochs of the examples that are there.
    own = learning_rates(
        TrainingConfig(**{**fields, "epochs": 210, "schedule_examples": None}), -(-num_examples // 128)
    )
    assert np.flatnonzero(np.diff(own))[0] + 1 == 91 * -(-num_examples // 128)


def test_drops_scale_with_the_factor_k():
    """Batches four times as large make a quarter of the steps."""
    config = TrainingConfig(schedule="piecewise", drop_epochs=(2,), epochs=4, schedule_examples=512, k=4)
    rates = learning_rates(config, 2)
    assert np.flatnonzero(np.diff(rates)).tolist() == [1]
    assert rates[0] == np.float32(0.04)


@pytest.mark.parametrize("schedule", [{}, {"schedule": "cosine"}, {"schedule": "piecewise", "drop_epochs": (3,)}])
def test_a_warm_up_grows_from_0_in_a_line_and_then_the_schedule_goes_on(schedule):
    cold = learning_rates(TrainingConfig(learning_rate=0.4, epochs=8, **schedule), 10).astype("float64")
    warm = learning_rates(TrainingConfig(learning_rate=0.4, epochs=8, warmup_epochs=5, **schedule), 10)
    assert warm[0] == 0
    factors = np.minimum(1, np.arange(80) / 50)
    np.testing.assert_allclose(warm, cold * factors, rtol=1e-6)
    np.testing.assert_array_equal(warm[50:], cold[50:].astype("float32"))
    assert warm[49] < cold[49]


def test_a_warm_up_may_end_within_an_epoch():
    rates = learning_rates(TrainingConfig(learning_rate=1.0, epochs=2, warmup_epochs=0.5), 8)
    np.testing.assert_array_equal(rates[:6], [0, 0.25, 0.5, 0.75, 1, 1])


def test_inceptions_rate_falls_by_4_percent_every_8_epochs():
    recipe = find_preset("inception_v3", "imagenet2012", random_labels=False, augmented=True)
    names = ("learning_rate", "schedule", "decay_rate", "decay_epochs", "epochs")
    rates = learning_rates(TrainingConfig(**{name: recipe[name] for name in names}), STEPS)
    np.testing.assert_allclose(rates, np.repeat(0.96 ** (np.arange(90) // 8), STEPS), rtol=1e-6)
    assert len(np.unique(rates)) == 12


@pytest.mark.parametrize("model", ["wide_resnet28", "densenet40"])
def test_the_cosine_of_doimo_goes_from_its_rate_towards_1e_5(model):
    """PyTorch's closed form with T_max = epochs: the end itself would be that of the epoch after the last."""
    recipe = find_preset(model, "cifar10", random_labels=False, augmented=True)
    names = ("learning_rate", "schedule", "final_learning_rate", "epochs")
    rates = learning_rates(TrainingConfig(**{name: recipe[name] for name in names}), 1)
    assert len(rates) == 200
    assert rates[0] == np.float32(0.1)
    np.testing.assert_allclose(rates[100], (0.1 + 1e-5) / 2, rtol=1e-6)
    np.testing.assert_allclose(
        rates, [(0.1 - 1e-5) * np.cos(np.pi * e / 400) ** 2 + 1e-5 for e in range(200)], rtol=1e-6
    )
    # Without that end the last rate is smaller by it.
    without = learning_rates(TrainingConfig(learning_rate=0.1, schedule="cosine", epochs=200), 1)
    assert 0.5 < (rates[-1] - without[-1]) / 1e-5 < 1.01


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
    assert keras.saving.deserialize_keras_object(stored).get_config() == {"rates": [0.5, 0.25]}


def test_a_schedule_takes_other_rates():
    schedule = StepSchedule([0.5, 0.25])
    schedule.assign([2.0, 1.0])
    assert [float(schedule(tf.constant(step))) for step in (0, 1, 9)] == [2.0, 1.0, 1.0]
