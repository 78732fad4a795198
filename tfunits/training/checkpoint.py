"""The state of an unfinished training: one atomic file an epoch, the newest whole one wins."""

import dataclasses
import json
import pathlib
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfunits.artifacts import read_arrays, write_arrays

# One to continue from, and one to fall back to should it be damaged.
_KEPT = 2
_RECORD = "record"
_NAME = re.compile(r"epoch-(\d+)\.npz")


@dataclasses.dataclass(frozen=True, kw_only=True)
class State:
    """What a training needs to go on.

    Attributes:
      epoch: number of finished epochs.
      variables: values of all variables of model (seed generators included) and optimiser, in order.
      best_weights: values of the model's variables at the best validation epoch; None before the first epoch.
      history: one dict an epoch.
      origin: what the state belongs to: hashes of the settings and of the network, number of devices.
    """

    epoch: int
    variables: Sequence[np.ndarray]
    best_weights: Sequence[np.ndarray] | None
    history: Sequence[Mapping[str, Any]]
    origin: Mapping[str, Any]


class Checkpoints:
    """The checkpoint files of one run.

    Args:
      folder: where they lie.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self._best_written: int | None = None

    def save(self, state: State, best_epoch: int) -> None:
        """Write the state; older files go only once the new ones are whole.

        Args:
          state: after an epoch.
          best_epoch: the epoch of `state.best_weights`, from 1; its file is written when it changes.
        """
        if self._best_written != best_epoch and state.best_weights is not None:
            write_arrays(self._best(best_epoch), _numbered(state.best_weights), compress=False)
            self._best_written = best_epoch
        record = {
            "epoch": state.epoch,
            "best_epoch": best_epoch,
            "history": list(state.history),
            "origin": state.origin,
        }
        arrays = {**_numbered(state.variables), _RECORD: np.array(json.dumps(record))}
        write_arrays(self.folder / f"epoch-{state.epoch:05d}.npz", arrays, compress=False)
        # What lies after this epoch is of a state that was rejected.
        kept = [path for epoch, path in self._by_epoch() if epoch <= state.epoch][:_KEPT]
        wanted = {*kept, *(self._best(epoch) for epoch in map(_read_best_epoch, kept) if epoch)}
        for path in self.folder.glob("*.npz"):
            if path not in wanted:
                path.unlink()

    def latest(self) -> State | None:
        """The newest state that is whole; a damaged file is named on stderr and passed over."""
        for _, path in self._by_epoch():
            try:
                arrays = read_arrays(path)
                record = json.loads(str(arrays.pop(_RECORD)))
                best = read_arrays(self._best(record["best_epoch"])) if record["best_epoch"] else None
            except (ValueError, KeyError, FileNotFoundError) as error:
                print(f"{error}; going back to the checkpoint before it", file=sys.stderr, flush=True)
                continue
            self._best_written = record["best_epoch"]
            return State(
                epoch=record["epoch"],
                variables=list(arrays.values()),
                best_weights=None if best is None else list(best.values()),
                history=record["history"],
                origin=record["origin"],
            )
        return None

    def _best(self, epoch: int) -> pathlib.Path:
        return self.folder / f"best-{epoch:05d}.npz"

    def _by_epoch(self) -> list[tuple[int, pathlib.Path]]:
        """(epoch, path) of the states, newest first."""
        found = [(int(match[1]), path) for path in self.folder.glob("*.npz") if (match := _NAME.fullmatch(path.name))]
        return sorted(found, reverse=True)


def _read_best_epoch(path: pathlib.Path) -> int | None:
    """The best epoch that a state refers to; None if the file is damaged."""
    try:
        return json.loads(str(read_arrays(path, [_RECORD])[_RECORD]))["best_epoch"]
    except (ValueError, KeyError):
        return None


def _numbered(values: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{number:05d}": np.asarray(value) for number, value in enumerate(values)}


def read_variables(variables: Sequence[keras.Variable]) -> list[np.ndarray]:
    """Values of variables, in order."""
    return [np.array(variable.numpy()) for variable in variables]


def assign_variables(variables: Sequence[keras.Variable], values: Sequence[np.ndarray]) -> None:
    """Set variables, in order.

    Raises:
      ValueError: values of another network.
    """
    shapes = [tuple(variable.shape) for variable in variables]
    received = [tuple(value.shape) for value in values]
    if shapes != received:
        wrong = next((i for i, (a, b) in enumerate(zip(shapes, received, strict=False)) if a != b), "their number")
        raise ValueError(f"values: expected those of this network, received others (first difference at {wrong})")
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
