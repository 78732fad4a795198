"""Distributions of initial weights, each seeded by the network's seed and the layer's name."""

import hashlib

import keras

# name -> (variance scale, fan, distribution) of Keras' VarianceScaling. Its truncated normal has the stated variance
# after truncation, as TensorFlow 1's and so the papers'.
_VARIANCE_SCALING = {
    f"{family}_{distribution}": (scale, fan, keras_name)
    for family, scale, fan in (("glorot", 1.0, "fan_avg"), ("he", 2.0, "fan_in"), ("lecun", 1.0, "fan_in"))
    for distribution, keras_name in (("normal", "truncated_normal"), ("uniform", "uniform"))
}
# Distributions of single networks, which no flag names.
UNTRUNCATED_HE_NORMAL = "untruncated_he_normal"
TORCH_UNIFORM = "torch_uniform"
_OF_NETWORKS = {
    UNTRUNCATED_HE_NORMAL: (2.0, "fan_in", "untruncated_normal"),
    # PyTorch's linear layers: uniform within 1 / sqrt(fan_in), a variance of a third of 1 / fan_in.
    TORCH_UNIFORM: (1 / 3, "fan_in", "uniform"),
}
# Standard deviation of `normal` and `truncated_normal` where a network states no other (Casper et al. 2021, app. A).
DEFAULT_STD = 0.01


def derive_seed(seed: int, name: str) -> int:
    """A seed for one named purpose, below 2^31, independent of every other name's."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4]) >> 1


def make_initializer(
    name: str, *, scale: float = 1.0, std: float = DEFAULT_STD, seed: int
) -> keras.initializers.Initializer:
    """The named distribution.

    Args:
      name: glorot, he or lecun with _normal or _uniform; normal; truncated_normal (not corrected for truncation);
        untruncated_he_normal and torch_uniform, which are networks' own.
      scale: factor on the standard deviation.
      std: standard deviation of normal and truncated_normal before the factor.
      seed: of this layer, from `derive_seed`.

    Raises:
      ValueError: an unknown name.
    """
    scaling = _VARIANCE_SCALING | _OF_NETWORKS
    if name in scaling:
        variance, fan, distribution = scaling[name]
        return keras.initializers.VarianceScaling(variance * scale**2, fan, distribution, seed=seed)
    if name == "normal":
        return keras.initializers.RandomNormal(0.0, std * scale, seed=seed)
    if name == "truncated_normal":
        return keras.initializers.TruncatedNormal(0.0, std * scale, seed=seed)
    known = ", ".join([*_VARIANCE_SCALING, "normal", "truncated_normal"])
    raise ValueError(f"initializer: expected one of {known}, received {name!r}")
