"""Strategy, optimiser, schedule, the one loop, checkpoint and exact resume."""

from tfunits.configs import TrainingConfig
from tfunits.training.checkpoint import Checkpoints, assign_variables, read_variables
from tfunits.training.engine import Averages, Totals, averaged_weights, make_evaluation, predict, predict_splits
from tfunits.training.exchange import broadcast_json, is_chief, is_lost_worker, num_workers
from tfunits.training.feeding import steps_per_epoch
from tfunits.training.fit import candidate_name, fit, fit_many, fit_once
from tfunits.training.forgetting import forgetting_gradients
from tfunits.training.losses import LOSSES, predicted_labels
from tfunits.training.optimizers import OPTIMIZERS, Momentum, RMSProp, make_optimizer
from tfunits.training.schedules import StepSchedule, learning_rates
from tfunits.training.strategy import device_names, make_strategy
from tfunits.training.trainer import VALUE_FIELDS, Trainer, TrainingResult, same_steps

__all__ = [
    "same_steps",
    "fit_once",
    "fit_many",
    "Trainer",
    "VALUE_FIELDS",
    "LOSSES",
    "OPTIMIZERS",
    "Averages",
    "Checkpoints",
    "Momentum",
    "RMSProp",
    "StepSchedule",
    "Totals",
    "TrainingConfig",
    "TrainingResult",
    "assign_variables",
    "averaged_weights",
    "broadcast_json",
    "candidate_name",
    "device_names",
    "fit",
    "forgetting_gradients",
    "is_chief",
    "is_lost_worker",
    "learning_rates",
    "make_evaluation",
    "make_optimizer",
    "make_strategy",
    "num_workers",
    "predict",
    "predict_splits",
    "predicted_labels",
    "read_variables",
    "steps_per_epoch",
]
