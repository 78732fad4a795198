"""Many networks through one compiled training are what each is alone."""

import dataclasses
import pathlib
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from made_data import make_dataset

from tfunits import datasets
from tfunits.artifacts import RunDir
from tfunits.configs import TrainingConfig
from tfunits.layers import BatchNormalization, ReplicaDropout
from tfunits.training import (
    OPTIMIZERS,
    Trainer,
    assign_variables,
    fit,
    fit_many,
    fit_once,
    read_variables,
    same_steps,
)
from tfunits.training.feeding import Resident, Stream, choose_feed

CONFIG = TrainingConfig(learning_rate=0.1, schedule="exponential", batch_size=8, epochs=3)


@pytest.fixture(scope="module")
def data() -> datasets.Dataset:
    """Uneven last batches in training and validation."""
    generator = np.random.default_rng(0)
    return make_dataset(generator.normal(size=(100, 5)), generator.integers(3, size=100), num_classes=3)


def make_network(seed: int) -> keras.Model:
    """Whatever a training has beside weights: statistics and seeds."""
    inputs = keras.Input((5,))
    first, last = (keras.initializers.HeNormal(seed=number) for number in (seed, 9))
    hidden = keras.layers.Dense(6, "relu", kernel_initializer=first, name="hidden")(inputs)
    hidden = ReplicaDropout(0.25, seed=seed)(BatchNormalization(name="norm")(hidden))
    return keras.Model(inputs, keras.layers.Dense(3, kernel_initializer=last, name="logits")(hidden))


def change(**fields) -> TrainingConfig:
    return dataclasses.replace(CONFIG, **fields)


CASES = {
    "rates": [change(learning_rate=rate) for rate in (1.0, 0.1, 0.01)],
    "seeds": [change(seed=seed) for seed in (3, 1)],
    "schedules": [CONFIG, change(schedule="cosine"), change(schedule="piecewise", drop_epochs=(1.0, 2.0))],
    "decays": [change(weight_decay=decay) for decay in (0.5, 0.001, 0.5)],
    "no decay after one": [change(weight_decay=0.5), CONFIG],
    "averages": [change(average_decay=0.5, learning_rate=rate) for rate in (0.1, 0.3)],
    "patience": [change(learning_rate=1e-12, patience=1), CONFIG],
    "choices": [change(weight_decay_choices=(0.0, 0.1)), change(weight_decay=0.1)],
    "another batch size, compiled anew": [CONFIG, change(batch_size=16), CONFIG],
    "a diverged one before": [change(learning_rate=1e30), CONFIG],
    **{name: [change(optimizer=name, learning_rate=rate) for rate in (0.1, 0.01)] for name in OPTIMIZERS},
}


@pytest.mark.parametrize("case", CASES)
def test_every_network_has_the_bits_of_one_trained_alone(data, case) -> None:
    configs = CASES[case]
    networks = [make_network(number) for number in range(len(configs))]
    model, initial = make_network(0), [read_variables(network.variables) for network in networks]
    results = fit_many(model, data, configs, initial_weights=initial)
    for result, config, network in zip(results, configs, networks, strict=True):
        alone = fit(network, data, config)
        assert result.history.equals(alone.history)
        assert (result.stop, result.diverged, result.best_epoch) == (alone.stop, alone.diverged, alone.best_epoch)
        for found, expected in zip(read_variables(model.variables), read_variables(network.variables), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_networks_are_trained_only_when_they_are_asked_for(data) -> None:
    results = fit_many(make_network(0), data, (CONFIG if number < 1 else pytest.fail("trained") for number in range(2)))
    assert len(next(results).history) == CONFIG.epochs


def test_without_initial_weights_each_begins_with_the_models(data) -> None:
    model = make_network(0)
    first, second = (read_variables(model.variables) for _ in fit_many(model, data, [CONFIG, CONFIG]))
    for found, expected in zip(first, second, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_each_has_its_own_run_directory_and_continues_there(data, tmp_path: pathlib.Path) -> None:
    configs, folders = [CONFIG, change(learning_rate=0.01)], [tmp_path / "a", RunDir(tmp_path / "b")]
    fit(make_network(0), data, configs[0], run_dir=folders[0])
    before = (tmp_path / "a" / "timing.csv").read_bytes()
    results = list(fit_many(make_network(0), data, configs, run_dirs=folders))
    assert [len(result.history) for result in results] == [3, 3]
    # The first was finished.
    assert (tmp_path / "a" / "timing.csv").read_bytes() == before
    assert (tmp_path / "b" / "checkpoints" / "epoch-00003.npz").is_file()


@pytest.mark.parametrize("name", ["initial_weights", "run_dirs"])
def test_one_missing_is_named(data, tmp_path: pathlib.Path, name: str) -> None:
    model = make_network(0)
    given = {"initial_weights": read_variables(model.variables), "run_dirs": tmp_path}[name]
    with pytest.raises(ValueError, match=f"{name}: expected one for every configuration"):
        list(fit_many(model, data, [CONFIG, CONFIG], **{name: [given]}))


def test_the_steps_are_traced_once_for_all(data) -> None:
    traced = []

    class Counting(keras.layers.Layer):
        def call(self, inputs):
            traced.append(1)
            return inputs

    inputs = keras.Input((5,))
    model = keras.Model(inputs, keras.layers.Dense(3)(Counting()(inputs)))
    results = fit_many(model, data, [change(learning_rate=rate, seed=rate) for rate in (1, 2, 3)])
    next(results)
    count = len(traced)
    assert len(list(results)) == 2
    assert len(traced) == count
    list(fit_many(model, data, [change(batch_size=16)]))
    assert len(traced) > count


def test_other_steps_are_refused_by_a_trainer(data) -> None:
    trainer = Trainer(make_network(0), data, CONFIG, tf.distribute.get_strategy())
    for fields in ({"batch_size": 16}, {"weight_decay": 0.1}, {"optimizer": "sgd"}, {"epochs": 4}):
        with pytest.raises(ValueError, match="config: expected fields like the trainer's but for"):
            fit_once(trainer, change(**fields))
    fit_once(trainer, change(learning_rate=0.3, seed=4))


def test_a_trainer_forgets_the_training_before(data) -> None:
    """The optimiser's state: without resetting it, velocities of the first training would move the second."""
    model = make_network(0)
    trainer, initial = Trainer(model, data, CONFIG, tf.distribute.get_strategy()), read_variables(model.variables)
    first = fit_once(trainer, CONFIG).last_weights
    assert any(np.abs(slot.numpy()).max() > 0 for slot in trainer.optimizer.variables)
    assign_variables(model.variables, initial)
    for found, expected in zip(fit_once(trainer, CONFIG).last_weights, first, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_keys_of_steps() -> None:
    assert same_steps(CONFIG) == same_steps(change(learning_rate=3.0, seed=5, schedule="cosine", patience=2))
    assert same_steps(change(weight_decay=0.1)) == same_steps(change(weight_decay_choices=(0.0, 0.3)))
    for fields in ({"weight_decay": 0.1}, {"momentum": 0.5}, {"epochs": 9}, {"loss": "hinge"}, {"shuffle": False}):
        assert same_steps(CONFIG) != same_steps(change(**fields)), fields


class TestFeeds:
    def choose(self, data, split: str = "train", strategy: tf.distribute.Strategy | None = None, **fields):
        strategy = strategy or tf.distribute.get_strategy()
        training = split == "train"
        return choose_feed(data, split, change(**fields), strategy, training=training, drop_last=False)

    def test_small_data_on_one_device_are_read_by_position(self, data) -> None:
        assert isinstance(self.choose(data), Resident)
        assert isinstance(self.choose(data, "validation"), Resident)

    def test_augmented_large_or_shared_data_and_those_of_others_are_streamed(
        self, data, two_devices, monkeypatch
    ) -> None:
        assert isinstance(self.choose(data, strategy=two_devices), Stream)
        assert isinstance(self.choose(data, regularizers=("augmentation",)), Stream)
        assert isinstance(self.choose(data, "validation", regularizers=("augmentation",)), Resident)
        monkeypatch.setattr("tfunits.training.feeding._MOST_RESIDENT_BYTES", 75 * 5 * 4 - 1)
        assert isinstance(self.choose(data), Stream)
        assert isinstance(self.choose(data, "validation"), Resident)

        own = types.SimpleNamespace(splits=data.splits, epoch=data.epoch, batches=data.batches)
        assert isinstance(self.choose(own), Stream)

    @pytest.mark.parametrize("shuffle", [True, False])
    def test_both_ways_of_reading_end_with_the_same_bits(self, data, monkeypatch, shuffle: bool) -> None:
        config = change(shuffle=shuffle)
        resident, streamed = make_network(0), make_network(0)
        first = fit(resident, data, config)
        monkeypatch.setattr("tfunits.training.feeding._MOST_RESIDENT_BYTES", 0)
        assert fit(streamed, data, config).history.equals(first.history)
        for found, expected in zip(read_variables(streamed.variables), read_variables(resident.variables), strict=True):
            np.testing.assert_array_equal(found, expected)
