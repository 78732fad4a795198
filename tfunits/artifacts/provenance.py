"""What a run was made with."""

import functools
import importlib.metadata
import os
import pathlib
import platform
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

_PACKAGES = ("tensorflow", "keras", "numpy", "scipy", "scikit-learn", "pandas", "tensorflow-datasets")


def describe_environment(*, devices: Sequence[str], deterministic: bool) -> dict[str, Any]:
    """Versions, devices and code revision, as plain values.

    Args:
      devices: names of the devices that train.
      deterministic: whether TensorFlow was told to give equal bits.
    """
    return {
        **_describe_process(),
        "devices": list(devices),
        "num_cpus": os.cpu_count(),
        "deterministic": deterministic,
        "command": sys.argv,
    }


@functools.cache
def _describe_process() -> dict[str, Any]:
    """What stays the same while a process lives; a grid of small networks would ask for it ten times a second."""
    from tfunits import __version__

    return {
        "tfunits": __version__,
        "code_revision": code_revision(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def code_revision() -> str | None:
    """The git commit of the code, with "+changes" if files differ from it; None outside a checkout of tfunits."""
    folder = pathlib.Path(__file__).resolve().parent
    # An installed copy may lie inside somebody else's checkout.
    if _git(folder, "ls-files", "--error-unmatch", pathlib.Path(__file__).name) is None:
        return None
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    return commit + ("+changes" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")


def _git(folder: pathlib.Path, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
