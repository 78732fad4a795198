"""Batches cut into pieces for devices; measures neither see the cuts nor change the network."""

import threading

import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from perturbed_networks import MEASURES, as_data, chain, forgetful, inputs_of, randomize, variables_of

from tfunits.measures.devices import devices_of, most_examples, run_pieces, values_per_example
from tfunits.surgery import Graph, Inputs


@pytest.mark.parametrize("measure", MEASURES)
def test_a_measure_leaves_the_network_as_it_is_and_sees_new_weights(measure):
    model, function = forgetful(), MEASURES[measure]
    data = inputs_of(model, examples=40)[0]
    before = variables_of(model)
    first = function(model, data).to_dict()
    assert variables_of(model) == before
    assert model.trainable
    assert function(model, data).to_dict() == first
    randomize(model, seed=11)
    fresh = randomize(forgetful(), seed=11)
    assert function(model, data).to_dict() == function(fresh, data).to_dict() != first


@pytest.mark.parametrize("measure", MEASURES)
def test_a_measure_gives_the_same_on_two_devices(measure, two_devices):
    """Also of a network whose variables are mirrored."""
    with two_devices.scope():
        mirrored = forgetful()
    data = as_data(inputs_of(mirrored, examples=23), 11)
    function = MEASURES[measure]
    expected = function(forgetful(), data).to_dict()
    assert function(forgetful(), data, strategy=two_devices).to_dict() == expected
    assert function(mirrored, data, strategy=two_devices).to_dict() == expected


def cut_into_pieces(sizes, *, most_examples, strategy=None, labels=True):
    """Run over batches of given sizes whose inputs are the examples' numbers; what every piece held, and where."""
    numbers = np.arange(sum(sizes), dtype="float32")[:, None]
    ends = np.cumsum(sizes)

    def generate():
        for size, end in zip(sizes, ends, strict=True):
            batch = numbers[end - size : end]
            yield (batch, batch[:, 0].astype("int32")) if labels else batch

    spec = tf.TensorSpec([None, 1], tf.float32)
    data = tf.data.Dataset.from_generator(
        generate, output_signature=(spec, tf.TensorSpec([None], tf.int32)) if labels else spec
    )
    model = chain(layers.Dense(2), shape=(1,))
    seen = []

    def function(piece):
        assert piece.size == len(piece.inputs[0])
        with_device = tf.identity(piece.inputs[0] + 0.0)
        seen.append((threading.get_ident(), tf.zeros(1).device))
        return with_device.numpy()[:, 0].tolist()

    found = list(
        run_pieces(
            function, Inputs(data, "test", model), strategy=strategy, most_examples=most_examples, description="testing"
        )
    )
    return found, seen


@pytest.mark.parametrize("on_two", [False, True])
@pytest.mark.parametrize("most_examples", [1, 3, 4, 100])
def test_every_example_is_in_one_piece_in_order(most_examples, on_two, two_devices):
    sizes = [8, 8, 1, 3]
    found, seen = cut_into_pieces(sizes, most_examples=most_examples, strategy=two_devices if on_two else None)
    assert sum((result for _, result in found), []) == list(range(sum(sizes)))
    for piece, result in found:
        assert piece.first == result[0]
        assert piece.labels.tolist() == result
        assert 1 <= piece.size <= most_examples
    edges = set(np.cumsum([0, *sizes]))
    assert edges <= {piece.first for piece, _ in found} | {sum(sizes)}
    devices = {device[-5:] for _, device in seen}
    assert devices == ({"CPU:0", "CPU:1"} if on_two else {"CPU:0"})
    if not on_two:
        assert len(found) == sum(-(-size // most_examples) for size in sizes)


def test_devices_share_a_batch_in_equal_parts(two_devices):
    found, _ = cut_into_pieces([9, 1], most_examples=100, strategy=two_devices)
    assert [piece.size for piece, _ in found] == [4, 5, 1]


def test_data_without_labels(two_devices):
    found, _ = cut_into_pieces([4, 3], most_examples=2, strategy=two_devices, labels=False)
    assert [piece.labels for piece, _ in found] == [None] * len(found)


def test_an_error_on_a_device_is_raised(two_devices):
    def fail(piece):
        raise RuntimeError(f"piece {piece.first}")

    inputs = Inputs(np.zeros((6, 1), "float32"), "test", chain(layers.Dense(2), shape=(1,)))
    for strategy in (None, two_devices):
        with pytest.raises(RuntimeError, match="piece 0"):
            list(run_pieces(fail, inputs, strategy=strategy, most_examples=3, description="testing"))


def test_devices_of_a_strategy(two_devices):
    assert devices_of(None) == [None]
    assert [device[-5:] for device in devices_of(two_devices)] == ["CPU:0", "CPU:1"]


def test_the_widest_tensor_bounds_the_examples_of_a_piece(monkeypatch):
    model = chain(layers.Conv2D(6, 3, padding="same"), layers.Flatten(), layers.Dense(3), shape=(4, 5, 2))
    graph = Graph(model)
    assert values_per_example(graph, graph.inputs[0]) == 4 * 5 * 2
    monkeypatch.setattr("tfunits.measures.devices._PIECE_VALUES", 1000)
    assert most_examples(graph) == 1000 // (4 * 5 * 6)
    monkeypatch.setattr("tfunits.measures.devices._PIECE_VALUES", 100)
    assert most_examples(graph) == 1
    open_ended = Graph(chain(layers.Conv2D(6, 3), layers.GlobalMaxPooling2D(), shape=(None, None, 2)))
    assert values_per_example(open_ended, open_ended.calls[0].outputs[0]) == 6
