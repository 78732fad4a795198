"""Given fields to whole experiments, and experiments to names."""

import dataclasses
import json
import math
import pathlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfunits.configs import (
    DATASETS,
    MODELS,
    ExperimentConfig,
    MeasureConfig,
    UserError,
    as_dict,
    canonical_json,
    from_dict,
    identity,
    resolve,
    run_id,
    short_hash,
)
from tfunits.configs.presets import PRESETS

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
    ],
)  # fmt: skip
def test_an_explicit_default_is_the_same_run(given: dict, explicit: dict) -> None:
    assert run_id(resolve({**given, **explicit})) == run_id(resolve(given))


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_every_field_of_model_data_and_training_is_in_the_identity(name: str) -> None:
    assert run_id(resolve({**GIVEN, name: CHANGES[name]})) != run_id(resolve(GIVEN))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"optimizer": "adam", "momentum": 0.5}, "--momentum=0.5: expected no such flag with --optimizer=adam"),
        ({"schedule": "cosine", "decay_rate": 0.5}, "--decay_rate=0.5: expected no such flag with --schedule=cosine"),
        ({"drop_epochs": (3.0,)}, "--drop_epochs=3.0: expected no such flag with --schedule=exponential"),
        ({"drop_factor": 0.5}, "--drop_factor=0.5: expected no such flag with --schedule=exponential"),
        ({"final_learning_rate": 0.1}, "--final_learning_rate=0.1: expected no such flag with --schedule=exponential"),
        ({"decayed_variables": "fc3"}, "--decayed_variables=fc3: expected no such flag with no --weight_decay"),
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
def test_a_configuration_survives_json(model: str, dataset: str, more: dict) -> None:
    config = resolve({"model": model, "dataset": dataset, **more})
    stored = json.loads(json.dumps(as_dict(config)))
    assert from_dict(stored) == config
    assert {name: set(section) for name, section in stored.items()} == {
        field.name: {f.name for f in dataclasses.fields(getattr(config, field.name))}
        for field in dataclasses.fields(ExperimentConfig)
        if field.name != "measure"
    }


def test_how_a_run_is_measured_is_not_stored_with_it() -> None:
    """A run may be measured in several ways; every measure's file has its own settings."""
    assert "measure" not in as_dict(resolve({"draws": 9}))


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
            with pytest.raises(
                UserError, match=f"^--dataset={dataset}: expected .*use one of {MODELS[model].default_dataset}"
            ):
                resolve({"model": model, "dataset": dataset})


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
        ({"loss": "hinge"}, "--loss=hinge: expected cross_entropy"),
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
    ],
)
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
    [("epochs", 3), ("learning_rate", 0.1), ("regularizers", ("none",)), ("size", 2.0), ("initializer", "he_normal")],
)
def test_a_users_file_is_not_trained(tmp_path: pathlib.Path, name: str, value: object) -> None:
    with pytest.raises(UserError, match=f"^--{name}=.*: expected no such flag with --model=file:"):
        resolve({"model": make_file(tmp_path / "net.keras", b""), name: value})


@pytest.mark.parametrize("name", ["missing.keras", "net.h5", "folder.keras"])
def test_a_users_file_is_an_existing_keras_file(tmp_path: pathlib.Path, name: str) -> None:
    (tmp_path / "net.h5").write_bytes(b"")
    (tmp_path / "folder.keras").mkdir()
    with pytest.raises(UserError, match="^--model=file:.*: expected the path of an existing .keras file"):
        resolve({"model": f"file:{tmp_path / name}"})
