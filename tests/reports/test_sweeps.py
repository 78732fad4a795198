"""How numbers depend on tolerances, splits and samplings, and which untrained networks belong to which runs."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from fake_runs import (
    FIRST,
    UNITS,
    make_statistics,
    write_ablation,
    write_accuracy,
    write_measured_run,
    write_run,
    write_units,
)

from tfunits import reports
from tfunits.artifacts import RunDir
from tfunits.configs import MeasureConfig
from tfunits.statistics import UnitStatistics

FOUR_UNITS = np.stack([FIRST, -FIRST, FIRST, FIRST], axis=1)
# The joint curves of `fake_runs` are 1, 0.6, 0.2 and 1, 0.8, 0.3 at no, half and all units masked.
CROSSINGS = {
    0.1: 0.5 * 0.1 / 0.2,  # of the second draw; the first crosses at 0.125
    0.2: 0.5,
    0.3: 0.5 + 0.5 * 0.1 / 0.5,
    0.4: 0.5 + 0.5 * 0.2 / 0.5,
    0.5: 0.5 + 0.5 * 0.3 / 0.5,
}
# Three, two and one of these four hold 95, 90 and 85 % of the variance.
VARIANCES = [0.86, 0.06, 0.04, 0.04]
REDUNDANT = {0.05: 1, 0.1: 2, 0.15: 3}


def sampled(variances: Sequence[Sequence[float]], similar: Sequence[float] = ()) -> UnitStatistics:
    """Statistics of four units in so many samplings, with given variances and numbers of similar units."""
    one, count = make_statistics(FOUR_UNITS), len(variances)
    repeated = {
        name: np.repeat(getattr(one, name), count, axis=0)
        for name in ("mean", "std", "constant", "correlation_histogram")
    }
    counts = np.repeat(np.array(similar or [0] * count)[:, None], 4, axis=1)
    return dataclasses.replace(one, **repeated, principal_variances=np.array(variances), num_similar=counts)


def read(run_dir: RunDir) -> reports.RunRecord:
    return reports.read_run(run_dir)


class TestTolerances:
    @pytest.fixture
    def record(self, tmp_path: pathlib.Path) -> reports.RunRecord:
        run_dir = write_run(tmp_path, {"size": 2, "seed": 3})
        write_accuracy(run_dir)
        write_ablation(run_dir)
        write_units(run_dir, {"hidden": sampled([VARIANCES])})
        return read(run_dir)

    def test_every_tolerance_by_hand(self, record: reports.RunRecord) -> None:
        table = reports.tolerance_table([record])
        assert set(table["measure"]) == {"prunability", "redundancy"}
        values = table.set_index(["measure", "tolerance"])["value"].to_dict()
        expected = {("prunability", t): crossing * 2 / 4 for t, crossing in CROSSINGS.items()}
        expected |= {("redundancy", t): count / 4 * 2 / 4 for t, count in REDUNDANT.items()}
        assert values == pytest.approx(expected)
        assert (set(table["size"]), set(table["seed"]), set(table["split"])) == ({2}, {3}, {"test"})
        assert list(table.columns) == [
            "run", "model", "dataset", "size", "seed", "split", "unit", "measure", "tolerance", "value",
        ]  # fmt: skip

    def test_other_tolerances(self, record: reports.RunRecord) -> None:
        table = reports.tolerance_table([record], prunability=(0.2,), redundancy=(0.15, 0.1))
        assert table[["measure", "tolerance"]].values.tolist() == [
            ["prunability", 0.2], ["redundancy", 0.15], ["redundancy", 0.1],
        ]  # fmt: skip

    def test_the_default_tolerances_are_those_of_the_other_tables(self, record: reports.RunRecord) -> None:
        frame = reports.tabulate([record])
        table = reports.tolerance_table([record]).set_index(["measure", "tolerance"])["value"]
        network = frame[frame["tap"] == "network"].set_index("measure")["value"]
        assert table["prunability", 0.2] == network["prunability"]
        assert table["redundancy", 0.05] == network["redundancy"]

    def test_no_run_gives_an_empty_table(self) -> None:
        assert reports.tolerance_table([]).empty


class TestSplits:
    def test_train_and_test_side_by_side(self, tmp_path: pathlib.Path) -> None:
        run_dir = write_run(tmp_path, {"size": 4})
        write_ablation(run_dir)
        write_ablation(run_dir, joint=[[10, 10, 10]], split="train")
        write_ablation(run_dir, joint=[[10, 10, 0]], split="validation")
        write_units(run_dir, UNITS)
        write_units(run_dir, {"copies": UNITS["copies"]}, split="train")
        # Measured on one split alone.
        other = write_measured_run(tmp_path, {"seed": 1})
        table = reports.split_table([read(run_dir), read(other)])
        assert set(table["run"]) == {run_dir.name}
        rows = table.set_index("measure")[["train", "test", "difference"]].T.to_dict("list")
        assert rows == {
            "prunability": pytest.approx([1, 0.5, 0.5]),
            "area": pytest.approx([(22 / 30 + 1) / 2] * 2 + [0]),
            "redundancy": pytest.approx([0.5, 0.625, -0.125]),
            "similarity": pytest.approx([1, 0.5, 0.5]),
        }

    def test_kinds_of_units_have_rows_of_their_own(self, tmp_path: pathlib.Path) -> None:
        run_dir = write_run(tmp_path, {"size": 4})
        for split in ("train", "test"):
            for unit, joint in (("channel", [[10, 10, 10]]), ("location", [[10, 6, 2]])):
                write_ablation(run_dir, joint=joint, split=split, unit=unit)
        table = reports.split_table([read(run_dir)], measures=("prunability",))
        assert table[["unit", "train"]].values.tolist() == [["channel", 1.0], ["location", pytest.approx(0.25)]]

    def test_runs_of_one_split_give_an_empty_table(self, tmp_path: pathlib.Path) -> None:
        table = reports.split_table([read(write_measured_run(tmp_path))])
        assert (len(table), {"train", "test", "difference"} <= set(table.columns)) == (0, True)
        assert reports.split_table([]).empty


class TestSamplings:
    # Of four units one, two and three are redundant in the three samplings.
    DIFFERENT = ([0.86, 0.06, 0.04, 0.04], [0.5, 0.46, 0.02, 0.02], [0.97, 0.01, 0.01, 0.01])

    def test_a_networks_mean_and_deviation_over_samplings(self, tmp_path: pathlib.Path) -> None:
        """The other layer, read whole, has two of four redundant and none similar in each."""
        run_dir = write_run(tmp_path, {"size": 4})
        whole = sampled([[0.5, 0.46, 0.02, 0.02]])
        write_units(run_dir, {"maps": sampled(self.DIFFERENT, [1, 2, 3]), "vector": whole})
        table = reports.sampling_table([read(run_dir)]).set_index("measure")
        assert (set(table["run"]), set(table["split"]), set(table["samplings"])) == ({run_dir.name}, {"test"}, {3})
        shares = [(share + 0.5) / 2 for share in (0.25, 0.5, 0.75)]
        assert table.loc["redundancy", "mean"] == pytest.approx(np.mean(shares))
        assert table.loc["redundancy", "std"] == pytest.approx(0.125)
        assert table.loc["redundancy", "relative_std"] == pytest.approx(0.25)
        assert table.loc["similarity", "mean"] == pytest.approx(1)
        assert table.loc["similarity", "std"] == pytest.approx(0.5)

    def test_the_tolerance_is_that_of_the_options(self, tmp_path: pathlib.Path) -> None:
        run_dir = write_run(tmp_path, {"size": 4})
        write_units(run_dir, {"maps": sampled(self.DIFFERENT)})
        table = reports.sampling_table([read(run_dir)], MeasureConfig(variance_fraction=0.5)).set_index("measure")
        # One component holds half in each: no deviation, and no similarity to divide by.
        assert table.loc["redundancy", ["mean", "std", "relative_std"]].tolist() == [0.75, 0, 0]
        assert np.isnan(table.loc["similarity", "relative_std"])

    def test_runs_that_were_not_sampled_are_left_out(self, tmp_path: pathlib.Path) -> None:
        run_dir = write_run(tmp_path)
        write_units(run_dir, {"vector": sampled([VARIANCES])})
        assert reports.sampling_table([read(run_dir), read(write_run(tmp_path, {"seed": 1}))]).empty


def untrained(root: pathlib.Path, given: Mapping | None = None) -> RunDir:
    return write_measured_run(root, {**(given or {}), "epochs": 0})


class TestUntrained:
    def test_twins_have_the_same_network_data_and_seed(self, tmp_path: pathlib.Path) -> None:
        runs = [write_measured_run(tmp_path, {"size": size, "seed": seed}) for size in (0.5, 1) for seed in (0, 1)]
        for given in ({"size": 0.5}, {"size": 1, "seed": 1}, {"size": 1, "seed": 2}, {"size": 2}):
            untrained(tmp_path, given)
        found = reports.find_untrained([read(run_dir) for run_dir in runs], tmp_path)
        assert {name: (twin.size, twin.config.training.seed) for name, twin in found.items()} == {
            runs[0].name: (0.5, 0), runs[3].name: (1, 1),
        }  # fmt: skip
        assert all(twin.config.training.epochs == 0 for twin in found.values())

    @pytest.mark.parametrize(
        ("given", "is_twin"),
        [
            ({"learning_rate": 0.5}, True),
            ({"k": 2}, True),
            ({"initializer": "he_normal"}, False),
            ({"data_seed": 1}, False),
            ({"random_labels": True}, False),
            ({"num_examples": 500}, False),
            ({"dataset": "digits_parity"}, False),
            ({"epochs": 1}, False),
        ],
    )
    def test_what_a_twin_may_differ_in(self, tmp_path: pathlib.Path, given: dict, is_twin: bool) -> None:
        run_dir = write_measured_run(tmp_path, {"size": 0.5})
        write_measured_run(tmp_path, {"size": 0.5, "epochs": 0, **given})
        assert bool(reports.find_untrained([read(run_dir)], tmp_path)) == is_twin

    def test_a_twin_that_was_not_measured_so_is_none(self, tmp_path: pathlib.Path) -> None:
        run_dir = write_measured_run(tmp_path)
        write_accuracy(write_run(tmp_path, {"epochs": 0}))
        assert reports.find_untrained([read(run_dir)], tmp_path) == {}
        untrained(tmp_path)
        record = read(run_dir)
        assert reports.find_untrained([record], tmp_path)
        other = MeasureConfig(draws=9, samplings=9)
        assert reports.find_untrained([record], tmp_path, other) == {}

    def test_untrained_runs_are_their_own_twins_and_a_missing_root_has_none(self, tmp_path: pathlib.Path) -> None:
        run_dir = untrained(tmp_path)
        found = reports.find_untrained(iter([read(run_dir)]), tmp_path)
        assert [twin.run_dir.name for twin in found.values()] == list(found) == [run_dir.name]
        assert reports.find_untrained([read(run_dir)], tmp_path / "missing") == {}

    @pytest.mark.parametrize("content", ["", "{}", '{"model": {"model": "of_the_future"}}'])
    def test_strangers_in_the_root_do_not_matter(self, tmp_path: pathlib.Path, content: str) -> None:
        run_dir, stranger = write_measured_run(tmp_path), write_run(tmp_path, {"seed": 8, "epochs": 0})
        untrained(tmp_path)
        stranger.config_file.write_text(content)
        assert list(reports.find_untrained([read(run_dir)], tmp_path)) == [run_dir.name]
