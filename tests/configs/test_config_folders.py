"""Folders of images: what is listed, what is refused, and how a run of one is named."""

import os
import pathlib
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_trees import number_images, write_images

from tfunits.configs import (
    DataConfig,
    Folder,
    UserError,
    as_dict,
    folders,
    from_dict,
    identity,
    list_images,
    resolve,
    resolve_all,
    resolve_defaults,
    run_id,
)

SEARCH = settings(deadline=None, derandomize=True, max_examples=50)
SPLITS = {f"{split}/{name}/{number}.png": 0 for split in ("train", "test") for name in "ab" for number in range(4)}


def listed(root: pathlib.Path, files: dict[str, int]) -> Folder:
    return list_images(write_images(root, files).removeprefix("folder:"))


def refusal(root: pathlib.Path, files: dict[str, int]) -> str:
    """What is said of a folder, without its path."""
    with pytest.raises(UserError) as caught:
        listed(root, files)
    return str(caught.value).replace(f"--dataset=folder:{root}: ", "")


def resolve_folder(dataset: str, **given: object) -> object:
    return resolve({"model": "resnet18", "dataset": dataset, "batch_size": 4, **given})


def test_a_sub_folder_is_a_class(tmp_path: pathlib.Path) -> None:
    folder = listed(tmp_path, {"dog/1.jpg": 0, "cat/2.jpg": 0, "cat/1.png": 0, **number_images("bee", 3)})
    assert folder.class_names == ("bee", "cat", "dog")
    assert folder.splits["all"][3:] == (("cat/1.png", 1), ("cat/2.jpg", 1), ("dog/1.jpg", 2))
    assert set(folder.splits) == {"all"}
    assert folder.path == str(tmp_path)


def test_splits_of_ones_own_are_kept(tmp_path: pathlib.Path) -> None:
    folder = listed(tmp_path, {**SPLITS, "validation/a/9.png": 0, "validation/b/9.png": 0})
    assert folder.class_names == ("a", "b")
    assert folder.count_splits() == {"train": 8, "validation": 2, "test": 8}
    assert folder.splits["validation"] == (("validation/a/9.png", 0), ("validation/b/9.png", 1))


def test_val_is_validation(tmp_path: pathlib.Path) -> None:
    folder = listed(tmp_path, {**SPLITS, "val/a/9.png": 0, "val/b/9.png": 0})
    assert folder.splits["validation"] == (("val/a/9.png", 0), ("val/b/9.png", 1))


def test_a_folder_may_have_no_validation_images(tmp_path: pathlib.Path) -> None:
    assert listed(tmp_path, SPLITS).count_splits() == {"train": 8, "validation": 0, "test": 8}


def test_train_and_test_beside_another_folder_are_classes(tmp_path: pathlib.Path) -> None:
    folder = listed(tmp_path, {f"{name}/{number}.jpg": 0 for name in ("train", "test", "ship") for number in (1, 2)})
    assert folder.class_names == ("ship", "test", "train")


@pytest.mark.parametrize(
    ("name", "is_image"),
    [
        ("1.jpg", True),
        ("1.JPG", True),
        ("1.Jpeg", True),
        ("1.PNG", True),
        ("1.bmp", True),
        ("1.gif", True),
        ("1.b.jpg", True),
        ("1.txt", False),
        ("Thumbs.db", False),
        ("jpg", False),
        ("1.jpg.tmp", False),
        (".1.jpg", False),
        ("._1.jpg", False),
    ],
)
def test_images_are_known_by_their_suffix(tmp_path: pathlib.Path, name: str, is_image: bool) -> None:
    folder = listed(tmp_path, {**number_images("a", 5), "b/0.jpg": 0, f"b/{name}": 0})
    names = [path for path, label in folder.splits["all"] if label == 1]
    assert names == ["b/0.jpg", f"b/{name}"][: 1 + is_image]


def test_a_folder_with_an_images_name_is_no_image(tmp_path: pathlib.Path) -> None:
    (tmp_path / "b" / "album.jpg").mkdir(parents=True)
    assert len(listed(tmp_path, {**number_images("a", 5), "b/0.jpg": 0}).splits["all"]) == 6


@pytest.mark.parametrize("hidden", [".git/0.jpg", ".cache/0.png", ".hidden.jpg"])
def test_hidden_folders_are_no_classes(tmp_path: pathlib.Path, hidden: str) -> None:
    files = {**number_images("a", 3), **number_images("b", 3)}
    assert listed(tmp_path, {**files, hidden: 0}) == listed(tmp_path, files)


@pytest.mark.parametrize("hidden", [".git/train/0.jpg", "train/.cache/0.jpg", "test/.cache/0.jpg"])
def test_hidden_folders_do_not_hide_splits(tmp_path: pathlib.Path, hidden: str) -> None:
    folder = listed(tmp_path, {**SPLITS, hidden: 0})
    assert (set(folder.splits), folder.class_names) == ({"train", "test"}, ("a", "b"))


def test_a_class_without_images_is_none(tmp_path: pathlib.Path) -> None:
    (tmp_path / "empty").mkdir()
    assert listed(tmp_path, {**number_images("a", 3), **number_images("b", 3)}).class_names == ("a", "b")


TOO_FEW_CLASSES = "expected at least two sub-folders with images (.jpg, .jpeg, .png, .bmp, .gif),"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, f"{TOO_FEW_CLASSES} received 0; put every class into a sub-folder of its own"),
        (number_images(".", 9), f"{TOO_FEW_CLASSES} received 0; put every class into a sub-folder of its own"),
        (number_images("a", 9), f"{TOO_FEW_CLASSES} received 1; put every class into a sub-folder of its own"),
        (number_images("train/a", 9), "expected a folder test beside train, received none; add it"),
        ({**SPLITS, "test/c/0.jpg": 0}, "expected the classes of train in test, received others"),
        ({**SPLITS, "val/a/0.jpg": 0}, "expected the classes of train in val, received others"),
        ({**SPLITS, "val/a/0.jpg": 0, "validation/a/0.jpg": 0},
         "expected one folder of validation images, received val and validation; join them"),
        ({"a/0.jpg": 0, "b/0.jpg": 0, "b/1.jpg": 0, "b/2.jpg": 0, "b/3.jpg": 0},
         "expected at least 6 images, of which a tenth is for tests, received 5; or folders train and test"),
    ],
)  # fmt: skip
def test_what_is_no_folder_of_images_is_refused(tmp_path: pathlib.Path, files: dict, message: str) -> None:
    assert refusal(tmp_path, files) == message


def test_six_images_are_enough(tmp_path: pathlib.Path) -> None:
    folder = listed(tmp_path, {"a/0.jpg": 0, **number_images("b", 5)})
    assert folder.count_splits() == {"train": 4, "validation": 1, "test": 1}


@pytest.mark.parametrize("path", ["", "missing", "two\nlines", "file.jpg"])
def test_a_path_that_is_no_folder_is_refused_in_one_line(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path, {"file.jpg": 0, **number_images("a", 5), **number_images("b", 5)})
    with pytest.raises(UserError) as caught:
        resolve_folder(f"folder:{path}")
    shown = path.replace("\n", " ")
    assert str(caught.value) == (f"--dataset=folder:{shown}: expected an existing folder with one sub-folder a class")


@SEARCH
@given(total=st.integers(6, 3000))
def test_a_folder_without_splits_is_split_80_10_10(total: int) -> None:
    counts = Folder(path="", class_names=("a", "b"), splits={"all": (("a/0.jpg", 0),) * total}).count_splits()
    assert sum(counts.values()) == total
    assert counts["validation"] == counts["test"]
    assert abs(counts["test"] - total / 10) <= 0.5
    assert counts["test"] >= 1


@pytest.fixture
def pets(tmp_path: pathlib.Path) -> str:
    return write_images(tmp_path / "here" / "pets", {**number_images("cat", 20), **number_images("dog", 20)})


def test_a_runs_numbers_are_those_of_the_folder(pets: str) -> None:
    config = resolve_folder(pets)
    assert (config.data.num_train, config.data.num_validation, config.data.num_test) == (32, 4, 4)
    assert config.data.num_classes == 2
    assert config.data.folder_counts == (2, 32, 4, 4)
    assert config.data.input_shape == (224, 224, 3)
    assert DataConfig(dataset=pets).input_shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_examples": 33}, "--num_examples=33: expected at most the 32 training examples of folder:"),
        ({"test_examples": 3}, "--test_examples=3: expected no such flag with --dataset=folder:"),
        ({"validation_examples": 3}, "--validation_examples=3: expected no such flag with --dataset=folder:"),
        ({"split": "ordered"}, "--split=ordered: expected no such flag with --dataset=folder:"),
        ({"batch_size": 33}, "--batch_size=33: expected a batch of at most the 32 training examples of folder:"),
        (
            {"preprocessing": "crop28"},
            "--preprocessing=crop28: expected one of image32, image224, image299 for folder:",
        ),
        ({"model": "fc5"}, "--dataset=folder:"),
    ],
)
def test_what_a_folder_cannot_have_is_refused(pets: str, given: dict, message: str) -> None:
    with pytest.raises(UserError) as caught:
        resolve_folder(pets, **given)
    assert str(caught.value).startswith(message)


def test_a_run_is_named_by_what_the_folder_holds_not_by_where_it_lies(pets: str, tmp_path: pathlib.Path) -> None:
    """The digits are frozen: if they move, runs of folders lose their directories."""
    first = run_id(resolve_folder(pets))
    shutil.move(tmp_path / "here", tmp_path / "there")
    second = resolve_folder(f"folder:{tmp_path / 'there' / 'pets'}")
    assert run_id(second) == first == "resnet18-folder_pets-s1-0-04f77b8025"
    assert str(tmp_path) not in str(identity(second))


@pytest.mark.parametrize("change", ["renamed", "longer", "added", "removed", "other class", "split"])
def test_a_change_of_the_folder_is_another_run(pets: str, tmp_path: pathlib.Path, change: str) -> None:
    before = run_id(resolve_folder(pets))
    root = tmp_path / "here" / "pets"
    if change == "renamed":
        (root / "cat" / "3.jpg").rename(root / "cat" / "x.jpg")
    elif change == "longer":
        (root / "cat" / "3.jpg").write_bytes(b"0")
    elif change == "added":
        (root / "cat" / "x.jpg").touch()
    elif change == "removed":
        (root / "cat" / "3.jpg").unlink()
    elif change == "other class":
        (root / "cat" / "3.jpg").rename(root / "dog" / "x.jpg")
    else:
        shutil.copytree(root, tmp_path / "train")
        shutil.rmtree(root)
        shutil.copytree(tmp_path / "train", root / "train")
        (tmp_path / "train").rename(root / "test")
    assert run_id(resolve_folder(pets)) != before


def test_what_is_no_image_does_not_change_the_run(pets: str, tmp_path: pathlib.Path) -> None:
    before = run_id(resolve_folder(pets))
    write_images(tmp_path / "here" / "pets", {"readme.txt": 3, "cat/notes.txt": 5, ".cache/0.jpg": 1})
    assert run_id(resolve_folder(pets)) == before


@pytest.mark.parametrize(
    ("spelling", "name"),
    [("pets", "folder_pets"), ("pets/", "folder_pets"), ("./pets", "folder_pets"), ("pets/.", "folder_pets"),
     ("~/pets", "folder_pets"), ("pets/../pets", "folder_pets")],
)  # fmt: skip
def test_every_spelling_of_a_path_is_the_same_run(
    pets: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, spelling: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "here"))
    found = run_id(resolve_folder(f"folder:{spelling}"))
    assert found == run_id(resolve_folder(pets))
    assert found.split("-")[1] == name


def test_the_folder_that_one_is_in_has_its_own_name(
    pets: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path / "here" / "pets")
    assert run_id(resolve_folder("folder:.")) == run_id(resolve_folder(pets))


@pytest.mark.parametrize(
    ("name", "shown"), [("my pets (2)", "folder_my_pets_2_"), ("été", "folder__t_"), ("a-b", "folder_a_b")]
)
def test_a_runs_name_has_only_characters_that_every_file_system_has(
    tmp_path: pathlib.Path, name: str, shown: str
) -> None:
    folder = write_images(tmp_path / name, {**number_images("a", 10), **number_images("b", 10)})
    assert run_id(resolve_folder(folder)).split("-")[1] == shown


def test_a_name_that_is_no_unicode_is_listed(tmp_path: pathlib.Path) -> None:
    folder = write_images(tmp_path / "odd", {**number_images("a", 5), **number_images("b", 5)})
    before = run_id(resolve_folder(folder))
    (tmp_path / "odd" / "a" / os.fsdecode(b"\xff.jpg")).touch()
    assert run_id(resolve_folder(folder)) != before


def test_a_stored_run_needs_no_folder(pets: str, tmp_path: pathlib.Path) -> None:
    config = resolve_folder(pets, num_examples=8)
    name, stored = run_id(config), as_dict(config)
    shutil.rmtree(tmp_path / "here")
    read = from_dict(stored)
    assert read == config
    assert (run_id(read), identity(read)) == (name, identity(config))
    assert (read.data.num_train, read.data.num_test, read.data.num_classes) == (8, 4, 2)
    with pytest.raises(UserError, match="expected an existing folder"):
        resolve_folder(pets)


def test_what_a_stored_run_changed_of_its_recipe_needs_no_folder(pets: str, tmp_path: pathlib.Path) -> None:
    """Reports name the fields that a user set, also of a folder with fewer images than the recipe's batch."""
    stored = as_dict(resolve_folder(pets, epochs=3, num_examples=8))
    shutil.rmtree(tmp_path / "here")
    recipe = resolve_defaults(from_dict(stored))
    assert (recipe.training.batch_size, recipe.training.epochs, recipe.data.num_train) == (256, 90, 32)


def test_the_listing_of_one_folder_is_not_that_of_another(pets: str, tmp_path: pathlib.Path) -> None:
    other = write_images(tmp_path / "birds", {**number_images("a", 10), **number_images("b", 10)})
    given = {"model": "resnet18", "batch_size": 4}
    data = resolve({**given, "dataset": pets}).data
    assert resolve({**given, "dataset": other}, folder=data) == resolve({**given, "dataset": other})
    assert resolve({**given, "dataset": "digits"}, folder=data) == resolve({**given, "dataset": "digits"})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("num_examples", 33, "--num_examples=33: expected at most the 32"),
        ("preprocessing", "crop28", "--preprocessing=crop28: expected one of image32"),
        ("folder_counts", [2, 32], "folder_counts: expected four numbers, received 2"),
        ("folder_counts", [2, 32, -4, 4], "--folder_counts=2,32,-4,4: expected a whole number of at least 0"),
    ],
)
def test_a_stored_run_of_a_folder_is_validated(pets: str, name: str, value: object, message: str) -> None:
    stored = as_dict(resolve_folder(pets))
    stored["data"][name] = value
    with pytest.raises(UserError) as caught:
        from_dict(stored)
    assert str(caught.value).startswith(message)


def test_a_folder_that_grows_within_a_session_is_seen(pets: str, tmp_path: pathlib.Path) -> None:
    assert resolve_folder(pets).data.num_train == 32
    write_images(tmp_path / "here" / "pets", number_images("cow", 20))
    assert resolve_folder(pets).data.folder_counts == (3, 48, 6, 6)


def test_a_grid_lists_a_folder_once(pets: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of a million images takes seconds."""
    scanned = []
    monkeypatch.setattr(folders, "_scan", lambda path, scan=folders._scan: scanned.append(str(path)) or scan(path))
    common = {"model": "resnet18", "dataset": pets, "batch_size": 4}
    configs = resolve_all({**common, "seed": seed} for seed in range(5))
    assert len(configs) == 5
    assert sum(path.endswith("/cat") for path in scanned) == 1


def test_a_grid_may_hold_two_folders(pets: str, tmp_path: pathlib.Path) -> None:
    other = write_images(tmp_path / "birds", {**number_images("a", 10), **number_images("b", 10)})
    configs = resolve_all({"model": "resnet18", "dataset": name, "batch_size": 4} for name in (pets, other, "digits"))
    assert [config.data.num_train for config in configs] == [32, 16, 1078]


def test_no_validation_images_no_early_stop(tmp_path: pathlib.Path) -> None:
    """AlexNet's recipe waits for the validation accuracy; it can wait for the training accuracy too."""
    folder = write_images(tmp_path, SPLITS)
    given = {"model": "alexnet", "dataset": folder, "batch_size": 4}
    training = resolve(given).training
    assert (training.patience, training.measured_weights) == (None, "last")
    training = resolve({**given, "monitor": "train"}).training
    assert (training.patience, training.measured_weights) == (50, "last")
