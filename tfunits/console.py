"""What programs share: TensorFlow without its start-up chatter, and errors as one line and an exit code."""

import contextlib
import gc
import importlib
import os
import sys
from collections.abc import Callable, Iterator

from tfunits.configs import UserError

EXIT_USER_ERROR = 2
EXIT_STOPPED = 130


def carry_out(name: str, work: Callable[[], int], *, when_interrupted: str) -> int:
    """A program's exit code: that of its work, or of the mistake, the closed pipe or the Ctrl-C that ended it.

    Args:
      name: of the program, before the one line that says what is wrong.
      work: what it does; returns its exit code.
      when_interrupted: what is said after Ctrl-C.
    """
    try:
        return work()
    except UserError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    except BrokenPipeError:
        # The reader of a pipe has seen enough; what Python flushes at its end must not fail either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_STOPPED
    except OSError as error:
        print(f"{name}: {error.strerror}: {error.filename}", file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print(when_interrupted, file=sys.stderr)
        return EXIT_STOPPED


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


def ensure_tensorflow() -> None:
    """`import_tensorflow`, unless it is imported already."""
    if "tensorflow" not in sys.modules:
        import_tensorflow()


def import_tensorflow() -> None:
    """Import TensorFlow and Keras, which write lines that their own log level does not silence.

    For programs, before anything else imports TensorFlow; what is set in the environment wins.
    """
    # Level 3, since TensorFlow 2.21 logs an error about its own data pipelines, which changes nothing.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow leaves oneDNN's convolutions out on processors without AVX512-VNNI or the like. A training step takes
    # 1.4 (AlexNet) to 5 times (ResNet18 on 32x32 pixels) as long there without them.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    with silenced_stderr():
        tensorflow = importlib.import_module("tensorflow")
        importlib.import_module("keras")
    # A grid compiles each run's steps anew, which TensorFlow takes for needless retracing.
    tensorflow.get_logger().setLevel("ERROR")
    # Garbage is collected after every run; without this, each time half a million objects of TensorFlow are walked.
    gc.collect()
    gc.freeze()
