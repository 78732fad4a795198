"""How far a grid is: in place on a terminal, elsewhere a line now and then."""

import collections
import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TextIO

from tqdm import tqdm

from tfunits.experiments.jobs import Batch

_SECONDS_BETWEEN_LINES = 60


@dataclasses.dataclass
class _Running:
    """A batch that a worker has: names of runs that have not ended, and since when the first of them is worked on."""

    batch: Batch
    left: list[str]
    since: float

    @property
    def work(self) -> float:
        return self.batch.work * len(self.left) / len(self.batch.names)


class Progress:
    """Counts the runs of a grid as launchers tell of them.

      time left = (work of batches that have not ended) / (work done per second of a worker) / workers

    Work is the estimated cost, so that wide networks weigh more than narrow ones.

    Args:
      left: runs that are to be carried out.
      finished: runs that were finished before.
      diverged: runs that had diverged before.
      clock: of seconds.
      out: for lines.
    """

    def __init__(
        self,
        left: int,
        *,
        finished: int = 0,
        diverged: int = 0,
        clock: Callable[[], float] = time.monotonic,
        out: TextIO | None = None,
    ) -> None:
        self._ended_before = collections.Counter(finished=finished, diverged=diverged)
        self.num_runs = finished + diverged + left
        # Of a run that is tried once more the last counts.
        self._states: dict[str, str] = {}
        self._waiting_work = 0.0
        self._running: dict[int, _Running] = {}
        self._done_work = self._done_seconds = 0.0
        self._clock, self._out = clock, out
        self._last_line = clock()
        self._bar: tqdm | None = None

    @contextlib.contextmanager
    def shown(self) -> Iterator["Progress"]:
        """Show it for the block, where a grid has more than one run left; printed lines stay above it."""
        with contextlib.ExitStack() as stack:
            if sys.stderr.isatty() and self.num_left > 1:
                self._bar = stack.enter_context(
                    tqdm(
                        total=self.num_runs, initial=self.num_runs - self.num_left, bar_format="{desc} |{bar}|",
                        dynamic_ncols=True, file=sys.stderr, leave=False,
                    )
                )  # fmt: skip
                stack.enter_context(contextlib.redirect_stdout(_Above(sys.stdout)))
                stack.enter_context(contextlib.redirect_stderr(_Above(sys.stderr)))
                stack.callback(setattr, self, "_bar", None)
                self.tick()
            yield self

    @property
    def num_running(self) -> int:
        """Runs that a worker has."""
        return sum(len(running.left) for running in self._running.values())

    def count(self, state: str) -> int:
        """Runs that have ended so, those that had before included."""
        return self._ended_before[state] + sum(found == state for found in self._states.values())

    @property
    def num_left(self) -> int:
        """Runs that have not ended, those that are running included."""
        return self.num_runs - self._ended_before.total() - len(self._states)

    def expect(self, batches: Sequence[Batch]) -> None:
        """What launchers are about to carry out."""
        self._waiting_work = sum(batch.work for batch in batches)

    def start(self, batch: Batch) -> None:
        """A worker has taken a batch."""
        self._running[id(batch)] = _Running(batch=batch, left=list(batch.names), since=self._clock())
        self._waiting_work -= batch.work
        self.tick()

    def is_running(self, batch: Batch) -> bool:
        """Whether a worker has a batch."""
        return id(batch) in self._running

    def give_back(self, batch: Batch) -> None:
        """A worker was lost, and its batch waits again."""
        self._waiting_work += self._running.pop(id(batch)).work

    def end_run(self, batch: Batch, name: str, state: str) -> None:
        """One run of a batch has ended."""
        running = self._running[id(batch)]
        self._done_work += batch.work / len(batch.names)
        self._done_seconds += self._clock() - running.since
        running.since = self._clock()
        running.left.remove(name)
        if name not in self._states and self._bar is not None:
            self._bar.update()
        self._states[name] = state
        if self._bar is None and self.num_left and self._clock() - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = self._clock()
            print(f"grid: {self}", file=self._out, flush=True)
        self.tick()

    def end(self, batch: Batch, states: Mapping[str, str]) -> None:
        """A batch has ended, its runs in the states given; the others failed."""
        for name in list(self._running[id(batch)].left):
            self.end_run(batch, name, states.get(name, "failed"))
        del self._running[id(batch)]
        self.tick()

    def tick(self) -> None:
        """Redraw where there is a terminal; call it now and then."""
        if self._bar is not None:
            self._bar.set_description_str(str(self))

    def seconds_left(self) -> float | None:
        """Estimated; None before a batch has ended."""
        if not self._done_work or not self._done_seconds:
            return None
        rate = self._done_work / self._done_seconds
        # What a run has taken counts, up to all that it was expected to take.
        running = sum(
            each.work / rate - min(self._clock() - each.since, each.batch.work / len(each.batch.names) / rate)
            for each in self._running.values()
        )
        # What has ended adds up to what was expected only up to rounding.
        return max(0.0, (self._waiting_work / rate + running) / max(1, len(self._running)))

    def __str__(self) -> str:
        """Counts, and the time left."""
        ended = {state: self.count(state) for state in ("finished", "diverged", "failed")}
        parts = [f"{ended['finished']:,} done", f"{self.num_running:,} running", f"{ended['failed']:,} failed"]
        if ended["diverged"]:
            parts.append(f"{ended['diverged']:,} diverged")
        parts.append(f"{max(0, self.num_left - self.num_running):,} left")
        seconds = self.seconds_left()
        return ", ".join(parts) + (f", about {format_seconds(seconds)} to go" if seconds is not None else "")


def format_seconds(seconds: float) -> str:
    """A duration for people.

    Example:
      >>> format_seconds(5000)
      '1 h 23 min'
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h {minutes % 60} min" if hours < 48 else f"{hours / 24:.0f} days"


class _Above:
    """A stream whose lines appear above progress bars; what bars themselves write passes through."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._line = stream, ""

    def write(self, text: str) -> int:
        # tqdm begins with a carriage return, a line feed or an escape; a line feed ends a line that was begun.
        if not self._line and text[:1] in ("\r", "\n", "\x1b", ""):
            self._stream.write(text)
        else:
            *lines, self._line = (self._line + text).split("\n")
            for line in lines:
                tqdm.write(line, file=self._stream)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)
