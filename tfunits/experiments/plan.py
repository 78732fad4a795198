"""What a grid would do."""

from collections.abc import Sequence

from tfunits import models
from tfunits.artifacts import RunDir
from tfunits.configs import DATASETS, ExecutionConfig, ExperimentConfig
from tfunits.experiments.steps import step_key, steps_of
from tfunits.training import steps_per_epoch


def plan_grid(experiments: Sequence[ExperimentConfig], execution: ExecutionConfig) -> None:
    """Print the grid: every run's name, parameters, training steps, and what of it is done."""
    rows = []
    for config in experiments:
        run_dir = RunDir.of(config, execution.run_root)
        steps = steps_of(config, execution)
        done = [step for step in steps if run_dir.is_done(step_key(step, config))]
        rows.append((run_dir.name, _count_parameters(config), _count_steps(config), ",".join(done) or "-",
                     run_dir.status().get("state", "new")))  # fmt: skip
    header = ("run", "parameters", "steps", "done", "state")
    widths = [max(len(str(row[i])) for row in [header, *rows]) for i in range(len(header))]
    for row in [header, *rows]:
        aligned = [str(row[0]).ljust(widths[0]), *(str(c).rjust(w) for c, w in zip(row[1:3], widths[1:3], strict=True))]
        print("  ".join([*aligned, *(str(c).ljust(w) for c, w in zip(row[3:], widths[3:], strict=True))]).rstrip())
    finished = sum(row[4] == "finished" for row in rows)
    print(f"{len(rows)} runs in {execution.run_root}, {finished} finished; nothing was run")


def _count_parameters(config: ExperimentConfig) -> str:
    if config.model.is_file:
        return "-"
    count = models.count_parameters(
        config.model.model,
        size=config.model.size,
        input_shape=config.data.input_shape,
        num_classes=DATASETS[config.data.dataset].num_classes,
    )
    return f"{count:,}"


def _count_steps(config: ExperimentConfig) -> str:
    per_epoch = steps_per_epoch(config.data.num_train, config.training.effective_batch_size, drop_last=False)
    return f"{config.training.epochs * per_epoch:,}" if not config.model.is_file else "-"
