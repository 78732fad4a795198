"""A loaded data set: explicit splits, and for every epoch an order that depends on nothing but (seed, epoch)."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Protocol, Self

import numpy as np
import tensorflow as tf

from tfunits.configs import UserError
from tfunits.datasets.photographs import PhotographPreprocessing
from tfunits.datasets.preprocessing import Preprocessing

# Examples per batch of the evaluation splits; of short vectors more, whose batches would take longer to hand over than
# to work on. No result depends on it.
EVALUATION_BATCH_SIZE = 128
_LARGEST_BATCH_SIZE = 1024
_VALUES_OF_BATCH = 2**16
# Keeps the draws of augmentation apart from those of the order.
_AUGMENTATION_STREAM = 0xA6
# What reading a damaged file, record or image raises.
_READING_ERRORS = (
    tf.errors.DataLossError,
    tf.errors.FailedPreconditionError,
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.OutOfRangeError,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pass:
    """How a split is read once.

    Attributes:
      batch_size: examples per batch.
      shard: (w, W) for the part of the w-th of W readers.
      seed, epoch: what order and augmentation are drawn from.
      shuffle: whether the order is drawn; else it is the split's own.
      augment: whether inputs are augmented.
    """

    batch_size: int
    shard: tuple[int, int] = (0, 1)
    seed: int = 0
    epoch: int = 0
    shuffle: bool = False
    augment: bool = False

    def order(self, count: int) -> np.ndarray:
        """Positions of this shard's examples among `count`: every W-th of the whole order."""
        order = np.random.default_rng([self.seed, self.epoch]).permutation(count) if self.shuffle else np.arange(count)
        worker, workers = self.shard
        return order[worker::workers]

    def draws(self, count: int, num_draws: int) -> np.ndarray:
        """Uniform numbers for the augmentation of `count` examples: float32 [count, num_draws], a row an example."""
        generator = np.random.default_rng([self.seed, self.epoch, _AUGMENTATION_STREAM])
        return generator.random((count, num_draws), np.float32)

    @property
    def epoch_seed(self) -> int:
        """A number from 0 to 2^31 for all that this epoch draws inside tf.data."""
        return int(np.random.SeedSequence([self.seed, self.epoch]).generate_state(1)[0] >> 1)


class Examples(Protocol):
    """What every kind of split has: arrays in memory, files of images, records.

    Attributes:
      labels: int32 [examples], in the split's own order.
    """

    labels: np.ndarray

    def __len__(self) -> int:
        """Number of examples."""

    def read(self, reading: Pass, preprocessing: Preprocessing | PhotographPreprocessing) -> tf.data.Dataset:
        """Batches of (inputs, labels)."""

    def with_labels(self, labels: np.ndarray) -> Self:
        """The same examples with other labels."""

    def with_background(self) -> Self:
        """The same examples with labels that count from 1."""

    def find_damage(self) -> str | None:
        """One line about the first file that cannot be read; None if all can."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Split:
    """Examples held in memory.

    Attributes:
      inputs: [examples, ...] as stored: pixels as uint8, or what a `Preprocessing` reads.
      labels: int32 [examples], in 0 .. num_classes - 1.
    """

    inputs: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        if len(self.inputs) != len(self.labels):
            raise ValueError(f"labels: expected {len(self.inputs)}, one per example, received {len(self.labels)}")

    def __len__(self) -> int:
        return len(self.labels)

    @functools.cached_property
    def tensors(self) -> tuple[tf.Tensor, tf.Tensor]:
        """(inputs, labels) as tensors in the host's memory, made once, since every epoch reads them."""
        with tf.device("CPU:0"):
            return tf.constant(self.inputs), tf.constant(self.labels)

    def read(self, reading: Pass, preprocessing: Preprocessing) -> tf.data.Dataset:
        """Batches of (inputs, labels), preprocessed a batch at a time."""
        inputs, labels = self.tensors
        order = reading.order(len(self)).astype("int32")
        with tf.device("CPU:0"):
            draws = tf.constant(reading.draws(len(self), preprocessing.num_draws)) if reading.augment else None

        # Nothing here needs AutoGraph, which would take as long as the batches of a small epoch.
        @tf.autograph.experimental.do_not_convert
        def make_batch(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            stored = tf.gather(inputs, index)
            if draws is None:
                ready = preprocessing.evaluate(stored)
            else:
                ready = preprocessing.augment(stored, tf.gather(draws, index))
            return ready, tf.gather(labels, index)

        batches = _cut(order, reading.batch_size)
        made = batches.map(make_batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(2)
        # The end of an autotuned pass may wait for the tuner's next round, up to as long again as the pass took.
        options = tf.data.Options()
        options.autotune.enabled = False
        return made.with_options(options)

    def with_labels(self, labels: np.ndarray) -> Self:
        """The same inputs with other labels."""
        return dataclasses.replace(self, labels=labels)

    def with_background(self) -> Self:
        """The same inputs with labels that count from 1."""
        return self.with_labels(self.labels + 1)

    def find_damage(self) -> None:
        """Nothing: what is in memory has been read."""


def _cut(order: np.ndarray, size: int) -> tf.data.Dataset:
    """Batches of an order; as elements of their own, since tf.data takes microseconds to join single numbers."""
    whole = len(order) // size * size
    batches = tf.data.Dataset.from_tensor_slices(order[:whole].reshape(-1, size))
    rest = tf.data.Dataset.from_tensor_slices(order[whole:]).batch(size)
    return batches.concatenate(rest) if whole < len(order) else batches


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """Named data, ready for a network.

    Attributes:
      name: the data set's name.
      num_classes: number of labels.
      splits: "train", "validation", "test", as far as they hold examples -> those, disjoint.
      preprocessing: what makes inputs of stored examples.

    Example:
      >>> data = tfunits.datasets.load("digits")
      >>> inputs, labels = next(iter(data.epoch(0, seed=0, batch_size=32)))
    """

    name: str
    num_classes: int
    splits: Mapping[str, Examples]
    preprocessing: Preprocessing | PhotographPreprocessing = dataclasses.field(default_factory=Preprocessing)

    @functools.cached_property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        inputs, _ = self.batches(next(iter(self.splits))).element_spec
        return tuple(inputs.shape[1:])

    @property
    def augmentable(self) -> bool:
        """Whether `epoch(augment=True)` has an augmentation to apply."""
        return self.preprocessing.augmentable

    def first(self, count: int) -> Self:
        """The same data with only the first examples of every split.

        Args:
          count: how many; a split that has fewer keeps them all.

        Raises:
          ValueError: fewer than 1, or data that are read from files.
        """
        if count < 1:
            raise ValueError(f"count: expected at least 1, received {count}")
        if not all(isinstance(part, Split) for part in self.splits.values()):
            raise UserError(f"--measured_examples={count}: expected data held in memory, received {self.name}")
        parts = {
            name: part if len(part) <= count else Split(inputs=part.inputs[:count], labels=part.labels[:count])
            for name, part in self.splits.items()
        }
        return dataclasses.replace(self, splits=parts)

    @property
    def train(self) -> tf.data.Dataset:
        """Training examples in their own order: batches of (inputs, labels), unshuffled, unaugmented."""
        return self.batches("train")

    @property
    def validation(self) -> tf.data.Dataset:
        """Validation examples, as `train`."""
        return self.batches("validation")

    @property
    def test(self) -> tf.data.Dataset:
        """Test examples, as `train`."""
        return self.batches("test")

    def batches(self, split: str, batch_size: int | None = None, *, shard: tuple[int, int] = (0, 1)) -> tf.data.Dataset:
        """One split in its own order, batched; the last batch may be smaller.

        Args:
          split: one of `splits`.
          batch_size: examples per batch of this shard; as many as are quickly evaluated if None.
          shard: (w, W) for the part of the w-th of W readers; every example is in one part.

        Raises:
          ValueError: no such split or shard.
        """
        _check_shard(shard)
        batch_size = batch_size or self._evaluation_batch_size(split)
        return self._examples(split).read(Pass(batch_size=batch_size, shard=shard), self.preprocessing)

    def _evaluation_batch_size(self, split: str) -> int:
        part = self._examples(split)
        values = math.prod(part.inputs.shape[1:]) if isinstance(part, Split) else _VALUES_OF_BATCH
        return max(EVALUATION_BATCH_SIZE, min(_LARGEST_BATCH_SIZE, _VALUES_OF_BATCH // max(1, values)))

    def epoch(
        self,
        epoch: int,
        seed: int,
        batch_size: int,
        *,
        augment: bool = False,
        shuffle: bool = True,
        shard: tuple[int, int] = (0, 1),
    ) -> tf.data.Dataset:
        """The training batches of one epoch, a function of (seed, epoch) alone.

        Args:
          epoch: number of the epoch, from 0.
          seed: the run's seed.
          batch_size: examples per batch of this shard; the last batch may be smaller.
          augment: whether inputs are augmented, each by (seed, epoch, example).
          shuffle: whether the order is drawn from (seed, epoch), or the split's own.
          shard: (w, W) for the part of the w-th of W readers. Of arrays and files these are the positions w, w + W, ...
            of the epoch's order, so that W shards with batches of B / W together hold the batches of B; of records,
            parts of the files, whose order depends on W.

        Returns: batches of (inputs, labels), float32 and int32.

        Raises:
          ValueError: augmentation of data that has none, no such shard, or a batch larger than the shard.
        """
        _check_shard(shard)
        # That of the largest shard, so that all readers get the same answer.
        largest = -(-len(self._examples("train")) // shard[1])
        if not 1 <= batch_size <= largest:
            raise ValueError(f"batch_size: expected 1 to {largest}, the training examples, received {batch_size}")
        if augment and not self.augmentable:
            raise ValueError(f"augment: expected False, since {self.name} has no augmentation, received True")
        reading = Pass(
            batch_size=batch_size, shard=shard, seed=seed, epoch=epoch, shuffle=shuffle, augment=augment
        )  # fmt: skip
        return self._examples("train").read(reading, self.preprocessing)

    def epoch_order(self, epoch: int, seed: int, *, shuffle: bool = True) -> np.ndarray:
        """Positions of the training examples in the order in which `epoch` gives them, int64 [examples]."""
        reading = Pass(batch_size=1, seed=seed, epoch=epoch, shuffle=shuffle)
        return reading.order(len(self._examples("train")))

    def resident_bytes(self, split: str) -> int | None:
        """Bytes of a split's inputs as a network reads them; None for data that are read from files."""
        if not isinstance(self._examples(split), Split):
            return None
        return len(self._examples(split)) * math.prod(self.input_shape) * np.dtype(np.float32).itemsize

    def resident(self, split: str) -> tuple[tf.Tensor, tf.Tensor]:
        """(inputs, labels) of a whole split held in memory, in its own order, unaugmented; made once.

        Raises:
          ValueError: data that are read from files.
        """
        if self.resident_bytes(split) is None:
            raise ValueError(f"split: expected one held in memory, received {split!r} of {self.name}")
        made = vars(self).setdefault("_resident", {})
        if split not in made:
            inputs, labels = zip(*self.batches(split), strict=True)
            made[split] = tf.concat(inputs, axis=0), tf.concat(labels, axis=0)
        return made[split]

    def explain(self, error: tf.errors.OpError) -> UserError | None:
        """The damaged file behind an error that reading raised, found by reading all files once.

        Args:
          error: what iterating over batches raised.

        Returns: the error to show instead; None if no file is damaged.
        """
        if not isinstance(error, _READING_ERRORS):
            return None
        found = (part.find_damage() for part in self.splits.values())
        return next((UserError(damage) for damage in found if damage), None)

    def _examples(self, split: str) -> Examples:
        if split not in self.splits:
            raise ValueError(f"split: expected one of {', '.join(self.splits)}, received {split!r}")
        return self.splits[split]


def _check_shard(shard: tuple[int, int]) -> None:
    worker, workers = shard
    if not 0 <= worker < workers:
        raise ValueError(f"shard: expected (w, W) with 0 <= w < W, received {shard}")
