"""The papers' recipes and their short forms for the embedded data: rows (model, data set) -> fields.

Every field that a preset sets can be overridden by its flag, and the run records the resolved values.
"""

from collections.abc import Mapping
from typing import Any

from tfunits.configs.facts import DATASETS, FOLDER_PREFIX, MODELS

# Casper et al. 2021, section 4 and appendix A, as their program trains (FACTS 4.1): momentum SGD, -5 % an epoch,
# penalty on the two hidden dense kernels only, and dropout 0.5.
_ALEXNET = {
    "initializer": "glorot_normal",
    "optimizer": "momentum",
    "momentum": 0.9,
    "learning_rate": 0.01,
    "schedule": "exponential",
    "decay_rate": 0.95,
    "weight_decay": 0.001,
    "decayed_variables": r"fc[34]/kernel",
    "dropout_rate": 0.5,
    "batch_size": 128,
    "epochs": 500,
    "patience": 50,
}
# Casper et al. 2021, FACTS 5: 50 epochs of batches of 128, -5 % an epoch, no penalty. Their rates are a grid, which
# --learning_rate=1,0.1,0.01,0.001,0.0001 gives; 0.1 is our choice of one.
_MLP = {
    "initializer": "truncated_normal",
    "optimizer": "momentum",
    "momentum": 0.9,
    "learning_rate": 0.1,
    "schedule": "exponential",
    "decay_rate": 0.95,
    "batch_size": 128,
    "epochs": 50,
}
# Doimo et al. 2022: SGD 0.9, cosine, weights of the last epoch; the penalty is chosen on validation data.
_FC5 = {
    "initializer": "he_normal",
    "loss": "hinge",
    "optimizer": "momentum",
    "momentum": 0.9,
    "learning_rate": 0.05,
    "schedule": "cosine",
    "batch_size": 128,
    "epochs": 100,
    "weight_decay_choices": (0.0, 1e-4, 1e-3, 1e-2),
}
# The official TensorFlow ResNet recipe for CIFAR (FACTS 4.2): penalty on all variables.
_RESNET56 = {
    "optimizer": "momentum",
    "momentum": 0.9,
    "learning_rate": 0.1,
    "schedule": "piecewise",
    "drop_epochs": (91.0, 136.0, 182.0),
    "batch_size": 128,
    "epochs": 182,
    "weight_decay": 2e-4,
    "regularizers": ("augmentation", "weight_decay"),
}
# The official TensorFlow ResNet recipe for ImageNet (FACTS 4.3): penalty on all but batch normalisation; the rate is
# that of a batch of 256 (scale both with --k).
_RESNET_IMAGENET = {
    "optimizer": "momentum",
    "momentum": 0.9,
    "learning_rate": 0.128,
    "warmup_epochs": 5.0,
    "schedule": "piecewise",
    "drop_epochs": (30.0, 60.0, 80.0, 90.0),
    "batch_size": 256,
    "epochs": 90,
    "weight_decay": 1e-4,
    "decayed_variables": r".*(kernel|logits/bias)",
    "regularizers": ("augmentation", "weight_decay"),
}
# Casper et al. 2021, appendix A: batch 256, rate 1, -4 % every 8 epochs, 90 epochs, penalty on kernels. What the text
# leaves open is Szegedy et al. 2016: RMSProp with epsilon 1 and no momentum, label smoothing, averaged weights, but not
# their clipped gradients; no program survives.
_INCEPTION = {
    "optimizer": "rmsprop",
    "rmsprop_epsilon": 1.0,
    "learning_rate": 1.0,
    "schedule": "exponential",
    "decay_rate": 0.96,
    "decay_epochs": 8,
    "batch_size": 256,
    "epochs": 90,
    "weight_decay": 4e-5,
    "decayed_variables": r".*kernel",
    "dropout_rate": 0.2,
    "label_smoothing": 0.1,
    "average_decay": 0.9999,
    "regularizers": ("augmentation", "dropout", "weight_decay"),
}
# Doimo et al. 2022, as their program trains (FACTS 14.2): penalty on all variables, cosine to 1e-5.
_DOIMO_CIFAR = {
    "optimizer": "momentum",
    "momentum": 0.9,
    "learning_rate": 0.1,
    "schedule": "cosine",
    "final_learning_rate": 1e-5,
    "batch_size": 128,
    "epochs": 200,
    "weight_decay": 5e-4,
    "regularizers": ("augmentation", "weight_decay"),
}

_RECIPES: Mapping[str, Mapping[str, Any]] = {
    "alexnet": _ALEXNET,
    "densenet40": _DOIMO_CIFAR,
    "fc5": _FC5,
    "inception_v3": _INCEPTION,
    "mlp": _MLP,
    "resnet18": _RESNET_IMAGENET,
    "resnet50": _RESNET_IMAGENET,
    "resnet56": _RESNET56,
    "wide_resnet28": _DOIMO_CIFAR,
}

# (model, data set) -> form of the inputs; where none is named, the data set's first that the network reads.
_PREPROCESSINGS = {
    ("alexnet", "cifar10"): "crop28",
    ("alexnet", "cifar100"): "crop28",
    ("densenet40", "cifar10"): "normalized32",
    ("densenet40", "cifar100"): "normalized32",
    ("inception_v3", "imagenet2012"): "image299",
    ("inception_v3", FOLDER_PREFIX): "image299",
    ("mlp", "cifar10"): "vector3072",
    ("mlp", "cifar100"): "vector3072",
    ("mlp", "digits"): "vector64",
    ("mlp", "mnist"): "vector784",
    ("resnet18", FOLDER_PREFIX): "image224",
    ("resnet50", FOLDER_PREFIX): "image224",
    ("wide_resnet28", "cifar10"): "normalized32",
    ("wide_resnet28", "cifar100"): "normalized32",
}

# 1,078 images carry neither hundreds of epochs nor rates made for 350 steps an epoch: ten epochs of 34 steps.
_SHORT = {"batch_size": 32, "epochs": 10, "schedule": "cosine"}
_DIGITS: Mapping[str, Mapping[str, Any]] = {
    "alexnet": {"batch_size": 32, "epochs": 8},
    "densenet40": {**_SHORT, "learning_rate": 0.05, "regularizers": ("weight_decay",)},
    "inception_v3": {
        **_SHORT,
        "learning_rate": 0.05,
        "regularizers": ("weight_decay",),
    },
    "mlp": {"batch_size": 32},
    "resnet18": {**_SHORT, "learning_rate": 0.02, "regularizers": ("weight_decay",)},
    "resnet50": {**_SHORT, "learning_rate": 0.02, "regularizers": ("weight_decay",)},
    "resnet56": {**_SHORT, "learning_rate": 0.05, "regularizers": ("weight_decay",)},
    "wide_resnet28": {**_SHORT, "learning_rate": 0.05, "regularizers": ("weight_decay",)},
}
# Fields of a paper's recipe that its short form does not have.
_ONLY_LONG = ("patience", "warmup_epochs", "drop_epochs", "final_learning_rate", "decay_epochs")

_OTHERS: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("mlp", "digits_parity"): {"batch_size": 32},
    # DESIGN section 5: everything else is measured after its last epoch.
    **{("alexnet", dataset): {"measured_weights": "best"} for dataset in ("cifar10", "cifar100")},
    # Doimo et al. train on all 50,000 images and keep no validation set (FACTS 14.2).
    **{
        (model, dataset): {"validation_examples": 0}
        for model in ("densenet40", "wide_resnet28")
        for dataset in ("cifar10", "cifar100")
    },
    # The official program counts its drops in epochs of 50,000 images, whatever the split (FACTS 4.2).
    **{("resnet56", dataset): {"schedule_examples": 50_000} for dataset in ("cifar10", "cifar100")},
    # 1001 outputs, class 0 the background (FACTS 1, F22).
    ("resnet18", "imagenet2012"): {"background_class": True},
    ("inception_v3", "imagenet2012"): {"background_class": True},
}

# Fields of a recipe that random labels or augmentation change (FACTS 4.1, 4.2): random labels are learnt without
# regularisers until the training accuracy is 1 or has not grown for 50 epochs.
_RANDOM_LABELS: Mapping[str, Mapping[str, Any]] = {
    "alexnet": {"epochs": 5000, "monitor": "train", "stop_accuracy": 1.0, "regularizers": ("none",)},
    "resnet56": {"regularizers": ("none",)},
}
_AUGMENTED: Mapping[str, Mapping[str, Any]] = {"alexnet": {"epochs": 1000}}
# Without regularisers 1,078 random labels are learnt within this many epochs.
_SHORT_RANDOM_EPOCHS = 60


def _make_presets() -> dict[tuple[str, str], dict[str, Any]]:
    presets = {}
    for model, known in MODELS.items():
        for dataset in (*DATASETS, FOLDER_PREFIX):
            if not _fits(model, dataset):
                continue
            recipe = {**_RECIPES[model], **_OTHERS.get((model, dataset), {})}
            if dataset == "digits" and model in _DIGITS:
                recipe = {name: value for name, value in recipe.items() if name not in _ONLY_LONG} | _DIGITS[model]
                if recipe["schedule"] != "exponential":
                    recipe.pop("decay_rate", None)
            form = _PREPROCESSINGS.get((model, dataset))
            if form is None and "image" in known.input_kinds and dataset in DATASETS:
                form = next((name for name, shape in DATASETS[dataset].preprocessings.items() if len(shape) == 3), None)
            presets[model, dataset] = recipe | ({"preprocessing": form} if form else {})
    return presets


def _fits(model: str, dataset: str) -> bool:
    """Whether a network reads a data set: of its kind of inputs, and with two classes if it has one output."""
    known = MODELS[model]
    if dataset == FOLDER_PREFIX:
        return "image" in known.input_kinds
    data = DATASETS[dataset]
    kinds = {"vector" if len(shape) == 1 else "image" for shape in data.preprocessings.values()}
    return bool(kinds & set(known.input_kinds)) and (not known.binary_only or data.num_classes == 2)


PRESETS: Mapping[tuple[str, str], Mapping[str, Any]] = _make_presets()
# Every field that a recipe sets for some network, data or labels.
PRESET_FIELDS = frozenset(
    name for rows in (PRESETS, _RANDOM_LABELS, _AUGMENTED) for preset in rows.values() for name in preset
)


def find_preset(model: str, dataset: str, *, random_labels: bool, augmented: bool) -> dict[str, Any]:
    """The recipe of a network on a data set.

    Args:
      model: one of the papers' networks.
      dataset: a named data set, or folder:PATH.
      random_labels: whether training labels are random.
      augmented: whether training images are augmented.

    Returns: field name -> value; empty where there is no recipe.
    """
    key = FOLDER_PREFIX if str(dataset).startswith(FOLDER_PREFIX) else dataset
    preset = dict(PRESETS.get((model, key), {}))
    if preset and augmented and dataset != "digits":
        preset |= _AUGMENTED.get(model, {})
    if preset and random_labels and model in _RANDOM_LABELS:
        preset |= _RANDOM_LABELS[model] | ({"epochs": _SHORT_RANDOM_EPOCHS} if dataset == "digits" else {})
    return preset
