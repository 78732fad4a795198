"""Inception-v3 in the layout of 2016."""

from typing import Any

import keras
from keras import layers

from tfunits.configs.facts import VARIED_BLOCK
from tfunits.configs.inception import (
    AUXILIARY_BLOCK,
    AVERAGE,
    BLOCKS,
    MAX,
    SMALLEST_UNPADDED,
    Block,
    Convolution,
    Step,
)
from tfunits.models.blocks import Padding, classify, convolve, drop, normalize
from tfunits.models.options import BuildOptions

# Constants of the authors' program (FACTS 2.4).
_MOMENTUM = 0.9997
_EPSILON = 1e-3
_STD = 0.1
_HEAD_STD = 0.01
_AUXILIARY_CONVOLUTION_STD = 0.01
_AUXILIARY_HEAD_STD = 0.001


def build_inception_v3(options: BuildOptions) -> keras.Model:
    """Five convolutions, eleven blocks of parallel branches, the mean over positions, dropout, a linear head.

    Beside the logits, a second output with the logits of the auxiliary head, unless options leave it out.
    Taps: the five convolutions after ReLU; every block's joined branches.

    Source: Szegedy et al. 2016; FACTS 1 and 2.4 (published counts are those of 1001 classes).
    Differs: images with a side below 75 are padded (SAME) where the authors' program does not pad (VALID), and the
      auxiliary head's windows are where its image is smaller than they, so that small images have the same network.
    """
    padding = "valid" if min(options.input_shape[:2]) >= SMALLEST_UNPADDED else "same"
    inputs = keras.Input(options.input_shape, name="input")
    tensor = _stem(options, inputs, padding)
    auxiliary = None
    for name, branches in BLOCKS.items():
        tensor = _join(options, name, branches, tensor, padding)
        if name == AUXILIARY_BLOCK and options.auxiliary_head is not False:
            auxiliary = _auxiliary_logits(options, tensor, padding)
    tensor = layers.GlobalAveragePooling2D(name="mean")(tensor)
    tensor = drop(options, "mean", tensor)
    logits = classify(options, tensor, initializer="truncated_normal", std=_HEAD_STD)
    return keras.Model(inputs, logits if auxiliary is None else [logits, auxiliary], name="inception_v3")


def _stem(options: BuildOptions, tensor: Any, padding: Padding) -> Any:
    def convolution(name: str, tensor: Any, base: int, **geometry: Any) -> Any:
        return _convolve(options, name, tensor, options.width(base), **geometry, output=f"tap_{name}")

    def pool(name: str, tensor: Any) -> Any:
        return layers.MaxPooling2D(3, 2, padding=padding, name=name)(tensor)

    tensor = convolution("conv0", tensor, 32, kernel=3, stride=2, padding=padding)
    tensor = convolution("conv1", tensor, 32, kernel=3, padding=padding)
    tensor = pool("pool1", convolution("conv2", tensor, 64, kernel=3, padding="same"))
    tensor = convolution("conv3", tensor, 80, kernel=1, padding="same")
    return pool("pool2", convolution("conv4", tensor, 192, kernel=3, padding=padding))


def _join(options: BuildOptions, block: str, branches: Block, inputs: Any, padding: Padding) -> Any:
    """A block: its branches side by side."""

    def apply(step: Step, tensor: Any, name: str) -> Any:
        if step == AVERAGE:
            return layers.AveragePooling2D(3, 1, padding="same", name=name)(tensor)
        if step == MAX:
            return layers.MaxPooling2D(3, 2, padding=padding, name=name)(tensor)
        if isinstance(step, Convolution):
            units = _units(options, block, step)
            step_padding = "same" if step.stride == 1 else padding
            return _convolve(options, name, tensor, units, kernel=step.kernel, stride=step.stride, padding=step_padding)
        pair = [apply(part, tensor, f"{name}{letter}") for part, letter in zip(step, "ab", strict=True)]
        return layers.Concatenate(name=f"{name}_join")(pair)

    ends = []
    for number, branch in enumerate(branches, start=1):
        tensor = inputs
        for position, step in enumerate(branch, start=1):
            tensor = apply(step, tensor, f"{block}_branch{number}_step{position}")
        ends.append(tensor)
    return layers.Concatenate(name=f"tap_{block}")(ends)


def _units(options: BuildOptions, block: str, convolution: Convolution) -> int:
    if not convolution.scaled and options.unscaled_branch is not False:
        return convolution.base
    varied = block == VARIED_BLOCK and options.layer_size is not None
    return options.width(convolution.base, "layer_size" if varied else "size")


def _auxiliary_logits(options: BuildOptions, tensor: Any, padding: Padding) -> Any:
    """Pooling, two convolutions, the mean over positions, a linear head.

    At 299 pixels the second convolution leaves one position.
    """

    def fitting(tensor: Any, window: int) -> Padding:
        return padding if min(tensor.shape[1:3]) >= window else "same"

    tensor = layers.AveragePooling2D(5, 3, padding=fitting(tensor, 5), name="auxiliary_pool")(tensor)
    tensor = _convolve(options, "auxiliary_conv1", tensor, options.width(128), kernel=1, padding="same")
    tensor = _convolve(
        options,
        "auxiliary_conv2",
        tensor,
        options.width(768),
        kernel=5,
        padding=fitting(tensor, 5),
        std=_AUXILIARY_CONVOLUTION_STD,
    )
    tensor = layers.GlobalAveragePooling2D(name="auxiliary_mean")(tensor)
    return classify(options, tensor, initializer="truncated_normal", std=_AUXILIARY_HEAD_STD, name="auxiliary_logits")


def _convolve(
    options: BuildOptions,
    name: str,
    tensor: Any,
    units: int,
    *,
    kernel: int | tuple[int, int],
    stride: int = 1,
    padding: Padding,
    std: float = _STD,
    output: str | None = None,
) -> Any:
    """Convolution, batch normalisation without a factor, ReLU named `output` or <name>_relu."""
    tensor = convolve(
        options, name, tensor, units,
        kernel=kernel, stride=stride, padding=padding, initializer="truncated_normal", std=std,
    )  # fmt: skip
    tensor = normalize(tensor, name, momentum=_MOMENTUM, epsilon=_EPSILON, scale=False)
    return layers.ReLU(name=output or f"{name}_relu")(tensor)
