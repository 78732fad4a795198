"""Correlation between units, against numpy's own."""

import numpy as np
import pytest

from tfunits.statistics import absolute_correlations, correlation_histogram, correlation_matrix, count_similar


@pytest.fixture
def samples(rng: np.random.Generator) -> np.ndarray:
    """Ten mixed units over 400 rows."""
    return rng.normal(size=(400, 10)) @ rng.normal(size=(10, 10))


def correlate(samples: np.ndarray) -> np.ndarray:
    return correlation_matrix(np.cov(samples, rowvar=False))


def test_it_is_numpys(samples: np.ndarray) -> None:
    np.testing.assert_allclose(correlate(samples), np.corrcoef(samples, rowvar=False), rtol=0, atol=1e-14)
    assert (np.diag(correlate(samples)) == 1).all()


def test_scaling_and_shifting_a_unit_changes_nothing(samples: np.ndarray, rng: np.random.Generator) -> None:
    moved = samples * rng.uniform(1e-3, 1e3, size=10) + rng.normal(size=10)
    np.testing.assert_allclose(correlate(moved), correlate(samples), rtol=0, atol=1e-11)


def test_permuting_units_permutes_the_result(samples: np.ndarray, rng: np.random.Generator) -> None:
    order = rng.permutation(10)
    whole = correlate(samples)
    np.testing.assert_allclose(correlate(samples[:, order]), whole[np.ix_(order, order)], rtol=0, atol=1e-14)
    np.testing.assert_array_equal(count_similar(whole)[order], count_similar(whole[np.ix_(order, order)]))


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.9])
def test_similar_units_are_counted_pair_by_pair(samples: np.ndarray, threshold: float) -> None:
    r = np.corrcoef(samples, rowvar=False)
    expected = [sum(abs(r[i, j]) >= threshold for j in range(10) if j != i) for i in range(10)]
    assert count_similar(correlate(samples), threshold).tolist() == expected


def test_copies_and_negated_copies_are_similar(rng: np.random.Generator) -> None:
    unit = rng.normal(size=(100, 1))
    samples = np.hstack([unit, 3 * unit, -unit, np.abs(unit) * 0 + 7, rng.normal(size=(100, 1))])
    assert count_similar(correlate(samples)).tolist() == [2, 2, 2, 0, 0]
    assert count_similar(correlate(samples), constant_counts=-1).tolist() == [2, 2, 2, -1, 0]


def test_a_threshold_of_one_still_finds_copies(rng: np.random.Generator) -> None:
    """Without allowance for rounding some scaled copies would be missed."""
    pairs = [np.hstack([unit, 3 * unit + 1]) for unit in rng.normal(size=(50, 30, 1))]
    assert all(count_similar(correlate(pair), 1).tolist() == [1, 1] for pair in pairs)
    assert any(np.corrcoef(pair, rowvar=False)[0, 1] < 1 for pair in pairs)


def test_a_constant_unit_has_no_correlation() -> None:
    covariance = np.array([[4.0, 0, -2], [0, 0, 0], [-2, 0, 1]])
    expected = [[1, np.nan, -1], [np.nan, np.nan, np.nan], [-1, np.nan, 1]]
    np.testing.assert_array_equal(correlation_matrix(covariance), expected)
    # A unit known to be constant counts as such though rounding left it a variance.
    covariance[1, 1] = 1e-30
    np.testing.assert_array_equal(correlation_matrix(covariance, np.array([False, True, False])), expected)


def test_every_pair_once_in_the_histogram(samples: np.ndarray) -> None:
    with_constant = correlate(np.hstack([samples, np.ones((400, 1))]))
    absolute = np.abs(np.corrcoef(samples, rowvar=False)[np.triu_indices(10, k=1)])
    np.testing.assert_allclose(absolute_correlations(with_constant), absolute, atol=1e-14)
    counts = correlation_histogram(with_constant)
    assert (counts.sum(), len(counts)) == (45, 50)
    assert counts.tolist() == [int(((absolute >= i / 50) & (absolute < (i + 1) / 50)).sum()) for i in range(50)]


def test_copies_fill_the_last_bin(rng: np.random.Generator) -> None:
    copies = np.tile(rng.normal(size=(100, 1)), (1, 5))
    assert correlation_histogram(correlate(copies), num_bins=10).tolist() == [0] * 9 + [10]


@pytest.mark.parametrize("threshold", [0, -0.5, 1.5])
def test_a_threshold_outside_its_range_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match=r"threshold: expected a number in \(0, 1\]"):
        count_similar(np.eye(2), threshold)
