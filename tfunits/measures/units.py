"""One pass over the data: the second moments of every tap's units, and what they say."""

import concurrent.futures
import dataclasses
import os
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfunits.measures.devices import Piece, most_examples, run_pieces
from tfunits.measures.inputs import check_least, check_one_of, check_protocol, check_share, choose_taps
from tfunits.measures.results import Redundancy, Similarity, UnitTypes
from tfunits.statistics import (
    CONSTANT_VARIATION,
    PRECISIONS,
    SELECTIVITY,
    SILENT_ACTIVE_SHARE,
    Moments,
    StreamingMoments,
    UnitStatistics,
    one_thread,
)
from tfunits.surgery import Graph, Inputs, TensorKey

# Casper et al. 2021, appendix D: 50,000 activations of a layer, three samplings.
MAX_ROWS = 50_000
SAMPLINGS = 3
# A Philox generator makes this many numbers per step of its counter.
_PHILOX_BLOCK = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkStatistics:
    """Statistics of the units of every tap.

    Attributes:
      taps: tap -> its units' statistics.
      settings: how they were measured.
    """

    taps: Mapping[str, UnitStatistics]
    settings: Mapping[str, Any]

    def redundancy(
        self, variance_fraction: float = 0.95, *, size: float | None = None, protocol: str = "exact"
    ) -> Redundancy:
        """Redundant units of every tap; the network's share is the plain mean over taps.

          redundancy = (n - components) / n * size / 4      (without size: (n - components) / n)

        Arguments as `redundancy`.
        """
        check_protocol(protocol)
        rows = {}
        for name, units in self.taps.items():
            redundant, not_redundant = units.redundancy(variance_fraction, rule=protocol, size=size)
            raw_share, _ = units.redundancy(variance_fraction, rule=protocol)
            rows[name] = {
                "units": units.num_units,
                "redundant_units": units.num_redundant(variance_fraction, rule=protocol),
                "redundant": redundant,
                "not_redundant": not_redundant,
                "compressibility": 100 * raw_share,
                "rows": units.num_rows,
                "rank_limited": units.rank_limited,
            }
        means = {name: float(np.mean([row[name] for row in rows.values()])) for name in
                 ("redundant", "not_redundant", "compressibility")}  # fmt: skip
        network = {
            "units": sum(units.num_units for units in self.taps.values()),
            "redundant_units": sum(row["redundant_units"] for row in rows.values()),
            **means,
            "rank_limited": any(row["rank_limited"] for row in rows.values()),
        }
        settings = {**self.settings, "variance_fraction": variance_fraction, "protocol": protocol}
        return Redundancy(rows=rows, network=network, settings=settings)

    def similarity(self, *, protocol: str = "exact") -> Similarity:
        """Similar units of every tap; the network's is the plain mean over taps.

        Args:
          protocol: "exact" (a constant unit is similar to none) or "authors" (it counts -1).
        """
        check_protocol(protocol)
        constant_counts = -1 if protocol == "authors" else 0
        rows = {
            name: {
                "units": units.num_units,
                "similar": units.mean_similar(constant_counts=constant_counts),
                "share_of_pairs": units.num_similar.mean() / max(1, units.num_units - 1),
                "rows": units.num_rows,
                "rank_limited": units.rank_limited,
            }
            for name, units in self.taps.items()
        }
        network = {
            "units": sum(row["units"] for row in rows.values()),
            "similar": float(np.mean([row["similar"] for row in rows.values()])),
            "share_of_pairs": float(np.mean([row["share_of_pairs"] for row in rows.values()])),
            "rank_limited": any(row["rank_limited"] for row in rows.values()),
        }
        return Similarity(rows=rows, network=network, settings={**self.settings, "protocol": protocol})

    def unit_types(
        self,
        *,
        active_share: float = SILENT_ACTIVE_SHARE,
        variation: float = CONSTANT_VARIATION,
        selectivity: float = SELECTIVITY,
    ) -> UnitTypes:
        """Numbers of dead, silent, constant and selective units, and the rank of the activations.

        Args:
          active_share: silent units are not 0 at less than this share of positions; dead ones, at none, are silent too.
          variation: constant units have a std below this share of |mean|.
          selectivity: selective units have at least this class selectivity; counted where the data have labels.
        """
        rows = {
            name: {
                "units": units.num_units,
                "dead": int(units.dead.sum()),
                "silent": int(units.silent(active_share).sum()),
                "constant": int(units.nearly_constant(variation).sum()),
                **({"selective": int(units.selective(selectivity).sum())} if units.has_classes else {}),
                "rank": units.rank(),
                "rows": units.num_rows,
            }
            for name, units in self.taps.items()
        }
        counted = [key for key in next(iter(rows.values())) if key not in ("rank", "rows")]
        network = {key: sum(row[key] for row in rows.values()) for key in counted}
        return UnitTypes(rows=rows, network=network, settings=self.settings)

    def __str__(self) -> str:
        return "\n\n".join(str(part) for part in (self.redundancy(), self.similarity(), self.unit_types()))


def redundancy(
    model: keras.Model,
    data: Any,
    *,
    variance_fraction: float = 0.95,
    size: float | None = None,
    protocol: str = "exact",
    **options: Any,
) -> Redundancy:
    """How many units are redundant: n minus the principal components that hold most of the variance.

    Args:
      model: a functional model.
      data: what to measure on; see `unit_statistics`.
      variance_fraction: share of the variance to hold, in (0, 1].
      size: the network's width multiplier: redundant units are then counted against the network at size 4.
      protocol: "exact", or "authors" (one unit more).
      **options: of `unit_statistics`.

    Returns: a `Redundancy`.

    Raises:
      ValueError: as `unit_statistics`, or a fraction outside (0, 1].

    Example:
      >>> redundant = tfunits.measures.redundancy(model, data)

    Source: Casper et al. 2021, section 3; DESIGN section 6.
    """
    check_share("variance_fraction", variance_fraction)
    check_protocol(protocol)
    statistics = unit_statistics(model, data, **options)
    return statistics.redundancy(variance_fraction, size=size, protocol=protocol)


def similarity(
    model: keras.Model, data: Any, *, threshold: float = 0.5, protocol: str = "exact", **options: Any
) -> Similarity:
    """How many other units a unit is similar to: mean over units of #{|Pearson r| >= threshold}.

    Args:
      model: a functional model.
      data: what to measure on; see `unit_statistics`.
      threshold: |r| from which two units are similar, in (0, 1].
      protocol: "exact", or "authors" (a constant unit counts -1).
      **options: of `unit_statistics`.

    Returns: a `Similarity`.

    Raises:
      ValueError: as `unit_statistics`, or a threshold outside (0, 1].

    Example:
      >>> similar = tfunits.measures.similarity(model, data)

    Source: Casper et al. 2019 (ICLR version), section 2.
    """
    check_share("threshold", threshold)
    check_protocol(protocol)
    statistics = unit_statistics(model, data, similarity_threshold=threshold, **options)
    return statistics.similarity(protocol=protocol)


def unit_types(model: keras.Model, data: Any, **options: Any) -> UnitTypes:
    """How many units are dead, silent or constant; arguments and errors as `unit_statistics`."""
    return unit_statistics(model, data, **options).unit_types()


def unit_statistics(
    model: keras.Model,
    data: Any,
    *,
    taps: Sequence[str] | None = None,
    similarity_threshold: float = 0.5,
    max_rows: int | None = MAX_ROWS,
    samplings: int = SAMPLINGS,
    precision: str = "float32",
    seed: int = 0,
    split: str = "test",
    strategy: tf.distribute.Strategy | None = None,
) -> NetworkStatistics:
    """Second moments of every tap's units, in one pass over the data, and what they say of the units.

    Each spatial position of a feature map is one row. Where a tap has more than `max_rows` of them, equally many
    positions of every example are drawn, in several samplings; memory does not grow with the number of examples.

    Args:
      model: a functional model.
      data: a `tfunits.datasets.Dataset`, a batched tf.data.Dataset of inputs or (inputs, labels), or an array.
      taps: names of the taps to measure; all if None.
      similarity_threshold: |r| from which two units are similar, in (0, 1].
      max_rows: rows per tap and sampling; None or 0 for all of them.
      samplings: independent samplings of rows, where rows are sampled.
      precision: in which centred activations are multiplied before they are added up in float64: "float32", with
        errors of up to a few 1e-6 of sqrt(C_ii C_jj), or "float64".
      seed: of the samplings.
      split: which split of a `Dataset`.
      strategy: whose devices share the forward passes; the numbers are the same.

    Returns: a `NetworkStatistics`.

    Raises:
      ValueError: an unknown tap, a model that is not functional, inputs of another shape, fewer than two rows, or an
        option that is not of these.
    """
    check_share("similarity_threshold", similarity_threshold)
    check_one_of("precision", precision, PRECISIONS)
    check_least("samplings", samplings, 1)
    check_least("max_rows", max_rows or 0, 0)
    graph = Graph(model)
    keys = choose_taps(graph, taps)
    inputs = Inputs(data, split, model)
    read = read_moments(
        graph, keys, inputs, max_rows=max_rows, samplings=samplings, precision=precision, seed=seed, strategy=strategy
    )
    settings = {
        "split": split,
        "max_rows": max_rows or "all",
        "samplings": samplings,
        "similarity_threshold": similarity_threshold,
        "precision": precision,
        "seed": seed,
    }
    statistics = {
        name: UnitStatistics.from_moments(
            reading.moments, reading.active_share, similarity_threshold, class_means=reading.class_means
        )
        for name, reading in read.items()
    }
    return NetworkStatistics(taps=statistics, settings=settings)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TapReading:
    """What one pass over the data finds of a tap's units.

    Attributes:
      moments: one a sampling of rows.
      active_share: share of all positions of all examples at which a unit is not 0, float64 [units].
      class_means: mean over all positions of each class's examples, float64 [classes, units]; None without labels of
        the network's classes.
    """

    moments: list[Moments]
    active_share: np.ndarray
    class_means: np.ndarray | None


def read_moments(
    graph: Graph,
    keys: Mapping[str, TensorKey],
    inputs: Inputs,
    *,
    max_rows: int | None = MAX_ROWS,
    samplings: int = 1,
    precision: str = "float32",
    seed: int = 0,
    strategy: tf.distribute.Strategy | None = None,
) -> dict[str, TapReading]:
    """Tap -> its moments, active shares and class means, in one pass; arguments as `unit_statistics`."""
    samplers = {
        name: Sampler.plan(name, graph.shape(key), inputs, max_rows, samplings, seed) for name, key in keys.items()
    }
    accumulators = {
        name: TapAccumulator(graph.shape(key)[-1], samplers[name], precision, inputs.num_classes)
        for name, key in keys.items()
    }
    sampled = [name for name, sampler in samplers.items() if not sampler.reads_all]

    def read(batch: list[tf.Tensor], drawn: dict[str, tf.Tensor]) -> dict[str, tuple]:
        values = graph.run(dict(zip(graph.inputs, batch, strict=True)), list(keys.values()), inference=True)
        found = {}
        for name, value in zip(keys, values, strict=True):
            units, num_positions = value.shape[-1], samplers[name].num_positions
            rows = tf.cast(tf.reshape(value, [-1, units]), tf.float32)
            # Sums of up to 2^24 ones are exact in float32.
            active = tf.reduce_sum(tf.cast(tf.not_equal(rows, 0), tf.float32), axis=0)
            means = tf.reduce_mean(tf.reshape(rows, [-1, num_positions, units]), axis=1) if inputs.has_labels else ()
            found[name] = (active, means, tf.gather(rows, drawn[name]) if name in drawn else rows)
        return found

    drawn_spec = dict.fromkeys(sampled, tf.TensorSpec([None], tf.int32))
    calls = graph.needed(list(keys.values()), graph.inputs)
    compiled = graph.compile(read, [[graph.spec(key) for key in graph.inputs], drawn_spec], calls)

    def run(piece: Piece) -> tuple[dict[str, tuple], dict[str, list[np.ndarray]]]:
        drawn = {name: samplers[name].rows(piece.first, piece.size) for name in sampled}
        together = {name: tf.constant(np.concatenate(rows)) for name, rows in drawn.items()}
        found = compiled(piece.inputs, together)
        return {name: tuple(np.asarray(part) for part in parts) for name, parts in found.items()}, drawn

    with one_thread(), concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for piece, (found, drawn) in run_pieces(
            run, inputs, strategy=strategy, most_examples=most_examples(graph), description="reading activations"
        ):
            add_to_all(pool, accumulators, piece, found, drawn)
    return {name: accumulator.reading() for name, accumulator in accumulators.items()}


def add_to_all(
    pool: concurrent.futures.Executor,
    accumulators: Mapping[str, "TapAccumulator"],
    piece: Piece,
    found: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
    drawn: Mapping[str, Sequence[np.ndarray]],
) -> None:
    """Add a piece's (active counts, means, rows) to every tap's sums, taps side by side; rows of several samplings
    stand one behind the other, as many as were drawn."""

    def add(name: str) -> None:
        active, means, rows = found[name]
        ends = np.cumsum([len(part) for part in drawn[name]])[:-1] if name in drawn else []
        accumulators[name].add(piece, active, means, np.split(rows, ends))

    list(pool.map(add, accumulators))


class TapAccumulator:
    """Sums over the pieces of the data of one tap."""

    def __init__(self, num_units: int, sampler: "Sampler", precision: str, num_classes: int = 0) -> None:
        self._streams = [StreamingMoments(num_units, precision) for _ in range(sampler.samplings)]
        self._num_positions = sampler.num_positions
        self._num_examples = 0
        self._num_active = np.zeros(num_units)
        self._class_sums = np.zeros((num_classes, num_units))
        self._class_counts = np.zeros(num_classes, np.int64)
        self._has_classes = num_classes > 0

    def add(self, piece: Piece, active: np.ndarray, means: np.ndarray, samples: Sequence[np.ndarray]) -> None:
        """Add the sums of one piece."""
        self._num_examples += piece.size
        self._num_active += active
        for stream, rows in zip(self._streams, samples, strict=True):
            stream.add(rows)
        if piece.labels is not None and self._has_classes:
            self._add_classes(piece.labels, means.astype(np.float64))

    def _add_classes(self, labels: np.ndarray, means: np.ndarray) -> None:
        if labels.min() < 0 or labels.max() >= len(self._class_counts):
            # Whole numbers that are no classes of the network: names of examples, or values of a regression.
            self._has_classes = False
            return
        one_hot = labels[:, None] == np.arange(len(self._class_counts))
        self._class_sums += one_hot.T.astype(np.float64) @ means
        self._class_counts += one_hot.sum(axis=0)

    def reading(self) -> TapReading:
        """What was added up."""
        present = self._class_counts > 0
        has_means = self._has_classes and present.any()
        means = self._class_sums[present] / self._class_counts[present, None] if has_means else None
        return TapReading(
            moments=[stream.moments() for stream in self._streams],
            active_share=self._num_active / (self._num_examples * self._num_positions),
            class_means=means,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampler:
    """Which positions of which examples are rows.

    Attributes:
      num_positions: positions of one example's map.
      rows_per_example: positions drawn of an example.
      samplings: independent draws; 1 where every position of every example is a row.
      examples: numbers of the examples that have rows, sorted, int64 [samplings, ...]; None for all of them.
      key: Philox key of the tap's random numbers.
    """

    num_positions: int
    rows_per_example: int
    samplings: int
    examples: np.ndarray | None
    key: tuple[int, int]

    @classmethod
    def plan(
        cls,
        name: str,
        shape: tuple[int | None, ...],
        inputs: Inputs,
        max_rows: int | None,
        samplings: int,
        seed: int,
    ) -> "Sampler":
        """The rows of a tap: all positions where they are few enough, else equally many of every example."""
        positions = shape[1:-1]
        if None in positions:
            raise ValueError(
                f"taps: expected a tap of known size, received {name!r} of shape {shape}; "
                "build the model with a fixed input shape"
            )
        num_positions = int(np.prod(positions, dtype=int))
        key = (seed, zlib.crc32(name.encode()))
        upper_bound = num_positions * inputs.num_batches * inputs.batch_size
        if not max_rows or upper_bound <= max_rows or num_positions * inputs.num_examples <= max_rows:
            return cls(num_positions=num_positions, rows_per_example=num_positions, samplings=1, examples=None, key=key)
        examples = None
        if inputs.num_examples > max_rows:
            generators = [np.random.default_rng([*key, sampling]) for sampling in range(samplings)]
            chosen = [g.choice(inputs.num_examples, max_rows, replace=False) for g in generators]
            examples = np.sort(chosen, axis=1)
        rows = max(1, max_rows // inputs.num_examples)
        return cls(num_positions=num_positions, rows_per_example=rows, samplings=samplings, examples=examples, key=key)

    @property
    def reads_all(self) -> bool:
        """Whether every position of every example is a row."""
        return self.rows_per_example == self.num_positions and self.examples is None

    def rows(self, first_example: int, num_examples: int) -> list[np.ndarray]:
        """Numbers of a batch's rows, example * positions + position, in every sampling, each int32 [rows].

        Each is a function of the example's number in the data, so that no batch size changes it.
        """
        chosen = []
        for sampling in range(self.samplings):
            positions = self._draw_positions(sampling, first_example, num_examples)
            kept = np.arange(num_examples)
            if self.examples is not None:
                numbers = self.examples[sampling] - first_example
                kept = numbers[(numbers >= 0) & (numbers < num_examples)]
            chosen.append((kept[:, None] * self.num_positions + positions[kept]).ravel().astype(np.int32))
        return chosen

    def _draw_positions(self, sampling: int, first_example: int, num_examples: int) -> np.ndarray:
        """Distinct positions of every example, int64 [examples, rows_per_example].

        Source: Floyd's algorithm (Bentley and Floyd 1987, Programming pearls: A sample of brilliance), for all
          examples at once; it needs one random number a row, where shuffling needs one a position.
        """
        count = self.rows_per_example
        width = -(-count // _PHILOX_BLOCK) * _PHILOX_BLOCK
        bits = np.random.Philox(key=self.key, counter=[0, 0, sampling, 0])
        bits.advance(first_example * width // _PHILOX_BLOCK)
        numbers = np.random.Generator(bits).random((num_examples, width))
        chosen = np.empty((num_examples, count), np.int64)
        for step in range(count):
            last = self.num_positions - count + step
            candidate = (numbers[:, step] * (last + 1)).astype(np.int64)
            taken = (chosen[:, :step] == candidate[:, None]).any(axis=1)
            chosen[:, step] = np.where(taken, last, candidate)
        return chosen
