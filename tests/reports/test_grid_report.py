"""The report of a grid."""

import pathlib

import pandas as pd
import pytest
import tensorflow as tf
from fake_runs import write_measured_run, write_run

from tfunits import reports
from tfunits.artifacts import RunDir
from tfunits.configs import MeasureConfig

MEASURE = MeasureConfig()


def report(runs: list[RunDir], folder: pathlib.Path, measure: MeasureConfig = MEASURE) -> reports.GridReport:
    return reports.report_grid([reports.read_run(run_dir, measure) for run_dir in runs], measure, folder)


@pytest.fixture
def widths(tmp_path: pathlib.Path) -> list[RunDir]:
    """Three widths of two initialisers, all with the same shares of prunable units."""
    return [
        write_measured_run(tmp_path / "runs", {"size": size, "initializer": name})
        for name in ("truncated_normal", "he_normal")
        for size in (0.25, 0.5, 1)
    ]


def test_three_files_that_hold_the_tables(widths: list[RunDir], tmp_path: pathlib.Path) -> None:
    found = report(widths, tmp_path / "grid")
    assert [path.name for path in found.files] == ["runs.csv", "gains.csv", "width.png"]
    assert sorted(path.name for path in (tmp_path / "grid").iterdir()) == ["gains.csv", "runs.csv", "width.png"]
    runs = pd.read_csv(tmp_path / "grid" / "runs.csv", float_precision="round_trip")
    assert runs["run"].tolist() == [run_dir.name for run_dir in widths]
    assert runs["prunability"].tolist() == found.table["prunability"].tolist()
    gains = pd.read_csv(tmp_path / "grid" / "gains.csv", float_precision="round_trip")
    assert gains["gain"].tolist() == found.gains["gain"].tolist()
    assert tf.io.decode_png((tmp_path / "grid" / "width.png").read_bytes()).shape[0] > 100


def test_equal_shares_gain_two_since_units_double(widths: list[RunDir], tmp_path: pathlib.Path) -> None:
    gains = report(widths, tmp_path / "grid").gains.set_index(["curve", "measure"])["gain"]
    expected = {"prunability": 2, "redundancy": 2, "similarity": 1}
    assert gains.to_dict() == pytest.approx({
        (curve, name): value
        for curve in ("initializer truncated_normal", "initializer he_normal")
        for name, value in expected.items()
    })  # fmt: skip


def test_one_width_has_no_gain_and_no_figure(tmp_path: pathlib.Path) -> None:
    found = report([write_measured_run(tmp_path / "runs", {"seed": seed}) for seed in (0, 1)], tmp_path / "grid")
    assert [path.name for path in found.files] == ["runs.csv"]
    assert found.gains.empty
    assert len(found.table) == 2


def test_runs_that_are_not_finished_have_a_row_and_no_gain(tmp_path: pathlib.Path) -> None:
    runs = [write_measured_run(tmp_path / "runs", {"size": size}) for size in (0.5, 1)]
    runs += [
        write_measured_run(tmp_path / "runs", {"size": 2}),
        write_run(tmp_path / "runs", {"size": 4}, state="diverged"),
    ]
    runs[2].set_status("failed")
    found = report(runs, tmp_path / "grid")
    assert found.table["state"].tolist() == ["finished", "finished", "failed", "diverged"]
    assert set(found.gains["doublings"]) == {1}


def test_a_grid_in_which_nothing_finished_still_has_its_table(tmp_path: pathlib.Path) -> None:
    runs = [write_run(tmp_path / "runs", {"size": size}, state="failed") for size in (0.5, 1)]
    found = report(runs, tmp_path / "grid")
    assert found.table["state"].tolist() == ["failed", "failed"]
    assert [path.name for path in found.files] == ["runs.csv"]


def test_the_authors_leave_the_first_doubling_of_redundancy_out(tmp_path: pathlib.Path) -> None:
    measure = MeasureConfig(protocol="authors")
    runs = [write_measured_run(tmp_path / "runs", {"size": size}) for size in (0.25, 0.5, 1, 2)]
    doublings = {
        options.protocol: report(runs, tmp_path / options.protocol, options).gains.set_index("measure")["doublings"]
        for options in (MEASURE, measure)
    }
    assert (doublings["exact"]["redundancy"], doublings["authors"]["redundancy"]) == (3, 2)
    assert (doublings["exact"]["similarity"], doublings["authors"]["similarity"]) == (3, 3)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ([{}, {}], ["mlp"]),
        ([{"dataset": "digits"}, {"dataset": "digits_parity"}], ["digits", "digits_parity"]),
        ([{"model": "mlp"}, {"model": "alexnet"}], ["mlp", "alexnet"]),
        ([{"learning_rate": 0.5}, {}], ["learning_rate 0.5", "learning_rate 0.1"]),
    ],
)
def test_curves_are_named_by_what_they_differ_in(tmp_path: pathlib.Path, given: list, names: list) -> None:
    pairs = [(values, size) for values in given for size in (0.5, 1)]
    runs = [write_measured_run(tmp_path / "runs", {**values, "size": size}) for values, size in pairs]
    found = report(list({run_dir.name: run_dir for run_dir in runs}.values()), tmp_path / "grid")
    assert list(dict.fromkeys(found.gains["curve"])) == names
