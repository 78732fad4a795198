"""One compiled step and exact evaluation, on one device and on two."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfunits.configs import TrainingConfig
from tfunits.training import Totals, make_evaluation, predict, predict_splits
from tfunits.training.batches import with_weights
from tfunits.training.engine import make_train_steps

RATE, DECAY = 0.5, 0.2


@pytest.fixture(params=["one device", "two devices"])
def strategy(request, two_devices) -> tf.distribute.Strategy:
    return two_devices if request.param == "two devices" else tf.distribute.get_strategy()


@pytest.fixture
def examples(rng) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(size=(13, 3)).astype("float32"), rng.integers(2, size=13).astype("int32")


def make_model(strategy: tf.distribute.Strategy) -> keras.Model:
    """Two linear layers, whose gradients a person can write down."""
    keras.utils.set_random_seed(3)
    with strategy.scope():
        inputs = keras.Input((3,))
        hidden = keras.layers.Dense(4, name="hidden", bias_initializer="ones")(inputs)
        return keras.Model(inputs, keras.layers.Dense(2, name="logits")(hidden))


def distribute(strategy: tf.distribute.Strategy, examples: tuple, batch_size: int):
    batches = tf.data.Dataset.from_tensor_slices(examples).batch(batch_size)
    return strategy.experimental_distribute_dataset(with_weights(batches, batch_size, strategy.num_replicas_in_sync))


def gradients(weights: dict[str, np.ndarray], inputs: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Gradients of the mean cross-entropy in float64."""
    hidden = inputs @ weights["hidden/kernel"] + weights["hidden/bias"]
    shares = softmax(hidden @ weights["logits/kernel"] + weights["logits/bias"])
    error = (shares - np.eye(2)[labels]) / len(labels)
    back = error @ weights["logits/kernel"].T
    return {
        "hidden/kernel": inputs.T @ back, "hidden/bias": back.sum(axis=0),
        "logits/kernel": hidden.T @ error, "logits/bias": error.sum(axis=0),
    }  # fmt: skip


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def read(model: keras.Model) -> dict[str, np.ndarray]:
    return {v.path: v.numpy().astype("float64") for v in model.trainable_variables}


# 13 examples in one batch of 16: three padded ones on two devices. 7 in one of 7: shares of 4 and 3.
@pytest.mark.parametrize(("count", "batch_size"), [(13, 16), (7, 7), (1, 2)])
def test_one_step_is_the_gradient_plus_the_penalty_on_named_variables(strategy, examples, count, batch_size):
    inputs, labels = (array[:count] for array in examples)
    model = make_model(strategy)
    before = read(model)
    config = TrainingConfig(weight_decay=DECAY, decayed_variables="kernel")
    with strategy.scope():
        optimizer = keras.optimizers.SGD(RATE)
        optimizer.build(model.trainable_variables)
    train = make_train_steps(model, optimizer, config, strategy)
    totals = train(iter(distribute(strategy, (inputs, labels), batch_size)), 1)

    after, gradient = read(model), gradients(before, inputs, labels)
    decayed = {name: DECAY * value * name.endswith("kernel") for name, value in before.items()}
    for name, value in before.items():
        np.testing.assert_allclose(after[name], value - RATE * (gradient[name] + decayed[name]), atol=1e-6)
        twice = value - RATE * (gradient[name] + 2 * decayed[name])
        assert (np.abs(after[name] - twice).max() > 1e-2) == name.endswith("kernel")
    logits = (inputs @ before["hidden/kernel"] + before["hidden/bias"]) @ before["logits/kernel"]
    losses = -np.log(softmax(logits)[np.arange(count), labels])
    assert totals.count == count
    assert totals.correct == np.sum(logits.argmax(axis=1) == labels)
    np.testing.assert_allclose(totals.loss, losses.sum(), rtol=1e-5)


def test_several_steps_in_one_call_equal_as_many_calls(examples):
    strategy, weights = tf.distribute.get_strategy(), []
    for calls in ([3], [1, 2]):
        model = make_model(strategy)
        train = make_train_steps(model, keras.optimizers.SGD(RATE), TrainingConfig(), strategy)
        iterator = iter(distribute(strategy, examples, 5))
        totals = sum((train(iterator, count) for count in calls), Totals())
        assert totals.count == 13
        weights.append(read(model))
    for name, value in weights[0].items():
        np.testing.assert_array_equal(value, weights[1][name])


@pytest.mark.parametrize("batch_size", [5, 16])
def test_evaluation_counts_every_example_once(strategy, examples, batch_size):
    inputs, labels = examples
    model = make_model(strategy)
    weights = read(model)
    logits = (inputs @ weights["hidden/kernel"] + weights["hidden/bias"]) @ weights["logits/kernel"]
    losses = -np.log(softmax(logits)[np.arange(13), labels])
    evaluate = make_evaluation(model, "cross_entropy", strategy)
    totals = evaluate(distribute(strategy, examples, batch_size), -(-13 // batch_size))
    assert totals.count == 13
    assert totals.accuracy == pytest.approx(np.mean(logits.argmax(axis=1) == labels), abs=1e-12)
    assert totals.mean_loss == pytest.approx(losses.mean(), rel=1e-5)
    if batch_size == 5:
        means = [part.mean() for part in np.split(losses, [5, 10])]
        assert totals.mean_loss != pytest.approx(np.mean(means), rel=1e-3)


def test_evaluation_of_a_hinge_score(examples, two_devices):
    inputs, labels = examples
    with two_devices.scope():
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, kernel_initializer="ones")])
    scores = inputs.sum(axis=1)
    totals = make_evaluation(model, "hinge", two_devices)(distribute(two_devices, examples, 4), 4)
    assert totals.correct == np.sum((scores > 0) == labels)
    assert totals.loss == pytest.approx(np.maximum(0, 1 - (2 * labels - 1) * scores).sum(), rel=1e-5)


def test_totals_add_up():
    total = Totals(loss=3, correct=1, count=4) + Totals(loss=1, correct=3, count=4)
    assert (total.mean_loss, total.accuracy) == (0.5, 0.5)


def test_predictions_of_several_splits_are_those_of_each(examples):
    model = make_model(tf.distribute.get_strategy())
    splits = {
        name: tf.data.Dataset.from_tensor_slices(tuple(array[part] for array in examples)).batch(4)
        for name, part in {"train": slice(9), "test": slice(9, 13)}.items()
    }
    outputs = predict_splits(model, splits)
    whole = predict(model, tf.data.Dataset.from_tensor_slices(examples).batch(13))
    np.testing.assert_allclose(outputs["train"], whole[:9], atol=1e-6)
    np.testing.assert_allclose(outputs["test"], whole[9:], atol=1e-6)


def test_predictions_come_in_order(examples):
    inputs, labels = examples
    model = make_model(tf.distribute.get_strategy())
    weights = read(model)
    outputs = predict(model, tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(5))
    hidden = inputs @ weights["hidden/kernel"] + weights["hidden/bias"]
    np.testing.assert_allclose(outputs, hidden @ weights["logits/kernel"], atol=1e-5)
    assert outputs.dtype == np.float32
