"""TensorFlow without its start-up chatter."""

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def silenced_stderr() -> Iterator[None]:
    """Drop what any library writes to file descriptor 2; Python's own errors still arrive."""
    sys.stderr.flush()
    saved = os.dup(2)
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(sink)


def import_tensorflow() -> None:
    """Import TensorFlow and Keras, which write lines that their own log level does not silence.

    For programs, before anything else imports TensorFlow; a level set in the environment wins.
    """
    # Level 3, since TensorFlow 2.21 logs an error about its own data pipelines, which changes nothing.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with silenced_stderr():
        tensorflow = importlib.import_module("tensorflow")
        importlib.import_module("keras")
    # A grid compiles each run's steps anew, which TensorFlow takes for needless retracing.
    tensorflow.get_logger().setLevel("ERROR")
