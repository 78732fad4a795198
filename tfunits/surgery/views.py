"""New models over the same weights: read inner tensors, mask taps, start behind a tap."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfunits.layers import ChannelMask
from tfunits.surgery.graph import Graph, TensorKey
from tfunits.surgery.taps import tap_keys


def find_tensors(graph: Graph, names: Sequence[str]) -> dict[str, TensorKey]:
    """Name of a tap or layer -> key of its output.

    Raises:
      ValueError: a name that is neither.
    """
    known = {call.name: call.outputs[0] for call in graph.calls if len(call.outputs) == 1}
    with contextlib.suppress(ValueError):  # A model without taps still has layers.
        known = {**known, **tap_keys(graph)}
    for name in names:
        if name not in known:
            raise ValueError(f"names: expected taps or layers of {graph.model.name!r}, received {name!r}; "
                             f"known: {', '.join(known)}")  # fmt: skip
    return {name: known[name] for name in names}


def read(model: keras.Model, names: Sequence[str]) -> keras.Model:
    """A model that returns inner tensors, all in one pass, sharing the given model's weights.

    Args:
      model: a functional model.
      names: taps or layers.

    Returns: a model of the same inputs whose output is a dict, name -> tensor.

    Raises:
      ValueError: a model that is not functional, or an unknown name.

    Example:
      >>> activations = read(model, ["conv1", "fc4"])(images)["conv1"]
    """
    graph = Graph(model)
    keys = find_tensors(graph, names)
    inputs = graph.copy_inputs()
    outputs = graph.run(dict(zip(graph.inputs, inputs, strict=True)), list(keys.values()))
    return _make_model(graph, graph.pack_inputs(inputs), dict(zip(keys, outputs, strict=True)), "read")


def mask(model: keras.Model, masks: Mapping[str, Any]) -> keras.Model:
    """A model with chosen units of its taps set to zero, sharing the given model's weights.

    Args:
      model: a functional model.
      masks: tap or layer -> array of 0 and 1, one a unit [units] or one a location and unit [..., units]; None makes
        the mask a further input, named mask_<tap>, of shape [batch, 1, ..., units].

    Returns: a model with the given model's outputs. With masks as inputs, its inputs are a list: the given ones, then
      the masks in order.

    Raises:
      ValueError: a model that is not functional, an unknown name, or a mask of the wrong shape.

    Example:
      >>> ablated = mask(model, {"conv1": [0] + 11 * [1]})
    """
    graph = Graph(model)
    keys = find_tensors(graph, list(masks))
    inputs = graph.copy_inputs()
    mask_inputs, layers = [], {}
    for name, key in keys.items():
        shape = graph.shape(key)[1:]
        safe = name.replace("/", "_").replace("#", "_")
        if masks[name] is None:
            flat = tuple(1 for _ in shape[:-1]) + shape[-1:]
            mask_input = keras.Input(flat, name=graph.free_name(f"mask_{safe}"))
            mask_inputs.append(mask_input)
            multiply = keras.layers.Multiply(name=graph.free_name(f"masked_{safe}"))
            layers[key] = lambda tensor, m=multiply, i=mask_input: m([tensor, i])
        else:
            values = np.asarray(masks[name], "float32")
            if values.shape not in (shape, shape[-1:]):
                raise ValueError(f"masks[{name!r}]: expected shape {shape[-1:]} or {shape}, received {values.shape}")
            layers[key] = ChannelMask(values, name=graph.free_name(f"masked_{safe}"))
    outputs = graph.run(
        dict(zip(graph.inputs, inputs, strict=True)),
        list(graph.outputs),
        edit=lambda key, value: layers[key](value) if key in layers else value,
    )
    given = [*inputs, *mask_inputs] if mask_inputs else graph.pack_inputs(inputs)
    return _make_model(graph, given, graph.pack_outputs(outputs), "masked")


def after(model: keras.Model, tap: str) -> tuple[keras.Model, keras.Model]:
    """The part of a model behind a tap, and the part before it, sharing the model's weights.

      suffix(prefix(x)) = model(x)

    Args:
      model: a functional model.
      tap: a tap or layer.

    Returns: (suffix, prefix). The suffix's inputs are the tap's output, first, and every other tensor that the part
      behind it reads; the prefix computes this list from the model's inputs.

    Raises:
      ValueError: a model that is not functional, an unknown tap, or a part behind it that reads the model's own input.

    Example:
      >>> suffix, prefix = after(model, "conv1")
      >>> logits = suffix(prefix(images))
    """
    graph = Graph(model)
    (key,) = find_tensors(graph, [tap]).values()
    frontier = [key, *(k for k in graph.frontier([key]) if k != key)]
    if any(k in graph.inputs for k in frontier):
        raise ValueError(f"tap: expected a tap that cuts the model's input off, received {tap!r}; use mask instead")
    behind = [keras.Input(graph.shape(k)[1:], dtype=graph.dtype(k), name=f"behind_{i}") for i, k in enumerate(frontier)]
    outputs = graph.run(dict(zip(frontier, behind, strict=True)), list(graph.outputs))
    inputs = graph.copy_inputs()
    before = graph.run(dict(zip(graph.inputs, inputs, strict=True)), frontier)
    suffix = _make_model(graph, behind, graph.pack_outputs(outputs), "after")
    return suffix, _make_model(graph, graph.pack_inputs(inputs), before, "before")


def _make_model(graph: Graph, inputs: Any, outputs: Any, suffix: str) -> keras.Model:
    """A model over existing layers.

    Raises:
      ValueError: nested models whose layers share a name, which one flat model cannot hold.
    """
    try:
        return keras.Model(inputs, outputs, name=f"{graph.model.name}_{suffix}")
    except ValueError as error:
        if "unique" not in str(error):
            raise
        names = [call.operation.name for call in graph.calls]
        twice = next(
            (n for n in names if len({id(c.operation) for c in graph.calls if c.operation.name == n}) > 1), "?"
        )
        raise ValueError(
            f"model: expected layers of different names in all nested models, received several named {twice!r}; "
            "rename one, since the new model holds them side by side"
        ) from None
