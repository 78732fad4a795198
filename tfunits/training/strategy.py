"""Where training runs: one device, several of one machine, or several machines; one strategy object a process."""

import math
import os
import socket
import time

import tensorflow as tf

from tfunits.configs import Cluster, UserError, reject

_POLL_SECONDS = 0.5


def make_strategy(
    num_devices: int | None = None, cluster: Cluster | None = None, worker_timeout: float | None = None
) -> tf.distribute.Strategy:
    """The strategy for this machine: all GPUs or one CPU, or as many devices as asked for; or for several machines.

    Call it once, before TensorFlow makes its devices: a second MirroredStrategy in one process breaks collectives.

    Args:
      num_devices: that many GPUs (of every machine) where there are any, else logical CPU devices; None for all GPUs
        or one CPU.
      cluster: machines that train together; None for this one.
      worker_timeout: seconds to wait for other workers to start; None waits for ever.

    Returns: TensorFlow's default strategy for one device, a MirroredStrategy for several, a
      MultiWorkerMirroredStrategy for several machines.

    Raises:
      UserError: more devices than GPUs, several CPU devices of several machines, devices that TensorFlow has already
        made, a worker's port that is in use, or another worker that does not start in time.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if gpus and (num_devices or 0) > len(gpus):
        raise reject("num_devices", num_devices, f"at most the {len(gpus)} GPUs that are visible")
    if cluster:
        return _make_cluster_strategy(num_devices, cluster, worker_timeout)
    if gpus:
        used = [f"GPU:{i}" for i in range(num_devices or len(gpus))]
    else:
        split_cpu(num_devices or 1)
        used = [f"CPU:{i}" for i in range(num_devices or 1)]
    return tf.distribute.MirroredStrategy(used) if len(used) > 1 else tf.distribute.get_strategy()


def _make_cluster_strategy(
    num_devices: int | None, cluster: Cluster, worker_timeout: float | None
) -> tf.distribute.MultiWorkerMirroredStrategy:
    gpus = tf.config.list_physical_devices("GPU")
    if gpus and num_devices:
        tf.config.set_visible_devices(gpus[:num_devices], "GPU")
    elif num_devices not in (None, 1):
        raise reject("num_devices", num_devices, "1 CPU of every machine", "leave the flag out with TF_CONFIG")
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(cluster.workers)}),
        task_type="worker",
        task_id=cluster.index,
        rpc_layer="grpc",
    )
    _await_others(cluster, worker_timeout)
    return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)


def _await_others(cluster: Cluster, seconds: float | None) -> None:
    """Wait until every other worker listens at its address, with a listener at our own.

    TensorFlow itself would wait for them without end, deaf to Ctrl-C and SIGTERM.

    Raises:
      UserError: an address that is in use, or a worker that does not start in time.
    """
    host_and_port = [address.rpartition(":") for address in cluster.workers]
    own_port = int(host_and_port[cluster.index][2])
    try:
        listener = socket.create_server(("", own_port))
    except OSError as error:
        reason = os.strerror(error.errno)
        raise UserError(
            f"TF_CONFIG: expected a free port {own_port} for worker {cluster.index}, received {reason}"
        ) from None
    end = time.monotonic() + seconds if seconds is not None else math.inf
    with listener:
        for number, (host, _, port) in enumerate(host_and_port):
            while number != cluster.index and not _listens(host, int(port)):
                if time.monotonic() > end:
                    raise UserError(
                        f"worker {cluster.index}: worker {number} at {host}:{port} did not start within {seconds:g} s; "
                        "start the same command on every machine of TF_CONFIG, or raise --worker_timeout"
                    )
                time.sleep(_POLL_SECONDS)


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=_POLL_SECONDS).close()
    except OSError:
        return False
    return True


def split_cpu(num_devices: int) -> None:
    """Make the CPU several logical devices.

    Raises:
      UserError: TensorFlow has already made its devices.
    """
    if num_devices == 1:
        return
    (cpu,) = tf.config.list_physical_devices("CPU")
    try:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * num_devices)
    except RuntimeError:
        if len(tf.config.list_logical_devices("CPU")) < num_devices:
            raise reject(
                "num_devices", num_devices, "to be set before TensorFlow makes its devices", "start a new process"
            ) from None


def device_names(strategy: tf.distribute.Strategy) -> list[str]:
    """Names of the devices that a strategy uses on this machine."""
    if strategy.num_replicas_in_sync > 1:
        return [str(device) for device in strategy.extended.worker_devices]
    return ["GPU:0" if tf.config.list_physical_devices("GPU") else "CPU:0"]
