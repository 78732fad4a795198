"""What an image looks like in numbers: its total variation and its Fourier amplitude."""

import numpy as np

READINGS = ("absolute", "signed")

# Of [..., height, width, channels].
_VERTICAL, _HORIZONTAL = -3, -2


def total_variation(image: np.ndarray, *, reading: str = "absolute") -> float | np.ndarray:
    """How much neighbouring pixels differ, over a whole image.

      absolute:  sum_c ( sum_ij |V[i+1, j, c] - V[i, j, c]| + sum_ij |V[i, j+1, c] - V[i, j, c]| )
      signed:    sum_c ( |sum_ij V[i+1, j, c] - V[i, j, c]| + |sum_ij V[i, j+1, c] - V[i, j, c]| )

    The signed sums telescope: only the four borders of an image count, whatever is between them.

    Args:
      image: [..., height, width, channels], of any dtype and scale; the borders are not padded.
      reading: "absolute" or "signed".

    Returns: a float of 0 or more, computed in float64; of images on more axes, float64 [...].

    Raises:
      ValueError: fewer than three axes, values that are not finite, or another reading.

    Example:
      >>> checked = np.array([[0, 1, 0], [1, 0, 1]])[:, :, None]
      >>> total_variation(checked), total_variation(checked, reading="signed")
      (7.0, 1.0)

    Source: Casper et al. 2021, appendix E, equation 1.
    Differs: the equation as printed has the absolute value outside of the sum over pixels ("signed"); its text, "the
      sum of the absolute valued vertical and horizontal gradients", has it inside, as tf.image.total_variation does.
    """
    image = _check_image("image", image)
    if reading not in READINGS:
        raise ValueError(f"reading: expected one of {READINGS}, received {reading!r}")
    total = np.zeros(image.shape[:-3])
    for axis in (_VERTICAL, _HORIZONTAL):
        differences = np.diff(image, axis=axis)
        if reading == "absolute":
            total += np.abs(differences).sum(axis=(-3, -2, -1))
        else:
            total += np.abs(differences.sum(axis=(-3, -2))).sum(axis=-1)
    return total if total.ndim else float(total)


def fourier_amplitude(images: np.ndarray) -> np.ndarray:
    """Amplitude of every frequency of an image, channel by channel, with frequency 0 in the middle.

      A[h//2 + u, w//2 + v, c] = |sum_ij V[i, j, c] exp(-2 pi sqrt(-1) (u i / h + v j / w))| / sqrt(h w)

    for u = -(h//2), ..., (h-1)//2 and v = -(w//2), ..., (w-1)//2, in cycles per image. Orthonormal: the squares of A
    have the sum of the image's squares (Parseval).

    Args:
      images: [..., height, width, channels], of any dtype and scale, each at least one pixel.

    Returns: float64 of their shape, 0 or more.

    Raises:
      ValueError: fewer than three axes, or values that are not finite.

    Example:
      >>> fourier_amplitude(np.ones((2, 3, 1)))[:, :, 0].round(6)
      array([[0.     , 0.     , 0.     ],
             [0.     , 2.44949, 0.     ]])

    Source: Casper et al. 2021, appendix E, figure E13.
    Differs: the paper says only "Fourier transforms": neither amplitude or power, nor the scale, nor where frequency 0
      is. Total variation takes the scale as a factor; it depends on where frequency 0 is.
    """
    images = _check_image("images", images)
    axes = (_VERTICAL, _HORIZONTAL)
    return np.abs(np.fft.fftshift(np.fft.fft2(images, axes=axes, norm="ortho"), axes=axes))


def _check_image(name: str, image: np.ndarray) -> np.ndarray:
    image = np.asarray(image, np.float64)
    if image.ndim < 3:
        raise ValueError(f"{name}: expected [..., height, width, channels], received shape {image.shape}")
    if not np.isfinite(image).all():
        raise ValueError(f"{name}: expected finite values, received others; leave such images out")
    return image
