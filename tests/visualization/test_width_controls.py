"""The width test on images that were drawn: networks of equal width, and filters that differ in what they like."""

import itertools

import keras
import numpy as np
import pytest

from tfunits.statistics import fourier_amplitude, permutation_test, total_variation
from tfunits.visualization import fft_image, render, unit

NETWORKS, UNITS, SIDE = 12, 8, 16


@pytest.fixture(scope="module")
def images():
    """Images of twelve networks of eight units, side by side in one layer, and of eight smooth and eight rough filters.

    Networks of one layer differ in their seeds alone, so that any eight units are one.
    """
    rng = np.random.default_rng(3)
    kernels = rng.normal(size=(5, 5, 1, NETWORKS * UNITS))
    place = np.arange(5) - 2
    smooth = np.exp(-(place[:, None] ** 2 + place**2) / 8)[..., None, None] * rng.uniform(0.5, 1, size=UNITS)
    rough = ((-1.0) ** (place[:, None] + place))[..., None, None] * rng.uniform(0.5, 1, size=UNITS)
    inputs = keras.Input((SIDE, SIDE, 1))
    outputs = keras.layers.Conv2D(kernels.shape[-1] + 2 * UNITS, 5, activation="relu", name="units")(inputs)
    model = keras.Model(inputs, outputs)
    model.get_layer("units").set_weights(
        [np.concatenate([kernels, smooth, rough], axis=-1).astype("float32"), np.zeros(outputs.shape[-1], "float32")]
    )
    objectives = [unit("units", number) for number in range(outputs.shape[-1])]
    drawn = render(model, objectives, param=fft_image(SIDE, 1), steps=24, prepare=(-1.0, 1.0), batch=128)
    assert not drawn.failures
    return drawn.images.reshape(NETWORKS + 2, UNITS, SIDE, SIDE, 1)


@pytest.mark.parametrize("view", [np.asarray, fourier_amplitude], ids=["pixels", "frequencies"])
def test_networks_of_equal_width_are_not_told_apart(images, view):
    """The negative control: p values at neither end more often than by chance."""
    variations = total_variation(view(images[:NETWORKS]))
    pairs = itertools.combinations(variations, 2)
    p_values = np.array([permutation_test(first, second).p_value for first, second in pairs])
    assert len(p_values) == 66
    # Expected 0.05 of 66; pairs that share a network are no independent ones.
    assert np.mean((p_values < 0.025) | (p_values > 0.975)) < 0.15
    assert 0.25 < np.mean(p_values < 0.5) < 0.75


def test_smooth_filters_are_told_from_rough_ones(images):
    """The positive control."""
    smooth, rough = total_variation(images[NETWORKS:])
    test = permutation_test(smooth, rough)
    assert test.p_value == pytest.approx(1 / 12870)
    assert test.effect < 0.8
    assert permutation_test(rough, smooth).p_value == 1
