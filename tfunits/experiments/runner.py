"""A grid of experiments: which runs are left, where they are carried out, and the tables at the end.

Nothing here imports TensorFlow: a process that only shares runs out, or finds them finished, does without.
"""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tfunits.artifacts import RunDir
from tfunits.configs import (
    Cluster,
    ExecutionConfig,
    ExperimentConfig,
    UserError,
    estimate_cost,
    estimate_memory,
    parse_shard,
    reject,
    run_id,
    take_shard,
)
from tfunits.console import import_tensorflow
from tfunits.experiments.batches import make_batches
from tfunits.experiments.done import steps_of
from tfunits.experiments.jobs import Job, batch_jobs
from tfunits.experiments.launchers import LAUNCHERS
from tfunits.experiments.launchers.task import CarryOut
from tfunits.experiments.progress import Progress
from tfunits.experiments.survey import SurveyedRun, describe_other_version, survey

if TYPE_CHECKING:
    import tensorflow as tf

_EXIT_FAILED = 1
# Of runs that are most of all work; with fewer, some shards would have none of them.
_BATCHES_OF_A_SHARD = 2
# Of more, only their number is said.
_MOST_NAMED_FINISHED = 20


def run_grid(
    experiments: Sequence[ExperimentConfig],
    execution: ExecutionConfig,
    *,
    strategy: "tf.distribute.Strategy | None" = None,
    cluster: Cluster | None = None,
) -> int:
    """Carry out every run that is not finished, then print tables.

    Of several machines of one training, all train; the chief alone reads and writes run directories, measures and
    prints. With `execution.shard` only that part of the grid is carried out, and no table is printed.

    Args:
      experiments: each once.
      execution: steps, places, devices, launcher.
      strategy: where to train, in this process; made from `execution` if None. A process may make one of several
        devices only once.
      cluster: machines that train together; None for this one.

    Returns: 0 if every run is finished and in the results, 1 if one diverged, failed or is damaged.

    Raises:
      UserError: a mistake that concerns every run.
      KeyboardInterrupt: passed on, with the run marked interrupted; what is finished stays.
    """
    for config in experiments:
        steps_of(config, execution)
    start, start_of_cpu = time.perf_counter(), _cpu_seconds()

    def finish(states: Mapping[str, str]) -> int:
        is_complete = _print_end(experiments, execution, states)
        print(f"time:          {time.perf_counter() - start:.0f} s, {_cpu_seconds() - start_of_cpu:.0f} s of CPU")
        return 0 if is_complete and all(state == "finished" for state in states.values()) else _EXIT_FAILED

    if cluster is None:
        return finish(_carry_out(experiments, execution, strategy))
    _check_cluster(execution)
    import_tensorflow()
    from tfunits.experiments.machines import train_together

    def lead(carry_out: CarryOut) -> int:
        states: dict[str, str] = {}
        runs = survey(take_part(experiments, execution), execution)
        states |= _pass_over_missing(runs, execution)
        for batch in batch_jobs([job for job in _list_jobs(runs) if job.name not in states], num_workers=1):
            states |= carry_out(batch, None)
        return finish(states)

    return train_together(experiments, execution, cluster, strategy, lead)


def _carry_out(
    experiments: Sequence[ExperimentConfig], execution: ExecutionConfig, strategy: "tf.distribute.Strategy | None"
) -> dict[str, str]:
    """Name of a run -> its state, of the runs of this command's part of the grid."""
    runs = survey(take_part(experiments, execution), execution)
    settled = {run.run_dir.name: run.state for run in runs if run.is_settled}
    _print_settled(runs, settled)
    missing = _pass_over_missing(runs, execution)
    jobs = [job for job in _list_jobs(runs) if job.name not in settled | missing]
    diverged = sum(state == "diverged" for state in settled.values())
    with Progress(len(jobs), finished=len(settled) - diverged, diverged=diverged).shown() as progress:
        return settled | missing | LAUNCHERS[execution.launcher](jobs, execution, progress, strategy=strategy)


def take_part(experiments: Sequence[ExperimentConfig], execution: ExecutionConfig) -> list[ExperimentConfig]:
    """The runs of a grid, or those of `--shard`, in order.

    A shard has the same runs in whatever order they are named, and whatever of them is done. Runs that are carried out
    together stay together, and no shard gets all the wide networks.
    """
    number, count = parse_shard(execution.shard)
    if count == 1:
        return list(experiments)
    weights = {id(config): estimate_cost(config, steps_of(config, execution)).cpu_hours for config in experiments}
    names = {id(config): run_id(config) for config in experiments}
    ordered = sorted(experiments, key=lambda config: names[id(config)])
    parts = make_batches(ordered, _BATCHES_OF_A_SHARD * count, lambda config: weights[id(config)])
    if len(parts) < count:
        parts = [[config] for config in ordered]
    parts.sort(key=lambda part: (-sum(weights[id(config)] for config in part), names[id(part[0])]))
    taken = {id(config) for part in take_shard(parts, (number, count)) for config in part}
    return [config for config in experiments if id(config) in taken]


def _list_jobs(runs: Sequence[SurveyedRun]) -> list[Job]:
    return [
        Job(
            config=run.config,
            name=run.run_dir.name,
            label=f"[{number}/{len(runs)}] {run.run_dir.name}",
            cost=run.cost,
            memory=estimate_memory(run.config),
        )
        for number, run in enumerate(runs, start=1)
    ]


def _print_settled(runs: Sequence[SurveyedRun], settled: Mapping[str, str]) -> None:
    """What was found done, run by run where they are few."""
    if len(settled) > _MOST_NAMED_FINISHED:
        diverged = sum(state == "diverged" for state in settled.values())
        others = f", {diverged:,} diverged" if diverged else ""
        print(f"{len(settled) - diverged:,} of {len(runs):,} runs finished before{others}", flush=True)
        return
    for number, run in enumerate(runs, start=1):
        label = f"[{number}/{len(runs)}] {run.run_dir.name}"
        if settled.get(run.run_dir.name) == "diverged":
            print(f"{label}: diverged when it was trained; skipped", flush=True)
        elif run.run_dir.name in settled:
            print(f"{label}: finished before{describe_other_version(run.run_dir)}", flush=True)


def _pass_over_missing(runs: Sequence[SurveyedRun], execution: ExecutionConfig) -> dict[str, str]:
    """Name of a run that has not begun -> "missing", where nothing but reports is asked for: they make no directory.

    Raises:
      UserError: no run of the whole grid has begun.
    """
    if not execution.only_reports:
        return {}
    missing = [run.run_dir.name for run in runs if not run.run_dir.config_file.is_file()]
    if missing and len(missing) == len(runs) and execution.shard is None:
        raise UserError(
            f"--run_root: expected measured runs, received {execution.run_root} without any of this grid; "
            "without --steps=report they are run"
        )
    if missing:
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        print(f"left out: {missing[0]}{others}: missing; without --steps=report it is run", file=sys.stderr, flush=True)
    return dict.fromkeys(missing, "missing")


def _print_end(experiments: Sequence[ExperimentConfig], execution: ExecutionConfig, states: Mapping[str, str]) -> bool:
    """Results of the grid, or a line on its shard; returns whether every run could be read."""
    if execution.shard is None:
        # What draws takes seconds to import.
        from tfunits.experiments.printing import print_results

        # Of a batch whose worker died twice, some may not have begun.
        begun = [config for config in experiments if RunDir.of(config, execution.run_root).path.is_dir()]
        return bool(begun) and print_results(begun, execution)
    finished = sum(state == "finished" for state in states.values())
    print(
        f"\nshard {execution.shard}: {finished} of {len(states)} runs finished, of {len(experiments)} in the grid; "
        "the same command without --shard reports the whole"
    )
    return True


def _cpu_seconds() -> float:
    """Of this process and of workers that have ended."""
    return sum(os.times()[:4])


def _check_cluster(execution: ExecutionConfig) -> None:
    """Raise `UserError` for ways of sharing out runs, which machines of one training carry out together."""
    others = {"launcher": execution.launcher != "local", "num_workers": (execution.num_workers or 1) > 1}
    for name, is_given in others.items():
        if is_given:
            value = getattr(execution, name)
            raise reject(name, value, "no such flag with TF_CONFIG, whose machines train every run together")
