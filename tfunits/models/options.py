"""What every builder of a network is given."""

import dataclasses

import keras

from tfunits.models.initializers import DEFAULT_STD, derive_seed, make_initializer


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """Width, shapes and initial weights of a network to be built.

    Attributes:
      size: width multiplier.
      input_shape: shape of one example.
      num_classes: number of labels.
      initializer: distribution of every layer's weights; None is the network's own.
      init_scale: factor on the initial weights' standard deviation.
      dropout_rate: share of units dropped in training, where the network has dropout.
      seed: of the initial weights and dropout masks.

    Raises:
      ValueError: a number outside these ranges.
    """

    size: float = 1.0
    input_shape: tuple[int, ...]
    num_classes: int
    initializer: str | None = None
    init_scale: float = 1.0
    dropout_rate: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        checks = {
            "num_classes": (self.num_classes >= 1, "at least 1"),
            "init_scale": (self.init_scale > 0, "a number above 0"),
            "dropout_rate": (0 <= self.dropout_rate < 1, "a number in [0, 1)"),
            "seed": (self.seed >= 0, "a whole number of at least 0"),
        }
        for name, (is_right, expected) in checks.items():
            if not is_right:
                raise ValueError(f"{name}: expected {expected}, received {getattr(self, name)}")

    def width(self, base: int) -> int:
        """Units of a layer whose base width is given: int(base * size)."""
        return int(base * self.size)

    def weights(self, layer: str, default: str, std: float = DEFAULT_STD) -> keras.initializers.Initializer:
        """Initial weights of one layer.

        Args:
          layer: the layer's name.
          default: the network's own distribution for it.
          std: standard deviation of the normal distributions there.
        """
        return make_initializer(
            self.initializer or default, scale=self.init_scale, std=std, seed=derive_seed(self.seed, layer)
        )
