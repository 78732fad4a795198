"""Where training runs: one device or several, one strategy object a process."""

import tensorflow as tf

from tfunits.configs import reject


def make_strategy(num_devices: int | None = None) -> tf.distribute.Strategy:
    """The strategy for this machine: all GPUs or one CPU, or as many devices as asked for.

    Call it once, before TensorFlow makes its devices: a second MirroredStrategy in one process breaks collectives.

    Args:
      num_devices: that many GPUs where there are any, else logical CPU devices; None for all GPUs or one CPU.

    Returns: TensorFlow's default strategy for one device, else a MirroredStrategy.

    Raises:
      UserError: more devices than GPUs, or devices that TensorFlow has already made.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        if (num_devices or 0) > len(gpus):
            raise reject("num_devices", num_devices, f"at most the {len(gpus)} GPUs that are visible")
        used = [f"GPU:{i}" for i in range(num_devices or len(gpus))]
    else:
        split_cpu(num_devices or 1)
        used = [f"CPU:{i}" for i in range(num_devices or 1)]
    return tf.distribute.MirroredStrategy(used) if len(used) > 1 else tf.distribute.get_strategy()


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
    """Names of the devices that a strategy uses."""
    if strategy.num_replicas_in_sync > 1:
        return [str(device) for device in strategy.extended.worker_devices]
    return ["GPU:0" if tf.config.list_physical_devices("GPU") else "CPU:0"]
