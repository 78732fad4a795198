"""Feature visualisation: all units of all taps together against one unit at a time, compiled and eager.

The other side is a program as a user would write it: Lucid's Fourier parameterisation in TensorFlow's operations, the
same transforms with the same seeds, the network as Keras calls it, a GradientTape and Keras' Adam, one image after the
other; once within `tf.function`, traced once a tap, and once eagerly. Both sides start from the same numbers and draw
the same transforms. Times are those of a step (the difference of a long and a short drawing), so that neither side's
tracing counts; it is printed beside. Repeats are interleaved; ratios are those of the best times.

    python benchmarks/visualization.py --model=resnet18 --side=128
    python benchmarks/visualization.py --model=inception_v3 --side=128
    python benchmarks/visualization.py --model=resnet18 --whole          # all 256 steps, and the activations reached
"""

import argparse
import time

from tfunits.console import import_tensorflow

import_tensorflow()

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from tfunits import models, surgery, visualization  # noqa: E402
from tfunits.visualization import colors, transforms  # noqa: E402
from tfunits.visualization.parameterization import spectrum_frequencies  # noqa: E402
from tfunits.visualization.rendering import start_numbers  # noqa: E402

INPUTS = {"resnet18": (224, 224, 3), "inception_v3": (299, 299, 3)}
NUM_CLASSES = 1001
# Steps before the clock starts: every size that the random scale gives has come up.
WARM_UP = 40


def main() -> None:
    """Run both sides and print their best times and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet18", choices=INPUTS)
    parser.add_argument("--size", type=float, default=0.25)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--units", type=int, default=8)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--every", type=int, default=1, help="take every n-th tap")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--whole", action="store_true", help="draw all 256 steps once, and compare what is reached")
    options = parser.parse_args()
    keras.utils.set_random_seed(0)
    model = models.without_auxiliary_head(
        models.build(options.model, size=options.size, input_shape=INPUTS[options.model], num_classes=NUM_CLASSES)
    )
    taps = list(surgery.find_taps(model))[:: options.every]
    if options.whole:
        compare_whole(model, taps, options)
    else:
        compare_steps(model, taps, options)


def compare_steps(model: keras.Model, taps: list[str], options: argparse.Namespace) -> None:
    """Seconds a step and image of all sides."""
    objectives = [visualization.unit(tap, unit) for tap in taps for unit in range(options.units)]
    start = time.perf_counter()
    plain = {tap: OneUnit(model, tap, options.side) for tap in taps}
    for one in plain.values():
        one.draw(0, WARM_UP)
    print(f"one unit at a time: traced and warm after {time.perf_counter() - start:.0f} s")
    together: dict[int, list[float]] = {0: [], 1: []}
    alone: dict[str, dict[bool, list[float]]] = {tap: {True: [], False: []} for tap in taps}
    for _ in range(options.repeats):
        for which, steps in enumerate((WARM_UP, WARM_UP + options.steps)):
            start = time.perf_counter()
            visualization.render(
                model, objectives, param=visualization.fft_image(options.side), steps=steps, batch=options.batch
            )
            together[which].append(time.perf_counter() - start)
        for tap, one in plain.items():
            alone[tap][True].append(one.time(options.steps))
            alone[tap][False].append(one.time(2, compiled=False))
    ours = (min(together[1]) - min(together[0])) / options.steps / len(objectives)
    compiled, eager = (np.mean([min(times[kind]) for times in alone.values()]) for kind in (True, False))
    print(f"together, batches of {options.batch}: {1e3 * ours:.2f} ms a step and image, {1 / ours:.0f} a second")
    print(
        f"alone, compiled: {1e3 * compiled:.2f} ms ({', '.join(f'{1e3 * min(t[True]):.1f}' for t in alone.values())})"
    )
    print(f"alone, eager: {1e3 * eager:.2f} ms")
    print(f"{options.model} {options.size:g}x, {options.side} pixels, {len(taps)} taps of {options.units} units: "
          f"ratio {compiled / ours:.2f} to the compiled loop, {eager / ours:.1f} to the eager one")  # fmt: skip


def compare_whole(model: keras.Model, taps: list[str], options: argparse.Namespace) -> None:
    """Seconds of a whole drawing, and what both sides reach with one unit of every tap."""
    objectives = [visualization.unit(tap, unit) for tap in taps for unit in range(options.units)]
    param = visualization.fft_image(options.side)
    start = time.perf_counter()
    drawn = visualization.render(model, objectives, param=param, batch=options.batch)
    seconds = time.perf_counter() - start
    print(f"{len(objectives)} images, {len(drawn.history)} steps: {seconds:.0f} s, tracing included")
    same = visualization.render(model, objectives[:: options.units], param=param, redirected_steps=0)
    for tap, plain_redirected, ours in zip(taps, drawn.values[:: options.units], same.values, strict=True):
        one = OneUnit(model, tap, options.side)
        one.draw(0, len(drawn.history))
        print(f"{tap:20s} reached {ours:.4f}, alone {one.value():.4f}; with redirected ReLUs {plain_redirected:.4f}")


class OneUnit:
    """The obvious program, for one unit of a tap."""

    def __init__(self, model: keras.Model, tap: str, side: int) -> None:
        part = surgery.read(model, [tap])
        (start,) = start_numbers(visualization.fft_image(side), 0, visualization.unit(tap, 0), 0)
        self.numbers = tf.Variable(start[None])
        self._optimizer = keras.optimizers.Adam(0.05, epsilon=1e-8)
        self._optimizer.build([self.numbers])
        self._side, self._part, self._tap = side, part, tap
        self._compiled = tf.function(self._step, input_signature=[tf.TensorSpec([], tf.int32)])

    def _image(self) -> tf.Tensor:
        side = self._side
        scale = side / np.maximum(spectrum_frequencies(side, side), 1 / side)
        spectrum = tf.complex(self.numbers[:, 0], self.numbers[:, 1]) * tf.constant(scale, tf.complex64)
        image = tf.transpose(tf.signal.irfft2d(spectrum), (0, 2, 3, 1)) / 4
        return tf.sigmoid(colors.correlate_colors(image))

    def _value(self, image: tf.Tensor) -> tf.Tensor:
        # Not the model itself, which would refuse images of another size.
        return tf.reduce_mean(self._part.call(image, training=False)[self._tap][..., 0])

    def _step(self, step: tf.Tensor) -> tf.Tensor:
        seed = tf.random.experimental.stateless_fold_in(tf.constant([0, 0]), step)
        with tf.GradientTape() as tape:
            changed = transforms.apply(transforms.standard(self._side, self._side), self._image(), seed)
            loss = -self._value(changed)
        self._optimizer.apply_gradients([(tape.gradient(loss, self.numbers), self.numbers)])
        return loss

    def draw(self, first: int, steps: int, *, compiled: bool = True) -> None:
        """Some steps."""
        step_function = self._compiled if compiled else self._step
        for step in range(first, first + steps):
            step_function(tf.constant(step))

    def time(self, steps: int, *, compiled: bool = True) -> float:
        """Seconds a step."""
        start = time.perf_counter()
        self.draw(WARM_UP, steps, compiled=compiled)
        return (time.perf_counter() - start) / steps

    def value(self) -> float:
        """What the image reaches without transforms."""
        return float(self._value(self._image()))


if __name__ == "__main__":
    main()
