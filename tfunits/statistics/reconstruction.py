"""How well a chunk of units determines the others, from their covariance alone."""

import concurrent.futures
import dataclasses
import functools
import os
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy import linalg

from tfunits.statistics.moments import Moments
from tfunits.statistics.threads import one_thread

# Doimo et al. 2022, section 2.2: penalty of the ridge regression, and what is added to the product of the residuals'
# standard deviations (as their program does; FACTS 14.5, D1).
RIDGE_PENALTY = 1e-8
CORRELATION_FLOOR = 1e-8
# Chunks of more units than this share of the rows are fitted too closely to judge in-sample (DESIGN section 6).
_LARGEST_CHUNK_PER_ROW = 0.1
# Less than this share of a variance is rounding of covariances: a residual, which is then correlated with none, or a
# direction of a chunk that holds copies.
_ROUNDING = 1e-12


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """A linear map from a chunk of units to target units, and what it leaves.

    Attributes:
      r2: variance-weighted R2 on the rows of the fit.
      correlation: mean |correlation| of residuals, on the rows of the fit, over all pairs of target units.
      held_out_r2: R2 on other rows; at most 1, and negative where the map is worse than the mean.
      held_out_correlation: mean |correlation| of residuals on other rows, over pairs of units outside the chunk that
        change there; NaN where there is none.
    """

    r2: float
    correlation: float
    held_out_r2: float = np.nan
    held_out_correlation: float = np.nan


def reconstruct(
    fit: Moments,
    chunk: np.ndarray,
    *,
    held_out: Moments | None = None,
    target: np.ndarray | None = None,
    penalty: float = RIDGE_PENALTY,
) -> Reconstruction:
    """Fit target units linearly, with intercept, from a chunk of units.

      B = (C_SS + penalty / (N - 1) I)^-1 C_ST,   residuals' covariance R = C_TT - (C_ST + penalty / (N - 1) B)^T B,
      R2 = 1 - tr R / tr C_TT,   correlation_ij = R_ij / (sqrt(R_ii R_jj) + 1e-8)

    Args:
      fit: moments of all units on the rows that are fitted, in float64.
      chunk: numbers of its units S, int [w].
      held_out: moments on rows that were not fitted.
      target: numbers of the units T; all if None.
      penalty: of the ridge regression, on the sum of squares.

    Returns: a `Reconstruction`.

    Raises:
      ValueError: an empty chunk, or units that the moments do not have.

    Source: Doimo et al. 2022, section 2.2; FACTS 14.3 and 14.5.
    Differs: the paper has no intercept and adds 1e-8 under the square root; their program does as here. They fit and
      score on the same rows and count all pairs, the chunk's own among them, which takes (1 - w/W)^2 off the mean.
    """
    chunk = np.asarray(chunk, int)
    target = np.arange(fit.num_units) if target is None else np.asarray(target, int)
    for units in (chunk, target):
        if not len(units) or units.min() < 0 or units.max() >= fit.num_units:
            raise ValueError(f"chunk, target: expected units below {fit.num_units}, at least one, received {units}")
    shrinkage = penalty / (fit.count - 1)
    covariance = fit.covariance
    crossed = covariance[np.ix_(chunk, target)]
    weights = _solve(covariance[np.ix_(chunk, chunk)], shrinkage, crossed)
    whole = covariance[np.ix_(target, target)]
    residual = whole - (crossed + shrinkage * weights).T @ weights
    found = {
        "r2": _r2(np.trace(residual), np.trace(whole)),
        "correlation": mean_absolute_correlation(_without_rounding(residual, whole)),
    }
    if held_out is not None:
        other = held_out.covariance
        other_whole = other[np.ix_(target, target)]
        product = weights.T @ other[np.ix_(chunk, target)]
        other_residual = other_whole - product - product.T + weights.T @ (other[np.ix_(chunk, chunk)] @ weights)
        shift = held_out.mean - fit.mean
        offset = shift[target] - weights.T @ shift[chunk]
        # About zero, not about their own mean: the intercept was fitted too.
        squares = (held_out.count - 1) * np.trace(other_residual) + held_out.count * (offset**2).sum()
        found["held_out_r2"] = _r2(squares, (held_out.count - 1) * np.trace(other_whole))
        # Units that never change have no correlation; counted as 0 they would hide that of the others.
        outside = np.ix_(*2 * [~np.isin(target, chunk) & (np.diag(other_whole) > 0)])
        other_residual = _without_rounding(other_residual[outside], other_whole[outside])
        found["held_out_correlation"] = mean_absolute_correlation(other_residual)
    return Reconstruction(**found)


def _solve(matrix: np.ndarray, shrinkage: float, right: np.ndarray) -> np.ndarray:
    """(matrix + shrinkage I)^-1 right, also where rounding makes the matrix slightly indefinite."""
    matrix = matrix + shrinkage * np.eye(len(matrix))
    try:
        return linalg.cho_solve(linalg.cho_factor(matrix, check_finite=False), right, check_finite=False)
    except linalg.LinAlgError:
        values, vectors = linalg.eigh(matrix, check_finite=False)
        # Directions in which only rounding varies tell nothing, and would amplify it.
        known = values > _ROUNDING * values.max()
        return (vectors[:, known] / values[known]) @ (vectors[:, known].T @ right)


def _without_rounding(residual: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """A covariance of residuals, 0 for units of which the map leaves nothing but rounding."""
    left = np.diag(residual) > _ROUNDING * np.diag(whole)
    return np.where(np.outer(left, left), residual, 0)


def _r2(residual: float, total: float) -> float:
    """1 - residual / total; of units that never change 1 where they are hit and 0 where they are missed."""
    return float(1 - residual / total) if total > 0 else float(residual <= 0)


def mean_absolute_correlation(covariance: np.ndarray) -> float:
    """Mean over pairs of different residuals of |C_ij| / (sqrt(C_ii C_jj) + 1e-8); NaN without a pair.

    Source: FACTS 14.3 (the authors' program; the paper's equation 2 has the constant under the root).
    """
    count = len(covariance)
    if count < 2:
        return np.nan
    std = np.sqrt(np.clip(np.diag(covariance), 0, None))
    ratio = np.abs(covariance)
    ratio /= np.outer(std, std) + CORRELATION_FLOOR
    return float((ratio.sum() - np.trace(ratio)) / (count * (count - 1)))


def noise_floor(num_rows: int, chunk_size: int) -> float:
    """Mean |correlation| of independent residuals of a fit, sqrt(2 / (pi (N - w - 1))); NaN where nothing is left.

    Args:
      num_rows: rows N.
      chunk_size: units w of the chunk.

    Source: mean of |N(0, 1/(N - w - 1))|, to which a correlation without association is close.
    """
    freedom = num_rows - chunk_size - 1
    return float(np.sqrt(2 / (np.pi * freedom))) if freedom > 0 else np.nan


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReconstructionCurve:
    """Reconstruction from random chunks of several sizes.

    Attributes:
      width: units of the layer.
      num_rows: rows of every fit in-sample; half of them where rows are held out.
      sizes: of the chunks, int64 [sizes].
      r2, correlation: in-sample, all rows, all pairs, float64 [sizes, draws].
      held_out_r2, held_out_correlation: fitted on every other row, scored on the rest, pairs outside the chunk,
        float64 [sizes, draws].
    """

    width: int
    num_rows: int
    sizes: np.ndarray
    r2: np.ndarray
    correlation: np.ndarray
    held_out_r2: np.ndarray
    held_out_correlation: np.ndarray

    @property
    def noise_floor(self) -> np.ndarray:
        """Mean |correlation| of independent residuals on the held-out rows, float64 [sizes]."""
        return np.array([noise_floor(self.num_rows // 2, int(size)) for size in self.sizes])

    @property
    def too_few_rows(self) -> np.ndarray:
        """Sizes with more units than a tenth of the fitted rows, bool [sizes]."""
        return self.sizes > _LARGEST_CHUNK_PER_ROW * (self.num_rows // 2)

    def to_frame(self) -> pd.DataFrame:
        """One row a size: means over draws, the noise floor, and whether there are too few rows."""
        names = ("r2", "correlation", "held_out_r2", "held_out_correlation")
        columns = {name: getattr(self, name).mean(axis=1) for name in names}
        extra = {"noise_floor": self.noise_floor, "too_few_rows": self.too_few_rows}
        return pd.DataFrame({**columns, **extra}, index=pd.Index(self.sizes, name="chunk"))

    def __str__(self) -> str:
        return f"ReconstructionCurve ({self.width} units, {self.num_rows} examples)\n{self.to_frame().to_string()}"

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Everything as arrays, for .npz."""
        return {field.name: np.asarray(getattr(self, field.name)) for field in dataclasses.fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """The curve written by `to_arrays`."""
        values = {field.name: arrays[field.name] for field in dataclasses.fields(cls)}
        return cls(**{**values, "width": int(values["width"]), "num_rows": int(values["num_rows"])})


def reconstruction_curve(
    even: Moments, odd: Moments, sizes: np.ndarray, draws: np.ndarray, *, to_chunk: bool = False
) -> ReconstructionCurve:
    """Reconstruct a layer, or another chunk of it, from random chunks.

    Args:
      even, odd: moments of two halves of the rows; in-sample numbers are of both together.
      sizes: of the chunks, [sizes].
      draws: random orders of all units, int [draws, units] for every size, [sizes, draws, units]; a chunk is the
        first units of one.
      to_chunk: reconstruct the chunk of the same size that follows, instead of the whole layer.

    Raises:
      ValueError: chunks too large to be followed by another.
    """
    width, whole = even.num_units, even.merge(odd)
    if to_chunk and 2 * max(sizes) > width:
        raise ValueError(f"sizes: expected at most half of {width} units, received {max(sizes)}; leave larger ones out")

    def run(size: int, order: np.ndarray) -> tuple[float, ...]:
        chunk, target = order[:size], order[size : 2 * size] if to_chunk else None
        inside = reconstruct(whole, chunk, target=target)
        outside = reconstruct(even, chunk, held_out=odd, target=target)
        return inside.r2, inside.correlation, outside.held_out_r2, outside.held_out_correlation

    # Many small fits: side by side on one thread each, since threads within them would mostly wait for each other.
    with one_thread(), concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = []
        for size, orders in zip(sizes, draws, strict=True):
            # The whole layer is the same chunk in every order.
            distinct = orders[:1] if size == width else orders
            found = np.array(list(pool.map(functools.partial(run, size), distinct)), np.float64)
            rows.append(np.broadcast_to(found, (len(orders), found.shape[1])))
    table = np.array(rows)
    return ReconstructionCurve(
        width=width,
        num_rows=whole.count,
        sizes=np.asarray(sizes, np.int64),
        r2=table[..., 0],
        correlation=table[..., 1],
        held_out_r2=table[..., 2],
        held_out_correlation=table[..., 3],
    )
