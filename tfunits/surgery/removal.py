"""Smaller models: units removed with everything that only they feed."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfunits.layers import TakeUnits
from tfunits.surgery.choice import check_indices, check_left, check_named, check_removable, find_units
from tfunits.surgery.classifier import find_last_hidden
from tfunits.surgery.constants import known_shape, place_constants
from tfunits.surgery.graph import Graph, TensorKey
from tfunits.surgery.inputs import Inputs
from tfunits.surgery.rebuild import Edit, rebuild
from tfunits.surgery.units import UnitMap

COUPLED = ("remove", "raise")
MASKED_AT = ("reader", "layer")
# Rounding of float32 leaves about this share.
_SAME = 1e-5


@dataclasses.dataclass(frozen=True, kw_only=True)
class CoupledUnit:
    """Units that can only be removed together.

    Attributes:
      members: layer -> indices of its units.
      reason: why they must stay; None where they can be removed.
    """

    members: Mapping[str, tuple[int, ...]]
    reason: str | None

    def __str__(self) -> str:
        names = ", ".join(f"{name}{list(indices)}" for name, indices in self.members.items())
        return names if self.reason is None else f"{names}: stays, {self.reason}"


def unit_layers(model: keras.Model) -> dict[str, int]:
    """The layers whose units can be named: name -> number of units, in order.

    Dense, convolutional and embedding layers, which make units. `remove_units` also takes the names of what keeps
    units apart behind them, as activations and sums.

    Args:
      model: a functional model.

    Raises:
      ValueError: a model that is not functional.

    Example:
      >>> unit_layers(tfunits.models.build("mlp", input_shape=(10,), num_classes=2))
      {'hidden': 128, 'logits': 2}
    """
    units = UnitMap(Graph(model))
    return {call.name: len(units.layouts[call.outputs[0]][axis]) for call, axis in units.sources}


def coupled_units(model: keras.Model, layer: str) -> list[CoupledUnit]:
    """What each unit of a layer is tied to.

    Additions, multiplications, shared layers and grouped convolutions tie units of several layers to one.

    Args:
      model: a functional model.
      layer: a layer's name.

    Returns: for every unit of the layer the units that go with it, this one included, and why they must stay, if so.

    Raises:
      ValueError: a model that is not functional, or a layer that is not in it or has no units.

    Example:
      >>> model = tfunits.models.build("resnet18", size=0.25, input_shape=(32, 32, 3), num_classes=10)
      >>> unit = coupled_units(model, "stem_conv")[3]  # doctest: +SKIP
    """
    units = UnitMap(Graph(model))
    members: dict[int, dict[str, list[int]]] = {}
    ids = find_units(units, layer)
    wanted = set(ids.tolist())
    for call, axis in units.sources:
        for index, number in enumerate(units.layouts[call.outputs[0]][axis].tolist()):
            if number in wanted:
                members.setdefault(number, {}).setdefault(call.name, []).append(index)
    return [
        CoupledUnit(
            members={name: tuple(indices) for name, indices in members.get(number, {}).items()},
            reason=units.fixed.get(number),
        )
        for number in ids.tolist()
    ]


def remove_units(
    model: keras.Model,
    layers: Mapping[str, Sequence[int]],
    *,
    coupled: str = "remove",
    masked_at: str = "reader",
) -> keras.Model:
    """A smaller model without some units, which computes what the model computes when they are masked.

      removed(x) = masked(x),   masked: the units are 0 wherever a layer reads them that mixes units

    A unit goes with all that only it feeds: bias, channel of a normalisation, activation, pooled map. Layer, RMS,
    group and response normalisation count as they did, a removed unit as 0. The new model has weights of its own, and
    no optimizer; nested models are laid open in it.

    Args:
      model: a functional model.
      layers: name of a layer -> indices of its units. Behind a layer that makes units, the names of activations, sums
        and the like can stand too; of a flattened map, every position names its channel.
      coupled: "remove" what the units are tied to, or "raise" an error that names it.
      masked_at: "reader", as above; or "layer": the mask sits at the outputs of the layers that make the units,
        before their normalisation, and the constants that then flow on are added to the biases of their readers, by
        position where a padded convolution reads them.

    Returns: a functional model.

    Raises:
      ValueError: a model that is not functional; a layer that is not in it, or has no units; an index out of range or
        given twice; units of the output, or that an unknown layer reads; all units of a layer; coupled units with
        coupled="raise"; a constant that a reader cannot take in.
      TypeError: layers that are no mapping.

    Example:
      >>> model = tfunits.models.build("mlp", input_shape=(10,), num_classes=2)
      >>> remove_units(model, {"hidden": [3, 17]}).get_layer("hidden").units
      126
    """
    _check_choice("coupled", coupled, COUPLED)
    _check_choice("masked_at", masked_at, MASKED_AT)
    graph = Graph(model)
    units = UnitMap(graph)
    removed = _choose(units, layers)
    for name in layers:
        ids = find_units(units, name)
        check_removable(units, name, ids[removed[ids]])
    if coupled == "raise":
        _check_alone(units, layers, removed)
    check_left(units, removed)
    edit = _fold_constants(graph, units, removed) if masked_at == "layer" else Edit()
    return rebuild(graph, units, (~removed).astype(int), edit, suffix="thin")


def keep_units(
    model: keras.Model,
    layers: Mapping[str, Sequence[int]],
    *,
    coupled: str = "remove",
    masked_at: str = "reader",
) -> keras.Model:
    """A smaller model with only some units of the named layers; all else as `remove_units`.

    Args:
      model: a functional model.
      layers: name of a layer -> indices of the units that stay.
      coupled, masked_at: as `remove_units`.

    Returns: a functional model.

    Raises:
      ValueError: as `remove_units`, or a unit that another layer's choice removes.

    Example:
      >>> model = tfunits.models.build("mlp", input_shape=(10,), num_classes=2)
      >>> keep_units(model, {"hidden": range(100)}).get_layer("hidden").units
      100
    """
    check_named(layers)
    units = UnitMap(Graph(model))
    rest, numbers, gone = {}, {}, set()
    for name, indices in layers.items():
        ids = find_units(units, name)
        numbers[name] = ids[check_indices(name, indices, len(ids))]
        rest[name] = np.flatnonzero(~np.isin(ids, numbers[name])).tolist()
        gone |= set(ids[rest[name]].tolist())
    for name, kept in numbers.items():
        if set(kept.tolist()) & gone:
            raise ValueError(
                f"{name}: expected units that no other layer's choice removes, received some that are tied to units "
                "that go; coupled_units shows which"
            )
    return remove_units(model, rest, coupled=coupled, masked_at=masked_at)


def removal_error(model: keras.Model, thin: keras.Model, layers: Mapping[str, Sequence[int]], inputs: Any) -> float:
    """Largest difference between a model without some units and the model in which they are masked.

      max |thin(x) - masked(x)| / max |masked(x)|

    Args:
      model: the functional model that units were removed from.
      thin: what `remove_units` made of it, with masked_at="reader".
      layers: the units, as they were given to it.
      inputs: an array, or several as a list in the model's order or a dict by the names of its inputs.

    Returns: the difference, at least 0; rounding leaves about 1e-6.

    Raises:
      ValueError: as `remove_units`.

    Example:
      >>> model = tfunits.models.build("mlp", input_shape=(10,), num_classes=2)
      >>> removal_error(model, remove_units(model, {"hidden": [3]}), {"hidden": [3]}, np.ones((2, 10))) < 1e-5
      True
    """
    graph, thin_graph = Graph(model), Graph(thin)
    units = UnitMap(graph)
    removed = _choose(units, layers)
    differences, sizes = [], []
    for batch in Inputs(inputs, "test", model):
        masked = graph.run(
            dict(zip(graph.inputs, batch, strict=True)),
            list(graph.outputs),
            edit=lambda key, value: _masked(units, removed, key, value),
            inference=True,
        )
        found = thin_graph.run(
            dict(zip(thin_graph.inputs, batch, strict=True)), list(thin_graph.outputs), inference=True
        )
        pairs = [
            [keras.ops.convert_to_numpy(tensor).astype(np.float64) for tensor in pair]
            for pair in zip(found, masked, strict=True)
        ]
        differences.append([np.abs(ours - expected).max() for ours, expected in pairs])
        sizes.append([np.abs(expected).max() for _, expected in pairs])
    return float(np.max(np.max(differences, axis=0) / np.maximum(np.max(sizes, axis=0), np.finfo(float).tiny)))


def _masked(units: UnitMap, removed: np.ndarray, key: TensorKey, value: Any, axes: Sequence[int] | None = None) -> Any:
    """A tensor with the removed units along some axes, or all, at zero."""
    for axis in range(len(units.layouts[key])) if axes is None else axes:
        ids = units.layouts[key][axis]
        if ids is not None and removed[ids].any():
            shape = [1] * len(units.layouts[key])
            shape[axis] = len(ids)
            # Not a product: what is infinite at 0, as a logarithm, is masked too.
            value = keras.ops.where(removed[ids].reshape(shape), keras.ops.zeros_like(value), value)
    return value


def chunk(model: keras.Model, indices: Sequence[int]) -> keras.Model:
    """A model whose last dense layer reads only some units of the last hidden layer; nothing is rescaled.

      chunk(x) = F_S(x) W_S + b

    Where only this layer reads the other units they are removed; where others do too, as in a residual stream, they
    stay, and the last layer alone does not see them.

    Args:
      model: a functional model that ends in a dense layer.
      indices: of the units that the last layer reads.

    Returns: a functional model.

    Raises:
      ValueError: a model that does not end in a dense layer; an index out of range or given twice; no unit.

    Example:
      >>> model = tfunits.models.build("mlp", input_shape=(10,), num_classes=2)
      >>> chunk(model, [0, 1, 2]).get_layer("hidden").units
      3

    Source: Doimo et al. 2022, section 3.
    """
    graph = Graph(model)
    key, layer = find_last_hidden(graph)
    calls = [call for call in graph.calls if call.operation is layer]
    if len(calls) > 1:
        raise ValueError(f"model: expected a last layer that is called once, received {layer.name!r}, which is shared")
    (call,) = calls
    units = UnitMap(graph)
    if "kernel" not in units.rules[id(layer)].weight_axes(layer):
        raise ValueError(f"model: expected a last layer that surgery knows, received {layer.name!r} with other weights")
    count = graph.shape(key)[-1]
    kept = check_indices("the last hidden layer", indices, count)
    if not len(kept):
        raise ValueError(
            f"indices: expected at least one of the {count} units that {layer.name!r} reads, received none"
        )
    ids = units.layouts[key][-1]
    removed = np.zeros(units.num_units, bool)
    if ids is not None:
        removed[ids] = True
        removed[ids[kept]] = False
        readers = [read for read in units.reads if removed[units.layouts[read.key][read.axis]].any()]
        alone = all(read.call is call for read in readers) and not set(units.fixed) & set(np.flatnonzero(removed))
        # A flattened map's units stand at many positions, of which only some may be left.
        if alone and len(np.unique(ids)) == len(ids) and (~removed[ids]).any():
            return rebuild(graph, units, (~removed).astype(int), Edit(), suffix="chunk")
    take = TakeUnits(kept, dtype=layer.dtype_policy, name=graph.free_name("chunk_units"))
    return rebuild(
        graph,
        units,
        np.ones(units.num_units, int),
        Edit(reading={layer: lambda rows: rows[kept]}, before={call: take}),
        suffix="chunk",
    )


def _choose(units: UnitMap, layers: Mapping[str, Sequence[int]]) -> np.ndarray:
    """Which units are named, with all that have the same number: bool [units.num_units]."""
    check_named(layers)
    chosen = np.zeros(units.num_units, bool)
    for name, indices in layers.items():
        ids = find_units(units, name)
        chosen[ids[check_indices(name, indices, len(ids))]] = True
    return chosen


def _check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name}: expected one of {', '.join(known)}, received {value!r}")


def _check_alone(units: UnitMap, layers: Mapping[str, Sequence[int]], removed: np.ndarray) -> None:
    """Raise `ValueError` where units of layers go that are not named, unless a name behind them stands for one unit."""
    groups: dict[int, list[tuple[str, int]]] = {}
    for call, axis in units.sources:
        for index, number in enumerate(units.layouts[call.outputs[0]][axis].tolist()):
            if removed[number]:
                groups.setdefault(number, []).append((call.name, index))
    tied: dict[str, list[int]] = {}
    for members in groups.values():
        for name, index in members if len(members) > 1 else ():
            if index not in layers.get(name, ()):
                tied.setdefault(name, []).append(index)
    if tied:
        raise ValueError(
            "layers: expected units that are tied to no others, received units that go with "
            + ", ".join(f"{name}{sorted(indices)}" for name, indices in tied.items())
            + "; name these too, or use coupled='remove'"
        )


def _fold_constants(graph: Graph, units: UnitMap, removed: np.ndarray) -> Edit:
    """The constants that flow on when units are masked at the layers that make them, for their readers' biases."""
    touched = [read for read in units.reads if removed[units.layouts[read.key][read.axis]].any()]
    keys = list(dict.fromkeys(read.key for read in touched))
    constants = _values_of_removed(graph, units, removed, keys, noise=0.0)
    bias, shift = place_constants(units, {read: constants[read.key] for read in touched}, removed)
    # Whatever else flows through the network, a constant stays what it is.
    others = [_values_of_removed(graph, units, removed, keys, noise=scale) for scale in (1.0, 10.0)]
    for read in touched:
        value, scale = constants[read.key], np.abs(constants[read.key]).max()
        if not all(np.allclose(value, other[read.key], rtol=_SAME, atol=_SAME * scale) for other in others):
            raise ValueError(
                f"{read.call.name}: expected units that are constant behind a mask at the layer that makes them, "
                "received units that change by example; use masked_at='reader'"
            )
    return Edit(shift=shift, bias=bias)


def _values_of_removed(
    graph: Graph, units: UnitMap, removed: np.ndarray, keys: Sequence[TensorKey], *, noise: float
) -> dict[TensorKey, np.ndarray]:
    """What stands at removed units, 0 at others, with noise at all that is not masked."""
    sources = {call.outputs[0]: axis for call, axis in units.sources}
    generator = np.random.default_rng(0)

    def disturbed(key: TensorKey, value: Any) -> Any:
        if not noise or not keras.backend.is_float_dtype(keras.backend.standardize_dtype(value.dtype)):
            return value
        added = np.where(_gone(units, removed, key, value.shape), 0, generator.normal(scale=noise, size=value.shape))
        return value + keras.ops.cast(added, value.dtype)

    values = graph.run(
        {key: disturbed(key, keras.ops.zeros([1, *known_shape(graph, key)], graph.dtype(key))) for key in graph.inputs},
        keys,
        # Along the axis that the layer makes: what else it carries is not its own.
        edit=lambda key, value: (
            _masked(units, removed, key, disturbed(key, value), [sources[key]]) if key in sources else value
        ),
        inference=True,
    )
    found = {}
    for key, value in zip(keys, values, strict=True):
        found[key] = np.where(_gone(units, removed, key, value.shape), keras.ops.convert_to_numpy(value), 0)
    return found


def _gone(units: UnitMap, removed: np.ndarray, key: TensorKey, shape: Sequence[int]) -> np.ndarray:
    """Where a tensor of a given shape carries removed units."""
    gone = np.zeros(shape, bool)
    for axis, ids in enumerate(units.layouts[key]):
        if ids is not None:
            gone |= removed[ids].reshape([-1 if other == axis else 1 for other in range(gone.ndim)])
    return gone
