"""The machines of one training, as `TF_CONFIG` names them."""

import dataclasses
import json
import re
from collections.abc import Mapping

from tfunits.configs.errors import UserError

_EXAMPLE = '{"cluster": {"worker": ["host1:12345", "host2:12345"]}, "task": {"type": "worker", "index": 0}}'
_LARGEST_PORT = 65535
# TensorFlow's kinds of task that train; a chief is the first worker.
_TRAINING_TASKS = ("chief", "worker")
_ADDRESS = re.compile(r"\S+:\d+")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cluster:
    """Workers that train one network together.

    Attributes:
      workers: address host:port of every worker, the chief first.
      index: which of them this process is.
    """

    workers: tuple[str, ...]
    index: int

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the results."""
        return self.index == 0


def parse_cluster(text: str | None) -> Cluster | None:
    """The cluster that a value of `TF_CONFIG` names.

    Args:
      text: JSON as TensorFlow documents it; None or empty for one machine.

    Returns: None for one machine alone.

    Raises:
      UserError: text that names no cluster of workers.

    Example:
      >>> parse_cluster('{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}').is_chief
      False
    """
    if not text:
        return None
    try:
        value = json.loads(text)
    except ValueError:
        raise _reject(text) from None
    if value == {}:
        return None
    if not isinstance(value, Mapping) or not isinstance(value.get("cluster"), Mapping):
        raise _reject(text)
    cluster, task = value["cluster"], value.get("task")
    others = sorted(set(cluster) - set(_TRAINING_TASKS))
    if others:
        raise _reject(text, f"tasks of kind {others[0]} do not train here")
    if not isinstance(task, Mapping) or not all(isinstance(addresses, list) for addresses in cluster.values()):
        raise _reject(text)
    workers = [(kind, i, address) for kind in _TRAINING_TASKS for i, address in enumerate(cluster.get(kind, []))]
    for *_, address in workers:
        matches = isinstance(address, str) and _ADDRESS.fullmatch(address)
        if not matches or int(address.rpartition(":")[2]) > _LARGEST_PORT:
            raise _reject(text, f"{address!r} is no host:port")
    own = [number for number, (kind, i, _) in enumerate(workers) if (kind, i) == (task.get("type"), task.get("index"))]
    if not own:
        raise _reject(text, "the task is none of the cluster's")
    if len(workers) == 1:
        return None
    return Cluster(workers=tuple(address for *_, address in workers), index=own[0])


def _reject(text: str, reason: str = "it cannot be read") -> UserError:
    return UserError(
        f"TF_CONFIG={' '.join(text.split())[:200]}: expected workers and a task, {reason}; e.g. {_EXAMPLE}"
    )
