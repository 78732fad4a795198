"""Wide residual networks of pre-activation blocks."""

from typing import Any

import keras
from keras import layers

from tfunits.models.blocks import classify, convolve, normalize_as_torch, pool_last
from tfunits.models.initializers import UNTRUNCATED_HE_NORMAL, derive_seed
from tfunits.models.options import BuildOptions

_STAGES = (16, 32, 64)
_BLOCKS_PER_STAGE = 4
# Widening leaves the stem as it is.
_LARGEST_STEM = 16


def build_wide_resnet28(options: BuildOptions) -> keras.Model:
    """A 3x3 stem without normalisation, three stages of four pre-activation blocks, the mean, a linear head.

    No ReLU follows the last batch normalisation. Sizes below 1 thin the stem too: 0.25 and 0.5 are the papers' 4 and 8
    first channels with a widening of 1.
    Taps: the stem; the sum that ends every stage; the mean over positions.

    Source: Doimo et al. 2022, section 2; FACTS 14.1 (D6, D8).
    """

    def activate(tensor: Any, name: str) -> Any:
        return layers.ReLU(name=f"{name}_relu")(normalization(tensor, name))

    def normalization(tensor: Any, name: str) -> Any:
        # The authors' program draws these factors (FACTS 14.1), and so they are no part of `initializer`.
        seed = derive_seed(options.seed, f"{name}_bn/gamma")
        return normalize_as_torch(tensor, name, gamma=keras.initializers.RandomUniform(0.0, 1.0, seed=seed))

    def convolution(name: str, tensor: Any, units: int, kernel: int, stride: int = 1) -> Any:
        return convolve(options, name, tensor, units, kernel=kernel, stride=stride, initializer=UNTRUNCATED_HE_NORMAL)

    inputs = keras.Input(options.input_shape, name="input")
    tensor = convolution("tap_stem", inputs, min(options.width(_LARGEST_STEM), _LARGEST_STEM), kernel=3)
    for stage, base in enumerate(_STAGES, start=1):
        width = options.width(base)
        for block in range(1, _BLOCKS_PER_STAGE + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            name = f"stage{stage}_block{block}"
            shortcut = tensor
            if stride > 1 or tensor.shape[-1] != width:
                shortcut = convolution(f"{name}_shortcut", tensor, width, kernel=1, stride=stride)
            tensor = convolution(f"{name}_conv1", activate(tensor, f"{name}_conv1"), width, kernel=3, stride=stride)
            tensor = convolution(f"{name}_conv2", activate(tensor, f"{name}_conv2"), width, kernel=3)
            is_last = block == _BLOCKS_PER_STAGE
            tensor = layers.Add(name=f"tap_stage{stage}" if is_last else f"{name}_add")([tensor, shortcut])
    tensor = normalization(tensor, "final")
    tensor = pool_last(options, tensor, initializer=UNTRUNCATED_HE_NORMAL, normalization=normalization)
    return keras.Model(inputs, classify(options, tensor, initializer=UNTRUNCATED_HE_NORMAL), name="wide_resnet28")
