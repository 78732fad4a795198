"""AlexNet for CIFAR-sized images."""

import keras
from keras import layers

from tfunits.configs import MODELS
from tfunits.layers import LocalResponseNormalization, ReplicaDropout
from tfunits.models.initializers import derive_seed
from tfunits.models.options import BuildOptions

_DEFAULT_INITIALIZER = "glorot_normal"
_KERNEL = 5
# Every bias but those of the first and the last layer (FACTS 2.1).
_INNER_BIAS = 0.1


def build_alexnet(options: BuildOptions) -> keras.Model:
    """Two convolutions with pooling and local response normalisation, two dense layers, a linear head.

    Taps: conv1, conv2 after ReLU and before pooling; fc3, fc4 after ReLU and before dropout.

    Source: Casper et al. 2021, appendix A; FACTS 2.1.
    """
    widths = {name: options.width(base) for name, base in MODELS["alexnet"].base_widths.items()}
    inputs = keras.Input(options.input_shape, name="input")
    tensor = inputs
    for number, bias in ((1, 0.0), (2, _INNER_BIAS)):
        name = f"conv{number}"
        tensor = layers.Conv2D(
            widths[name],
            _KERNEL,
            padding="same",
            kernel_initializer=options.weights(name, _DEFAULT_INITIALIZER),
            bias_initializer=keras.initializers.Constant(bias),
            name=name,
        )(tensor)
        tensor = layers.ReLU(name=f"tap_{name}")(tensor)
        tensor = layers.MaxPooling2D(3, 2, padding="same", name=f"pool{number}")(tensor)
        tensor = LocalResponseNormalization(name=f"norm{number}")(tensor)
    tensor = layers.Flatten(name="flatten")(tensor)
    for name in ("fc3", "fc4"):
        tensor = _dense(options, name, widths[name], _INNER_BIAS)(tensor)
        tensor = layers.ReLU(name=f"tap_{name}")(tensor)
        if options.dropout_rate > 0:
            seed = derive_seed(options.seed, f"dropout/{name}")
            tensor = ReplicaDropout(options.dropout_rate, seed=seed, name=f"dropout_{name}")(tensor)
    return keras.Model(inputs, _dense(options, "logits", options.num_classes, 0.0)(tensor), name="alexnet")


def _dense(options: BuildOptions, name: str, units: int, bias: float) -> layers.Dense:
    return layers.Dense(
        units,
        kernel_initializer=options.weights(name, _DEFAULT_INITIALIZER),
        bias_initializer=keras.initializers.Constant(bias),
        name=name,
    )
