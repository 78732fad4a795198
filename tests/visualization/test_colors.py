"""Colours against the published constants, written out in numpy."""

import image_oracles as oracles
import numpy as np
import pytest
import tensorflow as tf

from tfunits.visualization.colors import COLOR_MATRIX, correlate_colors, to_valid_range

CLOSE = {"rtol": 1e-5, "atol": 1e-6}


@pytest.fixture
def numbers(rng) -> np.ndarray:
    return (2 * rng.normal(size=(2, 5, 4, 3))).astype("float32")


def test_independent_colours_become_red_green_and_blue(numbers):
    received = correlate_colors(tf.constant(numbers)).numpy()
    assert received.dtype == np.float32
    np.testing.assert_allclose(received, oracles.correlate(numbers), **CLOSE)
    # Negative control: rows of the matrix are red, green and blue, not its columns.
    assert np.abs(received - numbers @ COLOR_MATRIX).max() > 0.1


def test_the_longest_column_of_the_matrix_has_length_1():
    lengths = np.sqrt((COLOR_MATRIX.astype("float64") ** 2).sum(axis=0))
    np.testing.assert_allclose(lengths.max(), 1, rtol=1e-6)
    # The ratios of the columns stay.
    np.testing.assert_allclose(COLOR_MATRIX * 0.27 / COLOR_MATRIX[2, 0], oracles.COLOR_ROOT, **CLOSE)


def test_the_first_colour_is_brightness():
    """Equal up to a few percent in all three, while the others differ in sign."""
    brightness, *others = np.moveaxis(COLOR_MATRIX, 1, 0)
    assert brightness.std() < 0.02 * brightness.mean()
    assert all(other.min() < 0 < other.max() for other in others)


@pytest.mark.parametrize("decorrelate", [True, False])
def test_the_logistic_function_squashes(decorrelate, numbers):
    expected = oracles.sigmoid(oracles.correlate(numbers) if decorrelate else numbers.astype("float64"))
    received = to_valid_range(tf.constant(numbers), decorrelate=decorrelate).numpy()
    np.testing.assert_allclose(received, expected, **CLOSE)
    other = to_valid_range(tf.constant(numbers), decorrelate=not decorrelate).numpy()
    assert np.abs(other - expected).max() > 0.1


@pytest.mark.parametrize("decorrelate", [True, False])
def test_without_the_logistic_function_what_leaves_the_range_is_cut(decorrelate, numbers):
    colors = oracles.correlate(numbers) + oracles.COLOR_MEAN if decorrelate else numbers.astype("float64")
    received = to_valid_range(tf.constant(numbers), decorrelate=decorrelate, sigmoid=False).numpy()
    np.testing.assert_allclose(received, np.clip(colors, 0, 1), **CLOSE)
    assert 0.1 < np.mean((received > 0) & (received < 1)) < 0.9


def test_black_of_decorrelated_colours_without_the_logistic_function_is_imagenets_mean():
    received = to_valid_range(tf.zeros([1, 1, 1, 3]), sigmoid=False)
    np.testing.assert_allclose(received[0, 0, 0], oracles.COLOR_MEAN, rtol=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_only_three_channels_are_colours(channels, rng):
    numbers = rng.normal(size=(2, 3, 3, channels)).astype("float32")
    for decorrelate in (True, False):
        received = to_valid_range(tf.constant(numbers), decorrelate=decorrelate)
        np.testing.assert_allclose(received, oracles.sigmoid(numbers.astype("float64")), **CLOSE)
        clipped = to_valid_range(tf.constant(numbers), decorrelate=decorrelate, sigmoid=False)
        np.testing.assert_allclose(clipped, np.clip(numbers, 0, 1), **CLOSE)


@pytest.mark.parametrize("sigmoid", [True, False])
def test_pixels_stay_between_0_and_1_whatever_the_numbers(sigmoid, numbers):
    received = to_valid_range(tf.constant(1e6 * numbers), sigmoid=sigmoid).numpy()
    assert received.min() >= 0
    assert received.max() <= 1
    assert {0.0, 1.0} <= set(received.ravel())
