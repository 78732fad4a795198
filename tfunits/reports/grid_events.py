"""A grid in TensorBoard: measures against width."""

import contextlib
import pathlib
import re
import shutil
import tempfile
from collections.abc import Sequence

import pandas as pd

from tfunits.artifacts import EventWriter
from tfunits.configs import short_hash

_MEASURES = (
    "accuracy", "prunability", "redundancy", "similarity", "area", "compressibility", "intrinsic_dimension", "dead",
    "silent",
)  # fmt: skip
# Accuracies in such frames are those on test data.
_TAGS = {"accuracy": "test_accuracy"}
# TensorBoard's steps are whole numbers, which widths need not be.
_FACTORS = (100, 10_000, 1_000_000)
# Longer names of folders are cut, and told apart by a hash.
_LONGEST_NAME = 80


def write_width_events(folder: pathlib.Path, frame: pd.DataFrame, *, by: str, picture: bytes) -> pathlib.Path:
    """Write a curve's means over seeds as scalars whose step is the width, and the figure as an image.

    Args:
      folder: of the event files, one sub-folder a curve; what an earlier report wrote there is replaced.
      frame: columns curve, measure, value and the width's, of networks.
      by: column of the width.
      picture: PNG of the same against width.

    Returns: the folder, for `tensorboard --logdir`. A tag says by which factor steps are widths: "against width (step
      = 100 x size)/redundancy".
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=folder.parent) as temporary:
        made = pathlib.Path(temporary) / folder.name
        _write_events(made, frame, by=by, picture=picture)
        # Another set of finished runs may have other curves.
        shutil.rmtree(folder, ignore_errors=True)
        # Of two commands that report the same grid at the same time, one's stands.
        with contextlib.suppress(OSError):
            made.replace(folder)
    return folder


def _write_events(folder: pathlib.Path, frame: pd.DataFrame, *, by: str, picture: bytes) -> None:
    factor = step_factor(frame[by].unique())
    label = f"against width (step = {factor} x {by})" if factor > 1 else f"against width (step = {by})"
    for curve, part in frame[frame["measure"].isin(_MEASURES)].groupby("curve", sort=False):
        means = part.dropna(subset="value").groupby(by)[["measure", "value"]]
        events = EventWriter(folder / folder_name(str(curve)))
        for width, found in means:
            values = found.groupby("measure")["value"].mean().rename(_TAGS)
            events.scalars({f"{label}/{name}": value for name, value in values.items()}, round(factor * width))
        events.close()
    events = EventWriter(folder / "all curves")
    events.image(f"{label}/figure", picture, 0)
    events.close()


def step_factor(widths: Sequence[float]) -> int:
    """The factor that makes whole steps of widths: 1 for whole ones, else the first of some by which none share one.

    Args:
      widths: each once.

    Example:
      >>> step_factor([0.25, 0.5, 1, 2]), step_factor([16, 32])
      (100, 1)
    """
    if all(float(width).is_integer() for width in widths):
        return 1
    steps = {factor: {round(factor * width) for width in widths} for factor in _FACTORS}
    apart = [factor for factor, found in steps.items() if len(found) == len(widths) and 0 not in found]
    return apart[0] if apart else _FACTORS[-1]


def folder_name(curve: str) -> str:
    """A name for a curve that every file system takes, and no two curves share.

    Example:
      >>> folder_name("initializer he_normal")
      'initializer he_normal'
    """
    name = re.sub(r"[^\w .,+=()-]+", "_", curve)[:_LONGEST_NAME].strip(" .")
    return name if name == curve else f"{name}-{short_hash(curve)}"
