"""What a rule is: how a layer passes units on, and how it is made again with fewer or more of them."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from tfunits.surgery.graph import Call

if TYPE_CHECKING:
    from tfunits.surgery.rebuild import Selection
    from tfunits.surgery.units import UnitMap

# Names of the axes of each of a layer's weights; None along an axis that holds no units.
WeightAxes = Mapping[str, tuple[str | None, ...]]


class Rule:
    """How one kind of layer passes units on. Without weights and with all units kept apart, only `couple` differs."""

    def couple(self, call: Call, units: "UnitMap") -> None:
        """Write the layouts of the call's outputs, and tie or fix units where the call does."""
        raise NotImplementedError

    def weight_axes(self, layer: Any) -> WeightAxes:
        """Attribute that holds a weight -> names of the slots along its axes."""
        del layer
        return {}

    def resize(self, call: Call, config: dict[str, Any], selection: "Selection") -> None:
        """Change a layer's config, in place, to the units that are left."""

    def remake(self, call: Call, selection: "Selection", **options: Any) -> Any:
        """A new operation, without weights yet, for the units that are left; options replace those of its config."""
        activation = getattr(call.operation, "activation", None)
        is_layer = isinstance(activation, keras.layers.Layer)
        if is_layer and activation.variables:
            raise ValueError(
                f"model: expected activations without weights, received {call.name!r} with a "
                f"{type(activation).__name__} inside; make it a layer behind"
            )

        def change(config: dict[str, Any]) -> None:
            self.resize(call, config, selection)
            config.update(options)

        return remake_layer(call, change)


def remake_layer(call: Call, change: Callable[[dict[str, Any]], None]) -> Any:
    """A call's operation made again, without weights yet, from its config once that is changed in place.

    Raises:
      ValueError: a layer that cannot be made again.
    """
    try:
        config = call.operation.get_config()
        # A function of the user's own has no name by which a config could find it.
        config.update({name: value for name, value in _functions(call.operation).items() if name in config})
        change(config)
        return call.operation.__class__.from_config(config)
    except (TypeError, NotImplementedError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"model: expected layers that can be made again from their config, received {call.name!r} of "
            f"{type(call.operation).__name__}, which cannot ({reason}); give it get_config"
        ) from None


def _functions(operation: Any) -> dict[str, Any]:
    """Options of an operation that are functions without weights: activations, initialisers, regularisers, ..."""
    kinds = ("activation", "initializer", "regularizer", "constraint")
    found = {name: getattr(operation, name, None) for name in dir(operation) if name.endswith(kinds)}
    return {
        name: value for name, value in found.items() if callable(value) and not isinstance(value, keras.layers.Layer)
    }


class PerPosition(Rule):
    """Our PositionBias: a weight of the shape of one example."""

    def couple(self, call: Call, units: "UnitMap") -> None:
        layout = units.layouts[call.inputs[0]]
        for axis, ids in enumerate(layout):
            units.slot(call.operation, f"axis {axis}", ids)
        units.set(call, layout)

    def weight_axes(self, layer: Any) -> WeightAxes:
        return {"bias": tuple(f"axis {axis + 1}" for axis in range(len(layer.bias.shape)))}


class Unknown(Rule):
    """A layer that nothing is known of: all that it reads must stay, and what it makes are no units."""

    def couple(self, call: Call, units: "UnitMap") -> None:
        kind = type(call.operation).__name__
        for key in call.inputs:
            units.fix_all(
                key, f"{call.name!r} reads it, a {kind} that no rule knows; tfunits.surgery.register one, or keep it"
            )
        for key in call.outputs:
            units.layouts[key] = units.no_units(key)


class Lambda(Unknown):
    """A function as a layer, which Keras would not make again from its config without being told to trust it."""

    def remake(self, call: Call, selection: "Selection") -> Any:
        layer = call.operation
        return keras.layers.Lambda(
            layer.function, layer._output_shape, layer.mask, layer.arguments, name=layer.name, dtype=layer.dtype_policy
        )


class PerUnit(Rule):
    """Each unit of the result depends on the same unit of each input alone; sizes broadcast as in numpy.

    Args:
      *weights: attributes that hold a weight whose last axis is the units'; attributes that are None are passed over.
      size: the option of the layer that holds the number of units, if it has one.

    Example:
      >>> rule = PerUnit("gamma", "beta", size="num_units")  # for `register`
    """

    def __init__(self, *weights: str, size: str | None = None) -> None:
        self._weights, self._size = weights, size

    def couple(self, call: Call, units: "UnitMap") -> None:
        layout = combine(call, units)
        if any("units" in axes for axes in self.weight_axes(call.operation).values()):
            units.slot(call.operation, "units", layout[-1])
        # A weight of size 1 is one unit's, or that of all.
        if self._weights and layout[-1] is not None and len(layout[-1]) == 1:
            units.slot(call.operation, "single", layout[-1])
        units.set(call, layout)

    def weight_axes(self, layer: Any) -> WeightAxes:
        found = {}
        for name in self._weights:
            weight = getattr(layer, name, None)
            if weight is not None:
                last = "units" if weight.shape[-1] > 1 else "single"
                found[name] = (None,) * (len(weight.shape) - 1) + (last,)
        return found

    def resize(self, call: Call, config: dict[str, Any], selection: "Selection") -> None:
        positions = selection.slot(call.operation, "units")
        if self._size is not None and positions is not None:
            config[self._size] = len(positions)


def combine(call: Call, units: "UnitMap") -> list[np.ndarray | None]:
    """Layout of what a call makes of its inputs element by element; units at one position become one."""
    (made,) = call.outputs
    rank = len(units.graph.shape(made))
    layout: list[np.ndarray | None] = [None] * rank
    for axis in range(1, rank):
        parts, is_modulated = [], False
        for key in dict.fromkeys(call.inputs):
            own = axis - rank + len(units.graph.shape(key))
            ids = units.layouts[key][own] if own > 0 else None
            if own > 0 and units.graph.shape(key)[own] == units.graph.shape(made)[axis]:
                parts.append(ids)
            else:
                units.fix(ids, f"{call.name!r} spreads it over other units")
                is_modulated = True
        if any(ids is not None for ids in parts):
            layout[axis] = parts[0]
            for ids in parts[1:]:
                layout[axis] = units.tie(layout[axis], ids, f"{call.name!r} combines it with what is no unit")
        if is_modulated:
            units.modulate(layout[axis], call.name)
    return layout


def check_arrays(call: Call, units: "UnitMap") -> None:
    """Fix units that a call combines with an array of constants, one a unit."""
    arguments, options = call.arguments
    given = [*arguments, *options.values(), *vars(call.operation).values()]
    arrays = [a for a in given if hasattr(a, "shape") or (isinstance(a, list | tuple) and _is_numbers(a))]
    if any(np.prod(np.shape(a)) > 1 for a in arrays if not isinstance(a, keras.KerasTensor)):
        for key in call.inputs:
            units.fix_all(key, f"{call.name!r} combines it with an array of constants; make it a layer's weight")


def _is_numbers(values: list | tuple) -> bool:
    return all(isinstance(value, int | float) for value in keras.tree.flatten(values))
