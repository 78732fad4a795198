"""Gradients of convolutions over few positions: our products of matrices against TensorFlow's own, on one CPU core.

First single convolutions, then whole training steps of networks on images of 32x32 pixels (batches of 32, as on the
embedded digits). Both sides are compiled in one process and timed in turn; the ratios are those of the best times.

    python benchmarks/small_maps.py
    python benchmarks/small_maps.py --networks resnet18
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
import numpy as np
import tensorflow as tf

from tfunits import models, training
from tfunits.configs import resolve
from tfunits.training.engine import make_train_step
from tfunits.training.optimizers import make_optimizer
from tfunits.training.small_maps import send_gradients_as_products

BATCH, SIDE, CLASSES = 32, 32, 10
# Side of the map, channels, units, side of the kernel, stride: as in ResNet18, ResNet50 and Inception-v3.
CONVOLUTIONS = ((8, 64, 64, 3, 1), (4, 128, 128, 3, 1), (2, 256, 256, 3, 1), (1, 512, 512, 3, 1), (2, 256, 512, 3, 2),
                (1, 2048, 512, 1, 1))  # fmt: skip
NETWORKS = ("resnet18", "inception_v3", "resnet50")


def main() -> None:
    """Time convolutions, then networks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", default=NETWORKS)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    for side, channels, units, kernel, stride in CONVOLUTIONS:
        own, ours = compare(convolve_both(side, channels, units, kernel, stride), options.repeats)
        name = f"{side}x{side}x{channels} to {units}, kernel {kernel}, stride {stride}"
        print(f"{name:40s} {1e3 * own:7.1f} ms, ours {1e3 * ours:7.1f} ms: {own / ours:.1f} times as fast", flush=True)
    for name in options.networks:
        own, ours = compare(train_both(name), options.repeats)
        print(f"a step of {name:30s} {own:7.2f} s, ours {ours:7.2f} s: {own / ours:.1f} times as fast", flush=True)


def compare(sides: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """The best seconds of each side, in turn, after one call that is not counted."""
    seconds: list[list[float]] = [[] for _ in sides]
    for repeat in range(repeats + 1):
        for run, times in zip(sides, seconds, strict=True):
            start = time.perf_counter()
            run()
            if repeat:
                times.append(time.perf_counter() - start)
    return [min(times) for times in seconds]


def convolve_both(side: int, channels: int, units: int, kernel: int, stride: int) -> list[Callable[[], object]]:
    """A convolution, forwards and backwards, with TensorFlow's gradient and ours."""
    given = keras.Input((side, side, channels))
    model = keras.Model(given, keras.layers.Conv2D(units, kernel, stride, padding="same")(given))
    images = tf.random.normal((BATCH, side, side, channels))

    def make() -> Callable[[], object]:
        @tf.function
        def differentiate() -> list[tf.Tensor]:
            with tf.GradientTape() as tape:
                tape.watch(images)
                outputs = model(images)
            return tape.gradient(outputs, [images, model.layers[-1].kernel.value])

        return lambda: differentiate()[0].numpy()

    return [make(), send_gradients_as_products(model, make())]


def train_both(name: str) -> list[Callable[[], object]]:
    """A training step of a network at size 1, with TensorFlow's gradients and ours."""
    config = resolve({"model": name}).training
    model = models.build(name, size=1, input_shape=(SIDE, SIDE, 3), num_classes=CLASSES)
    strategy = training.make_strategy(1)
    images = tf.random.normal((BATCH, SIDE, SIDE, 3))
    labels = tf.constant(np.arange(BATCH, dtype="int32") % CLASSES)

    def make() -> Callable[[], object]:
        optimizer = make_optimizer(config, config.learning_rate)
        optimizer.build(model.trainable_variables)
        step = make_train_step(model, optimizer, config, weight_decay=config.weight_decay or None)
        train = tf.function(lambda: strategy.run(step, args=(images, labels, tf.ones(BATCH))))
        return lambda: train().numpy()

    return [make(), send_gradients_as_products(model, make())]


if __name__ == "__main__":
    main()
