"""Records of runs in memory, with plausible numbers that a formula gives: no files, no TensorFlow."""

import functools
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from tfunits.artifacts import RunDir
from tfunits.configs import MODELS, NETWORK, ExperimentConfig, resolve, run_id
from tfunits.reports.figures import Runs
from tfunits.reports.records import RunRecord
from tfunits.statistics import AblationCurve, UnitStatistics

LAST_EPOCHS = (8, 6, 4, 2, 0)
LEVELS = np.linspace(0, 1, 7)
_EXAMPLES = 1000
_DRAWS = 3


class MadeRuns(Runs):
    """Runs that were measured in every way, and at every epoch, with the same outcome."""

    def measured(self, **fields: Any) -> Runs:
        return self

    @functools.cached_property
    def dynamics(self) -> pd.DataFrame:
        return pd.concat([self.frame.assign(epochs_to_end=left) for left in LAST_EPOCHS], ignore_index=True)


def make_runs(configs: Sequence[ExperimentConfig], **made: Any) -> Runs:
    """The records of experiments, each of which `make_record` makes; a million parameters at size 1."""
    records = [make_record(config, **made) for config in configs]
    counts = {r.run_dir.name: int(1e6 * (r.config.model.layer_size or r.config.model.size) ** 2) for r in records}
    return MadeRuns(records=records, measure=configs[0].measure, num_parameters=counts)


def make_record(
    config: ExperimentConfig | dict[str, Any],
    *,
    accuracy: dict[str, float] | None = None,
    crossing: float | None = None,
    redundant: float | None = None,
    state: str = "finished",
    largest_width: int = 64,
    bare: bool = False,
) -> RunRecord:
    """The record of one run.

    Args:
      config: or the fields that it is resolved from.
      accuracy: split -> accuracy; growing with the width if None.
      crossing: masked fraction at which every curve falls through 0.8; growing with the width if None.
      redundant: share of units beyond those that hold all variance; growing with the width if None.
      state: of the run; a diverged one was not measured.
      largest_width: units of a layer, at most, whose statistics are made.
      bare: leave everything but accuracies out.
    """
    config = config if isinstance(config, ExperimentConfig) else resolve(config)
    run_dir = RunDir(pathlib.Path("made") / run_id(config))
    if state == "diverged":
        return RunRecord(run_dir=run_dir, config=config, state=state, accuracy={}, curves={}, statistics={})
    model, measure = config.model, config.measure
    rng = np.random.default_rng(abs(hash(run_dir.name)) % 2**32 if accuracy is None else 0)
    width = np.log2((model.layer_size or model.size) / 0.25) / 4
    trained = config.training.epochs > 0
    shift = 0.02 * rng.standard_normal() if accuracy is None else 0
    if accuracy is None:
        rate = 0.02 * np.log10(config.training.learning_rate)
        accuracy = {
            "train": 1.0,
            "validation": 0.7 + 0.1 * width + rate,
            "test": (0.7 + 0.1 * width if trained else 0.1) + shift,
        }
    curves, statistics = {}, {}
    taps = [tap for tap in MODELS[model.model].base_widths if MODELS[model.model].tap_width(tap, model.size)]
    for split in () if bare else measure.measured_splits:
        for unit in measure.ablation_unit:
            curves[split, unit] = {
                tap: make_curve(min(0.95, (0.25 + 0.1 * trained + 0.35 * width if crossing is None else crossing)))
                for tap in (*taps, NETWORK)
            }
        statistics[split] = {
            tap: make_statistics(
                min(largest_width, MODELS[model.model].tap_width(tap, model.size)),
                0.1 + 0.1 * trained + 0.3 * width + 0.02 * number if redundant is None else redundant,
                seed=number,
            )
            for number, tap in enumerate(taps)
        }
    return RunRecord(
        run_dir=run_dir, config=config, state=state,
        accuracy={split: {"accuracy": value, "loss": 1 - value} for split, value in accuracy.items()},
        curves=curves, statistics=statistics,
    )  # fmt: skip


def make_curve(crossing: float) -> AblationCurve:
    """Agreement that falls on a straight line through 0.8 at a masked fraction, but not below a tenth."""
    agreeing = np.maximum(_EXAMPLES // 10, np.round(_EXAMPLES * (1 - 0.2 * LEVELS / crossing)))
    return AblationCurve(
        num_units=60, num_examples=_EXAMPLES, fractions=LEVELS, num_agreeing=np.tile(agreeing.astype(int), (_DRAWS, 1))
    )  # fmt: skip


def make_statistics(num_units: int, redundant: float, *, seed: int = 0) -> UnitStatistics:
    """Statistics of units of which a share, rounded, adds no variance, the others each the same."""
    rng = np.random.default_rng(seed)
    components = num_units - round(redundant * num_units)
    histogram = np.round(1000 * np.exp(-np.linspace(0, 1, 50) / (0.1 + 0.3 * redundant)) * rng.uniform(0.9, 1.1, 50))
    return UnitStatistics(
        num_rows=_EXAMPLES,
        mean=np.zeros((1, num_units)), std=np.ones((1, num_units)), active_share=np.full(num_units, 0.5),
        principal_variances=np.r_[np.ones(components), np.zeros(num_units - components)][None],
        num_similar=np.full((1, num_units), round(redundant * num_units)),
        correlation_histogram=histogram.astype("int64")[None],
        constant=np.zeros((1, num_units), bool), selectivity=np.full(num_units, np.nan), similarity_threshold=0.5,
    )  # fmt: skip


def read_figure(name: str, *flags: str) -> Any:
    """What the command `--figure=<name>` asks for."""
    from tfunits.configs import flags as command_line

    registry = command_line.make_flags()
    argv = ["run_experiments.py", f"--figure={name}", *flags]
    command_line.parse(registry, argv)
    [request] = command_line.read_requests(registry, argv)
    return request
