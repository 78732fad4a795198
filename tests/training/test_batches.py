"""Weights of examples, and the padding of the last batch."""

import numpy as np
import pytest
import tensorflow as tf

from tfunits.training.batches import with_weights


@pytest.fixture
def batches() -> tf.data.Dataset:
    """Ten examples in batches of four: the last holds two."""
    return tf.data.Dataset.from_tensor_slices((np.arange(10.0, dtype="float32")[:, None], np.arange(10) % 3)).batch(4)


def test_one_device_sees_every_batch_as_it_is(batches):
    found = list(with_weights(batches, 4, pad=False))
    assert [len(labels) for _, labels, _ in found] == [4, 4, 2]
    for (inputs, labels, weights), (given, true) in zip(found, batches, strict=True):
        np.testing.assert_array_equal(inputs, given)
        np.testing.assert_array_equal(labels, true)
        np.testing.assert_array_equal(weights, 1)


def test_several_devices_see_full_batches_whose_padding_weighs_nothing(batches):
    found = list(with_weights(batches, 4, pad=True))
    assert [weights.numpy().tolist() for _, _, weights in found] == [[1] * 4, [1] * 4, [1, 1, 0, 0]]
    inputs, labels, _ = found[-1]
    np.testing.assert_array_equal(inputs[:, 0], [8, 9, 8, 8])
    np.testing.assert_array_equal(labels, [2, 0, 2, 2])


def test_padded_batches_have_one_static_shape(batches):
    inputs, labels, _ = with_weights(batches, 4, pad=True).element_spec
    assert (inputs.shape, labels.shape) == ((4, 1), (4,))


def test_missing_batches_are_blank_ones_of_weight_0(batches):
    """What a worker with a smaller share trains on while others have examples left."""
    found = list(with_weights(batches, 4, pad=True, num_batches=5))
    assert [weights.numpy().tolist() for _, _, weights in found] == [
        [1] * 4, [1] * 4, [1, 1, 0, 0], [0] * 4, [0] * 4,
    ]  # fmt: skip
    inputs, labels, weights = found[-1]
    assert (inputs.shape, labels.dtype, weights.dtype) == ((4, 1), tf.int64, tf.float32)
    np.testing.assert_array_equal(inputs, 0)
    np.testing.assert_array_equal(labels, 0)


def test_batches_beyond_their_number_are_left_out(batches):
    found = list(with_weights(batches, 4, pad=True, num_batches=2))
    np.testing.assert_array_equal(np.concatenate([inputs[:, 0] for inputs, _, _ in found]), np.arange(8))
