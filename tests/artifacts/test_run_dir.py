"""One directory, one experiment, one writer."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from tfunits.artifacts import STATES, RunDir, read_json
from tfunits.configs import DamageError, UserError, as_dict, resolve, run_id

REPOSITORY = pathlib.Path(__file__).parents[2]
CONFIG = resolve({"model": "mlp", "size": 0.25})


@pytest.fixture
def run_dir(tmp_path: pathlib.Path) -> RunDir:
    return RunDir.of(CONFIG, tmp_path / "runs")


def claim(run_dir: RunDir, config=CONFIG) -> None:
    with run_dir.claimed(config):
        pass


def test_everything_has_its_place_below_the_run_id(run_dir: RunDir) -> None:
    """If a path moves, finished runs of our users are no longer found."""
    assert run_dir.name == run_dir.path.name == run_id(CONFIG)
    places = {name: str(path.relative_to(run_dir.path)) for name, path in vars(run_dir).items() if name != "path"}
    assert places == {
        "config_file": "config.json", "environment": "environment.json", "history": "history.csv",
        "timing": "timing.csv", "model": "model.keras", "logits": "logits.npz", "checkpoints": "checkpoints",
        "measures": "measures", "figures": "figures",
        "visualizations": "visualizations", "tensorboard": "tensorboard", "error_log": "error.log",
        "_status": "status.json", "_lock_file": ".lock", "_holder_file": ".holder",
    }  # fmt: skip
    assert run_dir.done_file("train") == run_dir.path / "done" / "train.json"


def test_candidates_are_run_directories_inside_the_run(run_dir: RunDir) -> None:
    assert run_dir.candidates() == []
    for name in ("weight_decay-0.1", "weight_decay-0"):
        candidate = run_dir.candidate(name)
        assert candidate.history == run_dir.path / "candidates" / name / "history.csv"
        assert run_dir.candidates() == [] or name not in [other.name for other in run_dir.candidates()]
        candidate.path.mkdir(parents=True)
    (run_dir.path / "candidates" / "a file").write_text("")
    assert [candidate.name for candidate in run_dir.candidates()] == ["weight_decay-0", "weight_decay-0.1"]


@pytest.mark.parametrize("content", ["[]", "{", "null", ""])
def test_a_status_that_cannot_be_read_is_none(run_dir: RunDir, content) -> None:
    claim(run_dir)
    (run_dir.path / "status.json").write_text(content)
    assert run_dir.status() == {}


@pytest.mark.parametrize("content", ["[]", "{"])
def test_a_damaged_done_file_is_named(run_dir: RunDir, content) -> None:
    run_dir.done_file("train").parent.mkdir(parents=True)
    run_dir.done_file("train").write_text(content)
    with pytest.raises(DamageError, match=re.escape(f"{run_dir.done_file('train')}: expected")):
        run_dir.read_done("train")


def test_a_place_that_one_run_cannot_have_concerns_no_other(run_dir: RunDir) -> None:
    run_dir.path.parent.mkdir()
    run_dir.path.write_text("a file")
    with pytest.raises(DamageError, match=re.escape(f"{run_dir.path}: expected a folder that can be written")):
        claim(run_dir)
    run_dir.path.unlink()
    run_dir.config_file.mkdir(parents=True)
    with pytest.raises(DamageError, match="expected the run's own configuration in config.json"):
        claim(run_dir)


def test_a_root_that_cannot_be_written_concerns_all(run_dir: RunDir) -> None:
    run_dir.path.parent.write_text("a file")
    with pytest.raises(UserError, match=f"--run_root={run_dir.path.parent}: expected a folder") as caught:
        claim(run_dir)
    assert not isinstance(caught.value, DamageError)


def test_a_claim_makes_the_directory_and_notes_the_experiment(run_dir: RunDir) -> None:
    claim(run_dir)
    assert read_json(run_dir.config_file) == {"run_id": run_id(CONFIG), **as_dict(CONFIG)}
    assert run_dir.config() == CONFIG
    before = run_dir.config_file.read_bytes()
    claim(run_dir)
    assert run_dir.config_file.read_bytes() == before


def test_the_same_experiment_measured_otherwise_is_welcome(run_dir: RunDir) -> None:
    claim(run_dir)
    claim(run_dir, resolve({"model": "mlp", "size": 0.25, "draws": 9}))
    assert run_dir.config() == CONFIG


def test_another_experiment_is_refused(run_dir: RunDir) -> None:
    claim(run_dir)
    with pytest.raises(UserError, match="expected the run's own configuration in config.json, received another"):
        claim(run_dir, resolve({"model": "mlp", "size": 0.25, "seed": 1}))


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"model": {"size": -1}}', '{"model": 3}'])
def test_a_damaged_configuration_is_refused(run_dir: RunDir, content: str) -> None:
    claim(run_dir)
    run_dir.config_file.write_text(content)
    with pytest.raises(UserError, match="expected the run's own configuration in config.json"):
        claim(run_dir)
    assert run_dir.config_file.read_text() == content


def test_a_strangers_directory_is_refused_and_left_alone(run_dir: RunDir) -> None:
    run_dir.path.mkdir(parents=True)
    (run_dir.path / "thesis.tex").write_text("mine")
    with pytest.raises(
        UserError, match="expected an empty directory or a run, received thesis.tex without config.json"
    ):
        claim(run_dir)
    assert (run_dir.path / "thesis.tex").read_text() == "mine"
    assert not run_dir.config_file.exists()


@pytest.mark.parametrize("root", ["file", "file/below"])
def test_a_root_that_cannot_be_written_is_named(tmp_path: pathlib.Path, root: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=f"^--run_root={tmp_path / root}: expected a folder that can be written"):
        claim(RunDir.of(CONFIG, tmp_path / root))


def test_a_full_disk_inside_the_block_is_not_a_bad_root(run_dir: RunDir) -> None:
    with pytest.raises(OSError, match="disk full"), run_dir.claimed(CONFIG):
        raise OSError("disk full")
    claim(run_dir)


def test_leftovers_of_a_killed_process_are_removed(run_dir: RunDir) -> None:
    claim(run_dir)
    (run_dir.path / "measures").mkdir()
    for path in (run_dir.path / ".part-1-config.json", run_dir.measures / ".part-1-units.npz"):
        path.write_text("half")
    (run_dir.measures / "units.npz").write_text("whole")
    claim(run_dir)
    assert sorted(path.name for path in run_dir.path.rglob("*") if path.is_file()) == [
        ".lock",
        "config.json",
        "units.npz",
    ]


def test_a_second_process_says_that_it_waits_and_then_goes_on(run_dir: RunDir) -> None:
    code = (
        "import sys; from tfunits.artifacts import RunDir; from tfunits.configs import resolve\n"
        "with RunDir(sys.argv[1]).claimed(resolve({'model': 'mlp', 'size': 0.25})): print('claimed', flush=True)"
    )
    with run_dir.claimed(CONFIG):
        run_dir.set_status("running")
        second = subprocess.Popen(
            [sys.executable, "-c", code, str(run_dir.path)],
            cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        waiting = second.stderr.readline()
        # It would be done in no time if it did not wait.
        with pytest.raises(subprocess.TimeoutExpired):
            second.wait(timeout=0.5)
    output, errors = second.communicate(timeout=60)
    assert waiting == f"{run_dir.name}: process {os.getpid()} works on this run; waiting\n"
    assert (output, errors, second.returncode) == ("claimed\n", "", 0)


def test_a_step_is_done_when_its_file_is_there(run_dir: RunDir) -> None:
    assert not run_dir.is_done("train")
    run_dir.done_file("train").parent.mkdir(parents=True)
    run_dir.done_file("train").write_text("{}")
    assert run_dir.is_done("train")
    assert not run_dir.is_done("measure")


def test_status_keeps_what_is_not_named(run_dir: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_dir.status() == {}
    clock = iter(["at one", "at two"])
    monkeypatch.setattr("time.strftime", lambda _: next(clock))
    run_dir.set_status("running", step="train", seconds={"train": 1.5})
    first = run_dir.status()
    assert (first["state"], first["step"], first["pid"], first["message"]) == ("running", "train", os.getpid(), "")
    run_dir.set_status("failed", "a reason", step="measure")
    second = run_dir.status()
    assert (first["started"], first["updated"]) == ("at one", "at one")
    assert (second["started"], second["updated"]) == ("at one", "at two")
    assert second["seconds"] == {"train": 1.5}
    assert (second["state"], second["step"], second["message"]) == ("failed", "measure", "a reason")


@pytest.mark.parametrize("content", ["", '{"state": "run', "\x00"])
def test_an_unreadable_status_is_no_status(run_dir: RunDir, content: str) -> None:
    claim(run_dir)
    (run_dir.path / "status.json").write_text(content)
    assert run_dir.status() == {}
    run_dir.set_status("finished")
    assert json.loads((run_dir.path / "status.json").read_text())["state"] == "finished"


def test_only_known_states(run_dir: RunDir) -> None:
    assert set(STATES) == {"running", "finished", "diverged", "interrupted", "failed"}
    with pytest.raises(ValueError, match="state: expected one of running, .*, received 'happy'"):
        run_dir.set_status("happy")
