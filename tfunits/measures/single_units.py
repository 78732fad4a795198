"""What masking one unit alone changes, and the kinds of units that follow."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfunits.measures.inputs import check_classifier, check_share, choose_taps, predict_classes
from tfunits.measures.perturbations import PerturbedRuns, UnitMasks
from tfunits.measures.results import SingleUnitEffects, UnitKinds
from tfunits.measures.units import MAX_ROWS, read_moments
from tfunits.statistics import (
    CONSTANT_VARIATION,
    ROWS_PER_UNIT,
    SILENT_ACTIVE_SHARE,
    UnitStatistics,
    explained_by_others,
)
from tfunits.surgery import Graph, Inputs


def single_unit_effects(
    model: keras.Model,
    data: Any,
    *,
    taps: Sequence[str] | None = None,
    split: str = "test",
    strategy: tf.distribute.Strategy | None = None,
) -> SingleUnitEffects:
    """How many predictions change when a single unit is masked, for every unit of every tap.

    Args:
      model: a functional model with one output.
      data: a `tfunits.datasets.Dataset`, a batched tf.data.Dataset of inputs or (inputs, labels), or an array.
      taps: names of the taps; all if None.
      split: which split of a `Dataset`.
      strategy: whose devices share the work.

    Returns: a `SingleUnitEffects`, with the number of changed predictions of every unit.

    Raises:
      ValueError: an unknown tap, a model that is not functional, or inputs of another shape.

    Source: Casper et al. 2019 (ICLR version), section 2: blocked units; Morcos et al. 2018 for the method.
    """
    graph = Graph(model)
    check_classifier(graph)
    keys = choose_taps(graph, taps)
    inputs = Inputs(data, split, model)
    perturbations = {}
    for name, key in keys.items():
        shape = graph.shape(key)[1:]
        masks = 1 - np.eye(shape[-1], dtype=np.float32)
        perturbations[name] = {key: UnitMasks(masks.reshape(-1, *(1 for _ in shape[:-1]), shape[-1]))}
    runs = PerturbedRuns(graph, perturbations, lambda outputs: predict_classes(graph, outputs))
    changed = {name: np.zeros(graph.shape(key)[-1], np.int64) for name, key in keys.items()}
    num_examples = 0
    for _, classes, found in runs.run(inputs, "single units", strategy=strategy):
        num_examples += classes.size
        for name, masked in found.items():
            changed[name] += (masked != classes).reshape(len(masked), -1).sum(axis=1)
    return SingleUnitEffects.from_counts(changed, num_examples, {"split": split})


def unit_kinds(
    model: keras.Model,
    data: Any,
    *,
    taps: Sequence[str] | None = None,
    variance_fraction: float = 0.95,
    max_rows: int | None = MAX_ROWS,
    seed: int = 0,
    split: str = "test",
    strategy: tf.distribute.Strategy | None = None,
) -> UnitKinds:
    """How many units are silent, constant, and, of the others, redundant or not, functional or blocked.

    A unit is silent if it is not 0 at less than 1 % of positions (dead ones are), constant if its std is below 1 % of
    |mean|. Any other is redundant if a linear function of the other units gives at least `variance_fraction` of its
    variance, and blocked if masking it alone changes no prediction.

    Args:
      model: a functional model with one output.
      data: a `tfunits.datasets.Dataset`, a batched tf.data.Dataset of inputs or (inputs, labels), or an array.
      taps: names of the taps; all if None.
      variance_fraction: in (0, 1].
      max_rows: rows per tap; None or 0 for all of them.
      seed: of the sampled rows.
      split: which split of a `Dataset`.
      strategy: whose devices share the work.

    Returns: a `UnitKinds`; its six numbers of a tap add up to its units.

    Raises:
      ValueError: a fraction outside (0, 1], an unknown tap, a model that is not functional, or fewer than two rows.

    Source: Casper et al. 2019 (ICLR version), section 2, kinds (i) to (v). What is neither redundant nor blocked holds
      their sixth, semantically redundant units, which no measure tells from other useful ones.
    """
    check_share("variance_fraction", variance_fraction)
    graph = Graph(model)
    check_classifier(graph)
    keys = choose_taps(graph, taps)
    read = read_moments(
        graph, keys, Inputs(data, split, model), max_rows=max_rows, precision="float64", seed=seed, strategy=strategy
    )
    effects = single_unit_effects(model, data, taps=taps, split=split, strategy=strategy)
    rows = {}
    for name, reading in read.items():
        (moments,) = reading.moments
        units = UnitStatistics.from_moments([moments], reading.active_share)
        silent = units.silent(SILENT_ACTIVE_SHARE)
        constant = units.nearly_constant(CONSTANT_VARIATION) & ~silent
        explained = np.nan_to_num(explained_by_others(moments.covariance, moments.constant))
        redundant, blocked, other = explained >= variance_fraction, effects.changed[name] == 0, ~(silent | constant)
        rows[name] = {
            "units": units.num_units,
            "redundant_functional": int((other & redundant & ~blocked).sum()),
            "redundant_blocked": int((other & redundant & blocked).sum()),
            "distinct_functional": int((other & ~redundant & ~blocked).sum()),
            "distinct_blocked": int((other & ~redundant & blocked).sum()),
            "silent": int(silent.sum()),
            "constant": int(constant.sum()),
            "rank_limited": moments.count < ROWS_PER_UNIT * units.num_units,
        }
    network = {
        key: sum(row[key] for row in rows.values()) for key in next(iter(rows.values())) if key != "rank_limited"
    }
    network["rank_limited"] = any(row["rank_limited"] for row in rows.values())
    return UnitKinds(rows=rows, network=network, settings={"split": split, "variance_fraction": variance_fraction})
