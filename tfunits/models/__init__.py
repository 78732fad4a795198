"""The papers' networks as functional models with a width multiplier, an initialiser and named taps."""

from collections.abc import Sequence
from typing import Any

import keras

from tfunits.configs import MODELS, ModelConfig, UserError
from tfunits.configs.architectures import describe_architecture
from tfunits.models.alexnet import build_alexnet
from tfunits.models.densenet import build_densenet40
from tfunits.models.inception import build_inception_v3
from tfunits.models.mlp import build_fc5, build_mlp
from tfunits.models.options import BuildOptions
from tfunits.models.resnet import build_resnet18, build_resnet50, build_resnet56
from tfunits.models.wide_resnet import build_wide_resnet28
from tfunits.surgery import find_taps as taps

BUILDERS = {
    "alexnet": build_alexnet,
    "densenet40": build_densenet40,
    "fc5": build_fc5,
    "inception_v3": build_inception_v3,
    "mlp": build_mlp,
    "resnet18": build_resnet18,
    "resnet50": build_resnet50,
    "resnet56": build_resnet56,
    "wide_resnet28": build_wide_resnet28,
}

_IMAGE_RANK = 3

__all__ = ["BUILDERS", "BuildOptions", "build", "count_parameters", "taps", "without_auxiliary_head"]


def build(
    name: str,
    *,
    size: float = 1,
    input_shape: tuple[int, ...],
    num_classes: int,
    initializer: str | None = None,
    layer_size: float | None = None,
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
      layer_size: width multiplier of the block mixed_35x35x288b of inception_v3 alone; `size` if None.
      **options: further fields of `BuildOptions`: init_scale, dropout_rate, seed, precision, and of some networks
        last_width, auxiliary_head, unscaled_branch.

    Returns: a functional model whose layers named tap_<name> are its taps; its output is the logits, or for
      inception_v3 with its auxiliary head [logits, auxiliary logits].

    Raises:
      ValueError: an unknown name or initializer, a size that leaves a layer without units, inputs of another rank or
        too small for a layer, a number of classes other than two where there is one output, or an option of networks
        other than this one, dropout among them.

    Example:
      >>> tfunits.models.build("alexnet", input_shape=(32, 32, 3), num_classes=10).count_params()
      6989642
    """
    _, settings = _check_arguments(
        name,
        size=size,
        input_shape=input_shape,
        num_classes=num_classes,
        initializer=initializer,
        layer_size=layer_size,
        **options,
    )
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(settings.precision)
    try:
        return BUILDERS[name](settings)
    finally:
        keras.config.set_dtype_policy(policy)


def count_parameters(name: str, *, size: float, input_shape: Sequence[int], num_classes: int, **options: Any) -> int:
    """Number of trainable parameters of a network, auxiliary head included, without making it.

    Arguments and errors as `build`, but that every side of the inputs has to be known.
    """
    config, settings = _check_arguments(name, size=size, input_shape=input_shape, num_classes=num_classes, **options)
    if None in settings.input_shape:
        raise ValueError(f"input_shape: expected sides that are known, received {settings.input_shape}; name a size")
    return describe_architecture(config, settings.input_shape, num_classes).parameters


def _check_arguments(
    name: str,
    *,
    input_shape: Sequence[int],
    num_classes: int,
    size: float,
    initializer: str | None = None,
    layer_size: float | None = None,
    **options: Any,
) -> tuple[ModelConfig, BuildOptions]:
    """The arguments of `build` as settings, checked."""
    if name not in BUILDERS:
        raise UserError(f"name: expected one of {', '.join(BUILDERS)}, received {name!r}")
    own = {option: options.get(option) for option in ("last_width", "auxiliary_head", "unscaled_branch")}
    config = ModelConfig(model=name, size=size, initializer=initializer, layer_size=layer_size, **own)
    if options.get("dropout_rate", 0) and not MODELS[name].has_dropout:
        raise ValueError(f"dropout_rate: expected 0, since {name} has no dropout, received {options['dropout_rate']}")
    if MODELS[name].binary_only and num_classes != 2:
        raise ValueError(f"num_classes: expected 2, since {name} has one output, received {num_classes}")
    shape = tuple(input_shape)
    if "vector" not in MODELS[name].input_kinds and len(shape) != _IMAGE_RANK:
        raise ValueError(f"input_shape: expected (height, width, channels) for {name}, received {shape}")
    return config, BuildOptions(
        size=size, input_shape=shape, num_classes=num_classes, initializer=initializer, layer_size=layer_size, **options
    )


def without_auxiliary_head(model: keras.Model) -> keras.Model:
    """The same layers and weights with the logits as the only output; a model of one output is given back itself."""
    if len(model.outputs) == 1:
        return model
    return keras.Model(model.input, model.outputs[0], name=model.name)
