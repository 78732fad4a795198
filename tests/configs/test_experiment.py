"""Sections of an experiment: frozen, with help, and closed to every value of the wrong type or beyond its bounds."""

import dataclasses
import math

import pytest

from tfunits.configs import (
    MODELS,
    DataConfig,
    DrawingSource,
    ExecutionConfig,
    MeasureConfig,
    ModelConfig,
    TrainingConfig,
    UserError,
    VisualizationConfig,
)
from tfunits.configs.options import _check_item, value_type

SECTIONS = (ModelConfig, DataConfig, TrainingConfig, MeasureConfig, VisualizationConfig, ExecutionConfig)
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


@pytest.mark.parametrize("section", [*SECTIONS, DrawingSource])
def test_defaults_are_values_that_are_accepted(section: type) -> None:
    """No configuration checks them again."""
    for field in dataclasses.fields(section):
        given = field.default if field.metadata["plain_list"] else (field.default,)
        for value in given or ():
            if value is not None:
                _check_item(field, value, value)


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
        (TrainingConfig, "label_smoothing", 0, -0.1),
        (TrainingConfig, "label_smoothing", 0.99, 1),
        (TrainingConfig, "rmsprop_momentum", 0, -0.1),
        (TrainingConfig, "rmsprop_momentum", 0.99, 1),
        (TrainingConfig, "rmsprop_epsilon", 1e-12, 0),
        (TrainingConfig, "warmup_epochs", 0, -1),
        (TrainingConfig, "decay_epochs", 1, 0),
        (TrainingConfig, "schedule_examples", 1, 0),
        (TrainingConfig, "stop_accuracy", 0.01, 0),
        (TrainingConfig, "stop_accuracy", 1, 1.01),
        (TrainingConfig, "average_decay", 0, -0.1),
        (TrainingConfig, "average_decay", 0.9999, 1),
        (MeasureConfig, "tolerance", 1, 0),
        (MeasureConfig, "tolerance", 0.01, 1.01),
        (MeasureConfig, "variance_fraction", 1, 0),
        (MeasureConfig, "similarity_threshold", 1, 1.1),
        (MeasureConfig, "levels", 2, 1),
        (MeasureConfig, "draws", 1, 0),
        (MeasureConfig, "max_rows", 0, -1),
        (VisualizationConfig, "image_size", 2, 1),
        (VisualizationConfig, "draw_steps", 0, -1),
        (VisualizationConfig, "num_units", 1, 0),
        (ExecutionConfig, "num_devices", 1, 0),
        (ExecutionConfig, "worker_timeout", 0.5, 0),
    ],
)
def test_bounds(section: type, name: str, accepted: float, refused: float) -> None:
    assert getattr(section(**{name: accepted}), name) == accepted
    with pytest.raises(UserError, match=f"^--{name}={refused:g}"):
        section(**{name: refused})


@pytest.mark.parametrize(
    ("section", "name"),
    [
        (TrainingConfig, "regularizers"),
        (TrainingConfig, "drop_epochs"),
        (TrainingConfig, "weight_decay_choices"),
        (MeasureConfig, "measured_splits"),
        (VisualizationConfig, "taps"),
        (VisualizationConfig, "units"),
        (ExecutionConfig, "steps"),
        (ExecutionConfig, "keep_epochs"),
    ],
)
def test_a_list_names_something(section: type, name: str) -> None:
    with pytest.raises(UserError, match=f"^--{name}=: expected"):
        section(**{name: ()})


@pytest.mark.parametrize(
    ("model", "factor", "narrowest", "layer"),
    [
        ("alexnet", "size", 96, "conv1"),
        ("densenet40", "size", 8, "stage1"),
        ("fc5", "size", 128, "hidden1"),
        ("inception_v3", "size", 32, "conv0"),
        ("inception_v3", "layer_size", 48, "mixed_35x35x288b"),
        ("mlp", "size", 128, "hidden"),
        ("resnet18", "size", 64, "stem"),
        ("resnet50", "size", 64, "stage1"),
        ("resnet56", "size", 16, "stem"),
        ("wide_resnet28", "size", 16, "stem"),
    ],
)
def test_every_layer_keeps_a_unit(model: str, factor: str, narrowest: int, layer: str) -> None:
    """The smallest size is one unit in the narrowest layer of FACTS sections 2 and 14.1."""
    assert ModelConfig(model=model, **{factor: 1.0001 / narrowest})
    value = 0.999 / narrowest
    with pytest.raises(UserError) as caught:
        ModelConfig(model=model, **{factor: value})
    start, smallest = str(caught.value).removesuffix(" or more").split(f"use --{factor}=")
    assert start == (
        f"--{factor}={value:g}: expected a width of at least one unit in every layer of {model}; "
        f"{layer} would have int({narrowest} * {value:g}) = 0 units; "
    )
    assert ModelConfig(model=model, **{factor: float(smallest)})
    assert float(smallest) == pytest.approx(1 / narrowest, rel=1e-3)


OPTIONS = {
    "layer_size": (0.5, "inception_v3"),
    "auxiliary_head": (False, "inception_v3"),
    "unscaled_branch": (True, "inception_v3"),
    "last_width": (64, "densenet40, resnet50, wide_resnet28"),
}


@pytest.mark.parametrize("model", sorted(MODELS))
@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_belongs_to_its_networks(model: str, name: str) -> None:
    value, owners = OPTIONS[name]
    if model in owners.split(", "):
        assert getattr(ModelConfig(model=model, **{name: value}), name) == value
    else:
        with pytest.raises(UserError) as caught:
            ModelConfig(model=model, **{name: value})
        shown = f"--{name}={value}: expected no such flag with --model={model}; for {owners}"
        assert str(caught.value) == shown


@pytest.mark.parametrize("value", [0, -1, 10**7])
def test_the_last_width_is_a_number_of_units(value: int) -> None:
    with pytest.raises(UserError, match=f"^--last_width={value}: expected a whole number of at least 1 and of at most"):
        ModelConfig(model="resnet50", last_width=value)


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
    ("given", "shape", "examples"),
    [
        ({"dataset": "digits"}, (32, 32, 3), (1078, 180, 539)),
        ({"dataset": "digits", "preprocessing": "vector64", "num_examples": 10}, (64,), (10, 180, 539)),
        ({"dataset": "digits_parity"}, (10,), (1078, 180, 539)),
        ({"dataset": "uncorrelated10"}, (10,), (1000, 1000, 1000)),
        ({"dataset": "uncorrelated10000", "num_examples": 7, "test_examples": 9}, (10_000,), (7, 7, 9)),
        ({"dataset": "cifar10"}, (32, 32, 3), (45_000, 5_000, 10_000)),
        ({"dataset": "cifar10", "validation_examples": 0}, (32, 32, 3), (50_000, 0, 10_000)),
        ({"dataset": "cifar10", "validation_examples": 2500, "num_examples": 100}, (32, 32, 3), (100, 2_500, 10_000)),
        ({"dataset": "cifar100", "preprocessing": "vector3072"}, (3072,), (45_000, 5_000, 10_000)),
        ({"dataset": "mnist", "preprocessing": "image28"}, (28, 28, 1), (55_000, 5_000, 10_000)),
        ({"dataset": "mnist_parity"}, (10,), (55_000, 5_000, 10_000)),
        ({"dataset": "imagenet2012"}, (224, 224, 3), (1_271_167, 10_000, 50_000)),
        ({"dataset": "imagenet2012", "preprocessing": "image299", "validation_examples": 0}, (299, 299, 3),
         (1_281_167, 0, 50_000)),
    ],
)  # fmt: skip
def test_shape_and_number_of_examples(given: dict, shape: tuple, examples: tuple) -> None:
    data = DataConfig(**given)
    assert data.input_shape == shape
    assert (data.num_train, data.num_validation, data.num_test) == examples


def test_a_background_class_is_one_label_more() -> None:
    assert DataConfig(dataset="imagenet2012").num_classes == 1000
    assert DataConfig(dataset="imagenet2012", background_class=True).num_classes == 1001


@pytest.mark.parametrize(
    ("given", "largest", "message"),
    [
        ({"dataset": "cifar10"}, ("num_examples", 45_000),
         "--num_examples=45001: expected at most the 45000 training examples of cifar10"),
        ({"dataset": "cifar10", "validation_examples": 0}, ("num_examples", 50_000),
         "--num_examples=50001: expected at most the 50000 training examples of cifar10"),
        ({"dataset": "cifar10", "validation_examples": 2500}, ("num_examples", 47_500),
         "--num_examples=47501: expected at most the 47500 training examples of cifar10"),
        ({"dataset": "cifar10", "num_examples": 1}, ("validation_examples", 49_999),
         "--validation_examples=50000: expected fewer than the 50000 training images of cifar10"),
        ({"dataset": "mnist_parity"}, ("validation_examples", 59_999),
         "--validation_examples=60000: expected fewer than the 60000 training images of mnist_parity"),
        ({"dataset": "imagenet2012"}, ("validation_examples", 1_281_166),
         "--validation_examples=1281167: expected fewer than the 1281167 training images of imagenet2012"),
    ],
)  # fmt: skip
def test_there_are_no_more_images_than_there_are(given: dict, largest: tuple, message: str) -> None:
    name, count = largest
    assert getattr(DataConfig(**given, **{name: count}), name) == count
    with pytest.raises(UserError) as caught:
        DataConfig(**given, **{name: count + 1})
    assert str(caught.value) == message


@pytest.mark.parametrize("dataset", ["digits", "digits_parity", "uncorrelated10"])
@pytest.mark.parametrize(("name", "value"), [("validation_examples", 5), ("split", "ordered")])
def test_embedded_data_are_split_in_one_way(dataset: str, name: str, value: object) -> None:
    assert getattr(DataConfig(dataset="cifar10", **{name: value}), name) == value
    with pytest.raises(UserError) as caught:
        DataConfig(dataset=dataset, **{name: value})
    assert str(caught.value) == f"--{name}={value}: expected no such flag with --dataset={dataset}"


def test_a_test_set_that_is_given_cannot_be_resized() -> None:
    with pytest.raises(UserError, match="^--test_examples=5: expected no such flag with --dataset=digits"):
        DataConfig(dataset="digits", test_examples=5)


def test_a_preprocessing_belongs_to_its_data() -> None:
    with pytest.raises(UserError, match="^--preprocessing=gaussian: expected one of image32, image8, vector64"):
        DataConfig(dataset="digits", preprocessing="gaussian")
