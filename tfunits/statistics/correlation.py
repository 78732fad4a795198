"""Pearson correlation between units, from their covariance."""

import numpy as np
from scipy import linalg

# |r| of two copies of a unit is 1 up to rounding of products in float32; a threshold of exactly 1 must still find them.
_ROUNDING = 1e-6


def correlation_matrix(covariance: np.ndarray, constant: np.ndarray | None = None) -> np.ndarray:
    """Pearson r of every pair of units; NaN where a unit is constant.

      r_ij = C_ij / sqrt(C_ii C_jj)

    Args:
      covariance: [units, units].
      constant: units without variance, bool [units]; those with C_ii = 0 if not given.

    Returns: float64 [units, units] in [-1, 1], with a diagonal of exactly 1 for units that vary.

    Example:
      >>> correlation_matrix(np.array([[4.0, -2.0], [-2.0, 1.0]]))
      array([[ 1., -1.],
             [-1.,  1.]])
    """
    covariance = np.asarray(covariance, np.float64)
    variances = np.diag(covariance)
    constant = variances <= 0 if constant is None else np.asarray(constant, bool) | (variances <= 0)
    std = np.sqrt(np.where(constant, 1.0, variances))
    correlation = np.clip(covariance / std / std[:, None], -1, 1)
    np.fill_diagonal(correlation, 1)
    correlation[constant, :] = np.nan
    correlation[:, constant] = np.nan
    return correlation


def count_similar(correlation: np.ndarray, threshold: float = 0.5, *, constant_counts: int = 0) -> np.ndarray:
    """For every unit, the number of other units with |r| at or above a threshold.

    Args:
      correlation: from `correlation_matrix`.
      threshold: in (0, 1].
      constant_counts: what a constant unit counts; the authors' program gives -1.

    Returns: int64 [units].

    Raises:
      ValueError: a threshold outside (0, 1].

    Source: Casper et al. 2019 (ICLR version), section 2.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold: expected a number in (0, 1], received {threshold}")
    constant = np.isnan(np.diag(correlation))
    similar = np.abs(np.nan_to_num(correlation)) >= threshold - _ROUNDING
    np.fill_diagonal(similar, False)
    return np.where(constant, constant_counts, similar.sum(axis=1))


def explained_by_others(covariance: np.ndarray, constant: np.ndarray | None = None) -> np.ndarray:
    """Share of every unit's variance that a linear function of all other units gives (multiple R2).

      R2_j = 1 - 1 / (C_jj (C^-1)_jj)

    Args:
      covariance: [units, units], in float64.
      constant: units without variance, bool [units]; those with C_ii = 0 if not given.

    Returns: float64 [units] in [0, 1]; NaN for constant units. With fewer rows than units, 1 everywhere.
    """
    correlation = correlation_matrix(covariance, constant)
    varying = ~np.isnan(np.diag(correlation))
    explained = np.full(len(correlation), np.nan)
    values, vectors = linalg.eigh(correlation[np.ix_(varying, varying)])
    inverse_diagonal = (vectors**2 / np.maximum(values, _ROUNDING)).sum(axis=1)
    explained[varying] = np.clip(1 - 1 / inverse_diagonal, 0, 1)
    return explained


def absolute_correlations(correlation: np.ndarray) -> np.ndarray:
    """|r| of every pair of different, non-constant units, float64 [pairs], each pair once."""
    upper = correlation[np.triu_indices(len(correlation), k=1)]
    return np.abs(upper[~np.isnan(upper)])


def correlation_histogram(correlation: np.ndarray, num_bins: int = 50) -> np.ndarray:
    """Counts of |r| over pairs of units in equal bins of [0, 1], int64 [num_bins]."""
    return np.histogram(absolute_correlations(correlation), bins=num_bins, range=(0, 1))[0]
