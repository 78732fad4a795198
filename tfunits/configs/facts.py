"""Every name and fact that a flag is checked against, kept free of TensorFlow.

`tests/test_contracts.py` compares them with the registries of `tfunits.models`, `tfunits.datasets` and
`tfunits.experiments`, so that a flag is answered in a fraction of a second and never lies.
"""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What a configuration must know of a network.

    Attributes:
      papers_dataset: the data set on which the papers trained it, in words.
      papers_dataset_name: the `--dataset` name of that data.
      default_dataset: embedded data used when `--dataset` is not given.
      base_widths: hidden layer -> number of units at size 1.
      input_kinds: kinds of input it reads, of "vector" and "image".
      has_dropout: whether it has dropout layers.
      has_batch_norm: whether it has batch normalisation.
      binary_only: whether it has one output and therefore needs two classes.
    """

    papers_dataset: str
    papers_dataset_name: str
    default_dataset: str
    base_widths: Mapping[str, int]
    input_kinds: tuple[str, ...]
    has_dropout: bool = False
    has_batch_norm: bool = False
    binary_only: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """What a configuration must know of a data set.

    Attributes:
      description: what it is, for the first line of a run.
      embedded: whether it needs neither files nor a network.
      preprocessings: name of a preprocessing -> input shape it gives, the default first.
      num_classes: number of labels.
      num_train, num_validation, num_test: examples per split; None where flags decide.
      augmentable: whether label-preserving augmentation is defined for it.
    """

    description: str
    embedded: bool
    preprocessings: Mapping[str, tuple[int, ...]]
    num_classes: int
    num_train: int | None = None
    num_validation: int | None = None
    num_test: int | None = None
    augmentable: bool = False

    @property
    def fixed_size(self) -> bool:
        """Whether the data set has a given number of examples (else flags decide)."""
        return self.num_train is not None


# Base widths: Casper et al. 2021, appendix A, as their program builds them; Doimo et al. 2022 for fc5.
MODELS: Mapping[str, ModelFacts] = MappingProxyType(
    {
        "alexnet": ModelFacts(
            papers_dataset="CIFAR-10",
            papers_dataset_name="cifar10",
            default_dataset="digits",
            base_widths={"conv1": 96, "conv2": 256, "fc3": 384, "fc4": 192},
            input_kinds=("image",),
            has_dropout=True,
        ),
        "fc5": ModelFacts(
            papers_dataset="MNIST parity on ten principal components",
            papers_dataset_name="mnist_parity",
            default_dataset="digits_parity",
            base_widths={"hidden1": 128, "hidden2": 128, "hidden3": 128, "hidden4": 128},
            input_kinds=("vector",),
            binary_only=True,
        ),
        "mlp": ModelFacts(
            papers_dataset="uncorrelated Gaussian inputs labelled by a random teacher",
            papers_dataset_name="uncorrelated10 or uncorrelated10000",
            default_dataset="digits",
            base_widths={"hidden": 128},
            input_kinds=("vector", "image"),
        ),
        "resnet18": ModelFacts(
            papers_dataset="ImageNet",
            papers_dataset_name="imagenet2012",
            default_dataset="digits",
            base_widths={"stem": 64, "stage1": 64, "stage2": 128, "stage3": 256, "stage4": 512},
            input_kinds=("image",),
            has_batch_norm=True,
        ),
    }
)

# 1,797 digits, stratified 60/10/30 (DESIGN section 5).
_DIGITS_SPLIT = {"num_train": 1078, "num_validation": 180, "num_test": 539}

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
    }
)

# Data of the papers that have no loader: named in a run's first line, and refused by their name.
UNSUPPORTED_DATASETS = ("cifar10", "imagenet2012", "mnist_parity")

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
LOSSES = ("cross_entropy", "hinge")
REGULARIZERS = ("augmentation", "dropout", "weight_decay")
STEPS = ("train", "measure", "report")
ABLATION_UNITS = ("channel", "location")
PROTOCOLS = ("exact", "authors")
SPLITS = ("train", "validation", "test")
SAVE = ("metrics", "best", "all")
MEASURED_WEIGHTS = ("last", "best")
FILE_PREFIX = "file:"
