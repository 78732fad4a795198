"""Optimisers by name."""

from typing import Any

import keras
import tensorflow as tf

from tfunits.configs import TrainingConfig

# TensorFlow 1's default, which Casper et al.'s program and Szegedy et al. 2016 use.
_RMSPROP_DECAY = 0.9


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


@keras.saving.register_keras_serializable(package="tfunits")
class RMSProp(keras.optimizers.Optimizer):
    """RMSProp as TensorFlow 1 has it, the learning rate inside the momentum.

      s <- 0.9 s + 0.1 gradient^2;   m <- momentum * m + learning_rate * gradient / sqrt(s + epsilon);   w <- w - m

    s starts at 1, so that the first steps are small; in Keras' own it starts at 0.

    Args:
      learning_rate: number or schedule.
      momentum: in [0, 1).
      epsilon: above 0.
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        epsilon: float = 1e-10,
        name: str = "rmsprop",
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.momentum, self.epsilon = momentum, epsilon
        self.squares: list[Any] = []
        self.moments: list[Any] = []

    def build(self, variables: Any) -> None:
        """Make a mean square and a momentum a variable."""
        if self.built:
            return
        super().build(variables)
        self.squares = self.add_optimizer_variables(variables, "mean_square", initializer="ones")
        self.moments = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient: tf.Tensor, variable: Any, learning_rate: tf.Tensor) -> None:
        """One step of one variable, in one fused pass over its memory."""
        index, kind = self._get_variable_index(variable), variable.dtype
        tf.raw_ops.ResourceApplyRMSProp(
            var=variable.handle,
            ms=self.squares[index].value.handle,
            mom=self.moments[index].value.handle,
            lr=tf.cast(learning_rate, kind),
            rho=tf.cast(_RMSPROP_DECAY, kind),
            momentum=tf.cast(self.momentum, kind),
            epsilon=tf.cast(self.epsilon, kind),
            grad=gradient,
        )

    def get_config(self) -> dict[str, Any]:
        """The constants."""
        return {**super().get_config(), "momentum": self.momentum, "epsilon": self.epsilon}


OPTIMIZERS = {
    "momentum": lambda rate, config: Momentum(rate, config.momentum),
    "sgd": lambda rate, config: keras.optimizers.SGD(rate),
    "adam": lambda rate, config: keras.optimizers.Adam(rate),
    "rmsprop": lambda rate, config: RMSProp(rate, config.rmsprop_momentum, config.rmsprop_epsilon),
}


def make_optimizer(config: TrainingConfig, learning_rate: Any) -> keras.optimizers.Optimizer:
    """The named optimiser; with float16 arithmetic, inside one that scales the loss out of its underflow.

    Args:
      config: optimiser, its constants, and precision.
      learning_rate: number or schedule.
    """
    optimizer = OPTIMIZERS[config.optimizer](learning_rate, config)
    return keras.optimizers.LossScaleOptimizer(optimizer) if config.precision == "mixed_float16" else optimizer
