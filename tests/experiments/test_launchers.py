"""Where batches of a grid are carried out: parts of it, how many workers, and workers that die."""

import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import types

import psutil
import pytest
from tiny_runs import carry_out, make_config, start

from tfunits import training
from tfunits.artifacts import RunDir
from tfunits.configs import Cluster, ExecutionConfig, estimate_cost, estimate_memory, parse_shard, run_id
from tfunits.experiments.jobs import Job, batch_jobs
from tfunits.experiments.launchers import LAUNCHERS, local
from tfunits.experiments.launchers.local import choose_num_workers
from tfunits.experiments.launchers.machine import Machine, look_at_machine
from tfunits.experiments.launchers.task import prepare
from tfunits.experiments.runner import run_grid, take_part

GRID = [make_config(size=size, seed=seed) for size in (0.25, 1) for seed in range(50)]


class Roomy(Machine):
    """A machine whose free memory is given."""

    def __init__(self, cores: int, gpus: tuple[str, ...] = (), memory: float = 1e12) -> None:
        super().__init__(cores=cores, gpus=gpus)
        object.__setattr__(self, "memory", memory)

    def free_memory(self) -> float:
        return self.memory


def make_jobs(*configs) -> list[Job]:
    return [
        Job(config=c, name=run_id(c), label=run_id(c), cost=estimate_cost(c), memory=estimate_memory(c))
        for c in configs
    ]


def shard(text: str, configs=GRID) -> list[str]:
    return [run_id(config) for config in take_part(configs, ExecutionConfig(shard=text))]


@pytest.mark.parametrize("count", [1, 3, 7, 150])
def test_shards_are_the_whole_grid_once(count):
    parts = [shard(f"{number}/{count}") for number in range(1, count + 1)]
    assert sorted(name for part in parts for name in part) == sorted(map(run_id, GRID))
    assert max(map(len, parts)) <= 2 * -(-len(GRID) // count)


def test_a_shard_is_the_same_in_every_order():
    """Negative control: another shard is not."""
    reverse = list(reversed(GRID))
    assert set(shard("2/7")) == set(shard("2/7", reverse)) != set(shard("3/7", reverse))


def test_no_shard_is_empty_where_few_runs_are_most_of_the_work():
    grid = [make_config(model="alexnet", dataset="cifar10", size=4, seed=seed) for seed in range(2)]
    grid += [make_config(epochs=0, seed=seed) for seed in range(10)]
    parts = [shard(f"{number}/6", grid) for number in range(1, 7)]
    assert min(map(len, parts)) >= 1
    assert sorted(sum(parts, [])) == sorted(map(run_id, grid))


def test_no_shard_gets_all_the_wide_networks():
    grid = [make_config(model="alexnet", size=size, seed=seed) for size in (0.25, 1) for seed in range(8)]
    for number in (1, 2):
        assert sum("-s1-" in name for name in shard(f"{number}/2", grid)) == 4


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/0", "3", "a/b", "1/4/2", "-1/4"])
def test_a_shard_of_another_form_is_refused(text):
    with pytest.raises(ValueError, match=f"--shard={text}: expected number/count with a number from 1 to the count"):
        ExecutionConfig(shard=text)
    assert parse_shard("3/40") == (3, 40)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"launcher": "ray", "num_workers": 2}, "--num_workers=2: expected no such flag with --launcher=ray"),
        ({"cpus_per_task": 2}, "--cpus_per_task=2: expected no such flag with --launcher=local"),
        ({"ray_address": "auto"}, "--ray_address=auto: expected no such flag with --launcher=local"),
        ({"launcher": "ray", "gpus_per_task": 1.5}, "--gpus_per_task=1.5: expected a share of one GPU"),
        ({"launcher": "ray", "gpus_per_task": 0.5, "num_devices": 2}, "--num_devices=2: expected at most --gpus_per_t"),
        ({"shard": "1/2", "export": "a.csv"}, "--export=a.csv: expected no --shard=1/2; export with the command that"),
        ({"launcher": "slurm"}, "--launcher=slurm: expected one of local, ray"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        ExecutionConfig(**fields)


@pytest.mark.parametrize("num_devices", [None, 1])
def test_a_share_of_a_gpu_is_a_device(num_devices):
    assert ExecutionConfig(launcher="ray", gpus_per_task=0.25, num_devices=num_devices).gpus_per_task == 0.25


@pytest.mark.parametrize(
    ("machine", "fields", "expected"),
    [
        (Roomy(1), {}, 1),
        (Roomy(3), {}, 1),
        (Roomy(16), {}, 8),
        (Roomy(3), {"num_workers": 3}, 3),
        # No more than there are runs.
        (Roomy(1000), {}, 100),
        # 0.8 GB a process.
        (Roomy(16, memory=3e9), {}, 3),
        (Roomy(16, memory=1e8), {}, 1),
        (Roomy(64, ("0", "1", "2", "3")), {}, 4),
        (Roomy(64, ("0", "1", "2", "3")), {"num_devices": 2}, 2),
        (Roomy(64, ("0", "1")), {"num_devices": 8}, 1),
        # Two share a GPU.
        (Roomy(64, ("0", "1")), {"num_workers": 4}, 4),
    ],
)
def test_workers_are_as_many_as_the_machine_carries(machine, fields, expected):
    assert choose_num_workers(make_jobs(*GRID), ExecutionConfig(**fields), machine) == expected


def test_more_workers_with_several_gpus_each_than_there_are_gpus_are_refused():
    execution = ExecutionConfig(num_workers=3, num_devices=2)
    with pytest.raises(ValueError, match="--num_workers=3: expected at most 2 with --num_devices=2 of 4 GPUs"):
        choose_num_workers(make_jobs(*GRID), execution, Roomy(64, ("0", "1", "2", "3")))


def test_gpus_of_a_machine_are_those_that_cuda_sees(monkeypatch):
    for text, names in {"2,3": ("2", "3"), "": (), "0,-1,1": ("0",), "GPU-8a, 1": ("GPU-8a", "1")}.items():
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", text)
        assert look_at_machine().gpus == names
    assert 0 < look_at_machine().free_memory() < 1e13
    assert look_at_machine().memory_of(os.getpid()) > 1e7


def test_each_worker_has_its_own_gpus_or_shares_one():
    workers = local._Workers([], ExecutionConfig(), None, Roomy(8, ("a", "b", "c", "d")), 8)
    assert [workers._gpus(slot) for slot in range(6)] == ["a", "b", "c", "d", "a", "b"]
    workers = local._Workers([], ExecutionConfig(num_devices=2), None, Roomy(8, ("a", "b", "c", "d")), 2)
    assert [workers._gpus(slot) for slot in range(2)] == ["a,b", "c,d"]


def test_batches_are_shared_out_among_workers():
    assert [len(batch.jobs) for batch in batch_jobs(make_jobs(*GRID), 10)] == [5] * 20
    [batch] = batch_jobs(make_jobs(*GRID[:3]), 1)
    # Set up once.
    assert batch.work < sum(job.cost.cpu_hours for job in batch.jobs)
    assert batch.names == tuple(map(run_id, GRID[:3]))


def test_a_command_that_shares_out_or_finds_done_imports_no_tensorflow():
    code = "import sys, tfunits.experiments.runner, tfunits.experiments.requests"
    loaded = "print([name for name in ('tensorflow', 'keras', 'matplotlib') if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", f"{code}; {loaded}"], text=True) == "[]\n"


def test_a_cluster_of_one_training_shares_out_no_runs(tmp_path):
    cluster = Cluster(workers=("a:1", "b:1"), index=0)
    for fields in ({"launcher": "ray"}, {"num_workers": 2}):
        name, value = next(iter(fields.items()))
        with pytest.raises(ValueError, match=f"--{name}={value}: expected no such flag with TF_CONFIG"):
            run_grid([make_config()], ExecutionConfig(run_root=str(tmp_path), **fields), cluster=cluster)


def test_ray_that_is_not_installed_is_named_in_one_line(tmp_path, monkeypatch):
    def refuse(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(ValueError, match=r'expected Ray, which is not installed; pip install "tfunits\[ray\]"'):
        LAUNCHERS["ray"]([], ExecutionConfig(launcher="ray"), None)


class FakeProcess:
    """A process that is alive when it is asked so often."""

    def __init__(self, sentinel: str, looks: int) -> None:
        self.sentinel, self.looks, self.pid = sentinel, looks, 0

    def is_alive(self) -> bool:
        self.looks -= 1
        return self.looks >= 0

    def kill(self) -> None: ...

    def join(self) -> None: ...


def test_while_workers_stop_nobody_listens_to_one_that_has_died(monkeypatch):
    """Its sentinel is always ready: waiting for it would not wait."""
    waited = []
    monkeypatch.setattr(local, "wait", lambda objects, seconds: waited.append(list(objects)) or [])
    workers = local._Workers([], ExecutionConfig(), None, Roomy(8), 2)
    for slot, (name, looks) in enumerate((("dead", 0), ("alive", 3))):
        connection, _ = multiprocessing.Pipe()
        process = FakeProcess(name, looks)
        workers._workers[slot] = types.SimpleNamespace(slot=slot, batch=None, connection=connection, process=process)
    with workers:
        pass
    assert len(waited) == 3
    assert all("alive" in objects and "dead" not in objects for objects in waited)


def test_a_shard_is_carried_out_alone_and_reports_no_table(tmp_path, capsys):
    configs = [make_config(seed=seed, epochs=0) for seed in range(3)]
    assert carry_out(tmp_path, *configs, shard="1/3", steps=("train",)) == 0
    assert len(list(tmp_path.glob("*/config.json"))) == 1
    assert not list(tmp_path.glob("grid-*"))
    assert "shard 1/3: 1 of 1 runs finished, of 3 in the grid" in capsys.readouterr().out


def test_grids_of_one_command_share_a_strategy(monkeypatch):
    """As the figures of --figure=all do; runs of a second strategy of two devices all fail."""
    made = []
    monkeypatch.setattr(training, "make_strategy", lambda num_devices: made.append(num_devices) or "a strategy")
    # So many that no other test gets what is kept.
    for _ in range(2):
        prepare(ExecutionConfig(num_devices=97, deterministic=False))
    assert made == [97]


FLAGS = ("--model=mlp", "--size=0.0625", "--num_workers=2", "--steps=train", "--epochs=60", "--seed=0,1,2,3")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_worker_that_dies_costs_only_its_batch_which_is_tried_once_more(tmp_path):
    configs = [make_config(seed=seed, epochs=60) for seed in range(4)]
    process = start(tmp_path, *FLAGS, log="grid")
    pids = kill_first(tmp_path, configs, signal.SIGKILL, process)
    assert process.wait(300) == 0, (tmp_path / "grid.err").read_text()
    states = [RunDir.of(config, tmp_path).status() for config in configs]
    assert [status["state"] for status in states] == ["finished"] * 4
    assert "its process was ended by SIGKILL, as when memory is short; once more" in (tmp_path / "grid.err").read_text()
    assert pids.isdisjoint(status["pid"] for status in states if status["pid"] != process.pid)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_batch_that_kills_its_worker_twice_is_failed_and_the_others_finish(tmp_path):
    configs = [make_config(seed=seed, epochs=60) for seed in range(4)]
    process = start(tmp_path, *FLAGS, log="grid")
    first = kill_first(tmp_path, configs, signal.SIGKILL, process)
    [again] = [c for c in configs if RunDir.of(c, tmp_path).status().get("pid") in first]
    kill_first(tmp_path, [again], signal.SIGKILL, process, after=first)
    assert process.wait(300) == 1
    states = {run_id(config): RunDir.of(config, tmp_path).status().get("state", "new") for config in configs}
    assert states[run_id(again)] == "failed"
    # Its batch holds one run or two, since four are shared out between two workers.
    assert sorted(states.values()).count("finished") >= 2
    assert "ended by SIGKILL, as when memory is short, twice" in (tmp_path / "grid.err").read_text()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_the_command_and_runs_are_marked(tmp_path, number):
    configs = [make_config(seed=seed, epochs=3000) for seed in range(4)]
    process = start(tmp_path, *(flag.replace("60", "3000") for flag in FLAGS), log="grid")
    pids = wait_for_workers(tmp_path, configs, process)
    # With Python's own process that warns of what is left behind.
    pids |= {child.pid for child in psutil.Process(process.pid).children()}
    process.send_signal(number)
    assert process.wait(120) == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    wait_until(lambda: not any(is_alive(pid) for pid in pids))
    if number != signal.SIGKILL:
        assert (tmp_path / "grid.err").read_text() == "interrupted; the same command continues\n"
    states = [RunDir.of(config, tmp_path).status().get("state") for config in configs]
    assert "running" not in states
    assert states.count("interrupted") == 2
    last = start(tmp_path, *(flag.replace("60", "3000") for flag in FLAGS), "--plan", log="plan")
    assert last.wait(60) == 0


def wait_until(happened, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for_workers(root, configs, process, count: int = 2) -> set[int]:
    """Processes of workers that have trained an epoch of a run."""

    def find() -> set[int]:
        assert process.poll() is None, (root / "grid.err").read_text()
        runs = [RunDir.of(config, root) for config in configs]
        return {run.status()["pid"] for run in runs if run.status().get("state") == "running" and run.history.exists()}

    wait_until(lambda: len(find()) >= count)
    return find()


def kill_first(root, configs, number, process, after: frozenset[int] = frozenset()) -> set[int]:
    """Kill a worker that is training one of some runs; returns its process."""
    wait_until(lambda: wait_for_workers(root, configs, process, 1) - set(after))
    [pid, *_] = wait_for_workers(root, configs, process, 1) - set(after)
    os.kill(pid, number)
    return {pid}
