"""AlexNet for CIFAR-sized images."""

import keras
from keras import layers

from tfunits.layers import LocalResponseNormalization
from tfunits.models.blocks import classify, drop
from tfunits.models.options import BuildOptions

# Layer -> units at size 1.
_CONVOLUTIONS = {"conv1": 96, "conv2": 256}
_DENSE = {"fc3": 384, "fc4": 192}
_DEFAULT_INITIALIZER = "glorot_normal"
_KERNEL = 5
# Every bias but those of the first and the last layer (FACTS 2.1).
_INNER_BIAS = 0.1


def build_alexnet(options: BuildOptions) -> keras.Model:
    """Two convolutions with pooling and local response normalisation, two dense layers, a linear head.

    Taps: conv1, conv2 after ReLU and before pooling; fc3, fc4 after ReLU and before dropout.

    Source: Casper et al. 2021, appendix A; FACTS 2.1.
    """
    inputs = keras.Input(options.input_shape, name="input")
    inner_bias = keras.initializers.Constant(_INNER_BIAS)
    tensor = inputs
    for number, (name, base) in enumerate(_CONVOLUTIONS.items(), start=1):
        tensor = layers.Conv2D(
            options.width(base),
            _KERNEL,
            padding="same",
            kernel_initializer=options.weights(name, _DEFAULT_INITIALIZER),
            bias_initializer="zeros" if number == 1 else inner_bias,
            name=name,
        )(tensor)
        tensor = layers.ReLU(name=f"tap_{name}")(tensor)
        tensor = layers.MaxPooling2D(3, 2, padding="same", name=f"pool{number}")(tensor)
        # In float32 at every precision, since TensorFlow has no such operation for bfloat16 on a CPU.
        tensor = LocalResponseNormalization(name=f"norm{number}", dtype="float32")(tensor)
    tensor = layers.Flatten(name="flatten")(tensor)
    for name, base in _DENSE.items():
        tensor = layers.Dense(
            options.width(base),
            kernel_initializer=options.weights(name, _DEFAULT_INITIALIZER),
            bias_initializer=inner_bias,
            name=name,
        )(tensor)
        tensor = layers.ReLU(name=f"tap_{name}")(tensor)
        tensor = drop(options, name, tensor)
    return keras.Model(inputs, classify(options, tensor, initializer=_DEFAULT_INITIALIZER), name="alexnet")
