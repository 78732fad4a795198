"""Where a mean lies, seen from few replicates: t intervals of values, differences and ratios."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

# CLAIMS, rule (1).
CONFIDENCE = 0.95
# Below it the spread of replicates says next to nothing (CLAIMS, rule (1)).
FEWEST_REPLICATES = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate, and the t interval around it.

    Attributes:
      value: the estimate.
      low, high: ends of the interval; infinite where nothing bounds it, NaN of a single replicate.
      count: replicates; of two unpaired groups those of the smaller one.
      error: standard error of the value; 0 for replicates that are all equal.
      freedom: degrees of freedom of the t distribution.
    """

    value: float
    low: float
    high: float
    count: int
    error: float
    freedom: float

    def p_value(self, bound: float, side: str) -> float:
        """P value of a bound, two-sided: at most 1 - confidence where the interval lies wholly beyond it.

          p = min(1, 2 P(T >= (value - bound) / error))       of side "above"; mirrored of side "below"

        Args:
          bound: compared with.
          side: above or below: where the mean is said to be.

        Returns: in [0, 1]; NaN of a single replicate.
        """
        distance = self.value - bound if side == "above" else bound - self.value
        if self.error == 0:
            return 0.0 if distance > 0 else 1.0
        return float(np.minimum(1.0, 2 * stats.t.sf(distance / self.error, self.freedom)))


def t_interval(values: Sequence[float], *, confidence: float = CONFIDENCE) -> Interval:
    """The mean of independent replicates, and where the mean of all replicates lies.

      mean +- t_(n-1) s / sqrt(n)

    Args:
      values: finite, one a replicate, such as a seed; at least one.
      confidence: of the interval, in (0, 1).

    Returns: an `Interval`; of one value with NaN as ends, of equal values without a width.

    Raises:
      ValueError: no values, or some that are not finite.

    Example:
      >>> found = t_interval([1.0, 2.0, 3.0])
      >>> round(found.low, 3), found.value, round(found.high, 3)
      (-0.484, 2.0, 4.484)

    Source: Student 1908.
    """
    values = _check("values", values)
    error, freedom = _squared_error(values) ** 0.5, len(values) - 1
    return _interval(float(values.mean()), error, freedom, len(values), confidence)


def contrast_interval(
    first: Mapping[int, float], second: Mapping[int, float], *, factor: float = 1.0, confidence: float = CONFIDENCE
) -> Interval:
    """mean(first) - factor * mean(second), paired by the keys where enough of them are the same.

    Args:
      first, second: replicate, such as the seed -> finite value. With three or more common ones only these are used,
        paired; else all, unpaired (Welch).
      factor: on the second.
      confidence: of the interval, in (0, 1).

    Returns: an `Interval`.

    Raises:
      ValueError: no values, or some that are not finite.

    Example:
      >>> contrast_interval({0: 3.0, 1: 5.0, 2: 7.5}, {0: 1.0, 1: 3.0, 2: 5.0}).value
      2.1666666666666665

    Source: Welch 1947 (unequal variances).
    """
    one, other, is_paired = pair_replicates(first, second)
    if is_paired:
        return t_interval(one - factor * other, confidence=confidence)
    value = float(one.mean() - factor * other.mean())
    parts = np.array([_squared_error(one), factor**2 * _squared_error(other)])
    counts = np.array([len(one), len(other)])
    total = float(parts.sum())
    if counts.min() < 2:
        error, freedom = math.nan, 0.0
    elif total == 0:
        error, freedom = 0.0, float(counts.min() - 1)
    else:
        error, freedom = math.sqrt(total), total**2 / float((parts**2 / (counts - 1)).sum())
    return _interval(value, error, freedom, int(counts.min()), confidence)


def ratio_interval(
    first: Mapping[int, float], second: Mapping[int, float], *, confidence: float = CONFIDENCE
) -> Interval:
    """mean(first) / mean(second), and the ratios that the replicates do not rule out.

      {r : the interval of mean(first) - r mean(second) holds 0}

    Args:
      first, second: replicate -> finite value that is not negative; paired as in `contrast_interval`.
      confidence: of the interval, in (0, 1).

    Returns: an `Interval` without an error; its ends are infinite where mean(second) may be 0. The ratio of nothing but
      zeros to nothing but zeros is 1.

    Raises:
      ValueError: no values, or some that are not finite.

    Example:
      >>> found = ratio_interval({0: 2.0, 1: 2.2, 2: 2.4}, {0: 1.0, 1: 1.1, 2: 1.2})
      >>> found.value, round(found.low, 6), round(found.high, 6)
      (2.0, 2.0, 2.0)

    Source: Fieller 1954. Equivalence of means by a ratio is decided by `contrast_interval` at both ends of the margin.
    """
    one, other, is_paired = pair_replicates(first, second)
    count = min(len(one), len(other))
    if not one.any() and not other.any():
        return Interval(value=1.0, low=1.0, high=1.0, count=count, error=0.0, freedom=count - 1)
    top, bottom = float(one.mean()), float(other.mean())
    value = top / bottom if bottom else math.inf
    if count < 2:
        return Interval(value=value, low=math.nan, high=math.nan, count=count, error=math.nan, freedom=0)
    covariance = float(np.cov(one, other)[0, 1]) / count if is_paired else 0.0
    # Of unpaired groups, the freedom at the estimate stands for that at every ratio.
    at_value = contrast_interval(first, second, factor=value) if bottom else contrast_interval(second, first, factor=0)
    quantile = float(stats.t.ppf((1 + confidence) / 2, at_value.freedom)) ** 2
    square = bottom**2 - quantile * _squared_error(other)
    middle = top * bottom - quantile * covariance
    constant = top**2 - quantile * _squared_error(one)
    if square <= 0:
        low, high = -math.inf, math.inf
    else:
        # Rounding can make the root of equal ratios a little negative.
        root = math.sqrt(max(0.0, middle**2 - square * constant))
        low, high = (middle - root) / square, (middle + root) / square
    return Interval(value=value, low=low, high=high, count=count, error=math.nan, freedom=at_value.freedom)


def pair_replicates(first: Mapping[int, float], second: Mapping[int, float]) -> tuple[np.ndarray, np.ndarray, bool]:
    """The values of two groups, float64, and whether they are pairs: those of common keys if these are enough."""
    common = sorted(set(first) & set(second))
    is_paired = len(common) >= FEWEST_REPLICATES or (bool(common) and set(first) == set(second))
    keys = (common, common) if is_paired else (sorted(first), sorted(second))
    one, other = (
        _check(name, [values[key] for key in chosen])
        for name, values, chosen in zip(("first", "second"), (first, second), keys, strict=True)
    )
    return one, other, is_paired


def _interval(value: float, error: float, freedom: float, count: int, confidence: float) -> Interval:
    if freedom <= 0:
        return Interval(value=value, low=math.nan, high=math.nan, count=count, error=math.nan, freedom=0)
    reach = float(stats.t.ppf((1 + confidence) / 2, freedom)) * error
    return Interval(value=value, low=value - reach, high=value + reach, count=count, error=error, freedom=freedom)


def _squared_error(values: np.ndarray) -> float:
    """Squared standard error of a mean; exactly 0 of equal values, whatever their rounded mean; NaN of one value."""
    if len(values) < 2:
        return math.nan
    return 0.0 if np.ptp(values) == 0 else float(values.var(ddof=1) / len(values))


def _check(name: str, values: Sequence[float]) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"{name}: expected a list of at least one value, received shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: expected finite values, received {values}; leave the others out")
    return values
