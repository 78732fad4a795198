"""Everything about the units of one network in one table."""

import dataclasses
from typing import Any

import keras
import pandas as pd

from tfunits.measures.ablation import AblationCurves, ablation_curves
from tfunits.measures.units import NetworkStatistics, unit_statistics


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What the units of a network do.

    Attributes:
      curves: ablation curves.
      statistics: second moments of the units.
      tolerance: of prunability.
      size: width multiplier, or None for raw fractions.
    """

    curves: AblationCurves
    statistics: NetworkStatistics
    tolerance: float = 0.2
    size: float | None = None

    def to_frame(self) -> pd.DataFrame:
        """One row a tap, the network last: units, prunable, redundant, similar, dead, silent, constant."""
        prunable = self.curves.prunability(self.tolerance, size=self.size).to_frame()
        redundant = self.statistics.redundancy(size=self.size).to_frame()
        similar = self.statistics.similarity().to_frame()
        types = self.statistics.unit_types().to_frame()
        return pd.concat(
            [
                prunable[["units", "prunable", "prunable_mean", "area"]],
                redundant[["redundant", "rank_limited"]],
                similar[["similar"]],
                types[["dead", "silent", "constant"]],
            ],
            axis=1,
        )

    def __str__(self) -> str:
        return self.to_frame().to_string(float_format=lambda x: f"{x:.3f}", na_rep="")


def report(
    model: keras.Model,
    data: Any,
    *,
    tolerance: float = 0.2,
    size: float | None = None,
    split: str = "test",
    seed: int = 0,
) -> Report:
    """Prunable, redundant, similar, dead, silent and constant units of every tap of any functional model.

    Args:
      model: a functional model that predicts classes.
      data: a `tfunits.datasets.Dataset`, a batched tf.data.Dataset of inputs or (inputs, labels), or an array.
      tolerance: share of changed predictions that is allowed, in (0, 1].
      size: the network's width multiplier; None for raw fractions.
      split: which split of a `Dataset`.
      seed: of ablation orders and sampled rows.

    Returns: a `Report`, which prints as a table.

    Raises:
      ValueError: as `ablation_curves` and `unit_statistics`.

    Example:
      >>> table = tfunits.measures.report(model, images).to_frame()
    """
    return Report(
        curves=ablation_curves(model, data, split=split, seed=seed),
        statistics=unit_statistics(model, data, split=split, seed=seed),
        tolerance=tolerance,
        size=size,
    )
