"""A network under thinning: its units, who reads them, and the thin networks that are made of it."""

import collections
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from tfunits.statistics import Moments, StreamingMoments
from tfunits.surgery import Call, Graph, TensorKey, UnitMap
from tfunits.surgery.folding import find_columns, read_moments, take_over, unit_rows
from tfunits.surgery.rebuild import Edit, Selection, change_rows, rebuild, unique_names
from tfunits.surgery.units import Read
from tfunits.thinning.elimination import Reader
from tfunits.thinning.examples import Batch

# Activations that stay in memory, of the whole network and of the thin one: 1 GiB of float32 each.
_KEPT_VALUES = 2**28


class Network:
    """A network whose units can be removed and folded.

    Args:
      model: a functional classifier.
      batches: inputs on which activations are fitted.

    Attributes:
      batches: as given.
      groups: layers whose units go together -> numbers of the units that can go.
      stays: layer -> why none of its units can go.
    """

    def __init__(self, model: keras.Model, batches: Sequence[Batch]) -> None:
        self.model, self.batches = model, batches
        self.graph = Graph(model)
        self.units = UnitMap(self.graph)
        self._names = unique_names(self.graph)
        by_layer: dict[Any, list[Read]] = collections.defaultdict(list)
        for read in self.units.reads:
            by_layer[read.call.operation].append(read)
        self._blocked = dict(self.units.fixed)
        # In the order of the network, as `units.reads` is.
        self._reads: dict[Any, tuple[list[Read], np.ndarray]] = {}
        for layer, reads in by_layer.items():
            numbers = np.unique(np.concatenate([self._ids(read) for read in reads]))
            if all(read.kind == "response" for read in reads):
                continue
            if self._can_read(reads, numbers):
                self._reads[layer] = (reads, numbers)
            else:
                self._blocked.update(dict.fromkeys(numbers.tolist(), f"{reads[0].call.name!r} reads it with others"))
        self.groups, self.stays = self._find_groups()
        axes = {tuple(np.unique(ids)) for layout in self.units.layouts.values() for ids in layout if ids is not None}
        # In one order, since a unit that stays for one axis may also stay for another.
        self._axes = [np.array(axis) for axis in sorted(axes)]
        progress = tqdm(batches, desc="reading activations", unit="batch", leave=False)
        self.moments = read_moments(self.units, self._reads, progress)
        self._rows_before = self._keep_rows()
        self._row_sums: dict[Any, np.ndarray] = {}
        self._readers: dict[Any, Reader] = {}

    def _keep_rows(self) -> dict[Any, list[tuple[np.ndarray, np.ndarray]]]:
        """Of every layer with one kernel, what it reads: for every batch which samples, and these [samples, units]."""
        alone = {layer: (reads[0], numbers) for layer, (reads, numbers) in self._reads.items()
                 if len(reads) == 1 and reads[0].kind == "kernel"}  # fmt: skip
        kept: dict[Any, list[tuple[np.ndarray, np.ndarray]]] = {layer: [] for layer in alone}
        run = self.graph.compile_reader([read.key for read, _ in alone.values()])
        generator = np.random.default_rng(0)
        self._refitted = self.batches[: self._count_refitted([read.call for read, _ in alone.values()])]
        share = _KEPT_VALUES // max(1, len(alone) * len(self._refitted))
        for batch in self._refitted:
            for (layer, (read, numbers)), value in zip(alone.items(), run(batch), strict=True):
                rows = unit_rows(value.numpy(), read.axis, self._ids(read), numbers)
                most = max(1, share // len(numbers))
                places = np.arange(len(rows))
                if most < len(rows):
                    places = np.sort(generator.choice(len(rows), most, replace=False))
                kept[layer].append((places, rows[places]))
        return kept

    def active_share(self, layer: Any) -> np.ndarray | None:
        """Share of samples at which each unit that a layer reads is not 0; None where they are not kept."""
        rows = self._rows_before.get(layer)
        return None if rows is None else np.concatenate([values != 0 for _, values in rows]).mean(axis=0)

    def leave_some(self, removed: np.ndarray, rank: np.ndarray) -> np.ndarray:
        """The units that go, but for the last one wherever all would.

        Args:
          removed: bool [units.num_units].
          rank: when each unit goes, the first to go first [units.num_units].
        """
        removed = removed.copy()
        for numbers in self._axes:
            if removed[numbers].all():
                removed[numbers[np.argmax(rank[numbers])]] = False
        return removed

    def _count_refitted(self, calls: Sequence[Call]) -> int:
        """How many batches can stand in memory at any of some calls, with all that is read there and behind."""
        sizes = [1]
        for call in calls:
            shapes = [self.graph.shape(key)[1:] for key in self.graph.live(self.graph.first_position(call.operation))]
            sizes.append(sum(int(np.prod([size or 1 for size in shape])) for shape in shapes))
        return max(1, _KEPT_VALUES // (max(sizes) * len(self.batches[0][0])))

    def _ids(self, read: Read) -> np.ndarray:
        return self.units.layouts[read.key][read.axis]

    def _can_read(self, reads: Sequence[Read], numbers: np.ndarray) -> bool:
        """Whether a layer is linear in its units, which all stand at as many positions."""
        if any(read.kind not in ("kernel", "affine") for read in reads):
            return False
        return all(
            (
                np.bincount(self._ids(read), minlength=self.units.num_units)[numbers]
                == len(self._ids(read)) / len(numbers)
            ).all()
            for read in reads
        )

    def _find_groups(self) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        groups: dict[str, set[int]] = {}
        stays = {}
        for call, axis in self.units.sources:
            numbers = set(self.units.layouts[call.outputs[0]][axis].tolist())
            free = {number for number in numbers if number not in self._blocked}
            if not free:
                stays[call.name] = self._blocked[next(iter(numbers))]
                continue
            same = [name for name, other in groups.items() if other & free]
            for name in same:
                free |= groups.pop(name)
            groups[" + ".join([*same, call.name])] = free
        return {name: np.array(sorted(free)) for name, free in groups.items()}, stays

    def reading(self) -> Iterator[tuple[Any, np.ndarray, Moments, bool]]:
        """(layer, numbers of the units that it reads, their moments, whether they can take one another over)."""
        for layer, (reads, numbers) in self._reads.items():
            yield layer, numbers, self.moments[layer], self._folds(reads)

    def readers(self, group: np.ndarray) -> list[Reader]:
        """Who reads the units of a group, with what."""
        return [self._reader(layer) for layer, (_, numbers) in self._reads.items() if np.isin(group, numbers).any()]

    def _reader(self, layer: Any) -> Reader:
        if layer not in self._readers:
            reads, numbers = self._reads[layer]
            is_joint = self._folds(reads)
            weights = self._weights(layer, numbers)
            gram = weights @ weights.T if is_joint else np.diag((weights**2).sum(axis=1))
            covariance = self.moments[layer].covariance
            self._readers[layer] = Reader(numbers=numbers, covariance=covariance, gram=gram, is_joint=is_joint)
        return self._readers[layer]

    @staticmethod
    def _folds(reads: Sequence[Read]) -> bool:
        """Whether the units that a layer reads can take one another over."""
        return all(read.kind == "kernel" for read in reads)

    def count_weights(self, group: np.ndarray) -> int:
        """How many weights one unit of a group has in the layers that read it, about."""
        layers = [layer for layer, (_, numbers) in self._reads.items() if np.isin(group, numbers).any()]
        return sum(layer.count_params() // len(self._reads[layer][1]) for layer in layers)

    def _weights(self, layer: Any, numbers: np.ndarray) -> np.ndarray:
        """Outgoing weights of units [units, everything that they are multiplied with]."""
        rule = self.units.rules[id(layer)]
        for name, axes in rule.weight_axes(layer).items():
            for slot in ("between", "in"):
                if slot in axes and "depthwise" not in name:
                    kernel = keras.ops.convert_to_numpy(getattr(layer, name)).astype(np.float64)
                    rows = np.moveaxis(kernel, axes.index(slot), 0).reshape(kernel.shape[axes.index(slot)], -1)
                    columns = [np.flatnonzero(self.units.slot_ids(layer, slot) == number) for number in numbers]
                    return np.stack([rows[places].ravel() for places in columns])
        raise TypeError(f"{layer.name}: expected a kernel along the units that it reads")

    def build(self, removed: np.ndarray, ridge: float) -> keras.Model:
        """The network without some units, each folded into those that its readers still see.

        Args:
          removed: bool [units.num_units].
          ridge: of the fit, as a share of the units' mean variance.
        """
        selection = Selection(self.units, (~removed).astype(int))
        reading, bias = {}, {}
        for layer, (reads, numbers) in self._reads.items():
            gone = removed[numbers]
            if not gone.any() or any(read.kind != "kernel" for read in reads):
                continue
            moments = self.moments[layer]
            gamma = _fit(moments.covariance, ~gone, gone, ridge)
            coefficients = np.zeros(((~gone).sum(), len(numbers)))
            coefficients[:, ~gone] = np.eye((~gone).sum())
            coefficients[:, gone] = gamma
            reading[layer] = self._rows(selection, reads[0], numbers, gone, coefficients)
            constant = moments.mean - moments.mean[~gone] @ coefficients
            bias[layer] = self._added(layer, numbers, constant)
        return rebuild(self.graph, self.units, selection.copies, Edit(reading=reading, bias=bias), suffix="thin")

    def _rows(
        self, selection: Selection, read: Read, numbers: np.ndarray, gone: np.ndarray, coefficients: np.ndarray
    ) -> Callable[[np.ndarray], np.ndarray]:
        return take_over(selection, self._ids(read), numbers[~gone], numbers, coefficients)

    def _added(self, layer: Any, numbers: np.ndarray, constant: np.ndarray) -> np.ndarray:
        """What constants in the place of units add to a layer's results, away from padding."""
        if layer not in self._row_sums:
            self._row_sums[layer] = self._sum_rows(layer, numbers)
        return constant @ self._row_sums[layer]

    def _sum_rows(self, layer: Any, numbers: np.ndarray) -> np.ndarray:
        """A layer's kernel added over positions [units, results]."""
        kernel = keras.ops.convert_to_numpy(layer.kernel).astype(np.float64)
        axes = self.units.rules[id(layer)].weight_axes(layer)["kernel"]
        rows = np.moveaxis(kernel, (axes.index("in"), axes.index("out")), (0, -1))
        rows = rows.reshape(rows.shape[0], -1, rows.shape[-1]).sum(axis=1)
        places = find_columns(self.units.slot_ids(layer, "in"), numbers)
        return rows[places].sum(axis=1)

    def refit(self, thin: keras.Model, removed: np.ndarray, ridge: float) -> None:
        """Fit every reader's weights again, in place, to what it received in the whole network.

          min |A W + b - A' W' - b'|^2 + ridge |W' - W'_now|^2,   A' the activations of the thin network

        One layer after another, so that each makes up for what those before it left.

        Args:
          thin: made by `build`.
          removed, ridge: as they were given there.
        """
        selection = Selection(self.units, (~removed).astype(int))
        graph = Graph(thin)
        layers = {self._names[id(layer)]: layer for layer in self._rows_before}
        is_behind = False
        # Every batch goes once through the thin network, from one fitted layer to the next.
        position, keys, waiting = 0, graph.inputs, self._refitted
        for now in graph.calls:
            if now.operation.name not in layers:
                continue
            layer = layers[now.operation.name]
            (read,), numbers = self._reads[layer]
            gone = removed[numbers]
            is_behind = is_behind or gone.any()
            if not is_behind:
                continue
            ids = self._ids(read)
            stream = StreamingMoments(int((~gone).sum()) + len(numbers))
            run, until = _run_until(graph, position, keys, now)
            position, keys = graph.first_position(now.operation), until
            waiting = [run(given) for given in waiting]
            for given, (places, before) in zip(waiting, self._rows_before[layer], strict=True):
                value = given[until.index(now.inputs[0])].numpy()
                after = unit_rows(value, read.axis, ids[selection.positions(ids)], numbers[~gone])
                stream.add(np.concatenate([after[places], before], axis=1))
            moments = stream.moments()
            self._solve(layer, now.operation, selection, read, numbers, gone, moments, ridge)

    def _solve(
        self, layer: Any, now: Any, selection: Selection, read: Read, numbers: np.ndarray, gone: np.ndarray,
        moments: Moments, ridge: float,
    ) -> None:  # fmt: skip
        count = int((~gone).sum())
        covariance, mean = moments.covariance, moments.mean
        start = np.zeros((count, len(numbers)))
        start[:, ~gone] = np.eye(count)
        start[:, gone] = _fit(self.moments[layer].covariance, ~gone, gone, ridge)
        own, cross = covariance[:count, :count], covariance[:count, count:]
        added = ridge * np.trace(own) / count + np.finfo(float).tiny
        coefficients = start + np.linalg.solve(own + added * np.eye(count), cross - own @ start)
        axes = self.units.rules[id(layer)].weight_axes(layer)["kernel"]
        made = selection.slot(layer, "out")
        # Fewer results first: a flattened map's kernel may be large.
        kernel = np.take(keras.ops.convert_to_numpy(layer.kernel), made, axis=axes.index("out"))
        rows = self._rows(selection, read, numbers, gone, coefficients)
        now.kernel.assign(change_rows(kernel, axes.index("in"), rows))
        if now.use_bias:
            added = self._added(layer, numbers, mean[count:] - mean[:count] @ coefficients)
            before = keras.ops.convert_to_numpy(layer.bias) if layer.use_bias else 0
            now.bias.assign((before + added)[made])


def _run_until(graph: Graph, position: int, keys: Sequence[TensorKey], call: Call) -> tuple[Any, tuple[TensorKey, ...]]:
    """A compiled function from all tensors at a position to all at a later call, and which these are."""
    end = graph.first_position(call.operation)
    until = graph.live(end)

    def run(given: list[tf.Tensor]) -> list[tf.Tensor]:
        return graph.run(dict(zip(keys, given, strict=True)), until, inference=True)

    return graph.compile(run, [[graph.spec(key) for key in keys]], graph.calls[position:end]), until


def _fit(covariance: np.ndarray, left: np.ndarray, gone: np.ndarray, ridge: float) -> np.ndarray:
    """Coefficients [left, gone] of the ridge regression of some units on others."""
    own = covariance[np.ix_(left, left)]
    added = ridge * np.trace(covariance) / len(covariance) + np.finfo(float).tiny
    return np.linalg.solve(own + added * np.eye(len(own)), covariance[np.ix_(left, gone)])
