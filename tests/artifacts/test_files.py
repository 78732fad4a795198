"""Files are whole or absent, and damage is named."""

import json
import math
import pathlib
import resource

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from tfunits.artifacts import (
    read_arrays,
    read_json,
    replacing,
    write_arrays,
    write_figure,
    write_json,
    write_table,
    write_text,
)
from tfunits.artifacts.files import remove_leftovers

SEARCH = settings(deadline=None, derandomize=True, max_examples=50)
ARRAYS = {"weights": np.arange(20.0), "mean": np.arange(6, dtype="int32").reshape(2, 3)}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def names(folder: pathlib.Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def test_a_file_appears_whole_with_its_folder(tmp_path: pathlib.Path) -> None:
    target = tmp_path / "some" / "folder" / "text.keras"
    with replacing(target) as temporary:
        temporary.write_text("half")
        assert not target.exists()
        assert temporary.suffix == ".keras"
        assert temporary.parent == target.parent
    assert target.read_text() == "half"
    assert names(target.parent) == ["text.keras"]


@pytest.mark.parametrize("before", [None, "old"])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_error_leaves_what_was_there(tmp_path: pathlib.Path, before: str | None, error: type) -> None:
    target = tmp_path / "file.txt"
    if before:
        target.write_text(before)

    def write_half() -> None:
        with replacing(target) as temporary:
            temporary.write_text("half")
            raise error

    pytest.raises(error, write_half)
    assert names(tmp_path) == (["file.txt"] if before else [])
    assert not before or target.read_text() == before


def test_a_full_disk_is_said_with_the_file_that_was_being_written(tmp_path: pathlib.Path) -> None:
    """The kernel cuts a write off in the middle; the error of a write does not know its file."""
    path = tmp_path / "weights.npz"
    write_arrays(path, ARRAYS, compress=False)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as error:
            write_arrays(path, {"weights": np.zeros(100_000)}, compress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (error.value.strerror, error.value.filename) == ("File too large", str(path))
    assert names(tmp_path) == ["weights.npz"]
    assert path.read_bytes() == before


def test_an_error_that_names_its_file_keeps_it(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError) as error, replacing(tmp_path / "a"):
        (tmp_path / "other" / "b").read_text()
    assert error.value.filename == str(tmp_path / "other" / "b")


def test_a_value_that_json_cannot_hold_leaves_the_old_file(tmp_path: pathlib.Path) -> None:
    write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"new": object()})
    assert read_json(tmp_path / "a.json") == {"old": 1}
    assert names(tmp_path) == ["a.json"]


def test_leftovers_of_killed_writers_are_removed_and_nothing_else(tmp_path: pathlib.Path) -> None:
    write_text(tmp_path / "kept.json", "{}")
    with replacing(tmp_path / "measures" / "kept.npz") as temporary:
        temporary.write_bytes(b"whole")
        # What another process leaves behind that is killed here.
        temporary.with_name(f"{temporary.name}.killed").write_bytes(b"half")
    assert len(names(tmp_path)) == 4
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["kept.json", "kept.npz", "measures"]


@SEARCH
@given(JSON)
def test_json_comes_back(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.mktemp("json") / "value.json"
    write_json(path, value)
    assert read_json(path) == value
    write_json(path.with_name("again.json"), value)
    assert path.read_bytes() == path.with_name("again.json").read_bytes()


def test_numpy_values_are_plain_and_what_is_not_finite_is_null(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.json"
    value = {"a": np.float32(0.5), "b": np.arange(3), "c": math.nan, "d": [math.inf, np.float64("-inf")], 2: np.True_}
    write_json(path, value)
    assert json.loads(path.read_text()) == {"a": 0.5, "b": [0, 1, 2], "c": None, "d": [None, None], "2": True}


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b'{"a": 1}x', b'\xff{"a": 1}', b"nothing"])
def test_damaged_json_is_named(tmp_path: pathlib.Path, content: bytes) -> None:
    path = tmp_path / "status.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="status.json: expected JSON, received a damaged file"):
        read_json(path)


@pytest.mark.parametrize("compress", [True, False])
def test_arrays_come_back_bit_by_bit(tmp_path: pathlib.Path, rng: np.random.Generator, compress: bool) -> None:
    arrays = {
        **ARRAYS,
        "tap/mean": rng.normal(size=(3, 4)).astype("float32"),
        "none": np.zeros((0, 2)),
        "flag": np.True_,
    }
    write_arrays(tmp_path / "a.npz", arrays, compress=compress)
    again = read_arrays(tmp_path / "a.npz")
    assert list(again) == list(arrays)
    for name, array in arrays.items():
        assert again[name].dtype == array.dtype
        np.testing.assert_array_equal(again[name], array)


@pytest.mark.parametrize("compress", [True, False])
def test_equal_arrays_give_equal_bytes(tmp_path, monkeypatch: pytest.MonkeyPatch, compress: bool) -> None:
    """Whatever the clock and the file's name; an ordinary zip file holds the time."""
    write_arrays(tmp_path / "a.npz", ARRAYS, compress=compress)
    monkeypatch.setattr("time.time", lambda: 2e9)
    write_arrays(tmp_path / "later.npz", {name: array.copy() for name, array in ARRAYS.items()}, compress=compress)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "later.npz").read_bytes()
    write_arrays(tmp_path / "other.npz", {**ARRAYS, "weights": np.arange(20.0) + 1e-9}, compress=compress)
    assert (tmp_path / "a.npz").read_bytes() != (tmp_path / "other.npz").read_bytes()


def assert_named_or_unharmed(path: pathlib.Path) -> bool:
    """Whether reading fails with an error that names the file; if not, the arrays must be right."""
    try:
        arrays = read_arrays(path)
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017
        return True
    assert arrays.keys() == ARRAYS.keys()
    assert all(np.array_equal(arrays[name], ARRAYS[name]) for name in ARRAYS)
    return False


@pytest.mark.parametrize("compress", [True, False])
def test_a_truncated_file_is_named_wherever_it_ends(tmp_path: pathlib.Path, compress: bool) -> None:
    path = tmp_path / "a.npz"
    write_arrays(path, ARRAYS, compress=compress)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert assert_named_or_unharmed(path)


# "PK\1\2" begins the first entry of a zip file's directory, which follows the data.
@pytest.mark.parametrize("part", ["data", "directory"])
@pytest.mark.parametrize("compress", [True, False])
def test_a_flipped_bit_is_named_or_does_no_harm(tmp_path: pathlib.Path, compress: bool, part: str) -> None:
    path = tmp_path / "a.npz"
    write_arrays(path, ARRAYS, compress=compress)
    whole = path.read_bytes()
    directory = whole.index(b"PK\1\2")
    noticed = 0
    for position in range(directory) if part == "data" else range(directory, len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        noticed += assert_named_or_unharmed(path)
    assert noticed


def test_a_missing_file_is_missing_and_not_damaged(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "a.npz")
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "a.json")


def test_a_table_keeps_every_digit(tmp_path: pathlib.Path, rng: np.random.Generator) -> None:
    table = pd.DataFrame({"name": ["a", "b,c", "d"], "value": rng.normal(size=3) / 3, "count": [1, 2, 3]})
    write_table(tmp_path / "table.csv", table)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "table.csv", float_precision="round_trip"), table)
    assert (tmp_path / "table.csv").read_bytes().startswith(b"name,value,count\na,")


def test_a_figure_becomes_a_png_of_its_size(tmp_path: pathlib.Path) -> None:
    png = write_figure(tmp_path / "deep" / "plot.png", Figure(figsize=(3, 2)), dpi=50)
    assert (tmp_path / "deep" / "plot.png").read_bytes() == png
    width, height = (int.from_bytes(png[start : start + 4]) for start in (16, 20))
    assert (width, height) == (150, 100)


def test_a_figure_that_cannot_be_drawn_leaves_nothing(tmp_path: pathlib.Path) -> None:
    with pytest.raises(AttributeError):
        write_figure(tmp_path / "plot.png", None, dpi=50)
    assert list(tmp_path.iterdir()) == []
