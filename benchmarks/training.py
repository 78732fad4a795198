"""Training throughput: our loop against Keras' fit with its best steps_per_execution, and against PyTorch.

Every side trains the same network on the same generated CIFAR-shaped images with batches of 128, momentum SGD and a
new order every epoch. Each is a process of its own that trains one epoch when told to, so that only one works at a
time; epochs are interleaved and the ratios are those of the best times. PyTorch needs `pip install -e ".[benchmark]"`.

    python benchmarks/training.py --model=wide_resnet28
    python benchmarks/training.py --model=alexnet
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
BATCH, LEARNING_RATE, MOMENTUM = 128, 0.01, 0.9
STEPS_PER_EXECUTION = (1, 8, 16, 32)


def main() -> None:
    """Run all sides, or be one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="wide_resnet28", choices=["wide_resnet28", "alexnet"])
    parser.add_argument("--steps", type=int, default=16, help="steps of an epoch")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--side", help="be this side: train an epoch per line of standard input")
    options = parser.parse_args()
    if options.side:
        serve(make_side(options))
        return
    sides = ["tfunits", *(f"keras-fit-{n}" for n in STEPS_PER_EXECUTION)]
    if importlib.util.find_spec("torch"):
        sides.append("torch")
    else:
        print('PyTorch is not installed (pip install -e ".[benchmark]"): compared with Keras only')
    seconds = measure(options, sides)
    images = options.steps * BATCH
    best = {side: min(times) for side, times in seconds.items()}
    for side, value in best.items():
        times = ", ".join(f"{t:.2f}" for t in seconds[side])
        print(f"{side:14s} {value:7.2f} s   {images / value:7.0f} images/s   (all: {times})")
    fit = min(value for side, value in best.items() if side.startswith("keras"))
    print(f"{options.model}, {images} images: throughput of tfunits / Keras' best fit {fit / best['tfunits']:.2f}")
    if "torch" in best:
        print(f"{options.model}, {images} images: time of tfunits / PyTorch {best['tfunits'] / best['torch']:.2f}")


def measure(options: argparse.Namespace, sides: list[str]) -> dict[str, list[float]]:
    """Seconds of every side's epochs, interleaved, after one that is not counted."""
    command = [sys.executable, __file__, f"--model={options.model}", f"--steps={options.steps}"]
    children = {
        side: subprocess.Popen(
            [*command, f"--side={side}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        for side in sides
    }
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    try:
        for repeat in range(options.repeats + 1):
            for side, child in children.items():
                child.stdin.write("train\n")
                value = float(child.stdout.readline())
                if repeat:
                    seconds[side].append(value)
    finally:
        for child in children.values():
            child.kill()
    return seconds


def serve(train_epoch: Callable[[int], None]) -> None:
    """Train an epoch for every line that is read, and print its seconds."""
    for epoch, _ in enumerate(sys.stdin):
        start = time.perf_counter()
        train_epoch(epoch)
        print(time.perf_counter() - start, flush=True)


def make_side(options: argparse.Namespace) -> Callable[[int], None]:
    """The function that trains one epoch of one side."""
    generator = np.random.default_rng(0)
    images = generator.normal(size=(options.steps * BATCH, 32, 32, 3)).astype("float32")
    labels = generator.integers(10, size=len(images)).astype("int32")
    if options.side == "torch":
        return make_torch(options.model, images, labels)
    if options.side == "tfunits":
        return make_tfunits(options.model, images, labels)
    return make_keras(options.model, images, labels, int(options.side.removeprefix("keras-fit-")))


def make_tfunits(model_name: str, images: np.ndarray, labels: np.ndarray) -> Callable[[int], None]:
    """Our data, optimiser and loop, as `training.fit` puts them together."""
    import tensorflow as tf

    from tfunits import datasets, models, training
    from tfunits.training.batches import with_weights
    from tfunits.training.engine import make_train_steps

    config = training.TrainingConfig(learning_rate=LEARNING_RATE, momentum=MOMENTUM, batch_size=BATCH)
    model = models.build(model_name, input_shape=images.shape[1:], num_classes=10)
    splits = {"train": datasets.Split(inputs=images, labels=labels)}
    data = datasets.Dataset(name="generated", num_classes=10, splits=splits)
    optimizer = training.make_optimizer(config, LEARNING_RATE)
    optimizer.build(model.trainable_variables)
    steps = make_train_steps(model, optimizer, config, tf.distribute.get_strategy())

    def train_epoch(epoch: int) -> None:
        batches = with_weights(data.epoch(epoch, 0, BATCH), BATCH, pad=False)
        steps(iter(batches), len(images) // BATCH)

    return train_epoch


def make_keras(
    model_name: str, images: np.ndarray, labels: np.ndarray, steps_per_execution: int
) -> Callable[[int], None]:
    """The same network under Keras' own compile and fit."""
    import keras

    from tfunits import models

    model = models.build(model_name, input_shape=images.shape[1:], num_classes=10)
    model.compile(
        optimizer=keras.optimizers.SGD(LEARNING_RATE, MOMENTUM),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=steps_per_execution,
        jit_compile=False,
    )
    return lambda epoch: model.fit(images, labels, batch_size=BATCH, epochs=1, verbose=0)


def make_torch(model_name: str, images: np.ndarray, labels: np.ndarray) -> Callable[[int], None]:
    """The same network in PyTorch, in its faster memory format for convolutions."""
    import torch
    from torch.nn import functional

    torch.set_num_threads(os.cpu_count())
    model = {"wide_resnet28": torch_wide_resnet28, "alexnet": torch_alexnet}[model_name]()
    model = model.to(memory_format=torch.channels_last).train()
    inputs = torch.from_numpy(images).permute(0, 3, 1, 2)  # Channels last in memory.
    targets = torch.from_numpy(labels).long()
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, MOMENTUM)

    def train_epoch(epoch: int) -> None:
        order = torch.from_numpy(np.random.default_rng(epoch).permutation(len(inputs)))
        correct = 0
        for rows in order.split(BATCH):
            optimizer.zero_grad()
            outputs = model(inputs[rows])
            functional.cross_entropy(outputs, targets[rows]).backward()
            optimizer.step()
            correct += (outputs.argmax(1) == targets[rows]).sum().item()

    return train_epoch


def torch_alexnet() -> "torch.nn.Module":  # noqa: F821
    """AlexNet 1x of FACTS 2.1."""
    from torch import nn

    def stage(channels: int, units: int) -> list[nn.Module]:
        # TensorFlow's SAME pads the odd pixel behind; PyTorch divides alpha by the window.
        pool = [nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(3, 2), nn.LocalResponseNorm(5, 5 * 2e-5, 0.75, 1.0)]
        return [nn.Conv2d(channels, units, 5, padding=2), nn.ReLU(), *pool]

    dense = [nn.Flatten(), nn.Linear(8 * 8 * 256, 384), nn.ReLU(), nn.Linear(384, 192), nn.ReLU(), nn.Linear(192, 10)]
    return nn.Sequential(*stage(3, 96), *stage(96, 256), *dense)


def torch_wide_resnet28() -> "torch.nn.Module":  # noqa: F821
    """WRN28-1 of FACTS 14.1."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self, channels: int, units: int, stride: int) -> None:
            super().__init__()
            self.residual = nn.Sequential(
                nn.BatchNorm2d(channels),
                nn.ReLU(),
                nn.Conv2d(channels, units, 3, stride, 1, bias=False),
                nn.BatchNorm2d(units),
                nn.ReLU(),
                nn.Conv2d(units, units, 3, 1, 1, bias=False),
            )
            same = stride == 1 and channels == units
            self.shortcut = nn.Identity() if same else nn.Conv2d(channels, units, 1, stride, bias=False)

        def forward(self, inputs: "torch.Tensor") -> "torch.Tensor":  # noqa: F821
            return self.residual(inputs) + self.shortcut(inputs)

    blocks, channels = [], 16
    for stage, units in enumerate((16, 32, 64)):
        for block in range(4):
            blocks.append(Block(channels, units, 2 if stage and not block else 1))
            channels = units
    head = [nn.BatchNorm2d(64), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)]
    return nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), *blocks, *head)


if __name__ == "__main__":
    main()
