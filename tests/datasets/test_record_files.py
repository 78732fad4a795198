"""ImageNet's record files, read back through `datasets.load`: order, shards, labels, damage."""

import functools
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
from disk_forms import jpeg, write_prepared, write_record

from tfunits import datasets
from tfunits.datasets import photographs, records

load = functools.cache(datasets.load)


@pytest.fixture
def data(imagenet_dir) -> datasets.Dataset:
    """Fifty-one training examples in five files of twelve, three held back; inputs of their own size are too large."""
    return small(load("imagenet2012", data_dir=str(imagenet_dir), validation_examples=9))


def small(data: datasets.Dataset) -> datasets.Dataset:
    """The same data with inputs of 32x32, which are made faster."""
    return datasets.Dataset(
        name=data.name, num_classes=data.num_classes, splits=data.splits, preprocessing=photographs.FORMS["image32"]
    )


def collect(batches: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    pairs = list(batches)
    return np.concatenate([x for x, _ in pairs]), np.concatenate([y for _, y in pairs])


def labels_of(batches: tf.data.Dataset) -> np.ndarray:
    return collect(batches)[1]


class TestSplits:
    def test_published_validation_images_are_the_test_set(self, imagenet_dir):
        data = load("imagenet2012", data_dir=str(imagenet_dir))
        assert {split: len(part) for split, part in data.splits.items()} == {"train": 54, "validation": 6, "test": 22}
        assert (data.num_classes, data.input_shape, data.augmentable) == (1000, (224, 224, 3), True)
        np.testing.assert_array_equal(np.sort(data.splits["test"].labels), np.arange(22))

    @pytest.mark.parametrize("options", [{}, {"data_seed": 5}, {"split": "ordered", "validation_examples": 13}])
    def test_training_and_validation_examples_are_disjoint_and_exhaustive(self, imagenet_dir, options):
        splits = load("imagenet2012", data_dir=str(imagenet_dir), **options).splits
        both = np.concatenate([splits["train"].labels, splits["validation"].labels])
        np.testing.assert_array_equal(np.sort(both), np.arange(60))

    def test_validation_examples_follow_the_data_seed_and_lie_in_few_files(self, imagenet_dir):
        drawn = []
        for seed in (0, 0, 1, 2):
            part = datasets.load(
                "imagenet2012", data_dir=str(imagenet_dir), data_seed=seed, validation_examples=15
            ).splits["validation"]
            drawn.append(tuple(part.members))
            assert len({member // 12 for member in part.members}) == 2
        assert drawn[0] == drawn[1]
        assert len(set(drawn)) == 3

    def test_fewer_examples_lie_inside_more(self, imagenet_dir):
        whole = load("imagenet2012", data_dir=str(imagenet_dir)).splits
        smaller = set()
        for count in (5, 20, 54):
            data = small(load("imagenet2012", data_dir=str(imagenet_dir), num_examples=count))
            few = data.splits
            np.testing.assert_array_equal(labels_of(data.train), few["train"].labels)
            assert smaller <= set(few["train"].members) <= set(whole["train"].members)
            np.testing.assert_array_equal(few["validation"].members, whole["validation"].members)
            smaller = set(few["train"].members)

    def test_published_validation_images_can_stand_alone(self, tmp_path):
        rows = [{"file_name": "a", "image": np.zeros((40, 40, 3), np.uint8), "label": 3}] * 2
        rows = [{**row, "file_name": str(i)} for i, row in enumerate(rows)]
        write_prepared(tmp_path, "imagenet2012", {"validation": rows})
        data = datasets.load("imagenet2012", data_dir=str(tmp_path))
        assert list(data.splits) == ["test"]
        assert data.input_shape == (224, 224, 3)
        with pytest.raises(ValueError, match="split: expected one of test, received 'train'"):
            data.epoch(0, 0, 1)


class TestInputs:
    @pytest.mark.parametrize("form", ["image224", "image299"])
    def test_are_the_preprocessed_images(self, imagenet_dir, form):
        data = load("imagenet2012", data_dir=str(imagenet_dir), preprocessing=form)
        inputs, labels = next(iter(data.batches("test", 4)))
        assert (inputs.dtype, labels.dtype) == (tf.float32, tf.int32)
        stored = data.splits["test"].records
        for image, record in zip(inputs, tf.data.TFRecordDataset(stored.paths[0]), strict=False):
            expected = photographs.FORMS[form].evaluate(stored.parse(record)["image"])
            np.testing.assert_array_equal(image, expected)

    def test_labels_are_those_of_the_files(self, data):
        for split, part in data.splits.items():
            images, labels = collect(data.batches(split, 8))
            np.testing.assert_array_equal(labels, part.labels)
            assert part.labels.dtype == np.int32
            assert len(images) == len(part)

    def test_random_and_background_labels(self, imagenet_dir):
        options = {"random_labels": True, "background_class": True, "validation_examples": 9}
        true, drawn = (load("imagenet2012", data_dir=str(imagenet_dir), validation_examples=9),
                       load("imagenet2012", data_dir=str(imagenet_dir), **options))  # fmt: skip
        assert drawn.num_classes == 1001
        for split in ("train", "validation"):
            expected = drawn.splits[split].labels
            assert np.mean(expected - 1 == true.splits[split].labels) < 0.1
            assert 1 <= expected.min() <= expected.max() <= 1000
            np.testing.assert_array_equal(labels_of(small(drawn).batches(split)), expected)
        np.testing.assert_array_equal(drawn.splits["test"].labels, true.splits["test"].labels + 1)
        np.testing.assert_array_equal(labels_of(small(drawn).test), drawn.splits["test"].labels)
        order = labels_of(small(true).epoch(0, 0, 10)), labels_of(small(drawn).epoch(0, 0, 10))
        lookup = dict(zip(true.splits["train"].labels, drawn.splits["train"].labels, strict=True))
        np.testing.assert_array_equal([lookup[label] for label in order[0]], order[1])

    def test_numbers_of_batches_are_known(self, data):
        assert int(data.epoch(0, 0, 8).cardinality()) == int(data.batches("train", 8).cardinality()) == 7


class TestOrder:
    def test_an_epoch_is_a_permutation(self, data):
        labels = labels_of(data.epoch(0, 0, 8))
        np.testing.assert_array_equal(np.sort(labels), np.sort(data.splits["train"].labels))
        np.testing.assert_array_equal(labels_of(data.epoch(0, 0, 8, shuffle=False)), data.splits["train"].labels)
        neighbours = np.diff([np.flatnonzero(data.splits["train"].labels == label)[0] for label in labels])
        assert np.mean(np.abs(neighbours) == 1) < 0.2

    def test_is_a_function_of_seed_and_epoch(self, data):
        first = labels_of(data.epoch(2, 7, 8))
        for process_seed in (1, 2):
            tf.random.set_seed(process_seed)
            np.testing.assert_array_equal(labels_of(data.epoch(2, 7, 8)), first)
        for epoch, seed in ((3, 7), (2, 8), (7, 2)):
            assert np.mean(labels_of(data.epoch(epoch, seed, 8)) == first) < 0.2

    def test_tensorflows_shuffle_would_follow_the_processs_seed(self):
        orders = []
        for process_seed in (1, 2):
            tf.random.set_seed(process_seed)
            orders.append([*tf.data.Dataset.range(20).shuffle(20, seed=3).as_numpy_iterator()])
        assert orders[0] != orders[1]

    def test_small_buffers_still_read_every_example_once(self, data, monkeypatch):
        monkeypatch.setattr(records, "_SHUFFLED_TOGETHER", 3)
        monkeypatch.setattr(records, "_OPEN_FILES", 2)
        near = labels_of(data.epoch(0, 0, 8))
        np.testing.assert_array_equal(np.sort(near), np.sort(data.splits["train"].labels))

    @pytest.mark.parametrize("batch_size", [1, 7, 51])
    @pytest.mark.parametrize("augment", [True, False])
    def test_batch_size_only_cuts_the_order_differently(self, data, batch_size, augment):
        sizes = [len(labels) for _, labels in data.epoch(1, 0, batch_size, augment=augment)]
        assert sizes == [len(part) for part in np.split(np.arange(51), range(batch_size, 51, batch_size))]
        received = zip(collect(data.epoch(1, 0, batch_size, augment=augment)),
                       collect(data.epoch(1, 0, 8, augment=augment)), strict=True)  # fmt: skip
        for given, expected in received:
            np.testing.assert_array_equal(given, expected)

    @pytest.mark.parametrize("threads", [1, 8])
    def test_parallelism_does_not_matter(self, data, threads):
        options = tf.data.Options()
        options.threading.private_threadpool_size = threads
        options.autotune.enabled = False
        received = collect(data.epoch(1, 0, 8, augment=True).with_options(options))
        for given, expected in zip(received, collect(data.epoch(1, 0, 8, augment=True)), strict=True):
            np.testing.assert_array_equal(given, expected)


class TestShards:
    @pytest.mark.parametrize("workers", [2, 7])
    def test_hold_every_example_once_and_equally_many(self, data, workers):
        for make, split in ((lambda shard: data.epoch(1, 0, 2, shard=shard), "train"),
                            (lambda shard: data.batches("train", 2, shard=shard), "train"),
                            (lambda shard: data.batches("test", 2, shard=shard), "test")):  # fmt: skip
            parts = [labels_of(make((worker, workers))) for worker in range(workers)]
            expected = data.splits[split].labels
            np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.sort(expected))
            assert [len(part) for part in parts] == [len(expected[w::workers]) for w in range(workers)]

    def test_read_few_files_each(self, data, monkeypatch):
        opened = []
        read_file = records._read_file

        def note(path: tf.Tensor, length: tf.Tensor) -> tf.data.Dataset:
            tf.py_function(lambda p: opened.append(p.numpy()), [path], [])
            return read_file(path, length)

        monkeypatch.setattr(records, "_read_file", note)
        for worker in range(3):
            opened.clear()
            labels_of(data.epoch(0, 0, 2, shard=(worker, 3)))
            assert 2 <= len(opened) <= 3

    def test_go_to_other_readers_in_other_epochs(self, data):
        first, second = (set(labels_of(data.epoch(epoch, 0, 2, shard=(0, 3)))) for epoch in (0, 1))
        assert first != second

    def test_augment_as_one_reader_does(self, data):
        images, labels = collect(data.epoch(2, 5, 8, augment=True))
        whole = dict(zip(labels, images, strict=True))
        for worker in range(2):
            for image, label in zip(*collect(data.epoch(2, 5, 4, augment=True, shard=(worker, 2))), strict=True):
                np.testing.assert_array_equal(image, whole[label])
        for image, label in zip(*collect(data.epoch(2, 5, 4, augment=True, shuffle=False)), strict=True):
            np.testing.assert_array_equal(image, whole[label])
        later, labels = collect(data.epoch(3, 5, 8, augment=True))
        assert np.mean([np.array_equal(image, whole[label]) for image, label in zip(later, labels, strict=True)]) < 0.1


class TestDamage:
    @pytest.fixture
    def copy(self, imagenet_dir, tmp_path) -> pathlib.Path:
        shutil.copytree(imagenet_dir, tmp_path, dirs_exist_ok=True)
        return tmp_path / "imagenet2012" / "5.1.0"

    def explain(self, copy: pathlib.Path) -> str:
        """What a run says after its error; the error is one that `explain` knows."""
        data = small(datasets.load("imagenet2012", data_dir=str(copy.parents[1])))
        with pytest.raises(tf.errors.OpError) as caught:
            labels_of(data.epoch(0, 0, 8, augment=True).concatenate(data.validation))
        explained = data.explain(caught.value)
        assert "\n" not in str(explained)
        return str(explained)

    def rewrite(self, path: pathlib.Path, changed: int, record: bytes | None) -> None:
        """Put another record in place of one, or take it out."""
        rows = [*tf.data.TFRecordDataset(str(path)).as_numpy_iterator()]
        rows[changed : changed + 1] = [] if record is None else [record]
        with tf.io.TFRecordWriter(str(path)) as writer:
            for row in rows:
                writer.write(row)

    @pytest.mark.parametrize(
        ("change", "sound"),
        [
            (lambda content: content[:-1], 11),
            (lambda content: content[:20] + bytes([content[20] ^ 1]) + content[21:], 0),
        ],
        ids=["truncated", "flipped byte"],
    )
    def test_a_damaged_file_is_named(self, copy, change, sound):
        (path,) = copy.glob("imagenet2012-train*-00002-of-00005")
        path.write_bytes(change(path.read_bytes()))
        expected = f"{path}: expected 12 whole records with an image and a label from 0 to 999, received {sound} before"
        assert self.explain(copy).startswith(expected)

    @pytest.mark.parametrize(
        "record",
        [
            write_record(b"no image", 5),
            write_record(jpeg(np.zeros((30, 30, 3), np.uint8))[:-40], 5),
            write_record(jpeg(np.zeros((30, 30, 3), np.uint8)), 1000),
            write_record(jpeg(np.zeros((30, 30, 3), np.uint8)), -1),
            b"no example",
            None,
        ],
        ids=["no image", "truncated image", "label 1000", "label -1", "no example", "one record gone"],
    )
    def test_a_wrong_record_is_named(self, copy, record):
        (path,) = copy.glob("imagenet2012-train*-00003-of-00005")
        self.rewrite(path, 4, record)
        sound = 11 if record is None else 4
        explained = self.explain(copy)
        assert explained.startswith(f"{path}: expected 12 whole records")
        assert f"received {sound} before the first that is not; remove {copy} and prepare" in explained

    def test_a_missing_file_is_named(self, copy):
        (path,) = copy.glob("imagenet2012-train*-00000-of-00005")
        path.unlink()
        assert self.explain(copy).startswith(f"{path}: expected 12 whole records")

    def test_sound_files_explain_nothing(self, data):
        assert data.explain(tf.errors.InvalidArgumentError(None, None, "of another kind")) is None
        assert data.explain(tf.errors.ResourceExhaustedError(None, None, "memory")) is None
