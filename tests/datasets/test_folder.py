"""A user's folder of images."""

import functools
import os

import numpy as np
import pytest
import tensorflow as tf
from disk_forms import jpeg, make_photograph, write_folder

from tfunits import datasets
from tfunits.datasets import photographs
from tfunits.datasets.folder import FileSplit

load = functools.cache(datasets.load)


def picture(rng: np.random.Generator, kind: str) -> bytes:
    image = make_photograph(rng, *rng.integers(40, 70, 2))
    return jpeg(image) if kind == "jpg" else tf.io.encode_png(image).numpy()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    """Sixty JPEGs and PNGs in three classes of 30, 20 and 10."""
    rng = np.random.default_rng(4)
    files = {}
    for name, count in {"cat": 30, "dog": 20, "owl": 10}.items():
        kinds = {f"{name}/{i}": "png" if i % 2 else "jpg" for i in range(count)}
        files |= {f"{path}.{kind}": picture(rng, kind) for path, kind in kinds.items()}
    return "folder:" + write_folder(tmp_path_factory.mktemp("images"), files)


@pytest.fixture(scope="module")
def divided(tmp_path_factory) -> str:
    """A folder with splits of its own, one of them under ImageNet's name."""
    rng = np.random.default_rng(6)
    files = {
        f"{split}/{name}/{i}.jpg": picture(rng, "jpg")
        for split, count in {"train": 12, "val": 3, "test": 4}.items()
        for name in ("a", "b")
        for i in range(count)
    }
    return "folder:" + write_folder(tmp_path_factory.mktemp("divided"), files)


def collect(batches: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    pairs = list(batches)
    return np.concatenate([x for x, _ in pairs]), np.concatenate([y for _, y in pairs])


class TestSplits:
    def test_are_80_10_10_of_every_class(self, folder):
        data = load(folder)
        assert (data.num_classes, data.input_shape, data.augmentable) == (3, (32, 32, 3), True)
        counts = {split: np.bincount(part.labels, minlength=3) for split, part in data.splits.items()}
        assert {split: count.sum() for split, count in counts.items()} == {"train": 48, "validation": 6, "test": 6}
        for count in counts.values():
            assert np.abs(count - count.sum() * np.array([30, 20, 10]) / 60).max() < 1.5

    def test_are_disjoint_and_follow_the_data_seed(self, folder):
        first, again, other = (load(folder, data_seed=seed).splits for seed in (0, 0, 1))
        everything = np.concatenate([part.paths for part in first.values()])
        assert len(set(everything)) == len(everything) == 60
        for split in first:
            assert set(first[split].paths) == set(again[split].paths)
            assert set(first[split].paths) != set(other[split].paths)

    def test_labels_are_the_sorted_names_of_the_classes(self, folder):
        for part in load(folder).splits.values():
            assert [["cat", "dog", "owl"].index(os.fsdecode(path).split("/")[-2]) for path in part.paths] == list(
                part.labels
            )

    def test_fewer_examples_lie_inside_more_and_keep_the_shares(self, folder, divided):
        for name, total in ((folder, 48), (divided, 24)):
            smaller = set()
            for count in (6, 12, total):
                splits = load(name, num_examples=count).splits
                assert smaller <= set(splits["train"].paths)
                smaller = set(splits["train"].paths)
                assert len(smaller) == count
                assert set(splits["test"].paths) == set(load(name).splits["test"].paths)
                shares = np.bincount(load(name).splits["train"].labels) * count / total
                assert np.abs(np.bincount(splits["train"].labels, minlength=len(shares)) - shares).max() < 1.5

    def test_a_folders_own_are_kept(self, divided):
        splits = load(divided).splits
        assert {split: len(part) for split, part in splits.items()} == {"train": 24, "validation": 6, "test": 8}
        assert list(splits) == ["train", "validation", "test"]
        for split, part in splits.items():
            below = "val" if split == "validation" else split
            assert all(f"/{below}/" in os.fsdecode(path) for path in part.paths)
            assert sorted(part.paths) == list(part.paths)


class TestInputs:
    @pytest.mark.parametrize("form", ["image32", "image224", "image299"])
    def test_are_the_preprocessed_files(self, folder, form):
        data = load(folder, preprocessing=form)
        images, labels = collect(data.batches("test", 4))
        np.testing.assert_array_equal(labels, data.splits["test"].labels)
        for image, path in zip(images, data.splits["test"].paths, strict=True):
            np.testing.assert_array_equal(image, photographs.FORMS[form].evaluate(tf.io.read_file(path)))

    def test_a_wrong_suffix_does_no_harm(self, rng, tmp_path):
        image = picture(rng, "png")
        files = {f"{name}/{i}.jpg": image for name in ("a", "b") for i in range(10)}
        images, _ = collect(load("folder:" + write_folder(tmp_path, files)).train)
        np.testing.assert_allclose(images[0], photographs.FORMS["image32"].evaluate(image))

    def test_random_and_background_labels(self, folder):
        true, drawn = (load(folder, random_labels=r, background_class=r) for r in (False, True))
        assert (true.num_classes, drawn.num_classes) == (3, 4)
        assert 0.1 < np.mean(drawn.splits["train"].labels - 1 == true.splits["train"].labels) < 0.6
        np.testing.assert_array_equal(drawn.splits["test"].labels, true.splits["test"].labels + 1)
        np.testing.assert_array_equal(collect(drawn.train)[1], drawn.splits["train"].labels)


class TestEpochs:
    def test_hold_every_example_once_in_an_order_of_seed_and_epoch(self, folder):
        data = load(folder)
        images, _ = collect(data.epoch(0, 0, 7))
        plain, _ = collect(data.train)
        places = [int(np.flatnonzero((plain == image).all(axis=(1, 2, 3)))[0]) for image in images]
        assert sorted(places) == list(range(48))
        np.testing.assert_array_equal(collect(data.epoch(0, 0, 48))[0], images)
        for epoch, seed in ((1, 0), (0, 1)):
            assert not np.array_equal(collect(data.epoch(epoch, seed, 7))[0], images)

    @pytest.mark.parametrize("workers", [2, 4])
    def test_shards_together_hold_the_global_batches(self, folder, workers):
        data = load(folder)
        whole = list(data.epoch(3, 1, 12, augment=True))
        shards = [list(data.epoch(3, 1, 12 // workers, augment=True, shard=(w, workers))) for w in range(workers)]
        for step, (images, labels) in enumerate(whole):
            for worker, shard in enumerate(shards):
                np.testing.assert_array_equal(shard[step][0], images[worker::workers])
                np.testing.assert_array_equal(shard[step][1], labels[worker::workers])

    def test_augmentation_goes_by_seed_epoch_and_example(self, folder):
        data = load(folder)
        first, again, other, later = (
            collect(data.epoch(epoch, seed, size, augment=True, shuffle=False))[0]
            for epoch, seed, size in ((2, 5, 8), (2, 5, 48), (2, 6, 8), (3, 5, 8))
        )
        np.testing.assert_array_equal(first, again)
        for changed in (other, later, collect(data.train)[0]):
            assert (changed != first).any(axis=(1, 2, 3)).all()

    def test_equal_images_are_augmented_differently(self, folder):
        one = load(folder).splits["train"].paths[0]
        part = FileSplit(paths=np.array([one] * 20), labels=np.arange(20, dtype="int32"))
        data = datasets.Dataset(
            name="twenty", num_classes=20, splits={"train": part}, preprocessing=photographs.FORMS["image32"]
        )
        images, labels = collect(data.epoch(0, 0, 8, augment=True))
        assert len(np.unique(images, axis=0)) == 20
        half = datasets.Dataset(
            name="ten", num_classes=20, splits={"train": FileSplit(paths=part.paths[:10], labels=part.labels[:10])},
            preprocessing=photographs.FORMS["image32"],
        )  # fmt: skip
        few, few_labels = collect(half.epoch(0, 0, 8, augment=True))
        np.testing.assert_array_equal(few[np.argsort(few_labels)], images[np.argsort(labels)][:10])


class TestDamage:
    @pytest.mark.parametrize(
        "spoil",
        [
            lambda content: content[: len(content) // 2],
            lambda content: b"text",
            lambda content: b"",
            lambda c: b"II*\0" + c,
        ],
        ids=["truncated", "text", "empty", "a TIFF"],
    )
    def test_a_file_that_does_not_decode_is_named(self, rng, tmp_path, spoil):
        files = {f"{name}/{i}.jpg": picture(rng, "jpg") for name in ("a", "b") for i in range(10)}
        files["b/4.jpg"] = spoil(files["b/4.jpg"])
        data = datasets.load("folder:" + write_folder(tmp_path, files))
        with pytest.raises(tf.errors.OpError) as caught:
            [collect(data.batches(split)) for split in data.splits]
        expected = f"{tmp_path}/b/4.jpg: expected a whole JPEG, PNG, BMP or GIF image, received a file that does not"
        assert str(data.explain(caught.value)).startswith(expected)

    def test_a_file_that_is_gone_is_named(self, rng, tmp_path):
        files = {f"{name}/{i}.jpg": picture(rng, "jpg") for name in ("a", "b") for i in range(10)}
        data = datasets.load("folder:" + write_folder(tmp_path, files))
        (tmp_path / "a" / "7.jpg").unlink()
        assert str(data.explain(tf.errors.NotFoundError(None, None, ""))).startswith(f"{tmp_path}/a/7.jpg: expected")

    def test_a_folder_that_has_changed_is_refused(self, folder):
        with pytest.raises(ValueError, match=f"--dataset={folder}: expected the images with which the run was begun"):
            datasets.load(folder, folder_sha256="0" * 64, folder_counts=(3, 48, 6, 6))

    def test_sound_files_explain_nothing(self, folder):
        assert load(folder).explain(tf.errors.InvalidArgumentError(None, None, "of another kind")) is None


def test_names_that_are_not_utf8_are_read(tmp_path, rng):
    image = picture(rng, "png")
    write_folder(tmp_path, {f"{label}/{i}.png": image for label in ("cat", "dog") for i in range(6)})
    os.rename(tmp_path / "cat" / "0.png", os.fsencode(tmp_path / "cat") + b"/\xff.png")
    inputs, labels = next(iter(datasets.load(f"folder:{tmp_path}", preprocessing="image32").epoch(0, 0, 8)))
    assert (inputs.shape, labels.shape) == ((8, 32, 32, 3), (8,))
