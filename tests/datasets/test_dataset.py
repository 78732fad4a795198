"""Splits, batches and the order of an epoch."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

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


def test_order_does_not_depend_on_the_processs_seed(data):
    orders = []
    for seed in (1, 2):
        tf.random.set_seed(seed)
        orders.append(flatten(data.epoch(0, 0, 8))[0])
    np.testing.assert_array_equal(*orders)


def test_an_epoch_can_keep_the_splits_order(data):
    np.testing.assert_array_equal(flatten(data.epoch(3, 1, 8, shuffle=False))[0], np.arange(30))


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
@pytest.mark.parametrize("shuffle", [True, False])
def test_shards_together_hold_the_global_batches(data, workers, shuffle):
    whole = [inputs.numpy()[:, 0] for inputs, _ in data.epoch(4, 2, 12, shuffle=shuffle)]
    shards = [
        [inputs.numpy()[:, 0] for inputs, _ in data.epoch(4, 2, 12 // workers, shuffle=shuffle, shard=(w, workers))]
        for w in range(workers)
    ]
    for step, batch in enumerate(whole):
        parts = np.concatenate([shard[step] for shard in shards])
        np.testing.assert_array_equal(np.sort(parts), np.sort(batch))
    assert all(len(shard) == len(whole) for shard in shards)


@pytest.mark.parametrize("workers", [2, 3, 8])
def test_shards_of_a_split_hold_every_example_once(data, workers):
    parts = [flatten(data.batches("test", 2, shard=(w, workers))) for w in range(min(workers, 7))]
    for column, stored in enumerate((data.splits["test"].inputs[:, 0], data.splits["test"].labels)):
        np.testing.assert_array_equal(np.sort(np.concatenate([part[column] for part in parts])), np.sort(stored))
    assert max(len(part[0]) for part in parts) == -(-7 // workers)


@pytest.mark.parametrize("shard", [(2, 2), (-1, 2), (0, 0)])
def test_a_shard_beyond_their_number_is_refused(data, shard):
    with pytest.raises(ValueError, match="shard: expected .w, W. with 0 <= w < W, received"):
        data.batches("train", shard=shard)
    with pytest.raises(ValueError, match="shard: expected .w, W. with 0 <= w < W, received"):
        data.epoch(0, 0, 1, shard=shard)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_splits_come_in_their_own_order(data, split):
    inputs, labels = flatten(getattr(data, split))
    np.testing.assert_array_equal(inputs, data.splits[split].inputs[:, 0])
    np.testing.assert_array_equal(labels, data.splits[split].labels)
    np.testing.assert_array_equal(flatten(data.batches(split, 4))[0], inputs)


def test_input_shape_leaves_the_batch_axis_out(data):
    assert data.input_shape == (1,)


def test_numbers_of_batches_are_known(data):
    assert int(data.epoch(0, 0, 8).cardinality()) == int(data.batches("train", 8).cardinality()) == 4


def test_what_is_in_memory_is_not_damaged(data):
    assert data.explain(tf.errors.DataLossError(None, None, "elsewhere")) is None
    assert not data.augmentable


@pytest.mark.parametrize("batch_size", [0, -1, 31])
def test_a_batch_of_no_or_too_many_examples_is_refused(data, batch_size):
    with pytest.raises(ValueError, match=f"batch_size: expected 1 to 30, the training examples, received {batch_size}"):
        data.epoch(0, 0, batch_size)


def test_a_batch_larger_than_all_shards_is_refused(data):
    sizes = [[len(labels) for _, labels in data.epoch(0, 0, 8, shard=(worker, 4))] for worker in range(4)]
    assert sizes == [[8], [8], [7], [7]]
    with pytest.raises(ValueError, match="batch_size: expected 1 to 8, the training examples, received 9"):
        data.epoch(0, 0, 9, shard=(0, 4))


def test_augmentation_of_data_without_one_is_refused(data):
    with pytest.raises(ValueError, match="augment: expected False, since counted has no augmentation, received True"):
        data.epoch(0, 0, 8, augment=True)


def test_an_unknown_split_is_refused(data):
    with pytest.raises(ValueError, match="split: expected one of train, validation, test, received 'dev'"):
        data.batches("dev")


def test_an_empty_split_is_no_split(data):
    without = datasets.Dataset(name="two", num_classes=3, splits={s: data.splits[s] for s in ("train", "test")})
    with pytest.raises(ValueError, match="split: expected one of train, test, received 'validation'"):
        _ = without.validation


def test_a_split_has_one_label_an_example():
    with pytest.raises(ValueError, match="labels: expected 3, one per example, received 2"):
        datasets.Split(inputs=np.zeros((3, 1), "float32"), labels=np.zeros(2, "int32"))


@pytest.mark.parametrize("count", [1, 7, 10_000])
def test_the_first_examples_of_every_split(data, count):
    whole, few = ({s: flatten(d.batches(s)) for s in d.splits} for d in (data, data.first(count)))
    for split in whole:
        for expected, found in zip(whole[split], few[split], strict=True):
            np.testing.assert_array_equal(found, expected[:count])


def test_no_example_at_all_or_the_first_of_files_is_refused(data):
    with pytest.raises(ValueError, match="count: expected at least 1, received 0"):
        data.first(0)
    files = dataclasses.replace(data, splits={"train": object()})
    with pytest.raises(ValueError, match="--measured_examples=3: expected data held in memory, received"):
        files.first(3)
    with pytest.raises(ValueError, match="split: expected one held in memory, received 'train'"):
        files.resident("train")
    assert files.resident_bytes("train") is None


def test_resident_examples_are_the_split_and_their_bytes_are_counted(data):
    inputs, labels = data.resident("train")
    expected = flatten(data.batches("train"))
    np.testing.assert_array_equal(inputs[:, 0], expected[0])
    np.testing.assert_array_equal(labels, expected[1])
    assert data.resident("train")[0] is inputs
    assert data.resident_bytes("train") == inputs.numpy().nbytes


@pytest.mark.parametrize("shuffle", [True, False])
def test_positions_of_an_epoch_are_those_of_its_batches(data, shuffle):
    order = data.epoch_order(3, 5, shuffle=shuffle)
    inputs, labels = data.resident("train")
    found = flatten(data.epoch(3, 5, 8, shuffle=shuffle))
    np.testing.assert_array_equal(inputs.numpy()[order, 0], found[0])
    np.testing.assert_array_equal(labels.numpy()[order], found[1])


@pytest.mark.parametrize(("shape", "size"), [((10,), 1024), ((100,), 655), ((32, 32, 3), 128), ((10_000,), 128)])
def test_short_vectors_are_evaluated_in_larger_batches(shape, size):
    split = datasets.Split(inputs=np.zeros((1500, *shape), "uint8"), labels=np.zeros(1500, "int32"))
    data = datasets.Dataset(name="zeros", num_classes=2, splits={"test": split})
    assert len(next(iter(data.test))[1]) == size
