"""Preprocessing of stored images: every form against float64 arithmetic, and what augmentation depends on."""

import numpy as np
import pytest
import reference
import tensorflow as tf

from tfunits import datasets
from tfunits.datasets import preprocessing
from tfunits.datasets.dataset import Pass

DOIMO = preprocessing.Normalized(mean=(0.4914, 0.4822, 0.4465), std=(0.247, 0.243, 0.261))
# Forms of 32x32x3 images that have an augmentation.
FORMS = [preprocessing.Standardized(), preprocessing.Crop28(), DOIMO]
LARGEST_DRAW = np.nextafter(np.float32(1), np.float32(0))


@pytest.fixture
def pixels(rng) -> np.ndarray:
    """Twenty coloured images whose channels differ in brightness."""
    return (rng.integers(0, 150, (20, 32, 32, 3)) + [0, 50, 100]).astype("uint8")


@pytest.fixture
def draws(rng) -> np.ndarray:
    """Five uniform numbers for each of these images."""
    return rng.random((20, 5), np.float32)


def places(draws: np.ndarray, count: int) -> np.ndarray:
    """Corners that draws stand for where there are `count` in each direction."""
    return np.floor(draws[:, :2].astype("float64") * count).astype(int)


def padded_crops(pixels: np.ndarray, draws: np.ndarray, mode: str, *, flips: bool) -> np.ndarray:
    """Crops of the images padded by four pixels."""
    padded = np.pad(pixels, [(0, 0), (4, 4), (4, 4), (0, 0)], mode)
    crops = [
        reference.crop(image, *corner, *pixels.shape[1:3], flip=flips and draw[2] < 0.5)
        for image, corner, draw in zip(padded, places(draws, 9), draws, strict=True)
    ]
    return np.array(crops)


class TestResize:
    @pytest.mark.parametrize(("old", "new"), [((28, 28), (32, 32)), ((50, 37), (20, 61)), ((7, 3), (1, 9))])
    def test_is_the_formula(self, rng, old, new):
        images = rng.normal(size=(3, *old, 2)).astype("float32")
        expected = np.array([reference.resize(image, new) for image in images])
        # Positions in float32 are off by a few 1e-6 of a pixel, times differences of a few units.
        np.testing.assert_allclose(preprocessing.resize_tf1(images, new), expected, atol=2e-5)

    def test_is_not_that_of_tensorflow_2(self, rng):
        images = rng.normal(size=(1, 28, 28, 3)).astype("float32")
        resized = preprocessing.resize_tf1(images, (32, 32))[0]
        other = tf.image.resize(images, (32, 32), method="bilinear")[0]
        np.testing.assert_allclose(reference.resize_tf2(images[0], (32, 32)), other, atol=2e-5)
        assert np.abs(resized - other).max() > 0.2

    def test_reads_pixels_of_any_type(self, pixels):
        np.testing.assert_array_equal(
            preprocessing.resize_tf1(pixels, (40, 40)), preprocessing.resize_tf1(pixels.astype("float32"), (40, 40))
        )


class TestCrops:
    def test_draws_are_corners_and_flips(self, pixels, draws):
        crops = preprocessing.random_crops(pixels, (20, 11), draws[:, :3]).numpy()
        rows, columns = (np.floor(draws[:, i].astype("float64") * n).astype(int) for i, n in ((0, 13), (1, 22)))
        for crop, image, top, left, draw in zip(crops, pixels, rows, columns, draws, strict=True):
            np.testing.assert_array_equal(crop, reference.crop(image, top, left, 20, 11, flip=draw[2] < 0.5))
        assert len(set(rows)) > 5
        assert 0 < (draws[:, 2] < 0.5).sum() < 20

    @pytest.mark.parametrize("mode", ["constant", "reflect"])
    @pytest.mark.parametrize("num_draws", [2, 3])
    def test_a_shift_is_a_crop_of_the_padded_image(self, rng, mode, num_draws):
        images = rng.normal(size=(20, 12, 10, 3)).astype("float32")
        draws = rng.random((20, num_draws), np.float32)
        shifted = preprocessing.shift(images, draws, mode)
        np.testing.assert_array_equal(shifted, padded_crops(images, draws, mode, flips=num_draws == 3))
        assert (shifted == 0).numpy().any() == (mode == "constant")

    @pytest.mark.parametrize("draw", [0, LARGEST_DRAW])
    def test_the_outermost_draws_are_the_outermost_corners(self, pixels, draw):
        corner = 8 if draw else 0
        shifted = preprocessing.shift(pixels, np.full((20, 2), draw, np.float32))
        padded = np.pad(pixels, [(0, 0), (4, 4), (4, 4), (0, 0)])
        np.testing.assert_array_equal(shifted, padded[:, corner : corner + 32, corner : corner + 32])

    def test_every_place_and_both_sides_are_equally_likely(self):
        # A shift of the image of its own column numbers shows where it was taken from.
        image = np.tile(np.arange(1.0, 33)[:, None], (32, 1, 1))[None].astype("float32")
        draws = Pass(batch_size=1).draws(9000, 3)
        middle = preprocessing.shift(np.tile(image, (9000, 1, 1, 1)), draws)[:, 16, 15:17, 0].numpy()
        flips = middle[:, 0] > middle[:, 1]
        # Standard deviation of a count of 9,000 halves: 47; of ninths: 30.
        assert abs(flips.sum() - 4500) < 4.5 * 47
        columns = middle.min(axis=1).astype(int)
        assert np.abs(np.bincount(columns - columns.min(), minlength=9) - 1000).max() < 4.5 * 30


class TestForms:
    def test_standardized_images_are_standardised(self, pixels):
        expected = np.array([reference.standardize(image) for image in pixels])
        received = preprocessing.Standardized().evaluate(pixels)
        assert received.dtype == tf.float32
        np.testing.assert_allclose(received, expected, atol=1e-5)

    def test_an_image_of_one_colour_is_zero(self):
        flat = np.full((1, 32, 32, 3), 9, np.uint8)
        flat[0, 0, 0, 0] = 10
        # One pixel of 3,072 gives a deviation of 0.01805, that of the bound 1 / sqrt(3072).
        np.testing.assert_allclose(
            preprocessing.Standardized().evaluate(flat)[0], reference.standardize(flat[0]), rtol=1e-3, atol=1e-5
        )
        np.testing.assert_array_equal(preprocessing.Standardized().evaluate(0 * flat), 0)

    def test_standardized_images_are_shifted_and_flipped_before(self, pixels, draws):
        crops = padded_crops(pixels, draws, "constant", flips=True)
        expected = np.array([reference.standardize(crop) for crop in crops])
        received = preprocessing.Standardized().augment(pixels, draws[:, :3])
        np.testing.assert_allclose(received, expected, atol=1e-5)
        ready = np.array([reference.standardize(image) for image in pixels])
        assert np.abs(padded_crops(ready, draws, "constant", flips=True) - expected).max() > 0.5

    def test_crop28_standardises_the_central_crop_and_then_resizes(self, pixels):
        central = pixels[:, 2:30, 2:30]
        expected = [reference.resize(reference.standardize(crop), (32, 32)) for crop in central]
        received = preprocessing.Crop28().evaluate(pixels)
        np.testing.assert_allclose(received, expected, atol=1e-4)
        swapped = [reference.standardize(reference.resize(crop, (32, 32))) for crop in central]
        newer = [reference.resize_tf2(reference.standardize(crop), (32, 32)) for crop in central]
        for other in (swapped, newer):
            assert np.abs(received - other).max() > 0.1

    def test_crop28_changes_place_side_and_contrast(self, pixels, draws):
        expected = []
        for image, corner, draw in zip(pixels, places(draws, 5), draws, strict=True):
            crop = reference.crop(image, *corner, 28, 28, flip=draw[2] < 0.5) + 126.0 * draw[3] - 63
            means = crop.mean(axis=(0, 1))
            contrasted = (crop - means) * (0.2 + 1.6 * draw[4].astype("float64")) + means
            expected.append(reference.resize(reference.standardize(contrasted), (32, 32)))
        received = preprocessing.Crop28().augment(pixels, draws)
        # Contrast as low as 0.2 leaves few of float32's digits to a crop's deviations.
        np.testing.assert_allclose(received, expected, atol=5e-4)

    def test_brightness_does_nothing_and_contrast_something(self, pixels, draws):
        def change(column: int) -> float:
            other = draws.copy()
            other[:, column] = 1 - other[:, column]
            form = preprocessing.Crop28()
            return np.abs(form.augment(pixels, draws) - form.augment(pixels, other)).max()

        assert change(3) < 1e-3
        assert change(4) > 0.1

    def test_normalized_images_have_the_channels_statistics_taken_out(self, pixels, draws):
        def normalize(images: np.ndarray) -> np.ndarray:
            return (images / 255.0 - [0.4914, 0.4822, 0.4465]) / [0.247, 0.243, 0.261]

        np.testing.assert_allclose(DOIMO.evaluate(pixels), normalize(pixels), atol=1e-5)
        reflected = normalize(padded_crops(pixels, draws, "reflect", flips=True))
        np.testing.assert_allclose(DOIMO.augment(pixels, draws[:, :3]), reflected, atol=1e-5)
        zeros = normalize(padded_crops(pixels, draws, "constant", flips=True))
        assert np.abs(zeros - reflected).max() > 0.5

    def test_small_grey_images_are_enlarged_and_standardised(self, pixels, draws):
        grey = pixels[:, :28, :28, :1]
        large = np.array([reference.resize(image, (32, 32)) for image in grey])
        expected = [reference.standardize(image).repeat(3, axis=-1) for image in large]
        form = preprocessing.Enlarged()
        np.testing.assert_allclose(form.evaluate(grey), expected, atol=1e-4)
        shifted = padded_crops(large, draws, "constant", flips=False)
        expected = [reference.standardize(image).repeat(3, axis=-1) for image in shifted]
        np.testing.assert_allclose(form.augment(grey, draws[:, :2]), expected, atol=1e-4)

    def test_scaled_and_flattened_pixels_lie_between_0_and_1(self, pixels, draws):
        np.testing.assert_allclose(preprocessing.Scaled().evaluate(pixels), pixels / 255, rtol=1e-6)
        shifted = padded_crops(pixels, draws, "constant", flips=False) / 255
        np.testing.assert_allclose(preprocessing.Scaled().augment(pixels, draws[:, :2]), shifted, rtol=1e-6)
        flat = preprocessing.Flattened().evaluate(pixels)
        np.testing.assert_allclose(flat, pixels.reshape(20, -1) / 255, rtol=1e-6)

    def test_ready_images_are_only_shifted(self, rng, draws):
        images = rng.normal(size=(20, 8, 8, 1)).astype("float32")
        np.testing.assert_array_equal(preprocessing.Shifted().evaluate(images), images)
        shifted = padded_crops(images, draws, "constant", flips=False)
        np.testing.assert_array_equal(preprocessing.Shifted().augment(images, draws[:, :2]), shifted)


def number_images(pixels: np.ndarray, form: preprocessing.Preprocessing) -> datasets.Dataset:
    """A data set in which every image is labelled with its own index."""
    part = datasets.Split(inputs=pixels, labels=np.arange(len(pixels), dtype="int32"))
    return datasets.Dataset(name="numbered", num_classes=len(pixels), splits={"train": part}, preprocessing=form)


def by_example(data: datasets.Dataset, epoch: int, seed: int, batch_size: int, **options: object) -> np.ndarray:
    """The epoch's augmented images in the order of their examples."""
    batches = list(data.epoch(epoch, seed, batch_size, augment=True, **options))
    labels = np.concatenate([labels for _, labels in batches])
    return np.concatenate([images for images, _ in batches])[np.argsort(labels)]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: type(form).__name__)
class TestDependence:
    def test_augmentation_does_not_depend_on_batch_size_or_order(self, pixels, form):
        data = number_images(pixels, form)
        whole = by_example(data, 2, 5, 20)
        np.testing.assert_array_equal(by_example(data, 2, 5, 7), whole)
        np.testing.assert_array_equal(by_example(data, 2, 5, 7, shuffle=False), whole)

    def test_augmentation_depends_on_seed_and_epoch(self, pixels, form):
        data = number_images(pixels, form)
        first = by_example(data, 2, 5, 8)
        for epoch, seed in ((3, 5), (2, 6), (5, 2)):
            # Two of 50 or more places and sides agree by chance.
            assert (by_example(data, epoch, seed, 8) != first).any(axis=(1, 2, 3)).mean() > 0.8

    def test_augmentation_goes_by_the_example_not_by_its_place(self, pixels, form):
        half = number_images(pixels[:10], form)
        np.testing.assert_array_equal(by_example(half, 1, 0, 4), by_example(number_images(pixels, form), 1, 0, 4)[:10])

    def test_shards_augment_as_one_reader_does(self, pixels, form):
        data = number_images(pixels, form)
        whole = by_example(data, 2, 5, 8)
        for worker in range(3):
            for images, labels in data.epoch(2, 5, 4, augment=True, shard=(worker, 3)):
                np.testing.assert_array_equal(images, whole[labels.numpy()])


def test_forms_say_whether_they_augment():
    assert all(form.augmentable for form in FORMS)
    assert not preprocessing.Preprocessing().augmentable
    with pytest.raises(NotImplementedError, match="Flattened has no augmentation"):
        preprocessing.Flattened().augment(np.zeros((1, 2, 2, 1)), np.zeros((1, 0)))
