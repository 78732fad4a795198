"""Local response normalisation against the loop that its equation says."""

import keras
import numpy as np
import pytest

from tfunits.layers import LocalResponseNormalization


def normalise(images: np.ndarray, radius: int, bias: float, alpha: float, beta: float) -> np.ndarray:
    """y_c = x_c / (bias + alpha * sum over neighbours of x^2)^beta, channel by channel in float64."""
    exact = images.astype("float64")
    found = np.empty_like(exact)
    for channel in range(images.shape[-1]):
        window = exact[..., max(0, channel - radius) : channel + radius + 1]
        found[..., channel] = exact[..., channel] / (bias + alpha * (window**2).sum(axis=-1)) ** beta
    return found


@pytest.mark.parametrize(
    ("radius", "bias", "alpha", "beta"),
    [(2, 1.0, 2e-5, 0.75), (1, 2.0, 0.5, 0.5), (3, 0.5, 1.0, 1.0), (20, 1.0, 0.1, 0.75)],
)
@pytest.mark.parametrize("channels", [1, 7])
def test_it_is_the_equation(radius: int, bias: float, alpha: float, beta: float, channels: int) -> None:
    images = 10 * np.random.default_rng(0).normal(size=(2, 3, 4, channels)).astype("float32")
    layer = LocalResponseNormalization(radius=radius, bias=bias, alpha=alpha, beta=beta)
    # A power in float32 keeps about six digits.
    expected = normalise(images, radius, bias, alpha, beta)
    np.testing.assert_allclose(layer(images).numpy(), expected, rtol=2e-5, atol=1e-6)


def test_alpha_is_not_divided_by_the_window() -> None:
    """The first AlexNet divided it; with a large alpha the two differ."""
    images = np.random.default_rng(0).normal(size=(1, 2, 2, 7)).astype("float32")
    found = LocalResponseNormalization(alpha=1.0)(images).numpy()
    assert not np.allclose(found, normalise(images, 2, 1.0, 1.0 / 5, 0.75), rtol=1e-2)
    np.testing.assert_allclose(found, normalise(images, 2, 1.0, 1.0, 0.75), rtol=2e-5, atol=1e-6)


def test_the_constants_are_alexnets_on_cifar() -> None:
    """FACTS 2.1: radius 2, bias 1, alpha 2e-5, beta 0.75."""
    config = LocalResponseNormalization().get_config()
    assert (config["radius"], config["bias"], config["alpha"], config["beta"]) == (2, 1.0, 2e-5, 0.75)


def test_it_survives_a_saved_model(tmp_path, rng: np.random.Generator) -> None:
    inputs = keras.Input((4, 4, 6))
    outputs = LocalResponseNormalization(radius=1, bias=2.0, alpha=0.5, beta=0.6, name="norm")(inputs)
    model = keras.Model(inputs, outputs)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    images = rng.normal(size=(2, 4, 4, 6)).astype("float32")
    assert model.output_shape == (None, 4, 4, 6)
    assert again.get_layer("norm").get_config() == model.get_layer("norm").get_config()
    np.testing.assert_array_equal(again(images), model(images))
