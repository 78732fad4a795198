"""CIFAR and MNIST as they lie on disk, read back through `datasets.load`."""

import functools
import shutil

import numpy as np
import pytest
import reference
from disk_forms import write_prepared

from tfunits import datasets

load = functools.cache(datasets.load)
CIFARS = {"cifar10": 10, "cifar100": 100}


@pytest.fixture(params=["records", "binary"])
def cifar_root(request, cifar_dir, cifar_binary_dir) -> str:
    """A folder with both CIFARs in one of their two forms."""
    return str(cifar_dir if request.param == "records" else cifar_binary_dir)


class TestCifar:
    @pytest.mark.parametrize("name", CIFARS)
    def test_examples_are_those_of_the_files_in_their_order(self, name, cifar_root, cifar_arrays):
        data = load(name, data_dir=cifar_root, split="ordered", validation_examples=20)
        assert (data.name, data.num_classes, data.input_shape) == (name, CIFARS[name], (32, 32, 3))
        images, labels = (np.concatenate([data.splits[s].__dict__[field] for s in ("train", "validation")])
                          for field in ("inputs", "labels"))  # fmt: skip
        np.testing.assert_array_equal(images, cifar_arrays[name]["train"][0])
        np.testing.assert_array_equal(labels, cifar_arrays[name]["train"][1])
        np.testing.assert_array_equal(data.splits["test"].inputs, cifar_arrays[name]["test"][0])
        np.testing.assert_array_equal(data.splits["test"].labels, cifar_arrays[name]["test"][1])
        assert all(part.labels.dtype == np.int32 for part in data.splits.values())
        assert len(data.splits["validation"]) == 20

    @pytest.mark.parametrize("name", CIFARS)
    def test_both_forms_give_the_same_splits(self, name, cifar_dir, cifar_binary_dir):
        records, binary = (load(name, data_dir=str(d), data_seed=3).splits for d in (cifar_dir, cifar_binary_dir))
        assert {split: len(part) for split, part in records.items()} == {"train": 180, "validation": 20, "test": 40}
        for split, part in records.items():
            np.testing.assert_array_equal(part.inputs, binary[split].inputs)
            np.testing.assert_array_equal(part.labels, binary[split].labels)

    def test_all_images_can_train(self, cifar_root):
        data = load("cifar10", data_dir=cifar_root, validation_examples=0)
        assert {split: len(part) for split, part in data.splits.items()} == {"train": 200, "test": 40}

    @pytest.mark.parametrize(
        ("form", "expected"),
        [
            ("image32", reference.standardize),
            ("crop28", lambda x: reference.resize(reference.standardize(x[2:30, 2:30]), (32, 32))),
            ("normalized32", lambda x: (x / 255 - [0.4914, 0.4822, 0.4465]) / [0.247, 0.243, 0.261]),
            ("vector3072", lambda x: x.reshape(-1) / 255),
        ],
    )
    def test_inputs_are_preprocessed(self, cifar_dir, cifar_arrays, form, expected):
        data = load("cifar10", data_dir=str(cifar_dir), preprocessing=form)
        received = np.concatenate([inputs for inputs, _ in data.batches("test", 16)])
        np.testing.assert_allclose(received, [expected(x) for x in cifar_arrays["cifar10"]["test"][0]], atol=1e-4)
        assert data.augmentable == (form != "vector3072")

    def test_cifar100_has_its_own_statistics(self, cifar_dir, cifar_arrays):
        data = load("cifar100", data_dir=str(cifar_dir), preprocessing="normalized32")
        received = np.concatenate([inputs for inputs, _ in data.test])
        scaled = cifar_arrays["cifar100"]["test"][0] / 255
        np.testing.assert_allclose(received, (scaled - [0.5071, 0.4865, 0.4409]) / [0.2673, 0.2564, 0.2762], atol=1e-5)

    def test_training_epochs_augment_these_images(self, cifar_dir):
        data = load("cifar10", data_dir=str(cifar_dir))
        for augment in (True, False):
            images, labels = next(iter(data.epoch(0, 0, 180, augment=augment, shuffle=False)))
            np.testing.assert_array_equal(labels, data.splits["train"].labels)
            plain = np.array([reference.standardize(image) for image in data.splits["train"].inputs])
            same = np.isclose(images, plain, atol=1e-4).all(axis=(1, 2, 3))
            # One of 162 places and sides leaves an image as it is.
            assert same.mean() < 0.1 if augment else same.all()

    def test_random_and_background_labels(self, cifar_dir):
        true, drawn = (
            load("cifar10", data_dir=str(cifar_dir), random_labels=r, background_class=r) for r in (False, True)
        )
        assert drawn.num_classes == 11
        assert np.mean(true.splits["train"].labels == drawn.splits["train"].labels - 1) < 0.25
        np.testing.assert_array_equal(true.splits["test"].labels + 1, drawn.splits["test"].labels)
        assert set(drawn.splits["train"].labels) == set(range(1, 11))


class TestDamagedCifar:
    @pytest.fixture
    def copy(self, cifar_binary_dir, tmp_path):
        shutil.copytree(cifar_binary_dir, tmp_path, dirs_exist_ok=True)
        return tmp_path

    def test_a_truncated_file_is_named(self, copy):
        path = copy / "cifar-10-batches-bin" / "data_batch_3.bin"
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(
            ValueError, match=r"data_batch_3.bin: expected records of 3073 bytes, received 122919 bytes; unpack"
        ):
            datasets.load("cifar10", data_dir=str(copy))

    @pytest.mark.parametrize("content", [None, b""])
    def test_a_missing_or_empty_file_is_named(self, copy, content):
        path = copy / "cifar-100-binary" / "test.bin"
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        reason = "received No such file" if content is None else "expected records of 3074 bytes, received 0 bytes"
        with pytest.raises(ValueError, match=f"test.bin: .*{reason}"):
            datasets.load("cifar100", data_dir=str(copy))

    def test_a_label_outside_the_classes_is_named(self, copy):
        path = copy / "cifar-10-batches-bin" / "data_batch_2.bin"
        content = bytearray(path.read_bytes())
        content[5 * 3073] = 10
        path.write_bytes(content)
        with pytest.raises(ValueError, match="data_batch_2.bin: expected labels from 0 to 9, received 10 in example 6"):
            datasets.load("cifar10", data_dir=str(copy))

    def test_records_of_another_size_are_named(self, copy):
        shutil.move(copy / "cifar-10-batches-bin" / "test_batch.bin", copy / "cifar-100-binary" / "train.bin")
        with pytest.raises(ValueError, match="train.bin: expected records of 3074 bytes, received 122920 bytes"):
            datasets.load("cifar100", data_dir=str(copy))


class TestMnist:
    @pytest.mark.parametrize(
        ("form", "expected"),
        [
            ("image32", lambda x: reference.standardize(reference.resize(x, (32, 32))).repeat(3, axis=-1)),
            ("image28", lambda x: x / 255),
            ("vector784", lambda x: x.reshape(-1) / 255),
        ],
    )
    def test_inputs_are_preprocessed(self, mnist_dir, form, expected):
        data = load("mnist", data_dir=str(mnist_dir), preprocessing=form)
        assert {split: len(part) for split, part in data.splits.items()} == {"train": 135, "validation": 15, "test": 30}
        stored = data.splits["train"].inputs
        assert (stored.dtype, stored.shape[1:]) == (np.uint8, (28, 28, 1))
        received = np.concatenate([inputs for inputs, _ in data.train])
        assert received.shape[1:] == data.input_shape
        np.testing.assert_allclose(received, [expected(image) for image in stored], atol=1e-4)
        assert data.augmentable == (form != "vector784")

    def test_images_are_shifted_not_flipped(self, mnist_dir):
        data = load("mnist", data_dir=str(mnist_dir), preprocessing="image28")
        images, _ = next(iter(data.epoch(0, 0, 135, augment=True, shuffle=False)))
        padded = np.pad(data.splits["train"].inputs / 255, [(0, 0), (4, 4), (4, 4), (0, 0)])
        crops = np.array([padded[:, i : i + 28, j : j + 28] for i in range(9) for j in range(9)])
        assert np.isclose(crops, images, atol=1e-6).all(axis=(2, 3, 4)).any(axis=0).all()

    @pytest.mark.parametrize("num_examples", [None, 60])
    def test_parity_is_of_components_fitted_on_training_images(self, mnist_dir, num_examples):
        digits, parity = (
            load(name, data_dir=str(mnist_dir), num_examples=num_examples) for name in ("mnist", "mnist_parity")
        )
        assert (parity.num_classes, parity.input_shape, parity.augmentable) == (2, (10,), False)
        train = digits.splits["train"].inputs.reshape(-1, 784).astype("float64")
        _, _, directions = np.linalg.svd(train - train.mean(axis=0), full_matrices=False)
        scale = ((train - train.mean(axis=0)) @ directions[:10].T).std(axis=0)
        for split, part in digits.splits.items():
            centred = part.inputs.reshape(-1, 784) - train.mean(axis=0)
            # Directions are defined up to their sign.
            expected = np.abs(centred @ directions[:10].T / scale)
            np.testing.assert_allclose(np.abs(parity.splits[split].inputs), expected, atol=1e-4)
            np.testing.assert_array_equal(parity.splits[split].labels, part.labels % 2)
        np.testing.assert_allclose(parity.splits["train"].inputs.std(axis=0), 1, rtol=1e-5)
        assert np.abs(parity.splits["test"].inputs.std(axis=0) - 1).max() > 1e-2


class TestDamagedRecords:
    @pytest.fixture
    def prepared(self, tmp_path):
        rng = np.random.default_rng(0)
        rows = [{"image": rng.integers(0, 256, (28, 28, 1), np.uint8), "label": i % 10} for i in range(20)]
        return write_prepared(tmp_path, "mnist", {"train": rows, "test": rows})

    def spoil(self, folder, name: str, change) -> None:
        (path,) = folder.glob(name)
        path.write_bytes(change(path.read_bytes()))

    @pytest.mark.parametrize(
        ("change", "sound"),
        [
            (lambda content: content[: len(content) // 2], r"\d+"),
            (lambda content: content[:-1], "19"),
            (lambda content: b"", "0"),
            (lambda content: content[:9] + bytes([content[9] ^ 1]) + content[10:], "0"),
            (lambda content: content[:200] + bytes([content[200] ^ 1]) + content[201:], "0"),
            (lambda content: content + content, "20"),
        ],
        ids=["half", "last byte gone", "empty", "length flipped", "content flipped", "twice"],
    )
    def test_a_damaged_file_is_named(self, prepared, change, sound):
        self.spoil(prepared, "mnist-train*", change)
        message = (
            rf"mnist-train.tfrecord-00000-of-00001: expected 20 whole records .* received {sound} before the first"
        )
        with pytest.raises(ValueError, match=message):
            datasets.load("mnist", data_dir=str(prepared.parents[1]))

    def test_a_missing_file_is_named(self, prepared):
        next(prepared.glob("mnist-test*")).unlink()
        with pytest.raises(
            ValueError, match="mnist-test.tfrecord-00000-of-00001: expected 20 whole records .* received 0"
        ):
            datasets.load("mnist", data_dir=str(prepared.parents[1]))

    @pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
    def test_damaged_descriptions_are_named(self, prepared, name):
        self.spoil(prepared, name, lambda content: content[: len(content) // 2])
        with pytest.raises(ValueError, match=f"{prepared}: expected the descriptions that tensorflow-datasets writes"):
            datasets.load("mnist", data_dir=str(prepared.parents[1]))

    def test_files_of_another_data_set_are_refused(self, prepared):
        target = prepared.parents[1] / "cifar10" / "3.0.2"
        shutil.copytree(prepared, target)
        message = f"{target}: expected tfrecord files with image, label, id, received tfrecord files with image, label;"
        with pytest.raises(ValueError, match=message):
            datasets.load("cifar10", data_dir=str(prepared.parents[1]))

    def test_a_missing_split_is_named(self, tmp_path):
        rows = [{"image": np.zeros((28, 28, 1), np.uint8), "label": 0}] * 3
        folder = write_prepared(tmp_path, "mnist", {"train": rows})
        with pytest.raises(ValueError, match=f"{folder}: expected a split test, received train; remove it and prepare"):
            datasets.load("mnist", data_dir=str(tmp_path))
