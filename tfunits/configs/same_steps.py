"""Which trainings differ only in values, so that one compiled training serves them all."""

import dataclasses
from typing import Any

from tfunits.configs.experiment import TrainingConfig
from tfunits.configs.resolve import short_hash

# What the compiled steps read from variables, or is read between their calls.
VALUE_FIELDS = (
    "learning_rate", "schedule", "decay_rate", "decay_epochs", "warmup_epochs", "drop_epochs", "drop_factor",
    "schedule_examples", "final_learning_rate", "seed", "weight_decay", "weight_decay_choices", "patience",
    "stop_accuracy", "measured_weights",
)  # fmt: skip


def same_steps(config: TrainingConfig) -> str:
    """A key that is equal for trainings that one `Trainer` serves: all fields but `VALUE_FIELDS`.

    Trainings with a penalty and without one have keys of their own, since the penalty costs time.
    """
    return short_hash([fixed_fields(config), is_penalized(config)])


def fixed_fields(config: TrainingConfig) -> dict[str, Any]:
    """The fields that two trainings through the same steps have in common."""
    return {name: value for name, value in dataclasses.asdict(config).items() if name not in VALUE_FIELDS}


def is_penalized(config: TrainingConfig) -> bool:
    """Whether the steps add a penalty to the loss."""
    return max(config.weight_decay, *(config.weight_decay_choices or (0.0,))) > 0
