"""Many changed runs of one network, each batch read once: only what lies behind a change is run again."""

import contextlib
import dataclasses
import math
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfunits.measures.devices import Piece, most_examples, run_pieces, values_per_example
from tfunits.measures.sparsity import multiplications, run_on_channels, sparse_calls
from tfunits.surgery import Call, Graph, Inputs, TensorKey, hold_weights, kernel_of

# Trials are stacked into the batch until this many numbers stand in its widest tensor: enough to fill the cores where
# maps are small. Beyond it more rows only leave the caches (ResNet56: 1.19 ms an image in 64 rows, 1.28 in 512).
_STACKED_VALUES = 2**22
# Masked channels are left out where their zeros would be this share of the work behind them, and the work is more
# than gathering the others (a convolution of 16 to 16 channels on 16x16 has 0.6 million multiplications).
_SPARED_SHARE = 0.25
_SMALL_WORK = 1e6
# From this number of segments on, those far behind a change are run together.
_MANY_SEGMENTS = 12
# A Philox generator makes this many 32-bit numbers per step of its counter.
_PHILOX_BLOCK = 4


@dataclasses.dataclass(frozen=True, eq=False)
class UnitMasks:
    """What a tensor is multiplied with, one mask a trial.

    Attributes:
      values: 1 for kept and 0 for masked units, float32 [trials, 1, ..., units] or [trials, ..., units].
    """

    values: np.ndarray

    @property
    def num_trials(self) -> int:
        """Number of masks."""
        return len(self.values)


@dataclasses.dataclass(frozen=True, eq=False)
class Noise:
    """Gaussian noise that is added to a tensor.

    Attributes:
      scales: standard deviation as a multiple of that of each example's activations, float32 [trials].
      seeds: of each trial's noise, int64 [trials]; equal seeds give the same noise, scaled.
    """

    scales: np.ndarray
    seeds: np.ndarray

    @property
    def num_trials(self) -> int:
        """Number of scales."""
        return len(self.scales)


@dataclasses.dataclass(frozen=True, eq=False)
class WeightMasks:
    """What a layer's kernel is multiplied with.

    Attributes:
      num_trials: number of masks.
      mask: trial -> 1 for kept and 0 for masked weights, bool of the kernel's shape.
    """

    num_trials: int
    mask: Callable[[int], np.ndarray]


# Where a network is changed -> how: a tensor's units or noise, or a layer's kernel.
Perturbation = Mapping[TensorKey | keras.layers.Layer, UnitMasks | Noise | WeightMasks]


@dataclasses.dataclass(frozen=True)
class _Variant:
    """One way of running the calls from one cut to another.

    Attributes:
      start, stop: numbers of the cuts.
      stacked: tensors at the start of which every trial has its own.
      sites: tensors at the start and layers behind it that are changed, each with the specs of its change's arguments.
      sparse: whether the arithmetic of masked channels is left out.
    """

    start: int
    stop: int
    stacked: frozenset[TensorKey]
    sites: tuple[tuple[Hashable, tuple[tf.TensorSpec, ...]], ...]
    sparse: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Plan:
    """How one perturbation is run.

    Attributes:
      sites: places and their changes.
      segments: place -> segment at whose start it is changed; a layer may be called again behind it.
      num_trials: number of trials.
      constant: trials whose outputs are the same for every example, since all that leads there is masked.
      stacked_values: numbers that an example has in the widest tensor behind the first change; None where trials
        cannot be stacked into one batch.
      sparse: whether every trial is run by itself, without the arithmetic of its masked channels.
      stretches: (start, stop) of what is run, in order, each the numbers of two cuts.
    """

    sites: Perturbation
    segments: Mapping[Any, int]
    num_trials: int
    constant: np.ndarray
    stacked_values: int | None
    sparse: bool
    stretches: list[tuple[int, int]]

    def changes(self, segment: int, layers: set, trials: np.ndarray) -> dict[Hashable, list[tf.Tensor]]:
        """Place -> arguments of the changes that a segment makes."""
        here = {}
        for site, change in self.sites.items():
            if isinstance(change, WeightMasks):
                if site in layers:
                    here[site] = [tf.constant(change.mask(int(trials[0])))]
            elif self.segments[site] == segment and isinstance(change, UnitMasks):
                here[site] = [tf.constant(change.values[trials])]
                if self.sparse:
                    # No layer runs on no channel; a masked one adds nothing.
                    kept = np.flatnonzero(change.values[trials[0]])
                    here[site].append(tf.constant(kept if len(kept) else [0], tf.int32))
            elif self.segments[site] == segment:
                here[site] = [tf.constant(change.scales[trials[0]]), tf.constant(change.seeds[trials[0]])]
        return here


class PerturbedRuns:
    """A network with what is to be changed in it, cut at every place of a change.

    The network is cut into segments at the perturbed tensors and layers. A batch is run once through them; at every
    cut, what has been computed so far is kept only until the perturbations that begin there have run to the end.
    Tensors that a change has not reached yet are not copied for every trial.

    Args:
      graph: of the network.
      perturbations: name -> places and their changes, equally many trials at each place.
      read: the network's outputs -> a tensor of one row an example, to be returned of every run.
    """

    def __init__(
        self,
        graph: Graph,
        perturbations: Mapping[Hashable, Perturbation],
        read: Callable[[list[tf.Tensor]], tf.Tensor],
    ) -> None:
        self._graph = graph
        self._read = read
        positions = {name: {site: _position(graph, site) for site in sites} for name, sites in perturbations.items()}
        inner = {position for sites in positions.values() for position in sites.values()}
        self._cuts = [0, *sorted(inner - {0}), len(graph.calls)]
        self._live = [graph.live(cut) for cut in self._cuts]
        self._layers = [{call.operation for call in self._calls(segment)} for segment in range(len(self._cuts) - 1)]
        # Where there are many taps, what lies far behind a change is run in longer stretches of about the root of the
        # number of segments: a call costs more than the work in a small segment.
        num_segments = len(self._cuts) - 1
        self._stretch = math.isqrt(num_segments) if num_segments >= _MANY_SEGMENTS else 1
        self._beginning: dict[int, dict[Hashable, _Plan]] = {segment: {} for segment in range(len(self._cuts) - 1)}
        for name, sites in perturbations.items():
            segments = {site: self._cuts.index(position) for site, position in positions[name].items()}
            start = min(segments.values())
            self._beginning[start][name] = self._make_plan(sites, segments, start)
        self._functions: dict[_Variant, tuple[Callable, list[TensorKey], list[TensorKey]]] = {}
        self._tracing = threading.Lock()
        self.num_trials = sum(plan.num_trials for plans in self._beginning.values() for plan in plans.values())

    def _make_plan(self, sites: Perturbation, segments: Mapping[Any, int], start: int) -> "_Plan":
        (num_trials,) = {change.num_trials for change in sites.values()}
        stackable = all(isinstance(change, UnitMasks) for change in sites.values())
        constant = np.zeros(num_trials, bool)
        if stackable:
            masks = [change.values.reshape(num_trials, -1) for change in sites.values()]
            silent = ~np.any([mask.any(axis=1) for mask in masks], axis=0)
            read = {key for call in self._graph.needed(self._graph.outputs, list(sites)) for key in call.inputs}
            constant = silent & (not read.intersection(self._graph.inputs))
        sparse = stackable and self._is_worth_leaving_out(sites, segments, start)
        return _Plan(
            sites=sites,
            segments=segments,
            num_trials=num_trials,
            constant=constant,
            stacked_values=self._widest(start) if stackable and not sparse else None,
            sparse=sparse,
            stretches=self._stretches(sites, segments, start),
        )

    def _stretches(self, sites: Perturbation, segments: Mapping[Any, int], start: int) -> list[tuple[int, int]]:
        """From the first change to the end: single segments, and whole stretches in which nothing is changed."""
        changed = set(segments.values())
        for site, change in sites.items():
            if isinstance(change, WeightMasks):
                changed |= {segment for segment, layers in enumerate(self._layers) if site in layers}
        found, end = [], len(self._cuts) - 1
        while start < end:
            stop = min(start + self._stretch, end)
            is_stretch = start % self._stretch == 0 and not changed.intersection(range(start, stop))
            stop = stop if is_stretch else start + 1
            found.append((start, stop))
            start = stop
        return found

    def _is_worth_leaving_out(self, sites: Perturbation, segments: Mapping[Any, int], start: int) -> bool:
        """Whether much of the work behind masked channels is multiplying their zeros."""
        spatial = (np.prod(change.values.shape[1:-1]) for change in sites.values())
        if any(size != 1 for size in spatial):
            return False
        spared = sum(
            multiplications(self._graph, sparse_calls(self._graph, self._calls(segment), key))
            for key, segment in segments.items()
        )
        behind = self._calls(start, len(self._cuts) - 1)
        small = multiplications(self._graph, behind) < _SMALL_WORK
        return not small and spared > _SPARED_SHARE * multiplications(self._graph, behind)

    def _calls(self, start: int, stop: int | None = None) -> list[Call]:
        """The calls of a segment, or of those from one cut to another."""
        return self._graph.calls[self._cuts[start] : self._cuts[start + 1 if stop is None else stop]]

    def _widest(self, segment: int) -> int:
        """Numbers an example has in the widest tensor from a segment on."""
        calls = self._graph.calls[self._cuts[segment] :]
        keys = [*self._live[segment], *(key for call in calls for key in call.outputs)]
        return max(values_per_example(self._graph, key) for key in keys)

    def run(
        self, inputs: Inputs, description: str, *, strategy: tf.distribute.Strategy | None = None
    ) -> Iterator[tuple[Piece, np.ndarray, dict[Hashable, np.ndarray]]]:
        """Run every trial on every batch, with a progress bar.

        Args:
          inputs: batches.
          description: of the bar.
          strategy: whose devices share the batches.

        Yields: every piece of the data, in order, with what `read` gives of the unchanged network, [examples, ...],
          and of every perturbation, [trials, examples, ...].
        """
        for piece, (unchanged, found) in run_pieces(
            self._run_piece, inputs, strategy=strategy, most_examples=most_examples(self._graph),
            description=description, unit="run", runs=self.num_trials,
        ):  # fmt: skip
            yield piece, unchanged, found

    def _run_piece(self, piece: Piece) -> tuple[np.ndarray, dict[Hashable, np.ndarray]]:
        values = dict(zip(self._graph.inputs, piece.inputs, strict=True))
        found: dict[Hashable, np.ndarray] = {}
        for segment, plans in self._beginning.items():
            for name, plan in plans.items():
                found[name] = self._run_trials(plan, segment, values, piece.first, piece.size)
            state = self._run(segment, segment + 1, (values, {}), {}, 1, piece.first)
            if segment < len(self._cuts) - 2:
                values, _ = state
        return state.numpy(), found

    def _run_trials(
        self, plan: "_Plan", segment: int, values: dict[TensorKey, tf.Tensor], first: int, size: int
    ) -> np.ndarray:
        """What `read` gives of every trial of one perturbation, from the segment on in which it begins."""
        stack = 1 if plan.stacked_values is None else _stack_size(plan.num_trials, size * plan.stacked_values)
        readings: dict[int, np.ndarray] = {}
        for trials, count in ((np.flatnonzero(~plan.constant), size), (np.flatnonzero(plan.constant), 1)):
            part = values if count == size else {key: value[:count] for key, value in values.items()}
            for begin in range(0, len(trials), stack):
                chosen = trials[begin : begin + stack]
                state: Any = (part, {})
                for start, stop in plan.stretches:
                    changes = plan.changes(start, self._layers[start], chosen)
                    state = self._run(start, stop, state, changes, len(chosen), first, sparse=plan.sparse)
                rows = state.numpy().reshape(len(chosen), count, *state.shape[1:])
                readings.update(
                    zip(chosen.tolist(), np.broadcast_to(rows, [len(chosen), size, *rows.shape[2:]]), strict=True)
                )
        return np.stack([readings[trial] for trial in range(plan.num_trials)])

    def _run(
        self,
        start: int,
        stop: int,
        state: tuple[dict[TensorKey, tf.Tensor], dict[TensorKey, tf.Tensor]],
        changes: dict[Hashable, list[tf.Tensor]],
        num_trials: int,
        first: int,
        *,
        sparse: bool = False,
    ) -> Any:
        """The tensors at the next cut, (for all trials, a trial each); of the last segment, what `read` gives."""
        plain, stacked = state
        sites = tuple((site, tuple(map(_spec_of, arguments))) for site, arguments in changes.items())
        variant = _Variant(start, stop, frozenset(stacked), sites, sparse and bool(changes))
        with self._tracing:
            if variant not in self._functions:
                self._functions[variant] = self._trace(variant)
        function, kept_plain, kept_stacked = self._functions[variant]
        found = function(
            [plain[key] for key in self._live[start] if key not in stacked],
            [stacked[key] for key in self._live[start] if key in stacked],
            list(changes.values()),
            tf.constant(num_trials),
            tf.constant(first, tf.int64),
        )
        if stop == len(self._cuts) - 1:
            return found
        return dict(zip(kept_plain, found[0], strict=True)), dict(zip(kept_stacked, found[1], strict=True))

    def _trace(self, variant: _Variant) -> tuple:
        graph, start = self._graph, variant.start
        calls = self._calls(start, variant.stop)
        last = variant.stop == len(self._cuts) - 1
        wanted = graph.outputs if last else self._live[variant.stop]
        kept: dict[str, list[TensorKey]] = {"plain": [], "stacked": []}
        plain_keys = [key for key in self._live[start] if key not in variant.stacked]
        stacked_keys = [key for key in self._live[start] if key in variant.stacked]
        masked_layers = [site for site, _ in variant.sites if isinstance(site, keras.layers.Layer)]

        def function(
            plain_values: list, stacked_values: list, change_values: list, num_trials: tf.Tensor, first: tf.Tensor
        ) -> Any:
            plain = dict(zip(plain_keys, plain_values, strict=True))
            stacked = dict(zip(stacked_keys, stacked_values, strict=True))
            tiled: dict[TensorKey, tf.Tensor] = {}
            overrides = []
            channels: dict[Call, tf.Tensor] = {}

            def tile(key: TensorKey) -> tf.Tensor:
                if key not in tiled:
                    value = plain[key]
                    tiled[key] = tf.tile(value, [num_trials, *([1] * (value.shape.rank - 1))])
                return tiled[key]

            for (site, _), arguments in zip(variant.sites, change_values, strict=True):
                if isinstance(site, keras.layers.Layer):
                    kernel = kernel_of(site)
                    overrides.append((kernel, kernel.value * tf.cast(arguments[0], kernel.value.dtype)))
                elif site not in stacked and site not in plain:
                    continue  # Nothing reads it.
                elif variant.sparse:
                    stacked[site] = _masked(stacked.get(site), plain.get(site), arguments[0])
                    channels.update(dict.fromkeys(sparse_calls(graph, calls, site), arguments[1]))
                elif len(arguments) == 1:
                    stacked[site] = _masked(stacked.get(site), plain.get(site), arguments[0])
                else:
                    value = stacked[site] if site in stacked else plain[site]
                    stacked[site] = _with_noise(value, *arguments, first)
            # A scope hides the one around it with the constants, so there is one only where weights are changed.
            with hold_weights(overrides) if overrides else contextlib.nullcontext():
                for call in calls:
                    reached = any(key in stacked for key in call.inputs) or call.operation in masked_layers
                    if call in channels:
                        outputs = run_on_channels(call, stacked[call.inputs[0]], channels[call])
                        stacked.update(zip(call.outputs, outputs, strict=True))
                    elif reached:
                        values = {key: stacked[key] if key in stacked else tile(key) for key in call.inputs}
                        stacked.update(zip(call.outputs, call.run(values, inference=True), strict=True))
                    else:
                        plain.update(zip(call.outputs, call.run(plain, inference=True), strict=True))
            if last:
                return self._read([stacked[key] if key in stacked else tile(key) for key in wanted])
            kept["stacked"] = [key for key in wanted if key in stacked]
            kept["plain"] = [key for key in wanted if key not in stacked]
            return [plain[key] for key in kept["plain"]], [stacked[key] for key in kept["stacked"]]

        signature = [
            [graph.spec(key) for key in plain_keys],
            [graph.spec(key) for key in stacked_keys],
            [list(specs) for _, specs in variant.sites],
            tf.TensorSpec([], tf.int32),
            tf.TensorSpec([], tf.int64),
        ]
        compiled = graph.compile(function, signature, calls)
        return compiled, kept["plain"], kept["stacked"]


def _position(graph: Graph, site: Any) -> int:
    """Where in the calls a change begins: behind a tensor's making, before a layer's first call."""
    return graph.first_position(site) if isinstance(site, keras.layers.Layer) else graph.position_behind(site)


def _stack_size(num_trials: int, values_per_trial: int) -> int:
    """How many trials to run as one batch: equal parts, none larger than the bound."""
    largest = int(np.clip(_STACKED_VALUES // max(1, values_per_trial), 1, num_trials))
    num_parts = -(-num_trials // largest)
    return -(-num_trials // num_parts)


def _spec_of(argument: tf.Tensor) -> tf.TensorSpec:
    """A change's argument with any number of trials."""
    shape = argument.shape
    return tf.TensorSpec([None, *shape[1:]] if shape.rank and argument.dtype != tf.bool else shape, argument.dtype)


def _masked(stacked: tf.Tensor | None, plain: tf.Tensor | None, masks: tf.Tensor) -> tf.Tensor:
    """A tensor times every trial's mask, [trials * batch, ...]."""
    num_trials = tf.shape(masks)[0]
    value = plain[tf.newaxis] if stacked is None else tf.reshape(
        stacked, tf.concat([[num_trials, tf.shape(stacked)[0] // num_trials], tf.shape(stacked)[1:]], 0)
    )  # fmt: skip
    product = value * tf.cast(masks, value.dtype)[:, tf.newaxis]
    given = plain if stacked is None else stacked
    return tf.ensure_shape(tf.reshape(product, tf.concat([[-1], tf.shape(given)[1:]], 0)), [None, *given.shape[1:]])


def _with_noise(value: tf.Tensor, scale: tf.Tensor, seed: tf.Tensor, first: tf.Tensor) -> tf.Tensor:
    """A tensor plus noise that depends on the seed and the example's number alone."""
    shape = tf.shape(value)
    size = tf.reduce_prod(shape[1:])
    width = (size + _PHILOX_BLOCK - 1) // _PHILOX_BLOCK * _PHILOX_BLOCK
    counter = tf.cast(first, tf.uint64) * tf.cast(width // _PHILOX_BLOCK, tf.uint64)
    normal = tf.raw_ops.StatelessRandomNormalV2(
        shape=tf.stack([shape[0], width]),
        key=tf.reshape(tf.cast(seed, tf.uint64), [1]),
        counter=tf.stack([counter, tf.zeros_like(counter)]),
        alg=1,  # Philox
        dtype=tf.float32,
    )
    noise = tf.reshape(normal[:, :size], shape)
    axes = list(range(1, value.shape.rank))
    std = tf.math.reduce_std(tf.cast(value, tf.float32), axes, keepdims=True)
    return value + tf.cast(scale * std * noise, value.dtype)
