"""Index sets drawn from the data seed."""

import numpy as np
import pytest

from tfunits.configs import DataConfig
from tfunits.datasets.splits import check_labels, divide, interleave_classes


def cut(count: int, order: np.ndarray | None = None, **options: object) -> dict[str, np.ndarray]:
    return divide(DataConfig(dataset="cifar10", **options), count, order)


def test_published_pools_are_cut_as_published():
    assert {name: len(index) for name, index in cut(50_000).items()} == {"train": 45_000, "validation": 5_000}
    assert {name: len(index) for name, index in cut(500).items()} == {"train": 450, "validation": 50}


@pytest.mark.parametrize("split", ["random", "ordered"])
@pytest.mark.parametrize("validation_examples", [0, 1, 30, 199])
def test_sets_are_disjoint_exhaustive_and_sorted(split, validation_examples):
    index = cut(200, split=split, validation_examples=validation_examples)
    assert len(index["validation"]) == validation_examples
    np.testing.assert_array_equal(np.sort(np.concatenate(list(index.values()))), np.arange(200))
    assert all((np.diff(part) > 0).all() for part in index.values())


def test_random_sets_follow_the_data_seed():
    first, again, other = (cut(200, data_seed=seed) for seed in (4, 4, 5))
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
        assert not np.array_equal(first[name], other[name])


def test_ordered_sets_are_the_authors():
    index = cut(50_000, split="ordered", validation_examples=2_500)
    np.testing.assert_array_equal(index["train"], np.arange(47_500))
    np.testing.assert_array_equal(index["validation"], np.arange(47_500, 50_000))
    few = cut(50_000, split="ordered", validation_examples=2_500, num_examples=100)
    np.testing.assert_array_equal(few["train"], np.arange(100))
    np.testing.assert_array_equal(few["validation"], index["validation"])


def test_smaller_training_sets_lie_inside_larger_ones_and_leave_validation_alone():
    whole, smaller = cut(300), set()
    for count in (1, 20, 100, 270):
        index = cut(300, num_examples=count)
        np.testing.assert_array_equal(index["validation"], whole["validation"])
        assert len(index["train"]) == count
        assert smaller <= set(index["train"]) <= set(whole["train"])
        smaller = set(index["train"])


def test_sets_are_taken_from_a_given_order():
    order = np.random.default_rng(0).permutation(100)
    index = cut(100, order, num_examples=30)
    np.testing.assert_array_equal(index["validation"], np.sort(order[:10]))
    np.testing.assert_array_equal(index["train"], np.sort(order[10:40]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation_examples": 100}, "--validation_examples=100: expected fewer than the 100 training images"),
        ({"num_examples": 91}, "--num_examples=91: expected at most the 90 training examples prepared here"),
        ({"num_examples": 81, "validation_examples": 20}, "--num_examples=81: expected at most the 80 training"),
    ],
)
def test_more_examples_than_there_are_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        cut(100, **options)


def test_every_start_of_interleaved_classes_has_their_shares():
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    order = interleave_classes(np.arange(100), labels, np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(order), np.arange(100))
    for count in range(1, 101):
        shares = np.array([0.6, 0.3, 0.1]) * count
        # Every class is within a half of its place, all of them together within three halves.
        assert np.abs(np.bincount(labels[order[:count]], minlength=3) - shares).max() <= 0.5 + 1.5 * 0.6
    shuffled = [np.random.default_rng(seed).permutation(100)[:50] for seed in range(5)]
    assert max(np.abs(np.bincount(labels[i], minlength=3) - [30, 15, 5]).max() for i in shuffled) > 1.5


@pytest.mark.parametrize("wrong", [-1, 10])
def test_a_label_outside_the_classes_is_refused(wrong):
    check_labels(np.arange(10), 10, "a.bin")
    with pytest.raises(ValueError, match=f"a.bin: expected labels from 0 to 9, received {wrong} in example 3"):
        check_labels(np.array([4, 5, wrong, wrong]), 10, "a.bin")
