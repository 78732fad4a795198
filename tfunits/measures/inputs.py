"""What measures read: batches of inputs, and the class that a network predicts."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfunits.surgery import Graph

# Examples per batch where arrays are given.
_BATCH_SIZE = 128


class Inputs:
    """Batches of a network's inputs, in order.

    Args:
      data: a `tfunits.datasets.Dataset`, a batched `tf.data.Dataset` of inputs or (inputs, labels), or an array of
        inputs.
      split: which split of a `Dataset`.
      model: whose input shape the data must have.

    Raises:
      ValueError: no such split, no example, or inputs of another shape than the model's.
      TypeError: data of none of these kinds.
    """

    def __init__(self, data: Any, split: str, model: keras.Model) -> None:
        self._batches = _as_batches(data, split)
        self._num_examples = len(data.splits[split]) if hasattr(data, "splits") else None
        first = next(iter(self), None)
        if first is None:
            raise ValueError("data: expected at least one batch, received none")
        expected = [tuple(tensor.shape[1:]) for tensor in keras.tree.flatten(model.inputs)]
        received = [tuple(tensor.shape[1:]) for tensor in first]
        fits = len(expected) == len(received) and all(
            len(e) == len(r) and all(x is None or x == y for x, y in zip(e, r, strict=True))
            for e, r in zip(expected, received, strict=True)
        )
        if not fits:
            raise ValueError(f"data: expected batches of inputs of shape {_shown(expected)}, as {model.name!r} reads, "
                             f"received {_shown(received)}")  # fmt: skip
        self._batch_size = int(first[0].shape[0])
        self.num_batches = _count_batches(self._batches)

    @property
    def max_examples(self) -> int:
        """Number of examples where it is known, else what it would be if every batch were as large as the first."""
        return self._num_examples or self.num_batches * self._batch_size

    @property
    def batch_size(self) -> int:
        """Examples in the first batch."""
        return self._batch_size

    def __iter__(self) -> Iterator[list[tf.Tensor]]:
        for batch in self._batches:
            inputs = batch[0] if isinstance(batch, tuple) else batch
            yield keras.tree.flatten(inputs)


def _shown(shapes: list[tuple]) -> str:
    return " and ".join(str(shape) for shape in shapes)


def _as_batches(data: Any, split: str) -> tf.data.Dataset:
    if isinstance(data, tf.data.Dataset):
        return data
    if hasattr(data, "batches"):
        return data.batches(split)
    if isinstance(data, np.ndarray | tf.Tensor):
        return tf.data.Dataset.from_tensor_slices(np.asarray(data)).batch(_BATCH_SIZE)
    raise TypeError(
        "data: expected a tfunits Dataset, a batched tf.data.Dataset or an array of inputs, received "
        f"{type(data).__name__}"
    )


def _count_batches(batches: tf.data.Dataset) -> int:
    count = int(batches.cardinality())
    if count == tf.data.INFINITE_CARDINALITY:
        raise ValueError("data: expected batches that end, received a repeated dataset; add .take(n)")
    return count if count >= 0 else int(batches.reduce(0, lambda n, _: n + 1))


def predicted_classes(model: keras.Model, outputs: np.ndarray) -> np.ndarray:
    """The classes that a network's outputs stand for.

      argmax of several outputs;   of one output: positive (a score) or above 1/2 (a sigmoid's probability)

    Args:
      model: that gave the outputs.
      outputs: [examples, classes] or [examples, 1].

    Returns: int32 [examples].

    Raises:
      ValueError: a model that is not functional.
    """
    return predict_classes(Graph(model), [tf.constant(outputs)]).numpy()


def predict_classes(graph: Graph, outputs: list[tf.Tensor]) -> tf.Tensor:
    """The class that a network predicts for every example, as `predicted_classes`.

    Args:
      graph: of the network.
      outputs: the value of its one output, inside a `tf.function` or not.

    Returns: int32 [batch, ...].
    """
    (scores,) = outputs
    if scores.shape[-1] != 1:
        return tf.argmax(scores, axis=-1, output_type=tf.int32)
    last = graph.producer[graph.outputs[0]].operation
    activation = getattr(getattr(last, "activation", None), "__name__", type(last).__name__)
    threshold = 0.5 if activation.lower() == "sigmoid" else 0.0
    return tf.cast(scores[..., 0] > threshold, tf.int32)
