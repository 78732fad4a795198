"""Images in folders, one sub-folder a class."""

import dataclasses
import os
from typing import Self

import numpy as np
import tensorflow as tf

from tfunits.configs import FOLDER_PREFIX, SPLITS, DataConfig, list_images, reject
from tfunits.configs.folders import ALL
from tfunits.datasets import photographs
from tfunits.datasets.dataset import Dataset, Pass
from tfunits.datasets.photographs import PhotographPreprocessing
from tfunits.datasets.splits import interleave_classes
from tfunits.datasets.streaming import decode_batches

# Keeps the draw of the splits apart from everything else that a data seed decides.
_DIVISION_STREAM = 0xF01DE2


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileSplit:
    """Examples in one image file each, decoded as they are read.

    Attributes:
      paths: of the files.
      labels: int32 [examples].
    """

    paths: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, reading: Pass, preprocessing: PhotographPreprocessing) -> tf.data.Dataset:
        """Batches of (inputs, labels)."""
        order = reading.order(len(self))
        rows = tf.data.Dataset.from_tensor_slices((self.paths[order], self.labels[order], order))

        def fetch(path: tf.Tensor, label: tf.Tensor, position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            return tf.io.read_file(path), label, position

        return decode_batches(rows, len(order), fetch, reading, preprocessing)

    def with_labels(self, labels: np.ndarray) -> Self:
        """The same images with other labels."""
        return dataclasses.replace(self, labels=labels)

    def with_background(self) -> Self:
        """The same images with labels that count from 1."""
        return self.with_labels(self.labels + 1)

    def find_damage(self) -> str | None:
        """One line about the first file that is no image; None if all are."""
        images = tf.data.Dataset.from_tensor_slices(self.paths).map(
            lambda path: tf.shape(photographs.decode(tf.io.read_file(path))),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        sound = 0
        try:
            for _ in images:
                sound += 1
        except tf.errors.OpError:
            return (
                f"{os.fsdecode(self.paths[sound])}: expected a whole JPEG, PNG, BMP or GIF image, received a file "
                "that does not decode; replace it or take it out of the folder"
            )
        return None


def load(config: DataConfig) -> Dataset:
    """A user's images: the splits of the folder, or 80/10/10 % of them, stratified.

    Raises:
      UserError: other images than those the configuration was made for.
    """
    folder = list_images(config.dataset.removeprefix(FOLDER_PREFIX))
    if folder.fingerprint() != config.folder_sha256:
        raise reject(
            "dataset", config.dataset, "the images with which the run was begun",
            "restore the folder, or begin another run",
        )  # fmt: skip
    found = {name: _as_arrays(folder.path, images) for name, images in folder.splits.items()}
    held_out = folder.count_splits() if ALL in found else {}
    paths, labels = found.pop(ALL if ALL in found else "train")
    generator = np.random.default_rng([config.data_seed, _DIVISION_STREAM])
    order = interleave_classes(np.arange(len(labels)), labels, generator)
    bounds = np.cumsum([held_out.get("test", 0), held_out.get("validation", 0)])
    test, validation, train = np.split(order, bounds)
    index = {"train": train[: config.num_examples], "validation": validation, "test": test}
    found |= {name: (paths[np.sort(i)], labels[np.sort(i)]) for name, i in index.items() if len(i)}
    return Dataset(
        name=config.dataset,
        num_classes=len(folder.class_names),
        splits={name: FileSplit(paths=found[name][0], labels=found[name][1]) for name in SPLITS if name in found},
        preprocessing=photographs.FORMS[config.preprocessing or "image32"],
    )


def _as_arrays(root: str, images: tuple[tuple[str, int], ...]) -> tuple[np.ndarray, np.ndarray]:
    # As bytes, since a file system's names need not be UTF-8.
    paths = np.array([os.fsencode(os.path.join(root, name)) for name, _ in images])
    return paths, np.array([label for _, label in images], "int32")
