"""A process that trains tiny networks with others: python tiny_worker.py FOLDER INDEX ADDRESS ADDRESS ..."""

import dataclasses
import hashlib
import importlib
import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf

from tfunits import datasets
from tfunits.artifacts import write_arrays
from tfunits.configs import Cluster, TrainingConfig
from tfunits.layers import BatchNormalization
from tfunits.training import fit, make_strategy
from tfunits.training.exchange import broadcast, broadcast_json

# A checkpoint every epoch.
importlib.import_module("tfunits.training.trainer").CHECKPOINT_SECONDS = 0.0

# The chief's messages: none, less than a word, odd lengths, several parts.
LENGTHS = (0, 1, 3, 4, 5, 1001, 70_001)
TIMEOUT_SECONDS = 60


def make_data(num_train: int) -> datasets.Dataset:
    """Noise around three patterns of 6 x 6 pixels; 9 validation images in batches of 8 and 1."""
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=num_train + 9).astype("int32")
    images = rng.normal(size=(3, 6, 6, 1))[labels] + 2 * rng.normal(size=(len(labels), 6, 6, 1))
    parts = {"train": slice(num_train), "validation": slice(num_train, None)}
    splits = {name: datasets.Split(inputs=images[p].astype("float32"), labels=labels[p]) for name, p in parts.items()}
    return datasets.Dataset(name="patterns", num_classes=3, splits=splits)


def make_normalized() -> keras.Model:
    initializer = keras.initializers.HeNormal(seed=1)
    inputs = keras.Input((6, 6, 1))
    tensor = keras.layers.Conv2D(3, 3, kernel_initializer=initializer, name="conv")(inputs)
    tensor = keras.layers.ReLU(name="relu")(BatchNormalization(momentum=0.997, name="norm")(tensor))
    tensor = keras.layers.Flatten(name="flatten")(tensor)
    return keras.Model(inputs, keras.layers.Dense(3, kernel_initializer=initializer, name="logits")(tensor))


def make_plain() -> keras.Model:
    """Without normalisation; a convolution of no image at all would have another number of channels."""
    initializer = keras.initializers.HeNormal(seed=1)
    inputs = keras.Input((6, 6, 1))
    tensor = keras.layers.Conv2D(4, 3, kernel_initializer=initializer, name="conv")(inputs)
    tensor = keras.layers.GlobalAveragePooling2D(name="pooled")(keras.layers.ReLU(name="relu")(tensor))
    return keras.Model(inputs, keras.layers.Dense(3, kernel_initializer=initializer, name="logits")(tensor))


CONFIG = TrainingConfig(learning_rate=0.05, batch_size=8, epochs=2, weight_decay=0.01)
# 72 examples in nine batches of 8; 73 end with a batch of 1, of which one worker has that and the other nothing.
CASES = {
    "normalized": (make_normalized, make_data(72), CONFIG),
    "plain": (make_plain, make_data(73), dataclasses.replace(CONFIG, average_decay=0.8, monitor="train")),
}


def train(name: str, folder: pathlib.Path, strategy: tf.distribute.Strategy) -> list[np.ndarray]:
    """Train one of the cases; returns the network's variables."""
    make, data, config = CASES[name]
    with strategy.scope():
        model = make()
    result = fit(model, data, config, strategy=strategy, run_dir=folder / name)
    row = result.history.iloc[-1]
    numbers = [row[column] for column in result.history if column.endswith(("loss", "accuracy"))]
    return [*(variable.numpy() for variable in model.variables), np.array(numbers)]


def main(folder: pathlib.Path, index: int, workers: tuple[str, ...]) -> None:
    """Exchange messages, then train every case in FOLDER/INDEX, the last one twice."""
    strategy = make_strategy(cluster=Cluster(workers=workers, index=index), worker_timeout=TIMEOUT_SECONDS)
    for length in LENGTHS:
        sent = np.random.default_rng(length).bytes(length)
        received = broadcast(strategy, sent if index == 0 else b"not read")
        assert received == sent, length
    assert broadcast_json(strategy, {"from": index}) == {"from": 0}
    for name in [*CASES, "plain"]:
        values = train(name, folder / str(index), strategy)
        write_arrays(folder / f"{name}-{index}.npz", {f"{number:02d}": value for number, value in enumerate(values)})
        print(name, hashlib.sha256(b"".join(value.tobytes() for value in values)).hexdigest(), flush=True)
        # So that the second training begins after the first epoch, which the chief alone knows.
        (folder / str(index) / name / "checkpoints" / "epoch-00002.npz").unlink(missing_ok=True)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), int(sys.argv[2]), tuple(sys.argv[3:]))
