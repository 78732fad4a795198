"""Sections of an experiment: frozen, with help, and closed to every value of the wrong type or beyond its bounds."""

import dataclasses
import math

import pytest

from tfunits.configs import DataConfig, ExecutionConfig, MeasureConfig, ModelConfig, TrainingConfig, UserError
from tfunits.configs.experiment import value_type

SECTIONS = (ModelConfig, DataConfig, TrainingConfig, MeasureConfig, ExecutionConfig)
FIELDS = [(section, field) for section in SECTIONS for field in dataclasses.fields(section)]


def fields_of(*kinds: type) -> list:
    """One parameter per field of these types."""
    return [pytest.param(s, f, id=f"{s.__name__}.{f.name}") for s, f in FIELDS if value_type(f) in kinds]


def make(section: type, field: dataclasses.Field, value: object) -> object:
    return section(**{field.name: (value,) if field.metadata["plain_list"] else value})


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_is_frozen_and_equal_to_its_twin(section: type) -> None:
    first = dataclasses.fields(section)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(section(), first, getattr(section(), first))
    assert section() == section()


@pytest.mark.parametrize(("section", "field"), fields_of(str, bool, int, float))
def test_every_field_explains_itself(section: type, field: dataclasses.Field) -> None:
    assert field.metadata["help"].strip()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("section", "field"), fields_of(int, float))
def test_a_number_is_finite(section: type, field: dataclasses.Field, value: float) -> None:
    with pytest.raises(UserError, match=f"^--{field.name}="):
        make(section, field, value)


@pytest.mark.parametrize("value", ["1", True, [1]])
@pytest.mark.parametrize(("section", "field"), fields_of(int, float))
def test_a_number_is_no_text_no_truth_and_no_list(section: type, field: dataclasses.Field, value: object) -> None:
    with pytest.raises(UserError, match=f"^--{field.name}="):
        make(section, field, value)


@pytest.mark.parametrize(("section", "field"), fields_of(int))
def test_a_whole_number_has_no_half(section: type, field: dataclasses.Field) -> None:
    with pytest.raises(UserError, match=f"^--{field.name}=1.5: expected a whole number"):
        make(section, field, 1.5)


@pytest.mark.parametrize(("section", "field"), fields_of(bool))
def test_one_is_not_true(section: type, field: dataclasses.Field) -> None:
    with pytest.raises(UserError, match=f"^--{field.name}=1: expected true or false"):
        make(section, field, 1)


@pytest.mark.parametrize(("section", "field"), fields_of(str))
def test_a_name_is_text(section: type, field: dataclasses.Field) -> None:
    with pytest.raises(UserError, match=f"^--{field.name}=3: expected"):
        make(section, field, 3)


@pytest.mark.parametrize(
    ("section", "name", "accepted", "refused"),
    [
        (ModelConfig, "size", 0.25, 0),
        (ModelConfig, "init_scale", 1e-3, 0),
        (DataConfig, "num_examples", 1, 0),
        (DataConfig, "num_examples", 1078, 1079),
        (DataConfig, "data_seed", 0, -1),
        (TrainingConfig, "learning_rate", 1e-9, 0),
        (TrainingConfig, "momentum", 0, -0.1),
        (TrainingConfig, "momentum", 0.99, 1),
        (TrainingConfig, "dropout_rate", 0.99, 1),
        (TrainingConfig, "decay_rate", 1, 1.01),
        (TrainingConfig, "weight_decay", 0, -1e-9),
        (TrainingConfig, "epochs", 0, -1),
        (TrainingConfig, "batch_size", 1, 0),
        (TrainingConfig, "patience", 1, 0),
        (MeasureConfig, "tolerance", 1, 0),
        (MeasureConfig, "tolerance", 0.01, 1.01),
        (MeasureConfig, "variance_fraction", 1, 0),
        (MeasureConfig, "similarity_threshold", 1, 1.1),
        (MeasureConfig, "levels", 2, 1),
        (MeasureConfig, "draws", 1, 0),
        (MeasureConfig, "max_rows", 0, -1),
        (ExecutionConfig, "num_devices", 1, 0),
    ],
)
def test_bounds(section: type, name: str, accepted: float, refused: float) -> None:
    assert getattr(section(**{name: accepted}), name) == accepted
    with pytest.raises(UserError, match=f"^--{name}={refused:g}"):
        section(**{name: refused})


@pytest.mark.parametrize(
    ("section", "name"),
    [(TrainingConfig, "regularizers"), (MeasureConfig, "measured_splits"), (ExecutionConfig, "steps")],
)
def test_a_list_names_something(section: type, name: str) -> None:
    with pytest.raises(UserError, match=f"^--{name}=: expected"):
        section(**{name: ()})


@pytest.mark.parametrize(
    ("model", "smallest"), [("alexnet", 1 / 96), ("resnet18", 1 / 64), ("mlp", 1 / 128), ("fc5", 1 / 128)]
)
def test_every_layer_keeps_a_unit(model: str, smallest: float) -> None:
    """The smallest size is one unit in the narrowest layer of FACTS section 2."""
    assert ModelConfig(model=model, size=smallest * 1.0001).size > 0
    with pytest.raises(UserError, match=r"^--size=.*at least one unit in every layer of .* = 0 units; use --size="):
        ModelConfig(model=model, size=smallest * 0.999)


@pytest.mark.parametrize(("section", "name"), [(ModelConfig, "size"), (TrainingConfig, "k")])
def test_a_factor_too_large_for_any_width_or_batch_is_a_users_error(section: type, name: str) -> None:
    with pytest.raises(UserError, match=f"^--{name}=1e\\+308"):
        section(**{name: 1e308})


def test_a_whole_number_of_four_hundred_digits_is_a_users_error() -> None:
    with pytest.raises(UserError, match="^--batch_size="):
        TrainingConfig(batch_size=10**400)


def test_k_scales_the_batch_and_the_learning_rate() -> None:
    training = TrainingConfig(batch_size=128, learning_rate=0.01, k=0.25)
    assert training.effective_batch_size == 32
    assert TrainingConfig(batch_size=5, k=0.7).effective_batch_size == 3  # int(3.5)
    assert training.effective_learning_rate == pytest.approx(0.0025, rel=1e-12)
    with pytest.raises(UserError, match=r"^--k=0.001: .*int\(128 \* 0.001\) = 0"):
        TrainingConfig(batch_size=128, k=0.001)


def test_piecewise_says_where_it_drops() -> None:
    assert TrainingConfig(schedule="piecewise", drop_epochs=(3.0, 6.5)).drop_epochs == (3.0, 6.5)
    with pytest.raises(UserError, match="^--schedule=piecewise: expected --drop_epochs"):
        TrainingConfig(schedule="piecewise")


@pytest.mark.parametrize(
    ("given", "shape", "num_train", "num_test"),
    [
        ({"dataset": "digits"}, (32, 32, 3), 1078, 539),
        ({"dataset": "digits", "preprocessing": "vector64", "num_examples": 10}, (64,), 10, 539),
        ({"dataset": "digits_parity"}, (10,), 1078, 539),
        ({"dataset": "uncorrelated10"}, (10,), 1000, 1000),
        ({"dataset": "uncorrelated10000", "num_examples": 7, "test_examples": 9}, (10_000,), 7, 9),
    ],
)
def test_shape_and_number_of_examples(given: dict, shape: tuple, num_train: int, num_test: int) -> None:
    data = DataConfig(**given)
    assert (data.input_shape, data.num_train, data.num_test) == (shape, num_train, num_test)


def test_a_test_set_that_is_given_cannot_be_resized() -> None:
    with pytest.raises(UserError, match="^--test_examples=5: expected no such flag with --dataset=digits"):
        DataConfig(dataset="digits", test_examples=5)


def test_a_preprocessing_belongs_to_its_data() -> None:
    with pytest.raises(UserError, match="^--preprocessing=gaussian: expected one of image32, image8, vector64"):
        DataConfig(dataset="digits", preprocessing="gaussian")
