"""Which epoch is the best, when training stops, and what is evaluated after every epoch."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from small_fits import CONFIG, assert_same_bits, distance, forward, losses, make_mlp, read

from tfunits.configs import UserError
from tfunits.training import fit


class TestPatience:
    def test_training_stops_once_patience_is_over(self, blobs):
        # Nothing changes at this rate, so that the first epoch stays the best.
        config = dataclasses.replace(CONFIG, learning_rate=1e-12, epochs=9, patience=2)
        result = fit(make_mlp(), blobs, config)
        assert (result.best_epoch, len(result.history)) == (1, 3)
        assert len(fit(make_mlp(), blobs, dataclasses.replace(config, patience=9)).history) == 9

    def test_best_weights_are_those_of_the_best_epoch(self, blobs):
        config = dataclasses.replace(CONFIG, learning_rate=2.0, epochs=8)
        model = make_mlp()
        result = fit(model, blobs, dataclasses.replace(config, measured_weights="best"))
        accuracies = result.history["validation_accuracy"].to_numpy()
        assert result.best_epoch == accuracies.argmax() + 1
        assert 1 < result.best_epoch < 8
        shorter = make_mlp()
        fit(shorter, blobs, dataclasses.replace(config, epochs=result.best_epoch))
        assert_same_bits(read(model), read(shorter))
        assert distance(read(model), result.last_weights) > 1e-2

    def test_patience_and_best_are_those_of_the_monitored_accuracy(self, blobs):
        """At a large rate, training and validation are best at different epochs."""
        config = dataclasses.replace(CONFIG, learning_rate=1.0, epochs=12, measured_weights="best")
        best = {}
        for monitor, column in (("validation", "validation_accuracy"), ("train", "evaluated_train_accuracy")):
            model = make_mlp()
            result = fit(model, blobs, dataclasses.replace(config, monitor=monitor))
            best[monitor] = result.best_epoch
            assert result.best_epoch == result.history[column].argmax() + 1
            assert result.stop == "epochs"
            impatient = fit(make_mlp(), blobs, dataclasses.replace(config, monitor=monitor, patience=2))
            accuracies = result.history[column].to_numpy()
            stops = (n for n in range(1, 13) if n - (accuracies[:n].argmax() + 1) >= 2)
            assert len(impatient.history) == next(stops, 12)
            assert impatient.stop == ("patience" if len(impatient.history) < 12 else "epochs")
        assert best["train"] != best["validation"]

    def test_the_evaluated_training_accuracy_is_that_after_the_epoch(self, blobs, two_devices):
        """Unlike the one while training; every example once, in an uneven last batch too."""
        for strategy in (None, two_devices):
            model = make_mlp(strategy)
            config = dataclasses.replace(CONFIG, monitor="train", learning_rate=0.5)
            history = fit(model, blobs, config, strategy=strategy).history
            part = blobs.splits["train"]
            logits = forward(model, part.inputs)
            accuracy = np.mean(logits.argmax(axis=1) == part.labels)
            assert history["evaluated_train_accuracy"].iloc[-1] == accuracy
            expected = losses(logits, part.labels).mean()
            np.testing.assert_allclose(history["evaluated_train_loss"].iloc[-1], expected, rtol=1e-4)
            assert abs(history["train_loss"].iloc[-1] / expected - 1) > 0.01

    @pytest.mark.parametrize("monitor", ["validation", "train"])
    def test_training_stops_at_an_accuracy(self, blobs, monitor):
        # Slow enough for several epochs of growing accuracy.
        config = dataclasses.replace(CONFIG, epochs=6, learning_rate=0.003, monitor=monitor)
        column = "validation_accuracy" if monitor == "validation" else "evaluated_train_accuracy"
        accuracies = fit(make_mlp(), blobs, config).history[column].to_numpy()
        enough = accuracies.max()
        first = accuracies.argmax() + 1
        assert accuracies[0] < enough
        result = fit(make_mlp(), blobs, dataclasses.replace(config, stop_accuracy=float(enough)))
        assert (result.stop, len(result.history)) == ("accuracy", first)
        # The negative control: an accuracy that is not reached.
        if enough < 1:
            beyond = dataclasses.replace(config, stop_accuracy=float(np.nextafter(enough, 2)))
            assert fit(make_mlp(), blobs, beyond).stop == "epochs"

    def test_last_weights_are_those_of_the_last_epoch(self, blobs):
        model = make_mlp()
        result = fit(model, blobs, dataclasses.replace(CONFIG, learning_rate=2.0, epochs=8))
        assert_same_bits(read(model), result.last_weights)
        assert distance(read(model), result.best_weights) > 1e-2


BASIC = ["epoch", "steps", "learning_rate", "train_loss", "train_accuracy"]
VALIDATION = ["validation_loss", "validation_accuracy"]
EVALUATED = ["evaluated_train_loss", "evaluated_train_accuracy"]


class TestMonitoring:
    @pytest.mark.parametrize(
        ("splits", "monitor", "columns"),
        [
            (("train", "validation", "test"), "validation", BASIC + VALIDATION),
            (("train", "validation"), "train", BASIC + VALIDATION + EVALUATED),
            (("train", "test"), "validation", BASIC),
            (("train",), "train", BASIC + EVALUATED),
        ],
    )
    def test_history_has_columns_of_what_is_evaluated(self, blobs, tmp_path, splits, monitor, columns):
        data = dataclasses.replace(blobs, splits={name: blobs.splits[name] for name in splits})
        result = fit(make_mlp(), data, dataclasses.replace(CONFIG, monitor=monitor), run_dir=tmp_path)
        assert list(result.history) == columns
        assert (tmp_path / "history.csv").read_text().splitlines()[0] == ",".join(columns)
        (file,) = (tmp_path / "tensorboard").iterdir()
        events = tf.compat.v1.train.summary_iterator(str(file))
        tags = {value.tag for event in events for value in event.summary.value if "/" in value.tag}
        kinds = {"train", *(["validation"] if "validation" in splits else [])}
        kinds |= {"evaluated_train"} if monitor == "train" else set()
        weights = {f"weights/{layer}/{name}" for layer in ("hidden", "logits") for name in ("kernel", "bias")}
        assert tags == {f"{kind}/{name}" for kind in ("loss", "accuracy") for name in kinds} | weights

    def test_without_a_validation_set_the_last_epoch_is_the_best(self, blobs, tmp_path):
        data = dataclasses.replace(blobs, splits={name: blobs.splits[name] for name in ("train", "test")})
        model, same = make_mlp(), make_mlp()
        result = fit(model, data, dataclasses.replace(CONFIG, epochs=3, learning_rate=2.0), run_dir=tmp_path)
        assert (result.best_epoch, result.stop, len(result.history)) == (3, "epochs", 3)
        assert_same_bits(result.best_weights, result.last_weights)
        assert_same_bits(result.best_weights, read(model))
        # Validation changes no weight.
        fit(same, blobs, dataclasses.replace(CONFIG, epochs=3, learning_rate=2.0))
        assert_same_bits(read(same), read(model))

    @pytest.mark.parametrize(
        ("settings", "needs"),
        [
            ({"patience": 3}, "patience, stop_accuracy and best weights"),
            ({"stop_accuracy": 0.9}, "patience, stop_accuracy and best weights"),
            ({"measured_weights": "best"}, "patience, stop_accuracy and best weights"),
            ({"weight_decay_choices": (0.0, 0.1)}, "weight_decay_choices"),
        ],
    )
    def test_what_needs_a_validation_set_is_refused_without_one_before_training(self, blobs, settings, needs):
        class Unread:
            splits = {"train": blobs.splits["train"]}

        model = make_mlp()
        with pytest.raises(UserError, match=f"^data: expected a validation set, which {needs} need$"):
            fit(model, Unread(), dataclasses.replace(CONFIG, **settings))

    @pytest.mark.parametrize(
        "settings",
        [{"patience": 1}, {"stop_accuracy": 0.01}, {"measured_weights": "best"}],
        ids=lambda s: next(iter(s)),
    )
    def test_the_training_set_will_do_where_it_is_monitored(self, blobs, settings):
        data = dataclasses.replace(blobs, splits={"train": blobs.splits["train"]})
        config = dataclasses.replace(CONFIG, monitor="train", learning_rate=1e-12, epochs=4, **settings)
        result = fit(make_mlp(), data, config)
        expected = {"patience": (2, "patience"), "stop_accuracy": (1, "accuracy"), "measured_weights": (4, "epochs")}
        assert (len(result.history), result.stop) == expected[next(iter(settings))]
        assert result.best_epoch == 1

    def test_a_result_says_what_it_was_penalized_with(self, blobs):
        result = fit(make_mlp(), blobs, dataclasses.replace(CONFIG, weight_decay=0.25, epochs=1))
        assert (result.weight_decay, result.candidates) == (0.25, None)
        assert fit(make_mlp(), blobs, dataclasses.replace(CONFIG, learning_rate=1e30)).stop == "diverged"
