"""A loaded data set: explicit splits, and for every epoch an order that depends on nothing but (seed, epoch)."""

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from tfunits.datasets.augmentation import AUGMENTATIONS

# Examples per batch of the evaluation splits; no result depends on it.
EVALUATION_BATCH_SIZE = 128


@dataclasses.dataclass(frozen=True, kw_only=True)
class Split:
    """Examples held in memory.

    Attributes:
      inputs: float32 [examples, ...], preprocessed.
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
        """(inputs, labels) as tensors, made once, since every epoch reads them."""
        return tf.constant(self.inputs), tf.constant(self.labels)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """Named data, ready for a network.

    Attributes:
      name: the data set's name.
      num_classes: number of labels.
      splits: "train", "validation", "test" -> `Split`, disjoint.
      augmentation: name of the augmentation that `epoch(augment=True)` applies; None if it has none.

    Example:
      >>> data = tfunits.datasets.load("digits")
      >>> inputs, labels = next(iter(data.epoch(0, seed=0, batch_size=32)))
    """

    name: str
    num_classes: int
    splits: Mapping[str, Split]
    augmentation: str | None = None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return self.splits["train"].inputs.shape[1:]

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

    def batches(self, split: str, batch_size: int = EVALUATION_BATCH_SIZE) -> tf.data.Dataset:
        """One split in its own order, batched; the last batch may be smaller.

        Raises:
          ValueError: no such split.
        """
        if split not in self.splits:
            raise ValueError(f"split: expected one of {', '.join(self.splits)}, received {split!r}")
        part = self.splits[split]
        return tf.data.Dataset.from_tensor_slices((part.inputs, part.labels)).batch(batch_size).prefetch(2)

    def epoch(self, epoch: int, seed: int, batch_size: int, *, augment: bool = False) -> tf.data.Dataset:
        """The training batches of one epoch, a function of (seed, epoch) alone.

        Args:
          epoch: number of the epoch, from 0.
          seed: the run's seed.
          batch_size: examples per batch; the last batch may be smaller.
          augment: whether inputs are augmented, each by (seed, epoch, example).

        Returns: batches of (inputs, labels).

        Raises:
          ValueError: augmentation of data that has none, or a batch larger than the data.
        """
        part = self.splits["train"]
        if not 1 <= batch_size <= len(part):
            raise ValueError(f"batch_size: expected 1 to {len(part)}, the training examples, received {batch_size}")
        if augment and self.augmentation is None:
            raise ValueError(f"augment: expected False, since {self.name} has no augmentation, received True")
        order = tf.constant(np.random.default_rng([seed, epoch]).permutation(len(part)), tf.int32)
        inputs, labels = part.tensors

        def gather(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return tf.gather(inputs, index), tf.gather(labels, index)

        indices = tf.data.Dataset.from_tensor_slices(order)
        if augment:
            transform = AUGMENTATIONS[self.augmentation]
            epoch_seed = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0] >> 1)

            def augmented(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                image, label = gather(index)
                return transform(image, tf.stack([epoch_seed, index])), label

            batches = indices.map(augmented, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).batch(batch_size)
        else:
            batches = indices.batch(batch_size).map(gather, num_parallel_calls=1)
        return batches.prefetch(2)
