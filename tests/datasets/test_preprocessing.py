"""Shifts of images."""

import numpy as np
import pytest
import tensorflow as tf

from tfunits import datasets
from tfunits.datasets.augmentation import AUGMENTATIONS, shift


def shifts(original: np.ndarray, changed: np.ndarray) -> list[tuple[int, int]]:
    """Every (row, column) corner at which a crop of the zero-padded original is the changed image."""
    height, width, _ = original.shape
    padded = np.zeros((height + 8, width + 8, original.shape[2]), original.dtype)
    padded[4:-4, 4:-4] = original
    crops = {(i, j): padded[i : i + height, j : j + width] for i in range(9) for j in range(9)}
    return [corner for corner, crop in crops.items() if np.array_equal(crop, changed)]


@pytest.fixture
def numbered(rng) -> datasets.Dataset:
    """Forty images, each labelled with its own index."""
    images = rng.uniform(1, 2, size=(40, 12, 10, 3)).astype("float32")
    part = datasets.Split(inputs=images, labels=np.arange(40, dtype="int32"))
    splits = dict.fromkeys(("train", "validation", "test"), part)
    return datasets.Dataset(name="numbered", num_classes=40, splits=splits, augmentation="shift")


def by_example(data: datasets.Dataset, epoch: int, seed: int, batch_size: int) -> np.ndarray:
    """The epoch's augmented images in the order of their examples."""
    batches = list(data.epoch(epoch, seed, batch_size, augment=True))
    labels = np.concatenate([labels for _, labels in batches])
    return np.concatenate([images for images, _ in batches])[np.argsort(labels)]


def test_a_shift_is_a_crop_of_the_padded_image(numbered):
    originals = numbered.splits["train"].inputs
    changed = by_example(numbered, 0, 0, 40)
    corners = [shifts(original, image) for original, image in zip(originals, changed, strict=True)]
    assert [len(found) for found in corners] == [1] * 40
    assert len({found[0] for found in corners}) > 20


def test_every_shift_is_equally_likely(rng):
    image = rng.normal(size=(9, 9, 1)).astype("float32")
    seeds = tf.stack([tf.range(900), tf.range(900) * 7 + 1], axis=1)
    changed = tf.map_fn(lambda seed: shift(tf.constant(image), seed), seeds, fn_output_signature=tf.float32).numpy()
    corners = np.array([shifts(image, one)[0] for one in changed])
    for axis in (0, 1):
        # 900 draws of 9 values: 100 of each, standard deviation 9.4.
        counts = np.bincount(corners[:, axis], minlength=9)
        assert np.abs(counts - 100).max() < 4.5 * 9.4


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_an_augmentation_keeps_the_shape_and_follows_its_seed(name, rng):
    image = tf.constant(rng.normal(size=(8, 8, 1)), tf.float32)
    first, again, other = (AUGMENTATIONS[name](image, tf.constant(seed)).numpy() for seed in ([1, 2], [1, 2], [1, 3]))
    assert first.shape == (8, 8, 1)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_augmentation_does_not_depend_on_the_batch_size(numbered):
    np.testing.assert_array_equal(by_example(numbered, 2, 5, 7), by_example(numbered, 2, 5, 40))


def test_augmentation_depends_on_seed_and_epoch(numbered):
    first = by_example(numbered, 2, 5, 8)
    for epoch, seed in ((3, 5), (2, 6), (5, 2)):
        changed = (by_example(numbered, epoch, seed, 8) != first).any(axis=(1, 2, 3))
        # Two of 81 shifts agree by chance.
        assert changed.mean() > 0.8


def test_augmentation_goes_by_the_example_not_by_its_place(numbered):
    part = numbered.splits["train"]
    first = datasets.Split(inputs=part.inputs[:20], labels=part.labels[:20])
    half = datasets.Dataset(name="half", num_classes=40, splits={"train": first}, augmentation="shift")
    np.testing.assert_array_equal(by_example(half, 1, 0, 8), by_example(numbered, 1, 0, 8)[:20])
