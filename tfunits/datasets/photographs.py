"""Encoded photographs of any size into a network's inputs, decoding no more than needed."""

import dataclasses
import functools
from collections.abc import Callable

import tensorflow as tf

from tfunits.datasets.preprocessing import LARGEST_PIXEL, per_pixel, resize_tf1

# The official TensorFlow ResNet (FACTS 3.3): means of ImageNet's channels, and the random box of training.
_CHANNEL_MEANS = (123.68, 116.78, 103.94)
_LEAST_COVERED = 0.1
_ASPECT_RATIOS = (0.75, 1.33)
_AREAS = (0.05, 1.0)
# A JPEG's colours are smoothed over neighbouring columns; so many beyond a window make its borders exact.
_MARGIN = 2
# Keeps the draw of the flip apart from that of the box.
_FLIP_STREAM = 0xF11B


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhotographPreprocessing:
    """What makes an input of one encoded image.

    Attributes:
      side: of the square inputs.
      view: encoded image -> what of it is shown at evaluation, float32 [side, side, 3].
      scale: float32 pixels in 0 .. 255 -> input.
    """

    side: int
    view: Callable[[tf.Tensor], tf.Tensor]
    scale: Callable[[tf.Tensor], tf.Tensor]
    augmentable = True

    def evaluate(self, encoded: tf.Tensor) -> tf.Tensor:
        """The input, float32 [side, side, 3], of an image's bytes."""
        return self._finish(self.view(encoded))

    def augment(self, encoded: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """A random box of an image, perhaps flipped, resized.

        Source: the official TensorFlow ResNet (FACTS 3.3).

        Args:
          encoded: an image's bytes.
          seed: int32 [2]; equal seeds give equal boxes and flips.
        """
        return self.finish_box(decode_window(encoded, functools.partial(draw_box, seed=seed)), seed)

    def finish_box(self, box: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """The input of a box's pixels, uint8 [height, width, 3], flipped or not as the seed says."""
        flips = tf.random.stateless_uniform([], seed + [_FLIP_STREAM, 0]) < 0.5
        box = tf.cond(flips, lambda: tf.reverse(box, [1]), lambda: box)
        return self._finish(_resize(box, (self.side, self.side)))

    def _finish(self, image: tf.Tensor) -> tf.Tensor:
        return self.scale(tf.ensure_shape(image, (self.side, self.side, 3)))


def decode(encoded: tf.Tensor) -> tf.Tensor:
    """uint8 [height, width, 3] of a JPEG, PNG, BMP or GIF (its first frame); grey becomes three channels."""
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    return tf.ensure_shape(image, (None, None, 3))


def decode_window(encoded: tf.Tensor, choose: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """A window of an image, equal to that part of the whole; of a JPEG only the window is decoded.

    Args:
      encoded: an image's bytes.
      choose: int32 [height, width, channels] of the image -> int32 [top, left, height, width] of the window.

    Returns: uint8 [height, width, 3].
    """

    def decode_part() -> tf.Tensor:
        shape = tf.io.extract_jpeg_shape(encoded)
        top, left, height, width = tf.unstack(choose(shape), num=4)
        first, last = tf.maximum(left - _MARGIN, 0), tf.minimum(left + width + _MARGIN, shape[1])
        wider = tf.io.decode_and_crop_jpeg(encoded, tf.stack([top, first, height, last - first]), channels=3)
        return wider[:, left - first : left - first + width]

    def decode_whole() -> tf.Tensor:
        image = decode(encoded)
        top, left, height, width = tf.unstack(choose(tf.shape(image)), num=4)
        return image[top : top + height, left : left + width]

    return tf.ensure_shape(tf.cond(tf.io.is_jpeg(encoded), decode_part, decode_whole), (None, None, 3))


def _view_centre(encoded: tf.Tensor, *, shorter_side: int, side: int) -> tf.Tensor:
    """The central square of an image whose shorter side was resized, its aspect kept.

    The whole image is decoded: sampling a window at TF1's positions costs more than decoding the borders.
    """
    image = decode(encoded)
    height, width = tf.unstack(tf.shape(image)[:2], num=2)
    shorter = tf.minimum(height, width)
    size = tf.stack([height * shorter_side // shorter, width * shorter_side // shorter])
    top, left = tf.unstack((size - side) // 2, num=2)
    return _resize(image, size)[top : top + side, left : left + side]


def _view_share(encoded: tf.Tensor, *, side: int) -> tf.Tensor:
    """The central 7/8 of each side, resized to a square.

    Source: Szegedy et al. 2016's published evaluation, central 87.5 % (FACTS 3.3).
    """

    def choose(shape: tf.Tensor) -> tf.Tensor:
        corner = shape[:2] // 16
        return tf.concat([corner, shape[:2] - 2 * corner], axis=0)

    return _resize(decode_window(encoded, choose), (side, side))


def draw_box(shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """int32 [top, left, height, width] of a random box in an image of that shape."""
    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        shape,
        bounding_boxes=[[[0.0, 0.0, 1.0, 1.0]]],
        seed=seed,
        min_object_covered=_LEAST_COVERED,
        aspect_ratio_range=_ASPECT_RATIOS,
        area_range=_AREAS,
    )
    return tf.concat([begin[:2], size[:2]], axis=0)


def _resize(image: tf.Tensor, size: tuple[int, int] | tf.Tensor) -> tf.Tensor:
    return resize_tf1(image[None], size)[0]


def _subtract_means(image: tf.Tensor) -> tf.Tensor:
    return image - per_pixel(_CHANNEL_MEANS, image.shape)


def _scale_to_one(image: tf.Tensor) -> tf.Tensor:
    return (image / LARGEST_PIXEL - 0.5) * 2


FORMS = {
    "image32": PhotographPreprocessing(
        side=32,
        view=functools.partial(_view_centre, shorter_side=32, side=32),
        scale=tf.image.per_image_standardization,
    ),
    "image224": PhotographPreprocessing(
        side=224, view=functools.partial(_view_centre, shorter_side=256, side=224), scale=_subtract_means
    ),
    "image299": PhotographPreprocessing(
        side=299, view=functools.partial(_view_share, side=299), scale=_scale_to_one
    ),
}  # fmt: skip
