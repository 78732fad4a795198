"""Tables for people."""

import pathlib

import numpy as np
import pandas as pd
import pytest
from fake_runs import write_ablation, write_accuracy, write_measured_run, write_run, write_units

from tfunits import reports
from tfunits.configs import MeasureConfig

MEASURE = MeasureConfig()


def make_frame(rows: list[tuple], measure: str = "prunability") -> pd.DataFrame:
    """A frame of (curve, seed, size, value)."""
    frame = pd.DataFrame(rows, columns=["curve", "seed", "size", "value"])
    return frame.assign(measure=measure)


def test_one_row_a_tap_and_the_network_last(tmp_path: pathlib.Path) -> None:
    table = reports.run_table(reports.read_run(write_measured_run(tmp_path, {"size": 2})), MEASURE)
    assert table.index.tolist() == ["copies", "dead", "network"]
    assert table.columns.tolist() == [
        "units", "prunability", "mean_prunability", "area", "agreement_at_1", "redundancy", "similarity",
        "dead", "silent", "constant",
    ]  # fmt: skip
    assert table.loc["copies"].tolist() == pytest.approx([4, 0.3125, 0.30625, 22 / 30, 0.25, 0.25, 1, 0, 0, 0])
    assert table.loc["network"].tolist() == pytest.approx([8, 0.25, 0.1875, 26 / 30, 0.25, 0.3125, 0.5, 3, 3, 3])


def test_only_the_first_split_and_kind_of_unit_are_shown(tmp_path: pathlib.Path) -> None:
    run_dir = write_measured_run(tmp_path, {"size": 4})
    write_ablation(run_dir, joint=[[10, 10, 10]], split="train", unit="location")
    write_units(run_dir, units={"other": np.eye(8)}, split="train")
    record = reports.read_run(run_dir)
    assert reports.run_table(record, MEASURE).loc["network", "prunability"] == pytest.approx(0.5)
    train = MeasureConfig(measured_splits=("train", "test"), ablation_unit=("location", "channel"))
    table = reports.run_table(record, train)
    assert table.loc["network", "prunability"] == 1
    assert "other" in table.index


@pytest.mark.parametrize("write", [None, write_accuracy])
def test_without_measures_the_table_is_empty(tmp_path: pathlib.Path, write) -> None:
    run_dir = write_run(tmp_path)
    if write:
        write(run_dir)
    assert reports.run_table(reports.read_run(run_dir), MEASURE).empty


def test_with_one_measure_the_others_columns_are_left_out(tmp_path: pathlib.Path) -> None:
    run_dir = write_run(tmp_path, {"size": 4})
    write_units(run_dir)
    table = reports.run_table(reports.read_run(run_dir), MEASURE)
    assert table.columns.tolist() == ["units", "redundancy", "similarity", "dead", "silent", "constant"]


def test_notes_say_the_split_the_scale_and_what_is_rank_limited(tmp_path: pathlib.Path) -> None:
    # Eight rows are enough for one unit, and too few for four.
    run_dir = write_run(tmp_path)
    write_units(run_dir, units={"thin": np.eye(8)[:, :1], "wide": np.eye(8)[:, :4]})
    first, limited = reports.run_notes(reports.read_run(run_dir), MEASURE)
    assert "on test data, channels masked" in first
    assert "units here / units at size 4" in first
    assert limited.endswith(": wide")


def test_notes_of_a_users_own_network_name_its_own_units(tmp_path: pathlib.Path) -> None:
    (tmp_path / "net.keras").write_bytes(b"any")
    run_dir = write_run(tmp_path / "runs", {"model": f"file:{tmp_path / 'net.keras'}"})
    (note,) = reports.run_notes(reports.read_run(run_dir), MEASURE)
    assert "shares of the network's own units" in note


def test_one_row_a_run_with_what_sets_it_apart(tmp_path: pathlib.Path) -> None:
    given = [{"size": 0.25}, {"size": 0.5, "initializer": "he_normal"}]
    scores = {"train": {"accuracy": 1.0}, "test": {"accuracy": 0.75}}
    runs = [write_measured_run(tmp_path, values, **scores) for values in given]
    table = reports.grid_table([reports.read_run(run_dir) for run_dir in runs], MEASURE)
    assert table.columns.tolist() == [
        "model", "size", "dataset", "seed", "initializer", "state", "train_accuracy", "validation_accuracy",
        "test_accuracy", "prunability", "redundancy", "similarity", "run",
    ]  # fmt: skip
    assert table["run"].tolist() == [run_dir.name for run_dir in runs]
    assert table["initializer"].tolist() == ["truncated_normal", "he_normal"]
    assert table["train_accuracy"].tolist() == [1, 1]
    assert table["validation_accuracy"].isna().all()
    assert table["test_accuracy"].tolist() == [0.75, 0.75]
    assert table["prunability"].tolist() == pytest.approx([0.5 * 0.25 / 4, 0.5 * 0.5 / 4])
    assert table["redundancy"].tolist() == pytest.approx([0.625 * 0.25 / 4, 0.625 * 0.5 / 4])
    assert table["similarity"].tolist() == [0.5, 0.5]


def test_a_run_that_diverged_keeps_its_row(tmp_path: pathlib.Path) -> None:
    runs = [write_measured_run(tmp_path), write_run(tmp_path, {"seed": 1}, state="diverged")]
    table = reports.grid_table([reports.read_run(run_dir) for run_dir in runs], MEASURE)
    assert table["state"].tolist() == ["finished", "diverged"]
    assert table["prunability"].isna().tolist() == [False, True]


def test_gains_by_hand() -> None:
    """Two seeds at three widths: the gain of the mean is not the mean of the gains."""
    values = {0: [1, 4, 12], 1: [3, 4, 4]}
    frame = make_frame([("he", seed, 2.0**i, v) for seed, row in values.items() for i, v in enumerate(row)])
    (row,) = reports.gain_table(frame).to_dict("records")
    assert row == pytest.approx({
        "curve": "he", "measure": "prunability",
        "gain": (4 / 2 + 8 / 4) / 2,
        "gain_mean_over_seeds": (3.5 + (4 / 3 + 1) / 2) / 2,
        "gain_std_over_seeds": np.std([3.5, (4 / 3 + 1) / 2], ddof=1),
        "doublings": 2, "left_out": 0,
    })  # fmt: skip


def test_gains_of_every_curve_and_growing_measure() -> None:
    rows = [(curve, 0, size, size**power) for curve, power in (("a", 1), ("b", 0.5)) for size in (1, 2, 4)]
    frame = pd.concat([make_frame(rows, name) for name in ("prunability", "accuracy", "similarity")])
    table = reports.gain_table(frame)
    assert table.set_index(["curve", "measure"])["gain"].to_dict() == pytest.approx({
        ("a", "prunability"): 2, ("a", "similarity"): 2, ("b", "prunability"): 2**0.5, ("b", "similarity"): 2**0.5
    })  # fmt: skip
    assert table["gain_std_over_seeds"].isna().all()


def test_a_doubling_with_a_zero_is_left_out_and_counted() -> None:
    frame = make_frame([("a", 0, 1, 0), ("a", 0, 2, 1), ("a", 0, 4, 3)], "redundancy")
    (row,) = reports.gain_table(frame).to_dict("records")
    assert (row["gain"], row["doublings"], row["left_out"]) == (3, 1, 1)


def test_the_first_doubling_of_a_measure_can_be_skipped() -> None:
    rows = [("a", 0, 1, 1), ("a", 0, 2, 10), ("a", 0, 4, 20)]
    frame = pd.concat([make_frame(rows, name) for name in ("prunability", "redundancy")])
    table = reports.gain_table(frame, skip_first=("redundancy",))
    assert dict(zip(table["measure"], table["gain"], strict=True)) == {"prunability": 6, "redundancy": 2}


def test_without_a_doubling_there_is_no_row() -> None:
    table = reports.gain_table(make_frame([("a", 0, 1, 1), ("a", 0, 3, 2)]))
    assert table.empty
    # Those of a table with rows, so that its file can be read.
    assert list(table) == list(reports.gain_table(make_frame([("a", 0, 1, 1), ("a", 0, 2, 2)])))
    assert len(table.columns) > 2


def test_numbers_are_written_for_people() -> None:
    table = pd.DataFrame({
        "model": ["mlp", ""], "size": [0.25, 4.0], "units": [128.0, np.nan], "dead": [0.0, 1.0],
        "prunability": [1 / 3, np.nan], "similarity": [12.0, 1.0],
    })  # fmt: skip
    lines = reports.format_table(table, index=False).splitlines()
    assert [line.split() for line in lines] == [
        ["model", "size", "units", "dead", "prunability", "similarity"],
        ["mlp", "0.25", "128", "0", "0.333", "12"],
        ["4", "1", "1.000"],
    ]
    assert reports.format_table(table.set_index("model")).splitlines()[1].startswith("mlp")
    rates = pd.DataFrame({"learning_rate": [0.1, 0.001, 0.0001, -2.34567e-7, 0.0]})
    shown = reports.format_table(rates, index=False).split()
    assert shown == ["learning_rate", "0.100", "0.001", "0.0001", "-2.35e-07", "0.000"]
