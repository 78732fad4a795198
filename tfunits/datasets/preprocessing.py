"""Batches of stored images into a network's inputs, with and without augmentation."""

import dataclasses
import math

import numpy as np
import tensorflow as tf

# He et al. 2016 and both papers (FACTS 3.1, 14.2): four pixels of padding on every side.
SHIFT_PIXELS = 4
LARGEST_PIXEL = 255.0
# Casper et al. 2021, as their program augments (FACTS 3.1).
_CROP_SIDE = 28
_LARGEST_BRIGHTNESS = 63.0
_CONTRASTS = (0.2, 1.8)
_SIDE = 32


class Preprocessing:
    """Stored examples as they are; the base of all others.

    Attributes:
      num_draws: uniform numbers that the augmentation of one example takes; 0 where there is none.
    """

    num_draws: int = 0

    @property
    def augmentable(self) -> bool:
        """Whether there is an augmentation."""
        return self.num_draws > 0

    def evaluate(self, examples: tf.Tensor) -> tf.Tensor:
        """Inputs [batch, ...], float32, of stored examples [batch, ...]."""
        return tf.cast(examples, tf.float32)

    def augment(self, examples: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        """Inputs of stored examples, each changed as its row of draws says.

        Args:
          examples: [batch, ...] as stored.
          draws: float32 [batch, num_draws] in [0, 1).
        """
        raise NotImplementedError(f"{type(self).__name__} has no augmentation")


class Shifted(Preprocessing):
    """Ready images; augmentation shifts them by up to four pixels, zeros coming in."""

    num_draws = 2

    def augment(self, examples: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        """Shifted images."""
        return self.evaluate(shift(examples, draws))


class Scaled(Shifted):
    """Images with pixels in [0, 1]; augmentation shifts."""

    def evaluate(self, examples: tf.Tensor) -> tf.Tensor:
        """Pixels divided by 255."""
        return tf.cast(examples, tf.float32) / LARGEST_PIXEL


class Flattened(Preprocessing):
    """Vectors of pixels in [0, 1], without augmentation."""

    def evaluate(self, examples: tf.Tensor) -> tf.Tensor:
        """Pixels divided by 255, row by row."""
        return tf.reshape(tf.cast(examples, tf.float32) / LARGEST_PIXEL, [-1, math.prod(examples.shape[1:])])


class Enlarged(Preprocessing):
    """Small grey images at 32x32x3, standardised; augmentation shifts, flips would change what a digit is."""

    num_draws = 2

    def evaluate(self, examples: tf.Tensor) -> tf.Tensor:
        """Resized, repeated to three channels, standardised."""
        return _standardize(_repeat(resize_tf1(examples, (_SIDE, _SIDE))))

    def augment(self, examples: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        """The same with a shift of the resized image."""
        return _standardize(_repeat(shift(resize_tf1(examples, (_SIDE, _SIDE)), draws)))


class Standardized(Preprocessing):
    """Images standardised one by one; augmentation shifts and flips before.

    Source: the official TensorFlow ResNet for CIFAR, as Casper et al. 2021 trained ResNet56 (FACTS 3.1).
    """

    num_draws = 3

    def evaluate(self, examples: tf.Tensor) -> tf.Tensor:
        """(x - mean) / max(std, 1 / sqrt(N)) over the N values of an image."""
        return _standardize(examples)

    def augment(self, examples: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        """Standardised after a shift and a flip."""
        return _standardize(shift(examples, draws))


class Crop28(Preprocessing):
    """Crops of 28x28, standardised, then resized to 32x32; augmentation changes place, side, brightness and contrast.

    Source: Casper et al. 2021's program for AlexNet (FACTS 3.1, F10). Brightness does nothing, since images are
    standardised after it; contrast acts through the differences of the channels' means.
    """

    num_draws = 5

    def evaluate(self, examples: tf.Tensor) -> tf.Tensor:
        """The central crop."""
        top, left = ((side - _CROP_SIDE) // 2 for side in examples.shape[1:3])
        return self._finish(examples[:, top : top + _CROP_SIDE, left : left + _CROP_SIDE])

    def augment(self, examples: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        """A random crop, flipped, brighter or darker, with more or less contrast."""
        crops = tf.cast(random_crops(examples, (_CROP_SIDE, _CROP_SIDE), draws[:, :3]), tf.float32)
        brightness, contrast = draws[:, 3, None, None, None], draws[:, 4, None, None, None]
        crops += _LARGEST_BRIGHTNESS * (2 * brightness - 1)
        means = tf.reduce_mean(crops, axis=(1, 2), keepdims=True)
        low, high = _CONTRASTS
        return self._finish((crops - means) * (low + (high - low) * contrast) + means)

    def _finish(self, crops: tf.Tensor) -> tf.Tensor:
        return resize_tf1(_standardize(crops), (_SIDE, _SIDE))


@dataclasses.dataclass(frozen=True)
class Normalized(Preprocessing):
    """Images normalised by the channels' statistics of the whole data set; augmentation shifts (reflected) and flips.

      (x / 255 - mean) / std

    Source: Doimo et al. 2022's program (FACTS 14.2).

    Attributes:
      mean, std: a number per channel, of pixels in [0, 1].
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    num_draws = 3

    def evaluate(self, examples: tf.Tensor) -> tf.Tensor:
        """The whole image."""
        mean, std = (per_pixel(values, examples.shape[1:]) for values in (self.mean, self.std))
        return (tf.cast(examples, tf.float32) / LARGEST_PIXEL - mean) / std

    def augment(self, examples: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        """A shift, what comes in being the reflection of the image, and a flip."""
        return self.evaluate(shift(examples, draws, padding="reflect"))


def resize_tf1(images: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Bilinear resizing as TensorFlow 1 did it, without half-pixel centres.

      out[i, j] = image at row i * height / new_height and column j * width / new_width, neighbours beyond the edge
      being the edge

    Args:
      images: [batch, height, width, channels].
      size: new height and width.

    Returns: float32 [batch, *size, channels].

    Differs: `tf.image.resize` of TensorFlow 2 takes (i + 1/2) * height / new_height - 1/2.
    """
    return tf.raw_ops.ResizeBilinear(images=images, size=size, align_corners=False, half_pixel_centers=False)


def shift(images: tf.Tensor, draws: tf.Tensor, padding: str = "constant") -> tf.Tensor:
    """Pad by `SHIFT_PIXELS` and crop at random: a shift in each direction, and a flip where a third draw is given.

    Args:
      images: [batch, height, width, channels].
      draws: float32 [batch, 2 or 3] in [0, 1).
      padding: "constant" for zeros, "reflect" for the image's reflection.

    Returns: images of the same shape and type.
    """
    height, width = images.shape[1:3]
    # Padded rows and columns are looked up, which is faster than copying the images; -1 stands for zeros.
    filled = {"constant_values": -1} if padding == "constant" else {}
    rows, columns = (np.pad(np.arange(n, dtype="int32"), SHIFT_PIXELS, padding, **filled) for n in (height, width))
    return _crop(images, rows, columns, (height, width), draws)


def random_crops(images: tf.Tensor, size: tuple[int, int], draws: tf.Tensor) -> tf.Tensor:
    """A crop of every image.

    Args:
      images: [batch, height, width, channels].
      size: height and width of the crops.
      draws: float32 [batch, 2 or 3] in [0, 1): row and column of the crop, and whether its columns are reversed
        (below a half).

    Returns: [batch, *size, channels] of the same type.
    """
    rows, columns = (np.arange(n, dtype="int32") for n in images.shape[1:3])
    return _crop(images, rows, columns, size, draws)


def _crop(
    images: tf.Tensor, rows: np.ndarray, columns: np.ndarray, size: tuple[int, int], draws: tf.Tensor
) -> tf.Tensor:
    """Random crops of the images whose rows and columns are those listed."""
    _, height, width, channels = images.shape
    last = np.array([len(rows), len(columns)]) - size
    corner = tf.cast(tf.floor(draws[:, :2] * (last + 1)), tf.int32)
    row = tf.gather(rows, corner[:, :1] + tf.range(size[0]))
    column = tf.gather(columns, corner[:, 1:] + tf.range(size[1]))
    if draws.shape[1] == 3:
        column = tf.where(draws[:, 2:] < 0.5, column[:, ::-1], column)
    row, column = row[:, :, None], column[:, None, :]
    # One gather of pixels is several times faster than a crop image by image.
    pixels, count = tf.reshape(images, [-1, channels]), tf.shape(images)[0]
    place = (tf.range(count)[:, None, None] * height + row) * width + column
    if min(*rows, *columns) < 0:
        pixels = tf.concat([pixels, tf.zeros([1, channels], images.dtype)], axis=0)
        place = tf.where((row < 0) | (column < 0), count * height * width, place)
    return tf.gather(pixels, place)


def per_pixel(values: tuple[float, ...], shape: tuple[int, ...]) -> np.ndarray:
    """A value per channel at every pixel: TensorFlow broadcasts along the last axis several times more slowly."""
    return np.broadcast_to(np.array(values, "float32"), shape)


def _standardize(images: tf.Tensor) -> tf.Tensor:
    return tf.image.per_image_standardization(images)


def _repeat(images: tf.Tensor) -> tf.Tensor:
    return tf.repeat(images, 3, axis=-1)
