"""Chunks of one run and of several widths, against numbers worked out by hand."""

import pathlib
from collections.abc import Sequence

import numpy as np
import pytest
from fake_runs import write_chunks, write_measure, write_outputs, write_reconstruction, write_run

from tfunits import reports
from tfunits.configs import MeasureConfig

# Wrong of a hundred training examples, in two draws; the layer has four units, and w* is two.
TRAIN = {1: [50, 40], 2: [1, 1], 4: [0, 0]}
TEST = {1: [60, 60], 2: [21, 11], 4: [10, 10]}


@pytest.fixture
def record(tmp_path: pathlib.Path) -> reports.RunRecord:
    run_dir = write_run(tmp_path, {"size": 0.5})
    write_chunks(run_dir, TRAIN)
    write_chunks(run_dir, TEST, "test")
    write_reconstruction(run_dir, [0.5, 0.7, 1.0], "train")
    write_reconstruction(run_dir, [0.4, 0.6, 0.9], "test")
    write_reconstruction(run_dir, [0.2, 0.3, 0.4], "test", "chunk")
    return reports.read_run(run_dir)


def test_a_row_a_chunk_with_the_reconstruction_of_test_data(record: reports.RunRecord) -> None:
    table = reports.chunk_table(record)
    assert list(table.index) == [1, 2, 4]
    np.testing.assert_allclose(table["train_error"], [0.45, 0.01, 0])
    np.testing.assert_allclose(table["test_error"], [0.6, 0.16, 0.1])
    # Means of two draws that are a tenth apart.
    np.testing.assert_allclose(table["r2"], [0.35, 0.55, 0.85])
    np.testing.assert_allclose(table["held_out_r2"], 0.9 * table["r2"])
    np.testing.assert_allclose(table["correlation"], 0.3 * table["r2"])
    np.testing.assert_allclose(table["held_out_correlation"], 0.5 * table["r2"])
    np.testing.assert_allclose(table["noise_floor"], [(2 / (np.pi * (50 - w - 1))) ** 0.5 for w in (1, 2, 4)])
    assert not table["too_few_rows"].any()


def test_other_splits_are_shown_without_test_data(tmp_path: pathlib.Path) -> None:
    run_dir = write_run(tmp_path)
    write_reconstruction(run_dir, [0.5, 0.7], "train")
    table = reports.chunk_table(reports.read_run(run_dir))
    np.testing.assert_allclose(table["r2"], [0.45, 0.65])
    assert reports.chunk_table(reports.read_run(write_run(tmp_path, {"seed": 1}))).empty


def test_the_figure_draws_errors_with_their_deviation_and_marks_clones(record: reports.RunRecord) -> None:
    figure = reports.plot_chunks(record, title="a run")
    left, right = figure.axes
    assert figure.get_suptitle() == "a run"
    assert (left.get_xlabel(), left.get_ylabel(), right.get_xlabel()) == (
        "units in the chunk", "error", "units in the chunk",
    )  # fmt: skip
    drawn = {container.get_label(): container.lines for container in left.containers}
    assert drawn.keys() == {"train", "test"}
    np.testing.assert_allclose(drawn["train"][0].get_xydata(), [[1, 0.45], [2, 0.01], [4, 0]])
    np.testing.assert_allclose(drawn["test"][0].get_xydata(), [[1, 0.6], [2, 0.16], [4, 0.1]])
    lengths = [np.ptp(segment[:, 1]) for segment in drawn["test"][2][0].get_segments()]
    np.testing.assert_allclose(lengths, [0, 2 * np.std([0.21, 0.11], ddof=1), 0], atol=1e-12)
    (mark,) = left.texts
    assert (mark.get_position()[0], "w^*" in mark.get_text()) == (2, True)
    dotted = [line for line in left.lines if line.get_linestyle() == ":"]
    assert sorted(line.get_xdata()[0] for line in dotted) == [0, 2]
    assert {line.get_ydata()[0] for line in dotted} == {0, 0.01}
    table = reports.chunk_table(record)
    for line, name in zip(
        right.lines, ("held_out_r2", "held_out_correlation", "correlation", "noise_floor"), strict=True
    ):
        np.testing.assert_allclose(line.get_ydata(), table[name])
        assert list(line.get_xdata()) == [1, 2, 4]
    assert "test" in right.get_legend().get_texts()[0].get_text()
    for axes in (left, right):
        assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "4"]
        assert axes.get_xscale() == "log"


def test_a_figure_of_a_run_that_does_not_fit_has_no_clones(tmp_path: pathlib.Path) -> None:
    run_dir = write_run(tmp_path)
    write_chunks(run_dir, {1: [50], 2: [20]})
    left, right = reports.plot_chunks(reports.read_run(run_dir), title="a run").axes
    assert (len(left.texts), len(right.lines)) == (0, 0)


@pytest.mark.filterwarnings("error")
def test_a_figure_of_reconstructions_alone_is_drawn(tmp_path: pathlib.Path) -> None:
    run_dir = write_run(tmp_path)
    write_reconstruction(run_dir, [0.5, 0.7])
    figure = reports.plot_chunks(reports.read_run(run_dir), title="a run")
    figure.draw_without_rendering()
    assert len(figure.axes[1].lines) == 4


def test_the_summary_tells_clones_kinds_and_stability(record: reports.RunRecord) -> None:
    run_dir, measure = record.run_dir, MeasureConfig()
    kinds = {"units": 4, "redundant_functional": 3, "silent": 1}
    for split in ("train", "test"):
        settings = {"split": split, "variance_fraction": 0.95, "max_rows": 50_000, "seed": 0}
        values = {"taps": {"hidden": kinds}, "network": {**kinds, "silent": 1 if split == "test" else 2}}
        write_measure(run_dir, "kinds", settings, values)
    settings = {"split": "train", "share": 0.5, "factor": 2.0, "draws": 2, "seed": 0}
    values = {"loss": 1.0, "error": 0.1, "dropped_loss": [2.0, 4.0], "dropped_error": [0.2, 0.6]}
    write_measure(run_dir, "stability", settings, values)
    tables = reports.further_tables(reports.read_run(run_dir), measure)
    chunks, shown, stability = tables
    assert chunks == "chunks of the last hidden layer, 4 units, w* = 2, 2 clones"
    assert tables[shown].loc["network", "silent"] == 1
    assert tables[stability].loc["2"].to_dict() == pytest.approx({
        "loss": 1, "loss_change": 2, "error": 0.1, "error_change": 0.3,
    })  # fmt: skip
    assert reports.further_tables(reports.read_run(write_run(run_dir.path.parent, {"seed": 9})), measure) == {}


class TestWidths:
    """Networks of 2, 4 and 8 units in the last hidden layer; of two seeds where not said otherwise."""

    @pytest.fixture
    def records(self, tmp_path: pathlib.Path) -> list[reports.RunRecord]:
        wrong = {
            (2, 0): {1: [90], 2: [40]},
            (2, 1): {1: [90], 2: [60]},
            (4, 0): {1: [90], 2: [70], 4: [1]},
            (8, 0): {1: [80], 2: [50], 4: [20], 8: [0]},
            (8, 1): {1: [80], 2: [30], 4: [10], 8: [0]},
        }
        found = []
        for (width, seed), counts in wrong.items():
            run_dir = write_run(tmp_path, {"size": width / 128, "seed": seed})
            write_chunks(run_dir, counts)
            found.append(reports.read_run(run_dir))
        return found

    def test_full_networks_against_chunks_of_the_widest(self, records: list[reports.RunRecord]) -> None:
        table = reports.width_table(records)
        assert list(table.index) == [2, 4, 8]
        assert table["networks"].tolist() == [2, 1, 2]
        np.testing.assert_allclose(table["error"], [0.5, 0.01, 0])
        np.testing.assert_allclose(table["error_std"], [np.std([0.4, 0.6], ddof=1), np.nan, 0])
        # Chunks of the 8 units: of 2 units 50 and 30 wrong, of 4 units 20 and 10.
        np.testing.assert_allclose(table["chunk_error"], [0.4, 0.15, 0])
        np.testing.assert_allclose(table["quotient"], [0.8, 15, np.nan])

    def test_the_order_of_runs_does_not_matter(self, records: list[reports.RunRecord]) -> None:
        assert reports.width_table(records[::-1]).equals(reports.width_table(records))

    @pytest.mark.parametrize(("error", "width"), [(0.01, 4), (0.001, 8), (0.5, 2), (0.49, 4)])
    def test_the_fitting_width_is_the_narrowest_within_the_limit(
        self, records: list[reports.RunRecord], error: float, width: int
    ) -> None:
        assert reports.fitting_width(records, error) == width

    def test_there_may_be_no_fitting_width(self, records: list[reports.RunRecord]) -> None:
        assert reports.fitting_width(records[:2]) is None
        # The mean over seeds decides: one of two that fits is not enough.
        assert reports.fitting_width(records[:2], 0.4) is None

    def test_runs_without_chunks_are_refused(self, tmp_path: pathlib.Path) -> None:
        for split in ("train", "test"):
            with pytest.raises(ValueError, match=f"--steps=chunks: expected runs with chunks on {split} data"):
                reports.width_table([reports.read_run(write_run(tmp_path))], split)

    def test_a_width_that_no_chunk_has_stands_alone(self, tmp_path: pathlib.Path) -> None:
        for width, counts in ((3, {1: [9], 2: [8], 3: [5]}), (8, {1: [9], 2: [8], 4: [5], 8: [1]})):
            write_chunks(write_run(tmp_path, {"size": width / 128}), counts)
        table = reports.width_table([reports.read_run(run_dir) for run_dir in reports.find_runs(tmp_path)])
        assert np.isnan(table.loc[3, "chunk_error"])
        assert table.loc[8, "quotient"] == 1


class TestLimitError:
    def write(self, root: pathlib.Path, wrong: Sequence[Sequence[int]], margins: np.ndarray | None = None) -> list:
        found = []
        for seed, missed in enumerate(wrong):
            run_dir = write_run(root, {"seed": seed})
            flags = np.isin(np.arange(8), missed)
            write_outputs(run_dir, flags, np.where(flags, 1, 2) if margins is None else margins[seed])
            found.append(reports.read_run(run_dir))
        return found

    def test_mistakes_that_are_not_shared_are_outvoted(self, tmp_path: pathlib.Path) -> None:
        """All three miss example 0; being right is worth twice as much as being wrong."""
        records = self.write(tmp_path, [[0, 1], [0, 2], [0, 3]])
        errors, wrong = reports.limit_error(records)
        np.testing.assert_allclose(errors, [2 / 8, 1 / 8, 1 / 8])
        assert wrong.tolist() == [True] + 7 * [False]
        # Negative control: one alone keeps its own mistakes.
        assert reports.limit_error(records[:1])[1].tolist() == [True, True] + 6 * [False]

    def test_logits_and_probabilities_may_disagree(self, tmp_path: pathlib.Path) -> None:
        """One network is wrong by 10, two are right by 3: -4 / 3 on average, yet two of three probabilities."""
        margins = np.full((3, 8), 3.0)
        margins[0, 5] = 10
        records = self.write(tmp_path, [[5], [], []], margins)
        assert np.flatnonzero(reports.limit_error(records)[1]).tolist() == [5]
        assert not reports.limit_error(records, average="probabilities")[1].any()
        assert reports.limit_error(records, average="probabilities")[0][-1] == 0

    def test_runs_without_outputs_are_refused(self, tmp_path: pathlib.Path) -> None:
        records = self.write(tmp_path, [[0]])
        with pytest.raises(ValueError, match="expected stored outputs on train data; add the step measure"):
            reports.limit_error(records, "train")
        bare = reports.read_run(write_run(tmp_path, {"seed": 5}))
        with pytest.raises(ValueError, match=f"{bare.run_dir.name}: expected stored outputs on test data"):
            reports.limit_error([*records, bare])

    def test_runs_of_other_data_are_refused(self, tmp_path: pathlib.Path) -> None:
        records = self.write(tmp_path, [[0], [0]])
        arrays = dict(np.load(records[1].run_dir.logits))
        arrays["test_labels"] = 1 - arrays["test_labels"]
        np.savez(records[1].run_dir.logits, **arrays)
        with pytest.raises(ValueError, match="expected runs on the same test data, received other labels"):
            reports.limit_error(records)


EXAMPLES = 1024
# What every ensemble misses, by far fewer than chunks do.
LIMIT = np.arange(EXAMPLES) < 8
FALLING = {1: 900, 2: 600, 4: 8 + 128, 8: 8 + 64, 16: 8 + 32, 32: 500, 64: 8}


class TestPowerLaws:
    """512 / w examples of 1,024 in excess of the limit's eight: 0.5 w^-1."""

    def write(self, root: pathlib.Path, fits_from: int = 4, *, seeds: int = 2) -> list[reports.RunRecord]:
        found = []
        for seed in range(seeds):
            run_dir = write_run(root, {"seed": seed})
            train = {size: [0 if size >= fits_from else 900] for size in FALLING}
            write_chunks(run_dir, train, examples=EXAMPLES)
            write_chunks(run_dir, {s: [count] * 3 for s, count in FALLING.items()}, "test", examples=EXAMPLES)
            found.append(reports.read_run(run_dir))
        return found

    def test_the_excess_of_chunks_falls_as_it_was_made_to(self, tmp_path: pathlib.Path) -> None:
        records = self.write(tmp_path)
        found = reports.fit_chunk_power_law(records, LIMIT, num_samples=50)
        # Chunks of 1, 2, 32 and 64 units lie far from this law, so that none of them can be in it.
        assert found.law.exponent == pytest.approx(-1, abs=1e-6)
        assert found.law.coefficient == pytest.approx(0.5, rel=1e-6)
        assert found.low <= -1 <= found.high
        assert (found.num_samples, found.low < found.high) == (50, True)
        same = reports.fit_chunk_power_law(records, LIMIT, num_samples=50)
        np.testing.assert_array_equal(found.exponents, same.exponents)
        other = reports.fit_chunk_power_law(records, LIMIT, num_samples=50, seed=1)
        assert (other.exponents != found.exponents).any()
        # Without the limit's own errors the law is another.
        assert reports.fit_chunk_power_law(records, 0 * LIMIT, num_samples=2).law.exponent > -0.95

    @pytest.mark.parametrize(("fits_from", "first"), [(128, "None"), (16, "16"), (32, "32")])
    def test_fewer_than_two_sizes_are_refused(self, tmp_path: pathlib.Path, fits_from: int, first: str) -> None:
        with pytest.raises(ValueError, match=rf"two chunk sizes from w\* to a quarter .* received w\* = {first}"):
            reports.fit_chunk_power_law(self.write(tmp_path, fits_from), LIMIT)

    def test_the_mean_over_networks_decides_on_clones(self, tmp_path: pathlib.Path) -> None:
        """One network fits from 4 units on and the other from 8: as a mean, from 8 on."""
        first, second = self.write(tmp_path / "a", 4, seeds=1), self.write(tmp_path / "b", 8, seeds=2)[1:]
        law = reports.fit_chunk_power_law(first + second, LIMIT, num_samples=2).law
        assert law.exponent == pytest.approx(-1, abs=1e-6)
        write_chunks(first[0].run_dir, {**{s: [c] for s, c in FALLING.items()}, 4: [1000]}, "test", examples=EXAMPLES)
        changed = [reports.read_run(first[0].run_dir), *second]
        assert reports.fit_chunk_power_law(changed, LIMIT, num_samples=2).law.exponent == pytest.approx(-1, abs=1e-6)
        alone = reports.fit_chunk_power_law(changed[:1], LIMIT, num_samples=2).law
        assert alone.exponent < -2

    @pytest.mark.parametrize("split", ["train", "test"])
    def test_runs_without_chunks_of_both_splits_are_refused(self, tmp_path: pathlib.Path, split: str) -> None:
        run_dir = write_run(tmp_path)
        write_chunks(run_dir, {1: [0], 2: [0], 4: [0], 8: [0]}, split)
        with pytest.raises(ValueError, match="expected runs with chunks on train and test data, received mlp-"):
            reports.fit_chunk_power_law([reports.read_run(run_dir)], LIMIT)
        with pytest.raises(ValueError, match="received no run"):
            reports.fit_chunk_power_law([], LIMIT)

    def test_several_widths_are_refused(self, tmp_path: pathlib.Path) -> None:
        records = self.write(tmp_path, seeds=1)
        run_dir = write_run(tmp_path, {"seed": 7})
        for split in ("train", "test"):
            write_chunks(run_dir, {1: [0], 2: [0]}, split)
        with pytest.raises(ValueError, match=r"expected one width, received \[2, 64\]"):
            reports.fit_chunk_power_law([*records, reports.read_run(run_dir)], LIMIT)

    def write_widths(self, root: pathlib.Path, fits_from: int = 4) -> list[reports.RunRecord]:
        found = []
        for width, count in ((2, 1000), (4, 136), (8, 72), (16, 40)):
            for seed in (0, 1):
                run_dir = write_run(root, {"size": width / 128, "seed": seed})
                errors = 0 if width >= fits_from else 500
                write_chunks(run_dir, {1: [900], width: [errors]}, examples=EXAMPLES)
                write_outputs(run_dir, np.arange(EXAMPLES) < count)
                found.append(reports.read_run(run_dir))
        return found

    def test_the_excess_of_whole_networks_falls_as_it_was_made_to(self, tmp_path: pathlib.Path) -> None:
        records = self.write_widths(tmp_path)
        found = reports.fit_width_power_law(records, LIMIT, num_samples=50)
        assert found.law.exponent == pytest.approx(-1, abs=1e-6)
        assert found.law.coefficient == pytest.approx(0.5, rel=1e-6)
        assert found.low < -1 < found.high
        # Negative control: with the narrowest in it, which does not fit, the law is far steeper.
        everything = reports.fit_width_power_law(self.write_widths(tmp_path / "all", 1), LIMIT, num_samples=2)
        assert everything.law.exponent < -2

    @pytest.mark.parametrize(("fits_from", "fitting"), [(32, "None"), (16, "16")])
    def test_fewer_than_two_widths_are_refused(self, tmp_path: pathlib.Path, fits_from: int, fitting: str) -> None:
        with pytest.raises(ValueError, match=rf"at least two widths .* W\* = {fitting} and widths \[2, 4, 8, 16\]"):
            reports.fit_width_power_law(self.write_widths(tmp_path, fits_from), LIMIT)

    def test_networks_without_outputs_are_refused(self, tmp_path: pathlib.Path) -> None:
        records = self.write_widths(tmp_path)
        records[-1].run_dir.logits.unlink()
        with pytest.raises(ValueError, match="expected stored outputs on test data; add the step measure"):
            reports.fit_width_power_law(records, LIMIT)


def test_whole_networks_stand_beside_chunks_of_the_widest(tmp_path: pathlib.Path) -> None:
    for seed, counts in enumerate(({1: [50], 2: [20]}, {1: [60], 2: [40], 4: [10]}, {1: [70], 2: [30], 4: [20]})):
        run_dir = write_run(tmp_path, {"size": max(counts) / 128, "seed": seed})
        write_chunks(run_dir, counts)
    records = [reports.read_run(run_dir) for run_dir in reports.find_runs(tmp_path)]
    axes = reports.plot_widths({"mlp": records}, split="train", title="mlp").axes[0]
    lines = {
        line.get_label(): line.get_xydata().tolist() for line in axes.lines if not line.get_label().startswith("_")
    }
    assert lines["mlp, chunks of the widest"] == [
        [1, pytest.approx(0.65)], [2, pytest.approx(0.35)], [4, pytest.approx(0.15)]
    ]  # fmt: skip
    (bars,) = axes.containers
    assert bars.get_label() == "mlp, whole networks"
    assert bars.lines[0].get_xydata().tolist() == [[2, pytest.approx(0.2)], [4, pytest.approx(0.15)]]
