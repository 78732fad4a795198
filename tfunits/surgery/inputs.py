"""Batches of a network's inputs, out of any kind of data."""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfunits.surgery.graph import as_functional

# Examples per batch where arrays are given.
_BATCH_SIZE = 128


class Inputs:
    """Batches of a network's inputs, in order.

    Args:
      data: a `tfunits.datasets.Dataset`, a batched `tf.data.Dataset` of inputs or (inputs, labels), or arrays: of
        inputs, or a tuple (inputs, labels). Several inputs are a list in the model's order, or a dict by the names of
        its inputs.
      split: which split of a `Dataset`.
      model: whose input shape the data must have; values are cast to its type.

    Raises:
      ValueError: no such split, no example, endless data, or inputs of another shape than the model's.
      TypeError: data of none of these kinds.
    """

    def __init__(self, data: Any, split: str, model: keras.Model) -> None:
        functional = as_functional(model)
        self._expected = functional.inputs
        # One output has two sides.
        outputs = [tensor.shape[-1] for tensor in functional.outputs if len(tensor.shape)]
        self.num_classes = max([2, *(size for size in outputs if size is not None)])
        self._needs_classes = False
        batches, self._known_length = _as_batches(data, split)
        # The end of an autotuned pass may wait for the tuner's next round, up to as long again as the pass took.
        options = tf.data.Options()
        options.autotune.enabled = False
        self._batches = batches.with_options(options)
        first = next(iter(self), None)
        if first is None:
            raise ValueError("data: expected at least one batch, received none")
        expected = [tuple(tensor.shape[1:]) for tensor in self._expected]
        received = [tuple(tensor.shape[1:]) for tensor in first]
        fits = len(expected) == len(received) and all(
            len(e) == len(r) and all(x is None or x == y for x, y in zip(e, r, strict=True))
            for e, r in zip(expected, received, strict=True)
        )
        if not fits:
            raise ValueError(
                f"data: expected batches of inputs of shape {_shown(expected)}, as {model.name!r} reads, "
                f"received {_shown(received)}"
            )
        self.batch_size = int(first[0].shape[0])
        self.num_batches = _count_batches(self._batches)

    @functools.cached_property
    def num_examples(self) -> int:
        """Number of examples; of a tf.data.Dataset it takes a pass over the data to know."""
        if self._known_length is not None:
            return self._known_length
        return sum(int(inputs[0].shape[0]) for inputs in self)

    def __iter__(self) -> Iterator[list[tf.Tensor]]:
        for inputs, _ in self.with_labels():
            yield inputs

    @functools.cached_property
    def has_labels(self) -> bool:
        """Whether every example comes with a whole number, its label."""
        spec = self._batches.element_spec
        if not (isinstance(spec, tuple) and len(spec) > 1 and isinstance(spec[1], tf.TensorSpec)):
            return False
        return spec[1].dtype.is_integer and (spec[1].shape.rank == 1 or spec[1].shape[1:] == [1])

    def require_labels(self) -> None:
        """Raise `ValueError` unless examples have labels; from then on, also where one is no class of the outputs."""
        if not self.has_labels:
            spec = self._batches.element_spec
            received = "none" if not isinstance(spec, tuple) or len(spec) < 2 else f"{spec[1]}"
            raise ValueError(
                f"data: expected labels, whole numbers [batch], beside the inputs, received {received}; "
                "give batches of (inputs, labels) or a tfunits Dataset"
            )
        self._needs_classes = True

    def with_labels(self) -> Iterator[tuple[list[tf.Tensor], np.ndarray | None]]:
        """Batches of inputs with their labels, int [batch] from 0 on; None where there are none.

        Raises:
          ValueError: labels that are required and are not of the outputs' classes.
        """
        for batch in self._batches:
            inputs = batch[0] if isinstance(batch, tuple) else batch
            yield self._in_order(inputs), self._classes(batch[1]) if self.has_labels else None

    def _classes(self, labels: tf.Tensor) -> np.ndarray:
        labels = np.asarray(labels).reshape(-1)
        # Labels of two classes may be -1 and 1.
        labels = np.maximum(labels, 0) if self.num_classes == 2 and labels.min() >= -1 else labels
        if self._needs_classes and (labels.min() < 0 or labels.max() >= self.num_classes):
            raise ValueError(
                f"data: expected labels from 0 to {self.num_classes - 1}, the network's classes, received "
                f"{labels.min()} to {labels.max()}"
            )
        return labels

    def _in_order(self, inputs: Any) -> list[tf.Tensor]:
        names = [tensor.name for tensor in self._expected]
        if isinstance(inputs, Mapping) and set(names) == set(inputs):
            inputs = [inputs[name] for name in names]
        flat = keras.tree.flatten(inputs)
        types = [tensor.dtype for tensor in self._expected] if len(flat) == len(names) else [t.dtype for t in flat]
        return [tf.cast(tensor, dtype) for tensor, dtype in zip(flat, types, strict=True)]


def has_splits(data: Any) -> bool:
    """Whether data are a `tfunits.datasets.Dataset`, of which a split is read; other data are read whole."""
    return hasattr(data, "batches")


def _shown(shapes: list[tuple]) -> str:
    return " and ".join(str(shape) for shape in shapes)


def _as_batches(data: Any, split: str) -> tuple[tf.data.Dataset, int | None]:
    """Batches, and the number of examples where it is known."""
    if isinstance(data, tf.data.Dataset):
        return data, None
    if has_splits(data):
        return data.batches(split), len(data.splits[split])
    if isinstance(data, np.ndarray | tf.Tensor):
        return tf.data.Dataset.from_tensor_slices(np.asarray(data)).batch(_BATCH_SIZE), len(data)
    arrays = keras.tree.flatten(data) if isinstance(data, tuple | list | dict) else []
    if arrays and all(isinstance(array, np.ndarray | tf.Tensor) for array in arrays):
        # A list would be taken for one array of many examples.
        given = (data,) if isinstance(data, list) else data
        batches = tf.data.Dataset.from_tensor_slices(keras.tree.map_structure(np.asarray, _as_tuples(given)))
        return batches.batch(_BATCH_SIZE), len(arrays[0])
    raise TypeError(
        "data: expected a tfunits Dataset, a batched tf.data.Dataset or arrays of inputs, received "
        f"{type(data).__name__}"
    )


def _as_tuples(data: Any) -> Any:
    """The same arrays with tuples for lists, which TensorFlow would stack."""
    return tuple(_as_tuples(part) for part in data) if isinstance(data, tuple | list) else data


def _count_batches(batches: tf.data.Dataset) -> int:
    count = int(batches.cardinality())
    if count == tf.data.INFINITE_CARDINALITY:
        raise ValueError("data: expected batches that end, received a repeated dataset; add .take(n)")
    return count if count >= 0 else int(batches.reduce(0, lambda n, _: n + 1))
