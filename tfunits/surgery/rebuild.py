"""A model made again with fewer or more units, or with other weights between them."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from tfunits.layers import PositionBias
from tfunits.surgery.graph import Call, Graph, TensorKey, as_functional
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
      reading: a layer that reads units -> matrix [units before, units now] that its kernel is multiplied with:
        kernel' = matrix^T kernel.
      bias: a layer that makes units -> constant that is added to its bias, one a unit before.
      shift: call -> constant that is added to its linear part, of the shape of one example before.
      before: call -> layer that is put before it.
      of_weight: (layer, name of the weight, value along whose axes units are chosen already) -> value.
    """

    reading: Mapping[Any, np.ndarray] = dataclasses.field(default_factory=dict)
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
    names = _unique_names(graph)
    made: dict[int, Any] = {}
    inputs = [keras.Input(batch_shape=t.shape, dtype=t.dtype, name=t.name) for t in graph.model.inputs]
    values: dict[TensorKey, Any] = dict(zip(graph.inputs, inputs, strict=True))
    for call in graph.calls:
        identity = id(call.operation)
        is_new = identity not in made
        rule = units.rules[identity]
        if is_new:
            made[identity] = _remake(call, rule, selection, names[identity], with_bias=call.operation in edit.bias)
        given = values
        if call in edit.before:
            (read,) = call.inputs
            given = {**values, read: edit.before[call](values[read])}
        shift = edit.shift.get(call)
        activation = _split_activation(made[identity]) if shift is not None else None
        outputs = call.run(given, inference=False, operation=made[identity])
        if is_new and isinstance(call.operation, keras.layers.Layer):
            _move_weights(call.operation, made[identity], rule, selection, edit)
        if shift is not None:
            for axis in range(1, shift.ndim + 1):
                left = selection.axis(call.outputs[0], axis)
                shift = shift if left is None else np.take(shift, left, axis=axis - 1)
            outputs = [_shifted(outputs[0], shift, activation, names[identity])]
        values.update(zip(call.outputs, outputs, strict=True))
    functional = as_functional(graph.model)
    outputs = keras.tree.pack_sequence_as(functional._outputs_struct, [values[key] for key in graph.outputs])
    given = keras.tree.pack_sequence_as(functional._inputs_struct, inputs)
    return keras.Model(given, outputs, name=f"{graph.model.name.removesuffix('_' + suffix)}_{suffix}")


def _unique_names(graph: Graph) -> dict[int, str]:
    """Identity of an operation -> a name that no other has."""
    first = {id(call.operation): call for call in reversed(graph.calls)}
    plain = [call.operation.name for call in first.values()]
    taken = {name for name in plain if plain.count(name) == 1} | {tensor.name for tensor in graph.model.inputs}
    names = {}
    for identity, call in first.items():
        name = call.operation.name
        if plain.count(name) > 1:
            full = call.name.partition("#")[0].replace("/", "_")
            name = next(
                n for n in itertools.chain([full], (f"{full}_{i}" for i in itertools.count(2))) if n not in taken
            )
            taken.add(name)
        names[identity] = name
    return names


def _remake(call: Call, rule: Rule, selection: Selection, name: str, *, with_bias: bool) -> Any:
    operation = rule.remake(call, selection)
    if with_bias and not operation.use_bias:
        operation = operation.__class__.from_config({**operation.get_config(), "use_bias": True})
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
        for axis, slot in enumerate(slots):
            positions = None if slot is None else selection.slot(old, slot)
            if slot == "in" and old in edit.reading:
                matrix = edit.reading[old]
                moved = np.tensordot(matrix.T, value.astype(np.float64), axes=(1, axis))
                value = np.moveaxis(moved, 0, axis).astype(value.dtype)
            elif positions is not None and (len(positions) != value.shape[axis] or selection.changes(old, slot)):
                value = np.take(value, positions, axis=axis)
        if name and edit.of_weight is not None:
            value = edit.of_weight(old, name, value)
        after.assign(value)
    if old in edit.bias:
        left = selection.slot(old, "out")
        new.bias.assign_add((edit.bias[old] if left is None else edit.bias[old][left]).astype("float32"))


def _has(layer: Any, name: str) -> bool:
    return getattr(layer, name, None) is not None


def _split_activation(layer: Any) -> Any:
    """Take a layer's activation off; returns it."""
    activation = getattr(layer, "activation", None)
    if activation is not None:
        layer.activation = keras.activations.linear
    return activation


def _shifted(tensor: Any, shift: np.ndarray, activation: Any, name: str) -> Any:
    """A tensor plus a constant, and the activation behind it."""
    layer = PositionBias(name=f"{name}_shift")
    tensor = layer(tensor)
    layer.bias.assign(np.broadcast_to(shift, layer.bias.shape))
    if activation is None or activation is keras.activations.linear:
        return tensor
    return keras.layers.Activation(activation, name=f"{name}_activation")(tensor)
