"""How predictions change while units are masked, activations are made noisy, or weights are masked."""

import dataclasses
import zlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfunits.measures.inputs import (
    Inputs,
    check_classifier,
    check_least,
    check_one_of,
    check_protocol,
    check_share,
    choose_taps,
    predict_classes,
)
from tfunits.measures.orders import ORDERS, ORDERS_BY_ACTIVATION, MaskingPlan, distinct_trials
from tfunits.measures.perturbations import Noise, Perturbation, PerturbedRuns, UnitMasks, WeightMasks
from tfunits.measures.results import NoiseTolerance, Prunability
from tfunits.measures.units import read_moments
from tfunits.statistics import REFERENCE_SIZE, AblationCurve
from tfunits.surgery import Graph, TensorKey, feeding_layers, incoming_norms, kernel_of

# The perturbation of all taps at once; no tap can have this name.
_JOINT = None
UNITS = ("channel", "location")
# Draws at which an ablation until a standard error gives up.
MAX_DRAWS = 100


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
        return str(self.noise_tolerance() if self.is_noise else self.prunability())

    @property
    def is_noise(self) -> bool:
        """Whether the abscissa is the size of noise and not a share of units."""
        return "noise" in self.settings

    def noise_tolerance(self, tolerance: float = 0.2) -> NoiseTolerance:
        """Noise at which more than `tolerance` of the predictions change, in standard deviations, of every tap.

        Raises:
          ValueError: curves of masked units or weights.
        """
        if not self.is_noise:
            raise ValueError("curves: expected those of `noise_curves`, received masked units; use prunability")

        def row(curve: AblationCurve) -> dict[str, Any]:
            return {
                "units": curve.num_units,
                "noise": float(curve.crossings(tolerance).mean()),
                "area": curve.area,
                "agreement_at_largest": curve.agreement[:, -1].mean(),
                "draws": len(curve.num_agreeing),
            }

        rows = {name: row(curve) for name, curve in self.taps.items()}
        settings = {**self.settings, "tolerance": tolerance}
        return NoiseTolerance(rows=rows, network=row(self.joint) if self.joint else {}, settings=settings)

    def prunability(self, tolerance: float = 0.2, *, size: float | None = None) -> Prunability:
        """Prunable units of every tap; the network's are those of the joint curve.

        With a standard error, whose number of draws differs from curve to curve, the mean over draws stands for the
        largest, which grows with their number. Arguments as `prunability`.

        Raises:
          ValueError: curves of noise.
        """
        if self.is_noise:
            raise ValueError("curves: expected those of masked units, received noise; use noise_tolerance")
        by_mean = "standard_error" in self.settings

        def row(curve: AblationCurve) -> dict[str, Any]:
            prunable, mean = curve.prunability(tolerance, size=size, by_mean=by_mean)
            return {
                "units": curve.num_units,
                "prunable": prunable,
                "prunable_mean": mean,
                "not_prunable": curve.non_prunability(tolerance, size=size, by_mean=by_mean),
                "area": curve.area,
                "agreement_at_1": curve.agreement[:, -1].mean(),
                "draws": len(curve.num_agreeing),
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
    order: str = "random",
    draws: int = 3,
    levels: int = 7,
    standard_error: float | None = None,
    protocol: str = "exact",
    seed: int = 0,
    split: str = "test",
    strategy: tf.distribute.Strategy | None = None,
) -> AblationCurves:
    """Agreement with the whole network while units are masked, for every tap and for all at once.

      agreement = #{x : class(masked network, x) = class(network, x)} / N,
      with floor(i n / (levels - 1)) of n units masked at level i, nested in one order a draw

    Each batch is run once; at every tap, only what lies behind it is run again for its masks.

    Args:
      model: a functional model with one output.
      data: a `tfunits.datasets.Dataset`, a batched tf.data.Dataset of inputs or (inputs, labels), or an array.
      taps: names of the taps to ablate; all if None.
      joint: whether to also mask the same fraction at every tap at once.
      unit: "channel" (every location of a channel at once) or "location" (each location of a map is a unit).
      order: "random"; "targeted", a random unit and then those most correlated with it; or what matters least first:
        by the "l1_norm" of incoming weights, "mean_activation", or "zero_share", the share of positions at which a
        unit is 0. Locations of one channel have its rank.
      draws: orders, at least 1; the orders by rank are all the same but for ties.
      levels: points of the curve, at least 2.
      standard_error: draw further orders until the standard error of the mean agreement is at most this at every
        level of a curve, or there are 100; None for just `draws`.
      protocol: "exact"; or "authors": int(level * n) units and the nominal level as abscissa.
      seed: of the random orders.
      split: which split of a `Dataset`.
      strategy: whose devices share the work; the numbers are the same.

    Returns: an `AblationCurves`.

    Raises:
      ValueError: an option that is not of these, an unknown tap, a model that is not functional, inputs of another
        shape, a tap of unknown size with unit="location", or units without weights with order="l1_norm".

    Source: Casper et al. 2021, section 3; FACTS 6; Hu et al. 2016 (Network trimming) for shares of zeros.
    """
    for name, value, known in (("unit", unit, UNITS), ("order", order, ORDERS)):
        check_one_of(name, value, known)
    check_protocol(protocol)
    check_draws(draws, levels, standard_error)
    graph = Graph(model)
    check_classifier(graph)
    keys = choose_taps(graph, taps)
    inputs = Inputs(data, split, model)
    shapes = {name: _unit_shape(graph, name, key, unit) for name, key in keys.items()}
    ranks = _ranks(graph, keys, inputs, order, strategy)

    def perturb(names: Sequence[str | None], drawn: range) -> tuple[dict, dict]:
        plans = {
            name: MaskingPlan.draw(
                name, shapes[name], draws=drawn, levels=levels, protocol=protocol, seed=seed, order=order, **ranks[name]
            )
            for name in keys
        }
        perturbations, groups = {}, {}
        for name in names:
            own = plans if name is _JOINT else {name: plans[name]}
            groups[name] = distinct_trials(list(own.values()))
            perturbations[name] = {
                keys[tap]: UnitMasks(np.stack([plan.mask(*group[0]) for group in groups[name]]))
                for tap, plan in own.items()
            }
        return perturbations, groups

    agreeing, num_examples = _measure_agreement(
        graph, inputs, [*keys, *([_JOINT] if joint else [])], perturb,
        draws=draws, levels=levels, standard_error=standard_error, strategy=strategy,
    )  # fmt: skip
    removed = {
        name: MaskingPlan.draw(name, shape, draws=1, levels=levels, protocol=protocol) for name, shape in shapes.items()
    }

    def curve(name: str | None) -> AblationCurve:
        involved = list(removed.values()) if name is _JOINT else [removed[name]]
        num_units = sum(plan.num_units for plan in involved)
        return AblationCurve(
            num_units=num_units,
            num_examples=num_examples,
            fractions=np.linspace(0, 1, levels)
            if protocol == "authors"
            else sum(plan.removed for plan in involved) / num_units,
            num_agreeing=agreeing[name],
        )

    settings = {
        "unit": unit, "order": order, "draws": draws, "levels": levels, "protocol": protocol, "seed": seed,
        "split": split, **_stated(standard_error),
    }  # fmt: skip
    return AblationCurves(
        taps={name: curve(name) for name in keys}, joint=curve(_JOINT) if joint else None, settings=settings
    )


def noise_curves(
    model: keras.Model,
    data: Any,
    *,
    taps: Sequence[str] | None = None,
    joint: bool = True,
    largest: float = 1.0,
    draws: int = 3,
    levels: int = 7,
    standard_error: float | None = None,
    seed: int = 0,
    split: str = "test",
    strategy: tf.distribute.Strategy | None = None,
) -> AblationCurves:
    """Agreement with the unchanged network while Gaussian noise is added to activations.

      a + s * std(a of the example) * N(0, 1),   s = 0, ..., largest

    Args:
      model: a functional model with one output.
      data: a `tfunits.datasets.Dataset`, a batched tf.data.Dataset of inputs or (inputs, labels), or an array.
      taps: names of the taps; all if None.
      joint: whether to also make all taps noisy at once.
      largest: standard deviation of the noise at the last level, as a multiple of each example's own.
      draws: of the noise, at least 1; within a draw the same noise grows.
      levels: points of the curve, at least 2.
      standard_error: as `ablation_curves`.
      seed: of the noise, which depends on it, the tap, the draw and the number of the example alone.
      split: which split of a `Dataset`.
      strategy: whose devices share the work.

    Returns: an `AblationCurves` whose abscissa is s, for its `noise_tolerance`.

    Raises:
      ValueError: an option that is not of these, an unknown tap, a model that is not functional.

    Source: FACTS 6 (the authors' program; in none of the papers' figures).
    """
    check_draws(draws, levels, standard_error)
    if not largest > 0:
        raise ValueError(f"largest: expected a positive number, received {largest}")
    graph = Graph(model)
    check_classifier(graph)
    keys = choose_taps(graph, taps)
    inputs = Inputs(data, split, model)
    scales = np.linspace(0, largest, levels)

    def perturb(names: Sequence[str | None], drawn: range) -> tuple[dict, dict]:
        places = [(index, level) for index in range(len(drawn)) for level in range(1, levels)]

        def noise(tap: str) -> Noise:
            seeds = [np.random.default_rng([seed, draw, zlib.crc32(tap.encode())]).integers(2**62) for draw in drawn]
            return Noise(
                scales=np.array([scales[level] for _, level in places], np.float32),
                seeds=np.array([seeds[index] for index, _ in places], np.int64),
            )

        perturbations = {
            name: {keys[tap]: noise(tap) for tap in (keys if name is _JOINT else [name])} for name in names
        }
        return perturbations, {name: [[place] for place in places] for name in names}

    names = [*keys, *([_JOINT] if joint else [])]
    agreeing, num_examples = _measure_agreement(
        graph, inputs, names, perturb, draws=draws, levels=levels, standard_error=standard_error, strategy=strategy
    )
    sizes = {name: graph.shape(key)[-1] for name, key in keys.items()}
    curves = {
        name: AblationCurve(
            num_units=sum(sizes.values()) if name is _JOINT else sizes[name],
            num_examples=num_examples,
            fractions=scales,
            num_agreeing=agreeing[name],
        )
        for name in names
    }
    joint_curve = curves.pop(_JOINT, None)
    settings = {
        "noise": largest, "draws": draws, "levels": levels, "seed": seed, "split": split,
        **_stated(standard_error),
    }  # fmt: skip
    return AblationCurves(taps=curves, joint=joint_curve, settings=settings)


def weight_ablation_curves(
    model: keras.Model,
    data: Any,
    *,
    taps: Sequence[str] | None = None,
    joint: bool = True,
    draws: int = 3,
    levels: int = 7,
    standard_error: float | None = None,
    seed: int = 0,
    split: str = "test",
    strategy: tf.distribute.Strategy | None = None,
) -> AblationCurves:
    """Agreement with the whole network while random weights of the layers that feed a tap are set to zero.

    Of every dense or convolutional layer that feeds a tap, floor(i n / (levels - 1)) of its n weights at level i,
    nested in one random order a draw; biases and normalisation stay.

    Args:
      model: a functional model with one output.
      data: a `tfunits.datasets.Dataset`, a batched tf.data.Dataset of inputs or (inputs, labels), or an array.
      taps: names of the taps; all if None.
      joint: whether to also mask weights of all these layers at once.
      draws: random orders, at least 1.
      levels: points of the curve, at least 2.
      standard_error: as `ablation_curves`.
      seed: of the orders.
      split: which split of a `Dataset`.
      strategy: whose devices share the work.

    Returns: an `AblationCurves` whose units are weights.

    Raises:
      ValueError: an option that is not of these, an unknown tap, a model that is not functional, or a tap that no
        layer with weights feeds.

    Source: FACTS 6 (the authors' program; in none of the papers' figures).
    """
    check_draws(draws, levels, standard_error)
    graph = Graph(model)
    check_classifier(graph)
    keys = choose_taps(graph, taps)
    inputs = Inputs(data, split, model)
    layers = {
        name: list(dict.fromkeys(call.operation for call in feeding_layers(graph, key))) for name, key in keys.items()
    }
    layers[_JOINT] = list(dict.fromkeys(layer for own in layers.values() for layer in own))
    sizes = {layer: int(np.prod(kernel_of(layer).shape)) for layer in layers[_JOINT]}

    def perturb(names: Sequence[str | None], drawn: range) -> tuple[dict, dict]:
        places = [(index, level) for index in range(len(drawn)) for level in range(1, levels)]

        def masks(layer: keras.layers.Layer) -> WeightMasks:
            ranks = [
                np.random.default_rng([seed, draw, zlib.crc32(layer.name.encode())])
                .permutation(sizes[layer])
                .astype(np.int32)
                for draw in drawn
            ]

            def mask(trial: int) -> np.ndarray:
                index, level = places[trial]
                removed = level * sizes[layer] // (levels - 1)
                return (ranks[index] >= removed).reshape(kernel_of(layer).shape)

            return WeightMasks(num_trials=len(places), mask=mask)

        made = {layer: masks(layer) for layer in {layer: None for name in names for layer in layers[name]}}
        perturbations = {name: {layer: made[layer] for layer in layers[name]} for name in names}
        return perturbations, {name: [[place] for place in places] for name in names}

    names = [*keys, *([_JOINT] if joint else [])]
    agreeing, num_examples = _measure_agreement(
        graph, inputs, names, perturb, draws=draws, levels=levels, standard_error=standard_error, strategy=strategy
    )

    def curve(name: str | None) -> AblationCurve:
        own = [sizes[layer] for layer in layers[name]]
        removed = sum(np.arange(levels) * size // (levels - 1) for size in own)
        return AblationCurve(
            num_units=sum(own),
            num_examples=num_examples,
            fractions=removed / sum(own),
            num_agreeing=agreeing[name],
        )

    settings = {
        "unit": "weight", "draws": draws, "levels": levels, "seed": seed, "split": split,
        **_stated(standard_error),
    }  # fmt: skip
    return AblationCurves(
        taps={name: curve(name) for name in keys}, joint=curve(_JOINT) if joint else None, settings=settings
    )


def check_draws(draws: int, levels: int, standard_error: float | None) -> None:
    """Raise `ValueError` unless there is a draw, two levels, and a standard error that can be reached."""
    check_least("draws", draws, 1 if standard_error is None else 2)
    check_least("levels", levels, 2)
    if standard_error is not None and not standard_error > 0:
        raise ValueError(f"standard_error: expected a positive number, received {standard_error}")


def _stated(standard_error: float | None) -> dict[str, float]:
    """The setting, where there is one."""
    return {} if standard_error is None else {"standard_error": standard_error}


def _unit_shape(graph: Graph, name: str, key: TensorKey, unit: str) -> tuple[int, ...]:
    """Shape of one mask: one number a channel, or one a location and channel."""
    shape = graph.shape(key)[1:]
    chosen = tuple(1 for _ in shape[:-1]) + shape[-1:] if unit == "channel" else shape
    if None in chosen:
        raise ValueError(f"taps: expected a tap of known size, received {name!r} of shape {shape}; "
                         "build the model with a fixed input shape, or use unit='channel'")  # fmt: skip
    return chosen


def _ranks(
    graph: Graph,
    keys: Mapping[str, TensorKey],
    inputs: Inputs,
    order: str,
    strategy: tf.distribute.Strategy | None,
) -> dict[str, dict[str, np.ndarray]]:
    """What decides the order of each tap's units, as arguments of `MaskingPlan.draw`."""
    if order == "l1_norm":
        return {name: {"scores": incoming_norms(graph, key)} for name, key in keys.items()}
    if order not in ORDERS_BY_ACTIVATION:
        return {name: {} for name in keys}
    read = read_moments(graph, keys, inputs, strategy=strategy)
    if order == "targeted":
        return {name: {"covariance": read[name].moments[0].covariance} for name in keys}
    if order == "mean_activation":
        return {name: {"scores": read[name].moments[0].mean} for name in keys}
    return {name: {"scores": read[name].active_share} for name in keys}


def _measure_agreement(
    graph: Graph,
    inputs: Inputs,
    names: Sequence[str | None],
    perturb: Callable[[Sequence[str | None], range], tuple[dict[Hashable, Perturbation], dict]],
    *,
    draws: int,
    levels: int,
    standard_error: float | None,
    strategy: tf.distribute.Strategy | None,
) -> tuple[dict[str | None, np.ndarray], int]:
    """Per curve, examples whose class stays, int64 [draws, levels]; and the number of examples.

    With a standard error, curves that have not reached it are drawn as often again, until there are `MAX_DRAWS`.
    """
    found: dict[str | None, np.ndarray] = {name: np.zeros((0, levels), np.int64) for name in names}
    pending, drawn, num_examples = list(names), range(draws), 0
    while pending:
        perturbations, groups = perturb(pending, drawn)
        counts, num_examples = _count_agreeing(graph, inputs, perturbations, strategy)
        for name in pending:
            rows = np.full((len(drawn), levels), num_examples, np.int64)
            for group, count in zip(groups[name], counts[name], strict=True):
                for draw, level in group:
                    rows[draw, level] = count
            found[name] = np.concatenate([found[name], rows])
        drawn = range(drawn.stop, min(2 * drawn.stop, MAX_DRAWS))
        pending = [name for name in pending if drawn and not _is_settled(found[name] / num_examples, standard_error)]
    return found, num_examples


def _is_settled(agreement: np.ndarray, standard_error: float | None) -> bool:
    """Whether the mean agreement's standard error is small enough at every level."""
    if standard_error is None:
        return True
    return bool((agreement.std(axis=0, ddof=1) / np.sqrt(len(agreement))).max() <= standard_error)


def _count_agreeing(
    graph: Graph,
    inputs: Inputs,
    perturbations: Mapping[Hashable, Perturbation],
    strategy: tf.distribute.Strategy | None,
) -> tuple[dict[Hashable, np.ndarray], int]:
    """Per perturbation, examples whose class stays in every trial; and the number of examples."""
    runs = PerturbedRuns(graph, perturbations, lambda outputs: predict_classes(graph, outputs))
    counts: dict[Hashable, Any] = dict.fromkeys(perturbations, 0)
    num_examples = 0
    for _, classes, found in runs.run(inputs, "ablation", strategy=strategy):
        num_examples += classes.size
        for name, changed in found.items():
            same = changed == classes
            counts[name] = counts[name] + same.reshape(len(same), -1).sum(axis=1)
    return counts, num_examples
