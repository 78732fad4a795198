"""The weight decay that validation chooses."""

import dataclasses
import importlib
import itertools
import math
import pathlib

import keras
import numpy as np
import pandas as pd
import pytest
from small_fits import read

from tfunits import datasets, models
from tfunits.artifacts import RunDir
from tfunits.configs import TrainingConfig
from tfunits.layers import ReplicaDropout
from tfunits.training import TrainingResult, fit

fit_module = importlib.import_module("tfunits.training.fit")

# The three clouds are hard to tell apart; a decay of 0.2 helps, one of 5 leaves nothing.
CHOICES = (5.0, 0.0, 0.2)
CONFIG = TrainingConfig(learning_rate=0.2, batch_size=25, epochs=6, weight_decay_choices=CHOICES)


@pytest.fixture(scope="module")
def noisy() -> datasets.Dataset:
    """Three overlapping clouds in ten dimensions, 60 examples to train with and 60 to choose with."""
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=120).astype("int32")
    inputs = (0.3 * rng.normal(size=(3, 10))[labels] + rng.normal(size=(120, 10))).astype("float32")
    parts = {"train": slice(60), "validation": slice(60, 120)}
    splits = {name: datasets.Split(inputs=inputs[part], labels=labels[part]) for name, part in parts.items()}
    return datasets.Dataset(name="noisy", num_classes=3, splits=splits)


def make_mlp(dropout_rate: float = 0.0) -> keras.Model:
    """Dropout's seed is a state that every training must start with anew."""
    model = models.build("mlp", size=0.0625, input_shape=(10,), num_classes=3, initializer="he_normal")
    if not dropout_rate:
        return model
    dropped = ReplicaDropout(dropout_rate, seed=2, name="drop")(model.get_layer("tap_hidden").output)
    return keras.Model(model.input, model.get_layer("logits")(dropped))


def plain(data: datasets.Dataset, weight_decay: float, **fields) -> tuple[keras.Model, TrainingResult]:
    """The same network trained with one weight decay and no choice."""
    model = make_mlp(0.2)
    config = dataclasses.replace(CONFIG, weight_decay=weight_decay, weight_decay_choices=None, **fields)
    return model, fit(model, data, config)


@dataclasses.dataclass(frozen=True)
class Chosen:
    """A training with a choice, never interrupted: its folder, its result, the model's variables after it."""

    folder: pathlib.Path
    result: TrainingResult
    weights: list[np.ndarray]


@pytest.fixture(scope="module")
def chosen(noisy, tmp_path_factory) -> Chosen:
    folder, model = tmp_path_factory.mktemp("chosen"), make_mlp(0.2)
    result = fit(model, noisy, CONFIG, run_dir=folder)
    return Chosen(folder=folder, result=result, weights=read(model))


def test_all_choices_are_trained_alike_and_recorded(noisy, chosen):
    """From the same weights and the same seed of dropout, whatever was trained before."""
    rows = chosen.result.candidates
    assert [row["weight_decay"] for row in rows] == sorted(CHOICES)
    for row in rows[:2]:
        history = plain(noisy, row["weight_decay"])[1].history
        for name in ("validation_accuracy", "validation_loss"):
            assert row[name] == history[name].iloc[-1]
    folders = [candidate.path.name for candidate in RunDir(chosen.folder).candidates()]
    assert folders == ["weight_decay-0.0", "weight_decay-0.2", "weight_decay-5.0"]


def test_the_best_is_chosen_and_is_a_plain_training_with_it(noisy, chosen):
    accuracies = {row["weight_decay"]: row["validation_accuracy"] for row in chosen.result.candidates}
    # A clear winner that is neither the first nor the last to be trained.
    assert accuracies[0.2] > max(accuracies[0.0], accuracies[5.0])
    assert (chosen.result.weight_decay, chosen.result.stop) == (0.2, "epochs")
    model, result = plain(noisy, 0.2)
    for found, expected in zip(chosen.weights, read(model), strict=True):
        np.testing.assert_array_equal(found, expected)
    pd.testing.assert_frame_equal(chosen.result.history, result.history)
    written = pd.read_csv(chosen.folder / "history.csv", float_precision="round_trip")
    pd.testing.assert_frame_equal(written, result.history, check_dtype=False)


def test_best_weights_are_those_of_the_chosen_training(noisy):
    model = make_mlp(0.2)
    fields = {"measured_weights": "best", "epochs": 8}
    result = fit(model, noisy, dataclasses.replace(CONFIG, weight_decay_choices=(0.0, 0.2), **fields))
    best_model, best = plain(noisy, result.weight_decay, **fields)
    assert result.best_epoch == best.best_epoch < 8
    for found, expected in zip(read(model), read(best_model), strict=True):
        np.testing.assert_array_equal(found, expected)


class Stopped(Exception):
    """Stands for the end of a process."""


class StoppingData:
    """Data of which only so many epochs come."""

    def __init__(self, data: datasets.Dataset, count: int) -> None:
        self.data, self.left = data, itertools.count(count, -1)

    def __getattr__(self, name: str):
        return getattr(self.data, name)

    def epoch(self, *arguments, **options):
        self._count()
        return self.data.epoch(*arguments, **options)

    def epoch_order(self, *arguments, **options):
        self._count()
        return self.data.epoch_order(*arguments, **options)

    def _count(self) -> None:
        if next(self.left) == 0:
            raise Stopped


def test_an_interrupted_choice_goes_on_with_the_same_bits(noisy, chosen, tmp_path):
    """Within the first training, between two, within the last; whatever is finished is not trained again."""
    for count in (2, 4, 5, 0):
        with pytest.raises(Stopped):
            fit(make_mlp(0.2), StoppingData(noisy, count), CONFIG, run_dir=tmp_path)
    left, resumed = 3 * CONFIG.epochs - 11, make_mlp(0.2)
    found = fit(resumed, StoppingData(noisy, left), CONFIG, run_dir=tmp_path)
    assert found.candidates == chosen.result.candidates
    assert found.weight_decay == chosen.result.weight_decay
    for one, other in zip(read(resumed), chosen.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert csv_files(tmp_path) == csv_files(chosen.folder)


def csv_files(folder: pathlib.Path) -> dict[str, bytes]:
    """Content of every history below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("history.csv")}


def make_result(accuracy: float, loss: float, *, diverged: bool = False) -> TrainingResult:
    """A training's result of which the validation after the last of two epochs is given."""
    history = pd.DataFrame({"validation_accuracy": [1.0, accuracy], "validation_loss": [0.0, loss]})
    return TrainingResult(
        history=history, best_epoch=1, diverged=diverged, batch_norm_momentum=None, best_weights=[], last_weights=[],
        stop="diverged" if diverged else "epochs", weight_decay=-1,
    )  # fmt: skip


# Weight decay -> (accuracy, loss) after the last epoch; the chosen one.
RULES = {
    "highest accuracy": ({0.0: (0.6, 0.1), 0.1: (0.8, 0.9), 0.2: (0.7, 0.1)}, 0.1),
    "then lowest loss": ({0.0: (0.8, 0.9), 0.1: (0.8, 0.8), 0.2: (0.8, 0.7), 0.3: (0.7, 0.1)}, 0.2),
    "then smallest": ({0.3: (0.8, 0.5), 0.2: (0.8, 0.5), 0.1: (0.7, 0.5)}, 0.2),
    "not a diverged one": ({0.0: (1.0, math.inf), 0.1: (0.2, 9.0), 0.2: (0.9, math.nan)}, 0.1),
    "unless all diverged": ({0.0: (0.1, math.inf), 0.1: (0.2, math.inf)}, 0.1),
}


@pytest.mark.parametrize("rule", RULES)
def test_the_rule_of_choice(blobs, monkeypatch, rule):
    outcomes, chosen = RULES[rule]
    order = []

    def train(trainer, config, *others) -> TrainingResult:
        assert config.weight_decay_choices is None
        order.append(config.weight_decay)
        accuracy, loss = outcomes[config.weight_decay]
        result = make_result(accuracy, loss, diverged=not math.isfinite(loss))
        return dataclasses.replace(result, weight_decay=config.weight_decay)

    monkeypatch.setattr(fit_module.Trainer, "train", train)
    monkeypatch.setattr(fit_module, "assign_variables", lambda variables, values: None)
    result = fit(make_mlp(), blobs, dataclasses.replace(CONFIG, weight_decay_choices=tuple(outcomes)))
    assert result.weight_decay == chosen
    assert result.diverged == all(not math.isfinite(loss) for _, loss in outcomes.values())
    assert order == sorted(outcomes)
    assert [row["weight_decay"] for row in result.candidates] == sorted(outcomes)


def test_a_training_that_diverges_is_passed_over(noisy, tmp_path):
    """A penalty of 100 at a rate of 0.2 multiplies weights by -19 a step."""
    config = dataclasses.replace(CONFIG, weight_decay_choices=(0.0, 100.0), optimizer="sgd")
    result = fit(make_mlp(), noisy, config, run_dir=tmp_path)
    assert (result.weight_decay, result.diverged, result.stop) == (0.0, False, "epochs")
    losses = [row["validation_loss"] for row in result.candidates]
    assert np.isfinite(losses).tolist() == [True, False]


def test_an_untrained_network_keeps_its_weights_and_the_smallest_decay(noisy):
    model = make_mlp()
    before = read(model)
    result = fit(model, noisy, dataclasses.replace(CONFIG, epochs=0))
    assert (result.weight_decay, len(result.history)) == (0.0, 0)
    for found, expected in zip(read(model), before, strict=True):
        np.testing.assert_array_equal(found, expected)
