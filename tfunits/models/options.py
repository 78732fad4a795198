"""What every builder of a network is given."""

import dataclasses
from typing import Literal

import keras
import numpy as np

from tfunits.configs.facts import PRECISIONS
from tfunits.models.initializers import DEFAULT_STD, derive_seed, make_initializer


def _is_count(value: object) -> bool:
    return isinstance(value, int | np.integer) and value >= 1


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
      layer_size: width multiplier of the one varied block of inception_v3; None is `size`.
      last_width: units of the last hidden layer at every size; None is the network's own.
      auxiliary_head: whether there is a second output, auxiliary logits; None is the network's own.
      unscaled_branch: whether the authors' one convolution keeps its width at every size; None is the network's own.
      precision: numbers in which layers compute, one of `configs.facts.PRECISIONS`; logits are float32 in all of them.

    Raises:
      ValueError: a value outside these ranges.
    """

    size: float = 1.0
    input_shape: tuple[int, ...]
    num_classes: int
    initializer: str | None = None
    init_scale: float = 1.0
    dropout_rate: float = 0.0
    seed: int = 0
    layer_size: float | None = None
    last_width: int | None = None
    auxiliary_head: bool | None = None
    unscaled_branch: bool | None = None
    precision: str = "float32"

    def __post_init__(self) -> None:
        sides = [side for side in self.input_shape if side is not None]
        checks = {
            "input_shape": (
                len(self.input_shape) > 0 and all(_is_count(side) for side in sides),
                "at least one side, each a whole number of at least 1 or None",
            ),
            "num_classes": (_is_count(self.num_classes), "a whole number of at least 1"),
            "init_scale": (self.init_scale > 0, "a number above 0"),
            "dropout_rate": (0 <= self.dropout_rate < 1, "a number in [0, 1)"),
            "seed": (self.seed >= 0, "a whole number of at least 0"),
            "layer_size": (self.layer_size is None or self.layer_size > 0, "a number above 0 or None"),
            "last_width": (self.last_width is None or self.last_width >= 1, "a whole number of at least 1 or None"),
            "precision": (self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}"),
        }
        for name, (is_right, expected) in checks.items():
            if not is_right:
                raise ValueError(f"{name}: expected {expected}, received {getattr(self, name)}")

    def width(self, base: int, multiplier: Literal["size", "layer_size"] = "size") -> int:
        """Units of a layer whose base width is given: int(base * multiplier)."""
        return int(base * getattr(self, multiplier))

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
