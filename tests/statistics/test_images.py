"""Total variation and Fourier amplitude against their definitions, against TensorFlow and on images of known kind."""

import cmath
import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfunits.statistics import fourier_amplitude, total_variation
from tfunits.statistics.images import READINGS

SEARCH = settings(deadline=None, derandomize=True, max_examples=60)
SHAPES = [(8, 8, 3), (5, 4, 3), (4, 7, 1), (1, 6, 2), (9, 1, 2), (1, 1, 3), (2, 2, 5)]


def vary(image: np.ndarray, reading: str) -> float:
    """Equation 1 of the paper, pixel by pixel."""
    height, width, channels = image.shape
    total = 0.0
    for c in range(channels):
        vertical = [image[i + 1, j, c] - image[i, j, c] for i in range(height - 1) for j in range(width)]
        horizontal = [image[i, j + 1, c] - image[i, j, c] for i in range(height) for j in range(width - 1)]
        if reading == "absolute":
            total += sum(map(abs, vertical)) + sum(map(abs, horizontal))
        else:
            total += abs(sum(vertical)) + abs(sum(horizontal))
    return total


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("shape", SHAPES)
def test_total_variation_is_what_the_paper_writes(shape: tuple, reading: str, rng: np.random.Generator) -> None:
    image = rng.normal(size=shape)
    found = total_variation(image, reading=reading)
    assert type(found) is float
    assert found == pytest.approx(vary(image, reading), rel=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_absolute_reading_is_the_default_and_tensorflows(shape: tuple, rng: np.random.Generator) -> None:
    images = rng.normal(size=(6, *shape))
    known = tf.image.total_variation(tf.constant(images)).numpy()
    np.testing.assert_allclose(total_variation(images), known, rtol=1e-12)
    assert total_variation(images[0]) == pytest.approx(float(known[0]), rel=1e-12)


@SEARCH
@given(seed=st.integers(0, 2**32), height=st.integers(1, 9), width=st.integers(1, 9))
def test_the_signed_reading_telescopes_to_the_borders(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(height, width, 3))
    borders = sum(
        abs(v[-1].sum() - v[0].sum()) + abs(v[:, -1].sum() - v[:, 0].sum()) for v in np.moveaxis(image, -1, 0)
    )
    found = total_variation(image, reading="signed")
    assert found == pytest.approx(borders, rel=1e-9, abs=1e-9)
    assert found <= total_variation(image) + 1e-9
    image[1:-1, 1:-1] = rng.normal(size=image[1:-1, 1:-1].shape)
    assert total_variation(image, reading="signed") == pytest.approx(found, rel=1e-9, abs=1e-9)


def test_the_readings_agree_where_an_image_only_rises() -> None:
    rising = np.add.outer(np.arange(5) ** 2, np.arange(4) ** 3)[:, :, None]
    assert total_variation(rising) == total_variation(rising, reading="signed") == 4 * 16 + 5 * 27
    # Rising in one channel and falling in the other: channels do not cancel in either reading.
    both = np.concatenate([rising, -rising], axis=-1)
    assert total_variation(both) == total_variation(both, reading="signed") == 2 * (4 * 16 + 5 * 27)


@pytest.mark.parametrize("reading", READINGS)
def test_images_by_hand(reading: str) -> None:
    """A step of 3 along 6 rows counts 6 times; a line only in the absolute reading, from both of its sides."""
    image = np.zeros((6, 9, 2))
    assert total_variation(image + 7, reading=reading) == 0
    image[:, 4:, 1] = 3
    assert total_variation(image, reading=reading) == 18
    assert total_variation(np.swapaxes(image, 0, 1), reading=reading) == 18
    image[:, 5:, 1] = 0
    assert total_variation(image, reading=reading) == (36 if reading == "absolute" else 0)
    assert total_variation(np.full((1, 1, 3), 5.0), reading=reading) == 0
    assert total_variation([[[1.0], [4.0]]], reading=reading) == 3


@pytest.mark.parametrize("reading", READINGS)
def test_total_variation_of_moved_and_scaled_images(reading: str, rng: np.random.Generator) -> None:
    image = rng.normal(size=(5, 8, 3))
    found = total_variation(image, reading=reading)
    assert total_variation(-3 * image + 2, reading=reading) == pytest.approx(3 * found, rel=1e-12)
    for turned in (image[::-1], image[:, ::-1], np.swapaxes(image, 0, 1), image[:, :, ::-1]):
        assert total_variation(turned, reading=reading) == pytest.approx(found, rel=1e-12)


@pytest.mark.parametrize("reading", READINGS)
def test_a_batch_is_its_images_one_by_one(reading: str, rng: np.random.Generator) -> None:
    images = rng.normal(size=(2, 4, 6, 5, 3))
    found = total_variation(images, reading=reading)
    assert (found.shape, found.dtype) == ((2, 4), np.float64)
    expected = [[total_variation(image, reading=reading) for image in row] for row in images]
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    np.testing.assert_array_equal(
        fourier_amplitude(images), [[fourier_amplitude(image) for image in row] for row in images]
    )
    assert total_variation(images[0, :1], reading=reading).shape == (1,)
    assert total_variation(images[0, :0], reading=reading).shape == (0,)


@pytest.mark.parametrize("reading", READINGS)
def test_it_is_computed_in_float64(reading: str, rng: np.random.Generator) -> None:
    """Bytes do not wrap around, and float16 does not overflow."""
    image = rng.integers(256, size=(40, 40, 3))
    expected = vary(image, reading)
    for dtype in ("uint8", "float16", "float32"):
        assert total_variation(image.astype(dtype), reading=reading) == expected
        assert fourier_amplitude(image.astype(dtype)).dtype == np.float64
        np.testing.assert_array_equal(fourier_amplitude(image.astype(dtype)), fourier_amplitude(image))


def transform(image: np.ndarray) -> np.ndarray:
    """The amplitude as a sum of exponentials, with frequency 0 at [height // 2, width // 2]."""
    height, width, channels = image.shape
    amplitude = np.empty(image.shape)
    for row, column, c in np.ndindex(image.shape):
        u, v = row - height // 2, column - width // 2
        waves = [
            image[i, j, c] * cmath.exp(-2j * math.pi * (u * i / height + v * j / width))
            for i in range(height)
            for j in range(width)
        ]
        amplitude[row, column, c] = abs(sum(waves)) / math.sqrt(height * width)
    return amplitude


@pytest.mark.parametrize("shape", [(5, 4, 3), (4, 5, 1), (6, 6, 2), (3, 7, 2), (1, 4, 1), (1, 1, 2)])
def test_the_amplitude_is_a_sum_of_exponentials(shape: tuple, rng: np.random.Generator) -> None:
    image = rng.normal(size=shape)
    np.testing.assert_allclose(fourier_amplitude(image), transform(image), rtol=0, atol=1e-13)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_amplitude_keeps_the_sum_of_squares(shape: tuple, rng: np.random.Generator) -> None:
    """Parseval, channel by channel."""
    image = rng.normal(size=shape)
    amplitude = fourier_amplitude(image)
    assert (amplitude.shape, amplitude.dtype) == (shape, np.float64)
    np.testing.assert_allclose((amplitude**2).sum(axis=(0, 1)), (image**2).sum(axis=(0, 1)), rtol=1e-12)


@pytest.mark.parametrize(("height", "width"), [(16, 12), (15, 11), (16, 11), (15, 12)])
@pytest.mark.parametrize(("u", "v"), [(3, 0), (0, 2), (3, 2), (-4, 5), (1, -1)])
def test_a_wave_has_its_two_peaks_in_the_right_places(height: int, width: int, u: int, v: int) -> None:
    rows, columns = np.indices((height, width))
    image = np.zeros((height, width, 2))
    image[:, :, 1] = 3 * np.cos(2 * np.pi * (u * rows / height + v * columns / width) + 0.4)
    expected = np.zeros(image.shape)
    for sign in (1, -1):
        expected[height // 2 + sign * u, width // 2 + sign * v, 1] = 1.5 * math.sqrt(height * width)
    np.testing.assert_allclose(fourier_amplitude(image), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_constant_image_has_only_the_middle_frequency(shape: tuple) -> None:
    expected = np.zeros(shape)
    expected[shape[0] // 2, shape[1] // 2] = 2 * math.sqrt(shape[0] * shape[1])
    np.testing.assert_allclose(fourier_amplitude(np.full(shape, -2.0)), expected, rtol=0, atol=1e-12)


@SEARCH
@given(seed=st.integers(0, 2**32), shift=st.tuples(st.integers(-9, 9), st.integers(-9, 9)))
def test_moving_an_image_around_its_borders_keeps_the_amplitude(seed: int, shift: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(2, *rng.integers(2, 9, size=2), 3))
    moved = np.roll(images, shift, axis=(1, 2))
    np.testing.assert_allclose(fourier_amplitude(moved), fourier_amplitude(images), rtol=0, atol=1e-12)


def test_the_amplitude_of_an_odd_image_is_symmetric_about_the_middle(rng: np.random.Generator) -> None:
    amplitude = fourier_amplitude(rng.normal(size=(7, 5, 3)))
    np.testing.assert_allclose(amplitude, amplitude[::-1, ::-1], rtol=0, atol=1e-13)
    # Negative control: not about each axis alone.
    assert not np.allclose(amplitude, amplitude[::-1])


def test_a_smooth_image_varies_less_than_a_rough_one_and_has_its_amplitude_in_the_middle(
    rng: np.random.Generator,
) -> None:
    """Of images with as many squares: noise, and noise whose high frequencies are left out."""
    noise = rng.normal(size=(32, 32, 1))
    spectrum = np.fft.fft2(noise, axes=(0, 1))
    spectrum[4:-3], spectrum[:, 4:-3] = 0, 0
    smooth = np.fft.ifft2(spectrum, axes=(0, 1)).real
    smooth *= np.linalg.norm(noise) / np.linalg.norm(smooth)
    assert total_variation(smooth) < 0.5 * total_variation(noise)
    assert np.linalg.norm(fourier_amplitude(smooth)[12:21, 12:21]) == pytest.approx(np.linalg.norm(smooth), rel=1e-12)


@pytest.mark.parametrize(("function", "name"), [(total_variation, "image"), (fourier_amplitude, "images")])
@pytest.mark.parametrize("shape", [(), (4,), (4, 5)])
def test_fewer_than_three_axes_are_refused(function: object, name: str, shape: tuple) -> None:
    with pytest.raises(ValueError, match=rf"^{name}: expected \[..., height, width, channels\], received shape \("):
        function(np.zeros(shape))


@pytest.mark.parametrize(("function", "name"), [(total_variation, "image"), (fourier_amplitude, "images")])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_refused(function: object, name: str, value: float) -> None:
    images = np.zeros((2, 4, 5, 3))
    images[1, 2, 3, 1] = value
    with pytest.raises(ValueError, match=f"^{name}: expected finite values, received others; leave such images out$"):
        function(images)


def test_another_reading_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^reading: expected one of \('absolute', 'signed'\), received 'squared'$"):
        total_variation(np.zeros((2, 2, 1)), reading="squared")
