"""The program itself, up to the point where TensorFlow would load."""

import pathlib
import subprocess
import sys

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
