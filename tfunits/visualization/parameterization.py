"""Images as functions of numbers that gradient ascent moves well."""

import dataclasses
import math
import numbers
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tfunits.visualization.colors import to_valid_range
from tfunits.visualization.transforms import resize

# Lucid 0.3.10: standard deviation of the start, and the factor on images out of a spectrum.
_START_STD = 0.01
_SPECTRUM_DIVISOR = 4.0
DEFAULT_SIDE = 128


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parameterization:
    """What an image is made of.

    Attributes:
      height, width, channels: of the image.
      std: standard deviation of the numbers at the start.
      decorrelate: whether three channels are independent colours, which ImageNet's matrix correlates.
    """

    height: int
    width: int
    channels: int
    std: float = _START_STD
    decorrelate: bool = True

    def __post_init__(self) -> None:
        for name in ("height", "width", "channels"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
                raise ValueError(f"{name}: expected a whole number of at least 1, received {value!r}")
        if not 0 < self.std < math.inf:
            raise ValueError(f"std: expected a finite number above 0, received {self.std}")

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the numbers behind one image."""
        raise NotImplementedError

    def unbounded(self, numbers: Sequence[tf.Tensor]) -> tf.Tensor:
        """Images [batch, height, width, channels] before they are colours, from numbers of shapes [batch, *shape]."""
        raise NotImplementedError

    def images(self, numbers: Sequence[tf.Tensor]) -> tf.Tensor:
        """Images float32 [batch, height, width, channels] in [0, 1]."""
        return to_valid_range(self.unbounded(numbers), decorrelate=self.decorrelate)

    def start(self, seed: Sequence[int]) -> list[np.ndarray]:
        """Normally distributed numbers for one image, float32."""
        generator = np.random.default_rng(list(seed))
        return [(self.std * generator.standard_normal(shape)).astype("float32") for shape in self.shapes]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FourierImage(Parameterization):
    """An image by its spectrum; see `fft_image`."""

    decay_power: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width < 2:
            raise ValueError(f"width: expected at least 2 pixels for a spectrum, received {self.width}")

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Real and imaginary part of every channel's spectrum."""
        return [(2, self.channels, *spectrum_frequencies(self.height, self.width).shape)]

    def unbounded(self, numbers: Sequence[tf.Tensor]) -> tf.Tensor:
        """The scaled spectrum, transformed back."""
        height, width = self.height, self.width
        lowest = 1 / max(height, width)
        scale = np.maximum(spectrum_frequencies(height, width), lowest) ** -self.decay_power * math.sqrt(height * width)
        (parts,) = numbers
        images = _invert_spectrum(parts * tf.constant(scale / _SPECTRUM_DIVISOR, tf.float32))
        return tf.transpose(images if width % 2 == 0 else images[..., :width], (0, 2, 3, 1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class PixelImage(Parameterization):
    """An image by its pixels; see `pixel_image`."""

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The image's own."""
        return [(self.height, self.width, self.channels)]

    def unbounded(self, numbers: Sequence[tf.Tensor]) -> tf.Tensor:
        """The numbers themselves."""
        (pixels,) = numbers
        return pixels


@dataclasses.dataclass(frozen=True, kw_only=True)
class LaplacianImage(Parameterization):
    """An image as a sum of coarser ones; see `laplacian_image`."""

    num_levels: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        coarsest = 2 ** (self.num_levels - 1)
        if self.num_levels < 1 or min(self.height, self.width) < coarsest:
            raise ValueError(
                f"num_levels: expected at least 1, and a height and width of at least 2^(num_levels - 1), received "
                f"{self.num_levels} for {self.height}x{self.width}"
            )

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Images of 1, 1/2, 1/4, ... of the sides."""
        steps = [2**level for level in range(self.num_levels)]
        return [(self.height // step, self.width // step, self.channels) for step in steps]

    def unbounded(self, numbers: Sequence[tf.Tensor]) -> tf.Tensor:
        """The sum of all levels, enlarged."""
        return tf.add_n([resize(level, (self.height, self.width)) for level in numbers])


def spectrum_frequencies(height: int, width: int) -> np.ndarray:
    """Length of the frequency vector at every place of a real image's spectrum.

    Args:
      height, width: of the image.

    Returns: float64 [height, columns] in cycles per pixel, columns = width // 2 + 1 for even widths and one more for
      odd ones, as Lucid has it: the image that comes back is a pixel wider then, and cut.

    Example:
      >>> spectrum_frequencies(1, 4)
      array([[0.  , 0.25, 0.5 ]])

    Source: Lucid 0.3.10, optvis.param.spatial.
    """
    columns = np.fft.fftfreq(width)[: width // 2 + 1 + width % 2]
    return np.hypot(np.fft.fftfreq(height)[:, None], columns)


@tf.custom_gradient
def _invert_spectrum(parts: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """Images [batch, channels, height, width] of spectra [batch, real and imaginary, channels, height, columns].

    The gradient in real numbers takes a quarter of the time of TensorFlow's own in complex ones, and is the same.
    """
    columns = parts.shape[-1]
    images = tf.signal.irfft2d(tf.complex(*tf.unstack(parts, axis=1)))

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        # Columns between the first and the last stand for two frequencies, themselves and their mirror images.
        times = np.full(columns, 2.0)
        times[[0, -1]] = 1
        spectrum = tf.signal.rfft2d(upstream)
        pixels = upstream.shape[-1] * upstream.shape[-2]
        return tf.stack([tf.math.real(spectrum), tf.math.imag(spectrum)], axis=1) * tf.constant(
            times / pixels, tf.float32
        )

    return images, gradient


def fft_image(
    size: int | tuple[int, int] = DEFAULT_SIDE, channels: int = 3, *, std: float = _START_STD,
    decay_power: float = 1.0, decorrelate: bool = True,
) -> FourierImage:  # fmt: skip
    """An image whose spectrum is optimised, all frequencies at the same pace.

      x = sigmoid(M irfft2(s z) / 4),   s = sqrt(h w) / max(f, 1 / max(h, w))^decay_power

    z are the numbers, f a frequency's length, M the colour matrix (`colors.COLOR_MATRIX`) where there are three
    channels.

    Args:
      size: side of the image, or (height, width).
      channels: 3 for colours, or any other number.
      std: standard deviation of the numbers at the start.
      decay_power: how much more low frequencies move than high ones.
      decorrelate: whether colours are decorrelated.

    Returns: a parameterisation for `render`.

    Raises:
      ValueError: a size or number of channels below 1, or a std that is not above 0.

    Example:
      >>> fft_image(32, channels=1).shapes
      [(2, 1, 32, 17)]

    Source: Lucid 0.3.10, optvis.param; Olah et al. 2017.
    """
    height, width = _sides(size)
    return FourierImage(
        height=height, width=width, channels=channels, std=std, decorrelate=decorrelate, decay_power=decay_power
    )


def pixel_image(
    size: int | tuple[int, int] = DEFAULT_SIDE, channels: int = 3, *, std: float = _START_STD, decorrelate: bool = True
) -> PixelImage:
    """An image whose pixels are optimised: x = sigmoid(M z).

    Arguments, result and errors as `fft_image`.

    Example:
      >>> pixel_image((4, 6)).shapes
      [(4, 6, 3)]

    Source: Lucid 0.3.10, optvis.param.
    """
    height, width = _sides(size)
    return PixelImage(height=height, width=width, channels=channels, std=std, decorrelate=decorrelate)


def laplacian_image(
    size: int | tuple[int, int] = DEFAULT_SIDE, channels: int = 3, *, num_levels: int = 4, std: float = _START_STD,
    decorrelate: bool = True,
) -> LaplacianImage:  # fmt: skip
    """An image as a pyramid: x = sigmoid(M sum_l resize(z_l)), z_l of 1 / 2^l of the sides.

    Arguments, result and errors as `fft_image`, and:

    Args:
      num_levels: levels of the pyramid, l = 0 .. num_levels - 1.

    Raises:
      ValueError: fewer than one level, or more than the sides can be halved.

    Example:
      >>> laplacian_image(8, num_levels=2).shapes
      [(8, 8, 3), (4, 4, 3)]

    Source: Lucid 0.3.10, optvis.param.
    """
    height, width = _sides(size)
    return LaplacianImage(
        height=height, width=width, channels=channels, std=std, decorrelate=decorrelate, num_levels=num_levels
    )


def _sides(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, numbers.Integral) else tuple(size)


PARAMETERIZATIONS = {"fft": fft_image, "pixel": pixel_image, "laplacian": laplacian_image}
