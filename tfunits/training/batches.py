"""Batches with a weight per example, so that every device always has something to do."""

import tensorflow as tf


def with_weights(
    batches: tf.data.Dataset, batch_size: int, *, pad: bool, num_batches: int | None = None
) -> tf.data.Dataset:
    """Batches of (inputs, labels, weights), weights 1.

    A padded batch ends with copies of its first example of weight 0: a replica without examples would break
    convolutions, and one with fewer would weigh them more (KERAS.md, trap 4).

    Args:
      batches: batches of (inputs, labels), the last perhaps smaller.
      batch_size: examples in a full batch.
      pad: whether a smaller batch is padded to the batch size.
      num_batches: exactly so many batches, those that are missing made of zeros of weight 0; None takes what is there.
    """

    def weigh(inputs: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return inputs, labels, tf.ones_like(labels, tf.float32)

    def fill(inputs: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        missing = batch_size - tf.shape(labels)[0]
        source = tf.concat([tf.range(tf.shape(labels)[0]), tf.zeros([missing], tf.int32)], axis=0)
        # A whole batch is not copied.
        padded = [tf.cond(missing > 0, lambda t=t: tf.gather(t, source), lambda t=t: t) for t in (inputs, labels)]
        inputs, labels = (tf.ensure_shape(t, [batch_size, *t.shape[1:]]) for t in padded)
        return inputs, labels, tf.pad(weights, [[0, missing]])

    weighted = batches.map(weigh, num_parallel_calls=1)
    if pad:
        weighted = weighted.map(fill, num_parallel_calls=1)
    if num_batches is not None:
        blank = tuple(tf.zeros([batch_size, *spec.shape[1:]], spec.dtype) for spec in weighted.element_spec)
        weighted = weighted.concatenate(tf.data.Dataset.from_tensors(blank).repeat()).take(num_batches)
    return weighted.prefetch(2)
