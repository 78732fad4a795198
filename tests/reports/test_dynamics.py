"""Measures against the epoch of one run."""

import pathlib

import numpy as np
import pandas as pd
import pytest
from fake_runs import (
    ablation_settings,
    make_curve,
    write_accuracy,
    write_chunks,
    write_measure,
    write_reconstruction,
    write_run,
    write_units,
)

from tfunits import reports
from tfunits.artifacts import RunDir, write_json
from tfunits.configs import MeasureConfig

ACCURACIES = {1: 0.2, 2: 0.4, 40: 0.9}
WRONG = {1: {1: [90], 2: [80]}, 2: {1: [80], 2: [60]}, 40: {1: [50], 2: [1]}}


@pytest.fixture
def run_dir(tmp_path: pathlib.Path) -> RunDir:
    """A run of fifty epochs, of which three were kept; what was measured of the trained network is another number."""
    run_dir = write_run(tmp_path)
    write_json(run_dir.done_file("train"), {"state": "finished", "epochs": 50})
    write_accuracy(run_dir, test={"accuracy": 0.99}, train={"accuracy": 1.0})
    write_chunks(run_dir, {1: [5], 2: [0]})
    for epoch, accuracy in ACCURACIES.items():
        write_accuracy(run_dir, epoch, test={"accuracy": accuracy}, train={"accuracy": accuracy + 0.05})
        write_chunks(run_dir, WRONG[epoch], epoch=epoch)
        write_reconstruction(run_dir, [0.1 * accuracy, accuracy], epoch=epoch)
        write_reconstruction(run_dir, [0.5 * accuracy], target="chunk", epoch=epoch)
    return run_dir


def test_epochs_are_read_apart_from_each_other_and_from_the_trained_network(run_dir: RunDir) -> None:
    found = reports.read_dynamics(run_dir)
    assert list(found) == reports.read_epochs(run_dir) == [1, 2, 40]
    assert {epoch: record.accuracy["test"]["accuracy"] for epoch, record in found.items()} == ACCURACIES
    assert {epoch: record.chunks["train"].num_wrong.tolist() for epoch, record in found.items()} == {
        epoch: list(counts.values()) for epoch, counts in WRONG.items()
    }
    assert reports.read_run(run_dir).accuracy["test"]["accuracy"] == 0.99
    assert reports.read_run(run_dir).chunks["train"].num_wrong.tolist() == [[5], [0]]


def test_epochs_whose_names_end_alike_are_not_mixed(run_dir: RunDir) -> None:
    write_accuracy(run_dir, 11, test={"accuracy": 0.7})
    write_accuracy(run_dir, 111, test={"accuracy": 0.8})
    found = reports.read_dynamics(run_dir)
    assert {epoch: record.accuracy["test"]["accuracy"] for epoch, record in found.items()} == {
        1: 0.2, 2: 0.4, 11: 0.7, 40: 0.9, 111: 0.8,
    }  # fmt: skip


def test_the_loaded_frame_has_the_trained_network_alone(run_dir: RunDir) -> None:
    frame = reports.load(run_dir.path.parent)
    accuracy = frame[(frame["measure"] == "accuracy") & (frame["split"] == "test")]
    assert accuracy["value"].tolist() == [0.99]


def test_every_number_has_its_epoch_and_its_distance_from_the_end(run_dir: RunDir) -> None:
    frame = reports.tabulate_dynamics(run_dir)
    assert list(frame.columns) == [
        "epoch", "epochs_to_end", "split", "unit", "tap", "measure", "value", "chunk",
    ]  # fmt: skip
    assert set(zip(frame["epoch"], frame["epochs_to_end"], strict=True)) == {(1, 49), (2, 48), (40, 10)}
    values = frame.set_index(["epoch", "split", "unit", "measure", "chunk"])["value"].to_dict()
    assert len(values) == len(frame)
    for epoch, accuracy in ACCURACIES.items():
        assert values[epoch, "test", "", "accuracy", 0] == accuracy
        for size, (count,) in WRONG[epoch].items():
            assert values[epoch, "train", "", "chunk_error", size] == count / 100
        # Means of two draws that are a tenth apart.
        assert values[epoch, "test", "", "r2", 2] == pytest.approx(accuracy - 0.05)
        assert values[epoch, "test", "", "held_out_r2", 1] == pytest.approx(0.9 * (0.1 * accuracy - 0.05))
        assert values[epoch, "test", "to a chunk", "r2", 1] == pytest.approx(0.5 * accuracy - 0.05)
    assert values[40, "train", "", "clone_size", 0] == 2
    assert np.isnan(values[1, "train", "", "clone_size", 0])


def test_a_run_without_dynamics_has_an_empty_table(tmp_path: pathlib.Path) -> None:
    run_dir = write_run(tmp_path)
    write_accuracy(run_dir)
    assert reports.tabulate_dynamics(run_dir).empty


@pytest.mark.filterwarnings("error")
def test_epochs_that_were_measured_in_another_way_are_left_out(run_dir: RunDir) -> None:
    write_chunks(run_dir, {1: [7]}, epoch=45, draws=9)
    assert set(reports.tabulate_dynamics(run_dir)["epoch"]) == {1, 2, 40}
    other = reports.tabulate_dynamics(run_dir, MeasureConfig(chunk_draws=9))
    assert other[other["measure"] == "chunk_error"][["epoch", "value"]].values.tolist() == [[45, 0.07]]


@pytest.mark.filterwarnings("error")
def test_reconstructions_alone_are_followed(tmp_path: pathlib.Path) -> None:
    run_dir = write_run(tmp_path)
    write_json(run_dir.done_file("train"), {"state": "finished", "epochs": 2})
    for epoch in (1, 2):
        write_reconstruction(run_dir, [0.5, 0.25 * epoch], epoch=epoch)
    frame = reports.tabulate_dynamics(run_dir)
    assert set(frame["measure"]) == {"r2", "correlation", "held_out_r2", "held_out_correlation"}
    (axes,) = reports.plot_dynamics(frame, title="a run").axes
    assert axes.get_ylabel() == "held out correlation"


def panels(frame: pd.DataFrame) -> dict:
    figure = reports.plot_dynamics(frame, title="a run")
    assert figure.get_suptitle() == "a run"
    assert all(axes.get_xlabel() == "epoch" for axes in figure.axes)
    return {axes.get_ylabel(): axes for axes in figure.axes}


def test_a_panel_a_measure_and_a_line_a_split_or_chunk(run_dir: RunDir) -> None:
    found = panels(reports.tabulate_dynamics(run_dir))
    assert list(found) == ["accuracy", "clone size", "chunk error", "held out correlation"]
    lines = {line.get_label(): line.get_xydata().tolist() for line in found["accuracy"].lines}
    assert lines["test"] == [[epoch, accuracy] for epoch, accuracy in ACCURACIES.items()]
    assert lines["train"] == [[epoch, pytest.approx(accuracy + 0.05)] for epoch, accuracy in ACCURACIES.items()]
    errors = {line.get_label(): line.get_ydata().tolist() for line in found["chunk error"].lines}
    assert errors == {str(size): [counts[size][0] / 100 for counts in WRONG.values()] for size in (1, 2)}
    assert found["chunk error"].get_title() == "by chunk size, train"
    # Maps to another chunk are no part of it.
    correlations = {line.get_label(): line.get_ydata().tolist() for line in found["held out correlation"].lines}
    assert correlations["1"] == pytest.approx([0.5 * (0.1 * accuracy - 0.05) for accuracy in ACCURACIES.values()])
    assert {len(values) for values in correlations.values()} == {3}


def test_epochs_far_apart_stand_on_a_log_scale_by_their_own_names(run_dir: RunDir) -> None:
    axes = panels(reports.tabulate_dynamics(run_dir))["accuracy"]
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "40"]
    frame = reports.tabulate_dynamics(run_dir)
    near = panels(frame[frame["epoch"] < 40])["accuracy"]
    assert near.get_xscale() == "linear"


def test_measures_of_units_and_other_orders_are_told_apart(tmp_path: pathlib.Path) -> None:
    run_dir = write_run(tmp_path)
    write_json(run_dir.done_file("train"), {"state": "finished", "epochs": 1})
    for order, joint in (("random", [[10, 6, 2]]), ("targeted", [[10, 10, 10]])):
        settings = ablation_settings(MeasureConfig()) | ({} if order == "random" else {"order": order})
        curve = make_curve(joint).to_dict()
        write_measure(run_dir, "ablation", settings, {"taps": {"hidden": curve}, "joint": curve}, epoch=1)
    units = write_units(run_dir)
    for suffix in (".json", ".npz"):
        units.with_suffix(suffix).rename(units.with_name(units.stem.replace("-", "@1-") + suffix))
    found = panels(reports.tabulate_dynamics(run_dir))
    assert list(found) == ["prunability", "redundancy", "similarity"]
    drawn = {line.get_label(): line.get_ydata()[0] for line in found["prunability"].lines}
    # The crossing of 1, 0.6 at the line of 0.8, of a network of size 1; the other never crosses.
    assert drawn == {"test": pytest.approx(0.25 / 4), "test, channel targeted": pytest.approx(1 / 4)}
    assert found["redundancy"].lines[0].get_ydata()[0] == pytest.approx((2 / 4 + 3 / 4) / 2 / 4)


@pytest.mark.parametrize("measure", ["kinds", "stability", "dimension"])
def test_what_has_no_panel_of_its_own_is_drawn_where_it_is_alone(tmp_path: pathlib.Path, measure: str) -> None:
    run_dir = write_run(tmp_path)
    write_json(run_dir.done_file("train"), {"state": "finished", "epochs": 2})
    row = {"units": 4, "redundant_functional": 3, "distinct_blocked": 1, "rank_limited": False}
    values = {
        "kinds": {"taps": {"hidden": row}, "network": row},
        "stability": {"loss": 1.0, "error": 0.1, "dropped_loss": [2.0], "dropped_error": [0.2]},
        "dimension": {"value": 2.5, "std": 0.1},
    }[measure]
    settings = {"split": "test", "factor": 1.0, "seed": 0, "variance_fraction": 0.95, "max_rows": 50_000}
    for epoch in (1, 2):
        write_measure(run_dir, measure, settings, values, epoch=epoch)
    found = panels(reports.tabulate_dynamics(run_dir))
    expected = {
        "kinds": {"redundant functional": 3, "distinct blocked": 1},
        "stability": {"loss change": 1, "error change": 0.1},
        "dimension": {"intrinsic dimension": 2.5},
    }[measure]
    drawn = {name: axes.lines[0].get_xydata().tolist() for name, axes in found.items()}
    assert drawn == {name: [[1, pytest.approx(value)], [2, pytest.approx(value)]] for name, value in expected.items()}
