"""Recipes: what the papers say, and that a flag always wins."""

import pytest

from tfunits.configs import DATASETS, MODELS, TrainingConfig, resolve
from tfunits.configs.presets import PRESETS

PAIRS = sorted(PRESETS)
# For every field that some preset sets: another value that its networks accept.
OTHERS = {
    "initializer": "lecun_uniform",
    "loss": "cross_entropy",
    "optimizer": "sgd",
    "momentum": 0.5,
    "learning_rate": 0.123,
    "schedule": "constant",
    "decay_rate": 0.5,
    "weight_decay": 0.02,
    "decayed_variables": "bias",
    "dropout_rate": 0.3,
    "batch_size": 17,
    "epochs": 3,
    "regularizers": ("none",),
    "preprocessing": "image8",
}
# What the network decides, or what nothing reads while the recipe has no weight decay.
NOT_FREE = {
    ("alexnet", "digits", "decayed_variables"),
    *(("fc5", dataset, "loss") for _, dataset in PAIRS),
}


@pytest.mark.parametrize(("model", "dataset"), PAIRS)
def test_a_run_records_the_values_of_its_preset(model: str, dataset: str) -> None:
    config = resolve({"model": model, "dataset": dataset})
    resolved = {**vars(config.model), **vars(config.data), **vars(config.training)}
    # What is not applied is recorded at its default: a strength as 0.
    readers = {"weight_decay": "weight_decay", "dropout_rate": "dropout", "decayed_variables": "weight_decay"}
    for name, value in PRESETS[model, dataset].items():
        applied = readers.get(name) in (None, *config.training.regularizers)
        assert resolved[name] == (value if applied else getattr(TrainingConfig, name)), name


@pytest.mark.parametrize(
    ("model", "dataset", "name"),
    [(*pair, name) for pair in PAIRS for name in PRESETS[pair] if (*pair, name) not in NOT_FREE],
)
def test_a_flag_wins_over_the_preset(model: str, dataset: str, name: str) -> None:
    config = resolve({"model": model, "dataset": dataset, name: OTHERS[name]})
    resolved = {**vars(config.model), **vars(config.data), **vars(config.training)}
    assert PRESETS[model, dataset][name] != OTHERS[name]
    assert resolved[name] == OTHERS[name]


@pytest.mark.parametrize("model", sorted(MODELS))
def test_every_network_has_a_preset_on_its_embedded_default(model: str) -> None:
    dataset = MODELS[model].default_dataset
    assert (model, dataset) in PRESETS
    assert DATASETS[dataset].embedded


def test_alexnet_trains_as_the_authors_did() -> None:
    """FACTS 4.1: momentum 0.9, 0.01 * 0.95^epoch, dropout 0.5 and decay 0.001 on fc3 and fc4 when all are used."""
    training = resolve({"model": "alexnet", "regularizers": ("all",)}).training
    assert (training.optimizer, training.momentum, training.learning_rate) == ("momentum", 0.9, 0.01)
    assert (training.schedule, training.decay_rate) == ("exponential", 0.95)
    assert (training.dropout_rate, training.weight_decay) == (0.5, 0.001)
    assert training.regularizers == ("augmentation", "dropout", "weight_decay")


def test_the_mlp_trains_as_the_authors_did() -> None:
    """FACTS 5: 50 epochs of batches of 128, -5 % an epoch, no decay."""
    training = resolve({"model": "mlp", "dataset": "uncorrelated10"}).training
    assert (training.epochs, training.batch_size, training.decay_rate) == (50, 128, 0.95)
    assert (training.weight_decay, training.regularizers) == (0, ("none",))
