"""Curves of agreement with the whole network, and how perturbed networks are run until they are known."""

import dataclasses
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfunits.measures.inputs import check_least, predict_classes
from tfunits.measures.perturbations import Perturbation, PerturbedRuns
from tfunits.measures.results import NoiseTolerance, Prunability
from tfunits.statistics import REFERENCE_SIZE, AblationCurve
from tfunits.surgery import Graph, Inputs

# The perturbation of all taps at once; no tap can have this name.
JOINT = None
# Draws at which an ablation until a standard error gives up.
MAX_DRAWS = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class AblationCurves:
    """Ablation curves of a network.

    Attributes:
      taps: tap -> curve with only this tap's units masked.
      joint: curve with the same fraction masked at every tap at once; None if not asked for.
      settings: how they were measured.
    """

    taps: Mapping[str, AblationCurve]
    joint: AblationCurve | None
    settings: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: settings, and curves as raw counts."""
        curves = {name: curve.to_dict() for name, curve in self.taps.items()}
        return {
            "settings": dict(self.settings),
            "taps": curves,
            "joint": self.joint.to_dict() if self.joint else None,
        }

    def __str__(self) -> str:
        return str(self.noise_tolerance() if self.is_noise else self.prunability())

    @property
    def is_noise(self) -> bool:
        """Whether the abscissa is the size of noise and not a share of units."""
        return "noise" in self.settings

    def noise_tolerance(self, tolerance: float = 0.2) -> NoiseTolerance:
        """Noise at which more than `tolerance` of the predictions change, in standard deviations, of every tap.

        Raises:
          ValueError: curves of masked units or weights.
        """
        if not self.is_noise:
            raise ValueError("curves: expected those of `noise_curves`, received masked units; use prunability")

        def row(curve: AblationCurve) -> dict[str, Any]:
            return {
                "units": curve.num_units,
                "noise": float(curve.crossings(tolerance).mean()),
                "area": curve.area,
                "agreement_at_largest": curve.agreement[:, -1].mean(),
                "draws": len(curve.num_agreeing),
            }

        rows = {name: row(curve) for name, curve in self.taps.items()}
        settings = {**self.settings, "tolerance": tolerance}
        return NoiseTolerance(rows=rows, network=row(self.joint) if self.joint else {}, settings=settings)

    def prunability(self, tolerance: float = 0.2, *, size: float | None = None) -> Prunability:
        """Prunable units of every tap; the network's are those of the joint curve.

        With a standard error, whose number of draws differs from curve to curve, the mean over draws stands for the
        largest, which grows with their number. Arguments as `prunability`.

        Raises:
          ValueError: curves of noise.
        """
        if self.is_noise:
            raise ValueError("curves: expected those of masked units, received noise; use noise_tolerance")
        by_mean = "standard_error" in self.settings

        def row(curve: AblationCurve) -> dict[str, Any]:
            prunable, mean = curve.prunability(tolerance, size=size, by_mean=by_mean)
            return {
                "units": curve.num_units,
                "prunable": prunable,
                "prunable_mean": mean,
                "not_prunable": curve.non_prunability(tolerance, size=size, by_mean=by_mean),
                "area": curve.area,
                "agreement_at_1": curve.agreement[:, -1].mean(),
                "draws": len(curve.num_agreeing),
            }

        rows = {name: row(curve) for name, curve in self.taps.items()}
        network = row(self.joint) if self.joint else {}
        if rows:
            # Casper et al. 2019: a network's area is the mean over its layers.
            network = {**network, "area": float(np.mean([r["area"] for r in rows.values()]))}
        scale = {} if size is None else {"scale": f"units at size {REFERENCE_SIZE}"}
        return Prunability(rows=rows, network=network, settings={**self.settings, "tolerance": tolerance, **scale})


def check_draws(draws: int, levels: int, standard_error: float | None) -> None:
    """Raise `ValueError` unless there is a draw, two levels, and a standard error that can be reached."""
    check_least("draws", draws, 1 if standard_error is None else 2)
    check_least("levels", levels, 2)
    if standard_error is not None and not standard_error > 0:
        raise ValueError(f"standard_error: expected a positive number, received {standard_error}")


def stated(standard_error: float | None) -> dict[str, float]:
    """The setting, where there is one."""
    return {} if standard_error is None else {"standard_error": standard_error}


def measure_agreement(
    graph: Graph,
    inputs: Inputs,
    names: Sequence[str | None],
    perturb: Callable[[Sequence[str | None], range], tuple[dict[Hashable, Perturbation], dict]],
    *,
    draws: int,
    levels: int,
    standard_error: float | None,
    strategy: tf.distribute.Strategy | None,
) -> tuple[dict[str | None, np.ndarray], int]:
    """Per curve, examples whose class stays, int64 [draws, levels]; and the number of examples.

    With a standard error, curves that have not reached it are drawn as often again, until there are `MAX_DRAWS`.
    """
    found: dict[str | None, np.ndarray] = {name: np.zeros((0, levels), np.int64) for name in names}
    pending, drawn, num_examples = list(names), range(draws), 0
    while pending:
        perturbations, groups = perturb(pending, drawn)
        counts, num_examples = _count_agreeing(graph, inputs, perturbations, strategy)
        for name in pending:
            rows = np.full((len(drawn), levels), num_examples, np.int64)
            for group, count in zip(groups[name], counts[name], strict=True):
                for draw, level in group:
                    rows[draw, level] = count
            found[name] = np.concatenate([found[name], rows])
        drawn = range(drawn.stop, min(2 * drawn.stop, MAX_DRAWS))
        pending = [name for name in pending if drawn and not _is_settled(found[name] / num_examples, standard_error)]
    return found, num_examples


def _is_settled(agreement: np.ndarray, standard_error: float | None) -> bool:
    """Whether the mean agreement's standard error is small enough at every level."""
    if standard_error is None:
        return True
    return bool((agreement.std(axis=0, ddof=1) / np.sqrt(len(agreement))).max() <= standard_error)


def _count_agreeing(
    graph: Graph,
    inputs: Inputs,
    perturbations: Mapping[Hashable, Perturbation],
    strategy: tf.distribute.Strategy | None,
) -> tuple[dict[Hashable, np.ndarray], int]:
    """Per perturbation, examples whose class stays in every trial; and the number of examples."""
    runs = PerturbedRuns(graph, perturbations, lambda outputs: predict_classes(graph, outputs))
    counts: dict[Hashable, Any] = dict.fromkeys(perturbations, 0)
    num_examples = 0
    for _, classes, found in runs.run(inputs, "ablation", strategy=strategy):
        num_examples += classes.size
        for name, changed in found.items():
            same = changed == classes
            counts[name] = counts[name] + same.reshape(len(same), -1).sum(axis=1)
    return counts, num_examples
