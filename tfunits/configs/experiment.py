"""What an experiment is: one frozen dataclass per concern, validated when made."""

import dataclasses
import math
import re
from collections.abc import Iterable
from typing import Any

from tfunits.configs import facts
from tfunits.configs.errors import UserError, reject
from tfunits.configs.exporting import check_export
from tfunits.configs.folders import list_images
from tfunits.configs.keeping import parse_keep_rule
from tfunits.configs.margins import MARGIN_NAMES, parse_margins
from tfunits.configs.options import check_fields, option
from tfunits.configs.shards import parse_shard

# Four levels, each of half the side.
_SMALLEST_PYRAMID = 8
# scikit-learn's seeds hold 32 bits.
LARGEST_SEED = 2**32 - 1
# Far beyond any network that fits a machine; keeps products of widths finite.
_LARGEST_FACTOR = 1e6


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Which network, how wide, and how its weights start."""

    model: str = option(
        "alexnet",
        "network: " + ", ".join(facts.MODELS) + "; or file:PATH.keras, a functional model of your own (measured only)",
    )
    size: float = option(
        1.0, "width multiplier: every hidden layer has int(base * size) units", above=0, maximum=_LARGEST_FACTOR
    )
    initializer: str | None = option(
        None, "distribution of the initial weights, of every layer; the network's own if not given",
        choices=facts.INITIALIZERS,
    )  # fmt: skip
    init_scale: float = option(1.0, "factor on the standard deviation of the initial weights", above=0)
    layer_size: float | None = option(
        None, "inception_v3: width multiplier of its block mixed_35x35x288b alone; --size is that of all others",
        above=0, maximum=_LARGEST_FACTOR,
    )  # fmt: skip
    last_width: int | None = option(
        None,
        "wide_resnet28, densenet40, resnet50: units of the last hidden layer, whatever the size, by a 1x1 convolution "
        "and batch normalisation before the pooling",
        minimum=1,
        maximum=_LARGEST_FACTOR,
    )
    auxiliary_head: bool | None = option(
        None, "inception_v3: whether it is trained with its second head, as the published parameter counts are (true)"
    )
    unscaled_branch: bool | None = option(
        None,
        "inception_v3: whether a convolution of mixed_17x17x768d has 192 filters at every size, as in the authors' "
        "program and the published parameter counts (true)",
    )
    model_file_sha256: str | None = option(None, "SHA-256 of a file: model; filled in when the run is resolved")

    def __post_init__(self) -> None:
        check_fields(self)
        if self.model.startswith(facts.FILE_PREFIX):
            return
        if self.model not in facts.MODELS:
            raise reject("model", self.model, "one of " + ", ".join(facts.MODELS) + ", or file:PATH.keras")
        known = facts.MODELS[self.model]
        for name in facts.MODEL_OPTIONS:
            if getattr(self, name) is not None and name not in known.options:
                owners = ", ".join(model for model, other in facts.MODELS.items() if name in other.options)
                raise reject(name, getattr(self, name), f"no such flag with --model={self.model}", f"for {owners}")
        self._check_widths("size", known.base_widths)
        if self.layer_size is not None:
            self._check_widths("layer_size", [facts.VARIED_BLOCK])

    def _check_widths(self, factor: str, taps: Iterable[str]) -> None:
        """Raise `UserError` if a width multiplier leaves a layer without units."""
        value = getattr(self, factor)
        tap, units = facts.MODELS[self.model].narrowest_layer(taps)
        if int(units * value) < 1:
            raise reject(
                factor, f"{value:g}", f"a width of at least one unit in every layer of {self.model}",
                f"{tap} would have int({units} * {value:g}) = 0 units; "
                # Rounded up, so that the number as printed is enough.
                f"use --{factor}={math.ceil(1e6 / units) / 1e6:g} or more",
            )  # fmt: skip

    @property
    def is_file(self) -> bool:
        """Whether the network is a user's own file."""
        return self.model.startswith(facts.FILE_PREFIX)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which examples, and with which labels."""

    dataset: str = option(
        "digits",
        "data set: " + ", ".join(facts.DATASETS) + "; or folder:PATH, your own images in one sub-folder a class; the "
        "network's embedded one if not given",
    )
    preprocessing: str | None = option(None, "form of the inputs; the network's own if not given")
    num_examples: int | None = option(
        None, "number of training examples (generated data: 1000 if not given)", minimum=1
    )
    test_examples: int | None = option(None, "number of test examples of generated data (1000 if not given)", minimum=1)
    validation_examples: int | None = option(
        None, "how many of the training images of CIFAR, MNIST or ImageNet are the validation set", minimum=0
    )
    split: str = option(
        "random",
        "validation images are drawn from the data seed, or are the last in the order of the files (the authors' rule)",
        choices=facts.SPLIT_RULES,
    )
    background_class: bool = option(
        False, "labels count from 1, with a class 0 that no image has, as in the official ImageNet networks"
    )
    random_labels: bool = option(
        False, "replace training and validation labels by uniform draws; test labels stay true"
    )
    data_seed: int = option(0, "seed of the split, the random labels and the teacher", minimum=0, maximum=LARGEST_SEED)
    folder_sha256: str | None = option(None, "SHA-256 of a folder's listing; filled in from the folder")
    folder_counts: tuple[int, ...] | None = option(
        None, "classes, training, validation and test images of a folder; filled in from the folder",
        minimum=0, plain_list=True,
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_fields(self)
        if self.is_folder:
            self._fill_in_folder()
        known = self.dataset_facts
        if self.preprocessing is not None and self.preprocessing not in known.preprocessings:
            raise reject(
                "preprocessing", self.preprocessing, f"one of {', '.join(known.preprocessings)} for {self.dataset}"
            )
        if known.fixed_size and self.test_examples is not None:
            raise reject(
                "test_examples", self.test_examples, f"no such flag with --dataset={self.dataset}",
                f"its test set has {known.num_test} examples; leave the flag out",
            )  # fmt: skip
        for name, is_default in (("validation_examples", self.validation_examples is None),
                                 ("split", self.split == "random")):  # fmt: skip
            if not known.adjustable and not is_default:
                raise reject(name, getattr(self, name), f"no such flag with --dataset={self.dataset}")
        if known.adjustable and self.num_validation >= known.num_train + known.num_validation:
            raise reject(
                "validation_examples", self.validation_examples,
                f"fewer than the {known.num_train + known.num_validation} training images of {self.dataset}",
            )  # fmt: skip
        if known.fixed_size and (self.num_examples or 0) > self._largest_train:
            raise reject(
                "num_examples", self.num_examples,
                f"at most the {self._largest_train} training examples of {self.dataset}",
            )  # fmt: skip

    def _fill_in_folder(self) -> None:
        """Take listing and numbers from the folder, unless they are there: a stored run needs no folder."""
        if self.folder_sha256 is None or self.folder_counts is None:
            folder = list_images(self.dataset.removeprefix(facts.FOLDER_PREFIX))
            object.__setattr__(self, "folder_sha256", folder.fingerprint())
            object.__setattr__(self, "folder_counts", facts.count_folder(folder))
        elif len(self.folder_counts) != 4:
            raise UserError(f"folder_counts: expected four numbers, received {len(self.folder_counts)}")

    @property
    def is_folder(self) -> bool:
        """Whether the images are a user's own folder."""
        return self.dataset.startswith(facts.FOLDER_PREFIX)

    @property
    def dataset_facts(self) -> facts.DatasetFacts:
        """What is known of the data set, without a look at its files."""
        return facts.folder_facts(self.folder_counts) if self.is_folder else facts.find_dataset(self.dataset)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one preprocessed example."""
        forms = self.dataset_facts.preprocessings
        return forms[self.preprocessing or next(iter(forms))]

    @property
    def num_classes(self) -> int:
        """Number of labels, with the background class."""
        return self.dataset_facts.num_classes + self.background_class

    @property
    def num_train(self) -> int:
        """Number of training examples."""
        if not self.dataset_facts.fixed_size:
            return self.num_examples or DEFAULT_GENERATED_EXAMPLES
        return self.num_examples or self._largest_train

    @property
    def num_validation(self) -> int:
        """Number of validation examples; generated data have as many as for training."""
        known = self.dataset_facts
        if not known.fixed_size:
            return self.num_train
        return known.num_validation if self.validation_examples is None else self.validation_examples

    @property
    def num_test(self) -> int:
        """Number of test examples."""
        if not self.dataset_facts.fixed_size:
            return self.test_examples or DEFAULT_GENERATED_EXAMPLES
        return self.dataset_facts.num_test

    @property
    def _largest_train(self) -> int:
        known = self.dataset_facts
        return known.num_train + known.num_validation - self.num_validation


# Casper et al. 2021, section 4: 1,000 training examples by default; the test set of generated data is always 1,000.
DEFAULT_GENERATED_EXAMPLES = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a network is trained. Every field enters the run's identity."""

    seed: int = option(
        0, "seed of initial weights, order of examples, dropout and augmentation", minimum=0, maximum=LARGEST_SEED
    )
    loss: str = option("cross_entropy", "training loss", choices=facts.LOSSES)
    label_smoothing: float = option(
        0.0, "share of every label that is spread evenly over all classes", minimum=0, maximum=1
    )
    optimizer: str = option("momentum", "optimiser", choices=facts.OPTIMIZERS)
    learning_rate: float = option(0.01, "initial learning rate, before the factor k", above=0)
    momentum: float = option(0.9, "momentum of the momentum optimiser", minimum=0, maximum=1)
    rmsprop_momentum: float = option(0.0, "momentum of rmsprop", minimum=0, maximum=1)
    rmsprop_epsilon: float = option(1e-10, "constant of rmsprop, inside its square root", above=0)
    schedule: str = option("constant", "learning rate over time", choices=facts.SCHEDULES)
    warmup_epochs: float = option(0.0, "epochs in which the learning rate grows linearly from 0", minimum=0)
    decay_rate: float = option(0.95, "factor per --decay_epochs of the exponential schedule", above=0, maximum=1)
    decay_epochs: int = option(1, "epochs between two factors of the exponential schedule", minimum=1)
    drop_epochs: tuple[float, ...] | None = option(
        None, "epochs at which the piecewise schedule drops", above=0, plain_list=True
    )
    drop_factor: float = option(0.1, "factor at each drop of the piecewise schedule", above=0, maximum=1)
    schedule_examples: int | None = option(
        None, "examples that an epoch of the piecewise schedule counts; the training examples if not given", minimum=1
    )
    final_learning_rate: float = option(0.0, "learning rate at the end of the cosine schedule", minimum=0)
    regularizers: tuple[str, ...] = option(
        ("none",),
        "none, all, or names joined by +: augmentation, dropout, weight_decay",
        choices=("none", "all", *facts.REGULARIZERS),
        plain_list=True,
    )
    weight_decay: float = option(0.0, "wd in the penalty wd * sum(w^2) / 2 of the training loss", minimum=0)
    weight_decay_choices: tuple[float, ...] | None = option(
        None, "weight decays to train with, of which validation chooses one", minimum=0, plain_list=True
    )
    decayed_variables: str = option(".*", "regular expression: paths of the variables in the penalty")
    dropout_rate: float = option(0.0, "share of units dropped in training", minimum=0, maximum=1)
    batch_size: int = option(128, "examples per step over all devices, before the factor k", minimum=1)
    epochs: int = option(10, "passes over the training data; 0 measures the untrained network", minimum=0)
    k: float = option(1.0, "factor on both the batch size and the learning rate", above=0, maximum=_LARGEST_FACTOR)
    shuffle: bool = option(True, "a new order of the training examples every epoch; else that of the files")
    monitor: str = option(
        "validation", "examples whose accuracy decides which epoch is the best", choices=facts.MONITORS
    )
    patience: int | None = option(None, "stop after this many epochs without a better accuracy", minimum=1)
    stop_accuracy: float | None = option(None, "stop at this accuracy of --monitor", above=0, maximum=1)
    measured_weights: str = option(
        "last", "weights that are measured: of the last or of the best epoch", choices=facts.MEASURED_WEIGHTS
    )
    average_decay: float = option(
        0.0, "decay of the moving average of the weights that is validated and measured; 0 for none",
        minimum=0, maximum=1,
    )  # fmt: skip
    precision: str = option("float32", "precision of the network's arithmetic", choices=facts.PRECISIONS)

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("momentum", "dropout_rate", "rmsprop_momentum", "average_decay", "label_smoothing"):
            if getattr(self, name) == 1:
                raise reject(name, 1, "a number below 1")
        if self.effective_batch_size < 1:
            raise reject(
                "k", f"{self.k:g}", "a factor that leaves at least one example in a batch",
                f"int({self.batch_size} * {self.k:g}) = 0; raise --k or --batch_size",
            )  # fmt: skip
        try:
            re.compile(self.decayed_variables)
        except re.error as error:
            raise reject("decayed_variables", self.decayed_variables, f"a regular expression ({error})") from None
        if self.schedule == "piecewise" and self.drop_epochs is None:
            raise reject("schedule", self.schedule, "--drop_epochs beside it", "add e.g. --drop_epochs=30,60")

    @property
    def effective_batch_size(self) -> int:
        """Examples per step, with the factor k."""
        return int(self.batch_size * self.k)

    @property
    def effective_learning_rate(self) -> float:
        """Initial learning rate, with the factor k."""
        return self.learning_rate * self.k


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeasureConfig:
    """How a trained network is measured. No field enters the run's identity."""

    measured_splits: tuple[str, ...] = option(
        ("test",), "splits that are measured", choices=facts.SPLITS, plain_list=True
    )
    measured_examples: int | None = option(
        None, "only the first so many examples of each split are measured, accuracy included", minimum=1
    )
    ablation_unit: tuple[str, ...] = option(
        ("channel",),
        "what one unit of a convolution is in an ablation: a channel, or each location of it",
        choices=facts.ABLATION_UNITS,
        plain_list=True,
    )
    protocol: str = option(
        "exact",
        "exact definitions, or the authors' rules: nominal levels, one redundant unit more, constant units count -1, "
        "no first doubling in redundancy's gain",
        choices=facts.PROTOCOLS,
    )
    ablation_order: tuple[str, ...] = option(
        ("random",),
        "what is ablated first: random units; targeted, those most correlated with a random one; those of least "
        "l1_norm of incoming weights, mean_activation or largest zero_share; or noise on activations, or weights",
        choices=facts.ABLATION_ORDERS,
        plain_list=True,
    )
    draws: int = option(3, "random orders per ablation curve", minimum=1)
    standard_error: float | None = option(
        None, "draw further orders until the mean agreement's standard error is at most this (100 at most)", above=0
    )
    levels: int = option(7, "points of an ablation curve, from no unit to all", minimum=2)
    tolerance: float = option(
        0.2, "a unit is prunable while the share of changed predictions is at most this", above=0, maximum=1
    )
    variance_fraction: float = option(
        0.95, "share of the variance that non-redundant components hold", above=0, maximum=1
    )
    similarity_threshold: float = option(0.5, "|r| from which two units are similar", above=0, maximum=1)
    max_rows: int | None = option(50_000, "rows sampled per tap and sampling; 0 reads all of them", minimum=0)
    samplings: int = option(3, "independent samplings of rows, averaged", minimum=1)
    moments_precision: str = option(
        "float32", "in which centred activations are multiplied; sums are in float64", choices=facts.MOMENTS_PRECISIONS
    )
    chunk_draws: int = option(500, "random chunks of every size of the last hidden layer", minimum=1)
    reconstruction_draws: int = option(100, "chunks of every size from which the layer is reconstructed", minimum=1)
    dynamics: tuple[str, ...] = option(
        ("accuracy", "units", "chunks", "reconstruction"),
        "what the step dynamics measures at every kept epoch",
        choices=facts.MEASURES,
        plain_list=True,
    )
    measure_seed: int = option(0, "seed of ablation orders and sampled rows", minimum=0, maximum=LARGEST_SEED)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.standard_error is not None and self.draws < 2:
            raise reject("draws", self.draws, "at least 2 with --standard_error, which one draw does not have")


@dataclasses.dataclass(frozen=True, kw_only=True)
class VisualizationConfig:
    """What is drawn of a trained network, and how. No field enters the run's identity."""

    taps: tuple[str, ...] = option(
        ("all",), "taps of which units are drawn: all, blocks (those of the AAAI paper's table 2), or names",
        plain_list=True,
    )  # fmt: skip
    units: tuple[int, ...] | None = option(
        None, "units of every tap that are drawn; --num_units random ones if not given", minimum=0, plain_list=True
    )
    num_units: int = option(8, "random units of every tap that are drawn", minimum=1)
    image_size: int | None = option(
        None, "side of the images in pixels; the network's own, at most 128, if not given", minimum=2
    )
    draw_steps: int = option(256, "steps of gradient ascent", minimum=0)
    draw_seed: int = option(0, "seed of units, starts and transforms", minimum=0, maximum=LARGEST_SEED)
    param: str = option("fft", "what images are made of: a spectrum, pixels, or a pyramid", choices=facts.PARAMS)
    transforms: str = option("standard", "random changes in every step: Lucid's, or none", choices=facts.TRANSFORMS)
    batch: int = option(64, "images that are optimised at once, which bounds the memory", minimum=1)
    variation: str = option(
        "absolute",
        "total variation: sum of absolute differences, or the paper's equation as printed (absolute values of sums)",
        choices=facts.VARIATIONS,
    )
    num_shuffles: int | None = option(
        None,
        "shuffles of the permutation test; if not given, it is exact up to a million splits, else 100,000",
        minimum=1,
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.units is not None and len(set(self.units)) < len(self.units):
            raise reject("units", self.units, "every unit once")
        if self.param == "laplacian" and self.image_size is not None and self.image_size < _SMALLEST_PYRAMID:
            raise reject("image_size", self.image_size, f"at least {_SMALLEST_PYRAMID} pixels with --param=laplacian")

    def drawing_settings(self, tap: str) -> dict[str, Any]:
        """What decides the images of a tap, and names their files."""
        units = {"num_units": self.num_units} if self.units is None else {"units": list(self.units)}
        named = ("image_size", "draw_steps", "draw_seed", "param", "transforms")
        return {"tap": tap, **units, **{name: getattr(self, name) for name in named}}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExecutionConfig:
    """Where and how runs are carried out; no field is in the identity."""

    steps: tuple[str, ...] | None = option(
        None, "steps to carry out (train,measure,report if not given; measure,report for a file: model)",
        choices=facts.STEPS, plain_list=True,
    )  # fmt: skip
    run_root: str = option("runs", "folder of the run directories")
    data_dir: str | None = option(
        None, "folder of prepared data; tensorflow-datasets' own, ~/tensorflow_datasets, if not given"
    )
    download: bool = option(False, "let tensorflow-datasets fetch and prepare what is missing")
    save: str = option(
        "all",
        "what a finished run keeps: metrics; best (the measured weights); all (best and last weights, last checkpoint)",
        choices=facts.SAVE,
    )
    num_devices: int | None = option(
        None, "devices to train on: that many GPUs, or logical CPU devices; all GPUs or one CPU if not given", minimum=1
    )
    deterministic: bool | None = option(
        None, "equal runs give equal bits; slower on GPUs, where it is off if not given; on for CPUs"
    )
    keep_epochs: tuple[str, ...] | None = option(
        None, "epochs whose checkpoints stay: numbers, lastN, everyN, e.g. 1,2,5,last8,every10", plain_list=True
    )
    export: str | None = option(
        None, "file into which every number of the runs goes as one table at the end: .parquet, .csv or .json"
    )
    margins: tuple[str, ...] | None = option(
        None,
        "with --figure: what its claims count as the same, e.g. gain=0.3,accuracy=0.01; ours if not given; names: "
        + ", ".join(MARGIN_NAMES),
        plain_list=True,
    )  # fmt: skip
    checkpoint_seconds: float = option(
        10.0, "seconds after which an unfinished training's state is written again; 0 writes it after every epoch",
        minimum=0,
    )  # fmt: skip
    worker_timeout: float = option(
        300.0, "seconds that a worker of several machines (TF_CONFIG) waits for the others to start", above=0
    )
    launcher: str = option(
        "local", "where the runs of a grid are carried out: on this machine, or as tasks of a Ray cluster",
        choices=facts.LAUNCHERS,
    )  # fmt: skip
    num_workers: int | None = option(
        None,
        "local: processes that work on a grid together; one a GPU, or one for every two cores, as far as memory "
        "reaches, if not given",
        minimum=1,
    )
    shard: str | None = option(None, "part of the grid, e.g. 3/40 for the third of forty; all of it if not given")
    ray_address: str | None = option(
        None, "ray: host:port of a cluster's head, or auto for the one of this machine; one is started if not given"
    )
    cpus_per_task: int | None = option(None, "ray: CPU cores of a task (1 if not given)", minimum=1)
    gpus_per_task: float | None = option(
        None, "ray: GPUs of a task, or a share of one; 1 where the cluster has any, if not given", minimum=0
    )

    def __post_init__(self) -> None:
        check_fields(self)
        parse_keep_rule(self.keep_epochs or ())
        parse_margins(self.margins or ())
        if self.export is not None:
            check_export(self.export)
        parse_shard(self.shard)
        if self.shard is not None and self.export is not None:
            raise reject("export", self.export, f"no --shard={self.shard}", "export with the command that reports all")
        others = ("num_workers",) if self.launcher == "ray" else ("ray_address", "cpus_per_task", "gpus_per_task")
        for name in others:
            if getattr(self, name) is not None:
                raise reject(name, getattr(self, name), f"no such flag with --launcher={self.launcher}")
        gpus = self.gpus_per_task or 0
        if gpus > 1 and gpus != int(gpus):
            raise reject("gpus_per_task", gpus, "a share of one GPU, or a whole number of them")
        if gpus and (self.num_devices or 1) > max(gpus, 1):
            raise reject("num_devices", self.num_devices, f"at most --gpus_per_task={gpus:g} devices")

    @property
    def only_reports(self) -> bool:
        """Whether nothing is trained or measured: `--steps=report`."""
        return set(self.steps or ()) == {"report"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExperimentConfig:
    """One network, one data set, one training, and what is measured and drawn of it."""

    model: ModelConfig
    data: DataConfig
    training: TrainingConfig
    measure: MeasureConfig = dataclasses.field(default_factory=MeasureConfig)
    visualization: VisualizationConfig = dataclasses.field(default_factory=VisualizationConfig)
