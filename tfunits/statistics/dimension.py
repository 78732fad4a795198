"""Intrinsic dimension of a cloud of points, from the two nearest neighbours of each."""

import dataclasses
import math
from typing import Any

import numpy as np
from sklearn.neighbors import NearestNeighbors

# With fewer the std of an estimate, about 1 / sqrt(points) of it, is above a tenth.
LEAST_POINTS = 100
# A point, its nearest and its second nearest neighbour.
_FEWEST_POINTS = 3
# Efron and Tibshirani 1993, section 6.4: more are seldom needed for a standard error.
_BOOTSTRAP_SAMPLES = 200
# A number of points times a share that is whole on paper may fall just short of it in float64.
_ROUNDING = 1e-9
# Distances that differ by less are equal but for their rounding in float64, up to thousands of coordinates.
_EQUAL = 1e-12


@dataclasses.dataclass(frozen=True, kw_only=True)
class IntrinsicDimension:
    """How many coordinates describe a cloud of points locally.

    Attributes:
      value: the estimate, above 0; noise may take it beyond the number of coordinates.
      std: standard deviation of the estimate.
      num_points: different points, each with the ratio of its two distances.
      num_left_out: points left out because they repeat another.
    """

    value: float
    std: float
    num_points: int
    num_left_out: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)


def intrinsic_dimension(
    points: np.ndarray, *, discarded_share: float = 0.1, method: str = "fit", seed: int = 0
) -> IntrinsicDimension:
    """Intrinsic dimension d by two nearest neighbours.

      mu_i = r_2(i) / r_1(i) has the distribution F(mu) = 1 - mu^-d;   x_1 <= ... <= x_N are the sorted log(mu)
      fit:         least squares of -log(1 - k / N) = d x_k over k = 1..n,   n = floor(N (1 - discarded_share))
      likelihood:  d = (n - 1) / (x_1 + ... + x_n + (N - n) x_n),   std = d / sqrt(n - 2)

    A point that repeats another is left out first, so that no nearest distance is 0. The std of the fit is a
    bootstrap's over the ratios. Both take the ratios for independent; since neighbours share distances, the std is
    about a fifth too small.

    Args:
      points: [samples, coordinates], of any unit; distances are made in float64.
      discarded_share: share of the ratios, the largest, that the line leaves out (the likelihood keeps of them that
        they are larger than the others), in [0, 1). The very largest is never on the line: there F is 1.
      method: "fit" or "likelihood".
      seed: of the bootstrap.

    Returns: an `IntrinsicDimension`; memory does not grow beyond a few copies of the points.

    Raises:
      ValueError: another shape, values that are not finite, fewer than three different points, too few or too equal
        ratios for an estimate, or a share or a method that is not of these.

    Example:
      >>> line = np.random.default_rng(0).uniform(size=(500, 1)) * np.ones(20)
      >>> round(intrinsic_dimension(line).value)
      1

    Source: Facco et al. 2017, section Results (the estimator and its algorithm); Denti et al. 2022 for the likelihood,
      its discarded ratios censored as in Epstein and Sobel 1953.
    """
    _check_choices(discarded_share, method)
    log_ratios = _log_ratios(_distinct(points))
    value = _estimate(log_ratios, discarded_share, method)
    if method == "fit":
        std = _bootstrap_std(log_ratios, discarded_share, seed)
    else:
        num_kept = _num_kept(log_ratios, discarded_share)
        std = value / math.sqrt(num_kept - 2) if num_kept > 2 else math.inf
    return IntrinsicDimension(
        value=value, std=std, num_points=len(log_ratios), num_left_out=len(points) - len(log_ratios)
    )


def dimension_by_scale(
    points: np.ndarray,
    *,
    discarded_share: float = 0.1,
    method: str = "fit",
    seed: int = 0,
    least_points: int = LEAST_POINTS,
) -> dict[int, IntrinsicDimension]:
    """Intrinsic dimension of N, N/2, N/4, ... of the different points, ever further from each other.

    Where the estimate grows with the number of points, the nearest distances are those of noise; the dimension is what
    it is where it hardly changes. Each number of points is drawn as often as it fits into N without overlap: `value` is
    the mean of these estimates and `std` that of one of them, taken between them (of all N points, as estimated).

    Args:
      points, discarded_share, method: as of `intrinsic_dimension`.
      seed: of the random subsets and of the bootstrap.
      least_points: points in the smallest subset, at least 3; all of them together are always estimated.

    Returns: number of points -> an `IntrinsicDimension`, most points first; its `num_points` counts all its subsets.

    Raises:
      ValueError: as `intrinsic_dimension`; fewer than three points in a subset.

    Example:
      >>> list(dimension_by_scale(np.random.default_rng(0).normal(size=(450, 3))))
      [450, 225, 112]

    Source: Facco et al. 2017, section Results (block analysis).
    """
    if least_points < _FEWEST_POINTS:
        raise ValueError(f"least_points: expected {_FEWEST_POINTS} or more, received {least_points}; ask for more")
    whole = intrinsic_dimension(points, discarded_share=discarded_share, method=method, seed=seed)
    by_scale = {whole.num_points: whole}
    shuffled = np.random.default_rng(seed).permutation(_distinct(points))
    num_subsets = 2
    while (size := len(shuffled) // num_subsets) >= least_points:
        subsets = [_log_ratios(shuffled[i * size : (i + 1) * size]) for i in range(num_subsets)]
        values = [_estimate(log_ratios, discarded_share, method) for log_ratios in subsets]
        by_scale[size] = dataclasses.replace(
            whole,
            value=float(np.mean(values)),
            std=float(np.std(values, ddof=1)),
            num_points=sum(len(log_ratios) for log_ratios in subsets),
        )
        num_subsets *= 2
    return by_scale


def _check_choices(discarded_share: float, method: str) -> None:
    if method not in ("fit", "likelihood"):
        raise ValueError(f"method: expected 'fit' or 'likelihood', received {method!r}")
    if not 0 <= discarded_share < 1:
        raise ValueError(f"discarded_share: expected a number in [0, 1), received {discarded_share}")


def _distinct(points: np.ndarray) -> np.ndarray:
    """The different points, sorted, float64 [samples, coordinates]."""
    points = np.asarray(points, np.float64)
    if points.ndim != 2:
        raise ValueError(f"points: expected shape [samples, coordinates], received {points.shape}; reshape them")
    if not np.isfinite(points).all():
        raise ValueError("points: expected finite values, received NaN or infinity; measure a network that converged")
    distinct = np.unique(points, axis=0)
    if len(distinct) < _FEWEST_POINTS:
        raise ValueError(
            f"points: expected at least {_FEWEST_POINTS} different ones, received {len(distinct)}; "
            "measure more examples, or a layer that is not constant"
        )
    return distinct


def _log_ratios(distinct: np.ndarray) -> np.ndarray:
    """log(r_2 / r_1) of every point, sorted, float64 [samples], without points whose r_1 is 0 by rounding."""
    # By a power of 2, which rounds nothing, so that no square of a distance overflows.
    scaled = np.ldexp(distinct, -np.frexp(np.abs(distinct).max())[1])
    # Many coordinates are searched by |a|^2 - 2ab + |b|^2, which an offset would rob of its digits.
    centred = scaled - scaled.mean(axis=0)
    neighbours = NearestNeighbors(n_neighbors=2).fit(centred).kneighbors(return_distance=False)
    distances = np.stack([np.linalg.norm(scaled - scaled[column], axis=1) for column in neighbours.T])
    nearest, second = np.sort(distances[:, distances.min(axis=0) > 0], axis=0)
    log_ratios = np.sort(np.log(second / nearest))
    return np.where(log_ratios > _EQUAL, log_ratios, 0)


def _num_kept(log_ratios: np.ndarray, discarded_share: float) -> int:
    return math.floor(len(log_ratios) * (1 - discarded_share) + _ROUNDING)


def _estimate(log_ratios: np.ndarray, discarded_share: float, method: str) -> float:
    """The dimension, from sorted log(r_2 / r_1)."""
    num_kept = _num_kept(log_ratios, discarded_share)
    if num_kept < 2:
        raise ValueError(
            f"discarded_share: expected to leave two ratios or more, received {discarded_share} of {len(log_ratios)}; "
            "discard fewer or measure more examples"
        )
    estimate = _slope(log_ratios, num_kept) if method == "fit" else _likelihood(log_ratios, num_kept)
    if not math.isfinite(estimate):
        raise ValueError(
            "points: expected different distances to the two nearest neighbours, received equal ones as on a grid; "
            "measure other examples"
        )
    return estimate


def _slope(log_ratios: np.ndarray, num_kept: int) -> float:
    """Slope of the line through the origin; infinite if all ratios on it are 1."""
    num_points = len(log_ratios)
    num_kept = min(num_kept, num_points - 1)
    kept = log_ratios[:num_kept]
    heights = -np.log1p(-np.arange(1, num_kept + 1) / num_points)
    squares = kept @ kept
    return float(kept @ heights / squares) if squares > 0 else math.inf


def _likelihood(log_ratios: np.ndarray, num_kept: int) -> float:
    """Unbiased estimate from ratios of which the largest are only known to be large; infinite if the others are 1."""
    kept = log_ratios[:num_kept]
    total = kept.sum() + (len(log_ratios) - num_kept) * kept[-1]
    return float((num_kept - 1) / total) if total > 0 else math.inf


def _bootstrap_std(log_ratios: np.ndarray, discarded_share: float, seed: int) -> float:
    """Standard deviation of the slope over resampled ratios; infinite if a sample has none."""
    generator = np.random.default_rng(seed)
    num_kept = _num_kept(log_ratios, discarded_share)
    # Sorted indices make sorted ratios.
    draws = (np.sort(generator.integers(len(log_ratios), size=len(log_ratios))) for _ in range(_BOOTSTRAP_SAMPLES))
    slopes = [_slope(log_ratios[draw], num_kept) for draw in draws]
    return float(np.std(slopes, ddof=1)) if np.isfinite(slopes).all() else math.inf
