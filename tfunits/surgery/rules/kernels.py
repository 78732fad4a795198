"""Layers that multiply units with a kernel, and make new ones."""

import functools
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from tfunits.surgery.graph import Call
from tfunits.surgery.rules.base import Rule, WeightAxes
from tfunits.surgery.taps import activation_name

if TYPE_CHECKING:
    from tfunits.surgery.rebuild import Selection
    from tfunits.surgery.units import UnitMap

# Values that tell an activation of every number alone from one that mixes units: both signs, all sizes.
_PROBE = np.random.default_rng(0).normal(scale=2.0, size=(16, 8)).astype("float32")


def channel_axis(layer: Any, rank: int) -> int:
    """The axis of a layer's channels, by its data format."""
    return 1 if getattr(layer, "data_format", None) == "channels_first" else rank - 1


def fix_other_axes(call: Call, units: "UnitMap", axis: int) -> None:
    """Fix units along the axes that a layer takes for positions."""
    for other, ids in enumerate(units.layouts[call.inputs[0]]):
        if other != axis:
            units.fix(ids, f"{call.name!r} takes it for a position")


def check_activation(call: Call, units: "UnitMap", ids: np.ndarray | None) -> None:
    """Fix units whose activation depends on the others."""
    activation = getattr(call.operation, "activation", None)
    if activation is not None and not _is_per_unit(activation):
        units.fix(ids, f"the activation {activation_name(call.operation)} of {call.name!r} mixes it with the others")


@functools.lru_cache(maxsize=256)
def _is_per_unit(activation: Any) -> bool:
    """Whether an activation gives some units what it gives them among others."""
    if activation is keras.activations.linear:
        return True
    try:
        whole, part = (keras.ops.convert_to_numpy(activation(given)) for given in (_PROBE, _PROBE[:, 1::2]))
    # A function of the user's own may fail on another number of units than its own in any way.
    except Exception:
        return False
    return whole.shape == _PROBE.shape and np.allclose(whole[:, 1::2], part, rtol=1e-5, atol=1e-6)


class Activation(Rule):
    """An activation as a layer."""

    def couple(self, call: Call, units: "UnitMap") -> None:
        check_activation(call, units, units.layouts[call.inputs[0]][-1])
        units.set(call, units.layouts[call.inputs[0]])


class Kernel(Rule):
    """A dense layer, or a convolution or its transpose, with one kernel.

    Args:
      axes: names of the kernel's last two axes.
      size: the option that holds the number of units.
      is_dense: whether other axes than the last are independent examples, and not positions of a map.
      kernel, bias: the attributes that hold them. Only of a layer that calls them so, and has the options `use_bias`
        and `activation`, can other units' weights be folded into the kernel.
    """

    def __init__(
        self, *axes: str, size: str, is_dense: bool = False, kernel: str = "kernel", bias: str = "bias"
    ) -> None:
        self._axes, self._size, self._is_dense = axes, size, is_dense
        self._kernel, self._bias = kernel, bias

    def couple(self, call: Call, units: "UnitMap") -> None:
        layer = call.operation
        (read,) = call.inputs
        rank = len(units.graph.shape(read))
        axis = channel_axis(layer, rank)
        if not self._is_dense:
            fix_other_axes(call, units, axis)
        count, groups = getattr(layer, self._size), getattr(layer, "groups", 1)
        num_read = units.graph.shape(read)[axis]
        layout = list(units.layouts[read]) if self._is_dense else [None] * rank
        if groups > 1 and groups == num_read:
            # Every group has one channel: a depthwise convolution under another name.
            layout[axis] = follow_multiplier(call, units, axis, count // groups)
        else:
            ids = units.layouts[read][axis]
            is_standard = self._kernel == "kernel" and {"activation", "use_bias"} <= set(layer.get_config())
            units.read(call, axis, kind=("kernel" if groups == 1 else "affine") if is_standard else "other")
            if ids is not None:
                first = ids.reshape(groups, -1)[0]
                units.tie(np.tile(first, groups), ids, "")
                units.slot(layer, "in", first)
            else:
                units.slot(layer, "in", None)
            made = units.slot(layer, "out", lambda: units.make(count))
            units.tie(np.tile(made.reshape(groups, -1)[0], groups), made, "")
            layout[axis] = made
            units.sources.append((call, axis))
            check_activation(call, units, made)
        units.set(call, layout)

    def weight_axes(self, layer: Any) -> WeightAxes:
        rank = len(getattr(layer, self._kernel).shape)
        return {self._kernel: (None,) * (rank - 2) + self._axes, self._bias: ("out",)}

    def resize(self, call: Call, config: dict[str, Any], selection: "Selection") -> None:
        made = selection.slot(call.operation, "out")
        if made is not None:
            config[self._size] = len(made)
        depthwise = selection.slot(call.operation, "units")
        if depthwise is not None:
            config["groups"] = len(depthwise)


def follow_multiplier(call: Call, units: "UnitMap", axis: int, multiplier: int) -> np.ndarray | None:
    """Units behind a depthwise convolution, which makes `multiplier` of each that it reads."""
    ids = units.slot(call.operation, "units", units.layouts[call.inputs[0]][axis])
    made = units.slot(call.operation, "out", None if ids is None else np.repeat(ids, multiplier))
    if ids is None:
        return None
    if multiplier > 1:
        units.keep_single(ids, f"{call.name!r} has a depth multiplier")
    check_activation(call, units, made)
    return made


class Depthwise(Rule):
    """A depthwise convolution: every channel on its own."""

    def couple(self, call: Call, units: "UnitMap") -> None:
        rank = len(units.graph.shape(call.inputs[0]))
        axis = channel_axis(call.operation, rank)
        fix_other_axes(call, units, axis)
        layout: list[np.ndarray | None] = [None] * rank
        layout[axis] = follow_multiplier(call, units, axis, call.operation.depth_multiplier)
        units.set(call, layout)

    def weight_axes(self, layer: Any) -> WeightAxes:
        return {"kernel": (None,) * (len(layer.kernel.shape) - 2) + ("units", None), "bias": ("out",)}


class Separable(Rule):
    """A depthwise convolution and a pointwise one in one layer."""

    def couple(self, call: Call, units: "UnitMap") -> None:
        layer = call.operation
        rank = len(units.graph.shape(call.inputs[0]))
        axis = channel_axis(layer, rank)
        fix_other_axes(call, units, axis)
        ids = units.read(call, axis, kind="affine")
        units.slot(layer, "in", ids)
        if ids is not None:
            units.slot(layer, "between", np.repeat(ids, layer.depth_multiplier))
            if layer.depth_multiplier > 1:
                units.keep_single(ids, f"{call.name!r} has a depth multiplier")
        layout: list[np.ndarray | None] = [None] * rank
        layout[axis] = units.slot(layer, "out", lambda: units.make(layer.filters))
        units.sources.append((call, axis))
        check_activation(call, units, layout[axis])
        units.set(call, layout)

    def weight_axes(self, layer: Any) -> WeightAxes:
        positions = (None,) * (len(layer.depthwise_kernel.shape) - 2)
        return {
            "depthwise_kernel": (*positions, "in", None),
            "pointwise_kernel": (*positions, "between", "out"),
            "bias": ("out",),
        }

    def resize(self, call: Call, config: dict[str, Any], selection: "Selection") -> None:
        config["filters"] = len(selection.slot(call.operation, "out"))


class Embedding(Rule):
    """Rows of a table; its columns are units."""

    def couple(self, call: Call, units: "UnitMap") -> None:
        layer = call.operation
        made = units.slot(layer, "out", lambda: units.make(layer.output_dim))
        for key in call.inputs:
            units.fix_all(key, f"{call.name!r} takes it for a row's number")
        units.sources.append((call, len(units.graph.shape(call.outputs[0])) - 1))
        units.set(call, [*units.no_units(call.outputs[0])[:-1], made])

    def weight_axes(self, layer: Any) -> WeightAxes:
        return {"embeddings": (None, "out")}

    def resize(self, call: Call, config: dict[str, Any], selection: "Selection") -> None:
        config["output_dim"] = len(selection.slot(call.operation, "out"))
