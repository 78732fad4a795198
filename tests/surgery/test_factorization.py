"""Low-rank factorization: fewer units or components, and what reads them, against numpy and scipy."""

import keras
import numpy as np
import pytest
import scipy.linalg
from keras import layers
from masked_models import IMAGE, activations, assert_same_function, assert_visible, saved_and_loaded, weights_of
from sample_networks import chain, inputs_of, make, randomize, shared_reader

from tfunits.surgery import factorize, unit_layers

# Float32 activations, of which the oracles are taken in float64.
ROUNDING = {"rtol": 1e-4, "atol": 1e-5}


def low_rank(topology: str) -> tuple[keras.Model, int]:
    """A network whose layer `hidden` of six units has activations of rank 2, and that of what is read with it."""
    inputs = keras.Input(IMAGE)
    narrow = layers.Conv2D(2, 3, activation="relu", name="narrow")(inputs)
    hidden = layers.Dense(6, use_bias=False, name="hidden")(narrow)
    beside = layers.Conv2D(3, 3, activation="relu", name="beside")(inputs)
    behind = {
        "dense": lambda: layers.Dense(4, "relu", name="next")(hidden),
        "convolution": lambda: layers.Conv2D(4, 2, name="next", use_bias=False)(hidden),
        "same": lambda: layers.Conv2D(4, 3, padding="same", activation="relu", name="next")(hidden),
        "flattened": lambda: layers.Dense(4, "relu", name="next")(layers.Flatten(name="flat")(hidden)),
        "joined": lambda: layers.Conv2D(4, 2, name="next")(layers.Concatenate(name="joined")([beside, hidden])),
        "joined_flattened": lambda: layers.Dense(4, "relu", name="next")(
            layers.Flatten(name="flat")(layers.Concatenate(name="joined")([hidden, beside]))
        ),
        "transposed": lambda: layers.Conv2DTranspose(4, 2, name="next")(hidden),
        "two_readers": lambda: (
            layers.Conv2D(4, 2, name="next")(hidden) + layers.Conv2D(4, 2, name="other")(hidden * 2.0)
        ),
    }[topology]()
    return randomize(keras.Model(inputs, layers.Dense(3)(layers.Flatten()(behind)))), 2


TOPOLOGIES = ("dense", "convolution", "same", "flattened", "joined", "joined_flattened", "transposed", "two_readers")


@pytest.mark.parametrize("basis", ["units", "components"])
@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_rank_deficient_activations_are_reproduced(topology, basis):
    model, rank = low_rank(topology)
    arrays = inputs_of(model, 20)
    thin = factorize(model, "hidden", rank, arrays[0], basis=basis)
    assert_same_function(thin, model, arrays)
    expected = unit_layers(model)
    if basis == "units":
        assert unit_layers(thin) == {**expected, "hidden": rank}
    else:
        assert {name: unit_layers(thin)[name] for name in expected} == expected
        inserted = [layer for layer in thin.layers if layer.name.endswith("_basis")]
        assert {layer.name for layer in inserted} == {"next_basis"} | (
            {"other_basis"} & {f"{n}_basis" for n in expected}
        )
        beside = 3 if "joined" in topology else 0
        assert {layer.kernel.shape for layer in inserted} == {(6 + beside, rank + beside)}
        assert not any(layer.use_bias for layer in inserted)
    # Negative control: one fewer is not enough.
    assert_visible(model, factorize(model, "hidden", rank - 1, arrays[0], basis=basis), arrays)


def dense_pair(units: int = 7) -> tuple[keras.Model, np.ndarray]:
    model = randomize(
        chain(layers.Dense(units, "relu", name="hidden"), layers.Dense(4, "tanh", name="next"), layers.Dense(3))
    )
    return model, inputs_of(model, 90)[0]


@pytest.mark.parametrize("count", [1, 3, 6])
def test_units_are_those_that_pivoted_qr_chooses(count):
    """W' = pinv(A') A W, A' the columns that QR with pivoting takes first."""
    model, array = dense_pair()
    rows = activations(model, "hidden", array)
    chosen = np.sort(scipy.linalg.qr(rows, pivoting=True)[2][:count])
    kernel, bias = weights_of(model, "next")
    hidden, own_bias = weights_of(model, "hidden")
    thin = factorize(model, "hidden", count, array)
    np.testing.assert_array_equal(weights_of(thin, "hidden")[0], hidden[:, chosen])
    np.testing.assert_array_equal(weights_of(thin, "hidden")[1], own_bias[chosen])
    expected = np.linalg.pinv(rows[:, chosen]) @ rows @ kernel
    np.testing.assert_allclose(weights_of(thin, "next")[0], expected, **ROUNDING)
    np.testing.assert_array_equal(weights_of(thin, "next")[1], bias)
    # Not only those that stand first or vary most.
    assert chosen.tolist() != list(range(count))


@pytest.mark.parametrize("count", [1, 3, 6])
def test_components_are_the_leading_singular_vectors(count):
    """Of the activations as they are, not centred: A' = A V, W' = V^T W = pinv(A') A W."""
    model, array = dense_pair()
    rows = activations(model, "hidden", array)
    directions = np.linalg.svd(rows, full_matrices=False)[2][:count].T
    kernel, bias = weights_of(model, "next")
    thin = factorize(model, "hidden", count, array, basis="components")
    (found,) = weights_of(thin, "next_basis")
    signs = np.sign((found * directions).sum(axis=0))
    np.testing.assert_allclose(found * signs, directions, **ROUNDING)
    expected = np.linalg.pinv(rows @ found) @ rows @ kernel
    np.testing.assert_allclose(weights_of(thin, "next")[0], expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(weights_of(thin, "next")[1], bias)
    values = activations(thin, "next", array)
    np.testing.assert_allclose(values, np.tanh(rows @ directions @ directions.T @ kernel + bias), **ROUNDING)
    # Negative control: centred ones are others.
    centred = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)[2][:count].T
    assert np.abs(centred @ centred.T - directions @ directions.T).max() > 1e-3
    assert unit_layers(thin)["hidden"] == 7


@pytest.mark.parametrize("basis", ["units", "components"])
def test_all_components_leave_the_function(basis):
    model, array = dense_pair()
    assert_same_function(factorize(model, "hidden", 7, array, basis=basis), model, [array])
    model = make("residual")
    arrays = inputs_of(model, 60)
    assert_same_function(factorize(model, "stem", 3, arrays[0], basis=basis), model, arrays)
    assert_visible(model, factorize(model, "stem", 2, arrays[0], basis=basis), arrays)


def test_a_layer_called_twice_gets_one_basis(tmp_path):
    model = shared_reader("relu")
    arrays = inputs_of(model, 20)
    thin = factorize(model, "a", 5, (arrays,), basis="components")
    assert_same_function(thin, model, arrays)
    assert sum(layer.name == "reader_basis" for layer in thin.layers) == 1
    assert_visible(model, factorize(model, "a", 1, (arrays,), basis="components"), arrays)
    # Behind flattened maps too.
    given = [keras.Input(IMAGE), keras.Input(IMAGE)]
    seen, reader = layers.Conv2D(5, 3, activation="relu", name="seen"), layers.Dense(4, name="reader")
    joined = layers.Concatenate()([reader(layers.Flatten()(seen(x))) for x in given])
    model = randomize(keras.Model(given, layers.Dense(3)(joined)))
    for basis in ("components", "units"):
        thin = factorize(model, "seen", 5, (arrays,), basis=basis)
        assert_same_function(thin, model, arrays)
        loaded = saved_and_loaded(thin, tmp_path)
        assert_same_function(loaded, model, arrays)
    thin = factorize(model, "seen", 2, (arrays,), basis="components")
    rows = np.concatenate([activations(model, "seen", array) for array in (arrays,)])
    assert rows.shape[1] == 5
    (found,) = weights_of(thin, "reader_basis")
    np.testing.assert_allclose(found.T @ found, np.eye(2), atol=1e-5)


def test_refused_factorizations():
    model, array = dense_pair()
    for count in (0, -1, 8):
        with pytest.raises(ValueError, match=f"num_components: expected 1 to 7, .* 'hidden', received {count}"):
            factorize(model, "hidden", count, array)
    with pytest.raises(ValueError, match="basis: expected one of units, components, received 'channels'"):
        factorize(model, "hidden", 2, array, basis="channels")
    with pytest.raises(ValueError, match="since it is the model's output"):
        factorize(model, model.layers[-1].name, 2, array)
    with pytest.raises(ValueError, match="layers: expected layers of .* received 'absent'"):
        factorize(model, "absent", 2, array)


def test_components_need_units_along_the_last_axis():
    options = {"data_format": "channels_first"}
    model = chain(layers.Conv2D(4, 3, name="hidden", **options), layers.Conv2D(3, 2, name="next", **options),
                  layers.GlobalAveragePooling2D(**options), shape=(2, 6, 6))  # fmt: skip
    array = np.ones((2, 2, 6, 6), "float32")
    message = "next: expected units along the last axis, received axis 1; use basis='units', or channels_last"
    with pytest.raises(ValueError, match=message):
        factorize(model, "hidden", 2, array, basis="components")
    model = chain(
        layers.Conv2D(5, 3, name="hidden"), layers.Permute((3, 1, 2)), layers.Flatten(), layers.Dense(3), shape=IMAGE
    )
    with pytest.raises(ValueError, match="flattened with its channels last; use basis='units'"):
        factorize(model, "hidden", 2, inputs_of(model)[0], basis="components")
    tied = randomize(
        chain(layers.Conv2D(4, 1), layers.Conv2D(6, 2, groups=2, name="hidden"), layers.Conv2D(3, 2, name="next"),
              layers.Flatten(), layers.Dense(3), shape=IMAGE)
    )  # fmt: skip
    with pytest.raises(ValueError, match="next: expected every unit once at a position"):
        factorize(tied, "hidden", 2, inputs_of(tied)[0], basis="components")
