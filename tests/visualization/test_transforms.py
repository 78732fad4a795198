"""Random changes of images: sizes, pixels, senses of rotation, draws."""

import image_oracles as oracles
import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from tfunits.visualization import crop_or_pad, jitter, pad, random_rotate, random_scale, standard
from tfunits.visualization.transforms import apply

SEEDS = [(0, seed) for seed in range(400)]
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture
def photographs(rng) -> np.ndarray:
    """Smooth images, so that neighbouring pixels are alike."""
    noise = rng.uniform(size=(2, 23, 30, 3))
    return scipy.ndimage.gaussian_filter(noise, (0, 2, 2, 0)).astype("float32")


def changed(transform, images: np.ndarray, seed: tuple[int, int] = (0, 0)) -> np.ndarray:
    return transform(tf.constant(images), seed).numpy()


class TestPad:
    @pytest.mark.parametrize(("width", "value"), [(3, 0.5), (1, 0.0), (0, 0.5)])
    def test_pixels_of_one_value_come_around(self, width, value, photographs):
        sides = [(0, 0), (width, width), (width, width), (0, 0)]
        expected = np.pad(photographs, sides, constant_values=value)
        np.testing.assert_array_equal(changed(pad(width, value), photographs), expected)

    def test_they_are_grey_unless_told_otherwise(self, photographs):
        padded = changed(pad(2), photographs)
        np.testing.assert_array_equal(padded[:, :2], np.full((2, 2, 34, 3), 0.5))
        assert np.abs(padded[:, 2:-2, 2:-2] - 0.5).max() > 0.01


class TestJitter:
    @pytest.mark.parametrize("distance", [0, 1, 5])
    def test_what_is_left_is_a_crop(self, distance, photographs):
        received = changed(jitter(distance), photographs)
        assert received.shape == (2, 23 - distance, 30 - distance, 3)
        crops = [
            photographs[:, row : 23 - distance + row, column : 30 - distance + column]
            for row in range(distance + 1)
            for column in range(distance + 1)
        ]
        assert sum(np.array_equal(received, crop) for crop in crops) == 1

    def test_every_place_is_drawn_equally_often(self):
        places = np.arange(20, dtype="float32").reshape(1, 4, 5, 1)
        corners = [int(changed(jitter(2), places, seed)[0, 0, 0, 0]) for seed in SEEDS]
        counts = np.bincount(corners, minlength=20).reshape(4, 5)
        assert counts[:3, :3].sum() == len(SEEDS)
        # Nine corners of the same chance: five standard deviations.
        np.testing.assert_allclose(counts[:3, :3], len(SEEDS) / 9, atol=5 * np.sqrt(len(SEEDS) * 8 / 81))


class TestRandomScale:
    @pytest.mark.parametrize("scale", [0.5, 0.9, 1.0, 1.1, 2.3])
    def test_pixels_are_those_of_bilinear_resizing(self, scale, photographs):
        size = (int(23 * scale), int(30 * scale))
        received = changed(random_scale([scale]), photographs)
        expected = np.stack([oracles.resize(image.astype("float64"), size) for image in photographs])
        np.testing.assert_allclose(received, expected, **CLOSE)
        half_pixel = tf.image.resize(photographs, size).numpy()
        assert scale == 1 or np.abs(received - half_pixel).max() > 1e-3

    def test_every_scale_is_drawn_as_often_as_it_stands_there(self):
        images = np.zeros((1, 10, 10, 1), "float32")
        sides = [changed(random_scale([0.5, 1.0, 1.5, 1.5]), images, seed).shape[1] for seed in SEEDS]
        counts = np.array([sides.count(side) for side in (5, 10, 15)])
        shares = np.array([0.25, 0.25, 0.5])
        assert counts.sum() == len(SEEDS)
        assert (np.abs(counts - len(SEEDS) * shares) < 5 * np.sqrt(len(SEEDS) * shares * (1 - shares))).all()


class TestRandomRotate:
    @pytest.mark.parametrize("quarters", [0, 1, 2, 3, -1])
    def test_quarters_of_a_turn_are_numpys(self, quarters, photographs):
        """Counter-clockwise, as numpy turns images; squares of even and odd sides."""
        for side in (22, 23):
            square = photographs[:, :side, :side]
            received = changed(random_rotate([90.0 * quarters]), square)
            np.testing.assert_allclose(received, np.rot90(square, quarters, axes=(1, 2)), **CLOSE)
            other = np.rot90(square, -quarters, axes=(1, 2))
            assert quarters % 2 == 0 or np.abs(received - other).max() > 0.05

    def test_a_dot_on_the_right_goes_up(self):
        image = np.zeros((1, 9, 9, 1), "float32")
        image[0, 4, 8] = 1
        (up,) = np.argwhere(changed(random_rotate([90]), image)[0, :, :, 0] > 0.5)
        assert tuple(up) == (0, 4)

    @pytest.mark.parametrize("degrees", [180, 360])
    def test_half_and_whole_turns_of_any_size(self, degrees, photographs):
        expected = photographs[:, ::-1, ::-1] if degrees == 180 else photographs
        received = changed(random_rotate([degrees]), photographs)
        # A pixel at the border may be read a rounding error outside of the image.
        np.testing.assert_allclose(received[:, 1:-1, 1:-1], expected[:, 1:-1, 1:-1], **CLOSE)

    def test_no_turn_is_the_identity(self, photographs):
        np.testing.assert_array_equal(changed(random_rotate([0]), photographs), photographs)

    @pytest.mark.parametrize("degrees", [-10, -3.5, 1, 7])
    def test_small_turns_are_scipys(self, degrees, photographs):
        received = changed(random_rotate([degrees]), photographs)
        expected = scipy.ndimage.rotate(photographs.astype("float64"), degrees, axes=(2, 1), reshape=False, order=1)
        inside = np.s_[:, 5:-5, 5:-5]
        np.testing.assert_allclose(received[inside], expected[inside], **CLOSE)
        other = scipy.ndimage.rotate(photographs, -degrees, axes=(2, 1), reshape=False, order=1)
        assert np.abs(received[inside] - other[inside]).max() > 0.01

    def test_black_comes_in_at_the_corners(self):
        received = changed(random_rotate([45]), np.ones((1, 21, 21, 1), "float32"))[0, :, :, 0]
        rows, columns = np.mgrid[:21, :21] - 10
        outside = np.abs(rows) + np.abs(columns) > 10 * np.sqrt(2) + 1.5
        assert outside.sum() > 20
        np.testing.assert_array_equal(received[outside], 0)
        np.testing.assert_allclose(received[np.hypot(rows, columns) < 9], 1, rtol=1e-5)

    def test_every_angle_is_drawn(self):
        """The standard list has 0 six times among 26."""
        image = np.zeros((1, 41, 41, 1), "float32")
        image[0, 20, 40] = 1
        rotation = standard(128, 128)[3]
        rows = [float(np.sum(np.arange(41) * changed(rotation, image, seed)[0, :, :, 0].sum(axis=1))) for seed in SEEDS]
        still = np.mean(np.abs(np.array(rows) - 20) < 0.05)
        assert abs(still - 6 / 26) < 5 * np.sqrt(6 / 26 * 20 / 26 / len(SEEDS))
        assert 10 < min(rows) < 18
        assert 22 < max(rows) < 30


class TestCropOrPad:
    @pytest.mark.parametrize("size", [(23, 30), (20, 25), (29, 41), (17, 40), (40, 17)])
    @pytest.mark.parametrize("value", [0.5, 1.0])
    def test_the_middle_stays(self, size, value, photographs):
        received = changed(crop_or_pad(*size, value), photographs)
        assert received.shape == (2, *size, 3)
        expected = photographs.astype("float64")
        for axis, wanted in enumerate(size, start=1):
            more = wanted - expected.shape[axis]
            if more >= 0:
                sides = [(0, 0)] * 4
                sides[axis] = (more // 2, more - more // 2)
                expected = np.pad(expected, sides, constant_values=value)
            else:
                first = -more // 2
                expected = np.take(expected, np.arange(first, first + wanted), axis)
        np.testing.assert_allclose(received, expected, atol=1e-6)

    def test_new_pixels_are_grey_unless_told_otherwise(self, photographs):
        received = changed(crop_or_pad(25, 30), photographs)
        np.testing.assert_array_equal(received[:, [0, -1]], np.full((2, 2, 30, 3), 0.5))


class TestStandard:
    @pytest.mark.parametrize(
        ("size", "pixels"),
        [
            ((128, 128), (12, 8, 4)),
            ((300, 224), (12, 8, 4)),
            ((64, 64), (6, 4, 2)),
            ((96, 200), (9, 6, 3)),
            ((32, 32), (3, 2, 1)),
            ((40, 28), (3, 2, 1)),
            # round(0.75), round(0.5), round(0.25), none of them below 1.
            ((8, 8), (1, 1, 1)),
        ],
    )
    def test_pixels_shrink_with_the_shorter_side_below_128(self, size, pixels):
        padding, first, scaling, rotation, last = standard(*size)
        assert (padding.width, first.distance, last.distance) == pixels
        assert padding.value == 0.5
        np.testing.assert_allclose(scaling.scales, np.arange(0.9, 1.11, 0.02), rtol=1e-12)
        assert sorted(rotation.degrees) == sorted([*range(-10, 11), 0, 0, 0, 0, 0])

    @pytest.mark.parametrize("size", [(32, 32), (17, 29), (128, 140)])
    def test_sizes_after_every_transform(self, size):
        images = tf.zeros([2, *size, 3])
        transforms = standard(*size)
        padding, first, last = transforms[0].width, transforms[1].distance, transforms[4].distance
        expected = {
            tuple(int(np.float32(scale) * np.float32(side + 2 * padding - first)) - last for side in size)
            for scale in transforms[2].scales
        }
        received = {tuple(apply(transforms, images, tf.constant([0, seed])).shape[1:3]) for seed in range(60)}
        assert received <= expected
        assert len(received) > 5

    def test_black_of_the_rotation_stays_behind_the_padding(self):
        """At 128x128 a quarter of the draws at most shows a corner; the middle is never touched."""
        images = tf.ones([1, 128, 128, 1])
        for seed in range(8):
            received = apply(standard(128, 128), images, tf.constant([0, seed])).numpy()[0, :, :, 0]
            assert received[30:-30, 30:-30].min() > 0.99


class TestDraws:
    TRANSFORMS = {
        "jitter": jitter(5),
        "scale": random_scale(np.linspace(0.5, 1.5, 30)),
        "rotate": random_rotate(np.linspace(-40, 40, 30)),
    }  # fmt: skip

    @pytest.mark.parametrize("name", TRANSFORMS)
    def test_one_draw_holds_for_the_whole_batch(self, name, photographs):
        """What becomes of an image does not depend on the others."""
        transform = self.TRANSFORMS[name]
        for seed in SEEDS[:5]:
            together = changed(transform, photographs, seed)
            for image, expected in zip(photographs, together, strict=True):
                np.testing.assert_allclose(changed(transform, image[None], seed)[0], expected, atol=1e-6)

    @pytest.mark.parametrize("name", TRANSFORMS)
    def test_draws_are_of_the_seed(self, name, photographs):
        transform = self.TRANSFORMS[name]
        results = [changed(transform, photographs, seed) for seed in SEEDS[:6]]
        np.testing.assert_array_equal(results[0], changed(transform, photographs, SEEDS[0]))
        assert sum(other.shape != results[0].shape or np.abs(other - results[0]).max() > 0.01 for other in results) > 2
        other_stream = changed(transform, photographs, (1, 0))
        assert other_stream.shape != results[0].shape or np.abs(other_stream - results[0]).max() > 1e-3

    def test_every_transform_of_a_list_has_a_draw_of_its_own(self):
        places = tf.reshape(tf.range(441, dtype=tf.float32), [1, 21, 21, 1])
        corners = []
        for seed in range(40):
            first = apply([jitter(5)], places, tf.constant([0, seed])).numpy()[0, 0, 0, 0]
            both = apply([jitter(5), jitter(5)], places, tf.constant([0, seed])).numpy()[0, 0, 0, 0]
            corners.append((*divmod(first, 21), *divmod(both - first, 21)))
        corners = np.array(corners)
        assert (corners >= 0).all()
        assert (corners <= 5).all()
        # With one draw for both, the second corner would always be the first.
        assert np.abs(np.corrcoef(corners[:, 0], corners[:, 2])[0, 1]) < 0.5

    def test_no_transforms_leave_images_as_they_are(self, photographs):
        np.testing.assert_array_equal(apply([], tf.constant(photographs), tf.constant([0, 0])), photographs)


def pull_back(transform, images: np.ndarray, upstream: np.ndarray) -> np.ndarray:
    """The gradient behind a transform."""
    given = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(given)
        received = transform(given, (0, 3))
    return tape.gradient(received, given, upstream.astype("float32")).numpy()


@pytest.mark.parametrize(
    "transform",
    [pad(2, 0.0), jitter(4), random_scale([0.7, 1.3]), crop_or_pad(20, 33, 0.0)],
    ids=lambda transform: type(transform).__name__,
)
def test_gradients_are_the_transpose(transform, photographs, rng):
    """Every transform whose new pixels are black is linear: <g, T v> = <T' g, v>."""
    other = rng.normal(size=photographs.shape)
    upstream = rng.normal(size=changed(transform, photographs, (0, 3)).shape)
    gradient = pull_back(transform, photographs, upstream)
    forward = np.sum(upstream * changed(transform, other.astype("float32"), (0, 3)))
    np.testing.assert_allclose(np.sum(gradient * other), forward, rtol=1e-4, atol=1e-3)
    assert abs(np.sum(gradient * other[:, ::-1]) - forward) > 0.1


def test_the_gradient_of_a_rotation_is_the_rotation_back(photographs, rng):
    """As TensorFlow has it, which is the transpose but for a rounding to whole pixels."""
    upstream = scipy.ndimage.gaussian_filter(rng.normal(size=photographs.shape), (0, 1, 1, 0))
    gradient = pull_back(random_rotate([17.0]), photographs, upstream)
    back = scipy.ndimage.rotate(upstream, -17, axes=(2, 1), reshape=False, order=1)
    inside = np.s_[:, 7:-7, 7:-7]
    np.testing.assert_allclose(gradient[inside], back[inside], **CLOSE)
    pixels = np.eye(23 * 30, dtype="float32").reshape(-1, 23, 30, 1)
    matrix = changed(random_rotate([17.0]), pixels).reshape(690, 690)
    transpose = np.einsum("vp,bpc->bvc", matrix, upstream.reshape(2, 690, 3))
    assert np.corrcoef(gradient.ravel(), transpose.ravel())[0, 1] > 0.999
    forth = pull_back(random_rotate([-17.0]), photographs, upstream)
    assert np.corrcoef(forth.ravel(), transpose.ravel())[0, 1] < 0.9


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pad(-1), "width: expected a whole number of pixels, at least 0, received -1"),
        (lambda: pad(1.5), "width: expected a whole number of pixels, at least 0, received 1.5"),
        (lambda: jitter(-2), "distance: expected a whole number of pixels, at least 0, received -2"),
        (lambda: jitter(True), "distance: expected a whole number of pixels, at least 0, received True"),
        (lambda: random_scale([]), r"scales: expected at least one factor, all above 0 and finite, received \[\]"),
        (lambda: random_scale([1.0, float("inf")]), "scales: expected at least one factor, all above 0 and finite"),
        (lambda: random_scale([1.0, 0.0]), r"scales: .* received \[1.0, 0.0\]"),
        (lambda: random_scale([float("nan")]), r"scales: .* received \[nan\]"),
        (lambda: random_rotate([]), r"degrees: expected at least one angle, all finite, received \[\]"),
        (lambda: random_rotate([0, float("inf")]), r"degrees: .* received \[0, inf\]"),
        (lambda: crop_or_pad(0, 5), "height: expected at least 1 pixel, received 0"),
        (lambda: crop_or_pad(5, -3), "width: expected at least 1 pixel, received -3"),
    ],
)
def test_transforms_that_make_no_image_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
