"""What TensorFlow never forgets by itself."""

import contextlib
from collections.abc import Iterator

from tensorflow.python.framework import ops

# Of `tf.custom_gradient`; sums over replicas have one, be there several or not.
_PREFIX = "CustomGradient-"


@contextlib.contextmanager
def forgetting_gradients() -> Iterator[None]:
    """What is compiled within can be freed afterwards, but no longer differentiated.

    TensorFlow enters every gradient that a compiled function defines into a table, which holds on to the function's
    graph, and with it to a network's training step, for as long as the process lives. The table is the process's: no
    other thread may compile what it differentiates later.

    Example:
      >>> with tfunits.training.forgetting_gradients():
      ...     pass
    """
    # There is no public way to take one out; without this one memory grows, and nothing else is amiss.
    table = getattr(ops.gradient_registry, "_registry", {})
    before = set(table)
    try:
        yield
    finally:
        for name in set(table) - before:
            if name.startswith(_PREFIX):
                table.pop(name, None)
