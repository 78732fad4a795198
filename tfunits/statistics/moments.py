"""First and second moments of samples that arrive in pieces."""

import dataclasses
from typing import Self

import numpy as np

# A unit is constant if its standard deviation is below this share of its magnitude: rounding in float64 leaves
# about 1e-16, the smallest real spread of float32 activations about 1e-8.
CONSTANT_RELATIVE_STD = 1e-12


@dataclasses.dataclass(frozen=True, kw_only=True)
class Moments:
    """Count, mean and centred scatter of samples [samples, units].

      mean = sum_i x_i / N        scatter = sum_i (x_i - mean)(x_i - mean)^T

    Pieces are centred before they are squared and merged by the update of Chan, Golub and LeVeque (1979), so that
    neither a large offset nor the size of the pieces costs digits. Merging is associative and commutative up to
    float64 rounding.

    Attributes:
      count: number of samples N.
      mean: float64 [units].
      scatter: float64 [units, units].

    Example:
      >>> halves = [Moments.from_samples(np.array([[0.0], [2.0]])), Moments.from_samples(np.array([[4.0]]))]
      >>> halves[0].merge(halves[1]).covariance
      array([[4.]])
    """

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    @classmethod
    def empty(cls, num_units: int) -> Self:
        """The moments of no sample."""
        return cls(count=0, mean=np.zeros(num_units), scatter=np.zeros((num_units, num_units)))

    @classmethod
    def from_samples(cls, samples: np.ndarray) -> Self:
        """The moments of an array [samples, units]."""
        samples = np.asarray(samples, np.float64)
        if samples.ndim != 2:
            raise ValueError(f"samples: expected shape [samples, units], received {samples.shape}; reshape them")
        if not len(samples):
            return cls.empty(samples.shape[1])
        # From the first sample on, so that a constant unit's mean is exact however many samples there are.
        mean = samples[0] + (samples - samples[0]).mean(axis=0)
        centred = samples - mean
        return cls(count=len(samples), mean=mean, scatter=centred.T @ centred)

    def merge(self, other: Self) -> Self:
        """The moments of both sets of samples together.

        Raises:
          ValueError: different numbers of units.
        """
        if self.mean.shape != other.mean.shape:
            raise ValueError(f"other: expected {len(self.mean)} units, received {len(other.mean)}")
        if not self.count or not other.count:
            return other if not self.count else self
        count = self.count + other.count
        shift = other.mean - self.mean
        weight = self.count * other.count / count
        return type(self)(
            count=count,
            mean=self.mean + shift * (other.count / count),
            scatter=self.scatter + other.scatter + weight * np.outer(shift, shift),
        )

    @property
    def num_units(self) -> int:
        """Number of units."""
        return len(self.mean)

    @property
    def covariance(self) -> np.ndarray:
        """Unbiased covariance scatter / (N - 1), float64 [units, units].

        Raises:
          ValueError: fewer than two samples.
        """
        if self.count < 2:
            raise ValueError(f"samples: expected at least two, received {self.count}; measure on more examples")
        return self.scatter / (self.count - 1)

    @property
    def std(self) -> np.ndarray:
        """Standard deviation (N - 1) of every unit, float64 [units]."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def constant(self) -> np.ndarray:
        """Whether a unit never changes, bool [units]."""
        return self.std <= CONSTANT_RELATIVE_STD * np.abs(self.mean)
