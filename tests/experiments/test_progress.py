"""How far a grid is."""

import io
import re

import pytest

from tfunits.configs import Cost
from tfunits.experiments.jobs import Batch, Job
from tfunits.experiments.progress import Progress, _Above, format_seconds


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def make_batch(*names: str, hours: float) -> Batch:
    cost = Cost(setup_seconds=3600 * hours)
    return Batch(jobs=tuple(Job(config=None, name=name, label=name, cost=cost, memory=1) for name in names))


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_runs_are_counted_by_what_became_of_them(clock):
    progress = Progress(4, finished=3, diverged=1, clock=clock)
    one, two = make_batch("a", "b", hours=1), make_batch("c", "d", hours=1)
    progress.expect([one, two])
    assert str(progress) == "3 done, 0 running, 0 failed, 1 diverged, 4 left"
    progress.start(one)
    assert str(progress) == "3 done, 2 running, 0 failed, 1 diverged, 2 left"
    clock.now = 60.0
    progress.end(one, {"a": "finished", "b": "diverged"})
    assert str(progress) == "4 done, 0 running, 0 failed, 2 diverged, 2 left, about 1 min to go"
    assert progress.num_left == 2
    progress.start(two)
    progress.end(two, {"c": "failed"})
    assert str(progress) == "4 done, 0 running, 2 failed, 2 diverged, 0 left, about 0 s to go"


def test_time_left_follows_work_and_not_counts(clock):
    """Negative control: by counts, what is left would take as long as what is done."""
    progress = Progress(2, clock=clock)
    narrow, wide = make_batch("narrow", hours=1), make_batch("wide", hours=16)
    progress.expect([narrow, wide])
    assert progress.seconds_left() is None
    progress.start(narrow)
    clock.now = 10.0
    progress.end(narrow, {"narrow": "finished"})
    assert progress.seconds_left() == pytest.approx(160)
    progress.start(wide)
    clock.now = 50.0
    assert progress.seconds_left() == pytest.approx(120)
    # It takes longer than expected.
    clock.now = 500.0
    assert progress.seconds_left() == 0


@pytest.mark.parametrize("hours", [(0.1, 0.2, 0.3), (0.3, 0.2, 0.1), (0.1, 0.7, 0.2), (1.1, 0.1, 0.7)])
def test_rounding_leaves_no_negative_time(clock, hours):
    progress = Progress(3, clock=clock)
    batches = [make_batch(str(number), hours=each) for number, each in enumerate(hours)]
    progress.expect(batches)
    for batch in batches:
        progress.start(batch)
        clock.now += 7.0
        progress.end(batch, dict.fromkeys(batch.names, "finished"))
    assert str(progress) == "3 done, 0 running, 0 failed, 0 left, about 0 s to go"


def test_workers_share_what_is_left(clock):
    progress = Progress(6, clock=clock)
    batches = [make_batch(str(number), hours=1) for number in range(6)]
    progress.expect(batches)
    for batch in batches[:2]:
        progress.start(batch)
    clock.now = 10.0
    for batch in batches[:2]:
        progress.end(batch, dict.fromkeys(batch.names, "finished"))
    for batch in batches[2:4]:
        progress.start(batch)
    # Four of ten seconds each for two workers.
    assert progress.seconds_left() == pytest.approx(20)


def test_runs_of_a_batch_end_one_by_one(clock):
    progress = Progress(4, clock=clock)
    batch = make_batch("a", "b", "c", "d", hours=4)
    progress.expect([batch])
    progress.start(batch)
    for name in "ab":
        clock.now += 10
        progress.end_run(batch, name, "finished")
    assert str(progress) == "2 done, 2 running, 0 failed, 0 left, about 20 s to go"
    # Its worker is lost, and another finds two of its runs done.
    progress.give_back(batch)
    assert str(progress) == "2 done, 0 running, 0 failed, 2 left, about 20 s to go"
    progress.start(batch)
    for name in "ab":
        progress.end_run(batch, name, "finished")
    assert (progress.count("finished"), progress.num_left) == (2, 2)
    progress.end(batch, dict.fromkeys("abcd", "finished"))
    assert (progress.count("finished"), progress.num_left, progress.count("failed")) == (4, 0, 0)


def test_of_a_run_that_is_tried_once_more_the_last_counts(clock):
    progress = Progress(2, clock=clock)
    batch = make_batch("a", "b", hours=1)
    progress.expect([batch])
    progress.start(batch)
    progress.end_run(batch, "a", "failed")
    progress.give_back(batch)
    progress.start(batch)
    assert str(progress).startswith("0 done, 2 running, 1 failed, 0 left")
    progress.end(batch, dict.fromkeys("ab", "finished"))
    assert (progress.count("finished"), progress.count("failed"), progress.num_left) == (2, 0, 0)


def test_a_batch_whose_worker_is_lost_waits_again(clock):
    progress = Progress(2, clock=clock)
    batches = [make_batch("a", hours=1), make_batch("b", hours=1)]
    progress.expect(batches)
    progress.start(batches[0])
    clock.now = 5.0
    progress.give_back(batches[0])
    assert (progress.num_running, progress.num_left) == (0, 2)
    progress.start(batches[1])
    progress.end(batches[1], {"b": "finished"})
    assert not progress.is_running(batches[0])


def test_elsewhere_than_on_a_terminal_a_line_comes_now_and_then(clock):
    out = io.StringIO()
    batches = [make_batch(str(number), hours=1) for number in range(100)]
    progress = Progress(100, clock=clock, out=out)
    progress.expect(batches)
    with progress.shown():
        for batch in batches:
            progress.start(batch)
            clock.now += 7
            progress.end(batch, {batch.names[0]: "finished"})
    lines = out.getvalue().splitlines()
    assert len(lines) == 700 // 63
    assert lines[0] == "grid: 9 done, 0 running, 0 failed, 91 left, about 11 min to go"


def test_lines_appear_above_a_bar_and_bars_pass_through():
    stream = io.StringIO()
    above = _Above(stream)
    above.write("\r 10%|#   |")
    for text in ("a line", "\n", "two\nlines\n"):
        above.write(text)
    above.write("\x1b[A")
    assert re.sub(r"[\r\n]+", "\n", stream.getvalue()) == "\n 10%|#   |a line\ntwo\nlines\n\x1b[A"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59, "59 s"), (61, "1 min"), (3599, "1 h 0 min"), (5000, "1 h 23 min"), (8.6e5, "10 days")],
)
def test_durations_are_for_people(seconds, text):
    assert format_seconds(seconds) == text
