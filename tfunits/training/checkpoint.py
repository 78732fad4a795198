"""The state of an unfinished training: one atomic file an epoch, the newest whole one wins."""

import dataclasses
import io
import json
import pathlib
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfunits.artifacts import read_arrays, read_json, write_arrays, write_json
from tfunits.configs import KeepRule, UserError

# One to continue from, and one to fall back to should it be damaged.
_KEPT = 2
_RECORD = "record"
_NAME = re.compile(r"epoch-(\d+)\.npz")


@dataclasses.dataclass(frozen=True, kw_only=True)
class State:
    """What a training needs to go on.

    Attributes:
      epoch: number of finished epochs.
      variables: values of all variables of model (seed generators included), optimiser and averages, in order.
      best_weights: values of the model's variables at the best epoch; None before the first epoch.
      history: one dict an epoch.
      origin: what the state belongs to: hashes of the settings, the network and the data, number of devices.
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
      keep: which epochs stay beside those needed to continue and those of earlier rules, which the folder remembers.
      needs_best: whether a training without the weights of its best epoch is worth nothing.
    """

    def __init__(self, folder: pathlib.Path, keep: KeepRule | None = None, *, needs_best: bool = True) -> None:
        self.folder, self.needs_best = folder, needs_best
        self._rule_file = folder / "keep.json"
        self.keep = self._read_rule() | (keep or KeepRule())
        self._best_written: int | None = None

    def save(self, state: State, best_epoch: int) -> None:
        """Write the state; older files go only once the new ones are whole.

        Args:
          state: after an epoch.
          best_epoch: the epoch of `state.best_weights`, from 1; its file is written when it changes.
        """
        if self.keep != KeepRule():
            write_json(self._rule_file, dataclasses.asdict(self.keep))
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
        self._remove_others(state.epoch)

    def _remove_others(self, epoch: int) -> None:
        """Delete what is neither needed to continue from an epoch nor to be kept."""
        # What lies after this epoch is of a state that was rejected.
        states = {number: path for number, path in self._by_epoch() if number <= epoch}
        newest = [states[number] for number in sorted(states, reverse=True)[:_KEPT]]
        kept = {states[number] for number in self.keep.select(states)}
        wanted = {*newest, *kept, *(self._best(best) for best in map(_read_best_epoch, newest) if best)}
        for path in self.folder.glob("*.npz"):
            if path not in wanted:
                path.unlink()

    def kept(self) -> set[pathlib.Path]:
        """Files of the epochs that the rule keeps."""
        states = dict(self._by_epoch())
        return {states[epoch] for epoch in self.keep.select(states)}

    def latest(self) -> State | None:
        """The newest state that is whole; a damaged file is named on stderr and passed over."""
        states = self._by_epoch()
        for number, (_, path) in enumerate(states, start=1):
            try:
                return self._read(path)
            except (ValueError, KeyError, FileNotFoundError) as error:
                consequence = "going back to the checkpoint before it"
                if number == len(states):
                    consequence = "no checkpoint before it is there; starting again from the first epoch"
                print(f"{error}; {consequence}", file=sys.stderr, flush=True)
        return None

    def _read(self, path: pathlib.Path) -> State:
        arrays = read_arrays(path)
        record = json.loads(str(arrays.pop(_RECORD)))
        best = self._read_best(record["best_epoch"]) if record["best_epoch"] else None
        self._best_written = record["best_epoch"]
        return State(
            epoch=record["epoch"],
            variables=list(arrays.values()),
            best_weights=None if best is None else list(best.values()),
            history=record["history"],
            origin=record["origin"],
        )

    def _read_best(self, epoch: int) -> dict[str, np.ndarray] | None:
        """Weights of the best epoch; None where they are damaged and not needed, which is said on stderr."""
        try:
            return read_arrays(self._best(epoch))
        except (ValueError, FileNotFoundError) as error:
            if self.needs_best:
                raise
            print(f"{error}; going on without the weights of the best epoch", file=sys.stderr, flush=True)
            return None

    def _read_rule(self) -> KeepRule:
        if not self._rule_file.is_file():
            return KeepRule()
        stored = read_json(self._rule_file)
        return KeepRule(last=stored["last"], every=tuple(stored["every"]), listed=tuple(stored["listed"]))

    def kept_epochs(self) -> list[int]:
        """Epochs that the rule keeps, and the last, in order; others may lie there for as long as they are needed."""
        there = self.epochs()
        return sorted({*self.keep.select(there), *there[-1:]})

    def epochs(self) -> list[int]:
        """Epochs whose states are there, in order."""
        return sorted(epoch for epoch, _ in self._by_epoch())

    def variables_at(self, epoch: int) -> list[np.ndarray]:
        """Values of all variables after an epoch, those of the model first.

        Raises:
          ValueError: an epoch that is not there, or a damaged file.
        """
        path = self.folder / f"epoch-{epoch:05d}.npz"
        if not path.is_file():
            there = ", ".join(map(str, self.epochs())) or "none"
            raise UserError(f"epoch: expected one that was kept (--keep_epochs) in {self.folder}: {there}; got {epoch}")
        arrays = read_arrays(path)
        arrays.pop(_RECORD, None)
        return list(arrays.values())

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


def pack(state: State | None) -> bytes:
    """A state as bytes, for `unpack` on another machine."""
    if state is None:
        return b""
    record = {"epoch": state.epoch, "history": list(state.history), "origin": state.origin}
    arrays = {f"v{name}": value for name, value in _numbered(state.variables).items()}
    arrays |= {f"b{name}": value for name, value in _numbered(state.best_weights or []).items()}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays, **{_RECORD: np.array(json.dumps(record))})
    return buffer.getvalue()


def unpack(data: bytes) -> State | None:
    """The state of `pack`."""
    if not data:
        return None
    with np.load(io.BytesIO(data)) as arrays:
        record = json.loads(str(arrays[_RECORD]))
        parts = {kind: [arrays[name] for name in sorted(arrays.files) if name[0] == kind] for kind in "vb"}
    return State(variables=parts["v"], best_weights=parts["b"] or None, **record)


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
