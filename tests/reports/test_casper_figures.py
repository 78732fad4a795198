"""Figures of the three papers of Casper et al.: flagfiles, the runs they share, and that every curve has runs."""

import functools
import re

import pytest
from made_records import make_runs, read_figure

from tfunits.configs import MODELS, find_flagfiles, list_figures, resolve, run_id, shrink_measuring
from tfunits.reports.figures import FIGURES, Source, draw_figure, judge
from tfunits.reports.figures.drawing import name_stand_ins
from tfunits.reports.figures.table_panels import RecipePanel

PAPERS = ("frivolous", "removable", "robustness")
NAMES = [name for name in list_figures() if name.startswith(PAPERS)]
# What the papers hold: figures by their letters where these are of different networks.
EXPECTED = {
    "frivolous": "table1 table2 fig1a fig1b fig1c fig2 fig3ab fig3cd fig4a fig4b fig4c fig4d fig5 figE1 figE2ab "
    "figE2cd figE3a figE3b figE3c figE3d figE4 figE5 figE6 figE7 figE8 figE9 figE10 figE11 figE12 figE13",
    "removable": "table1 fig1a fig1b fig1c fig2 fig3 fig4 fig5 fig6 figB1 figB2 figB3 figB4 figB5 figB6 figB7 figB8 "
    "figB9 figB10 figB11 figB12 figB13",
    "robustness": "table1 fig1a fig1b fig1c fig2 fig3 fig4 fig5 figA1 figB2 figC3 figC4 figC5 figC6 figC7 figC8 figC9 "
    "figC10 figC11 figC12 figC13 figC14",
}
# What a test needs of grids of hundreds of runs.
THINNED = ("--seed=0", "--size=0.25")
# Runs of a flagfile that the default suite has no time to resolve.
MANY = 100
STATED = re.compile(r"^# Runs: ([\d,]+); ([\d,]+) with --small\.$", re.MULTILINE)


@functools.cache
def text_of(name):
    return find_flagfiles(name)[name].read_text()


def flags_of(name):
    return tuple(line for line in text_of(name).splitlines() if line.startswith("--"))


@functools.cache
def runs_of(flags, *more):
    """Names of the runs of some flags; equal flagfiles are read once."""
    name = next(name for name in NAMES if flags_of(name) == flags)
    return {run_id(config) for config in read_figure(name, *more).experiments}


def test_every_figure_of_the_papers_has_a_flagfile_and_a_drawing():
    expected = {f"{paper}/{name}" for paper, names in EXPECTED.items() for name in names.split()}
    assert set(NAMES) == expected
    assert {name for name in FIGURES if name.startswith(PAPERS)} == expected


def stated_runs(name):
    found = STATED.search(text_of(name))
    assert found, f"{name}: no line '# Runs: ...'"
    return tuple(int(number.replace(",", "")) for number in found.groups())


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if stated_runs(name)[0] > MANY else name for name in NAMES]
)
def test_flagfiles_say_how_many_runs_they_plan(name):
    flags = flags_of(name)
    assert (len(runs_of(flags)), len(runs_of(flags, "--small"))) == stated_runs(name)


@pytest.mark.parametrize(
    ("part", "whole"),
    [
        ("frivolous/fig1a", "frivolous/fig3ab"),
        ("frivolous/fig1b", "frivolous/fig4a"),
        ("frivolous/fig1c", "frivolous/fig4c"),
        ("frivolous/fig2", "frivolous/fig4c"),
        ("frivolous/fig3cd", "frivolous/fig3ab"),
        ("frivolous/figE4", "frivolous/fig3ab"),
        ("frivolous/figE5", "frivolous/fig3ab"),
        ("frivolous/fig3cd", "frivolous/figE10"),
        ("frivolous/fig5", "frivolous/fig3cd"),
        ("frivolous/fig5", "frivolous/table2"),
        ("removable/fig3", "frivolous/fig2"),
        ("removable/figB6", "frivolous/fig4a"),
        ("robustness/fig4", "frivolous/fig4a"),
        ("robustness/fig5", "removable/fig6"),
        ("robustness/figC5", "removable/figB4"),
        ("robustness/figC6", "frivolous/figE7"),
        ("robustness/figC12", "frivolous/figE9"),
        ("robustness/figC14", "frivolous/figE11"),
    ],
)
def test_what_two_figures_draw_is_run_once(part, whole):
    more = THINNED if stated_runs(whole)[0] > MANY else ()
    assert runs_of(flags_of(part), *more) <= runs_of(flags_of(whole), *more)


def test_perceptrons_of_several_figures_are_the_same():
    chosen = {name: runs_of(flags_of(f"frivolous/{name}"), *THINNED) for name in ("fig4d", "figE7", "figE8", "figE9")}
    assert chosen["fig4d"] < chosen["figE7"] | chosen["figE8"]
    # Momentum at factor 1: five rates and the untrained network.
    assert len(chosen["figE9"] & chosen["figE8"]) == 6


def test_networks_that_keep_epochs_are_found_trained_by_no_other_figure():
    kept = runs_of(flags_of("frivolous/figE12")) | runs_of(flags_of("frivolous/figE12"), "--small")
    for name in NAMES:
        if "resnet18" in text_of(name) and "last9" not in text_of(name) and stated_runs(name)[0] < MANY:
            assert not kept & (runs_of(flags_of(name)) | runs_of(flags_of(name), "--small")), name


def test_table_1_lists_every_trained_network_of_its_figures():
    listed = runs_of(flags_of("frivolous/table1"), "--seed=0")
    for name in ("fig4a", "fig4b", "fig4c", "figE6", "figE10", "figE11"):
        configs = read_figure(f"frivolous/{name}", "--seed=0").experiments
        assert {run_id(config) for config in configs if config.training.epochs} <= listed, name


@functools.cache
def measured_numbers():
    """Names of the numbers of a measured run."""
    return frozenset(make_runs([resolve({"model": "mlp"})]).frame["measure"])


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name in FIGURES and FIGURES[name].source == Source.MEASURES]
)
def test_every_curve_has_trained_and_untrained_runs(name):
    figure = FIGURES[name]
    runs = make_runs(read_figure(name, *(THINNED if figure.choose else ("--seed=0",))).experiments, bare=True)
    known = measured_numbers()
    for panel in figure.panels:
        assert getattr(panel, "measure", "accuracy") in known
        chosen = panel.choose(runs) if getattr(panel, "choose", None) else runs
        for curve in getattr(panel, "curves", ()):
            trained = curve.choose(chosen).trained
            assert len(trained), curve.label
            assert curve.tap is None or curve.tap in MODELS[trained.records[0].config.model.model].base_widths
            if panel.measure != "accuracy":
                sizes = {(r.config.model.size, r.config.model.layer_size) for r in trained.records}
                assert {
                    (r.config.model.size, r.config.model.layer_size) for r in runs.baseline(trained).records
                } == sizes
        if hasattr(panel, "settings"):
            assert len(runs.where(**panel.settings).trained)


# What no figure's own runs can have: several samplings of positions in made records, and networks on other data.
UNANSWERED = {("frivolous/fig3ab", "F29"), ("frivolous/fig4a", "F29"), ("frivolous/fig4d", "F16")}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if stated_runs(name)[0] > MANY and not FIGURES[name].choose else name
        for name in NAMES
        if FIGURES[name].source == Source.MEASURES
    ],
)
def test_the_runs_of_a_figure_are_those_that_its_claims_ask_for(name):
    """A claim of other networks than a figure trains could never be answered beside it."""
    figure = FIGURES[name]
    thinned = ("--seed=0", "--size=0.25,0.5") if figure.choose else ("--seed=0",)
    runs = make_runs(read_figure(name, *thinned).experiments, largest_width=8)
    for judgement in judge(figure, runs):
        reasons = {verdict.reason for verdict in judgement.verdicts}
        is_answered = judgement.on_papers_data and not any("no such runs" in r or "no run of" in r for r in reasons)
        assert is_answered != ((name, judgement.claim.id) in UNANSWERED), (judgement.claim.id, reasons)


@pytest.mark.parametrize("change", [dict, shrink_measuring])
def test_panels_are_of_runs_measured_as_their_figure_says(change):
    """In the small form too, whose titles say on how few inputs."""
    drawn = 0
    for figure in FIGURES.values():
        changed = figure.measured_as(change)
        for panel in changed.panels:
            fields = getattr(panel, "measured", None)
            if fields:
                drawn += 1
                assert fields in list(changed.further)
                assert f"{fields['measured_examples']:,} inputs" in panel.title
    assert drawn > 20
    perceptrons = FIGURES["frivolous/figE8"].measured_as(change)
    expected = {dict: "chosen rates, 50,000 inputs", shrink_measuring: "chosen rates, 5,000 inputs"}[change]
    assert {panel.title for panel in perceptrons.panels} == {"chosen rates", "rate 0.1", expected}


def test_claims_are_named_once():
    for name in NAMES:
        assert len(set(FIGURES[name].claims)) == len(FIGURES[name].claims)


# One of every kind of picture.
@pytest.mark.parametrize("name", ["frivolous/fig2", "frivolous/figE12", "frivolous/figE1", "frivolous/table1"])
def test_figures_are_drawn(name, tmp_path):
    more = ("--seed=0", "--size=0.25,1") if name.endswith("table1") else ("--seed=0",)
    runs = make_runs(read_figure(name, *more).experiments, largest_width=8)
    files = draw_figure(FIGURES[name], runs, tmp_path)
    assert [path.suffix for path in files] == [".png", ".pdf", ".csv"]
    assert all(path.stat().st_size for path in files)


def test_pictures_name_data_that_stand_in_for_the_papers():
    for flags, expected in ((("--small",), ["digits"]), ((), [])):
        runs = make_runs(read_figure("frivolous/fig1b", *flags).experiments, bare=True)
        assert name_stand_ins(runs) == expected
    generated = make_runs(read_figure("frivolous/figE7", "--small").experiments, bare=True)
    assert name_stand_ins(generated) == []


def test_table_1_joins_the_values_of_a_network():
    runs = make_runs(read_figure("frivolous/table1", "--seed=0").experiments, bare=True)
    table = RecipePanel().tabulate(runs).set_index(["data", "network"])
    many = table.loc["uncorrelated10000", "mlp"]
    assert (many["optimizer"], many["learning_rate"]) == ("momentum, sgd, adam, rmsprop", "1, 0.1, 0.01, 0.001, 0.0001")
    alexnet = table.loc["cifar10 (+ random labels)", "alexnet"]
    assert alexnet["batch_norm"] == "no"
    assert alexnet["k"] == "1, 0.25, 4"
    assert "augmentation+dropout+weight_decay" in alexnet["regularizers"]
    assert table.loc["imagenet2012", "inception_v3"]["sizes"] == "0.25, 0.5, 1, 2, 4"


def test_flagfiles_name_nothing_of_a_workplace():
    for name in NAMES:
        assert not re.search(r"(/home|/tmp|/root|/work)\b", text_of(name)), name
        assert all(len(line) <= 120 for line in text_of(name).splitlines() if line.startswith("#")), name
