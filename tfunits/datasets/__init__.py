"""Named data: explicit splits, label corruption, augmentation, as tf.data."""

import dataclasses
import pathlib
from typing import Any

import numpy as np

from tfunits.configs import DataConfig, UserError, reject
from tfunits.datasets import digits, uncorrelated
from tfunits.datasets.dataset import EVALUATION_BATCH_SIZE, Dataset, Split

LOADERS = {
    "digits": digits.load,
    "digits_parity": digits.load_parity,
    "uncorrelated10": uncorrelated.load,
    "uncorrelated10000": uncorrelated.load,
}

# Keeps the draws of random labels apart from everything else that a data seed decides.
_RANDOM_LABELS_STREAM = 0x1ABE15

__all__ = ["EVALUATION_BATCH_SIZE", "LOADERS", "Dataset", "Split", "load"]


def load(name: str, *, data_seed: int = 0, data_dir: str | None = None, **options: Any) -> Dataset:
    """The named data set.

    Args:
      name: one of `LOADERS`.
      data_seed: seed of the split, the random labels and the teacher.
      data_dir: folder of prepared data; the embedded data sets need none.
      **options: further fields of `configs.DataConfig`: preprocessing, num_examples, test_examples, random_labels.

    Returns: a `Dataset` with `.train`, `.validation`, `.test` and `.epoch(epoch, seed, batch_size)`.

    Raises:
      ValueError: an unknown name or option, or a `data_dir` that does not exist.

    Example:
      >>> tfunits.datasets.load("digits", preprocessing="image8").input_shape
      (8, 8, 1)
    """
    known = {field.name for field in dataclasses.fields(DataConfig)} - {"dataset", "data_seed"}
    if unknown := set(options) - known:
        raise UserError(f"{sorted(unknown)[0]}: expected one of the options {', '.join(sorted(known))}")
    if data_dir is not None and not pathlib.Path(data_dir).is_dir():
        raise reject("data_dir", data_dir, "an existing folder")
    config = DataConfig(dataset=name, data_seed=data_seed, **options)
    data = LOADERS[name](config)
    return _with_random_labels(data, data_seed) if config.random_labels else data


def _with_random_labels(data: Dataset, data_seed: int) -> Dataset:
    """Training and validation labels replaced by uniform draws; test labels stay true."""
    splits = dict(data.splits)
    for number, name in enumerate(("train", "validation")):
        # A stream each, so that the number of training examples does not change validation labels.
        generator = np.random.default_rng([data_seed, _RANDOM_LABELS_STREAM, number])
        labels = generator.integers(data.num_classes, size=len(splits[name])).astype("int32")
        splits[name] = dataclasses.replace(splits[name], labels=labels)
    return dataclasses.replace(data, splits=splits)
