"""A grid on several machines that train every run together (`TF_CONFIG`)."""

import contextlib
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from tfunits import training
from tfunits.artifacts import RunDir
from tfunits.configs import Cluster, ExecutionConfig, ExperimentConfig, UserError, run_id
from tfunits.experiments.carrying import RESTART, find_damage
from tfunits.experiments.launchers.task import CarryOut, make_deterministic, prepare
from tfunits.experiments.run import Run
from tfunits.experiments.steps import fit


def train_together(
    experiments: Sequence[ExperimentConfig],
    execution: ExecutionConfig,
    cluster: Cluster,
    strategy: tf.distribute.Strategy | None,
    lead: Callable[[CarryOut], int],
) -> int:
    """Make this process one worker of a cluster: the chief leads, the others train what it says.

    Args:
      experiments: of the grid.
      execution: steps, places, devices.
      cluster: the machines.
      strategy: of the cluster; made from it if None.
      lead: what the chief does with the function that carries out a batch; returns the exit code.
    """
    used = strategy or training.make_strategy(execution.num_devices, cluster, execution.worker_timeout)
    print(f"worker {cluster.index} of {len(cluster.workers)}", flush=True)
    if not cluster.is_chief:
        return _assist(experiments, execution, used, make_deterministic(execution))
    code = lead(prepare(execution, strategy=used))
    # Workers that are gone by now were needed no more.
    with contextlib.suppress(tf.errors.OpError):
        training.broadcast_json(used, None)
    return code


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
            with training.forgetting_gradients():
                fit(run, run.build_model())
            keras.backend.clear_session(free_memory=True)
    except tf.errors.OpError as error:
        last_line = str(error).strip().splitlines()[-1]
        if training.is_lost_worker(error):
            raise UserError(f"another worker was lost ({type(error).__name__}: {last_line}); {RESTART}") from None
        raise (find_damage(run, error) if run else None) or UserError(last_line) from None
    return 0
