"""Normalisations that count as a layer of other units did, against numpy in float64 and against Keras' own."""

import keras
import numpy as np
import pytest

from tfunits.layers import (
    CountedGroupNormalization,
    CountedLayerNormalization,
    CountedRMSNormalization,
    LocalResponseNormalization,
    PositionBias,
    TakeUnits,
)

KEPT = [0, 2, 3, 6]
COUNT = 8


@pytest.fixture
def values(rng) -> np.ndarray:
    """Eight units with means far from zero, of which four are left."""
    return (rng.normal(size=(5, 3, COUNT)) * 2 + 3).astype("float32")


def zeroed(values: np.ndarray) -> np.ndarray:
    gone = np.setdiff1d(np.arange(values.shape[-1]), KEPT)
    masked = values.astype("float64")
    masked[..., gone] = 0
    return masked


def weighted(layer: keras.layers.Layer, shape: tuple) -> keras.layers.Layer:
    """A built layer with random weights."""
    layer.build(shape)
    generator = np.random.default_rng(7)
    for weight in layer.weights:
        weight.assign(generator.normal(size=weight.shape))
    return layer


def scale_and_shift(layer: keras.layers.Layer) -> tuple:
    return tuple(weight.numpy().astype("float64") for weight in layer.weights)


def test_layer_normalisation_counts_missing_units_as_zeros(values):
    layer = weighted(CountedLayerNormalization(4 * [True], COUNT, epsilon=0.1), (None, 3, 4))
    gamma, beta = scale_and_shift(layer)
    masked = zeroed(values)
    mean, variance = masked.mean(axis=-1, keepdims=True), masked.var(axis=-1, keepdims=True)
    expected = gamma * ((masked - mean) / np.sqrt(variance + 0.1))[..., KEPT] + beta
    np.testing.assert_allclose(layer(values[..., KEPT]), expected, rtol=1e-5, atol=1e-5)
    # Negative control: a layer that counts what it sees gives something else.
    other = weighted(keras.layers.LayerNormalization(epsilon=0.1), (None, 3, 4))(values[..., KEPT])
    assert np.abs(other - expected).max() > 0.1


def test_rms_normalisation_counts_missing_units_as_zeros(values):
    layer = weighted(CountedRMSNormalization(4 * [True], COUNT, epsilon=0.1), (None, 3, 4))
    (scale,) = scale_and_shift(layer)
    masked = zeroed(values)
    expected = scale * (masked / np.sqrt((masked**2).mean(axis=-1, keepdims=True) + 0.1))[..., KEPT]
    np.testing.assert_allclose(layer(values[..., KEPT]), expected, rtol=1e-5, atol=1e-5)
    other = weighted(keras.layers.RMSNormalization(epsilon=0.1), (None, 3, 4))(values[..., KEPT])
    assert np.abs(other - expected).max() > 0.1


@pytest.mark.parametrize("axis", [-1, 1])
def test_group_normalisation_counts_missing_units_as_zeros(values, axis):
    """Of four groups of two units one is whole, two have lost one unit and one both."""
    groups = [unit // 2 for unit in KEPT]
    assert groups == [0, 1, 1, 3]
    shape = (None, 3, 4) if axis == -1 else (None, 4, 3)
    layer = weighted(
        CountedGroupNormalization(groups, axis=axis, counted=4 * [True], num_counted=2, epsilon=0.1), shape
    )
    gamma, beta = scale_and_shift(layer)
    masked = zeroed(values)
    split = masked.reshape(5, 3, 4, 2)
    mean, variance = split.mean(axis=(1, 3), keepdims=True), split.var(axis=(1, 3), keepdims=True)
    normed = ((split - mean) / np.sqrt(variance + 0.1)).reshape(masked.shape)
    expected = gamma * normed[..., KEPT] + beta
    given = values[..., KEPT]
    found = layer(given).numpy() if axis == -1 else np.moveaxis(layer(np.moveaxis(given, -1, 1)).numpy(), 1, -1)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    other = weighted(keras.layers.GroupNormalization(2, epsilon=0.1), (None, 3, 4))(given)
    assert np.abs(other - expected).max() > 0.1


def test_units_that_do_not_count_change_no_other(values):
    """Copies stand beside the unit that they repeat, and are normalised as it is."""
    twice = [0, 0, 1, 2, 2, 3, 4, 5, 6, 7]
    counted = [True, False, True, True, False, True, True, True, True, True]
    for counting, plain in (
        (CountedLayerNormalization(counted, COUNT, center=False, scale=False), keras.layers.LayerNormalization()),
        (CountedRMSNormalization(counted, COUNT), keras.layers.RMSNormalization()),
        (
            CountedGroupNormalization([u // 4 for u in twice], counted=counted, num_counted=4),
            keras.layers.GroupNormalization(2),
        ),
    ):
        expected = plain(values).numpy()[..., twice]
        np.testing.assert_allclose(counting(values[..., twice]), expected, rtol=1e-5, atol=1e-5)


def test_response_normalisation_keeps_places_and_windows(values):
    """Units 0, 2, 3, 6 with a radius of 1: only 2 and 3 are neighbours."""
    layer = LocalResponseNormalization(radius=1, bias=2.0, alpha=0.5, beta=0.75, places=KEPT)
    masked = zeroed(values)
    padded = np.pad(masked**2, [(0, 0), (0, 0), (1, 1)])
    energy = padded[..., :-2] + padded[..., 1:-1] + padded[..., 2:]
    expected = (masked * (2.0 + 0.5 * energy) ** -0.75)[..., KEPT]
    np.testing.assert_allclose(layer(values[..., KEPT]), expected, rtol=1e-5, atol=1e-6)
    near = LocalResponseNormalization(radius=1, bias=2.0, alpha=0.5, beta=0.75)(values[:, None][..., KEPT])[:, 0]
    assert np.abs(near - expected).max() > 0.05


def test_response_normalisation_with_copies_that_do_not_count(values):
    twice = [0, 1, 1, 2, 3, 4, 5, 6, 7, 7]
    counted = [True, True, False, True, True, True, True, True, False, True]
    options = {"radius": 2, "bias": 1.0, "alpha": 0.5, "beta": 0.75}
    layer = LocalResponseNormalization(**options, places=twice, counted=counted)
    expected = LocalResponseNormalization(**options)(values[:, None]).numpy()[:, 0][..., twice]
    np.testing.assert_allclose(layer(values[..., twice]), expected, rtol=1e-5, atol=1e-6)


LAYERS = {
    "layer": lambda **kw: CountedLayerNormalization([True, False, True], 5, **kw),
    "rms": lambda **kw: CountedRMSNormalization([True, False, True], 5, **kw),
    "group": lambda **kw: CountedGroupNormalization([0, 0, 2], counted=[True, False, True], num_counted=4, **kw),
    "response": lambda **kw: LocalResponseNormalization(
        1, alpha=0.5, places=[0, 3, 4], counted=[True, False, True], **kw
    ),
    "bias": lambda **kw: PositionBias(**kw),
    "take": lambda **kw: TakeUnits([2, 0], **kw),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_they_survive_a_saved_model(kind, tmp_path, rng):
    inputs = keras.Input((2, 3))
    model = keras.Model(inputs, LAYERS[kind](name="layer")(inputs))
    for variable in model.variables:
        variable.assign(rng.normal(size=variable.shape))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    values = rng.normal(size=(4, 2, 3)).astype("float32")
    np.testing.assert_array_equal(again(values), model(values))
    assert again.get_layer("layer").get_config() == model.get_layer("layer").get_config()
    assert again.output_shape == model.output_shape
    assert np.abs(model(values).numpy()[..., :2] - values[..., :2]).max() > 1e-2


@pytest.mark.parametrize("kind", ["layer", "rms", "group"])
def test_half_precision_is_summed_in_single(kind):
    """The sum of these squares is beyond the largest number of half precision."""
    values = np.array([[[300.0, 200.0, -250.0]]], "float16")
    half, single = LAYERS[kind](dtype="float16"), LAYERS[kind](dtype="float32")
    found = half(values)
    assert str(found.dtype) == "<dtype: 'float16'>"
    np.testing.assert_allclose(found, single(values.astype("float32")), rtol=2e-3)
    assert np.abs(found).min() > 0.1


@pytest.mark.parametrize("kind", ["layer", "group"])
def test_their_weights_have_the_options_of_keras_layers(kind):
    options = {
        "gamma_initializer": "zeros", "beta_initializer": "ones", "gamma_regularizer": keras.regularizers.L2(0.5),
        "beta_constraint": "non_neg",
    }  # fmt: skip
    layer = LAYERS[kind](**options)
    layer = layer.__class__.from_config(layer.get_config())
    layer.build((None, 2, 3))
    np.testing.assert_array_equal([layer.gamma, layer.beta], [[0, 0, 0], [1, 1, 1]])
    assert float(layer.gamma.regularizer(np.ones(3))) == pytest.approx(1.5)
    assert isinstance(layer.beta.constraint, keras.constraints.NonNeg)
    bare = LAYERS[kind](center=False, scale=False)
    bare.build((None, 2, 3))
    assert bare.weights == []


def test_a_bias_of_every_position(rng):
    layer = PositionBias()
    layer.build((None, 4, 3))
    bias = rng.normal(size=(4, 3)).astype("float32")
    values = rng.normal(size=(2, 4, 3)).astype("float32")
    np.testing.assert_array_equal(layer(values), values)
    layer.bias.assign(bias)
    np.testing.assert_array_equal(layer(values), values + bias)


def test_units_are_taken_in_the_order_that_is_given(values):
    np.testing.assert_array_equal(TakeUnits([5, 0, 2])(values), values[..., [5, 0, 2]])
    assert TakeUnits([5, 0, 2]).compute_output_shape((None, 3, COUNT)) == (None, 3, 3)


def test_a_mask_of_padded_steps_goes_on():
    words = keras.Input((4,), dtype="int32")
    embedded = keras.layers.Embedding(5, 3, mask_zero=True)(words)
    for layer in (LAYERS["layer"](), LAYERS["rms"](), LAYERS["group"](), TakeUnits([0, 1])):
        assert layer(embedded)._keras_mask is not None
