"""What a grid would do, and what it costs. Nothing here needs TensorFlow."""

import itertools
import pathlib
from collections.abc import Iterable, Mapping, Sequence

from tfunits.configs import (
    MODELS,
    Cost,
    ExecutionConfig,
    ExperimentConfig,
    estimate_cost,
    steps_of_epoch,
    sum_costs,
)
from tfunits.experiments.batches import make_batches
from tfunits.experiments.done import steps_of
from tfunits.experiments.launchers.machine import look_at_machine
from tfunits.experiments.runner import take_part
from tfunits.experiments.survey import SurveyedRun, survey

# More rows are read by nobody; the first ones show how a grid is written.
_MOST_ROWS = 40
_HEADER = ("run", "parameters", "steps", "done", "state")


def plan_grid(experiments: Sequence[ExperimentConfig], execution: ExecutionConfig) -> list[SurveyedRun]:
    """Print the grid: every run's name, parameters, training steps, and what of it is done; what it costs.

    Runs and makes nothing. With `execution.shard` it is that part of the grid.

    Returns: what was found of the runs; of a grid that is only reported none.
    """
    runs = survey(take_part(experiments, execution), execution)
    states = [_describe_state(run, execution) for run in runs]
    num_devices = execution.num_devices or len(look_at_machine().gpus) or 1
    costs = {id(run.config): estimate_cost(run.config, steps_of(run.config, execution)) for run in runs}
    rows = [
        (run.run_dir.name, *_describe_size(run.config, costs[id(run.config)], num_devices),
         ",".join(run.done) or "-", state)
        for run, state in itertools.islice(zip(runs, states, strict=True), _MOST_ROWS)
    ]  # fmt: skip
    widths = [max(len(row[i]) for row in [_HEADER, *rows]) for i in range(len(_HEADER))]
    for row in [_HEADER, *rows]:
        # Numbers stand to the right.
        cells = [c.rjust(w) if i in (1, 2) else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        print("  ".join(cells).rstrip())
    if len(runs) > len(rows):
        print(f"... and {len(runs) - len(rows):,} more")
    if execution.only_reports:
        print(
            f"cost: nothing of the {len(runs):,} runs is run; figures are drawn of what is there or of settings alone"
        )
        return []
    print(f"cost: {_describe_costs(costs, runs)}")
    left = {id(run.config): run.cost for run in runs}
    if left != costs:
        # What has ended sets up nothing for the others of its batch.
        print(f"left: {_describe_costs(left, [run for run in runs if run.cost.num_runs])}")
    part = "" if execution.shard is None else f", shard {execution.shard} of the grid"
    finished = states.count("finished")
    print(f"{len(runs)} runs in {execution.run_root}, {finished} finished{part}; nothing was run")
    return runs


def describe_together(plans: Iterable[Sequence[SurveyedRun]]) -> str:
    """What is left of the runs of several figures, in one line.

    A run that figures share counts once, by the one that leaves most of it to do.
    """
    plans = list(plans)
    largest: dict[pathlib.Path, SurveyedRun] = {}
    for run in itertools.chain.from_iterable(plans):
        known = largest.setdefault(run.run_dir.path, run)
        if run.cost.cpu_hours > known.cost.cpu_hours:
            largest[run.run_dir.path] = run
    left = [run for run in largest.values() if run.cost.num_runs]
    cost = _describe_costs({id(run.config): run.cost for run in left}, left)
    return f"{len(plans)} figures together: {len(largest):,} runs, each counted once; left of {len(left):,}: {cost}"


def _describe_costs(costs: Mapping[int, Cost], runs: Sequence[SurveyedRun]) -> str:
    batches = make_batches([run.config for run in runs])
    return describe_cost(sum_costs([[costs[id(config)] for config in each] for each in batches])) if runs else "nothing"


def describe_cost(cost: Cost) -> str:
    """What runs cost, in one line.

    Example:
      >>> describe_cost(Cost(parameters=1666, training_flops=6 * 10**8, num_runs=1))
      '1,666 parameters, 6e+08 training FLOPs; about 2 s on a CPU core, 2 s on a GPU, 2 s on 8'
    """
    hours = [_format_hours(each) for each in (cost.cpu_hours, cost.gpu_hours(), cost.gpu_hours(8))]
    return (
        f"{cost.parameters:,} parameters, {cost.training_flops:.2g} training FLOPs; "
        f"about {hours[0]} on a CPU core, {hours[1]} on a GPU, {hours[2]} on 8"
    )


def _format_hours(hours: float) -> str:
    seconds = 3600 * hours
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if hours < 1.5 else f"{hours:,.1f} h" if hours < 10 else f"{hours:,.0f} h"


def _describe_state(run: SurveyedRun, execution: ExecutionConfig) -> str:
    if run.state == "finished" and list(run.done) != steps_of(run.config, execution):
        return "to be continued"
    return run.state


def _describe_size(config: ExperimentConfig, cost: Cost, num_devices: int) -> tuple[str, str]:
    """Parameters and training steps; a dash for a user's network."""
    if config.model.is_file:
        return "-", "-"
    drop_last = num_devices > 1 and MODELS[config.model.model].has_batch_norm
    trainings = len(config.training.weight_decay_choices or (None,))
    steps = trainings * config.training.epochs * steps_of_epoch(config, drop_last=drop_last)
    return f"{cost.parameters:,}", f"{steps:,}"
