"""From numbers of any size to colours."""

import numpy as np
import tensorflow as tf

# Square root of the correlation of ImageNet's colours, and their mean, as Lucid publishes both.
_COLOR_CORRELATION_ROOT = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]], "float32")
_COLOR_MEAN = np.array([0.48, 0.46, 0.41], "float32")
COLOR_MATRIX = _COLOR_CORRELATION_ROOT / np.linalg.norm(_COLOR_CORRELATION_ROOT, axis=0).max()
RGB_CHANNELS = 3


def correlate_colors(tensor: tf.Tensor) -> tf.Tensor:
    """Colours whose channels are independent, turned into red, green and blue.

      rgb = M c,   M the root of ImageNet's colour correlation, divided by the largest norm of its columns

    Args:
      tensor: float32 [..., 3].

    Returns: float32 [..., 3].

    Example:
      >>> correlate_colors(tf.constant([[1.0, 0.0, 0.0]])).numpy().round(2)
      array([[0.56, 0.58, 0.58]], dtype=float32)

    Source: Lucid 0.3.10, optvis.param.color; Olah et al. 2017, "Preconditioning and parameterization".
    """
    return tf.linalg.matmul(tensor, tf.constant(COLOR_MATRIX.T))


def to_valid_range(tensor: tf.Tensor, *, decorrelate: bool = True, sigmoid: bool = True) -> tf.Tensor:
    """Numbers of any size as pixels in [0, 1].

    Args:
      tensor: float32 [..., channels].
      decorrelate: whether the channels are independent colours, to be correlated; ignored unless there are three.
      sigmoid: squash by the logistic function; else scale down what leaves the range (for decorrelated colours, around
        ImageNet's mean colour).

    Returns: float32 [..., channels] in [0, 1].

    Example:
      >>> to_valid_range(tf.zeros([1, 1, 1, 4])).numpy().ravel()
      array([0.5, 0.5, 0.5, 0.5], dtype=float32)

    Source: Lucid 0.3.10, optvis.param.color.
    Differs: without the sigmoid, Lucid gives colours beyond the range a gradient of its own; here it is 0.
    """
    is_color = decorrelate and tensor.shape[-1] == RGB_CHANNELS
    if is_color:
        tensor = correlate_colors(tensor)
    if sigmoid:
        return tf.sigmoid(tensor)
    centred = 2 * (tensor + _COLOR_MEAN if is_color else tensor) - 1
    return centred / tf.maximum(1.0, tf.abs(centred)) / 2 + 0.5
