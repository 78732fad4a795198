"""ImageNet's training pipeline: ours against tensorflow-datasets' own reading, mapped, batched and prefetched.

Both sides read the same generated record files, draw the same random boxes and flips with the same operations and give
batches of 224x224x3 float32. Ours decodes the box alone and shuffles examples; the plain pipeline gets decoded images
and shuffles files alone. Repeats are interleaved; the ratios are those of the best times, by the clock and of all cores
together, the second being the steadier one on a machine that does other work.

    python benchmarks/input_pipeline.py --examples=2048
"""

import argparse
import os
import pathlib
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from tfunits import datasets
from tfunits.datasets import photographs

HEIGHT, WIDTH, SHARDS, QUALITY = 350, 400, 8, 95


def main() -> None:
    """Write the files, run both sides and print their best rates and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=2048)
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--deterministic", action="store_true", help="under enable_op_determinism, as on CPUs by default"
    )
    options = parser.parse_args()
    if options.deterministic:
        tf.random.set_seed(0)
        tf.config.experimental.enable_op_determinism()
    with tempfile.TemporaryDirectory() as data_dir:
        builder = write_images(pathlib.Path(data_dir), options.examples)
        data = datasets.load("imagenet2012", data_dir=data_dir, validation_examples=0)
        sides = {
            "tensorflow-datasets, map, batch": lambda epoch: plain_epoch(builder, epoch, options.batch_size),
            "tfunits": lambda epoch: data.epoch(epoch, 0, options.batch_size, augment=True),
        }
        seconds: dict[str, list[np.ndarray]] = {side: [] for side in sides}
        for epoch in range(options.repeats):
            for side, make in sides.items():
                seconds[side].append(elapsed(make(epoch), options.examples))
    best = {side: np.min(times, axis=0) for side, times in seconds.items()}
    for side, (wall, cores) in best.items():
        rates = ", ".join(f"{options.examples / t:.0f}" for t, _ in seconds[side])
        each = 1e3 * cores / options.examples
        print(f"{side:32s} {options.examples / wall:6.0f} images/s (all: {rates}), {each:.2f} ms of a core per image")
    wall, cores = best["tensorflow-datasets, map, batch"] / best["tfunits"]
    print(
        f"{options.examples} JPEGs of {HEIGHT}x{WIDTH}, image224 with augmentation: ratio {wall:.2f}, cores {cores:.2f}"
    )


def write_images(data_dir: pathlib.Path, count: int) -> tfds.core.DatasetBuilder:
    """Generated photographs as a prepared imagenet2012."""
    generator = np.random.default_rng(0)
    rows = [
        (f"{i}.JPEG", {"file_name": f"{i}.JPEG", "image": make_jpeg(generator), "label": i % 1000})
        for i in range(count)
    ]
    published = tfds.builder("imagenet2012", data_dir=data_dir)
    return tfds.dataset_builders.store_as_tfds_dataset(
        name="imagenet2012",
        version=str(published.version),
        features=published.info.features,
        split_datasets={"train": rows, "validation": rows[:SHARDS]},
        data_dir=data_dir,
        download_config=tfds.download.DownloadConfig(num_shards=SHARDS),
    )


def make_jpeg(generator: np.random.Generator) -> bytes:
    """Noise at four scales, coarse ones strong, files of some 75 kB."""
    image = np.full((HEIGHT, WIDTH, 3), 128.0)
    for cell, strength in ((100, 50), (25, 30), (6, 15), (1, 10)):
        noise = generator.normal(size=(1, HEIGHT // cell + 2, WIDTH // cell + 2, 3)) * strength
        image += tf.image.resize(noise, (HEIGHT, WIDTH), method="bicubic")[0].numpy()
    return tf.io.encode_jpeg(image.clip(0, 255).astype("uint8"), quality=QUALITY).numpy()


def plain_epoch(builder: tfds.core.DatasetBuilder, epoch: int, batch_size: int) -> tf.data.Dataset:
    """What one writes with tensorflow-datasets: decoded images, the same box, flip and resizing."""
    form = photographs.FORMS["image224"]

    def preprocess(index: tf.Tensor, example: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        seed = tf.stack([epoch, tf.cast(index, tf.int32)])
        image = example["image"]
        top, left, height, width = tf.unstack(photographs.draw_box(tf.shape(image), seed), num=4)
        return form.finish_box(image[top : top + height, left : left + width], seed), example["label"]

    examples = builder.as_dataset(split="train", shuffle_files=True).enumerate()
    return examples.map(preprocess, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size).prefetch(tf.data.AUTOTUNE)


def elapsed(batches: tf.data.Dataset, count: int) -> np.ndarray:
    """Seconds that a pass takes, by the clock and of all cores together."""
    start = np.array([time.perf_counter(), time.process_time()])
    received = sum(len(labels) for _, labels in batches)
    seconds = np.array([time.perf_counter(), time.process_time()]) - start
    if received != count:
        raise SystemExit(f"expected {count} examples, received {received}")
    return seconds


if __name__ == "__main__":
    main()
