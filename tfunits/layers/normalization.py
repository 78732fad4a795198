"""Local response normalisation."""

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="tfunits")
class LocalResponseNormalization(keras.layers.Layer):
    """Divides every channel by the energy of its neighbours.

      y_c = x_c / (bias + alpha * sum_{|d| <= radius} x_{c+d}^2)^beta

    Alpha is not divided by the size of the window, as in TensorFlow and unlike the first AlexNet.

    Args:
      radius: channels on either side that count, at least 1.
      bias, alpha, beta: constants of the equation; AlexNet's on CIFAR by default.

    Source: Krizhevsky et al. 2012; constants of Casper et al.'s program (FACTS 2.1).
    """

    def __init__(
        self, radius: int = 2, bias: float = 1.0, alpha: float = 2e-5, beta: float = 0.75, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.radius, self.bias, self.alpha, self.beta = radius, bias, alpha, beta

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Normalised inputs of the same shape [batch, height, width, channels]."""
        return tf.nn.local_response_normalization(
            inputs, depth_radius=self.radius, bias=self.bias, alpha=self.alpha, beta=self.beta
        )

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """The input shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The constants."""
        own = {"radius": self.radius, "bias": self.bias, "alpha": self.alpha, "beta": self.beta}
        return {**super().get_config(), **own}
