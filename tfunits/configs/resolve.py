"""From a few given fields to a whole experiment: presets, consistency, canonical form and run id."""

import dataclasses
import hashlib
import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from tfunits.configs import facts
from tfunits.configs.errors import UserError, reject
from tfunits.configs.experiment import (
    DEFAULT_GENERATED_EXAMPLES,
    DataConfig,
    ExperimentConfig,
    MeasureConfig,
    ModelConfig,
    TrainingConfig,
    VisualizationConfig,
)
from tfunits.configs.folders import locate
from tfunits.configs.presets import find_preset
from tfunits.configs.regularizers import resolve_regularizers

RUN_ID_HEX_DIGITS = 10
IDENTITY_SECTIONS = ("model", "data", "training")
# Filled in here, never by a user.
_LISTING_FIELDS = ("folder_sha256", "folder_counts")
_COMPUTED_FIELDS = ("model_file_sha256", *_LISTING_FIELDS)
_SECTIONS = {
    "model": ModelConfig, "data": DataConfig, "training": TrainingConfig, "measure": MeasureConfig,
    "visualization": VisualizationConfig,
}  # fmt: skip


def experiment_fields() -> dict[str, dataclasses.Field]:
    """Name -> field, of everything that `resolve` takes, in the order of the sections."""
    fields = [field for section in _SECTIONS.values() for field in dataclasses.fields(section)]
    return {field.name: field for field in fields if field.name not in _COMPUTED_FIELDS}


def resolve(given: Mapping[str, Any], *, folder: DataConfig | None = None) -> ExperimentConfig:
    """The whole experiment that a few given fields stand for.

    Precedence: given field, preset of (model, data set), field default.

    Args:
      given: field name -> value; a value of None counts as not given.
      folder: data of the same folder, of a run that was resolved or stored: its listing holds, and the folder is not
        read; ignored for other data sets.

    Returns: a validated `ExperimentConfig`.

    Raises:
      UserError: unknown field, value out of range, or fields that contradict each other.

    Example:
      >>> resolve({"model": "alexnet"}).training.decay_rate
      0.95
    """
    config = _resolve(given, folder)
    if not config.model.is_file:
        _check_training_fit(config.model.model, config.data, config.training)
    return config


def resolve_defaults(config: ExperimentConfig, *, keep_labels: bool = False) -> ExperimentConfig:
    """What the network and data set of an experiment stand for with no other field given.

    A folder is not read, and may hold fewer images than the recipe's batch; a user's own network stands for itself.

    Args:
      config: the experiment.
      keep_labels: whether random labels, which have recipes of their own, stay as they are.

    Example:
      >>> resolve_defaults(resolve({"model": "mlp", "epochs": 3})).training.epochs
      50
    """
    if config.model.is_file:
        return config
    labels = {"random_labels": config.data.random_labels} if keep_labels else {}
    return _resolve({"model": config.model.model, "dataset": config.data.dataset, **labels}, config.data)


def _resolve(given: Mapping[str, Any], folder: DataConfig | None) -> ExperimentConfig:
    fields = experiment_fields()
    given = {
        name: tuple(value) if isinstance(value, list) else value for name, value in given.items() if value is not None
    }
    unknown = set(given) - set(fields)
    if unknown:
        raise UserError(f"unknown field {sorted(unknown)[0]!r}; known: {', '.join(fields)}")
    model_name = given.get("model", ModelConfig.model)
    if str(model_name).startswith(facts.FILE_PREFIX):
        return _resolve_file(given, folder)
    model_facts = facts.MODELS.get(model_name)
    dataset = given.get("dataset") or (model_facts.default_dataset if model_facts else DataConfig.dataset)
    preset = _find_preset(model_name, dataset, given)
    values = {**preset, "dataset": dataset, **given}
    model, data = _make(ModelConfig, values), _make_data(values, folder)
    _check_data_fit(model.model, data)
    values |= resolve_regularizers(model.model, data, given, preset)
    training = _settle_training(_make(TrainingConfig, _drop_unused(values, given, data)))
    return ExperimentConfig(
        model=_settle_model(model),
        data=_settle(data),
        training=training,
        measure=_make_measure(values, data),
        visualization=_make_visualization(values, model.model),
    )


def _find_preset(model: str, dataset: str, given: Mapping[str, Any]) -> dict[str, Any]:
    random_labels = given.get("random_labels", False) is True
    preset = find_preset(model, dataset, random_labels=random_labels, augmented=False)
    named = given.get("regularizers", preset.get("regularizers", ()))
    augmented = isinstance(named, tuple) and bool({"augmentation", "all"} & set(named))
    return find_preset(model, dataset, random_labels=random_labels, augmented=augmented) if augmented else preset


def _make(section: type, values: Mapping[str, Any]) -> Any:
    names = {field.name for field in dataclasses.fields(section)}
    return section(**{name: value for name, value in values.items() if name in names})


def _make_data(values: Mapping[str, Any], folder: DataConfig | None) -> DataConfig:
    same = folder is not None and folder.is_folder and folder.dataset == values.get("dataset")
    return _make(DataConfig, {**values, **({name: getattr(folder, name) for name in _LISTING_FIELDS} if same else {})})


def _make_measure(values: Mapping[str, Any], data: DataConfig) -> MeasureConfig:
    measure = _make(MeasureConfig, values)
    if "validation" in measure.measured_splits and data.num_validation == 0:
        raise reject("measured_splits", measure.measured_splits, "train or test, since this run has no validation set")
    return measure


def _make_visualization(values: Mapping[str, Any], model: str) -> VisualizationConfig:
    visualization = _make(VisualizationConfig, values)
    known = facts.MODELS[model].base_widths
    for tap in visualization.taps:
        if tap not in known and (tap,) != visualization.taps or tap not in (*known, *facts.TAP_CHOICES):
            raise reject("taps", visualization.taps, f"all, blocks, or some of {', '.join(known)} of {model}")
    return visualization


def _settle_model(model: ModelConfig) -> ModelConfig:
    """The same network in the one way of saying it, so that an explicit default is not another run."""
    defaults = {"auxiliary_head": True, "unscaled_branch": True}
    spelled = {name: None for name, default in defaults.items() if getattr(model, name) is default}
    if model.layer_size == model.size:
        spelled["layer_size"] = None
    return dataclasses.replace(model, **spelled) if spelled else model


def _settle_training(training: TrainingConfig) -> TrainingConfig:
    """The same training in the one way of saying it: choices and drops in order."""
    listed = {name: getattr(training, name) for name in ("weight_decay_choices", "drop_epochs")}
    ordered = {name: tuple(sorted(values)) for name, values in listed.items() if values is not None}
    return dataclasses.replace(training, **ordered) if ordered else training


def _settle(data: DataConfig) -> DataConfig:
    """The same data in the one way of saying it, so that an explicit default is not another run."""
    known = data.dataset_facts
    whole = dataclasses.replace(data, num_examples=None).num_train
    counts = {
        "num_examples": whole,
        "test_examples": DEFAULT_GENERATED_EXAMPLES,
        "validation_examples": known.num_validation,
    }
    spelled: dict[str, Any] = {name: None for name, default in counts.items() if getattr(data, name) == default}
    return dataclasses.replace(data, preprocessing=data.preprocessing or next(iter(known.preprocessings)), **spelled)


def _resolve_file(given: Mapping[str, Any], folder: DataConfig | None) -> ExperimentConfig:
    """A user's own network: measured as it is, so that no training field applies."""
    trained = sorted(set(given) & ({f.name for f in dataclasses.fields(TrainingConfig)} - {"seed"}))
    trained += sorted(set(given) & ({f.name for f in dataclasses.fields(ModelConfig)} - {"model"}))
    if trained:
        raise reject(trained[0], given[trained[0]], "no such flag with --model=file:...", "a file is measured as it is")
    path = pathlib.Path(given["model"].removeprefix(facts.FILE_PREFIX))
    if path.suffix != ".keras" or not path.is_file():
        raise reject("model", given["model"], "the path of an existing .keras file after file:")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    data = _settle(_make_data(given, folder))
    return ExperimentConfig(
        model=ModelConfig(model=given["model"], model_file_sha256=digest),
        data=data,
        training=TrainingConfig(seed=given.get("seed", 0), epochs=0),
        measure=_make_measure(given, data),
        visualization=_make(VisualizationConfig, given),
    )


def _check_data_fit(model: str, data: DataConfig) -> None:
    known, data_facts = facts.MODELS[model], data.dataset_facts
    fitting = _readable_forms(known, data_facts)
    hint = "use one of " + ", ".join(name for name, other in facts.DATASETS.items() if _is_usable(known, other))
    if not fitting:
        raise reject("dataset", data.dataset, f"data of kind {' or '.join(known.input_kinds)} for {model}", hint)
    if data.preprocessing is not None and data.preprocessing not in fitting:
        raise reject("preprocessing", data.preprocessing, f"one of {', '.join(fitting)} for {model}")
    if not _is_usable(known, data_facts):
        raise reject("dataset", data.dataset, f"two classes, since {model} has one output", hint)
    if known.binary_only and data.background_class:
        raise reject("background_class", True, f"false, since {model} has one output")


def _readable_forms(model: facts.ModelFacts, data: facts.DatasetFacts) -> list[str]:
    kinds = {name: "vector" if len(shape) == 1 else "image" for name, shape in data.preprocessings.items()}
    return [name for name, kind in kinds.items() if kind in model.input_kinds]


def _is_usable(model: facts.ModelFacts, data: facts.DatasetFacts) -> bool:
    return bool(_readable_forms(model, data)) and (data.num_classes == 2 or not model.binary_only)


# Field of a recipe -> (the field that decides whether it is used, the values with which it is).
_USED_WITH = {
    "momentum": ("optimizer", ("momentum",)),
    "rmsprop_momentum": ("optimizer", ("rmsprop",)),
    "rmsprop_epsilon": ("optimizer", ("rmsprop",)),
    "label_smoothing": ("loss", ("cross_entropy",)),
    "decay_rate": ("schedule", ("exponential",)),
    "decay_epochs": ("schedule", ("exponential",)),
    "drop_epochs": ("schedule", ("piecewise",)),
    "drop_factor": ("schedule", ("piecewise",)),
    "schedule_examples": ("schedule", ("piecewise",)),
    "final_learning_rate": ("schedule", ("cosine",)),
}
# What reads the accuracy of --monitor.
_MONITORING = ("patience", "stop_accuracy", "measured_weights")


def _drop_unused(values: Mapping[str, Any], given: Mapping[str, Any], data: DataConfig) -> dict[str, Any]:
    """The values without those that this training does not read, so that they make no other run.

    Raises:
      UserError: a given field that is not read.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(TrainingConfig)}
    unused = {}
    for name, (decider, readers) in _USED_WITH.items():
        choice = values.get(decider, defaults[decider])
        if choice not in readers:
            unused[name] = f"--{decider}={choice}"
    if values["weight_decay"] == 0 and values["weight_decay_choices"] is None:
        unused["decayed_variables"] = "no --weight_decay"
    for name, reason in unused.items():
        if name in given:
            raise reject(name, given[name], f"no such flag with {reason}")
    if _has_nothing_to_monitor(data, values.get("monitor", defaults["monitor"])):
        unused |= dict.fromkeys(set(_MONITORING) - set(given), "no validation set")
    return {name: value for name, value in values.items() if name not in unused}


def _has_nothing_to_monitor(data: DataConfig, monitor: str) -> bool:
    return data.num_validation == 0 and monitor == "validation"


def _check_training_fit(model: str, data: DataConfig, training: TrainingConfig) -> None:
    if training.effective_batch_size > data.num_train:
        factor = f" * --k={training.k:g}" if training.k != 1 else ""
        raise reject(
            "batch_size", training.batch_size,
            f"a batch{factor} of at most the {data.num_train} training examples of {data.dataset}",
        )  # fmt: skip
    one_output = facts.MODELS[model].binary_only
    if one_output != (training.loss in ("hinge", "squared_hinge")):
        outputs = "one output" if one_output else "one output a class"
        accepted = "hinge or squared_hinge" if one_output else "cross_entropy"
        raise reject("loss", training.loss, f"{accepted}, since {model} has {outputs}")
    without = "a validation set, which this run has not"
    if data.num_validation == 0 and training.weight_decay_choices is not None:
        raise reject("weight_decay_choices", training.weight_decay_choices, without, "choose one with --weight_decay")
    if _has_nothing_to_monitor(data, training.monitor):
        for name in _MONITORING:
            if getattr(training, name) not in (None, "last"):
                raise reject(name, getattr(training, name), without, "or add --monitor=train")


def identity(config: ExperimentConfig) -> dict[str, dict[str, Any]]:
    """The fields that decide what a run computes: model, data and training, without those at their defaults.

    Leaving defaults out means that a field added later, whose default is what was done before, renames no run.
    For the same reason a field's default never changes: presets do.
    """
    parts: dict[str, dict[str, Any]] = {}
    for name in IDENTITY_SECTIONS:
        section = getattr(config, name)
        parts[name] = {
            field.name: _plain(getattr(section, field.name))
            for field in dataclasses.fields(section)
            if getattr(section, field.name) != field.default
        }
    if config.model.is_file:
        # The file's content decides, not where it lies.
        parts["model"].pop("model")
    if config.data.is_folder:
        for name in ("dataset", "folder_counts"):
            parts["data"].pop(name)
    return parts


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    # 2 and 2.0 are the same setting.
    return int(value) if isinstance(value, float) and value == int(value) else value


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal settings give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def short_hash(value: Any, digits: int = 8) -> str:
    """The first hexadecimal digits of the SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:digits]


def run_id(config: ExperimentConfig) -> str:
    """The name of a run's directory: <model>-<data set>-s<size>-<seed>-<10 hex digits>.

    Example:
      >>> run_id(resolve({"model": "mlp", "size": 0.25}))[:18]
      'mlp-digits-s0.25-0'
    """
    # The file's name without its folder; for the papers' networks, their name.
    model = pathlib.Path(config.model.model.removeprefix(facts.FILE_PREFIX)).stem
    data = config.data.dataset
    if config.data.is_folder:
        # A folder's own name, of characters that every file system has.
        folder = locate(data.removeprefix(facts.FOLDER_PREFIX)).name
        data = "folder_" + re.sub(r"[^A-Za-z0-9_]+", "_", folder)
    digest = short_hash(identity(config), RUN_ID_HEX_DIGITS)
    return f"{model}-{data}-s{config.model.size:g}-{config.training.seed}-{digest}"


def as_dict(config: ExperimentConfig) -> dict[str, Any]:
    """What is trained as nested plain values, every field named, for `config.json`.

    How a run is measured is not part of it: every measure's file has its own settings.
    """
    sections = json.loads(json.dumps(dataclasses.asdict(config)))
    return {name: sections[name] for name in IDENTITY_SECTIONS}


def from_dict(values: Mapping[str, Mapping[str, Any]]) -> ExperimentConfig:
    """The configuration written by `as_dict`, validated again.

    Raises:
      ValueError: values that are no configuration.
    """
    if not isinstance(values, Mapping) or not all(isinstance(values.get(name), Mapping) for name in IDENTITY_SECTIONS):
        raise UserError(f"config: expected the sections {', '.join(IDENTITY_SECTIONS)}, received something else")
    sections = {}
    for name in IDENTITY_SECTIONS:
        section = _SECTIONS[name]
        fields = {field.name for field in dataclasses.fields(section)}
        stored = {k: tuple(v) if isinstance(v, list) else v for k, v in values[name].items() if k in fields}
        sections[name] = section(**stored)
    return ExperimentConfig(**sections)
