"""One compiled step and exact evaluation, on one device and on two."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfunits.configs import TrainingConfig
from tfunits.configs.presets import find_preset
from tfunits.layers import BatchNormalization
from tfunits.training import (
    StepSchedule,
    Totals,
    learning_rates,
    make_evaluation,
    make_optimizer,
    predict,
    predict_splits,
)
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
    padded = with_weights(batches, batch_size, pad=strategy.num_replicas_in_sync > 1)
    return strategy.experimental_distribute_dataset(padded)


def gradients(
    weights: dict[str, np.ndarray], inputs: np.ndarray, labels: np.ndarray, smoothing: float = 0.0
) -> dict[str, np.ndarray]:
    """Gradients of the mean cross-entropy with smoothed labels in float64."""
    hidden = inputs @ weights["hidden/kernel"] + weights["hidden/bias"]
    shares = softmax(hidden @ weights["logits/kernel"] + weights["logits/bias"])
    error = (shares - (1 - smoothing) * np.eye(2)[labels] - smoothing / 2) / len(labels)
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


# Uneven batches, a drop of the rate after the third of four steps, half a share of smoothing.
def test_steps_with_everything_are_those_of_float64(strategy, examples):
    config = TrainingConfig(
        learning_rate=RATE, schedule="piecewise", drop_epochs=(1.5,), momentum=0.9, label_smoothing=0.5,
        weight_decay=DECAY, decayed_variables="kernel", batch_size=5, epochs=2, schedule_examples=10,
    )  # fmt: skip
    rates = learning_rates(config, 2)
    np.testing.assert_allclose(rates, RATE * np.array([1, 1, 1, 0.1]), rtol=1e-6)
    model = make_model(strategy)
    with strategy.scope():
        optimizer = make_optimizer(config, StepSchedule(rates))
        optimizer.build(model.trainable_variables)
    train = make_train_steps(model, optimizer, config, strategy)
    batches = [slice(0, 5), slice(5, 10), slice(10, 13)]
    inputs, labels = examples
    expected, decoupled = (
        descend(read(model), [(inputs[b], labels[b]) for b in (*batches, batches[0])], rates, coupled)
        for coupled in (True, False)
    )
    assert train(iter(distribute(strategy, examples, 5)), 3).count == 13
    train(iter(distribute(strategy, examples, 5)), 1)
    for name, value in read(model).items():
        # Four steps of float32 rounding.
        np.testing.assert_allclose(value, expected[name], atol=3e-6, err_msg=name)
    # The negative control: decay beside the momentum instead of in the loss.
    assert max(np.abs(value - decoupled[name]).max() for name, value in read(model).items()) > 0.01


def descend(
    weights: dict[str, np.ndarray], batches: list[tuple], rates: np.ndarray, coupled: bool
) -> dict[str, np.ndarray]:
    """Momentum 0.9 with the penalty on kernels in its gradient, or decay of the kernels beside it, float64."""
    velocity = dict.fromkeys(weights, 0.0)
    for (inputs, labels), rate in zip(batches, rates, strict=True):
        gradient = gradients(weights, inputs, labels, smoothing=0.5)
        for name, value in weights.items():
            decay = DECAY * value * name.endswith("kernel")
            velocity[name] = 0.9 * velocity[name] + gradient[name] + decay * coupled
            weights = {**weights, name: value - rate * (velocity[name] + decay * (not coupled))}
    return weights


def make_penalized(strategy: tf.distribute.Strategy) -> keras.Model:
    """Layers with the recipes' names, so sure of class 0 that its cross-entropy has no gradient at all."""
    keras.utils.set_random_seed(4)
    with strategy.scope():
        inputs = keras.Input((3,))
        tensor = keras.layers.Dense(4, name="conv1")(inputs)
        tensor = keras.layers.ReLU()(BatchNormalization(name="norm")(tensor))
        tensor = keras.layers.Dense(4, name="fc4")(keras.layers.Dense(4, bias_initializer="ones", name="fc3")(tensor))
        model = keras.Model(inputs, keras.layers.Dense(2, name="logits")(tensor))
    model.get_layer("logits").bias.assign([500.0, 0.0])
    return model


KERNELS = {f"{layer}/kernel" for layer in ("conv1", "fc3", "fc4", "logits")}
PENALIZED = {
    ("alexnet", "cifar10"): {"fc3/kernel", "fc4/kernel"},
    ("resnet18", "imagenet2012"): KERNELS | {"logits/bias"},
    ("inception_v3", "imagenet2012"): KERNELS,
    ("wide_resnet28", "cifar10"): KERNELS
    | {name.replace("kernel", "bias") for name in KERNELS}
    | {"norm/gamma", "norm/beta"},
}


@pytest.mark.parametrize("recipe", PENALIZED, ids=lambda recipe: recipe[0])
def test_penalized_variables_shrink_through_the_momentum_and_others_stay(two_devices, examples, recipe):
    strategy = two_devices if recipe[0] in ("alexnet", "wide_resnet28") else tf.distribute.get_strategy()
    pattern = find_preset(*recipe, random_labels=False, augmented=False).get("decayed_variables", ".*")
    model = make_penalized(strategy)
    before = read(model)
    config = TrainingConfig(weight_decay=DECAY, decayed_variables=pattern, momentum=0.9)
    rates = np.array([RATE, RATE, RATE / 10, RATE / 10])
    with strategy.scope():
        optimizer = make_optimizer(config, StepSchedule(rates))
        optimizer.build(model.trainable_variables)
    train = make_train_steps(model, optimizer, config, strategy)
    inputs = examples[0][:8]
    batches = tf.data.Dataset.from_tensors((inputs, np.zeros(8, "int32"), np.ones(8, "float32"))).repeat()
    assert train(iter(strategy.experimental_distribute_dataset(batches)), len(rates)).loss == 0
    factor, velocity, decoupled = 1.0, 0.0, 1.0
    for rate in rates:
        velocity = 0.9 * velocity + DECAY * factor
        factor -= rate * velocity
        decoupled *= 1 - rate * DECAY
    assert abs(factor - decoupled) > 0.05
    after = read(model)
    for name, value in before.items():
        if name in PENALIZED[recipe]:
            np.testing.assert_allclose(after[name], factor * value, rtol=1e-5, atol=1e-7, err_msg=name)
        else:
            np.testing.assert_array_equal(after[name], value, err_msg=name)


def make_two_heads(strategy: tf.distribute.Strategy) -> keras.Model:
    """The two linear layers and a second head on the first of them."""
    model = make_model(strategy)
    with strategy.scope():
        hidden = model.get_layer("hidden").output
        head = keras.layers.Dense(2, name="auxiliary", kernel_initializer=keras.initializers.GlorotNormal(seed=8))
        return keras.Model(model.input, [model.output, head(hidden)])


def test_a_second_heads_loss_counts_four_tenths(strategy, examples):
    """Of smoothed labels too."""
    (inputs, labels), smoothing = examples, 0.3
    model = make_two_heads(strategy)
    before = read(model)
    with strategy.scope():
        optimizer = keras.optimizers.SGD(RATE)
        optimizer.build(model.trainable_variables)
    train = make_train_steps(model, optimizer, TrainingConfig(label_smoothing=smoothing), strategy)
    totals = train(iter(distribute(strategy, examples, 14)), 1)
    main = gradients(before, inputs, labels, smoothing)
    second = {name.replace("auxiliary", "logits"): v for name, v in before.items() if "logits" not in name}
    side = gradients(second, inputs, labels, smoothing)

    def step(name: str, factor: float) -> np.ndarray:
        """A variable after a step in which the second head counts so much."""
        gradient = 0 if "auxiliary" in name else main[name]
        if "logits" not in name:
            gradient = gradient + factor * side[name.replace("auxiliary", "logits")]
        return before[name] - RATE * gradient

    for name, value in read(model).items():
        np.testing.assert_allclose(value, step(name, 0.4), atol=1e-6, err_msg=name)
        if "logits" not in name:
            assert min(np.abs(value - step(name, factor)).max() for factor in (0, 0.3, 0.5, 1)) > 3e-3, name
    # What is reported is the first head's.
    logits = (inputs @ before["hidden/kernel"] + before["hidden/bias"]) @ before["logits/kernel"]
    assert totals.correct == np.sum(logits.argmax(axis=1) == labels)
    logs = np.log(softmax(logits))
    losses = -(1 - smoothing) * logs[np.arange(13), labels] - smoothing * logs.mean(axis=1)
    np.testing.assert_allclose(totals.loss, losses.sum(), rtol=1e-5)


def test_evaluation_and_predictions_are_those_of_the_first_head(strategy, examples):
    inputs, labels = examples
    model = make_two_heads(strategy)
    weights = read(model)
    logits = (inputs @ weights["hidden/kernel"] + weights["hidden/bias"]) @ weights["logits/kernel"]
    totals = make_evaluation(model, "cross_entropy", strategy)(distribute(strategy, examples, 5), 3)
    np.testing.assert_allclose(totals.loss, -np.log(softmax(logits)[np.arange(13), labels]).sum(), rtol=1e-5)
    batches = tf.data.Dataset.from_tensor_slices(examples).batch(5)
    np.testing.assert_allclose(predict(model, batches), logits, atol=1e-5)


@pytest.mark.parametrize("place", [0, 3], ids=["first replica", "last replica"])
def test_a_step_whose_scaled_gradient_overflows_anywhere_is_left_out_everywhere(strategy, place):
    """Keras asks the first replica alone; an infinite gradient of the other would end in all weights."""
    config = TrainingConfig(optimizer="sgd", learning_rate=0.1, precision="mixed_float16")
    with strategy.scope():
        inputs = keras.Input((3,))
        head = keras.layers.Dense(
            2, kernel_initializer=keras.initializers.Constant([[1, 0]] * 3), dtype="mixed_float16"
        )
        model = keras.Model(inputs, head(inputs))
        optimizer = make_optimizer(config, 0.1)
        optimizer.build(model.trainable_variables)
    train = make_train_steps(model, optimizer, config, strategy)

    def step(examples: np.ndarray) -> float:
        batch = (examples.astype("float32"), np.ones(4, "int32"), np.ones(4, "float32"))
        data = strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensors(batch))
        return train(iter(data), 1).loss

    before = read(model)
    # A gradient of 30 in each weight, times 32,768 / 4: beyond float16's 65,504; the loss is far below it.
    large = np.full((4, 3), 1e-3)
    large[place] = 30
    assert step(large) == pytest.approx(90 + 3 * np.log(2), rel=1e-2)
    for name, value in read(model).items():
        np.testing.assert_array_equal(value, before[name])
    assert (optimizer.iterations.numpy(), optimizer.dynamic_scale.numpy()) == (0, 2.0**14)
    step(np.full((4, 3), 0.1))
    assert (optimizer.iterations.numpy(), optimizer.dynamic_scale.numpy()) == (1, 2.0**14)
    share = 1 / (1 + np.exp(-0.3))
    kernel = next(value for name, value in read(model).items() if name.endswith("kernel"))
    # The gradient is rounded to float16.
    np.testing.assert_allclose(kernel, [[1 - 0.01 * share, 0.01 * share]] * 3, atol=0.01 * 2.0**-10)


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
        for name, part in {"train": slice(8), "test": slice(8, 13)}.items()
    }
    found = predict_splits(model, splits)
    outputs = {name: outputs for name, (outputs, _) in found.items()}
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in found.values()]), examples[1][:13])
    whole = predict(model, tf.data.Dataset.from_tensor_slices(examples).batch(13))
    np.testing.assert_allclose(outputs["train"], whole[:8], atol=1e-6)
    np.testing.assert_allclose(outputs["test"], whole[8:13], atol=1e-6)


def test_predictions_come_in_order(examples):
    inputs, labels = examples
    model = make_model(tf.distribute.get_strategy())
    weights = read(model)
    outputs = predict(model, tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(5))
    hidden = inputs @ weights["hidden/kernel"] + weights["hidden/bias"]
    np.testing.assert_allclose(outputs, hidden @ weights["logits/kernel"], atol=1e-5)
    assert outputs.dtype == np.float32
