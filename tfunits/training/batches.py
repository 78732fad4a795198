"""Batches with a weight per example, so that every device always has something to do."""

import tensorflow as tf


def with_weights(batches: tf.data.Dataset, batch_size: int, num_replicas: int) -> tf.data.Dataset:
    """Batches of (inputs, labels, weights), weights 1.

    On several replicas the last batch is padded to the batch size with copies of its first example of weight 0: a
    replica without examples would break convolutions, and one with fewer would weigh them more (KERAS.md, trap 4).

    Args:
      batches: batches of (inputs, labels), the last perhaps smaller.
      batch_size: examples in a full batch.
      num_replicas: devices that share a batch.
    """

    def weigh(inputs: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return inputs, labels, tf.ones_like(labels, tf.float32)

    def pad(inputs: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        missing = batch_size - tf.shape(labels)[0]
        source = tf.concat([tf.range(tf.shape(labels)[0]), tf.zeros([missing], tf.int32)], axis=0)
        padded = [tf.ensure_shape(tf.gather(t, source), [batch_size, *t.shape[1:]]) for t in (inputs, labels)]
        return padded[0], padded[1], tf.pad(weights, [[0, missing]])

    weighted = batches.map(weigh, num_parallel_calls=1)
    if num_replicas > 1:
        weighted = weighted.map(pad, num_parallel_calls=1)
    return weighted.prefetch(2)
