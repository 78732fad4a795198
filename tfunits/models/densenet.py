"""Densely connected networks with bottlenecks and compression."""

from typing import Any

import keras
from keras import layers

from tfunits.models.blocks import classify, convolve, normalize_as_torch, pool_last
from tfunits.models.initializers import TORCH_UNIFORM, UNTRUNCATED_HE_NORMAL
from tfunits.models.options import BuildOptions

_STEM = 16
_LAYERS_PER_STAGE = 6
_GROWTH = 8
_BOTTLENECK = 4 * _GROWTH
# Stage -> width of the transition behind it, half of the stage's.
_TRANSITIONS = {1: 32, 2: 40, 3: None}


def build_densenet40(options: BuildOptions) -> keras.Model:
    """A 3x3 stem, three stages of six dense layers with transitions between them, the mean, a linear head.

    A dense layer appends its int(8 * size) units to what it reads. No ReLU follows the last batch normalisation.
    Taps: the stem after ReLU; the concatenation that ends every stage; the mean over positions.

    Source: Huang et al. 2017; Doimo et al. 2022, section 2; FACTS 14.1 (D8).
    """

    def convolution(name: str, tensor: Any, base: int, kernel: int) -> Any:
        return convolve(options, name, tensor, options.width(base), kernel=kernel, initializer=UNTRUNCATED_HE_NORMAL)

    def activate(tensor: Any, name: str) -> Any:
        return layers.ReLU(name=f"{name}_relu")(normalize_as_torch(tensor, name))

    inputs = keras.Input(options.input_shape, name="input")
    tensor = normalize_as_torch(convolution("stem", inputs, _STEM, kernel=3), "stem")
    tensor = layers.ReLU(name="tap_stem")(tensor)
    for stage, transition in _TRANSITIONS.items():
        for layer in range(1, _LAYERS_PER_STAGE + 1):
            name = f"stage{stage}_layer{layer}"
            new = convolution(f"{name}_conv1", activate(tensor, f"{name}_conv1"), _BOTTLENECK, kernel=1)
            new = convolution(f"{name}_conv2", activate(new, f"{name}_conv2"), _GROWTH, kernel=3)
            is_last = layer == _LAYERS_PER_STAGE
            tensor = layers.Concatenate(name=f"tap_stage{stage}" if is_last else f"{name}_join")([tensor, new])
        if transition is not None:
            name = f"transition{stage}"
            tensor = convolution(name, activate(tensor, name), transition, kernel=1)
            tensor = layers.AveragePooling2D(2, name=f"{name}_pool")(tensor)
    tensor = normalize_as_torch(tensor, "final")
    tensor = pool_last(options, tensor, initializer=UNTRUNCATED_HE_NORMAL, normalization=normalize_as_torch)
    return keras.Model(inputs, classify(options, tensor, initializer=TORCH_UNIFORM), name="densenet40")
