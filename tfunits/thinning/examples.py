"""The examples that thinning looks at: for the fit, for the search, and held out."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfunits.surgery import Graph, Inputs, has_splits, kernel_of

# One array an input.
Batch = list[tf.Tensor]
BATCH_SIZE = 128
# Activations of one batch, where layers read them: 512 MiB of float32.
_BATCH_VALUES = 2**27
# Data without splits: two of four parts for the fit, one for the search, one held out.
_SHARES = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """Examples in memory, or a split that is read again each time.

    Attributes:
      pairs: batches with their labels, None where there are none.
    """

    pairs: Iterable[tuple[Batch, np.ndarray | None]]

    @property
    def batches(self) -> list[Batch]:
        """The batches alone."""
        return [batch for batch, _ in self.pairs]


class _Stream:
    """A split, read batch by batch."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs

    def __iter__(self) -> Iterator[tuple[Batch, np.ndarray | None]]:
        return self._inputs.with_labels()


def divide(model: keras.Model, data: Any, splits: Sequence[str], most: int, batch_size: int, seed: int) -> list[Part]:
    """Examples for the fit, for the search, and held out."""
    if has_splits(data):
        streams = [_open(data, split, model) for split in splits]
        for split, inputs in zip(splits, streams, strict=True):
            if inputs.num_examples < 2:
                raise ValueError(f"data: expected at least 2 examples of split {split!r}, received 1")
        parts = [_in_memory(*_gather(inputs, most), batch_size) for inputs in streams[:2]]
        return [*parts, Part(pairs=_Stream(streams[2]))]
    arrays, labels = _gather(_open(data, "all", model), _SHARES * most)
    count = len(arrays[0])
    if count < 2 * _SHARES:
        raise ValueError(f"data: expected at least {2 * _SHARES} examples to divide, received {count}")
    order = np.random.default_rng(seed).permutation(count)
    parts = []
    for places in np.split(order, [count * 2 // _SHARES, count * 3 // _SHARES]):
        chosen = places[:most] if len(parts) < 2 else places
        own = None if labels is None else labels[chosen]
        parts.append(_in_memory([array[chosen] for array in arrays], own, batch_size))
    return parts


def _open(data: Any, split: str, model: keras.Model) -> Inputs:
    inputs = Inputs(data, split, model)
    if inputs.has_labels:
        inputs.require_labels()
    return inputs


def _in_memory(arrays: Sequence[np.ndarray], labels: np.ndarray | None, batch_size: int) -> Part:
    pairs = []
    for start in range(0, len(arrays[0]), batch_size):
        part = slice(start, start + batch_size)
        pairs.append(([tf.constant(array[part]) for array in arrays], None if labels is None else labels[part]))
    return Part(pairs=pairs)


def _gather(inputs: Inputs, most: int) -> tuple[list[np.ndarray], np.ndarray | None]:
    """Examples of a split and their labels, at most so many, spread evenly over it.

    Raises:
      ValueError: a value that is not finite.
    """
    count = inputs.num_examples
    chosen = np.arange(count) if count <= most else np.linspace(0, count - 1, most).astype(int)
    found: list[list[np.ndarray]] = []
    labels, start = [], 0
    for batch, own in inputs.with_labels():
        size = int(batch[0].shape[0])
        places = chosen[(chosen >= start) & (chosen < start + size)] - start
        found.append([tensor.numpy()[places] for tensor in batch])
        if own is not None:
            labels.append(own[places])
        start += size
    arrays = [np.concatenate(parts) for parts in zip(*found, strict=True)]
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError("data: expected finite inputs, received some that are NaN or infinite; leave these out")
    return arrays, np.concatenate(labels) if labels else None


def choose_batch_size(graph: Graph) -> int:
    """Examples whose activations, where layers read them, stand in memory together."""
    read = {call.inputs[0] for call in graph.calls if kernel_of(call.operation) is not None}
    size = sum(int(np.prod([size or 1 for size in graph.shape(key)[1:]])) for key in read)
    return int(np.clip(_BATCH_VALUES // max(size, 1), 1, BATCH_SIZE))
