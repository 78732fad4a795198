"""A grid of small networks: one process for all of them against one process a network.

Both sides type the same command, with one seed or with many, and write whole run directories; every network that both
have trained is compared bit by bit. Repeats are interleaved; rates are those of the best times.

    python benchmarks/many_networks.py --steps=train,measure
"""

import argparse
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np

PROGRAM = pathlib.Path(__file__).parents[1] / "run_experiments.py"


def main() -> None:
    """Run both sides, print their best rates and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=150, help="of the grid")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", default="train")
    parser.add_argument("--size", type=float, default=1.0)
    parser.add_argument("--dataset", default="uncorrelated10")
    parser.add_argument("--num_examples", type=int, default=1000)
    options = parser.parse_args()
    flags = [
        "--model=mlp", f"--dataset={options.dataset}", f"--size={options.size:g}", f"--steps={options.steps}",
        f"--num_examples={options.num_examples}", "--save=best",
    ]  # fmt: skip
    counts = {"one process a network": 1, "one process for all": options.networks}
    seconds: dict[str, list[np.ndarray]] = {side: [] for side in counts}
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory() as root:
            digests = {}
            for side, count in counts.items():
                folder = pathlib.Path(root) / side.replace(" ", "_")
                seconds[side].append(elapsed([*flags, f"--run_root={folder}", f"--seed={seeds(count)}"]) / count)
                digests[side] = read_digests(folder)
            alone, together = digests.values()
            if not alone or any(together[run] != digest for run, digest in alone.items()):
                raise SystemExit(f"expected the same weights on both sides, received {alone} and {together}")
    best = {side: np.min(times, axis=0) for side, times in seconds.items()}
    for side, (wall, cores) in best.items():
        rates = ", ".join(f"{60 / t:.1f}" for t, _ in seconds[side])
        print(f"{side:24s} {60 / wall:7.1f} networks a minute (all: {rates}), {cores:.2f} s of a core per network")
    wall, cores = best["one process a network"] / best["one process for all"]
    print(
        f"mlp {options.size:g}x on {options.dataset}, {options.num_examples} examples, {options.steps}, "
        f"{options.networks} networks, the same bits: ratio {wall:.1f}, cores {cores:.1f}"
    )


def seeds(count: int) -> str:
    """A grid axis of so many seeds."""
    return ",".join(map(str, range(count)))


def elapsed(flags: list[str]) -> np.ndarray:
    """Seconds of a command, by the clock and of all cores together."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, PROGRAM, *flags], capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(done.stderr)
    return np.array([
        time.perf_counter() - start, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    ])  # fmt: skip


def read_digests(folder: pathlib.Path) -> dict[str, str]:
    """Run -> digest of its weights."""
    return {path.parts[-3]: json.loads(path.read_text())["weights_sha256"] for path in folder.glob("*/done/train.json")}


if __name__ == "__main__":
    main()
