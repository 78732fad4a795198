"""Recipes: what the papers say, and that a flag always wins."""

from collections.abc import Callable
from typing import Any

import pytest

from tfunits.configs import (
    DATASETS,
    FOLDER_PREFIX,
    MODELS,
    DataConfig,
    ExperimentConfig,
    TrainingConfig,
    find_dataset,
    resolve,
)
from tfunits.configs.presets import PRESET_FIELDS, PRESETS

PAIRS = sorted(PRESETS)
# For every field that some preset sets: other values that its networks accept.
OTHERS = {
    "initializer": ["lecun_uniform"],
    "loss": ["squared_hinge"],
    "optimizer": ["sgd"],
    "momentum": [0.5],
    "rmsprop_epsilon": [0.25],
    "label_smoothing": [0.25],
    "learning_rate": [0.123],
    "schedule": ["constant"],
    "warmup_epochs": [2.5],
    "decay_rate": [0.5],
    "decay_epochs": [3],
    "drop_epochs": [(1.5,)],
    "schedule_examples": [77],
    "final_learning_rate": [0.25],
    "weight_decay": [0.02],
    "weight_decay_choices": [(0.25, 0.5)],
    "decayed_variables": ["bias"],
    "dropout_rate": [0.3],
    "batch_size": [17],
    "epochs": [3],
    "patience": [4],
    "measured_weights": ["last", "best"],
    "average_decay": [0.5],
    "regularizers": [("none",)],
    "validation_examples": [100],
    "background_class": [False],
    "preprocessing": ["image8", "image28", "crop28", "image32", "image224", "image299"],
}
# Fields that are read only beside another choice than the recipe's.
BESIDE = {
    "decayed_variables": {"weight_decay": 0.02},
    "decay_rate": {"schedule": "exponential"},
}
# Field -> another field and its value with which it is read, where recipes hold both without.
READ_WITH = {"decay_rate": ("schedule", "exponential")}
APPLIED_WITH = {"weight_decay": "weight_decay", "dropout_rate": "dropout", "decayed_variables": "weight_decay"}


def flatten(config: ExperimentConfig) -> dict[str, Any]:
    """Every field of model, data and training by name."""
    return {**vars(config.model), **vars(config.data), **vars(config.training)}


@pytest.mark.parametrize(("model", "dataset"), PAIRS)
def test_a_run_records_the_values_of_its_preset(name_dataset: Callable[[str], str], model: str, dataset: str) -> None:
    resolved = flatten(resolve({"model": model, "dataset": name_dataset(dataset)}))
    for name, value in PRESETS[model, dataset].items():
        # What is not applied is recorded at its default: a strength as 0.
        applied = APPLIED_WITH.get(name) in (None, *resolved["regularizers"])
        decider, choice = READ_WITH.get(name, ("model", model))
        is_read = applied and resolved[decider] == choice
        assert resolved[name] == (value if is_read else getattr(TrainingConfig, name)), name


@pytest.mark.parametrize(("model", "dataset", "name"), [(*pair, name) for pair in PAIRS for name in PRESETS[pair]])
def test_a_flag_wins_over_the_preset(name_dataset: Callable[[str], str], model: str, dataset: str, name: str) -> None:
    data = name_dataset(dataset)
    accepted = find_dataset(data).preprocessings if name == "preprocessing" else OTHERS[name]
    other = next(value for value in OTHERS[name] if value != PRESETS[model, dataset][name] and value in accepted)
    given = {"model": model, "dataset": data, **BESIDE.get(name, {}), name: other}
    assert flatten(resolve(given))[name] == other


def test_the_values_of_the_flags_cover_every_field_of_a_recipe() -> None:
    assert {name for preset in PRESETS.values() for name in preset} == set(OTHERS)
    assert set(OTHERS) | {"monitor", "stop_accuracy"} == PRESET_FIELDS


def test_every_network_has_a_recipe_for_all_data_that_it_reads() -> None:
    images = {"cifar10", "cifar100", "digits", "folder:", "imagenet2012", "mnist"}
    vectors = {"digits_parity", "mnist_parity", "uncorrelated10", "uncorrelated10000"}
    expected = dict.fromkeys(MODELS, images) | {"mlp": images | vectors, "fc5": vectors}
    assert {model: {dataset for name, dataset in PAIRS if name == model} for model in MODELS} == expected


@pytest.mark.parametrize("model", sorted(MODELS))
def test_every_network_has_a_preset_on_its_embedded_default_and_on_the_papers_data(model: str) -> None:
    known = MODELS[model]
    assert DATASETS[known.default_dataset].embedded
    assert {(model, name) for name in (known.default_dataset, *known.papers_dataset_name.split(" or "))} <= set(PRESETS)


# FACTS 4.1.
ALEXNET = {
    "optimizer": "momentum",
    "momentum": 0.9,
    "learning_rate": 0.01,
    "schedule": "exponential",
    "decay_rate": 0.95,
    "decay_epochs": 1,
    "batch_size": 128,
    "epochs": 500,
    "patience": 50,
    "monitor": "validation",
    "measured_weights": "best",
    "regularizers": ("none",),
    "weight_decay": 0.0,
    "dropout_rate": 0.0,
}
ALEXNET_DECAY = {"weight_decay": 0.001, "decayed_variables": "fc[34]/kernel"}
# FACTS 4.2: boundaries at 91, 136 and 182 epochs of 50,000 images.
RESNET56 = {
    "optimizer": "momentum",
    "momentum": 0.9,
    "learning_rate": 0.1,
    "schedule": "piecewise",
    "drop_epochs": (91.0, 136.0, 182.0),
    "drop_factor": 0.1,
    "schedule_examples": 50_000,
    "warmup_epochs": 0.0,
    "batch_size": 128,
    "epochs": 182,
    "patience": None,
    "measured_weights": "last",
}
# FACTS 4.3.
RESNET_IMAGENET = {
    "optimizer": "momentum",
    "momentum": 0.9,
    "learning_rate": 0.128,
    "schedule": "piecewise",
    "warmup_epochs": 5.0,
    "drop_epochs": (30.0, 60.0, 80.0, 90.0),
    "drop_factor": 0.1,
    "schedule_examples": None,
    "batch_size": 256,
    "epochs": 90,
    "regularizers": ("augmentation", "weight_decay"),
    "weight_decay": 1e-4,
    "decayed_variables": ".*(kernel|logits/bias)",
    "measured_weights": "last",
}
INCEPTION = {
    "optimizer": "rmsprop",
    "rmsprop_momentum": 0.0,
    "rmsprop_epsilon": 1.0,
    "label_smoothing": 0.1,
    "learning_rate": 1.0,
    "schedule": "exponential",
    "decay_rate": 0.96,
    "decay_epochs": 8,
    "batch_size": 256,
    "epochs": 90,
    "regularizers": ("augmentation", "dropout", "weight_decay"),
    "weight_decay": 4e-5,
    "decayed_variables": ".*kernel",
    "dropout_rate": 0.2,
    "average_decay": 0.9999,
    "measured_weights": "last",
}
# FACTS 14.2.
DOIMO_CIFAR = {
    "optimizer": "momentum",
    "momentum": 0.9,
    "learning_rate": 0.1,
    "schedule": "cosine",
    "final_learning_rate": 1e-5,
    "batch_size": 128,
    "epochs": 200,
    "regularizers": ("augmentation", "weight_decay"),
    "weight_decay": 5e-4,
    "decayed_variables": ".*",
    "label_smoothing": 0.0,
    "precision": "float32",
    "measured_weights": "last",
}
# DESIGN section 4, issue 3.
FC5 = {
    "loss": "hinge",
    "optimizer": "momentum",
    "momentum": 0.9,
    "learning_rate": 0.05,
    "schedule": "cosine",
    "final_learning_rate": 0.0,
    "batch_size": 128,
    "epochs": 100,
    "regularizers": ("weight_decay",),
    "weight_decay": 0.0,
    "weight_decay_choices": (0.0, 1e-4, 1e-3, 1e-2),
    "decayed_variables": ".*",
    "measured_weights": "last",
}
# FACTS 5.
MLP = {
    "optimizer": "momentum",
    "momentum": 0.9,
    "learning_rate": 0.1,
    "schedule": "exponential",
    "decay_rate": 0.95,
    "decay_epochs": 1,
    "batch_size": 128,
    "epochs": 50,
    "regularizers": ("none",),
    "weight_decay": 0.0,
    "patience": None,
    "measured_weights": "last",
}
AUGMENTED = {"regularizers": ("augmentation",)}
RANDOM = {"random_labels": True}
# Given fields -> the whole training; what is not named is as if nobody had set it.
RECIPES = {
    "alexnet": ({"model": "alexnet", "dataset": "cifar10"}, ALEXNET),
    "alexnet, augmentation": (
        {"model": "alexnet", "dataset": "cifar10", **AUGMENTED},
        {**ALEXNET, **AUGMENTED, "epochs": 1000},
    ),
    "alexnet, dropout": (
        {"model": "alexnet", "dataset": "cifar10", "regularizers": ("dropout",)},
        {**ALEXNET, "regularizers": ("dropout",), "dropout_rate": 0.5},
    ),
    "alexnet, decay": (
        {"model": "alexnet", "dataset": "cifar10", "regularizers": ("weight_decay",)},
        {**ALEXNET, "regularizers": ("weight_decay",), **ALEXNET_DECAY},
    ),
    "alexnet, all": (
        {"model": "alexnet", "dataset": "cifar10", "regularizers": ("all",)},
        {**ALEXNET, **ALEXNET_DECAY, "regularizers": ("augmentation", "dropout", "weight_decay"), "dropout_rate": 0.5,
         "epochs": 1000},
    ),
    "alexnet, random labels": (
        {"model": "alexnet", "dataset": "cifar10", **RANDOM},
        {**ALEXNET, "epochs": 5000, "monitor": "train", "stop_accuracy": 1.0},
    ),
    "alexnet, random labels, augmentation": (
        {"model": "alexnet", "dataset": "cifar10", **RANDOM, **AUGMENTED},
        {**ALEXNET, **AUGMENTED, "epochs": 5000, "monitor": "train", "stop_accuracy": 1.0},
    ),
    "resnet56": (
        {"model": "resnet56", "dataset": "cifar10"},
        {**RESNET56, "regularizers": ("augmentation", "weight_decay"), "weight_decay": 2e-4, "decayed_variables": ".*"},
    ),
    "resnet56, random labels": (
        {"model": "resnet56", "dataset": "cifar10", **RANDOM},
        {**RESNET56, "regularizers": ("none",), "weight_decay": 0.0},
    ),
    "resnet18": ({"model": "resnet18", "dataset": "imagenet2012"}, RESNET_IMAGENET),
    "resnet50": ({"model": "resnet50", "dataset": "imagenet2012"}, RESNET_IMAGENET),
    "inception_v3": ({"model": "inception_v3", "dataset": "imagenet2012"}, INCEPTION),
    "wide_resnet28": ({"model": "wide_resnet28", "dataset": "cifar10"}, DOIMO_CIFAR),
    "wide_resnet28, 100 classes": ({"model": "wide_resnet28", "dataset": "cifar100"}, DOIMO_CIFAR),
    "densenet40": ({"model": "densenet40", "dataset": "cifar10"}, DOIMO_CIFAR),
    "fc5": ({"model": "fc5", "dataset": "mnist_parity"}, FC5),
    "mlp": ({"model": "mlp", "dataset": "uncorrelated10"}, MLP),
    "mlp, 10,000 inputs": ({"model": "mlp", "dataset": "uncorrelated10000"}, MLP),
}  # fmt: skip


@pytest.mark.parametrize(("given", "training"), RECIPES.values(), ids=RECIPES)
def test_every_network_trains_as_the_papers_did(given: dict, training: dict) -> None:
    """Numbers from FACTS 4, 5 and 14.2, by hand."""
    assert resolve(given).training == TrainingConfig(**training)


@pytest.mark.parametrize(
    ("model", "dataset", "data", "examples", "classes"),
    [
        ("alexnet", "cifar10", {"preprocessing": "crop28"}, (45_000, 5_000, 10_000), 10),
        ("alexnet", "cifar100", {"preprocessing": "crop28"}, (45_000, 5_000, 10_000), 100),
        ("resnet56", "cifar10", {"preprocessing": "image32"}, (45_000, 5_000, 10_000), 10),
        ("resnet18", "imagenet2012", {"preprocessing": "image224", "background_class": True},
         (1_271_167, 10_000, 50_000), 1001),
        ("resnet50", "imagenet2012", {"preprocessing": "image224"}, (1_271_167, 10_000, 50_000), 1000),
        ("inception_v3", "imagenet2012", {"preprocessing": "image299", "background_class": True},
         (1_271_167, 10_000, 50_000), 1001),
        ("wide_resnet28", "cifar10", {"preprocessing": "normalized32", "validation_examples": 0},
         (50_000, 0, 10_000), 10),
        ("densenet40", "cifar100", {"preprocessing": "normalized32", "validation_examples": 0},
         (50_000, 0, 10_000), 100),
        ("fc5", "mnist_parity", {"preprocessing": "components10"}, (55_000, 5_000, 10_000), 2),
        ("mlp", "uncorrelated10000", {"preprocessing": "gaussian"}, (1_000, 1_000, 1_000), 2),
    ],
)  # fmt: skip
def test_every_network_reads_the_papers_data_as_they_did(
    model: str, dataset: str, data: dict, examples: tuple, classes: int
) -> None:
    """FACTS 3 and 14.2, DESIGN section 5."""
    resolved = resolve({"model": model, "dataset": dataset}).data
    assert resolved == DataConfig(dataset=dataset, **data)
    assert (resolved.num_train, resolved.num_validation, resolved.num_test) == examples
    assert resolved.num_classes == classes


@pytest.mark.parametrize(
    ("model", "initializer"), [("alexnet", "glorot_normal"), ("fc5", "he_normal"), ("mlp", "truncated_normal")]
)
def test_weights_start_as_the_papers_say(model: str, initializer: str) -> None:
    assert resolve({"model": model}).model.initializer == initializer


def test_the_authors_split_is_an_option() -> None:
    """FACTS 3.1: the first 47,500 images train, the last 2,500 validate."""
    data = resolve({"dataset": "cifar10", "validation_examples": 2500, "split": "ordered"}).data
    assert (data.num_train, data.num_validation, data.split) == (47_500, 2_500, "ordered")


@pytest.mark.parametrize(
    ("model", "name", "value"),
    [
        ("alexnet", "epochs", 7),
        ("alexnet", "monitor", "validation"),
        ("alexnet", "stop_accuracy", 0.5),
        ("alexnet", "regularizers", ("augmentation",)),
        ("resnet56", "regularizers", ("augmentation",)),
    ],
)
def test_a_flag_wins_over_the_recipe_of_random_labels(model: str, name: str, value: object) -> None:
    given = {"model": model, "dataset": "cifar10", "random_labels": True}
    assert flatten(resolve(given))[name] != value
    assert flatten(resolve({**given, name: value}))[name] == value


def test_a_flag_wins_over_the_epochs_of_augmentation() -> None:
    given = {"model": "alexnet", "dataset": "cifar10", "regularizers": ("augmentation",)}
    assert resolve({**given, "epochs": 500}).training.epochs == 500
    assert resolve(given).training.epochs == 1000


def test_on_digits_augmentation_takes_no_more_epochs() -> None:
    assert resolve({"regularizers": ("augmentation",)}).training.epochs == 8


@pytest.mark.parametrize("model", ["wide_resnet28", "mlp", "resnet18"])
def test_random_labels_change_nothing_where_the_papers_have_none(model: str) -> None:
    config = resolve({"model": model})
    assert resolve({"model": model, "random_labels": True}).training == config.training


@pytest.mark.parametrize(("dataset", "counted"), [("cifar10", 50_000), ("cifar100", 50_000), ("mnist", None)])
def test_only_on_cifar_are_drops_counted_in_epochs_of_50000_images(dataset: str, counted: int | None) -> None:
    """On a folder of 400 images none of them would ever be reached, on ImageNet all in the first eight epochs."""
    assert resolve({"model": "resnet56", "dataset": dataset}).training.schedule_examples == counted


@pytest.mark.parametrize("model", sorted(set(MODELS) - {"fc5"}))
@pytest.mark.parametrize("random_labels", [False, True])
def test_digits_are_trained_for_a_minute_not_for_days(model: str, random_labels: bool) -> None:
    training = resolve({"model": model, "random_labels": random_labels}).training
    assert training.batch_size == 32
    assert training.epochs <= 60
    assert (training.warmup_epochs, training.schedule_examples, training.patience) == (0, None, None)


@pytest.mark.parametrize(
    ("model", "form"),
    [("alexnet", "image32"), ("inception_v3", "image299"), ("mlp", "image32"), ("resnet18", "image224"),
     ("resnet50", "image224"), ("wide_resnet28", "image32")],
)  # fmt: skip
def test_a_folder_is_read_at_the_size_of_the_papers_data(
    name_dataset: Callable[[str], str], model: str, form: str
) -> None:
    assert resolve({"model": model, "dataset": name_dataset(FOLDER_PREFIX)}).data.preprocessing == form


@pytest.mark.parametrize("model", sorted(model for model, dataset in PAIRS if dataset == FOLDER_PREFIX))
def test_a_folder_is_trained_with_the_recipe_of_the_papers_data(name_dataset: Callable[[str], str], model: str) -> None:
    papers = MODELS[model].papers_dataset_name.split(" or ")[0]
    folder = resolve({"model": model, "dataset": name_dataset(FOLDER_PREFIX)}).training
    changed = {"resnet56": {"schedule_examples"}, "alexnet": {"measured_weights"}}.get(model, set())
    other = vars(resolve({"model": model, "dataset": papers}).training)
    assert {name for name, value in vars(folder).items() if other[name] != value} == changed
