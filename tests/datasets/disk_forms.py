"""Small data sets in the forms in which the real ones lie on disk."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds


def write_prepared(
    data_dir: pathlib.Path, name: str, splits: Mapping[str, Sequence[dict]], num_shards: int | None = None
) -> pathlib.Path:
    """Record files and descriptions as tensorflow-datasets prepares them, with the features of the real builder."""
    published = tfds.builder(name, data_dir=data_dir)
    rows = {
        split: [(f"{split}_{i:05d}", example) for i, example in enumerate(examples)]
        for split, examples in splits.items()
    }
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version=str(published.version),
        features=published.info.features,
        split_datasets=rows,
        data_dir=data_dir,
        download_config=tfds.download.DownloadConfig(num_shards=num_shards),
    )
    return data_dir / name / str(published.version)


def write_cifar_binary(data_dir: pathlib.Path, name: str, arrays: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """CIFAR's own files: label bytes (cifar100: a coarse one first), then the red, green and blue planes."""
    folder = data_dir / {"cifar10": "cifar-10-batches-bin", "cifar100": "cifar-100-binary"}[name]
    folder.mkdir(parents=True)
    files = {"train": ["train.bin"], "test": ["test.bin"]}
    if name == "cifar10":
        files = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
    for split, (images, labels) in arrays.items():
        records = []
        for image, label in zip(images, labels, strict=True):
            start = bytes([label]) if name == "cifar10" else bytes([label // 5, label])
            records.append(start + image.transpose(2, 0, 1).tobytes())
        for file, part in zip(files[split], np.array_split(np.arange(len(records)), len(files[split])), strict=True):
            (folder / file).write_bytes(b"".join(records[i] for i in part))


def make_photograph(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Coarse coloured noise with fine noise on it, uint8 [height, width, 3]."""
    coarse = rng.normal(size=(1, height // 8 + 2, width // 8 + 2, 3)) * 50
    image = 128 + tf.image.resize(coarse, (height, width), method="bicubic")[0].numpy()
    return (image + 5 * rng.normal(size=image.shape)).clip(0, 255).astype("uint8")


def jpeg(image: np.ndarray, **options: object) -> bytes:
    """A JPEG of grey or coloured pixels."""
    return tf.io.encode_jpeg(image, **options).numpy()


def make_imagenet(rng: np.random.Generator, splits: Mapping[str, int]) -> dict[str, list[dict]]:
    """Examples of imagenet2012; the labels of each split count from 0, so that they say which example it is."""
    return {
        split: [
            {
                "file_name": f"{split}_{i}.JPEG",
                "image": jpeg(make_photograph(rng, *rng.integers(40, 90, 2))),
                "label": i,
            }
            for i in range(count)
        ]
        for split, count in splits.items()
    }


def write_record(image: bytes, label: int, name: str = "x.JPEG") -> bytes:
    """One record of imagenet2012, whatever its image and label are."""
    features = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
        "file_name": tf.train.Feature(bytes_list=tf.train.BytesList(value=[name.encode()])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write_folder(root: pathlib.Path, files: Mapping[str, bytes]) -> str:
    """Files by their paths below a folder; the folder's path."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return str(root)
