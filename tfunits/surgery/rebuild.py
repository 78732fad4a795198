"""A model made again with fewer or more units, or with other weights between them."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from tfunits.layers import PositionBias
from tfunits.surgery.graph import Call, Graph, TensorKey
from tfunits.surgery.rules import Rule
from tfunits.surgery.units import UnitMap


class Selection:
    """Which positions of every axis are left, and how often each stands there.

    Copies of a unit stand right behind it.

    Args:
      units: of the graph.
      copies: int [units.num_units]; how often each unit is there: 0 removes it, 1 keeps it.
    """

    def __init__(self, units: UnitMap, copies: np.ndarray) -> None:
        self.units, self.copies = units, copies

    def positions(self, ids: np.ndarray) -> np.ndarray:
        """Old position of everything that stands along an axis with these units."""
        return np.repeat(np.arange(len(ids)), self.copies[ids])

    def axis(self, key: TensorKey, axis: int) -> np.ndarray | None:
        """Old positions along a tensor's axis; None where it carries no units."""
        ids = self.units.layouts[key][axis]
        return None if ids is None else self.positions(ids)

    def shape(self, key: TensorKey) -> tuple[int | None, ...]:
        """A tensor's new shape."""
        sizes = zip(self.units.graph.shape(key), self.units.layouts[key], strict=True)
        return tuple(size if ids is None else int(self.copies[ids].sum()) for size, ids in sizes)

    def slot(self, layer: Any, name: str) -> np.ndarray | None:
        """Old positions along an axis of a layer's weights; None where it holds no units."""
        ids = self.units.slot_ids(layer, name)
        return None if ids is None else self.positions(ids)

    def changes(self, layer: Any, name: str) -> bool:
        """Whether units along an axis of a layer's weights are removed or repeated."""
        ids = self.units.slot_ids(layer, name)
        return ids is not None and bool((self.copies[ids] != 1).any())

    def num_before(self, layer: Any, name: str) -> int:
        """How many units stood along an axis of a layer's weights."""
        return len(self.units.slot_ids(layer, name))

    def is_copy(self, layer: Any, name: str) -> np.ndarray:
        """Of every new position along an axis of a layer's weights, whether it repeats the one before it."""
        return copy_numbers(self.copies[self.units.slot_ids(layer, name)]) > 0


def copy_numbers(copies: np.ndarray) -> np.ndarray:
    """0 for a unit, 1, 2, ... for its copies, in the order in which they stand."""
    return np.arange(copies.sum()) - np.repeat(np.cumsum(copies) - copies, copies)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Edit:
    """What changes beside the number of units.

    Attributes:
      reading: a layer that reads units -> function of its kernel's rows [positions before, all else], which gives
        those of the new kernel [positions now, all else].
      bias: a layer that makes units -> constant that is added to its bias, one a unit before.
      shift: call -> constant that is added to its linear part, of the shape of one example before.
      before: call -> layer that is put before it.
      of_weight: (layer, name of the weight, value along whose axes units are chosen already) -> value.
    """

    reading: Mapping[Any, Callable[[np.ndarray], np.ndarray]] = dataclasses.field(default_factory=dict)
    bias: Mapping[Any, np.ndarray] = dataclasses.field(default_factory=dict)
    shift: Mapping[Call, np.ndarray] = dataclasses.field(default_factory=dict)
    before: Mapping[Call, Callable[[Any], Any]] = dataclasses.field(default_factory=dict)
    of_weight: Callable[[Any, str, np.ndarray], np.ndarray] | None = None


def rebuild(graph: Graph, units: UnitMap, copies: np.ndarray, edit: Edit, *, suffix: str) -> keras.Model:
    """A new model with every unit as often as `copies` says; the given model's layers are not touched.

    Nested models are laid open. A layer keeps its name; where two of different nested models share one, the names of
    their models are put before it.

    Args:
      graph: of the given model.
      units: of the graph.
      copies: int [units.num_units].
      edit: what else changes.
      suffix: put behind the model's name.
    """
    selection = Selection(units, copies)
    names = unique_names(graph)
    taken = set(names.values())
    shifted = {id(call.operation) for call in edit.shift}
    made: dict[int, Any] = {}
    activations: dict[int, Any] = {}
    inputs = graph.copy_inputs()
    values: dict[TensorKey, Any] = dict(zip(graph.inputs, inputs, strict=True))
    for call in graph.calls:
        identity = id(call.operation)
        is_new = identity not in made
        rule = units.rules[identity]
        if is_new:
            made[identity] = _remake(call, rule, selection, names[identity], with_bias=call.operation in edit.bias)
            # The constant belongs before it, in every call of the layer.
            activations[identity] = _split_activation(made[identity]) if identity in shifted else None
        given = values
        if call in edit.before:
            (read,) = call.inputs
            given = {**values, read: edit.before[call](values[read])}
        outputs = call.run(given, inference=False, operation=made[identity])
        if is_new and isinstance(call.operation, keras.layers.Layer):
            _move_weights(call.operation, made[identity], rule, selection, edit)
        if call in edit.shift:
            name = _free(f"{names[identity]}_shift", taken)
            outputs = [_shifted(outputs[0], call, edit.shift[call], selection, name)]
        if activations[identity] is not None:
            name = _free(f"{names[identity]}_activation", taken)
            outputs = [
                keras.layers.Activation(activations[identity], dtype=call.operation.dtype_policy, name=name)(*outputs)
            ]
        values.update(zip(call.outputs, outputs, strict=True))
    name = f"{graph.model.name.removesuffix('_' + suffix)}_{suffix}"
    outputs = graph.pack_outputs([values[key] for key in graph.outputs])
    return keras.Model(graph.pack_inputs(inputs), outputs, name=name)


def unique_names(graph: Graph) -> dict[int, str]:
    """Identity of an operation -> its name in a rebuilt model, which no other has."""
    first = {id(call.operation): call for call in reversed(graph.calls)}
    plain = [call.operation.name for call in first.values()]
    taken = {name for name in plain if plain.count(name) == 1} | set(graph.input_names)
    names = {}
    for identity, call in first.items():
        name = call.operation.name
        if plain.count(name) > 1:
            name = _free(call.name.partition("#")[0].replace("/", "_"), taken)
        names[identity] = name
    return names


def _remake(call: Call, rule: Rule, selection: Selection, name: str, *, with_bias: bool) -> Any:
    operation = rule.remake(call, selection, use_bias=True) if with_bias else rule.remake(call, selection)
    if hasattr(operation, "name"):
        operation.name = name
    return operation


def _move_weights(
    old: keras.layers.Layer, new: keras.layers.Layer, rule: Rule, selection: Selection, edit: Edit
) -> None:
    """Give a new layer the old one's weights along the positions that are left."""
    if type(new) is keras.layers.Normalization:
        return
    axes = {id(getattr(old, name)): (name, axes) for name, axes in rule.weight_axes(old).items() if _has(old, name)}
    added = [] if old not in edit.bias or old.use_bias else [new.bias]
    made = [variable for variable in new.variables if not any(variable is other for other in added)]
    if len(old.variables) != len(made):
        raise ValueError(
            f"model: expected layers that make all their weights from their config, received {old.name!r}, which has "
            f"{len(old.variables)} and makes {len(made)}; give it get_config and build"
        )
    for before, after in zip(old.variables, made, strict=True):
        value = keras.ops.convert_to_numpy(before)
        name, slots = axes.get(id(before), ("", ()))
        # What reads last: a flattened map's kernel may be large, and units that are gone need no sums.
        for axis, slot in sorted(enumerate(slots), key=lambda place: place[1] == "in"):
            positions = None if slot is None else selection.slot(old, slot)
            if slot == "in" and old in edit.reading:
                value = change_rows(value, axis, edit.reading[old])
            elif positions is not None and (len(positions) != value.shape[axis] or selection.changes(old, slot)):
                value = np.take(value, positions, axis=axis)
        if name and edit.of_weight is not None:
            value = edit.of_weight(old, name, value)
        after.assign(value)
    if old in edit.bias:
        left = selection.slot(old, "out")
        new.bias.assign_add((edit.bias[old] if left is None else edit.bias[old][left]).astype("float32"))


def change_rows(kernel: np.ndarray, axis: int, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """A kernel whose rows along an axis are changed together, as `Edit.reading`."""
    moved = np.moveaxis(kernel, axis, 0)
    rows = change(moved.reshape(len(moved), -1).astype(np.float64))
    return np.moveaxis(rows.reshape(len(rows), *moved.shape[1:]), 0, axis).astype(kernel.dtype)


def _has(layer: Any, name: str) -> bool:
    return getattr(layer, name, None) is not None


def _free(name: str, taken: set[str]) -> str:
    """A name that is not taken, and is from now on: the given one, or with a number behind it."""
    numbered = (f"{name}_{i}" for i in itertools.count(2))
    found = next(free for free in itertools.chain([name], numbered) if free not in taken)
    taken.add(found)
    return found


def _split_activation(layer: Any) -> Any:
    """Take a layer's activation off; returns it, None for a linear one."""
    activation = getattr(layer, "activation", None)
    if activation is None or activation is keras.activations.linear:
        return None
    layer.activation = keras.activations.linear
    return activation


def _shifted(tensor: Any, call: Call, shift: np.ndarray, selection: Selection, name: str) -> Any:
    """A call's result plus a constant of the shape that one example had before."""
    for axis in range(1, shift.ndim + 1):
        left = selection.axis(call.outputs[0], axis)
        shift = shift if left is None else np.take(shift, left, axis=axis - 1)
    layer = PositionBias(dtype=call.operation.dtype_policy, name=name)
    tensor = layer(tensor)
    layer.bias.assign(np.broadcast_to(shift, layer.bias.shape))
    return tensor
