"""Numbers behind the figures of Doimo et al., on runs whose numbers can be worked out by hand."""

import pathlib

import numpy as np
import pytest
from fake_runs import (
    write_accuracy,
    write_chunks,
    write_measure,
    write_outputs,
    write_reconstruction,
    write_run,
)

from tfunits.artifacts import RunDir, write_arrays, write_json
from tfunits.configs import MeasureConfig
from tfunits.reports import read_run
from tfunits.reports.figures import Runs
from tfunits.reports.figures import chunk_tables as tables

EXAMPLES = 2000
# Chunk -> wrong training examples of 100 in two draws: 1 % on average from four units on.
FITTED = {1: [50, 60], 2: [10, 12], 4: [0, 2], 8: [0, 1], 16: [0, 0], 32: [0, 0], 64: [0, 0]}


def read(*run_dirs: RunDir) -> Runs:
    return Runs(records=[read_run(run_dir) for run_dir in run_dirs])


def write_wrong(run_dir: RunDir, count: int, margin: float = 1.0) -> None:
    """Outputs of a network that errs on the first so many examples."""
    write_outputs(run_dir, np.arange(EXAMPLES) < count, margin)


def write_network(
    root: pathlib.Path, size: float, seed: int, train: dict, test: dict, given: dict | None = None, margin: float = 1.0
) -> RunDir:
    run_dir = write_run(root, {"size": size, "seed": seed, **(given or {})})
    write_accuracy(run_dir)
    write_chunks(run_dir, train)
    write_chunks(run_dir, test, "test", examples=EXAMPLES)
    write_wrong(run_dir, test[max(test)][0], margin)
    return run_dir


def excess(exponent: float, limit: int, sizes: list[int]) -> dict[int, list[int]]:
    """Wrong test examples of chunks whose excess over the limit is 800 at one unit and falls as a power."""
    return {size: [round(limit + 800 * size**exponent)] for size in sizes}


@pytest.fixture
def family(tmp_path: pathlib.Path) -> list[RunDir]:
    """Two networks of 64 units, whose ensemble errs on 20 examples, and two of 2 units."""
    sizes = list(FITTED)
    wide = [write_network(tmp_path, 1.0, seed, FITTED, excess(-0.5, 20, sizes)) for seed in (0, 1)]
    # The second is right, with greater margin, on all but 20 of the examples that the first misses.
    write_wrong(wide[1], 20, 3.0)
    narrow = [
        write_network(tmp_path, 0.25, seed, {1: [40], 2: [wrong]}, {1: [1000], 2: [800 + 40 * seed]})
        for seed, wrong in ((0, 20), (1, 30))
    ]
    return [*narrow, *wide]


def test_networks_stand_by_width_and_chunks_of_the_widest_by_size(family: list[RunDir]) -> None:
    table = tables.error_table(read(*family), "train")
    networks = table[table["kind"] == tables.NETWORKS]
    assert networks[["width", "size", "networks"]].to_numpy().tolist() == [[2, 0.25, 2], [64, 1, 2]]
    assert networks["error"].tolist() == pytest.approx([0.25, 0])
    assert networks["error_std"].tolist() == pytest.approx([0.1 / np.sqrt(2), 0])
    chunks = table[table["kind"] == tables.CHUNKS]
    # The whole layer is a network, not a chunk.
    assert chunks["width"].tolist() == [1, 2, 4, 8, 16, 32]
    assert chunks["error"].tolist() == pytest.approx([0.55, 0.11, 0.01, 0.005, 0, 0])
    assert set(chunks["networks"]) == {2}


def test_critical_sizes_are_of_training_errors(family: list[RunDir]) -> None:
    found = tables.find_critical_sizes(read(*family))
    assert found == tables.CriticalSizes(clone_size=4, fitting_width=64, layer_width=64)
    assert found.largest_clone == 16
    alone = tables.find_critical_sizes(read(*family[:2]))
    assert alone == tables.CriticalSizes(clone_size=None, fitting_width=None, layer_width=2)
    assert tables.find_critical_sizes(Runs(records=[])) is None


def test_untrained_networks_have_no_part(family: list[RunDir], tmp_path: pathlib.Path) -> None:
    untrained = write_network(tmp_path, 4.0, 0, {1: [90], 128: [90]}, {1: [1800], 128: [1800]}, {"epochs": 0})
    assert tables.find_critical_sizes(read(*family, untrained)) == tables.find_critical_sizes(read(*family))
    assert len(tables.find_widest(read(untrained))) == 0


def test_the_limit_is_the_ensemble_of_the_widest_networks_alone(family: list[RunDir]) -> None:
    limit = tables.find_limit(read(*family))
    assert limit.num_networks == 2
    assert limit.error == 20 / EXAMPLES
    assert limit.wrong.sum() == 20
    # A single network errs on 120 or 20.
    assert limit.errors.tolist() == pytest.approx([70 / EXAMPLES, 20 / EXAMPLES])
    ensembles = tables.ensemble_table(read(*family))
    assert ensembles.to_dict("list") == {
        "networks": [1, 2], "error": pytest.approx([0.035, 0.01]), "width": [64, 64],
    }  # fmt: skip


@pytest.mark.parametrize("exponent", [-0.5, -1.0])
def test_the_exponent_of_chunks_is_that_which_was_planted(tmp_path: pathlib.Path, exponent: float) -> None:
    sizes = list(FITTED)
    # Below w* = 4 and above W/4 = 16 another law holds, which must not enter.
    test = excess(exponent, 20, sizes) | {1: [1999], 2: [1800], 32: [1000]}
    runs = [write_network(tmp_path, 1.0, seed, FITTED, test) for seed in (0, 1, 2)]
    for run_dir in runs:
        write_wrong(run_dir, 20)
    table = tables.excess_table(read(*runs))
    chunks = table[table["kind"] == tables.CHUNKS].set_index("width")
    assert chunks["limit"].unique().tolist() == [0.01]
    assert chunks["excess"][16] == pytest.approx((test[16][0] - 20) / EXAMPLES)
    assert chunks["exponent"].unique().tolist() == pytest.approx([exponent], abs=1e-3)
    assert (chunks["exponent_low"] <= chunks["exponent"]).all()
    assert (chunks["exponent"] <= chunks["exponent_high"]).all()
    assert tables.find_power_law(read(*runs), tables.CHUNKS).law.exponent == chunks["exponent"].iloc[0]
    # One width has no law of networks.
    assert table.loc[table["kind"] == tables.NETWORKS, "exponent"].isna().all()


def test_negative_excesses_stay_in_the_table(family: list[RunDir], tmp_path: pathlib.Path) -> None:
    better = write_network(tmp_path, 0.5, 0, {1: [0], 16: [0]}, {1: [20], 16: [10]})
    table = tables.excess_table(read(*family, better))
    row = table[(table["kind"] == tables.NETWORKS) & (table["width"] == 16)].iloc[0]
    assert row["excess"] == pytest.approx(-10 / EXAMPLES)


def test_where_the_last_width_is_the_same_sizes_tell_networks_apart(tmp_path: pathlib.Path) -> None:
    runs = [
        write_network(tmp_path, size, 0, {1: [50], 4: [wrong]}, {1: [1000], 4: [200]})
        for size, wrong in ((0.25, 8), (1.0, 2))
    ]
    table = tables.error_table(read(*runs), "train")
    networks = table[table["kind"] == tables.NETWORKS]
    assert networks[["size", "error"]].to_numpy().tolist() == [[0.25, 0.08], [1, 0.02]]
    assert [record.size for record in tables.find_widest(read(*runs))] == [1]


def test_reconstruction_is_the_mean_over_networks_and_draws(family: list[RunDir]) -> None:
    for run_dir, r2 in zip(family[2:], ([0.2, 0.6, 0.9], [0.4, 0.8, 0.9]), strict=True):
        write_reconstruction(run_dir, r2)
        write_measure(run_dir, "dimension", {"split": "test", "seed": 0}, {"value": 2.0 + r2[0]})
    table = tables.reconstruction_table(read(*family))
    # A draw has the value, the other a tenth less; the whole layer is left out.
    assert table["chunk"].tolist() == [1, 2]
    assert table["r2"].tolist() == pytest.approx([0.25, 0.65])
    assert table["r2_std"].tolist() == pytest.approx([0.2 / np.sqrt(2)] * 2)
    assert table["correlation"].tolist() == pytest.approx([0.3 * 0.25, 0.3 * 0.65])
    assert table["held_out_correlation"].tolist() == pytest.approx([0.5 * 0.25, 0.5 * 0.65])
    assert table["noise_floor"].tolist() == pytest.approx([np.sqrt(2 / (np.pi * (50 - w - 1))) for w in (1, 2)])
    assert table["intrinsic_dimension"].tolist() == pytest.approx([2.3, 2.3])
    assert set(table["clone_size"]) == {4}
    assert tables.reconstruction_table(read(*family), "train").empty


def test_dynamics_are_means_over_the_widest_networks(family: list[RunDir]) -> None:
    for run_dir, error in zip([family[0], *family[2:]], (0.9, 0.2, 0.4), strict=True):
        write_json(run_dir.done_file("train"), {"state": "finished", "epochs": 50})
        for epoch, factor in ((1, 1.0), (40, 0.0)):
            write_accuracy(run_dir, epoch, train={"accuracy": 1 - factor * error}, test={"accuracy": 0.75})
            write_chunks(run_dir, {1: [80], 2: [round(100 * factor * error)]}, epoch=epoch)
            write_reconstruction(run_dir, [0.1 + error, 0.9], epoch=epoch)
    # The best epoch of a single network.
    write_accuracy(family[2], 33, train={"accuracy": 1.0}, test={"accuracy": 1.0})
    table = tables.dynamics_table(read(*family))
    assert sorted(set(table["epoch"])) == [1, 40]

    def value(epoch: int, measure: str, split: str, chunk: int = 0) -> list[float]:
        part = table[(table["epoch"] == epoch) & (table["measure"] == measure) & (table["split"] == split)]
        return part.loc[part["chunk"] == chunk, ["networks", "value", "std"]].to_numpy().ravel().tolist()

    assert value(1, "error", "train") == pytest.approx([2, 0.3, 0.2 / np.sqrt(2)])
    assert value(40, "error", "train") == pytest.approx([2, 0, 0])
    assert value(1, "error", "test") == pytest.approx([2, 0.25, 0])
    assert value(1, "chunk_error", "train", 2) == pytest.approx([2, 0.3, 0.2 / np.sqrt(2)])
    assert value(1, "held_out_correlation", "test", 1) == pytest.approx([2, 0.5 * 0.35, 0.1 / np.sqrt(2)])
    assert tables.first_fitted_epoch(table) == 40
    assert tables.first_fitted_epoch(table, chunk=2) == 40
    assert tables.first_fitted_epoch(table, chunk=1) is None
    assert tables.first_fitted_epoch(table, chunk=1, error=0.8) == 1


def test_bias_and_variance_are_of_the_seeds_of_a_width(family: list[RunDir], tmp_path: pathlib.Path) -> None:
    alone = write_network(tmp_path, 0.5, 0, {1: [0], 16: [0]}, {1: [20], 16: [10]})
    table = tables.bias_variance_table(read(*family, alone), "squared")
    assert sorted(set(table["width"])) == [2, 64]
    values = table[table["width"] == 2].set_index("part")["value"]
    # Probabilities of two logits, one apart; both err on 800 examples and the second on 40 more.
    right = 1 / (1 + np.exp(-1))
    shares = {"both": 0.4, "one": 0.02, "none": 0.58}
    variance = shares["one"] * 2 * (2 * right - 1) ** 2 / 2
    wrong, fine = 2 * right**2, 2 * (1 - right) ** 2
    loss = shares["both"] * wrong + shares["one"] * (wrong + fine) / 2 + shares["none"] * fine
    assert values["variance"] == pytest.approx(variance, rel=1e-5)
    assert values["loss"] == pytest.approx(loss, rel=1e-5)
    assert values["bias"] == pytest.approx(loss - variance, rel=1e-5)


def test_scores_count_as_far_as_the_margin_of_their_loss(tmp_path: pathlib.Path) -> None:
    scores = np.array([[[5.0], [-0.5]], [[-9.0], [0.5]]], "float32")
    runs = []
    for seed, outputs in enumerate(scores):
        runs.append(write_run(tmp_path, {"model": "fc5", "seed": seed}))
        write_chunks(runs[-1], {1: [0], 8: [0]})
        write_arrays(runs[-1].logits, {"test": outputs, "test_labels": np.array([1, 0])}, compress=False)
    values = tables.bias_variance_table(read(*runs)).set_index("part")["value"]
    # 1 and -1 of the first example, -1/2 and 1/2 of the second: variances 2 and 1/2; labels 1 and -1.
    assert values["variance"] == pytest.approx((2 + 0.5) / 2)
    assert values["loss"] == pytest.approx((4 / 2 + (0.25 + 2.25) / 2) / 2)


def test_runs_without_what_is_asked_give_empty_tables_with_the_same_columns(tmp_path: pathlib.Path) -> None:
    run_dir = write_run(tmp_path)
    write_accuracy(run_dir)
    for runs in (Runs(records=[]), read(run_dir)):
        assert tables.error_table(runs).empty
        assert tables.excess_table(runs).empty
        assert tables.reconstruction_table(runs).empty
        assert tables.dynamics_table(runs).empty
        assert tables.bias_variance_table(runs).empty
        assert tables.ensemble_table(runs).empty
        assert tables.find_limit(runs) is None
        assert tables.find_power_law(runs, tables.CHUNKS) is None


def test_chunks_that_were_drawn_otherwise_are_not_read(family: list[RunDir]) -> None:
    measure = MeasureConfig(chunk_draws=7)
    runs = Runs(records=[read_run(run_dir, measure) for run_dir in family], measure=measure)
    assert tables.error_table(runs).empty
