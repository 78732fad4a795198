"""Numbers of panels of ablation curves, correlations, last epochs and parameters, against ones worked out by hand."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from fake_runs import write_ablation, write_accuracy, write_run
from made_records import MadeRuns, make_record, make_runs

from tfunits.artifacts import write_json
from tfunits.configs import NETWORK, resolve
from tfunits.reports.figures import Curve, Runs
from tfunits.reports.figures.panels import WidthPanel
from tfunits.reports.figures.unit_panels import (
    MEAN_OF_TAPS,
    AblationPanel,
    CorrelationPanel,
    LastEpochsPanel,
    ParameterPanel,
)
from tfunits.reports.records import read_run
from tfunits.statistics import AblationCurve


def curve(*agreeing, examples=10):
    fractions = np.linspace(0, 1, len(agreeing[0]))
    return AblationCurve(num_units=4, num_examples=examples, fractions=fractions, num_agreeing=np.array(agreeing))


def ablated(curves, **given):
    record = make_record({"model": "alexnet", **given}, bare=True)
    return dataclasses.replace(record, curves={("test", "channel"): curves})


def test_ablation_curves_are_means_over_draws_and_seeds():
    records = [
        ablated({NETWORK: curve([10, 6, 2], [10, 8, 4])}, seed=0),
        ablated({NETWORK: curve([10, 4, 0], [10, 4, 0])}, seed=1),
        ablated({NETWORK: curve([10, 0, 0])}, epochs=0),
    ]
    table = AblationPanel(title="").tabulate(Runs(records=records))
    np.testing.assert_allclose(table["fraction"], [0, 0.5, 1])
    np.testing.assert_allclose(table["agreement"], [1, (0.7 + 0.4) / 2, (0.3 + 0) / 2])
    np.testing.assert_allclose(table["std"], [0, 0.3 / np.sqrt(2), 0.3 / np.sqrt(2)])
    assert set(table["seeds"]) == {2}


def test_layers_ablated_alone_are_averaged_without_the_joint_curve():
    curves = {"conv1": curve([10, 8, 6]), "conv2": curve([10, 4, 2]), NETWORK: curve([10, 0, 0])}
    panel = AblationPanel(title="", settings={"size": 1.0}, tap=MEAN_OF_TAPS)
    table = panel.tabulate(Runs(records=[ablated(curves), ablated({NETWORK: curve([10, 10, 10])}, size=2.0)]))
    assert list(table["size"]) == [1, 1, 1]
    np.testing.assert_allclose(table["agreement"], [1, 0.6, 0.4])


def correlated(*histogram, **given):
    record = make_record({"model": "alexnet", **given}, largest_width=4)
    units = record.statistics["test"]["conv2"]
    changed = dataclasses.replace(units, correlation_histogram=np.array(histogram))
    return dataclasses.replace(record, statistics={"test": {"conv2": changed}})


def test_violins_join_the_pairs_of_seeds_and_samplings():
    records = [
        correlated([6, 0, 0, 2], [4, 2, 0, 2], size=0.25, seed=0),
        correlated([2, 0, 2, 0], [2, 0, 0, 0], size=0.25, seed=1),
        correlated([0, 0, 0, 1], size=1.0),
        correlated([1, 0, 0, 0], size=0.5),
        correlated([0, 9, 9, 0], size=0.25, epochs=0),
    ]
    table = CorrelationPanel(title="", tap="conv2").tabulate(Runs(records=records))
    assert sorted(set(table["size"])) == [0.25, 1]
    thin = table[table["size"] == 0.25]
    np.testing.assert_allclose(thin["share"], np.array([14, 2, 2, 4]) / 22)
    np.testing.assert_allclose(thin["mean"], (14 * 0.125 + 2 * 0.375 + 2 * 0.625 + 4 * 0.875) / 22)
    # Bins from 0.5 on; 95 % of the pairs lie below the end of the last bin.
    np.testing.assert_allclose(thin["above_threshold"], 6 / 22)
    assert set(thin["upper_tail"]) == {1}


def test_violins_of_other_widths_are_drawn_where_the_papers_are_not_there():
    records = [correlated([1, 1, 0, 0], size=size) for size in (0.5, 2.0)]
    table = CorrelationPanel(title="", tap="conv2").tabulate(Runs(records=records))
    assert sorted(set(table["size"])) == [0.5, 2]
    assert CorrelationPanel(title="", tap="conv9").tabulate(Runs(records=records)).empty


def test_last_epochs_are_read_from_what_was_measured_there(tmp_path):
    for seed, rise in ((0, 0.0), (1, 0.2)):
        run_dir = write_run(tmp_path, {"model": "mlp", "seed": seed, "epochs": 6})
        write_json(run_dir.done_file("train"), {"epochs": 6})
        for epoch, value in ((4, 0.5), (6, 0.7)):
            write_accuracy(run_dir, epoch, test={"accuracy": value + rise, "loss": 1.0})
    records = [
        read_run(path) for path in [write_run(tmp_path, {"model": "mlp", "seed": s, "epochs": 6}) for s in (0, 1)]
    ]
    table = LastEpochsPanel(measure="accuracy").tabulate(Runs(records=records))
    assert list(table["epochs_before_end"]) == [0, 2]
    np.testing.assert_allclose(table["mean"], [0.8, 0.6])
    np.testing.assert_allclose(table["std"], 0.2 / np.sqrt(2))
    assert LastEpochsPanel(measure="redundancy").tabulate(Runs(records=records)).empty


def test_runs_without_kept_epochs_give_an_empty_panel():
    assert LastEpochsPanel(measure="accuracy").tabulate(Runs(records=[])).empty


def test_parameters_are_those_of_the_settings():
    configs = [resolve({"model": "mlp", "size": size}) for size in (2.0, 0.5)]
    runs = make_runs(configs, bare=True)
    panel = ParameterPanel(title="", curves=[Curve(label="mlp", settings={"model": "mlp"})])
    assert panel.tabulate(runs).to_numpy().tolist() == [["mlp", 0.5, 250_000], ["mlp", 2.0, 4_000_000]]


def test_another_way_of_measuring_is_read_anew(tmp_path):
    run_dir = write_run(tmp_path, {"model": "mlp"})
    write_accuracy(run_dir)
    write_ablation(run_dir)
    runs = Runs(records=[read_run(run_dir)])
    assert len(runs.measured(draws=3)) == 1
    assert len(runs.measured(measured_examples=5)) == 0
    panel = WidthPanel(measure="accuracy", curves=[Curve(label="mlp")], measured={"measured_examples": 5})
    assert panel.tabulate(runs).empty
    other = WidthPanel(measure="accuracy", curves=[Curve(label="mlp")], title="drawn", measured={"draws": 9})
    changed = other.measured_as(lambda fields: {**fields, "draws": 3})
    assert (changed.measured, changed.title) == ({"draws": 3}, "drawn")


def test_units_of_a_varied_block_count_against_its_own_width():
    fields = {"model": "inception_v3", "size": 1.0, "layer_size": 2.0}
    record = make_record(fields, crossing=0.5, redundant=0.5, largest_width=8)
    values = {
        tap: MadeRuns(records=[record]).values("prunability", tap=tap)["value"].item()
        for tap in ("mixed_35x35x288b", "mixed_17x17x768e")
    }
    assert values == pytest.approx({"mixed_35x35x288b": 0.5 * 2 / 4, "mixed_17x17x768e": 0.5 * 1 / 4}, rel=5e-3)
    assert record.tap_size("mixed_35x35x288b") == 2
    assert (record.tap_size("stem"), record.size) == (1, 1)


def test_choices_share_what_was_worked_out():
    runs = make_runs([resolve({"model": "mlp", "seed": seed}) for seed in range(3)], largest_width=4)
    chosen = runs.where(seed=(0, 2)).trained
    assert list(chosen.settings["seed"]) == [0, 2]
    pd.testing.assert_frame_equal(
        chosen.frame.reset_index(drop=True), Runs(records=chosen.records).frame, check_dtype=False
    )
