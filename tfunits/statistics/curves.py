"""Ablation curves, and the numbers read off them."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

# Prunable units are counted against the units of the network at this size (Casper et al. 2021, section 3).
REFERENCE_SIZE = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class AblationCurve:
    """Agreement of a network with itself while growing shares of its units are masked.

    Attributes:
      num_units: units that can be masked.
      num_examples: examples whose predicted class was compared.
      fractions: masked share of the units at every level, float64 [levels], from 0 to 1.
      num_agreeing: examples whose predicted class is that of the whole network, int64 [draws, levels].
    """

    num_units: int
    num_examples: int
    fractions: np.ndarray
    num_agreeing: np.ndarray

    @property
    def agreement(self) -> np.ndarray:
        """Share of unchanged predictions, float64 [draws, levels], in [0, 1]."""
        return self.num_agreeing / self.num_examples

    @property
    def area(self) -> float:
        """Plain mean of the agreements at the levels, averaged over draws, in [0, 1]."""
        return float(area_under_curve(self.agreement).mean())

    def crossings(self, tolerance: float = 0.2) -> np.ndarray:
        """Masked fraction at which each draw's curve falls through 1 - tolerance, float64 [draws]."""
        return np.array([crossing_fraction(self.fractions, row, tolerance) for row in self.agreement])

    def prunability(
        self, tolerance: float = 0.2, *, size: float | None = None, by_mean: bool = False
    ) -> tuple[float, float]:
        """Prunable share of the units: (largest, mean) over the draws.

          p = max_draws crossing * size / 4      (without size: the raw fraction)

        Args:
          tolerance: share of changed predictions that is allowed, in (0, 1].
          size: the network's width multiplier; the result is then in units of the network at size 4.
          by_mean: let the mean stand for the largest, which grows with the number of draws, where curves have
            different numbers of them.

        Source: Casper et al. 2021, section 3. The largest of three draws is biased upwards, so the mean stands beside.
        """
        scale = 1.0 if size is None else size / REFERENCE_SIZE
        crossings = self.crossings(tolerance)
        mean = float(crossings.mean() * scale)
        return mean if by_mean else float(crossings.max() * scale), mean

    def non_prunability(self, tolerance: float = 0.2, *, size: float | None = None, by_mean: bool = False) -> float:
        """Share of units that cannot be pruned, smallest over draws: size / 4 (or 1) minus `prunability`."""
        whole = 1.0 if size is None else size / REFERENCE_SIZE
        return whole - self.prunability(tolerance, size=size, by_mean=by_mean)[0]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "num_units": self.num_units,
            "num_examples": self.num_examples,
            "fractions": self.fractions.tolist(),
            "num_agreeing": self.num_agreeing.tolist(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The curve written by `to_dict`."""
        return cls(
            num_units=values["num_units"],
            num_examples=values["num_examples"],
            fractions=np.array(values["fractions"], float),
            num_agreeing=np.array(values["num_agreeing"], int),
        )


def crossing_fraction(fractions: np.ndarray, agreement: np.ndarray, tolerance: float = 0.2) -> float:
    """The ablated fraction at which agreement first falls through 1 - tolerance; the last if it never does.

      f_i + (a_i - t) / (a_i - a_{i+1}) * (f_{i+1} - f_i)   with  t = 1 - tolerance,  i first with a_i >= t > a_{i+1}

    Args:
      fractions: ablated fraction at every level, rising, [levels].
      agreement: share of unchanged predictions at every level, [levels]; at the first level it is 1.
      tolerance: share of changed predictions that is allowed, in (0, 1].

    Returns: a fraction in [0, 1], where fractions end at 1.

    Raises:
      ValueError: shapes that differ, or a tolerance outside (0, 1].

    Example:
      >>> round(crossing_fraction([0, 0.5, 1], [1.0, 0.9, 0.5], tolerance=0.2), 3)
      0.625

    Source: Casper et al. 2021, section 3 (prunability); their program for the interpolation.
    """
    fractions, agreement = np.asarray(fractions, float), np.asarray(agreement, float)
    if fractions.shape != agreement.shape or fractions.ndim != 1:
        raise ValueError(f"agreement: expected shape {fractions.shape} as fractions, received {agreement.shape}")
    if not 0 < tolerance <= 1:
        raise ValueError(f"tolerance: expected a number in (0, 1], received {tolerance}")
    line = 1 - tolerance
    falls = np.flatnonzero((agreement[:-1] >= line) & (agreement[1:] < line))
    if not len(falls):
        return float(fractions[-1])
    i = falls[0]
    share = (agreement[i] - line) / (agreement[i] - agreement[i + 1])
    return float(fractions[i] + share * (fractions[i + 1] - fractions[i]))


def area_under_curve(agreement: np.ndarray) -> np.ndarray:
    """Plain mean of the agreements at the levels, in [0, 1]; the last axis holds the levels.

    Source: Casper et al. 2019 (both versions): the area under the ablation curve.
    """
    return np.mean(agreement, axis=-1)
