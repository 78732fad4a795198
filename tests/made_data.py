"""A data set of given arrays."""

import numpy as np

from tfunits import datasets


def make_dataset(inputs: np.ndarray, labels: np.ndarray, num_classes: int) -> datasets.Dataset:
    """A data set of given arrays: three quarters train, an eighth each validation and test."""
    first, second = len(labels) * 3 // 4, len(labels) * 7 // 8
    parts = {"train": slice(0, first), "validation": slice(first, second), "test": slice(second, None)}
    splits = {
        name: datasets.Split(inputs=inputs[part].astype("float32"), labels=labels[part].astype("int32"))
        for name, part in parts.items()
    }
    return datasets.Dataset(name="made", num_classes=num_classes, splits=splits)
