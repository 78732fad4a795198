"""Networks with chunks whose errors and residuals are planted, without files but for what an ensemble reads."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tfunits.artifacts import RunDir, write_arrays
from tfunits.configs import resolve
from tfunits.reports import RunRecord
from tfunits.statistics import ChunkErrors, ReconstructionCurve, chunk_sizes

EXAMPLES = 400
DRAWS = 1000
# One example in ten is wrong however wide the network is.
LIMIT = np.arange(EXAMPLES) % 10 == 0
# The first chunk size that fits its training data, where nothing else is said.
CLONE = 8
# How steeply test error falls below it.
STEEP = -1.5


def excess_of(exponent: float, scale: float = 0.3) -> Callable[[float], float]:
    """A power law from `CLONE` on, where it is `scale`, and a steeper one below."""
    return lambda width: scale * (width / CLONE) ** (exponent if width >= CLONE else STEEP)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Planted:
    """What is planted in networks of a recipe.

    Attributes:
      excess: width or chunk size -> mean test error above that of the limit.
      full_excess: the same of full networks, where it is another.
      train: chunk size -> training error.
      full_train: width -> training error of full networks.
      correlation: chunk size -> residuals' mean correlation, held out.
      r2: chunk size -> R2, held out.
      rows: on which residuals were taken.
      dimension: intrinsic, None if not measured.
      noise: standard deviation of what sets networks apart, as a share.
    """

    excess: Callable[[float], float] = excess_of(-0.5)
    full_excess: Callable[[float], float] | None = None
    train: Callable[[float], float] = lambda size: 0.0 if size >= CLONE else 0.5 / size
    full_train: Callable[[float], float] = lambda width: 0.0 if width >= CLONE else 0.2
    correlation: Callable[[float], float] = lambda size: 0.4 / size
    r2: Callable[[float], float] = lambda size: 1 - 0.4 / size
    rows: int = 20_000
    dimension: float | None = 3.0
    noise: float = 0.02


def make_network(
    root: pathlib.Path, planted: Planted, width: int, seed: int, given: Mapping[str, Any] | None = None
) -> RunRecord:
    """A network of this last width with what is planted in it, and its outputs in a file."""
    given = {"model": "fc5", "size": width / 128, "seed": seed, "weight_decay": 0.01, **(given or {})}
    config = resolve(given)
    rng = np.random.default_rng([seed, width])
    own = 1 + planted.noise * rng.normal()
    sizes = np.array(chunk_sizes(width))
    full = planted.full_excess or planted.excess
    wrong = _shares([*(planted.excess(size) * own for size in sizes[:-1]), full(width) * own], rng)
    # A full network is right or wrong about each example.
    wrong[-1] = rng.uniform(size=EXAMPLES) < wrong[-1]
    run_dir = RunDir.of(config, root)
    outputs = np.where(wrong[-1] > 0, -1.0, 1.0) * np.where((wrong[-1] > 0) & ~LIMIT, 0.1, 1.0)
    classes = config.data.num_classes
    scores = outputs[:, None] if given["model"] == "fc5" else outputs[:, None] * (np.arange(classes) == 1)
    write_arrays(run_dir.logits, {"test": scores, "test_labels": np.ones(EXAMPLES, "int64")}, compress=False)
    train = [*(planted.train(size) for size in sizes[:-1]), planted.full_train(width)]
    return RunRecord(
        run_dir=run_dir, config=config, state="finished", accuracy={}, curves={}, statistics={},
        chunks={"test": _chunks(sizes, wrong), "train": _chunks(sizes, _shares(train, None))},
        reconstructions={("test", "layer"): _reconstruction(sizes, planted, own)},
        values={} if planted.dimension is None else {
            "dimension": [{"settings": {"split": "test"}, "value": planted.dimension * own}]
        },
    )  # fmt: skip


def make_epoch(
    record: RunRecord, *, train: Mapping[int, float], test: float, correlation: Callable[[int], float]
) -> RunRecord:
    """The network as it was after an epoch: training errors of chunks by size, its test error, residuals."""
    sizes = record.chunks["train"].sizes
    errors = [train[int(size)] for size in sizes]
    planted = Planted(correlation=correlation)
    return dataclasses.replace(
        record,
        chunks={
            "train": _chunks(sizes, np.tile(np.array(errors)[:, None], EXAMPLES)),
            "test": _chunks(sizes, np.full((len(sizes), EXAMPLES), test)),
        },
        reconstructions={("test", "layer"): _reconstruction(sizes, planted, 1.0)},
    )


def _shares(errors: list[float], rng: np.random.Generator | None) -> np.ndarray:
    """Share of draws in which each example is wrong; test examples beyond the limit differ in how hard they are."""
    if rng is None:
        return np.tile(np.array(errors)[:, None], EXAMPLES)
    hardness = np.linspace(0.5, 1.5, EXAMPLES) * ~LIMIT
    hardness /= hardness.mean()
    return np.clip(LIMIT + np.array(errors)[:, None] * hardness, 0, 1)


def _chunks(sizes: np.ndarray, shares: np.ndarray) -> ChunkErrors:
    draws = np.rint(shares * DRAWS).astype("int32")
    counts = np.tile((draws.sum(axis=1) / DRAWS)[:, None], (1, DRAWS))
    return ChunkErrors(sizes=sizes, num_examples=EXAMPLES, num_wrong=counts, wrong_draws=draws)


def _reconstruction(sizes: np.ndarray, planted: Planted, own: float) -> ReconstructionCurve:
    def column(read: Callable[[float], float], last: float) -> np.ndarray:
        return np.array([*(read(size) for size in sizes[:-1]), last])[:, None]

    correlation, r2 = column(planted.correlation, np.nan) * own, column(planted.r2, 1.0) * (2 + own) / 3
    return ReconstructionCurve(
        width=int(sizes[-1]), num_rows=planted.rows, sizes=sizes, r2=r2, correlation=0.9 * correlation,
        held_out_r2=r2, held_out_correlation=correlation,
    )  # fmt: skip
