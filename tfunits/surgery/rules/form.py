"""Layers and operations that change the form of a tensor: pooling, reshaping, concatenating, slicing, reducing."""

from typing import TYPE_CHECKING, Any

import numpy as np

from tfunits.surgery.graph import Call
from tfunits.surgery.rules.base import PerUnit, Rule, check_arrays, combine
from tfunits.surgery.rules.kernels import channel_axis, fix_other_axes

if TYPE_CHECKING:
    from tfunits.surgery.rebuild import Selection
    from tfunits.surgery.units import UnitMap


class PerMap(Rule):
    """Pooling, padding, cropping, up-sampling: every channel's map on its own."""

    def couple(self, call: Call, units: "UnitMap") -> None:
        axis = channel_axis(call.operation, len(units.graph.shape(call.inputs[0])))
        fix_other_axes(call, units, axis)
        layout = list(units.no_units(call.outputs[0]))
        # Global pooling leaves examples and channels.
        layout[1 if len(layout) == 2 else axis] = units.layouts[call.inputs[0]][axis]
        units.set(call, layout)


class Reshape(Rule):
    """Reshape, Flatten, expand_dims, squeeze: the same numbers in another form."""

    def couple(self, call: Call, units: "UnitMap") -> None:
        (read,), (made,) = call.inputs, call.outputs
        before, layout = list(units.graph.shape(read)), list(units.layouts[read])
        is_flatten = type(call.operation).__name__ == "Flatten"
        if is_flatten and channel_axis(call.operation, len(before)) == 1 and len(before) > 1:
            # Keras moves the channels to the end first.
            before, layout = [before[0], *before[2:], before[1]], [None, *layout[2:], layout[1]]
        after = units.graph.shape(made)
        found: list[np.ndarray | None] = [None] * len(after)
        for axis, ids in enumerate(layout):
            if ids is None:
                continue
            place = _find_axis(ids, axis, before, after) or _tie_to_last(units, ids, axis, before, after)
            if place is None or found[place[0]] is not None:
                units.fix(ids, f"{call.name!r} spreads it over several axes")
            else:
                found[place[0]] = place[1]
                if not _keeps_copies(ids, axis, before, after, *place):
                    units.keep_single(ids, f"{call.name!r} puts copies away from their units")
        units.set(call, found)

    def remake(self, call: Call, selection: "Selection") -> Any:
        """With the sizes that are left, where the form is given by sizes."""
        operation = call.operation
        config = operation.get_config()
        (read,), (made,) = call.inputs, call.outputs
        shape = selection.shape(made)
        if "axis" in config and config["axis"] is None:
            # Squeezing must leave an axis of units of which one is left.
            sizes = selection.units.graph.shape(read)
            config["axis"] = [axis for axis, size in enumerate(sizes) if size == 1]
        if shape != selection.units.graph.shape(made):
            sizes = tuple(-1 if size is None else size for size in shape[1:])
            if "target_shape" in config:
                config["target_shape"] = sizes
            elif "newshape" in config:
                config["newshape"] = (-1, *sizes)
        return operation.__class__.from_config(config)


def _keeps_copies(
    ids: np.ndarray, axis: int, before: list[int | None], after: tuple[int | None, ...], place: int, made: np.ndarray
) -> bool:
    """Whether a copy right behind every unit stands right behind it in another form too."""
    twice = [np.repeat(2 * numbers, 2) + np.tile([0, 1], len(numbers)) for numbers in (ids, made)]
    shapes = [list(before), list(after)]
    for shape, changed in zip(shapes, (axis, place), strict=True):
        shape[changed] *= 2
    spread = _spread(twice[0], axis, *shapes)
    expected = twice[1].reshape([-1 if other == place - 1 else 1 for other in range(len(after) - 1)])
    return spread is not None and bool((spread == expected).all())


def _find_axis(
    ids: np.ndarray, axis: int, before: list[int | None], after: tuple[int | None, ...]
) -> tuple[int, np.ndarray] | None:
    """The axis along which the units of one axis stand in another form, and their order there."""
    spread = _spread(ids, axis, before, after)
    if spread is None:
        return None
    for place in range(spread.ndim):
        lines = np.moveaxis(spread, place, -1)
        first = lines.reshape(-1, spread.shape[place])[0]
        if (lines == first).all() and spread.shape[place] > 1:
            return place + 1, first
    # One unit alone: an axis of size 1.
    return None


def _tie_to_last(
    units: "UnitMap", ids: np.ndarray, axis: int, before: list[int | None], after: tuple[int | None, ...]
) -> tuple[int, np.ndarray] | None:
    """The last axis, where a vector of units becomes a map: those of one channel are made one unit."""
    spread = _spread(ids, axis, before, after)
    if spread is None or spread.ndim < 2 or spread.shape[-1] == 1:
        return None
    lines = spread.reshape(-1, spread.shape[-1])
    units.tie(np.tile(lines[0], len(lines)), lines.ravel(), "")
    return spread.ndim, lines[0]


def _spread(ids: np.ndarray, axis: int, before: list[int | None], after: tuple[int | None, ...]) -> np.ndarray | None:
    """The unit at every position of one example in another form; None where sizes are open or examples are mixed."""
    if None in before[1:] or None in after[1:] or np.prod(before[1:]) != np.prod(after[1:]):
        return None
    shape = [1] * len(before[1:])
    shape[axis - 1] = len(ids)
    return np.broadcast_to(ids.reshape(shape), before[1:]).reshape(after[1:])


class Permute(Rule):
    """Axes in another order."""

    def couple(self, call: Call, units: "UnitMap") -> None:
        layout = units.layouts[call.inputs[0]]
        order = _order(call.operation, len(layout))
        if order[0] != 0:
            units.fix_all(call.inputs[0], f"{call.name!r} moves the examples")
            layout = (None,) * len(layout)
        units.set(call, [layout[axis] for axis in order])


def _order(operation: Any, rank: int) -> list[int]:
    axes = list(range(rank))
    kind = type(operation).__name__
    if kind == "Permute":
        return [0, *operation.dims]
    if kind == "Transpose":
        return axes[::-1] if operation.axes is None else [axis % rank for axis in operation.axes]
    if kind == "Swapaxes":
        first, second = operation.axis1 % rank, operation.axis2 % rank
        axes[first], axes[second] = second, first
        return axes
    sources, places = (np.atleast_1d(given) % rank for given in (operation.source, operation.destination))
    moved = dict(zip(places.tolist(), sources.tolist(), strict=True))
    rest = iter(axis for axis in axes if axis not in moved.values())
    return [moved[place] if place in moved else next(rest) for place in axes]


class Repeat(Rule):
    """RepeatVector: [units] at every step."""

    def couple(self, call: Call, units: "UnitMap") -> None:
        units.set(call, [None, None, units.layouts[call.inputs[0]][-1]])


class Concatenate(Rule):
    """Units beside one another; along another axis than theirs, units at one position become one."""

    def couple(self, call: Call, units: "UnitMap") -> None:
        (made,) = call.outputs
        rank = len(units.graph.shape(made))
        joined = call.operation.axis % rank
        layout: list[np.ndarray | None] = [None] * rank
        for axis in range(1, rank):
            parts = [units.layouts[key][axis] for key in call.inputs]
            if all(ids is None for ids in parts):
                continue
            if axis != joined:
                layout[axis] = parts[0]
                for ids in parts[1:]:
                    layout[axis] = units.tie(layout[axis], ids, f"{call.name!r} puts it before what is no unit")
                continue
            for place, key in enumerate(call.inputs):
                if parts[place] is None:
                    # What is no unit keeps its place, under a number of its own.
                    parts[place] = units.make(units.graph.shape(key)[axis])
                    units.fix(parts[place], "it is no unit")
            layout[axis] = np.concatenate(parts)
        units.set(call, layout)


class Pass(PerUnit):
    """An operation of `keras.ops` on every number alone, or on pairs of them."""

    def couple(self, call: Call, units: "UnitMap") -> None:
        check_arrays(call, units)
        super().couple(call, units)


class AlongAxis(Rule):
    """Softmax and the like, which mix units along one axis."""

    def couple(self, call: Call, units: "UnitMap") -> None:
        layout = units.layouts[call.inputs[0]]
        axes = call.operation.axis
        axes = range(len(layout)) if axes is None else np.atleast_1d(axes)
        for axis in axes:
            units.fix(layout[axis], f"{call.name!r} mixes it with the others")
        units.set(call, combine(call, units))


class Reduce(Rule):
    """A mean, sum or extremum along axes; of a sum over units, a masked one adds nothing."""

    def couple(self, call: Call, units: "UnitMap") -> None:
        operation = call.operation
        layout = units.layouts[call.inputs[0]]
        axes = range(len(layout)) if operation.axis is None else np.atleast_1d(operation.axis) % len(layout)
        if 0 in axes:
            units.fix_all(call.inputs[0], f"{call.name!r} mixes examples")
            units.set(call, units.no_units(call.outputs[0]))
            return
        for axis in axes:
            if layout[axis] is None:
                continue
            if type(operation).__name__ == "Sum":
                units.read(call, int(axis), kind="other")
                units.keep_single(layout[axis], f"{call.name!r} adds all units")
            else:
                units.fix(layout[axis], f"{call.name!r} mixes it with the others")
        if operation.keepdims:
            units.set(call, [None if axis in axes else ids for axis, ids in enumerate(layout)])
        else:
            units.set(call, [ids for axis, ids in enumerate(layout) if axis not in axes])


class GetItem(Rule):
    """tensor[...] with slices: of units only a contiguous piece."""

    def couple(self, call: Call, units: "UnitMap") -> None:
        (read,), (made,) = call.inputs, call.outputs
        layout = units.layouts[read]
        keys = self._keys(call, len(layout))
        if keys is None or keys[0] != slice(None):
            units.fix_all(read, f"{call.name!r} picks single positions")
            units.set(call, units.no_units(made))
            return
        found = []
        for axis, (key, ids) in enumerate(zip(keys, layout, strict=True)):
            if isinstance(key, int):
                units.fix(ids, f"{call.name!r} picks it alone")
                continue
            if ids is not None and key.step not in (None, 1):
                units.fix(ids, f"{call.name!r} takes every {key.step}th")
                ids = None
            if ids is not None:
                self._check(units, call, ids, key, units.graph.shape(read)[axis])
            found.append(None if ids is None else ids[key])
        units.set(call, found)

    @staticmethod
    def _check(units: "UnitMap", call: Call, ids: np.ndarray, key: slice, size: int) -> None:
        if key.indices(size) != (0, size, 1) and len(np.unique(ids[key])) == 0:
            units.fix(ids, f"{call.name!r} takes nothing of it")

    @staticmethod
    def _keys(call: Call, rank: int) -> list[Any] | None:
        """One slice or whole number an axis; None for anything else."""
        arguments, options = call.arguments
        key = arguments[1] if len(arguments) > 1 else options.get("key")
        keys = list(key) if isinstance(key, tuple) else [key]
        if not all(k is Ellipsis or isinstance(k, slice | int) for k in keys) or keys.count(Ellipsis) > 1:
            return None
        if Ellipsis not in keys:
            keys.append(Ellipsis)
        place = keys.index(Ellipsis)
        keys[place : place + 1] = [slice(None)] * (rank - len(keys) + 1)
        return keys

    def remake(self, call: Call, selection: "Selection") -> Any:
        """The operation on what is left of the slices."""
        (read,) = call.inputs
        operation = super().remake(call, selection)
        keys = self._keys(call, len(selection.shape(read)))
        positions = [selection.axis(read, axis) for axis in range(len(selection.shape(read)))]
        if keys is None or all(p is None for p in positions):
            return operation
        for axis, kept in enumerate(positions):
            size = selection.units.graph.shape(read)[axis]
            # Other pieces than contiguous ones are of units that stay.
            if kept is not None and len(kept) != size and isinstance(keys[axis], slice):
                start, stop, _ = keys[axis].indices(size)
                keys[axis] = slice(int((kept < start).sum()), int((kept < stop).sum()))
        return lambda tensor, *_, **__: operation(tensor, tuple(keys))


class Split(Rule):
    """keras.ops.split: contiguous pieces of units."""

    def couple(self, call: Call, units: "UnitMap") -> None:
        layout = units.layouts[call.inputs[0]]
        axis = call.operation.axis % len(layout)
        start = 0
        for key in call.outputs:
            size = units.graph.shape(key)[axis]
            part = list(layout)
            part[axis] = None if layout[axis] is None else layout[axis][start : start + size]
            units.layouts[key] = tuple(part)
            start += size

    def remake(self, call: Call, selection: "Selection") -> Any:
        """With pieces of the sizes that are left."""
        operation = call.operation
        config = operation.get_config()
        axis = operation.axis % len(selection.shape(call.inputs[0]))
        if selection.axis(call.inputs[0], axis) is not None:
            sizes = [selection.shape(key)[axis] for key in call.outputs]
            config["indices_or_sections"] = [int(end) for end in np.cumsum(sizes)[:-1]]
        return operation.__class__.from_config(config)


class Padding(Rule):
    """keras.ops.pad along axes without units."""

    def couple(self, call: Call, units: "UnitMap") -> None:
        layout = list(units.layouts[call.inputs[0]])
        shape, made = units.graph.shape(call.inputs[0]), units.graph.shape(call.outputs[0])
        for axis, ids in enumerate(layout):
            if shape[axis] != made[axis] and ids is not None:
                units.fix(ids, f"{call.name!r} pads the axis of units")
                layout[axis] = None
        units.set(call, layout)


class Take(Rule):
    """Our TakeUnits: some units along the last axis, in a given order."""

    def couple(self, call: Call, units: "UnitMap") -> None:
        layout = list(units.layouts[call.inputs[0]])
        if layout[-1] is not None:
            layout[-1] = layout[-1][call.operation.indices]
        units.set(call, layout)

    def resize(self, call: Call, config: dict[str, Any], selection: "Selection") -> None:
        before, after = (selection.axis(key, -1) for key in (call.inputs[0], call.outputs[0]))
        if before is not None and after is not None:
            taken = np.array(call.operation.indices)[after]
            # Of a unit that is there several times, each copy in turn.
            nth = np.concatenate([np.arange(count) for count in np.unique(after, return_counts=True)[1]])
            config["indices"] = (np.searchsorted(before, taken) + nth).tolist()


class Mask(PerUnit):
    """Our ChannelMask: constants, one a unit or one a position and unit."""

    def couple(self, call: Call, units: "UnitMap") -> None:
        super().couple(call, units)
        units.slot(call.operation, "units", units.layouts[call.inputs[0]][-1])

    def resize(self, call: Call, config: dict[str, Any], selection: "Selection") -> None:
        positions = selection.slot(call.operation, "units")
        if positions is not None:
            config["mask"] = np.take(call.operation.mask, positions, axis=-1).tolist()


class Drop(PerUnit):
    """Dropout whose noise may have a shape of its own."""

    def __init__(self) -> None:
        super().__init__()

    def resize(self, call: Call, config: dict[str, Any], selection: "Selection") -> None:
        shape = config.get("noise_shape")
        if shape is not None:
            left = [selection.axis(call.inputs[0], axis) for axis in range(len(shape))]
            config["noise_shape"] = [
                size if kept is None or size in (None, 1) else len(kept) for size, kept in zip(shape, left, strict=True)
            ]


class Scale(PerUnit):
    """Rescaling: by numbers, or by one number a channel, which then stay."""

    def couple(self, call: Call, units: "UnitMap") -> None:
        if np.size(call.operation.scale) > 1 or np.size(call.operation.offset) > 1:
            units.fix_all(call.inputs[0], f"{call.name!r} scales every channel by another number")
        super().couple(call, units)
