"""Networks of dense layers: the papers' one-hidden-layer MLP, and the five-layer network with one output."""

import keras
from keras import layers

from tfunits.models.blocks import classify
from tfunits.models.options import BuildOptions

# Units of every hidden layer at size 1.
_UNITS = 128
_FC5_LAYERS = ("hidden1", "hidden2", "hidden3", "hidden4")
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
    weights = options.weights("hidden", "truncated_normal", _HIDDEN_STD)
    hidden = layers.Dense(options.width(_UNITS), kernel_initializer=weights, name="hidden")(flat)
    hidden = layers.ReLU(name="tap_hidden")(hidden)
    logits = classify(options, hidden, initializer="truncated_normal", std=_OUTPUT_STD)
    return keras.Model(inputs, logits, name="mlp")


def build_fc5(options: BuildOptions) -> keras.Model:
    """Four hidden ReLU layers of int(128 * size) units and one output, whose sign is the class.

    Source: Doimo et al. 2022, section 2.
    """
    inputs = keras.Input(options.input_shape, name="input")
    tensor = layers.Flatten(name="flatten")(inputs) if len(options.input_shape) > 1 else inputs
    for name in _FC5_LAYERS:
        weights = options.weights(name, "he_normal")
        tensor = layers.Dense(options.width(_UNITS), kernel_initializer=weights, name=name)(tensor)
        tensor = layers.ReLU(name=f"tap_{name}")(tensor)
    return keras.Model(inputs, classify(options, tensor, initializer="he_normal", units=1, name="output"), name="fc5")
