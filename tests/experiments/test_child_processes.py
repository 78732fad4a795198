"""The command line in child processes: killed at any moment, interrupted, or twice at once."""

import json
import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Callable

import numpy as np
import pytest
from tiny_runs import carry_out, make_config, read_weights, snapshot, start

from tfunits.artifacts import RunDir, read_arrays

# An mlp that trains for a second or two and leaves ten measures.
EPOCHS = 100
MEASURED = ("--measured_splits=train,validation,test", "--ablation_unit=channel,location")
MLP = ("--model=mlp", "--size=0.0625", f"--epochs={EPOCHS}", *MEASURED)
# Every file but these has the same content however often its run was killed.
TIMES = ("status.json", "timing.csv", "environment.json", "tensorboard")


def wait_until(happened: Callable[[], bool], *processes: subprocess.Popen, seconds: float = 120) -> None:
    """Poll until something has happened, while every process lives."""
    end = time.monotonic() + seconds
    while not happened():
        assert all(process.poll() is None for process in processes), "a process ended too early"
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.002)


def count_epochs(run_dir: RunDir) -> int:
    return len(run_dir.history.read_text().splitlines()) - 1 if run_dir.history.exists() else 0


def count_measures(run_dir: RunDir) -> int:
    return len(list(run_dir.measures.glob("*.json")))


def kill(process: subprocess.Popen, happened: Callable[[], bool], delay: float = 0) -> None:
    """SIGKILL a process a moment after something has happened."""
    wait_until(happened, process)
    time.sleep(delay)
    process.kill()
    assert process.wait() == -signal.SIGKILL


def assert_same_results(run_dir: RunDir, expected: RunDir) -> None:
    found, wanted = snapshot(run_dir.path), snapshot(expected.path)
    names = {name for name in wanted if not name.startswith(TIMES)}
    assert {name for name in found if not name.startswith(TIMES)} == names
    for name in sorted(names):
        suffix = pathlib.Path(name).suffix
        if suffix == ".keras":
            pairs = zip(read_weights(run_dir.path / name), read_weights(expected.path / name), strict=True)
        elif suffix == ".npz":
            one, other = read_arrays(run_dir.path / name), read_arrays(expected.path / name)
            assert list(one) == list(other)
            pairs = zip(one.values(), other.values(), strict=True)
        else:
            assert found[name][1] == wanted[name][1], name
            continue
        for one, other in pairs:
            np.testing.assert_array_equal(one, other, err_msg=name)


def run_and_kill(root: pathlib.Path, flags: tuple[str, ...], config, kills: int, seed: int) -> None:
    """Compare an uninterrupted run with one killed at seeded moments of its training and its measuring."""
    rng = np.random.default_rng(seed)
    whole = start(root / "whole", *flags, log="whole")
    run_dir = RunDir.of(config, root / "killed")
    # In the first two thirds of each, so that a busy machine cannot end it before the signal comes.
    num_training = -(-2 * kills // 3)
    in_training = np.sort(1 + rng.choice(config.training.epochs * 2 // 3, num_training, replace=False))
    in_measuring = np.sort(1 + rng.choice(7, kills - num_training, replace=False))
    moments = [(count_epochs, count, False) for count in in_training]
    moments += [(count_measures, count, True) for count in in_measuring]
    for number, (counted, count, trained) in enumerate(moments):
        process = start(root / "killed", *flags, log=f"kill{number}")
        # The moment within an epoch, or a measure, is random too.
        kill(process, lambda counted=counted, count=count: counted(run_dir) >= count, rng.uniform(0, 0.03))
        assert run_dir.is_done("train") == trained
    measured = {name: file for name, file in snapshot(run_dir.measures).items() if name.endswith(".json")}
    last = start(root / "killed", *flags, log="last")
    assert (last.wait(), whole.wait()) == (0, 0)
    assert_same_results(run_dir, RunDir.of(config, root / "whole"))
    # Nothing is measured twice.
    assert measured.items() <= snapshot(run_dir.measures).items()
    assert run_dir.status()["state"] == "finished"
    assert all((root / "killed" / f"{log}.err").read_text() == "" for log in ("kill0", "last"))


@pytest.mark.slow
def test_a_run_killed_three_times_ends_with_the_same_bits(tmp_path):
    config = make_config(epochs=EPOCHS)
    run_and_kill(tmp_path, MLP, config, kills=3, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_alexnet_killed_ten_times_ends_with_the_same_bits(tmp_path):
    fields = {"model": "alexnet", "epochs": 15, "num_examples": 400, "regularizers": ("all",)}
    flags = ("--model=alexnet", "--size=0.0625", "--epochs=15", "--num_examples=400", "--regularizers=all", *MEASURED)
    run_and_kill(tmp_path, flags, make_config(**fields), kills=10, seed=2)


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_an_interrupted_run_says_how_to_go_on(tmp_path, number):
    process = start(tmp_path, *MLP, log="run")
    run_dir = RunDir.of(make_config(epochs=EPOCHS), tmp_path)
    wait_until(lambda: count_epochs(run_dir) >= 2, process)
    process.send_signal(number)
    assert process.wait() == 130
    assert (tmp_path / "run.err").read_text() == "interrupted; the same command continues\n"
    assert run_dir.status()["state"] == "interrupted"
    assert 2 <= count_epochs(run_dir) < EPOCHS


@pytest.mark.slow
def test_two_processes_given_the_same_run_do_it_once(tmp_path):
    config = make_config(epochs=2)
    run_dir = RunDir.of(config, tmp_path)
    waiting = f"{run_dir.name}: process {os.getpid()} works on this run; waiting\n"
    flags = ("--model=mlp", "--size=0.0625", "--epochs=2")
    # Both come while a third one, this, holds the run; so they are sure to meet.
    with run_dir.claimed(config):
        processes = [start(tmp_path, *flags, log=log) for log in "ab"]
        wait_until(lambda: all((tmp_path / f"{log}.err").read_text() == waiting for log in "ab"), *processes)
    assert [process.wait() for process in processes] == [0, 0]
    outputs = [(tmp_path / f"{log}.out").read_text() for log in "ab"]
    assert sorted(f"{run_dir.name}: finished before" in output for output in outputs) == [False, True]
    assert sorted(f"{run_dir.name}: train, measure, report" in output for output in outputs) == [False, True]
    assert [(tmp_path / f"{log}.err").read_text() for log in "ab"] == [waiting] * 2
    tables = [output[output.index("units") : output.index("accuracy:")] for output in outputs]
    assert tables[0] == tables[1]
    assert json.loads(run_dir.done_file("train").read_text())["epochs"] == 2


def test_a_plan_of_kept_epochs_writes_no_line_of_tensorflow(tmp_path):
    """To know which were kept it is imported."""
    root = tmp_path / "runs"
    assert carry_out(root, make_config(epochs=2), steps=("train",), keep_epochs=("1",)) == 0
    flags = ("--model=mlp", "--size=0.0625", "--epochs=2", "--steps=train,dynamics", "--plan", f"--run_root={root}")
    assert start(tmp_path, *flags, log="plan").wait() == 0
    assert (tmp_path / "plan.err").read_text() == ""
    assert "1 runs in" in (tmp_path / "plan.out").read_text()
