"""What an experiment is. Nothing here needs TensorFlow."""

from tfunits.configs.cluster import Cluster, parse_cluster
from tfunits.configs.costs import Cost, estimate_cost, estimate_memory, steps_of_epoch, sum_costs
from tfunits.configs.errors import DamageError, UserError, reject
from tfunits.configs.experiment import (
    DataConfig,
    ExecutionConfig,
    ExperimentConfig,
    MeasureConfig,
    ModelConfig,
    TrainingConfig,
    VisualizationConfig,
)
from tfunits.configs.exporting import check_export
from tfunits.configs.facts import (
    DATASETS,
    DEFAULT_STEPS,
    FILE_PREFIX,
    FOLDER_PREFIX,
    MEASURES_OF_STEPS,
    MODELS,
    NETWORK,
    SPLITS,
    STEPS,
    VARIED_BLOCK,
    DatasetFacts,
    ModelFacts,
    find_dataset,
)
from tfunits.configs.figures import find_flagfiles, list_figures
from tfunits.configs.folders import Folder, list_images
from tfunits.configs.grids import expand, resolve_all
from tfunits.configs.image_forms import ImageForm, find_image_form
from tfunits.configs.keeping import KeepRule, parse_keep_rule
from tfunits.configs.margins import Margins, parse_margins
from tfunits.configs.prepared import DOWNLOAD_HOSTS, describe_missing, find_prepared, is_prepared, resolve_data_dir
from tfunits.configs.request import Request
from tfunits.configs.resolve import (
    IDENTITY_SECTIONS,
    as_dict,
    canonical_json,
    from_dict,
    identity,
    resolve,
    resolve_defaults,
    run_id,
    short_hash,
)
from tfunits.configs.shards import parse_shard, take_shard
from tfunits.configs.small import shrink_measuring
from tfunits.configs.sources import DrawingSource, read_drawing_flags

__all__ = [
    "DATASETS",
    "DEFAULT_STEPS",
    "DOWNLOAD_HOSTS",
    "FILE_PREFIX",
    "FOLDER_PREFIX",
    "IDENTITY_SECTIONS",
    "MEASURES_OF_STEPS",
    "MODELS",
    "NETWORK",
    "SPLITS",
    "STEPS",
    "VARIED_BLOCK",
    "Cluster",
    "Cost",
    "DamageError",
    "DataConfig",
    "DatasetFacts",
    "DrawingSource",
    "ExecutionConfig",
    "ExperimentConfig",
    "Folder",
    "ImageForm",
    "KeepRule",
    "Margins",
    "MeasureConfig",
    "ModelConfig",
    "ModelFacts",
    "Request",
    "TrainingConfig",
    "UserError",
    "VisualizationConfig",
    "as_dict",
    "canonical_json",
    "check_export",
    "describe_missing",
    "estimate_cost",
    "estimate_memory",
    "expand",
    "find_dataset",
    "find_flagfiles",
    "find_image_form",
    "find_prepared",
    "from_dict",
    "identity",
    "is_prepared",
    "list_figures",
    "list_images",
    "parse_cluster",
    "parse_keep_rule",
    "parse_margins",
    "parse_shard",
    "read_drawing_flags",
    "reject",
    "resolve",
    "resolve_all",
    "resolve_data_dir",
    "resolve_defaults",
    "run_id",
    "short_hash",
    "shrink_measuring",
    "steps_of_epoch",
    "sum_costs",
    "take_shard",
]
