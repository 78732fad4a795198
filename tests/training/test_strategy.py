"""Where training runs."""

import pytest
import tensorflow as tf

from tfunits.training import device_names, make_strategy


@pytest.mark.parametrize("num_devices", [None, 1])
def test_one_device_needs_no_strategy_of_its_own(num_devices):
    strategy = make_strategy(num_devices)
    assert strategy.num_replicas_in_sync == 1
    assert not isinstance(strategy, tf.distribute.MirroredStrategy)
    assert device_names(strategy) == ["CPU:0"]


def test_two_devices_are_named(two_devices):
    names = device_names(two_devices)
    assert [name.rpartition("/")[2] for name in names] == ["device:CPU:0", "device:CPU:1"]


def test_more_devices_than_tensorflow_has_made_are_refused(two_devices):
    assert len(tf.config.list_logical_devices("CPU")) == 2
    with pytest.raises(ValueError, match="--num_devices=3: expected to be set before TensorFlow makes its devices; st"):
        make_strategy(3)


def test_more_devices_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["one", "two"])
    with pytest.raises(ValueError, match="--num_devices=3: expected at most the 2 GPUs that are visible"):
        make_strategy(3)
