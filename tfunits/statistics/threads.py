"""How many threads the linear algebra takes."""

import contextlib
import functools
from collections.abc import Iterator

import threadpoolctl


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Linear algebra of numpy and scipy on one thread, for many small tasks that stand side by side in threads.

    Two threads within a small product mostly wait for each other, and the more so where other work shares the cores
    (here up to forty times longer).
    """
    with _controller().limit(limits=1, user_api="blas"):
        yield


@functools.cache
def _controller() -> threadpoolctl.ThreadpoolController:
    # Finding the libraries takes milliseconds, setting their threads microseconds.
    return threadpoolctl.ThreadpoolController()
