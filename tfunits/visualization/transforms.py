"""Small random changes under which a visualisation must hold: what survives only without them is noise.

A transform is a frozen value that is called with images [batch, height, width, channels] and a seed, int32 [2]. One
draw holds for the whole batch and depends on the seed alone, so that a unit's picture does not depend on which others
are drawn beside it.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

# Lucid 0.3.10's standard transforms, made for images of 128 pixels.
_STANDARD_SIDE = 128
_STANDARD_PADDING = 12
_STANDARD_JITTERS = (8, 4)
_STANDARD_SCALES = tuple(1 + (step - 5) / 50 for step in range(11))
_STANDARD_ANGLES = (*range(-10, 11), *5 * (0,))
_GREY = 0.5

# (images, seed) -> images, whose height and width may be others.
Transform = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Pad:
    """Pixels around the image, all of one value; see `pad`."""

    width: int
    value: float

    def __call__(self, images: tf.Tensor, seed: Any) -> tf.Tensor:
        """Images [batch, height + 2 width, width + 2 width, channels]."""
        sides = [self.width, self.width]
        return tf.pad(images, [[0, 0], sides, sides, [0, 0]], constant_values=self.value)


@dataclasses.dataclass(frozen=True)
class Jitter:
    """A crop at a random place; see `jitter`."""

    distance: int

    def __call__(self, images: tf.Tensor, seed: Any) -> tf.Tensor:
        """Images [batch, height - distance, width - distance, channels]."""
        return self.crop(images, tf.random.stateless_uniform([2], seed, 0, self.distance + 1, tf.int32))

    def crop(self, images: tf.Tensor, corner: Any) -> tf.Tensor:
        """The crop whose first row and column are given, each in 0 .. distance."""
        shape, less = tf.shape(images), [0, self.distance, self.distance, 0]
        # Unlike an indexed tensor, whose gradient takes seven times as long, a slice has a padding as its gradient.
        cropped = tf.slice(images, tf.stack([0, corner[0], corner[1], 0]), tf.maximum(shape - less, 0))
        return tf.ensure_shape(cropped, [None, None, None, images.shape[-1]])


@dataclasses.dataclass(frozen=True)
class RandomScale:
    """A resizing by a random factor; see `random_scale`."""

    scales: tuple[float, ...]

    def __call__(self, images: tf.Tensor, seed: Any) -> tf.Tensor:
        """Images [batch, int(s * height), int(s * width), channels]."""
        # In float32, as Lucid: int(1.1 * 40) is 44 there, which exact arithmetic does not always give.
        sides = tf.cast(_choose(self.scales, seed) * tf.cast(tf.shape(images)[1:3], tf.float32), tf.int32)
        return resize(images, sides)


@dataclasses.dataclass(frozen=True)
class RandomRotate:
    """A rotation by a random angle; see `random_rotate`."""

    degrees: tuple[float, ...]

    def __call__(self, images: tf.Tensor, seed: Any) -> tf.Tensor:
        """Images of the same shape."""
        angle = _choose(self.degrees, seed) * (math.pi / 180)
        # Of Lucid's standard angles every fourth is 0.
        return tf.cond(angle == 0, lambda: images, lambda: self._rotate(images, angle))

    def _rotate(self, images: tf.Tensor, angle: tf.Tensor) -> tf.Tensor:
        cosine, sine = tf.cos(angle), tf.sin(angle)
        last = tf.cast(tf.shape(images)[1:3] - 1, tf.float32)
        height, width = last[0], last[1]
        shift_x = (width - (cosine * width - sine * height)) / 2
        shift_y = (height - (sine * width + cosine * height)) / 2
        zero = tf.zeros([])
        matrix = tf.stack([cosine, -sine, shift_x, sine, cosine, shift_y, zero, zero])
        return keras.ops.image.affine_transform(
            images, matrix[None], interpolation="bilinear", fill_mode="constant", fill_value=0,
            data_format="channels_last",
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class CropOrPad:
    """The middle of the image, or the image with pixels around it; see `crop_or_pad`."""

    height: int
    width: int
    value: float

    def __call__(self, images: tf.Tensor, seed: Any) -> tf.Tensor:
        """Images [batch, height, width, channels]."""
        # Shifted by the padding's value, since TensorFlow's function pads with zeros.
        fitted = tf.image.resize_with_crop_or_pad(images - self.value, self.height, self.width)
        return fitted + self.value


def pad(width: int, value: float = _GREY) -> Pad:
    """Pixels of one value around the image.

    Args:
      width: pixels on every side.
      value: of the new pixels, in [0, 1].

    Returns: a transform for `render`.

    Raises:
      ValueError: a width below 0.

    Example:
      >>> pad(2)(images, (0, 0)).shape
      TensorShape([6, 36, 36, 3])

    Source: Lucid 0.3.10, optvis.transform.
    """
    return Pad(_check_pixels("width", width), value)


def jitter(distance: int) -> Jitter:
    """A crop that is smaller by `distance` pixels, at a random place.

    Args:
      distance: rows and columns that are left out.

    Returns: a transform for `render`.

    Raises:
      ValueError: a distance below 0.

    Example:
      >>> jitter(4)(images, (0, 0)).shape
      TensorShape([6, 28, 28, 3])

    Source: Lucid 0.3.10, optvis.transform.
    """
    return Jitter(_check_pixels("distance", distance))


def random_scale(scales: Sequence[float]) -> RandomScale:
    """Resizing to int(s * height) x int(s * width), bilinear, s one of the scales.

    Args:
      scales: factors above 0, each as likely as another; one that stands twice is twice as likely.

    Returns: a transform for `render`.

    Raises:
      ValueError: no scale, or one that is not above 0.

    Example:
      >>> random_scale([0.5])(images, (0, 0)).shape
      TensorShape([6, 16, 16, 3])

    Source: Lucid 0.3.10, optvis.transform, with TensorFlow 1's resizing.
    """
    if not len(scales) or not all(0 < scale < math.inf for scale in scales):
        raise ValueError(f"scales: expected at least one factor, all above 0 and finite, received {list(scales)}")
    return RandomScale(tuple(map(float, scales)))


def random_rotate(degrees: Sequence[float]) -> RandomRotate:
    """Rotation about the middle by one of the angles, bilinear; black comes in at the corners.

    Args:
      degrees: angles, counter-clockwise, each as likely as another.

    Returns: a transform for `render`.

    Raises:
      ValueError: no angle, or one that is not finite.

    Example:
      >>> random_rotate([90])(images, (0, 0)).shape
      TensorShape([6, 32, 32, 3])

    Source: Lucid 0.3.10, optvis.transform.
    Differs: Lucid takes the nearest pixel, and 3.14 for pi. As there, TensorFlow's gradient is the rotation back.
    """
    if not len(degrees) or not all(math.isfinite(angle) for angle in degrees):
        raise ValueError(f"degrees: expected at least one angle, all finite, received {list(degrees)}")
    return RandomRotate(tuple(map(float, degrees)))


def crop_or_pad(height: int, width: int, value: float = _GREY) -> CropOrPad:
    """The middle of the image, with pixels of one value around it where it is too small.

    `render` adds it behind the transforms for networks that read one size only.

    Args:
      height, width: of the result.
      value: of new pixels.

    Returns: a transform for `render`.

    Raises:
      ValueError: a height or width below 1.

    Example:
      >>> crop_or_pad(24, 40)(images, (0, 0)).shape
      TensorShape([6, 24, 40, 3])

    Source: Lucid 0.3.10, optvis.transform.
    Differs: Lucid's new pixels are black.
    """
    for name, pixels in (("height", height), ("width", width)):
        if pixels < 1:
            raise ValueError(f"{name}: expected at least 1 pixel, received {pixels}")
    return CropOrPad(height, width, value)


def standard(height: int, width: int) -> list[Transform]:
    """Lucid's standard transforms: pad 12, jitter 8, scale by 0.9 to 1.1, rotate by -10 to 10 degrees, jitter 4.

    Pixels are those of Lucid where the shorter side has 128 or more. For smaller images they shrink with it:
    max(1, round(pixels * side / 128)), so 3, 2 and 1 at 32x32. Scales and angles stay.

    Args:
      height, width: of the image.

    Returns: transforms for `render`.

    Example:
      >>> [transform.distance for transform in standard(32, 32) if isinstance(transform, Jitter)]
      [2, 1]

    Source: Lucid 0.3.10, optvis.transform.standard_transforms; the shrinking is ours.
    """
    share = min(1.0, min(height, width) / _STANDARD_SIDE)
    padding, first, last = (
        max(1, round(pixels * share)) for pixels in (_STANDARD_PADDING, *_STANDARD_JITTERS)
    )  # fmt: skip
    return [pad(padding), jitter(first), random_scale(_STANDARD_SCALES), random_rotate(_STANDARD_ANGLES), jitter(last)]


def resize(images: tf.Tensor, size: Any) -> tf.Tensor:
    """Bilinear resizing as in TensorFlow 1, without half-pixel centres.

    Args:
      images: [batch, rows, columns, channels].
      size: new height and width.

    Returns: float32 [batch, *size, channels].
    """
    return tf.raw_ops.ResizeBilinear(images=images, size=size, align_corners=False, half_pixel_centers=False)


def apply(transforms: Sequence[Transform], images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """All transforms one after the other, each with a seed of its own.

    Args:
      transforms: in order.
      images: [batch, height, width, channels].
      seed: int32 [2].
    """
    for place, transform in enumerate(transforms):
        images = transform(images, tf.random.experimental.stateless_fold_in(seed, place))
    return images


def _choose(values: Sequence[float], seed: Any) -> tf.Tensor:
    """One of the values, float32."""
    return tf.constant(values, tf.float32)[tf.random.stateless_uniform([], seed, 0, len(values), tf.int32)]


def _check_pixels(name: str, pixels: int) -> int:
    if isinstance(pixels, bool) or not isinstance(pixels, int) or pixels < 0:
        raise ValueError(f"{name}: expected a whole number of pixels, at least 0, received {pixels!r}")
    return pixels
