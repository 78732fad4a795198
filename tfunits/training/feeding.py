"""How examples reach the compiled steps: as a stream of batches, or by position from the device's memory."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from tfunits.configs import TrainingConfig
from tfunits.training.batches import with_weights
from tfunits.training.engine import ReplicaStep, Totals, make_indexed_loop, make_loop
from tfunits.training.exchange import num_workers

# Inputs of a split up to this size stay in memory as the network reads them.
_MOST_RESIDENT_BYTES = 256 * 1024 * 1024


def steps_per_epoch(num_examples: int, batch_size: int, *, drop_last: bool) -> int:
    """Number of batches in an epoch, with or without a smaller last one."""
    return num_examples // batch_size if drop_last else -(-num_examples // batch_size)


class Feed(Protocol):
    """Where the batches of one split come from.

    Attributes:
      num_steps: batches of one pass.
    """

    num_steps: int

    def make_loop(self, step: ReplicaStep) -> Callable[[Any, int, int], Totals]:
        """A compiled (pass, first batch, number of batches) -> sums of a step over these batches."""

    def read(self, epoch: int | None, seed: int) -> Any:
        """One pass: of an epoch's training batches; in the split's own order if None."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resident:
    """A split whose inputs are in memory as the network reads them; batches are gathered inside the compiled steps.

    Attributes:
      data: the data set.
      split: which of its splits.
      batch_size: examples in a batch; the last may be smaller.
      shuffle: whether an epoch's order is drawn.
      strategy: of one replica.
    """

    data: Any
    split: str
    batch_size: int
    shuffle: bool
    strategy: tf.distribute.Strategy

    @property
    def num_steps(self) -> int:
        """Batches of one pass."""
        return steps_per_epoch(len(self.data.splits[self.split]), self.batch_size, drop_last=False)

    def make_loop(self, step: ReplicaStep) -> Callable[[Any, int, int], Totals]:
        """See `Feed`."""
        inputs, labels = self.data.resident(self.split)
        return make_indexed_loop(step, self.strategy, inputs, labels, self.batch_size)

    def read(self, epoch: int | None, seed: int) -> tf.Tensor:
        """Positions of the examples in the order of the pass, int32 [examples]."""
        if epoch is None:
            return tf.range(len(self.data.splits[self.split]))
        return tf.constant(self.data.epoch_order(epoch, seed, shuffle=self.shuffle).astype(np.int32))


class Stream:
    """Batches that tf.data makes, spread over all devices.

    Args:
      data: the data set.
      split: which of its splits.
      config: batch size, augmentation and order.
      strategy: where they go.
      drop_last: whether a smaller last batch is left out.
    """

    def __init__(
        self, data: Any, split: str, config: TrainingConfig, strategy: tf.distribute.Strategy, *, drop_last: bool
    ) -> None:
        self.data, self.split, self.strategy, self.drop_last = data, split, strategy, drop_last
        self.batch_size, self.shuffle = config.effective_batch_size, config.shuffle
        self.augment = "augmentation" in config.regularizers
        self.replicas, self.workers = strategy.num_replicas_in_sync, num_workers(strategy)
        self.num_steps = steps_per_epoch(len(data.splits[split]), self.batch_size, drop_last=drop_last)

    def make_loop(self, step: ReplicaStep) -> Callable[[Any, int, int], Totals]:
        """See `Feed`."""
        loop = make_loop(step, self.strategy)
        return lambda iterator, _, count: loop(iterator, count)

    def read(self, epoch: int | None, seed: int) -> Iterator:
        """An iterator over distributed (inputs, labels, weights)."""
        return iter(self._evaluation() if epoch is None else self._epoch(epoch, seed))

    def _epoch(self, epoch: int, seed: int) -> Any:
        """The training batches of an epoch, over all devices."""
        options = {"augment": self.augment, "shuffle": self.shuffle}
        if self.workers == 1:
            batches = self.data.epoch(epoch, seed, self.batch_size, **options).take(self.num_steps)
            return self._distribute(batches, whole=self.drop_last)
        return self._distribute_over_workers(
            lambda size, shard: self.data.epoch(epoch, seed, size, shard=shard, **options)
        )

    def _evaluation(self) -> Any:
        """The split's batches over all devices."""
        if self.workers == 1:
            return self._distribute(self.data.batches(self.split, self.batch_size))
        return self._distribute_over_workers(lambda size, shard: self.data.batches(self.split, size, shard=shard))

    def _distribute(self, batches: tf.data.Dataset, *, whole: bool = False) -> Any:
        """Global batches, perhaps known to be whole, split over the devices of this machine."""
        weighted = with_weights(batches, self.batch_size, pad=self.replicas > 1 and not whole)
        return self.strategy.experimental_distribute_dataset(weighted)

    def _distribute_over_workers(self, read: Callable[[int, tuple[int, int]], tf.data.Dataset]) -> Any:
        """Every worker's part of the global batches, read from its own shard."""

        def make(context: tf.distribute.InputContext) -> tf.data.Dataset:
            size = context.get_per_replica_batch_size(self.batch_size)
            local_batches = self.num_steps * self.replicas // self.workers
            shard = (context.input_pipeline_id, context.num_input_pipelines)
            return with_weights(read(size, shard), size, pad=True, num_batches=local_batches)

        return self.strategy.distribute_datasets_from_function(make)


def choose_feed(
    data: Any, split: str, config: TrainingConfig, strategy: tf.distribute.Strategy, *, training: bool, drop_last: bool
) -> Feed:
    """From memory where one device reads small inputs that are the same in every epoch, else as a stream.

    Args:
      data: the data set.
      split: which of its splits.
      config: batch size, augmentation and order.
      strategy: where the examples go.
      training: whether the network is trained on the split.
      drop_last: whether a smaller last batch is left out.
    """
    resident_bytes = getattr(data, "resident_bytes", None)
    changes = training and "augmentation" in config.regularizers
    one_device = strategy.num_replicas_in_sync == 1
    if one_device and not changes and resident_bytes is not None:
        size = resident_bytes(split)
        if size is not None and size <= _MOST_RESIDENT_BYTES:
            shuffle = training and config.shuffle
            return Resident(
                data=data, split=split, batch_size=config.effective_batch_size, shuffle=shuffle, strategy=strategy
            )
    return Stream(data, split, config, strategy, drop_last=drop_last)
