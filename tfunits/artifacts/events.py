"""TensorBoard event files of one run."""

import itertools
import os
import pathlib
import socket
import struct
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

# Full histograms of 45 million weights cost 13 s a write (KERAS.md); these many values show the same shape.
MAX_HISTOGRAM_VALUES = 10_000

# What TensorBoard expects of a file of version 2; where a PNG file says its width and height.
_FILE_VERSION = "brain.Event:2"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_SIZE = slice(16, 24)
# Two writers of one process in one second have files of their own.
_NUMBERS = itertools.count()


class EventWriter:
    """Writes scalars, histograms, images and hyperparameters, all with step = epoch.

    Each is in the file when its call returns. TensorFlow's own summaries take milliseconds a number, which is longer
    than a small network takes for an epoch.

    Args:
      folder: the run's TensorBoard folder; a resumed run adds a file to it.

    Raises:
      OSError: its file cannot be written, as on a full disk.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(_NUMBERS)}.v2"
        self._path = folder / name
        self._writer = RecordWriter(self._path.open("xb"))
        self._write(file_version=_FILE_VERSION)

    def _write(self, **content: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        try:
            self._writer.write(Event(wall_time=time.time(), **content).SerializeToString())
            self._writer.flush()
        except OSError as error:
            # Writing, unlike opening, does not say where the disk is full.
            error.filename = error.filename or str(self._path)
            raise

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Write named numbers."""
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb

        for name, value in values.items():
            self._write(summary=scalar_pb(name, value), step=step)

    def histograms(self, values: Mapping[str, np.ndarray], step: int) -> None:
        """Write histograms of arrays' finite values, each thinned evenly to at most `MAX_HISTOGRAM_VALUES` values."""
        from tensorboard.plugins.histogram.summary_v2 import histogram_pb

        for name, array in values.items():
            thinned = thin_out(array)
            self._write(summary=histogram_pb(name, thinned[np.isfinite(thinned)]), step=step)

    def image(self, name: str, png: bytes, step: int) -> None:
        """Write one PNG picture.

        Raises:
          ValueError: bytes of another kind.
        """
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.image.metadata import create_summary_metadata
        from tensorboard.util import tensor_util

        if not png.startswith(_PNG_SIGNATURE):
            raise ValueError(f"png: expected a PNG picture, received bytes that begin with {png[:8]!r}")
        width, height = struct.unpack(">II", png[_PNG_SIZE])
        numbers = [str(width).encode(), str(height).encode(), png]
        metadata = create_summary_metadata(display_name=None, description=None)
        summary = Summary()
        summary.value.add(
            tag=name, metadata=metadata, tensor=tensor_util.make_tensor_proto(np.array(numbers, dtype=object))
        )
        self._write(summary=summary, step=step)

    def hyperparameters(self, run: str, settings: Mapping[str, Any], results: Mapping[str, float], step: int) -> None:
        """Write one row of the HParams tab.

        Args:
          run: name of the row.
          settings: of the run.
          results: scalars by which runs are compared; they alone become the tab's metrics.
          step: at which they stand in the Scalars tab.
        """
        from tensorboard.plugins.hparams import api as hparams

        simple = (bool, int, float, str)
        plain = {name: value if isinstance(value, simple) else str(value) for name, value in settings.items()}
        metrics = [hparams.Metric(name, display_name=name.rpartition("/")[2].replace("_", " ")) for name in results]
        columns = hparams.hparams_config_pb(hparams=[hparams.HParam(name) for name in plain], metrics=metrics)
        for summary in (columns, hparams.hparams_pb(plain, trial_id=run)):
            self._write(summary=summary, step=step)
        self.scalars(results, step)

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


def thin_out(array: np.ndarray, limit: int = MAX_HISTOGRAM_VALUES) -> np.ndarray:
    """At most `limit` values of an array, evenly spaced over its flat order."""
    flat = np.ravel(array)
    stride = -(-flat.size // limit)
    return flat[::stride] if stride > 1 else flat
