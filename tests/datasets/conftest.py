"""Prepared data sets that several files of tests read; written once, never changed."""

import pathlib

import numpy as np
import pytest
from disk_forms import make_imagenet, write_cifar_binary, write_prepared


@pytest.fixture(scope="session")
def cifar_arrays() -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Name -> split -> images and labels in the order of the original files."""
    rng = np.random.default_rng(1)
    return {
        name: {
            split: (rng.integers(0, 256, (count, 32, 32, 3), np.uint8), rng.integers(0, classes, count))
            for split, count in {"train": 200, "test": 40}.items()
        }
        for name, classes in {"cifar10": 10, "cifar100": 100}.items()
    }


@pytest.fixture(scope="session")
def cifar_dir(cifar_arrays, tmp_path_factory) -> pathlib.Path:
    """Both CIFARs as tensorflow-datasets prepares them."""
    data_dir = tmp_path_factory.mktemp("cifar")
    for name, arrays in cifar_arrays.items():
        coarse = {} if name == "cifar10" else {"coarse_label": 3}
        splits = {
            split: [
                {"id": f"{split}_{i:05d}", "image": image, "label": int(label), **coarse}
                for i, (image, label) in enumerate(zip(images, labels, strict=True))
            ]
            for split, (images, labels) in arrays.items()
        }
        write_prepared(data_dir, name, splits, num_shards=2)
    return data_dir


@pytest.fixture(scope="session")
def cifar_binary_dir(cifar_arrays, tmp_path_factory) -> pathlib.Path:
    """The same images in CIFAR's own form."""
    data_dir = tmp_path_factory.mktemp("cifar_binary")
    for name, arrays in cifar_arrays.items():
        write_cifar_binary(data_dir, name, arrays)
    return data_dir


@pytest.fixture(scope="session")
def mnist_dir(tmp_path_factory) -> pathlib.Path:
    """150 and 30 grey images of MNIST's size, prepared."""
    rng = np.random.default_rng(2)
    directions = rng.normal(size=(12, 28 * 28))
    splits = {}
    for split, count in {"train": 150, "test": 30}.items():
        images = 128 + rng.normal(size=(count, 12)) * np.arange(1, 13) @ directions
        images = images.clip(0, 255).astype("uint8").reshape(-1, 28, 28, 1)
        splits[split] = [{"image": image, "label": int(rng.integers(10))} for image in images]
    data_dir = tmp_path_factory.mktemp("mnist")
    write_prepared(data_dir, "mnist", splits)
    return data_dir


@pytest.fixture(scope="session")
def imagenet_dir(tmp_path_factory) -> pathlib.Path:
    """60 training and 22 validation JPEGs of many sizes in five files each, labelled 0, 1, 2, ...."""
    data_dir = tmp_path_factory.mktemp("imagenet")
    examples = make_imagenet(np.random.default_rng(3), {"train": 60, "validation": 22})
    write_prepared(data_dir, "imagenet2012", examples, num_shards=5)
    return data_dir
