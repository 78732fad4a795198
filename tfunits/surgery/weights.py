"""The weights that feed the units of a tap."""

from typing import Any

import keras
import numpy as np

from tfunits.surgery.graph import Call, Graph, TensorKey, weights_of

# In separable layers the last of these mixes channels.
_KERNELS = ("pointwise_kernel", "kernel", "depthwise_kernel")
# Their kernels end in (outputs, inputs).
_TRANSPOSED = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)
# Operations without weights whose units are not those that they read, even where they are equally many.
_MIXING = frozenset({"AdditiveAttention", "Attention", "Dot", "Einsum", "Matmul", "Permute", "Tensordot", "Transpose"})


def kernel_of(layer: Any) -> keras.Variable | None:
    """The weights of a dense or convolutional layer that its inputs are multiplied with; None of any other layer.

    Of a separable convolution, those of its last, pointwise part.
    """
    found = (getattr(layer, name, None) for name in _KERNELS)
    return next((kernel for kernel in found if isinstance(kernel, keras.Variable)), None)


def feeding_layers(graph: Graph, key: TensorKey) -> list[Call]:
    """The dense and convolutional layers whose outputs become a tensor's units, in order.

    Activations, normalisation, pooling and changes of form are passed; of a sum, a residual stream, it is every layer
    that adds to it; of a concatenation, every layer that has a part in it.

    Args:
      graph: of the network.
      key: of the tensor.

    Raises:
      ValueError: units of the network's input, or of an operation that mixes units without such a layer.
    """
    found: dict[TensorKey, Call] = {}
    reached, waiting = set(), [key]
    while waiting:
        current = waiting.pop()
        if current in reached:
            continue
        reached.add(current)
        call = _producer(graph, current)
        if kernel_of(call.operation) is None:
            waiting += call.inputs
        else:
            found[current] = call
    return sorted(dict.fromkeys(found.values()), key=graph.calls.index)


def incoming_norms(graph: Graph, key: TensorKey) -> np.ndarray:
    """Sum of |w| over the weights that feed each unit of a tensor.

      norm_j = sum_i |w_ij|, added over the branches of a sum

    Args:
      graph: of the network.
      key: of the tensor.

    Returns: float64 [units].

    Raises:
      ValueError: units of the network's input, or of an operation that mixes units without such a layer.

    Source: Li et al. 2017 (Pruning filters for efficient ConvNets), section 3.1.
    """
    known: dict[TensorKey, np.ndarray] = {}
    wanted = {key}
    for call in feeding_layers(graph, key):
        weights = np.abs(keras.ops.convert_to_numpy(kernel_of(call.operation)).astype(np.float64))
        if isinstance(call.operation, _TRANSPOSED):
            weights = np.swapaxes(weights, -1, -2)
        # A depthwise kernel's last two axes are the channel and its multiplier, which make the units together.
        norms = weights.reshape(-1, graph.shape(call.outputs[0])[-1]).sum(axis=0)
        known.update(dict.fromkeys(call.outputs, norms))
    for call in reversed(graph.calls):
        if wanted.intersection(call.outputs) and not known.keys() & set(call.outputs):
            wanted.update(call.inputs)
    for call in graph.calls:
        if call.outputs[0] in known or not wanted.intersection(call.outputs):
            continue
        num_units = graph.shape(call.outputs[0])[-1]
        if _joins(graph, call):
            norms = np.concatenate([known[read] for read in call.inputs])
        else:
            # A flattened map repeats its channels; a gate of one unit counts for all.
            norms = sum(np.resize(known[read], num_units) for read in call.inputs)
        known.update(dict.fromkeys(call.outputs, norms))
    return known[key]


def _producer(graph: Graph, key: TensorKey) -> Call:
    """The call that makes a tensor, where its units can be followed further."""
    if key not in graph.producer:
        raise ValueError(
            f"taps: expected units that dense or convolutional layers of {graph.model.name!r} feed, received units "
            "that are the network's input; leave that tap out"
        )
    call = graph.producer[key]
    sizes, made = [graph.shape(read)[-1] for read in call.inputs], graph.shape(key)[-1]
    passes = not _mixes(call) and all(size in (1, made) or made % size == 0 for size in sizes)
    if kernel_of(call.operation) is None and not _joins(graph, call) and not passes:
        raise ValueError(
            f"taps: expected units that dense or convolutional layers of {graph.model.name!r} feed, received units "
            f"that {call.name!r} mixes; leave that tap out"
        )
    return call


def _joins(graph: Graph, call: Call) -> bool:
    """Whether a call puts units beside one another."""
    sizes = [graph.shape(read)[-1] for read in call.inputs]
    return type(call.operation).__name__ == "Concatenate" and sum(sizes) == graph.shape(call.outputs[0])[-1]


def _mixes(call: Call) -> bool:
    """Whether each of a call's units may come from all units that it reads, as in recurrent and attention layers."""
    kind = type(call.operation).__name__
    has_matrices = any(len(variable.shape) > 1 for variable in weights_of([call]))
    # One number an entry, whatever their rank.
    return kind in _MIXING or (has_matrices and kind != "PReLU" and not kind.endswith("Normalization"))
