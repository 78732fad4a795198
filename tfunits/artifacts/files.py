"""Files that are whole or absent: every write goes to a temporary name and is renamed."""

import contextlib
import io
import json
import os
import pathlib
import uuid
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tfunits.configs import DamageError

_TEMPORARY_PREFIX = ".part-"
_NAMES = "__names__"


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A temporary path with the same suffix, renamed to `path` when the block ends without an error.

    Args:
      path: the file to make; its folder is made if missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The number keeps two writers apart, also of two machines; the suffix tells Keras and numpy the format.
    temporary = path.with_name(f"{_TEMPORARY_PREFIX}{uuid.uuid4().hex}-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        # Writing, unlike opening, does not say where the disk is full.
        error.filename = error.filename or str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: pathlib.Path) -> None:
    """Delete the temporary files of a process that was killed while it wrote; the caller holds the folder's lock."""
    for path in folder.rglob(f"{_TEMPORARY_PREFIX}*"):
        path.unlink(missing_ok=True)


def write_text(path: pathlib.Path, text: str) -> None:
    """Write a text file whole."""
    with replacing(path) as temporary:
        temporary.write_text(text)


def write_json(path: pathlib.Path, value: Any) -> None:
    """Write indented JSON; a number that is not finite is written as null."""
    write_text(path, json.dumps(_finite(value), indent=1, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, np.ndarray):
        return _finite(value.tolist())
    if isinstance(value, np.generic):
        return _finite(value.item())
    return None if isinstance(value, float) and not np.isfinite(value) else value


def read_json(path: pathlib.Path) -> Any:
    """Read a JSON file.

    Raises:
      ValueError: it does not parse; the error names the file.
    """
    try:
        return json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DamageError(
            f"{path}: expected JSON, received a damaged file ({error}); delete it and run again"
        ) from None


def write_arrays(path: pathlib.Path, arrays: Mapping[str, np.ndarray], *, compress: bool = True) -> None:
    """Write named arrays as .npz, with a checksum for each; equal arrays give equal bytes."""
    save = np.savez_compressed if compress else np.savez
    contiguous = {
        name: np.ascontiguousarray(array) if np.ndim(array) else np.asarray(array) for name, array in arrays.items()
    }
    with replacing(path) as temporary:
        # The names, since a damaged directory of a zip file can lose an entry without a trace.
        save(temporary, **contiguous, **{_NAMES: np.array(list(arrays), dtype=str)})


def read_arrays(path: pathlib.Path, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Read arrays of an .npz file, checksums verified.

    Args:
      path: written by `write_arrays`.
      names: which arrays; all if None.

    Raises:
      ValueError: the file is truncated or changed; the error names it.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in (names or stored[_NAMES].tolist())}
    except FileNotFoundError:
        raise
    # All that zipfile and numpy raise for damage, which depends on where the damage is.
    except (OSError, EOFError, ValueError, KeyError, RuntimeError, AttributeError, TypeError,
            zipfile.BadZipFile, zlib.error) as error:  # fmt: skip
        raise DamageError(f"{path}: expected whole arrays, received a damaged file ({error})") from None


def write_figure(path: pathlib.Path, figure: Any, dpi: int) -> bytes:
    """Write a matplotlib figure as PNG; returns the bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
    return buffer.getvalue()


def write_table(path: pathlib.Path, table: pd.DataFrame) -> None:
    """Write a frame as CSV, floats with all their digits."""
    write_text(path, table.to_csv(index=False, lineterminator="\n"))
