"""Which runs are carried out together, and what they share: data, and a network whose training is compiled."""

import dataclasses
import gc
from collections.abc import Callable, Sequence
from typing import Any

import keras

from tfunits import datasets, training
from tfunits.configs import DataConfig, ExperimentConfig, canonical_json

# A batch is lost as a whole to a worker that dies; longer ones save no time that counts.
_LARGEST_BATCH = 32
# Networks from this size on are freed one by one; looking for smaller ones would take longer than training them.
_LARGE_PARAMETERS = 1_000_000


def make_batches(experiments: Sequence[ExperimentConfig], num_workers: int = 1) -> list[list[ExperimentConfig]]:
    """Runs that belong together, in order of their first: the unit of work that a launcher gives to a worker.

    Runs of one batch differ only in values, so that one compiled training serves them all.

    Args:
      experiments: of a grid.
      num_workers: how many work at once; each gets its share of runs that belong together.
    """
    groups: dict[str, list[ExperimentConfig]] = {}
    for config in experiments:
        groups.setdefault(sharing_key(config), []).append(config)
    batches = []
    for group in groups.values():
        count = min(_LARGEST_BATCH, -(-len(group) // num_workers))
        batches += [group[first : first + count] for first in range(0, len(group), count)]
    return batches


def sharing_key(config: ExperimentConfig) -> str:
    """Equal for runs that one compiled training serves: same network but for its initial weights, same data."""
    model = dataclasses.replace(config.model, initializer=None, init_scale=1.0)
    sections = [dataclasses.asdict(model), dataclasses.asdict(config.data)]
    return canonical_json([*sections, training.same_steps(config.training)])


class Shared:
    """What runs of one batch have in common."""

    def __init__(self) -> None:
        self._data: dict[DataConfig, datasets.Dataset] = {}
        self._key: str | None = None
        self._trainer: training.Trainer | None = None

    def data(self, config: DataConfig, load: Callable[[], datasets.Dataset]) -> datasets.Dataset:
        """The data set of the run before where it is this one's, else a new one; one is kept, since they are large."""
        if config not in self._data:
            self._data = {config: load()}
        return self._data[config]

    def trainer(self, config: ExperimentConfig, model: keras.Model, data: Any, strategy: Any) -> training.Trainer:
        """A trainer whose network has the model's weights: that of the run before where it serves, else a new one."""
        key = sharing_key(config)
        if self._trainer is None or self._key != key or self._trainer.data is not data:
            self._key, self._trainer = key, training.Trainer(model, data, config.training, strategy)
        elif self._trainer.model is not model:
            training.assign_variables(self._trainer.model.variables, training.read_variables(model.variables))
        return self._trainer

    def free(self) -> None:
        """Give back the memory of a run's own network, which holds cycles."""
        if self._trainer is None or self._trainer.model.count_params() >= _LARGE_PARAMETERS:
            gc.collect()
