"""Normalisations. Those over units keep the count, the windows and the groups that they were made with."""

from typing import TYPE_CHECKING, Any

import keras

from tfunits.layers import (
    CountedGroupNormalization,
    CountedLayerNormalization,
    CountedRMSNormalization,
    LocalResponseNormalization,
)
from tfunits.surgery.graph import Call
from tfunits.surgery.rules.base import PerUnit, Rule, WeightAxes, combine

if TYPE_CHECKING:
    from tfunits.surgery.rebuild import Selection
    from tfunits.surgery.units import UnitMap

# Options of Keras' normalisations that the counted ones share.
_SHARED = frozenset(
    {
        *("name", "trainable", "dtype", "epsilon", "center", "scale", "beta_initializer", "gamma_initializer"),
        *("beta_regularizer", "gamma_regularizer", "beta_constraint", "gamma_constraint"),
    }
)

# What these make of a unit at 0 depends on the others.
_CENTRED = (
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
    CountedLayerNormalization,
    CountedGroupNormalization,
)


def _axes(layer: Any, rank: int) -> list[int]:
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    return [axis % rank for axis in axes]


class BatchNorm(Rule):
    """Batch normalisation: every unit on its own, with statistics along one axis."""

    def couple(self, call: Call, units: "UnitMap") -> None:
        (axis,) = _axes(call.operation, len(units.graph.shape(call.inputs[0])))
        layout = units.layouts[call.inputs[0]]
        for other, ids in enumerate(layout):
            if other != axis:
                units.fix(ids, f"{call.name!r} takes its statistics over it")
        units.slot(call.operation, "units", layout[axis])
        units.set(call, [ids if other == axis else None for other, ids in enumerate(layout)])

    def weight_axes(self, layer: Any) -> WeightAxes:
        return dict.fromkeys(("gamma", "beta", "moving_mean", "moving_variance"), ("units",))


class InputNormalization(Rule):
    """Keras' Normalization: constants or adapted statistics along axes of the input."""

    def couple(self, call: Call, units: "UnitMap") -> None:
        units.fix_all(call.inputs[0], f"{call.name!r} holds statistics of the input")
        units.set(call, units.layouts[call.inputs[0]])

    def weight_axes(self, layer: Any) -> WeightAxes:
        return {"adapt_mean": (None,), "adapt_variance": (None,), "count": ()}

    def remake(self, call: Call, selection: "Selection") -> Any:
        """The layer with its statistics as constants."""
        layer = call.operation
        config = layer.get_config()
        # Statistics that were adapted are laid out for broadcasting, [1, ..., units].
        mean, variance = (keras.ops.convert_to_numpy(value) for value in (layer.mean, layer.variance))
        kept = [axis % (mean.ndim or 1) for axis in _axes(layer, mean.ndim or 1)] if layer.axis else []
        shape = [mean.shape[axis] for axis in sorted(kept)] if mean.ndim else []
        config.update(mean=mean.reshape(shape).tolist(), variance=variance.reshape(shape).tolist())
        return layer.__class__.from_config(config)


class Counted(Rule):
    """Layer, RMS and group normalisation and response normalisation, which mix units; a masked unit counts as 0.

    They may only run over the units, and over positions where the layer is a group normalisation.
    """

    def couple(self, call: Call, units: "UnitMap") -> None:
        layer = call.operation
        rank = len(units.graph.shape(call.inputs[0]))
        # Response normalisation has no axis: it runs over the last.
        axes = _axes(layer, rank) if hasattr(layer, "axis") else [rank - 1]
        layout = units.layouts[call.inputs[0]]
        if len(axes) > 1 or (self._needs_last(layer) and axes[0] != rank - 1):
            for axis in axes:
                units.fix(layout[axis], f"{call.name!r} normalises several axes, or another than the last")
        elif getattr(layer, "rms_scaling", False):
            units.fix(layout[axes[0]], f"{call.name!r} scales by the deviation; use RMSNormalization")
        elif self._mixes(layer, units.graph.shape(call.inputs[0])[axes[0]]):
            is_response = isinstance(layer, LocalResponseNormalization)
            units.read(call, axes[0], kind="response" if is_response else "other")
            if isinstance(layer, _CENTRED):
                units.modulate(layout[axes[0]], call.name)
        if self._has_positions(layer):
            for axis in set(range(rank)) - set(axes):
                units.fix(layout[axis], f"{call.name!r} takes it for a position")
        units.slot(layer, "units", layout[axes[0]] if len(axes) == 1 else None)
        units.set(call, layout)

    @staticmethod
    def _needs_last(layer: Any) -> bool:
        return not isinstance(layer, keras.layers.GroupNormalization | CountedGroupNormalization)

    @staticmethod
    def _has_positions(layer: Any) -> bool:
        return isinstance(layer, keras.layers.GroupNormalization | CountedGroupNormalization)

    @staticmethod
    def _mixes(layer: Any, num_units: int) -> bool:
        """Whether units depend on others; with one unit a group they do not."""
        return not isinstance(layer, keras.layers.GroupNormalization) or layer.groups not in (-1, num_units)

    def weight_axes(self, layer: Any) -> WeightAxes:
        return {name: ("units",) for name in ("gamma", "beta", "scale") if hasattr(layer, name)}

    def remake(self, call: Call, selection: "Selection") -> Any:
        """The same layer where its units stay; else one that counts as the first one did."""
        layer = call.operation
        positions = selection.slot(layer, "units")
        if positions is None or not selection.changes(layer, "units"):
            return super().remake(call, selection)
        is_counted = ~selection.is_copy(layer, "units")
        config = layer.get_config()
        if isinstance(layer, LocalResponseNormalization):
            places = layer.places if layer.places is not None else range(selection.num_before(layer, "units"))
            counts = layer.counted if layer.counted is not None else [True] * len(places)
            config["places"] = [places[p] for p in positions]
            config["counted"] = [bool(counts[p] and c) for p, c in zip(positions, is_counted, strict=True)]
            return LocalResponseNormalization.from_config(config)
        if isinstance(layer, keras.layers.GroupNormalization) and not self._mixes(
            layer, selection.num_before(layer, "units")
        ):
            return layer.__class__.from_config({**config, "groups": -1})
        own = {key: value for key, value in config.items() if key in _SHARED}
        if hasattr(layer, "counted"):
            own.update({key: config[key] for key in ("num_counted", "groups", "axis") if key in config})
            counted = layer.counted
        else:
            own["num_counted"] = selection.num_before(layer, "units")
            counted = [True] * own["num_counted"]
        own["counted"] = [bool(counted[p] and c) for p, c in zip(positions, is_counted, strict=True)]
        if isinstance(layer, keras.layers.GroupNormalization):
            own["num_counted"] //= layer.groups
            own["axis"] = layer.axis
            own["groups"] = [int(p) // own["num_counted"] for p in positions]
            return CountedGroupNormalization(**own)
        if isinstance(layer, CountedGroupNormalization):
            own["groups"] = [layer.groups[p] for p in positions]
            return CountedGroupNormalization(**own)
        if isinstance(layer, keras.layers.RMSNormalization | CountedRMSNormalization):
            return CountedRMSNormalization(**own)
        return CountedLayerNormalization(**own)


class UnitNorm(Rule):
    """Division by the length of the vector of units: a masked unit adds nothing to it."""

    def couple(self, call: Call, units: "UnitMap") -> None:
        rank = len(units.graph.shape(call.inputs[0]))
        for axis in _axes(call.operation, rank):
            ids = units.read(call, axis, kind="other")
            units.keep_single(ids, f"{call.name!r} divides by the length of all units")
        units.set(call, combine(call, units))


class ParametricReLU(PerUnit):
    """PReLU: a slope for every unit, or for every position too."""

    def __init__(self) -> None:
        super().__init__("alpha")

    def couple(self, call: Call, units: "UnitMap") -> None:
        for ids in units.layouts[call.inputs[0]][:-1]:
            units.fix(ids, f"{call.name!r} has slopes along the last axis only")
        super().couple(call, units)
