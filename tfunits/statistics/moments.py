"""First and second moments of samples that arrive in pieces."""

import dataclasses
from typing import Self

import numpy as np

# A unit is constant if its standard deviation is below this share of its magnitude: rounding in float64 leaves
# about 1e-16, the smallest real spread of float32 activations about 1e-8.
CONSTANT_RELATIVE_STD = 1e-12
PRECISIONS = ("float32", "float64")
# Rows that are multiplied at once: enough that adding up their products costs nothing beside, and few enough that
# float32 loses little in them.
_BLOCK_ROWS = 4096
# Of float32: a block of squares of such numbers adds up to far less than its largest number, 2^128.
_LARGEST_SQUARED = 2.0**50
# Rows whose spread says how roughly float32 samples may be centred.
_SPREAD_ROWS = 256
# With fewer equal samples than this share of them, a unit has many different values.
_SOME_REPEATED = 0.25


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
    def from_samples(cls, samples: np.ndarray, precision: str = "float64") -> Self:
        """The moments of an array [samples, units].

        Args:
          samples: [samples, units].
          precision: in which centred samples are multiplied. "float32" takes half the time and leaves five to six
            digits of each entry over sqrt(scatter_ii scatter_jj), for up to a few thousand samples.

        Raises:
          ValueError: an array of another rank, or another precision.
        """
        if precision not in PRECISIONS:
            raise ValueError(f"precision: expected one of {', '.join(PRECISIONS)}, received {precision!r}")
        samples = np.asarray(samples)
        if samples.ndim != 2:
            raise ValueError(f"samples: expected shape [samples, units], received {samples.shape}; reshape them")
        if not len(samples):
            return cls.empty(samples.shape[1])
        if samples.dtype != precision and not (samples.dtype == np.float64 and precision == "float32"):
            samples = samples.astype(precision)
        # From the first sample on, so that a constant unit's mean is exact however many samples there are, and a
        # large offset is gone before anything is rounded to float32.
        shifted = (samples - samples[0]).astype(precision, copy=False)
        scale = _scales(shifted)
        if scale is not None:
            shifted = (shifted / scale).astype(precision)
        ones = np.ones(len(samples), precision)
        mean = ones @ shifted / len(samples)
        if precision == "float32":
            mean = _round_to_spread(mean, shifted[:_SPREAD_ROWS])
        centred = shifted - mean
        # What rounding has left of the mean.
        rest = (ones @ centred).astype(np.float64) / len(samples)
        scatter = (centred.T @ centred).astype(np.float64, copy=False) - len(samples) * np.outer(rest, rest)
        if scale is not None:
            mean, rest, scatter = mean * scale, rest * scale, scatter * np.outer(scale, scale)
        return cls(count=len(samples), mean=samples[0].astype(np.float64) + mean + rest, scatter=scatter)

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


def _scales(samples: np.ndarray) -> np.ndarray | None:
    """Powers of two, float64 [units], by which numbers have to be divided so that float32 holds sums of their squares.

    None where it holds them as they are: networks that were trained at too high a rate can reach 1e30 without
    diverging, and units that hardly move 1e-30.
    """
    if samples.dtype != np.float32 or not samples.size:
        return None
    largest = np.maximum(samples.max(axis=0), -samples.min(axis=0))
    held = (largest >= 1 / _LARGEST_SQUARED) & (largest <= _LARGEST_SQUARED)
    if (held | (largest == 0)).all():
        return None
    return np.where(held, 1.0, np.ldexp(1.0, np.frexp(largest)[1]))


def _round_to_spread(mean: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """A float32 mean to a quarter of a power of two near the standard deviation of each unit whose values repeat.

    Activations have few different values where they are zeros, whole numbers or a small spread at a large offset. With
    so short a mean taken off, the products of a few bits are exact, where float32 would round equal ones alike, time
    and again. Many different values keep the long mean: were they multiples of one step, so would their squares be, of
    which odd ones are 1 mod 8, and float32 would round down time and again.
    """
    spread = np.ldexp(np.float32(1), np.frexp(rows.std(axis=0))[1])
    rough = (spread > np.finfo(np.float32).tiny) & rows.any(axis=0)
    if len(rows) == _SPREAD_ROWS:
        ordered = np.sort(np.ascontiguousarray(rows.T), axis=1)
        rough &= (ordered[:, 1:] == ordered[:, :-1]).mean(axis=1) >= _SOME_REPEATED
    spread = np.where(rough, spread, 1)
    return np.where(rough, np.round(mean * 4 / spread) * (spread / 4), mean)


class StreamingMoments:
    """Moments of samples that arrive in pieces, which are multiplied in blocks of a fixed number of rows.

    The result does not depend on how the rows are cut into pieces, to the last bit; memory not on how many there are.

    Args:
      num_units: columns of every piece.
      precision: of `Moments.from_samples`.

    Example:
      >>> stream = StreamingMoments(1)
      >>> stream.add(np.array([[0.0], [2.0]]))
      >>> stream.add(np.array([[4.0]]))
      >>> stream.moments().mean
      array([2.])
    """

    def __init__(self, num_units: int, precision: str = "float64") -> None:
        self._total = Moments.empty(num_units)
        self._precision = precision
        self._waiting: list[np.ndarray] = []
        self._num_waiting = 0

    def add(self, rows: np.ndarray) -> None:
        """Add samples [samples, units]."""
        while len(rows):
            part = rows[: _BLOCK_ROWS - self._num_waiting]
            rows = rows[len(part) :]
            self._waiting.append(part)
            self._num_waiting += len(part)
            if self._num_waiting == _BLOCK_ROWS:
                self._total = self.moments()
                self._waiting, self._num_waiting = [], 0
            else:
                # The caller may write over its rows, and would otherwise keep all of them in memory.
                self._waiting[-1] = part.copy()

    def moments(self) -> Moments:
        """The moments of all samples so far."""
        if not self._waiting:
            return self._total
        # In one order in memory, since products of another are rounded otherwise.
        block = np.ascontiguousarray(self._waiting[0] if len(self._waiting) == 1 else np.concatenate(self._waiting))
        return self._total.merge(Moments.from_samples(block, self._precision))
