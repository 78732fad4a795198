"""Gradients of convolutions over few positions, against loops in numpy, and which convolutions send them so."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from made_data import make_dataset

from tfunits.configs import resolve
from tfunits.training import fit, small_maps
from tfunits.training.engine import make_train_steps
from tfunits.training.small_maps import send_gradients_as_products

EXAMPLES, CHANNELS, FILTERS = 3, 4, 5
ROUNDING = {"rtol": 1e-5, "atol": 1e-5}


def network(size: tuple[int | None, int | None], **options: object) -> keras.Model:
    """A convolution alone, of random numbers."""
    options = {"kernel_size": 3, "padding": "same", **options}
    inputs = keras.Input((*size, CHANNELS))
    model = keras.Model(inputs, layers.Conv2D(FILTERS, name="convolution", **options)(inputs))
    generator = np.random.default_rng(0)
    for variable in model.variables:
        variable.assign(generator.normal(size=variable.shape))
    return model


def differentiate(model: keras.Model, inputs: np.ndarray, upstream: np.ndarray | None = None, *, products: bool):
    """Outputs, gradients of inputs and of the kernel; and which operations the gradients take."""

    @tf.function
    def run(inputs, upstream):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = model(inputs)
        kernel = model.get_layer("convolution").kernel.value
        return outputs, *tape.gradient(outputs, [inputs, kernel], output_gradients=upstream)

    upstream = np.ones_like(model(inputs)) if upstream is None else upstream
    trace = functools.partial(
        run.get_concrete_function,
        tf.TensorSpec(model.input_shape),
        tf.TensorSpec(model.output_shape, model.output.dtype),
    )
    compiled = send_gradients_as_products(model, trace)() if products else trace()
    operations = {operation.type for operation in compiled.graph.get_operations()}
    return [
        value.numpy() for value in compiled(tf.constant(inputs), tf.constant(upstream, model.output.dtype))
    ], operations


def gradient_by_hand(size, kernel: np.ndarray, upstream: np.ndarray, strides, padding: str) -> np.ndarray:
    """Every product of a convolution, one by one, in float64."""
    found = np.zeros((len(upstream), *size, kernel.shape[2]))
    before = (0, 0)
    if padding == "same":
        before = [
            max((count - 1) * stride + taps - positions, 0) // 2
            for count, stride, taps, positions in zip(upstream.shape[1:3], strides, kernel.shape[:2], size, strict=True)
        ]
    for row, column in np.ndindex(upstream.shape[1:3]):
        for i, j in np.ndindex(kernel.shape[:2]):
            place = (row * strides[0] + i - before[0], column * strides[1] + j - before[1])
            if all(0 <= at < positions for at, positions in zip(place, size, strict=True)):
                found[:, *place] += upstream[:, row, column].astype(float) @ kernel[i, j].astype(float).T
    return found


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("size", "kernel_size", "strides"),
    [
        ((1, 1), (1, 1), (1, 1)),
        ((1, 1), (3, 3), (1, 1)),
        ((2, 2), (3, 3), (2, 2)),
        ((2, 2), (1, 1), (2, 2)),
        ((4, 4), (3, 3), (1, 1)),
        ((3, 5), (1, 3), (1, 1)),
        ((4, 3), (2, 4), (1, 1)),
        ((7, 6), (3, 2), (2, 3)),
        ((8, 8), (1, 1), (2, 2)),
        ((5, 5), (7, 7), (2, 2)),
        ((4, 1), (7, 1), (1, 1)),
    ],
    ids=str,
)
def test_gradients_are_those_of_the_products_one_by_one(size, kernel_size, strides, padding, rng):
    if padding == "valid" and any(taps > positions for taps, positions in zip(kernel_size, size, strict=True)):
        kernel_size = size
    model = network(size, kernel_size=kernel_size, strides=strides, padding=padding)
    inputs = rng.normal(size=(EXAMPLES, *size, CHANNELS)).astype("float32")
    upstream = rng.normal(size=(EXAMPLES, *model.output_shape[1:])).astype("float32")
    (outputs, of_inputs, of_kernel), operations = differentiate(model, inputs, upstream, products=True)
    assert "Conv2DBackpropInput" not in operations
    kernel = model.get_layer("convolution").kernel.numpy()
    expected = gradient_by_hand(size, kernel, upstream, strides, padding)
    np.testing.assert_allclose(of_inputs, expected, **ROUNDING)
    # Negative control: the kernel the other way round is another one, where it can be turned.
    if kernel_size != (1, 1) and np.prod(model.output_shape[1:3]) > 1:
        other = gradient_by_hand(size, kernel[::-1, ::-1], upstream, strides, padding)
        assert np.abs(of_inputs - other).max() > 0.1
    (own_outputs, own_of_inputs, own_of_kernel), operations = differentiate(model, inputs, upstream, products=False)
    assert "Conv2DBackpropInput" in operations
    np.testing.assert_array_equal(outputs, own_outputs)
    np.testing.assert_array_equal(of_kernel, own_of_kernel)
    np.testing.assert_allclose(of_inputs, own_of_inputs, **ROUNDING)


class Standardized(layers.Conv2D):
    def convolution_op(self, inputs, kernel):
        return super().convolution_op(inputs, kernel - tf.reduce_mean(kernel))


@pytest.mark.parametrize(
    ("size", "options", "has_products"),
    [
        ((4, 4), {}, True),
        ((8, 8), {"strides": 2}, True),
        ((5, 4), {}, False),
        ((None, 4), {}, False),
        ((4, 4), {"groups": 1, "dilation_rate": 2}, False),
        ((4, 4), {"dtype": "mixed_bfloat16"}, False),
    ],
    ids=str,
)
def test_which_convolutions_send_products(size, options, has_products, rng):
    model = network(size, **options)
    inputs = rng.normal(size=(EXAMPLES, *(side or 4 for side in size), CHANNELS)).astype("float32")
    (_, of_inputs, _), operations = differentiate(model, inputs, products=True)
    assert ("Conv2DBackpropInput" not in operations) == has_products
    np.testing.assert_allclose(of_inputs, differentiate(model, inputs, products=False)[0][1], **ROUNDING)


def test_grouped_transposed_and_ones_own_convolutions_are_left_alone(rng):
    inputs = rng.normal(size=(EXAMPLES, 2, 2, CHANNELS)).astype("float32")
    for layer in (
        layers.Conv2D(4, 3, padding="same", groups=2),
        layers.DepthwiseConv2D(3, padding="same"),
        layers.Conv2DTranspose(4, 3),
        Standardized(4, 3, padding="same"),
    ):
        given = keras.Input(inputs.shape[1:])
        model = keras.Model(given, layer(given))
        run = model.__call__
        assert send_gradients_as_products(model, run) is run


def test_nothing_of_a_model_remains_changed(rng):
    inner_input = keras.Input((2, 2, CHANNELS))
    inner = keras.Model(inner_input, layers.Conv2D(CHANNELS, 3, padding="same", name="deep")(inner_input))
    given = keras.Input((2, 2, CHANNELS))
    model = keras.Model(given, layers.Conv2D(3, 2, name="last")(inner(inner(given))))
    convolutions = [inner.get_layer("deep"), model.get_layer("last")]
    before = [dict(vars(layer)) for layer in convolutions]

    def look(fails: bool) -> list[bool]:
        if fails:
            raise RuntimeError("in the middle")
        return ["convolution_op" in vars(layer) for layer in convolutions]

    run = send_gradients_as_products(model, look)
    assert run(False) == [True, True]
    with pytest.raises(RuntimeError, match="in the middle"):
        run(True)
    assert [dict(vars(layer)) for layer in convolutions] == before


def test_both_of_two_devices_send_products(two_devices, rng, monkeypatch):
    """A synchronised normalisation before the convolution lets the other device's part begin in the middle of one."""
    sent = []
    own = small_maps._gradient_of_inputs
    monkeypatch.setattr(small_maps, "_gradient_of_inputs", lambda *args: sent.append(1) or own(*args))
    with two_devices.scope():
        given = keras.Input((2, 2, CHANNELS))
        normal = layers.BatchNormalization(synchronized=True)(layers.Conv2D(4, 1)(given))
        model = keras.Model(given, layers.Dense(3)(layers.Flatten()(layers.Conv2D(4, 3, padding="same")(normal))))
        optimizer = keras.optimizers.SGD(0.1)
        optimizer.build(model.trainable_variables)
    batches = tf.data.Dataset.from_tensor_slices(
        (
            rng.normal(size=(10, 2, 2, CHANNELS)).astype("float32"),
            np.arange(10, dtype="int32") % 3,
            np.ones(10, "float32"),
        )
    ).batch(5)
    train = make_train_steps(model, optimizer, resolve({"model": "resnet18"}).training, two_devices)
    assert train(iter(two_devices.experimental_distribute_dataset(batches)), 2).count == 10
    # Of each device and convolution; TensorFlow drops the first one's, whose inputs need no gradient.
    assert len(sent) == 2 * 2


def test_a_training_is_the_same_to_rounding(rng, monkeypatch):
    data = make_dataset(rng.normal(size=(60, 4, 4, 2)).astype("float32"), rng.integers(3, size=60), 3)
    recipe = resolve({"model": "resnet18", "epochs": 2, "batch_size": 16}).training
    found = []
    for is_plain in (small_maps._is_plain, lambda layer: False):
        monkeypatch.setattr(small_maps, "_is_plain", is_plain)
        keras.utils.set_random_seed(1)
        given = keras.Input((4, 4, 2))
        hidden = layers.Conv2D(6, 3, padding="same", activation="relu")(given)
        hidden = layers.Conv2D(6, 3, strides=2, padding="same", activation="relu")(hidden)
        model = keras.Model(given, layers.Dense(3)(layers.Flatten()(hidden)))
        fit(model, data, recipe)
        found.append([value.numpy() for value in model.variables])
    for first, second in zip(*found, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-4)
    # Negative control: in the second one nothing was replaced.
    assert any((first != second).any() for first, second in zip(*found, strict=True))
