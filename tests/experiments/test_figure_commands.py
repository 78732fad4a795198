"""What a command of a figure carries out, draws, exports and says; the figure itself is not looked at here."""

import dataclasses
import json
import pathlib

import pandas as pd
import pytest
from tensorflow.python.framework import config as tf_config
from tiny_runs import make_config

from tfunits.artifacts import RunDir
from tfunits.configs import ExecutionConfig, ExperimentConfig, Margins, Request
from tfunits.experiments import figures as commands
from tfunits.experiments.drawn import visualized_file
from tfunits.experiments.requests import carry_out_requests
from tfunits.reports import figures
from tfunits.reports.figures import Figure, Runs, Source

NAME = "paper/fig1"
CONFIGS = tuple(make_config(epochs=0, seed=seed, init_scale=scale) for seed in (0, 1) for scale in (1.0, 2.0))


def choose(runs: Runs) -> Runs:
    """Of two scales, the larger."""
    return dataclasses.replace(runs, records=[r for r in runs.records if r.config.model.init_scale == 2])


@pytest.fixture
def drawn(monkeypatch) -> list[Runs]:
    """The runs of every figure that is drawn."""
    found = []

    def draw(figure: Figure, runs: Runs, folder: pathlib.Path) -> list[pathlib.Path]:
        found.append(runs)
        return [folder / f"{figure.name}.png"]

    monkeypatch.setattr(figures, "draw_figure", draw)
    monkeypatch.setattr(figures, "report_claims", lambda figure, runs, folder, margins: ("", []))
    yield found
    tf_config.disable_op_determinism()


def define(monkeypatch, **fields) -> None:
    monkeypatch.setitem(figures.FIGURES, NAME, Figure(name=NAME, title="a figure", panels=(), **fields))


def ask(root, *configs: ExperimentConfig, steps=("train", "measure"), **execution) -> Request:
    options = ExecutionConfig(run_root=str(root), steps=steps, num_workers=1, **execution)
    return Request(experiments=configs or CONFIGS, execution=options, plan=False, dataset_given=True, figure=NAME)


def names(runs: Runs) -> list[str]:
    return [record.run_dir.name for record in runs.records]


def test_chosen_runs_alone_are_measured_further_and_all_are_drawn(tmp_path, monkeypatch, drawn, capsys):
    define(monkeypatch, choose=choose, further=[{"draws": 1}])
    assert carry_out_requests([ask(tmp_path)]) == 0
    dirs = {config: RunDir.of(config, tmp_path) for config in CONFIGS}
    ways = {config.model.init_scale: len(list(dirs[config].measures.glob("ablation-*"))) for config in CONFIGS}
    assert ways == {1.0: 1, 2.0: 2}
    assert names(drawn[0]) == [run_dir.name for run_dir in dirs.values()]
    assert f"figure:        {tmp_path / 'figures' / NAME}.png" in capsys.readouterr().out

    # What is missing is named; nothing is run, and what is there is drawn and exported.
    missing = make_config(epochs=0, seed=2)
    request = ask(tmp_path, *CONFIGS, missing, steps=("report", "report"), export=str(tmp_path / "all.csv"))
    assert carry_out_requests([request]) == 1
    name = RunDir.of(missing, tmp_path).name
    assert f"{NAME}: left out: {name}: it is missing" in capsys.readouterr().err
    assert not (tmp_path / name).exists()
    assert names(drawn[1]) == names(drawn[0])
    assert set(pd.read_csv(tmp_path / "all.csv")["run"]) == set(names(drawn[0]))


def test_the_small_form_measures_further_on_few_examples(tmp_path, monkeypatch, drawn):
    judged, measured = [], []
    monkeypatch.setattr(
        figures, "report_claims", lambda figure, runs, folder, margins: judged.append(figure.further) or ("", [])
    )
    request, (config, *_) = ask(tmp_path), CONFIGS
    define(monkeypatch)
    assert carry_out_requests([request]) == 0
    monkeypatch.setattr(commands, "run_grid", lambda configs, *_, **__: measured.append(configs[0].measure) or 0)
    define(monkeypatch, further=[{"measured_examples": 50_000}, {"measured_examples": 300}])
    for is_small, expected in ((False, [50_000, 300]), (True, [5_000, 300])):
        measured.clear()
        assert carry_out_requests([dataclasses.replace(request, is_small=is_small)]) == 0
        assert [fields["measured_examples"] for fields in judged[-1]] == expected
        assert [measure.measured_examples for measure in measured] == [config.measure.measured_examples, *expected]


def test_what_cannot_be_measured_further_is_a_failure(tmp_path, monkeypatch, drawn, capsys):
    define(monkeypatch, choose=choose, further=[{"draws": 1}])
    run_dirs = [RunDir.of(config, tmp_path) for config in CONFIGS[:2]]
    assert carry_out_requests([ask(tmp_path, *CONFIGS[:2])]) == 0
    [path] = [p for p in run_dirs[1].measures.glob("ablation-*") if '"draws": 1' in p.read_text()]
    path.unlink()
    run_dirs[1].model.unlink()
    assert carry_out_requests([ask(tmp_path, *CONFIGS[:2])]) == 1
    assert f"{run_dirs[1].name}: " in capsys.readouterr().err
    assert len(drawn) == 2


def test_a_claim_is_given_the_runs_of_another_figure_in_the_same_root(tmp_path, monkeypatch, drawn):
    judged = []
    monkeypatch.setattr(figures, "report_claims", lambda figure, runs, folder, margins: judged.append(runs) or ("", []))
    other = make_config(epochs=0, model="fc5", dataset="digits_parity", size=1 / 64)
    define(monkeypatch)
    assert carry_out_requests([ask(tmp_path, other)]) == 0
    # As perceptrons are, whose rows the paper says.
    config = make_config(epochs=0, measured_examples=20)
    for beside, expected in (("fc5", [other]), ("alexnet", []), (None, [])):
        claim = dataclasses.replace(figures.CLAIMS["F16"], beside=beside)
        monkeypatch.setitem(figures.CLAIMS, "F16", claim)
        define(monkeypatch, claims=("F16",))
        assert carry_out_requests([ask(tmp_path, config)]) == 0
        assert [record.config for record in judged[-1].beside] == expected
        assert all(record.curves and record.statistics for record in judged[-1].beside)
        assert names(judged[-1]) == names(drawn[-1]) == [RunDir.of(config, tmp_path).name]


def test_claims_are_judged_with_the_margins_that_are_asked_for(tmp_path, monkeypatch, drawn, capsys):
    judged = []
    monkeypatch.setattr(
        figures, "report_claims", lambda figure, runs, folder, margins: judged.append(margins) or ("", [])
    )
    said = []
    for claims, margins in (((), None), (("F16",), ("gain=0.5", "confidence=0.9")), ((), ("gain=0.5",))):
        define(monkeypatch, claims=claims)
        carry_out_requests([ask(tmp_path, steps=("report",), margins=margins)])
        said.append("no claims, for which --margins would count" in capsys.readouterr().err)
    assert judged == [Margins(), Margins(gain=0.5, confidence=0.9), Margins(gain=0.5)]
    assert said == [False, False, True]


def test_of_a_part_of_the_grid_nothing_is_drawn(tmp_path, monkeypatch, drawn):
    define(monkeypatch, further=[{"draws": 1}])
    assert carry_out_requests([ask(tmp_path, steps=("train",), shard="1/4")]) == 0
    assert len(list(tmp_path.glob("*/config.json"))) == 1
    assert drawn == []


def test_a_candidate_that_diverged_is_not_chosen_and_no_failure(tmp_path, monkeypatch, drawn):
    diverging = make_config(learning_rate=1e30, batch_size=8)
    for fields, code in (({}, 1), ({"choose": lambda runs: runs}, 0)):
        define(monkeypatch, **fields)
        assert carry_out_requests([ask(tmp_path, CONFIGS[0], diverging)]) == code
    assert [record.state for record in drawn[1].records] == ["finished", "diverged"]


def test_settings_need_no_runs(tmp_path, monkeypatch, drawn):
    define(monkeypatch, source=Source.SETTINGS)
    assert carry_out_requests([ask(tmp_path)]) == 0
    # 64 n + n + 10 n + 10 weights of eight hidden units.
    assert list(drawn[0].num_parameters.values()) == [8 * 75 + 10] * len(CONFIGS)
    assert not list(tmp_path.iterdir())


def test_the_plan_of_reports_alone_says_that_nothing_is_run(tmp_path, capsys):
    for steps, expected in ((("report",), "cost: nothing of the 4 runs is run"), (("train",), "4 runs in")):
        assert carry_out_requests([dataclasses.replace(ask(tmp_path, steps=steps), plan=True)]) == 0
        out = capsys.readouterr().out
        assert expected in out
        assert ("parameters," in out) == (steps == ("train",))


def test_plans_of_several_figures_end_with_what_they_are_together(tmp_path, capsys):
    one, other = (dataclasses.replace(ask(tmp_path, *configs), plan=True) for configs in (CONFIGS[:3], CONFIGS[1:]))
    reported = [dataclasses.replace(ask(tmp_path, steps=("report",)), plan=True)] * 2
    for requests in ([one], reported):
        assert carry_out_requests(requests) == 0
        assert "together" not in capsys.readouterr().out
    assert carry_out_requests([one, other]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("2 figures together: 4 runs, each counted once; left of 4: ")


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_damaged_images_of_one_run_are_named_and_the_others_are_drawn(tmp_path, monkeypatch, drawn, content, capsys):
    define(monkeypatch, source=Source.IMAGES)
    bad, good = CONFIGS[:2]
    for config, text in ((bad, content), (good, json.dumps({"taps": []}))):
        path = visualized_file(RunDir.of(config, tmp_path), config)
        path.parent.mkdir(parents=True)
        path.write_text(text)
    assert commands.carry_out_figure(ask(tmp_path, bad, good, steps=("report",))) == 1
    name = RunDir.of(bad, tmp_path).name
    assert f"{NAME}: left out: {name}: {visualized_file(RunDir.of(bad, tmp_path), bad)}: exp" in capsys.readouterr().err
    assert [run.name for run in drawn[0].drawn] == [RunDir.of(good, tmp_path).name]


def test_a_figure_whose_data_are_not_there_is_passed_over(tmp_path, monkeypatch, drawn, capsys):
    define(monkeypatch, source=Source.SETTINGS)
    absent = make_config(model="alexnet", dataset="cifar10")
    requests = [ask(tmp_path, absent, data_dir=str(tmp_path)), ask(tmp_path)]
    assert carry_out_requests(requests) == 1
    assert f"{NAME}: --dataset=cifar10: expected" in capsys.readouterr().err
    assert len(drawn) == 1
