"""Moving averages of weights against their recursion in float64."""

import dataclasses

import keras
import numpy as np
import pytest

from tfunits import models
from tfunits.artifacts import RunDir
from tfunits.configs import KeepRule, TrainingConfig
from tfunits.layers import BatchNormalization, ReplicaDropout
from tfunits.training import Averages, Checkpoints, fit

# One step an epoch, so that every step's weights lie in a checkpoint.
CONFIG = TrainingConfig(learning_rate=0.3, batch_size=75, epochs=12, average_decay=0.5)
EVERY = KeepRule(every=(1,))


def make_mlp() -> keras.Model:
    return models.build("mlp", size=0.0625, input_shape=(5,), num_classes=3, initializer="he_normal")


def average(values: list[np.ndarray], decay: float) -> np.ndarray:
    """a <- decay a + (1 - decay) w, from the first of the values."""
    found = values[0].astype("float64")
    for value in values[1:]:
        found = decay * found + (1 - decay) * value
    return found


def trajectory(folder, first: list[np.ndarray], epochs: int) -> list[list[np.ndarray]]:
    """Values of every one of a model's variables, before training and after each step."""
    checkpoints = Checkpoints(RunDir(folder).checkpoints)
    steps = [checkpoints.variables_at(epoch)[: len(first)] for epoch in range(1, epochs + 1)]
    return [list(values) for values in zip(first, *steps, strict=True)]


@pytest.mark.parametrize(("epochs", "decay"), [(24, 0.5), (12, 1 - 10 / 12)], ids=["long", "short"])
def test_evaluated_weights_are_the_recursion_over_all_steps(blobs, tmp_path, epochs, decay):
    """A short training forgets faster: the smaller of the decay and 1 - 10 / steps."""
    model = make_mlp()
    before = [variable.numpy() for variable in model.variables]
    config = dataclasses.replace(CONFIG, epochs=epochs)
    result = fit(model, blobs, config, run_dir=tmp_path, keep=EVERY)
    values = trajectory(tmp_path, before, epochs)
    for found, own, of_model in zip(result.last_weights, values, model.variables, strict=True):
        # Some steps of float32 rounding, forgotten by and by.
        np.testing.assert_allclose(found, average(own, decay), atol=1e-6)
        np.testing.assert_array_equal(of_model.numpy(), found)
    # The negative controls: another decay, without the weights before training, and the weights themselves.
    kernel, own = result.last_weights[0], values[0]
    for other in (average(own, 0.5 if epochs == 12 else 1 - 10 / 24), average(own[:-1], decay), own[-1]):
        assert np.abs(kernel - other).max() > 1e-4


def test_averages_are_validated_and_training_goes_on_from_the_weights_themselves(blobs, tmp_path):
    plain, averaged = make_mlp(), make_mlp()
    fit(plain, blobs, dataclasses.replace(CONFIG, average_decay=0.0), run_dir=tmp_path / "plain", keep=EVERY)
    history = fit(averaged, blobs, CONFIG, run_dir=tmp_path / "averaged", keep=EVERY).history
    trained, other = (Checkpoints(tmp_path / name / "checkpoints") for name in ("averaged", "plain"))
    for epoch in (1, 6, 12):
        for one, two in zip(trained.variables_at(epoch), other.variables_at(epoch), strict=False):
            np.testing.assert_array_equal(one, two)
    part = blobs.splits["validation"]

    def accuracy_and_loss(weights: list[np.ndarray]) -> tuple[float, float]:
        kernel, bias, last_kernel, last_bias = (value.astype("float64") for value in weights)
        logits = np.maximum(part.inputs @ kernel + bias, 0) @ last_kernel + last_bias
        losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(part)), part.labels]
        return np.mean(logits.argmax(axis=1) == part.labels), losses.mean()

    accuracy, loss = accuracy_and_loss([variable.numpy() for variable in averaged.variables])
    assert history["validation_accuracy"].iloc[-1] == accuracy
    np.testing.assert_allclose(history["validation_loss"].iloc[-1], loss, rtol=1e-5)
    # The weights themselves have another loss.
    assert abs(accuracy_and_loss([variable.numpy() for variable in plain.variables])[1] / loss - 1) > 1e-3


@pytest.fixture
def with_states() -> keras.Model:
    """Batch normalisation, whose statistics are averaged too, and a seed, which is no weight."""
    inputs = keras.Input((4,))
    tensor = BatchNormalization(name="norm")(keras.layers.Dense(3, name="hidden")(inputs))
    return keras.Model(inputs, ReplicaDropout(0.5, seed=1, name="drop")(tensor))


def test_statistics_are_averaged_and_seeds_are_not(with_states, rng):
    averages = Averages(with_states, 0.9)
    assert len(averages.variables) == len(with_states.weights) == len(with_states.variables) - 1 == 6
    values = {weight.path: [weight.numpy()] for weight in with_states.weights}
    for _ in range(5):
        for weight in with_states.weights:
            weight.assign(rng.normal(size=weight.shape))
            values[weight.path].append(weight.numpy())
        averages.move()
    for weight, found in zip(with_states.weights, averages.variables, strict=True):
        np.testing.assert_allclose(found.numpy(), average(values[weight.path], 0.9), atol=1e-6)
        assert not found.trainable


def test_a_model_has_the_averages_for_the_block_and_then_its_own_weights(with_states, rng):
    averages = Averages(with_states, 0.5)
    for weight in with_states.weights:
        weight.assign(rng.normal(size=weight.shape))
    averages.move()
    own = [variable.numpy() for variable in with_states.variables]
    with averages.used():
        for weight, value in zip(with_states.weights, averages.variables, strict=True):
            np.testing.assert_array_equal(weight.numpy(), value.numpy())
        assert np.any(with_states.weights[0].numpy() != own[0])
    for variable, value in zip(with_states.variables, own, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


@pytest.mark.parametrize("moment", ["in the block", "before it"])
def test_a_model_has_its_own_weights_again_after_an_error(with_states, rng, monkeypatch, moment):
    averages = Averages(with_states, 0.5)
    for weight in with_states.weights:
        weight.assign(rng.normal(size=weight.shape))
    own = [weight.numpy() for weight in with_states.weights]
    if moment == "before it":
        # As a Ctrl-C while averages are put in.
        last = averages.variables[-1]
        monkeypatch.setattr(type(last), "numpy", lambda self, read=type(last).numpy: stop(self is last) or read(self))

    def use() -> None:
        with averages.used():
            assert np.any(with_states.weights[0].numpy() != own[0])
            stop(True)

    with pytest.raises(KeyboardInterrupt):
        use()
    monkeypatch.undo()
    for weight, value in zip(with_states.weights, own, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)


def stop(now: bool) -> None:
    if now:
        raise KeyboardInterrupt
