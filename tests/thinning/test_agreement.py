"""Scores, margins, and the share of examples that can be expected to keep their class."""

import keras
import numpy as np
import pytest
import scipy.stats
from keras import layers

from tfunits.thinning.agreement import agreement_bound, margins_of, score_reader, scores_of


def test_the_bound_is_the_mean_chance_less_its_error(rng):
    margin = rng.gamma(2, 2, size=50)
    chances = np.array([scipy.stats.norm(0, 1.5).cdf(value) for value in margin])
    error = scipy.stats.sem(chances)
    assert agreement_bound(margin, 1.5) == pytest.approx(chances.mean() - 1.6448536 * error, rel=1e-6)
    assert agreement_bound(margin, 0.0) == 1
    assert agreement_bound(margin, 3.0) < agreement_bound(margin, 1.5) < agreement_bound(2 * margin, 1.5)


def test_of_gaussian_changes_it_is_seldom_above_the_truth(rng):
    """Margins of a population; samples of 200, and the share of the population that keeps its class."""
    population = rng.gamma(2, 2, size=100_000)
    truth = (population + rng.normal(scale=1.5, size=population.shape) > 0).mean()
    bounds = np.array([agreement_bound(rng.choice(population, 200), 1.5) for _ in range(400)])
    assert 0.90 < (bounds < truth).mean() < 0.99
    assert np.abs(bounds - truth).max() < 0.1


def test_margins_are_of_the_same_classes_before_and_after():
    before = np.array([[1.0, 5.0, 2.0], [4.0, 0.0, 3.0]])
    margin, order = margins_of(before)
    np.testing.assert_array_equal(margin, [3, 1])
    np.testing.assert_array_equal(order, [[1, 2], [0, 2]])
    after = np.array([[9.0, 5.0, 6.0], [4.0, 8.0, 1.0]])
    np.testing.assert_array_equal(margins_of(after, order)[0], [-1, 3])


def test_of_equal_scores_the_first_is_the_class():
    scores = np.array([[2.0, 2.0, 2.0], [1.0, 3.0, 3.0]])
    margin, order = margins_of(scores)
    np.testing.assert_array_equal(margin, 0)
    np.testing.assert_array_equal(order[:, 0], scores.argmax(axis=1))


@pytest.mark.parametrize(
    ("units", "activation", "scores"),
    [
        (3, None, lambda z: z),
        (3, "softmax", lambda z: z - np.log(np.exp(z).sum(axis=1, keepdims=True))),
        (1, None, lambda z: np.concatenate([0 * z, z], axis=1)),
        (1, "sigmoid", lambda z: np.concatenate([0 * z, z], axis=1)),
    ],
)
def test_scores_are_logarithms_of_probabilities(units, activation, scores, rng):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(units, activation, name="scores")(inputs))
    rows = rng.normal(size=(7, 4)).astype("float32")
    expected = scores(rows @ model.get_layer("scores").kernel.numpy().astype("float64"))
    np.testing.assert_allclose(score_reader(model)([rows]), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scores_of(model, [[rows[:5]], [rows[5:]]]), expected, rtol=1e-4, atol=1e-5)
