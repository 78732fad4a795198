"""Normalisations: of local responses, and of batches on one device or many."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf


@keras.saving.register_keras_serializable(package="tfunits")
class LocalResponseNormalization(keras.layers.Layer):
    """Divides every channel by the energy of its neighbours.

      y_c = x_c / (bias + alpha * sum_{|d| <= radius} x_{c+d}^2)^beta

    Alpha is not divided by the size of the window, as in TensorFlow and unlike the first AlexNet.

    Args:
      radius: channels on either side that count, at least 1.
      bias, alpha, beta: constants of the equation; AlexNet's on CIFAR by default.
      places: for every channel the place that decides its neighbours; its own if None. Where channels were removed,
        the rest keep theirs.
      counted: for every channel whether its neighbours count it; all if None. Copies of channels do not count.

    Source: Krizhevsky et al. 2012; constants of Casper et al.'s program (FACTS 2.1).
    """

    def __init__(
        self, radius: int = 2, bias: float = 1.0, alpha: float = 2e-5, beta: float = 0.75,
        places: Sequence[int] | None = None, counted: Sequence[bool] | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        self.radius, self.bias, self.alpha, self.beta = radius, bias, alpha, beta
        self.places = None if places is None else [int(place) for place in places]
        self.counted = None if counted is None else [bool(count) for count in counted]

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Normalised inputs of the same shape [batch, height, width, channels]."""
        if self.places is not None or self.counted is not None:
            num_channels = inputs.shape[-1]
            places = np.arange(num_channels) if self.places is None else np.array(self.places)
            counted = np.ones(num_channels, bool) if self.counted is None else np.array(self.counted)
            near = (np.abs(places[:, None] - places) <= self.radius) & counted[:, None]
            energy = tf.linalg.matmul(tf.square(inputs), tf.constant(near, inputs.dtype))
            return inputs * tf.pow(self.bias + self.alpha * energy, -self.beta)
        return tf.nn.local_response_normalization(
            inputs, depth_radius=self.radius, bias=self.bias, alpha=self.alpha, beta=self.beta
        )

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """The input shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The constants."""
        own = {"radius": self.radius, "bias": self.bias, "alpha": self.alpha, "beta": self.beta}
        if self.places is not None or self.counted is not None:
            own |= {"places": self.places, "counted": self.counted}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="tfunits")
class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation over the last axis, whose statistics are those of the whole batch on all replicas.

      y = gamma (x - mean) / sqrt(variance + epsilon) + beta

    One replica runs TensorFlow's fused operation, which needs three quarters of the time of Keras' own; several share
    their sums. As there and in PyTorch, the moving variance averages the unbiased variance of batches, n / (n - 1)
    times the one that normalises.

    Args:
      **kwargs: those of `keras.layers.BatchNormalization`; axis must be the last.

    Raises:
      ValueError: another axis.

    Differs: Keras' layer averages the biased variance.
    """

    def __init__(self, **kwargs: Any) -> None:
        if kwargs.get("axis", -1) != -1:
            raise ValueError(f"axis: expected -1, the last, received {kwargs['axis']}")
        super().__init__(**{**kwargs, "synchronized": True})

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: Any = None) -> tf.Tensor:
        """Normalised inputs [batch, ..., channels], by the batch in training and by moving averages at inference.

        Raises:
          ValueError: a mask.
        """
        if mask is not None:
            raise ValueError("mask: expected None, since every position counts; use keras.layers.BatchNormalization")
        if not (training and self.trainable):
            return self._normalize(inputs, self.moving_mean.value, self.moving_variance.value)
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            outputs, mean, variance = self._normalize_fused(inputs)
        else:
            mean, biased, count = _global_moments(inputs, context)
            outputs = self._normalize(inputs, mean, biased)
            variance = biased * count / tf.maximum(count - 1, 1)
        for average, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign(average * self.momentum + value * (1 - self.momentum))
        return outputs

    def _coefficients(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Gamma and beta, 1 and 0 where the layer has none."""
        gamma = self.gamma.value if self.scale else tf.ones_like(self.moving_mean.value)
        beta = self.beta.value if self.center else tf.zeros_like(self.moving_mean.value)
        return gamma, beta

    def _as_image(self, inputs: tf.Tensor) -> tf.Tensor:
        """Inputs of any rank as [batch, positions, 1, channels], for the fused operation."""
        return inputs if inputs.shape.rank == 4 else tf.reshape(inputs, [tf.shape(inputs)[0], -1, 1, inputs.shape[-1]])

    def _normalize_fused(self, inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        gamma, beta = self._coefficients()
        result = tf.raw_ops.FusedBatchNormV3(
            x=self._as_image(inputs), scale=gamma, offset=beta, mean=[], variance=[], epsilon=self.epsilon,
            is_training=True,
        )  # fmt: skip
        return tf.reshape(result.y, tf.shape(inputs)), result.batch_mean, result.batch_variance

    def _normalize(self, inputs: tf.Tensor, mean: tf.Tensor, variance: tf.Tensor) -> tf.Tensor:
        gamma, beta = self._coefficients()
        factor = gamma * tf.math.rsqrt(variance + self.epsilon)
        # In float32, as the fused operation computes: half precision would lose what a large mean leaves.
        outputs = tf.cast(inputs, factor.dtype) * factor + (beta - mean * factor)
        return tf.cast(outputs, inputs.dtype)


def _global_moments(inputs: tf.Tensor, context: tf.distribute.ReplicaContext) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Mean and biased variance of every channel over all replicas, and the number of values behind them.

    Two rounds, since a difference of squares would lose what a large mean leaves of float32.
    """
    axes = list(range(inputs.shape.rank - 1))
    values = tf.cast(inputs, tf.float32)
    count = tf.cast(tf.size(values) // values.shape[-1], tf.float32)
    count, total = context.all_reduce("SUM", [count, tf.reduce_sum(values, axes)])
    mean = total / count
    variance = context.all_reduce("SUM", tf.reduce_sum(tf.square(values - mean), axes)) / count
    return mean, variance, count
