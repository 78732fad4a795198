"""One frame of every number with every setting, and that frame as a file."""

import builtins
import collections
import dataclasses
import pathlib

import numpy as np
import pandas as pd
import pytest
from fake_runs import (
    damage,
    write_ablation,
    write_accuracy,
    write_chunks,
    write_measure,
    write_measured_run,
    write_run,
    write_units,
)

from tfunits import reports
from tfunits.artifacts import write_json
from tfunits.configs import VARIED_BLOCK, UserError, resolve
from tfunits.statistics import Moments, UnitStatistics


def one_row_a_run(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop_duplicates("run").set_index("run")


def test_settings_stand_beside_every_number(tmp_path: pathlib.Path) -> None:
    given = [
        {"initializer": "he_normal", "seed": 3, "num_examples": 200, "random_labels": True},
        {"weight_decay": 0.5, "size": 0.25},
        {"model": "wide_resnet28", "last_width": 32, "k": 2.0, "regularizers": ("augmentation",)},
    ]
    runs = [write_measured_run(tmp_path, values) for values in given]
    frame = reports.load(tmp_path)
    rows = one_row_a_run(frame)
    first, second, third = (rows.loc[run_dir.name] for run_dir in runs)
    assert (first["initializer"], first["seed"], first["num_examples"], first["random_labels"]) == (
        "he_normal", 3, 200, True,
    )  # fmt: skip
    assert (second["weight_decay"], second["size"], second["regularizers"]) == (0.5, 0.25, "weight_decay")
    assert (third["last_width"], third["k"], third["regularizers"]) == (32, 2.0, "augmentation")
    # All of the data's training examples, where a run names no number; no last width of its own is missing.
    assert second["num_examples"] == 1078
    assert np.isnan(second["last_width"])
    # What differs beside the columns that are always there, and nothing that does not.
    assert {"schedule", "preprocessing"} <= set(frame.columns)
    assert not {"label_smoothing", "precision"} & set(frame.columns)
    assert len(frame) == sum(frame["run"] == run_dir.name for run_dir in runs).sum()


def test_the_chosen_weight_decay_is_the_one_that_counts(tmp_path: pathlib.Path) -> None:
    run_dir = write_run(tmp_path, {"model": "fc5"})
    write_accuracy(run_dir)
    write_json(run_dir.done_file("train"), {"weight_decay": 0.125})
    assert set(reports.load(tmp_path)["weight_decay"]) == {0.125}


def test_a_split_rule_is_no_split(tmp_path: pathlib.Path) -> None:
    for rule in ("random", "ordered"):
        write_measured_run(tmp_path, {"model": "alexnet", "dataset": "cifar10", "split": rule})
    frame = reports.load(tmp_path)
    assert set(frame["split_rule"]) == {"random", "ordered"}
    assert set(frame["split"]) == {"test"}


def test_text_is_small_and_the_version_is_known(tmp_path: pathlib.Path) -> None:
    runs = [write_measured_run(tmp_path, {"seed": seed}) for seed in (0, 1)]
    write_json(runs[0].environment, {"tfunits": "0.7.0"})
    frame = reports.load(tmp_path)
    for name in ("run", "model", "initializer", "version", "state", "split", "unit", "tap", "measure"):
        assert isinstance(frame[name].dtype, pd.CategoricalDtype)
    versions = one_row_a_run(frame)["version"].astype(object)
    assert versions[runs[0].name] == "0.7.0"
    assert pd.isna(versions[runs[1].name])
    found = frame.groupby(["model", "measure"], observed=True)["value"].mean()
    assert found["mlp", "accuracy"] == 0.5


def test_a_damaged_run_is_named_and_the_rest_is_there(tmp_path: pathlib.Path) -> None:
    runs = [write_measured_run(tmp_path, {"seed": seed}) for seed in range(4)]
    damage(next(runs[0].measures.glob("units-*.npz")), "cut")
    runs[1].config_file.write_text("{}")
    write_json(runs[3].environment, [])
    with pytest.warns(UserWarning, match="is left out: ") as caught:
        frame = reports.load(tmp_path)
    assert set(frame["run"]) == {runs[2].name}
    assert sorted(frame.attrs["damaged"]) == sorted(runs[i].name for i in (0, 1, 3))
    for run_dir, path in ((runs[0], "units-"), (runs[1], "config.json"), (runs[3], "environment.json")):
        assert path in frame.attrs["damaged"][run_dir.name]
        assert any(run_dir.name in str(warning.message) for warning in caught)


def test_every_file_of_another_kind_of_content_is_named(tmp_path: pathlib.Path) -> None:
    """What parses and lacks what a measure holds is damage too, not a traceback."""
    run_dir = write_run(tmp_path)
    for name in ("dimension", "kinds", "stability"):
        path = write_measure(
            run_dir, name, {"split": "test", "seed": 0, "variance_fraction": 0.95, "max_rows": 50_000}, {}
        )
        with pytest.raises(ValueError, match=f"{path.name}: expected a whole measure"):
            reports.read_run(run_dir)
        path.unlink()


class TestDynamics:
    @pytest.fixture
    def root(self, tmp_path: pathlib.Path) -> pathlib.Path:
        run_dir = write_measured_run(tmp_path, test={"accuracy": 0.75})
        for epoch, accuracy in ((10, 0.5), (2, 0.25)):
            write_accuracy(run_dir, epoch, test={"accuracy": accuracy})
            write_chunks(run_dir, {1: [50], 2: [1]}, epoch=epoch)
        return tmp_path

    def test_kept_epochs_are_rows_where_they_are_asked_for(self, root: pathlib.Path) -> None:
        assert reports.load(root)["epoch"].isna().all()
        frame = reports.load(root, dynamics=True)
        accuracy = frame[frame["measure"] == "accuracy"]
        assert accuracy["epoch"].tolist() == [pd.NA, 2, 10]
        assert accuracy["value"].tolist() == [0.75, 0.25, 0.5]
        pd.testing.assert_frame_equal(
            frame[frame["epoch"].isna()].astype({"measure": str, "unit": str, "tap": str, "split": str}),
            reports.load(root).astype({"measure": str, "unit": str, "tap": str, "split": str}),
        )

    def test_they_are_those_that_are_read_one_by_one(self, root: pathlib.Path) -> None:
        (run_dir,) = reports.find_runs(root)
        whole = reports.read_run(run_dir, dynamics=True).dynamics
        assert list(whole) == list(reports.read_dynamics(run_dir)) == [2, 10]
        for epoch, record in whole.items():
            assert record.accuracy == reports.read_run(run_dir, epoch=epoch).accuracy
            assert record.chunks["train"].sizes.tolist() == [1, 2]
        assert reports.read_run(run_dir).dynamics == {}
        assert reports.read_run(run_dir, epoch=3).accuracy == {}

    def test_no_file_is_opened_twice(self, root: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        opened, plain = collections.Counter(), builtins.open

        def counting(file: object, *args: object, **options: object) -> object:
            opened[str(file)] += 1
            return plain(file, *args, **options)

        monkeypatch.setattr("io.open", counting)
        monkeypatch.setattr(builtins, "open", counting)
        reports.load(root, dynamics=True)
        files = [str(path) for path in root.rglob("*.json")] + [str(path) for path in root.rglob("*.npz")]
        assert {path: opened[path] for path in files} == dict.fromkeys(files, 1)


class TestScale:
    """A tap that alone is wider counts against its own width at size 4."""

    def numbers(self, root: pathlib.Path, given: dict, units: dict, where: str) -> pd.Series:
        run_dir = write_run(root, given)
        write_units(run_dir, units)
        write_ablation(run_dir, {tap: [[10, 10, 10]] for tap in units}, joint=[[10, 10, 10]])
        frame = reports.tabulate([reports.read_run(run_dir)])
        return frame[frame["measure"] == where].set_index("tap")["value"]

    def test_one_block(self, tmp_path: pathlib.Path) -> None:
        rows = np.random.default_rng(0).normal(size=(8, 4))
        given = {"model": "inception_v3", "size": 1, "layer_size": 2}
        units = {"conv0": rows, VARIED_BLOCK: rows}
        prunable = self.numbers(tmp_path, given, units, "prunability")
        # Four units each: as many at size 1, and half of them.
        expected = {"conv0": 1 / 4, VARIED_BLOCK: 2 / 4, "network": (4 + 4) / (4 + 2) / 4}
        assert prunable.to_dict() == pytest.approx(expected)
        components = self.numbers(tmp_path, given, units, "non_redundancy")
        assert components[VARIED_BLOCK] == pytest.approx(2 * components["conv0"])
        assert components["network"] == pytest.approx(1.5 * components["conv0"])

    def test_the_last_layer(self, tmp_path: pathlib.Path) -> None:
        rows = np.ones((8, 4)) * np.arange(8)[:, np.newaxis]
        # Of 64 units at size 1.
        found = self.numbers(
            tmp_path, {"model": "wide_resnet28", "last_width": 128}, {"stem": rows, "pooled": rows}, "prunability"
        )
        assert found.drop("network").to_dict() == pytest.approx({"stem": 1 / 4, "pooled": 2 / 4})

    def test_without_such_a_layer_the_size_is_exact(self) -> None:
        config = resolve({"model": "mlp", "size": 0.7})
        assert reports.network_size(config, {"hidden": 3, "another": 7}) == config.model.size
        assert reports.tap_size(config, "anything") == config.model.size

    def test_samplings_are_scaled_alike(self, tmp_path: pathlib.Path) -> None:
        rows = np.random.default_rng(0).normal(size=(2, 20, 4))
        rows[..., 3] = rows[..., 0]
        samplings = [Moments.from_samples(part) for part in rows]
        statistics = UnitStatistics.from_moments(samplings, np.ones(4))
        record = reports.read_run(write_run(tmp_path, {"model": "inception_v3", "layer_size": 2}))
        record = dataclasses.replace(record, statistics={"test": {VARIED_BLOCK: statistics}})
        (row,) = reports.sampling_table([record]).query("measure == 'redundancy'").to_dict("records")
        frame = reports.tabulate([record])
        (whole,) = frame[(frame["measure"] == "redundancy") & (frame["tap"] == VARIED_BLOCK)]["value"]
        assert row["mean"] == pytest.approx(whole)
        assert whole > 0


class TestExport:
    @pytest.fixture
    def frame(self, tmp_path: pathlib.Path) -> pd.DataFrame:
        for seed, name in ((0, "he_normal"), (1, "glorot_normal")):
            write_measured_run(tmp_path / "runs", {"seed": seed, "initializer": name})
        return reports.load(tmp_path / "runs")

    @pytest.mark.parametrize("suffix", [".parquet", ".csv", ".json"])
    def test_every_number_comes_back(self, frame: pd.DataFrame, tmp_path: pathlib.Path, suffix: str) -> None:
        path = reports.export_frame(tmp_path / "new" / f"results{suffix}", frame)
        read = {
            ".parquet": pd.read_parquet,
            ".csv": lambda path: pd.read_csv(path, float_precision="round_trip"),
            ".json": lambda path: pd.read_json(path, precise_float=True),
        }[suffix]
        back = read(path)
        assert back.columns.tolist() == frame.columns.tolist()
        assert back["value"].tolist() == pytest.approx(frame["value"].tolist(), rel=1e-14, nan_ok=True)
        for name in ("run", "tap", "measure", "initializer"):
            assert back[name].astype(str).tolist() == frame[name].astype(str).tolist()
        assert back["seed"].tolist() == frame["seed"].tolist()
        assert [file.name for file in path.parent.iterdir()] == [path.name]

    def test_it_is_written_whole_or_not_at_all(
        self, frame: pd.DataFrame, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "results.csv"
        path.write_text("what was there")

        def fail(self: pd.DataFrame, file: pathlib.Path, **options: object) -> None:
            pathlib.Path(file).write_text("half")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(pd.DataFrame, "to_csv", fail)
        with pytest.raises(OSError, match="No space left"):
            reports.export_frame(path, frame)
        assert path.read_text() == "what was there"
        assert sorted(file.name for file in tmp_path.iterdir()) == ["results.csv", "runs"]

    @pytest.mark.parametrize("name", ["results.xlsx", "results", "folder.csv"])
    def test_another_kind_of_file_is_refused(self, frame: pd.DataFrame, tmp_path: pathlib.Path, name: str) -> None:
        (tmp_path / "folder.csv").mkdir()
        with pytest.raises(UserError, match=f"--export=.*{name}: expected a file whose name ends in .parquet, .csv or"):
            reports.export_frame(tmp_path / name, frame)
