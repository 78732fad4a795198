"""A training that is stopped and started again ends with the same bits as one that never was."""

import dataclasses
import pathlib

import keras
import numpy as np
import pytest

from tfunits import datasets, models
from tfunits.artifacts import RunDir, read_arrays, write_arrays
from tfunits.configs import TrainingConfig
from tfunits.training import TrainingResult, fit

MLP = TrainingConfig(learning_rate=0.02, batch_size=16, epochs=5)
# Everything that has a state of its own: order, augmentation, dropout, velocities, schedule, penalty.
ALEXNET = TrainingConfig(
    learning_rate=0.05,
    schedule="exponential",
    batch_size=16,
    epochs=4,
    regularizers=("augmentation", "dropout", "weight_decay"),
    weight_decay=0.01,
    decayed_variables="kernel",
    dropout_rate=0.5,
    seed=3,
)


class Stopped(Exception):
    """Stands for the end of a process."""


class StoppingData:
    """Data whose given epoch, from 0, never comes."""

    def __init__(self, data: datasets.Dataset, stop: int) -> None:
        self.data, self.stop = data, stop

    def __getattr__(self, name: str):
        return getattr(self.data, name)

    def epoch(self, epoch: int, *arguments, **options):
        if epoch == self.stop:
            raise Stopped
        return self.data.epoch(epoch, *arguments, **options)


@pytest.fixture(scope="module")
def digits() -> datasets.Dataset:
    return datasets.load("digits", num_examples=72)


def make_alexnet(data: datasets.Dataset) -> keras.Model:
    return models.build("alexnet", size=0.0625, input_shape=data.input_shape, num_classes=10, dropout_rate=0.5, seed=3)


def make_mlp(data: datasets.Dataset) -> keras.Model:
    return models.build("mlp", size=0.0625, input_shape=data.input_shape, num_classes=3, initializer="he_normal")


def train_until(stop: int, make, data: datasets.Dataset, config: TrainingConfig, folder: pathlib.Path) -> None:
    """Train in a run directory up to the given number of epochs, then die."""
    with pytest.raises(Stopped):
        fit(make(data), StoppingData(data, stop), config, run_dir=RunDir(folder))


def compare(make, data: datasets.Dataset, config: TrainingConfig, folder: pathlib.Path) -> TrainingResult:
    """Go on in a run directory and assert that nothing differs from one long training; returns the result."""
    resumed, whole = make(data), make(data)
    again = fit(resumed, data, config, run_dir=RunDir(folder))
    expected = fit(whole, data, config, run_dir=RunDir(folder / "whole"))
    assert (folder / "history.csv").read_bytes() == (folder / "whole" / "history.csv").read_bytes()
    for one, other in zip(resumed.variables, whole.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.path)
    for one, other in zip(again.best_weights, expected.best_weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert again.best_epoch == expected.best_epoch
    return again


@pytest.mark.parametrize("measured_weights", ["last", "best"])
def test_alexnet_with_everything_that_has_a_state(digits, tmp_path, measured_weights):
    config = dataclasses.replace(ALEXNET, measured_weights=measured_weights)
    train_until(2, make_alexnet, digits, config, tmp_path)
    compare(make_alexnet, digits, config, tmp_path)


@pytest.mark.parametrize("optimizer", ["momentum", "sgd", "adam", "rmsprop"])
def test_every_optimizer(blobs, tmp_path, optimizer):
    config = dataclasses.replace(MLP, optimizer=optimizer, schedule="cosine")
    for stop in (1, 4):
        train_until(stop, make_mlp, blobs, config, tmp_path)
    compare(make_mlp, blobs, config, tmp_path)


def test_a_resumed_training_does_not_repeat_finished_epochs(blobs, tmp_path):
    train_until(3, make_mlp, blobs, MLP, tmp_path)
    asked = []

    class Watched(StoppingData):
        def epoch(self, epoch, *arguments, **options):
            asked.append(epoch)
            return super().epoch(epoch, *arguments, **options)

    fit(make_mlp(blobs), Watched(blobs, -1), MLP, run_dir=RunDir(tmp_path))
    assert asked == [3, 4]
    fit(make_mlp(blobs), Watched(blobs, -1), MLP, run_dir=RunDir(tmp_path))
    assert asked == [3, 4]


def test_forgetting_the_velocities_would_be_seen(blobs, tmp_path):
    """The negative control: weights alone do not continue a training."""
    train_until(3, make_mlp, blobs, MLP, tmp_path)
    newest = tmp_path / "checkpoints" / "epoch-00003.npz"
    arrays = read_arrays(newest)
    for name in list(arrays)[len(make_mlp(blobs).variables) :]:
        if arrays[name].ndim:
            arrays[name] = np.zeros_like(arrays[name])
    write_arrays(newest, arrays)
    with pytest.raises(AssertionError):
        compare(make_mlp, blobs, MLP, tmp_path)


def test_two_devices(blobs, two_devices, tmp_path):
    def make(data):
        with two_devices.scope():
            return make_mlp(data)

    def train(data, folder):
        model = make(blobs)
        fit(model, data, dataclasses.replace(MLP, epochs=2), run_dir=RunDir(folder), strategy=two_devices)
        return [variable.numpy() for variable in model.variables]

    with pytest.raises(Stopped):
        train(StoppingData(blobs, 1), tmp_path / "stopped")
    for one, other in zip(train(blobs, tmp_path / "stopped"), train(blobs, tmp_path / "whole"), strict=True):
        np.testing.assert_array_equal(one, other)


def test_patience_goes_on_counting(blobs, tmp_path):
    # Nothing changes at this rate: the first epoch is the best, and patience is over after the fourth.
    config = dataclasses.replace(MLP, learning_rate=1e-12, epochs=9, patience=3)
    train_until(2, make_mlp, blobs, config, tmp_path)
    assert len(compare(make_mlp, blobs, config, tmp_path).history) == 4
    assert len(fit(make_mlp(blobs), blobs, config, run_dir=RunDir(tmp_path)).history) == 4


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    damaged = bytearray(content)
    damaged[len(damaged) // 2] ^= 0x10
    return bytes(damaged)


@pytest.mark.parametrize("damage", [cut, flip])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(blobs, tmp_path, capsys, damage):
    train_until(3, make_mlp, blobs, MLP, tmp_path)
    newest = tmp_path / "checkpoints" / "epoch-00003.npz"
    newest.write_bytes(damage(newest.read_bytes()))
    compare(make_mlp, blobs, MLP, tmp_path)
    error = capsys.readouterr().err
    assert f"{newest}: expected whole arrays, received a damaged file" in error
    assert "going back to the checkpoint before it" in error
    assert "epoch-00002" not in error


@pytest.mark.parametrize("pattern", ["epoch-*.npz", "best-*.npz"])
def test_nothing_whole_starts_from_the_beginning(blobs, tmp_path, pattern):
    train_until(4, make_mlp, blobs, MLP, tmp_path)
    for path in (tmp_path / "checkpoints").glob(pattern):
        path.write_bytes(cut(path.read_bytes()))
    train_until(2, make_mlp, blobs, MLP, tmp_path)
    compare(make_mlp, blobs, MLP, tmp_path)


def test_at_most_two_states_and_their_best_weights_lie_there(blobs, tmp_path):
    fit(make_mlp(blobs), blobs, MLP, run_dir=RunDir(tmp_path))
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert [name for name in names if name.startswith("epoch")] == ["epoch-00004.npz", "epoch-00005.npz"]
    assert 1 <= len([name for name in names if name.startswith("best")]) == len(names) - 2 <= 2


def test_a_checkpoint_of_another_network_is_refused(blobs, tmp_path):
    train_until(1, make_mlp, blobs, MLP, tmp_path)
    wider = models.build("mlp", size=0.125, input_shape=blobs.input_shape, num_classes=3)
    with pytest.raises(ValueError, match="expected the checkpoints of this training, received those of other network"):
        fit(wider, blobs, MLP, run_dir=RunDir(tmp_path))


def test_a_checkpoint_of_other_settings_is_refused(blobs, tmp_path):
    train_until(1, make_mlp, blobs, MLP, tmp_path)
    with pytest.raises(ValueError, match="expected the checkpoints of this training, received those of other settings"):
        fit(make_mlp(blobs), blobs, dataclasses.replace(MLP, learning_rate=0.123), run_dir=tmp_path)


def test_a_training_does_not_change_its_number_of_devices(blobs, tmp_path, two_devices):
    train_until(1, make_mlp, blobs, MLP, tmp_path)
    with two_devices.scope():
        model = make_mlp(blobs)
    with pytest.raises(ValueError, match="^--num_devices=2: expected the 1 on which .* was begun"):
        fit(model, blobs, MLP, run_dir=tmp_path, strategy=two_devices)
