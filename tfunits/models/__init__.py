"""The papers' networks as functional models with a width multiplier, an initialiser and named taps."""

import functools
from typing import Any

import keras
import numpy as np

from tfunits.configs import MODELS, ModelConfig, UserError
from tfunits.models.alexnet import build_alexnet
from tfunits.models.mlp import build_fc5, build_mlp
from tfunits.models.options import BuildOptions
from tfunits.models.resnet import build_resnet18
from tfunits.surgery import find_taps as taps

BUILDERS = {"alexnet": build_alexnet, "fc5": build_fc5, "mlp": build_mlp, "resnet18": build_resnet18}

__all__ = ["BUILDERS", "BuildOptions", "build", "count_parameters", "taps"]


def build(
    name: str,
    *,
    size: float = 1,
    input_shape: tuple[int, ...],
    num_classes: int,
    initializer: str | None = None,
    **options: Any,
) -> keras.Model:
    """A network of the papers, untrained, with logits as outputs.

    Build it inside a strategy's scope to train it there.

    Args:
      name: one of `BUILDERS`.
      size: width multiplier; every hidden layer has int(base * size) units.
      input_shape: shape of one example, without the batch axis.
      num_classes: number of labels.
      initializer: distribution of the initial weights; the network's own if None.
      **options: further fields of `BuildOptions`: init_scale, dropout_rate, seed.

    Returns: a functional model whose layers named tap_<name> are its taps.

    Raises:
      ValueError: an unknown name or initializer, a size that leaves a layer without units, or dropout of a network
        that has none.

    Example:
      >>> tfunits.models.build("alexnet", input_shape=(32, 32, 3), num_classes=10).count_params()
      6989642
    """
    if name not in BUILDERS:
        raise UserError(f"name: expected one of {', '.join(BUILDERS)}, received {name!r}")

    ModelConfig(model=name, size=size, initializer=initializer)
    shapes = {"input_shape": tuple(input_shape), "num_classes": num_classes}
    if options.get("dropout_rate", 0) and not MODELS[name].has_dropout:
        raise ValueError(f"dropout_rate: expected 0, since {name} has no dropout, received {options['dropout_rate']}")
    return BUILDERS[name](BuildOptions(size=size, initializer=initializer, **shapes, **options))


@functools.lru_cache
def count_parameters(name: str, *, size: float, input_shape: tuple[int, ...], num_classes: int) -> int:
    """Number of trainable parameters of a network, without making its weights.

    Arguments and errors as `build`.
    """
    with keras.StatelessScope(initialize_variables=False):
        model = build(name, size=size, input_shape=input_shape, num_classes=num_classes)
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
