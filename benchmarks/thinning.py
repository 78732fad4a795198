"""How small a trained network becomes at the same agreement: random order, order by L1 norm, and `thin`.

    python benchmarks/thinning.py [--model=alexnet] [--size=2] [--agreement=0.99] [--run_root=DIR]

The network is trained on the embedded digits, or taken from a finished run below --run_root. In random order and by the
L1 norm of incoming weights the same share of every layer is removed, the largest one at which the network keeps enough
classes on the validation split; every result is measured on the test split.
"""

import argparse
import tempfile
import time

import keras
import numpy as np

import tfunits
from tfunits import datasets, experiments, surgery, thinning
from tfunits.artifacts import RunDir
from tfunits.configs import ExecutionConfig, resolve
from tfunits.thinning.agreement import scores_of

# Shares of units that are tried by halving.
HALVINGS = 7


def load(name: str, size: float, run_root: str) -> keras.Model:
    """The trained network of a run, which is trained first if it is not there."""
    config = resolve({"model": name, "size": size})
    experiments.run_grid([config], ExecutionConfig(run_root=run_root, steps=("train",)))
    return tfunits.load(str(RunDir.of(config, run_root).path))


def batches(data: datasets.Dataset, split: str) -> list:
    """Inputs of a split in memory."""
    return [[inputs] for inputs, *_ in data.batches(split)]


def remove_share(model: keras.Model, orders: dict[str, np.ndarray], share: float) -> keras.Model:
    """The network without the first units of every order."""
    return surgery.remove_units(
        model, {name: order[: int(share * len(order))].tolist() for name, order in orders.items()}
    )


def find_orders(model: keras.Model, by_norm: bool, seed: int) -> dict[str, np.ndarray]:
    """Orders of all layers but the output: random, or by the L1 norm of incoming weights."""
    graph = surgery.Graph(model)
    units = surgery.UnitMap(graph)
    generator = np.random.default_rng(seed)
    orders = {}
    for call, axis in units.sources:
        ids = units.layouts[call.outputs[0]][axis]
        if not set(ids.tolist()) & set(units.fixed):
            norms = surgery.incoming_norms(graph, call.outputs[0])
            orders[call.name] = np.argsort(norms) if by_norm else generator.permutation(len(ids))
    return orders


def compare(name: str, model: keras.Model, small: keras.Model, data: datasets.Dataset, seconds: float) -> None:
    """Print a line."""
    test = batches(data, "test")
    agreement = (scores_of(model, test).argmax(1) == scores_of(small, test).argmax(1)).mean()
    parameters = small.count_params()
    flops = [thinning.count_flops(m) for m in (model, small)]
    print(
        f"{name:28} {parameters:>12,} {parameters / model.count_params():>8.2%} {flops[1] / flops[0]:>8.2%} "
        f"{agreement:>10.4f} {seconds:>8.0f}",
        flush=True,
    )


def search_share(
    model: keras.Model, orders: dict[str, np.ndarray], data: datasets.Dataset, agreement: float
) -> keras.Model:
    """The smallest network of one order that agrees often enough on the validation split."""
    validation = batches(data, "validation")
    classes = scores_of(model, validation).argmax(1)
    low, high, best = 0.0, 1.0, model
    for _ in range(HALVINGS):
        share = (low + high) / 2
        small = remove_share(model, orders, share)
        if (scores_of(small, validation).argmax(1) == classes).mean() >= agreement:
            low, best = share, small
        else:
            high = share
    return best


def main() -> None:
    """Print one line a way of thinning."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="alexnet")
    parser.add_argument("--size", type=float, default=2)
    parser.add_argument("--agreement", type=float, default=0.99)
    parser.add_argument("--max_trials", type=int, default=60)
    parser.add_argument("--run_root", default=None, help="a temporary directory if not given")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = load(options.model, options.size, options.run_root or folder)
    data = datasets.load("digits", preprocessing="vector64" if options.model == "mlp" else "image32")
    print(f"{'':28} {'parameters':>12} {'of all':>8} {'flops':>8} {'agreement':>10} {'seconds':>8}")
    print(f"{'whole network':28} {model.count_params():>12,}")
    for name, by_norm, seed in (
        ("random order, seed 0", False, 0),
        ("random order, seed 1", False, 1),
        ("L1 order", True, 0),
    ):
        start = time.perf_counter()
        small = search_share(model, find_orders(model, by_norm, seed), data, options.agreement)
        compare(name, model, small, data, time.perf_counter() - start)
    start = time.perf_counter()
    found = thinning.thin(model, data, agreement=options.agreement, max_trials=options.max_trials)
    compare("thin", model, found.model, data, time.perf_counter() - start)
    print(found)


if __name__ == "__main__":
    main()
