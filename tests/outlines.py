"""Networks that are only looked at: shapes and names without weights."""

import contextlib
from collections.abc import Iterator

import keras
from keras.src.backend.common import global_state


@contextlib.contextmanager
def without_weights() -> Iterator[None]:
    """No variable that is made inside gets a value.

    Keras keeps such variables and gives all of them values when any later scope ends, here or in another test.
    """
    waiting = list(global_state.get_global_attribute("uninitialized_variables", []))
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        global_state.set_global_attribute("uninitialized_variables", waiting)
