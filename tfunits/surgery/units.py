"""Which units every tensor of a network carries, and which of them belong together."""

import collections
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph

from tfunits.surgery.graph import Call, Graph, TensorKey

# Per axis of a tensor the number of every position's unit; None along an axis that carries no units.
Layout = tuple[np.ndarray | None, ...]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Read:
    """One call that mixes units: each of its results may depend on all that it reads.

    Attributes:
      call: the call.
      key: the tensor that it reads.
      axis: the axis of its units.
      kind: "kernel" of a dense layer or convolution, which multiplies all units with one kernel; "affine" of another
        call that is a linear function of them and a constant; "response" of response normalisation; "other".
    """

    call: Call
    key: TensorKey
    axis: int
    kind: str


class UnitMap:
    """The units of a graph.

    Every dense, convolutional and embedding layer makes units. They are followed through everything that keeps units
    apart, and tied where an addition, a shared layer or a grouped convolution makes them one: units that must be
    removed together have one number.

    Args:
      graph: of the network.

    Attributes:
      layouts: key of a tensor -> number of the unit at every position of its axes.
      num_units: how many numbers there are.
      sources: the calls that make units, and the axis along which they stand in their first output.
      reads: the calls that mix units.
      fixed: number of a unit -> why it must stay.
      indivisible: number of a unit -> why there cannot be more of it.
      modulated: number of a unit -> the call that multiplies or adds something else to it at every position.
    """

    def __init__(self, graph: Graph) -> None:
        # Here, since rules are written in terms of this class.
        from tfunits.surgery.rules import find_rule

        self.graph = graph
        self.layouts: dict[TensorKey, Layout] = {}
        self.sources: list[tuple[Call, int]] = []
        self.reads: list[Read] = []
        self.num_units = 0
        self._slots: dict[int, dict[str, np.ndarray | None]] = collections.defaultdict(dict)
        self._ties: list[np.ndarray] = []
        self._marks: dict[str, list[tuple[np.ndarray, str]]] = collections.defaultdict(list)
        self.rules = {}
        for key in graph.inputs:
            self.layouts[key] = self.no_units(key)
        for call in graph.calls:
            rule = self.rules.setdefault(id(call.operation), find_rule(call))
            rule.couple(call, self)
        for key in graph.outputs:
            self.fix_all(key, "it is the model's output")
        self._number()

    def _number(self) -> None:
        """Give units that are tied one number, counted from 0 in the order in which they are made."""
        pairs = np.concatenate([np.zeros((2, 0), np.int64), *self._ties], axis=1)
        matrix = scipy.sparse.coo_matrix((np.ones(pairs.shape[1]), tuple(pairs)), shape=2 * (self.num_units,))
        self.num_units, numbers = scipy.sparse.csgraph.connected_components(matrix, directed=False)

        def renumber(ids: np.ndarray | None) -> np.ndarray | None:
            return None if ids is None else numbers[ids]

        self.layouts = {key: tuple(map(renumber, layout)) for key, layout in self.layouts.items()}
        self._slots = {
            layer: {name: renumber(ids) for name, ids in slots.items()} for layer, slots in self._slots.items()
        }
        self.fixed, self.indivisible, self.modulated = (
            _reasons(self._marks[mark], numbers) for mark in ("fixed", "indivisible", "modulated")
        )

    def no_units(self, key: TensorKey) -> Layout:
        """The layout of a tensor without units."""
        return (None,) * len(self.graph.shape(key))

    def make(self, count: int) -> np.ndarray:
        """Numbers of new units."""
        self.num_units += count
        return np.arange(self.num_units - count, self.num_units)

    def tie(self, first: np.ndarray | None, second: np.ndarray | None, reason: str) -> np.ndarray | None:
        """Make units of two axes one, position by position; where one has none, the other's must stay."""
        if first is None or second is None:
            self.fix(first, reason)
            self.fix(second, reason)
            return None
        self._ties.append(np.stack([first, second]))
        return first

    def fix(self, ids: np.ndarray | None, reason: str) -> None:
        """Note that units must stay."""
        self._mark("fixed", ids, reason)

    def fix_all(self, key: TensorKey, reason: str) -> None:
        """Note that all units of a tensor must stay."""
        for ids in self.layouts[key]:
            self.fix(ids, reason)

    def keep_single(self, ids: np.ndarray | None, reason: str) -> None:
        """Note that units cannot be repeated."""
        self._mark("indivisible", ids, reason)

    def modulate(self, ids: np.ndarray | None, reason: str) -> None:
        """Note that units are combined with something that is no unit."""
        self._mark("modulated", ids, reason)

    def _mark(self, mark: str, ids: np.ndarray | None, reason: str) -> None:
        if ids is not None:
            self._marks[mark].append((ids, reason))

    def slot(self, operation: Any, name: str, ids: Callable[[], np.ndarray] | np.ndarray | None) -> np.ndarray | None:
        """Units along one axis of a layer's weights, the same in all its calls.

        Args:
          operation: the layer.
          name: of the axis.
          ids: the units, or what makes them in the first call.
        """
        slots = self._slots[id(operation)]
        if name not in slots:
            slots[name] = ids() if callable(ids) else ids
        elif not callable(ids):
            slots[name] = self.tie(slots[name], ids, f"{operation.name!r} is shared, and elsewhere reads no units")
        return slots[name]

    def slot_ids(self, operation: Any, name: str) -> np.ndarray | None:
        """Units along one axis of a layer's weights, once all calls are seen."""
        return self._slots.get(id(operation), {}).get(name)

    def read(self, call: Call, axis: int, *, kind: str) -> np.ndarray | None:
        """Note that a call mixes the units along an axis of its first input; returns these."""
        key = call.inputs[0]
        ids = self.layouts[key][axis]
        if ids is not None:
            self.reads.append(Read(call=call, key=key, axis=axis, kind=kind))
        return ids

    def set(self, call: Call, layout: Sequence[np.ndarray | None]) -> None:
        """Note the layout of a call's only output."""
        (key,) = call.outputs
        self.layouts[key] = tuple(layout)

    def of(self, call: Call) -> tuple[int, np.ndarray] | None:
        """Axis and units of a call's output: those that it makes, or all; None where there are none or several axes."""
        layout = self.layouts[call.outputs[0]]
        made = [axis for source, axis in self.sources if source is call]
        if made:
            return made[0], layout[made[0]]
        axes = [axis for axis, ids in enumerate(layout) if ids is not None]
        return (axes[0], layout[axes[0]]) if len(call.outputs) == 1 and len(axes) == 1 else None


def _reasons(marks: list[tuple[np.ndarray, str]], numbers: np.ndarray) -> dict[int, str]:
    """Number of a unit -> the first reason that was noted for it."""
    found: dict[int, str] = {}
    for ids, reason in marks:
        for number in np.unique(numbers[ids]).tolist():
            found.setdefault(number, reason)
    return found
