"""Everything about the units of one network in one table."""

import dataclasses
import json
import os
import pathlib
from typing import Any

import keras
import pandas as pd
import tensorflow as tf

from tfunits.configs import NETWORK
from tfunits.measures.ablation import ablation_curves
from tfunits.measures.curves import AblationCurves
from tfunits.measures.inputs import check_classifier, check_share, choose_taps
from tfunits.measures.units import NetworkStatistics, unit_statistics
from tfunits.surgery import Graph, has_splits


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What the units of a network do.

    Attributes:
      statistics: second moments of the units.
      curves: ablation curves; None where the report was stopped before.
      tolerance: of prunability.
      size: width multiplier, or None for raw fractions.
      split: which split of a `tfunits.datasets.Dataset` was read; None for other data, which have none.
    """

    statistics: NetworkStatistics
    curves: AblationCurves | None
    tolerance: float = 0.2
    size: float | None = None
    split: str | None = None

    def to_frame(self) -> pd.DataFrame:
        """One row a tap, the network last: units, prunable, redundant, similar, dead, silent, constant.

        Columns: units; of the ablation curve, where it was measured, prunable, its largest over the draws,
        prunable_mean, area, and agreement_at_1, with every unit masked; redundant, the share, with its rows, and
        rank_limited, whether these are too few; similar, the number of other units; dead, silent, constant, numbers of
        units, each dead one also silent and constant.
        """
        redundant = self.statistics.redundancy(size=self.size).to_frame()
        similar = self.statistics.similarity().to_frame()
        types = self.statistics.unit_types().to_frame()
        parts = [redundant[["units"]]]
        if self.curves is not None:
            prunable = self.curves.prunability(self.tolerance, size=self.size).to_frame()
            parts.append(prunable[["prunable", "prunable_mean", "area", "agreement_at_1"]])
        parts += [
            redundant[["redundant", "rows", "rank_limited"]],
            similar[["similar"]],
            types[["dead", "silent", "constant"]],
        ]
        return pd.concat(parts, axis=1)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: settings, the table row by row, and the ablation curves as raw counts."""
        rows = json.loads(self.to_frame().to_json(orient="index"))
        read = {"split": self.split}
        curves = None
        if self.curves is not None:
            curves = dataclasses.replace(self.curves, settings={**self.curves.settings, **read}).to_dict()
        return {
            "settings": {**self.statistics.settings, **read, "tolerance": self.tolerance, "size": self.size},
            "complete": self.curves is not None,
            "taps": rows,
            "curves": curves,
        }

    def save(self, path: str | pathlib.Path) -> None:
        """Write `to_dict` as a JSON file, whole or not at all."""
        path = pathlib.Path(path)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            temporary.write_text(json.dumps(self.to_dict(), indent=2) + "\n")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def __str__(self) -> str:
        stopped = "" if self.curves is not None else "\nstopped before the ablation: prunable units are not known"
        read = f"on {f'{self.split} data' if self.split else 'the data given'}, tolerance {self.tolerance:g}\n"
        return read + self.to_frame().to_string(float_format=lambda x: f"{x:.3f}", na_rep="") + stopped


def report(
    model: keras.Model,
    data: Any,
    *,
    tolerance: float = 0.2,
    size: float | None = None,
    split: str = "test",
    seed: int = 0,
    path: str | pathlib.Path | None = None,
    strategy: tf.distribute.Strategy | None = None,
) -> Report:
    """Prunable, redundant, similar, dead, silent and constant units of every tap of any functional model.

    The statistics of the units come first, in one pass; the ablation, which takes longer, second. Ctrl-C during the
    ablation ends with a report of what is finished.

    Args:
      model: a functional model that predicts classes.
      data: a `tfunits.datasets.Dataset`, a batched tf.data.Dataset of inputs or (inputs, labels), or an array.
      tolerance: share of changed predictions that is allowed, in (0, 1].
      size: the network's width multiplier; None for raw fractions.
      split: which split of a `Dataset`.
      seed: of ablation orders and sampled rows.
      path: a JSON file, written as soon as the statistics are there and again at the end.
      strategy: whose devices share the work.

    Returns: a `Report`, which prints as a table; `tfunits.reports.plot_units(report.to_frame(), title=...)` draws it.

    Raises:
      ValueError: as `ablation_curves` and `unit_statistics`, a tap named "network", or a path in no folder.

    Example:
      >>> table = tfunits.measures.report(model, images).to_frame()  # path="report.json" writes it too
    """
    check_share("tolerance", tolerance)
    graph = Graph(model)
    check_classifier(graph)
    if NETWORK in choose_taps(graph, None):
        raise ValueError(f"model: expected no tap named {NETWORK!r}, the row of the whole; rename that layer")
    if path is not None and not pathlib.Path(path).absolute().parent.is_dir():
        raise ValueError(f"path: expected a file in an existing folder, received {str(path)!r}")
    statistics = unit_statistics(model, data, split=split, seed=seed, strategy=strategy)
    found = Report(
        statistics=statistics, curves=None, tolerance=tolerance, size=size, split=split if has_splits(data) else None
    )
    if path is not None:
        found.save(path)
    try:
        curves = ablation_curves(model, data, split=split, seed=seed, strategy=strategy)
    except KeyboardInterrupt:
        return found
    found = dataclasses.replace(found, curves=curves)
    if path is not None:
        found.save(path)
    return found
