"""TensorFlow without its start-up chatter."""

import os
import sys

import pytest

from tfunits.quiet import silenced_stderr


def test_what_a_library_writes_is_dropped_and_nothing_else(capfd):
    print("before", file=sys.stderr)
    with silenced_stderr():
        os.write(2, b"chatter\n")
    print("after", file=sys.stderr)
    os.write(2, b"and directly\n")
    assert capfd.readouterr().err == "before\nafter\nand directly\n"


def test_an_error_arrives_and_ends_the_silence(capfd):
    with pytest.raises(KeyError, match="lost"), silenced_stderr():
        raise KeyError("lost")
    os.write(2, b"heard\n")
    assert capfd.readouterr().err == "heard\n"
