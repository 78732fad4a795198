"""What a machine has for workers: cores, free memory, GPUs. Asked without TensorFlow, which workers alone import."""

import dataclasses
import math
import os
import pathlib

import psutil

_GPUS = pathlib.Path("/proc/driver/nvidia/gpus")
# Control groups of version 2, in which containers and schedulers of jobs limit memory.
_GROUP = pathlib.Path("/sys/fs/cgroup")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Machine:
    """What is there for workers.

    Attributes:
      cores: CPU cores that this process may use.
      gpus: names of the visible GPUs, as `CUDA_VISIBLE_DEVICES` takes them.
    """

    cores: int
    gpus: tuple[str, ...] = ()

    def free_memory(self) -> float:
        """Bytes that new processes can have, within this process' control group."""
        return min(psutil.virtual_memory().available, _group_memory())

    def memory_of(self, pid: int) -> int:
        """Bytes that a process has; 0 once it is gone."""
        try:
            return psutil.Process(pid).memory_info().rss
        except psutil.Error:
            return 0


def look_at_machine() -> Machine:
    """This machine."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else psutil.cpu_count() or 1
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        gpus = [str(number) for number in range(len(list(_GPUS.glob("*"))))]
    else:
        gpus = [name.strip() for name in visible.split(",")]
        # As CUDA reads it: nothing behind an invalid entry is visible.
        gpus = gpus[: next((i for i, name in enumerate(gpus) if name in ("", "-1")), len(gpus))]
    return Machine(cores=cores, gpus=tuple(gpus))


def _group_memory() -> float:
    """Bytes that are left to this process' control group; infinite without a limit."""
    try:
        group = pathlib.Path("/proc/self/cgroup").read_text().partition("0::/")[2].splitlines()[0]
        limit, used, stat = ((_GROUP / group / f"memory.{name}").read_text() for name in ("max", "current", "stat"))
        cached = dict(line.split() for line in stat.splitlines())["inactive_file"]
        # What was read from files is given up when memory is short.
        return int(limit) - int(used) + int(cached)
    except (OSError, ValueError, IndexError, KeyError):
        return math.inf
