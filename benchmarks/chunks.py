"""Chunks of the last hidden layer: reconstruction from the covariance alone, errors from one gather for all draws.

Reconstruction against scikit-learn's Ridge per chunk and numpy's covariance of its residuals; errors against gathering
the chunk's columns and multiplying them, one draw at a time. Both sides have the same activations and chunks; repeats
are interleaved; ratios are those of the best times.

    python benchmarks/chunks.py --draws=40 --repeats=5
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

from tfunits import measures
from tfunits.statistics import (
    CORRELATION_FLOOR,
    RIDGE_PENALTY,
    StreamingMoments,
    chunk_sizes,
    draw_chunks,
    reconstruction_curve,
)

CLASSES = 10


def main() -> None:
    """Run both sides of both and print their best times and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--draws", type=int, default=40)
    parser.add_argument("--error_draws", type=int, default=500, help="draws of the comparison of errors")
    parser.add_argument("--reference_draws", type=int, default=1, help="draws of the slow side, scaled to --draws")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    # A layer like a trained network's: 40 features, mixed, with noise of each unit's own, half of it cut off by ReLU.
    features = generator.normal(size=(options.examples, 40)) @ generator.normal(size=(40, options.width))
    noise = 0.5 * generator.normal(size=features.shape)
    activations = np.maximum(features / np.sqrt(40) + noise, 0).astype(np.float32)
    compare_reconstruction(activations, options)
    compare_errors(activations, options)


def compare_reconstruction(activations: np.ndarray, options: argparse.Namespace) -> None:
    """R2 and residual correlation of every size and draw, in-sample and held out, on both sides."""
    width = activations.shape[1]
    sizes = chunk_sizes(width)
    generator = np.random.default_rng(1)
    orders = [np.array([generator.permutation(width) for _ in range(options.draws)]) for _ in sizes]
    seconds: dict[str, list[float]] = {"scikit-learn": [], "covariance": []}
    for _ in range(options.repeats):
        start = time.perf_counter()
        theirs = [[fit_ridge(activations, o[:size]) for o in own[: options.reference_draws]]
                  for size, own in zip(sizes, orders, strict=True)]  # fmt: skip
        scale = options.draws / options.reference_draws
        seconds["scikit-learn"].append((time.perf_counter() - start) * scale)
        start = time.perf_counter()
        even, odd = moments(activations[::2]), moments(activations[1::2])
        ours = reconstruction_curve(even, odd, sizes, orders)
        seconds["covariance"].append(time.perf_counter() - start)
    count = options.reference_draws
    r2, correlation, held_out_r2, held_out_correlation = np.array(theirs).transpose(2, 0, 1)
    pairs = {
        "R2": (ours.r2, r2),
        "correlation": (ours.correlation, correlation),
        "held-out R2": (ours.held_out_r2, held_out_r2),
        "held-out correlation": (ours.held_out_correlation, held_out_correlation),
    }
    shown = (f"{name} {np.nanmax(np.abs(a[:, :count] - b)):.1e}" for name, (a, b) in pairs.items())
    print(f"largest difference: {', '.join(shown)}")
    report(f"reconstruction, {len(activations)} x {width}, {options.draws} draws", seconds)


def moments(rows: np.ndarray) -> object:
    """Moments in float64, as `measures.reconstruction` makes them."""
    stream = StreamingMoments(rows.shape[1])
    stream.add(rows)
    return stream.moments()


def fit_ridge(activations: np.ndarray, chunk: np.ndarray) -> tuple[float, float, float, float]:
    """R2 and mean |correlation| of residuals in float64: in-sample over all pairs; fitted on every other row, scored on
    the rest, over pairs outside the chunk."""
    exact = activations.astype(np.float64)
    outside = np.setdiff1d(np.arange(exact.shape[1]), chunk)
    inside = fit_and_score(exact, exact, chunk, np.arange(exact.shape[1]))
    return (*inside, *fit_and_score(exact[::2], exact[1::2], chunk, outside))


def fit_and_score(fitted: np.ndarray, scored: np.ndarray, chunk: np.ndarray, pairs: np.ndarray) -> tuple[float, float]:
    """(R2, mean |correlation| of the residuals of some units)."""
    ridge = Ridge(alpha=RIDGE_PENALTY).fit(fitted[:, chunk], fitted)
    predicted = ridge.predict(scored[:, chunk])
    r2 = r2_score(scored, predicted, multioutput="variance_weighted")
    if len(pairs) < 2:
        return r2, np.nan
    covariance = np.cov((scored - predicted)[:, pairs], rowvar=False)
    std = np.sqrt(np.diag(covariance))
    correlation = np.abs(covariance) / (np.outer(std, std) + CORRELATION_FLOOR)
    return r2, correlation[np.tril_indices(len(correlation), -1)].mean()


def compare_errors(activations: np.ndarray, options: argparse.Namespace) -> None:
    """Labels of every size and draw."""
    width = activations.shape[1]
    labels = np.random.default_rng(2).integers(CLASSES, size=len(activations))
    inputs = keras.Input((width,))
    hidden = keras.layers.ReLU(name="tap_hidden")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(CLASSES, name="scores")(hidden))
    kernel, bias = (weight.numpy() for weight in model.get_layer("scores").weights)
    data = tf.data.Dataset.from_tensor_slices((activations, labels)).batch(500)
    seconds: dict[str, list[float]] = {"gather and multiply": [], "chunks": []}
    for _ in range(options.repeats):
        start = time.perf_counter()
        wrong = [
            [int(((activations[:, units] @ kernel[units] + bias).argmax(axis=1) != labels).sum()) for units in own]
            for own in (draw_chunks(width, size, options.error_draws) for size in chunk_sizes(width))
        ]
        seconds["gather and multiply"].append(time.perf_counter() - start)
        start = time.perf_counter()
        found = measures.chunks(model, data, draws=options.error_draws)
        seconds["chunks"].append(time.perf_counter() - start)
    difference = max(int(np.abs(np.array(a) - b[: len(a)]).max()) for a, b in zip(wrong, found.num_wrong, strict=True))
    print(f"largest difference of wrong examples: {difference} of {len(labels)}")
    report(f"chunk errors, {len(activations)} x {width}, {options.error_draws} draws, tracing included", seconds)


def report(named: str, seconds: dict[str, list[float]]) -> None:
    """Print best times and the ratios of the first to the others."""
    best = {side: min(times) for side, times in seconds.items()}
    for side, value in best.items():
        print(f"{side:28s} {value:8.3f} s   (all: {', '.join(f'{t:.3f}' for t in seconds[side])})")
    first = next(iter(best.values()))
    ratios = ", ".join(f"{first / value:.1f} times faster: {side}" for side, value in list(best.items())[1:])
    print(f"{named}: {ratios}")


if __name__ == "__main__":
    main()
