"""Named data: explicit splits, label corruption, augmentation, as tf.data."""

import dataclasses
from typing import Any

import numpy as np

from tfunits.configs import DataConfig, UserError, reject, resolve_data_dir
from tfunits.datasets import cifar, digits, folder, imagenet, mnist, uncorrelated
from tfunits.datasets.dataset import EVALUATION_BATCH_SIZE, Dataset, Split
from tfunits.datasets.download import locate
from tfunits.datasets.preprocessing import Preprocessing

# Those of prepared data also take the folder where they lie.
LOADERS = {
    "cifar10": cifar.load,
    "cifar100": cifar.load,
    "digits": digits.load,
    "digits_parity": digits.load_parity,
    "folder": folder.load,
    "imagenet2012": imagenet.load,
    "mnist": mnist.load,
    "mnist_parity": mnist.load_parity,
    "uncorrelated10": uncorrelated.load,
    "uncorrelated10000": uncorrelated.load,
}

# Keeps the draws of random labels apart from everything else that a data seed decides.
_RANDOM_LABELS_STREAM = 0x1ABE15

__all__ = ["EVALUATION_BATCH_SIZE", "LOADERS", "Dataset", "Preprocessing", "Split", "load"]


def load(
    name: str, *, data_seed: int = 0, data_dir: str | None = None, download: bool = False, **options: Any
) -> Dataset:
    """The named data set.

    Args:
      name: one of `LOADERS`, with folder:PATH for a folder of images.
      data_seed: seed of the split, the random labels and the teacher.
      data_dir: folder of prepared data, ~/tensorflow_datasets if None; embedded data sets need none.
      download: whether tensorflow-datasets may fetch and prepare what is not there.
      **options: further fields of `configs.DataConfig`: preprocessing, num_examples, validation_examples, split,
        background_class, random_labels, and test_examples of generated data.

    Returns: a `Dataset` with `.train`, `.validation`, `.test` and `.epoch(epoch, seed, batch_size)`.

    Raises:
      ValueError: an unknown name or option, a `data_dir` that does not exist, data that are not prepared (with the
        command that prepares them), or a damaged file.

    Example:
      >>> tfunits.datasets.load("digits", preprocessing="image8").input_shape
      (8, 8, 1)
    """
    known = {field.name for field in dataclasses.fields(DataConfig)} - {"dataset", "data_seed"}
    if unknown := set(options) - known:
        raise UserError(f"{sorted(unknown)[0]}: expected one of the options {', '.join(sorted(known))}")
    if data_dir is not None and not download and not resolve_data_dir(data_dir).is_dir():
        raise reject("data_dir", data_dir, "an existing folder")
    config = DataConfig(dataset=name, data_seed=data_seed, **options)
    loader = LOADERS["folder" if config.is_folder else name]
    if config.dataset_facts.prepared is None:
        data = loader(config)
    else:
        data = loader(config, locate(name, data_dir, download=download))
    if config.random_labels:
        data = _with_random_labels(data, data_seed)
    return _with_background(data) if config.background_class else data


def _with_random_labels(data: Dataset, data_seed: int) -> Dataset:
    """Training and validation labels replaced by uniform draws; test labels stay true."""
    splits = dict(data.splits)
    for number, name in enumerate(("train", "validation")):
        if name in splits:
            # A stream each, so that the number of training examples does not change validation labels.
            generator = np.random.default_rng([data_seed, _RANDOM_LABELS_STREAM, number])
            labels = generator.integers(data.num_classes, size=len(splits[name])).astype("int32")
            splits[name] = splits[name].with_labels(labels)
    return dataclasses.replace(data, splits=splits)


def _with_background(data: Dataset) -> Dataset:
    """One class more: labels count from 1, and no example has label 0."""
    splits = {name: part.with_background() for name, part in data.splits.items()}
    return dataclasses.replace(data, num_classes=data.num_classes + 1, splits=splits)
