"""Principal components against their definition in exact arithmetic, and against scikit-learn."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from tfunits.statistics import count_components, count_redundant, principal_variances

SEARCH = settings(deadline=None, derandomize=True, max_examples=100)
VARIANCES = st.lists(st.integers(0, 40), min_size=1, max_size=30)
TWENTIETHS = st.integers(1, 20)


@pytest.mark.parametrize(
    ("num_units", "exact", "authors"), [(16, 0, 1), (20, 1, 2), (32, 1, 2), (128, 6, 7), (512, 25, 26)]
)
def test_equal_variances(num_units: int, exact: int, authors: int) -> None:
    """FACTS section 7: floor(n / 20) units are redundant, and one more in the authors' way of counting."""
    assert count_redundant(np.ones(num_units)) == exact
    assert count_redundant(np.ones(num_units), rule="authors") == authors


def test_rounding_does_not_move_the_line() -> None:
    """With n = 20 m the m-th sum lies exactly on the line; a running sum without allowance misses it for some n."""
    sizes = range(20, 2001, 20)
    shares = [np.full(n, 0.1) / np.full(n, 0.1).sum() for n in sizes]
    assert [count_redundant(share) for share in shares] == [n // 20 for n in sizes]
    naive = [int((np.cumsum(share) <= 1 - 0.95).sum()) for share in shares]
    assert naive != [n // 20 for n in sizes]


@SEARCH
@given(variances=VARIANCES, twentieths=TWENTIETHS)
def test_the_fewest_components_that_hold_the_share(variances: list[int], twentieths: int) -> None:
    wanted = Fraction(twentieths, 20) * sum(variances)
    largest = sorted(variances, reverse=True)
    fewest = next(k for k in range(len(largest) + 1) if sum(largest[:k]) >= wanted)
    assert count_components(np.array(variances), twentieths / 20) == fewest


@SEARCH
@given(variances=VARIANCES.filter(any), twentieths=TWENTIETHS)
def test_the_authors_count_the_one_that_crosses_too(variances: list[int], twentieths: int) -> None:
    allowed = (1 - Fraction(twentieths, 20)) * sum(variances)
    smallest = sorted(variances)
    within = max(m for m in range(len(smallest) + 1) if sum(smallest[:m]) <= allowed)
    assert count_redundant(np.array(variances), twentieths / 20, rule="authors") == min(within + 1, len(variances))


@SEARCH
@given(variances=VARIANCES, factor=st.sampled_from([1e-12, 3, 1e12]))
def test_neither_scale_nor_order_matters(variances: list[int], factor: float) -> None:
    assert count_components(factor * np.array(variances[::-1])) == count_components(np.array(variances))


def test_a_dead_layer_is_wholly_redundant() -> None:
    assert count_redundant(np.zeros(7)) == 7
    assert count_redundant(np.zeros(7), rule="authors") == 1


@pytest.mark.parametrize("seed", range(5))
def test_as_many_components_as_scikit_learn_keeps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(2, 15))
    samples = rng.normal(size=(300, rank)) * np.geomspace(1, 0.05, rank) @ rng.normal(size=(rank, 40))
    samples += 0.01 * rng.normal(size=samples.shape) + 5
    kept = PCA(n_components=0.95, svd_solver="full").fit(samples).n_components_
    assert count_components(principal_variances(np.cov(samples, rowvar=False))) == kept
    # Without centring the offset would be the only component.
    assert count_components(principal_variances(samples.T @ samples)) != kept


def test_variances_are_those_of_the_singular_values(rng: np.random.Generator) -> None:
    samples = rng.normal(size=(50, 8)) @ rng.normal(size=(8, 8))
    singular = np.linalg.svd(samples - samples.mean(axis=0), compute_uv=False)
    found = principal_variances(np.cov(samples, rowvar=False))
    np.testing.assert_allclose(found, singular**2 / 49, rtol=1e-9)


def test_rounding_leaves_no_negative_variance() -> None:
    copies = np.cov(np.tile(np.random.default_rng(0).normal(size=(1, 50)), (6, 1)))
    assert np.linalg.eigvalsh(copies).min() < 0
    assert principal_variances(copies).min() == 0


@pytest.mark.parametrize("fraction", [0, -0.1, 1.01, np.nan])
def test_a_fraction_outside_its_range_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match=r"variance_fraction: expected a number in \(0, 1\]"):
        count_components(np.ones(3), fraction)


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="rule: expected 'exact' or 'authors', received 'mine'"):
        count_components(np.ones(3), rule="mine")
