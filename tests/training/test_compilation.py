"""Every step is compiled once a run, whatever the number of epochs and the size of last batches."""

import keras
import pytest

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


def count_traces(data, epochs: int, **fields) -> int:
    layer = Counting()
    inputs = keras.Input((5,))
    model = keras.Model(inputs, keras.layers.Dense(3, name="logits")(layer(inputs)))
    before = layer.calls
    training.fit(model, data, TrainingConfig(epochs=epochs, batch_size=8, **fields))
    return layer.calls - before


@pytest.mark.parametrize("fields", [{}, {"monitor": "train"}, {"average_decay": 0.9}])
def test_further_epochs_trace_nothing(blobs, fields):
    """75 training and 12 validation examples: both end with a smaller batch."""
    first = count_traces(blobs, 1, **fields)
    assert first == count_traces(blobs, 4, **fields)
    # Keras calls the model once more when a gradient of it is traced; twice each is the most.
    assert 2 <= first <= 4


def test_another_shape_would_be_traced(blobs):
    """Negative control: the layer counts."""
    layer = Counting()
    for size in (1, 2):
        layer(keras.ops.ones((size, 5)))
    assert layer.calls == 2
