"""In which order a tap's units are masked, and how many of them at every level."""

import dataclasses
import zlib
from collections.abc import Sequence

import numpy as np

from tfunits.statistics import correlation_matrix

# What decides the order: chance; |r| with a random unit, largest first; or a rank, what seems to matter least first.
ORDERS = ("random", "targeted", "l1_norm", "mean_activation", "zero_share")
# Those that need the units' activations beforehand.
ORDERS_BY_ACTIVATION = ("targeted", "mean_activation", "zero_share")


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskingPlan:
    """Which units of one tap are masked in every draw and level.

    Attributes:
      shape: of one mask.
      removed: number of masked units at every level, int64 [levels].
      rank: place of every unit in each draw's order, int64 [draws, units]; the first `removed` are masked.
    """

    shape: tuple[int, ...]
    removed: np.ndarray
    rank: np.ndarray

    @classmethod
    def draw(
        cls,
        name: str,
        shape: tuple[int, ...],
        *,
        draws: int | range,
        levels: int,
        protocol: str = "exact",
        seed: int = 0,
        order: str = "random",
        covariance: np.ndarray | None = None,
        scores: np.ndarray | None = None,
    ) -> "MaskingPlan":
        """Draw the orders of one tap.

        Args:
          name: of the tap; taps of different names have different orders.
          shape: of one mask: (1, ..., units), or (..., units) where every location is a unit.
          draws: their number, or which ones; a draw's order does not depend on how many there are.
          levels: points of the curve.
          protocol: "exact" for floor(i n / (levels - 1)) units at level i, "authors" for int(level * n).
          seed: of the orders.
          order: of `ORDERS`.
          covariance: of the channels, [units, units], for "targeted".
          scores: of the channels, [units], smallest masked first, for the orders by rank. Equal ones, and the
            locations of one channel, go in random order.
        """
        num_units = int(np.prod(shape))
        if protocol == "authors":
            removed = np.array([int(level * num_units) for level in np.linspace(0, 1, levels)])
        else:
            removed = np.arange(levels) * num_units // (levels - 1)
        ranks = []
        for draw in range(draws) if isinstance(draws, int) else draws:
            generator = np.random.default_rng([seed, draw, zlib.crc32(name.encode())])
            sequence = generator.permutation(num_units)
            if order == "targeted":
                scores = _distance_from_random_unit(covariance, generator)
            if order != "random":
                repeated = np.resize(scores, num_units)
                sequence = sequence[np.argsort(repeated[sequence], kind="stable")]
            ranks.append(np.argsort(sequence))
        return cls(shape=shape, removed=removed, rank=np.array(ranks))

    @property
    def num_units(self) -> int:
        """Number of units that can be masked."""
        return self.rank.shape[1]

    @property
    def num_draws(self) -> int:
        """Number of orders."""
        return len(self.rank)

    def mask(self, draw: int, level: int) -> np.ndarray:
        """1 for kept and 0 for masked units, float32 of `shape`."""
        return (self.rank[draw] >= self.removed[level]).astype("float32").reshape(self.shape)


def _distance_from_random_unit(covariance: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """-|r| of every unit with a random one, which comes first; units that never change come last."""
    unit = int(generator.integers(len(covariance)))
    distance = -np.abs(np.nan_to_num(correlation_matrix(covariance)[unit]))
    distance[unit] = -np.inf
    return distance


def distinct_trials(plans: Sequence[MaskingPlan]) -> list[list[tuple[int, int]]]:
    """Groups of (draw, level) that mask the same units of all plans together; levels without a masked unit need none.

    With every unit masked, the order that led there does not matter.
    """
    groups: dict[tuple, list[tuple[int, int]]] = {}
    for draw in range(plans[0].num_draws):
        for level in range(len(plans[0].removed)):
            removed = tuple(int(plan.removed[level]) for plan in plans)
            everything = all(count == plan.num_units for count, plan in zip(removed, plans, strict=True))
            if any(removed):
                groups.setdefault((None if everything else draw, removed), []).append((draw, level))
    return list(groups.values())
