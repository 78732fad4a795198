"""Residual networks of basic blocks, as the official TensorFlow models build them (version 1)."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from tfunits.configs import MODELS
from tfunits.models.options import BuildOptions

_EPSILON = 1e-5
# The official recipe's constant; short runs lower it when they train (DESIGN section 5).
_MOMENTUM = 0.997
_BLOCKS_PER_STAGE = 2


def build_resnet18(options: BuildOptions) -> keras.Model:
    """A 7x7 stem, four stages of two basic blocks, the mean over positions, a linear head.

    Every stage's first block has a 1x1 projection and batch normalisation on its shortcut, stage 1 included.
    Taps: the stem after ReLU and before pooling; the end of every stage.

    Source: He et al. 2016; FACTS 1 and 2.3 (published counts are those of 1001 classes).
    """
    base = MODELS["resnet18"].base_widths
    inputs = keras.Input(options.input_shape, name="input")
    tensor = _convolve(options, "stem", inputs, options.width(base["stem"]), kernel=7, stride=2)
    tensor = layers.ReLU(name="tap_stem")(tensor)
    tensor = layers.MaxPooling2D(3, 2, padding="same", name="pool")(tensor)
    widths = [options.width(base[f"stage{stage}"]) for stage in (1, 2, 3, 4)]
    tensor = _stages(options, tensor, widths, blocks=_BLOCKS_PER_STAGE)
    tensor = layers.GlobalAveragePooling2D(name="mean")(tensor)
    head = layers.Dense(
        options.num_classes, kernel_initializer=options.weights("logits", "glorot_uniform"), name="logits"
    )
    return keras.Model(inputs, head(tensor), name="resnet18")


def _stages(options: BuildOptions, tensor: Any, widths: Sequence[int], *, blocks: int) -> Any:
    """Stages of basic blocks; all but the first halve the image."""
    for stage, width in enumerate(widths, start=1):
        for block in range(1, blocks + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            name = f"stage{stage}_block{block}"
            shortcut = tensor
            if block == 1:
                shortcut = _convolve(options, f"{name}_shortcut", tensor, width, kernel=1, stride=stride)
            tensor = _convolve(options, f"{name}_conv1", tensor, width, kernel=3, stride=stride)
            tensor = layers.ReLU(name=f"{name}_relu")(tensor)
            tensor = _convolve(options, f"{name}_conv2", tensor, width, kernel=3, stride=1)
            tensor = layers.Add(name=f"{name}_add")([tensor, shortcut])
            tensor = layers.ReLU(name=f"tap_stage{stage}" if block == blocks else f"{name}_out")(tensor)
    return tensor


def _convolve(options: BuildOptions, name: str, tensor: Any, width: int, *, kernel: int, stride: int) -> Any:
    """Convolution without bias, then batch normalisation; strided ones pad alike on every image size."""
    if stride > 1 and kernel > 1:
        # SAME would pad by an amount that depends on the image's size; the official models pad explicitly.
        before = (kernel - 1) // 2
        margins = (before, kernel - 1 - before)
        tensor = layers.ZeroPadding2D((margins, margins), name=f"{name}_pad")(tensor)
    tensor = layers.Conv2D(
        width,
        kernel,
        stride,
        padding="same" if stride == 1 else "valid",
        use_bias=False,
        kernel_initializer=options.weights(name, "lecun_normal"),
        name=name,
    )(tensor)
    # Synchronised, since plain batch normalisation leaves every replica with statistics of its own (KERAS.md, trap 1).
    return layers.BatchNormalization(momentum=_MOMENTUM, epsilon=_EPSILON, synchronized=True, name=f"{name}_bn")(tensor)
