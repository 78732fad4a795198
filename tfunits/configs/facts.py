"""Every name and fact that a flag is checked against, kept free of TensorFlow.

`tests/test_contracts.py` compares them with the registries of `tfunits.models`, `tfunits.datasets` and
`tfunits.experiments`, so that a flag is answered in a fraction of a second and never lies.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from tfunits.configs.errors import reject
from tfunits.configs.folders import Folder, list_images


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What a configuration must know of a network.

    Attributes:
      papers_dataset: the data set on which the papers trained it, in words.
      papers_dataset_name: the `--dataset` name of that data.
      default_dataset: embedded data used when `--dataset` is not given.
      base_widths: tap -> units at size 1, one number for each part that is joined there.
      input_kinds: kinds of input it reads, of "vector" and "image".
      inner_widths: tap -> units at size 1 of layers inside its block, where they are fewer.
      fixed_units: tap -> further units that no size changes.
      largest_widths: tap -> units that no size exceeds.
      blocks: taps at the ends of blocks, in which the papers' table 2 compares widths; all if there are none.
      options: fields of `ModelConfig` beside the size that only some networks have.
      has_dropout: whether it has dropout layers.
      has_batch_norm: whether it has batch normalisation.
      binary_only: whether it has one output and therefore needs two classes.
    """

    papers_dataset: str
    papers_dataset_name: str
    default_dataset: str
    base_widths: Mapping[str, tuple[int, ...]]
    input_kinds: tuple[str, ...]
    inner_widths: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    fixed_units: Mapping[str, int] = dataclasses.field(default_factory=dict)
    largest_widths: Mapping[str, int] = dataclasses.field(default_factory=dict)
    blocks: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    has_dropout: bool = False
    has_batch_norm: bool = False
    binary_only: bool = False

    @property
    def smallest_size(self) -> float:
        """The smallest size that leaves a unit in every part of every layer."""
        return 1 / self.narrowest_layer(self.base_widths)[1]

    def narrowest_layer(self, taps: Iterable[str]) -> tuple[str, int]:
        """The first of some taps with the fewest units at size 1, in one of its parts or inside its block; how many."""
        widths = ((tap, units) for tap in taps for units in self.base_widths[tap] + self.inner_widths.get(tap, ()))
        return min(widths, key=lambda pair: pair[1])

    def tap_width(self, tap: str, size: float) -> int:
        """Units of a tap at a size: int(base * size) of every part."""
        units = sum(int(base * size) for base in self.base_widths[tap]) + self.fixed_units.get(tap, 0)
        return min(units, self.largest_widths.get(tap, units))


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """What a configuration must know of a data set.

    Attributes:
      description: what it is, for the first line of a run.
      embedded: whether it needs neither files nor a network.
      preprocessings: name of a preprocessing -> input shape it gives, the default first.
      num_classes: number of labels.
      num_train, num_validation, num_test: examples per split; None where flags decide.
      augmentable: whether label-preserving augmentation is defined for its images.
      prepared: name under which tensorflow-datasets prepares it; None for embedded data and folders.
      adjustable: whether flags decide how many of its training images are validation.
    """

    description: str
    embedded: bool
    preprocessings: Mapping[str, tuple[int, ...]]
    num_classes: int
    num_train: int | None = None
    num_validation: int | None = None
    num_test: int | None = None
    augmentable: bool = False
    prepared: str | None = None
    adjustable: bool = False

    @property
    def fixed_size(self) -> bool:
        """Whether the data set has a given number of examples (else flags decide)."""
        return self.num_train is not None


# Widths of the branches of Inception-v3's blocks (Szegedy et al. 2016, as the authors' program builds them, FACTS 1).
_INCEPTION_35_A = (64, 64, 96, 32)
_INCEPTION_35_B = (64, 64, 96, 64)
_INCEPTION_17_A = (384, 96, *_INCEPTION_35_B)
_INCEPTION_17_B = (192, 192, 192, 192)
_INCEPTION_8_A = (320, 192, *_INCEPTION_17_B)
_INCEPTION_8_B = (320, 384, 384, 384, 384, 192)

# The block of inception_v3 that --layer_size varies.
VARIED_BLOCK = "mixed_35x35x288b"

# Base widths: Casper et al. 2021, appendix A, as their program builds them; Doimo et al. 2022 for fc5, wide_resnet28,
# densenet40 and resnet50 (FACTS 1, 2, 14).
MODELS: Mapping[str, ModelFacts] = MappingProxyType(
    {
        "alexnet": ModelFacts(
            papers_dataset="CIFAR-10",
            papers_dataset_name="cifar10",
            default_dataset="digits",
            base_widths={"conv1": (96,), "conv2": (256,), "fc3": (384,), "fc4": (192,)},
            input_kinds=("image",),
            has_dropout=True,
        ),
        "densenet40": ModelFacts(
            papers_dataset="CIFAR-10",
            papers_dataset_name="cifar10",
            default_dataset="digits",
            # Growth is half of the first width; transitions halve.
            base_widths={
                "stem": (16,),
                "stage1": (16, *6 * (8,)),
                "stage2": (32, *6 * (8,)),
                "stage3": (40, *6 * (8,)),
                "pooled": (40, *6 * (8,)),
            },
            input_kinds=("image",),
            options=("last_width",),
            has_batch_norm=True,
        ),
        "fc5": ModelFacts(
            papers_dataset="MNIST parity on ten principal components",
            papers_dataset_name="mnist_parity",
            default_dataset="digits_parity",
            base_widths={"hidden1": (128,), "hidden2": (128,), "hidden3": (128,), "hidden4": (128,)},
            input_kinds=("vector",),
            binary_only=True,
        ),
        "inception_v3": ModelFacts(
            papers_dataset="ImageNet",
            papers_dataset_name="imagenet2012",
            default_dataset="digits",
            base_widths={
                "conv0": (32,),
                "conv1": (32,),
                "conv2": (64,),
                "conv3": (80,),
                "conv4": (192,),
                "mixed_35x35x256a": _INCEPTION_35_A,
                "mixed_35x35x288a": _INCEPTION_35_B,
                VARIED_BLOCK: _INCEPTION_35_B,
                "mixed_17x17x768a": _INCEPTION_17_A,
                "mixed_17x17x768b": _INCEPTION_17_B,
                "mixed_17x17x768c": _INCEPTION_17_B,
                "mixed_17x17x768d": _INCEPTION_17_B[:-1],
                "mixed_17x17x768e": _INCEPTION_17_B,
                "mixed_17x17x1280a": _INCEPTION_8_A,
                "mixed_8x8x2048a": _INCEPTION_8_B,
                "mixed_8x8x2048b": _INCEPTION_8_B,
            },
            input_kinds=("image",),
            inner_widths={VARIED_BLOCK: (48,)},
            # The authors' program does not scale the convolution behind this block's pooling.
            fixed_units={"mixed_17x17x768d": 192},
            blocks=(
                *("conv4", "mixed_35x35x256a", "mixed_35x35x288a", VARIED_BLOCK, "mixed_17x17x768a"),
                *("mixed_17x17x768b", "mixed_17x17x768c", "mixed_17x17x768d", "mixed_17x17x768e"),
                *("mixed_17x17x1280a", "mixed_8x8x2048a", "mixed_8x8x2048b"),
            ),
            options=("layer_size", "auxiliary_head", "unscaled_branch"),
            has_dropout=True,
            has_batch_norm=True,
        ),
        "mlp": ModelFacts(
            papers_dataset="uncorrelated Gaussian inputs labelled by a random teacher",
            papers_dataset_name="uncorrelated10 or uncorrelated10000",
            default_dataset="digits",
            base_widths={"hidden": (128,)},
            input_kinds=("vector", "image"),
        ),
        "resnet18": ModelFacts(
            papers_dataset="ImageNet",
            papers_dataset_name="imagenet2012",
            default_dataset="digits",
            base_widths={"stem": (64,), "stage1": (64,), "stage2": (128,), "stage3": (256,), "stage4": (512,)},
            input_kinds=("image",),
            blocks=("stage1", "stage2", "stage3", "stage4"),
            has_batch_norm=True,
        ),
        "resnet50": ModelFacts(
            papers_dataset="ImageNet",
            papers_dataset_name="imagenet2012",
            default_dataset="digits",
            base_widths={
                "stem": (),
                "stage1": (256,),
                "stage2": (512,),
                "stage3": (1024,),
                "stage4": (2048,),
                "pooled": (2048,),
            },
            input_kinds=("image",),
            inner_widths={"stage1": (64,)},
            fixed_units={"stem": 64},
            options=("last_width",),
            has_batch_norm=True,
        ),
        "resnet56": ModelFacts(
            papers_dataset="CIFAR-10",
            papers_dataset_name="cifar10",
            default_dataset="digits",
            base_widths={"stem": (16,), "stage1": (16,), "stage2": (32,), "stage3": (64,)},
            input_kinds=("image",),
            has_batch_norm=True,
        ),
        "wide_resnet28": ModelFacts(
            papers_dataset="CIFAR-10",
            papers_dataset_name="cifar10",
            default_dataset="digits",
            base_widths={"stem": (16,), "stage1": (16,), "stage2": (32,), "stage3": (64,), "pooled": (64,)},
            input_kinds=("image",),
            # Widening leaves the stem as it is; sizes below 1 are a thinner stem with no widening.
            largest_widths={"stem": 16},
            options=("last_width",),
            has_batch_norm=True,
        ),
    }
)

# 1,797 digits, stratified 60/10/30 (DESIGN section 5).
_DIGITS_SPLIT = {"num_train": 1078, "num_validation": 180, "num_test": 539}
_CIFAR = {
    "embedded": False,
    "preprocessings": {
        "image32": (32, 32, 3), "crop28": (32, 32, 3), "normalized32": (32, 32, 3), "vector3072": (3072,)
    },
    "num_train": 45_000,
    "num_validation": 5_000,
    "num_test": 10_000,
    "augmentable": True,
    "adjustable": True,
}  # fmt: skip
_MNIST = {
    "embedded": False,
    "num_train": 55_000,
    "num_validation": 5_000,
    "num_test": 10_000,
    "prepared": "mnist",
    "adjustable": True,
}

DATASETS: Mapping[str, DatasetFacts] = MappingProxyType(
    {
        "digits": DatasetFacts(
            description="scikit-learn's 1,797 handwritten digits, real images of 8x8 pixels",
            embedded=True,
            preprocessings={"image32": (32, 32, 3), "image8": (8, 8, 1), "vector64": (64,)},
            num_classes=10,
            augmentable=True,
            **_DIGITS_SPLIT,
        ),
        "digits_parity": DatasetFacts(
            description="odd or even, from ten principal components of scikit-learn's handwritten digits",
            embedded=True,
            preprocessings={"components10": (10,)},
            num_classes=2,
            **_DIGITS_SPLIT,
        ),
        "uncorrelated10": DatasetFacts(
            description="10 independent Gaussian inputs, labels of a random teacher network, generated",
            embedded=True,
            preprocessings={"gaussian": (10,)},
            num_classes=2,
        ),
        "uncorrelated10000": DatasetFacts(
            description="10,000 independent Gaussian inputs, labels of a random teacher network, generated",
            embedded=True,
            preprocessings={"gaussian": (10_000,)},
            num_classes=2,
        ),
        "cifar10": DatasetFacts(
            description="60,000 photographs of 32x32 pixels in 10 classes",
            num_classes=10,
            prepared="cifar10",
            **_CIFAR,
        ),
        "cifar100": DatasetFacts(
            description="60,000 photographs of 32x32 pixels in 100 classes",
            num_classes=100,
            prepared="cifar100",
            **_CIFAR,
        ),
        "mnist": DatasetFacts(
            description="70,000 handwritten digits of 28x28 pixels",
            preprocessings={"image32": (32, 32, 3), "image28": (28, 28, 1), "vector784": (784,)},
            num_classes=10,
            augmentable=True,
            **_MNIST,
        ),
        "mnist_parity": DatasetFacts(
            description="odd or even, from ten principal components of MNIST's handwritten digits",
            preprocessings={"components10": (10,)},
            num_classes=2,
            **_MNIST,
        ),
        "imagenet2012": DatasetFacts(
            description="1.3 million photographs in 1,000 classes",
            embedded=False,
            preprocessings={"image224": (224, 224, 3), "image299": (299, 299, 3)},
            num_classes=1000,
            # DESIGN section 5 tests on the published validation images; validation images are training ones.
            num_train=1_271_167,
            num_validation=10_000,
            num_test=50_000,
            augmentable=True,
            prepared="imagenet2012",
            adjustable=True,
        ),
    }
)

# --dataset=folder:PATH, images of one's own.
FOLDER_PREFIX = "folder:"
_FOLDER_PREPROCESSINGS = {"image32": (32, 32, 3), "image224": (224, 224, 3), "image299": (299, 299, 3)}


def find_dataset(name: str) -> DatasetFacts:
    """The facts of a named data set, or of a folder of images, whose listing tells them.

    Args:
      name: one of `DATASETS`, or folder:PATH.

    Raises:
      UserError: another name, or a folder that is none of images.
    """
    if name.startswith(FOLDER_PREFIX):
        return folder_facts(count_folder(list_images(name.removeprefix(FOLDER_PREFIX))))
    if name not in DATASETS:
        raise reject("dataset", name, f"one of {', '.join(DATASETS)}, or {FOLDER_PREFIX}PATH")
    return DATASETS[name]


def count_folder(folder: Folder) -> tuple[int, int, int, int]:
    """Number of classes, and of training, validation and test images, of a folder."""
    splits = folder.count_splits()
    return (len(folder.class_names), splits["train"], splits["validation"], splits["test"])


def folder_facts(counts: Sequence[int]) -> DatasetFacts:
    """The facts of a folder of images, from `count_folder`."""
    num_classes, num_train, num_validation, num_test = counts
    return DatasetFacts(
        description=f"{num_train + num_validation + num_test:,} images in {num_classes} classes",
        embedded=False,
        preprocessings=_FOLDER_PREPROCESSINGS,
        num_classes=num_classes,
        num_train=num_train,
        num_validation=num_validation,
        num_test=num_test,
        augmentable=True,
    )


# Fields of `ModelConfig` that only some networks have.
MODEL_OPTIONS = ("layer_size", "last_width", "auxiliary_head", "unscaled_branch")

INITIALIZERS = (
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "truncated_normal",
)
OPTIMIZERS = ("momentum", "sgd", "adam", "rmsprop")
SCHEDULES = ("constant", "piecewise", "exponential", "cosine")
LOSSES = ("cross_entropy", "hinge", "squared_hinge")
REGULARIZERS = ("augmentation", "dropout", "weight_decay")
# Step -> what it measures of the trained network; dynamics measures at kept epochs.
MEASURES_OF_STEPS: Mapping[str, tuple[str, ...]] = {
    "measure": ("accuracy", "ablation", "units"),
    # Of several networks' chunks the ensemble's error is asked, for which accuracy stores their outputs.
    "chunks": ("accuracy", "chunks", "reconstruction", "dimension"),
    "kinds": ("kinds",),
    "stability": ("stability",),
}
MEASURES = tuple(dict.fromkeys(name for names in MEASURES_OF_STEPS.values() for name in names))
STEPS = ("train", *MEASURES_OF_STEPS, "dynamics", "visualize", "report")
# The row of the whole network in tables whose other rows are taps.
NETWORK = "network"
DEFAULT_STEPS = ("train", "measure", "report")
# What is ablated and in which order: units by chance, by correlation or by rank; or noise, or weights.
ABLATION_ORDERS = ("random", "targeted", "l1_norm", "mean_activation", "zero_share", "noise", "weights")
MOMENTS_PRECISIONS = ("float32", "float64")
ABLATION_UNITS = ("channel", "location")
PROTOCOLS = ("exact", "authors")
# Which taps are drawn, beside their names; what images are made of; what they are transformed by; and the readings of
# total variation.
TAP_CHOICES = ("all", "blocks")
PARAMS = ("fft", "pixel", "laplacian")
TRANSFORMS = ("standard", "none")
VARIATIONS = ("absolute", "signed")
SPLITS = ("train", "validation", "test")
SPLIT_RULES = ("random", "ordered")
MONITORS = ("validation", "train")
# Keras' names of the numbers in which layers compute; weights are float32 in all of them.
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
SAVE = ("metrics", "best", "all")
# Where a grid's runs are carried out, beside this process.
LAUNCHERS = ("local", "ray")
MEASURED_WEIGHTS = ("last", "best")
FILE_PREFIX = "file:"
