"""Pieces that several networks share: convolution, batch normalisation, dropout, pooling and the linear head."""

from collections.abc import Callable
from typing import Any, Literal

import keras
from keras import layers

from tfunits.layers import BatchNormalization, ReplicaDropout
from tfunits.models.initializers import DEFAULT_STD, derive_seed
from tfunits.models.options import BuildOptions

Padding = Literal["same", "valid"]
# PyTorch's defaults; its momentum of 0.1 is the weight of the new batch (FACTS 14.1).
_TORCH_MOMENTUM = 0.9
_TORCH_EPSILON = 1e-5


def convolve(
    options: BuildOptions,
    name: str,
    tensor: Any,
    units: int,
    *,
    kernel: int | tuple[int, int],
    stride: int = 1,
    padding: Padding | None = None,
    initializer: str,
    std: float = DEFAULT_STD,
) -> Any:
    """Convolution without bias.

    Args:
      options: of the network.
      name: of the layer, from which its seed is derived.
      tensor: images [batch, height, width, channels].
      units: output channels.
      kernel: its side, odd, or its height and width.
      stride: in both directions.
      padding: TensorFlow's; if None, (kernel - 1) / 2 pixels on every side, as the official models and PyTorch pad.
      initializer, std: the network's own distribution, as `BuildOptions.weights` takes them.
    """
    if padding is None and stride > 1 and kernel > 1:
        # SAME would pad by an amount that depends on the image's size.
        tensor = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(tensor)
    if kernel == 1 and stride > 1:
        # The same positions, picked first: TensorFlow 2.21 corrupts memory in the gradient of strided 1x1 convolutions
        # of few channels on CPUs (its oneDNN kernels; 4 channels on 56x56 pixels crash).
        tensor, stride = layers.AveragePooling2D(1, stride, name=f"{name}_pick")(tensor), 1
    return layers.Conv2D(
        units,
        kernel,
        stride,
        padding=padding or ("same" if stride == 1 else "valid"),
        use_bias=False,
        kernel_initializer=options.weights(name, initializer, std),
        name=name,
    )(tensor)


def normalize(
    tensor: Any,
    name: str,
    *,
    momentum: float,
    epsilon: float,
    scale: bool = True,
    gamma: keras.initializers.Initializer | None = None,
) -> Any:
    """Batch normalisation, in a layer named <name>_bn.

    Args:
      tensor: what is normalised.
      name: of the layer that it belongs to.
      momentum: weight of the old value in the moving averages.
      epsilon: added to the variance.
      scale: whether there is a factor per unit.
      gamma: initial values of these factors; ones if None.
    """
    return BatchNormalization(
        momentum=momentum, epsilon=epsilon, scale=scale, gamma_initializer=gamma or "ones", name=f"{name}_bn"
    )(tensor)


def normalize_as_torch(tensor: Any, name: str, *, gamma: keras.initializers.Initializer | None = None) -> Any:
    """Batch normalisation with PyTorch's constants; arguments as `normalize`."""
    return normalize(tensor, name, momentum=_TORCH_MOMENTUM, epsilon=_TORCH_EPSILON, gamma=gamma)


def drop(options: BuildOptions, name: str, tensor: Any) -> Any:
    """Dropout at the network's rate, in a layer named dropout_<name>; no layer at a rate of 0."""
    if options.dropout_rate == 0:
        return tensor
    seed = derive_seed(options.seed, f"dropout/{name}")
    return ReplicaDropout(options.dropout_rate, seed=seed, name=f"dropout_{name}")(tensor)


def pool_last(options: BuildOptions, tensor: Any, *, initializer: str, normalization: Callable[[Any, str], Any]) -> Any:
    """Mean over positions, tap `pooled`; before it, a 1x1 convolution to the last width where one is given.

    Args:
      options: of the network.
      tensor: the last feature map.
      initializer: the network's own distribution of convolutions.
      normalization: the network's batch normalisation, given a tensor and a name.

    Source: Doimo et al. 2022, section 4 and figure S4.
    """
    if options.last_width is not None:
        tensor = convolve(options, "last", tensor, options.last_width, kernel=1, initializer=initializer)
        tensor = normalization(tensor, "last")
    return layers.GlobalAveragePooling2D(name="tap_pooled")(tensor)


def classify(
    options: BuildOptions,
    tensor: Any,
    *,
    initializer: str,
    std: float = DEFAULT_STD,
    units: int | None = None,
    name: str = "logits",
) -> Any:
    """Linear head in float32: one logit a class, or the given number of units.

    Arguments as `convolve`; the bias starts at 0.
    """
    head = layers.Dense(
        options.num_classes if units is None else units,
        kernel_initializer=options.weights(name, initializer, std),
        dtype="float32",
        name=name,
    )
    return head(tensor)
