"""Random chunks of a layer's units: how often they err, and when they are clones of the whole."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd

# CLAIMS, header: a chunk or network fits its training set if it errs on at most this share of it.
FITTED_ERROR = 0.01
# DESIGN section 6: beside it.
STRICTLY_FITTED_ERROR = 0.001


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChunkErrors:
    """Errors of a network of whose last hidden layer only a random chunk of units is left.

    Attributes:
      sizes: of the chunks, rising, int64 [sizes]; the last is the width of the layer.
      num_examples: number of examples N.
      num_wrong: wrong examples of every chunk, int64 [sizes, draws]; of the whole layer all draws are equal.
      wrong_draws: draws in which each example is wrong, int32 [sizes, examples].
    """

    sizes: np.ndarray
    num_examples: int
    num_wrong: np.ndarray
    wrong_draws: np.ndarray

    @property
    def width(self) -> int:
        """Units of the whole layer."""
        return int(self.sizes[-1])

    @property
    def errors(self) -> np.ndarray:
        """Mean error over draws, float64 [sizes], in [0, 1]."""
        return self.num_wrong.mean(axis=1) / self.num_examples

    @property
    def error_std(self) -> np.ndarray:
        """Standard deviation of the error over draws (n - 1), float64 [sizes]; NaN for a single draw."""
        if self.num_wrong.shape[1] < 2:
            return np.full(len(self.sizes), np.nan)
        return self.num_wrong.std(axis=1, ddof=1) / self.num_examples

    @property
    def wrong_shares(self) -> np.ndarray:
        """Share of draws in which each example is wrong, float64 [sizes, examples], for `bootstrap_power_law`."""
        return self.wrong_draws / self.num_wrong.shape[1]

    def clone_size(self, error: float = FITTED_ERROR) -> int | None:
        """The smallest chunk size with a mean error of at most this: w*, if measured on training data.

        Returns: a size, or None if even the whole layer errs more.

        Source: Doimo et al. 2022, section 3; CLAIMS, header, for 1 %.
        """
        return first_at_most(self.sizes, self.errors, error)

    def num_clones(self, error: float = FITTED_ERROR) -> float | None:
        """Clones in the layer, W / w*; None if there is no w*."""
        size = self.clone_size(error)
        return None if size is None else self.width / size

    def to_frame(self) -> pd.DataFrame:
        """One row a size: mean error and its standard deviation over draws."""
        columns = {"error": self.errors, "error_std": self.error_std}
        return pd.DataFrame(columns, index=pd.Index(self.sizes, name="chunk"))

    def __str__(self) -> str:
        draws = self.num_wrong.shape[1]
        return f"ChunkErrors ({self.num_examples} examples, {draws} draws)\n{self.to_frame().to_string()}"

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Everything as arrays, for .npz."""
        return {field.name: np.asarray(getattr(self, field.name)) for field in dataclasses.fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """The errors written by `to_arrays`."""
        values = {field.name: arrays[field.name] for field in dataclasses.fields(cls)}
        return cls(**{**values, "num_examples": int(values["num_examples"])})


def first_at_most(sizes: Sequence[float], errors: Sequence[float], error: float) -> Any:
    """The smallest size whose error is at most a limit; None if there is none.

    Example:
      >>> first_at_most([1, 2, 4], [0.5, 0.01, 0.0], 0.01)
      2
    """
    found = [size for size, value in sorted(zip(sizes, errors, strict=True)) if value <= error]
    return None if not found else found[0].item() if isinstance(found[0], np.generic) else found[0]


def chunk_sizes(width: int) -> list[int]:
    """1, 2, 4, ... up to, and with, the width of a layer.

    Example:
      >>> chunk_sizes(88)
      [1, 2, 4, 8, 16, 32, 64, 88]

    Source: Doimo et al. 2022, section 2.2; FACTS 14.3.
    """
    if width < 1:
        raise ValueError(f"width: expected at least 1, received {width}")
    return [2**i for i in range((width - 1).bit_length())] + [width]


def draw_orders(width: int, size: int, draws: int, seed: int = 0) -> np.ndarray:
    """Random orders of a layer's units, int64 [draws, width], whose first `size` units are the chunks of that size.

    A draw is a function of (seed, size, its number).
    """
    return np.array([np.random.default_rng([seed, size, draw]).permutation(width) for draw in range(draws)])


def draw_chunks(width: int, size: int, draws: int, seed: int = 0) -> np.ndarray:
    """Random chunks of a layer's units, without repetition in a chunk, int64 [draws, size].

    A draw is a function of (seed, size, its number); the whole layer is drawn once, in its own order.
    """
    return np.arange(width)[np.newaxis] if size == width else draw_orders(width, size, draws, seed)[:, :size]


def check_sizes(sizes: Sequence[int] | None, width: int) -> list[int]:
    """Chunk sizes in rising order, the whole layer among them.

    Raises:
      ValueError: a size that the layer does not have.
    """
    if sizes is None:
        return chunk_sizes(width)
    if not len(sizes) or min(sizes) < 1 or max(sizes) > width or any(size != int(size) for size in sizes):
        raise ValueError(f"sizes: expected whole numbers from 1 to the layer's {width} units, received {list(sizes)}")
    return sorted({*map(int, sizes), width})
