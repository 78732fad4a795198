"""Residual networks of version 1: basic blocks as the official TensorFlow models build them, and bottlenecks."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import layers

from tfunits.models.blocks import classify, convolve, normalize, pool_last
from tfunits.models.options import BuildOptions

# The official recipe's constants; short runs lower the momentum when they train (DESIGN section 5).
_normalize = functools.partial(normalize, momentum=0.997, epsilon=1e-5)
# Base width of a stage -> its number of blocks.
_RESNET56 = {16: 9, 32: 9, 64: 9}
_RESNET18 = {64: 2, 128: 2, 256: 2, 512: 2}
_RESNET50 = {64: 3, 128: 4, 256: 6, 512: 3}
# A residual branch: side of every convolution's kernel, and its factor on the stage's width.
_BASIC = ((3, 1), (3, 1))
_BOTTLENECK = ((1, 1), (3, 1), (1, 4))


def build_resnet56(options: BuildOptions) -> keras.Model:
    """A 3x3 stem, three stages of nine basic blocks, the mean over positions, a linear head.

    Taps: the stem after ReLU; the end of every stage.

    Source: He et al. 2016; FACTS 1 and 2.2.
    Differs: Casper et al. 2021 name a fourth stage of 128 units and Glorot's initial weights, which their program has
      not (F14, F15).
    """
    unit = functools.partial(_convolve, options, "lecun_normal")
    inputs = keras.Input(options.input_shape, name="input")
    tensor = layers.ReLU(name="tap_stem")(unit("stem", inputs, options.width(16), kernel=3))
    tensor = _stages(options, unit, tensor, _RESNET56, branch=_BASIC)
    tensor = layers.GlobalAveragePooling2D(name="mean")(tensor)
    return keras.Model(inputs, classify(options, tensor, initializer="glorot_uniform"), name="resnet56")


def build_resnet18(options: BuildOptions) -> keras.Model:
    """A 7x7 stem, four stages of two basic blocks, the mean over positions, a linear head.

    Taps: the stem after ReLU and before pooling; the end of every stage.

    Source: He et al. 2016; FACTS 1 and 2.3 (published counts are those of 1001 classes).
    """
    unit = functools.partial(_convolve, options, "lecun_normal")
    inputs = keras.Input(options.input_shape, name="input")
    tensor = _large_stem(unit, inputs, options.width(64))
    tensor = _stages(options, unit, tensor, _RESNET18, branch=_BASIC)
    tensor = layers.GlobalAveragePooling2D(name="mean")(tensor)
    return keras.Model(inputs, classify(options, tensor, initializer="glorot_uniform"), name="resnet18")


def build_resnet50(options: BuildOptions) -> keras.Model:
    """A 7x7 stem of 64 units at every size, four stages of bottlenecks, the mean over positions, a linear head.

    A stage's stride is that of its first 1x1 convolution.
    Taps: the stem after ReLU and before pooling; the end of every stage; the mean.

    Source: He et al. 2016; Doimo et al. 2022, section 2 (every channel behind the stem is scaled).
    """
    unit = functools.partial(_convolve, options, "he_normal")
    inputs = keras.Input(options.input_shape, name="input")
    tensor = _stages(options, unit, _large_stem(unit, inputs, 64), _RESNET50, branch=_BOTTLENECK)
    tensor = pool_last(options, tensor, initializer="he_normal", normalization=_normalize)
    return keras.Model(inputs, classify(options, tensor, initializer="glorot_uniform"), name="resnet50")


def _convolve(options: BuildOptions, initializer: str, name: str, *arguments: Any, **geometry: int) -> Any:
    """Convolution, then batch normalisation."""
    return _normalize(convolve(options, name, *arguments, initializer=initializer, **geometry), name)


def _large_stem(unit: Callable[..., Any], inputs: Any, width: int) -> Any:
    tensor = layers.ReLU(name="tap_stem")(unit("stem", inputs, width, kernel=7, stride=2))
    return layers.MaxPooling2D(3, 2, padding="same", name="pool")(tensor)


def _stages(
    options: BuildOptions,
    unit: Callable[..., Any],
    tensor: Any,
    blocks: Mapping[int, int],
    *,
    branch: Sequence[tuple[int, int]],
) -> Any:
    """Stages of residual blocks; all but the first halve the image.

    Every stage's first block has a 1x1 projection and batch normalisation on its shortcut, stage 1 included.
    """
    for stage, (base, num_blocks) in enumerate(blocks.items(), start=1):
        for block in range(1, num_blocks + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            name = f"stage{stage}_block{block}"
            shortcut = tensor
            if block == 1:
                width = options.width(base * branch[-1][1])
                shortcut = unit(f"{name}_shortcut", tensor, width, kernel=1, stride=stride)
            for number, (kernel, factor) in enumerate(branch, start=1):
                width = options.width(base * factor)
                tensor = unit(f"{name}_conv{number}", tensor, width, kernel=kernel, stride=stride)
                stride = 1
                if number < len(branch):
                    tensor = layers.ReLU(name=f"{name}_relu{number}")(tensor)
            tensor = layers.Add(name=f"{name}_add")([tensor, shortcut])
            tensor = layers.ReLU(name=f"tap_stage{stage}" if block == num_blocks else f"{name}_out")(tensor)
    return tensor
