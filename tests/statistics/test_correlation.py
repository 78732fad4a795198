"""Correlation between units, against numpy's own."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from tfunits.statistics import (
    absolute_correlations,
    correlation_histogram,
    correlation_matrix,
    count_similar,
    explained_by_others,
)


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


def explained(samples: np.ndarray) -> np.ndarray:
    return explained_by_others(np.cov(samples, rowvar=False))


def regressed(samples: np.ndarray) -> list[float]:
    """R2 of every unit on all others, by scikit-learn."""
    others = [np.delete(samples, unit, axis=1) for unit in range(samples.shape[1])]
    return [LinearRegression().fit(x, y).score(x, y) for x, y in zip(others, samples.T, strict=True)]


def test_multiple_r2_is_that_of_a_regression_on_all_others(samples: np.ndarray, rng: np.random.Generator) -> None:
    noisy = samples + rng.uniform(0.1, 3, size=10) * rng.normal(size=samples.shape)
    np.testing.assert_allclose(explained(noisy), regressed(noisy), rtol=0, atol=1e-10)
    # Negative control: the largest r2 with a single other unit.
    r2 = np.corrcoef(noisy, rowvar=False) ** 2
    assert (np.abs(explained(noisy) - (r2 - np.eye(10)).max(axis=1)) > 1e-3).all()


def test_multiple_r2_does_not_depend_on_scale_or_offset(samples: np.ndarray, rng: np.random.Generator) -> None:
    moved = samples * 10.0 ** rng.integers(-6, 6, size=10) + 5
    np.testing.assert_allclose(explained(moved), explained(samples), rtol=0, atol=1e-8)


def test_multiple_r2_of_two_units_is_the_square_of_r(samples: np.ndarray) -> None:
    pair = samples[:, :2]
    np.testing.assert_allclose(explained(pair), 2 * [np.corrcoef(pair, rowvar=False)[0, 1] ** 2], rtol=1e-10)


def test_copies_and_sums_are_explained_and_noise_is_not(rng: np.random.Generator) -> None:
    """A copy is explained though a correlation matrix with one has no inverse; so is the sum of eight units, whose r
    with each of them is only 0.35."""
    parts, noise = rng.normal(size=(5000, 8)), rng.normal(size=(5000, 2))
    summed = explained(np.hstack([parts, parts.sum(axis=1, keepdims=True), noise]))
    assert (summed[:9] > 1 - 1e-4).all()
    assert (summed[9:] < 0.01).all()
    copied = explained(np.hstack([noise, -3 * noise[:, :1] + 1, parts]))
    assert (copied[[0, 2]] > 1 - 1e-4).all()
    assert (np.delete(copied, [0, 2]) < 0.01).all()


def test_fewer_rows_than_units_explain_everything(rng: np.random.Generator) -> None:
    for rows in (10, 20):
        assert (explained(rng.normal(size=(rows, 20))) > 0.99).all()
    assert (explained(rng.normal(size=(400, 20))) < 0.5).all()


def test_constant_units_are_not_explained_and_explain_nothing(samples: np.ndarray) -> None:
    padded = np.insert(samples, [0, 4], 7, axis=1)
    assert np.flatnonzero(np.isnan(explained(padded))).tolist() == [0, 5]
    np.testing.assert_allclose(explained(padded)[[1, 2, 3, 4, 6, 7, 8, 9, 10, 11]], explained(samples), rtol=1e-10)
    known = np.zeros(12, bool)
    known[[0, 3, 5]] = True
    assert np.isnan(explained_by_others(np.cov(padded, rowvar=False), known)).tolist() == known.tolist()


def test_alone_a_unit_is_not_explained() -> None:
    assert explained_by_others(np.array([[4.0]])).tolist() == [0]
    assert np.isnan(explained_by_others(np.zeros((3, 3)))).all()
