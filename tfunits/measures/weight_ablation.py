"""How predictions change while weights are set to zero."""

import zlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfunits.measures.curves import JOINT, AblationCurves, check_draws, measure_agreement, stated
from tfunits.measures.inputs import check_classifier, choose_taps
from tfunits.measures.perturbations import WeightMasks
from tfunits.statistics import AblationCurve
from tfunits.surgery import Graph, Inputs, feeding_layers, kernel_of


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
    layers[JOINT] = list(dict.fromkeys(layer for own in layers.values() for layer in own))
    sizes = {layer: int(np.prod(kernel_of(layer).shape)) for layer in layers[JOINT]}

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

    names = [*keys, *([JOINT] if joint else [])]
    agreeing, num_examples = measure_agreement(
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
        **stated(standard_error),
    }  # fmt: skip
    return AblationCurves(
        taps={name: curve(name) for name in keys}, joint=curve(JOINT) if joint else None, settings=settings
    )
