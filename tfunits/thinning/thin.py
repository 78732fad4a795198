"""The smallest network that still agrees with a given one."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd
import scipy.stats
import tensorflow as tf
from tqdm.auto import tqdm

from tfunits.surgery import Graph, Inputs, check_classifier, kernel_of
from tfunits.thinning.cost import count_flops, measure_seconds
from tfunits.thinning.elimination import Elimination, eliminate
from tfunits.thinning.network import Batch, Network, agreement_bound, margins_of, score_reader, scores_of

BATCH_SIZE = 128
# Activations of one batch, where layers read them: 512 MiB of float32.
_BATCH_VALUES = 2**27
# Data without splits: two of four parts for the fit, one for the search, one held out.
_SHARES = 4
# Thresholds of the error that a layer may lose, between which the search starts: the smallest loses nothing to speak
# of, the largest nearly everything.
_THRESHOLDS = (1e-7, 2.0)
# Halvings of the range of thresholds.
_HALVINGS = 8
# Share of its remaining units that a layer loses in one trial, which is halved where it is too much.
_STEP = 0.2
_SMALLEST_STEP = 0.02
# Of the confidence interval of the agreement.
_CONFIDENCE = 0.95
# Ridges of the fits, as shares of the units' mean variance: the first holds fits to hundreds of units back, the second
# folds exact copies exactly.
_RIDGES = (1e-3, 1e-6)
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
    parts = _divide(model, data, splits, max_examples, _choose_batch_size(graph), seed)
    network = Network(model, parts[0].batches)
    if not network.groups:
        raise ValueError(f"model: expected a network with units that can go, received {model.name!r}: {network.stays}")
    search = _Search(network, parts[1].batches, agreement, max_trials)
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Part:
    """Examples in memory, or a split that is read again each time.

    Attributes:
      pairs: batches with their labels, None where there are none.
    """

    pairs: Iterable[tuple[Batch, np.ndarray | None]]

    @property
    def batches(self) -> list[Batch]:
        """The batches alone."""
        return [batch for batch, _ in self.pairs]


class _Stream:
    """A split, read batch by batch."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs

    def __iter__(self) -> Iterator[tuple[Batch, np.ndarray | None]]:
        return self._inputs.with_labels()


def _divide(model: keras.Model, data: Any, splits: Sequence[str], most: int, batch_size: int, seed: int) -> list[_Part]:
    """Examples for the fit, for the search, and held out."""
    if hasattr(data, "splits"):
        streams = [_open(data, split, model) for split in splits]
        for split, inputs in zip(splits, streams, strict=True):
            if inputs.num_examples < 2:
                raise ValueError(f"data: expected at least 2 examples of split {split!r}, received 1")
        parts = [_in_memory(*_gather(inputs, most), batch_size) for inputs in streams[:2]]
        return [*parts, _Part(pairs=_Stream(streams[2]))]
    arrays, labels = _gather(_open(data, "all", model), _SHARES * most)
    count = len(arrays[0])
    if count < 2 * _SHARES:
        raise ValueError(f"data: expected at least {2 * _SHARES} examples to divide, received {count}")
    order = np.random.default_rng(seed).permutation(count)
    parts = []
    for places in np.split(order, [count * 2 // _SHARES, count * 3 // _SHARES]):
        chosen = places[:most] if len(parts) < 2 else places
        own = None if labels is None else labels[chosen]
        parts.append(_in_memory([array[chosen] for array in arrays], own, batch_size))
    return parts


def _open(data: Any, split: str, model: keras.Model) -> Inputs:
    inputs = Inputs(data, split, model)
    if inputs.has_labels:
        inputs.require_labels()
    return inputs


def _in_memory(arrays: Sequence[np.ndarray], labels: np.ndarray | None, batch_size: int) -> _Part:
    pairs = []
    for start in range(0, len(arrays[0]), batch_size):
        part = slice(start, start + batch_size)
        pairs.append(([tf.constant(array[part]) for array in arrays], None if labels is None else labels[part]))
    return _Part(pairs=pairs)


def _gather(inputs: Inputs, most: int) -> tuple[list[np.ndarray], np.ndarray | None]:
    """Examples of a split and their labels, at most so many, spread evenly over it.

    Raises:
      ValueError: a value that is not finite.
    """
    count = inputs.num_examples
    chosen = np.arange(count) if count <= most else np.linspace(0, count - 1, most).astype(int)
    found: list[list[np.ndarray]] = []
    labels, start = [], 0
    for batch, own in inputs.with_labels():
        size = int(batch[0].shape[0])
        places = chosen[(chosen >= start) & (chosen < start + size)] - start
        found.append([tensor.numpy()[places] for tensor in batch])
        if own is not None:
            labels.append(own[places])
        start += size
    arrays = [np.concatenate(parts) for parts in zip(*found, strict=True)]
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError("data: expected finite inputs, received some that are NaN or infinite; leave these out")
    return arrays, np.concatenate(labels) if labels else None


def _choose_batch_size(graph: Graph) -> int:
    """Examples whose activations, where layers read them, stand in memory together."""
    read = {call.inputs[0] for call in graph.calls if kernel_of(call.operation) is not None}
    size = sum(int(np.prod([size or 1 for size in graph.shape(key)[1:]])) for key in read)
    return int(np.clip(_BATCH_VALUES // max(size, 1), 1, BATCH_SIZE))


class _Search:
    """How many units of every group go."""

    def __init__(self, network: Network, batches: list[Batch], agreement: float, max_trials: int) -> None:
        self._network, self._batches, self._agreement = network, batches, agreement
        # Margins count on examples that the network may never have seen, their changes on those of the fit too: what
        # one network among many leaves small by luck on a few is not small on others.
        self._margins = [margins_of(scores_of(network.model, part)) for part in (batches, network.batches)]
        self._eliminations: dict[str, Elimination] = {}
        self._ridge = _RIDGES[0]
        self._best: keras.Model | None = None
        self.ended = "every layer is at its limit"
        self._progress = tqdm(total=max_trials, desc="thinning", unit="network")
        self._max_trials, self.trials = max_trials, 0

    def run(self) -> tuple[keras.Model, np.ndarray]:
        """The thin network, and which units are gone: bool [units]."""
        with self._progress:
            best, most = None, -1.0
            for ridge in _RIDGES:
                self._rank(ridge)
                self._best = None
                counts = self._search_threshold()
                saved = float(sum(n * self._network.count_weights(self._network.groups[g]) for g, n in counts.items()))
                if saved > most:
                    most, best = saved, (ridge, self._eliminations, counts, self._best)
            self._ridge, self._eliminations, counts, self._best = best
            counts = self._search_layers(counts)
            if self.trials >= self._max_trials:
                self.ended = "max_trials"
            # Where the search ends early, the bar is full all the same.
            self._progress.total = self.trials
            self._progress.refresh()
        removed = self._removed(counts)
        return self._best or self._make(removed), removed

    def _make(self, removed: np.ndarray) -> keras.Model:
        model = self._network.build(removed, self._ridge)
        self._network.refit(model, removed, self._ridge)
        return model

    def _rank(self, ridge: float) -> None:
        """Find the order in which the units of every group go."""
        groups = tqdm(self._network.groups.items(), desc="ranking units", leave=False)
        self._ridge = ridge
        self._eliminations = {name: eliminate(self._network.readers(group), group, ridge) for name, group in groups}

    def _removed(self, counts: Mapping[str, int]) -> np.ndarray:
        removed = np.zeros(self._network.units.num_units, bool)
        rank = np.zeros(self._network.units.num_units, int)
        for name, count in counts.items():
            numbers = self._eliminations[name].numbers
            removed[numbers[:count]] = True
            rank[numbers] = np.arange(len(numbers))
        return self._network.leave_some(removed, rank)

    def _agrees(self, counts: Mapping[str, int]) -> bool:
        """Whether a thin network agrees often enough; False once there are no trials left."""
        if self.trials >= self._max_trials:
            return False
        self.trials += 1
        model = self._make(self._removed(counts))
        same, spreads = [], []
        for part, (margin, order) in zip((self._batches, self._network.batches), self._margins, strict=True):
            scores = scores_of(model, part)
            same.append(float((scores.argmax(axis=1) == order[:, 0]).mean()))
            spreads.append(float(np.sqrt(((margins_of(scores, order)[0] - margin) ** 2).mean())))
        found = min(*same, agreement_bound(self._margins[0][0], max(spreads)))
        self._progress.update()
        self._progress.set_postfix(gone=sum(counts.values()), agreement=f"{found:.3f}")
        if found >= self._agreement:
            self._best = model
        return found >= self._agreement

    def _search_threshold(self) -> dict[str, int]:
        """Counts at the largest loss, the same for all layers, that leaves enough agreement."""
        low, high = np.log(_THRESHOLDS)
        best = dict.fromkeys(self._eliminations, 0)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            counts = {name: found.count(np.exp(middle)) for name, found in self._eliminations.items()}
            if counts == best or self._agrees(counts):
                low, best = middle, counts
            else:
                high = middle
        return best

    def _search_layers(self, counts: dict[str, int]) -> dict[str, int]:
        """More of each layer in turn, the one with most parameters first, in ever smaller steps."""
        steps = dict.fromkeys(counts, _STEP)
        while self.trials < self._max_trials:
            open_layers = [name for name, step in steps.items() if step >= _SMALLEST_STEP]
            if not open_layers:
                break
            for name in sorted(open_layers, key=lambda n: -self._saved(n, counts, steps[n])):
                most = len(self._eliminations[name].numbers)
                more = min(most - counts[name], int(np.ceil(steps[name] * (most + 1 - counts[name]))))
                if more <= 0:
                    steps[name] = 0
                    continue
                tried = {**counts, name: counts[name] + more}
                if self._agrees(tried):
                    counts = tried
                else:
                    steps[name] = steps[name] / 2 if more > 1 else 0
                if self.trials >= self._max_trials:
                    break
        return counts

    def _saved(self, name: str, counts: Mapping[str, int], step: float) -> float:
        """Weights that go with a step of one layer, about."""
        left = len(self._eliminations[name].numbers) + 1 - counts[name]
        return step * left * self._network.count_weights(self._network.groups[name])


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
        added = _RIDGES[-1] * np.trace(own) / len(own) + np.finfo(float).tiny
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


def _compare(model: keras.Model, thin_model: keras.Model, part: _Part) -> dict[str, Any]:
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
