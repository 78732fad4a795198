"""Ablation curves of every tap and of all at once: the engine against one compiled full forward pass per mask.

Both sides mask the same units on the same images and must count the same agreeing predictions. Repeats are
interleaved; the ratio is that of the best times.

    python benchmarks/ablation.py --model=resnet18 --size=0.5 --examples=500
"""

import argparse
import functools
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from tfunits import measures, models, surgery
from tfunits.measures.ablation import _Plan

DRAWS, LEVELS, BATCH = 3, 7, 125
JOINT = "joint"


def main() -> None:
    """Run both sides and print their best times and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--size", type=float, default=0.5)
    parser.add_argument("--examples", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    model = models.build(options.model, size=options.size, input_shape=(32, 32, 3), num_classes=10)
    images = np.random.default_rng(0).normal(size=(options.examples, 32, 32, 3)).astype("float32")
    batches = tf.data.Dataset.from_tensor_slices(images).batch(BATCH)
    reference = FullPasses(model, batches)
    seconds: dict[str, list[float]] = {"full pass per mask": [], "engine, tracing included": []}
    engine = functools.partial(measures.ablation_curves, model, batches, draws=DRAWS, levels=LEVELS)
    counts = reference.count()  # Traced here, so that the full passes are timed without.
    for _ in range(options.repeats):
        seconds["full pass per mask"].append(elapsed(reference.count))
        seconds["engine, tracing included"].append(elapsed(engine))
    check_equal(counts, engine())
    best = {side: min(times) for side, times in seconds.items()}
    for side, value in best.items():
        print(f"{side:26s} {value:8.2f} s   (all: {', '.join(f'{t:.2f}' for t in seconds[side])})")
    ratio = best["full pass per mask"] / best["engine, tracing included"]
    print(f"{options.model} size {options.size:g}, {options.examples} images, {len(reference.plans)} taps and joint, "
          f"{LEVELS} levels, {DRAWS} draws: ratio {ratio:.2f}")  # fmt: skip


class FullPasses:
    """The obvious way: a compiled network with masks as inputs, run from the image on for every mask.

    Levels without a masked unit and repeated masks are skipped here too.
    """

    def __init__(self, model: object, batches: tf.data.Dataset) -> None:
        taps = surgery.find_taps(model)
        masked = surgery.mask(model, dict.fromkeys(taps))
        self.shapes = {tap: tuple(i.shape[1:]) for tap, i in zip(taps, masked.inputs[1:], strict=True)}
        self.plans = {
            tap: _Plan.draw(tap, shape, draws=DRAWS, levels=LEVELS, protocol="exact", seed=0)
            for tap, shape in self.shapes.items()
        }
        self.batches = list(batches)
        self.ones = {tap: np.ones(shape, "float32") for tap, shape in self.shapes.items()}

        @tf.function
        def classes(images: tf.Tensor, masks: list[tf.Tensor]) -> tf.Tensor:
            inputs = [images, *(tf.broadcast_to(m, [tf.shape(images)[0], *m.shape]) for m in masks)]
            return tf.argmax(masked(inputs, training=False), axis=-1)

        self.classes = classes

    def count(self) -> dict[tuple[str, int, int], int]:
        """(tap or joint, draw, level) -> agreeing examples."""
        whole = [self.classes(images, list(self.ones.values())) for images in self.batches]
        counts = {}
        for target in [*self.plans, JOINT]:
            for draw in range(DRAWS):
                for level in range(1, LEVELS):
                    if level == LEVELS - 1 and draw:
                        counts[target, draw, level] = counts[target, 0, level]
                        continue
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
