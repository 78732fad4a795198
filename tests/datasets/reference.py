"""The preprocessing of images written out in numpy, in float64."""

import numpy as np


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """TensorFlow 1's bilinear resizing of [height, width, channels]: position i * old / new, neighbours clamped."""
    image = image.astype("float64")
    for axis, new in enumerate(size):
        old = image.shape[axis]
        position = np.arange(new) * old / new
        lower = np.floor(position).astype(int)
        upper = np.minimum(lower + 1, old - 1)
        share = (position - lower).reshape(-1, 1, 1) if axis == 0 else (position - lower).reshape(1, -1, 1)
        image = image.take(lower, axis) * (1 - share) + image.take(upper, axis) * share
    return image


def resize_tf2(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The same with half-pixel centres: what the networks' authors did not do."""
    image = image.astype("float64")
    for axis, new in enumerate(size):
        old = image.shape[axis]
        position = ((np.arange(new) + 0.5) * old / new - 0.5).clip(0, old - 1)
        lower = np.floor(position).astype(int)
        upper = np.minimum(lower + 1, old - 1)
        share = (position - lower).reshape(-1, 1, 1) if axis == 0 else (position - lower).reshape(1, -1, 1)
        image = image.take(lower, axis) * (1 - share) + image.take(upper, axis) * share
    return image


def standardize(image: np.ndarray) -> np.ndarray:
    """Mean 0; standard deviation 1, or less where it is below one over the root of the number of values."""
    image = image.astype("float64")
    return (image - image.mean()) / max(image.std(), 1 / np.sqrt(image.size))


def crop(image: np.ndarray, top: int, left: int, height: int, width: int, flip: bool = False) -> np.ndarray:
    """A part of an image, perhaps with its columns reversed."""
    part = image[top : top + height, left : left + width]
    return part[:, ::-1] if flip else part
