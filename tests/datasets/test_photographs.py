"""Photographs of any size and kind into inputs: windows, views and random boxes against float64 arithmetic."""

import io

import numpy as np
import pytest
import reference
import tensorflow as tf
from disk_forms import jpeg, make_photograph
from PIL import Image

from tfunits.datasets import photographs

SIZES = [(60, 90), (300, 227), (256, 256), (20, 31)]


def encode(image: np.ndarray, kind: str, mode: str = "RGB") -> bytes:
    """An image file of another kind than JPEG."""
    stream = io.BytesIO()
    Image.fromarray(image).convert(mode).save(stream, format=kind)
    return stream.getvalue()


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    return make_photograph(np.random.default_rng(5), 120, 150)


@pytest.fixture(scope="module")
def files(photograph) -> dict[str, bytes]:
    """Every kind of file that is read."""
    return {
        "colours at half the resolution": jpeg(photograph, quality=75),
        "full colours": jpeg(photograph, quality=90, chroma_downsampling=False),
        "progressive": jpeg(photograph, progressive=True),
        "grey JPEG": jpeg(photograph[..., :1]),
        "CMYK": encode(photograph, "JPEG", "CMYK"),
        "PNG": encode(photograph, "PNG"),
        "PNG with transparency": encode(photograph, "PNG", "RGBA"),
        "grey PNG": encode(photograph, "PNG", "L"),
        "BMP": encode(photograph, "BMP"),
        "GIF": encode(photograph, "GIF", "P"),
    }


KINDS = [
    "colours at half the resolution", "full colours", "progressive", "grey JPEG", "CMYK", "PNG",
    "PNG with transparency", "grey PNG", "BMP", "GIF",
]  # fmt: skip


def decode(encoded: bytes) -> np.ndarray:
    return tf.io.decode_image(encoded, channels=3, expand_animations=False).numpy()


class TestWindows:
    @pytest.mark.parametrize("kind", KINDS)
    def test_a_window_is_that_part_of_the_whole(self, files, kind, rng):
        whole = decode(files[kind])
        assert whole.shape == (120, 150, 3)
        read = tf.function(lambda encoded, window: photographs.decode_window(encoded, lambda shape: window))
        windows = [(0, 0, 120, 150), (0, 0, 1, 1), (119, 149, 1, 1), (16, 32, 48, 64)]
        for _ in range(12):
            (top, left), (bottom, right) = rng.integers(0, 60, 2), rng.integers(61, 120, 2)
            windows.append((top, left, bottom - top, right - left))
        for window in windows:
            received = read(files[kind], tf.constant(window, tf.int32))
            np.testing.assert_array_equal(received, reference.crop(whole, *window))

    def test_a_window_without_margin_has_other_borders(self, files):
        encoded = files["colours at half the resolution"]
        narrow = tf.io.decode_and_crop_jpeg(encoded, [16, 32, 48, 64], channels=3).numpy()
        assert np.abs(narrow.astype(int) - decode(encoded)[16:64, 32:96]).max() > 1

    @pytest.mark.parametrize("kind", ["full colours", "BMP"])
    def test_the_window_is_chosen_by_the_images_shape(self, files, kind):
        lower_right = photographs.decode_window(files[kind], lambda shape: tf.stack([shape[0] - 7, shape[1] - 9, 7, 9]))
        np.testing.assert_array_equal(lower_right, decode(files[kind])[113:, 141:])

    def test_colours_survive(self, photograph, files):
        for kind in ("PNG", "PNG with transparency", "BMP"):
            np.testing.assert_array_equal(photographs.decode(files[kind]), photograph)
        grey = photographs.decode(files["grey PNG"]).numpy()
        np.testing.assert_array_equal(grey[..., 0], grey[..., 2])


def show_centre(image: np.ndarray, shorter_side: int, side: int, resize: object = reference.resize) -> np.ndarray:
    """The centre of an image resized so that its shorter side is as given."""
    shorter = min(image.shape[:2])
    size = tuple(length * shorter_side // shorter for length in image.shape[:2])
    return reference.crop(resize(image, size), *((length - side) // 2 for length in size), side, side)


class TestViews:
    @pytest.mark.parametrize("size", SIZES)
    def test_image224_is_the_centre_less_the_channels_means(self, rng, size):
        encoded = jpeg(make_photograph(rng, *size))
        received = photographs.FORMS["image224"].evaluate(encoded)
        expected = show_centre(decode(encoded), 256, 224) - [123.68, 116.78, 103.94]
        assert (received.shape, received.dtype) == ((224, 224, 3), tf.float32)
        # Positions in float32 are off by some 1e-5 of a pixel, times differences of up to 255.
        np.testing.assert_allclose(received, expected, atol=5e-3)
        newer = show_centre(decode(encoded), 256, 224, reference.resize_tf2) - [123.68, 116.78, 103.94]
        assert size == (256, 256) or np.abs(received - newer).max() > 1

    @pytest.mark.parametrize("size", SIZES)
    def test_image299_is_the_central_seven_eighths_between_minus_1_and_1(self, rng, size):
        encoded = jpeg(make_photograph(rng, *size))
        received = photographs.FORMS["image299"].evaluate(encoded)
        top, left = (length // 16 for length in size)
        central = reference.crop(decode(encoded), top, left, size[0] - 2 * top, size[1] - 2 * left)
        expected = reference.resize(central, (299, 299)) / 127.5 - 1
        np.testing.assert_allclose(received, expected, atol=1e-4)
        assert np.abs(received - (reference.resize(decode(encoded), (299, 299)) / 127.5 - 1)).max() > 0.1

    @pytest.mark.parametrize("size", SIZES)
    def test_image32_is_the_centre_standardised(self, rng, size):
        encoded = jpeg(make_photograph(rng, *size))
        expected = reference.standardize(show_centre(decode(encoded), 32, 32))
        np.testing.assert_allclose(photographs.FORMS["image32"].evaluate(encoded), expected, atol=1e-4)


class TestAugmentation:
    @pytest.mark.parametrize("form", photographs.FORMS)
    @pytest.mark.parametrize("kind", ["colours at half the resolution", "grey PNG"])
    def test_is_a_box_perhaps_flipped_and_resized(self, files, form, kind):
        whole, side = decode(files[kind]), photographs.FORMS[form].side
        scale = {
            "image32": reference.standardize,
            "image224": lambda image: image - [123.68, 116.78, 103.94],
            "image299": lambda image: image / 127.5 - 1,
        }[form]
        # Resizing a handful of pixels to one unit of variance multiplies rounding.
        tolerance = {"image32": 1e-3, "image224": 5e-3, "image299": 1e-4}[form]
        augment = tf.function(photographs.FORMS[form].augment)
        flips = []
        for i in range(12):
            seed = tf.constant([77, i])
            box = photographs.draw_box(tf.constant(whole.shape), seed).numpy()
            sides = [
                scale(reference.resize(reference.crop(whole, *box, flip=flip), (side, side))) for flip in (False, True)
            ]
            received = augment(files[kind], seed)
            matches = [np.abs(received - expected).max() < tolerance for expected in sides]
            assert sum(matches) == 1
            flips.append(matches[1])
        assert 0 < sum(flips) < 12

    def test_follows_its_seed_alone(self, files):
        augment = tf.function(photographs.FORMS["image32"].augment)
        images = []
        for process_seed, seed in ((1, [1, 2]), (2, [1, 2]), (1, [1, 3]), (1, [2, 2]), (1, [2, 1])):
            tf.random.set_seed(process_seed)
            images.append(augment(files["PNG"], tf.constant(seed)).numpy())
        np.testing.assert_array_equal(images[0], images[1])
        assert all(np.abs(images[0] - other).max() > 0.1 for other in images[2:])

    def test_both_sides_are_equally_likely(self):
        # The columns' own numbers show which side is first.
        image = np.tile(np.arange(64, dtype="uint8")[None, :, None] * 4, (64, 1, 3))
        form = photographs.FORMS["image299"]
        finish = tf.function(lambda seed: form.finish_box(tf.constant(image), seed)[0, :2, 0])
        flipped = [np.diff(finish(tf.constant([9, i])))[0] < 0 for i in range(400)]
        # Standard deviation of a count of 400 halves: 10.
        assert abs(sum(flipped) - 200) < 45

    def test_boxes_have_the_areas_and_aspects_of_the_recipe(self):
        seeds = tf.stack([tf.fill([600], 3), tf.range(600)], axis=1)
        shape = tf.constant([200, 300, 3])
        draw = tf.function(lambda seed: photographs.draw_box(shape, seed))
        boxes = np.array([draw(seed) for seed in seeds])
        top, left, height, width = boxes.T
        assert ((top >= 0) & (left >= 0) & (top + height <= 200) & (left + width <= 300)).all()
        area, aspect = height * width / 60_000, width / height
        # Sides are whole pixels; a box covers a tenth of the image, which is the object here.
        assert 0.098 < area.min() < 0.15
        assert area.max() > 0.7
        assert 0.73 < aspect.min() < 0.78
        assert 1.28 < aspect.max() < 1.36
        assert len(np.unique(boxes, axis=0)) > 590
