"""A grid on a Ray cluster: every batch a task with its CPUs and GPUs, on whichever machine is free.

Ray starts a task again when its machine or its process is lost, and only then, so that a run has one writer; it goes
on from its last checkpoint, since all machines share the run directories. The lock of a run (`RunDir.claimed`) is for
other commands on the same folder: a local file system releases it when its holder ends; NFS 4 within its lease
(90 seconds by default) after the holder's machine is lost; NFS 3 not before that machine is back, or the lock is
cleared by hand; on a mount without locks (nolock, some parallel file systems) two commands at once are not kept apart.
"""

import contextlib
import dataclasses
import functools
import importlib
import io
import os
import pathlib
import signal
import socket
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tfunits.artifacts import RunDir
from tfunits.configs import ExecutionConfig, UserError
from tfunits.experiments.jobs import Batch, Job, batch_jobs
from tfunits.experiments.launchers.task import SECONDS_TO_STOP, CarryOut, confine, prepare
from tfunits.experiments.progress import Progress

if TYPE_CHECKING:
    import tensorflow as tf

# Times that Ray starts a task again whose machine, or process, was lost.
_RETRIES = 5
_SECONDS_BETWEEN_LOOKS = 1.0
_REACHED_WITHIN_SECONDS = 10


def launch(
    jobs: Sequence[Job],
    execution: ExecutionConfig,
    progress: Progress,
    *,
    strategy: "tf.distribute.Strategy | None" = None,
) -> dict[str, str]:
    """Carry out batches as tasks of a Ray cluster, costly ones first.

    Args:
      jobs: runs that are not finished.
      execution: steps, places; address, CPUs and GPUs of a task. Its folders are on a path that all machines share.
      progress: is told what happens.
      strategy: None, since every task makes its own.

    Returns: name of a run -> its state.

    Raises:
      UserError: Ray is not installed, the cluster is not there or cannot give a task what it needs, or a mistake that
        concerns every run.
      KeyboardInterrupt: passed on, with the tasks cancelled and their runs marked interrupted.
    """
    ray = _import_ray()
    if not jobs:
        return {}
    if strategy is not None:
        raise ValueError("strategy: expected None with launcher='ray', since every task makes its own")
    handler = signal.getsignal(signal.SIGTERM)
    _connect(ray, execution)
    # Ray's own would end this process without a mark on its runs.
    signal.signal(signal.SIGTERM, handler)
    try:
        return _Tasks(ray, jobs, execution, progress).run()
    finally:
        ray.shutdown()


def _import_ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise UserError('--launcher=ray: expected Ray, which is not installed; pip install "tfunits[ray]"') from None


def _check_reachable(address: str) -> None:
    """Raise `OSError` if nothing answers there; "auto" and other names that only Ray can read are left to it."""
    parts = urlsplit(address if "://" in address else f"ray://{address}")
    if parts.hostname and parts.port:
        socket.create_connection((parts.hostname, parts.port), _REACHED_WITHIN_SECONDS).close()


def _connect(ray: Any, execution: ExecutionConfig) -> None:
    options = {"logging_level": "ERROR", "log_to_driver": False, "include_dashboard": False}
    if execution.ray_address is not None:
        options = {"address": execution.ray_address, "logging_level": "ERROR", "log_to_driver": False}
    # Ray chats on both streams while it connects.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            # Ray itself waits for minutes for a head that is not there.
            _check_reachable(execution.ray_address or "")
            ray.init(**options)
        except (OSError, RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"--ray_address={execution.ray_address}: expected a Ray cluster ({reason}); start its head with "
                "ray start --head"
            ) from None


class _Tasks:
    """Tasks, and what becomes of them."""

    def __init__(self, ray: Any, jobs: Sequence[Job], execution: ExecutionConfig, progress: Progress) -> None:
        self._ray, self._progress = ray, progress
        # Tasks do not run in this folder.
        places = {"run_root": str(pathlib.Path(execution.run_root).resolve())}
        if execution.data_dir is not None:
            places["data_dir"] = str(pathlib.Path(execution.data_dir).expanduser().resolve())
        self._execution = dataclasses.replace(execution, **places)
        self._needs = self._find_needs()
        self._waiting = sorted(batch_jobs(jobs, self._find_room()), key=lambda batch: -batch.work)
        progress.expect(self._waiting)
        self._batches: dict[Any, Batch] = {}
        self._states: dict[str, str] = {}

    def _find_needs(self) -> dict[str, float]:
        """CPUs and GPUs of a task."""
        there = self._ray.cluster_resources()
        gpus = self._execution.gpus_per_task
        if gpus is None:
            gpus = (self._execution.num_devices or 1) if there.get("GPU") else 0
        needs = {"CPU": self._execution.cpus_per_task or 1, "GPU": gpus}
        for node in self._ray.nodes():
            if node["Alive"] and all(node["Resources"].get(kind, 0) >= count for kind, count in needs.items()):
                return needs
        flag = "gpus_per_task" if any(n["Resources"].get("CPU", 0) >= needs["CPU"] for n in self._ray.nodes()) else None
        flag = flag or "cpus_per_task"
        kind = {"gpus_per_task": "GPU", "cpus_per_task": "CPU"}[flag]
        raise UserError(
            f"--{flag}={needs[kind]:g}: expected a machine of the cluster that has as many, received "
            f"{there.get(kind, 0):g} {kind}s in all"
        )

    def run(self) -> dict[str, str]:
        """Name of a run -> its state, when all tasks have ended."""
        task = self._ray.remote(
            num_cpus=self._needs["CPU"], num_gpus=self._needs["GPU"], max_retries=_RETRIES
        )(carry_out_task)  # fmt: skip
        num_threads, folder = max(1, int(self._needs["CPU"])), os.getcwd()
        for batch in self._waiting:
            reference = task.remote(batch, self._execution, num_threads, folder)
            self._batches[reference] = batch
        open_tasks = list(self._batches)
        try:
            while open_tasks:
                self._note_started(open_tasks)
                ended, open_tasks = self._ray.wait(open_tasks, num_returns=1, timeout=_SECONDS_BETWEEN_LOOKS)
                for reference in ended:
                    self._end(reference)
                self._progress.tick()
        except BaseException:
            self._cancel(open_tasks)
            raise
        return self._states

    def _find_room(self) -> int:
        """How many tasks the cluster can carry out at once."""
        there = self._ray.cluster_resources()
        return max(1, min(int(there.get(kind, 0) / count) for kind, count in self._needs.items() if count))

    def _note_started(self, open_tasks: Sequence[Any]) -> None:
        """Ray begins tasks in the order of their submission, as many as the cluster has room for."""
        for reference in open_tasks[: self._find_room()]:
            if not self._progress.is_running(self._batches[reference]):
                self._progress.start(self._batches[reference])

    def _end(self, reference: Any) -> None:
        batch = self._batches[reference]
        try:
            states, lines, refusal = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            # Its process or machine was lost more often than it is started again, or it could not be carried there.
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            states, lines, refusal = self._mark(batch, "failed", reason), [], None
            lines = [("stderr", f"{name}: {reason}") for name, state in states.items() if state == "failed"]
        for stream, line in lines:
            print(line, file=getattr(sys, stream), flush=True)
        if refusal is not None:
            raise UserError(refusal)
        self._states |= states
        if not self._progress.is_running(batch):
            self._progress.start(batch)
        self._progress.end(batch, states)

    def _cancel(self, references: Sequence[Any]) -> None:
        """Interrupt tasks as Ctrl-C would, and mark what they cannot mark themselves."""
        for reference in references:
            self._ray.cancel(reference, force=False)
        if references:
            self._ray.wait(list(references), num_returns=len(references), timeout=SECONDS_TO_STOP)
        for reference in references:
            self._mark(self._batches[reference], "interrupted", "stopped by the user; the same command continues")

    def _mark(self, batch: Batch, state: str, message: str) -> dict[str, str]:
        """Note the end of runs whose task cannot any more; returns the states of all of the batch."""
        states = {}
        for job in batch.jobs:
            run_dir = RunDir.of(job.config, self._execution.run_root)
            found = run_dir.status().get("state", "new")
            if found == "running":
                run_dir.set_status(state, message)
            states[run_dir.name] = found if found in ("finished", "diverged") else "failed"
        return states


def carry_out_task(
    batch: Batch, execution: ExecutionConfig, num_threads: int, folder: str
) -> tuple[dict[str, str], list[tuple[str, str]], str | None]:
    """One task, in a process of Ray's, which may carry out several one after the other.

    Args:
      batch: the runs.
      execution: with absolute paths.
      num_threads: of one operation.
      folder: the command's own, from which names of a user's files count.

    Returns: states of the runs; the lines that they said, by stream; a mistake that concerns every run.
    """
    lines: list[tuple[str, str]] = []
    outputs = [io.StringIO(), io.StringIO()]
    states, refusal = {}, None
    with contextlib.redirect_stdout(outputs[0]), contextlib.redirect_stderr(outputs[1]):
        try:
            # On another machine it may not be there, where nothing is named from it either.
            with contextlib.suppress(OSError):
                os.chdir(folder)
            states = _prepared(execution, num_threads)(batch, None)
        except UserError as error:
            refusal = str(error)
    for name, output in zip(("stdout", "stderr"), outputs, strict=True):
        lines += [(name, line) for line in output.getvalue().splitlines()]
    return states, lines, refusal


# A strategy is made once a process, which Ray gives the next task too.
@functools.cache
def _prepared(execution: ExecutionConfig, num_threads: int) -> CarryOut:
    # Ray has set the visible GPUs.
    confine(num_threads, None)
    os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
    return prepare(execution, num_threads=num_threads)
