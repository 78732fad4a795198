"""Gradients that wake silent units: by their rule in numpy, for ReLUs of every sort, and in whole drawings."""

import functools
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf
from drawn_networks import with_weights
from keras import layers

from tfunits.surgery import Graph
from tfunits.visualization import Objective, Rendering, fft_image, render, unit
from tfunits.visualization.redirection import redirected_relus


def identity(layer: keras.layers.Layer) -> Callable:
    """A dense layer or convolution whose linear part changes nothing."""
    layer.build((None, 2, 2, 3))
    layer.set_weights([np.eye(3).reshape(layer.kernel.shape), np.zeros(3)])
    return layer


RELUS = {
    "tf.nn": lambda: tf.nn.relu,
    "a layer": lambda: layers.ReLU(),
    "an activation": lambda: layers.Activation("relu"),
    "an operation": lambda: keras.ops.relu,
    "in a dense layer": lambda: identity(layers.Dense(3, activation="relu")),
    "in a convolution": lambda: identity(layers.Conv2D(3, 1, activation="relu")),
}
RELUS6 = {
    "tf.nn": lambda: tf.nn.relu6,
    "a layer": lambda: layers.ReLU(max_value=6),
    "an activation": lambda: layers.Activation("relu6"),
    "an operation": lambda: keras.ops.relu6,
    "in a dense layer": lambda: identity(layers.Dense(3, activation="relu6")),
    "in a convolution": lambda: identity(layers.Conv2D(3, 1, activation="relu6")),
}


def expected_gradient(inputs: np.ndarray, incoming: np.ndarray, top: float, *, redirects: bool) -> np.ndarray:
    """Image by image: the plain gradient, or where it is 0 everywhere what pulls inputs back into the range."""
    images = []
    for given, gradient in zip(inputs, incoming, strict=True):
        plain = np.where((given > 0) & (given < top), gradient, 0)
        back = np.where(given <= 0, np.minimum(gradient, 0), np.where(given >= top, np.maximum(gradient, 0), gradient))
        images.append(back if redirects and not plain.any() else plain)
    return np.stack(images)


def make_cases(rng: np.random.Generator, top: float) -> tuple[np.ndarray, np.ndarray]:
    """Images [2, 2, 3]: below 0, one alive, all alive, one alive without a gradient, above 6, on both sides."""
    below, above = -rng.uniform(0.5, 3, (2, 2, 3)), rng.uniform(6.5, 9, (2, 2, 3))
    alive = rng.uniform(0.5, 5, (2, 2, 3))
    one = np.arange(12).reshape(2, 2, 3) == 7
    incoming = rng.uniform(0.2, 1, (6, 2, 2, 3)) * rng.choice([-1, 1], (6, 2, 2, 3))
    incoming[3][one] = 0
    inputs = np.stack([below, np.where(one, alive, below), alive, np.where(one, alive, below), above, below])
    inputs[5, 0] = above[0]
    return inputs.astype("float32"), incoming.astype("float32")


def gradients(rectify: Callable, inputs: np.ndarray, incoming: np.ndarray) -> dict[str, np.ndarray]:
    """What TensorFlow computes in a graph, within and behind the context, and by a tape."""

    @tf.function(autograph=False)
    def compute(given: tf.Tensor) -> dict[str, tf.Tensor]:
        with redirected_relus(), tf.GradientTape() as tape:
            tape.watch(given)
            output = rectify(given)
            redirected = tf.gradients(output, given, tf.constant(incoming))[0]
        behind = tf.gradients(rectify(given), given, tf.constant(incoming))[0]
        return {"redirected": redirected, "behind": behind, "taped": tape.gradient(output, given, incoming)}

    return {name: gradient.numpy() for name, gradient in compute(tf.constant(inputs)).items()}


@pytest.mark.parametrize("top", [np.inf, 6.0], ids=["ReLU", "ReLU6"])
@pytest.mark.parametrize("sort", RELUS)
def test_gradients_of_relus_of_every_sort(sort, top, rng):
    rectify = (RELUS if top == np.inf else RELUS6)[sort]()
    inputs, incoming = make_cases(rng, top)
    received = gradients(rectify, inputs, incoming)
    expected = expected_gradient(inputs, incoming, top, redirects=True)
    np.testing.assert_allclose(received["redirected"], expected, rtol=1e-6)
    plain = expected_gradient(inputs, incoming, top, redirects=False)
    np.testing.assert_allclose(received["behind"], plain, rtol=1e-6)
    # As documented, only `tf.gradients` is redirected.
    np.testing.assert_allclose(received["taped"], plain, rtol=1e-6)
    # The first and the fourth image are redirected, and those on which ReLU6 is saturated.
    is_redirected = [np.abs(a - b).max() > 0.1 for a, b in zip(expected, plain, strict=True)]
    assert is_redirected == [True, False, False, True, top == 6, top == 6]


def test_inputs_of_0_are_silent():
    inputs = np.zeros((1, 1, 1, 2), "float32")
    received = gradients(tf.nn.relu, inputs, np.array([[[[1.0, -1.0]]]], "float32"))
    np.testing.assert_array_equal(received["redirected"].ravel(), [0, -1])


def test_leaky_relus_are_left_alone(rng):
    inputs, incoming = make_cases(rng, 6.0)
    received = gradients(layers.LeakyReLU(0.25), inputs, incoming)
    np.testing.assert_allclose(received["redirected"], np.where(inputs > 0, 1, 0.25) * incoming, rtol=1e-6)


# Behind a first layer of six times the mean pixel, which is 3 in grey images: none is alive below a bias of -3, and
# ReLU6 is full above one of 3.
BIASES = {"conv": -3.4, "dense": -3.4, "layer": -3.4, "activation": -3.4, "low6": -3.4, "high6": 3.4, "operation": -3.4}


@pytest.fixture(scope="module")
def silent() -> keras.Model:
    """Units of every sort side by side; the first of each is silent on grey images, the second is alive."""
    inputs = keras.Input((8, 8, 3), name="image")
    rectifiers = {
        "layer": layers.ReLU(name="layer"), "activation": layers.Activation("relu", name="activation"),
        "low6": layers.ReLU(max_value=6, name="low6"), "high6": layers.Activation("relu6", name="high6"),
        "operation": keras.ops.relu,
    }  # fmt: skip
    fed = {
        "conv": layers.Conv2D(2, 3, activation="relu", name="conv"), "dense": layers.Dense(2, "relu", name="dense")
    } | {name: layers.Conv2D(2, 3) for name in rectifiers}  # fmt: skip
    outputs = [rectifiers.get(name, lambda maps: maps)(layer(inputs)) for name, layer in fed.items()]
    model = with_weights(keras.Model(inputs, [layers.GlobalAveragePooling2D()(output) for output in outputs]))
    for name, layer in fed.items():
        kernel = np.full_like(layer.kernel, 6 / np.prod(layer.kernel.shape[:-1]))
        layer.set_weights([kernel, np.array([BIASES[name], 1.0])])
    return model


@pytest.fixture(scope="module")
def objectives(silent) -> list[Objective]:
    """Up with all of them, but down with the one that is full; and one that is alive."""
    (operation,) = (call.name for call in Graph(silent).calls if call.name.startswith("relu"))
    taps = [operation if name == "operation" else name for name in BIASES]
    return [-unit(tap, 0) if tap == "high6" else unit(tap, 0) for tap in taps] + [unit("conv", 1)]


@pytest.fixture(scope="module")
def draw(silent, objectives) -> Callable[[int, int], Rendering]:
    """Drawings by their steps and redirected steps, each made once."""
    param = fft_image(8)
    return functools.cache(
        lambda steps, redirected: render(
            silent, objectives, param=param, transforms=[], steps=steps, redirected_steps=redirected
        )
    )


def test_silent_units_stay_silent_without_redirection(draw):
    drawn, start = draw(60, 0), draw(0, 0)
    np.testing.assert_array_equal(drawn.history[:, :-1], np.tile([0, 0, 0, 0, 0, -6, 0], (60, 1)))
    np.testing.assert_array_equal(drawn.images[:-1], start.images[:-1])
    # Negative control: what is alive moves.
    assert np.abs(drawn.images[-1] - start.images[-1]).max() > 0.1


def test_silent_units_of_every_sort_are_woken_by_redirection(draw):
    drawn = draw(60, 16)
    np.testing.assert_array_equal(drawn.history[0, :-1], [0, 0, 0, 0, 0, -6, 0])
    assert (drawn.values[:-1] > [0.3, 0.3, 0.3, 0.3, 0.3, -5.7, 0.3]).all()
    brightness = drawn.images.mean(axis=(1, 2, 3))
    assert brightness[5] < 0.45 < np.delete(brightness, 5).min()


def test_a_unit_that_is_alive_is_drawn_as_ever(draw):
    np.testing.assert_allclose(draw(60, 16).images[-1], draw(60, 0).images[-1], atol=1e-5)
    np.testing.assert_allclose(draw(60, 16).history[:, -1], draw(60, 0).history[:, -1], rtol=1e-4)
