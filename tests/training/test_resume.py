"""A training that is stopped and started again ends with the same bits as one that never was."""

import dataclasses
import errno
import importlib
import json
import pathlib
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfunits import datasets, models
from tfunits.artifacts import RunDir, read_arrays, write_arrays
from tfunits.configs import KeepRule, TrainingConfig, UserError
from tfunits.layers import BatchNormalization, ReplicaDropout
from tfunits.training import Checkpoints, Trainer, TrainingResult, fit

checkpoint_module = importlib.import_module("tfunits.training.checkpoint")

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
# The rest of it: mean squares and momenta, averages, statistics, a loss scale that has moved, patience, training
# accuracy, warm-up.
SCALED = TrainingConfig(
    optimizer="rmsprop",
    rmsprop_momentum=0.5,
    learning_rate=0.02,
    schedule="cosine",
    warmup_epochs=1.5,
    batch_size=16,
    epochs=6,
    average_decay=0.9,
    label_smoothing=0.1,
    weight_decay=0.001,
    precision="mixed_float16",
    monitor="train",
    patience=5,
    seed=4,
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
        self.begin(epoch)
        return self.data.epoch(epoch, *arguments, **options)

    def epoch_order(self, epoch: int, *arguments, **options):
        self.begin(epoch)
        return self.data.epoch_order(epoch, *arguments, **options)

    def begin(self, epoch: int) -> None:
        """Called before every epoch."""
        if epoch == self.stop:
            raise Stopped


@pytest.fixture(scope="module")
def digits() -> datasets.Dataset:
    return datasets.load("digits", num_examples=72)


def make_alexnet(data: datasets.Dataset) -> keras.Model:
    return models.build("alexnet", size=0.0625, input_shape=data.input_shape, num_classes=10, dropout_rate=0.5, seed=3)


def make_mlp(data: datasets.Dataset) -> keras.Model:
    return models.build("mlp", size=0.0625, input_shape=data.input_shape, num_classes=3, initializer="he_normal")


def make_scaled(data: datasets.Dataset) -> keras.Model:
    """Dropout and batch normalisation in float16; scaled gradients of the large activations overflow at first."""
    initializer, half = keras.initializers.HeNormal(seed=1), "mixed_float16"
    inputs = keras.Input(data.input_shape)
    tensor = keras.layers.Dense(8, kernel_initializer=initializer, dtype=half, name="hidden")(inputs)
    tensor = keras.layers.ReLU()(BatchNormalization(dtype=half, name="norm")(tensor))
    tensor = keras.layers.Rescaling(30.0, dtype=half)(ReplicaDropout(0.3, seed=5, dtype=half, name="drop")(tensor))
    head = keras.layers.Dense(data.num_classes, kernel_initializer=initializer, dtype=half, name="logits")
    return keras.Model(inputs, head(tensor))


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
    for one, other in zip(again.last_weights, expected.last_weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (again.best_epoch, again.stop) == (expected.best_epoch, expected.stop)
    return again


@pytest.mark.parametrize("measured_weights", ["last", "best"])
def test_alexnet_with_everything_that_has_a_state(digits, tmp_path, measured_weights):
    config = dataclasses.replace(ALEXNET, measured_weights=measured_weights)
    train_until(2, make_alexnet, digits, config, tmp_path)
    compare(make_alexnet, digits, config, tmp_path)


def test_rmsprop_with_averages_scaled_loss_and_patience(blobs, tmp_path):
    config = dataclasses.replace(SCALED, measured_weights="best")
    for stop in (1, 2, 4):
        train_until(stop, make_scaled, blobs, config, tmp_path)
    compare(make_scaled, blobs, config, tmp_path)


# Part of a variable's path, and the value that it starts with.
STATES = {
    "average_": 0.0,
    "mean_square": 1.0,
    "dynamic_scale": 2.0**15,
    "iteration": 0,
    "seed_generator_state": 0,
}


@pytest.fixture(scope="module")
def vectors() -> datasets.Dataset:
    return datasets.load("digits", num_examples=72, preprocessing="vector64")


@pytest.fixture(scope="module")
def stopped(vectors, tmp_path_factory) -> tuple[pathlib.Path, list[str], list[np.ndarray]]:
    """A folder after three of six epochs, the paths of what its checkpoint holds, and the weights after all six."""
    folder, model = tmp_path_factory.mktemp("stopped"), make_scaled(vectors)
    train_until(3, make_scaled, vectors, SCALED, folder)
    one_device = tf.distribute.get_strategy()
    paths = [v.path for v in Trainer(model, vectors, SCALED, one_device).variables]
    return folder, paths, list(fit(model, vectors, SCALED).last_weights)


@pytest.mark.parametrize("state", [None, *STATES])
def test_forgetting_any_state_would_be_seen(vectors, stopped, tmp_path, state):
    """The negative controls of the test before; first that without one the bits are the same."""
    folder, paths, expected = stopped
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    newest = tmp_path / "checkpoints" / "epoch-00003.npz"
    arrays = read_arrays(newest)
    names = [f"{number:05d}" for number, path in enumerate(paths) if state and state in path]
    assert not state or any(np.any(arrays[name] != STATES[state]) for name in names)
    write_arrays(newest, arrays | {name: np.full_like(arrays[name], STATES[state]) for name in names})
    found = fit(make_scaled(vectors), vectors, SCALED, run_dir=tmp_path).last_weights
    same = all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))
    assert same == (state is None)


# RMSProp is above.
@pytest.mark.parametrize("optimizer", ["momentum", "sgd", "adam"])
def test_every_optimizer(blobs, tmp_path, optimizer):
    config = dataclasses.replace(MLP, optimizer=optimizer, schedule="cosine")
    train_until(2, make_mlp, blobs, config, tmp_path)
    compare(make_mlp, blobs, config, tmp_path)


def test_a_resumed_training_does_not_repeat_finished_epochs(blobs, tmp_path):
    train_until(3, make_mlp, blobs, MLP, tmp_path)
    asked = []

    class Watched(StoppingData):
        def begin(self, epoch: int) -> None:
            asked.append(epoch)

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


@pytest.mark.parametrize("damage", [cut, flip])
def test_damaged_best_weights_cost_nothing_else(blobs, tmp_path, capsys, damage):
    """Measured after the last epoch, a training goes on without them, and gives none unless a better epoch comes."""
    train_until(4, make_mlp, blobs, MLP, tmp_path)
    newest = max((tmp_path / "checkpoints").glob("best-*.npz"))
    newest.write_bytes(damage(newest.read_bytes()))
    again = fit(make_mlp(blobs), blobs, MLP, run_dir=tmp_path)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{newest}: expected whole arrays, received a damaged file (")
    assert line.endswith("); going on without the weights of the best epoch")
    expected = fit(make_mlp(blobs), blobs, MLP)
    for one, other in zip(again.last_weights, expected.last_weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert again.best_epoch == expected.best_epoch
    assert (again.best_weights is None) == (again.best_epoch <= 4)


@pytest.mark.parametrize("pattern", ["epoch-*.npz", "best-*.npz"])
def test_nothing_whole_starts_from_the_beginning_and_says_so(blobs, tmp_path, capsys, pattern):
    config = dataclasses.replace(MLP, measured_weights="best")
    train_until(4, make_mlp, blobs, config, tmp_path)
    for path in (tmp_path / "checkpoints").glob(pattern):
        path.write_bytes(cut(path.read_bytes()))
    train_until(2, make_mlp, blobs, config, tmp_path)
    *others, last = capsys.readouterr().err.splitlines()
    assert [line.rpartition("; ")[2] for line in others] == ["going back to the checkpoint before it"]
    assert last.endswith("; no checkpoint before it is there; starting again from the first epoch")
    compare(make_mlp, blobs, config, tmp_path)
    assert capsys.readouterr().err == ""


def test_a_damaged_kept_epoch_does_no_harm(blobs, tmp_path, capsys):
    train_until(4, make_mlp, blobs, MLP, tmp_path)
    (tmp_path / "checkpoints" / "epoch-00001.npz").write_bytes(b"kept and damaged")
    compare(make_mlp, blobs, MLP, tmp_path)
    assert capsys.readouterr().err == ""


def test_a_disk_that_fills_up_ends_the_training_and_costs_one_epoch(blobs, tmp_path, monkeypatch):
    write = write_arrays

    def fail_at_the_third(path, arrays, **options):
        if path.name == "epoch-00003.npz":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, arrays, **options)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_module, "write_arrays", fail_at_the_third)
        with pytest.raises(OSError, match="No space left on device"):
            fit(make_mlp(blobs), blobs, MLP, run_dir=RunDir(tmp_path))
    assert Checkpoints(tmp_path / "checkpoints").epochs() == [1, 2]
    # Its history has a line more than there are states.
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 1 + 3
    compare(make_mlp, blobs, MLP, tmp_path)
    timing = (tmp_path / "timing.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in timing] == ["epoch", "1", "2", "3", "4", "5"]


def test_kept_epochs_are_those_of_an_uninterrupted_training(blobs, tmp_path):
    config, keep = dataclasses.replace(MLP, batch_size=75, epochs=13), KeepRule(last=4, every=(5,))
    for folder, stops in (("killed", (4, 11)), ("whole", ())):
        for stop in stops:
            with pytest.raises(Stopped):
                fit(make_mlp(blobs), StoppingData(blobs, stop), config, run_dir=tmp_path / folder, keep=keep)
        fit(make_mlp(blobs), blobs, config, run_dir=tmp_path / folder, keep=keep)
        assert Checkpoints(tmp_path / folder / "checkpoints").epochs() == [5, 10, 11, 12, 13]
    files = [sorted((tmp_path / folder / "checkpoints").iterdir()) for folder in ("killed", "whole")]
    assert [path.name for path in files[0]] == [path.name for path in files[1]]
    for one, other in zip(*files, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


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


def test_a_checkpoint_of_other_data_is_refused(blobs, tmp_path):
    train_until(1, make_mlp, blobs, MLP, tmp_path)
    for name, part in blobs.splits.items():
        relabelled = dataclasses.replace(part, labels=(part.labels + 1) % 3)
        shortened = dataclasses.replace(part, inputs=part.inputs[1:], labels=part.labels[1:])
        for other in (relabelled, shortened):
            data = dataclasses.replace(blobs, splits={**blobs.splits, name: other})
            with pytest.raises(UserError) as error:
                fit(make_mlp(blobs), data, MLP, run_dir=tmp_path)
            assert str(error.value) == (
                "run_dir: expected the checkpoints of this training, received those of other data in "
                f"{tmp_path / 'checkpoints'}; use another directory"
            )
    # The same numbers in other memory are the same data.
    copies = {name: dataclasses.replace(s, labels=s.labels.copy()) for name, s in blobs.splits.items()}
    assert len(fit(make_mlp(blobs), dataclasses.replace(blobs, splits=copies), MLP, run_dir=tmp_path).history) == 5


def test_a_checkpoint_that_says_nothing_of_its_data_is_continued(blobs, tmp_path):
    """As those of before data were noted."""
    train_until(1, make_mlp, blobs, MLP, tmp_path)
    (path,) = (tmp_path / "checkpoints").glob("epoch-*.npz")
    arrays = read_arrays(path)
    record = json.loads(str(arrays["record"]))
    del record["origin"]["data"]
    write_arrays(path, {**arrays, "record": np.array(json.dumps(record))})
    compare(make_mlp, blobs, MLP, tmp_path)


def test_a_training_does_not_change_its_number_of_devices(blobs, tmp_path, two_devices):
    train_until(1, make_mlp, blobs, MLP, tmp_path)
    with two_devices.scope():
        model = make_mlp(blobs)
    with pytest.raises(ValueError, match="^--num_devices=2: expected the 1 on which .* was begun"):
        fit(model, blobs, MLP, run_dir=tmp_path, strategy=two_devices)
