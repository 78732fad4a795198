"""What a run was made with."""

import importlib.metadata
import json
import os
import pathlib
import re
import subprocess

import pytest

import tfunits
from tfunits.artifacts import code_revision, describe_environment, provenance


def test_versions_devices_and_command_as_plain_values() -> None:
    found = describe_environment(devices=("CPU:0", "CPU:1"), deterministic=True)
    assert json.loads(json.dumps(found)) == found
    assert found["tfunits"] == tfunits.__version__
    assert found["packages"]["keras"] == importlib.metadata.version("keras")
    assert (found["devices"], found["deterministic"]) == (["CPU:0", "CPU:1"], True)
    assert found["num_cpus"] >= 1


@pytest.fixture(autouse=True)
def no_repository_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A git hook that runs these tests names its own repository to every git command."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)


def commit_code(folder: pathlib.Path) -> str:
    """A checkout of one commit that holds a file; returns the commit."""
    (folder / "code.py").write_text("one = 1\n")
    for arguments in (["init", "-q"], ["add", "code.py"], ["commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments], cwd=folder, check=True)
    answer = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True)
    return answer.stdout.strip()


def test_the_revision_says_whether_files_differ_from_it(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "code.py"))
    commit = commit_code(tmp_path)
    assert re.fullmatch("[0-9a-f]{40}", commit)
    assert code_revision() == commit
    (tmp_path / "untracked.txt").write_text("")
    assert code_revision() == commit
    (tmp_path / "code.py").write_text("one = 2\n")
    assert code_revision() == f"{commit}+changes"


def test_a_copy_inside_a_foreign_checkout_has_no_revision(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a virtual environment that lies in somebody's repository."""
    commit_code(tmp_path)
    (tmp_path / "site").mkdir()
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "site" / "provenance.py"))
    assert code_revision() is None


def test_outside_a_checkout_there_is_no_revision(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    assert code_revision() is None


def test_without_git_there_is_no_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert code_revision() is None
