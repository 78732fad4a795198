"""What an experiment is. Nothing here needs TensorFlow."""

from tfunits.configs.errors import UserError, reject
from tfunits.configs.experiment import (
    DataConfig,
    ExecutionConfig,
    ExperimentConfig,
    MeasureConfig,
    ModelConfig,
    TrainingConfig,
)
from tfunits.configs.facts import (
    DATASETS,
    FILE_PREFIX,
    MODELS,
    SPLITS,
    STEPS,
    UNSUPPORTED_DATASETS,
    DatasetFacts,
    ModelFacts,
)
from tfunits.configs.grids import expand, resolve_all
from tfunits.configs.resolve import as_dict, canonical_json, from_dict, identity, resolve, run_id, short_hash

__all__ = [
    "DATASETS",
    "FILE_PREFIX",
    "MODELS",
    "SPLITS",
    "STEPS",
    "UNSUPPORTED_DATASETS",
    "DataConfig",
    "DatasetFacts",
    "ExecutionConfig",
    "ExperimentConfig",
    "MeasureConfig",
    "ModelConfig",
    "ModelFacts",
    "TrainingConfig",
    "UserError",
    "as_dict",
    "canonical_json",
    "expand",
    "from_dict",
    "identity",
    "reject",
    "resolve",
    "resolve_all",
    "run_id",
    "short_hash",
]
