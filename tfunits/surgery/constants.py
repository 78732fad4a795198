"""Constants that layers read, moved into what these layers add."""

import collections
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tfunits.surgery.graph import Call, Graph, TensorKey
from tfunits.surgery.rules.base import remake_layer
from tfunits.surgery.units import Read, UnitMap

# Sums of float32 at different positions are equal to about this share.
_SAME = 1e-5


def place_constants(
    units: UnitMap, constants: Mapping[Read, np.ndarray], masked: np.ndarray | None = None
) -> tuple[dict[Any, np.ndarray], dict[Call, np.ndarray]]:
    """What layers make of constants that they read: what goes into their biases, and what differs by position.

    Args:
      units: of the graph.
      constants: a call that reads units -> constant [1, ...] of the tensor's shape, 0 where units are none.
      masked: the units that are constants behind a mask; None where constants are fitted to what is read.

    Returns: (layer -> constant for its bias, call -> constant of the shape of one result).

    Raises:
      ValueError: a call that cannot take a constant in.
    """
    found: dict[Any, dict[Call, np.ndarray]] = collections.defaultdict(dict)
    for read, constant in constants.items():
        if not constant.any():
            continue
        if masked is not None:
            _check_constant(units, masked, read)
        found[read.call.operation][read.call] = _linear_part(read.call, constant)[0]
    bias: dict[Any, np.ndarray] = {}
    shift: dict[Call, np.ndarray] = {}
    times_called = collections.Counter(call.operation for call in units.graph.calls)
    for layer, parts in found.items():
        axis = dict(units.sources)[next(iter(parts))]
        lines = np.concatenate([np.moveaxis(p, axis - 1, -1).reshape(-1, p.shape[axis - 1]) for p in parts.values()])
        # Where neither padding nor the call makes a difference, it goes into the layer's own bias.
        if times_called[layer] == len(parts) and np.ptp(lines, axis=0).max() <= _SAME * np.abs(lines).max():
            bias[layer] = lines.mean(axis=0)
        else:
            shift.update(parts)
    return bias, shift


def known_shape(graph: Graph, key: TensorKey) -> tuple[int, ...]:
    """The shape of one example of a tensor; `ValueError` where a size is not known."""
    shape = graph.shape(key)[1:]
    if None in shape:
        raise ValueError(
            f"model: expected inputs of known size to follow constants, received {shape}; build it with a fixed one"
        )
    return shape


def _check_constant(units: UnitMap, removed: np.ndarray, read: Read) -> None:
    ids = units.layouts[read.key][read.axis]
    gone = ids[removed[ids]].tolist()
    by = [units.modulated[number] for number in gone if number in units.modulated]
    if read.kind not in ("kernel", "affine") or by:
        raise ValueError(
            f"{read.call.name}: expected a dense layer or convolution that can take a constant into its bias, received "
            + (f"units that {by[0]!r} changes by example" if by else f"a {type(read.call.operation).__name__}")
            + "; use masked_at='reader'"
        )


def _linear_part(call: Call, constant: np.ndarray) -> np.ndarray:
    """What a layer makes of a constant, without bias and activation."""
    layer = call.operation
    # In the precision of the weights, since half of it would lose small constants.
    linear = remake_layer(call, lambda config: config.update(activation=None, dtype=layer.variable_dtype))
    linear.build(constant.shape)
    for before, after in zip(layer.variables, linear.variables, strict=True):
        after.assign(before)
    found = [keras.ops.convert_to_numpy(linear(given)).astype(np.float64) for given in (constant, 0 * constant)]
    return found[0] - found[1]
