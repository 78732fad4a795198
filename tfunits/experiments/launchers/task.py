"""One batch in a process that has TensorFlow to itself: what workers of every launcher do."""

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from tfunits.configs import ExecutionConfig
from tfunits.console import ensure_tensorflow
from tfunits.experiments.jobs import Batch

if TYPE_CHECKING:
    import tensorflow as tf

# To stop in: a step of the widest networks on one core, and the checkpoint that is being written.
SECONDS_TO_STOP = 60
# (a batch, what is told the name and state of every run that ends) -> name of a run -> its state.
CarryOut = Callable[[Batch, Callable[[str, str], None] | None], dict[str, str]]


def make_deterministic(execution: ExecutionConfig) -> bool:
    """Tell TensorFlow to give equal bits in equal runs where that is asked for; returns whether it was."""
    import tensorflow as tf

    has_gpu = bool(tf.config.list_physical_devices("GPU"))
    deterministic = not has_gpu if execution.deterministic is None else execution.deterministic
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    return deterministic


def prepare(
    execution: ExecutionConfig, *, strategy: "tf.distribute.Strategy | None" = None, num_threads: int | None = None
) -> CarryOut:
    """Import TensorFlow into this process and make its devices.

    Args:
      execution: steps, places, devices.
      strategy: where to train; made from `execution` if None.
      num_threads: of one operation; all cores if None.

    Returns: a function that carries out batches.

    Raises:
      UserError: devices that are not there.
    """
    ensure_tensorflow()
    import tensorflow as tf

    from tfunits.experiments.carrying import carry_out_batch

    if num_threads is not None and strategy is None:
        tf.config.threading.set_intra_op_parallelism_threads(num_threads)
        tf.config.threading.set_inter_op_parallelism_threads(num_threads)
    deterministic = make_deterministic(execution)
    used = strategy or _make_strategy(execution.num_devices)

    def carry_out(batch: Batch, when_ended: Callable[[str, str], None] | None = None) -> dict[str, str]:
        configs, labels = [job.config for job in batch.jobs], [job.label for job in batch.jobs]
        return carry_out_batch(
            configs, execution, used, deterministic=deterministic, labels=labels, when_ended=when_ended
        )

    return carry_out


# A second one of several devices breaks the collectives of the next figure's runs.
@functools.cache
def _make_strategy(num_devices: int | None) -> "tf.distribute.Strategy":
    from tfunits import training

    return training.make_strategy(num_devices)


def confine(num_threads: int, gpus: str | None) -> None:
    """Give a process, before it imports anything that computes, its share of the machine.

    Args:
      num_threads: of linear algebra.
      gpus: names of its GPUs for `CUDA_VISIBLE_DEVICES`; None leaves them.
    """
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(num_threads)
    if gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus
        # Other workers may be on the same GPU, of which TensorFlow would take all memory.
        os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
