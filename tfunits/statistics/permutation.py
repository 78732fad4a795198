"""Whether values of one group tend to lie below those of another: the rank-based permutation test; many such tests."""

import dataclasses
import itertools
import math

import numpy as np
from scipy import special, stats

# Two groups with at most so many splits have them all enumerated (DESIGN section 6); 11 against 11 still do.
_MOST_SPLITS = 1_000_000
# Ranks shuffled at once: 8 MB.
_BLOCK = 2**20


@dataclasses.dataclass(frozen=True, kw_only=True)
class PermutationTest:
    """How often a random split of the values has a sum of ranks as small as the thin values' own.

    Attributes:
      statistic: sum of the thin values' ranks among all values.
      p_value: share of the splits whose sum is at most `statistic`, in [0, 1]; small where thin values are lower.
      upper_p_value: share of the splits whose sum is at least `statistic`; small where thin values are higher.
      corrected_p_value: (1 + k) / (1 + N) for k of N shuffles, never 0; `p_value` where exact.
      effect: mean of the thin values / mean of the wide ones; NaN where the latter is 0.
      num_splits: splits enumerated, or shuffles drawn.
      is_exact: whether every split was enumerated.
    """

    statistic: float
    p_value: float
    upper_p_value: float
    corrected_p_value: float
    effect: float
    num_splits: int
    is_exact: bool

    @property
    def two_sided_p_value(self) -> float:
        """Twice the smaller of `p_value` and `upper_p_value`, at most 1; of shuffles it may be 0 as they may."""
        return min(1.0, 2 * min(self.p_value, self.upper_p_value))


def permutation_test(
    thin: np.ndarray, wide: np.ndarray, *, exact: bool | None = None, num_shuffles: int = 100_000, seed: int = 0
) -> PermutationTest:
    """One-sided test that values of the thin network are lower, on the sum of their joint ranks.

      T = sum over i in thin of rank(v_i);   p = P(T' <= T),   T' of a random split of all values into groups as large

    Equal values share the mean of their ranks. Twice a rank is whole, so that sums are compared without rounding.

    Args:
      thin, wide: at least one finite value each, of any sign, [values] of lengths that may differ.
      exact: whether every split is enumerated; if None, where there are at most 1e6 (8 against 8 have 12,870).
      num_shuffles: random splits drawn where they are not enumerated.
      seed: of the shuffles. The order of the values in a group does not matter to them.

    Returns: a `PermutationTest`. Values that are not independent, such as units of one network, make p no statement
      about other networks.

    Raises:
      ValueError: no values, another shape, values that are not finite, too many splits to be exact, or no shuffles.

    Example:
      >>> found = permutation_test([0.3, 0.1], [0.5, 0.2, 0.7])
      >>> found.statistic, found.p_value, found.num_splits
      (4.0, 0.2, 10)

    Source: Casper et al. 2021, appendix E, "Interpretability Experiments with Lucid".
    Differs: the paper draws 100,000 shuffles of any two groups; it gives neither the corrected p nor the other tail and
      does not say how it ranks equal values.
    """
    thin, wide = _check_values("thin", thin), _check_values("wide", wide)
    if num_shuffles < 1:
        raise ValueError(f"num_shuffles: expected 1 or more, received {num_shuffles}")
    has_few_splits = bool(special.comb(len(thin) + len(wide), len(thin)) <= _MOST_SPLITS)
    is_exact = has_few_splits if exact is None else exact
    if is_exact and not has_few_splits:
        raise ValueError(
            f"exact: expected at most {_MOST_SPLITS:,} splits, received those of {len(thin)} against {len(wide)} "
            "values; leave it None for shuffles"
        )
    doubled_ranks = np.rint(2 * stats.rankdata(np.concatenate([thin, wide]))).astype(np.int64)
    observed = int(doubled_ranks[: len(thin)].sum())
    if is_exact:
        sums = _sums_of_splits(doubled_ranks, len(thin))
    else:
        sums = _sums_of_shuffles(doubled_ranks, len(thin), num_shuffles, seed)
    num_lower = int(np.count_nonzero(sums <= observed))
    p_value = num_lower / len(sums)
    wide_mean = float(wide.mean())
    return PermutationTest(
        statistic=observed / 2,
        p_value=p_value,
        upper_p_value=int(np.count_nonzero(sums >= observed)) / len(sums),
        corrected_p_value=p_value if is_exact else (1 + num_lower) / (1 + len(sums)),
        effect=float(thin.mean()) / wide_mean if wide_mean else math.nan,
        num_splits=len(sums),
        is_exact=is_exact,
    )


def tail_probability(num_thin: int, num_wide: int, p: float) -> float:
    """How often chance alone gives a p value below p, or above 1 - p where the other tail is at most 2 p.

    The upper rule counts the observed split, so that it holds a little more often than the lower one.

    Args:
      num_thin, num_wide: values on either side, none of them equal.
      p: in (0, 1/2).

    Returns: the share of all splits; 2 p, which it tends to, where there are more than 1e6.

    Example:
      >>> round(tail_probability(8, 8, 0.025), 4)
      0.0574
    """
    if special.comb(num_thin + num_wide, num_thin) > _MOST_SPLITS:
        return 2 * p
    sums = np.sort(_sums_of_splits(2 * np.arange(1, num_thin + num_wide + 1), num_thin))
    lower = np.searchsorted(sums, sums, side="right") / len(sums)
    upper = 1 - np.searchsorted(sums, sums, side="left") / len(sums)
    return float(np.mean((lower < p) | ((lower > 1 - p) & (upper <= 2 * p))))


def holm(p_values: np.ndarray) -> np.ndarray:
    """P values adjusted for their number: rejecting those at most a errs at all with a probability of at most a.

      adjusted_(i) = max over j <= i of min(1, (m - j + 1) p_(j)),   p_(1) <= ... <= p_(m)

    Args:
      p_values: in [0, 1], dependent or not, of any shape; NaN for a test that was not made, which does not count in m.

    Returns: float64 of their shape, in [0, 1]; NaN stays.

    Raises:
      ValueError: a number outside [0, 1].

    Example:
      >>> holm([0.01, 0.04, np.nan, 0.03])
      array([0.03, 0.06,  nan, 0.06])

    Source: Holm 1979 (the sequentially rejective Bonferroni test).
    """
    p_values = np.asarray(p_values, np.float64)
    if ((p_values < 0) | (p_values > 1)).any():
        raise ValueError(f"p_values: expected numbers in [0, 1] or NaN, received {p_values}")
    known = ~np.isnan(p_values)
    order = np.argsort(p_values[known])
    steps = p_values[known][order] * np.arange(len(order), 0, -1)
    ordered = np.empty(len(order))
    ordered[order] = np.minimum(np.maximum.accumulate(steps), 1)
    adjusted = np.full(p_values.shape, np.nan)
    adjusted[known] = ordered
    return adjusted


def _check_values(name: str, values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"{name}: expected a list of at least one value, received shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: expected finite values, received {values}; leave the others out")
    return values


def _sums_of_splits(ranks: np.ndarray, num_thin: int) -> np.ndarray:
    """The thin group's sum of ranks in every split, int64 [splits]; enumerated by the smaller group."""
    num_wide = len(ranks) - num_thin
    smaller = itertools.combinations(ranks.tolist(), min(num_thin, num_wide))
    sums = np.fromiter(map(sum, smaller), np.int64)
    return sums if num_thin <= num_wide else ranks.sum() - sums


def _sums_of_shuffles(ranks: np.ndarray, num_thin: int, num_shuffles: int, seed: int) -> np.ndarray:
    """The thin group's sum of ranks in random splits, int64 [num_shuffles]."""
    generator = np.random.default_rng(seed)
    ordered = np.sort(ranks)
    sums = np.empty(num_shuffles, np.int64)
    num_rows = max(1, _BLOCK // len(ranks))
    for start in range(0, num_shuffles, num_rows):
        block = sums[start : start + num_rows]
        shuffled = generator.permuted(np.broadcast_to(ordered, (len(block), len(ranks))), axis=1)
        block[:] = shuffled[:, :num_thin].sum(axis=1)
    return sums
