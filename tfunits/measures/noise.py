"""How predictions change while activations are made noisy."""

import zlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfunits.measures.curves import JOINT, AblationCurves, check_draws, measure_agreement, stated
from tfunits.measures.inputs import check_classifier, choose_taps
from tfunits.measures.perturbations import Noise
from tfunits.statistics import AblationCurve
from tfunits.surgery import Graph, Inputs


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

        perturbations = {name: {keys[tap]: noise(tap) for tap in (keys if name is JOINT else [name])} for name in names}
        return perturbations, {name: [[place] for place in places] for name in names}

    names = [*keys, *([JOINT] if joint else [])]
    agreeing, num_examples = measure_agreement(
        graph, inputs, names, perturb, draws=draws, levels=levels, standard_error=standard_error, strategy=strategy
    )
    sizes = {name: graph.shape(key)[-1] for name, key in keys.items()}
    curves = {
        name: AblationCurve(
            num_units=sum(sizes.values()) if name is JOINT else sizes[name],
            num_examples=num_examples,
            fractions=scales,
            num_agreeing=agreeing[name],
        )
        for name in names
    }
    joint_curve = curves.pop(JOINT, None)
    settings = {
        "noise": largest, "draws": draws, "levels": levels, "seed": seed, "split": split,
        **stated(standard_error),
    }  # fmt: skip
    return AblationCurves(taps=curves, joint=joint_curve, settings=settings)
