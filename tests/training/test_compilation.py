"""Every step is compiled once a run, whatever the number of epochs and the size of last batches."""

import dataclasses

import keras
import pytest
import tensorflow as tf

from tfunits import training
from tfunits.training import TrainingConfig


class Counting(keras.layers.Layer):
    """Counts how often it is traced."""

    def __init__(self) -> None:
        super().__init__(name="counting")
        self.calls = 0

    def call(self, inputs):
        self.calls += 1
        return inputs


def count_traces(data, epochs: int, strategy: tf.distribute.Strategy | None = None, **fields) -> int:
    strategy = strategy or tf.distribute.get_strategy()
    with strategy.scope():
        layer = Counting()
        inputs = keras.Input((5,))
        model = keras.Model(inputs, keras.layers.Dense(3, name="logits")(layer(inputs)))
    before = layer.calls
    training.fit(model, data, TrainingConfig(epochs=epochs, batch_size=8, **fields), strategy=strategy)
    return layer.calls - before


@pytest.mark.parametrize("fields", [{}, {"monitor": "train"}, {"average_decay": 0.9}])
def test_further_epochs_trace_nothing(blobs, fields):
    """75 training and 12 validation examples: both end with a smaller batch."""
    first = count_traces(blobs, 1, **fields)
    assert first == count_traces(blobs, 4, **fields)
    # Keras calls the model once more when a gradient of it is traced; twice each is the most.
    assert 2 <= first <= 4


def test_on_two_devices_a_smaller_last_batch_traces_nothing_either(blobs, two_devices):
    """Against numbers of examples that fill all their batches."""
    whole = {name: slice(count) for name, count in (("train", 72), ("validation", 8))}
    parts = {
        name: dataclasses.replace(
            blobs.splits[name], inputs=blobs.splits[name].inputs[part], labels=blobs.splits[name].labels[part]
        )
        for name, part in whole.items()
    }
    even = dataclasses.replace(blobs, splits=parts)
    assert count_traces(blobs, 2, two_devices) == count_traces(even, 2, two_devices)


def test_another_shape_would_be_traced(blobs):
    """Negative control: the layer counts."""
    layer = Counting()
    for size in (1, 2):
        layer(keras.ops.ones((size, 5)))
    assert layer.calls == 2
