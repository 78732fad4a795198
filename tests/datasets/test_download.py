"""Data that are not there, and preparing them, without a network."""

import socket
import threading
import time

import pytest
import tensorflow_datasets as tfds

from tfunits import datasets
from tfunits.datasets import download

PREPARED = ["cifar10", "cifar100", "mnist", "mnist_parity", "imagenet2012"]


@pytest.fixture
def host(monkeypatch):
    """A server of this machine in place of all others; it refuses connections until it listens."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(download, "DOWNLOAD_HOSTS", dict.fromkeys(download.DOWNLOAD_HOSTS, address))
        for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(proxy, raising=False)
        yield server


def answer(server: socket.socket, text: bytes) -> None:
    """Serve one request."""
    server.listen()

    def serve() -> None:
        connection, _ = server.accept()
        connection.recv(1000)
        connection.sendall(text)
        connection.close()

    threading.Thread(target=serve, daemon=True).start()


@pytest.mark.parametrize("name", PREPARED)
def test_missing_data_are_named_at_once(name, tmp_path):
    start = time.perf_counter()
    with pytest.raises(
        ValueError, match=f"--dataset={name}: expected .* prepared in {tmp_path}, received nothing there"
    ):
        datasets.load(name, data_dir=str(tmp_path))
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("name", PREPARED[:-1])
def test_no_connection_is_said_at_once(name, tmp_path, host):
    with pytest.raises(ValueError, match="--download: no connection to http://127.0.0.1:.*run `tfds build"):
        datasets.load(name, data_dir=str(tmp_path / "new"), download=True)


def test_a_host_that_never_answers_is_left(tmp_path, host, monkeypatch):
    monkeypatch.setattr(download, "_TIMEOUT_SECONDS", 0.3)
    host.listen()
    start = time.perf_counter()
    with pytest.raises(ValueError, match="--download: no connection to"):
        datasets.load("mnist", data_dir=str(tmp_path), download=True)
    assert time.perf_counter() - start < 3


def test_a_search_for_an_address_that_hangs_is_left(tmp_path, monkeypatch):
    over = threading.Event()

    def search(*_, **__):
        over.wait(20)
        raise OSError("no address")

    monkeypatch.setattr(socket, "getaddrinfo", search)
    monkeypatch.setattr(download, "_TIMEOUT_SECONDS", 0.3)
    start = time.perf_counter()
    with pytest.raises(ValueError, match="--download: no connection to"):
        datasets.load("mnist", data_dir=str(tmp_path), download=True)
    assert time.perf_counter() - start < 3
    over.set()


def test_archives_that_are_fetched_by_hand_are_asked_for(tmp_path):
    with pytest.raises(ValueError, match="put ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar into"):
        datasets.load("imagenet2012", data_dir=str(tmp_path), download=True)


@pytest.mark.parametrize("reply", [b"HTTP/1.0 200 OK\r\n\r\n", b"HTTP/1.0 403 Forbidden\r\n\r\n"])
def test_a_host_that_answers_is_left_to_tensorflow_datasets(tmp_path, host, monkeypatch, mnist_dir, reply):
    answer(host, reply)
    asked = []

    class Builder:
        def __init__(self, name, data_dir):
            asked.append((name, str(data_dir)))

        def download_and_prepare(self):
            (tmp_path / "mnist").symlink_to(mnist_dir / "mnist")

    monkeypatch.setattr(tfds, "builder", Builder)
    data = datasets.load("mnist", data_dir=str(tmp_path), download=True)
    assert asked == [("mnist", str(tmp_path))]
    assert len(data.splits["test"]) == 30


def test_a_failed_preparation_is_one_line(tmp_path, host, monkeypatch):
    answer(host, b"HTTP/1.0 200 OK\r\n\r\n")

    class Builder:
        def __init__(self, name, data_dir):
            pass

        def download_and_prepare(self):
            raise ConnectionError("reset\nin the middle")

    monkeypatch.setattr(tfds, "builder", Builder)
    with pytest.raises(ValueError, match=r"--download: mnist could not be prepared .ConnectionError: reset.$"):
        datasets.load("mnist", data_dir=str(tmp_path), download=True)


def test_prepared_data_are_not_fetched_again(mnist_dir, host):
    assert datasets.load("mnist", data_dir=str(mnist_dir), download=True).num_classes == 10
