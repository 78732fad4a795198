"""Figures of Doimo et al.: flagfiles without TensorFlow, shared runs, and pictures of runs made up."""

import functools
import pathlib
import re

import matplotlib.figure
import numpy as np
import pandas as pd
import pytest
from fake_runs import write_accuracy, write_chunks, write_measure, write_outputs, write_reconstruction, write_run

from tfunits.artifacts import RunDir, write_json
from tfunits.configs import flags, list_figures, run_id
from tfunits.configs.figures import find_flagfiles
from tfunits.reports import read_run
from tfunits.reports.figures import FIGURES, Figure, Runs, chunk_panels, draw_figure, redundant
from tfunits.reports.figures.chunk_panels import DynamicsPanel, ExcessPanel
from tfunits.reports.figures.drawing import plot_figure

NAMES = [figure.name for figure in redundant.FIGURES]
# Figure -> one with all of its runs.
SHARED = {
    "fig3a": "fig2a", "fig4ad": "fig2a", "fig3b": "fig2b", "fig4be": "fig2b", "figS5a": "fig2b", "fig3c": "fig2c",
    "fig4cf": "fig2c", "figS5b": "fig2c", "figS2c": "fig1b", "figS5c": "fig1b", "fig5": "fig6b", "figS2def": "figS3b",
}  # fmt: skip


@functools.cache
def read(name: str, *more: str) -> flags.Request:
    argv = ["run_experiments.py", f"--figure={name}", *more]
    registry = flags.make_flags()
    flags.parse(registry, argv)
    (request,) = flags.read_requests(registry, argv)
    return request


def test_every_figure_has_a_flagfile_and_every_flagfile_a_figure() -> None:
    assert sorted(set(NAMES), key=NAMES.index) == NAMES
    assert set(NAMES) == {name for name in list_figures() if name.startswith("redundant/")}
    assert set(NAMES) <= set(FIGURES)


@pytest.mark.parametrize("name", NAMES)
def test_a_flagfile_says_how_many_runs_it_needs(name: str) -> None:
    text = find_flagfiles(name)[name].read_text()
    stated = re.search(r"^# Runs: (\d+); (\d+) with --small\.$", text, re.MULTILINE)
    assert [len(read(name).experiments), len(read(name, "--small").experiments)] == [int(n) for n in stated.groups()]
    assert re.search(r"^# Cost: \S", text, re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_measures_what_its_panels_show(name: str) -> None:
    steps = read(name).execution.steps
    assert steps[:2] == ("train", "chunks")
    has_dynamics = any("Dynamics" in type(panel).__name__ for panel in FIGURES[name].panels)
    assert ("dynamics" in steps) == has_dynamics == bool(read(name).execution.keep_epochs)
    assert "report" not in steps


@pytest.mark.parametrize("name", [name for name in NAMES if {"D01", "D02", "D04", "D16"} & set(FIGURES[name].claims)])
def test_claims_of_several_widths_stand_beside_figures_that_have_them(name: str) -> None:
    assert len({config.model.size for config in read(name).experiments}) > 2


@pytest.mark.parametrize(("name", "larger"), SHARED.items())
@pytest.mark.parametrize("form", [(), ("--small",)])
def test_what_shows_the_same_networks_shares_its_runs(name: str, larger: str, form: tuple[str, ...]) -> None:
    parts = [{run_id(config) for config in read(f"redundant/{n}", *form).experiments} for n in (name, larger)]
    assert parts[0] <= parts[1]


def test_networks_that_keep_epochs_are_never_trained_without() -> None:
    kept: dict[str, set[bool]] = {}
    for name in NAMES:
        for config in read(name).experiments:
            kept.setdefault(run_id(config), set()).add(bool(read(name).execution.keep_epochs))
    assert all(len(ways) == 1 for ways in kept.values())


@pytest.mark.parametrize("name", ["fig1b", "fig2a", "fig2b", "fig2c", "figS4a", "fc5_digits", "fc5_uncorrelated"])
def test_the_ensemble_has_twenty_networks_of_the_widest_size(name: str) -> None:
    configs = read(f"redundant/{name}").experiments
    widest = max(config.model.size for config in configs)
    recipes: dict[bool, set[int]] = {}
    for config in configs:
        if config.model.size == widest:
            decayed = redundant.is_decayed("+".join(config.training.regularizers))
            recipes.setdefault(decayed, set()).add(config.training.seed)
    assert all(seeds == set(range(20)) for seeds in recipes.values())
    assert recipes.keys() == ({True, False} if name in ("fig2a", "fc5_digits", "fc5_uncorrelated") else {True})


def test_widths_are_those_of_the_paper() -> None:
    for name, widths in {
        "fig1b": [88, 176, 352, 704, 1408],
        "fig2b": [16, 32, 64, 128, 256, 512],
        "fig2c": [16, 32, 64, 128, 256, 512, 1024],
        "fig7": [512, 1024, 2048, 4096, 8192],
    }.items():
        configs = [config.model for config in read(f"redundant/{name}").experiments]
        facts = flags.facts.MODELS[configs[0].model]
        assert sorted({facts.tap_width("pooled", config.size) for config in configs}) == widths


def make_networks(root: pathlib.Path, given: dict, exponent: float, epochs: tuple[int, ...] = ()) -> list[RunDir]:
    """Three seeds of networks of 4, 16 and 64 units whose test error falls as a power of the width."""
    generator = np.random.default_rng(0)
    found = []
    for size, width in ((0.03125, 4), (0.125, 16), (0.5, 64)):
        for seed in range(3):
            run_dir = write_run(root, {"model": "fc5", "size": size, "seed": seed, **given})
            sizes = [2**i for i in range(width.bit_length())]
            train = {w: [round(60 * 0.5 ** np.log2(w)), round(50 * 0.4 ** np.log2(w))] for w in sizes}
            wrong = {w: generator.binomial(1000, min(0.9, 0.02 + 0.5 * w**exponent), 3).tolist() for w in sizes}
            write_accuracy(run_dir)
            write_chunks(run_dir, train)
            write_chunks(run_dir, wrong, "test", examples=1000)
            missed = generator.permutation(1000) < wrong[width][0]
            missed[:20] = True
            write_outputs(run_dir, missed)
            write_reconstruction(run_dir, [1 - 0.8 * w**-0.6 for w in sizes])
            write_measure(run_dir, "dimension", {"split": "test", "seed": 0}, {"value": 3.2})
            if epochs:
                write_json(run_dir.done_file("train"), {"state": "finished", "epochs": max(epochs)})
            for epoch in epochs:
                left = (1 - epoch / max(epochs)) ** 2
                write_accuracy(run_dir, epoch, train={"accuracy": 1 - 0.3 * left}, test={"accuracy": 0.95 - 0.2 * left})
                write_chunks(run_dir, {w: [round(100 * 0.7 / w * (0.3 + left))] for w in sizes}, epoch=epoch)
                write_reconstruction(run_dir, [(0.2 + 0.6 * left) / w for w in sizes], epoch=epoch)
            found.append(run_dir)
    return found


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Networks with and without weight decay, all of which kept epochs."""
    root = tmp_path_factory.mktemp("runs")
    recipes = (({"weight_decay": 0.01}, -0.5), ({"weight_decay": 0.0}, -0.3))
    directories = [run for given, exponent in recipes for run in make_networks(root, given, exponent, (1, 5, 40))]
    return Runs(records=[read_run(run_dir) for run_dir in directories])


def test_every_kind_of_panel_is_drawn(runs: Runs, tmp_path: pathlib.Path) -> None:
    """Of the fully connected network's figures, which have all of them; a figure of each would take a minute."""
    panels = {
        (type(panel), len(panel.curves)): panel
        for name in ("fc5_digits", "fc5_digits_dynamics", "fig4ad", "fig6a", "figS4a")
        for panel in FIGURES[f"redundant/{name}"].panels
    }
    assert {type(panel) for figure in redundant.FIGURES for panel in figure.panels} == {kind for kind, _ in panels}
    figure = Figure(name="redundant/all", title="every kind", panels=list(panels.values()))
    files = draw_figure(figure, runs, tmp_path)
    assert [path.suffix for path in files] == [".png", ".pdf", ".csv"]
    table = pd.read_csv(files[2])
    assert set(table["panel"]) == {chr(ord("a") + number) for number in range(len(figure.panels))}


@pytest.mark.parametrize("name", ["redundant/fc5_digits", "redundant/fc5_digits_dynamics", "redundant/figS4a"])
def test_a_figure_without_its_numbers_says_so(name: str) -> None:
    figure = FIGURES[name]
    tables = [panel.tabulate(Runs(records=[])) for panel in figure.panels]
    assert all(table.empty for table in tables)
    texts = [text.get_text() for axes in plot_figure(figure, tables).axes for text in axes.texts]
    assert texts == ["not measured"] * len(figure.panels)


def test_curves_with_and_without_decay_have_limits_of_their_own(runs: Runs) -> None:
    table = FIGURES["redundant/fig6a"].panels[0].tabulate(runs)
    assert table.groupby("curve")["limit"].nunique().to_dict() == {"no weight decay": 1, "weight decay": 1}
    own = ExcessPanel().tabulate(runs.where(regularizers="weight_decay"))
    part = table[table["curve"] == "weight decay"]
    assert part["excess"].tolist() == own.loc[own["kind"] == "chunks", "excess"].tolist()


@pytest.mark.parametrize(("high", "expected"), [(-0.4, "exponent -0.50 [-0.60, -0.40]"), (20, "exponent not resolved")])
def test_an_exponent_that_may_be_anything_is_not_said(runs: Runs, high: float, expected: str) -> None:
    panel = FIGURES["redundant/fig6a"].panels[0]
    table = panel.tabulate(runs).assign(exponent=-0.5, exponent_low=-0.6, exponent_high=high)
    axes = matplotlib.figure.Figure().subplots()
    panel.plot(axes, table)
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert [expected in label for label in labels if "exponent" in label] == [True, True]


@pytest.mark.parametrize(
    ("sizes", "ticks"), [([448], [448]), ([12, 88, 448], [12, 88, 448]), ([2, 12, 16], [2, 16]), (range(1, 40), 6)]
)
def test_widths_that_are_no_powers_of_two_have_ticks(sizes, ticks) -> None:
    """DenseNet40 alone of one width has 448 units."""
    axes = matplotlib.figure.Figure().subplots()
    axes.set_xscale("log", base=2)
    chunk_panels._draw_sizes(axes, pd.Series(sizes))
    found = list(axes.get_xticks())
    assert len(found) == ticks if isinstance(ticks, int) else found == ticks


def test_chunks_of_an_epoch_are_drawn_without_the_whole_layer(runs: Runs) -> None:
    decayed = runs.where(regularizers="weight_decay")
    table = DynamicsPanel(measure="held_out_correlation").tabulate(decayed)
    assert sorted(set(table["chunk"])) == [4, 8, 16, 32]
    errors = DynamicsPanel(measure="chunk_error", sizes=(8, 16)).tabulate(decayed)
    assert sorted(set(errors["chunk"])) == [0, 8, 16]
    assert set(errors.loc[errors["chunk"] == 0, "split"]) == {"train", "test"}
