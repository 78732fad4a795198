"""Normalisations over units that count as a layer of other units did, and small layers that surgery puts in."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np


class _Counted(keras.layers.Layer):
    """What the counted normalisations share: weights, and arithmetic in float32 at least."""

    def __init__(
        self, counted: Sequence[bool], num_counted: int, epsilon: float = 1e-3, center: bool = True,
        scale: bool = True, beta_initializer: Any = "zeros", gamma_initializer: Any = "ones",
        beta_regularizer: Any = None, gamma_regularizer: Any = None, beta_constraint: Any = None,
        gamma_constraint: Any = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        self.counted, self.num_counted, self.epsilon = [bool(c) for c in counted], num_counted, epsilon
        self.center, self.scale = center, scale
        self._made = {
            "gamma": (keras.initializers.get(gamma_initializer), keras.regularizers.get(gamma_regularizer),
                      keras.constraints.get(gamma_constraint)),
            "beta": (keras.initializers.get(beta_initializer), keras.regularizers.get(beta_regularizer),
                     keras.constraints.get(beta_constraint)),
        }  # fmt: skip
        self.gamma = self.beta = None
        self.supports_masking = True

    def build(self, input_shape: tuple) -> None:
        """Make gamma and beta, where the layer has them."""
        for name, wanted in (("gamma", self.scale), ("beta", self.center)):
            if wanted:
                initializer, regularizer, constraint = self._made[name]
                weight = self.add_weight(
                    name=name, shape=(len(self.counted),), initializer=initializer, regularizer=regularizer,
                    constraint=constraint,
                )  # fmt: skip
                setattr(self, name, weight)
        super().build(input_shape)

    def _wide(self, inputs: Any) -> Any:
        """Inputs in float32 at least: sums of half precision would lose units."""
        dtype = "float32" if keras.backend.standardize_dtype(inputs.dtype) in ("float16", "bfloat16") else inputs.dtype
        return keras.ops.cast(inputs, dtype)

    def _scaled(self, values: Any, shape: Sequence[int], dtype: Any) -> Any:
        """Values times gamma plus beta, laid along `shape`."""
        if self.gamma is not None:
            values = values * keras.ops.reshape(keras.ops.cast(self.gamma, values.dtype), shape)
        if self.beta is not None:
            values = values + keras.ops.reshape(keras.ops.cast(self.beta, values.dtype), shape)
        return keras.ops.cast(values, dtype)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """The input shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """What the layer was made with."""
        own = {
            "counted": self.counted, "num_counted": self.num_counted, "epsilon": self.epsilon, "center": self.center,
            "scale": self.scale,
        }  # fmt: skip
        for name, (initializer, regularizer, constraint) in self._made.items():
            own[f"{name}_initializer"] = keras.initializers.serialize(initializer)
            own[f"{name}_regularizer"] = keras.regularizers.serialize(regularizer)
            own[f"{name}_constraint"] = keras.constraints.serialize(constraint)
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="tfunits")
class CountedLayerNormalization(_Counted):
    """Layer normalisation over the last axis as if it had another number of units.

      mean = sum_i c_i x_i / N,   variance = (sum_i c_i (x_i - mean)^2 + (N - sum_i c_i) mean^2) / N
      y = gamma (x - mean) / sqrt(variance + epsilon) + beta

    A unit that was removed counts as one whose value is 0; a unit that was added does not count.

    Args:
      counted: c, for every unit whether it counts.
      num_counted: N, the number of units that the layer was made for.
      epsilon, center, scale, **kwargs: those of `keras.layers.LayerNormalization`.
    """

    def call(self, inputs: Any) -> Any:
        """Normalised inputs [batch, ..., units]."""
        x = self._wide(inputs)
        counts = keras.ops.cast(np.asarray(self.counted, "float32"), x.dtype)
        mean = keras.ops.sum(x * counts, axis=-1, keepdims=True) / self.num_counted
        missing = self.num_counted - sum(self.counted)
        squares = keras.ops.sum(keras.ops.square(x - mean) * counts, axis=-1, keepdims=True)
        variance = (squares + missing * keras.ops.square(mean)) / self.num_counted
        return self._scaled((x - mean) * keras.ops.rsqrt(variance + self.epsilon), (-1,), inputs.dtype)


@keras.saving.register_keras_serializable(package="tfunits")
class CountedRMSNormalization(keras.layers.Layer):
    """RMS normalisation over the last axis as if it had another number of units.

      y = scale x / sqrt(sum_i c_i x_i^2 / N + epsilon)

    Args:
      counted: c, for every unit whether it counts.
      num_counted: N, the number of units that the layer was made for.
      epsilon: of the equation.
    """

    def __init__(self, counted: Sequence[bool], num_counted: int, epsilon: float = 1e-6, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.counted, self.num_counted, self.epsilon = [bool(c) for c in counted], num_counted, epsilon
        self.supports_masking = True

    def build(self, input_shape: tuple) -> None:
        """Make the scale."""
        self.scale = self.add_weight(name="scale", shape=(len(self.counted),), initializer="ones")
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """Normalised inputs [batch, ..., units]."""
        is_half = keras.backend.standardize_dtype(inputs.dtype) in ("float16", "bfloat16")
        x = keras.ops.cast(inputs, "float32" if is_half else inputs.dtype)
        counts = keras.ops.cast(np.asarray(self.counted, "float32"), x.dtype)
        mean_square = keras.ops.sum(keras.ops.square(x) * counts, axis=-1, keepdims=True) / self.num_counted
        scaled = x * keras.ops.rsqrt(mean_square + self.epsilon) * keras.ops.cast(self.scale, x.dtype)
        return keras.ops.cast(scaled, inputs.dtype)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """The input shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """What the layer was made with."""
        own = {"counted": self.counted, "num_counted": self.num_counted, "epsilon": self.epsilon}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="tfunits")
class CountedGroupNormalization(_Counted):
    """Group normalisation whose groups may have lost or gained units, with the counts of before.

    Mean and variance of a group are over its positions and units, N units a group; a unit that was removed counts as
    one whose value is 0, a unit that was added does not count.

    Args:
      groups: for every unit the number of its group.
      axis: of the units.
      counted, num_counted: for every unit whether it counts; N.
      epsilon, center, scale, **kwargs: those of `keras.layers.GroupNormalization`.
    """

    def __init__(self, groups: Sequence[int], axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.groups, self.axis = list(groups), axis

    def call(self, inputs: Any) -> Any:
        """Normalised inputs [batch, ..., units, ...]."""
        x = self._wide(inputs)
        rank = len(x.shape)
        axis = self.axis % rank
        positions = [other for other in range(1, rank) if other != axis]
        shape = [1] * rank
        shape[axis] = len(self.groups)
        member = np.eye(max(self.groups) + 1, dtype="float32")[self.groups]
        member = keras.ops.cast(member, x.dtype)
        counts = keras.ops.cast(np.asarray(self.counted, "float32"), x.dtype)
        # Positions of one unit: a mean over them, then over the units of a group.
        of_units = keras.ops.mean(x, axis=positions, keepdims=False) if positions else x
        mean = keras.ops.matmul(of_units * counts, member) / self.num_counted
        spread = keras.ops.reshape(keras.ops.matmul(mean, keras.ops.transpose(member)), (-1, *shape[1:]))
        squares = keras.ops.square(x - spread)
        squares = (keras.ops.mean(squares, axis=positions) if positions else squares) * counts
        missing = self.num_counted - keras.ops.sum(member * counts[:, None], axis=0)
        variance = (keras.ops.matmul(squares, member) + missing * keras.ops.square(mean)) / self.num_counted
        inverse = keras.ops.matmul(keras.ops.rsqrt(variance + self.epsilon), keras.ops.transpose(member))
        return self._scaled((x - spread) * keras.ops.reshape(inverse, (-1, *shape[1:])), shape, inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        """What the layer was made with."""
        return {**super().get_config(), "groups": self.groups, "axis": self.axis}


@keras.saving.register_keras_serializable(package="tfunits")
class PositionBias(keras.layers.Layer):
    """Adds a constant to every position and unit.

    y = x + bias,  bias [..., units] of the shape of one example
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, input_shape: tuple) -> None:
        """Make the bias, 0 at first."""
        self.bias = self.add_weight(name="bias", shape=tuple(input_shape[1:]), initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """Inputs with the bias added."""
        return inputs + keras.ops.cast(self.bias, inputs.dtype)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """The input shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """What any layer has."""
        return super().get_config()


@keras.saving.register_keras_serializable(package="tfunits")
class TakeUnits(keras.layers.Layer):
    """Some of the units along the last axis.

    Args:
      indices: of the units, in the order in which they are to stand.
    """

    def __init__(self, indices: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.indices = [int(index) for index in indices]
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        """The chosen units [batch, ..., len(indices)]."""
        return keras.ops.take(inputs, np.asarray(self.indices, "int32"), axis=-1)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """The input shape with as many units as are taken."""
        return (*input_shape[:-1], len(self.indices))

    def get_config(self) -> dict[str, Any]:
        """The indices."""
        return {**super().get_config(), "indices": self.indices}
