"""Splits, batches and the order of an epoch."""

import numpy as np
import pytest

from tfunits import datasets


@pytest.fixture
def data() -> datasets.Dataset:
    """Thirty training vectors whose only number is their index, ten validation and seven test ones."""
    bounds = {"train": (0, 30), "validation": (30, 40), "test": (40, 47)}
    splits = {
        name: datasets.Split(
            inputs=np.arange(first, last, dtype="float32")[:, None], labels=np.arange(first, last, dtype="int32") % 3
        )
        for name, (first, last) in bounds.items()
    }
    return datasets.Dataset(name="counted", num_classes=3, splits=splits)


def flatten(batches) -> tuple[np.ndarray, np.ndarray]:
    pairs = list(batches)
    return np.concatenate([x for x, _ in pairs])[:, 0], np.concatenate([y for _, y in pairs])


def test_an_epoch_is_a_permutation_of_the_training_examples(data):
    inputs, labels = flatten(data.epoch(0, 0, 8))
    np.testing.assert_array_equal(np.sort(inputs), np.arange(30))
    np.testing.assert_array_equal(labels, inputs % 3)
    assert not np.array_equal(inputs, np.arange(30))


def test_order_is_a_function_of_seed_and_epoch(data):
    first, again = (flatten(data.epoch(2, 7, 8))[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    for epoch, seed in ((3, 7), (2, 8), (7, 2)):
        assert not np.array_equal(first, flatten(data.epoch(epoch, seed, 8))[0])


def test_order_is_near_its_chance_of_repeating(data):
    orders = np.array([flatten(data.epoch(epoch, 0, 30))[0] for epoch in range(40)])
    # Each of 30 examples is expected once in 30 first places; 8 of 40 would be beyond chance.
    assert np.bincount(orders[:, 0].astype(int)).max() < 8


@pytest.mark.parametrize("batch_size", [1, 7, 30])
def test_batch_size_only_cuts_the_order_differently(data, batch_size):
    sizes = [len(labels) for _, labels in data.epoch(1, 0, batch_size)]
    assert sizes == [len(part) for part in np.split(np.arange(30), range(batch_size, 30, batch_size))]
    for given, expected in zip(flatten(data.epoch(1, 0, batch_size)), flatten(data.epoch(1, 0, 8)), strict=True):
        np.testing.assert_array_equal(given, expected)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_splits_come_in_their_own_order(data, split):
    inputs, labels = flatten(getattr(data, split))
    np.testing.assert_array_equal(inputs, data.splits[split].inputs[:, 0])
    np.testing.assert_array_equal(labels, data.splits[split].labels)
    np.testing.assert_array_equal(flatten(data.batches(split, 4))[0], inputs)


def test_input_shape_leaves_the_batch_axis_out(data):
    assert data.input_shape == (1,)


@pytest.mark.parametrize("batch_size", [0, -1, 31])
def test_a_batch_of_no_or_too_many_examples_is_refused(data, batch_size):
    with pytest.raises(ValueError, match=f"batch_size: expected 1 to 30, the training examples, received {batch_size}"):
        data.epoch(0, 0, batch_size)


def test_augmentation_of_data_without_one_is_refused(data):
    with pytest.raises(ValueError, match="augment: expected False, since counted has no augmentation, received True"):
        data.epoch(0, 0, 8, augment=True)


def test_an_unknown_split_is_refused(data):
    with pytest.raises(ValueError, match="split: expected one of train, validation, test, received 'dev'"):
        data.batches("dev")


def test_a_split_has_one_label_an_example():
    with pytest.raises(ValueError, match="labels: expected 3, one per example, received 2"):
        datasets.Split(inputs=np.zeros((3, 1), "float32"), labels=np.zeros(2, "int32"))
