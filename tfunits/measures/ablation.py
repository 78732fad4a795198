"""How predictions change while units are masked."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfunits.measures.curves import JOINT, AblationCurves, check_draws, measure_agreement, stated
from tfunits.measures.inputs import (
    check_classifier,
    check_one_of,
    check_protocol,
    check_share,
    choose_taps,
)
from tfunits.measures.orders import ORDERS, ORDERS_BY_ACTIVATION, MaskingPlan, distinct_trials
from tfunits.measures.perturbations import UnitMasks
from tfunits.measures.results import Prunability
from tfunits.measures.units import read_moments
from tfunits.statistics import AblationCurve
from tfunits.surgery import Graph, Inputs, TensorKey, incoming_norms

UNITS = ("channel", "location")


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
            own = plans if name is JOINT else {name: plans[name]}
            groups[name] = distinct_trials(list(own.values()))
            perturbations[name] = {
                keys[tap]: UnitMasks(np.stack([plan.mask(*group[0]) for group in groups[name]]))
                for tap, plan in own.items()
            }
        return perturbations, groups

    agreeing, num_examples = measure_agreement(
        graph, inputs, [*keys, *([JOINT] if joint else [])], perturb,
        draws=draws, levels=levels, standard_error=standard_error, strategy=strategy,
    )  # fmt: skip
    removed = {
        name: MaskingPlan.draw(name, shape, draws=1, levels=levels, protocol=protocol) for name, shape in shapes.items()
    }

    def curve(name: str | None) -> AblationCurve:
        involved = list(removed.values()) if name is JOINT else [removed[name]]
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
        "split": split, **stated(standard_error),
    }  # fmt: skip
    return AblationCurves(
        taps={name: curve(name) for name in keys}, joint=curve(JOINT) if joint else None, settings=settings
    )


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
