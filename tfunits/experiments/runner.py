"""A grid of experiments: where its runs are carried out, and the tables at the end."""

import contextlib
import time
from collections.abc import Sequence

import keras
import tensorflow as tf

from tfunits import training
from tfunits.artifacts import RunDir
from tfunits.configs import Cluster, ExecutionConfig, ExperimentConfig, UserError, run_id
from tfunits.experiments.batches import make_batches
from tfunits.experiments.carrying import RESTART, carry_out_batch, find_damage
from tfunits.experiments.printing import print_results
from tfunits.experiments.run import Run
from tfunits.experiments.steps import fit, steps_of

_EXIT_FAILED = 1


def make_deterministic(execution: ExecutionConfig) -> bool:
    """Tell TensorFlow to give equal bits in equal runs where that is asked for; returns whether it was."""
    has_gpu = bool(tf.config.list_physical_devices("GPU"))
    deterministic = not has_gpu if execution.deterministic is None else execution.deterministic
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    return deterministic


def run_grid(
    experiments: Sequence[ExperimentConfig],
    execution: ExecutionConfig,
    *,
    strategy: tf.distribute.Strategy | None = None,
    cluster: Cluster | None = None,
) -> int:
    """Carry out every run that is not finished, then print tables.

    Of several machines, all train; the chief alone reads and writes run directories, measures and prints.

    Args:
      experiments: each once.
      execution: steps, places, devices.
      strategy: where to train; made from `execution` if None. A process may make one of several devices only once.
      cluster: machines that train together; None for this one.

    Returns: 0 if every run is finished and in the results, 1 if one diverged, failed or is damaged.

    Raises:
      UserError: a mistake that concerns every run.
      KeyboardInterrupt: passed on, with the run marked interrupted; what is finished stays.
    """
    for config in experiments:
        steps_of(config, execution)
    start = time.perf_counter()
    deterministic = make_deterministic(execution)
    strategy = strategy or training.make_strategy(execution.num_devices, cluster, execution.worker_timeout)
    if cluster:
        print(f"worker {cluster.index} of {len(cluster.workers)}", flush=True)
        if not cluster.is_chief:
            return _assist(experiments, execution, strategy, deterministic)
    states: dict[str, str] = {}
    batches = make_batches(experiments)
    for batch in batches:
        labels = [f"[{len(states) + i}/{len(experiments)}] {run_id(config)}" for i, config in enumerate(batch, start=1)]
        states |= carry_out_batch(batch, execution, strategy, deterministic=deterministic, labels=labels)
    is_complete = print_results(experiments, execution)
    print(f"time:          {time.perf_counter() - start:.0f} s, {time.process_time():.0f} s of CPU")
    # Workers that are gone by now were needed no more.
    with contextlib.suppress(tf.errors.OpError):
        training.broadcast_json(strategy, None)
    return 0 if is_complete and all(state == "finished" for state in states.values()) else _EXIT_FAILED


def _assist(
    experiments: Sequence[ExperimentConfig],
    execution: ExecutionConfig,
    strategy: tf.distribute.Strategy,
    deterministic: bool,
) -> int:
    """Train with the chief what it says is to be trained; a worker reads and writes no run directory."""
    known = {run_id(config): config for config in experiments}
    run = None
    try:
        while (name := training.broadcast_json(strategy, None)) is not None:
            if name not in known:
                raise UserError(f"run {name}: expected one of this command's; give every worker the same command")
            run = Run(
                config=known[name], execution=execution, run_dir=RunDir.of(known[name], execution.run_root),
                strategy=strategy, deterministic=deterministic,
            )  # fmt: skip
            print(f"{name}: train", flush=True)
            fit(run, run.build_model())
            keras.backend.clear_session(free_memory=True)
    except tf.errors.OpError as error:
        last_line = str(error).strip().splitlines()[-1]
        if training.is_lost_worker(error):
            raise UserError(f"another worker was lost ({type(error).__name__}: {last_line}); {RESTART}") from None
        raise (find_damage(run, error) if run else None) or UserError(last_line) from None
    return 0
