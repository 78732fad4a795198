"""Several machines, played by processes of this one that `TF_CONFIG` makes workers of one cluster."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from tiny_runs import PROGRAM, carry_out, make_config, read_weights

from tfunits.artifacts import RunDir
from tfunits.configs import ExperimentConfig

SLOWEST_END = 60
# Enough that a kill after two of them is before the last.
EPOCHS = 20


def free_ports(count: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def start_workers(root: pathlib.Path, *flags: str, count: int = 2, log: str = "") -> list[subprocess.Popen]:
    """The same command on every worker, each with a run root of its own."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]
    root.mkdir(exist_ok=True)
    workers = []
    for index in range(count):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        with open(root / f"{log}{index}.out", "w") as out, open(root / f"{log}{index}.err", "w") as err:
            command = [
                sys.executable,
                str(PROGRAM),
                f"--run_root={root / str(index)}",
                "--checkpoint_seconds=0",
                *flags,
            ]
            environment = {**os.environ, "TF_CONFIG": json.dumps(task)}
            workers.append(subprocess.Popen(command, stdout=out, stderr=err, env=environment))
    return workers


def end(workers: list[subprocess.Popen]) -> None:
    # TensorFlow's collectives do not hear SIGTERM.
    for worker in workers:
        worker.kill()


def alone(root: pathlib.Path, config: ExperimentConfig) -> RunDir:
    carry_out(root, config, steps=("train",))
    return RunDir.of(config, root)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_grid_on_two_workers_is_that_of_one(tmp_path):
    """34 steps of 32 end with 22 examples; both runs of the grid are trained, and the chief alone writes."""
    flags = ("--model=mlp", "--size=0.0625", "--seed=0,1", "--epochs=2", "--batch_size=32")
    workers = start_workers(tmp_path / "both", *flags)
    try:
        assert [worker.wait(300) for worker in workers] == [0, 0], (tmp_path / "both" / "0.err").read_text()
    finally:
        end(workers)
    assert not (tmp_path / "both" / "1").exists()
    assert "worker 1 of 2" in (tmp_path / "both" / "1.out").read_text()
    for seed in (0, 1):
        config = make_config(seed=seed)
        one, both = alone(tmp_path / "one", config), RunDir.of(config, tmp_path / "both" / "0")
        assert both.status()["state"] == "finished"
        # Sums of 32 terms in float32, in another order, over 68 steps.
        histories = [pd.read_csv(run.history) for run in (one, both)]
        pd.testing.assert_frame_equal(*histories, rtol=1e-4)
        for left, right in zip(read_weights(one.model), read_weights(both.model), strict=True):
            np.testing.assert_allclose(left, right, atol=1e-4)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("victim", [0, 1])
def test_a_lost_worker_ends_the_others_and_the_same_command_continues(tmp_path, victim):
    flags = ("--model=resnet18", "--size=0.0625", f"--epochs={EPOCHS}", "--num_examples=256", "--steps=train")
    config = make_config(model="resnet18", epochs=EPOCHS, num_examples=256)
    run_dir = RunDir.of(config, tmp_path / "0")
    workers = start_workers(tmp_path, *flags, log="first")
    try:
        limit = time.monotonic() + 200
        while not (run_dir.history.exists() and len(run_dir.history.read_text().splitlines()) > 2):
            assert time.monotonic() < limit
            assert [worker.poll() for worker in workers] == [None, None]
            time.sleep(0.02)
        workers[victim].send_signal(signal.SIGKILL)
        other = 1 - victim
        assert workers[other].wait(SLOWEST_END) == 2
    finally:
        end(workers)
    lines = (tmp_path / f"first{other}.err").read_text()
    assert "another worker was lost" in lines
    assert "start the same command on all machines, and it continues" in lines
    assert "Traceback" not in lines
    before = run_dir.history.read_text().splitlines()
    assert 3 <= len(before) <= EPOCHS
    workers = start_workers(tmp_path, *flags, log="second")
    try:
        assert [worker.wait(300) for worker in workers] == [0, 0]
    finally:
        end(workers)
    after = run_dir.history.read_text().splitlines()
    # The last row may be of an epoch whose checkpoint was not yet written; it was trained again.
    assert after[: len(before) - 1] == before[:-1]
    assert len(after) == EPOCHS + 1
    # The momentum of what came before is there: a fresh optimiser or schedule would not end so low.
    history = pd.read_csv(run_dir.history)
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[len(before) - 2]
    np.testing.assert_array_equal(history["steps"], 8 * np.arange(1, EPOCHS + 1))


def test_a_broken_cluster_is_one_line(tmp_path):
    environment = {**os.environ, "TF_CONFIG": '{"cluster": {"ps": ["a:1"]}, "task": {"type": "ps", "index": 0}}'}
    command = [sys.executable, str(PROGRAM), f"--run_root={tmp_path / 'runs'}", "--model=mlp"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("run_experiments.py: TF_CONFIG=")
    assert "expected workers and a task, tasks of kind ps do not train here" in line
    assert not (tmp_path / "runs").exists()
