"""Networks as they are drawn: what is read from them, in groups and at other sizes, and what is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from drawn_networks import chain, inference, like_alexnet, with_weights
from keras import layers

from tfunits import statistics, visualization
from tfunits.surgery import Call, find_tensors, read
from tfunits.visualization import Network, fft_image, render, unit

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def residual() -> keras.Model:
    """A stem that later layers add to, and two branches."""
    inputs = keras.Input((9, 9, 3), name="image")
    stem = layers.Conv2D(4, 3, padding="same", activation="relu", name="stem")(inputs)
    inner = layers.Conv2D(4, 3, padding="same", activation="relu", name="inner")(stem)
    outer = layers.Conv2D(4, 3, padding="same", name="outer")(inner)
    joined = layers.ReLU(name="joined")(layers.Add(name="summed")([stem, outer]))
    side = layers.Conv2D(2, 1, strides=2, activation="relu", name="side")(stem)
    last = layers.Conv2D(3, 3, strides=2, padding="same", activation="relu", name="last")(joined)
    both = layers.Concatenate(name="both")([side, last])
    return with_weights(keras.Model(inputs, layers.GlobalAveragePooling2D(name="pooled")(both)))


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(4).uniform(size=(9, 9, 9, 3)).astype("float32")


def read_groups(model: keras.Model, groups: list[list[str]], counts: list[int], images: np.ndarray) -> list[dict]:
    """What `activations` gives, by names."""
    network = Network(model)
    keys = network.find([name for group in groups for name in group])
    found = network.activations(
        tf.constant(images), [[keys[name] for name in group] for group in groups], tf.constant(counts)
    )
    return [{name: values[keys[name]].numpy() for name in group} for group, values in zip(groups, found, strict=True)]


class TestGroups:
    @pytest.mark.parametrize(
        "groups",
        [
            [["stem"]],
            [["both"], ["joined"], ["stem"]],
            [["pooled", "stem"], ["last", "inner"], ["side"], ["inner", "stem"], ["stem"]],
            [["last"], ["last"], ["summed"], ["summed"]],
            [["joined"], ["inner"]],
        ],
    )
    @pytest.mark.parametrize("counts", [[3, 1, 2, 2, 1], [2, 0, 3, 0, 4], [1, 0, 0, 2, 0]])
    def test_every_group_is_read_as_if_it_were_alone(self, groups, counts, pixels):
        model, counts = residual(), counts[: len(groups)]
        network = Network(model)
        depths = [network.depth([network.find([name])[name] for name in group]) for group in groups]
        groups = [group for _, group in sorted(zip(depths, groups, strict=True), key=lambda pair: -pair[0])]
        found = read_groups(model, groups, counts, pixels[: sum(counts)])
        ends = np.cumsum(counts)
        for group, values, end, count in zip(groups, found, ends, counts, strict=True):
            assert list(values) == group
            if count:
                expected = read(model, group)(pixels[end - count : end])
                for name in group:
                    np.testing.assert_allclose(values[name], expected[name], **CLOSE)
            else:
                assert [len(value) for value in values.values()] == [0] * len(group)

    def test_groups_do_not_read_each_others_images(self, pixels):
        """Negative control."""
        model = residual()
        deep, low = read_groups(model, [["last"], ["stem"]], [4, 5], pixels)
        assert np.abs(deep["last"] - inference(model, "last", pixels[5:])).max() > 0.01
        assert np.abs(low["stem"] - inference(model, "stem", pixels[:5])).max() > 0.01

    def test_behind_its_last_layer_a_groups_images_are_dropped(self, pixels, monkeypatch):
        """What costs no time: how many images every layer sees."""
        seen, run = {}, Call.run

        def noting(call, values, **options):
            seen[call.name] = len(values[call.inputs[0]])
            return run(call, values, **options)

        monkeypatch.setattr(Call, "run", noting)
        read_groups(residual(), [["last"], ["inner"], ["stem"]], [2, 3, 4], pixels)
        assert seen == {"stem": 9, "inner": 5, "outer": 2, "summed": 2, "joined": 2, "last": 2}

    def test_units_of_any_network(self, branched_model, images):
        pixels = images[:7]
        found = read_groups(branched_model, [["gated", "first"], ["norm"], ["first"]], [3, 2, 2], pixels)
        np.testing.assert_allclose(found[0]["gated"], inference(branched_model, "gated", pixels[:3]), **CLOSE)
        np.testing.assert_allclose(found[0]["first"], inference(branched_model, "first", pixels[:3]), **CLOSE)
        np.testing.assert_allclose(found[1]["norm"], inference(branched_model, "norm", pixels[3:5]), **CLOSE)
        np.testing.assert_allclose(found[2]["first"], inference(branched_model, "first", pixels[5:]), **CLOSE)


class TestLayers:
    def test_nested_models_are_laid_open(self, pixels):
        inner_input = keras.Input((9, 9, 3))
        hidden = layers.Conv2D(4, 3, padding="same", activation="relu", name="hidden")(inner_input)
        inner = keras.Model(inner_input, layers.Conv2D(3, 1, name="out")(hidden), name="inner")
        inputs = keras.Input((9, 9, 3))
        model = with_weights(keras.Model(inputs, layers.ReLU(name="end")(inner(inner(inputs)))))
        found = read_groups(model, [["inner#2/hidden"], ["inner/hidden"]], [2, 2], pixels[:4])
        read_once = keras.Model(inner.input, inner.get_layer("hidden").output)
        np.testing.assert_allclose(found[0]["inner#2/hidden"], read_once(inner(pixels[:2])), **CLOSE)
        np.testing.assert_allclose(found[1]["inner/hidden"], read_once(pixels[2:4]), **CLOSE)

    def test_inference_is_meant_whatever_the_model_asks_for(self, pixels):
        """Dropout does nothing, and batch normalisation takes its moving averages."""
        inputs = keras.Input((9, 9, 3))
        normalised = layers.BatchNormalization(name="norm")(inputs)
        dropped = layers.Dropout(0.5, name="dropped")(normalised, training=True)
        model = with_weights(keras.Model(inputs, dropped))
        (found,) = read_groups(model, [["dropped"]], [4], pixels[:4])
        norm = model.get_layer("norm")
        gamma, beta, mean, variance = (weight.astype("float64") for weight in norm.get_weights())
        expected = gamma * (pixels[:4] - mean) / np.sqrt(variance + norm.epsilon) + beta
        np.testing.assert_allclose(found["dropped"], expected, **CLOSE)
        batch = (pixels[:4] - pixels[:4].mean(axis=(0, 1, 2))) / pixels[:4].std(axis=(0, 1, 2))
        assert np.abs(found["dropped"] - (gamma * batch + beta)).max() > 0.1

    @pytest.mark.parametrize(
        "options",
        [
            {"strides": 2},
            {"strides": (1, 3), "use_bias": False},
            {"strides": (3, 2), "padding": "same", "activation": "relu"},
            {"strides": 2, "activation": "tanh", "padding": "same", "dtype": "mixed_bfloat16"},
        ],
        ids=str,
    )
    def test_strided_convolutions_of_single_pixels_have_equal_values_and_finite_gradients(self, options, pixels):
        """TensorFlow corrupts memory in their own gradient, so that something else is run."""
        model = chain(layers.Conv2D(4, 1, name="picked", **options), shape=(9, 9, 3))
        kernel, *bias = model.get_layer("picked").get_weights()
        rows, columns = model.get_layer("picked").strides
        linear = np.einsum("nhwc,cu->nhwu", pixels[:, ::rows, ::columns].astype("float64"), kernel[0, 0])
        linear += bias[0] if bias else 0
        bend = {"relu": lambda x: np.maximum(x, 0), "tanh": np.tanh}.get(options.get("activation"), lambda x: x)
        network = Network(model)
        keys = list(network.find(["picked"]).values())
        given = tf.constant(pixels)
        with tf.GradientTape() as tape:
            tape.watch(given)
            (found,) = network.activations(given, [keys], tf.constant([9]))
            total = tf.reduce_sum(tf.cast(found[keys[0]], tf.float32))
        coarse = {"atol": 0.02} if "dtype" in options else CLOSE
        np.testing.assert_allclose(tf.cast(found[keys[0]], tf.float32), bend(linear), **coarse)
        gradient = tape.gradient(total, given).numpy()
        assert np.isfinite(gradient).all()
        picked = np.zeros((9, 9), bool)
        picked[::rows, ::columns] = True
        np.testing.assert_array_equal(gradient[:, ~picked], 0)
        assert (np.abs(gradient[:, picked]).max(axis=(0, 2)) > 0).all()


class TestPreparing:
    def test_a_range_is_what_black_and_white_become(self, pixels):
        network = Network(residual(), (-1, 3))
        np.testing.assert_allclose(network.prepare(tf.constant(pixels)), 4 * pixels.astype("float64") - 1, rtol=1e-5)
        assert network.channels == 3

    def test_zero_to_one_unless_told_otherwise(self, pixels):
        np.testing.assert_array_equal(Network(residual()).prepare(tf.constant(pixels)), pixels)

    def test_a_function_may_make_the_channels(self, pixels):
        network = Network(residual(), lambda images: tf.repeat(images, 3, axis=-1) * 2)
        received = network.prepare(tf.constant(pixels[..., :1]))
        np.testing.assert_allclose(received, np.repeat(pixels[..., :1], 3, axis=-1) * 2, rtol=1e-6)

    def test_inputs_have_the_networks_type(self, pixels):
        inputs = keras.Input((9, 9, 3), dtype="float16")
        network = Network(keras.Model(inputs, layers.ReLU(name="out")(inputs)))
        assert network.prepare(tf.constant(pixels)).dtype == tf.float16


class TestSizes:
    def test_layers_behind_a_flattening_are_read_at_one_size_only(self):
        network = Network(like_alexnet())
        keys = network.find(["low", "high", "dense", "scores"])
        found = {name: network.reads_any_size([key], network.input_shape[:2]) for name, key in keys.items()}
        assert found == {"low": True, "high": True, "dense": False, "scores": False}
        assert not network.reads_any_size(list(keys.values()), network.input_shape[:2])

    @pytest.mark.parametrize(
        ("parts", "shape", "expected"),
        [
            ([layers.Conv2D(2, 3), layers.GlobalAveragePooling2D(), layers.Dense(2)], (9, 9, 3), True),
            ([layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(2)], (9, 9, 3), False),
            # One pixel less makes as many here: what pools round up.
            ([layers.MaxPooling2D(2, padding="same"), layers.Flatten(), layers.Dense(2)], (8, 8, 3), False),
            # Eight pixels more make as many here: what pools leave over.
            ([layers.MaxPooling2D(16), layers.Flatten(), layers.Dense(2)], (16, 16, 3), False),
            # A kernel as large as the image.
            ([layers.Conv2D(2, 8), layers.GlobalAveragePooling2D()], (8, 8, 3), False),
            ([layers.Conv2D(2, 3), layers.Dense(2)], (None, None, 3), True),
        ],
    )
    def test_one_size_or_any(self, parts, shape, expected):
        model = chain(*[part.__class__.from_config(part.get_config()) for part in parts], shape=shape)
        network = Network(model)
        sides = network.sides(fft_image(9))
        assert network.reads_any_size([network.graph.outputs[0]], sides) == expected

    def test_a_network_that_enlarges_again_is_read_at_its_own_size(self):
        """Halved and doubled, an odd side is another than that beside which it is put."""
        inputs = keras.Input((16, 16, 3))
        wide = layers.Conv2D(3, 3, padding="same", activation="relu", name="wide")(inputs)
        narrow = layers.Conv2D(4, 3, padding="same", activation="relu", name="narrow")(layers.MaxPooling2D(2)(wide))
        joined = layers.Concatenate(name="joined")([wide, layers.UpSampling2D(2)(narrow)])
        network = Network(with_weights(keras.Model(inputs, layers.Conv2D(2, 3, name="out")(joined))))
        keys = network.find(["narrow", "joined", "out"])
        assert [network.reads_any_size([key], (16, 16)) for key in keys.values()] == [True, False, False]
        drawn = render(network.graph.model, unit("out", 0), steps=12, redirected_steps=0)
        assert drawn.values[0] > drawn.history[0, 0]


class TestRefused:
    def test_layers_that_are_not_there(self, branched_model):
        with pytest.raises(ValueError, match="layer: expected taps or layers of 'branched', received 'x'; .*rectified"):
            Network(branched_model).find(["first", "x"])

    def test_several_inputs(self):
        image, other = keras.Input((8, 8, 3), name="image"), keras.Input((2,), name="other")
        pooled = layers.GlobalAveragePooling2D()(image)
        model = keras.Model([image, other], layers.Concatenate()([pooled, other]))
        with pytest.raises(ValueError, match=r"model: expected one input, received 2 \(image, other\); make a model"):
            Network(model)

    @pytest.mark.parametrize(
        ("shape", "dtype", "message"),
        [
            ((64,), "float32", "which has no spatial axes; weight_images draws"),
            ((8, 8), "float32", "floating-point numbers, received .8, 8. of float32"),
            ((4, 8, 8, 3), "float32", "floating-point numbers, received .4, 8, 8, 3. of float32"),
            ((8, 8, None), "float32", "floating-point numbers, received .8, 8, None. of float32"),
            ((8, 8, 3), "uint8", "floating-point numbers, received .8, 8, 3. of uint8"),
        ],
    )
    def test_inputs_that_are_no_images(self, shape, dtype, message):
        inputs = keras.Input(shape, dtype=dtype)
        model = keras.Model(inputs, layers.ReLU()(keras.ops.cast(inputs, "float32")))
        with pytest.raises(ValueError, match=f"model: expected an input of shape .height, width, channels.* {message}"):
            Network(model)

    def test_models_that_are_not_functional(self):
        with pytest.raises(ValueError, match="model: expected a functional Keras model, received an unbuilt"):
            Network(keras.Sequential([layers.Dense(3)]))

    def test_images_of_other_channels(self, pixels):
        with pytest.raises(ValueError, match="param: expected images of which prepare makes 3 channels, .* received 1"):
            Network(residual()).prepare(tf.constant(pixels[..., :1]))


def test_keys_are_those_of_surgery(branched_model):
    """A tap or a layer, whichever has the name."""
    network = Network(branched_model)
    assert list(network.find(["summed", "first"]).items()) == list(
        find_tensors(network.graph, ["summed", "first"]).items()
    )
    depths = {name: network.depth(list(network.find([name]).values())) for name in ("first", "norm", "gated")}
    assert depths["first"] < depths["norm"] < depths["gated"]
    assert network.depth(list(network.find(["first", "gated"]).values())) == depths["gated"]


def test_every_public_name_is_there():
    for name in set(visualization.__all__) - {"PARAMETERIZATIONS"}:
        assert getattr(visualization, name).__name__ == name
    assert visualization.total_variation is statistics.total_variation
    with pytest.raises(AttributeError, match="module 'tfunits.visualization' has no attribute 'x'"):
        visualization.x  # noqa: B018
