"""Where the batches of a grid are carried out. Nothing here imports TensorFlow before a batch is carried out."""

from collections.abc import Callable, Mapping

from tfunits.experiments.launchers import local, ray_cluster

# (batches, execution, progress, strategy=None) -> name of a run -> its state.
LAUNCHERS: Mapping[str, Callable[..., dict[str, str]]] = {
    "local": local.launch,
    "ray": ray_cluster.launch,
}
