"""Images decoded as they are read: the common end of every pipeline that holds nothing decoded in memory."""

from collections.abc import Callable

import tensorflow as tf

from tfunits.datasets.dataset import Pass
from tfunits.datasets.photographs import PhotographPreprocessing


def decode_batches(
    rows: tf.data.Dataset,
    count: int,
    fetch: Callable[..., tuple[tf.Tensor, tf.Tensor, tf.Tensor]],
    reading: Pass,
    preprocessing: PhotographPreprocessing,
) -> tf.data.Dataset:
    """Batches of (inputs, labels), fetched and decoded in parallel and in order.

    Args:
      rows: one element per example.
      count: number of rows.
      fetch: row -> encoded image, label, and position of the example in its split.
      reading: batch size, and whether and from what inputs are augmented.
      preprocessing: encoded image -> input.
    """

    def make_example(*row: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        encoded, label, position = fetch(*row)
        if not reading.augment:
            return preprocessing.evaluate(encoded), label
        seed = tf.stack([reading.epoch_seed, tf.cast(position, tf.int32)])
        return preprocessing.augment(encoded, seed), label

    examples = rows.map(make_example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    # Known beforehand, since filters hide it from tf.data.
    examples = examples.apply(tf.data.experimental.assert_cardinality(count))
    return examples.batch(reading.batch_size).prefetch(2)
