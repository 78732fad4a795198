"""Dropout: off at inference, unbiased, repeatable, and different on every replica."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfunits.layers import ReplicaDropout

ONES = np.ones((50, 40), "float32")


def masks(layer: keras.layers.Layer, count: int = 3) -> np.ndarray:
    """The next masks of a layer, bool [count, rows, units]."""
    return np.array([layer(ONES, training=True).numpy() != 0 for _ in range(count)])


def replica_masks(strategy: tf.distribute.Strategy, kind: type) -> list[np.ndarray]:
    """The mask that each replica draws in one step."""
    with strategy.scope():
        layer = kind(0.5, seed=3)
        layer.build(ONES.shape)
    step = tf.function(lambda: strategy.run(lambda: layer(tf.constant(ONES), training=True)))
    return [outputs.numpy() != 0 for outputs in strategy.experimental_local_results(step())]


@pytest.mark.parametrize("training", [False, None])
def test_at_inference_nothing_happens(training: bool | None, rng: np.random.Generator) -> None:
    values = rng.normal(size=(4, 5)).astype("float32")
    np.testing.assert_array_equal(ReplicaDropout(0.9, seed=0)(values, training=training), values)


def test_a_rate_of_zero_drops_nothing() -> None:
    np.testing.assert_array_equal(ReplicaDropout(0, seed=0)(ONES, training=True), ONES)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_the_expectation_is_preserved(rate: float) -> None:
    outputs = ReplicaDropout(rate, seed=1)(np.ones((400, 500), "float32"), training=True).numpy()
    np.testing.assert_allclose(np.unique(outputs), [0, 1 / (1 - rate)], rtol=1e-6)
    # Five standard deviations of the mean of 200,000 kept-or-dropped units.
    assert outputs.mean() == pytest.approx(1, abs=5 * (rate / (1 - rate) / 200_000) ** 0.5)


def test_equal_seeds_draw_the_same_sequence_and_others_do_not() -> None:
    first, second, other = (masks(ReplicaDropout(0.5, seed=seed)) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, second)
    # Independent masks agree on half of 2,000 units, give or take five standard deviations.
    assert (first == other).mean(axis=(1, 2)) == pytest.approx([0.5] * 3, abs=0.06)
    assert (first[:-1] == first[1:]).mean(axis=(1, 2)) == pytest.approx([0.5] * 2, abs=0.06)


def test_two_replicas_draw_different_masks(two_devices: tf.distribute.Strategy) -> None:
    """Keras mirrors the seed, so that its own layer drops the same units on every replica."""
    first, second = replica_masks(two_devices, ReplicaDropout)
    assert (first == second).mean() == pytest.approx(0.5, abs=0.06)
    first, second = replica_masks(two_devices, keras.layers.Dropout)
    np.testing.assert_array_equal(first, second)


def test_a_saved_model_draws_the_sequence_of_its_seed(tmp_path) -> None:
    """From its start: where the sequence stands is in a checkpoint, not in a .keras file."""
    inputs = keras.Input((40,))
    model = keras.Model(inputs, ReplicaDropout(0.25, seed=5, name="drop")(inputs))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(again.get_layer("drop"), ReplicaDropout)
    assert again.get_layer("drop").rate == 0.25
    np.testing.assert_array_equal(masks(again), masks(model))
    np.testing.assert_array_equal(again(ONES), ONES)
