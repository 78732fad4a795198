"""Handwritten digits: their split, the forms of their images, and the parity of ten principal components."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits

from tfunits import datasets
from tfunits.datasets.digits import split_indices, standardize_images

load = functools.cache(datasets.load)
SIZES = {"train": 1078, "validation": 180, "test": 539}


def largest_deviation(indices: dict[str, np.ndarray], labels: np.ndarray) -> float:
    """Largest difference between a class's count in a split and its fair share of it."""
    shares = np.bincount(labels) / len(labels)
    return max(np.abs(np.bincount(labels[i]) - shares * len(i)).max() for i in indices.values())


def principal_components(images: np.ndarray, fitted_on: np.ndarray) -> np.ndarray:
    """The first ten components of all images, divided by their standard deviation on the images fitted on."""
    mean = images[fitted_on].mean(axis=0)
    _, _, directions = np.linalg.svd(images[fitted_on] - mean, full_matrices=False)
    components = (images - mean) @ directions[:10].T
    return components / components[fitted_on].std(axis=0)


def test_splits_are_disjoint_exhaustive_and_of_the_stated_sizes():
    indices = split_indices(load_digits().target, data_seed=0)
    assert {name: len(index) for name, index in indices.items()} == SIZES
    np.testing.assert_array_equal(np.sort(np.concatenate(list(indices.values()))), np.arange(1797))


def test_splits_are_stratified():
    labels = load_digits().target
    # Two successive roundings, each by less than one example.
    assert largest_deviation(split_indices(labels, data_seed=3), labels) < 2
    shuffled = np.random.default_rng(0).permutation(len(labels))
    control = dict(zip(SIZES, np.split(shuffled, [1078, 1258]), strict=True))
    assert largest_deviation(control, labels) > 4


@pytest.mark.parametrize("name", ["digits", "digits_parity"])
def test_split_is_a_function_of_the_data_seed(name):
    first, again, other = (datasets.load(name, data_seed=seed) for seed in (5, 5, 6))
    for split in SIZES:
        np.testing.assert_array_equal(first.splits[split].inputs, again.splits[split].inputs)
        np.testing.assert_array_equal(first.splits[split].labels, again.splits[split].labels)
        assert not np.array_equal(first.splits[split].labels, other.splits[split].labels)


@pytest.mark.parametrize("split", SIZES)
def test_every_form_holds_the_same_examples_in_the_same_order(split):
    index = split_indices(load_digits().target, data_seed=1)[split]
    pixels = load_digits().images[index] / 16
    forms = {
        form: load("digits", data_seed=1, preprocessing=form).splits[split]
        for form in ("vector64", "image8", "image32")
    }
    for part in forms.values():
        np.testing.assert_array_equal(part.labels, load_digits().target[index])
    # Sixteenths are exact in float32.
    np.testing.assert_array_equal(forms["vector64"].inputs, pixels.reshape(-1, 64))
    np.testing.assert_array_equal(forms["image8"].inputs[..., 0], pixels)
    assert forms["image32"].inputs.shape == (len(index), 32, 32, 3)


def test_vectors_lie_between_0_and_1():
    inputs = load("digits", preprocessing="vector64").splits["train"].inputs
    assert (inputs.min(), inputs.max()) == (0, 1)
    assert inputs.dtype == np.float32


def test_large_images_have_mean_0_and_standard_deviation_1():
    images = load("digits").splits["train"].inputs.astype("float64")
    # 3,072 values rounded to float32 near 1.
    np.testing.assert_allclose(images.mean(axis=(1, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(images.std(axis=(1, 2, 3)), 1, atol=1e-6)
    np.testing.assert_array_equal(images[..., 0], images[..., 1])
    np.testing.assert_array_equal(images[..., 0], images[..., 2])


def test_large_images_show_the_small_ones():
    small = load("digits", preprocessing="image8").splits["test"].inputs[..., 0]
    large = load("digits").splits["test"].inputs[..., 0]
    blocks = large.reshape(-1, 8, 4, 8, 4).mean(axis=(2, 4))

    def similarity(images: np.ndarray) -> float:
        return np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(blocks, images, strict=True)])

    assert similarity(small) > 0.97
    assert similarity(small.transpose(0, 2, 1)) < 0.8


def test_standardizing_divides_by_no_less_than_the_root_of_the_number_of_values(rng):
    faint = 1e-3 * rng.normal(size=(1, 4, 4, 1))
    np.testing.assert_allclose(standardize_images(faint), (faint - faint.mean()) * np.sqrt(16), rtol=1e-12)
    np.testing.assert_array_equal(standardize_images(np.full((1, 4, 4, 1), 7.0)), 0)


@pytest.mark.parametrize("num_examples", [None, 200])
def test_parity_inputs_are_the_components_of_the_training_images(num_examples):
    data = load("digits_parity", data_seed=2, num_examples=num_examples)
    images, index = load_digits().data, split_indices(load_digits().target, 2, num_examples)
    expected = principal_components(images, index["train"])
    for split, part in data.splits.items():
        # Directions are defined up to their sign; |components| of a few units in float32.
        np.testing.assert_allclose(np.abs(part.inputs), np.abs(expected[index[split]]), atol=1e-5)
    leaking = principal_components(images, np.arange(len(images)))
    assert np.abs(np.abs(data.splits["train"].inputs) - np.abs(leaking[index["train"]])).max() > 1e-2


def test_parity_inputs_have_unit_variance_and_no_correlation_on_training_images():
    inputs = load("digits_parity").splits["train"].inputs.astype("float64")
    np.testing.assert_allclose(np.cov(inputs.T, ddof=0), np.eye(10), atol=1e-5)
    test = load("digits_parity").splits["test"].inputs
    assert np.abs(test.std(axis=0) - 1).max() > 1e-3


def test_parity_labels_say_odd():
    digits, parity = load("digits"), load("digits_parity")
    for split in SIZES:
        np.testing.assert_array_equal(parity.splits[split].labels, digits.splits[split].labels % 2)
    assert (parity.num_classes, parity.input_shape) == (2, (10,))


def test_only_images_have_an_augmentation():
    forms = {form: load("digits", preprocessing=form).augmentable for form in ("image32", "image8", "vector64")}
    assert forms == {"image32": True, "image8": True, "vector64": False}


def test_augmented_images_are_shifted_not_flipped():
    data = load("digits", preprocessing="image8")
    images, _ = next(iter(data.epoch(0, 0, len(data.splits["train"]), augment=True, shuffle=False)))
    padded = np.pad(data.splits["train"].inputs, [(0, 0), (4, 4), (4, 4), (0, 0)])
    crops = np.array([padded[:, i : i + 8, j : j + 8] for i in range(9) for j in range(9)])
    assert (crops == images.numpy()).all(axis=(2, 3, 4)).any(axis=0).all()
    flipped = (crops[..., ::-1, :] == images.numpy()).all(axis=(2, 3, 4)).any(axis=0)
    assert flipped.mean() < 0.1


def test_batches_are_float32_and_int32():
    inputs, labels = next(iter(load("digits").train))
    assert (inputs.dtype, labels.dtype) == (tf.float32, tf.int32)
