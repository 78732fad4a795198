"""The report of a grid."""

import pathlib

import pandas as pd
import pytest
import tensorflow as tf
from fake_runs import (
    UNITS,
    ablation_settings,
    make_curve,
    write_ablation,
    write_chunks,
    write_measure,
    write_measured_run,
    write_run,
    write_units,
)

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


def test_files_that_hold_the_tables(widths: list[RunDir], tmp_path: pathlib.Path) -> None:
    found = report(widths, tmp_path / "grid")
    names = ["runs.csv", "gains.csv", "width.png", "tensorboard"]
    assert [path.name for path in found.files] == names
    assert sorted(path.name for path in (tmp_path / "grid").iterdir()) == sorted(names)
    assert (found.title, found.notes, found.refusal) == ("mlp on digits", [], "")
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


class TestUntrainedGains:
    """Trained networks' prunable shares are equal, so that units double; untrained ones quadruple."""

    def write(self, root: pathlib.Path, given: dict, sizes: tuple = (0.5, 1)) -> list[RunDir]:
        found = []
        for size in sizes:
            run_dir = write_run(root, {**given, "size": size, "epochs": 0})
            write_ablation(run_dir, joint=[[10, 6, 2]] if size < 1 else [[10, 8, 4]])
            write_units(run_dir)
            found.append(run_dir)
        return found

    def gains(self, runs: list[RunDir], root: pathlib.Path, measure: MeasureConfig = MEASURE) -> pd.DataFrame:
        records = [reports.read_run(run_dir, measure) for run_dir in runs]
        untrained = reports.find_untrained(records, root, measure)
        return reports.report_grid(records, measure, root / "grid", untrained=untrained).gains

    def test_they_stand_beside_the_curves_whose_twins_all_exist(self, tmp_path: pathlib.Path) -> None:
        names = ("he_normal", "glorot_normal", "lecun_normal")
        runs = [
            write_measured_run(tmp_path, {"size": size, "initializer": name}) for name in names for size in (0.5, 1)
        ]
        self.write(tmp_path, {"initializer": "he_normal"})
        self.write(tmp_path, {"initializer": "glorot_normal"}, sizes=(0.5,))
        gains = self.gains(runs, tmp_path).set_index(["curve", "measure"])
        # Crossings of 0.25 and 0.5: the share doubles with the width.
        assert gains.loc[("initializer he_normal", "prunability"), "untrained_gain"] == pytest.approx(4)
        assert gains.loc[("initializer he_normal", "redundancy"), "untrained_gain"] == pytest.approx(2)
        for name in names[1:]:
            assert gains.loc[f"initializer {name}", "untrained_gain"].isna().all()
        assert gains["gain"].tolist() == pytest.approx(3 * [2, 2, 1])
        stored = pd.read_csv(tmp_path / "grid" / "gains.csv", float_precision="round_trip")
        assert stored["untrained_gain"].tolist()[:2] == gains["untrained_gain"].tolist()[:2]

    def test_without_twins_there_is_no_such_column(self, tmp_path: pathlib.Path) -> None:
        runs = [write_measured_run(tmp_path, {"size": size}) for size in (0.5, 1)]
        assert "untrained_gain" not in self.gains(runs, tmp_path)
        self.write(tmp_path, {"seed": 5})
        assert "untrained_gain" not in self.gains(runs, tmp_path)
        assert "untrained_gain" not in report(runs, tmp_path / "other").gains

    def test_a_curve_of_one_size_has_no_gain_and_neither_have_its_twins(self, tmp_path: pathlib.Path) -> None:
        runs = [write_measured_run(tmp_path, {"size": size, "initializer": "he_normal"}) for size in (0.5, 1)]
        runs.append(write_measured_run(tmp_path, {"size": 1, "initializer": "glorot_normal"}))
        self.write(tmp_path, {"initializer": "glorot_normal"}, sizes=(1,))
        gains = self.gains(runs, tmp_path)
        assert set(gains["curve"]) == {"initializer he_normal"}
        assert "untrained_gain" not in gains

    def test_a_missing_seed_is_a_missing_twin(self, tmp_path: pathlib.Path) -> None:
        runs = [write_measured_run(tmp_path, {"size": size, "seed": seed}) for size in (0.5, 1) for seed in (0, 1)]
        self.write(tmp_path, {})
        assert "untrained_gain" not in self.gains(runs, tmp_path)
        self.write(tmp_path, {"seed": 1})
        assert self.gains(runs, tmp_path)["untrained_gain"].tolist() == pytest.approx([4, 2, 1])

    def test_untrained_networks_within_the_grid_have_a_curve_and_nothing_beside(self, tmp_path: pathlib.Path) -> None:
        runs = [write_measured_run(tmp_path, {"size": size}) for size in (0.5, 1)]
        gains = self.gains(runs + self.write(tmp_path, {}), tmp_path).set_index(["measure", "curve"])["untrained_gain"]
        assert gains["prunability", "epochs 50"] == pytest.approx(4)
        assert gains[:, "epochs 0"].isna().all()
        alone = self.gains(self.write(tmp_path, {}), tmp_path)
        assert "untrained_gain" not in alone
        assert alone["gain"].tolist()[0] == pytest.approx(4)

    def test_the_authors_leave_the_first_doubling_out_of_both(self, tmp_path: pathlib.Path) -> None:
        measure = MeasureConfig(protocol="authors")
        sizes, few = (0.25, 0.5, 1), {"copies": UNITS["copies"]}
        runs = [write_measured_run(tmp_path, {"size": size}) for size in sizes]
        for size in sizes:
            write_units(write_run(tmp_path, {"size": size, "epochs": 0}), few if size == 0.25 else UNITS)
        found = {}
        for options in (MEASURE, measure):
            gains = self.gains(runs, tmp_path, options).set_index("measure")
            found[options.protocol] = gains.loc["redundancy", "untrained_gain"]
        # The authors count one redundant unit more: 3 / 4 of the copies, and of both layers together as many and more.
        assert found["authors"] == pytest.approx(2)
        assert found["exact"] == pytest.approx((2 * 0.625 / 0.5 + 2) / 2)


class TestChunks:
    def write(self, root: pathlib.Path, wrong: dict[int, dict[int, list[int]]], **given: object) -> list[RunDir]:
        found = []
        for width, counts in wrong.items():
            run_dir = write_run(root, {"size": width / 128, **given})
            write_chunks(run_dir, counts)
            write_chunks(run_dir, {size: [count + 10 for count in row] for size, row in counts.items()}, "test")
            found.append(run_dir)
        return found

    def test_curves_are_compared_with_their_own_widest_network(self, tmp_path: pathlib.Path) -> None:
        first = {2: {1: [50], 2: [20]}, 4: {1: [60], 2: [40], 4: [10]}}
        second = {2: {1: [50], 2: [30]}, 8: {1: [80], 2: [60], 4: [30], 8: [0]}}
        runs = self.write(tmp_path, first, initializer="he_normal")
        runs += self.write(tmp_path, second, initializer="glorot_normal")
        runs += self.write(tmp_path, {4: {1: [90], 2: [90], 4: [90]}}, initializer="lecun_normal")
        names = [path.name for path in report(runs, tmp_path / "grid").files]
        assert names[-2:] == ["chunks.csv", "chunks.png"]
        table = pd.read_csv(tmp_path / "grid" / "chunks.csv").set_index(["curve", "split", "width"])
        assert set(table.index) == {
            (f"initializer {name}", split, width)
            for name, widths in (("he_normal", (2, 4)), ("glorot_normal", (2, 8)))
            for split in ("train", "test")
            for width in widths
        }
        for split, more in (("train", 0), ("test", 0.1)):
            rows = table.xs(split, level="split")[["error", "chunk_error"]]
            assert rows.loc["initializer he_normal", 2].tolist() == pytest.approx([0.2 + more, 0.4 + more])
            assert rows.loc["initializer glorot_normal", 2].tolist() == pytest.approx([0.3 + more, 0.6 + more])

    def test_trained_and_untrained_networks_are_not_mixed(self, tmp_path: pathlib.Path) -> None:
        trained, fresh = {2: {1: [50], 2: [20]}, 4: {1: [60], 2: [40], 4: [10]}}, {4: {1: [90], 2: [90], 4: [88]}}
        runs = self.write(tmp_path, trained) + self.write(tmp_path, fresh, epochs=0)
        report(runs, tmp_path / "grid")
        table = pd.read_csv(tmp_path / "grid" / "chunks.csv")
        assert set(table["curve"]) == {"epochs 50"}
        assert set(table["networks"]) == {1}
        assert table["chunk_error"].tolist() == pytest.approx([0.4, 0.1, 0.5, 0.2])

    def test_one_width_has_no_such_file(self, tmp_path: pathlib.Path) -> None:
        runs = self.write(tmp_path, {4: {1: [60], 2: [40], 4: [10]}})
        runs += self.write(tmp_path, {4: {1: [60], 2: [40], 4: [10]}}, seed=1)
        assert [path.name for path in report(runs, tmp_path / "grid").files] == ["runs.csv"]

    def test_the_last_layer_alone_may_vary(self, tmp_path: pathlib.Path) -> None:
        """Doimo et al. widen nothing else; networks of two sizes are two curves."""
        runs = []
        for size in (0.5, 1):
            for width, counts in ((2, {1: [50], 2: [20]}), (4, {1: [60], 2: [40 * size], 4: [10]})):
                run_dir = write_run(tmp_path, {"model": "wide_resnet28", "last_width": width, "size": size})
                write_chunks(run_dir, counts)
                runs.append(run_dir)
        report(runs[:2], tmp_path / "one")
        table = pd.read_csv(tmp_path / "one" / "chunks.csv")
        assert table[["width", "networks", "chunk_error"]].values.tolist() == [[2, 1, 0.2], [4, 1, 0.1]]
        report(runs, tmp_path / "both")
        both = pd.read_csv(tmp_path / "both" / "chunks.csv")
        assert both["curve"].tolist() == 2 * ["size 0.5"] + 2 * ["size 1"]
        assert both["chunk_error"].tolist() == pytest.approx([0.2, 0.1, 0.4, 0.1])


def test_another_first_order_is_the_one_that_tables_and_gains_show(tmp_path: pathlib.Path) -> None:
    measure = MeasureConfig(ablation_order=("targeted", "random"))
    runs = []
    for size in (0.5, 1):
        run_dir = write_run(tmp_path, {"size": size})
        write_ablation(run_dir)
        settings = {**ablation_settings(measure), "order": "targeted"}
        curve = make_curve([[10, 10, 10]]).to_dict()
        write_measure(run_dir, "ablation", settings, {"taps": {"copies": curve}, "joint": curve})
        runs.append(run_dir)
    # Never crossing, all of the units are prunable; in random order half of them.
    assert report(runs, tmp_path / "grid", measure).table["prunability"].tolist() == [0.5 / 4, 1 / 4]
    assert report(runs, tmp_path / "grid").table["prunability"].tolist() == pytest.approx([0.25 / 4, 0.5 / 4])
    record = reports.read_run(runs[1], measure)
    assert reports.run_table(record, measure).loc["network", "prunability"] == 1 / 4
    assert "channel targeted" in reports.run_notes(record, measure)[0]
