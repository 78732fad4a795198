"""The smallest network that still agrees with a given one."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import pandas as pd
import scipy.stats

from tfunits.surgery import Graph, check_classifier
from tfunits.thinning.agreement import score_reader
from tfunits.thinning.cost import count_flops, measure_seconds
from tfunits.thinning.examples import Part, choose_batch_size, divide
from tfunits.thinning.network import Network
from tfunits.thinning.search import RIDGES, Search

# Of the confidence interval of the agreement.
_CONFIDENCE = 0.95
# Shares of a removed unit's variance that others explain, and of active positions and relative spread, from which on
# it counts as redundant, silent and constant (DESIGN section 6).
_REDUNDANT, _SILENT, _CONSTANT = 0.95, 0.01, 0.01
# Why a unit went, the strongest reason first.
_REASONS = ("constant", "silent", "redundant", "prunable")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Thinned:
    """A thin network, and what it took.

    Attributes:
      model: the thin network.
      layers: layer -> units, left, and why the others went: constant, silent (active at less than 1 % of positions),
        redundant (95 % of their variance is a linear function of units that are left), the rest prunable.
      numbers: agreement with its confidence interval, and for both networks parameters, FLOPs and seconds of a batch;
        accuracy, where there are labels.
      stays: layer -> why none of its units could go.
      settings: how it was found.
    """

    model: keras.Model
    layers: Mapping[str, Mapping[str, int]]
    numbers: Mapping[str, Any]
    stays: Mapping[str, str]
    settings: Mapping[str, Any]

    def to_frame(self) -> pd.DataFrame:
        """One row a layer."""
        return pd.DataFrame(list(self.layers.values()), index=pd.Index(list(self.layers), name="layer"))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "settings": dict(self.settings),
            "numbers": dict(self.numbers),
            "layers": {name: dict(row) for name, row in self.layers.items()},
            "stays": dict(self.stays),
        }

    def __str__(self) -> str:
        numbers = self.numbers
        low, high = numbers["agreement_interval"]
        lines = [
            f"agreement {numbers['agreement']:.4f} ({low:.4f} to {high:.4f}) on {numbers['examples']} held-out examples"
        ]
        for name, unit in (("parameters", ""), ("flops", ""), ("seconds", " s")):
            before, after = numbers[f"{name}_before"], numbers[name]
            shown = [f"{value:,.4f}" if isinstance(value, float) else f"{value:,}" for value in (before, after)]
            lines.append(f"{name} {shown[0]}{unit} -> {shown[1]}{unit} ({after / before:.1%})")
        lines.append(f"{self.settings['trials']} networks tried; ended by: {self.settings['ended']}")
        if numbers["parameters"] == numbers["parameters_before"]:
            lines.append("nothing could go: no smaller network agreed often enough")
        if "accuracy" in numbers:
            lines.append(f"accuracy {numbers['accuracy_before']:.4f} -> {numbers['accuracy']:.4f}")
        return "\n".join([*lines, self.to_frame().to_string()])


def thin(
    model: keras.Model,
    data: Any,
    *,
    agreement: float = 0.99,
    fit_split: str = "train",
    search_split: str = "validation",
    held_out_split: str = "test",
    max_examples: int = 2000,
    max_trials: int = 60,
    seed: int = 0,
) -> Thinned:
    """The smallest network it can find that predicts the class that the given one predicts.

      agreement = #{x : class(thin, x) = class(model, x)} / N

    In every layer units are removed one by one, always the one whose readers lose least of the variance that they
    receive once the remaining units have taken over what they can: silent and constant units, linear functions of
    others, units that little depends on. One threshold of this loss for all layers is searched by halving, then every
    layer is thinned further in turn, as long as enough examples of the search and of the fit keep their class, and
    others can be expected to, estimated by how much margins between classes have changed. Units that a layer, RMS or
    group normalisation reads stay, since that mixes them; response normalisation is passed. The
    weights of every reader are fitted again to what it received in the whole network, layer by layer; nothing is
    trained, and no label is looked at.

    Args:
      model: a functional classifier.
      data: a `tfunits.datasets.Dataset`; or an array of inputs or a tuple (inputs, labels), or a batched
        tf.data.Dataset of these, of which then half is for the fit, and a quarter each for the search and held out, of
        at most 4 max_examples.
      agreement: share of examples that must keep their class, in (0, 1].
      fit_split, search_split, held_out_split: of a `Dataset`: activations are fitted on the first, the search looks at
        the second, and what is reported is measured on the third.
      max_examples: of the fit and of the search, at most.
      max_trials: thin networks that are built and measured, at most.
      seed: of the division of data without splits.

    Returns: a `Thinned`; its agreement is measured on held-out examples, and so may be a little below what was asked.

    Raises:
      ValueError: an agreement outside (0, 1], a model that is not a functional classifier, data of another shape, too
        few examples to divide, or a model none of whose units can go.

    Example:
      >>> thinned = thin(model, np.concatenate([images, images]), agreement=0.9, max_trials=3)
      >>> thinned.model.count_params() <= model.count_params()
      True

    Source: Casper et al. 2019 and 2021, who ask for such a combination of pruning and refactoring.
    """
    if not 0 < agreement <= 1:
        raise ValueError(f"agreement: expected a share in (0, 1], received {agreement}")
    for name, value, least in (("max_trials", max_trials, 1), ("max_examples", max_examples, 2)):
        if value < least:
            raise ValueError(f"{name}: expected at least {least}, received {value}")
    graph = Graph(model)
    check_classifier(graph)
    shape = graph.shape(graph.outputs[0])
    if len(shape) != 2:
        raise ValueError(f"model: expected one class an example, an output [batch, classes], received {shape}")
    splits = (fit_split, search_split, held_out_split)
    # A network of unknown size is refused before the search.
    count_flops(model)
    parts = divide(model, data, splits, max_examples, choose_batch_size(graph), seed)
    network = Network(model, parts[0].batches)
    if not network.groups:
        raise ValueError(f"model: expected a network with units that can go, received {model.name!r}: {network.stays}")
    search = Search(network, parts[1].batches, agreement, max_trials)
    thin_model, removed = search.run()
    settings = {
        "agreement": agreement, "fit_split": fit_split, "search_split": search_split,
        "held_out_split": held_out_split, "max_examples": max_examples, "max_trials": max_trials, "seed": seed,
    }  # fmt: skip
    return Thinned(
        model=thin_model,
        layers=_count_layers(network, removed),
        numbers=_compare(model, thin_model, parts[2]),
        stays=network.stays,
        settings={**settings, "trials": search.trials, "ended": search.ended},
    )


def _count_layers(network: Network, removed: np.ndarray) -> dict[str, dict[str, int]]:
    """Units of every layer: how many there were, are left, and why the others went."""
    reasons = _find_reasons(network, removed)
    rows = {}
    for call, axis in network.units.sources:
        if "#" in call.name:
            continue  # A further call of a shared layer.
        ids = network.units.layouts[call.outputs[0]][axis]
        gone = ids[removed[ids]]
        rows[call.name] = {"units": len(ids), "left": int(len(ids) - len(gone))} | {
            reason: sum(reasons.get(number, _REASONS[-1]) == reason for number in gone.tolist()) for reason in _REASONS
        }
    return rows


def _find_reasons(network: Network, removed: np.ndarray) -> dict[int, str]:
    """Number of a removed unit -> the first of `_REASONS` that every reader finds."""
    found: dict[int, str] = {}
    for layer, numbers, moments, folds in network.reading():
        gone = removed[numbers]
        if not gone.any():
            continue
        variance = np.diag(moments.covariance)
        own = moments.covariance[np.ix_(~gone, ~gone)]
        cross = moments.covariance[np.ix_(~gone, gone)]
        added = RIDGES[-1] * np.trace(own) / len(own) + np.finfo(float).tiny
        rest = variance[gone] - (cross * np.linalg.solve(own + added * np.eye(len(own)), cross)).sum(axis=0)
        active = network.active_share(layer)
        holds = {
            "constant": np.sqrt(variance[gone]) <= _CONSTANT * np.abs(moments.mean[gone]),
            "silent": np.zeros(gone.sum(), bool) if active is None else active[gone] < _SILENT,
            "redundant": folds & (rest <= (1 - _REDUNDANT) * variance[gone]),
        }
        for place, number in enumerate(numbers[gone].tolist()):
            reason = next((reason for reason, held in holds.items() if held[place]), _REASONS[-1])
            # The readers may differ; the weakest reason holds.
            found[number] = max(found.get(number, _REASONS[0]), reason, key=_REASONS.index)
    return found


def _compare(model: keras.Model, thin_model: keras.Model, part: Part) -> dict[str, Any]:
    """Both networks on held-out examples."""
    readers = [score_reader(m) for m in (model, thin_model)]
    classes, labels, first = [], [], None
    for batch, own in part.pairs:
        first = batch if first is None else first
        classes.append([reader(batch).argmax(axis=1) for reader in readers])
        if own is not None:
            labels.append(own)
    before, after = np.concatenate(classes, axis=1)
    same = before == after
    interval = scipy.stats.binomtest(int(same.sum()), len(same)).proportion_ci(_CONFIDENCE, method="exact")
    flops = [count_flops(m) for m in (model, thin_model)]
    seconds = measure_seconds([model, thin_model], [tensor.numpy() for tensor in first])
    numbers: dict[str, Any] = {
        "agreement": float(same.mean()),
        "agreement_interval": [float(interval.low), float(interval.high)],
        "examples": len(same),
        "parameters_before": model.count_params(),
        "parameters": thin_model.count_params(),
        "flops_before": flops[0],
        "flops": flops[1],
        "seconds_before": seconds[0],
        "seconds": seconds[1],
    }
    if labels:
        true = np.concatenate(labels)
        numbers |= {"accuracy_before": float((before == true).mean()), "accuracy": float((after == true).mean())}
    return numbers
