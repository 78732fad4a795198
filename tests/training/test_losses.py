"""Losses, predicted classes and the weight penalty against numpy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfunits.training import LOSSES, predicted_labels
from tfunits.training.losses import decayed_variables, weight_penalty


@pytest.fixture
def model() -> keras.Model:
    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(4, name="hidden")(inputs)
    frozen = keras.layers.Dense(4, name="frozen", trainable=False)(hidden)
    return keras.Model(inputs, keras.layers.Dense(2, name="logits")(frozen))


def test_cross_entropy_is_the_negative_log_of_the_labels_share(rng):
    outputs, labels = 3 * rng.normal(size=(20, 5)), rng.integers(5, size=20)
    shares = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    losses = LOSSES["cross_entropy"](tf.constant(labels, tf.int32), tf.constant(outputs, tf.float32))
    np.testing.assert_allclose(losses, -np.log(shares[np.arange(20), labels]), rtol=1e-5, atol=1e-6)


def test_cross_entropy_of_large_logits_is_finite():
    losses = LOSSES["cross_entropy"](tf.constant([0, 1]), tf.constant([[1e4, -1e4], [1e4, -1e4]]))
    np.testing.assert_array_equal(losses, [0, 2e4])


def test_hinge_is_one_minus_the_signed_score():
    scores = np.array([[2.0], [0.5], [0.5], [-3.0], [-3.0], [0.0]])
    labels = np.array([1, 1, 0, 1, 0, 0])
    losses = LOSSES["hinge"](tf.constant(labels, tf.int32), tf.constant(scores, tf.float32))
    np.testing.assert_array_equal(losses, np.maximum(0, 1 - (2 * labels - 1) * scores[:, 0]))


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [([[0.1, 3.0, -1.0], [5.0, 4.0, 4.0]], [1, 0]), ([[0.4], [-0.1], [0.0]], [1, 0, 0])],
    ids=["logits", "score"],
)
def test_predicted_labels(outputs, expected):
    labels = predicted_labels(tf.constant(outputs))
    assert labels.dtype == tf.int32
    np.testing.assert_array_equal(labels, expected)


def test_decayed_variables_are_the_trainable_ones_of_a_pattern(model):
    assert [v.path for v in decayed_variables(model, "kernel")] == ["hidden/kernel", "logits/kernel"]
    assert len(decayed_variables(model, ".*")) == 4


def test_a_pattern_that_matches_nothing_is_refused(model):
    message = "^--decayed_variables=conv: expected a pattern that matches variables; their paths are like hidden/kernel"
    with pytest.raises(ValueError, match=message):
        decayed_variables(model, "conv")


def test_penalty_is_half_the_sum_of_squares(model):
    kernels = decayed_variables(model, "kernel")
    squares = sum(np.sum(v.numpy().astype("float64") ** 2) for v in kernels)
    np.testing.assert_allclose(weight_penalty(kernels, 0.3), 0.3 * squares / 2, rtol=1e-6)
