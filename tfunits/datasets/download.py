"""Preparing data from the network, on explicit request only."""

import pathlib
import threading
import urllib.error
import urllib.request

from tfunits.configs import (
    DOWNLOAD_HOSTS,
    UserError,
    describe_missing,
    find_dataset,
    find_prepared,
    is_prepared,
    resolve_data_dir,
)

# Without a network tensorflow-datasets tries again for minutes (KERAS.md g).
_TIMEOUT_SECONDS = 5


def locate(dataset: str, data_dir: str | None, *, download: bool) -> pathlib.Path:
    """The folder of a prepared data set, fetched and prepared first if that is asked for and needed.

    Args:
      dataset: a name that tensorflow-datasets prepares.
      data_dir: folder of prepared data; None for tensorflow-datasets' own.
      download: whether missing data may be fetched.

    Raises:
      UserError: nothing is there, no connection, or a failed preparation.
    """
    name = find_dataset(dataset).prepared
    if download and name in DOWNLOAD_HOSTS and not is_prepared(dataset, data_dir):
        _prepare(name, dataset, data_dir)
    return find_prepared(dataset, data_dir)


def _prepare(name: str, dataset: str, data_dir: str | None) -> None:
    host = DOWNLOAD_HOSTS[name]
    if not _answers(host):
        missing = describe_missing(dataset, data_dir, download=True)
        raise UserError(f"--download: no connection to {host}; {missing}")
    import tensorflow_datasets

    try:
        tensorflow_datasets.builder(name, data_dir=resolve_data_dir(data_dir)).download_and_prepare()
    except Exception as error:  # Whatever the layers of the downloader raise.
        reason = str(error).strip().split("\n")[0]
        raise UserError(f"--download: {name} could not be prepared ({type(error).__name__}: {reason})") from error


def _answers(host: str) -> bool:
    """Whether a server answers in time; in a thread, since the search for its address heeds no limit."""
    answers = []

    def ask() -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(host, method="HEAD"), timeout=_TIMEOUT_SECONDS).close()
        except urllib.error.HTTPError:
            pass  # A refusal is an answer.
        except OSError:
            return
        answers.append(host)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_TIMEOUT_SECONDS)
    return bool(answers)
