"""What an image is drawn for: numbers out of a network's activations, which can be added and scaled.

unit("conv1", 3) + 0.5 * unit("fc4", 7) - layer("conv2")
"""

import dataclasses
import math
import numbers
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

# Layer -> activations [objectives, copies, *positions, units].
Read = Callable[[str], tf.Tensor]
# Lucid 0.3.10: keeps the cosine of silent activations finite, and its power above 0.
_COSINE_EPSILON = 1e-4
_LOWEST_COSINE = 0.1
_GRAM_EPSILON = 1e-10


class Objective:
    """What an image is drawn for; a larger value is better.

    Objectives of one form, which differ in their numbers alone (units, directions, factors), are optimised together.
    """

    @property
    def layers(self) -> tuple[str, ...]:
        """The taps or layers that it reads, each once."""
        return ()

    @property
    def form(self) -> tuple:
        """What it computes, without its numbers."""
        return (type(self).__name__, *self.layers)

    @property
    def parameters(self) -> list[np.ndarray]:
        """Its numbers, in the order in which `evaluate` takes them."""
        return []

    def evaluate(self, read: Read, parameters: Iterator[tf.Tensor]) -> tf.Tensor:
        """Values [objectives] of objectives of this form.

        Args:
          read: gives activations, of which the first axis is the objectives and the second their copies.
          parameters: of all objectives, each [objectives, ...].
        """
        raise NotImplementedError

    def check(self, shapes: Mapping[str, Sequence[int | None]]) -> None:
        """Raise `ValueError` for numbers that do not fit the layers.

        Args:
          shapes: layer -> shape of its output, batch axis first.
        """

    def __add__(self, other: Any) -> "Objective":
        other = _as_objective(other)
        return other if other is NotImplemented else Combination((self, other), (1.0, 1.0))

    __radd__ = __add__

    def __neg__(self) -> "Objective":
        return Combination((self,), (-1.0,))

    def __sub__(self, other: Any) -> "Objective":
        other = _as_objective(other)
        return other if other is NotImplemented else Combination((self, other), (1.0, -1.0))

    def __rsub__(self, other: Any) -> "Objective":
        return -self + other

    def __mul__(self, other: Any) -> "Objective":
        if isinstance(other, numbers.Real):
            return Combination((self,), (float(other),))
        return Product((self, other)) if isinstance(other, Objective) else NotImplemented

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> "Objective":
        return self * (1 / other) if isinstance(other, numbers.Real) else NotImplemented


@dataclasses.dataclass(frozen=True)
class _OfLayer(Objective):
    """An objective that reads one layer."""

    name: str

    @property
    def layers(self) -> tuple[str, ...]:
        return (self.name,)


@dataclasses.dataclass(frozen=True)
class Layer(_OfLayer):
    """See `layer`."""

    def evaluate(self, read: Read, parameters: Iterator[tf.Tensor]) -> tf.Tensor:
        """Mean square."""
        return _mean_behind(tf.square(read(self.name)), 1)


@dataclasses.dataclass(frozen=True)
class Diversity(_OfLayer):
    """See `diversity`."""

    def evaluate(self, read: Read, parameters: Iterator[tf.Tensor]) -> tf.Tensor:
        """Minus the summed cosines between the Gram matrices of an objective's copies, per copy."""
        activations = read(self.name)
        shape = tf.shape(activations)
        objectives, copies, units = shape[0], shape[1], activations.shape[-1]
        flat = tf.reshape(activations, [objectives, copies, -1, units])
        grams = tf.reshape(tf.linalg.matmul(flat, flat, transpose_a=True), [objectives, copies, units * units])
        grams = tf.math.l2_normalize(grams, axis=2, epsilon=_GRAM_EPSILON)
        cosines = tf.linalg.matmul(grams, grams, transpose_b=True)
        others = tf.reduce_sum(cosines, axis=(1, 2)) - tf.linalg.trace(cosines)
        return -others / tf.cast(copies, tf.float32)


@dataclasses.dataclass(frozen=True)
class Unit(_OfLayer):
    """See `unit`."""

    unit: int

    @property
    def parameters(self) -> list[np.ndarray]:
        """The unit."""
        return [np.array(self.unit, "int32")]

    def evaluate(self, read: Read, parameters: Iterator[tf.Tensor]) -> tf.Tensor:
        """Mean over positions and copies."""
        return tf.gather(_mean_positions(read(self.name)), next(parameters), axis=1, batch_dims=1)

    def check(self, shapes: Mapping[str, Sequence[int | None]]) -> None:
        """Refuse a unit that the layer does not have."""
        _check_unit(self.name, self.unit, shapes)


@dataclasses.dataclass(frozen=True)
class Neuron(_OfLayer):
    """See `neuron`."""

    unit: int
    row: int | None
    column: int | None

    @property
    def form(self) -> tuple:
        """Whether the place is the middle is a form of its own."""
        return (*super().form, self.row is None, self.column is None)

    @property
    def parameters(self) -> list[np.ndarray]:
        """Unit, row, column; 0 stands for the middle."""
        return [np.array(value or 0, "int32") for value in (self.unit, self.row, self.column)]

    def evaluate(self, read: Read, parameters: Iterator[tf.Tensor]) -> tf.Tensor:
        """The activation at the place, averaged over copies."""
        unit, row, column = (next(parameters) for _ in range(3))
        activations = read(self.name)
        if len(activations.shape) == 5:
            shape = tf.shape(activations)
            middle = tf.ones_like(unit)
            row = middle * (shape[2] // 2) if self.row is None else tf.minimum(row, shape[2] - 1)
            column = middle * (shape[3] // 2) if self.column is None else tf.minimum(column, shape[3] - 1)
            flat = tf.reshape(activations, [shape[0], shape[1], -1, activations.shape[-1]])
            activations = tf.gather(tf.reduce_mean(flat, axis=1), row * shape[3] + column, axis=1, batch_dims=1)
        else:
            activations = tf.reduce_mean(activations, axis=1)
        return tf.gather(activations, unit, axis=1, batch_dims=1)

    def check(self, shapes: Mapping[str, Sequence[int | None]]) -> None:
        """Refuse a unit that the layer does not have, or a place on one without a map or outside it."""
        _check_unit(self.name, self.unit, shapes)
        shape = shapes[self.name]
        if len(shape) not in (2, 4):
            raise ValueError(f"layer: expected units or maps of units, received {self.name!r} of shape {shape}")
        for axis, (name, place) in enumerate((("row", self.row), ("column", self.column)), start=1):
            if place is None:
                continue
            size = shape[axis] if len(shape) == 4 else 0
            if place < 0 or (size is not None and place >= size):
                expected = f"0 to {size - 1} in {self.name!r}" if size else f"none, since {self.name!r} has no map"
                raise ValueError(f"{name}: expected {expected}, received {place}")


@dataclasses.dataclass(frozen=True)
class Direction(_OfLayer):
    """See `direction`."""

    vector: tuple[float, ...]
    cosine_power: float

    @property
    def form(self) -> tuple:
        """Without a power the cosine is not computed."""
        return (*super().form, self.cosine_power == 0)

    @property
    def parameters(self) -> list[np.ndarray]:
        """The direction, and the power."""
        return [np.array(self.vector, "float32"), np.array(self.cosine_power, "float32")]

    def evaluate(self, read: Read, parameters: Iterator[tf.Tensor]) -> tf.Tensor:
        """Mean over positions and copies of the product, times the cosine's power."""
        vector, power = next(parameters), next(parameters)
        activations = read(self.name)
        flat = tf.reshape(activations, [tf.shape(activations)[0], -1, activations.shape[-1]])
        products = tf.einsum("npc,nc->np", flat, vector)
        if self.cosine_power != 0:
            lengths = tf.sqrt(tf.reduce_sum(tf.square(flat), axis=-1)) + _COSINE_EPSILON
            cosines = products / lengths / (tf.norm(vector, axis=-1)[:, None] + _COSINE_EPSILON)
            products *= tf.maximum(_LOWEST_COSINE, cosines) ** power[:, None]
        return tf.reduce_mean(products, axis=1)

    def check(self, shapes: Mapping[str, Sequence[int | None]]) -> None:
        """Refuse a direction of another length than the layer's units."""
        units = shapes[self.name][-1]
        if len(self.vector) != units:
            raise ValueError(
                f"vector: expected {units} numbers, one a unit of {self.name!r}, received {len(self.vector)}"
            )


@dataclasses.dataclass(frozen=True)
class Constant(Objective):
    """A number that is added."""

    value: float

    @property
    def parameters(self) -> list[np.ndarray]:
        """The number."""
        return [np.array(self.value, "float32")]

    def evaluate(self, read: Read, parameters: Iterator[tf.Tensor]) -> tf.Tensor:
        """The number."""
        return next(parameters)


@dataclasses.dataclass(frozen=True)
class _Composed(Objective):
    """An objective made of others."""

    parts: tuple[Objective, ...]

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for part in self.parts for name in part.layers))

    @property
    def form(self) -> tuple:
        return (type(self).__name__, *(part.form for part in self.parts))

    @property
    def parameters(self) -> list[np.ndarray]:
        return [number for part in self.parts for number in part.parameters]

    def check(self, shapes: Mapping[str, Sequence[int | None]]) -> None:
        for part in self.parts:
            part.check(shapes)


@dataclasses.dataclass(frozen=True)
class Combination(_Composed):
    """A sum of objectives, each times a factor."""

    factors: tuple[float, ...]

    @property
    def parameters(self) -> list[np.ndarray]:
        """The factors, then the parts' own."""
        return [np.array(self.factors, "float32"), *super().parameters]

    def evaluate(self, read: Read, parameters: Iterator[tf.Tensor]) -> tf.Tensor:
        """The weighted sum."""
        factors = next(parameters)
        return tf.add_n([factors[:, i] * part.evaluate(read, parameters) for i, part in enumerate(self.parts)])


@dataclasses.dataclass(frozen=True)
class Product(_Composed):
    """A product of objectives."""

    def evaluate(self, read: Read, parameters: Iterator[tf.Tensor]) -> tf.Tensor:
        """The product."""
        return math.prod(part.evaluate(read, parameters) for part in self.parts)


def unit(layer: str, unit: int) -> Unit:
    """The mean activation of a unit, over all positions of its map.

      (1 / HW) sum_ij a_ij,unit

    Args:
      layer: a tap or layer; at a tap activations are those behind the ReLU.
      unit: its number, from 0.

    Returns: an `Objective`.

    Raises:
      TypeError: a unit that is no whole number; one that the layer does not have is refused by `render`.

    Example:
      >>> (unit("conv1", 3) + 0.5 * unit("fc4", 7)).layers
      ('conv1', 'fc4')

    Source: Lucid 0.3.10, optvis.objectives.channel.
    """
    return Unit(layer, _whole("unit", unit))


def neuron(layer: str, unit: int, row: int | None = None, column: int | None = None) -> Neuron:
    """The activation of a unit at one position of its map.

    Args:
      layer: a tap or layer.
      unit: its number, from 0.
      row, column: the position; the middle (the lower right of the four middle ones on even sides) if None. Where
        transforms change the size of the image, the map's size changes with it; on a smaller map than the network's
        own the last row and column stand for those behind them.

    Returns: an `Objective`.

    Raises:
      TypeError: numbers that are not whole; those that the layer does not have are refused by `render`.

    Example:
      >>> neuron("conv1", 3)
      Neuron(name='conv1', unit=3, row=None, column=None)

    Source: Lucid 0.3.10, optvis.objectives.neuron.
    """
    places = [None if place is None else _whole(name, place) for name, place in (("row", row), ("column", column))]
    return Neuron(layer, _whole("unit", unit), *places)


def direction(layer: str, vector: Any, *, cosine_power: float = 0.0) -> Direction:
    """How far the activations point in a direction, on average over positions.

      mean_p (a_p . v) max(0.1, cos(a_p, v))^cosine_power

    Args:
      layer: a tap or layer.
      vector: a number per unit.
      cosine_power: at least 0; how much more the angle counts than the length.

    Returns: an `Objective`.

    Raises:
      ValueError: a vector that is not one of finite numbers, or a power below 0; a vector of another length than the
        layer's units is refused by `render`.

    Example:
      >>> direction("conv1", [1.0, -1.0]).vector
      (1.0, -1.0)

    Source: Lucid 0.3.10, optvis.objectives.direction.
    """
    values = np.asarray(vector, "float32")
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        raise ValueError(f"vector: expected a vector of finite numbers, received an array of shape {values.shape}")
    if not cosine_power >= 0:
        raise ValueError(f"cosine_power: expected a number of at least 0, received {cosine_power}")
    return Direction(layer, tuple(values.tolist()), float(cosine_power))


def layer(layer: str) -> Layer:
    """The mean square of all activations of a layer: deep dream.

    Args:
      layer: a tap or layer.

    Returns: an `Objective`.

    Example:
      >>> layer("conv2").layers
      ('conv2',)

    Source: Lucid 0.3.10, optvis.objectives.deepdream.
    """
    return Layer(layer)


def diversity(layer: str) -> Diversity:
    """How much the copies of an image differ in what they activate: 0 at most, less the more alike they are.

      -(1 / n) sum_{i != j} cos(G_i, G_j),   G = A^T A of the activations A [positions, units] of copy i

    Args:
      layer: a tap or layer. With one copy the value is 0; `render(..., copies=4)` draws four.

    Returns: an `Objective`.

    Example:
      >>> unit("conv1", 3) + diversity("conv2")
      Combination(parts=(Unit(name='conv1', unit=3), Diversity(name='conv2')), factors=(1.0, 1.0))

    Source: Lucid 0.3.10, optvis.objectives.diversity.
    Differs: Lucid's has the other sign (it measures likeness, and is subtracted).
    """
    return Diversity(layer)


def _as_objective(other: Any) -> Any:
    if isinstance(other, numbers.Real):
        return Constant(float(other))
    return other if isinstance(other, Objective) else NotImplemented


def _mean_positions(activations: tf.Tensor) -> tf.Tensor:
    """Activations [objectives, units] averaged over copies and positions."""
    return tf.reduce_mean(activations, axis=list(range(1, len(activations.shape) - 1)))


def _mean_behind(values: tf.Tensor, axis: int) -> tf.Tensor:
    """Mean over an axis and all behind it."""
    return tf.reduce_mean(values, axis=list(range(axis, len(values.shape))))


def _check_unit(layer: str, unit: int, shapes: Mapping[str, Sequence[int | None]]) -> None:
    units = shapes[layer][-1]
    if not 0 <= unit < units:
        raise ValueError(f"unit: expected 0 to {units - 1} in {layer!r}, received {unit}")


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}: expected a whole number, received {value!r}")
    return int(value)
