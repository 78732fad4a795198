"""What a network costs: parameters, floating point operations, seconds."""

import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfunits.surgery import Graph, kernel_of

# Passes of a measured time, of which the best counts.
_REPEATS = 5


def count_flops(model: keras.Model) -> int:
    """Floating point operations of dense layers and convolutions for one example.

      2 * (weights of the kernel) * (positions at which it is applied)

    Args:
      model: a functional model whose inputs have known sizes.

    Returns: multiplications and additions, counted apart.

    Raises:
      ValueError: a model that is not functional, or a layer of unknown size.

    Example:
      >>> count_flops(tfunits.models.build("mlp", input_shape=(10,), num_classes=2))
      3072
    """
    graph = Graph(model)
    total = 0
    for call in graph.calls:
        if kernel_of(call.operation) is None or isinstance(call.operation, keras.layers.Embedding):
            continue
        shapes = [graph.shape(key)[1:] for key in (call.inputs[0], call.outputs[0])]
        if any(None in shape for shape in shapes):
            raise ValueError(
                f"model: expected layers of known size, received {call.name!r} with {shapes}; fix the input's size"
            )
        total += sum(2 * size * places for size, places in _kernels(call.operation, *shapes))
    return int(total)


def _kernels(layer: Any, read: tuple[int, ...], made: tuple[int, ...]) -> list[tuple[int, int]]:
    """(weights, positions) of every kernel of a layer."""
    is_first = getattr(layer, "data_format", None) == "channels_first"
    places = [int(np.prod(shape[1:] if is_first else shape[:-1])) for shape in (read, made)]
    # A transposed convolution applies its kernel at the positions that it reads.
    at = places[0] if "Transpose" in type(layer).__name__ else places[1]
    names = ("depthwise_kernel", "pointwise_kernel") if hasattr(layer, "pointwise_kernel") else ("kernel",)
    return [(int(np.prod(getattr(layer, name).shape)), at) for name in names]


def measure_seconds(models: list[keras.Model], inputs: list[np.ndarray]) -> list[float]:
    """Best time of a compiled pass over one batch, for several models by turns.

    Args:
      models: functional models of the same inputs.
      inputs: one array an input.

    Returns: seconds, one a model.
    """
    batch = [tf.constant(array) for array in inputs]
    graphs = [Graph(model) for model in models]
    runs = [graph.compile_reader(graph.outputs) for graph in graphs]
    best = [float("inf")] * len(runs)
    for _ in range(_REPEATS + 1):
        for index, run in enumerate(runs):
            start = time.perf_counter()
            [value.numpy() for value in run(batch)]
            best[index] = min(best[index], time.perf_counter() - start)
    return best
