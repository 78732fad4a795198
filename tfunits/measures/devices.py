"""Batches cut into pieces, which devices work on side by side."""

import concurrent.futures
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from tfunits.surgery import Graph, Inputs, TensorKey

# A batch is cut into pieces whose widest tensor has this many numbers (128 MiB of float32).
_PIECE_VALUES = 2**25


@dataclasses.dataclass(frozen=True, eq=False)
class Piece:
    """Some consecutive examples.

    Attributes:
      inputs: of the network, each [examples, ...].
      labels: int [examples]; None where the data have none.
      first: number of the first example in the data.
    """

    inputs: list[tf.Tensor]
    labels: np.ndarray | None
    first: int

    @property
    def size(self) -> int:
        """Number of examples."""
        return int(self.inputs[0].shape[0])


def devices_of(strategy: tf.distribute.Strategy | None) -> list[str | None]:
    """The devices of a strategy that this process has; TensorFlow's choice without a strategy."""
    if strategy is None or strategy.num_replicas_in_sync == 1:
        return [None]
    return list(strategy.extended.worker_devices)


def most_examples(graph: Graph) -> int:
    """How many examples to run at once, whatever the size of the batches, so that memory stays bounded."""
    keys = [*graph.inputs, *(key for call in graph.calls for key in call.outputs)]
    return max(1, _PIECE_VALUES // max(values_per_example(graph, key) for key in keys))


def values_per_example(graph: Graph, key: TensorKey) -> int:
    """Numbers that an example has in a tensor; axes of unknown size count 1."""
    return int(np.prod([size or 1 for size in graph.shape(key)[1:]]))


def run_pieces(
    function: Callable[[Piece], Any],
    inputs: Inputs,
    *,
    strategy: tf.distribute.Strategy | None,
    most_examples: int,
    description: str,
    unit: str = "batch",
    runs: int = 1,
) -> Iterator[tuple[Piece, Any]]:
    """Run a function on all data, piece by piece, with a progress bar.

    Args:
      function: of a piece; called in as many threads as there are devices, each under its own.
      inputs: the data.
      strategy: whose devices to use.
      most_examples: of a piece.
      description: of the bar.
      unit: of the bar.
      runs: what the bar counts for a batch.

    Yields: every piece, in order, with the function's result.
    """
    devices = devices_of(strategy)

    def run(piece: Piece, device: str | None) -> Any:
        with tf.device(device):
            return function(piece)

    with (
        tqdm(
            desc=description, total=inputs.num_batches * runs, unit=unit, disable=None, delay=2, dynamic_ncols=True
        ) as bar,
        concurrent.futures.ThreadPoolExecutor(len(devices)) as pool,
    ):
        first = 0
        for index, (batch, labels) in enumerate(inputs.with_labels()):
            pieces = _cut(batch, labels, first, len(devices), most_examples)
            first += int(batch[0].shape[0])
            for begin in range(0, len(pieces), len(devices)):
                group = pieces[begin : begin + len(devices)]
                together = len(group) > 1
                results = pool.map(run, group, devices) if together else [run(group[0], devices[0])]
                yield from zip(group, results, strict=True)
                done = (begin + len(group)) * runs // len(pieces)
                bar.update(index * runs + done - bar.n)


def _cut(
    batch: list[tf.Tensor], labels: np.ndarray | None, first: int, num_devices: int, most_examples: int
) -> list[Piece]:
    """A batch as equal pieces: enough for all devices, none too large."""
    size = int(batch[0].shape[0])
    count = min(size, max(num_devices, -(-size // most_examples)))
    edges = np.linspace(0, size, count + 1).astype(int)
    if count == 1:
        return [Piece(batch, labels, first)]
    return [
        Piece([tensor[low:high] for tensor in batch], None if labels is None else labels[low:high], first + int(low))
        for low, high in zip(edges[:-1], edges[1:], strict=True)
    ]
