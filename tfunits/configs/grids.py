"""Grids: the product of comma-separated values, and unions of such products."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfunits.configs.experiment import DataConfig, ExperimentConfig
from tfunits.configs.resolve import resolve, run_id


def expand(common: Mapping[str, Sequence[Any]], grids: Iterable[Mapping[str, Sequence[Any]]] = ()) -> list[dict]:
    """Every combination of the axes, for each grid on top of the common ones.

    Args:
      common: field -> its values.
      grids: further axes; each of these is one grid of the union, and wins over `common`.

    Returns: one dict of field -> value per combination, the last axis varying fastest.

    Example:
      >>> expand({"size": [0.25, 1], "seed": [0]})
      [{'size': 0.25, 'seed': 0}, {'size': 1, 'seed': 0}]
    """
    combinations = []
    for grid in list(grids) or [{}]:
        axes = {**common, **grid}
        combinations += [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    return combinations


def resolve_all(combinations: Iterable[Mapping[str, Any]]) -> list[ExperimentConfig]:
    """The experiments of a grid, each once, in order; two grids that share a run name it once.

    Raises:
      UserError: the first combination that is no experiment.
    """
    experiments: dict[str, ExperimentConfig] = {}
    listed: dict[str, DataConfig] = {}
    for combination in combinations:
        config = resolve(combination, folder=listed.get(str(combination.get("dataset"))))
        listed[config.data.dataset] = config.data
        experiments.setdefault(run_id(config), config)
    return list(experiments.values())
