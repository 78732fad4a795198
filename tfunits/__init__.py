"""Measure what the units of width-scaled networks do: prunable, redundant, similar.

Folders load when they are first used, so that `import tfunits` costs nothing and the command line answers at once.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

__version__ = "0.2.0"

_FOLDERS = (
    "artifacts",
    "configs",
    "datasets",
    "experiments",
    "layers",
    "measures",
    "models",
    "reports",
    "statistics",
    "surgery",
    "thinning",
    "training",
    "visualization",
)
__all__ = [*_FOLDERS, "load"]


def __getattr__(name: str) -> Any:
    if name in _FOLDERS:
        return importlib.import_module(f"tfunits.{name}")
    raise AttributeError(f"module 'tfunits' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_FOLDERS])


def load(run_or_file: str, *, epoch: int | None = None) -> "keras.Model":
    """The trained network of a run directory, or of a .keras file.

    Args:
      run_or_file: a run directory such as "runs/<id>", or the path of a .keras file.
      epoch: the network of a run as it was after this epoch, from 1, if `--keep_epochs` kept it; None for the weights
        that are measured.

    Returns: the Keras model, with our own layers known.

    Raises:
      ValueError: neither a .keras file nor a run directory that kept its weights, or an epoch that was not kept.

    Example: `tfunits.load("runs/alexnet-digits-s1-0-…").summary()`
    """
    from tfunits.experiments import load_model

    return load_model(run_or_file, epoch=epoch)
