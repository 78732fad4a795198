"""Optimisers by name."""

from typing import Any

import keras
import tensorflow as tf

from tfunits.configs import TrainingConfig

# Casper et al.'s program leaves RMSProp at TensorFlow 1's constants: decay 0.9, epsilon 1e-10, no momentum.
_RMSPROP_RHO = 0.9
_RMSPROP_EPSILON = 1e-10


@keras.saving.register_keras_serializable(package="tfunits")
class Momentum(keras.optimizers.Optimizer):
    """Stochastic gradient descent with momentum, the learning rate outside the velocity.

      v <- momentum * v + gradient;    w <- w - learning_rate * v

    TensorFlow 1 and PyTorch do so; Keras' own SGD puts the learning rate inside, which differs after every drop.

    Args:
      learning_rate: number or schedule.
      momentum: in [0, 1).
    """

    def __init__(self, learning_rate: Any = 0.01, momentum: float = 0.9, name: str = "momentum", **kwargs: Any) -> None:
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.momentum = momentum
        self.velocities: list[Any] = []

    def build(self, variables: Any) -> None:
        """Make one velocity a variable."""
        if self.built:
            return
        super().build(variables)
        self.velocities = self.add_optimizer_variables(variables, "velocity")

    def update_step(self, gradient: tf.Tensor, variable: Any, learning_rate: tf.Tensor) -> None:
        """One step of one variable, in one fused pass over its memory."""
        velocity = self.velocities[self._get_variable_index(variable)]
        tf.raw_ops.ResourceApplyMomentum(
            var=variable.handle,
            accum=velocity.value.handle,
            lr=tf.cast(learning_rate, variable.dtype),
            grad=gradient,
            momentum=tf.cast(self.momentum, variable.dtype),
        )

    def get_config(self) -> dict[str, Any]:
        """The constants."""
        return {**super().get_config(), "momentum": self.momentum}


OPTIMIZERS = {
    "momentum": lambda rate, config: Momentum(rate, config.momentum),
    "sgd": lambda rate, config: keras.optimizers.SGD(rate),
    "adam": lambda rate, config: keras.optimizers.Adam(rate),
    "rmsprop": lambda rate, config: keras.optimizers.RMSprop(rate, rho=_RMSPROP_RHO, epsilon=_RMSPROP_EPSILON),
}


def make_optimizer(config: TrainingConfig, learning_rate: Any) -> keras.optimizers.Optimizer:
    """The named optimiser.

    Args:
      config: optimiser and momentum.
      learning_rate: number or schedule.
    """
    return OPTIMIZERS[config.optimizer](learning_rate, config)
