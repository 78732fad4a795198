"""The same pixels give a network the inputs that it was trained on, whichever its data set."""

import numpy as np
import pytest
import tensorflow as tf
from drawn_networks import chain
from keras import layers
from sklearn.datasets import load_digits

from tfunits import datasets
from tfunits.configs import DATASETS, ImageForm, facts, find_image_form
from tfunits.datasets import cifar, mnist, photographs
from tfunits.datasets.preprocessing import Flattened, Standardized, resize_tf1
from tfunits.visualization import Network, Preparation, render, unit

CLOSE = {"rtol": 1e-4, "atol": 1e-5}
# Preprocessings that make images of what is stored, or images in a row.
IMAGES = [
    (name, preprocessing)
    for name, known in (*DATASETS.items(), ("folder:x", facts.folder_facts((2, 3, 3, 3))))
    for preprocessing in known.preprocessings
    if preprocessing not in ("components10", "gaussian")
]


def as_inputs(dataset: str, preprocessing: str, pixels: np.ndarray) -> np.ndarray:
    """What `Preparation` makes of stored pixels in 0 .. 255."""
    form = find_image_form(dataset, preprocessing)
    return Preparation(form)(tf.constant(pixels.astype("float32") / 255)).numpy()


def stored(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(0, 256, shape).astype("uint8")


class TestForms:
    @pytest.mark.parametrize(("dataset", "preprocessing"), IMAGES)
    def test_every_preprocessing_of_images_has_a_form_of_its_shape(self, dataset, preprocessing):
        known = DATASETS.get(dataset) or facts.folder_facts((2, 3, 3, 3))
        form = find_image_form(dataset, preprocessing)
        height, width, channels = form.shape
        shape = (height, width, channels * form.copies)
        assert ((int(np.prod(shape)),) if form.is_vector else shape) == tuple(known.preprocessings[preprocessing])
        assert len(form.mean) in (1, channels)
        assert len(form.std) in (1, channels)
        assert Preparation(form).channels == channels
        inputs = Preparation(form)(tf.zeros([2, height, width, channels]))
        assert tuple(inputs.shape) == (2, *shape)
        assert np.isfinite(inputs).all()

    def test_all_kinds_of_data_are_there(self):
        assert {name for name, _ in IMAGES} == {"digits", "cifar10", "cifar100", "mnist", "imagenet2012", "folder:x"}

    @pytest.mark.parametrize(
        ("dataset", "preprocessing"),
        [("digits_parity", "components10"), ("uncorrelated10", "gaussian"), ("digits", "image224"), ("x", "image32")],
    )
    def test_data_that_are_no_images_have_none(self, dataset, preprocessing):
        assert find_image_form(dataset, preprocessing) is None


class TestSamePixelsSameInputs:
    @pytest.fixture(scope="class")
    def digits(self) -> np.ndarray:
        """Grey images in [0, 1], in scikit-learn's order."""
        return load_digits().images[:, :, :, None].astype("float32") / 16

    @pytest.mark.parametrize("preprocessing", DATASETS["digits"].preprocessings)
    def test_digits(self, preprocessing, digits):
        """Images are drawn at the size that the network reads, here the enlarged one."""
        data = datasets.load("digits", preprocessing=preprocessing)
        inputs = np.concatenate([batch.numpy() for batch, _ in data.test.take(2)])
        form = find_image_form("digits", preprocessing)
        prepared = (
            Preparation(form)(tf.image.resize(digits, form.shape[:2])).numpy().reshape(len(digits), *inputs.shape[1:])
        )
        flat = prepared.reshape(len(digits), -1)
        for given in inputs[:40].reshape(40, -1):
            assert np.abs(flat - given).max(axis=1).min() < 1e-4

    def test_mnist(self, rng):
        pixels = stored(rng, 3, 28, 28, 1)
        np.testing.assert_allclose(
            as_inputs("mnist", "image28", pixels), mnist._FORMS["image28"].evaluate(pixels), **CLOSE
        )
        vectors = as_inputs("mnist", "vector784", pixels).reshape(3, -1)
        np.testing.assert_allclose(vectors, mnist._FORMS["vector784"].evaluate(pixels), **CLOSE)
        # Enlarged first, which is the size that is drawn.
        enlarged = resize_tf1(pixels, (32, 32)).numpy()
        received = as_inputs("mnist", "image32", enlarged)
        np.testing.assert_allclose(received, mnist._FORMS["image32"].evaluate(pixels), **CLOSE)
        assert received.shape == (3, 32, 32, 3)

    @pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
    def test_cifar(self, dataset, rng):
        pixels = stored(rng, 3, 32, 32, 3)
        classes = {"image32": Standardized(), "normalized32": cifar._NORMALIZED[dataset], "vector3072": Flattened()}
        for preprocessing, expected in classes.items():
            inputs = expected.evaluate(pixels).numpy()
            received = as_inputs(dataset, preprocessing, pixels).reshape(inputs.shape)
            np.testing.assert_allclose(received, inputs, **CLOSE)
        other = {"cifar10": "cifar100", "cifar100": "cifar10"}[dataset]
        wrong = as_inputs(other, "normalized32", pixels)
        assert np.abs(wrong - classes["normalized32"].evaluate(pixels)).max() > 0.05

    def test_the_crop_of_alexnet_is_standardised(self, rng):
        """Nothing else is left where the crop is the image that is drawn."""
        pixels = stored(rng, 2, 32, 32, 3)
        received = as_inputs("cifar10", "crop28", pixels).astype("float64")
        np.testing.assert_allclose(received.mean(axis=(1, 2, 3)), 0, atol=1e-5)
        np.testing.assert_allclose(received.std(axis=(1, 2, 3)), 1, rtol=1e-5)

    @pytest.mark.parametrize(
        ("dataset", "preprocessing"),
        [
            ("imagenet2012", "image224"), ("imagenet2012", "image299"), ("folder:some/where", "image32"),
            ("folder:some/where", "image224"), ("folder:some/where", "image299"),
        ],
    )  # fmt: skip
    def test_photographs(self, dataset, preprocessing, rng):
        """What comes behind the view of a file, which is the image here."""
        known = photographs.FORMS[preprocessing]
        pixels = stored(rng, known.side, known.side, 3)
        expected = known.scale(tf.constant(pixels, tf.float32)).numpy()
        assert find_image_form(dataset, preprocessing).shape == (known.side, known.side, 3)
        np.testing.assert_allclose(as_inputs(dataset, preprocessing, pixels[None])[0], expected, rtol=1e-4, atol=1e-3)
        other = as_inputs(dataset, {"image224": "image299"}.get(preprocessing, "image224"), pixels[None])[0]
        assert np.abs(other - expected).max() > 0.5


class TestFormulas:
    def test_scaled_and_normalised(self, rng):
        form = ImageForm(shape=(4, 5, 2), scale=3.0, mean=(0.5, 1.0), std=(2.0, 0.1), copies=1)
        images = rng.uniform(size=(2, 4, 5, 2)).astype("float32")
        expected = (3 * images.astype("float64") - [0.5, 1.0]) / [2.0, 0.1]
        np.testing.assert_allclose(Preparation(form)(tf.constant(images)), expected, rtol=1e-5)

    def test_standardised_image_by_image(self, rng):
        form = ImageForm(shape=(4, 5, 1), copies=3, standardized=True)
        images = rng.uniform(size=(2, 4, 5, 1)).astype("float32") * [[[[1.0]]], [[[0.01]]]]
        deviations = images.std(axis=(1, 2, 3), keepdims=True)
        # Nearly even images are not blown up; the repeated channels count.
        expected = (images - images.mean(axis=(1, 2, 3), keepdims=True)) / np.maximum(deviations, 1 / np.sqrt(60))
        received = Preparation(form)(tf.constant(images, tf.float32))
        np.testing.assert_allclose(received, np.repeat(expected, 3, axis=-1), rtol=1e-3, atol=1e-5)
        assert deviations[1] < 1 / np.sqrt(60) < deviations[0]

    def test_networks_are_drawn_with_the_channels_that_are_stored(self):
        """A network of three channels that was trained on grey digits: grey images."""
        form = find_image_form("digits", "image32")
        model = chain(layers.Conv2D(2, 3, activation="relu", name="conv"), shape=(32, 32, 3))
        assert Network(model, Preparation(form)).channels == 1
        drawn = render(model, unit("conv", 1), prepare=Preparation(form), steps=8, redirected_steps=0)
        assert drawn.images.shape == (1, 32, 32, 1)
        assert drawn.values[0] > drawn.history[0, 0]
        inputs = np.repeat(drawn.images, 3, axis=-1).astype("float64")
        inputs = (inputs - inputs.mean()) / inputs.std()
        np.testing.assert_allclose(drawn.values[0], model(inputs.astype("float32"))[..., 1].numpy().mean(), rtol=1e-3)
