"""How many principal components hold the variance of a layer."""

import numpy as np
from scipy import linalg

# Rounding of a running sum of up to 1e5 eigenvalues in float64.
_RELATIVE_ROUNDING = 1e-12


def principal_variances(covariance: np.ndarray) -> np.ndarray:
    """Variances of the principal components, largest first, float64 [units].

    Args:
      covariance: symmetric, positive semi-definite, [units, units].
    """
    variances = linalg.eigvalsh(np.asarray(covariance, np.float64))[::-1]
    return np.clip(variances, 0, None)


def count_components(variances: np.ndarray, variance_fraction: float = 0.95, *, rule: str = "exact") -> int:
    """Number of principal components needed for a share of the variance.

      r = min{k : v_1 + ... + v_k >= variance_fraction * sum(v)};   0 where nothing varies

    Args:
      variances: principal variances in any order, [units].
      variance_fraction: in (0, 1].
      rule: "exact", or "authors", who count the component that crosses the line as redundant too and call a layer
        without variance redundant in one unit.

    Returns: a whole number from 0 to the number of units.

    Raises:
      ValueError: a fraction or a rule that is not of these.

    Example:
      >>> count_components(np.ones(16)), count_components(np.ones(16), rule="authors")
      (16, 15)

    Source: Casper et al. 2021, section 3 (capacity).
    Differs: the authors' `get_redundancy.py` adds from the smallest while the sum is within the tolerance and counts
      one more; `rule="authors"` does that.
    """
    if not 0 < variance_fraction <= 1:
        raise ValueError(f"variance_fraction: expected a number in (0, 1], received {variance_fraction}")
    if rule not in ("exact", "authors"):
        raise ValueError(f"rule: expected 'exact' or 'authors', received {rule!r}")
    ascending = np.sort(np.asarray(variances, np.float64))
    total = ascending.sum()
    if total <= 0:
        return 0 if rule == "exact" else len(ascending) - 1
    allowed = (1 - variance_fraction) * total + _RELATIVE_ROUNDING * total
    num_spare = int(np.searchsorted(np.cumsum(ascending), allowed, side="right"))
    num_spare = min(num_spare + (rule == "authors"), len(ascending))
    return len(ascending) - num_spare


def count_redundant(variances: np.ndarray, variance_fraction: float = 0.95, *, rule: str = "exact") -> int:
    """Number of redundant units: units minus the components needed for a share of the variance.

    Arguments and errors as `count_components`. A layer in which nothing varies is wholly redundant.

    Example:
      >>> count_redundant(np.ones(128))
      6
    """
    return len(variances) - count_components(variances, variance_fraction, rule=rule)
