"""Everything against the arrays that Lucid 0.3.10 itself gave (lucid/make_reference.py says which is what)."""

import dataclasses
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfunits.visualization import (
    direction,
    diversity,
    fft_image,
    jitter,
    laplacian_image,
    layer,
    neuron,
    pad,
    pixel_image,
    random_rotate,
    random_scale,
    render,
    standard,
    unit,
)
from tfunits.visualization.colors import COLOR_MATRIX, to_valid_range
from tfunits.visualization.parameterization import FourierImage, spectrum_frequencies
from tfunits.visualization.redirection import redirected_relus
from tfunits.visualization.rendering import LEARNING_RATE, _adam
from tfunits.visualization.transforms import resize

REFERENCE = np.load(pathlib.Path(__file__).parent / "lucid" / "reference.npz")
# Relative to the largest number of an array, where some are close to 0.
RELATIVE = 1e-5
ANY_SEED = (0, 0)


def names_ending(ending: str, start: str = "") -> list[str]:
    return [name.removesuffix(ending) for name in REFERENCE if name.startswith(start) and name.endswith(ending)]


def assert_equal_to(name: str, received: object) -> None:
    expected = REFERENCE[name]
    received = np.asarray(received)
    assert received.shape == expected.shape
    np.testing.assert_allclose(received, expected, rtol=RELATIVE, atol=RELATIVE * np.abs(expected).max())


def differs_from(name: str, received: object) -> bool:
    """Whether numbers are far from Lucid's, for negative controls."""
    expected = REFERENCE[name]
    return np.abs(np.asarray(received) - expected).max() > 0.01 * np.abs(expected).max()


class TestImages:
    @pytest.mark.parametrize("name", names_ending("", "freqs_"))
    def test_frequencies(self, name):
        height, width = map(int, name.removeprefix("freqs_").split("x"))
        assert_equal_to(name, spectrum_frequencies(height, width))

    @pytest.mark.parametrize("name", names_ending("_spectrum", "fft_"))
    def test_images_out_of_spectra(self, name):
        height, width, channels = REFERENCE[f"{name}_image"].shape[1:]
        spectrum = np.moveaxis(REFERENCE[f"{name}_spectrum"], 1, 0)
        power, other = (2.0, 1.0) if name.endswith("decay2") else (1.0, 2.0)
        received = fft_image((height, width), channels, decay_power=power).unbounded([spectrum])
        assert_equal_to(f"{name}_image", received)
        assert differs_from(
            f"{name}_image", fft_image((height, width), channels, decay_power=other).unbounded([spectrum])
        )

    @pytest.mark.parametrize("name", names_ending("_level0", "laplacian_"))
    def test_images_out_of_pyramids(self, name):
        levels = [REFERENCE[level] for level in sorted(REFERENCE) if level.startswith(f"{name}_level")]
        size = levels[0].shape[1:3]
        assert_equal_to(f"{name}_image", laplacian_image(size, num_levels=len(levels)).unbounded(levels))
        assert differs_from(f"{name}_image", laplacian_image(size, num_levels=len(levels) - 1).unbounded(levels[:-1]))

    def test_enlargement(self):
        assert_equal_to("resize_output", resize(tf.constant(REFERENCE["resize_input"]), (10, 7)))
        assert differs_from("resize_output", tf.image.resize(REFERENCE["resize_input"], (10, 7)))

    @pytest.mark.parametrize("case", ["default", "square", "odd", "correlated", "channels", "gray", "pixels"])
    def test_whole_images_with_their_colours(self, case):
        expected, numbers = REFERENCE[f"image_{case}_image"], REFERENCE[f"image_{case}_variable"]
        size, channels = expected.shape[1:3], 1 if case == "gray" else expected.shape[3]
        decorrelate = case != "correlated"
        if case == "pixels":
            received = pixel_image(size, channels).images([numbers]).numpy()
        else:
            param = fft_image(size, channels, decorrelate=decorrelate)
            received = param.images([np.moveaxis(numbers, 1, 0)]).numpy()
        if case == "gray":
            # Lucid repeats the channel.
            received = np.repeat(received, 3, axis=-1)
        assert_equal_to(f"image_{case}_image", received)

    def test_the_start_has_the_same_size(self):
        """Lucid's standard deviation: its logistic function is about x / 4 there."""
        expected = REFERENCE["pixel_16x16x3_image"].std()
        (numbers,) = pixel_image(16).start([0])
        np.testing.assert_allclose(numbers.std(), expected, rtol=0.1)
        (spectrum,) = fft_image((12, 16)).start([0])
        np.testing.assert_allclose(spectrum.std(), REFERENCE["fft_12x16x3_spectrum"].std(), rtol=0.1)


class TestColours:
    def test_the_matrix(self):
        assert_equal_to("color_matrix_normalized", COLOR_MATRIX)

    @pytest.mark.parametrize("decorrelated", [True, False])
    @pytest.mark.parametrize("kind", ["sigmoid", "clipped"])
    def test_numbers_as_pixels(self, decorrelated, kind):
        name = f"rgb_{'decorrelated' if decorrelated else 'plain'}_{kind}"
        given = tf.constant(REFERENCE["rgb_input"])
        with tf.GradientTape() as tape:
            tape.watch(given)
            received = to_valid_range(given, decorrelate=decorrelated, sigmoid=kind == "sigmoid")
        assert_equal_to(f"{name}_output", received)
        assert differs_from(
            f"{name}_output", to_valid_range(given, decorrelate=not decorrelated, sigmoid=kind == "sigmoid")
        )
        # Only the logistic function makes images to be optimised; Lucid's clipping has a gradient of its own.
        if kind == "sigmoid":
            assert_equal_to(f"{name}_gradient", tape.gradient(received, given, REFERENCE["rgb_incoming"]))


class TestTransforms:
    def test_padding(self):
        assert_equal_to("pad_constant", pad(3)(tf.constant(REFERENCE["pad_input"]), ANY_SEED))
        assert differs_from("pad_constant", pad(3, 0.0)(tf.constant(REFERENCE["pad_input"]), ANY_SEED))

    def test_what_stands_in_the_standard_transforms(self):
        padding, first, scaling, rotation, last = standard(128, 128)
        assert_equal_to("standard_pad", [padding.width, padding.value])
        assert_equal_to("standard_jitters", [first.distance, last.distance])
        np.testing.assert_array_equal(np.array(scaling.scales, "float32"), REFERENCE["scales"])
        np.testing.assert_array_equal(rotation.degrees, REFERENCE["angles"])

    @pytest.mark.parametrize("number", range(11))
    def test_resized_pixels_and_sizes(self, number):
        scaling = random_scale([standard(128, 128)[2].scales[number]])
        assert_equal_to(f"scale_output_{number}", scaling(tf.constant(REFERENCE["scale_input"]), ANY_SEED))
        sizes = dict(enumerate(REFERENCE["scale_sizes"][number], start=2))
        # Rows and columns are resized alike: two sides of Lucid's squares at once.
        for rows in range(2, 130):
            received = scaling(tf.zeros([1, rows, 258 - rows, 1]), ANY_SEED).shape[1:3]
            assert tuple(received) == (sizes[rows], sizes[258 - rows])
        assert tuple(scaling(tf.zeros([1, 40, 41, 1]), ANY_SEED).shape[1:3]) == tuple(
            REFERENCE["scale_sizes_40x41"][number]
        )

    def test_sizes_in_exact_arithmetic_are_not_always_lucids(self):
        """Negative control: what the scales' rounding to float32 decides."""
        scales = standard(128, 128)[2].scales
        exact = np.array([[int(scale * side) for side in range(2, 257)] for scale in scales])
        assert (exact != REFERENCE["scale_sizes"]).any()

    @pytest.mark.parametrize("distance", [4, 8])
    def test_jitter_crops_at_the_offsets(self, distance):
        given = tf.constant(REFERENCE["jitter_input"].astype("float32"))
        draws = REFERENCE[f"jitter_{distance}_output"]
        for expected, corner in zip(draws, REFERENCE[f"jitter_{distance}_offsets"], strict=False):
            received = jitter(distance).crop(given, tf.constant(corner, tf.int32))
            np.testing.assert_array_equal(received, expected)
            other = jitter(distance).crop(given, tf.constant(corner[::-1], tf.int32)).numpy()
            assert np.array_equal(other, expected) == (corner[0] == corner[1])

    @pytest.mark.parametrize("distance", [4, 8])
    def test_jitter_draws_the_same_offsets(self, distance):
        """Row and column are independent, from 0 to the distance, all equally often."""
        given = tf.constant(REFERENCE["jitter_input"][:1].astype("float32"))
        drawn = [jitter(distance)(given, (0, seed)).numpy()[0, 0, 0, 0] for seed in range(500)]
        received = np.stack(np.divmod(drawn, 16), axis=1).astype(int)
        expected = REFERENCE[f"jitter_{distance}_offsets"]
        for axis in (0, 1):
            counts = [np.bincount(offsets[:, axis], minlength=distance + 1) for offsets in (received, expected)]
            assert len(counts[0]) == len(counts[1]) == distance + 1
            # Both samples are of 500; five standard deviations of a difference of counts.
            bound = 5 * np.sqrt(2 * 500 / (distance + 1))
            assert np.abs(counts[0] - counts[1]).max() < bound
            assert min(counts[0]) > 0
        assert np.abs(np.corrcoef(received.T)[0, 1]) < 0.2

    @pytest.mark.parametrize("number", range(7))
    def test_rotation_reads_next_to_the_pixel_that_lucid_takes(self, number):
        """Of an image that holds its own coordinates, bilinear values are the places that are read."""
        angle = float(REFERENCE["rotate_angles"][number])
        places = tf.constant(np.stack(np.mgrid[:17, :20], axis=-1)[None] + 1, tf.float32)
        taken = REFERENCE["rotate_output"][number, 0, :, :, 0]
        expected = np.stack(np.divmod(taken - 1, 20), axis=-1) + 1.0

        def farthest(degrees: float) -> float:
            read = random_rotate([degrees])(places, ANY_SEED).numpy()[0]
            # Black comes in at the borders of both.
            return np.abs(read - expected)[4:-4, 4:-4].max()

        assert taken[4:-4, 4:-4].min() > 0
        # Lucid's pi is 3.14, which is a thousandth of a pixel here.
        assert farthest(angle) <= 0.502
        assert abs(angle) < 5 or farthest(-angle) > 1.5


class TestOptimisation:
    def test_adam(self):
        state = [[tf.Variable(values)] for values in (REFERENCE["adam_start"], tf.zeros(6), tf.zeros(6))]
        found = []
        for step, gradient in enumerate(REFERENCE["adam_gradients"]):
            _adam(*state, [tf.constant(gradient)], tf.constant(step), LEARNING_RATE)
            found.append(state[0][0].numpy())
        assert_equal_to("adam_values", found)
        assert_equal_to("adam_values", adam_in_numpy(epsilon_on_corrected=False))
        # Negative control: the textbook's place of epsilon moves numbers of tiny gradients more.
        assert differs_from("adam_values", adam_in_numpy(epsilon_on_corrected=True))

    @pytest.mark.parametrize("kind", ["relu", "relu6"])
    def test_redirected_gradients(self, kind):
        first, after = REFERENCE[f"{kind}_gradients"][[0, -1]]
        redirected, plain = gradients_of(kind, REFERENCE[f"{kind}_input"], REFERENCE[f"{kind}_incoming"])
        np.testing.assert_array_equal(redirected, first)
        np.testing.assert_array_equal(plain, after)
        assert np.abs(redirected - plain).max() > 0.5

    @pytest.mark.parametrize("kind", ["relu", "relu6"])
    def test_at_exactly_0_the_gradient_is_that_of_tensorflow(self, kind):
        """The documented difference: Lucid lets everything pass there, and at ReLU6's 6."""
        inputs, incoming = REFERENCE[f"{kind}_edge_input"], REFERENCE[f"{kind}_edge_incoming"]
        lucid = REFERENCE[f"{kind}_edge_gradients"][0]
        redirected, plain = gradients_of(kind, inputs, incoming)
        # The first row has inputs of 0 and 6; live gradients of the second are so small that Lucid loses them.
        np.testing.assert_array_equal(redirected[2], lucid[2])
        np.testing.assert_array_equal(redirected[1], plain[1])
        np.testing.assert_array_equal(lucid[0], incoming[0])
        helps = [0, 0, 1, -1] if kind == "relu" else [0, -1, 1, 0]
        np.testing.assert_array_equal(redirected[0], helps)
        np.testing.assert_array_equal(plain[0], [0, 0, 1, -1] if kind == "relu" else [0, 0, 0, 0])

    @pytest.mark.parametrize("case", ["dead", "wakes"])
    def test_the_whole_loop(self, case):
        """A convolution and its ReLU, drawn without random changes: images after every threshold."""
        inputs = keras.Input((None, None, 3))
        hidden = layers.Conv2D(2, 3, padding="same", activation="relu", name="hidden")
        model = keras.Model(inputs, hidden(inputs))
        hidden.set_weights([REFERENCE["render_kernel"], REFERENCE[f"render_{case}_bias"]])
        param = GivenSpectrum(height=8, width=8, channels=3, spectrum=REFERENCE[f"render_{case}_spectrum"])
        # Lucid's objective is the mean over its batch of two.
        options = {"param": param, "transforms": [], "copies": 2}
        expected, losses = REFERENCE[f"render_{case}_images"], REFERENCE[f"render_{case}_losses"]
        number = {"dead": 1, "wakes": -1}[case]
        steps = int(REFERENCE["render_thresholds"][number]) + 1
        # Lucid redirects for 17 steps.
        drawn = render(model, unit("hidden", 1), steps=steps, redirected_steps=17, **options)
        np.testing.assert_allclose(drawn.images, expected[number], atol=RELATIVE)
        np.testing.assert_allclose(drawn.history[:, 0], losses[:steps], atol=1e-6)
        assert (losses[-1] > 0.01) == (case == "wakes")
        never = render(model, unit("hidden", 1), steps=steps, redirected_steps=0, **options)
        assert np.abs(never.images - expected[number]).max() > 0.1


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class GivenSpectrum(FourierImage):
    """Images whose starts, copy by copy, are given."""

    spectrum: np.ndarray

    def start(self, seed):
        return [self.spectrum[:, seed[-1]]]


def adam_in_numpy(*, epsilon_on_corrected: bool) -> list[np.ndarray]:
    """Kingma and Ba's update of Lucid's numbers: with epsilon as in TensorFlow, or as in their algorithm 1."""
    numbers = REFERENCE["adam_start"].astype("float64")
    mean, square, found = np.zeros(6), np.zeros(6), []
    for time, gradient in enumerate(REFERENCE["adam_gradients"].astype("float64"), start=1):
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        root = np.sqrt(1 - 0.999**time)
        length = np.sqrt(square) / root + 1e-8 if epsilon_on_corrected else (np.sqrt(square) + 1e-8) / root
        numbers = numbers - 0.05 * mean / (1 - 0.9**time) / length
        found.append(numbers)
    return found


def gradients_of(kind: str, inputs: np.ndarray, incoming: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradients behind a ReLU or ReLU6, with and without redirection."""
    rectify = {"relu": tf.nn.relu, "relu6": tf.nn.relu6}[kind]

    @tf.function(autograph=False)
    def both(given: tf.Tensor) -> list[tf.Tensor]:
        plain = tf.gradients(rectify(given), given, tf.constant(incoming))
        with redirected_relus():
            return [*tf.gradients(rectify(given), given, tf.constant(incoming)), *plain]

    redirected, plain = both(tf.constant(inputs))
    return redirected.numpy(), plain.numpy()


OBJECTIVES = {
    "channel": lambda vector: unit("layer", 2),
    "neuron": lambda vector: neuron("layer", 3),
    "neuron_x1_y0": lambda vector: neuron("layer", 3, row=1, column=0),
    "direction_cossim0": lambda vector: direction("layer", vector),
    "direction_cossim1": lambda vector: direction("layer", vector, cosine_power=1),
    "direction_cossim2": lambda vector: direction("layer", vector, cosine_power=2),
    "deepdream": lambda vector: layer("layer"),
    # The other sign.
    "diversity": lambda vector: -diversity("layer"),
}
SIZES = ("5x4x6", "4x4x6", "6", "5x4x6_zeros")
# Lucid reads a position, and Gram matrices, on maps only.
STORED = [(size, name) for size in SIZES for name in OBJECTIVES if f"objective_{size}_{name}" in REFERENCE]


class TestObjectives:
    @staticmethod
    def evaluate(objective, activations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Value and gradient for the copies of one image."""
        given = tf.constant(activations[None])
        with tf.GradientTape() as tape:
            tape.watch(given)
            value = objective.evaluate({"layer": given}.__getitem__, iter([p[None] for p in objective.parameters]))
        return value.numpy()[0], tape.gradient(value, given).numpy()[0]

    @pytest.mark.parametrize(("size", "name"), STORED)
    def test_values_and_gradients(self, size, name):
        stored = f"objective_{size}_{name}"
        value, gradient = self.evaluate(OBJECTIVES[name](REFERENCE["objective_vector"]), REFERENCE[f"acts_{size}"])
        assert_equal_to(stored, value)
        assert_equal_to(f"{stored}_gradient", gradient)

    @pytest.mark.parametrize("size", ["5x4x6", "4x4x6", "6"])
    def test_a_copy_by_itself(self, size):
        value, gradient = self.evaluate(unit("layer", 2), REFERENCE[f"acts_{size}"][1:2])
        assert_equal_to(f"objective_{size}_channel_of_image1", value)
        np.testing.assert_allclose(gradient[0], REFERENCE[f"objective_{size}_channel_of_image1_gradient"][1], rtol=1e-5)

    def test_other_numbers_give_other_values(self):
        """Negative control: unit, place, power and sign matter."""
        vector, acts = REFERENCE["objective_vector"], REFERENCE["acts_5x4x6"]
        others = {
            "channel": unit("layer", 3), "neuron": neuron("layer", 3, row=2, column=1),
            "neuron_x1_y0": neuron("layer", 3, row=0, column=1), "direction_cossim1": direction("layer", vector),
            "direction_cossim0": direction("layer", vector[::-1]), "diversity": diversity("layer"),
        }  # fmt: skip
        for name, objective in others.items():
            assert differs_from(f"objective_5x4x6_{name}", self.evaluate(objective, acts)[0])
