"""How fast a quantity falls with width: power laws and how sure their exponents are."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.optimize import elementwise

from tfunits.statistics.threads import one_thread

# Exponents are looked for up to a factor of a million at every doubling of the width.
STEEPEST = 20
# Between two exponents that are tried, w^b at the widest over w^b at the narrowest width grows by a quarter at most.
_LARGEST_STEP = 0.25
# Bootstrap samples made at once: their weights of 50,000 examples take 25 MB.
_BLOCK = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """value(w) = coefficient * w^exponent."""

    coefficient: float
    exponent: float

    def predict(self, widths: np.ndarray) -> np.ndarray:
        """The law's values at some widths, float64 of their shape."""
        return self.coefficient * np.asarray(widths, np.float64) ** self.exponent


@dataclasses.dataclass(frozen=True, kw_only=True)
class PowerLawInterval:
    """A power law and a bootstrap interval of its exponent.

    Attributes:
      law: of the whole data.
      low, high: ends of the interval.
      confidence: share of the samples that lie between them, in (0, 1).
      exponents: of every bootstrap sample, float64 [samples]; NaN where nothing is in excess at any width.
    """

    law: PowerLaw
    low: float
    high: float
    confidence: float
    exponents: np.ndarray

    @property
    def num_samples(self) -> int:
        """Number of bootstrap samples."""
        return len(self.exponents)


def fit_power_law(widths: np.ndarray, values: np.ndarray) -> PowerLaw:
    """The power law nearest to values in squares; no logarithm is taken of them, so that they may be negative.

      minimise sum_i (v_i - a w_i^b)^2;   a = sum(v w^b) / sum(w^2b) for any b, so that b is searched for alone

    Args:
      widths: above 0, at least two different ones, [widths].
      values: of any sign and scale, not all 0, [widths].

    Returns: a `PowerLaw` with b in [-20, 20]. Of values that are a step, not a law, b is steep, up to these ends.

    Raises:
      ValueError: shapes that differ, widths or values that are not of these.

    Example:
      >>> law = fit_power_law([16, 64, 256], [0.4, 0.2, 0.1])
      >>> round(law.coefficient, 6), round(law.exponent, 6)
      (1.6, -0.5)

    Source: Doimo et al. 2022, figures 2 and 3 (the exponent -1/2); Golub and Pereyra 1973 (separable least squares).
    Differs: their program draws the law 0.12 w^-0.5 and fits none.
    """
    widths, values = _check_widths(widths), np.asarray(values, np.float64)
    if values.shape != widths.shape:
        raise ValueError(f"values: expected shape {widths.shape} as widths, received {values.shape}")
    if not np.isfinite(values).all() or not values.any():
        raise ValueError(f"values: expected finite ones that are not all 0, received {values}; leave other widths out")
    exponent = float(_best_exponents(widths, values[None])[0])
    logs, middle = _centred_logs(widths)
    powers = np.exp(exponent * logs)
    coefficient = values @ powers / (powers @ powers) * np.exp(-exponent * middle)
    return PowerLaw(coefficient=float(coefficient), exponent=exponent)


def bootstrap_power_law(
    widths: np.ndarray,
    errors: Sequence[np.ndarray],
    limit: np.ndarray,
    *,
    paired: bool,
    num_samples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> PowerLawInterval:
    """Power law of the excess error, and the interval of its exponent over networks and examples together.

      excess(w) = mean over networks k and examples x of errors_w[k, x] - mean over x of limit[x] = a w^b

    A bootstrap sample draws examples with replacement, the same for all widths and for the limit, and networks with
    replacement. The limit's own networks stay as they are. Of K networks the samples show only (K - 1) / K of the
    variance that networks cause; a single one shows none. What is particular to one network on one example counts
    three times, so that intervals of whole networks, each right or wrong, are rather too wide. Paired samples of the
    same numbers of networks and examples with the same seed are the same draws at whatever widths, so that their
    exponents can be subtracted.

    Args:
      widths: [widths], at least two different ones.
      errors: of every width an array [networks, examples] in [0, 1]: the share of wrong predictions of each example,
        over random chunks, say.
      limit: whether an infinite ensemble is wrong about each example, 0 or 1 (or a share), [examples].
      paired: whether network k is the same at all widths (chunks of it) and is drawn at all of them at once; otherwise
        every width has networks of its own, of any number.
      num_samples: bootstrap samples.
      confidence: share of the samples inside the interval, in (0, 1).
      seed: of the samples.

    Returns: a `PowerLawInterval` from percentiles. A sample without an exponent counts as lying outside on both sides.

    Raises:
      ValueError: shapes that differ, values outside [0, 1], no excess at any width, or options that are not of these.

    Example:
      >>> wrong = np.random.default_rng(0).uniform(size=(5, 100))
      >>> found = bootstrap_power_law([16, 64], [wrong, wrong / 2], np.zeros(100), paired=True)
      >>> round(found.law.exponent, 6), round(found.low, 6)
      (-0.5, -0.5)

    Source: Doimo et al. 2022, figures 2 and 3 (the excess); Efron and Tibshirani 1993, chapter 13 (percentiles);
      Owen 2007, section 3 (draws in both directions).
    Differs: the paper gives its exponents no interval.
    """
    widths = _check_widths(widths)
    excesses, counts = _excesses(widths, errors, limit, paired=paired)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: expected a number in (0, 1), received {confidence}")
    if num_samples < 1:
        raise ValueError(f"num_samples: expected 1 or more, received {num_samples}")
    whole = _means(excesses, counts)
    if not whole.any():
        raise ValueError("errors: expected some excess over the limit, received none at any width; leave the fit out")
    blocks = _resample(excesses, counts, paired=paired, num_samples=num_samples, seed=seed)
    exponents = _best_exponents(widths, np.concatenate(list(blocks)))
    low, high = percentile_interval(exponents, confidence)
    return PowerLawInterval(
        law=fit_power_law(widths, whole), low=low, high=high, confidence=confidence, exponents=exponents
    )


def bootstrap_ratio(
    errors: np.ndarray,
    others: np.ndarray,
    limit: np.ndarray,
    *,
    num_samples: int = 1000,
    seed: int = 0,
) -> tuple[float, np.ndarray]:
    """Excess error of networks over that of other networks, and the same of bootstrap samples.

      (mean of errors[k, x] - mean of limit[x]) / (mean of others[l, x] - mean of limit[x])

    Args:
      errors, others, limit: as one width's errors and the limit of `bootstrap_power_law`; both kinds of networks are
        drawn apart from each other, the examples together.
      num_samples, seed: as there.

    Returns: the ratio, and float64 [samples]; NaN where the other networks are in no excess.

    Raises:
      ValueError: as there; other networks that are in no excess.

    Example:
      >>> wrong = np.random.default_rng(0).uniform(size=(5, 100))
      >>> ratio, samples = bootstrap_ratio(wrong / 2, wrong, np.zeros(100))
      >>> round(ratio, 6), len(samples)
      (0.5, 1000)

    Source: Doimo et al. 2022, figures 1b and 3 (chunks against full networks of their size).
    """
    excesses, counts = _excesses(np.array([1, 2]), [errors, others], limit, paired=False)
    if num_samples < 1:
        raise ValueError(f"num_samples: expected 1 or more, received {num_samples}")
    top, bottom = _means(excesses, counts)
    if bottom <= 0:
        raise ValueError(f"others: expected an excess above 0 over the limit, received {bottom}; leave the ratio out")
    found = np.concatenate(list(_resample(excesses, counts, paired=False, num_samples=num_samples, seed=seed)))
    return float(top / bottom), np.where(
        found[:, 1] > 0, found[:, 0] / np.where(found[:, 1] > 0, found[:, 1], 1), np.nan
    )


def percentile_interval(samples: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Both ends of the middle of bootstrap samples; a NaN counts as lying outside on both sides.

    Args:
      samples: [samples].
      confidence: share of them that is inside, in (0, 1).

    Source: Efron and Tibshirani 1993, chapter 13.
    """
    tail = (1 - confidence) / 2
    return (
        float(np.quantile(np.nan_to_num(samples, nan=-np.inf), tail, method="lower")),
        float(np.quantile(np.nan_to_num(samples, nan=np.inf), 1 - tail, method="higher")),
    )


def _check_widths(widths: np.ndarray) -> np.ndarray:
    widths = np.asarray(widths, np.float64)
    if widths.ndim != 1 or not (np.isfinite(widths) & (widths > 0)).all():
        raise ValueError(f"widths: expected a list of numbers above 0, received {widths}")
    if len(set(widths)) < 2:
        raise ValueError(f"widths: expected at least two different ones, received {widths}; measure more widths")
    return widths


def _centred_logs(widths: np.ndarray) -> tuple[np.ndarray, float]:
    """log(w) from the middle of its range on, so that no power of it overflows, and that middle."""
    logs = np.log(widths)
    middle = (logs.min() + logs.max()) / 2
    return logs - middle, middle


def _best_exponents(widths: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The exponent of the best power law of every row of [rows, widths], float64 [rows]; NaN for a row of zeros.

    For b given, the best a leaves the squares |v|^2 (1 - cos^2(v, w^b)). The cosine is made largest on a grid first
    (where signs differ there may be several maxima), then where its slope is 0: the squares themselves would tell
    exponents apart to half of float64's digits only.
    """
    logs, _ = _centred_logs(widths)
    scale = np.abs(values).max(axis=1, keepdims=True)
    directions = values / np.where(scale > 0, scale, 1)

    def shapes(exponents: np.ndarray) -> np.ndarray:
        powers = np.exp(exponents[:, None] * logs)
        return powers / np.linalg.norm(powers, axis=1, keepdims=True)

    def slope(exponents: np.ndarray, rows: np.ndarray) -> np.ndarray:
        shape = shapes(exponents)
        turned = shape * (logs - np.sum(shape**2 * logs, axis=1, keepdims=True))
        return np.sum(directions[rows.astype(int)] * turned, axis=1)

    num_steps = 2 + int(2 * STEEPEST * np.ptp(logs) / _LARGEST_STEP)
    grid = np.linspace(-STEEPEST, STEEPEST, num_steps + 1)
    best = np.argmax((directions @ shapes(grid).T) ** 2, axis=1)
    bracket = grid[np.maximum(best - 1, 0)], grid[np.minimum(best + 1, num_steps)]
    found = elementwise.find_root(slope, bracket, args=(np.arange(len(values)),))
    # At an end of the grid, or where float64 cannot tell neighbours apart, the slope does not change its sign.
    exponents = np.where(found.success, found.x, grid[best])
    return np.where(scale[:, 0] > 0, exponents, np.nan)


def _excesses(
    widths: np.ndarray, errors: Sequence[np.ndarray], limit: np.ndarray, *, paired: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Errors less the limit, float64 [networks of all widths, examples], and the networks of every width, [widths]."""
    limit = np.asarray(limit, np.float64)
    if len(errors) != len(widths):
        raise ValueError(f"errors: expected an array of each of the {len(widths)} widths, received {len(errors)}")
    shapes = [np.shape(rows) for rows in errors]
    if limit.ndim != 1 or any(len(shape) != 2 or not shape[0] or shape[1:] != limit.shape for shape in shapes):
        raise ValueError(
            f"errors: expected [networks, examples] with examples as limit's {limit.shape}, received {shapes}"
        )
    counts = np.array([shape[0] for shape in shapes])
    if paired and len(set(counts)) > 1:
        raise ValueError(f"errors: expected the same networks at all widths, received {counts}; or use paired=False")
    rows = np.concatenate([np.asarray(rows, np.float64) for rows in errors])
    if not all(((shares >= 0) & (shares <= 1)).all() for shares in (rows, limit)):
        raise ValueError("errors, limit: expected shares in [0, 1], received others; give 0 for right and 1 for wrong")
    # Subtracted before anything is averaged: no rounding is left where there is no excess.
    rows -= limit
    return rows, counts


def _means(excesses: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean excess at every width, float64 [widths]."""
    return np.add.reduceat(excesses.mean(axis=1), np.cumsum([0, *counts[:-1]])) / counts


def _resample(
    excesses: np.ndarray, counts: np.ndarray, *, paired: bool, num_samples: int, seed: int
) -> Iterator[np.ndarray]:
    """Mean excess at every width in bootstrap samples, float64 [some samples, widths] at a time."""
    generator, starts = np.random.default_rng(seed), np.cumsum([0, *counts[:-1]])
    for start in range(0, num_samples, _BLOCK):
        size = min(_BLOCK, num_samples - start)
        draws = [_draw(generator, excesses.shape[1], counts, paired=paired) for _ in range(size)]
        example_weights, network_weights = (np.stack(weights, axis=1) for weights in zip(*draws, strict=True))
        # Products of this shape are small: beside other work, threads would mostly wait for each other.
        with one_thread():
            means = excesses @ example_weights
        yield np.add.reduceat(network_weights * means, starts).T


def _draw(
    generator: np.random.Generator, num_examples: int, counts: np.ndarray, *, paired: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Shares of a bootstrap sample that each example has, [examples], and each network of its width, [networks]."""

    def shares(count: int) -> np.ndarray:
        return np.bincount(generator.integers(count, size=count), minlength=count) / count

    examples = shares(num_examples)
    if paired:
        return examples, np.tile(shares(counts[0]), len(counts))
    return examples, np.concatenate([shares(count) for count in counts])
