"""Record files as tensorflow-datasets prepares them, read by our own pipeline.

tensorflow-datasets itself is only asked for file names, numbers of records and how one record is parsed.
"""

import dataclasses
import functools
import pathlib
from typing import Any, Self

import numpy as np
import tensorflow as tf

from tfunits.configs import UserError
from tfunits.datasets.dataset import Pass
from tfunits.datasets.photographs import PhotographPreprocessing
from tfunits.datasets.streaming import decode_batches

# Files read at once in training; each is a stream of its own.
_OPEN_FILES = 16
# Encoded images that are shuffled together, some 110 MB of ImageNet. The files themselves are shuffled already.
_SHUFFLED_TOGETHER = 1024
_DECODED_TOGETHER = 1024
# Keeps the draw of subsets apart from everything else that a data seed decides.
_DRAW_STREAM = 0xD2A8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Records:
    """The record files of one split, and how a record is parsed.

    Attributes:
      paths: of the files, in order.
      lengths: records in each.
      features: tensorflow-datasets' description of a record, with image and label.
      num_classes: labels are 0 .. num_classes - 1.
    """

    paths: tuple[str, ...]
    lengths: tuple[int, ...]
    features: Any
    num_classes: int

    def __len__(self) -> int:
        return sum(self.lengths)

    @property
    def offsets(self) -> np.ndarray:
        """Index of each file's first record among all."""
        return np.cumsum([0, *self.lengths[:-1]])

    def draw_order(self, data_seed: int) -> np.ndarray:
        """All indices, file after file with the files in a random order: a subset is a run in each of few files.

        tensorflow-datasets spreads examples over files and places at random, so that any run is a fair sample.
        """
        generator = np.random.default_rng([data_seed, _DRAW_STREAM])
        files = generator.permutation(len(self.paths))
        return np.concatenate([self.offsets[i] + np.arange(self.lengths[i]) for i in files])

    def parse(self, record: tf.Tensor) -> dict[str, tf.Tensor]:
        """The features of a record, its image still encoded; a label that is no class is an error.

        A lookup says so, since an assertion would be a stateful operation, which determinism runs one by one.
        """
        from tensorflow_datasets import decode

        example = self.features.deserialize_example(record, decoders={"image": decode.SkipDecoding()})
        classes = tf.range(self.num_classes)
        return {**example, "label": tf.gather(classes, tf.cast(example["label"], tf.int32))}

    def decode(self, record: tf.Tensor) -> dict[str, tf.Tensor]:
        """The features of a record, with its image."""
        example, shape = self.parse(record), self.features["image"].shape
        image = tf.io.decode_image(example["image"], channels=shape[-1], expand_animations=False)
        return {**example, "image": tf.ensure_shape(image, shape)}

    def read_all(self) -> dict[str, np.ndarray]:
        """All features of all records; for images of one size that fit in memory.

        Raises:
          UserError: a damaged file.
        """
        try:
            files = tf.data.Dataset.from_tensor_slices((list(self.paths), np.array(self.lengths, np.int64)))
            rows = files.flat_map(_read_file).map(self.decode, num_parallel_calls=tf.data.AUTOTUNE)
            rows = rows.batch(_DECODED_TOGETHER)
            parts = list(rows.as_numpy_iterator())
        except tf.errors.OpError as error:
            raise UserError(self.find_damage() or f"{self.paths[0]}: {error.message}") from None
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def find_damage(self) -> str | None:
        """One line about the first file with a record that does not decode; None if there is none."""
        for path, length in zip(self.paths, self.lengths, strict=True):
            rows = _read_file(path, np.int64(length)).map(self.decode, num_parallel_calls=tf.data.AUTOTUNE)
            sound = 0
            try:
                for _ in rows:
                    sound += 1
            except tf.errors.OpError:
                return (
                    f"{path}: expected {length} whole records with an image and a label from 0 to "
                    f"{self.num_classes - 1}, received {sound} before the first that is not; remove "
                    f"{pathlib.Path(path).parent} and prepare the data again"
                )
        return None


def open_records(
    folder: pathlib.Path,
    num_classes: int,
    *,
    splits: tuple[str, ...],
    features: tuple[str, ...] = ("image", "label"),
) -> dict[str, Records]:
    """The splits of a data set that tensorflow-datasets prepared.

    Args:
      folder: <data_dir>/<name>/<version>.
      num_classes: of the data set.
      splits: those without which it is of no use.
      features: what every record must have.

    Returns: name -> records of the splits that hold any.

    Raises:
      UserError: descriptions that cannot be read, or files of another kind.
    """
    import tensorflow_datasets

    try:
        info = tensorflow_datasets.builder_from_directory(folder).info
        found = {name: split for name, split in info.splits.items() if split.num_examples}
        described, kind = info.features, info.file_format.value
    except Exception as error:  # Whatever the parsers of its description files raise.
        raise _refuse(folder, "the descriptions that tensorflow-datasets writes", type(error).__name__) from None
    if kind != "tfrecord" or not set(features) <= set(described):
        raise _refuse(
            folder, f"tfrecord files with {', '.join(features)}", f"{kind} files with {', '.join(sorted(described))}"
        )
    if missing := set(splits) - set(found):
        raise _refuse(folder, f"a split {missing.pop()}", ", ".join(found) or "none")
    return {
        name: Records(
            paths=tuple(str(path) for path in split.filepaths),
            lengths=tuple(split.shard_lengths),
            features=described,
            num_classes=num_classes,
        )
        for name, split in found.items()
    }


def _refuse(folder: pathlib.Path, expected: str, received: str) -> UserError:
    return UserError(f"{folder}: expected {expected}, received {received}; remove it and prepare the data again")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordSplit:
    """Examples in record files, decoded as they are read.

    Attributes:
      records: the files.
      members: sorted indices of this split's examples among all records, neighbours within every file.
      other_labels: int32 [examples] in place of the files'; None for the files'.
      first_label: added to the files' labels.
    """

    records: Records
    members: np.ndarray
    other_labels: np.ndarray | None = None
    first_label: int = 0

    def __len__(self) -> int:
        return len(self.members)

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """int32 [examples]; where the files hold them, a pass over these."""
        if self.other_labels is not None:
            return self.other_labels
        rows = self._read_records(Pass(batch_size=1))
        labels = rows.map(lambda _, record: self.records.parse(record)["label"], num_parallel_calls=tf.data.AUTOTUNE)
        return np.concatenate([*labels.batch(_DECODED_TOGETHER).as_numpy_iterator()]) + np.int32(self.first_label)

    def read(self, reading: Pass, preprocessing: PhotographPreprocessing) -> tf.data.Dataset:
        """Batches of (inputs, labels).

        A shard is a run of the files' records; its size is that of a shard of an array.
        """

        def fetch(position: tf.Tensor, record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            example = self.records.parse(record)
            if self.other_labels is None:
                return example["image"], example["label"] + self.first_label, position
            return example["image"], tf.gather(self.other_labels, position), position

        return decode_batches(self._read_records(reading), self._count(reading), fetch, reading, preprocessing)

    def with_labels(self, labels: np.ndarray) -> Self:
        """The same images with other labels."""
        return dataclasses.replace(self, other_labels=labels)

    def with_background(self) -> Self:
        """The same images with labels that count from 1."""
        if self.other_labels is not None:
            return self.with_labels(self.other_labels + 1)
        return dataclasses.replace(self, first_label=self.first_label + 1)

    def find_damage(self) -> str | None:
        """One line about the first damaged file; None if there is none."""
        needed = np.unique(self._file_of(self.members))
        paths, lengths = ([values[i] for i in needed] for values in (self.records.paths, self.records.lengths))
        return dataclasses.replace(self.records, paths=tuple(paths), lengths=tuple(lengths)).find_damage()

    def _file_of(self, members: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.records.offsets, members, side="right") - 1

    def _count(self, reading: Pass) -> int:
        worker, workers = reading.shard
        return len(range(worker, len(self), workers))

    def _read_records(self, reading: Pass) -> tf.data.Dataset:
        """(position in the split, record) of a shard's examples."""
        rank = np.arange(len(self.records.paths))
        if reading.shuffle:
            rank = np.random.default_rng([reading.seed, reading.epoch]).permutation(rank)
        file_of = self._file_of(self.members)
        by_file = np.argsort(rank[file_of], kind="stable")
        own = np.array_split(by_file, reading.shard[1])[reading.shard[0]]
        _, first, count = np.unique(rank[file_of[own]], return_index=True, return_counts=True)
        position = own[first]
        files = file_of[position]
        described = (np.asarray(self.records.paths), np.asarray(self.records.lengths))
        skipped = self.members[position] - self.records.offsets[files]
        runs = (*(values[files] for values in described), skipped, count, position)

        def read_run(
            path: tf.Tensor, length: tf.Tensor, skipped: tf.Tensor, count: tf.Tensor, position: tf.Tensor
        ) -> tf.data.Dataset:
            records = _read_file(path, length).skip(skipped).take(count)
            return tf.data.Dataset.zip(tf.data.Dataset.range(position, position + count), records)

        rows = tf.data.Dataset.from_tensor_slices(runs).interleave(
            read_run,
            cycle_length=_OPEN_FILES if reading.shuffle else 1,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        return _shuffle(rows, reading) if reading.shuffle else rows


def _read_file(path: str | tf.Tensor, length: int | tf.Tensor) -> tf.data.Dataset:
    """The records of one file; more or fewer than its length are an error."""
    return tf.data.TFRecordDataset(path).apply(tf.data.experimental.assert_cardinality(length))


def _shuffle(rows: tf.data.Dataset, reading: Pass) -> tf.data.Dataset:
    """Rows (position, record) shuffled in a buffer as (seed, epoch) say.

    The operation itself takes both numbers as they are; `tf.data.Dataset.shuffle` mixes the process's global seed in.
    """
    shuffled = tf.raw_ops.ShuffleDataset(
        input_dataset=tf.data.experimental.to_variant(rows),
        buffer_size=_SHUFFLED_TOGETHER,
        seed=reading.epoch_seed,
        # A pair of zeros would mean a seed of the process's own.
        seed2=reading.epoch + 1,
        output_types=[spec.dtype for spec in rows.element_spec],
        output_shapes=[spec.shape for spec in rows.element_spec],
        reshuffle_each_iteration=False,
    )
    return tf.data.experimental.from_variant(shuffled, rows.element_spec)
