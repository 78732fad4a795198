"""What `configs.facts` says without TensorFlow is what the registries hold, and every member works."""

import contextlib
import functools
import inspect
import itertools
import re

import keras
import numpy as np
import pytest
from outlines import without_weights

import tfunits
from tfunits import datasets, experiments, models, statistics, training, visualization
from tfunits.configs import (
    MeasureConfig,
    TrainingConfig,
    UserError,
    VisualizationConfig,
    facts,
    find_image_form,
    resolve,
)
from tfunits.configs.presets import PRESETS
from tfunits.experiments.launchers import LAUNCHERS
from tfunits.experiments.measured_files import MEASURE_FILES
from tfunits.experiments.measuring import MEASURES
from tfunits.layers import ReplicaDropout
from tfunits.measures.orders import ORDERS
from tfunits.models.initializers import make_initializer
from tfunits.surgery import Graph, tap_keys
from tfunits.training.losses import decayed_variables

INPUT_SHAPES = {"vector": (10,), "image": (32, 32, 3)}


def build(name: str, size: float = 0.25, **options) -> keras.Model:
    known = facts.MODELS[name]
    num_classes = 2 if known.binary_only else 10
    shape = INPUT_SHAPES[known.input_kinds[0]]
    return models.build(name, size=size, input_shape=shape, num_classes=num_classes, **options)


@pytest.mark.parametrize(
    ("named", "registry"),
    [
        (facts.MODELS, models.BUILDERS),
        ({*facts.DATASETS, "folder"}, datasets.LOADERS),
        (facts.STEPS, experiments.STEP_FUNCTIONS),
        (facts.LAUNCHERS, LAUNCHERS),
        (facts.OPTIMIZERS, training.OPTIMIZERS),
        (facts.LOSSES, training.LOSSES),
        (facts.MEASURES, MEASURES),
        (facts.MEASURES, MEASURE_FILES),
        (facts.MEASURES_OF_STEPS, [step for step in experiments.STEP_FUNCTIONS if step in facts.MEASURES_OF_STEPS]),
        (facts.ABLATION_ORDERS, [*ORDERS, "noise", "weights"]),
    ],
)
def test_names_are_those_of_the_registry(named, registry):
    assert sorted(named) == sorted(registry)


def test_steps_are_carried_out_in_the_order_of_their_names():
    assert list(facts.STEPS) == list(experiments.STEP_FUNCTIONS)


def test_every_measure_is_of_a_step():
    named = {name for names in facts.MEASURES_OF_STEPS.values() for name in names}
    assert named == set(MEASURES)
    assert set(MeasureConfig().dynamics) <= set(facts.MEASURES)


def test_the_draws_of_a_run_are_those_of_the_measures():
    """A run and a call without options give the same numbers."""
    for call, field in (("chunks", "chunk_draws"), ("reconstruction", "reconstruction_draws")):
        parameters = inspect.signature(getattr(tfunits.measures, call)).parameters
        assert parameters["draws"].default == getattr(MeasureConfig(), field)
    for name in ("draws", "levels", "standard_error", "protocol"):
        default = inspect.signature(tfunits.measures.ablation_curves).parameters[name].default
        assert default == getattr(MeasureConfig(), name)


@pytest.mark.parametrize("precision", facts.MOMENTS_PRECISIONS)
def test_every_precision_of_moments_is_one(precision):
    found = tfunits.measures.unit_statistics(build("mlp"), np.ones((20, 10), "float32"), precision=precision)
    assert found.taps["hidden"].num_rows == 20


@pytest.mark.parametrize("name", facts.INITIALIZERS)
def test_every_initializer_builds(name):
    assert np.asarray(make_initializer(name, seed=0)((4, 4))).std() > 0
    assert np.isfinite(build("mlp", initializer=name)(np.ones((1, 10), "float32"))).all()


@pytest.mark.parametrize("name", facts.OPTIMIZERS)
def test_every_optimizer_moves_weights_downhill(name):
    optimizer = training.make_optimizer(TrainingConfig(optimizer=name), 0.01)
    weight = keras.Variable([1.0])
    optimizer.build([weight])
    optimizer.apply([keras.ops.convert_to_tensor([1.0])])
    assert weight.numpy()[0] < 1


@pytest.mark.parametrize("name", facts.LOSSES)
def test_every_loss_is_smaller_for_the_right_label(name):
    outputs = keras.ops.convert_to_tensor([[-2.0, 2.0], [-2.0, 2.0]] if name == "cross_entropy" else [[2.0], [2.0]])
    right, wrong = training.LOSSES[name](keras.ops.convert_to_tensor([1, 0]), outputs).numpy()
    assert right < wrong


@pytest.mark.parametrize("name", facts.SCHEDULES)
def test_every_schedule_gives_a_rate_for_every_step(name):
    config = TrainingConfig(schedule=name, epochs=4, drop_epochs=(2,), learning_rate=0.5)
    rates = training.learning_rates(config, steps_per_epoch=3)
    assert rates.shape == (12,)
    assert rates[0] == 0.5
    assert (np.diff(rates) <= 0).all()
    assert (rates[-1] == rates[0]) == (name == "constant")


def test_what_is_drawn_and_how_is_as_the_facts_say():
    assert tuple(visualization.PARAMETERIZATIONS) == facts.PARAMS
    assert facts.VARIATIONS == statistics.images.READINGS
    parameters = inspect.signature(visualization.render).parameters
    for field, name in (("draw_steps", "steps"), ("draw_seed", "seed"), ("batch", "batch")):
        assert parameters[name].default == getattr(VisualizationConfig(), field)
    for known in facts.MODELS.values():
        assert set(known.blocks) <= set(known.base_widths)


def test_table_2_has_the_papers_blocks():
    """Casper et al. 2021: four of ResNet18, Conv4 and eleven modules of Inception-v3."""
    assert len(facts.MODELS["resnet18"].blocks) == 4
    assert len(facts.MODELS["inception_v3"].blocks) == 12


@pytest.mark.parametrize(("dataset", "known"), facts.DATASETS.items())
def test_every_form_of_images_is_known_with_its_shape(dataset, known):
    for form, shape in known.preprocessings.items():
        found = find_image_form(dataset, form)
        if len(shape) == 3:
            assert not found.is_vector
            assert (*found.shape[:2], found.shape[2] * found.copies) == shape
        elif found is not None:
            assert found.is_vector
            assert np.prod(found.shape) == shape[0]
        else:
            assert form in ("components10", "gaussian")


@pytest.mark.parametrize("size", [0.125, 0.7, 1.5])
@pytest.mark.parametrize("name", facts.MODELS)
def test_widths_of_taps_are_as_the_facts_say(name, size):
    with without_weights():
        graph = Graph(build(name, size))
    widths = {tap: graph.shape(key)[-1] for tap, key in tap_keys(graph).items()}
    assert widths == {tap: facts.MODELS[name].tap_width(tap, size) for tap in facts.MODELS[name].base_widths}


@pytest.mark.parametrize("name", facts.MODELS)
def test_the_smallest_size_leaves_every_layer_a_unit(name):
    smallest = facts.MODELS[name].smallest_size
    with without_weights():
        model = build(name, smallest)
    assert all(min(weight.shape, default=1) > 0 for weight in model.weights)
    with pytest.raises(ValueError, match=f"expected a width of at least one unit in every layer of {name}"):
        build(name, 0.99 * smallest)


@pytest.mark.parametrize("name", facts.MODELS)
def test_options_are_those_of_the_builder(name):
    values = {"layer_size": 0.5, "last_width": 3, "auxiliary_head": False, "unscaled_branch": False}
    for option, value in values.items():
        if option in facts.MODELS[name].options:
            with without_weights():
                plain, changed = build(name), build(name, **{option: value})
            shapes = [[tuple(weight.shape) for weight in model.weights] for model in (plain, changed)]
            assert shapes[0] != shapes[1]
        else:
            with pytest.raises(ValueError, match=f"{option}={value}: expected no such flag with --model={name}"):
                build(name, **{option: value})


@pytest.mark.parametrize("name", facts.MODELS)
def test_dropout_is_where_the_facts_say(name):
    if facts.MODELS[name].has_dropout:
        layers = build(name, dropout_rate=0.5).layers
        dropped = [layer for layer in layers if isinstance(layer, keras.layers.Dropout)]
        assert dropped
        assert all(isinstance(layer, ReplicaDropout) for layer in dropped)
    else:
        with pytest.raises(ValueError, match=f"dropout_rate: expected 0, since {name} has no dropout, received 0.5"):
            build(name, dropout_rate=0.5)
    assert not any(isinstance(layer, keras.layers.Dropout) for layer in build(name).layers)


@pytest.mark.parametrize("name", facts.MODELS)
def test_networks_read_the_inputs_and_give_the_outputs_that_the_facts_say(name):
    known = facts.MODELS[name]
    for kind in known.input_kinds:
        model = models.without_auxiliary_head(
            models.build(name, size=0.125, input_shape=INPUT_SHAPES[kind], num_classes=2)
        )
        assert model.output_shape == (None, 1 if known.binary_only else 2)
    assert known.default_dataset in facts.DATASETS
    assert facts.DATASETS[known.default_dataset].embedded


# The others are read from disk by tests/datasets/test_prepared.py.
EMBEDDED = {name: known for name, known in facts.DATASETS.items() if known.embedded}


@pytest.mark.parametrize(
    ("name", "preprocessing"), [(name, form) for name, known in EMBEDDED.items() for form in known.preprocessings]
)
def test_data_sets_are_as_the_facts_say(name, preprocessing):
    known = facts.DATASETS[name]
    options = {} if known.fixed_size else {"num_examples": 30, "test_examples": 20}
    data = datasets.load(name, preprocessing=preprocessing, **options)
    assert data.name == name
    assert data.input_shape == known.preprocessings[preprocessing]
    assert data.num_classes == known.num_classes
    counts = (known.num_train, known.num_validation, known.num_test) if known.fixed_size else (30, 30, 20)
    assert tuple(len(data.splits[split]) for split in facts.SPLITS) == counts
    for split in data.splits.values():
        assert split.inputs.shape[1:] == data.input_shape
        assert split.inputs.dtype == np.float32
        assert set(split.labels) <= set(range(known.num_classes))
    is_image = len(data.input_shape) == 3
    assert data.augmentable == (known.augmentable and is_image)


def test_the_default_preprocessing_is_the_first():
    for name in ("digits", "digits_parity"):
        first = next(iter(facts.DATASETS[name].preprocessings.values()))
        assert datasets.load(name).input_shape == first


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> str:
    """A folder of two classes, of which only names and sizes are looked at."""
    root = tmp_path_factory.mktemp("folder")
    for label in ("cat", "dog"):
        (root / label).mkdir()
        for number in range(400):
            (root / label / f"{number}.jpg").touch()
    return f"folder:{root}"


@pytest.mark.parametrize(("model", "dataset"), PRESETS)
def test_every_preset_resolves_and_builds_on_its_data(model, dataset, folder):
    config = resolve({
        "model": model, "dataset": folder if dataset == facts.FOLDER_PREFIX else dataset, "size": 0.25,
    })  # fmt: skip
    known = facts.find_dataset(config.data.dataset)
    assert known.preprocessings[config.data.preprocessing] == config.data.input_shape
    with without_weights():
        network = models.build(
            model,
            size=config.model.size,
            input_shape=config.data.input_shape,
            num_classes=config.data.num_classes,
            initializer=config.model.initializer,
        )
    assert network.input_shape[1:] == config.data.input_shape
    assert len(training.learning_rates(config.training, 2)) == 2 * config.training.epochs
    training.make_optimizer(config.training, 0.1)
    assert config.training.loss in training.LOSSES
    resolved = {**config.model.__dict__, **config.data.__dict__, **config.training.__dict__}
    named = resolved["regularizers"]
    for field, value in PRESETS[model, dataset].items():
        readers = {"weight_decay": "weight_decay", "dropout_rate": "dropout", "decayed_variables": "weight_decay"}
        off = readers.get(field, named[0]) not in named
        assert resolved[field] == (getattr(TrainingConfig, field) if off else value)


@pytest.mark.parametrize("name", facts.MODELS)
def test_batch_normalisation_is_where_the_facts_say(name):
    norms = [layer for layer in build(name).layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert bool(norms) == facts.MODELS[name].has_batch_norm


def test_every_network_has_a_preset_for_every_data_set_that_it_reads(folder):
    accepted = set()
    for model, dataset in itertools.product(facts.MODELS, (*facts.DATASETS, facts.FOLDER_PREFIX)):
        with contextlib.suppress(UserError):
            resolve({"model": model, "dataset": folder if dataset == facts.FOLDER_PREFIX else dataset})
            accepted.add((model, dataset))
    assert accepted == set(PRESETS)


# FACTS 4.1: neither convolutions nor the output nor biases; 4.3: everything but batch normalisation; 14.2: everything.
DECAYED = {
    "alexnet": r"fc[34]/kernel",
    "densenet40": r".*",
    "fc5": r".*",
    "inception_v3": r".*/kernel",
    "resnet18": r"(?!.*_bn/).*",
    "resnet50": r"(?!.*_bn/).*",
    "resnet56": r".*",
    "wide_resnet28": r".*",
}


@pytest.mark.parametrize(
    ("model", "dataset"),
    [(m, d) for (m, d), preset in PRESETS.items() if preset.get("weight_decay") and d != facts.FOLDER_PREFIX],
)
def test_presets_decay_the_variables_of_the_recipe(model, dataset):
    config = resolve({"model": model, "dataset": dataset, "regularizers": ("weight_decay",)})
    assert config.training.weight_decay == PRESETS[model, dataset]["weight_decay"]
    with without_weights():
        network = build(model)
    received = [variable.path for variable in decayed_variables(network, config.training.decayed_variables)]
    assert received == [v.path for v in network.trainable_variables if re.fullmatch(DECAYED[model], v.path)]


REQUIRED = inspect.Parameter.empty
# Calls that users write -> their first arguments, and keywords with their defaults (DESIGN section 2).
CALLS = {
    "models.build": (
        ["name"],
        {"size": 1, "input_shape": REQUIRED, "num_classes": REQUIRED, "initializer": None, "layer_size": None},
    ),
    "models.count_parameters": (["name"], {"size": REQUIRED, "input_shape": REQUIRED, "num_classes": REQUIRED}),
    "models.without_auxiliary_head": (["model"], {}),
    "models.taps": (["model"], {}),
    "surgery.find_taps": (["model"], {}),
    "surgery.read": (["model"], {}),
    "surgery.mask": (["model"], {}),
    "surgery.after": (["model"], {}),
    "surgery.remove_units": (["model", "layers"], {"coupled": "remove", "masked_at": "reader"}),
    "surgery.keep_units": (["model", "layers"], {}),
    "surgery.coupled_units": (["model", "layer"], {}),
    "surgery.fold_units": (["model", "layer", "keep", "remove", "data"], {}),
    "surgery.factorize": (["model", "layer", "num_components", "data"], {"basis": "units"}),
    "surgery.widen": (["model", "how"], {}),
    "surgery.chunk": (["model"], {}),
    "thinning.thin": (["model", "data"], {"agreement": 0.99}),
    "datasets.load": (["name"], {"data_seed": 0, "data_dir": None}),
    "training.fit": (["model", "data", "config"], {"run_dir": None, "strategy": None}),
    "measures.ablation_curves": (["model", "data"], {}),
    "measures.prunability": (["model", "data"], {}),
    "measures.redundancy": (["model", "data"], {}),
    "measures.similarity": (["model", "data"], {}),
    "measures.report": (["model", "data"], {}),
    "visualization.render": (["model", "objective"], {"param": None, "steps": 256}),
    "visualization.total_variation": (["image"], {}),
    "statistics.permutation_test": (["thin", "wide"], {}),
    "reports.load": (["run_root"], {"dynamics": False}),
    "load": (["run_or_file"], {"epoch": None}),
}  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_public_calls_keep_their_arguments(call):
    function = functools.reduce(getattr, call.split("."), tfunits)
    parameters = inspect.signature(function).parameters
    first, keywords = CALLS[call]
    assert list(parameters)[: len(first)] == first
    for keyword, default in keywords.items():
        assert parameters[keyword].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters[keyword].default == default


def test_a_loaded_data_set_has_what_users_read():
    data = datasets.load("digits", preprocessing="vector64")
    assert list(inspect.signature(data.epoch).parameters)[:3] == ["epoch", "seed", "batch_size"]
    for split in (data.train, data.validation, data.test):
        inputs, labels = next(iter(split))
        assert inputs.shape[1:] == data.input_shape
        assert labels.shape == inputs.shape[:1]


def test_folders_load_lazily_and_by_name():
    for folder in tfunits.__all__:
        assert getattr(tfunits, folder) is not None
    with pytest.raises(AttributeError, match="module 'tfunits' has no attribute 'nothing'"):
        _ = tfunits.nothing
