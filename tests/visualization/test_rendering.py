"""Images that are drawn: they raise what they are drawn for, whatever is drawn beside them."""

import functools
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from drawn_networks import chain, inference, like_alexnet
from keras import layers

from tfunits.surgery import Graph
from tfunits.visualization import (
    Rendering,
    direction,
    diversity,
    fft_image,
    jitter,
    laplacian_image,
    layer,
    neuron,
    pixel_image,
    render,
    unit,
)
from tfunits.visualization.network import Network
from tfunits.visualization.objectives import Unit
from tfunits.visualization.rendering import default_sides

# Single precision, after few steps.
ROUNDING = {"rtol": 0, "atol": 1e-4}
# Without redirection one function less is compiled.
QUICK = {"redirected_steps": 0}


@pytest.fixture(scope="module")
def small() -> keras.Model:
    return chain(
        layers.Conv2D(4, 3, padding="same", activation="relu", name="low"),
        layers.Conv2D(5, 3, strides=2, name="linear"),
        layers.BatchNormalization(name="norm"),
        layers.ReLU(name="high"),
        layers.Dropout(0.5),
        layers.GlobalAveragePooling2D(name="pooled"),
        shape=(12, 12, 3),
    )


@pytest.fixture(scope="module")
def brightness() -> keras.Model:
    """Two units: the mean pixel, and minus it."""
    model = chain(layers.Conv2D(2, 1, use_bias=False, name="pixels"), shape=(6, 6, 1))
    model.get_layer("pixels").set_weights([np.array([1.0, -1.0]).reshape(1, 1, 1, 2)])
    return model


class TestAscent:
    OBJECTIVES = (
        unit("low", 0), unit("high", 3), unit("pooled", 2), neuron("low", 1), neuron("high", 2, 1, 3),
        direction("linear", [1, -1, 0, 2, 0.5]),
        direction("high", [1, 0, 1, 0, 1], cosine_power=2), layer("low"),
        unit("low", 2) + 0.5 * unit("high", 1) - layer("linear") / 20, -unit("linear", 0), 3 - unit("pooled", 1),
        unit("low", 1) * unit("high", 3), sum([neuron("high", 0), unit("low", 3), unit("norm", 4)]), unit("low", 0),
    )  # fmt: skip

    @pytest.fixture(scope="class")
    def drawn(self, small) -> Rendering:
        return render(small, self.OBJECTIVES, steps=48, **QUICK)

    @pytest.fixture(scope="class")
    def start(self, small) -> Rendering:
        return render(small, self.OBJECTIVES, steps=0)

    @pytest.mark.parametrize("number", range(len(OBJECTIVES)), ids=lambda number: f"{number}")
    def test_every_objective_rises(self, number, drawn, start):
        rise = drawn.values[number] - start.values[number]
        assert rise > 0.05 * max(abs(start.values[number]), 0.1)
        assert drawn.history[-8:, number].mean() > drawn.history[:8, number].mean()

    def test_images_start_nearly_grey(self, start):
        assert np.abs(start.images - 0.5).max() < 0.05
        assert start.history.shape == (0, 14)
        assert start.failures == {}

    def test_what_is_returned(self, drawn):
        assert drawn.objectives == self.OBJECTIVES
        assert (drawn.images.shape, drawn.images.dtype) == ((14, 12, 12, 3), np.float32)
        assert (drawn.values.shape, drawn.values.dtype) == ((14,), np.float32)
        assert (drawn.history.shape, drawn.history.dtype) == ((48, 14), np.float32)
        assert (drawn.copies, drawn.failures) == (1, {})
        assert 0 <= drawn.images.min() < 0.2
        assert 0.8 < drawn.images.max() <= 1

    def test_values_are_those_of_the_images_without_transforms(self, small, drawn):
        read = functools.partial(inference, small)
        images = drawn.images
        expected = [
            read("low", images[:1])[..., 0].mean(), read("high", images[1:2])[..., 3].mean(),
            read("pooled", images[2:3])[0, 2], read("low", images[3:4])[0, 6, 6, 1],
            read("high", images[4:5])[0, 1, 3, 2],
        ]  # fmt: skip
        np.testing.assert_allclose(drawn.values[:5], expected, rtol=1e-3)
        np.testing.assert_allclose(drawn.values[7], np.mean(read("low", images[7:8]) ** 2), rtol=1e-3)
        parts = [read("low", images[11:12])[..., 1].mean(), read("high", images[11:12])[..., 3].mean()]
        np.testing.assert_allclose(drawn.values[11], parts[0] * parts[1], rtol=1e-3)

    def test_equal_objectives_at_other_places_give_equal_images(self, drawn):
        assert drawn.objectives[0] == drawn.objectives[13]
        np.testing.assert_allclose(drawn.images[0], drawn.images[13], atol=1e-3)
        assert np.abs(drawn.images[0] - drawn.images[3]).max() > 0.2

    @pytest.mark.parametrize(
        "param", [pixel_image(12), laplacian_image(12, num_levels=3), fft_image((9, 15), decorrelate=False)], ids=str
    )
    def test_images_of_every_parameterisation(self, param, small):
        drawn = render(small, [unit("low", 0), unit("low", 1)], param=param, steps=24, **QUICK)
        assert drawn.images.shape == (2, param.height, param.width, 3)
        assert (drawn.values > drawn.history[0] + 0.05).all()
        # The layer can be read from images of any size.
        anywhere = chain(layers.Conv2D.from_config(small.get_layer("low").get_config()), shape=(None, None, 3))
        anywhere.get_layer("low").set_weights(small.get_layer("low").get_weights())
        activations = inference(anywhere, "low", drawn.images).mean(axis=(1, 2))
        np.testing.assert_allclose(drawn.values, np.diagonal(activations), rtol=1e-3)
        # Negative control: each raises its own unit above what the other's image does.
        assert activations[0, 0] > activations[1, 0] + 0.02
        assert activations[1, 1] > activations[0, 1] + 0.02


class TestIndependence:
    """Of what else is drawn: layers that are read at one size only among those that are read at any."""

    OBJECTIVES = (
        unit("low", 0), unit("dense", 1), unit("low", 2), unit("scores", 2), direction("high", [1, 2, 0, -1, 1]),
        unit("high", 3), unit("dense", 4), unit("low", 1), unit("high", 0) + unit("dense", 0), unit("low", 3),
    )  # fmt: skip
    OPTIONS = {"steps": 5, "seed": 3, **QUICK}

    @pytest.fixture(scope="class")
    def model(self) -> keras.Model:
        return like_alexnet()

    @pytest.fixture(scope="class")
    def together(self, model) -> Rendering:
        return render(model, self.OBJECTIVES, **self.OPTIONS)

    def assert_same(self, together: Rendering, numbers: list[int], other: Rendering) -> None:
        np.testing.assert_allclose(other.images, together.images[numbers], **ROUNDING)
        np.testing.assert_allclose(other.values, together.values[numbers], **ROUNDING)
        np.testing.assert_allclose(other.history, together.history[:, numbers], **ROUNDING)

    def test_images_differ(self, together):
        """Negative control of all below: images of other objectives are far from one another."""
        for i in range(10):
            for j in range(i):
                assert np.abs(together.images[i] - together.images[j]).max() > 0.02

    @pytest.mark.parametrize("number", [2, 3])
    def test_of_all_others(self, number, model, together):
        self.assert_same(together, [number], render(model, self.OBJECTIVES[number], **self.OPTIONS))

    def test_of_the_order_and_the_batch(self, model, together):
        """Four units of one layer in passes of two, others in blocks of their own."""
        drawn = render(model, self.OBJECTIVES[::-1], batch=2, **self.OPTIONS)
        self.assert_same(together, list(range(10))[::-1], drawn)

    def test_layers_of_one_size_get_images_of_it(self, model, together):
        """Under transforms that enlarge, and of smaller images."""
        for number, name, place in ((1, "dense", 1), (3, "scores", 2)):
            value = inference(model, name, together.images[number : number + 1])[0, place]
            np.testing.assert_allclose(together.values[number], value, atol=1e-4)
        drawn = render(model, unit("dense", 1), param=fft_image((10, 20)), steps=2, **QUICK)
        assert drawn.images.shape == (1, 10, 20, 3)
        fitted = np.full((1, 16, 16, 3), 0.5, "float32")
        fitted[:, 3:13] = drawn.images[:, :, 2:18]
        np.testing.assert_allclose(drawn.values[0], inference(model, "dense", fitted)[0, 1], atol=1e-4)


class TestSeeds:
    OPTIONS = {"steps": 3, "copies": 2, "param": fft_image(12), **QUICK}

    @pytest.fixture(scope="class")
    def by_seed(self, small) -> dict[int, list[Rendering]]:
        objectives = [unit("low", 0), unit("low", 1)]
        return {
            seed: [render(small, objectives, seed=seed, **self.OPTIONS) for _ in range(2 - seed)] for seed in (0, 1)
        }

    def test_a_seed_fixes_everything(self, by_seed):
        first, again = by_seed[0]
        np.testing.assert_array_equal(first.images, again.images)
        np.testing.assert_array_equal(first.history, again.history)

    def test_another_seed_changes_starts_and_transforms(self, by_seed):
        assert np.abs(by_seed[0][0].images - by_seed[1][0].images).max() > 0.02
        assert np.abs(by_seed[0][0].history - by_seed[1][0].history).max() > 1e-4

    def test_starts_are_of_the_seed(self, brightness):
        starts = [render(brightness, unit("pixels", 0), steps=0, seed=seed).images for seed in (0, 1)]
        assert np.abs(starts[0] - starts[1]).max() > 1e-3

    def test_copies_start_differently(self, by_seed):
        for drawn in by_seed[0] + by_seed[1]:
            assert drawn.copies == 2
            assert drawn.images.shape == (4, 12, 12, 3)
            assert drawn.values.shape == (2,)
            for first, second in drawn.images.reshape(2, 2, 12, 12, 3):
                assert np.abs(first - second).max() > 1e-3

    def test_values_are_means_over_copies(self, small, by_seed):
        drawn = by_seed[0][0]
        activations = inference(small, "low", drawn.images).mean(axis=(1, 2)).reshape(2, 2, 4).mean(axis=1)
        np.testing.assert_allclose(drawn.values, [activations[0, 0], activations[1, 1]], rtol=1e-4)


class TestSteps:
    """With a rate of nearly 0 images stay, and what the history shows is the transforms'."""

    @staticmethod
    def draw(model: keras.Model, **options) -> Rendering:
        return render(model, [unit("pixels", 0), unit("pixels", 1)], learning_rate=1e-9, **{**QUICK, **options})

    def test_every_step_has_a_draw_that_holds_for_all_images(self, brightness):
        def darken(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
            return images * tf.random.stateless_uniform([], seed)

        drawn = self.draw(brightness, transforms=[darken], steps=12)
        factors = drawn.history / drawn.values
        np.testing.assert_allclose(factors[:, 0], factors[:, 1], rtol=1e-5)
        assert len(np.unique(factors[:, 0].round(4))) == 12
        assert 0 < factors.min() < 0.4 < 0.6 < factors.max() < 1
        twice = self.draw(brightness, transforms=[darken, darken], steps=12)
        # The second has draws of its own.
        assert np.abs(twice.history / twice.values - factors**2).max() > 0.05

    def test_transforms_may_be_made_for_the_images_size(self, brightness):
        sizes = []

        def make(height: int, width: int) -> list:
            sizes.append((height, width))
            return [lambda images, seed: images / 4]

        drawn = self.draw(brightness, transforms=make, param=pixel_image((4, 8), 1), steps=1)
        assert sizes == [(4, 8)]
        np.testing.assert_allclose(drawn.history[0], drawn.values / 4, rtol=1e-5)

    def test_without_transforms_the_history_is_that_of_the_images(self, brightness):
        drawn = self.draw(brightness, transforms=[], steps=2)
        np.testing.assert_allclose(drawn.history, [drawn.values] * 2, rtol=1e-5)
        np.testing.assert_allclose(drawn.values, drawn.images.mean(axis=(1, 2, 3)) * [1, -1], rtol=1e-5)

    def test_what_the_network_reads(self, brightness):
        def cube(images: tf.Tensor) -> tf.Tensor:
            return images**3

        for prepare, apply in (((2, 5), lambda x: 2 + 3 * x), (cube, lambda x: x**3)):
            drawn = self.draw(brightness, prepare=prepare, transforms=[], steps=1, param=pixel_image(6, 1, std=1.0))
            expected = apply(drawn.images.astype("float64")).mean(axis=(1, 2, 3)) * [1, -1]
            np.testing.assert_allclose(drawn.values, expected, rtol=1e-5)
            assert np.abs(drawn.images.mean(axis=(1, 2, 3)) - np.abs(expected)).max() > 0.1

    def test_the_rate_is_the_length_of_the_first_step(self, brightness):
        """As Adam has it, for pixels that all pull alike."""
        still = self.draw(brightness, transforms=[], steps=1, param=pixel_image(6, 1))
        moved = render(
            brightness, [unit("pixels", 0), unit("pixels", 1)], learning_rate=0.25, transforms=[], steps=1,
            param=pixel_image(6, 1), **QUICK,
        )  # fmt: skip
        numbers = [np.log(drawn.images / (1 - drawn.images.astype("float64"))) for drawn in (still, moved)]
        steps = (numbers[1] - numbers[0]).reshape(2, -1)
        np.testing.assert_allclose(steps, np.broadcast_to([[0.25], [-0.25]], steps.shape), rtol=1e-3)

    def test_images_are_of_the_networks_size_unless_told_otherwise(self):
        for shape, expected in (
            ((6, 9, 3), (6, 9)), ((200, 40, 1), (128, 40)), ((None, None, 3), (128, 128)), ((None, 30, 3), (128, 30)),
        ):  # fmt: skip
            network = Network(chain(layers.Conv2D(2, 3, name="conv"), shape=shape))
            assert default_sides(network) == expected


def test_an_image_shows_the_frequency_and_the_orientation_of_a_filter():
    """Waves of a quarter of a cycle a pixel, across the columns and across the rows, under a bell."""
    place = np.arange(13) - 6
    bell = np.exp(-(place[:, None] ** 2 + place**2) / 18)
    wave = bell * np.cos(2 * np.pi * place / 4)
    wave -= bell * wave.sum() / bell.sum()
    kernels = np.stack([wave, wave.T], axis=-1)[:, :, None] / np.abs(wave).sum()
    model = chain(layers.Conv2D(2, 13, activation="relu", name="filters"), shape=(32, 32, 1))
    model.get_layer("filters").set_weights([kernels, np.zeros(2)])
    drawn = render(model, [unit("filters", 0), unit("filters", 1)], steps=160, **QUICK)

    def peak(image: np.ndarray) -> tuple[int, int]:
        amplitude = np.abs(np.fft.fft2(image - image.mean()))[:17, :17]
        return np.unravel_index(amplitude.argmax(), amplitude.shape)

    # 8 cycles in 32 pixels.
    np.testing.assert_allclose([peak(image) for image in drawn.images[..., 0]], [(0, 8), (8, 0)], atol=2)
    # Negative control: at the start all is slow.
    start = render(model, unit("filters", 0), steps=0)
    assert max(peak(start.images[0, ..., 0])) < 6


def test_diversity_sets_copies_apart(small):
    def likeness(images: np.ndarray) -> float:
        """Mean cosine of the Gram matrices of two copies."""
        maps = inference(small, "linear", 4 * images - 2).astype("float64")
        grams = np.einsum("nijc,nijd->ncd", maps, maps).reshape(3, -1)
        grams /= np.linalg.norm(grams, axis=1, keepdims=True)
        return (np.sum(grams @ grams.T) - 3) / 6

    options = {"copies": 3, "steps": 60, "transforms": [], "prepare": (-2, 2), **QUICK}
    alike = render(small, unit("high", 3), **options)
    apart = render(small, unit("high", 3) + 30 * diversity("linear"), **options)
    assert likeness(alike.images) > 0.99
    assert likeness(apart.images) < 0.5
    # Every copy has two others.
    activations = inference(small, "high", 4 * apart.images - 2)[..., 3].mean()
    np.testing.assert_allclose(apart.values[0], activations - 30 * 2 * likeness(apart.images), rtol=1e-3)


@pytest.mark.parametrize("num_units", [2, 6])
def test_a_form_is_compiled_once_whatever_the_number_of_its_units(num_units, small, monkeypatch):
    """Both kinds of steps and the last look, for one pass or three."""
    compiled, evaluated = [], []
    compile_function, evaluate = Graph.compile, Unit.evaluate

    def noting_compilation(graph, function, *arguments):
        compiled.append(function.__name__)
        return compile_function(graph, function, *arguments)

    def noting_evaluation(objective, *arguments):
        evaluated.append(objective)
        return evaluate(objective, *arguments)

    monkeypatch.setattr(Graph, "compile", noting_compilation)
    monkeypatch.setattr(Unit, "evaluate", noting_evaluation)
    objectives = [unit("low", number % 4) for number in range(num_units)]
    drawn = render(small, objectives, steps=3, redirected_steps=1, batch=2)
    assert len(compiled) == len(set(compiled)) == 3
    assert len(evaluated) == 3
    assert np.isfinite(drawn.images).all()


@pytest.mark.parametrize(("batch", "copies", "at_once"), [(5, 2, {4, 2}), (3, 1, {3, 2}), (64, 3, {15})])
def test_there_are_never_more_images_at_once_than_the_batch(batch, copies, at_once, brightness):
    seen = set()

    def note(images: tf.Tensor) -> tf.Tensor:
        noted = tf.py_function(lambda number: seen.add(int(number)), [tf.shape(images)[0]], [])
        with tf.control_dependencies([noted]):
            return tf.identity(images)

    objectives = [unit("pixels", number % 2) for number in range(5)]
    options = {"batch": batch, "copies": copies, "prepare": note, "steps": 2, "transforms": [], **QUICK}
    drawn = render(brightness, objectives, **options)
    assert seen == at_once
    assert np.isfinite(drawn.images).all()


class TestFailures:
    def test_numbers_that_are_not_finite_are_named_and_touch_no_other(self, small):
        """A unit whose weights are so large that its activations overflow, and one whose weights are no numbers."""
        weights = small.get_layer("low").get_weights()
        broken = keras.models.clone_model(small)
        broken.set_weights(small.get_weights())
        kernel = weights[0].copy()
        kernel[..., 1] = 3e38
        broken.get_layer("low").set_weights([kernel, weights[1]])
        objectives = [unit("low", 0), unit("low", 1), unit("low", 2)]
        options = {"steps": 3, **QUICK}
        drawn, whole = render(broken, objectives, **options), render(small, objectives, **options)
        assert drawn.failures == {1: 0}
        assert np.isnan(drawn.images[1]).all()
        assert np.isnan(drawn.values[1])
        np.testing.assert_allclose(drawn.images[[0, 2]], whole.images[[0, 2]], **ROUNDING)
        np.testing.assert_allclose(drawn.values[[0, 2]], whole.values[[0, 2]], **ROUNDING)
        assert whole.failures == {}

    def test_weights_that_are_no_numbers_leave_layers_before_them_alone(self, small):
        broken = keras.models.clone_model(small)
        broken.set_weights(small.get_weights())
        kernel, bias = broken.get_layer("linear").get_weights()
        kernel[..., 2] = np.nan
        broken.get_layer("linear").set_weights([kernel, bias])
        objectives = [unit("low", 0), unit("linear", 2), unit("low", 3)]
        options = {"steps": 3, "copies": 2, **QUICK}
        drawn, whole = render(broken, objectives, **options), render(small, objectives, **options)
        assert drawn.failures == {1: 0}
        assert np.isnan(drawn.images[2:4]).all()
        kept = [0, 1, 4, 5]
        np.testing.assert_allclose(drawn.images[kept], whole.images[kept], **ROUNDING)

    def test_the_first_step_that_fails_is_named(self, brightness):
        """The network reads the root of what is left to 0.6: up from grey it soon has none."""
        options = {"prepare": lambda images: tf.sqrt(0.6 - images), "transforms": [], "param": pixel_image(6, 1)}
        objectives = [unit("pixels", 0), unit("pixels", 1)]
        drawn = render(brightness, objectives, steps=20, **options, **QUICK)
        step = drawn.failures[1]
        assert drawn.failures == {1: step}
        assert 2 < step < 18
        assert np.isfinite(drawn.history[:step, 1]).all()
        assert not np.isfinite(drawn.history[step, 1])
        assert np.isfinite(drawn.history[:, 0]).all()
        assert np.isnan(drawn.images[1]).all()
        assert np.isfinite(drawn.images[0]).all()
        # The image of that step alone has not been read yet.
        last = render(brightness, objectives, steps=step, **options, **QUICK)
        assert last.failures == {1: step}
        assert np.isfinite(last.history).all()
        assert np.isnan(last.values[1])
        assert np.isnan(last.images[1]).all()
        before = render(brightness, objectives, steps=step - 1, **options, **QUICK)
        assert before.failures == {}


def test_networks_in_half_precision_give_images_in_single():
    policy = keras.mixed_precision.DTypePolicy("mixed_bfloat16")
    model = chain(
        layers.Conv2D(4, 3, activation="relu", name="low", dtype=policy),
        layers.Conv2D(3, 1, strides=2, activation="relu", name="high", dtype=policy),
        layers.Flatten(),
        layers.Dense(2, name="scores", dtype=policy),
        shape=(10, 10, 3),
    )
    objectives = [unit("high", 0), layer("low"), unit("scores", 1), *(unit("low", number) for number in range(3))]
    drawn = render(model, objectives, steps=16, **QUICK)
    assert {array.dtype for array in (drawn.images, drawn.values, drawn.history)} == {np.dtype("float32")}
    assert drawn.failures == {}
    assert (drawn.values > drawn.history[0] + 0.01).all()
    activations = inference(model, "low", drawn.images[3:]).astype("float64").mean(axis=(1, 2))
    np.testing.assert_allclose(drawn.values[3:], np.diagonal(activations), rtol=1e-3)
    # What the network rounds is summed up in single precision: sums that half of it could not hold.
    assert (drawn.values != tf.cast(tf.cast(drawn.values, tf.bfloat16), tf.float32)).numpy()[3:].all()


DETERMINISTIC = """
import keras, numpy as np, tensorflow as tf
from drawn_networks import like_alexnet
from tfunits.visualization import fft_image, render, unit
tf.config.experimental.enable_op_determinism()
drawn = [render(like_alexnet(), unit("dense", 1), steps=2, redirected_steps=0) for _ in range(2)]
assert np.isfinite(drawn[0].images).all() and np.ptp(drawn[0].images) > 0.05
assert drawn[0].images.tobytes() == drawn[1].images.tobytes()
assert drawn[0].history.tobytes() == drawn[1].history.tobytes()
print("equal bits")
"""


def test_drawing_works_where_runs_are_deterministic():
    """In a process of its own, since the setting cannot be taken back."""
    folder = __file__.rpartition("/")[0]
    code = f"import sys; sys.path.insert(0, {folder!r}){DETERMINISTIC}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.endswith("equal bits\n"), done.stderr


class TestRefused:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"objective": []}, "objective: expected at least one, received none"),
            ({"objective": unit("low", 0) * 0 - unit("x", 0)}, "layer: expected taps or layers .*'x'; .*low.*high"),
            ({"objective": unit("low", 4)}, "unit: expected 0 to 3 in 'low', received 4"),
            ({"objective": direction("low", [1.0])}, "vector: expected 4 numbers, one a unit of 'low', received 1"),
            ({"objective": neuron("low", 0, row=12)}, "row: expected 0 to 11 in 'low', received 12"),
            ({"steps": -1}, "steps: expected a number of at least 0, received -1"),
            ({"copies": 0}, "copies: expected a number of at least 1, received 0"),
            ({"batch": 0}, "batch: expected a number of at least 1, received 0"),
            ({"copies": 4, "batch": 3}, "batch: expected a number of at least 4, received 3"),
            ({"learning_rate": 0.0}, "learning_rate: expected a number above 0, received 0.0"),
            ({"learning_rate": float("nan")}, "learning_rate: expected a number above 0, received nan"),
            ({"param": fft_image(12, 1)}, "param: expected images of which prepare makes 3 channels, .* received 1"),
            ({"param": fft_image((2, 2)), "objective": unit("high", 0)},
             "param: expected images that high can be computed from, received 2x2x3"),
            ({"transforms": [jitter(20)]}, "param: expected images that low can be computed from, received 12x12x3"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_drawn(self, options, message, small):
        with pytest.raises(ValueError, match=message):
            render(small, **{"objective": unit("low", 0), "steps": 1, **QUICK, **options})

    @pytest.mark.parametrize("objective", ["low", ["low"], [unit("low", 0), 3], [None]])
    def test_what_is_no_objective(self, objective, small):
        with pytest.raises(TypeError, match=r"objective: expected an objective such as unit\('conv1', 0\), received"):
            render(small, objective, steps=1)

    def test_a_number_is_no_objective_of_images(self, small):
        constant = (unit("low", 0) + 1).parts[1]
        with pytest.raises(ValueError, match="objective: expected one that depends on the image, received Constant"):
            render(small, [unit("low", 0), constant], steps=1)

    def test_images_that_would_shrink_below_a_kernel_are_padded(self):
        """Of a network that has no size of its own, under a draw of the scale: it then reads that of the images."""
        model = chain(layers.Conv2D(2, 8, name="wide"), shape=(None, None, 3))
        drawn = render(model, unit("wide", 0), param=fft_image(8), steps=30, **QUICK)
        assert not drawn.failures
        with pytest.raises(ValueError, match="param: expected images that wide can be computed from, received 7x7x3"):
            render(model, unit("wide", 0), param=fft_image(7), steps=1, **QUICK)

    def test_layers_through_which_no_gradient_comes(self):
        inputs = keras.Input((6, 6, 3))
        model = keras.Model(inputs, layers.ReLU(name="after")(keras.ops.round(inputs)))
        with pytest.raises(ValueError, match="objective: expected one that depends on the image"):
            render(model, unit("after", 0), steps=1)

    def test_models_that_read_no_single_image(self):
        image, other = keras.Input((8, 8, 3), name="image"), keras.Input((2,), name="other")
        joined = layers.Concatenate(name="joined")([layers.GlobalAveragePooling2D()(image), other])
        with pytest.raises(ValueError, match=r"model: expected one input, received 2 \(image, other\)"):
            render(keras.Model([image, other], joined), unit("joined", 0))
        with pytest.raises(ValueError, match="which has no spatial axes; weight_images draws the weights"):
            render(chain(layers.Dense(2, name="dense"), shape=(12,)), unit("dense", 0))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"param": fft_image}, r"param: expected a parameterisation such as fft_image\(128\), received <function"),
        ({"transforms": [3]}, r"transforms: expected transforms such as jitter\(8\), received \(3,\)"),
        ({"steps": 2.0}, "steps: expected a whole number, received 2.0"),
        ({"batch": True}, "batch: expected a whole number, received True"),
    ],
)
def test_things_of_another_kind_are_named(branched_model, option, message):
    with pytest.raises(TypeError, match=message):
        render(branched_model, unit("first", 0), **option)


def test_a_crop_of_everything_fails_and_says_so(branched_model):
    """Of an image of 8 pixels, 9 cannot be left out."""
    drawn = render(branched_model, unit("first", 0), transforms=[jitter(9)], steps=1)
    assert drawn.failures == {0: 0}
