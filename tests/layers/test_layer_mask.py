"""Masks: chosen units at zero, the others untouched."""

import keras
import numpy as np
import pytest

from tfunits.layers import ChannelMask


@pytest.mark.parametrize(
    ("mask_shape", "input_shape"), [((6,), (3, 6)), ((6,), (2, 4, 5, 6)), ((4, 5, 6), (2, 4, 5, 6))]
)
def test_masked_units_are_zero_and_others_the_same_bits(mask_shape, input_shape, rng: np.random.Generator) -> None:
    kept = rng.integers(0, 2, size=mask_shape).astype(bool)
    values = rng.normal(size=input_shape).astype("float32")
    assert kept.any()
    assert not kept.all()
    np.testing.assert_array_equal(ChannelMask(kept)(values), np.where(kept, values, 0))


def test_it_has_no_weights_and_keeps_half_precision() -> None:
    layer = ChannelMask([1, 0], dtype="float16")
    found = layer(np.ones((1, 2), "float16"))
    assert (layer.weights, str(found.dtype)) == ([], "<dtype: 'float16'>")


def test_it_survives_a_saved_model(tmp_path, rng: np.random.Generator) -> None:
    inputs = keras.Input((2, 3, 4))
    mask = rng.integers(0, 2, size=(2, 3, 4))
    model = keras.Model(inputs, ChannelMask([0, 1, 1, 0], name="units")(ChannelMask(mask, name="locations")(inputs)))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    images = rng.normal(size=(5, 2, 3, 4)).astype("float32")
    np.testing.assert_array_equal(again.get_layer("locations").mask, mask)
    np.testing.assert_array_equal(again(images), images * mask * [0, 1, 1, 0])
