"""Networks of dense layers: the papers' one-hidden-layer MLP, and the five-layer network with one output."""

import keras
from keras import layers

from tfunits.configs import MODELS
from tfunits.models.options import BuildOptions

# Casper et al.'s program (FACTS 2.5, F23): the hidden layer starts ten times smaller than the output layer.
_HIDDEN_STD = 1e-3
_OUTPUT_STD = 1e-2


def build_mlp(options: BuildOptions) -> keras.Model:
    """One hidden ReLU layer of int(128 * size) units; images are flattened.

    Source: Casper et al. 2021, appendix A.
    Differs: the text gives one standard deviation, 0.01, for both layers; the authors' program 0.001 for the hidden.
    """
    inputs = keras.Input(options.input_shape, name="input")
    flat = layers.Flatten(name="flatten")(inputs) if len(options.input_shape) > 1 else inputs
    hidden = _dense(options, "hidden", options.width(MODELS["mlp"].base_widths["hidden"]), _HIDDEN_STD)(flat)
    hidden = layers.ReLU(name="tap_hidden")(hidden)
    return keras.Model(inputs, _dense(options, "logits", options.num_classes, _OUTPUT_STD)(hidden), name="mlp")


def _dense(options: BuildOptions, name: str, units: int, std: float) -> layers.Dense:
    return layers.Dense(units, kernel_initializer=options.weights(name, "truncated_normal", std), name=name)


def build_fc5(options: BuildOptions) -> keras.Model:
    """Four hidden ReLU layers of int(128 * size) units and one output, whose sign is the class.

    Source: Doimo et al. 2022, section 2.

    Raises:
      ValueError: a number of classes other than two.
    """
    if options.num_classes != 2:
        raise ValueError(f"num_classes: expected 2, since fc5 has one output, received {options.num_classes}")
    inputs = keras.Input(options.input_shape, name="input")
    tensor = layers.Flatten(name="flatten")(inputs) if len(options.input_shape) > 1 else inputs
    for name, base in MODELS["fc5"].base_widths.items():
        tensor = layers.Dense(options.width(base), kernel_initializer=options.weights(name, "he_normal"), name=name)(
            tensor
        )
        tensor = layers.ReLU(name=f"tap_{name}")(tensor)
    output = layers.Dense(1, kernel_initializer=options.weights("output", "he_normal"), name="output")
    return keras.Model(inputs, output(tensor), name="fc5")
