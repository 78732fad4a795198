"""One pass over the data: the second moments of every tap's units, and what they say."""

import dataclasses
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from tfunits.measures.inputs import Inputs, check_protocol, check_share, choose_taps
from tfunits.measures.results import Redundancy, Similarity, UnitTypes
from tfunits.statistics import Moments, UnitStatistics
from tfunits.surgery import Graph, TensorKey

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

    def unit_types(self) -> UnitTypes:
        """Numbers of dead (always 0), silent (not 0 at < 1 % of positions) and constant (std < 1 % of |mean|) units."""
        rows = {
            name: {
                "units": units.num_units,
                "dead": int(units.dead.sum()),
                "silent": int(units.silent().sum()),
                "constant": int(units.nearly_constant().sum()),
                "rows": units.num_rows,
            }
            for name, units in self.taps.items()
        }
        network = {key: sum(row[key] for row in rows.values()) for key in ("units", "dead", "silent", "constant")}
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
    seed: int = 0,
    split: str = "test",
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
      seed: of the samplings.
      split: which split of a `Dataset`.

    Returns: a `NetworkStatistics`.

    Raises:
      ValueError: an unknown tap, a model that is not functional, inputs of another shape, or fewer than two
        rows.
    """
    check_share("similarity_threshold", similarity_threshold)
    for name, value, least in (("samplings", samplings, 1), ("max_rows", max_rows or 0, 0)):
        if value < least:
            raise ValueError(f"{name}: expected at least {least}, received {value}")
    graph = Graph(model)
    keys = choose_taps(graph, taps)
    inputs = Inputs(data, split, model)
    samplers = {
        name: _Sampler.plan(name, graph.shape(key), inputs, max_rows, samplings, seed) for name, key in keys.items()
    }
    moments, active_shares = _accumulate(graph, keys, inputs, samplers)
    settings = {
        "split": split,
        "max_rows": max_rows or "all",
        "samplings": samplings,
        "similarity_threshold": similarity_threshold,
        "seed": seed,
    }
    statistics = {
        name: UnitStatistics.from_moments(moments[name], active_shares[name], similarity_threshold) for name in keys
    }
    return NetworkStatistics(taps=statistics, settings=settings)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Sampler:
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
    ) -> "_Sampler":
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
        return self.rows_per_example == self.num_positions and self.examples is None

    def rows(self, first_example: int, num_examples: int) -> list[np.ndarray]:
        """(example in the batch, position) of a batch's rows in every sampling, each int32 [rows, 2].

        Each is a function of the example's number in the data, so that no batch size changes it.
        """
        width = -(-self.num_positions // _PHILOX_BLOCK) * _PHILOX_BLOCK
        chosen = []
        for sampling in range(self.samplings):
            bits = np.random.Philox(key=self.key, counter=[0, 0, sampling, 0])
            bits.advance(first_example * width // _PHILOX_BLOCK)
            scores = np.random.Generator(bits).random((num_examples, width))[:, : self.num_positions]
            positions = np.argsort(scores, axis=1)[:, : self.rows_per_example]
            kept = np.arange(num_examples)
            if self.examples is not None:
                numbers = self.examples[sampling] - first_example
                kept = numbers[(numbers >= 0) & (numbers < num_examples)]
            pairs = np.stack([np.repeat(kept, self.rows_per_example), positions[kept].ravel()], axis=1)
            chosen.append(pairs.astype(np.int32))
        return chosen


def _accumulate(
    graph: Graph, keys: Mapping[str, TensorKey], inputs: Inputs, samplers: Mapping[str, _Sampler]
) -> tuple[dict[str, list[Moments]], dict[str, np.ndarray]]:
    """Per tap, the moments of every sampling, and the share of all positions at which each unit is not 0."""
    drawn_spec = {
        name: [tf.TensorSpec([None, 2], tf.int32)] * s.samplings for name, s in samplers.items() if not s.reads_all
    }

    def read(batch: list[tf.Tensor], drawn: dict[str, list[tf.Tensor]]) -> dict[str, tuple]:
        values = graph.run(dict(zip(graph.inputs, batch, strict=True)), list(keys.values()), inference=True)
        found = {}
        for name, value in zip(keys, values, strict=True):
            by_position = tf.reshape(value, [tf.shape(value)[0], samplers[name].num_positions, value.shape[-1]])
            active = tf.math.count_nonzero(by_position, axis=[0, 1])
            everything = tf.reshape(by_position, [-1, value.shape[-1]])
            samples = [tf.gather_nd(by_position, pairs) for pairs in drawn.get(name, ())] or [everything]
            found[name] = (active, tf.shape(everything)[0], [_batch_moments(rows) for rows in samples])
        return found

    run = graph.compile(read, [[graph.spec(key) for key in graph.inputs], drawn_spec])
    moments = {name: [Moments.empty(graph.shape(key)[-1])] * samplers[name].samplings for name, key in keys.items()}
    num_active = {name: np.zeros(graph.shape(key)[-1], np.int64) for name, key in keys.items()}
    num_positions = dict.fromkeys(keys, 0)
    first = 0
    for batch in tqdm(
        inputs, desc="reading activations", total=inputs.num_batches, unit="batch", disable=None, delay=2,
        dynamic_ncols=True,
    ):  # fmt: skip
        size = int(batch[0].shape[0])
        drawn = {name: s.rows(first, size) for name, s in samplers.items() if not s.reads_all}
        first += size
        for name, (active, positions, pieces) in run(batch, drawn).items():
            num_active[name] += active.numpy()
            num_positions[name] += int(positions)
            moments[name] = [
                total.merge(Moments(count=int(count), mean=mean.numpy(), scatter=scatter.numpy()))
                if int(count)
                else total
                for total, (count, mean, scatter) in zip(moments[name], pieces, strict=True)
            ]
    return moments, {name: num_active[name] / num_positions[name] for name in keys}


def _batch_moments(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """(count, mean, centred scatter) of rows [rows, units], in float64; without rows, zeros."""
    exact = tf.cast(rows, tf.float64)
    # As `Moments.from_samples`: a constant unit's mean is exact.
    origin = tf.reduce_sum(exact[:1], axis=0)
    count = tf.shape(rows)[0]
    mean = origin + tf.math.divide_no_nan(tf.reduce_sum(exact - origin, axis=0), tf.cast(count, tf.float64))
    centred = exact - mean
    return count, mean, tf.matmul(centred, centred, transpose_a=True)
