"""Several machines: two local processes that train together, and what stops them."""

import contextlib
import dataclasses
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf
import tiny_worker

from tfunits.artifacts import read_arrays
from tfunits.configs import Cluster, UserError
from tfunits.training import Checkpoints, fit, is_chief, is_lost_worker, make_strategy, num_workers
from tfunits.training import exchange as exchange_module
from tfunits.training import strategy as strategy_module
from tfunits.training.exchange import broadcast, broadcast_json

REPOSITORY = pathlib.Path(__file__).parents[2]
TIMEOUT_SECONDS = 120


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


@pytest.fixture
def addresses() -> tuple[str, str]:
    """Two addresses of this machine at which nothing listens."""
    return tuple(f"127.0.0.1:{port}" for port in free_ports(2))


@contextlib.contextmanager
def started(*commands: list[str], folder: pathlib.Path, **environment: str) -> Iterator[list[subprocess.Popen]]:
    """Child processes that write to <number>.out and <number>.err in a folder; killed at the end of the block."""
    variables = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    processes = []
    try:
        for number, command in enumerate(commands):
            with open(folder / f"{number}.out", "w") as out, open(folder / f"{number}.err", "w") as err:
                processes.append(
                    subprocess.Popen([sys.executable, *command], cwd=REPOSITORY, env=variables, stdout=out, stderr=err)
                )
        yield processes
    finally:
        # They ignore SIGTERM while they wait for each other.
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_two_workers_train_one_network_as_one_process_does(tmp_path, addresses):
    """Batch normalisation, an uneven last batch, averages; the same bits on both, one that writes, and again."""
    commands = [[tiny_worker.__file__, str(tmp_path), str(index), *addresses] for index in range(2)]
    with started(*commands, folder=tmp_path) as processes:
        end = time.monotonic() + TIMEOUT_SECONDS
        for number, process in enumerate(processes):
            code = process.wait(max(0, end - time.monotonic()))
            assert code == 0, (tmp_path / f"{number}.err").read_text()[-2000:]
    outputs = [(tmp_path / f"{number}.out").read_text() for number in range(2)]
    assert outputs[0] == outputs[1]
    *hashes, resumed = outputs[0].splitlines()
    assert [line.split()[0] for line in hashes] == list(tiny_worker.CASES)
    # Continued after the first epoch of the chief's checkpoint, which the other worker does not have.
    assert resumed == hashes[-1]
    assert event_epochs(tmp_path / "0" / "plain" / "tensorboard") == [{1, 2}, {2}]
    for name in tiny_worker.CASES:
        found = list(read_arrays(tmp_path / f"{name}-0.npz").values())
        expected = tiny_worker.train(name, tmp_path / "alone", tf.distribute.get_strategy())
        for one, other in zip(found, expected, strict=True):
            # Some twenty steps of float32 sums in another order.
            np.testing.assert_allclose(one, other, atol=1e-5, rtol=1e-5, err_msg=name)
        assert Checkpoints(tmp_path / "0" / name / "checkpoints").epochs() == [1]
        histories = [(tmp_path / who / name / "history.csv").read_text().splitlines() for who in ("0", "alone")]
        assert histories[0][0] == histories[1][0]
    assert not (tmp_path / "1").exists()
    # The last batch is uneven indeed, and the negative control: batches of another size lead elsewhere.
    make, data, config = tiny_worker.CASES["plain"]
    uneven = [len(range(worker, len(data.splits["train"]), 2)) % (config.batch_size // 2) for worker in range(2)]
    assert uneven == [1, 0]
    other = make()
    fit(other, data, dataclasses.replace(config, batch_size=9))
    kernel = read_arrays(tmp_path / "plain-0.npz")["00"]
    assert np.abs(other.variables[0].numpy() - kernel).max() > 1e-3


def event_epochs(folder: pathlib.Path) -> list[set[int]]:
    """Epochs that each of a folder's event files tells of, in the order of their writing."""
    files = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    iterators = (tf.compat.v1.train.summary_iterator(str(file)) for file in files)
    return [{event.step for event in events if event.summary.value} for events in iterators]


def test_a_worker_whose_peer_never_starts_ends_with_one_line(tmp_path, addresses):
    cluster = {"cluster": {"worker": list(addresses)}, "task": {"type": "worker", "index": 1}}
    flags = ["--model=mlp", "--size=0.0625", "--epochs=1", "--worker_timeout=1", f"--run_root={tmp_path / 'runs'}"]
    with started(["run_experiments.py", *flags], folder=tmp_path, TF_CONFIG=json.dumps(cluster)) as (process,):
        code = process.wait(TIMEOUT_SECONDS)
    assert (tmp_path / "0.err").read_text() == (
        f"run_experiments.py: worker 1: worker 0 at {addresses[0]} did not start within 1 s; start the same command on "
        "every machine of TF_CONFIG, or raise --worker_timeout\n"
    )
    assert code == 2
    assert not (tmp_path / "runs").exists()


class TestWaiting:
    @pytest.mark.parametrize("seconds", [0.1, 0.7])
    def test_a_worker_waits_so_long_and_no_longer(self, addresses, seconds):
        start = time.monotonic()
        with pytest.raises(UserError) as error:
            make_strategy(cluster=Cluster(workers=addresses, index=0), worker_timeout=seconds)
        assert seconds <= time.monotonic() - start < seconds + 2
        assert str(error.value) == (
            f"worker 0: worker 1 at {addresses[1]} did not start within {seconds:g} s; start the same command on every "
            "machine of TF_CONFIG, or raise --worker_timeout"
        )

    def test_workers_find_each_other_however_late_the_last_starts(self, addresses):
        """The first to see all others goes on to TensorFlow, which listens at the same address."""
        done = []

        def wait(index: int, delay: float) -> None:
            time.sleep(delay)
            strategy_module._await_others(Cluster(workers=addresses, index=index), 20)
            done.append(index)
            host, _, port = addresses[index].rpartition(":")
            with socket.create_server((host, int(port))) as server:
                server.settimeout(1)
                with contextlib.suppress(TimeoutError):
                    server.accept()

        threads = [threading.Thread(target=wait, args=pair) for pair in ((0, 0.0), (1, 0.8))]
        for thread in threads:
            thread.start()
        time.sleep(0.4)
        assert done == []
        for thread in threads:
            thread.join(30)
        assert sorted(done) == [0, 1]

    def test_a_port_in_use_is_named(self, addresses):
        port = int(addresses[0].rpartition(":")[2])
        with socket.create_server(("", port)), pytest.raises(UserError) as error:
            make_strategy(cluster=Cluster(workers=addresses, index=0), worker_timeout=5)
        assert (
            str(error.value) == f"TF_CONFIG: expected a free port {port} for worker 0, received Address already in use"
        )

    def test_several_cpu_devices_of_several_machines_are_refused(self, addresses):
        message = "^--num_devices=2: expected 1 CPU of every machine; leave the flag out with TF_CONFIG$"
        with pytest.raises(UserError, match=message):
            make_strategy(2, Cluster(workers=addresses, index=0), 5)


class FakeCluster:
    """Stands for the strategy of one of two workers."""

    def __init__(self, index: int) -> None:
        self.index = index


class TestExchange:
    def test_one_machine_is_its_own_chief(self, two_devices):
        for strategy in (two_devices, tf.distribute.get_strategy()):
            assert (num_workers(strategy), is_chief(strategy)) == (1, True)
            assert broadcast(strategy, b"abc") == b"abc"
            assert broadcast_json(strategy, {"a": [1, None]}) == {"a": [1, None]}

    @pytest.mark.parametrize("length", [0, 1, 16, 17, 63, 64, 65, 1000])
    def test_messages_longer_than_a_chunk_come_in_parts(self, monkeypatch, length):
        """Of 16 words a part; and a length that one number of 32 bits could not hold takes two."""
        calls = []

        def exchange(strategy: FakeCluster, words: np.ndarray) -> np.ndarray:
            assert words.dtype == np.int32
            if strategy.index == 0:
                calls.append(words)
                return words
            assert not words.any()
            return calls.pop(0)

        monkeypatch.setattr(exchange_module, "_CHUNK", 16)
        monkeypatch.setattr(exchange_module, "_sum", exchange)
        monkeypatch.setattr(exchange_module, "num_workers", lambda strategy: 2)
        monkeypatch.setattr(exchange_module, "is_chief", lambda strategy: strategy.index == 0)
        payload = np.random.default_rng(length).bytes(length)
        assert broadcast(FakeCluster(0), payload) == payload
        assert [len(words) for words in calls[1:]] == [
            min(16, -(-length // 4) - first) for first in range(0, -(-length // 4), 16)
        ]
        assert broadcast(FakeCluster(1), b"not read") == payload
        assert calls == []

    def test_lengths_beyond_2_gib_are_sent(self, monkeypatch):
        """ResNet18 4x: weights, velocities and best weights are 2.2 GB. Only the length is looked at here."""

        class Long(bytes):
            def __len__(self) -> int:
                return 2**31 + 5

        class Sent(Exception):
            pass

        def exchange(strategy: FakeCluster, words: np.ndarray) -> np.ndarray:
            raise Sent(words.tolist())

        monkeypatch.setattr(exchange_module, "_sum", exchange)
        monkeypatch.setattr(exchange_module, "num_workers", lambda strategy: 2)
        monkeypatch.setattr(exchange_module, "is_chief", lambda strategy: True)
        with pytest.raises(Sent) as sent:
            broadcast(FakeCluster(0), Long())
        ((high, low),) = sent.value.args
        assert high * exchange_module._CHUNK + low == 2**31 + 5
        assert max(high, low) < 2**31

    @pytest.mark.parametrize(
        ("kind", "lost"),
        [
            (tf.errors.UnavailableError, True),
            (tf.errors.AbortedError, True),
            (tf.errors.CancelledError, True),
            (tf.errors.DeadlineExceededError, True),
            (tf.errors.InternalError, True),
            (tf.errors.InvalidArgumentError, False),
            (tf.errors.DataLossError, False),
            (tf.errors.ResourceExhaustedError, False),
        ],
    )
    def test_a_lost_worker_is_told_from_bad_data(self, kind, lost):
        assert is_lost_worker(kind(None, None, "text")) == lost
