"""Redundancy, similarity and |r| of all taps: streaming moments against stored activations and numpy.

The obvious way stores the sampled activations of every tap and sampling, and calls numpy's corrcoef, cov and eigh on
each, as the authors' program does. Both sides are given the same activations, so that the forward pass is apart; then
the whole of `unit_statistics` is timed against one plain forward pass over the data. Repeats are interleaved; ratios
are those of the best times.

    python benchmarks/units.py --model=resnet56 --examples=2000
    python benchmarks/units.py --model=alexnet --size=4 --examples=2000 --no_forward
"""

import argparse
import concurrent.futures
import os
import resource
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from tfunits import measures, models, surgery
from tfunits.measures.devices import Piece
from tfunits.measures.units import MAX_ROWS, SAMPLINGS, Sampler, TapAccumulator, add_to_all
from tfunits.statistics import UnitStatistics, count_components, one_thread

BATCH = 125
THRESHOLD = 0.5


def main() -> None:
    """Run both sides and print their best times and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet56")
    parser.add_argument("--size", type=float, default=1)
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no_forward", action="store_true", help="leave the comparison with a forward pass out")
    parser.add_argument("--engine_only", action="store_true", help="only the engine's time and peak memory")
    options = parser.parse_args()
    model = models.build(options.model, size=options.size, input_shape=(32, 32, 3), num_classes=10)
    images = np.random.default_rng(0).normal(size=(min(options.examples, 2000), 32, 32, 3)).astype("float32")
    batches = tf.data.Dataset.from_tensor_slices(images).repeat(-(-options.examples // len(images)))
    batches = batches.take(options.examples).batch(BATCH)
    batches = batches.apply(tf.data.experimental.assert_cardinality(-(-options.examples // BATCH)))
    named = f"{options.model} size {options.size:g}, {options.examples} images"
    if options.engine_only:
        times = [elapsed(lambda: measures.unit_statistics(model, batches)) for _ in range(options.repeats)]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{named}: {min(times):.2f} s, peak memory {peak:.2f} GiB")
        return
    compare_statistics(model, images, options, named)
    if not options.no_forward:
        compare_forward(model, batches, options, named)


def compare_statistics(model: object, images: np.ndarray, options: argparse.Namespace, named: str) -> None:
    """Both sides on the same activations of one batch, given as often as there are batches."""
    taps = list(surgery.find_taps(model))
    found = surgery.read(model, taps)(images[:BATCH], training=False)
    activations = {tap: found[tap].numpy() for tap in taps}
    num_batches = options.examples // BATCH
    seconds: dict[str, list[float]] = {"numpy": [], "streaming": []}
    for _ in range(options.repeats):
        start = time.perf_counter()
        theirs = store_and_decompose(activations, num_batches)
        seconds["numpy"].append(time.perf_counter() - start)
        start = time.perf_counter()
        ours = stream(activations, num_batches)
        seconds["streaming"].append(time.perf_counter() - start)
    for tap in taps:
        print(f"  {tap}: redundant {theirs[tap][0]:.1f} and {ours[tap].num_redundant():.1f}, "
              f"similar {theirs[tap][1]:.3f} and {ours[tap].mean_similar():.3f}")  # fmt: skip
    report(named + ", forward pass apart", seconds)


def store_and_decompose(activations: dict[str, np.ndarray], num_batches: int) -> dict[str, tuple[float, float]]:
    """Tap -> (redundant units, similar units), from stored samples, averaged over samplings."""
    results = {}
    for tap, values in activations.items():
        rows = values.reshape(-1, values.shape[-1])
        most = max(1, MAX_ROWS // num_batches)
        samplings = SAMPLINGS if len(rows) > most else 1
        redundant, similar = [], []
        for sampling in range(samplings):
            generator = np.random.default_rng(sampling)
            stored = [
                rows[generator.choice(len(rows), most, replace=False)] if samplings > 1 else rows
                for _ in range(num_batches)
            ]
            sample = np.concatenate(stored)
            with np.errstate(invalid="ignore", divide="ignore"):
                correlation = np.abs(np.corrcoef(sample, rowvar=False))
            variances, _ = np.linalg.eigh(np.cov(sample, rowvar=False))
            redundant.append(len(variances) - count_components(np.clip(variances, 0, None)))
            similar.append((np.nan_to_num(correlation) >= THRESHOLD).sum(axis=1).mean() - 1)
            np.histogram(np.nan_to_num(correlation[np.triu_indices(len(correlation), 1)]), bins=50, range=(0, 1))
        results[tap] = (float(np.mean(redundant)), float(np.mean(similar)))
    return results


def stream(activations: dict[str, np.ndarray], num_batches: int) -> dict[str, UnitStatistics]:
    """Tap -> statistics, as `unit_statistics` makes them of the same activations."""
    examples = num_batches * BATCH
    samplers, accumulators, rows, active = {}, {}, {}, {}
    for tap, values in activations.items():
        units, positions = values.shape[-1], int(np.prod(values.shape[1:-1]))
        whole = positions * examples <= MAX_ROWS
        samplers[tap] = Sampler(
            num_positions=positions,
            rows_per_example=positions if whole else max(1, MAX_ROWS // examples),
            samplings=1 if whole else SAMPLINGS,
            examples=None,
            key=(0, 0),
        )
        accumulators[tap] = TapAccumulator(units, samplers[tap], "float32")
        rows[tap] = values.reshape(-1, units)
        active[tap] = (rows[tap] != 0).sum(axis=0)
    piece = Piece([tf.zeros([BATCH, 1])], None, 0)
    with one_thread(), concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for batch in range(num_batches):
            drawn = {tap: s.rows(batch * BATCH, BATCH) for tap, s in samplers.items() if not s.reads_all}
            found = {
                tap: (active[tap], np.zeros(0), np.take(rows[tap], np.concatenate(drawn[tap]), axis=0) if tap in drawn
                      else rows[tap])
                for tap in activations
            }  # fmt: skip
            add_to_all(pool, accumulators, piece, found, drawn)
    readings = {tap: accumulator.reading() for tap, accumulator in accumulators.items()}
    return {tap: UnitStatistics.from_moments(r.moments, r.active_share) for tap, r in readings.items()}


def compare_forward(model: object, batches: tf.data.Dataset, options: argparse.Namespace, named: str) -> None:
    """The whole measure against one plain compiled forward pass over the data."""
    plain = tf.function(lambda images: tf.argmax(model(images, training=False), axis=-1))

    def forward() -> None:
        for images in batches:
            plain(images).numpy()

    forward()
    seconds: dict[str, list[float]] = {"unit_statistics": [], "one forward pass": []}
    for _ in range(options.repeats):
        seconds["one forward pass"].append(elapsed(forward))
        seconds["unit_statistics"].append(elapsed(lambda: measures.unit_statistics(model, batches)))
    report(named + ", tracing and forward pass included", seconds)


def elapsed(function: object) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def report(named: str, seconds: dict[str, list[float]]) -> None:
    """Print best times and the ratio of the first to the second."""
    best = {side: min(times) for side, times in seconds.items()}
    for side, value in best.items():
        print(f"{side:26s} {value:8.3f} s   (all: {', '.join(f'{t:.3f}' for t in seconds[side])})")
    first, second = best.values()
    print(f"{named}: {' / '.join(best)} = {first / second:.2f}")


if __name__ == "__main__":
    main()
