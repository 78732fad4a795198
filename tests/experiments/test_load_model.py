"""Trained networks back from disk."""

import keras
import numpy as np
import pytest
from tiny_runs import carry_out, make_config, save_network

import tfunits
from tfunits import experiments
from tfunits.artifacts import RunDir


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory) -> RunDir:
    """A finished run of an alexnet, which holds layers of our own."""
    root = tmp_path_factory.mktemp("runs")
    fast = {"num_examples": 64, "draws": 1, "levels": 2, "samplings": 1, "max_rows": 100}
    config = make_config(model="alexnet", epochs=1, regularizers=("dropout",), **fast)
    assert carry_out(root, config, steps=("train", "measure")) == 0
    return RunDir.of(config, root)


def test_a_run_and_its_file_give_the_predictions_that_were_kept(run_dir):
    logits = np.load(run_dir.logits)
    inputs = tfunits.datasets.load("digits").splits["test"].inputs
    by_directory = tfunits.load(str(run_dir.path)).predict(inputs, verbose=0)
    by_file = tfunits.load(str(run_dir.model)).predict(inputs, verbose=0)
    np.testing.assert_array_equal(by_directory, by_file)
    # The same operations, perhaps cut into other batches.
    np.testing.assert_allclose(by_directory, logits["test"], atol=1e-5)
    other = tfunits.datasets.load("digits").splits["test"].inputs[::-1]
    assert np.abs(tfunits.load(str(run_dir.path)).predict(other, verbose=0) - logits["test"]).max() > 1e-2


def test_kept_epochs_are_loaded(tmp_path):
    """The weights after epoch 2 of 4 are those of a run of two epochs with the same constant rate."""
    fields = {"schedule": "constant", "epochs": 4}
    config, short = make_config(**fields), make_config(**{**fields, "epochs": 2})
    for each in (config, short):
        carry_out(tmp_path, each, steps=("train",), keep_epochs=("every2",))
    path = str(RunDir.of(config, tmp_path).path)
    at = {epoch: tfunits.load(path, epoch=epoch).get_weights() for epoch in (2, 4)}
    expected = {2: tfunits.load(str(RunDir.of(short, tmp_path).path)), 4: tfunits.load(path)}
    for epoch, weights in at.items():
        for left, right in zip(weights, expected[epoch].get_weights(), strict=True):
            np.testing.assert_array_equal(left, right)
    assert any((left != right).any() for left, right in zip(at[2], at[4], strict=True))
    with pytest.raises(ValueError, match=r"epoch: expected one that was kept \(--keep_epochs\) in .*: 2, 3, 4; got 1"):
        tfunits.load(path, epoch=1)


def test_kept_epochs_of_averaged_weights_are_the_averages(tmp_path):
    config = make_config(epochs=2, average_decay=0.9)
    carry_out(tmp_path, config, steps=("train",), keep_epochs=("last1",))
    path = str(RunDir.of(config, tmp_path).path)
    for left, right in zip(tfunits.load(path, epoch=2).get_weights(), tfunits.load(path).get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)


def test_taps_survive_a_save(run_dir):
    assert list(tfunits.models.taps(tfunits.load(str(run_dir.path)))) == ["conv1", "conv2", "fc3", "fc4"]


def test_a_users_file_is_loaded(tmp_path):
    save_network(tmp_path / "own.keras", (8,))
    assert isinstance(tfunits.load(str(tmp_path / "own.keras")), keras.Model)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent", "run_or_file: expected a run directory or a .keras file, received '.*absent', which is neither"),
        ("absent.keras", "model file: expected an existing .keras file, received '.*absent.keras'"),
    ],
)
def test_what_is_not_there_is_refused(tmp_path, name, message):
    with pytest.raises(ValueError, match=message):
        tfunits.load(str(tmp_path / name))


def test_a_run_without_weights_is_refused(tmp_path):
    config = make_config(epochs=0)
    carry_out(tmp_path, config, save="metrics")
    with pytest.raises(
        ValueError, match="expected a run that kept its weights, .*; train it with --save=best or --sav"
    ):
        tfunits.load(str(RunDir.of(config, tmp_path).path))


def test_a_layer_that_is_not_known_is_refused(tmp_path):
    class Strange(keras.layers.Layer):
        def call(self, inputs):
            return inputs

    inputs = keras.Input((3,))
    keras.Model(inputs, Strange(name="strange")(inputs)).save(tmp_path / "own.keras")
    with pytest.raises(ValueError, match="model file: expected a Keras model of known layers, received '.*own.keras'"):
        tfunits.load(str(tmp_path / "own.keras"))


def test_an_unknown_name_of_the_folder_is_refused():
    with pytest.raises(AttributeError, match="module 'tfunits.experiments' has no attribute 'nothing'"):
        _ = experiments.nothing
    assert all(getattr(experiments, name) for name in experiments.__all__)
