"""Label-preserving changes of one example, each a function of (example, seed)."""

import tensorflow as tf

# He et al. 2016 and Casper et al. 2021 (FACTS 3.1): four pixels of padding on every side.
SHIFT_PIXELS = 4


def shift(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Pad with zeros and crop at random: a shift by up to `SHIFT_PIXELS` in each direction.

    Args:
      image: float [height, width, channels].
      seed: int32 [2]; equal seeds give equal shifts.

    Returns: an image of the same shape.
    """
    height, width, channels = image.shape
    margin = [SHIFT_PIXELS, SHIFT_PIXELS]
    padded = tf.pad(image, [margin, margin, [0, 0]])
    corner = tf.random.stateless_uniform([2], seed, 0, 2 * SHIFT_PIXELS + 1, tf.int32)
    return tf.ensure_shape(tf.slice(padded, [corner[0], corner[1], 0], [height, width, channels]), image.shape)


AUGMENTATIONS = {"shift": shift}
