"""Flags from fields, and experiments from flags."""

import dataclasses
import pathlib
import subprocess
import sys

import pytest
from image_trees import number_images, write_images

from tfunits.configs import (
    DATASETS,
    MODELS,
    ExecutionConfig,
    ExperimentConfig,
    UserError,
    flags,
    list_figures,
    resolve,
    run_id,
)
from tfunits.configs.resolve import experiment_fields

REPOSITORY = pathlib.Path(__file__).parents[2]
FLAGS = list(experiment_fields())
FLAGS += [field.name for field in dataclasses.fields(ExecutionConfig)]
OTHER_FLAGS = ["grid", "figure", "plan", "small", "help", "version"]
PAPERS = [(model, name) for model, known in MODELS.items() for name in known.papers_dataset_name.split(" or ")]


def read(*arguments: str) -> flags.Request:
    """What a command line asks for."""
    registry = flags.make_flags()
    flags.parse(registry, ["run_experiments.py", *arguments])
    return flags.read_command_line(registry)


def read_one(*arguments: str) -> ExperimentConfig:
    (config,) = read(*arguments).experiments
    return config


def test_no_flag_at_all_is_alexnet_on_digits() -> None:
    request = read()
    assert request.experiments == (resolve({"model": "alexnet", "dataset": "digits"}),)
    assert request.execution == ExecutionConfig()
    assert (request.plan, request.dataset_given) == (False, False)


@pytest.mark.parametrize("name", FLAGS + OTHER_FLAGS)
def test_every_field_is_a_flag_and_the_help_page_explains_it(name: str) -> None:
    registry = flags.make_flags()
    page = flags.help_text(registry, "usage")
    entry = page.split(f"\n  --{name}\n")[1].split("\n  --")[0]
    assert " ".join(registry[name].help.split()) in " ".join(entry.split())


def test_there_is_no_flag_beside_these() -> None:
    """DESIGN section 2 lists the flags; a name that goes breaks users' flagfiles and scripts."""
    assert set(flags.make_flags()) == {*FLAGS, *OTHER_FLAGS}
    assert {"model", "size", "dataset", "num_examples", "random_labels", "data_seed", "seed", "initializer"} <= set(
        FLAGS
    )
    assert {"init_scale", "optimizer", "learning_rate", "momentum", "schedule", "weight_decay"} <= set(FLAGS)
    assert {"batch_size", "epochs", "k", "regularizers", "ablation_unit", "steps", "save", "run_root"} <= set(FLAGS)
    assert {"data_dir", "num_devices", "deterministic", "protocol", "test_examples"} <= set(FLAGS)
    assert {"layer_size", "last_width", "download", "keep_epochs"} <= set(FLAGS)
    assert {"taps", "units", "batch", "image_size"} <= set(FLAGS)
    assert "small" in OTHER_FLAGS
    assert not {"model_file_sha256", "folder_sha256", "folder_counts"} & set(FLAGS)


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("size", "(a number above 0 and of at most 1000000; default 1.0)"),
        ("monitor", "(one of validation, train; by default the recipe's)"),
        ("stop_accuracy", "(a number above 0 and of at most 1; by default the recipe's)"),
        ("weight_decay_choices", "(a list, each a number of at least 0; by default the recipe's)"),
        ("background_class", "(by default the recipe's)"),
        ("label_smoothing", "(a number of at least 0 and of at most 1; by default the recipe's)"),
        ("shuffle", "(default true)"),
        ("split", "(one of random, ordered; default random)"),
        ("download", "(default false)"),
        # The embedded data depend on the network.
        ("dataset", "the network's embedded one if not given"),
        ("keep_epochs", "e.g. 1,2,5,last8,every10"),
    ],
)
def test_the_help_page_says_what_a_flag_accepts_and_what_holds_without_it(name: str, note: str) -> None:
    page = flags.help_text(flags.make_flags(), "usage")
    entry = " ".join(page.split(f"\n  --{name}\n")[1].split("\n  --")[0].split("\n\n")[0].split())
    assert entry.endswith(note)


def test_the_help_page_fits_a_terminal() -> None:
    lines = flags.help_text(flags.make_flags(), "usage").splitlines()
    assert lines[0] == "usage"
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize(
    ("argument", "name", "values"),
    [
        ("--size=0.25,1,2", "size", [0.25, 1, 2]),
        ("--size=0.25, 1", "size", [0.25, 1]),
        ("--seed=2,0", "seed", [2, 0]),
        ("--initializer=he_normal,lecun_uniform", "initializer", ["he_normal", "lecun_uniform"]),
        ("--random_labels=false,true", "random_labels", [False, True]),
        ("--dataset=cifar100,digits", "dataset", ["cifar100", "digits"]),
        ("--precision=float32,mixed_bfloat16", "precision", ["float32", "mixed_bfloat16"]),
        ("--noshuffle", "shuffle", [False]),
        ("--random_labels=1", "random_labels", [True]),
        ("--random_labels", "random_labels", [True]),
        ("--norandom_labels", "random_labels", [False]),
        ("--regularizers=none,augmentation+dropout,all", "regularizers",
         [("none",), ("augmentation", "dropout"), ("augmentation", "dropout", "weight_decay")]),
    ],
)  # fmt: skip
def test_a_comma_makes_an_axis(argument: str, name: str, values: list) -> None:
    sections = [{**vars(c.model), **vars(c.data), **vars(c.training)} for c in read(argument).experiments]
    assert [section[name] for section in sections] == values


@pytest.mark.parametrize(
    ("model", "argument", "name", "values"),
    [
        ("inception_v3", "--layer_size=0.25,4", "layer_size", [0.25, 4]),
        ("inception_v3", "--noauxiliary_head", "auxiliary_head", [False]),
        # True is what holds without the flag.
        ("inception_v3", "--auxiliary_head=false,true", "auxiliary_head", [False, None]),
        ("inception_v3", "--unscaled_branch=0", "unscaled_branch", [False]),
        ("wide_resnet28", "--last_width=64,128", "last_width", [64, 128]),
    ],
)
def test_options_of_a_network_are_axes(model: str, argument: str, name: str, values: list) -> None:
    configs = read(f"--model={model}", argument).experiments
    assert [getattr(config.model, name) for config in configs] == values


def test_axes_make_a_product_with_the_last_fastest() -> None:
    configs = read("--seed=0,1", "--size=0.25,1").experiments
    assert [(config.model.size, config.training.seed) for config in configs] == [(0.25, 0), (0.25, 1), (1, 0), (1, 1)]


@pytest.mark.parametrize(
    ("argument", "name", "value"),
    [
        ("--measured_splits=train,test", "measured_splits", ("train", "test")),
        ("--ablation_unit=channel,location", "ablation_unit", ("channel", "location")),
    ],
)
def test_a_list_of_measures_is_no_axis(argument: str, name: str, value: tuple) -> None:
    assert getattr(read_one(argument).measure, name) == value


@pytest.mark.parametrize("argument", ["--draws=1,2", "--protocol=exact,authors", "--tolerance=0.1,0.2"])
def test_how_is_measured_is_no_axis_either(argument: str) -> None:
    """Two ways of measuring would be one run."""
    with pytest.raises(UserError, match=f"^{argument}: expected"):
        read(argument)


def test_drop_epochs_are_a_list() -> None:
    assert read_one("--schedule=piecewise", "--drop_epochs=3,6.5").training.drop_epochs == (3, 6.5)


def test_weight_decays_to_choose_from_are_a_list() -> None:
    training = read_one("--model=resnet18", "--weight_decay_choices=0,1e-4").training
    assert (training.weight_decay_choices, training.weight_decay) == ((0, 1e-4), 0)


def test_epochs_to_keep_are_a_list_and_no_part_of_a_run() -> None:
    request = read("--keep_epochs=last8,every10, 3")
    assert request.execution.keep_epochs == ("last8", "every10", "3")
    assert [run_id(config) for config in request.experiments] == [run_id(resolve({}))]


def test_where_and_how_is_no_axis() -> None:
    request = read(
        "--steps=measure,report", "--run_root=here", "--save=metrics", "--num_devices=2", "--nodeterministic",
        "--download", "--worker_timeout=2.5",
    )  # fmt: skip
    assert request.execution == ExecutionConfig(
        steps=("measure", "report"), run_root="here", save="metrics", num_devices=2, deterministic=False,
        download=True, worker_timeout=2.5,
    )  # fmt: skip
    assert [run_id(config) for config in request.experiments] == [run_id(resolve({}))]


def test_without_pyarrow_there_is_no_parquet(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read("--export=results.parquet").execution.export == "results.parquet"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"^--export=results.parquet: expected the package pyarrow.*; pip install"):
        read("--export=results.parquet")
    assert read("--export=results.csv").execution.export == "results.csv"


def test_an_export_is_of_one_figure(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.flags").write_text("--model=mlp\n")
    found = dict.fromkeys(("some/a", "some/b"), tmp_path / "a.flags")
    monkeypatch.setattr(flags, "find_flagfiles", lambda *names: found)

    def read_figures(*argv: str) -> list:
        registry = flags.make_flags()
        flags.parse(registry, ["program", "--figure=all", *argv])
        return flags.read_requests(registry, ["program", "--figure=all", *argv])

    assert len(read_figures()) == 2
    with pytest.raises(UserError, match=r"^--export=a\.csv: expected one figure, since each would replace the file"):
        read_figures("--export=a.csv")
    del found["some/b"]
    assert read_figures("--export=a.csv")[0].execution.export == "a.csv"


def read_figures(*argv: str) -> list[str | None]:
    registry = flags.make_flags()
    flags.parse(registry, ["program", *argv])
    return [request.figure for request in flags.read_requests(registry, ["program", *argv])]


@pytest.mark.parametrize(
    "argv",
    [
        ["--figure=frivolous/fig4d,frivolous/figE7"],
        ["--figure=frivolous/figE7, frivolous/fig4d,frivolous/figE7"],
        ["--figure=frivolous/figE8", "--figure=frivolous/fig4d,frivolous/figE7"],
    ],
    ids=str,
)
def test_several_figures_are_drawn_each_once(argv: list[str]) -> None:
    assert read_figures("--small", *argv) == ["frivolous/fig4d", "frivolous/figE7"]


def test_the_name_of_a_paper_stands_for_all_of_its_figures() -> None:
    assert read_figures("--small", "--figure=redundant") == [f for f in list_figures() if f.startswith("redundant/")]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fig4c", "expected all, a paper or a figure such as frivolous/fig1a; the nearest are frivolous/fig4c,"),
        ("frivolous/", "the nearest are frivolous/fig1a,"),
        ("frivolus", "the nearest are frivolous,"),
        ("frivolous/fig4c,", "--figure=: expected all, a paper or a figure such as frivolous/fig1a; their flagfiles"),
        ("", "--figure=: expected all, a paper"),
        ('"fig1a', '--figure="fig1a: expected all, a paper'),
        ("q", "their flagfiles lie below flags/$"),
    ],
)
def test_a_figure_that_does_not_exist_is_a_users_mistake(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_figures("--small", f"--figure={name}")


def test_a_figure_has_grids_of_its_own() -> None:
    argv = ["program", "--figure=frivolous/figE7", "--grid=size=0.25"]
    registry = flags.make_flags()
    flags.parse(registry, argv)
    with pytest.raises(UserError, match=r"^--grid=size=0\.25: expected no such flag with --figure, whose flagfile has"):
        flags.read_requests(registry, argv)


def test_a_union_of_grids_does_a_shared_run_once() -> None:
    request = read(
        "--model=mlp", "--seed=0,1",
        "--grid=dataset=uncorrelated10 size=0.25,1", "--grid=dataset=uncorrelated10 size=1,2 seed=0",
    )  # fmt: skip
    found = [(config.model.size, config.training.seed) for config in request.experiments]
    assert found == [(0.25, 0), (1, 0), (0.25, 1), (1, 1), (2, 0)]
    assert {config.model.model for config in request.experiments} == {"mlp"}
    assert request.dataset_given


def test_the_small_form_is_noted() -> None:
    assert read("--small").is_small
    assert not read("--size=0.25").is_small


def test_plan_and_data_set_are_noted() -> None:
    request = read("--plan", "--dataset=digits")
    assert (request.plan, request.dataset_given) == (True, True)


@pytest.mark.parametrize("model", sorted(MODELS))
def test_the_first_line_names_the_data_and_the_papers(model: str) -> None:
    line = read(f"--model={model}").describe_data()
    known = MODELS[model]
    assert line.startswith(f"data: {known.default_dataset}, the embedded default (")
    assert f"the papers trained {model} on {known.papers_dataset}" in line
    assert read(f"--model={model}", f"--dataset={known.default_dataset}").describe_data() == line.replace(
        ", the embedded default", ""
    )


@pytest.mark.parametrize(("model", "dataset"), sorted(PAPERS))
def test_the_first_line_says_no_more_where_the_data_are_the_papers(model: str, dataset: str) -> None:
    line = read(f"--model={model}", f"--dataset={dataset}").describe_data()
    assert line == f"data: {dataset} ({DATASETS[dataset].description})"


def test_the_first_line_names_a_folder(tmp_path: pathlib.Path) -> None:
    folder = write_images(tmp_path, {**number_images("cat", 1000), **number_images("dog", 100)})
    assert read("--model=resnet18", f"--dataset={folder}").describe_data() == (
        f"data: {folder} (1,100 images in 2 classes); the papers trained resnet18 on ImageNet (--dataset=imagenet2012)"
    )


def test_the_first_line_of_a_users_own_network_says_nothing_of_papers(tmp_path: pathlib.Path) -> None:
    (tmp_path / "net.keras").write_bytes(b"")
    line = read(f"--model=file:{tmp_path / 'net.keras'}").describe_data()
    assert line.startswith("data: digits, the embedded default (")
    assert "papers" not in line


def test_flags_after_a_flagfile_win(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "some.flags"
    path.write_text("# a comment\n--model=mlp\n\n--size=0.5\n--regularizers=none\n")
    config = read_one(f"--flagfile={path}", "--size=2")
    assert (config.model.model, config.model.size) == ("mlp", 2)


def test_a_missing_data_folder_is_made_by_a_download(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "new"
    assert read(f"--data_dir={folder}", "--download").execution.data_dir == str(folder)
    with pytest.raises(UserError, match="^--data_dir=.*/new: expected an existing folder$"):
        read(f"--data_dir={folder}")
    folder.touch()
    with pytest.raises(UserError, match="^--data_dir=.*/new: expected an existing folder$"):
        read(f"--data_dir={folder}", "--download")


def test_a_data_folder_may_lie_at_home(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "data").mkdir()
    assert read("--data_dir=~/data").execution.data_dir == "~/data"
    with pytest.raises(UserError, match="^--data_dir=~/missing: expected an existing folder$"):
        read("--data_dir=~/missing")


BAD = [
    (["--model=nope"], "--model=nope: expected one of alexnet"),
    (["--dataset=nope"], "--dataset=nope: expected one of digits"),
    (["--dataset=cifar"], "--dataset=cifar: expected one of digits"),
    (["--dataset=folder:missing"], "--dataset=folder:missing: expected an existing folder with one sub-folder a class"),
    (["--dataset=folder:"], "--dataset=folder:: expected an existing folder with one sub-folder a class"),
    (["--dataset=digits,cifar10", "--split=ordered"], "--split=ordered: expected no such flag with --dataset=digits"),
    (["--dataset=cifar10,digits", "--validation_examples=9"],
     "--validation_examples=9: expected no such flag with --dataset=digits"),
    (["--layer_size=2"], "--layer_size=2: expected no such flag with --model=alexnet; for inception_v3"),
    (["--last_width=64"], "--last_width=64: expected no such flag with --model=alexnet; for densenet40, resn"),
    (["--auxiliary_head"], "--auxiliary_head=True: expected no such flag with --model=alexnet; for inception_v3"),
    (["--model=inception_v3", "--auxiliary_head=maybe"], "--auxiliary_head=maybe: expected true or false"),
    (["--model=inception_v3", "--layer_size=0.02"], "--layer_size=0.02: expected a width of at least one unit"),
    (["--model=resnet50", "--size=0.01"], "--size=0.01: expected a width of at least one unit"),
    (["--weight_decay_choices=0,x"], "--weight_decay_choices=x: expected a number of at least 0"),
    (["--weight_decay_choices=0.1"], "--weight_decay_choices=0.1: expected two or more different numbers"),
    (["--keep_epochs=last8,first3"], "--keep_epochs=last8,first3: expected numbers of epochs, lastN or"),
    (["--export=results.xlsx"], "--export=results.xlsx: expected a file whose name ends in .parquet, .csv or .json"),
    ([f"--export={__file__}/all.csv"], f"--export={__file__}/all.csv: expected a file in a folder; {__file__} is a"),
    (["--export=.csv"], "--export=.csv: expected a file whose name ends in"),
    (["--export="], "--export=: expected"),
    (["--keep_epochs=0"], "--keep_epochs=0: expected numbers of epochs, lastN or everyN; '0' is none"),
    (["--keep_epochs="], "--keep_epochs=: expected"),
    (["--keep_epochs=2,9", "--epochs=0,8"], "--keep_epochs=2,9: expected epochs up to the last, 8"),
    (["--standard_error=0.1", "--draws=1"], "--draws=1: expected at least 2 with --standard_error"),
    (["--standard_error=0"], "--standard_error=0: expected"),
    (["--ablation_order=nope"], "--ablation_order=nope: expected one of random, targeted"),
    (["--dynamics=nope"], "--dynamics=nope: expected one of accuracy, ablation"),
    (["--worker_timeout=0"], "--worker_timeout=0: expected a number above 0"),
    (["--precision=float16"], "--precision=float16: expected one of float32, mixed_bfloat16, mixed_float16"),
    (["--monitor=test"], "--monitor=test: expected one of validation, train"),
    (["--split=sorted"], "--split=sorted: expected one of random, ordered"),
    (["--folder_sha256=0"], "--folder_sha256: expected a known flag"),
    (["--folder_counts=2,8,1,1"], "--folder_counts: expected a known flag"),
    (["--data_dir=missing"], "--data_dir=missing: expected an existing folder"),
    (["--initializer=nope"], "--initializer=nope: expected one of glorot_normal"),
    (["--optimizer=nope"], "--optimizer=nope: expected one of momentum"),
    (["--schedule=nope"], "--schedule=nope: expected one of constant"),
    (["--steps=nope"], "--steps=nope: expected one of train, measure, chunks, kinds, stability, dynamics"),
    (["--steps=train,nope"], "--steps=train,nope: expected one of train, measure, chunks, kinds, stability, dynamics"),
    (["--steps="], "--steps=: expected one of train"),
    (
        ["--model=fc5", "--steps=train,visualize"],
        "--steps=visualize: expected data that are images, not digits_parity, whose inputs have no spatial axes",
    ),
    (["--steps=visualize", "--size=0.25", "--units=3,24"], "--units=24: expected 0 to 23, the units of conv1 at size"),
    (["--param=laplacian", "--image_size=7"], "--image_size=7: expected at least 8 pixels with --param=laplacian"),
    (["--save=nope"], "--save=nope: expected one of metrics"),
    (["--protocol=nope"], "--protocol=nope: expected one of exact, authors"),
    (["--size=0"], "--size=0: expected a number above 0"),
    (["--size=-1"], "--size=-1: expected a number above 0"),
    (["--size=nan"], "--size=nan: expected a number above 0"),
    (["--size=inf"], "--size=inf: expected a number above 0"),
    (["--size=1e308"], "--size=1e+308: expected"),
    (["--size=wide"], "--size=wide: expected a number above 0"),
    (["--size="], "--size=: expected a number above 0"),
    (["--size=1,,2"], "--size=: expected a number above 0"),
    (["--size=0.01"], "--size=0.01: expected a width of at least one unit in every layer of alexnet"),
    (["--seed=1.5"], "--seed=1.5: expected a whole number"),
    (["--seed=-1"], "--seed=-1: expected a whole number of at least 0"),
    (["--batch_size=2000"], "--batch_size=2000: expected a batch of at most the 1078"),
    (["--k=0.01"], "--k=0.01: expected a factor"),
    (["--k=1e308"], "--k=1e+308: expected"),
    (["--model=mlp", "--regularizers=dropout"], "--regularizers=dropout: expected"),
    (["--model=mlp", "--dropout_rate=0.5"], "--dropout_rate=0.5: expected"),
    (["--regularizers=none", "--weight_decay=0.1"], "--weight_decay=0.1: expected no such flag"),
    (["--weight_decay=-1"], "--weight_decay=-1: expected a number of at least 0"),
    (["--model=fc5", "--dataset=digits"], "--dataset=digits: expected two classes"),
    (["--model=alexnet", "--dataset=digits_parity"], "--dataset=digits_parity: expected data of kind image"),
    (["--random_labels=maybe"], "--random_labels=maybe: expected true or false"),
    (["--random_labels=true,maybe"], "--random_labels=maybe: expected true or false"),
    (["--deterministic=maybe"], "--deterministic=maybe: expected true or false"),
    (["--plan=5"], "--plan=5: expected"),
    (["--num_devices=0"], "--num_devices=0: expected a whole number of at least 1"),
    (["--grid=model"], "--grid=model: expected words of the form field=value,value; 'model' is none"),
    (["--grid="], "--grid=: expected words of the form field=value,value; '' is none"),
    (["--grid=nope=1"], "--grid=nope=1: expected words of the form"),
    (["--grid=steps=train"], "--grid=steps=train: expected words of the form"),
    (["--grid=draws=3"], "--grid=draws=3: expected words of the form"),
    (["--grid=size=0"], "--size=0: expected a number above 0"),
    (["--grid=weight_decay_choices=0,1"], "--grid=weight_decay_choices=0,1: expected words of the form"),
    (["--model_file_sha256=0"], "--model_file_sha256: expected a known flag"),
    (["size=2"], "size=2: expected only flags of the form --name=value; write --size=2"),
    (["resnet18"], "resnet18: expected only flags of the form --name=value"),
    (["--flagfile=missing.flags"], "--flagfile: expected a readable file; "),
    (["--size"], "Missing value for flag --size"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_bad_input_is_refused_in_one_line_that_names_the_flag(arguments: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        read(*arguments)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("misspelt", "meant"), [("sizes", "size"), ("batchsize", "batch_size"), ("learning_rat", "learning_rate")]
)
def test_a_misspelt_flag_is_answered_with_the_right_one(misspelt: str, meant: str) -> None:
    with pytest.raises(UserError, match=f"^--{misspelt}: expected a known flag; did you mean --{meant}$"):
        read(f"--{misspelt}=1")


def test_a_flagfile_that_is_no_text_is_refused(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "binary.flags"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="^--flagfile: expected a text file"):
        read(f"--flagfile={path}")


def test_flags_load_neither_tensorflow_nor_numpy() -> None:
    """A wrong flag is answered in a fraction of a second only while this holds."""
    code = "import sys, tfunits.configs.flags as flags; flags.make_flags(); print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    loaded = set(answer.stdout.split())
    assert "tfunits.configs.resolve" in loaded
    assert not {"tensorflow", "keras", "numpy"} & loaded
