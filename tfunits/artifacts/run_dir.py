"""The directory of one run: where everything lies, who may write, and what is finished."""

import contextlib
import os
import pathlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import filelock

from tfunits.artifacts.files import read_json, remove_leftovers, write_json
from tfunits.configs import DamageError, ExperimentConfig, UserError, as_dict, from_dict, identity, run_id

# Of a run's directory, where that of all runs can be written; a full disk is none of them.
_OF_ONE_RUN = (FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)

STATES = ("running", "finished", "diverged", "interrupted", "failed")


class RunDir:
    """Paths and state of one run.

    Args:
      path: the run's directory.

    Example: `RunDir.of(config, "runs").history` is the path of the run's history.csv.
    """

    def __init__(self, path: str | pathlib.Path) -> None:
        self.path = pathlib.Path(path)
        self.config_file = self.path / "config.json"
        self.environment = self.path / "environment.json"
        self.history = self.path / "history.csv"
        self.timing = self.path / "timing.csv"
        self.model = self.path / "model.keras"
        self.logits = self.path / "logits.npz"
        self.checkpoints = self.path / "checkpoints"
        self.measures = self.path / "measures"
        self.figures = self.path / "figures"
        self.visualizations = self.path / "visualizations"
        self.tensorboard = self.path / "tensorboard"
        self.error_log = self.path / "error.log"
        self._status = self.path / "status.json"
        self._lock_file = self.path / ".lock"
        self._holder_file = self.path / ".holder"

    @classmethod
    def of(cls, config: ExperimentConfig, run_root: str | pathlib.Path) -> "RunDir":
        """The run directory of an experiment below a root."""
        return cls(pathlib.Path(run_root) / run_id(config))

    @property
    def name(self) -> str:
        """The run id."""
        return self.path.name

    def candidate(self, name: str) -> "RunDir":
        """The directory of one of several trainings of which the run keeps the best."""
        return RunDir(self.path / "candidates" / name)

    def candidates(self) -> list["RunDir"]:
        """The directories of `candidate` that are there."""
        return [RunDir(path) for path in sorted((self.path / "candidates").glob("*")) if path.is_dir()]

    def done_file(self, step: str) -> pathlib.Path:
        """The file whose presence says that a step is finished; it is written last."""
        return self.path / "done" / f"{step}.json"

    def is_done(self, step: str) -> bool:
        """Whether a step is finished."""
        return self.done_file(step).is_file()

    def read_done(self, step: str) -> dict[str, Any]:
        """What the done-file of a step says.

        Raises:
          DamageError: it is damaged.
        """
        found = read_json(self.done_file(step))
        if not isinstance(found, dict):
            raise DamageError(f"{self.done_file(step)}: expected names and values; delete it and run again")
        return found

    def config(self) -> ExperimentConfig:
        """The experiment that the directory holds."""
        return from_dict(read_json(self.config_file))

    @contextlib.contextmanager
    def claimed(self, config: ExperimentConfig) -> Iterator[None]:
        """Make the directory, be its only writer for the block, and hold it to one experiment.

        Another process that works on the run is waited for, which is said on stderr.

        Raises:
          UserError: the root cannot be written.
          DamageError: the directory alone cannot be, or it holds another experiment, or something else.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self._lock_file)
            try:
                lock.acquire(timeout=0)
            except filelock.Timeout:
                print(f"{self.name}: process {self._holder()} works on this run; waiting", file=sys.stderr, flush=True)
                lock.acquire()
            self._holder_file.write_text(str(os.getpid()))
        except OSError as error:
            if isinstance(error, _OF_ONE_RUN) and self.path.parent.is_dir() and os.access(self.path.parent, os.W_OK):
                raise DamageError(
                    f"{self.path}: expected a folder that can be written, received {error.strerror}; move it away"
                ) from None
            raise UserError(
                f"--run_root={self.path.parent}: expected a folder that can be written, received {error.strerror}; "
                "name another"
            ) from None
        try:
            remove_leftovers(self.path)
            self._hold_to(config)
            yield
        finally:
            self._holder_file.unlink(missing_ok=True)
            lock.release()

    def _holder(self) -> str:
        """The process that holds the lock, as it noted itself; "?" in the moment before it does."""
        try:
            return self._holder_file.read_text() or "?"
        except OSError:
            return "?"

    def _hold_to(self, config: ExperimentConfig) -> None:
        if not self.config_file.exists():
            strangers = [path.name for path in self.path.iterdir() if not path.name.startswith(".")]
            if strangers:
                raise DamageError(
                    f"{self.path}: expected an empty directory or a run, received {sorted(strangers)[0]} without "
                    "config.json; move it away or use another --run_root"
                )
            write_json(self.config_file, {"run_id": self.name, **as_dict(config)})
            return
        try:
            same = identity(self.config()) == identity(config)
        except (OSError, ValueError, TypeError, AttributeError):
            same = False
        if not same:
            raise DamageError(
                f"{self.path}: expected the run's own configuration in config.json, received another or a damaged one; "
                "move the directory away or use another --run_root"
            )

    def status(self) -> dict[str, Any]:
        """The content of status.json; empty where there is none or it is unreadable."""
        try:
            found = read_json(self._status)
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def set_status(self, state: str, message: str = "", **more: Any) -> None:
        """Write status.json; fields not named keep their values.

        Raises:
          ValueError: a state that is not of `STATES`.
        """
        if state not in STATES:
            raise ValueError(f"state: expected one of {', '.join(STATES)}, received {state!r}")
        now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        kept = {"started": now, **self.status()}
        write_json(
            self._status, {**kept, "state": state, "message": message, "updated": now, "pid": os.getpid(), **more}
        )
