"""The training loop: devices, history, learning, batch normalisation, divergence, seeds."""

import dataclasses
import importlib
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_fits import CONFIG, assert_same_bits, distance, forward, losses, make_mlp, read

from tfunits import datasets, models, training
from tfunits.artifacts import RunDir
from tfunits.configs import TrainingConfig
from tfunits.layers import BatchNormalization, ReplicaDropout
from tfunits.training import fit

trainer_module = importlib.import_module("tfunits.training.trainer")


def make_normalized(
    strategy: tf.distribute.Strategy | None = None, *, kind: type = BatchNormalization, heads: int = 1
) -> keras.Model:
    """A convolution, batch normalisation and linear heads on images of 6 x 6 pixels."""
    initializer = keras.initializers.HeNormal(seed=1)
    with (strategy or tf.distribute.get_strategy()).scope():
        inputs = keras.Input((6, 6, 1))
        tensor = keras.layers.Conv2D(3, 3, kernel_initializer=initializer, name="conv")(inputs)
        tensor = kind(momentum=0.997, name="norm")(tensor)
        tensor = keras.layers.Flatten(name="flatten")(keras.layers.ReLU(name="relu")(tensor))
        outputs = [
            keras.layers.Dense(3, kernel_initializer=initializer, name=name)(tensor)
            for name in ("logits", "auxiliary_logits")[:heads]
        ]
        return keras.Model(inputs, outputs[0] if heads == 1 else outputs)


@pytest.fixture
def pictures(rng) -> datasets.Dataset:
    """72 training images of noise around three patterns, 12 of validation and 5 of test."""
    labels = rng.integers(3, size=89).astype("int32")
    images = (rng.normal(size=(3, 6, 6, 1))[labels] + rng.normal(size=(89, 6, 6, 1))).astype("float32")
    bounds = {"train": slice(72), "validation": slice(72, 84), "test": slice(84, 89)}
    splits = {name: datasets.Split(inputs=images[part], labels=labels[part]) for name, part in bounds.items()}
    return datasets.Dataset(name="pictures", num_classes=3, splits=splits)


class TestDevices:
    @pytest.mark.parametrize("batch_size", [8, 7])
    def test_weights_do_not_depend_on_the_number_of_devices(self, blobs, two_devices, batch_size):
        config = dataclasses.replace(CONFIG, batch_size=batch_size, weight_decay=0.01)
        one, two, other = make_mlp(), make_mlp(two_devices), make_mlp()
        fit(one, blobs, config)
        fit(two, blobs, config, strategy=two_devices)
        # Sums over 8 examples in another order, twenty steps long: some 1e-7 each.
        assert distance(read(one), read(two)) < 1e-5
        # Another way of cutting the same examples is seen.
        fit(other, blobs, dataclasses.replace(config, batch_size=9))
        assert distance(read(one), read(other)) > 1e-3

    def test_batch_normalisation_sees_the_whole_batch_on_every_device(self, pictures, two_devices):
        one, two = make_normalized(), make_normalized(two_devices)
        apart = make_normalized(two_devices, kind=keras.layers.BatchNormalization)
        fit(one, pictures, CONFIG)
        fit(two, pictures, CONFIG, strategy=two_devices)
        # Eighteen steps; the fused operation and the shared sums round otherwise.
        assert distance(read(one), read(two)) < 1e-5
        fit(apart, pictures, CONFIG, strategy=two_devices)
        assert distance(read(one), read(apart)) > 1e-3

    @pytest.mark.parametrize(
        "settings",
        [
            {
                "optimizer": "rmsprop",
                "rmsprop_momentum": 0.5,
                "learning_rate": 0.01,
                "warmup_epochs": 1.0,
                "average_decay": 0.9,
                "weight_decay": 0.05,
                "decayed_variables": "kernel",
            },
            {"label_smoothing": 0.2, "schedule": "cosine", "optimizer": "adam"},
        ],
        ids=["rmsprop", "adam"],
    )
    def test_nor_do_averages_penalties_and_other_optimizers(self, blobs, two_devices, settings):
        """With an uneven last batch of three."""
        config = dataclasses.replace(CONFIG, **settings)
        one, two, other = make_mlp(), make_mlp(two_devices), make_mlp()
        first = fit(one, blobs, config)
        second = fit(two, blobs, config, strategy=two_devices)
        assert distance(read(one), read(two)) < 1e-5
        for column, values in first.history.items():
            np.testing.assert_allclose(second.history[column], values, rtol=1e-4, err_msg=column)
        fit(other, blobs, dataclasses.replace(config, batch_size=9))
        assert distance(read(one), read(other)) > 1e-3

    def test_nor_does_a_last_batch_smaller_than_the_number_of_devices(self, pictures, two_devices):
        """One image: a convolution on the nothing that the second device had would have another number of channels."""
        part = pictures.splits["train"]
        train = dataclasses.replace(part, inputs=part.inputs[:65], labels=part.labels[:65])
        data = dataclasses.replace(pictures, splits={**pictures.splits, "train": train})

        def make(strategy: tf.distribute.Strategy) -> keras.Model:
            initializer = keras.initializers.HeNormal(seed=1)
            with strategy.scope():
                inputs = keras.Input((6, 6, 1))
                tensor = keras.layers.Conv2D(8, 3, kernel_initializer=initializer, name="conv")(inputs)
                head = keras.layers.Dense(3, kernel_initializer=initializer, name="logits")
                return keras.Model(inputs, head(keras.layers.GlobalAveragePooling2D()(tensor)))

        one, two = make(tf.distribute.get_strategy()), make(two_devices)
        steps = fit(one, data, CONFIG).history["steps"].tolist()
        assert steps == fit(two, data, CONFIG, strategy=two_devices).history["steps"].tolist() == [9, 18]
        assert distance(read(one), read(two)) < 1e-5

    def test_nor_does_a_second_head_on_normalised_images(self, pictures, two_devices):
        config = dataclasses.replace(CONFIG, weight_decay=0.01, average_decay=0.9)
        one, two = make_normalized(heads=2), make_normalized(two_devices, heads=2)
        fit(one, pictures, config)
        fit(two, pictures, config, strategy=two_devices)
        assert distance(read(one), read(two)) < 1e-5
        plain = make_normalized()
        fit(plain, pictures, config)
        kernels = [model.get_layer("conv").kernel.numpy() for model in (one, plain)]
        assert np.abs(kernels[0] - kernels[1]).max() > 1e-3

    @pytest.mark.parametrize(("precision", "bits"), [("mixed_bfloat16", 8), ("mixed_float16", 11)])
    def test_half_precision_differs_by_its_rounding(self, blobs, two_devices, precision, bits):
        """Each device rounds its part of every gradient; the sums of float32 differ by far less."""
        # So small that no scaled gradient overflows: a step left out on one device and not on two would be seen.
        splits = {
            name: dataclasses.replace(part, inputs=0.1 * part.inputs.astype("float32"))
            for name, part in blobs.splits.items()
        }
        data, config = dataclasses.replace(blobs, splits=splits), dataclasses.replace(CONFIG, precision=precision)

        def make(policy: str, strategy: tf.distribute.Strategy) -> keras.Model:
            """One linear layer: a ReLU may turn a rounding into all of a unit's gradient."""
            with strategy.scope():
                inputs = keras.Input((5,))
                return keras.Model(inputs, keras.layers.Dense(3, kernel_initializer="zeros", dtype=policy)(inputs))

        one, two = (make(precision, strategy) for strategy in (tf.distribute.get_strategy(), two_devices))
        exact = make("float32", tf.distribute.get_strategy())
        fit(one, data, config)
        fit(two, data, config, strategy=two_devices)
        fit(exact, data, CONFIG)
        # Twenty steps of rate 0.1, tenfold by momentum, of gradients below 1/2, each rounded by half a unit.
        bound = 20 * 0.1 * 10 * 0.5 * 2.0**-bits
        assert 1e-6 < distance(read(one), read(exact)) < bound
        assert distance(read(one), read(two)) < bound
        # The weights have gone far beyond that.
        assert distance(read(one), [np.zeros((5, 3)), np.zeros(3)]) > 10 * bound

    def test_an_uneven_last_batch_is_dropped_only_from_batch_normalisation_on_several_devices(
        self, blobs, pictures, two_devices
    ):
        config = dataclasses.replace(CONFIG, batch_size=10, epochs=1)
        steps = [
            fit(make(strategy), data, config, strategy=strategy).history["steps"].item()
            for make, data in ((make_mlp, blobs), (make_normalized, pictures))
            for strategy in (None, two_devices)
        ]
        assert steps == [8, 8, 8, 7]

    @pytest.mark.parametrize("devices", [1, 2])
    def test_history_counts_every_validation_example_once(self, blobs, two_devices, devices):
        strategy = two_devices if devices == 2 else None
        model = make_mlp(strategy)
        history = fit(model, blobs, CONFIG, strategy=strategy).history
        # 12 examples in batches of 8 and 4.
        part = blobs.splits["validation"]
        logits = forward(model, part.inputs)
        assert history["validation_accuracy"].iloc[-1] == np.mean(logits.argmax(axis=1) == part.labels)
        expected = losses(logits, part.labels)
        np.testing.assert_allclose(history["validation_loss"].iloc[-1], expected.mean(), rtol=1e-5)
        assert abs(np.mean([expected[:8].mean(), expected[8:].mean()]) / expected.mean() - 1) > 1e-3

    def test_fewer_examples_than_devices_are_refused(self, blobs, two_devices):
        message = "^--batch_size=1: expected at least one example for each of the 2 devices"
        with pytest.raises(ValueError, match=message):
            fit(make_mlp(two_devices), blobs, dataclasses.replace(CONFIG, batch_size=1), strategy=two_devices)


class TestHistory:
    def test_training_numbers_are_those_of_the_weights_before_each_step(self, blobs):
        """At a rate that changes nothing, they are those of the whole training set."""
        model = make_mlp()
        history = fit(model, blobs, dataclasses.replace(CONFIG, learning_rate=1e-12)).history
        part = blobs.splits["train"]
        logits = forward(model, part.inputs)
        assert history["train_accuracy"].tolist() == [np.mean(logits.argmax(axis=1) == part.labels)] * 2
        np.testing.assert_allclose(history["train_loss"], losses(logits, part.labels).mean(), rtol=1e-5)

    def test_epochs_steps_and_rates(self, blobs):
        config = dataclasses.replace(CONFIG, epochs=3, schedule="exponential", decay_rate=0.5)
        history = fit(make_mlp(), blobs, config).history
        assert history["epoch"].tolist() == [1, 2, 3]
        assert history["steps"].tolist() == [10, 20, 30]
        np.testing.assert_allclose(history["learning_rate"], [0.1, 0.05, 0.025], rtol=1e-6)

    def test_no_epoch_leaves_the_network_as_it_is(self, pictures):
        model = make_normalized()
        before = read(model)
        result = fit(model, pictures, dataclasses.replace(CONFIG, epochs=0))
        assert_same_bits(read(model), before)
        assert (len(result.history), result.best_epoch, result.diverged) == (0, 0, False)
        assert_same_bits(result.best_weights, before)
        assert result.batch_norm_momentum == 0.997

    @pytest.mark.parametrize("kind", [str, pathlib.Path, RunDir])
    def test_a_run_directory_gets_the_files(self, blobs, tmp_path, kind):
        result = fit(make_mlp(), blobs, CONFIG, run_dir=kind(tmp_path / "run"))
        lines = (tmp_path / "run" / "history.csv").read_text().splitlines()
        assert lines[0].split(",") == list(result.history)
        assert [float(text) for text in lines[2].split(",")] == result.history.iloc[1].tolist()
        timing = (tmp_path / "run" / "timing.csv").read_text().splitlines()
        assert [line.split(",")[0] for line in timing] == ["epoch", "1", "2"]

    def test_at_most_ten_epochs_have_histograms(self, blobs, tmp_path):
        config = dataclasses.replace(CONFIG, epochs=15, batch_size=75)
        fit(make_mlp(), blobs, config, run_dir=RunDir(tmp_path))
        (file,) = (tmp_path / "tensorboard").iterdir()
        steps: dict[str, list[int]] = {}
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                steps.setdefault(value.tag, []).append(event.step)
        assert steps["loss/train"] == list(range(1, 16))
        shown = steps["weights/hidden/kernel"]
        assert len(shown) == 10
        assert (shown[0], shown[-1]) == (1, 15)


class TestWholeTraining:
    """A training from its first to its last weight against the same in float64."""

    CONFIG = TrainingConfig(
        learning_rate=0.3, batch_size=16, epochs=3, schedule="cosine", warmup_epochs=0.5, final_learning_rate=0.01,
        momentum=0.9, weight_decay=0.05, decayed_variables="kernel", label_smoothing=0.1, seed=3,
    )  # fmt: skip

    @staticmethod
    def make(strategy: tf.distribute.Strategy | None = None) -> keras.Model:
        with (strategy or tf.distribute.get_strategy()).scope():
            inputs = keras.Input((5,))
            return keras.Model(inputs, keras.layers.Dense(3, kernel_initializer="ones", name="logits")(inputs))

    def descend(self, data: datasets.Dataset, *, decay_bias: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Kernel and bias after 3 epochs of 5 batches of 16 or 11 examples, by the equations of README and FACTS."""
        kernel, bias, velocities, step = np.ones((5, 3)), np.zeros(3), [0.0, 0.0], 0
        for epoch in range(3):
            for inputs, labels in data.epoch(epoch, 3, 16):
                rate = (0.01 + 0.29 * (1 + np.cos(np.pi * epoch / 3)) / 2) * min(1, step / 2.5)
                x = inputs.numpy().astype("float64")
                shares = np.exp(x @ kernel + bias)
                shares /= shares.sum(axis=1, keepdims=True)
                error = (shares - 0.9 * np.eye(3)[labels] - 0.1 / 3) / len(x)
                gradients = [x.T @ error + 0.05 * kernel, error.sum(axis=0) + 0.05 * bias * decay_bias]
                velocities = [0.9 * v + g for v, g in zip(velocities, gradients, strict=True)]
                kernel, bias = kernel - rate * velocities[0], bias - rate * velocities[1]
                step += 1
        return kernel, bias

    @pytest.mark.parametrize("devices", [1, 2])
    def test_it_is_momentum_on_the_smoothed_and_penalized_loss(self, blobs, two_devices, devices):
        strategy = two_devices if devices == 2 else None
        model = self.make(strategy)
        fit(model, blobs, self.CONFIG, strategy=strategy)
        kernel, bias = self.descend(blobs)
        # Fifteen steps of float32.
        np.testing.assert_allclose(model.get_layer("logits").kernel.numpy(), kernel, atol=3e-6)
        np.testing.assert_allclose(model.get_layer("logits").bias.numpy(), bias, atol=3e-6)
        assert np.abs(model.get_layer("logits").bias.numpy() - self.descend(blobs, decay_bias=True)[1]).max() > 1e-3


class TestLearning:
    @pytest.mark.parametrize(
        "settings",
        [
            {"optimizer": "momentum", "schedule": "constant"},
            {"optimizer": "sgd", "schedule": "piecewise", "drop_epochs": (2.5,)},
            {"optimizer": "adam", "schedule": "exponential", "learning_rate": 0.05},
            {"optimizer": "rmsprop", "schedule": "cosine", "learning_rate": 0.02},
        ],
        ids=lambda settings: settings["optimizer"],
    )
    def test_every_optimizer_and_schedule_lowers_the_loss(self, blobs, settings):
        history = fit(make_mlp(), blobs, dataclasses.replace(CONFIG, epochs=4, **settings)).history
        assert history["train_loss"].iloc[-1] < 0.7 * history["train_loss"].iloc[0]
        assert history["validation_accuracy"].iloc[-1] > 0.6

    def test_hinge_trains_a_network_of_one_output(self, rng):
        inputs = rng.normal(size=(60, 4)).astype("float32")
        part = datasets.Split(inputs=inputs, labels=(inputs[:, 0] > 0).astype("int32"))
        data = datasets.Dataset(name="signs", num_classes=2, splits=dict.fromkeys(("train", "validation"), part))
        model = models.build("fc5", size=0.0625, input_shape=(4,), num_classes=2)
        history = fit(model, data, dataclasses.replace(CONFIG, loss="hinge", epochs=6)).history
        assert history["train_accuracy"].iloc[-1] > 0.9
        scores = training.predict(model, data.validation)
        expected = np.maximum(0, 1 - (2 * part.labels - 1) * scores[:, 0].astype("float64"))
        np.testing.assert_allclose(history["validation_loss"].iloc[-1], expected.mean(), rtol=1e-5)

    def test_the_factor_k_is_a_larger_batch_and_rate(self, blobs):
        one, other, plain = make_mlp(), make_mlp(), make_mlp()
        fit(one, blobs, dataclasses.replace(CONFIG, k=2))
        fit(other, blobs, dataclasses.replace(CONFIG, batch_size=16, learning_rate=0.2))
        fit(plain, blobs, CONFIG)
        assert_same_bits(read(one), read(other))
        assert distance(read(one), read(plain)) > 1e-2

    def test_penalized_weights_end_smaller(self, blobs):
        norms = []
        for weight_decay in (0.0, 0.3):
            model = make_mlp()
            config = dataclasses.replace(CONFIG, epochs=4, weight_decay=weight_decay, decayed_variables="hidden/kernel")
            fit(model, blobs, config)
            norms.append(np.linalg.norm(read(model)[0]))
        assert norms[1] < 0.5 * norms[0]

    def test_a_rate_out_of_hand_is_reported_not_raised(self, blobs, tmp_path):
        result = fit(make_mlp(), blobs, dataclasses.replace(CONFIG, learning_rate=1e30), run_dir=RunDir(tmp_path))
        assert result.diverged
        assert len(result.history) == 1
        assert not np.isfinite(result.history["train_loss"].item())
        # What cannot be gone on from is not kept.
        assert not list(tmp_path.glob("checkpoints/*"))

    @pytest.mark.parametrize("regularizers", [("augmentation",), ("none",)])
    def test_augmentation_is_asked_for_by_name(self, pictures, regularizers):
        asked = []

        class Watched:
            def __getattr__(self, name):
                return getattr(pictures, name)

            def epoch(self, *arguments, augment, **options):
                asked.append(augment)
                return pictures.epoch(*arguments, **options)

            def epoch_order(self, *arguments, **options):
                asked.append(False)
                return pictures.epoch_order(*arguments, **options)

        fit(make_normalized(), Watched(), dataclasses.replace(CONFIG, epochs=1, regularizers=regularizers))
        assert asked == [regularizers == ("augmentation",)]


class TestBatchNormalization:
    def test_momentum_is_lowered_to_the_length_of_the_training(self, pictures):
        model = make_normalized()
        result = fit(model, pictures, dataclasses.replace(CONFIG, epochs=4))
        assert result.batch_norm_momentum == 1 - 10 / 36
        # Afterwards the network has its own constant again, for a longer training.
        assert model.get_layer("norm").momentum == 0.997
        assert fit(model, pictures, dataclasses.replace(CONFIG, epochs=2)).batch_norm_momentum == 1 - 10 / 18

    def test_the_networks_own_momentum_comes_back_after_an_error_too(self, pictures):
        class Interrupted:
            def __getattr__(self, name):
                return getattr(pictures, name)

            def epoch_order(self, epoch, *arguments, **options):
                assert model.get_layer("norm").momentum == 1 - 10 / 36
                raise KeyboardInterrupt

        model = make_normalized()
        with pytest.raises(KeyboardInterrupt):
            fit(model, Interrupted(), dataclasses.replace(CONFIG, epochs=4))
        assert model.get_layer("norm").momentum == 0.997

    def test_a_long_training_keeps_the_networks_own_momentum(self, pictures):
        config = dataclasses.replace(CONFIG, epochs=1000, learning_rate=1e-12, patience=1)
        result = fit(make_normalized(), pictures, config)
        assert (len(result.history), result.batch_norm_momentum) == (2, 0.997)

    def test_momentum_is_lowered_inside_a_network_within_the_network(self, pictures):
        inner = make_normalized()
        inputs = keras.Input((6, 6, 1))
        result = fit(keras.Model(inputs, inner(inputs)), pictures, dataclasses.replace(CONFIG, epochs=4))
        assert (result.batch_norm_momentum, inner.get_layer("norm").momentum) == (1 - 10 / 36, 0.997)

    def test_a_network_without_it_has_no_momentum(self, blobs):
        assert fit(make_mlp(), blobs, CONFIG).batch_norm_momentum is None

    def test_a_short_training_evaluates_above_chance(self, monkeypatch):
        data = datasets.load("digits", num_examples=512, preprocessing="image8")
        config = TrainingConfig(learning_rate=0.05, batch_size=32, epochs=2)

        def accuracies() -> tuple[float, float]:
            """Pixels far from zero, so that a moving mean which stays near its start is of no use."""
            inputs = keras.Input(data.input_shape)
            tensor = keras.layers.Rescaling(1.0, offset=5.0)(inputs)
            for number in range(2):
                initializer = keras.initializers.HeNormal(seed=number)
                tensor = keras.layers.Conv2D(8, 3, kernel_initializer=initializer)(tensor)
                tensor = keras.layers.ReLU()(BatchNormalization(momentum=0.997)(tensor))
            head = keras.layers.Dense(10, kernel_initializer=keras.initializers.HeNormal(seed=9))
            model = keras.Model(inputs, head(keras.layers.Flatten()(tensor)))
            row = fit(model, data, config).history.iloc[-1]
            return row["train_accuracy"], row["validation_accuracy"]

        trained, evaluated = accuracies()
        assert min(trained, evaluated) > 0.4
        monkeypatch.setattr(trainer_module, "_longest_memory", lambda num_steps: 1.0)
        same, by_chance = accuracies()
        assert same == trained
        # Chance is 0.1, with a standard error of 0.02 over 180 examples.
        assert by_chance < 0.2


class TestSeeds:
    @staticmethod
    def train(blobs: datasets.Dataset, *, dropout_seed: int | None = None, seed: int = 0) -> list[np.ndarray]:
        model = make_mlp()
        if dropout_seed is not None:
            dropped = ReplicaDropout(0.5, seed=dropout_seed, name="dropout")(model.get_layer("tap_hidden").output)
            model = keras.Model(model.input, model.get_layer("logits")(dropped))
        fit(model, blobs, dataclasses.replace(CONFIG, seed=seed))
        return [variable.numpy() for variable in model.trainable_variables]

    def test_order_follows_the_seed(self, blobs):
        assert_same_bits(self.train(blobs, seed=1), self.train(blobs, seed=1))
        assert distance(self.train(blobs, seed=1), self.train(blobs, seed=2)) > 1e-3

    def test_dropout_follows_its_seed(self, blobs):
        first = self.train(blobs, dropout_seed=1)
        assert_same_bits(first, self.train(blobs, dropout_seed=1))
        assert distance(first, self.train(blobs, dropout_seed=2)) > 1e-2


@pytest.mark.parametrize("make", [make_mlp, make_normalized])
def test_a_batch_larger_than_the_data_is_refused(make, blobs, pictures):
    data = blobs if make is make_mlp else pictures
    count = len(data.splits["train"])
    with pytest.raises(ValueError, match=f"--batch_size={count + 1}: expected at most the {count} training examples"):
        fit(make(), data, dataclasses.replace(CONFIG, batch_size=count + 1))


def test_a_batch_larger_than_the_data_is_refused_on_two_devices(pictures, two_devices):
    model, config = make_normalized(two_devices), dataclasses.replace(CONFIG, batch_size=73)
    with pytest.raises(ValueError, match="^--batch_size=73: expected at most the 72 training examples"):
        fit(model, pictures, config, strategy=two_devices)


@pytest.mark.parametrize(
    ("steps", "drop_last", "expected"), [((75, 8), False, 10), ((75, 8), True, 9), ((72, 8), False, 9)]
)
def test_steps_of_an_epoch(steps, drop_last, expected):
    assert training.steps_per_epoch(*steps, drop_last=drop_last) == expected
