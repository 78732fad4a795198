"""Prepared data: where they are found, and the command that is named where they are not."""

import dataclasses
import json
import pathlib
import shlex

import pytest

from tfunits.configs import (
    ExecutionConfig,
    UserError,
    describe_missing,
    find_prepared,
    is_prepared,
    resolve_all,
    resolve_data_dir,
    run_id,
)
from tfunits.configs.flags import Request

PREPARED = {"cifar10": "cifar10", "cifar100": "cifar100", "mnist": "mnist", "mnist_parity": "mnist",
            "imagenet2012": "imagenet2012"}  # fmt: skip
BINARY = {"cifar10": "cifar-10-batches-bin", "cifar100": "cifar-100-binary"}


def prepare(root: pathlib.Path, name: str, version: str = "3.0.2") -> pathlib.Path:
    """What tensorflow-datasets leaves last when it has prepared a data set."""
    folder = root / name / version
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text("{}")
    return folder


@pytest.mark.parametrize(("dataset", "name"), PREPARED.items())
def test_prepared_data_are_found(tmp_path: pathlib.Path, dataset: str, name: str) -> None:
    assert not is_prepared(dataset, str(tmp_path))
    folder = prepare(tmp_path, name)
    assert is_prepared(dataset, str(tmp_path))
    assert find_prepared(dataset, str(tmp_path)) == folder


@pytest.mark.parametrize(
    ("versions", "highest"),
    [
        (["3.0.2", "3.0.10", "2.9.9"], "3.0.10"),
        (["10.0.0", "9.9.9"], "10.0.0"),
        (["1.0.0", "incomplete.AB3DEF_3.0.2"], "1.0.0"),
        (["1.0.0", "9.9.9.9", "9.9", "latest", "2.0.0-beta"], "1.0.0"),
    ],
)
def test_the_highest_version_wins(tmp_path: pathlib.Path, versions: list[str], highest: str) -> None:
    folders = {version: prepare(tmp_path, "mnist", version) for version in versions}
    assert find_prepared("mnist", str(tmp_path)) == folders[highest]


@pytest.mark.parametrize("version", ["incomplete.AB3DEF_3.0.2", "incomplete.123456_3.0.2", "3.0"])
def test_what_a_killed_preparation_left_is_not_prepared(tmp_path: pathlib.Path, version: str) -> None:
    """tensorflow-datasets writes there and renames at the end."""
    prepare(tmp_path, "cifar10", version)
    assert not is_prepared("cifar10", str(tmp_path))


def test_a_version_without_its_description_is_not_prepared(tmp_path: pathlib.Path) -> None:
    (tmp_path / "mnist" / "3.0.1").mkdir(parents=True)
    assert not is_prepared("mnist", str(tmp_path))
    (tmp_path / "mnist" / "3.0.1" / "dataset_info.json").touch()
    assert is_prepared("mnist", str(tmp_path))


@pytest.mark.parametrize(("dataset", "folder"), BINARY.items())
def test_the_archives_of_cifar_are_read_where_nothing_better_is(
    tmp_path: pathlib.Path, dataset: str, folder: str
) -> None:
    (tmp_path / folder).mkdir()
    assert find_prepared(dataset, str(tmp_path)) == tmp_path / folder
    assert [name for name in PREPARED if is_prepared(name, str(tmp_path))] == [dataset]
    version = prepare(tmp_path, dataset)
    assert find_prepared(dataset, str(tmp_path)) == version


def test_an_archive_that_is_not_unpacked_is_not_prepared(tmp_path: pathlib.Path) -> None:
    (tmp_path / "cifar-10-batches-bin").touch()
    assert not is_prepared("cifar10", str(tmp_path))


@pytest.mark.parametrize("dataset", ["digits", "digits_parity", "uncorrelated10", "uncorrelated10000", "folder:/gone"])
def test_other_data_need_no_preparation(tmp_path: pathlib.Path, dataset: str) -> None:
    assert is_prepared(dataset, str(tmp_path))


@pytest.mark.parametrize("dataset", [name for name in PREPARED if name != "imagenet2012"])
def test_missing_data_are_named_with_the_command_that_prepares_them(tmp_path: pathlib.Path, dataset: str) -> None:
    name = PREPARED[dataset]
    by_hand = {
        "cifar10": ", or unpack cifar-10-binary.tar.gz there",
        "cifar100": ", or unpack cifar-100-binary.tar.gz there",
    }.get(dataset, "")
    expected = (
        f"--dataset={dataset}: expected {name} prepared in {tmp_path}, received nothing there; "
        f"run `tfds build {name} --data_dir={tmp_path}` or add --download{by_hand}, "
        "or name another folder with --data_dir"
    )
    assert describe_missing(dataset, str(tmp_path)) == expected
    with pytest.raises(UserError) as caught:
        find_prepared(dataset, str(tmp_path))
    assert str(caught.value) == expected


def test_missing_imagenet_is_named_with_the_place_of_its_archives(tmp_path: pathlib.Path) -> None:
    """Where tensorflow-datasets looks for them: <data_dir>/downloads/manual."""
    assert describe_missing("imagenet2012", str(tmp_path)) == (
        f"--dataset=imagenet2012: expected imagenet2012 prepared in {tmp_path}, received nothing there; "
        f"put ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar into {tmp_path}/downloads/manual and "
        f"run `tfds build imagenet2012 --data_dir={tmp_path}`, or name another folder with --data_dir"
    )


@pytest.mark.parametrize("dataset", PREPARED)
@pytest.mark.parametrize("name", ["my data", "it's", "$HOME", "a;b"])
def test_the_command_may_be_pasted_whatever_the_folders_name(dataset: str, name: str) -> None:
    command = describe_missing(dataset, f"/data/{name}").split("`")[1]
    assert shlex.split(command) == ["tfds", "build", PREPARED[dataset], f"--data_dir=/data/{name}"]


def test_without_a_folder_it_is_that_of_tensorflow_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert resolve_data_dir(None) == pathlib.Path("/home/someone/tensorflow_datasets")
    assert resolve_data_dir("~/data") == pathlib.Path("/home/someone/data")
    assert resolve_data_dir("~nobody_of_this_name/data") == pathlib.Path("~nobody_of_this_name/data")
    assert "--data_dir=/home/someone/tensorflow_datasets`" in describe_missing("mnist", None)


def request_of(tmp_path: pathlib.Path, *, plan: bool = False, datasets: tuple = ("cifar10",), **how: object) -> Request:
    """A command line whose prepared data would lie in an empty folder."""
    (tmp_path / "data").mkdir(exist_ok=True)
    configs = resolve_all({"model": "alexnet", "dataset": name} for name in datasets)
    execution = ExecutionConfig(data_dir=str(tmp_path / "data"), run_root=str(tmp_path / "runs"), **how)
    return Request(experiments=tuple(configs), execution=execution, plan=plan, dataset_given=True)


def test_missing_data_are_refused_before_anything_is_run(tmp_path: pathlib.Path) -> None:
    request = request_of(tmp_path)
    with pytest.raises(UserError, match="^--dataset=cifar10: expected cifar10 prepared in "):
        request.check_data()
    prepare(tmp_path / "data", "cifar10")
    request.check_data()


def test_the_one_that_is_missing_is_named(tmp_path: pathlib.Path) -> None:
    prepare(tmp_path / "data", "cifar10")
    with pytest.raises(UserError, match="^--dataset=mnist: expected mnist prepared in "):
        request_of(tmp_path, datasets=("digits", "cifar10", "mnist")).check_data()


@pytest.mark.parametrize("how", [{"plan": True}, {"steps": ("report",)}, {"download": True}])
def test_what_reads_no_data_or_fetches_them_is_not_refused(tmp_path: pathlib.Path, how: dict) -> None:
    request_of(tmp_path, **how).check_data()


@pytest.mark.parametrize("steps", [("train",), ("measure",), ("measure", "report"), None])
def test_what_reads_data_is_refused(tmp_path: pathlib.Path, steps: tuple | None) -> None:
    with pytest.raises(UserError, match="^--dataset=cifar10: "):
        request_of(tmp_path, steps=steps).check_data()


@pytest.mark.parametrize(
    ("status", "is_refused"),
    [
        ('{"state": "finished"}', False),
        ('{"state": "running"}', True),
        ('{"state": "failed"}', True),
        ('["finished"]', True),
        ("{", True),
        (None, True),
    ],
)
def test_a_finished_run_reads_no_data(tmp_path: pathlib.Path, status: str | None, is_refused: bool) -> None:
    request = request_of(tmp_path)
    run = tmp_path / "runs" / run_id(request.experiments[0])
    run.mkdir(parents=True)
    if status is not None:
        (run / "status.json").write_text(status)
    if is_refused:
        with pytest.raises(UserError, match="^--dataset=cifar10: "):
            request.check_data()
    else:
        request.check_data()


def test_one_unfinished_run_of_a_grid_needs_the_data(tmp_path: pathlib.Path) -> None:
    request = request_of(tmp_path)
    run = tmp_path / "runs" / run_id(request.experiments[0])
    run.mkdir(parents=True)
    (run / "status.json").write_text(json.dumps({"state": "finished"}))
    more = resolve_all({"model": "alexnet", "dataset": "cifar10", "seed": seed} for seed in (0, 1))
    with pytest.raises(UserError, match="^--dataset=cifar10: "):
        dataclasses.replace(request, experiments=tuple(more)).check_data()
