"""Tiny experiments, carried out in this process or in a child."""

import pathlib
import subprocess
import sys

import keras
import numpy as np
from tensorflow.python.framework import config as tf_config

from tfunits import experiments
from tfunits.artifacts import RunDir
from tfunits.configs import ExecutionConfig, ExperimentConfig, resolve

PROGRAM = pathlib.Path(__file__).parents[2] / "run_experiments.py"


def make_config(**fields) -> ExperimentConfig:
    """An mlp of eight hidden units, trained for two epochs, unless told otherwise."""
    tiny = {} if str(fields.get("model", "")).startswith("file:") else {"model": "mlp", "size": 0.0625, "epochs": 2}
    return resolve({**tiny, **fields})


def carry_out(root: pathlib.Path, *configs: ExperimentConfig, strategy=None, **execution) -> int:
    """Run a grid below a root, with a checkpoint after every epoch; returns the exit code."""
    options = ExecutionConfig(**{"run_root": str(root), "checkpoint_seconds": 0.0, **execution})
    try:
        return experiments.run_grid(configs, options, strategy=strategy)
    finally:
        # It holds for the whole process, and other tests' networks draw without seeds.
        tf_config.disable_op_determinism()


def snapshot(folder: pathlib.Path) -> dict[str, tuple[int, bytes]]:
    """Time of change and content of every file, by its path; not of the lock and the note of its holder."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in (".lock", ".holder"))
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def measure_names(run_dir: RunDir) -> set[str]:
    """The files of a run's measures without their hashes."""
    return {path.name.partition("-")[0] + path.suffix for path in run_dir.measures.iterdir()}


def save_network(path: pathlib.Path, shape: tuple[int, ...], outputs: int = 10, activation: str | None = None) -> str:
    """A user's network of one hidden layer in a file; returns its name for `--model`."""
    initializer = keras.initializers.GlorotNormal(seed=1)
    inputs = keras.Input(shape)
    tensor = keras.layers.Flatten(name="flatten")(inputs)
    tensor = keras.layers.Dense(6, activation="relu", kernel_initializer=initializer, name="hidden")(tensor)
    # A bias, so that no output is exactly 0.
    head = keras.layers.Dense(
        outputs, activation, kernel_initializer=initializer, bias_initializer="ones", name="scores"
    )
    keras.Model(inputs, head(tensor), name="own").save(path)
    return f"file:{path}"


def start(root: pathlib.Path, *flags: str, log: str) -> subprocess.Popen:
    """A child process of the command line; its output goes to <log>.out and <log>.err below the root."""
    root.mkdir(parents=True, exist_ok=True)
    with open(root / f"{log}.out", "w") as out, open(root / f"{log}.err", "w") as err:
        # Where tests run in the background, a shell has them ignore Ctrl-C, and so would their children.
        heed = ["env", "--default-signal=INT"]
        command = [*heed, sys.executable, str(PROGRAM), f"--run_root={root}", "--checkpoint_seconds=0", *flags]
        return subprocess.Popen(command, stdout=out, stderr=err)


def read_weights(path: pathlib.Path) -> list[np.ndarray]:
    return [variable.numpy() for variable in experiments.load_file(path).variables]
