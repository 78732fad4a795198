"""A grid on a Ray cluster of two nodes of this machine, one of which is killed in mid-run."""

import os
import pathlib
import time

import pytest
from tensorboard.backend.event_processing import event_file_loader
from tiny_runs import make_config

from tfunits.artifacts import RunDir
from tfunits.configs import ExecutionConfig, estimate_cost, estimate_memory, run_id
from tfunits.experiments.jobs import Job
from tfunits.experiments.launchers import ray_cluster
from tfunits.experiments.progress import Progress

# Some seconds of training each, with a checkpoint every few tenths of one.
EPOCHS = 1500
KEPT = ("every50",)


def make_jobs(*configs) -> list[Job]:
    return [
        Job(config=config, name=run_id(config), label=f"[{number}] {run_id(config)}", cost=estimate_cost(config),
            memory=estimate_memory(config))
        for number, config in enumerate(configs, start=1)
    ]  # fmt: skip


class KillsOneNode(Progress):
    """Kills a node once runs are being trained on both."""

    def __init__(self, cluster, node, run_dirs) -> None:
        super().__init__(len(run_dirs))
        self.cluster, self.node, self.run_dirs, self.interrupted = cluster, node, run_dirs, []

    def tick(self) -> None:
        if self.node is None:
            return
        training = [run for run in self.run_dirs if run.history.exists() and run.status().get("state") == "running"]
        if len(training) == 2 and min(map(count_epochs, training)) >= EPOCHS / 10:
            self.interrupted = [(run, run.status()["pid"], count_epochs(run)) for run in training]
            # With its workers, as when a machine's power is cut.
            self.cluster.remove_node(self.node, allow_graceful=False)
            self.node = None


def count_epochs(run_dir: RunDir) -> int:
    return len(run_dir.history.read_text().splitlines()) - 1 if run_dir.history.exists() else 0


def count_trainings(run_dir: RunDir) -> int:
    """Processes that have trained a run, by the event files that they opened."""
    return len(list(run_dir.tensorboard.glob("events.out.tfevents.*")))


def read_steps(events: pathlib.Path) -> list[int]:
    """Epochs of which an event file holds something."""
    loaded = event_file_loader.EventFileLoader(str(events))
    return [event.step for event in loaded.Load() if event.step]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_node_loses_nothing_and_nothing_is_run_twice(tmp_path: pathlib.Path, monkeypatch):
    # Ray's workers stand back behind everything else by default.
    monkeypatch.setenv("RAY_worker_niceness", "0")
    from ray.cluster_utils import Cluster

    # Runs that do not belong together, so that each is a task.
    configs = [make_config(size=size, epochs=EPOCHS) for size in (0.0625, 0.125, 0.1875)]
    run_dirs = [RunDir.of(config, tmp_path) for config in configs]
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        node = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        execution = ExecutionConfig(
            run_root=str(tmp_path),
            steps=("train",),
            launcher="ray",
            ray_address=cluster.address,
            keep_epochs=KEPT,
        )
        progress = KillsOneNode(cluster, node, run_dirs)
        states = ray_cluster.launch(make_jobs(*configs), execution, progress)
    finally:
        cluster.shutdown()
    assert states == {run.name: "finished" for run in run_dirs}
    assert [count_epochs(run) for run in run_dirs] == [EPOCHS] * len(configs)
    assert (progress.count("finished"), progress.count("failed")) == (len(configs), 0)
    # The node was killed while it trained; one run's process is another now, and it alone.
    assert len(progress.interrupted) == 2
    moved = [run.name for run, pid, _ in progress.interrupted if run.status()["pid"] != pid]
    assert len(moved) == 1
    assert {run.name: count_trainings(run) for run in run_dirs} == {
        run.name: 1 + (run.name in moved) for run in run_dirs
    }
    for run in run_dirs:
        assert [path.name for path in run.path.glob("**/.part-*")] == []
    # It has gone on from a checkpoint: its second process has noted no epoch before.
    [(run, epochs)] = [(run, epochs) for run, _, epochs in progress.interrupted if run.name in moved]
    last = max(run.tensorboard.glob("events.out.tfevents.*"), key=lambda path: path.stat().st_mtime)
    assert min(read_steps(last)) > epochs - int(KEPT[0].removeprefix("every"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_cluster_that_cannot_give_a_task_what_it_needs_is_named(tmp_path):
    execution = ExecutionConfig(run_root=str(tmp_path), launcher="ray", gpus_per_task=0.5)
    with pytest.raises(ValueError, match="--gpus_per_task=0.5: expected a machine of the cluster that has as many"):
        ray_cluster.launch(make_jobs(make_config()), execution, Progress(1))
    execution = ExecutionConfig(run_root=str(tmp_path), launcher="ray", cpus_per_task=os.cpu_count() + 1)
    with pytest.raises(ValueError, match="--cpus_per_task=.*: expected a machine of the cluster that has as many"):
        ray_cluster.launch(make_jobs(make_config()), execution, Progress(1))


def test_a_head_that_is_not_there_is_named(tmp_path):
    execution = ExecutionConfig(run_root=str(tmp_path), launcher="ray", ray_address="127.0.0.1:1")
    start = time.monotonic()
    with pytest.raises(ValueError, match="--ray_address=127.0.0.1:1: expected a Ray cluster"):
        ray_cluster.launch(make_jobs(make_config()), execution, Progress(1))
    # Ray itself waits for minutes.
    assert time.monotonic() - start < 30
