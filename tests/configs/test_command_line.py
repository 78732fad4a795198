"""The program itself, up to the point where TensorFlow would load."""

import math
import pathlib
import subprocess
import sys
import time

import pytest

import tfunits

PROGRAM = pathlib.Path(__file__).parents[2] / "run_experiments.py"


def run(folder: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess:
    """The program's answer, started in a folder of its own."""
    return subprocess.run(
        [sys.executable, str(PROGRAM), *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def test_help_lists_the_flags(tmp_path: pathlib.Path) -> None:
    answer = run(tmp_path, "--help")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "\n  --model\n" in answer.stdout
    assert list(tmp_path.iterdir()) == []


def test_help_into_a_closed_pipe_is_quiet(tmp_path: pathlib.Path) -> None:
    command = f"'{sys.executable}' '{PROGRAM}' --help | true"
    answer = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "Traceback" not in answer.stderr


def test_version(tmp_path: pathlib.Path) -> None:
    answer = run(tmp_path, "--version")
    assert (answer.returncode, answer.stdout) == (0, f"tfunits {tfunits.__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size=0"], "--size=0: expected a number above 0"),
        (["--size=1e308"], "--size=1e+308: expected"),
        (["--model=nope"], "--model=nope: expected one of alexnet"),
        (["--sizes=2"], "--sizes: expected a known flag"),
        (["size=2"], "size=2: expected only flags"),
        (["--flagfile=missing.flags"], "--flagfile: expected a readable file"),
        (["--model=mlp", "--regularizers=dropout"], "--regularizers=dropout: expected"),
        (["--data_dir=missing"], "--data_dir=missing: expected an existing folder"),
        (["--model=file:missing.keras"], "--model=file:missing.keras: expected the path of an existing .keras file"),
        (["--dataset=folder:missing"], "--dataset=folder:missing: expected an existing folder with one sub-folder"),
        (["--keep_epochs=soon"], "--keep_epochs=soon: expected numbers of epochs, lastN or everyN"),
    ],
)
def test_a_users_mistake_is_one_line_and_leaves_nothing(tmp_path: pathlib.Path, arguments: list, message: str) -> None:
    answer = run(tmp_path, *arguments)
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert answer.stderr.startswith(f"run_experiments.py: {message}")
    assert answer.stderr.count("\n") == 1
    assert "Traceback" not in answer.stderr
    assert list(tmp_path.iterdir()) == []


# Ends with an exit code of its own if anything is imported that takes seconds.
WATCHED = """
import importlib.abc, os, runpy, sys
class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "keras", "numpy"):
            os._exit(99)
sys.meta_path.insert(0, Watch())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def watch(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", WATCHED, str(PROGRAM), *arguments]
    return subprocess.run(command, cwd=PROGRAM.parent, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("dataset", "model", "command"),
    [
        ("cifar10", "alexnet", "tfds build cifar10"),
        ("cifar100", "wide_resnet28", "tfds build cifar100"),
        ("mnist", "resnet56", "tfds build mnist"),
        ("mnist_parity", "fc5", "tfds build mnist"),
        ("imagenet2012", "inception_v3", "tfds build imagenet2012"),
    ],
)
def test_missing_data_are_one_line_without_tensorflow(
    tmp_path: pathlib.Path, dataset: str, model: str, command: str
) -> None:
    """Importing TensorFlow takes five seconds, waiting for a network minutes."""
    folder = tmp_path / "my data"
    folder.mkdir()
    answer = watch(
        f"--dataset={dataset}", f"--model={model}", f"--data_dir={folder}", f"--run_root={tmp_path / 'runs'}"
    )
    assert answer.returncode == 2
    assert answer.stdout.startswith(f"data: {dataset} (")
    assert answer.stderr.startswith(f"run_experiments.py: --dataset={dataset}: expected ")
    assert f"`{command} --data_dir='{folder}'`" in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["my data"]


def test_the_watch_sees_tensorflow(tmp_path: pathlib.Path) -> None:
    """Without it the tests above could not fail."""
    assert watch("--model=mlp", "--epochs=0", f"--run_root={tmp_path}").returncode == 99


def test_missing_data_are_answered_within_a_second(tmp_path: pathlib.Path) -> None:
    """The fastest of five, as other programs may be using the machine."""
    seconds = [math.inf]
    while min(seconds) >= 1 and len(seconds) <= 5:
        start = time.perf_counter()
        assert run(tmp_path, "--dataset=cifar10", f"--data_dir={tmp_path}").returncode == 2
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1


def test_a_cluster_that_cannot_be_read_is_one_line_without_tensorflow(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:1"]}}')
    answer = watch("--model=mlp", f"--run_root={tmp_path}")
    assert answer.returncode == 2
    assert answer.stderr.startswith("run_experiments.py: TF_CONFIG=")
    assert answer.stderr.count("\n") == 1
