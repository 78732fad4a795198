"""What runs that are carried out together share: data, and a network whose training is compiled."""

import gc
from collections.abc import Callable
from typing import Any

import keras

from tfunits import datasets, training
from tfunits.configs import DataConfig, ExperimentConfig
from tfunits.experiments.batches import sharing_key

# Networks from this size on are freed one by one; looking for smaller ones would take longer than training them.
_LARGE_PARAMETERS = 1_000_000


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
