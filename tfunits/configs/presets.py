"""The papers' recipes and their short forms for the embedded data: rows (model, data set) -> fields.

Every field that a preset sets can be overridden by its flag, and the run records the resolved values.
"""

from collections.abc import Mapping
from typing import Any

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
    "preprocessing": "image32",
}
# Casper et al. 2021, FACTS 5: 50 epochs of batches of 128, -5 % an epoch, no penalty.
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
# Doimo et al. 2022: SGD 0.9, cosine, weights of the last epoch.
_FC5 = {
    "initializer": "he_normal",
    "loss": "hinge",
    "optimizer": "momentum",
    "momentum": 0.9,
    "learning_rate": 0.05,
    "schedule": "cosine",
    "batch_size": 128,
    "epochs": 100,
    "weight_decay": 1e-4,
    "regularizers": ("weight_decay",),
}
# The official TensorFlow ResNet recipe (FACTS 4.3): momentum 0.9, penalty on all but batch normalisation.
_RESNET18 = {
    "optimizer": "momentum",
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "decayed_variables": r".*(kernel|logits/bias)",
    "regularizers": ("weight_decay",),
    "preprocessing": "image32",
}

PRESETS: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("alexnet", "digits"): {**_ALEXNET, "batch_size": 32, "epochs": 8},
    ("mlp", "digits"): {**_MLP, "preprocessing": "vector64", "batch_size": 32},
    ("mlp", "digits_parity"): {**_MLP, "batch_size": 32},
    ("mlp", "uncorrelated10"): _MLP,
    ("mlp", "uncorrelated10000"): _MLP,
    ("fc5", "digits_parity"): _FC5,
    ("fc5", "uncorrelated10"): _FC5,
    ("fc5", "uncorrelated10000"): _FC5,
    # Smaller steps than on ImageNet: 34 an epoch do not carry 0.1.
    ("resnet18", "digits"): {
        **_RESNET18,
        "learning_rate": 0.02,
        "schedule": "cosine",
        "batch_size": 32,
        "epochs": 10,
    },
}
