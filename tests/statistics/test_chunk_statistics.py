"""Errors of chunks, clones, and random chunks of which every one is equally likely."""

import io

import numpy as np
import pytest
from scipy import stats

from tfunits.statistics import ChunkErrors, check_sizes, chunk_sizes, draw_chunks, first_at_most

# A correct draw fails a test of uniformity at this p-value once in ten thousand seeds.
LEAST_P = 1e-4
SIZES = (1, 2, 4)
# A hundred examples; three draws; the whole layer of four units errs on one.
WRONG = np.array([[50, 40, 60], [3, 0, 2], [1, 1, 1]])


@pytest.fixture
def errors(rng: np.random.Generator) -> ChunkErrors:
    draws = np.zeros((3, 3, 100), bool)
    for i, j in np.ndindex(3, 3):
        draws[i, j, rng.permutation(100)[: WRONG[i, j]]] = True
    draws[2] = draws[2, 0]
    return ChunkErrors(
        sizes=np.array(SIZES), num_examples=100, num_wrong=draws.sum(axis=2), wrong_draws=draws.sum(axis=1)
    )


def test_errors_by_hand(errors: ChunkErrors) -> None:
    assert errors.width == 4
    np.testing.assert_allclose(errors.errors, [0.5, 5 / 300, 0.01], rtol=1e-15)
    np.testing.assert_allclose(errors.error_std, [0.1, np.std([0.03, 0, 0.02], ddof=1), 0], rtol=1e-12)
    # Every wrong answer is counted once by draw and once by example.
    np.testing.assert_array_equal(errors.wrong_draws.sum(axis=1), errors.num_wrong.sum(axis=1))
    np.testing.assert_allclose(errors.wrong_shares.mean(axis=1), errors.errors, rtol=1e-15)
    assert (errors.wrong_shares.min(), errors.wrong_shares.max()) == (0, 1)
    frame = errors.to_frame()
    assert (list(frame.index), frame.index.name) == ([1, 2, 4], "chunk")
    np.testing.assert_array_equal(frame["error"], errors.errors)
    np.testing.assert_array_equal(frame["error_std"], errors.error_std)
    assert "100 examples, 3 draws" in str(errors)


def test_one_draw_has_no_deviation(errors: ChunkErrors) -> None:
    one = ChunkErrors(
        sizes=errors.sizes, num_examples=100, num_wrong=errors.num_wrong[:, :1], wrong_draws=errors.wrong_draws
    )
    assert np.isnan(one.error_std).all()


@pytest.mark.parametrize(
    ("limit", "size"), [(0.01, 4), (0.016, 4), (5 / 300, 2), (0.02, 2), (0.49, 2), (0.5, 1), (0.009, None), (0, None)]
)
def test_a_clone_is_the_smallest_chunk_within_the_limit(limit: float, size: int | None, errors: ChunkErrors) -> None:
    assert errors.clone_size(limit) == size
    assert errors.num_clones(limit) == (None if size is None else 4 / size)


def test_a_clone_errs_on_at_most_one_percent_unless_said_otherwise(errors: ChunkErrors) -> None:
    assert (errors.clone_size(), errors.num_clones()) == (4, 1)
    assert isinstance(errors.clone_size(), int)


def test_the_first_size_within_the_limit_counts_though_a_larger_one_errs_more() -> None:
    assert first_at_most([8, 1, 4, 2], [0.0, 0.5, 0.3, 0.01], 0.01) == 2
    assert first_at_most(np.array([1.0, 2.0]), np.array([0.5, 0.2]), 0.1) is None
    assert type(first_at_most(np.array([3, 4]), np.array([0.0, 0.0]), 0.1)) is int
    with pytest.raises(ValueError, match="zip"):
        first_at_most([1, 2], [0.5], 0.1)


@pytest.mark.parametrize("width", range(1, 70))
def test_sizes_double_up_to_the_width(width: int) -> None:
    sizes = chunk_sizes(width)
    assert (sizes[0], sizes[-1]) == (1, width)
    assert all(2 * a == b for a, b in zip(sizes[:-2], sizes[1:-1], strict=True))
    assert width == 1 or sizes[-2] < width <= 2 * sizes[-2]


def test_a_layer_without_units_has_no_chunk() -> None:
    with pytest.raises(ValueError, match="width: expected at least 1, received 0"):
        chunk_sizes(0)


@pytest.mark.parametrize(
    ("given", "sizes"), [(None, [1, 2, 4, 6]), ([3], [3, 6]), ([6, 2, 2.0, 1], [1, 2, 6]), (np.array([5]), [5, 6])]
)
def test_the_whole_layer_is_always_among_the_sizes(given: list | None, sizes: list) -> None:
    assert check_sizes(given, 6) == sizes


@pytest.mark.parametrize("given", [[], [0], [-1, 2], [7], [1.5]])
def test_sizes_that_the_layer_does_not_have_are_refused(given: list) -> None:
    with pytest.raises(ValueError, match="sizes: expected whole numbers from 1 to the layer's 6 units, received"):
        check_sizes(given, 6)


def test_a_draw_is_a_function_of_seed_size_and_number() -> None:
    few, many = draw_chunks(20, 5, 3, seed=1), draw_chunks(20, 5, 30, seed=1)
    assert (many.shape, many.dtype) == ((30, 5), np.int64)
    np.testing.assert_array_equal(few, many[:3])
    assert len({tuple(chunk) for chunk in many}) == 30
    for other in (draw_chunks(20, 5, 3, seed=2), draw_chunks(20, 6, 3, seed=1)[:, :5]):
        assert not (few == other).all(axis=1).any()


def test_units_are_not_repeated_in_a_chunk() -> None:
    for size in (1, 7, 19):
        chunks = draw_chunks(20, size, 50)
        assert all(len(set(chunk)) == size for chunk in chunks.tolist())
        assert (chunks.min(), chunks.max()) == (0, 19)


@pytest.mark.parametrize("draws", [1, 5])
def test_the_whole_layer_is_drawn_once_in_its_own_order(draws: int) -> None:
    np.testing.assert_array_equal(draw_chunks(9, 9, draws), [np.arange(9)])


def test_every_chunk_is_equally_likely(rng: np.random.Generator) -> None:
    """All 20 chunks of three out of six units."""
    chunks = np.sort(draw_chunks(6, 3, 40_000), axis=1)
    _, counts = np.unique(chunks, axis=0, return_counts=True)
    assert len(counts) == 20
    assert stats.chisquare(counts).pvalue > LEAST_P
    # Negative control: one unit is drawn a tenth more often than the others.
    weights = np.array([1.1, 1, 1, 1, 1, 1]) / 6.1
    chunks = [tuple(sorted(rng.choice(6, 3, replace=False, p=weights))) for _ in range(40_000)]
    _, counts = np.unique(chunks, axis=0, return_counts=True)
    assert stats.chisquare(counts).pvalue < LEAST_P


def test_errors_survive_npz(errors: ChunkErrors) -> None:
    file = io.BytesIO()
    np.savez(file, **errors.to_arrays())
    file.seek(0)
    with np.load(file) as stored:
        again = ChunkErrors.from_arrays(stored)
    assert type(again.num_examples) is int
    assert again.to_frame().equals(errors.to_frame())
    for name in ("sizes", "num_wrong", "wrong_draws"):
        np.testing.assert_array_equal(getattr(again, name), getattr(errors, name))
