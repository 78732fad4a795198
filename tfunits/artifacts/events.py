"""TensorBoard event files of one run."""

import contextlib
import errno
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

# Full histograms of 45 million weights cost 13 s a write (KERAS.md); these many values show the same shape.
MAX_HISTOGRAM_VALUES = 10_000


class EventWriter:
    """Writes scalars, histograms, images and hyperparameters, all with step = epoch.

    Args:
      folder: the run's TensorBoard folder; a resumed run adds a file to it.

    Raises:
      OSError: its file cannot be written, as on a full disk.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        import tensorflow as tf

        self._tf, self._folder = tf, folder
        self._writer = tf.summary.create_file_writer(str(folder))

    @contextlib.contextmanager
    def _writing(self, step: int) -> Iterator[None]:
        """What the block summarises is in the file, with a step, when the block ends."""
        try:
            with self._writer.as_default(step):
                yield
            self._writer.flush()
        except self._tf.errors.OpError as error:
            # TensorFlow says "<file>; <the system's reason>" and more lines.
            place, _, reason = error.message.splitlines()[0].rpartition("; ")
            if str(self._folder) not in place:
                raise
            raise OSError(errno.EIO, reason, str(self._folder)) from None

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Write named numbers."""
        with self._writing(step):
            for name, value in values.items():
                self._tf.summary.scalar(name, value)

    def histograms(self, values: Mapping[str, np.ndarray], step: int) -> None:
        """Write histograms of arrays, each thinned evenly to at most `MAX_HISTOGRAM_VALUES` values."""
        with self._writing(step):
            for name, array in values.items():
                self._tf.summary.histogram(name, thin_out(array))

    def image(self, name: str, png: bytes, step: int) -> None:
        """Write one PNG picture."""
        decoded = self._tf.io.decode_png(png, channels=3)
        with self._writing(step):
            self._tf.summary.image(name, decoded[None])

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
        with self._writing(step):
            hparams.hparams_config(hparams=[hparams.HParam(name) for name in plain], metrics=metrics)
            hparams.hparams(plain, trial_id=run)
            for name, value in results.items():
                self._tf.summary.scalar(name, value)

    def close(self) -> None:
        """Flush and close the event file."""
        self._writer.close()


def thin_out(array: np.ndarray, limit: int = MAX_HISTOGRAM_VALUES) -> np.ndarray:
    """At most `limit` values of an array, evenly spaced over its flat order."""
    flat = np.ravel(array)
    stride = -(-flat.size // limit)
    return flat[::stride] if stride > 1 else flat
