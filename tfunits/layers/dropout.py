"""Dropout whose masks differ between replicas."""

from typing import Any

import keras
import tensorflow as tf

# Seeds of stateless random operations are int32.
_SEED_MODULUS = 2**31 - 1


@keras.saving.register_keras_serializable(package="tfunits")
class ReplicaDropout(keras.layers.Dropout):
    """Inverted dropout with its own mask on every replica.

    Keras mirrors the seed's state, so that its own layer draws the same mask on all replicas of a strategy. Here the
    replica's number is folded into the seed.

    Args:
      rate: share of units set to zero in training, in [0, 1).
      seed: start of the sequence of masks.

    Raises:
      ValueError: a noise shape, which Keras' layer has.
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        if kwargs.pop("noise_shape", None) is not None:
            raise ValueError("noise_shape: expected None, since units are dropped one by one; use keras.layers.Dropout")
        super().__init__(rate, seed=seed, **kwargs)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Inputs with dropped units at zero and the others divided by 1 - rate; inputs at inference."""
        if not training or self.rate == 0:
            return inputs
        seed = self.seed_generator.next()
        context = tf.distribute.get_replica_context()
        replica = context.replica_id_in_sync_group if context is not None else 0
        seed = tf.cast(tf.math.floormod(seed, tf.cast(_SEED_MODULUS, seed.dtype)), tf.int32)
        seed = tf.random.experimental.stateless_fold_in(seed, tf.cast(replica, tf.int32))
        return tf.nn.experimental.stateless_dropout(inputs, rate=self.rate, seed=seed)
