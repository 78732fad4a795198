"""Runs in memory with planted prunable, redundant and similar units, areas and accuracies, and noise over seeds."""

import functools
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tfunits.artifacts import RunDir
from tfunits.configs import ExperimentConfig, MeasureConfig, facts, resolve
from tfunits.reports import NETWORK, RunRecord
from tfunits.reports.figures import Runs
from tfunits.statistics import AblationCurve, UnitStatistics

SIZES = (1.0, 2.0, 4.0)
EXAMPLES = 10**6
UNITS = 400
# What an untrained network has: prunable and redundant units in proportion to its width.
UNTRAINED = {"P": 0.3, "R": 0.3, "A": 0.6, "S": 5.0, "acc": 0.1}

Quantity = float | Callable[[float], float]


def growing(gain: float, at_one: float = 0.4) -> Callable[[float], float]:
    """A share of the units that there are, such that the number grows by a factor per doubling of width."""
    return lambda size: at_one * (gain / 2) ** np.log2(size)


def sloping(per_doubling: float, at_one: float = 0.6) -> Callable[[float], float]:
    return lambda size: at_one + per_doubling * np.log2(size)


def make_curve(prunable: float | None = None, area: float | None = None) -> AblationCurve:
    """A straight line from 1, which falls through 0.8 at a share of the units, or has a mean of its two ends."""
    end = 1 - 0.2 / prunable if area is None else 2 * area - 1
    agreeing = np.rint([[EXAMPLES, EXAMPLES * end]]).astype(int)
    return AblationCurve(num_units=4, num_examples=EXAMPLES, fractions=np.array([0.0, 1.0]), num_agreeing=agreeing)


def make_units(
    redundant: float, similar: float, *, correlation: float = 0.3, rows: int, spread: float = 0.0
) -> UnitStatistics:
    """Units of which a share is redundant: the components that hold 95 % are of equal variance.

    With a spread in three samplings that differ so much, relative to the share; else in one.
    """
    shares = redundant * (1 + spread * np.array([-1, 0, 1])) if spread else np.array([redundant])
    variances = np.zeros((len(shares), UNITS))
    for row, share in zip(variances, shares, strict=True):
        row[: round((1 - share) * UNITS / 0.95)] = 1
    histogram = np.zeros((len(shares), 50), int)
    histogram[:, : round(50 * np.clip(correlation, 0.02, 1))] = 100
    ones = np.ones((len(shares), UNITS))
    return UnitStatistics(
        num_rows=rows, mean=ones, std=ones, active_share=np.ones(UNITS), principal_variances=variances,
        num_similar=similar * ones, correlation_histogram=histogram, constant=ones < 0,
        selectivity=np.full(UNITS, np.nan), similarity_threshold=0.5,
    )  # fmt: skip


@functools.cache
def _resolve(given: str) -> ExperimentConfig:
    settings = json.loads(given)
    return resolve({name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()})


def make_record(given: Mapping[str, Any], planted: Mapping[str, float], rows: int, root: str) -> RunRecord:
    """A run of these settings.

    Planted are P, R, A, S, acc, r (end of the values of |r|), train (accuracy), spread (of samplings), each but acc and
    train also as <letter>@<tap>; on_train is a factor on R of the training data, where they are measured too.
    """
    config = _resolve(json.dumps(given, sort_keys=True))
    taps = list(facts.MODELS[config.model.model].base_widths)

    def value(letter: str, tap: str, default: float = 0.0) -> float:
        return planted.get(f"{letter}@{tap}", planted.get(letter, default))

    curves = {
        tap: make_curve(value("P", tap)) if f"P@{tap}" in planted else make_curve(area=value("A", tap)) for tap in taps
    }
    splits = {"test": 1.0, **({"train": planted["on_train"]} if "on_train" in planted else {})}
    statistics = {
        split: {
            tap: make_units(
                factor * value("R", tap), value("S", tap), correlation=value("r", tap, 0.3), rows=rows,
                spread=value("spread", tap),
            )
            for tap in taps
        }
        for split, factor in splits.items()
    }  # fmt: skip
    accuracy = {split: {"accuracy": planted["acc"], "loss": 1.0} for split in ("test", "validation")}
    accuracy["train"] = {"accuracy": planted.get("train", planted["acc"]), "loss": 1.0}
    return RunRecord(
        run_dir=RunDir.of(config, pathlib.Path(root)), config=config, state="finished", accuracy=accuracy,
        curves={(split, "channel"): {**curves, NETWORK: make_curve(planted["P"])} for split in splits},
        statistics=statistics,
    )  # fmt: skip


def make_runs(
    networks: Sequence[tuple[Mapping[str, Any], Mapping[str, Quantity]]],
    *,
    sizes: Sequence[float] = SIZES,
    seeds: int = 3,
    noise: float = 0.002,
    rows: int = 10**6,
    untrained: Mapping[str, Quantity] | None = UNTRAINED,
    x: str = "size",
    measure: MeasureConfig | None = None,
    seed: int = 0,
    root: str = "planted",
) -> Runs:
    """Networks of all sizes and seeds: settings -> what each size has, numbers or functions of the size.

    Args:
      networks: settings, and what differs from an untrained network's quantities; every number is multiplied by
        1 + noise.
      untrained: what differs in the untrained networks of the same kinds; None for none.
      seed: of the noise.
    """
    rng = np.random.default_rng(seed)
    records: dict[str, RunRecord] = {}
    for settings, planted in networks:
        for size in sizes:
            for number in range(seeds):
                given = {**settings, x: size, "seed": number}
                kinds = [(given, {**UNTRAINED, **planted})]
                if untrained:
                    kinds.append(({**_without_training(given), "epochs": 0}, {**UNTRAINED, **untrained}))
                for chosen, quantities in kinds:
                    numbers = {name: v(size) if callable(v) else v for name, v in quantities.items()}
                    noisy = {name: v * (1 + noise * rng.normal()) for name, v in numbers.items()}
                    record = make_record(chosen, _bounded(noisy), rows, root)
                    records.setdefault(record.run_dir.name, record)
    return Runs(records=list(records.values()), measure=measure or MeasureConfig())


def _without_training(given: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("model", "dataset", "size", "layer_size", "seed", "initializer", "init_scale", "test_examples")
    return {name: value for name, value in given.items() if name in kept}


def _bounded(values: Mapping[str, float]) -> dict[str, float]:
    """Shares that can be: a line that falls through 0.8 at all, an area of one that starts at 1."""
    bounds = {"P": (0.2, 1.0), "R": (0.0, 0.99), "A": (0.5, 1.0)}
    return {
        name: float(np.clip(value, *bounds.get(name.partition("@")[0], (-np.inf, np.inf))))
        for name, value in values.items()
    }
