"""Runs that may not be averaged, seeds that are missing, and what runs were made with."""

import dataclasses
import pathlib
import re

import pytest
from fake_runs import write_measured_run, write_run

from tfunits import reports
from tfunits.artifacts import RunDir, write_json
from tfunits.configs import UserError
from tfunits.reports.consistency import name_runs


def read(runs: list[RunDir]) -> list[reports.RunRecord]:
    return [reports.read_run(run_dir) for run_dir in runs]


def write_versions(root: pathlib.Path, *versions: str | None) -> list[RunDir]:
    """A run a version, by its seed; without an environment where the version is None."""
    runs = [write_run(root, {"seed": seed}) for seed in range(len(versions))]
    for run_dir, version in zip(runs, versions, strict=True):
        if version:
            write_json(run_dir.environment, {"tfunits": version})
    return runs


@pytest.mark.parametrize("versions", [(), ("0.7.0",), ("0.7.0", "0.7.0"), ("0.7.0", None), (None, None)])
def test_runs_of_one_version_may_be_averaged(tmp_path: pathlib.Path, versions: tuple) -> None:
    reports.check_mixture(read(write_versions(tmp_path, *versions)))


def test_runs_of_two_versions_are_named(tmp_path: pathlib.Path) -> None:
    runs = write_versions(tmp_path, "0.7.0", "0.7.0", "0.8.0", None)
    listed = f"0.7.0: {runs[0].name}, {runs[1].name}; 0.8.0: {runs[2].name}"
    with pytest.raises(UserError, match=re.escape(f"expected one version of tfunits, received 2 ({listed})")):
        reports.check_mixture(read(runs))


def test_a_folder_that_has_changed_is_other_data(tmp_path: pathlib.Path) -> None:
    (record,) = read([write_run(tmp_path)])
    folders = [
        dataclasses.replace(
            record,
            config=dataclasses.replace(
                record.config,
                data=dataclasses.replace(
                    record.config.data, dataset=f"folder:{name}", folder_sha256=digest, folder_counts=(2, 8, 1, 1),
                    preprocessing=None,
                ),
            ),
        )
        for name, digest in (("/cats", "a" * 64), ("/cats", "b" * 64), ("/dogs", "c" * 64))
    ]  # fmt: skip
    with pytest.raises(UserError, match=r"expected one content of folder:/cats, received 2 \(aaaaaaaaaa: mlp"):
        reports.check_mixture(folders)
    reports.check_mixture(folders[1:])


def test_a_users_network_that_has_changed_is_another(tmp_path: pathlib.Path) -> None:
    runs = []
    for content in (b"one", b"two"):
        (tmp_path / "net.keras").write_bytes(content)
        runs.append(write_measured_run(tmp_path / "runs", {"model": f"file:{tmp_path / 'net.keras'}"}))
    with pytest.raises(UserError, match=r"expected one content of file:.*net\.keras, received 2"):
        reports.check_mixture(read(runs))
    reports.check_mixture(read(runs[:1]))


def test_other_settings_are_no_mixture(tmp_path: pathlib.Path) -> None:
    given = [{}, {"dataset": "uncorrelated10"}, {"data_seed": 4}, {"num_examples": 200}, {"model": "alexnet"}]
    reports.check_mixture(read([write_run(tmp_path, values) for values in given]))


def test_many_runs_are_counted() -> None:
    assert name_runs(["a", "b", "c"]) == "a, b, c"
    assert name_runs("abcdefg") == "a, b, c and 4 more"


@pytest.mark.parametrize(
    ("found", "lines"),
    [
        ({}, []),
        ({("he", 1): [0, 1], ("he", 2): [1, 0]}, []),
        ({("he", 1): [0, 1], ("he", 2): [1]}, ["he: no finished run of seed 0 at width 2"]),
        (
            {("he", 0.5): [0], ("he", 0.25): [0], ("glorot", 0.5): [0, 7, 3], ("glorot", 0.25): []},
            [
                "he: no finished run of seed 3, 7 at width 0.25, 0.5",
                "glorot: no finished run of seed 0, 3, 7 at width 0.25",
            ],
        ),
    ],
)
def test_missing_seeds_are_named_by_curve_and_width(found: dict, lines: list[str]) -> None:
    assert reports.describe_missing_seeds(found) == lines


def test_environments_are_compared_entry_by_entry(tmp_path: pathlib.Path) -> None:
    runs = [write_run(tmp_path, {"seed": seed}) for seed in range(3)]
    for number, run_dir in enumerate(runs[:2]):
        packages = {"numpy": f"2.{number}", "keras": "3.15"}
        environment = {"tfunits": "1", "packages": packages, "devices": ["CPU:0", "CPU:1"], "seed": number}
        write_json(run_dir.environment, {**environment, "command": ["run_experiments.py", str(number)]})
    names = [run_dir.name for run_dir in runs]
    assert reports.compare_environments(read(runs)) == {
        "tfunits": {"1": names[:2]},
        "devices": {"CPU:0, CPU:1": names[:2]},
        "numpy": {"2.0": names[:1], "2.1": names[1:2]},
        "keras": {"3.15": names[:2]},
    }
