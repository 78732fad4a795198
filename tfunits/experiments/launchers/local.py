"""A grid on this machine: in this process, or shared out to spawned workers."""

import contextlib
import functools
import multiprocessing
import signal
import sys
import time
from collections import deque
from collections.abc import Collection, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING

from tfunits.artifacts import RunDir
from tfunits.configs import ExecutionConfig, UserError, reject
from tfunits.experiments.jobs import Batch, Job, batch_jobs
from tfunits.experiments.launchers.machine import Machine, look_at_machine
from tfunits.experiments.launchers.task import SECONDS_TO_STOP, prepare
from tfunits.experiments.launchers.worker import ENDED, LINE, RUN_ENDED, work
from tfunits.experiments.progress import Progress

if TYPE_CHECKING:
    import tensorflow as tf

# A training step of these networks gains little from more.
_CORES_OF_A_WORKER = 2
_ATTEMPTS = 2
_SECONDS_BETWEEN_LOOKS = 1.0


def launch(
    jobs: Sequence[Job],
    execution: ExecutionConfig,
    progress: Progress,
    *,
    strategy: "tf.distribute.Strategy | None" = None,
    machine: Machine | None = None,
) -> dict[str, str]:
    """Carry out batches in this process, or in several that are spawned.

    A worker's process that dies costs its batch, which is tried once more; then its runs are failed.

    Args:
      jobs: runs that are not finished.
      execution: steps, places, devices; how many workers.
      progress: is told what happens.
      strategy: where to train, in this process; made from `execution` if None.
      machine: what there is; looked at if None.

    Returns: name of a run -> its state.

    Raises:
      UserError: a mistake that concerns every run, or more GPUs than there are.
      KeyboardInterrupt: passed on, with all workers ended and their runs marked interrupted.
    """
    if not jobs:
        return {}
    machine = machine or look_at_machine()
    num_workers = 1 if strategy else choose_num_workers(jobs, execution, machine)
    batches = batch_jobs(jobs, num_workers)
    progress.expect(batches)
    if num_workers > 1:
        with _Workers(batches, execution, progress, machine, num_workers) as workers:
            return workers.run()
    states: dict[str, str] = {}
    carry_out = prepare(execution, strategy=strategy)
    for batch in batches:
        progress.start(batch)
        found = carry_out(batch, functools.partial(progress.end_run, batch))
        states |= found
        progress.end(batch, found)
    return states


def choose_num_workers(jobs: Sequence[Job], execution: ExecutionConfig, machine: Machine) -> int:
    """How many processes share out runs; 1 is this process alone.

    Raises:
      UserError: more workers with several GPUs each than there are GPUs.
    """
    gpus, wanted = len(machine.gpus), execution.num_workers
    if gpus and execution.num_devices and (wanted or 1) > 1 and wanted * execution.num_devices > gpus:
        most = max(1, gpus // execution.num_devices)
        raise reject("num_workers", wanted, f"at most {most} with --num_devices={execution.num_devices} of {gpus} GPUs")
    if wanted is None:
        wanted = max(1, gpus // (execution.num_devices or 1) if gpus else machine.cores // _CORES_OF_A_WORKER)
        largest = sorted((job.memory for job in jobs), reverse=True)
        while wanted > 1 and sum(largest[:wanted]) > machine.free_memory():
            wanted -= 1
    return min(wanted, len(jobs))


class _Worker:
    """A process with its end of a pipe."""

    def __init__(self, execution: ExecutionConfig, num_threads: int, gpus: str | None, slot: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.slot, self.batch = slot, None
        self.connection, other = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=work, args=(other, execution, num_threads, gpus), name=f"worker {slot}", daemon=False
        )
        self.process.start()
        # So that the pipe ends with the process.
        other.close()

    batch: Batch | None
    connection: Connection


class _Workers:
    """Workers, and the batches that wait for them, costly ones first."""

    def __init__(
        self,
        batches: Sequence[Batch],
        execution: ExecutionConfig,
        progress: Progress,
        machine: Machine,
        num_workers: int,
    ) -> None:
        self._execution, self._progress, self._machine, self._count = execution, progress, machine, num_workers
        self._waiting = deque(sorted(batches, key=lambda batch: -batch.work))
        self._workers: dict[int, _Worker] = {}
        self._attempts: dict[int, int] = {}
        self._states: dict[str, str] = {}

    def __enter__(self) -> "_Workers":
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._workers.values():
            if worker.batch is None:
                with contextlib.suppress(OSError):
                    worker.connection.send(None)
            elif worker.process.is_alive():
                worker.process.terminate()
        try:
            end = time.monotonic() + SECONDS_TO_STOP
            # One that has died is always ready, so that nobody would wait for the others.
            while time.monotonic() < end and (alive := [w for w in self._workers.values() if w.process.is_alive()]):
                # What is refused now is not what ended it.
                with contextlib.suppress(UserError):
                    self._listen(alive)
            for worker in self._workers.values():
                with contextlib.suppress(UserError):
                    self._read(worker)
        finally:
            for worker in self._workers.values():
                worker.process.kill()
                worker.process.join()
                if worker.batch is not None:
                    self._mark(worker, "interrupted", "stopped by the user; the same command continues")

    def run(self) -> dict[str, str]:
        """Name of a run -> its state, when all have ended."""
        while self._waiting or any(worker.batch for worker in self._workers.values()):
            self._share_out()
            self._listen(self._workers.values())
            self._replace_dead()
            self._progress.tick()
        return self._states

    def _share_out(self) -> None:
        """Give waiting batches to idle or new workers, as far as memory reaches; one worker is always busy."""
        for slot in range(self._count):
            worker = self._workers.get(slot)
            if not self._waiting or (worker and worker.batch):
                continue
            held = self._machine.memory_of(worker.process.pid) if worker else 0
            free = self._machine.free_memory() + held - self._promised_memory()
            is_alone = not any(other.batch for other in self._workers.values())
            fitting = next((batch for batch in self._waiting if batch.memory <= free), None)
            if fitting is None and is_alone:
                fitting = self._waiting[0]
            if fitting is None:
                continue
            if worker is None:
                worker = self._workers[slot] = _Worker(self._execution, self._num_threads(), self._gpus(slot), slot)
            self._waiting.remove(fitting)
            worker.batch = fitting
            self._attempts[id(fitting)] = self._attempts.get(id(fitting), 0) + 1
            # A worker that has just died is replaced, with its batch, when that is seen.
            with contextlib.suppress(OSError):
                worker.connection.send(fitting)
            self._progress.start(fitting)

    def _promised_memory(self) -> int:
        """Bytes that busy workers are expected to take yet."""
        busy = [worker for worker in self._workers.values() if worker.batch]
        return sum(max(0, w.batch.memory - self._machine.memory_of(w.process.pid)) for w in busy)

    def _num_threads(self) -> int:
        return max(1, self._machine.cores // self._count)

    def _gpus(self, slot: int) -> str | None:
        """The GPUs of a worker: its own, or one that it shares."""
        names, each = self._machine.gpus, self._execution.num_devices or 1
        if not names:
            return None
        return ",".join(names[(slot * each + i) % len(names)] for i in range(each))

    def _listen(self, workers: Collection[_Worker]) -> None:
        """Wait for something to happen to some workers, and read what they have sent."""
        connections = {worker.connection: worker for worker in workers}
        sentinels = [worker.process.sentinel for worker in workers]
        for ready in wait([*connections, *sentinels], _SECONDS_BETWEEN_LOOKS):
            if ready in connections:
                self._read(connections[ready])

    def _read(self, worker: _Worker) -> None:
        # To the end: a process may have sent more than one thing before it died.
        with contextlib.suppress(EOFError, OSError):
            while worker.connection.poll():
                kind, value = worker.connection.recv()
                if kind == LINE:
                    stream, line = value
                    print(line, file=getattr(sys, stream), flush=True)
                elif kind == RUN_ENDED:
                    self._progress.end_run(worker.batch, *value)
                elif kind == ENDED:
                    self._states |= value
                    self._progress.end(worker.batch, value)
                    worker.batch = None
                else:
                    raise UserError(value)

    def _replace_dead(self) -> None:
        """Take the batches of processes that have died; tried twice, their runs are failed."""
        for slot, worker in list(self._workers.items()):
            if worker.process.is_alive():
                continue
            self._read(worker)
            worker.process.join()
            worker.connection.close()
            del self._workers[slot]
            batch = worker.batch
            if batch is None:
                continue
            reason = f"its process was ended by {_describe_exit(worker.process.exitcode)}"
            if self._attempts[id(batch)] < _ATTEMPTS:
                print(f"{', '.join(batch.names)}: {reason}; once more", file=sys.stderr, flush=True)
                self._progress.give_back(batch)
                self._waiting.appendleft(batch)
                continue
            reason += ", twice"
            states = self._mark(worker, "failed", reason)
            for name in (name for name, state in states.items() if state == "failed"):
                print(f"{name}: {reason}", file=sys.stderr, flush=True)
            self._states |= states
            self._progress.end(batch, states)

    def _mark(self, worker: _Worker, state: str, message: str) -> dict[str, str]:
        """Note the end of the runs that a dead process has left running; returns the states of all of its batch."""
        states = {}
        for job in worker.batch.jobs:
            run_dir = RunDir.of(job.config, self._execution.run_root)
            status = run_dir.status()
            if status.get("state") == "running" and status.get("pid") == worker.process.pid:
                run_dir.set_status(state, message)
            found = status.get("state")
            states[run_dir.name] = found if found in ("finished", "diverged") else "failed"
        return states


def _describe_exit(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"{name}, as when memory is short" if -code == signal.SIGKILL else name
    return f"exit code {code}"
