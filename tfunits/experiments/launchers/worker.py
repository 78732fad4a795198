"""A worker process of this machine: takes batches from a pipe, sends back lines and what became of them."""

import io
import multiprocessing
import os
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection, wait
from typing import Any

from tqdm import tqdm

from tfunits.configs import ExecutionConfig, UserError
from tfunits.console import EXIT_STOPPED
from tfunits.experiments.launchers.task import SECONDS_TO_STOP, confine, prepare

# What a worker sends: a line for one of the streams; the name and state of a run that has ended; the states of a
# batch's runs; why nothing can go on.
LINE, RUN_ENDED, ENDED, REFUSED = "line", "run_ended", "ended", "refused"


def work(connection: Connection, execution: ExecutionConfig, num_threads: int, gpus: str | None) -> None:
    """Carry out batches until None comes, or the process that started this one ends.

    Args:
      connection: receives `Batch`es, sends pairs of a kind and what is sent.
      execution: steps, places, devices.
      num_threads: of one operation.
      gpus: names of its GPUs; None leaves all to it.
    """
    # Ctrl-C reaches every process of a terminal; the one that started this passes on what is to be done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_follow_parent, daemon=True).start()
    sender = _Sender(connection)
    sys.stdout, sys.stderr = _Lines(sender, "stdout"), _Lines(sender, "stderr")
    # tqdm's own lock is one between processes, which `os._exit` would leave behind with a warning of Python's.
    tqdm.set_lock(threading.RLock())
    try:
        confine(num_threads, gpus)
        carry_out = prepare(execution, num_threads=num_threads)
        while (batch := connection.recv()) is not None:
            sender.send(ENDED, carry_out(batch, lambda name, state: sender.send(RUN_ENDED, (name, state))))
    except UserError as error:
        sender.send(REFUSED, str(error))
    except KeyboardInterrupt:
        os._exit(EXIT_STOPPED)
    except (EOFError, BrokenPipeError):
        # The other end is gone.
        os._exit(EXIT_STOPPED)


def _interrupt(*_: Any) -> None:
    """As Ctrl-C, once: what is noted then is not to be interrupted."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
        # A batch that hears no signal is cut off.
        time.sleep(SECONDS_TO_STOP)
        os._exit(EXIT_STOPPED)


class _Sender:
    """One end of a pipe for several threads."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._lock = connection, threading.Lock()

    def send(self, kind: str, value: Any) -> None:
        with self._lock:
            self._connection.send((kind, value))


class _Lines(io.TextIOBase):
    """A stream whose whole lines are sent; it is no terminal, so that no bar is drawn."""

    def __init__(self, sender: _Sender, name: str) -> None:
        self._sender, self._name, self._line = sender, name, ""

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._sender.send(LINE, (self._name, line))
        return len(text)
