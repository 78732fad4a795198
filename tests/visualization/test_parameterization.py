"""Images out of their numbers against numpy, their gradients, and whether they can become any photograph."""

import image_oracles as oracles
import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_sample_images

from tfunits.visualization import PARAMETERIZATIONS, fft_image, laplacian_image, pixel_image
from tfunits.visualization.parameterization import _invert_spectrum, spectrum_frequencies
from tfunits.visualization.rendering import LEARNING_RATE

CLOSE = {"rtol": 1e-4, "atol": 1e-5}
SIZES = [(6, 8), (5, 8), (6, 7), (7, 5), (1, 2), (4, 3)]


def draw_numbers(param, rng: np.random.Generator, batch: int = 2) -> list[np.ndarray]:
    return [rng.normal(size=(batch, *shape)).astype("float32") for shape in param.shapes]


class TestSpectra:
    @pytest.mark.parametrize("size", SIZES)
    def test_frequencies_are_cycles_a_pixel(self, size):
        height, width = size
        received = spectrum_frequencies(height, width)
        assert received.shape == (height, width // 2 + 1 + width % 2)
        for row in range(height):
            for column in range(received.shape[1]):
                # Of a row and that many rows less than none, the slower one; so too of columns.
                slower = [min(place, side - place) / side for place, side in ((row, height), (column, width))]
                np.testing.assert_allclose(received[row, column], np.hypot(*slower), rtol=1e-12)

    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize("decay_power", [1.0, 2.0, 0.0])
    def test_an_image_is_a_sum_of_cosines(self, size, decay_power, rng):
        height, width = size
        param = fft_image(size, 2, decay_power=decay_power)
        (numbers,) = draw_numbers(param, rng)
        # Of odd widths the image is a column wider, and cut.
        even = width + width % 2
        lowest = 1 / max(height, width)
        slower_row = np.minimum(np.arange(height), height - np.arange(height)) / height
        slower_column = np.minimum(np.arange(even // 2 + 1), width - np.arange(even // 2 + 1)) / width
        frequencies = np.hypot(slower_row[:, None], np.abs(slower_column))
        scale = np.sqrt(height * width) / np.maximum(frequencies, lowest) ** decay_power / 4
        received = param.unbounded([numbers]).numpy()
        assert received.shape == (2, height, width, 2)
        for image, (real, imaginary) in zip(received, numbers.astype("float64"), strict=True):
            for channel in range(2):
                spectrum = scale * (real[channel] + 1j * imaginary[channel])
                expected = oracles.cosines(spectrum, even)[:, :width]
                np.testing.assert_allclose(image[..., channel], expected, **CLOSE)

    def test_the_decay_of_high_frequencies_matters(self, rng):
        """Negative control."""
        param = fft_image((6, 8), 1)
        numbers = draw_numbers(param, rng)
        other = fft_image((6, 8), 1, decay_power=1.2).unbounded(numbers)
        assert np.abs(param.unbounded(numbers) - other).max() > 0.01

    @pytest.mark.parametrize("decorrelate", [True, False])
    def test_colours_are_correlated_and_squashed(self, decorrelate, rng):
        param = fft_image((6, 8), decorrelate=decorrelate)
        (numbers,) = draw_numbers(param, rng)
        scale = 4 * np.maximum(spectrum_frequencies(6, 8), 1 / 8) / np.sqrt(48)
        complex_numbers = (numbers[:, 0] + 1j * numbers[:, 1]) / scale
        channels = np.moveaxis(np.fft.irfft2(complex_numbers, s=(6, 8)), 1, -1)
        expected = oracles.sigmoid(oracles.correlate(channels) if decorrelate else channels)
        received = param.images([numbers]).numpy()
        assert received.dtype == np.float32
        np.testing.assert_allclose(received, expected, **CLOSE)
        other = fft_image((6, 8), decorrelate=not decorrelate).images([numbers])
        assert np.abs(other - expected).max() > 0.05

    @pytest.mark.parametrize("shape", [(4, 3), (5, 4), (3, 2), (1, 2), (6, 5)])
    def test_the_gradient_is_the_transpose_of_the_transform(self, shape, rng):
        """The transform is linear: its Jacobian is what numpy makes of every unit of the spectrum, in float64."""
        height, columns = shape
        parts = tf.constant(rng.normal(size=(2, 2, 3, *shape)).astype("float32"))
        with tf.GradientTape() as tape:
            tape.watch(parts)
            images = _invert_spectrum(parts)
        upstream = rng.normal(size=images.shape).astype("float32")
        received = tape.gradient(images, parts, upstream).numpy()
        units = np.eye(height * columns).reshape(-1, height, columns)
        width = 2 * (columns - 1)
        jacobian = np.stack([np.fft.irfft2(factor * units, s=(height, width)) for factor in (1, 1j)])
        expected = np.einsum("prij,bcij->bpcr", jacobian, upstream).reshape(received.shape)
        np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-6)

    @pytest.mark.parametrize("size", [(6, 8), (6, 7), (5, 8), (7, 5)])
    def test_the_gradient_is_tensorflows_own(self, size, rng):
        """Of even and odd sides, where the image is cut."""
        height, width = size
        param = fft_image(size, 2)
        (numbers,) = draw_numbers(param, rng)
        upstream = rng.normal(size=(2, height, width, 2)).astype("float32")
        scale = np.maximum(spectrum_frequencies(height, width), 1 / max(size)) ** -1 * np.sqrt(height * width) / 4
        given = tf.constant(numbers)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(given)
            ours = param.unbounded([given])
            scaled = given * tf.constant(scale, tf.float32)
            theirs = tf.transpose(tf.signal.irfft2d(tf.complex(scaled[:, 0], scaled[:, 1])), (0, 2, 3, 1))
            theirs = theirs[:, :, :width]
        np.testing.assert_allclose(ours, theirs, **CLOSE)
        received, expected = (tape.gradient(image, given, upstream).numpy() for image in (ours, theirs))
        np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
        # Negative control: columns in the middle of the spectrum count twice.
        assert np.abs(expected[..., 1:-1] - received[..., 1:-1] / 2).max() > 0.1

    @pytest.mark.parametrize("size", [(6, 8), (6, 7)])
    def test_the_gradient_is_that_of_small_differences(self, size, rng):
        param = fft_image(size, 1)
        (numbers,) = draw_numbers(param, rng, batch=1)
        weights = rng.normal(size=(1, *size, 1)).astype("float32")

        def score(given: tf.Tensor) -> tf.Tensor:
            return tf.reduce_sum(weights * param.images([given]))

        given = tf.constant(numbers)
        with tf.GradientTape() as tape:
            tape.watch(given)
            value = score(given)
        gradient = tape.gradient(value, given).numpy()
        for place in [(0, 0, 0, 1, 1), (0, 1, 0, 2, 1), (0, 0, 0, 3, 0), (0, 0, 0, 0, 3)]:
            change = np.zeros_like(numbers)
            change[place] = 0.01
            received = (score(given + change) - score(given - change)) / 0.02
            np.testing.assert_allclose(received, gradient[place], rtol=0.02, atol=2e-3)


class TestPixelsAndPyramids:
    def test_pixels_are_the_numbers(self, rng):
        param = pixel_image((4, 6))
        (numbers,) = draw_numbers(param, rng)
        np.testing.assert_allclose(param.images([numbers]), oracles.sigmoid(oracles.correlate(numbers)), **CLOSE)
        plain = pixel_image((4, 6), decorrelate=False).images([numbers])
        np.testing.assert_allclose(plain, oracles.sigmoid(numbers.astype("float64")), **CLOSE)

    @pytest.mark.parametrize(("size", "num_levels"), [((8, 8), 4), ((9, 7), 3), ((6, 11), 1)])
    def test_a_pyramid_is_the_sum_of_its_enlarged_levels(self, size, num_levels, rng):
        param = laplacian_image(size, 2, num_levels=num_levels)
        levels = draw_numbers(param, rng)
        assert [level.shape[1] for level in levels] == [size[0] // 2**k for k in range(num_levels)]
        assert [level.shape[2] for level in levels] == [size[1] // 2**k for k in range(num_levels)]
        expected = np.stack([sum(oracles.resize(level[i], size) for level in levels) for i in range(2)])
        np.testing.assert_allclose(param.images(levels), oracles.sigmoid(expected), **CLOSE)
        without = np.stack([sum(oracles.resize(level[i], size) for level in levels[1:]) for i in range(2)])
        assert np.abs(oracles.sigmoid(without) - param.images(levels)).max() > 0.1


class TestStarts:
    @pytest.mark.parametrize("name", PARAMETERIZATIONS)
    def test_numbers_are_normal_and_of_the_seed(self, name):
        param = PARAMETERIZATIONS[name](64, std=0.3)
        numbers = param.start([1, 2, 3])
        assert [array.shape for array in numbers] == param.shapes
        assert {array.dtype for array in numbers} == {np.dtype("float32")}
        flat = np.concatenate([array.ravel() for array in numbers])
        # 12,288 numbers or more: five standard errors.
        assert abs(flat.mean()) < 5 * 0.3 / np.sqrt(flat.size)
        np.testing.assert_allclose(flat.std(), 0.3, rtol=5 / np.sqrt(2 * flat.size))
        np.testing.assert_allclose(np.mean(flat**4), 3 * 0.3**4, rtol=0.1)
        for array, again, other in zip(numbers, param.start([1, 2, 3]), param.start([1, 2, 4]), strict=True):
            np.testing.assert_array_equal(array, again)
            assert np.abs(array - other).max() > 0.1

    @pytest.mark.parametrize("name", PARAMETERIZATIONS)
    def test_a_start_is_nearly_grey(self, name):
        param = PARAMETERIZATIONS[name](16)
        images = param.images([array[None] for array in param.start([0])]).numpy()
        assert images.shape == (1, 16, 16, 3)
        assert np.abs(images - 0.5).max() < 0.05
        assert images.std() > 1e-4

    def test_images_are_lucids_size_unless_told_otherwise(self):
        for make in PARAMETERIZATIONS.values():
            assert (make().height, make().width, make().channels, make().std) == (128, 128, 3, 0.01)
        assert (laplacian_image().num_levels, fft_image().decay_power) == (4, 1.0)

    def test_every_parameterisation_has_its_name(self):
        assert {"fft": fft_image, "pixel": pixel_image, "laplacian": laplacian_image} == PARAMETERIZATIONS


def photograph() -> np.ndarray:
    """A crop of one of scikit-learn's two photographs, 64x48, every fourth pixel."""
    image = load_sample_images().images[0]
    return image[100 : 100 + 4 * 48 : 4, 200 : 200 + 4 * 64 : 4].astype("float32") / 255


def fitting_errors(name: str) -> np.ndarray:
    """Mean squared error at every step of fitting the photograph."""
    target = photograph()
    param = PARAMETERIZATIONS[name](target.shape[:2])

    numbers = [keras.Variable(array[None]) for array in param.start([0])]
    optimizer = keras.optimizers.Adam(LEARNING_RATE)
    optimizer.build(numbers)

    @tf.function(autograph=False)
    def descend() -> tf.Tensor:
        with tf.GradientTape() as tape:
            error = tf.reduce_mean(tf.square(param.images([number.value for number in numbers]) - target))
        optimizer.apply(tape.gradient(error, [number.value for number in numbers]), numbers)
        return error

    errors = [float(descend()) for _ in range(201)]
    return np.array(errors)


@pytest.mark.parametrize("name", PARAMETERIZATIONS)
def test_a_photograph_can_be_fitted(name):
    errors = fitting_errors(name)
    assert errors[-1] < 0.01
    # Negative control: the start and its first steps are no photograph.
    assert errors[5] > 0.02


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fft_image(0), "height: expected a whole number of at least 1, received 0"),
        (lambda: pixel_image((4, -1)), "width: expected a whole number of at least 1, received -1"),
        (lambda: pixel_image((4, 2.5)), "width: expected a whole number of at least 1, received 2.5"),
        (lambda: pixel_image(True), "height: expected a whole number of at least 1, received True"),
        (lambda: fft_image(8, 0), "channels: expected a whole number of at least 1, received 0"),
        (lambda: fft_image((8, 1)), "width: expected at least 2 pixels for a spectrum, received 1"),
        (lambda: fft_image(8, std=0.0), "std: expected a finite number above 0, received 0.0"),
        (lambda: fft_image(8, std=float("inf")), "std: expected a finite number above 0, received inf"),
        (lambda: pixel_image(8, std=float("nan")), "std: expected a finite number above 0, received nan"),
        (lambda: laplacian_image(8, num_levels=0), "num_levels: expected at least 1, .* received 0 for 8x8"),
        (lambda: laplacian_image((8, 7), num_levels=4), r"width of at least 2\^\(num_levels - 1\), received 4 for 8x7"),
    ],
)
def test_sizes_that_make_no_image_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_smallest_sides_of_a_pyramid_are_taken():
    assert laplacian_image(8, num_levels=4).shapes[-1] == (1, 1, 3)
