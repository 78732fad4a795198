"""Which runs of a grid are carried out one after the other by one process."""

from collections.abc import Sequence

from tfunits.configs import ExperimentConfig


def make_batches(experiments: Sequence[ExperimentConfig]) -> list[list[ExperimentConfig]]:
    """Runs that belong together, in order: the unit of work that a launcher gives to a worker.

    Args:
      experiments: of a grid.
    """
    return [[config] for config in experiments]
