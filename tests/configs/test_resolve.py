"""Given fields to whole experiments, and experiments to names."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfunits.configs import (
    DATASETS,
    FOLDER_PREFIX,
    MODELS,
    ExperimentConfig,
    MeasureConfig,
    UserError,
    VisualizationConfig,
    as_dict,
    canonical_json,
    from_dict,
    identity,
    resolve,
    resolve_defaults,
    run_id,
    short_hash,
)
from tfunits.configs.presets import PRESETS
from tfunits.configs.resolve import experiment_fields

SEARCH = settings(deadline=None, derandomize=True, max_examples=50)
# One value, not the default, of many fields that alexnet on digits accepts together.
GIVEN = {
    "model": "alexnet", "size": 0.5, "initializer": "he_normal", "init_scale": 2.0, "dataset": "digits",
    "num_examples": 100, "random_labels": True, "data_seed": 3, "seed": 4, "optimizer": "momentum",
    "learning_rate": 0.1, "momentum": 0.5, "schedule": "exponential", "decay_rate": 0.75,
    "regularizers": ("augmentation", "dropout"), "dropout_rate": 0.25, "batch_size": 20, "epochs": 7, "k": 0.5,
    "patience": 3, "measured_weights": "best",
}  # fmt: skip
# A change of each field of GIVEN, one at a time, that is another run.
CHANGES = {
    "size": 2.0, "initializer": "lecun_normal", "init_scale": 1.0, "num_examples": 200, "random_labels": False,
    "data_seed": 0, "seed": 0, "learning_rate": 0.2, "momentum": 0.25, "decay_rate": 0.5,
    "regularizers": ("dropout",), "dropout_rate": 0.75, "batch_size": 10, "epochs": 0, "k": 2.0, "patience": 4,
    "measured_weights": "last",
}  # fmt: skip


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "alexnet-digits-s1-0-769b726843"),
        ({"model": "resnet18", "size": 2}, "resnet18-digits-s2-0-18924861b6"),
        ({"model": "mlp", "dataset": "uncorrelated10"}, "mlp-uncorrelated10-s1-0-ac87763a55"),
        ({"model": "alexnet", "dataset": "cifar10"}, "alexnet-cifar10-s1-0-a920d2f337"),
        ({"model": "resnet56", "dataset": "cifar10", "random_labels": True}, "resnet56-cifar10-s1-0-c43aedbac1"),
        ({"model": "wide_resnet28", "dataset": "cifar10"}, "wide_resnet28-cifar10-s1-0-c36065fcff"),
        ({"model": "fc5", "dataset": "mnist_parity"}, "fc5-mnist_parity-s1-0-9ca3157659"),
        ({"model": "inception_v3", "dataset": "imagenet2012"}, "inception_v3-imagenet2012-s1-0-133d7b33c2"),
        ({"model": "resnet18", "dataset": "imagenet2012"}, "resnet18-imagenet2012-s1-0-11065f7af7"),
    ],
)
def test_run_ids_never_move(values: dict, expected: str) -> None:
    """If one moves, every finished run of our users loses its directory and is trained again.

    A preset, a default or the canonical form was changed: add a field with its old behaviour as default instead.
    """
    assert run_id(resolve(values)) == expected


@SEARCH
@given(names=st.permutations(sorted(GIVEN)), kept=st.sets(st.sampled_from(sorted(set(GIVEN) - {"dropout_rate"}))))
def test_the_order_of_the_given_fields_does_not_matter(names: list[str], kept: set[str]) -> None:
    in_order = {name: GIVEN[name] for name in sorted(kept)}
    shuffled = {name: GIVEN[name] for name in names if name in kept}
    assert resolve(shuffled) == resolve(in_order)
    assert run_id(resolve(shuffled)) == run_id(resolve(in_order))


@pytest.mark.parametrize(
    ("given", "explicit"),
    [
        ({"model": "alexnet"}, {"initializer": "glorot_normal"}),
        ({"model": "alexnet"}, {"size": 1, "dataset": "digits", "seed": 0, "momentum": 0.9, "k": 1}),
        ({"model": "alexnet"}, {"regularizers": ("none",), "weight_decay": 0}),
        ({"model": "alexnet", "size": 2.0}, {"size": 2}),
        ({"model": "alexnet"}, {"num_examples": 1078, "preprocessing": "image32", "random_labels": False}),
        ({"model": "mlp", "dataset": "uncorrelated10"}, {"num_examples": 1000}),
        ({"model": "mlp", "dataset": "uncorrelated10"}, {"test_examples": 1000, "preprocessing": "gaussian"}),
        ({"model": "resnet18"}, {"regularizers": ("weight_decay",), "weight_decay": 1e-4}),
        ({"model": "alexnet"}, {"patience": None}),
        ({"model": "inception_v3"}, {"auxiliary_head": True, "unscaled_branch": True, "layer_size": 1}),
        ({"model": "inception_v3", "size": 0.5}, {"layer_size": 0.5}),
        ({"model": "wide_resnet28"}, {"last_width": None}),
        ({"dataset": "cifar10"}, {"validation_examples": 5000, "split": "random", "num_examples": 45_000}),
        ({"dataset": "cifar10"}, {"preprocessing": "crop28", "patience": 50, "measured_weights": "best"}),
        ({"dataset": "cifar10", "validation_examples": 2500}, {"num_examples": 47_500}),
        ({"model": "wide_resnet28", "dataset": "cifar10"}, {"validation_examples": 0, "num_examples": 50_000}),
        ({"model": "resnet50", "dataset": "imagenet2012"}, {"validation_examples": 10_000, "background_class": False}),
        ({"model": "resnet18", "dataset": "imagenet2012"}, {"background_class": True, "num_examples": 1_271_167}),
        ({"model": "fc5"}, {"weight_decay_choices": (0, 1e-4, 1e-3, 1e-2), "regularizers": ("weight_decay",)}),
        ({"model": "fc5"}, {"regularizers": ("all",)}),
        ({"model": "resnet56", "dataset": "cifar10"}, {"schedule_examples": 50_000, "warmup_epochs": 0}),
        ({"model": "inception_v3"}, {"rmsprop_momentum": 0, "average_decay": 0.9999}),
        ({}, {"label_smoothing": 0, "average_decay": 0, "shuffle": True, "monitor": "validation"}),
        ({}, {"precision": "float32", "decay_epochs": 1, "warmup_epochs": 0}),
    ],
)  # fmt: skip
def test_an_explicit_default_is_the_same_run(given: dict, explicit: dict) -> None:
    assert run_id(resolve({**given, **explicit})) == run_id(resolve(given))


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_every_field_of_model_data_and_training_is_in_the_identity(name: str) -> None:
    assert run_id(resolve({**GIVEN, name: CHANGES[name]})) != run_id(resolve(GIVEN))


# Fields that alexnet on digits cannot have: an experiment that can, and a change of it that is another run.
MORE_CHANGES = [
    ({"model": "inception_v3"}, {"layer_size": 0.5}),
    ({"model": "inception_v3", "size": 0.5}, {"layer_size": 1}),
    ({"model": "inception_v3"}, {"auxiliary_head": False}),
    ({"model": "inception_v3"}, {"unscaled_branch": False}),
    ({"model": "inception_v3", "schedule": "exponential"}, {"decay_epochs": 2}),
    ({"model": "inception_v3"}, {"rmsprop_momentum": 0.9}),
    ({"model": "inception_v3"}, {"rmsprop_epsilon": 0.1}),
    ({"model": "inception_v3"}, {"average_decay": 0.99}),
    ({"model": "wide_resnet28"}, {"last_width": 64}),
    ({"dataset": "cifar10"}, {"validation_examples": 2500}),
    ({"dataset": "cifar10"}, {"validation_examples": 0}),
    ({"dataset": "cifar10"}, {"split": "ordered"}),
    ({"dataset": "cifar10"}, {"preprocessing": "image32"}),
    ({"model": "resnet18", "dataset": "imagenet2012"}, {"background_class": False}),
    ({"model": "resnet56", "dataset": "cifar10"}, {"schedule_examples": 45_000}),
    ({"model": "resnet56", "dataset": "cifar10"}, {"drop_epochs": (91, 136)}),
    ({"model": "resnet56", "dataset": "cifar10"}, {"drop_factor": 0.2}),
    ({"model": "wide_resnet28"}, {"final_learning_rate": 1e-3}),
    ({"model": "fc5"}, {"loss": "squared_hinge"}),
    ({"model": "fc5"}, {"weight_decay_choices": (0, 1e-4)}),
    ({"model": "fc5"}, {"weight_decay": 1e-4}),
    ({}, {"optimizer": "adam"}),
    ({}, {"label_smoothing": 0.1}),
    ({}, {"warmup_epochs": 1}),
    ({}, {"weight_decay": 0.1}),
    ({}, {"shuffle": False}),
    ({}, {"monitor": "train"}),
    ({}, {"stop_accuracy": 0.5}),
    ({}, {"precision": "mixed_bfloat16"}),
]


@pytest.mark.parametrize(("given", "change"), MORE_CHANGES, ids=[f"{g} {c}" for g, c in MORE_CHANGES])
def test_a_change_of_any_field_is_another_run(given: dict, change: dict) -> None:
    assert run_id(resolve({**given, **change})) != run_id(resolve(given))


def test_every_field_that_decides_what_a_run_computes_was_changed() -> None:
    changed = {*CHANGES, *(name for _, change in MORE_CHANGES for name in change)}
    measured = {field.name for section in (MeasureConfig, VisualizationConfig) for field in dataclasses.fields(section)}
    # Choices of the first column, and one that is changed with the data set.
    others = {"model", "dataset", "schedule", "test_examples", "decayed_variables"}
    assert set(experiment_fields()) - measured - others <= changed


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"optimizer": "adam", "momentum": 0.5}, "--momentum=0.5: expected no such flag with --optimizer=adam"),
        ({"schedule": "cosine", "decay_rate": 0.5}, "--decay_rate=0.5: expected no such flag with --schedule=cosine"),
        ({"drop_epochs": (3.0,)}, "--drop_epochs=3.0: expected no such flag with --schedule=exponential"),
        ({"drop_factor": 0.5}, "--drop_factor=0.5: expected no such flag with --schedule=exponential"),
        ({"final_learning_rate": 0.1}, "--final_learning_rate=0.1: expected no such flag with --schedule=exponential"),
        ({"decayed_variables": "fc3"}, "--decayed_variables=fc3: expected no such flag with no --weight_decay"),
        ({"decay_epochs": 2, "schedule": "cosine"}, "--decay_epochs=2: expected no such flag with --schedule=cosine"),
        ({"schedule_examples": 9}, "--schedule_examples=9: expected no such flag with --schedule=exponential"),
        ({"rmsprop_momentum": 0.5}, "--rmsprop_momentum=0.5: expected no such flag with --optimizer=momentum"),
        ({"rmsprop_epsilon": 0.5}, "--rmsprop_epsilon=0.5: expected no such flag with --optimizer=momentum"),
        ({"model": "inception_v3", "momentum": 0.5}, "--momentum=0.5: expected no such flag with --optimizer=rmsprop"),
        (
            {"model": "inception_v3", "optimizer": "adam", "rmsprop_epsilon": 1.0},
            "--rmsprop_epsilon=1: expected no such flag with --optimizer=adam",
        ),
        ({"model": "fc5", "label_smoothing": 0.1}, "--label_smoothing=0.1: expected no such flag with --loss=hinge"),
        (
            {"model": "fc5", "loss": "squared_hinge", "label_smoothing": 0.1},
            "--label_smoothing=0.1: expected no such flag with --loss=squared_hinge",
        ),
        (
            {"model": "fc5", "weight_decay": 0, "decayed_variables": "x"},
            "--decayed_variables=x: expected no such flag with no --weight_decay",
        ),
    ],
)
def test_a_field_that_nothing_reads_is_refused(given: dict, message: str) -> None:
    with pytest.raises(UserError) as caught:
        resolve(given)
    assert str(caught.value) == message


@pytest.mark.parametrize("change", [{"optimizer": "sgd"}, {"schedule": "constant"}])
def test_a_preset_that_nothing_reads_is_not_in_the_identity(change: dict) -> None:
    training = identity(resolve(change))["training"]
    assert {"optimizer": "momentum", "schedule": "decay_rate"}[next(iter(change))] not in training
    assert run_id(resolve(change)) != run_id(resolve({}))


@pytest.mark.parametrize(
    ("given", "change", "unread"),
    [
        ({"model": "inception_v3"}, {"optimizer": "adam"}, {"rmsprop_epsilon"}),
        ({"model": "inception_v3", "dataset": "cifar10"}, {"schedule": "cosine"}, {"decay_rate", "decay_epochs"}),
        ({"model": "resnet56", "dataset": "cifar10"}, {"schedule": "cosine"}, {"drop_epochs", "schedule_examples"}),
        ({"model": "wide_resnet28", "dataset": "cifar10"}, {"schedule": "constant"}, {"final_learning_rate"}),
        ({"model": "resnet18"}, {"regularizers": ("none",)}, {"weight_decay", "decayed_variables"}),
        ({"model": "fc5"}, {"weight_decay": 0.1}, {"weight_decay_choices"}),
        ({"model": "fc5"}, {"regularizers": ("none",)}, {"weight_decay_choices"}),
        ({"dataset": "cifar10"}, {"validation_examples": 0}, {"patience", "measured_weights"}),
    ],
)
def test_what_a_choice_leaves_unread_leaves_the_identity(given: dict, change: dict, unread: set) -> None:
    assert unread <= set(identity(resolve(given))["training"])
    assert not unread & set(identity(resolve({**given, **change}))["training"])


def test_a_whole_number_given_as_a_float_is_refused() -> None:
    with pytest.raises(UserError, match="^--seed=1: expected a whole number"):
        resolve({"seed": 1.0})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("draws", 9),
        ("levels", 3),
        ("tolerance", 0.5),
        ("measured_splits", ("train",)),
        ("protocol", "authors"),
        ("max_rows", 0),
    ],
)
def test_how_is_measured_is_not_in_the_identity(name: str, value: object) -> None:
    measured_otherwise = resolve({name: value})
    assert getattr(measured_otherwise.measure, name) == value
    assert run_id(measured_otherwise) == run_id(resolve({}))


def test_identity_holds_only_what_differs_from_the_defaults() -> None:
    """So a field that is added later, with what was done before as its default, renames no run."""
    parts = identity(resolve({"model": "mlp", "dataset": "uncorrelated10"}))
    assert parts["model"] == {"model": "mlp", "initializer": "truncated_normal"}
    assert parts["data"] == {"dataset": "uncorrelated10", "preprocessing": "gaussian"}
    assert parts["training"] == {"learning_rate": 0.1, "schedule": "exponential", "epochs": 50}


def test_equal_settings_give_equal_text() -> None:
    assert (
        canonical_json({"b": 1, "a": [0.5, None]})
        == canonical_json({"a": [0.5, None], "b": 1})
        == '{"a":[0.5,null],"b":1}'
    )
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(math.nan)
    # printf '{}' | sha256sum
    assert short_hash({}, 10) == "44136fa355"


@pytest.mark.parametrize(("model", "dataset"), sorted(PRESETS))
@pytest.mark.parametrize("more", [{}, {"schedule": "piecewise", "drop_epochs": (1.0, 2.5)}])
def test_a_configuration_survives_json(
    name_dataset: Callable[[str], str], model: str, dataset: str, more: dict
) -> None:
    config = resolve({"model": model, "dataset": name_dataset(dataset), **more})
    stored = json.loads(json.dumps(as_dict(config)))
    assert from_dict(stored) == config
    assert {name: set(section) for name, section in stored.items()} == {
        field.name: {f.name for f in dataclasses.fields(getattr(config, field.name))}
        for field in dataclasses.fields(ExperimentConfig)
        if field.name not in ("measure", "visualization")
    }


def test_how_a_run_is_measured_and_drawn_is_not_stored_with_it() -> None:
    """A run may be measured in several ways; every measure's file has its own settings."""
    assert not {"measure", "visualization"} & set(as_dict(resolve({"draws": 9, "draw_steps": 3})))


def test_how_a_run_is_drawn_makes_no_other_run() -> None:
    config = resolve({"taps": ("conv1", "fc4"), "units": (0, 5), "param": "pixel"})
    assert config.visualization == VisualizationConfig(taps=("conv1", "fc4"), units=(0, 5), param="pixel")
    assert run_id(config) == run_id(resolve({}))


@pytest.mark.parametrize("taps", [("stem",), ("all", "conv1"), ("blocks", "all"), ("conv1", "stem")])
def test_taps_that_a_network_does_not_have_are_refused(taps: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match=f"^--taps={','.join(taps)}: expected all, blocks, or some of conv1, conv2, "):
        resolve({"taps": taps})


def test_units_are_named_once() -> None:
    with pytest.raises(UserError, match="^--units=1,2,1: expected every unit once$"):
        resolve({"units": (1, 2, 1)})


def test_a_list_given_in_python_survives_json() -> None:
    config = resolve({"schedule": "piecewise", "drop_epochs": [1.0, 2.0]})
    assert from_dict(as_dict(config)) == config


def test_a_stored_configuration_is_validated_and_may_be_older_or_newer() -> None:
    stored = as_dict(resolve({}))
    assert from_dict({**stored, "run_id": "x", "training": {**stored["training"], "of_the_future": 1}}) == resolve({})
    del stored["training"]["patience"]
    assert from_dict(stored) == resolve({})
    stored["model"]["size"] = -1
    with pytest.raises(UserError, match="^--size=-1"):
        from_dict(stored)


@pytest.mark.parametrize("model", sorted(MODELS))
def test_every_network_reads_every_data_set_or_says_which(model: str) -> None:
    for dataset, known in DATASETS.items():
        kinds = {"vector" if len(shape) == 1 else "image" for shape in known.preprocessings.values()}
        readable = kinds & set(MODELS[model].input_kinds) and not (MODELS[model].binary_only and known.num_classes != 2)
        if readable:
            shape = resolve({"model": model, "dataset": dataset}).data.input_shape
            assert ("vector" if len(shape) == 1 else "image") in MODELS[model].input_kinds
        else:
            with pytest.raises(UserError) as caught:
                resolve({"model": model, "dataset": dataset})
            start, usable = str(caught.value).split("; use one of ")
            assert start.startswith(f"--dataset={dataset}: expected ")
            assert usable.split(", ") == [name for name in DATASETS if (model, name) in PRESETS]
            assert MODELS[model].default_dataset in usable.split(", ")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": "nope"}, "--model=nope: expected one of alexnet"),
        ({"nope": 1}, "unknown field 'nope'; known: model, size"),
        ({"model": "fc5", "dataset": "digits"}, "--dataset=digits: expected two classes"),
        ({"model": "alexnet", "dataset": "uncorrelated10"}, "--dataset=uncorrelated10: expected data of kind image"),
        ({"model": "alexnet", "preprocessing": "vector64"}, "--preprocessing=vector64: expected one of image32"),
        ({"batch_size": 1079}, "--batch_size=1079: expected a batch of at most the 1078 training examples"),
        ({"batch_size": 540, "k": 2}, "--batch_size=540: expected a batch * --k=2 of at most the 1078"),
        ({"batch_size": 11, "num_examples": 10}, "--batch_size=11: expected a batch of at most the 10"),
        ({"k": 0.01}, "--k=0.01: expected a factor that leaves at least one example"),
        ({"loss": "hinge"}, "--loss=hinge: expected cross_entropy, since alexnet has one output a class"),
        ({"loss": "squared_hinge"}, "--loss=squared_hinge: expected cross_entropy, since alexnet has one output a cla"),
        ({"model": "fc5", "loss": "cross_entropy"},
         "--loss=cross_entropy: expected hinge or squared_hinge, since fc5 has one output"),
        ({"model": "fc5", "background_class": True}, "--background_class=True: expected false, since fc5"),
        ({"dataset": 3}, "--dataset=3: expected a name"),
        ({"model": 3}, "--model=3: expected a name"),
        ({"dataset": "cifar10", "batch_size": 45_001}, "--batch_size=45001: expected a batch of at most the 45000"),
        ({"model": "mlp", "dataset": "cifar10", "preprocessing": "components10"},
         "--preprocessing=components10: expected one of image32, crop28, normalized32, vector3072 for cifar10"),
        ({"dataset": "cifar10", "preprocessing": "vector3072"}, "--preprocessing=vector3072: expected one of image32"),
        ({"model": "mlp", "regularizers": ("dropout",)}, "--regularizers=dropout: expected"),
        ({"model": "mlp", "dropout_rate": 0.5}, "--dropout_rate=0.5: expected"),
        ({"model": "mlp", "regularizers": ("augmentation",)}, "--regularizers=augmentation: expected"),
        ({"model": "mlp", "regularizers": ("weight_decay",)}, "--regularizers=weight_decay: expected a --weight_decay"),
        ({"regularizers": ("none",), "weight_decay": 0.1}, "--weight_decay=0.1: expected no such flag"),
        ({"regularizers": ("none",), "dropout_rate": 0.1}, "--dropout_rate=0.1: expected no such flag"),
        ({"regularizers": ("dropout",), "dropout_rate": 0}, "--dropout_rate=0: expected a number above 0"),
        ({"regularizers": ("none", "dropout")}, "--regularizers=none+dropout: expected none or all alone"),
        ({"regularizers": ("nope",)}, "--regularizers=nope: expected one of none"),
        ({"weight_decay": "0.1"}, "--weight_decay=0.1: expected a number"),
        ({"decayed_variables": "("}, "--decayed_variables=(: expected"),
        ({"folder_counts": (2, 8, 1, 1)}, "unknown field 'folder_counts'; known: model, size"),
    ],
)  # fmt: skip
def test_what_is_no_experiment_is_refused_in_one_line(given: dict, message: str) -> None:
    with pytest.raises(UserError) as caught:
        resolve(given)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given", [{"batch_size": 1078}, {"batch_size": 539, "k": 2}])
def test_a_batch_may_hold_all_training_examples(given: dict) -> None:
    assert resolve(given).training.effective_batch_size == resolve(given).data.num_train


@pytest.mark.parametrize("name", ["weight_decay", "dropout_rate"])
@pytest.mark.parametrize("value", [-1.0, math.nan])
def test_a_strength_that_is_no_share_is_refused_though_it_is_not_applied(name: str, value: float) -> None:
    with pytest.raises(UserError, match=f"^--{name}="):
        resolve({name: value})


@pytest.mark.parametrize("name", ["model", "dataset"])
def test_an_error_is_one_line_though_the_value_has_two(name: str) -> None:
    with pytest.raises(UserError) as caught:
        resolve({name: "two\nlines"})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "regularizers", "weight_decay", "dropout_rate"),
    [
        ({}, ("none",), 0, 0),
        ({"regularizers": ("dropout", "augmentation")}, ("augmentation", "dropout"), 0, 0.5),
        ({"regularizers": ("all",)}, ("augmentation", "dropout", "weight_decay"), 0.001, 0.5),
        ({"weight_decay": 0.25}, ("weight_decay",), 0.25, 0),
        ({"dropout_rate": 0.1, "weight_decay": 0.2}, ("dropout", "weight_decay"), 0.2, 0.1),
        ({"random_labels": True, "regularizers": ("augmentation",)}, ("augmentation",), 0, 0),
    ],
)
def test_regularizers_of_alexnet(given: dict, regularizers: tuple, weight_decay: float, dropout_rate: float) -> None:
    training = resolve({"model": "alexnet", **given}).training
    assert training.regularizers == regularizers
    assert (training.weight_decay, training.dropout_rate) == (weight_decay, dropout_rate)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"weight_decay_choices": (0, 1), "weight_decay": 1},
         "--weight_decay=1: expected no such flag beside --weight_decay_choices"),
        ({"weight_decay_choices": (0, 1), "regularizers": ("none",)},
         "--weight_decay_choices=0,1: expected no such flag with --regularizers=none"),
        ({"weight_decay_choices": (0, 1), "regularizers": ("dropout", "augmentation")},
         "--weight_decay_choices=0,1: expected no such flag with --regularizers=dropout+augmentation"),
        *(({"weight_decay_choices": choices}, f"--weight_decay_choices={shown}: expected two or more different numbers "
                                              "of at least 0")
          for choices, shown in [((0.5,), "0.5"), ((1, 1), "1,1"), ((0, 1, 1), "0,1,1"), ((0, -1), "0,-1"),
                                 (("0", "1"), "0,1"), ((), ""), (0.5, "0.5"), ((0, math.nan), "0,nan")]),
        ({"weight_decay_choices": (0, math.inf)}, "--weight_decay_choices=0,inf: expected a number of at least 0"),
        ({"model": "wide_resnet28", "dataset": "cifar10", "weight_decay_choices": (0, 1)},
         "--weight_decay_choices=0,1: expected a validation set, which this run has not; choose one with "
         "--weight_decay"),
        ({"model": "fc5", "dataset": "mnist_parity", "validation_examples": 0},
         "--weight_decay_choices=0.0,0.0001,0.001,0.01: expected a validation set, which this run has not; choose one "
         "with --weight_decay"),
        # Training examples would always choose none.
        ({"model": "fc5", "dataset": "mnist_parity", "validation_examples": 0, "monitor": "train"},
         "--weight_decay_choices=0.0,0.0001,0.001,0.01: expected a validation set, which this run has not; choose one "
         "with --weight_decay"),
        ({"model": "wide_resnet28", "dataset": "cifar10", "measured_splits": ("train", "validation")},
         "--measured_splits=train,validation: expected train or test, since this run has no validation set"),
        *(({"model": "wide_resnet28", "dataset": "cifar10", name: value},
           f"--{name}={value}: expected a validation set, which this run has not; or add --monitor=train")
          for name, value in [("patience", 3), ("stop_accuracy", 0.5), ("measured_weights", "best")]),
    ],
)  # fmt: skip
def test_fields_that_contradict_each_other_are_refused(given: dict, message: str) -> None:
    with pytest.raises(UserError) as caught:
        resolve(given)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("given", "regularizers", "weight_decay", "choices"),
    [
        ({"model": "fc5"}, ("weight_decay",), 0, (0, 1e-4, 1e-3, 1e-2)),
        ({"model": "fc5", "regularizers": ("all",)}, ("weight_decay",), 0, (0, 1e-4, 1e-3, 1e-2)),
        ({"model": "fc5", "regularizers": ("none",)}, ("none",), 0, None),
        ({"model": "fc5", "weight_decay": 0.1}, ("weight_decay",), 0.1, None),
        ({"model": "fc5", "weight_decay": 0}, ("none",), 0, None),
        ({"model": "fc5", "weight_decay_choices": [1, 2]}, ("weight_decay",), 0, (1, 2)),
        ({"model": "fc5", "dataset": "mnist_parity", "validation_examples": 0, "weight_decay": 0.1},
         ("weight_decay",), 0.1, None),
        ({"model": "alexnet", "weight_decay_choices": (0, 1)}, ("weight_decay",), 0, (0, 1)),
        ({"model": "alexnet", "regularizers": ("all",), "weight_decay_choices": (0, 1)},
         ("augmentation", "dropout", "weight_decay"), 0, (0, 1)),
        ({"model": "resnet56", "dataset": "cifar10", "weight_decay_choices": (0, 1)},
         ("augmentation", "weight_decay"), 0, (0, 1)),
        ({"model": "mlp", "weight_decay_choices": (0, 1)}, ("weight_decay",), 0, (0, 1)),
    ],
)  # fmt: skip
def test_weight_decay_is_given_or_chosen(
    given: dict, regularizers: tuple, weight_decay: float, choices: tuple | None
) -> None:
    training = resolve(given).training
    assert training.regularizers == regularizers
    assert (training.weight_decay, training.weight_decay_choices) == (weight_decay, choices)


def test_variables_may_be_named_for_a_penalty_that_is_chosen() -> None:
    assert resolve({"model": "fc5", "decayed_variables": "kernel"}).training.decayed_variables == "kernel"


@pytest.mark.parametrize("name", ["patience", "stop_accuracy", "measured_weights"])
def test_without_a_validation_set_training_examples_may_be_monitored(name: str) -> None:
    value = {"patience": 3, "stop_accuracy": 0.5, "measured_weights": "best"}[name]
    given = {"model": "wide_resnet28", "dataset": "cifar10", "monitor": "train", name: value}
    assert getattr(resolve(given).training, name) == value


@pytest.mark.parametrize(("model", "dataset"), sorted(PRESETS))
def test_without_its_given_fields_an_experiment_is_its_recipe(
    name_dataset: Callable[[str], str], model: str, dataset: str
) -> None:
    given = {"model": model, "dataset": name_dataset(dataset)}
    changed = resolve({**given, "epochs": 1, "batch_size": 3, "seed": 5, "size": 2, "num_examples": 9})
    assert resolve_defaults(changed) == resolve(given) != changed


def make_file(path: pathlib.Path, content: bytes) -> str:
    path.write_bytes(content)
    return f"file:{path}"


def test_a_users_file_is_known_by_its_content(tmp_path: pathlib.Path) -> None:
    here = resolve({"model": make_file(tmp_path / "net.keras", b"weights")})
    (tmp_path / "elsewhere").mkdir()
    there = resolve({"model": make_file(tmp_path / "elsewhere" / "net.keras", b"weights")})
    other = resolve({"model": make_file(tmp_path / "other.keras", b"other weights")})
    assert identity(here) == identity(there)
    assert run_id(here) == run_id(there)
    assert run_id(here).startswith("net-digits-s1-0-")
    assert identity(here) != identity(other)
    # printf weights | sha256sum
    assert here.model.model_file_sha256 == "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"
    assert from_dict(as_dict(here)) == here


def test_a_users_file_has_no_recipe(tmp_path: pathlib.Path) -> None:
    config = resolve({"model": make_file(tmp_path / "net.keras", b"weights"), "draws": 9})
    (tmp_path / "net.keras").unlink()
    assert resolve_defaults(config) is config


def test_a_file_beside_the_user_is_named_without_its_folder(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_file(tmp_path / "net.keras", b"weights")
    monkeypatch.chdir(tmp_path)
    assert run_id(resolve({"model": "file:net.keras"})) == run_id(resolve({"model": f"file:{tmp_path / 'net.keras'}"}))


def test_a_users_file_takes_measure_and_data_options(tmp_path: pathlib.Path) -> None:
    given = {"model": make_file(tmp_path / "net.keras", b""), "seed": 3, "dataset": "uncorrelated10", "draws": 5}
    config = resolve(given)
    assert (config.training.seed, config.training.epochs) == (3, 0)
    assert config.measure == MeasureConfig(draws=5)
    assert config.data.dataset == "uncorrelated10"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 3), ("learning_rate", 0.1), ("regularizers", ("none",)), ("size", 2.0), ("initializer", "he_normal"),
        ("layer_size", 2.0), ("last_width", 64), ("auxiliary_head", False), ("unscaled_branch", False),
        ("label_smoothing", 0.1), ("precision", "float32"), ("weight_decay_choices", (0.0, 1.0)),
    ],
)  # fmt: skip
def test_a_users_file_is_not_trained(tmp_path: pathlib.Path, name: str, value: object) -> None:
    with pytest.raises(UserError, match=f"^--{name}=.*: expected no such flag with --model=file:"):
        resolve({"model": make_file(tmp_path / "net.keras", b""), name: value})


def test_a_users_file_is_measured_only_on_splits_that_there_are(tmp_path: pathlib.Path) -> None:
    given = {"model": make_file(tmp_path / "net.keras", b""), "dataset": "cifar10", "measured_splits": ("validation",)}
    assert resolve(given).measure.measured_splits == ("validation",)
    with pytest.raises(UserError, match="^--measured_splits=validation: expected train or test"):
        resolve({**given, "validation_examples": 0})


def test_a_users_file_reads_a_folder(tmp_path: pathlib.Path, name_dataset: Callable[[str], str]) -> None:
    given = {"model": make_file(tmp_path / "net.keras", b""), "dataset": name_dataset(FOLDER_PREFIX)}
    config = resolve({**given, "preprocessing": "image224", "background_class": True})
    assert (config.data.input_shape, config.data.num_classes, config.data.num_train) == ((224, 224, 3), 3, 320)
    assert from_dict(as_dict(config)) == config


@pytest.mark.parametrize("name", ["missing.keras", "net.h5", "folder.keras"])
def test_a_users_file_is_an_existing_keras_file(tmp_path: pathlib.Path, name: str) -> None:
    (tmp_path / "net.h5").write_bytes(b"")
    (tmp_path / "folder.keras").mkdir()
    with pytest.raises(UserError, match="^--model=file:.*: expected the path of an existing .keras file"):
        resolve({"model": f"file:{tmp_path / name}"})


def test_choices_and_drops_have_no_order():
    one, other = (resolve({"model": "fc5", "weight_decay_choices": c}) for c in ((0.0, 0.1, 0.01), (0.1, 0.01, 0.0)))
    assert run_id(one) == run_id(other)
    drops = ((30.0, 60.0), (60.0, 30.0))
    one, other = (resolve({"model": "resnet18", "schedule": "piecewise", "drop_epochs": drop}) for drop in drops)
    assert run_id(one) == run_id(other)
