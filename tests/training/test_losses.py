"""Losses, predicted classes and the weight penalty against numpy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfunits import models
from tfunits.configs import TrainingConfig
from tfunits.configs.presets import find_preset
from tfunits.training import LOSSES, predicted_labels
from tfunits.training.losses import decayed_variables, make_training_loss, weight_penalty


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


@pytest.mark.parametrize("smoothing", [0.1, 0.6])
def test_smoothed_labels_share_their_weight_among_all_classes(rng, smoothing):
    outputs, labels = 3 * rng.normal(size=(20, 5)), rng.integers(5, size=20)
    logs = outputs - np.log(np.exp(outputs).sum(axis=1, keepdims=True))
    loss = make_training_loss(TrainingConfig(label_smoothing=smoothing))
    found = loss(tf.constant(labels, tf.int32), tf.constant(outputs, tf.float32)).numpy()
    plain, spread = -logs[np.arange(20), labels], -logs.mean(axis=1)
    np.testing.assert_allclose(found, (1 - smoothing) * plain + smoothing * spread, rtol=1e-5, atol=1e-6)
    # As a cross-entropy with soft targets.
    targets = (1 - smoothing) * np.eye(5)[labels] + smoothing / 5
    np.testing.assert_allclose(found, -(targets * logs).sum(axis=1), rtol=1e-5, atol=1e-6)
    # The negative control: spread over the other classes only.
    others = (1 - smoothing) * plain + smoothing * (5 * spread - plain) / 4
    assert np.abs(found - others).max() > 0.01


def test_smoothing_is_for_training_alone():
    """What a validation loss is taken from has none."""
    assert LOSSES["cross_entropy"] is make_training_loss(TrainingConfig())
    labels, outputs = tf.constant([0]), tf.constant([[9.0, 0.0]])
    smoothed = make_training_loss(TrainingConfig(label_smoothing=0.5))
    assert float(smoothed(labels, outputs)[0]) > 2 > 0.001 > float(LOSSES["cross_entropy"](labels, outputs)[0])


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge"])
def test_smoothed_labels_of_a_hinge_are_refused(loss):
    with pytest.raises(ValueError, match=f"^--label_smoothing=0.1: expected no such flag with --loss={loss}$"):
        make_training_loss(TrainingConfig(loss=loss, label_smoothing=0.1))
    assert make_training_loss(TrainingConfig(loss=loss)) is LOSSES[loss]


def test_hinge_is_one_minus_the_signed_score():
    scores = np.array([[2.0], [0.5], [0.5], [-3.0], [-3.0], [0.0]])
    labels = np.array([1, 1, 0, 1, 0, 0])
    losses = LOSSES["hinge"](tf.constant(labels, tf.int32), tf.constant(scores, tf.float32))
    np.testing.assert_array_equal(losses, np.maximum(0, 1 - (2 * labels - 1) * scores[:, 0]))


def test_squared_hinge_is_its_square_with_its_slope():
    scores = np.array([[2.0], [0.5], [0.5], [-3.0], [-3.0], [0.0]], "float32")
    labels = np.array([1, 1, 0, 1, 0, 0])
    margins = np.maximum(0, 1 - (2 * labels - 1) * scores[:, 0])
    outputs = tf.constant(scores)
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        losses = LOSSES["squared_hinge"](tf.constant(labels, tf.int32), outputs)
    np.testing.assert_array_equal(losses, margins**2)
    np.testing.assert_array_equal(tape.gradient(losses, outputs)[:, 0], -2 * margins * (2 * labels - 1))


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


def kernels_and_others(model: keras.Model) -> tuple[set[str], set[str]]:
    """Paths of trainable variables: of kernels, and of all others."""
    paths = {variable.path for variable in model.trainable_variables}
    kernels = {path for path in paths if path.endswith("kernel")}
    return kernels, paths - kernels


@pytest.mark.parametrize(
    ("name", "dataset", "expected"),
    [
        # FACTS 4.1: no convolution, no output layer, no bias.
        ("alexnet", "cifar10", lambda kernels, others: {"fc3/kernel", "fc4/kernel"}),
        # FACTS 4.2: also gamma, beta and the bias of the output layer.
        ("resnet56", "cifar10", lambda kernels, others: kernels | others),
        # FACTS 4.3: all but batch normalisation.
        ("resnet18", "imagenet2012", lambda kernels, others: kernels | {"logits/bias"}),
        ("resnet50", "imagenet2012", lambda kernels, others: kernels | {"logits/bias"}),
        # FACTS 2.4: weights of convolutions and dense layers.
        ("inception_v3", "imagenet2012", lambda kernels, others: kernels),
        # FACTS 14.2: all parameters.
        ("wide_resnet28", "cifar100", lambda kernels, others: kernels | others),
        ("densenet40", "cifar10", lambda kernels, others: kernels | others),
    ],
)
def test_recipes_decay_the_variables_that_their_papers_name(name, dataset, expected):
    recipe = find_preset(name, dataset, random_labels=False, augmented=False)
    model = models.build(name, size=0.25, input_shape=(32, 32, 3), num_classes=10)
    kernels, others = kernels_and_others(model)
    assert len(kernels) > 4
    assert len(others) > 4
    pattern = recipe.get("decayed_variables", TrainingConfig().decayed_variables)
    assert {variable.path for variable in decayed_variables(model, pattern)} == expected(kernels, others)
    assert recipe["weight_decay"] > 0
