"""Batch normalisation against float64, on one replica and on two, and what Keras' own does otherwise."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfunits.layers import BatchNormalization

EPSILON, MOMENTUM = 1e-3, 0.75
# Channels of very different size, one far from zero; an even number of examples for two replicas.
CHANNELS = np.array([1.0, 30.0, 0.1]), np.array([0.0, -7.0, 5.0])
GAMMA, BETA = np.array([0.5, -2.0, 3.0]), np.array([1.0, 0.0, -4.0])
SHAPES = [(6, 4, 5, 3), (8, 3), (4, 7, 3)]


@pytest.fixture(params=["one replica", "two replicas"])
def strategy(request, two_devices) -> tf.distribute.Strategy:
    return two_devices if request.param == "two replicas" else tf.distribute.get_strategy()


def make_inputs(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    scale, shift = CHANNELS
    return (scale * rng.normal(size=shape) + shift).astype("float32")


def make_layer(
    rank: int, strategy: tf.distribute.Strategy | None = None, kind: type = BatchNormalization, **options
) -> keras.layers.Layer:
    """A layer built for inputs of a rank, with coefficients of its own, where it has any."""
    with (strategy or tf.distribute.get_strategy()).scope():
        layer = kind(momentum=MOMENTUM, epsilon=EPSILON, **options)
        layer.build((None,) * (rank - 1) + (3,))
    for variable, value in ((layer.gamma, GAMMA), (layer.beta, BETA)):
        if variable is not None:
            variable.assign(value)
    return layer


def moments(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Mean, biased variance and number of values of every channel, float64."""
    rows = inputs.astype("float64").reshape(-1, inputs.shape[-1])
    return rows.mean(axis=0), rows.var(axis=0), len(rows)


def normalise(inputs: np.ndarray, mean: np.ndarray, variance: np.ndarray, gamma=GAMMA, beta=BETA) -> np.ndarray:
    return gamma * (inputs.astype("float64") - mean) / np.sqrt(variance + EPSILON) + beta


def split(strategy: tf.distribute.Strategy, *arrays: np.ndarray) -> tuple:
    """Arrays as each replica sees its equal share."""
    count = strategy.num_replicas_in_sync
    if count == 1:
        return tuple(tf.constant(array) for array in arrays)
    parts = [np.split(array, count) for array in arrays]
    return tuple(
        strategy.experimental_distribute_values_from_function(
            lambda context, part=part: tf.constant(part[context.replica_id_in_sync_group])
        )
        for part in parts
    )


def join(strategy: tf.distribute.Strategy, values) -> np.ndarray:
    return np.concatenate([part.numpy() for part in strategy.experimental_local_results(values)])


def call(strategy: tf.distribute.Strategy, layer: keras.layers.Layer, inputs: np.ndarray) -> np.ndarray:
    """Outputs of one training step."""
    step = tf.function(lambda part: strategy.run(lambda x: layer(x, training=True), args=(part,)))
    return join(strategy, step(*split(strategy, inputs)))


@pytest.mark.parametrize("shape", SHAPES, ids=["images", "vectors", "sequences"])
def test_training_is_the_equation_over_the_whole_batch(strategy, shape, rng) -> None:
    inputs = make_inputs(shape, rng)
    layer = make_layer(len(shape), strategy)
    found = call(strategy, layer, inputs)
    mean, variance, count = moments(inputs)
    # float32 holds a value near 5 to 5e-7; divided by the spread of 0.1 and times gamma 3: 1.4e-5, a few of these.
    np.testing.assert_allclose(found, normalise(inputs, mean, variance), atol=6e-5)
    np.testing.assert_allclose(layer.moving_mean, (1 - MOMENTUM) * mean, rtol=1e-6, atol=1e-6)
    unbiased = variance * count / (count - 1)
    expected = MOMENTUM + (1 - MOMENTUM) * unbiased
    np.testing.assert_allclose(layer.moving_variance, expected, rtol=1e-5)
    # The negative controls: biased, or of half the batch.
    assert np.abs(layer.moving_variance.numpy() / (MOMENTUM + (1 - MOMENTUM) * variance) - 1).max() > 1e-3
    half = inputs[: len(inputs) // 2]
    assert np.abs(found[: len(half)] - normalise(half, *moments(half)[:2])).max() > 1e-2


def test_statistics_go_on_averaging(strategy, rng) -> None:
    batches = [make_inputs((4, 3, 3, 3), rng) for _ in range(3)]
    layer = make_layer(4, strategy)
    mean, variance = np.zeros(3), np.ones(3)
    for batch in batches:
        call(strategy, layer, batch)
        new_mean, biased, count = moments(batch)
        mean = MOMENTUM * mean + (1 - MOMENTUM) * new_mean
        variance = MOMENTUM * variance + (1 - MOMENTUM) * biased * count / (count - 1)
    np.testing.assert_allclose(layer.moving_mean, mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-5)


@pytest.mark.parametrize("shape", [(4, 2, 1, 3), (6, 3)], ids=["images", "vectors"])
def test_gradients_are_those_of_finite_differences(strategy, shape, rng) -> None:
    """Of a weighted sum of outputs, with respect to inputs and both coefficients."""
    inputs, weights = make_inputs(shape, rng), rng.normal(size=shape)
    layer = make_layer(len(shape), strategy)

    def replica_step(part: tf.Tensor, factors: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            tape.watch(part)
            total = tf.reduce_sum(layer(part, training=True) * factors)
        by_input, *by_coefficients = tape.gradient(total, [part, layer.gamma.value, layer.beta.value])
        context = tf.distribute.get_replica_context()
        return by_input, [context.all_reduce("SUM", gradient) for gradient in by_coefficients]

    step = tf.function(lambda *parts: strategy.run(replica_step, args=parts))
    by_input, by_coefficients = step(*split(strategy, inputs, weights.astype("float32")))

    def total(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> float:
        return np.sum(weights * normalise(x, *moments(x)[:2], gamma, beta))

    values = [inputs.astype("float64"), GAMMA, BETA]
    expected = [differences(total, values, number) for number in range(3)]
    found = [join(strategy, by_input), *(strategy.experimental_local_results(g)[0].numpy() for g in by_coefficients)]
    for gradient, wanted in zip(found, expected, strict=True):
        # As outputs, with gradients of up to 3 / 0.1 for the narrow channel.
        np.testing.assert_allclose(gradient, wanted, rtol=1e-4, atol=1e-3)
    # Statistics taken for constants would leave gamma / std, which is far away.
    constant = weights * GAMMA / np.sqrt(moments(inputs)[1] + EPSILON)
    assert np.abs(found[0] - constant).max() > 1


def differences(function, values: list[np.ndarray], number: int) -> np.ndarray:
    """Central differences of a function with respect to one of its arguments."""
    gradient = np.empty_like(values[number])
    for place in np.ndindex(gradient.shape):
        ends = []
        for sign in (1, -1):
            moved = [value.copy() for value in values]
            moved[number][place] += sign * 1e-5
            ends.append(function(*moved))
        gradient[place] = (ends[0] - ends[1]) / 2e-5
    return gradient


@pytest.mark.parametrize("shape", SHAPES, ids=["images", "vectors", "sequences"])
@pytest.mark.parametrize("training", [False, None])
def test_inference_uses_the_moving_statistics_and_leaves_them(shape, training, rng) -> None:
    layer = make_layer(len(shape))
    mean, variance = np.array([1.0, -2.0, 4.0], "float32"), np.array([0.5, 100.0, 0.04], "float32")
    layer.moving_mean.assign(mean)
    layer.moving_variance.assign(variance)
    inputs = make_inputs(shape, rng)
    found = layer(inputs, training=training).numpy()
    np.testing.assert_allclose(found, normalise(inputs, mean, variance), rtol=1e-5, atol=6e-5)
    np.testing.assert_array_equal(layer.moving_mean, mean)
    np.testing.assert_array_equal(layer.moving_variance, variance)
    assert np.abs(found - normalise(inputs, *moments(inputs)[:2])).max() > 0.1


def test_a_frozen_layer_is_at_inference_in_training_too(rng) -> None:
    layer = make_layer(2, trainable=False)
    inputs = make_inputs((8, 3), rng)
    np.testing.assert_array_equal(layer(inputs, training=True), layer(inputs, training=False))
    assert layer.trainable_variables == []
    np.testing.assert_array_equal(layer.moving_mean, np.zeros(3))


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("center", [True, False])
def test_coefficients_can_be_left_out(strategy, scale, center, rng) -> None:
    layer = make_layer(2, strategy, scale=scale, center=center)
    names = ["gamma"] * scale + ["beta"] * center
    assert [variable.name for variable in layer.trainable_variables] == names
    inputs = make_inputs((8, 3), rng)
    gamma, beta = GAMMA if scale else np.ones(3), BETA if center else np.zeros(3)
    expected = normalise(inputs, *moments(inputs)[:2], gamma, beta)
    np.testing.assert_allclose(call(strategy, layer, inputs), expected, atol=6e-5)
    at_inference = normalise(inputs, layer.moving_mean.numpy(), layer.moving_variance.numpy(), gamma, beta)
    np.testing.assert_allclose(layer(inputs), at_inference, rtol=1e-5, atol=6e-5)


@pytest.mark.parametrize(("policy", "bits"), [("mixed_float16", 11), ("mixed_bfloat16", 8)])
def test_half_precision_rounds_inputs_and_outputs_and_nothing_between(strategy, policy, bits, rng) -> None:
    layer = make_layer(4, strategy, dtype=policy)
    inputs = make_inputs((8, 4, 4, 3), rng)
    kind = tf.as_dtype(layer.compute_dtype)
    rounded = tf.cast(tf.cast(inputs, kind), tf.float32).numpy()
    found = call(strategy, layer, inputs)
    assert found.dtype == kind.as_numpy_dtype
    assert {variable.dtype for variable in layer.variables} == {"float32"}
    mean, variance, count = moments(rounded)
    trained = found.astype("float64"), normalise(rounded, mean, variance)
    unbiased = variance * count / (count - 1)
    np.testing.assert_allclose(layer.moving_variance, MOMENTUM + (1 - MOMENTUM) * unbiased, rtol=1e-5)
    layer.moving_mean.assign(mean)
    layer.moving_variance.assign(variance)
    evaluated = layer(inputs, training=False).numpy()
    assert evaluated.dtype == kind.as_numpy_dtype
    for outputs, expected in (trained, (evaluated.astype("float64"), normalise(rounded, mean, variance))):
        # The rounding of the output itself, half a unit of its last place, and float32's as above.
        assert np.all(np.abs(outputs - expected) <= 2.0**-bits * np.abs(expected) + 1e-4)


@pytest.mark.parametrize("shape", [(1, 3), (1, 1, 1, 3)])
def test_one_value_a_channel_has_no_spread_and_makes_no_infinity(shape) -> None:
    layer = make_layer(len(shape))
    outputs = layer(np.full(shape, 7.0, "float32"), training=True).numpy()
    np.testing.assert_array_equal(outputs.reshape(3), BETA)
    np.testing.assert_allclose(layer.moving_mean, (1 - MOMENTUM) * 7, rtol=1e-6)
    np.testing.assert_allclose(layer.moving_variance, MOMENTUM, rtol=1e-6)


def test_two_values_on_two_replicas_are_finite(two_devices) -> None:
    layer = make_layer(2, two_devices)
    outputs = call(two_devices, layer, np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 5.0]], "float32"))
    expected = normalise(np.array([[-1.0, 0, -1], [1, 0, 1]]), 0, np.array([1.0, 0, 1]))
    np.testing.assert_allclose(outputs, expected, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, MOMENTUM + (1 - MOMENTUM) * np.array([2, 0, 2]), rtol=1e-6)


def test_keras_own_layer_averages_the_biased_variance(two_devices, rng) -> None:
    """The negative control of the moving variance; all else is the same on one replica and on two."""
    # Of spread 1 around 0, where Keras' difference of squares loses nothing.
    inputs = rng.normal(size=(4, 3)).astype("float32")
    _, biased, count = moments(inputs)
    own = make_layer(2, two_devices)
    theirs = make_layer(2, two_devices, keras.layers.BatchNormalization, synchronized=True)
    np.testing.assert_allclose(call(two_devices, own, inputs), call(two_devices, theirs, inputs), atol=1e-5)
    np.testing.assert_allclose(own.moving_mean, theirs.moving_mean, rtol=1e-5)
    np.testing.assert_allclose(theirs.moving_variance, MOMENTUM + (1 - MOMENTUM) * biased, rtol=1e-5)
    unbiased = MOMENTUM + (1 - MOMENTUM) * biased * count / (count - 1)
    np.testing.assert_allclose(own.moving_variance, unbiased, rtol=1e-5)
    assert (own.moving_variance.numpy() / theirs.moving_variance.numpy()).max() > 1.05


def test_it_survives_a_saved_model(tmp_path, rng) -> None:
    inputs = keras.Input((4, 4, 3))
    layer = BatchNormalization(momentum=0.9, epsilon=1e-5, scale=False, name="norm")
    model = keras.Model(inputs, layer(inputs))
    images = make_inputs((5, 4, 4, 3), rng)
    model(images, training=True)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(again.get_layer("norm"), BatchNormalization)
    assert again.get_layer("norm").get_config() == layer.get_config()
    np.testing.assert_array_equal(again(images), model(images))
    np.testing.assert_array_equal(again(images, training=True), model(images, training=True))


@pytest.mark.parametrize("axis", [1, 3, [-1]])
def test_another_axis_is_refused(axis) -> None:
    with pytest.raises(ValueError, match=rf"^axis: expected -1, the last, received {axis}$".replace("[", r"\[")):
        BatchNormalization(axis=axis)


def test_a_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="mask: expected None, since every position counts; use keras.layers.Batch"):
        make_layer(3)(np.ones((2, 4, 3), "float32"), mask=np.ones((2, 4), bool))
