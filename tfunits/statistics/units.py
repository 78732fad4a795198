"""What second moments say of the units of one layer."""

import concurrent.futures
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from tfunits.statistics.components import count_components, principal_variances
from tfunits.statistics.correlation import correlation_histogram, correlation_matrix, count_similar
from tfunits.statistics.curves import REFERENCE_SIZE
from tfunits.statistics.moments import Moments
from tfunits.statistics.threads import one_thread

# With fewer rows per unit the sample covariance makes independent units look redundant (DESIGN section 6).
ROWS_PER_UNIT = 5
SILENT_ACTIVE_SHARE = 0.01
CONSTANT_VARIATION = 0.01
# FACTS 7: below it the authors' program calls a unit not selective.
SELECTIVITY = 0.05
# Components with less than this share of the largest variance are rounding of float32 activations and products.
_RANK_TOLERANCE = 1e-6


@dataclasses.dataclass(frozen=True, kw_only=True)
class UnitStatistics:
    """Statistics of one layer's units over rows (positions of examples), one entry a sampling of rows.

    Attributes:
      num_rows: rows in every sampling.
      mean, std: of every unit, float64 [samplings, units].
      active_share: share of all positions of all examples, sampled or not, at which a unit is not 0, float64 [units].
      principal_variances: variances of the principal components, largest first, float64 [samplings, units].
      num_similar: other units with |r| at or above `similarity_threshold`, int64 [samplings, units].
      correlation_histogram: pairs of units by |r|, in 50 bins of [0, 1], int64 [samplings, 50].
      constant: units that never change, bool [samplings, units].
      selectivity: of every unit for one class, float64 [units] in [0, 1]; NaN where a class mean is negative, and
        everywhere without labels.
      similarity_threshold: |r| from which two units are similar.
    """

    num_rows: int
    mean: np.ndarray
    std: np.ndarray
    active_share: np.ndarray
    principal_variances: np.ndarray
    num_similar: np.ndarray
    correlation_histogram: np.ndarray
    constant: np.ndarray
    selectivity: np.ndarray
    similarity_threshold: float

    @classmethod
    def from_moments(
        cls,
        moments: Sequence[Moments],
        active_share: np.ndarray,
        similarity_threshold: float = 0.5,
        *,
        class_means: np.ndarray | None = None,
    ) -> Self:
        """The statistics of the same units in one or more samplings of rows.

        Args:
          moments: one per sampling, of equal counts.
          active_share: share of all positions at which each unit is not 0, [units].
          similarity_threshold: in (0, 1].
          class_means: mean activation of every class and unit, [classes, units]; None without labels.
        """
        correlations = [correlation_matrix(m.covariance, m.constant) for m in moments]
        # Rounding noise of units that never change is no component.
        varying = [np.where(np.outer(~m.constant, ~m.constant), m.covariance, 0) for m in moments]
        # Side by side on one thread each: threads within a decomposition mostly wait for each other.
        with one_thread(), concurrent.futures.ThreadPoolExecutor(len(moments)) as pool:
            variances = np.array(list(pool.map(principal_variances, varying)))
        return cls(
            num_rows=moments[0].count,
            mean=np.array([m.mean for m in moments]),
            std=np.array([m.std for m in moments]),
            active_share=np.asarray(active_share, np.float64),
            principal_variances=variances,
            num_similar=np.array([count_similar(r, similarity_threshold) for r in correlations]),
            correlation_histogram=np.array([correlation_histogram(r) for r in correlations]),
            constant=np.array([m.constant for m in moments]),
            selectivity=np.full(moments[0].num_units, np.nan)
            if class_means is None
            else class_selectivity(class_means),
            similarity_threshold=similarity_threshold,
        )

    @property
    def num_units(self) -> int:
        """Number of units."""
        return self.mean.shape[1]

    @property
    def rank_limited(self) -> bool:
        """Whether there are too few rows to tell redundant units from unseen directions."""
        return self.num_rows < ROWS_PER_UNIT * self.num_units

    def num_components(self, variance_fraction: float = 0.95, *, rule: str = "exact") -> float:
        """Principal components that hold a share of the variance, averaged over samplings."""
        counts = [count_components(v, variance_fraction, rule=rule) for v in self.principal_variances]
        return float(np.mean(counts))

    def num_redundant(self, variance_fraction: float = 0.95, *, rule: str = "exact") -> float:
        """Units beyond the components that hold a share of the variance, averaged over samplings."""
        return self.num_units - self.num_components(variance_fraction, rule=rule)

    def redundancy(
        self, variance_fraction: float = 0.95, *, rule: str = "exact", size: float | None = None
    ) -> tuple[float, float]:
        """Shares of units that are redundant and that are not: (n - r) / n and r / n, each times size / 4.

        Args:
          variance_fraction: share of the variance that the r components hold, in (0, 1].
          rule: of `count_components`.
          size: the network's width multiplier; None for raw shares.

        Source: Casper et al. 2021, section 3.
        """
        scale = 1.0 if size is None else size / REFERENCE_SIZE
        share = self.num_redundant(variance_fraction, rule=rule) / self.num_units
        return share * scale, (1 - share) * scale

    def mean_similar(self, *, constant_counts: int = 0) -> float:
        """Mean over units and samplings of the number of similar other units.

        Args:
          constant_counts: what a constant unit counts; the authors' program gives -1.
        """
        return float(np.where(self.constant, constant_counts, self.num_similar).mean())

    @property
    def dead(self) -> np.ndarray:
        """Units that are 0 everywhere, bool [units]."""
        return self.active_share == 0

    def silent(self, active_share: float = SILENT_ACTIVE_SHARE) -> np.ndarray:
        """Units that are not 0 at less than a share of all positions, dead ones included, bool [units]."""
        return self.active_share < active_share

    def nearly_constant(self, variation: float = CONSTANT_VARIATION) -> np.ndarray:
        """Units whose std is below a share of |mean|, those that never change included, bool [units]."""
        coefficient = self.std < variation * np.abs(self.mean)
        return (coefficient | self.constant).all(axis=0)

    @property
    def has_classes(self) -> bool:
        """Whether the data had labels."""
        return not np.isnan(self.selectivity).all()

    def selective(self, selectivity: float = SELECTIVITY) -> np.ndarray:
        """Units whose class selectivity is at least this, bool [units]; none with a negative class mean is."""
        return self.selectivity >= selectivity

    def rank(self, tolerance: float = _RANK_TOLERANCE) -> float:
        """Rank of the centred activations, averaged over samplings: components with more than a share of the largest
        variance."""
        largest = self.principal_variances.max(axis=1, keepdims=True)
        return float((self.principal_variances > tolerance * largest).sum(axis=1).mean())

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Everything as arrays, for .npz."""
        return {field.name: np.asarray(getattr(self, field.name)) for field in dataclasses.fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """The statistics written by `to_arrays`."""
        arrays = {"selectivity": np.full(len(arrays["active_share"]), np.nan), **arrays}
        scalars = {"num_rows": int(arrays["num_rows"]), "similarity_threshold": float(arrays["similarity_threshold"])}
        return cls(**{**{field.name: arrays[field.name] for field in dataclasses.fields(cls)}, **scalars})


def class_selectivity(class_means: np.ndarray) -> np.ndarray:
    """How much more a unit is active for one class than for the others.

      s = (m_c - m_rest) / (m_c + m_rest),  m_c the largest class mean, m_rest the mean of the others

    Args:
      class_means: mean activation of every class and unit, [classes, units].

    Returns: float64 [units] in [0, 1]; 0 for dead units and a single class; NaN for units with a negative class mean,
      of which the quotient says nothing.

    Source: Morcos et al. 2018 (On the importance of single directions), section 3; FACTS 7.
    """
    means = np.asarray(class_means, np.float64)
    if len(means) < 2:
        return np.zeros(means.shape[1])
    largest = means.max(axis=0)
    rest = (means.sum(axis=0) - largest) / (len(means) - 1)
    total = largest + rest
    selectivity = np.divide(largest - rest, total, out=np.zeros_like(total), where=total != 0)
    return np.where((means < 0).any(axis=0), np.nan, selectivity)
