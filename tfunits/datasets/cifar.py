"""CIFAR-10 and CIFAR-100, from record files or from their own binary form."""

import pathlib

import numpy as np

from tfunits.configs import DataConfig, UserError, find_dataset
from tfunits.configs.prepared import BINARY_FOLDERS
from tfunits.datasets.dataset import Dataset, Split
from tfunits.datasets.preprocessing import Crop28, Flattened, Normalized, Standardized
from tfunits.datasets.records import open_records
from tfunits.datasets.splits import check_labels, divide

# File names of the binary form, and bytes before the pixels; the last of them is the label.
_BINARY_FILES = {
    "cifar10": {"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)},
    "cifar100": {"train": ("train.bin",), "test": ("test.bin",)},
}
_LABEL_BYTES = {"cifar10": 1, "cifar100": 2}
_PLANES = (3, 32, 32)
# Means and standard deviations of the channels, as Doimo et al. 2022's program has them (FACTS 14.2).
_NORMALIZED = {
    "cifar10": Normalized(mean=(0.4914, 0.4822, 0.4465), std=(0.247, 0.243, 0.261)),
    "cifar100": Normalized(mean=(0.5071, 0.4865, 0.4409), std=(0.2673, 0.2564, 0.2762)),
}


def load(config: DataConfig, folder: pathlib.Path) -> Dataset:
    """Photographs of 32x32 pixels in 10 or 100 classes.

    Args:
      config: which examples, in which form.
      folder: as tensorflow-datasets prepares it, or the unpacked binary form.

    Raises:
      UserError: missing or damaged files, or more examples asked for than there are.
    """
    name = config.dataset
    is_binary = folder.name == BINARY_FOLDERS[name]
    whole = _read_binary(folder, name) if is_binary else _read_records(folder, find_dataset(name).num_classes)
    images, labels = whole["train"]
    splits = {
        split: Split(inputs=images[index], labels=labels[index])
        for split, index in divide(config, len(labels)).items()
        if len(index)
    }
    forms = {
        "image32": Standardized(),
        "crop28": Crop28(),
        "normalized32": _NORMALIZED[name],
        "vector3072": Flattened(),
    }
    return Dataset(
        name=name,
        num_classes=find_dataset(name).num_classes,
        splits={**splits, "test": Split(inputs=whole["test"][0], labels=whole["test"][1])},
        preprocessing=forms[config.preprocessing or "image32"],
    )


def _read_records(folder: pathlib.Path, num_classes: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images and labels of both files, in the order of the original ones, which their ids number."""
    features, splits, found = ("image", "label", "id"), ("train", "test"), {}
    for split, records in open_records(folder, num_classes, splits=splits, features=features).items():
        columns = records.read_all()
        order = np.argsort(columns["id"], kind="stable")
        found[split] = columns["image"][order], columns["label"][order]
    return found


def _read_binary(folder: pathlib.Path, name: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images and labels of the files that CIFAR's authors distribute."""
    found = {}
    for split, files in _BINARY_FILES[name].items():
        parts = [_read_binary_file(folder / file, name) for file in files]
        found[split] = tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))
    return found


def _read_binary_file(path: pathlib.Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [examples, 32, 32, 3] and int32 [examples] of records of label bytes and three planes of pixels."""
    first_pixel = _LABEL_BYTES[name]
    size = first_pixel + int(np.prod(_PLANES))
    advice = f"unpack {BINARY_FOLDERS[name]} again"
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise UserError(f"{path}: expected a file of {name}, received {error.strerror}; {advice}") from None
    if not len(content) or len(content) % size:
        raise UserError(f"{path}: expected records of {size} bytes, received {len(content)} bytes; {advice}")
    rows = content.reshape(-1, size)
    labels = rows[:, first_pixel - 1].astype("int32")
    check_labels(labels, find_dataset(name).num_classes, path)
    planes = rows[:, first_pixel:].reshape(-1, *_PLANES)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels
