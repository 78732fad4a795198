"""Run directories as the measure step writes them, of networks whose numbers can be worked out by hand.

The names below are those of finished runs on users' disks: if one moves, their runs can no longer be read.
"""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from tfunits.artifacts import RunDir, write_arrays, write_json
from tfunits.configs import MeasureConfig, resolve, short_hash
from tfunits.statistics import AblationCurve, ChunkErrors, Moments, ReconstructionCurve, UnitStatistics

# Two units that vary independently, over eight rows.
FIRST = np.array([1.0, 1, 1, 1, -1, -1, -1, -1])
SECOND = np.array([1.0, 1, -1, -1, 1, 1, -1, -1])
OFF = np.zeros(8)
# Tap -> its units: copies in pairs; one unit that works beside three dead ones.
UNITS = {"copies": np.stack([FIRST, -FIRST, SECOND, SECOND], axis=1), "dead": np.stack([FIRST, OFF, OFF, OFF], axis=1)}
# Agreeing examples of ten at no, half and all units masked, in two draws: crossings at 0.625 and 0.6.
COUNTS = {"copies": [[10, 9, 5], [10, 10, 0]], "dead": [[10, 10, 10], [10, 10, 10]]}
JOINT = [[10, 6, 2], [10, 8, 3]]  # crossings at 0.25 and 0.5
SCORES = {"accuracy": 0.5, "examples": 10, "loss": 1.25}


def make_curve(counts: Sequence[Sequence[int]]) -> AblationCurve:
    return AblationCurve(
        num_units=4, num_examples=10, fractions=np.array([0, 0.5, 1]), num_agreeing=np.array(counts)
    )  # fmt: skip


def make_statistics(rows: np.ndarray) -> UnitStatistics:
    return UnitStatistics.from_moments([Moments.from_samples(rows)], (rows != 0).mean(axis=0))


def ablation_settings(measure: MeasureConfig, split: str = "test", unit: str = "channel") -> dict:
    return {
        "split": split, "unit": unit, "draws": measure.draws, "levels": measure.levels,
        "protocol": measure.protocol, "seed": measure.measure_seed,
    }  # fmt: skip


def unit_settings(measure: MeasureConfig, split: str = "test") -> dict:
    return {
        "split": split, "max_rows": measure.max_rows or "all", "samplings": measure.samplings,
        "similarity_threshold": measure.similarity_threshold, "seed": measure.measure_seed,
    }  # fmt: skip


def write_run(root: pathlib.Path, given: Mapping | None = None, *, state: str | None = "finished") -> RunDir:
    """An empty run of the mlp, or of what is given."""
    config = resolve({"model": "mlp", **(given or {})})
    run_dir = RunDir.of(config, root)
    with run_dir.claimed(config):
        if state:
            run_dir.set_status(state)
    return run_dir


def write_measure(
    run_dir: RunDir, name: str, settings: Mapping, values: Mapping, epoch: int | None = None
) -> pathlib.Path:
    """A measure of the trained network, or after an epoch."""
    mark = "" if epoch is None else f"@{epoch}"
    path = run_dir.measures / f"{name}{mark}-{short_hash(dict(settings))}.json"
    write_json(path, {"measure": name, "settings": settings, **values})
    return path


def write_accuracy(run_dir: RunDir, epoch: int | None = None, **scores: Mapping) -> pathlib.Path:
    """Split -> its scores; those of `SCORES` on test if nothing is given."""
    return write_measure(run_dir, "accuracy", {}, {"splits": scores or {"test": SCORES}}, epoch)


def write_ablation(
    run_dir: RunDir,
    counts: Mapping = COUNTS,
    joint: Sequence = JOINT,
    measure: MeasureConfig | None = None,
    **where: str,
) -> pathlib.Path:
    """An ablation on test with channels as units, or `where` it says."""
    curves = {tap: make_curve(rows).to_dict() for tap, rows in counts.items()}
    settings = ablation_settings(measure or MeasureConfig(), **where)
    return write_measure(run_dir, "ablation", settings, {"taps": curves, "joint": make_curve(joint).to_dict()})


def write_units(
    run_dir: RunDir, units: Mapping = UNITS, measure: MeasureConfig | None = None, split: str = "test"
) -> pathlib.Path:
    """Statistics of units, or of the rows that are given of them, by tap."""
    settings = unit_settings(measure or MeasureConfig(), split)
    path = write_measure(run_dir, "units", settings, {"taps": {tap: {} for tap in units}})
    statistics = {
        tap: given if isinstance(given, UnitStatistics) else make_statistics(given) for tap, given in units.items()
    }
    arrays = {f"{tap}/{n}": a for tap, found in statistics.items() for n, a in found.to_arrays().items()}
    write_arrays(path.with_suffix(".npz"), arrays)
    return path


def make_chunks(wrong: Mapping[int, Sequence[int]], examples: int = 100) -> ChunkErrors:
    """Size of a chunk -> how many examples it gets wrong in every draw: always the first ones."""
    counts = np.array(list(wrong.values()))
    return ChunkErrors(
        sizes=np.array(list(wrong)), num_examples=examples, num_wrong=counts,
        wrong_draws=(np.arange(examples) < counts[..., None]).sum(axis=1).astype("int32"),
    )  # fmt: skip


def write_chunks(
    run_dir: RunDir,
    wrong: Mapping[int, Sequence[int]],
    split: str = "train",
    *,
    examples: int = 100,
    epoch: int | None = None,
    draws: int = 500,
) -> pathlib.Path:
    found = make_chunks(wrong, examples)
    values = {"width": found.width, "sizes": found.sizes.tolist(), "errors": found.errors.tolist()}
    path = write_measure(run_dir, "chunks", {"split": split, "draws": draws, "seed": 0}, values, epoch)
    write_arrays(path.with_suffix(".npz"), found.to_arrays())
    return path


def make_reconstruction(r2: Sequence[float], rows: int = 100) -> ReconstructionCurve:
    """R2 of chunks of 1, 2, 4, ... units in two draws, a tenth apart; the other three numbers are parts of it."""
    first = np.stack([r2, np.array(r2) - 0.1], axis=1)
    sizes = 2 ** np.arange(len(r2))
    return ReconstructionCurve(
        width=int(sizes[-1]), num_rows=rows, sizes=sizes, r2=first, correlation=0.3 * first, held_out_r2=0.9 * first,
        held_out_correlation=0.5 * first,
    )  # fmt: skip


def write_reconstruction(
    run_dir: RunDir,
    r2: Sequence[float],
    split: str = "test",
    target: str = "layer",
    *,
    epoch: int | None = None,
    draws: int = 100,
) -> pathlib.Path:
    settings = {"split": split, "draws": draws, "seed": 0, "target": target}
    found = make_reconstruction(r2)
    path = write_measure(run_dir, "reconstruction", settings, {"width": found.width, "rows": found.num_rows}, epoch)
    write_arrays(path.with_suffix(".npz"), found.to_arrays())
    return path


def write_outputs(run_dir: RunDir, wrong: np.ndarray, margins: np.ndarray | float = 1.0, split: str = "test") -> None:
    """Outputs of two classes, of which the second is the wrong one, by as much as the margins say."""
    ahead = np.where(wrong, -1, 1) * np.broadcast_to(margins, wrong.shape)
    outputs = np.stack([ahead, np.zeros(len(wrong))], axis=1).astype("float32")
    write_arrays(run_dir.logits, {split: outputs, f"{split}_labels": np.zeros(len(wrong), "int64")}, compress=False)


def write_measured_run(root: pathlib.Path, given: Mapping | None = None, **scores: Mapping) -> RunDir:
    """A run with every measure."""
    run_dir = write_run(root, given)
    write_accuracy(run_dir, **scores)
    write_ablation(run_dir)
    write_units(run_dir)
    return run_dir


def damage(path: pathlib.Path, how: str) -> None:
    """Cut a file short, empty it, or flip a bit in its middle."""
    content = bytearray(path.read_bytes())
    if how == "flipped":
        content[len(content) // 2] ^= 0x80
    path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "flipped": content}[how])
