"""How predictions change while units are masked."""

import dataclasses
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from tfunits.measures.inputs import PROTOCOLS, Inputs, check_classifier, check_share, choose_taps, predict_classes
from tfunits.measures.results import Prunability
from tfunits.statistics import REFERENCE_SIZE, AblationCurve
from tfunits.surgery import Graph, TensorKey

# The experiment that masks all taps at once; no tap can have this name.
_JOINT = None
_UNITS = ("channel", "location")
# Masks are stacked into the batch until this many numbers stand at the tap: enough to fill the cores on small maps,
# and a bound (here 128 MiB a tensor of float32 there) on memory.
_STACKED_VALUES = 2**25


@dataclasses.dataclass(frozen=True, kw_only=True)
class AblationCurves:
    """Ablation curves of a network.

    Attributes:
      taps: tap -> curve with only this tap's units masked.
      joint: curve with the same fraction masked at every tap at once; None if not asked for.
      settings: how they were measured.
    """

    taps: Mapping[str, AblationCurve]
    joint: AblationCurve | None
    settings: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: settings, and curves as raw counts."""
        curves = {name: curve.to_dict() for name, curve in self.taps.items()}
        return {
            "settings": dict(self.settings),
            "taps": curves,
            "joint": self.joint.to_dict() if self.joint else None,
        }

    def __str__(self) -> str:
        return str(self.prunability())

    def prunability(self, tolerance: float = 0.2, *, size: float | None = None) -> Prunability:
        """Prunable units of every tap; the network's are those of the joint curve.

        Arguments as `prunability`.
        """

        def row(curve: AblationCurve) -> dict[str, Any]:
            largest, mean = curve.prunability(tolerance, size=size)
            return {
                "units": curve.num_units,
                "prunable": largest,
                "prunable_mean": mean,
                "not_prunable": curve.non_prunability(tolerance, size=size),
                "area": curve.area,
                "agreement_at_1": curve.agreement[:, -1].mean(),
            }

        rows = {name: row(curve) for name, curve in self.taps.items()}
        network = row(self.joint) if self.joint else {}
        if rows:
            # Casper et al. 2019: a network's area is the mean over its layers.
            network = {**network, "area": float(np.mean([r["area"] for r in rows.values()]))}
        scale = {} if size is None else {"scale": f"units at size {REFERENCE_SIZE}"}
        return Prunability(rows=rows, network=network, settings={**self.settings, "tolerance": tolerance, **scale})


def prunability(
    model: keras.Model, data: Any, *, tolerance: float = 0.2, size: float | None = None, **options: Any
) -> Prunability:
    """How many units can be dropped at random before more than `tolerance` of the predictions change.

    Args:
      model: a functional model that predicts classes.
      data: what to measure on; see `ablation_curves`.
      tolerance: share of changed predictions that is allowed, in (0, 1].
      size: the network's width multiplier: prunable units are then counted against the network at size 4.
      **options: of `ablation_curves`.

    Returns: a `Prunability`: largest and mean over draws per tap; `network` masks all taps at once.

    Raises:
      ValueError: as `ablation_curves`.

    Example:
      >>> prunable = tfunits.measures.prunability(model, data)  # print it, or .to_frame()
    """
    check_share("tolerance", tolerance)
    return ablation_curves(model, data, **options).prunability(tolerance, size=size)


def ablation_curves(
    model: keras.Model,
    data: Any,
    *,
    taps: Sequence[str] | None = None,
    joint: bool = True,
    unit: str = "channel",
    draws: int = 3,
    levels: int = 7,
    protocol: str = "exact",
    seed: int = 0,
    split: str = "test",
) -> AblationCurves:
    """Agreement with the whole network while random units are masked, for every tap and for all at once.

      agreement = #{x : class(masked network, x) = class(network, x)} / N,
      with floor(i n / (levels - 1)) of n units masked at level i, nested in one random order a draw

    Each batch is run once up to the taps, then only what lies behind a tap is run again for its masks.

    Args:
      model: a functional model with one output.
      data: a `tfunits.datasets.Dataset`, a batched tf.data.Dataset of inputs or (inputs, labels), or an array.
      taps: names of the taps to ablate; all if None.
      joint: whether to also mask the same fraction at every tap at once.
      unit: "channel" (every location of a channel at once) or "location" (each location of a map is a unit).
      draws: random orders, at least 1.
      levels: points of the curve, at least 2.
      protocol: "exact"; or "authors": int(level * n) units and the nominal level as abscissa.
      seed: of the random orders.
      split: which split of a `Dataset`.

    Returns: an `AblationCurves`.

    Raises:
      ValueError: an option that is not of these, an unknown tap, a model that is not functional, inputs of another
        shape, or a tap of unknown size with unit="location".

    Source: Casper et al. 2021, section 3; FACTS 6.
    """
    _check_options(unit, draws, levels, protocol)
    graph = Graph(model)
    check_classifier(graph)
    keys = choose_taps(graph, taps)
    inputs = Inputs(data, split, model)
    options = {"draws": draws, "levels": levels, "protocol": protocol, "seed": seed}
    shapes = {name: _unit_shape(graph, name, key, unit) for name, key in keys.items()}
    plans = {name: _Plan.draw(name, shape, **options) for name, shape in shapes.items()}
    experiments: dict[str | None, dict[TensorKey, _Plan]] = {name: {keys[name]: plan} for name, plan in plans.items()}
    if joint:
        experiments[_JOINT] = {keys[name]: plan for name, plan in plans.items()}
    counts, num_examples = _count_agreeing(graph, inputs, experiments)

    def curve(name: str | None) -> AblationCurve:
        involved = experiments[name].values()
        num_units = sum(plan.num_units for plan in involved)
        removed = sum(plan.removed for plan in involved)
        nominal = np.linspace(0, 1, levels)
        agreeing = np.full((draws, levels), num_examples)
        for (draw, level), count in counts[name].items():
            agreeing[draw, level] = count
        return AblationCurve(
            num_units=num_units,
            num_examples=num_examples,
            fractions=nominal if protocol == "authors" else removed / num_units,
            num_agreeing=agreeing,
        )

    return AblationCurves(
        taps={name: curve(name) for name in keys},
        joint=curve(_JOINT) if joint else None,
        settings={"unit": unit, **options, "split": split},
    )


def _check_options(unit: str, draws: int, levels: int, protocol: str) -> None:
    for name, value, known in (("unit", unit, _UNITS), ("protocol", protocol, PROTOCOLS)):
        if value not in known:
            raise ValueError(f"{name}: expected one of {', '.join(known)}, received {value!r}")
    for name, value, least in (("draws", draws, 1), ("levels", levels, 2)):
        if value < least:
            raise ValueError(f"{name}: expected at least {least}, received {value}")


def _unit_shape(graph: Graph, name: str, key: TensorKey, unit: str) -> tuple[int, ...]:
    """Shape of one mask: one number a channel, or one a location and channel."""
    shape = graph.shape(key)[1:]
    chosen = tuple(1 for _ in shape[:-1]) + shape[-1:] if unit == "channel" else shape
    if None in chosen:
        raise ValueError(f"taps: expected a tap of known size, received {name!r} of shape {shape}; "
                         "build the model with a fixed input shape, or use unit='channel'")  # fmt: skip
    return chosen


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Plan:
    """Which units of one tap are masked in every draw and level.

    Attributes:
      shape: of one mask.
      removed: number of masked units at every level, int64 [levels].
      rank: place of every unit in each draw's order, int64 [draws, units]; the first `removed` are masked.
    """

    shape: tuple[int, ...]
    removed: np.ndarray
    rank: np.ndarray

    @classmethod
    def draw(cls, name: str, shape: tuple[int, ...], *, draws: int, levels: int, protocol: str, seed: int) -> "_Plan":
        num_units = int(np.prod(shape))
        if protocol == "authors":
            removed = np.array([int(level * num_units) for level in np.linspace(0, 1, levels)])
        else:
            removed = np.arange(levels) * num_units // (levels - 1)
        generators = [np.random.default_rng([seed, draw, zlib.crc32(name.encode())]) for draw in range(draws)]
        rank = np.array([np.argsort(generator.permutation(num_units)) for generator in generators])
        return cls(shape=shape, removed=removed, rank=rank)

    @property
    def num_units(self) -> int:
        return self.rank.shape[1]

    def mask(self, draw: int, level: int) -> np.ndarray:
        """1 for kept and 0 for masked units, float32 of `shape`."""
        return (self.rank[draw] >= self.removed[level]).astype("float32").reshape(self.shape)


def _distinct_masks(plans: Sequence[_Plan]) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """(draw, level) to be run -> all (draw, level) with the same masks; levels without a masked unit need no run."""
    groups: dict[tuple, list[tuple[int, int]]] = {}
    draws, levels = len(plans[0].rank), len(plans[0].removed)
    for draw in range(draws):
        for level in range(levels):
            removed = tuple(int(plan.removed[level]) for plan in plans)
            everything = all(count == plan.num_units for count, plan in zip(removed, plans, strict=True))
            if any(removed):
                # With every unit masked, the order that led there does not matter.
                groups.setdefault((None if everything else draw, removed), []).append((draw, level))
    return {members[0]: members for members in groups.values()}


def _count_agreeing(
    graph: Graph, inputs: Inputs, experiments: Mapping[str | None, Mapping[TensorKey, _Plan]]
) -> tuple[dict[str | None, dict[tuple[int, int], int]], int]:
    """Per experiment, (draw, level) -> number of examples whose class stays; and the number of examples."""
    runners = {name: _Runner(graph, plans) for name, plans in experiments.items()}
    kept = list(dict.fromkeys(key for runner in runners.values() for key in runner.frontier))

    def run_to_frontier(batch: list[tf.Tensor]) -> tuple[list[tf.Tensor], tf.Tensor]:
        given = dict(zip(graph.inputs, batch, strict=True))
        *values, scores = graph.run(given, [*kept, graph.outputs[0]], inference=True)
        return values, predict_classes(graph, [scores])

    prefix = graph.compile(run_to_frontier, [[graph.spec(key) for key in graph.inputs]])
    num_examples = 0
    total = inputs.num_batches * sum(len(runner.groups) for runner in runners.values())
    with tqdm(desc="ablation", total=total, unit="mask", disable=None, delay=2, dynamic_ncols=True) as bar:
        for batch in inputs:
            values, classes = prefix(batch)
            by_key = dict(zip(kept, values, strict=True))
            num_examples += int(tf.size(classes))
            for runner in runners.values():
                runner.add([by_key[key] for key in runner.frontier], classes)
                bar.update(len(runner.groups))
    return {name: runner.counts() for name, runner in runners.items()}, num_examples


class _Runner:
    """One experiment's masks, and the compiled part of the network behind its taps."""

    def __init__(self, graph: Graph, plans: Mapping[TensorKey, _Plan]) -> None:
        self.keys = tuple(plans)
        self.frontier = graph.frontier(self.keys)
        self.groups = _distinct_masks(list(plans.values()))
        self.agreeing = np.zeros(len(self.groups), np.int64)
        masks = [np.stack([plan.mask(*place) for place in self.groups]) for plan in plans.values()]
        self._masks = [tf.constant(mask) for mask in masks]
        self._run = self._compile(graph)

    def _compile(self, graph: Graph) -> Callable[..., tf.Tensor]:
        classes_shape = graph.shape(graph.outputs[0])[1:-1]
        signature = [
            [graph.spec(key) for key in self.frontier],
            [tf.TensorSpec([None, *mask.shape[1:]], tf.float32) for mask in self._masks],
            tf.TensorSpec([None, *classes_shape], tf.int32),
        ]

        def count(frontier: list[tf.Tensor], masks: list[tf.Tensor], classes: tf.Tensor) -> tf.Tensor:
            """Examples per mask whose class stays; all masks are run as one batch of stack * batch examples."""
            stack, batch = tf.shape(masks[0])[0], tf.shape(frontier[0])[0]
            per_example = {key: tf.repeat(mask, batch, axis=0) for key, mask in zip(self.keys, masks, strict=True)}

            def tile(value: tf.Tensor) -> tf.Tensor:
                return tf.tile(value, [stack, *([1] * (value.shape.rank - 1))])

            def edit(key: TensorKey, value: tf.Tensor) -> tf.Tensor:
                return value * tf.cast(per_example[key], value.dtype) if key in per_example else value

            given = {key: tile(value) for key, value in zip(self.frontier, frontier, strict=True)}
            outputs = graph.run(given, list(graph.outputs), edit=edit, inference=True)
            same = tf.equal(
                predict_classes(graph, outputs), tf.tile(classes, [stack, *([1] * (classes.shape.rank - 1))])
            )
            return tf.reduce_sum(tf.reshape(tf.cast(same, tf.int64), [stack, -1]), axis=1)

        return graph.compile(count, signature)

    def add(self, frontier: list[tf.Tensor], classes: tf.Tensor) -> None:
        """Count one batch."""
        stack = _stack_size(frontier, len(self.groups))
        for first in range(0, len(self.groups), stack):
            part = slice(first, first + stack)
            self.agreeing[part] += self._run(frontier, [mask[part] for mask in self._masks], classes).numpy()

    def counts(self) -> dict[tuple[int, int], int]:
        """(draw, level) -> number of agreeing examples, for every level with a masked unit."""
        pairs = zip(self.groups.values(), self.agreeing.tolist(), strict=True)
        return {place: count for places, count in pairs for place in places}


def _stack_size(frontier: Sequence[tf.Tensor], num_masks: int) -> int:
    """How many masks to run as one batch: equal parts, none larger than the bound on the frontier's tensors."""
    widest = max(int(tf.size(tensor)) for tensor in frontier)
    largest = int(np.clip(_STACKED_VALUES // max(1, widest), 1, num_masks))
    num_parts = -(-num_masks // largest)
    return -(-num_masks // num_parts)
