"""Ablation curves of every tap and of all at once: the engine against one compiled full forward pass per mask.

Both sides mask the same units on the same images and must count the same agreeing predictions; both skip level 0. The
limit is what no engine of whole layers can beat: one pass, and for every tap fifteen times the multiplications behind
it, at the rate of the compiled network. Repeats are interleaved; ratios are those of the best times.

    python benchmarks/ablation.py --model=resnet56 --examples=250
    python benchmarks/ablation.py --model=resnet56 --examples=100 --every_relu
"""

import argparse
import functools
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from tfunits import measures, models, surgery
from tfunits.measures.orders import MaskingPlan

DRAWS, LEVELS, BATCH = 3, 7, 125
JOINT = "joint"


def main() -> None:
    """Run both sides and print their best times, the limit, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--size", type=float, default=1)
    parser.add_argument("--examples", type=int, default=250)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--every_relu", action="store_true", help="every activation is a tap")
    parser.add_argument("--engine_only", action="store_true", help="only the engine's times, for growing --examples")
    options = parser.parse_args()
    model = models.build(options.model, size=options.size, input_shape=(32, 32, 3), num_classes=10)
    if options.every_relu:
        model = without_tap_names(model)
    images = np.random.default_rng(0).normal(size=(options.examples, 32, 32, 3)).astype("float32")
    batches = tf.data.Dataset.from_tensor_slices(images).batch(BATCH)
    engine = functools.partial(measures.ablation_curves, model, batches, draws=DRAWS, levels=LEVELS)
    if options.engine_only:
        times = [elapsed(engine) for _ in range(options.repeats)]
        print(f"{options.model} size {options.size:g}, {options.examples} images: {min(times):.2f} s")
        return
    reference = FullPasses(model, batches)
    seconds: dict[str, list[float]] = {"full pass per mask": [], "engine, tracing included": [], "one full pass": []}
    counts = reference.count()  # Traced here, so that the full passes are timed without.
    for _ in range(options.repeats):
        seconds["full pass per mask"].append(elapsed(reference.count))
        seconds["engine, tracing included"].append(elapsed(engine))
        seconds["one full pass"].append(elapsed(reference.whole))
    check_equal(counts, engine())
    best = {side: min(times) for side, times in seconds.items()}
    limit = best["one full pass"] * (1 + (LEVELS - 2) * DRAWS * share_behind_taps(model))
    for side, value in [*best.items(), ("limit", limit)]:
        every = ", ".join(f"{t:.2f}" for t in seconds.get(side, []))
        print(f"{side:26s} {value:8.2f} s   {every and f'(all: {every})'}")
    time_of_engine = best["engine, tracing included"]
    print(f"{options.model} size {options.size:g}, {options.examples} images, {len(reference.plans)} taps and joint, "
          f"{LEVELS} levels, {DRAWS} draws: ratio {best['full pass per mask'] / time_of_engine:.2f}, "
          f"{time_of_engine / limit:.2f} times the limit")  # fmt: skip


def without_tap_names(model: keras.Model) -> keras.Model:
    """The same network with layers of other names, so that every activation and bare merge is a tap."""
    graph = surgery.Graph(model)
    inputs = keras.Input(model.input_shape[1:])
    values = {graph.inputs[0]: inputs}
    for call in graph.calls:
        if call.name.startswith(surgery.TAP_PREFIX):
            values[call.outputs[0]] = values[call.inputs[0]]
        else:
            values.update(zip(call.outputs, call.run(values, inference=False), strict=True))
    return keras.Model(inputs, values[graph.outputs[0]], name=f"{model.name}_every_relu")


def share_behind_taps(model: keras.Model) -> float:
    """Multiplications behind each tap, and behind the first for all at once, over those of the network."""
    graph = surgery.Graph(model)

    def cost(call: surgery.Call) -> float:
        kernel = surgery.kernel_of(call.operation)
        positions = np.prod(graph.shape(call.outputs[0])[1:-1]) if kernel is not None else 0
        return float(np.prod(kernel.shape) * positions) if kernel is not None else 0.0

    total = sum(map(cost, graph.calls))
    keys = list(surgery.tap_keys(graph).values())
    return sum(sum(map(cost, graph.behind(part))) for part in [*([key] for key in keys), keys]) / total


class FullPasses:
    """The obvious way: a compiled network with masks as inputs, run from the image on for every mask."""

    def __init__(self, model: object, batches: tf.data.Dataset) -> None:
        taps = surgery.find_taps(model)
        masked = surgery.mask(model, dict.fromkeys(taps))
        self.shapes = {tap: tuple(i.shape[1:]) for tap, i in zip(taps, masked.inputs[1:], strict=True)}
        self.plans = {
            tap: MaskingPlan.draw(tap, shape, draws=DRAWS, levels=LEVELS) for tap, shape in self.shapes.items()
        }
        self.batches = list(batches)
        self.ones = {tap: np.ones(shape, "float32") for tap, shape in self.shapes.items()}

        @tf.function
        def classes(images: tf.Tensor, masks: list[tf.Tensor]) -> tf.Tensor:
            inputs = [images, *(tf.broadcast_to(m, [tf.shape(images)[0], *m.shape]) for m in masks)]
            return tf.argmax(masked(inputs, training=False), axis=-1)

        plain = tf.function(lambda images: tf.argmax(model(images, training=False), axis=-1))
        self.classes, self.plain = classes, plain
        self.whole()

    def whole(self) -> list[tf.Tensor]:
        """Classes of the whole network."""
        return [self.plain(images) for images in self.batches]

    def count(self) -> dict[tuple[str, int, int], int]:
        """(tap or joint, draw, level) -> agreeing examples."""
        whole = self.whole()
        counts = {}
        for target in [*self.plans, JOINT]:
            for draw in range(DRAWS):
                for level in range(1, LEVELS):
                    masks = [
                        plan.mask(draw, level) if target in (tap, JOINT) else self.ones[tap]
                        for tap, plan in self.plans.items()
                    ]
                    masks = [tf.constant(mask) for mask in masks]
                    counts[target, draw, level] = sum(
                        int(tf.reduce_sum(tf.cast(self.classes(images, masks) == same, tf.int32)))
                        for images, same in zip(self.batches, whole, strict=True)
                    )
        return counts


def elapsed(function: object) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def check_equal(counts: dict, curves: measures.AblationCurves) -> None:
    """Stop if the two sides disagree by more than rounding at a tie can explain."""
    both = {**curves.taps, JOINT: curves.joint}
    differences = [abs(both[tap].num_agreeing[draw, level] - count) for (tap, draw, level), count in counts.items()]
    print(f"largest difference of agreeing examples: {max(differences)}")
    if max(differences) > 1:
        raise SystemExit("the two sides disagree")


if __name__ == "__main__":
    main()
