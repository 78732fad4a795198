"""Run directories as one tidy frame, against numbers worked out by hand."""

import dataclasses
import json
import pathlib
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from fake_runs import (
    COUNTS,
    JOINT,
    ablation_settings,
    damage,
    make_curve,
    unit_settings,
    write_ablation,
    write_accuracy,
    write_chunks,
    write_measure,
    write_measured_run,
    write_outputs,
    write_reconstruction,
    write_run,
    write_units,
)

from tfunits import reports
from tfunits.configs import MeasureConfig, resolve
from tfunits.experiments import measured_files
from tfunits.reports.records import varied_settings

REPOSITORY = pathlib.Path(__file__).parents[2]
COLUMNS = ["run", "model", "dataset", "size", "seed", "state", "split", "unit", "tap", "measure", "value"]
SETTINGS = [
    "layer_size", "last_width", "num_examples", "random_labels", "data_seed", "initializer", "init_scale", "optimizer",
    "learning_rate", "batch_size", "k", "epochs", "regularizers", "weight_decay",
]  # fmt: skip
ALL_COLUMNS = [*COLUMNS[:5], *SETTINGS, "version", "state", "epoch", *COLUMNS[6:]]
# What `fake_runs` puts into a run, as shares of the network's own units: multiply by size / 4 where it says so.
SCALED = {
    ("copies", "prunability"): 0.625,  # 0.5 + 0.5 * (0.9 - 0.8) / (0.9 - 0.5)
    ("copies", "mean_prunability"): (0.625 + 0.6) / 2,
    ("copies", "non_prunability"): 1 - 0.625,
    ("dead", "prunability"): 1,  # never crosses
    ("dead", "mean_prunability"): 1,
    ("dead", "non_prunability"): 0,
    ("network", "prunability"): 0.5,  # of the joint curve
    ("network", "mean_prunability"): (0.25 + 0.5) / 2,
    ("network", "non_prunability"): 0.5,
    ("copies", "redundancy"): 2 / 4,
    ("copies", "non_redundancy"): 2 / 4,
    ("dead", "redundancy"): 3 / 4,
    ("dead", "non_redundancy"): 1 / 4,
    ("network", "redundancy"): (2 / 4 + 3 / 4) / 2,  # plain mean over taps
    ("network", "non_redundancy"): (2 / 4 + 1 / 4) / 2,
}
AS_IT_IS = {
    ("copies", "area"): ((10 + 9 + 5) / 30 + (10 + 10 + 0) / 30) / 2,
    ("dead", "area"): 1,
    ("network", "area"): (22 / 30 + 1) / 2,  # mean over taps, not of the joint curve
    ("copies", "agreement_at_1"): 0.25,
    ("dead", "agreement_at_1"): 1,
    ("network", "agreement_at_1"): 0.25,
    ("copies", "compressibility"): 50,
    ("dead", "compressibility"): 75,
    ("network", "compressibility"): 62.5,
    ("copies", "similarity"): 1,
    ("dead", "similarity"): 0,
    ("network", "similarity"): 0.5,
    ("network", "accuracy"): 0.5,
    ("network", "loss"): 1.25,
    ("network", "examples"): 10,
    **{(tap, "units"): 4 for tap in ("copies", "dead")},
    **{(tap, "rows"): 8 for tap in ("copies", "dead")},
    **{(tap, "rank_limited"): 1 for tap in ("copies", "dead")},
    **{("copies", name): 0 for name in ("dead", "silent", "constant")},
    **{("dead", name): 3 for name in ("dead", "silent", "constant")},
    **{("network", name): 3 for name in ("dead", "silent", "constant")},
    ("network", "units"): 8,
}


def values(frame: pd.DataFrame) -> dict[tuple[str, str], float]:
    """(tap, measure) -> value, each once."""
    assert not frame.duplicated(["tap", "measure"]).any()
    return dict(zip(zip(frame["tap"], frame["measure"], strict=True), frame["value"], strict=True))


@pytest.mark.parametrize("size", [0.25, 1, 4])
def test_every_number_of_a_run(tmp_path: pathlib.Path, size: float) -> None:
    run_dir = write_measured_run(tmp_path, {"size": size, "seed": 3})
    frame = reports.load(tmp_path)
    expected = {**{key: value * size / 4 for key, value in SCALED.items()}, **AS_IT_IS}
    assert values(frame) == pytest.approx(expected)
    assert frame.columns.tolist() == ALL_COLUMNS
    assert reports.tabulate([reports.read_run(run_dir)]).columns.tolist() == COLUMNS
    for name, value in {
        "run": run_dir.name, "model": "mlp", "dataset": "digits", "size": size, "seed": 3, "state": "finished",
        "split": "test",
    }.items():  # fmt: skip
        assert (frame[name] == value).all()
    ablated = frame["measure"].isin(["prunability", "mean_prunability", "non_prunability", "area", "agreement_at_1"])
    assert (frame["unit"] == np.where(ablated, "channel", "")).all()


def test_shares_of_a_users_own_network_stay_raw(tmp_path: pathlib.Path) -> None:
    (tmp_path / "net.keras").write_bytes(b"any")
    write_measured_run(tmp_path / "runs", {"model": f"file:{tmp_path / 'net.keras'}"})
    assert values(reports.load(tmp_path / "runs")) == pytest.approx({**SCALED, **AS_IT_IS})


def test_the_authors_count_one_unit_more_and_constants_as_minus_one(tmp_path: pathlib.Path) -> None:
    measure = MeasureConfig(protocol="authors")
    run_dir = write_run(tmp_path, {"size": 4})
    write_units(run_dir, measure=measure)
    found = values(reports.load(tmp_path, measure))
    assert found["copies", "redundancy"] == pytest.approx(3 / 4)
    assert found["dead", "redundancy"] == pytest.approx(1)
    assert (found["copies", "similarity"], found["dead", "similarity"]) == (1, -3 / 4)


def test_measure_options_that_only_read_apply_without_measuring_again(tmp_path: pathlib.Path) -> None:
    write_measured_run(tmp_path, {"size": 4})
    found = values(reports.load(tmp_path, MeasureConfig(tolerance=0.5, variance_fraction=0.5)))
    # The joint curves fall through a half at 0.5 + 0.5 * 0.1 / 0.4 and 0.5 + 0.5 * 0.3 / 0.5.
    assert found["network", "prunability"] == pytest.approx(0.8)
    assert found["network", "mean_prunability"] == pytest.approx((0.625 + 0.8) / 2)
    assert found["copies", "redundancy"] == pytest.approx(3 / 4)


@pytest.mark.parametrize("more", [{"draws": 5}, {"levels": 3}, {"protocol": "authors"}, {"measure_seed": 1}])
def test_a_run_that_was_ablated_twice_is_read_as_asked(tmp_path: pathlib.Path, more: dict) -> None:
    run_dir = write_run(tmp_path, {"size": 4})
    write_ablation(run_dir)
    write_ablation(run_dir, joint=[[10, 10, 10]], measure=MeasureConfig(**more))
    assert values(reports.load(tmp_path))["network", "prunability"] == pytest.approx(0.5)
    assert values(reports.load(tmp_path, MeasureConfig(**more)))["network", "prunability"] == pytest.approx(1)


@pytest.mark.parametrize(
    "more", [{"max_rows": 0}, {"samplings": 5}, {"similarity_threshold": 0.9}, {"measure_seed": 1}]
)
def test_a_run_whose_units_were_measured_twice_is_read_as_asked(tmp_path: pathlib.Path, more: dict) -> None:
    run_dir = write_run(tmp_path, {"size": 4})
    write_units(run_dir)
    write_units(run_dir, units={"other": np.eye(8)}, measure=MeasureConfig(**more))
    assert set(reports.load(tmp_path)["tap"]) == {"copies", "dead", "network"}
    assert set(reports.load(tmp_path, MeasureConfig(**more))["tap"]) == {"other", "network"}


def test_splits_and_kinds_of_units_stand_side_by_side(tmp_path: pathlib.Path) -> None:
    run_dir = write_run(tmp_path)
    write_accuracy(run_dir, train={"accuracy": 1.0}, test={"accuracy": 0.5})
    for where in ({}, {"unit": "location"}, {"split": "train"}):
        write_ablation(run_dir, **where)
    write_units(run_dir, split="train")
    frame = reports.load(tmp_path)
    pairs = frame[frame["measure"].isin(["accuracy", "area", "redundancy"])][["split", "unit", "measure"]]
    assert set(pairs.itertuples(index=False, name=None)) == {
        ("train", "", "accuracy"), ("test", "", "accuracy"), ("test", "channel", "area"), ("test", "location", "area"),
        ("train", "channel", "area"), ("train", "", "redundancy"),
    }  # fmt: skip


def test_a_record_holds_the_stored_curves_and_statistics(tmp_path: pathlib.Path) -> None:
    run_dir = write_measured_run(tmp_path, {"size": 0.5})
    record = reports.read_run(run_dir)
    assert record.config == resolve({"model": "mlp", "size": 0.5})
    assert (record.state, record.size) == ("finished", 0.5)
    assert list(record.curves) == [("test", "channel")]
    curves = record.curves["test", "channel"]
    assert list(curves) == ["copies", "dead", reports.NETWORK]
    assert curves["copies"].num_agreeing.tolist() == COUNTS["copies"]
    assert curves[reports.NETWORK].num_agreeing.tolist() == JOINT
    assert list(record.statistics["test"]) == ["copies", "dead"]


def test_the_stored_settings_are_those_of_the_measure_step() -> None:
    measure = MeasureConfig(draws=4, levels=5, max_rows=0, samplings=2, measure_seed=9, similarity_threshold=0.25)
    measure = dataclasses.replace(measure, measured_splits=("train",), ablation_unit=("location",))
    assert measured_files.settings_of("ablation", measure) == [ablation_settings(measure, "train", "location")]
    assert measured_files.settings_of("units", measure) == [unit_settings(measure, "train")]


def test_a_loss_that_is_not_finite_is_missing(tmp_path: pathlib.Path) -> None:
    write_accuracy(write_run(tmp_path), test={"accuracy": 0.5, "loss": float("nan")})
    assert np.isnan(values(reports.load(tmp_path))["network", "loss"])


@pytest.mark.parametrize("state", ["running", "diverged", "failed", "interrupted"])
def test_unfinished_runs_are_read_too(tmp_path: pathlib.Path, state: str) -> None:
    write_accuracy(write_run(tmp_path, state=state))
    assert set(reports.load(tmp_path)["state"]) == {state}


def test_runs_are_found_by_name_and_other_folders_passed_over(tmp_path: pathlib.Path) -> None:
    made = [write_run(tmp_path, {"seed": seed}, state=None).path for seed in (2, 0, 1)]
    (tmp_path / "grid-0").mkdir()
    (tmp_path / "notes.txt").write_text("")
    found = reports.find_runs(tmp_path)
    assert [run_dir.path for run_dir in found] == sorted(made)
    assert reports.read_run(found[0]).state == "unknown"
    assert reports.load(tmp_path).columns.tolist() == ALL_COLUMNS
    assert reports.load(tmp_path).empty


def test_a_root_that_is_no_folder_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="run_root: expected a folder of runs, received '.*missing'"):
        reports.load(tmp_path / "missing")


@pytest.mark.parametrize("how", ["cut", "empty", "flipped"])
@pytest.mark.parametrize(
    "which", ["accuracy-*.json", "ablation-*.json", "units-*.json", "units-*.npz", "../config.json"]
)
def test_a_damaged_file_is_named(tmp_path: pathlib.Path, which: str, how: str) -> None:
    run_dir = write_measured_run(tmp_path)
    path = next(iter(run_dir.measures.glob(which))) if "*" in which else run_dir.config_file
    damage(path, how)
    with pytest.raises(ValueError, match=f"{path.name}: expected .* damaged file"):
        reports.read_run(run_dir)


@pytest.mark.parametrize("content", ["{}", "[]"])
def test_a_measure_that_holds_something_else_is_named(tmp_path: pathlib.Path, content: str) -> None:
    run_dir = write_run(tmp_path)
    path = write_accuracy(run_dir)
    path.write_text(content)
    with pytest.raises(ValueError, match=path.name):
        reports.read_run(run_dir)


def test_a_measure_of_another_version_is_passed_over(tmp_path: pathlib.Path) -> None:
    run_dir = write_run(tmp_path)
    write_accuracy(run_dir)
    write_measure(run_dir, "of_the_future", {}, {"anything": 1})
    assert set(reports.load(tmp_path)["measure"]) == {"accuracy", "examples", "loss"}


CIFAR = {"model": "alexnet", "dataset": "cifar10"}


@pytest.mark.parametrize(
    ("given", "varied"),
    [
        ([{}], []),
        ([{"size": 0.5, "seed": 1}, {"size": 1, "seed": 2}], []),
        ([{"initializer": "he_normal"}, {}], ["initializer"]),
        ([{"initializer": "he_normal"}, {"initializer": "he_normal", "k": 2}], ["k"]),
        ([{"weight_decay": 0.1}, {}], ["regularizers", "weight_decay"]),
        ([{"draws": 9}, {}], []),
        # The two recipes differ in many fields, which follow from the network.
        ([{}, {"model": "alexnet"}], ["model"]),
        ([{}, {"model": "alexnet", "epochs": 3}], ["model", "epochs"]),
        # Random labels have recipes of their own, without regularisers.
        ([{**CIFAR, "random_labels": labels} for labels in (False, True)], ["random_labels"]),
        ([{**CIFAR, "random_labels": labels, "k": 2 - labels} for labels in (False, True)], ["random_labels", "k"]),
    ],
)
def test_runs_differ_in_what_a_user_set(given: list[dict], varied: list[str]) -> None:
    assert varied_settings([resolve({"model": "mlp", **values}) for values in given]) == varied


def test_settings_are_flat_and_plain() -> None:
    config = resolve({"regularizers": ("dropout", "augmentation"), "size": 2})
    settings = reports.flat_settings(config)
    assert {name: settings[name] for name in ("model", "size", "dataset", "seed", "patience", "regularizers")} == {
        "model": "alexnet", "size": 2, "dataset": "digits", "seed": 0, "patience": None,
        "regularizers": "augmentation+dropout",
    }  # fmt: skip
    assert len(settings) == len({**vars(config.model), **vars(config.data), **vars(config.training)})


def test_reports_load_neither_tensorflow_nor_keras() -> None:
    code = "import sys, tfunits.reports; print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    loaded = set(answer.stdout.split())
    assert "tfunits.reports.plots" in loaded
    assert not {"tensorflow", "keras"} & loaded


KIND = {"units": 4, "redundant_functional": 2, "distinct_blocked": 1, "silent": 1, "constant": 0, "rank_limited": True}


def write_kinds(run_dir, row: dict = KIND, **settings):
    settings = {"split": "test", "variance_fraction": 0.95, "max_rows": 50_000, "seed": 0, **settings}
    return write_measure(run_dir, "kinds", settings, {"taps": {"hidden": row}, "network": row})


def write_stability(run_dir, factor: float):
    settings = {"split": "train", "share": 0.5, "factor": factor, "draws": 2, "seed": 0}
    values = {"loss": 1.0, "error": 0.25, "dropped_loss": [2.0, 3.0 * factor], "dropped_error": [0.5, 1.0]}
    return write_measure(run_dir, "stability", settings, values)


def test_the_frame_has_clones_dimension_kinds_and_stability(tmp_path: pathlib.Path) -> None:
    run_dir = write_run(tmp_path)
    write_chunks(run_dir, {1: [50, 40], 2: [1, 1], 4: [0, 0], 6: [0, 0]})
    write_chunks(run_dir, {1: [50], 2: [40], 4: [30], 6: [20]}, "test")
    write_measure(run_dir, "dimension", {"split": "test", "seed": 0}, {"value": 2.5, "std": 0.5})
    write_kinds(run_dir)
    for factor in (1.0, 2.0):
        write_stability(run_dir, factor)
    frame = reports.load(tmp_path)
    found = frame.set_index(["split", "unit", "tap", "measure"])["value"].to_dict()
    assert len(found) == len(frame)
    expected = {
        ("train", "", "network", "clone_size"): 2,
        ("train", "", "network", "clone_size_at_0.1%"): 4,
        ("train", "", "network", "clones"): 3,
        ("train", "", "network", "last_width"): 6,
        # The whole layer errs on a fifth.
        ("test", "", "network", "clone_size"): np.nan,
        ("test", "", "network", "clone_size_at_0.1%"): np.nan,
        ("test", "", "network", "clones"): np.nan,
        ("test", "", "network", "last_width"): 6,
        ("test", "", "network", "intrinsic_dimension"): 2.5,
        ("train", "half dropped, times 1", "network", "loss_change"): 1.5,
        ("train", "half dropped, times 2", "network", "loss_change"): 3,
        ("train", "half dropped, times 1", "network", "error_change"): 0.5,
        ("train", "half dropped, times 2", "network", "error_change"): 0.5,
        **{("test", "", tap, "redundant_functional"): 2 for tap in ("hidden", "network")},
        **{("test", "", tap, "distinct_blocked"): 1 for tap in ("hidden", "network")},
    }
    assert found == pytest.approx(expected, nan_ok=True)


def test_what_was_measured_in_two_ways_is_read_as_asked(tmp_path: pathlib.Path) -> None:
    """The second way of each is the one that is asked for, and the default the first."""
    run_dir = write_run(tmp_path)
    write_chunks(run_dir, {1: [50], 2: [1]})
    write_chunks(run_dir, {1: [1], 2: [0]}, draws=9)
    write_reconstruction(run_dir, [0.5, 0.6])
    write_reconstruction(run_dir, [0.7, 0.8], draws=9)
    write_kinds(run_dir)
    write_kinds(run_dir, {**KIND, "redundant_functional": 3}, variance_fraction=0.9)
    write_kinds(run_dir, {**KIND, "redundant_functional": 4}, max_rows="all")
    write_ablation(run_dir)
    curve = make_curve([[10, 10, 10]]).to_dict()
    settings = {**ablation_settings(MeasureConfig()), "standard_error": 0.01}
    write_measure(run_dir, "ablation", settings, {"taps": {"copies": curve}, "joint": curve})
    units = write_units(run_dir)
    settings = {**unit_settings(MeasureConfig()), "precision": "float64"}
    exact = write_measure(run_dir, "units", settings, {"taps": {"dead": {}}})
    exact.with_suffix(".npz").write_bytes(units.with_suffix(".npz").read_bytes())

    def numbers(**options) -> tuple:
        record = reports.read_run(run_dir, MeasureConfig(**options))
        return (
            record.chunks["train"].clone_size() if record.chunks else None,
            round(record.reconstructions["test", "layer"].r2[0, 0], 6) if record.reconstructions else None,
            [stored["network"]["redundant_functional"] for stored in record.values.get("kinds", ())],
            [taps["copies"].num_agreeing.tolist() for taps in record.curves.values()],
            [list(taps) for taps in record.statistics.values()],
        )

    default = numbers()
    assert default == (2, 0.5, [2], [COUNTS["copies"]], [["copies", "dead"]])
    assert numbers(chunk_draws=9) == (1, *default[1:])
    assert numbers(reconstruction_draws=9) == (2, 0.7, *default[2:])
    assert numbers(variance_fraction=0.9) == (*default[:2], [3], *default[3:])
    # Which rows were read concerns units' statistics too.
    assert numbers(max_rows=0) == (*default[:2], [4], default[3], [])
    assert numbers(standard_error=0.01) == (*default[:3], [[[10, 10, 10]]], default[4])
    assert numbers(moments_precision="float64") == (*default[:4], [["dead"]])
    assert numbers(measure_seed=1) == (None, None, [], [], [])


def test_orders_stand_side_by_side(tmp_path: pathlib.Path) -> None:
    run_dir, joint = write_run(tmp_path, {"size": 4}), make_curve([[10, 10, 10]]).to_dict()
    write_ablation(run_dir)
    for unit, order in (("channel", "targeted"), ("location", "l1_norm"), ("channel", "noise"), ("channel", "weights")):
        settings = {**ablation_settings(MeasureConfig(), unit=unit), "order": order}
        write_measure(run_dir, "ablation", settings, {"taps": {"copies": joint}, "joint": joint})
    frame = reports.load(tmp_path)
    found = frame[(frame["tap"] == "network") & (frame["measure"] == "prunability")].set_index("unit")["value"]
    assert found.to_dict() == {
        "channel": 0.5, "channel targeted": 1, "location l1_norm": 1, "weights": 1,
    }  # fmt: skip
    # A size of noise is no share of units.
    noise = frame[(frame["tap"] == "network") & (frame["unit"] == "noise")].set_index("measure")["value"]
    assert noise.to_dict() == {"noise_tolerance": 1, "agreement_at_largest": 1, "area": 1}


def test_a_run_that_was_measured_before_there_were_such_options_is_read(tmp_path: pathlib.Path) -> None:
    """Without order, standard error, precision and selectivity, and with a configuration that lacks newer fields."""
    run_dir = write_measured_run(tmp_path, {"size": 4})
    (path,) = run_dir.measures.glob("units-*.npz")
    arrays = {name: array for name, array in np.load(path).items() if not name.endswith("/selectivity")}
    arrays["__names__"] = np.array([name for name in arrays if name != "__names__"])
    np.savez(path, **arrays)
    stored = json.loads(run_dir.config_file.read_text())
    for field in ("last_width", "layer_size"):
        del stored["model"][field]
    run_dir.config_file.write_text(json.dumps(stored))
    for measure in (None, MeasureConfig(variance_fraction=0.95)):
        found = values(reports.load(tmp_path, measure))
        assert found["network", "prunability"] == pytest.approx(0.5)
        assert found["network", "redundancy"] == pytest.approx(0.625)
    record = reports.read_run(run_dir)
    assert (record.chunks, record.reconstructions, record.values) == ({}, {}, {})
    assert reports.tabulate_dynamics(run_dir).empty


def test_outputs_are_those_that_the_run_has_stored(tmp_path: pathlib.Path) -> None:
    run_dir = write_run(tmp_path)
    write_outputs(run_dir, np.array([True, False]))
    outputs, labels = reports.read_run(run_dir).outputs("test")
    assert (outputs.tolist(), labels.tolist()) == ([[-1, 0], [1, 0]], [0, 0])
    with pytest.raises(ValueError, match=f"{run_dir.name}: expected stored outputs on train data"):
        reports.read_run(run_dir).outputs("train")


@pytest.mark.parametrize("how", ["cut", "empty"])
@pytest.mark.parametrize("which", ["chunks-*.npz", "reconstruction-*.npz", "kinds-*.json"])
def test_a_damaged_file_of_chunks_or_kinds_is_named(tmp_path: pathlib.Path, which: str, how: str) -> None:
    run_dir = write_run(tmp_path)
    write_chunks(run_dir, {1: [50], 2: [1]})
    write_reconstruction(run_dir, [0.5, 0.6])
    write_kinds(run_dir)
    (path,) = run_dir.measures.glob(which)
    damage(path, how)
    with pytest.raises(ValueError, match=f"{path.name}: expected .* damaged"):
        reports.read_run(run_dir)


def test_arrays_that_are_gone_are_named(tmp_path: pathlib.Path) -> None:
    run_dir = write_run(tmp_path)
    path = write_chunks(run_dir, {1: [50], 2: [1]})
    path.with_suffix(".npz").unlink()
    with pytest.raises(ValueError, match=f"{path.name}: expected a whole measure"):
        reports.read_run(run_dir)
