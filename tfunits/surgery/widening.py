"""Wider models that compute the same function."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfunits.surgery.choice import find_units
from tfunits.surgery.graph import Graph, as_functional
from tfunits.surgery.rebuild import Edit, copy_numbers, rebuild
from tfunits.surgery.units import UnitMap

WIDENINGS = ("balanced", "blocked_copy", "blocked_new", "silent", "split")
# Weights of per-unit layers that are 0 for a silent unit, whose activation is then 0 from here on.
_ADDED = ("beta", "bias", "gamma", "moving_mean", "scale")
# Largest share of its output by which a widened model may differ.
_SAME = 1e-3


def widen(
    model: keras.Model,
    how: str = "split",
    *,
    layers: Sequence[str] | None = None,
    factor: float = 2.0,
    offset: float = 1.0,
    seed: int = 0,
) -> keras.Model:
    """A wider model that computes the same function, to rounding.

      split         [u, u] with [w/2, w/2]: copies that share the outgoing weights
      balanced      [u, u] with [w/2 + b, w/2 - b]: copies whose outgoing weights cancel
      blocked_copy  [u, u] with [w, 0]: copies that nothing reads
      blocked_new   [u, v] with [w, 0]: new units that nothing reads
      silent        [u, 0] with [w, w]: units that are always 0

    Of n units there are then int(n factor), the copies of a unit right behind it: floor(factor) of each, one more of
    the first int(n factor) - n floor(factor). With more than two of a unit, weights are shared by all, and offsets
    spread from b to -b. Response, layer, RMS and group normalisation do not count copies. Units that are tied are
    widened together, and n counts each of them once. The same offset reaches all results of a reader, so that in the
    layer before the class scores "balanced" changes no class when units are masked.

    Args:
      model: a functional model.
      how: one of the five.
      layers: names of the layers to widen; all that can be if None.
      factor: at least 1.
      offset: b of "balanced", added to every weight.
      seed: of the new units of "blocked_new", whose incoming weights and biases are Gaussian with the mean and variance
        of their layer's.

    Returns: a functional model.

    Raises:
      ValueError: another construction, a factor below 1; a layer that is not in the model, or cannot be widened: the
        output, or units that an unknown layer reads; a model without any that can; with "silent", an activation that
        is not 0 at 0.
      TypeError: one name in the place of a list.

    Example:
      >>> model = tfunits.models.build("mlp", input_shape=(10,), num_classes=2)
      >>> widen(model, "split").get_layer("hidden").units
      256

    Source: Casper et al. 2019 (Robustness and redundancy), section 3; DESIGN section 6.
    """
    if how not in WIDENINGS:
        raise ValueError(f"how: expected one of {', '.join(WIDENINGS)}, received {how!r}")
    if not factor >= 1:
        raise ValueError(f"factor: expected at least 1, received {factor}")
    if isinstance(layers, str):
        raise TypeError(f"layers: expected a list of names, received {layers!r}; use [{layers!r}]")
    graph = Graph(model)
    units = UnitMap(graph)
    copies = np.ones(units.num_units, int)
    for name in [call.name for call, _ in units.sources] if layers is None else layers:
        ids = np.array(list(dict.fromkeys(find_units(units, name).tolist())))
        reasons = {**units.fixed, **units.indivisible}
        stays = [reasons[number] for number in ids.tolist() if number in reasons]
        if not stays:
            copies[ids] = _count_copies(len(ids), factor)
        elif layers is not None:
            raise ValueError(
                f"{name}: expected units that can be repeated, received units that cannot, since {stays[0]}"
            )
    if (copies == 1).all() and factor > 1 and layers is None:
        raise ValueError(f"model: expected a layer that can be widened, received {model.name!r} without any")
    generator = np.random.default_rng(seed)

    def change(layer: Any, name: str, value: np.ndarray) -> np.ndarray:
        slots = units.rules[id(layer)].weight_axes(layer)[name]
        for axis, slot in enumerate(slots):
            ids = None if slot is None else units.slot_ids(layer, slot)
            if ids is not None:
                counts = copies[ids]
                shape = [1] * value.ndim
                shape[axis] = -1
                nth, total = (a.reshape(shape) for a in (copy_numbers(counts), np.repeat(counts, counts)))
                # What reads one axis and makes another is multiplied with the units.
                if slot in ("in", "between") and "out" in slots:
                    value = _share(value, nth, total, how, offset)
                else:
                    value = change_axis(layer, name, value, nth, is_made=slot == "out")
        return value.astype("float32")

    def change_axis(layer: Any, name: str, value: np.ndarray, nth: np.ndarray, *, is_made: bool) -> np.ndarray:
        """A weight of a layer that makes units, or changes each of them."""
        if how == "silent" and (is_made or name in _ADDED or "kernel" in name):
            return np.where(nth > 0, 0, value)
        if how == "blocked_new" and (is_made or "kernel" in name):
            own = keras.ops.convert_to_numpy(getattr(layer, name))
            return np.where(nth > 0, generator.normal(own.mean(), own.std(), value.shape), value)
        return value

    wide = rebuild(graph, units, copies, Edit(of_weight=change), suffix="wide")
    _check_same(model, wide, how)
    return wide


def _count_copies(num_units: int, factor: float) -> np.ndarray:
    """How often each of some units is there when they are widened."""
    total = int(num_units * factor)
    return total // num_units + (np.arange(num_units) < total % num_units)


def _share(value: np.ndarray, nth: np.ndarray, total: np.ndarray, how: str, offset: float) -> np.ndarray:
    """Weights that read a unit, shared among it and its copies."""
    if how in ("blocked_copy", "blocked_new"):
        return np.where(nth == 0, value, 0)
    if how == "silent":
        return value
    shared = value / total
    if how == "balanced":
        # From offset to -offset over the copies, so that they cancel.
        shared = shared + np.where(total > 1, offset * (1 - 2 * nth / np.maximum(total - 1, 1)), 0)
    return shared


def _check_same(model: keras.Model, wide: keras.Model, how: str) -> None:
    """Raise `ValueError` where a wider model computes another function."""
    generator = np.random.default_rng(0)
    shapes = [[2, *(size or 8 for size in tensor.shape[1:])] for tensor in model.inputs]
    # Of whole numbers, as those of words, 0 is one that every table has.
    inputs = [
        generator.normal(size=shape).astype("float32") if "float" in tensor.dtype else np.zeros(shape, tensor.dtype)
        for shape, tensor in zip(shapes, model.inputs, strict=True)
    ]
    results = [
        keras.tree.flatten(m(keras.tree.pack_sequence_as(as_functional(m)._inputs_struct, inputs), training=False))
        for m in (model, wide)
    ]
    for before, after in zip(*results, strict=True):
        before, after = (keras.ops.convert_to_numpy(tensor) for tensor in (before, after))
        if np.abs(before - after).max() > _SAME * np.abs(before).max():
            reason = "expected activations that are 0 at 0, received one that is not, as a sigmoid; use 'blocked_copy'"
            if how != "silent":
                reason = f"expected layers whose units can be repeated, received {model.name!r}; name some in layers="
            raise ValueError(f"how: {how!r}: {reason}")
