"""The report of a grid as a web page, and in TensorBoard; what it refuses to average and what it says is missing."""

import concurrent.futures
import pathlib

import matplotlib.figure
import numpy as np
import pandas as pd
import pytest
from fake_runs import write_ablation, write_measured_run, write_run, write_units
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

from tfunits import reports
from tfunits.artifacts import RunDir, write_figure, write_json
from tfunits.configs import VARIED_BLOCK, MeasureConfig, resolve
from tfunits.reports.grid_events import folder_name, step_factor

MEASURE = MeasureConfig()
CURVE = ("curve", "measure", "value")


def report(runs: list[RunDir], folder: pathlib.Path) -> tuple[reports.GridReport, str]:
    """The report of runs, and its page."""
    records = [reports.read_run(run_dir) for run_dir in runs]
    found = reports.report_grid(records, MEASURE, folder)
    page = reports.write_grid_page(folder, found, records, MEASURE, command=["run_experiments.py", "--model=a b"])
    return found, page.read_text()


def write_widths(root: pathlib.Path, sizes: tuple = (0.5, 1), seeds: tuple = (0, 1), **given: object) -> list[RunDir]:
    return [write_measured_run(root, {**given, "size": size, "seed": seed}) for size in sizes for seed in seeds]


class TestPage:
    def test_it_holds_plots_tables_environment_and_commands(self, tmp_path: pathlib.Path) -> None:
        runs = write_widths(tmp_path / "my runs")
        for number, run_dir in enumerate(runs):
            environment = {"tfunits": "0.7.0", "packages": {"numpy": f"2.{number // 3}"}, "devices": ["GPU:0"]}
            write_json(run_dir.environment, environment)
        _, page = report(runs, tmp_path / "my runs" / "grid-1")
        assert page.count("data:image/png;base64,") == 1
        for text in (
            "<h1>mlp on digits</h1>", "Gains per doubling of width", "0.7.0", "GPU:0", "In these the runs differ:",
            f"<td>{runs[3].name}</td>", "python run_experiments.py &#x27;--model=a b&#x27;",
            f"tensorboard --logdir &#x27;{tmp_path / 'my runs'}&#x27;",
            f"tensorboard --logdir &#x27;{tmp_path / 'my runs' / 'grid-1' / 'tensorboard'}&#x27;",
        ):  # fmt: skip
            assert text in page
        assert all(page.count(run_dir.name) >= 1 for run_dir in runs)
        assert 'class="warn"' not in page

    def test_without_a_command_those_of_the_runs_stand_there(self, tmp_path: pathlib.Path) -> None:
        runs = write_widths(tmp_path)
        for run_dir, command in zip(runs, ("--a", "--a", "--b", None), strict=True):
            if command:
                write_json(run_dir.environment, {"command": ["run_experiments.py", command]})
        records = [reports.read_run(run_dir) for run_dir in runs]
        found = reports.report_grid(records, MEASURE, tmp_path / "grid")
        page = reports.write_grid_page(tmp_path / "grid", found, records, MEASURE).read_text()
        assert page.count("python run_experiments.py --a\n") == page.count("python run_experiments.py --b\n") == 1
        assert "1 of 4 runs say nothing of what they were made with." in page

    def test_damaged_runs_and_further_pictures_are_shown(self, tmp_path: pathlib.Path) -> None:
        runs = write_widths(tmp_path)
        records = [reports.read_run(run_dir) for run_dir in runs]
        found = reports.report_grid(records, MEASURE, tmp_path / "grid")
        more = [tmp_path / "grid" / "width.png", tmp_path / "grid" / "gains.csv"]
        page = reports.write_grid_page(
            tmp_path / "grid", found, records, MEASURE, damaged={"gone": "a <file>"}, files=more
        )
        text = page.read_text()
        assert text.count("data:image/png") == 2
        assert "gone is damaged and left out: a &lt;file&gt;" in text
        assert "5 runs" in text


class TestTensorBoard:
    def read(self, folder: pathlib.Path) -> EventAccumulator:
        return EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()

    def test_measures_stand_against_width(self, tmp_path: pathlib.Path) -> None:
        runs = write_widths(tmp_path / "runs", initializer="he_normal")
        runs += write_widths(tmp_path / "runs", initializer="glorot_normal")
        found, _ = report(runs, tmp_path / "grid")
        folder = found.files[-1]
        names = {path.name for path in folder.iterdir()}
        assert names == {"all curves", "initializer he_normal", "initializer glorot_normal"}
        events = self.read(folder / "initializer he_normal")
        label = "against width (step = 100 x size)"
        assert {f"{label}/test_accuracy", f"{label}/prunability", f"{label}/area"} <= set(events.Tags()["tensors"])
        scalars = events.Tensors(f"{label}/prunability")
        assert [event.step for event in scalars] == [50, 100]
        values = [float(tensor_util.make_ndarray(event.tensor_proto)) for event in scalars]
        assert values == pytest.approx([0.5 * 0.5 / 4, 0.5 / 4])
        (image,) = self.read(folder / "all curves").Tensors(f"{label}/figure")
        assert image.tensor_proto.string_val[2] == (tmp_path / "grid" / "width.png").read_bytes()

    def test_a_repeated_report_adds_nothing(self, tmp_path: pathlib.Path) -> None:
        runs = write_widths(tmp_path / "runs")
        for _ in range(2):
            found, _ = report(runs, tmp_path / "grid")
        assert len([path for path in found.files[-1].rglob("*") if path.is_file()]) == 2

    def test_steps_tell_widths_apart(self) -> None:
        assert step_factor([1 / 64, 1 / 32, 4]) == 100
        assert step_factor([1 / 512, 1 / 256]) == 10_000
        assert step_factor([1e-9, 2e-9]) == 1_000_000
        assert step_factor([1, 2, 4]) == 1

    def test_folders_tell_curves_apart(self) -> None:
        long = ["a" * 200 + "1", "a" * 200 + "2", "folder:/a/b", "folder:_a_b", "file:../x"]
        names = [folder_name(curve) for curve in long]
        assert len(set(names)) == len(long)
        assert all(len(name) < 100 and "/" not in name for name in names)


class TestOtherWidths:
    """Of one size, a grid is drawn against the layer that alone varies."""

    def test_one_block(self, tmp_path: pathlib.Path) -> None:
        rows = np.random.default_rng(0).normal(size=(8, 2))
        runs = []
        for layer_size in (0.5, 1, 2):
            run_dir = write_run(tmp_path, {"model": "inception_v3", "size": 1, "layer_size": layer_size})
            write_ablation(run_dir, {VARIED_BLOCK: [[10, 10, 10]]}, joint=[[10, 10, 10]])
            write_units(run_dir, {VARIED_BLOCK: np.concatenate([rows, rows], axis=1)})
            runs.append(run_dir)
        found, _ = report(runs, tmp_path / "grid")
        # Equal shares of a block that doubles.
        assert found.gains.set_index("measure")["gain"].to_dict() == pytest.approx(
            {"prunability": 2, "redundancy": 2, "similarity": 1}
        )
        assert set(found.gains["curve"]) == {"inception_v3"}
        assert found.table["layer_size"].tolist()[::2] == [0.5, 2]

    def test_the_last_layer(self, tmp_path: pathlib.Path) -> None:
        runs = []
        for width in (16, 32, 64):
            run_dir = write_run(tmp_path, {"model": "wide_resnet28", "last_width": width})
            write_units(run_dir, {"pooled": np.random.default_rng(0).normal(size=(8, 4))})
            runs.append(run_dir)
        found, _ = report(runs, tmp_path / "grid")
        assert set(found.gains["doublings"] + found.gains["left_out"]) == {2}
        (curve,) = [path for path in found.files[-1].iterdir() if path.name != "all curves"]
        tags = EventAccumulator(str(curve)).Reload().Tags()["tensors"]
        assert "against width (step = last_width)/similarity" in tags

    def test_networks_of_several_sizes_are_one_curve_beside_those_of_one_block(self, tmp_path: pathlib.Path) -> None:
        sizes = [{"model": model, "size": size} for model in ("inception_v3", "resnet18") for size in (0.5, 1)]
        runs = []
        for given in [*sizes, {"model": "inception_v3", "size": 1, "layer_size": 2}]:
            runs.append(write_run(tmp_path, given))
            write_units(runs[-1], {"pooled": np.random.default_rng(0).normal(size=(8, 4))})
        found, _ = report(runs, tmp_path / "grid")
        doublings = found.gains.query("measure == 'redundancy'").set_index("curve")["doublings"].to_dict()
        # That of the block has one width, and no gain.
        assert doublings == {"inception_v3": 1, "resnet18": 1}

    def test_the_field_that_varies(self) -> None:
        def field(*given: dict) -> str:
            return reports.width_field([resolve(values) for values in given])

        inception, wide = {"model": "inception_v3"}, {"model": "wide_resnet28"}
        assert field() == field(inception) == field(inception, inception) == "size"
        assert field(inception, {**inception, "layer_size": 2}) == "layer_size"
        assert field({**inception, "size": 2}, {**inception, "layer_size": 2}) == "size"
        assert field({**wide, "last_width": 8}, {**wide, "last_width": 16}) == "last_width"
        assert field({**wide, "last_width": 8}, wide) == "last_width"
        # The width that it has anyway.
        assert field({**wide, "last_width": 64}, wide) == "size"
        # Networks whose last layers differ, where nobody varied one.
        assert field(wide, {"model": "resnet50"}) == "size"

    def test_widths_of_networks(self) -> None:
        wide = resolve({"model": "wide_resnet28", "size": 2, "last_width": 8})
        assert (reports.width_of(wide), reports.width_of(wide, "last_width")) == (2, 8)
        assert reports.width_of(resolve({"model": "densenet40"}), "last_width") == 88
        assert reports.width_of(resolve({"model": "inception_v3", "size": 0.5}), "layer_size") == 0.5


class TestMixture:
    def write(self, root: pathlib.Path) -> list[RunDir]:
        runs = write_widths(root)
        for number, run_dir in enumerate(runs):
            write_json(run_dir.environment, {"tfunits": f"0.{number // 3}.0"})
        return runs

    def test_runs_of_two_versions_are_listed_and_not_averaged(self, tmp_path: pathlib.Path) -> None:
        runs = write_widths(tmp_path)
        report(runs, tmp_path / "grid")
        assert (tmp_path / "grid" / "tensorboard").is_dir()
        found, page = report(self.write(tmp_path), tmp_path / "grid")
        assert "expected one version of tfunits, received 2" in found.refusal
        assert found.gains.empty
        assert sorted(path.name for path in (tmp_path / "grid").iterdir()) == ["report.html", "runs.csv"]
        assert len(pd.read_csv(tmp_path / "grid" / "runs.csv")) == 4
        assert "0.1.0" in page
        assert 'class="warn"' in page

    def test_a_run_that_is_not_finished_is_not_averaged_anyway(self, tmp_path: pathlib.Path) -> None:
        runs = self.write(tmp_path)
        runs[3].set_status("failed")
        found, page = report(runs, tmp_path / "grid")
        assert found.refusal == ""
        assert len(found.gains) == 3
        assert list(found.notes) == ["1 of 4 runs failed", "mlp: no finished run of seed 1 at width 1"]
        assert all(note in page for note in found.notes)


def test_two_reports_of_one_grid_at_once_leave_one_whole(tmp_path: pathlib.Path) -> None:
    """As of two commands of which the second waits for the last run of the first."""
    frame = pd.DataFrame([("mlp", "redundancy", 0.1 * size, size) for size in (1, 2)], columns=[*CURVE, "size"])
    picture = write_figure(tmp_path / "a.png", matplotlib.figure.Figure(figsize=(1, 1)), 10)
    folder = tmp_path / "grid" / "tensorboard"

    def write(_: int) -> None:
        reports.write_width_events(folder, frame, by="size", picture=picture)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(40)))
    assert [path.name for path in folder.parent.iterdir()] == ["tensorboard"]
    assert sorted(path.name for path in folder.iterdir()) == ["all curves", "mlp"]
    assert [len(list(path.iterdir())) for path in folder.iterdir()] == [1, 1]
