"""What a grid would do."""

from collections.abc import Sequence

import tensorflow as tf

from tfunits import models
from tfunits.artifacts import RunDir
from tfunits.configs import MODELS, ExecutionConfig, ExperimentConfig
from tfunits.experiments.steps import is_step_done, steps_of
from tfunits.training import steps_per_epoch


def plan_grid(experiments: Sequence[ExperimentConfig], execution: ExecutionConfig) -> None:
    """Print the grid: every run's name, parameters, training steps, and what of it is done; runs and makes nothing."""
    rows = []
    for config in experiments:
        run_dir = RunDir.of(config, execution.run_root)
        steps = steps_of(config, execution)
        done = [step for step in steps if is_step_done(run_dir, step, config)]
        state = run_dir.status().get("state", "new")
        if state == "finished" and done != steps:
            state = "to be continued"
        rows.append(
            (run_dir.name, _show_parameters(config), _count_steps(config, execution), ",".join(done) or "-", state)
        )
    header = ("run", "parameters", "steps", "done", "state")
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    for row in [header, *rows]:
        # Numbers stand to the right.
        cells = [c.rjust(w) if i in (1, 2) else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        print("  ".join(cells).rstrip())
    finished = sum(row[4] == "finished" for row in rows)
    print(f"{len(rows)} runs in {execution.run_root}, {finished} finished; nothing was run")


def count_parameters(config: ExperimentConfig) -> int:
    """Trainable parameters of an experiment's network, which is not a user's own."""
    return models.count_parameters(
        config.model.model,
        size=config.model.size,
        input_shape=config.data.input_shape,
        num_classes=config.data.num_classes,
        **{name: getattr(config.model, name) for name in MODELS[config.model.model].options},
    )


def _show_parameters(config: ExperimentConfig) -> str:
    return "-" if config.model.is_file else f"{count_parameters(config):,}"


def _count_steps(config: ExperimentConfig, execution: ExecutionConfig) -> str:
    if config.model.is_file:
        return "-"
    num_devices = execution.num_devices or len(tf.config.list_physical_devices("GPU")) or 1
    drop_last = num_devices > 1 and MODELS[config.model.model].has_batch_norm
    per_epoch = steps_per_epoch(config.data.num_train, config.training.effective_batch_size, drop_last=drop_last)
    trainings = len(config.training.weight_decay_choices or (None,))
    return f"{trainings * config.training.epochs * per_epoch:,}"
