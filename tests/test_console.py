"""TensorFlow without its start-up chatter."""

import gc
import os
import sys

import pytest

from tfunits.configs import UserError
from tfunits.console import carry_out, import_tensorflow, silenced_stderr


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


def give_seven() -> int:
    return 7


def fail(error: BaseException):
    def work() -> int:
        raise error

    return work


@pytest.mark.parametrize(
    ("work", "code", "said"),
    [
        (give_seven, 7, ""),
        (fail(UserError("--size=0: expected more")), 2, "program: --size=0: expected more\n"),
        (fail(OSError(28, "No space left on device", "runs/x")), 2, "program: No space left on device: runs/x\n"),
        (fail(KeyboardInterrupt()), 130, "stopped\n"),
    ],
)
def test_what_ends_a_program_is_one_line_and_an_exit_code(capsys, work, code, said):
    assert carry_out("program", work, when_interrupted="stopped") == code
    assert capsys.readouterr().err == said


def test_a_bug_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        carry_out("program", fail(ZeroDivisionError()), when_interrupted="stopped")


@pytest.mark.parametrize(("given", "expected"), [(None, "1"), ("0", "0")])
def test_programs_convolve_with_onednn_where_the_user_says_nothing_else(monkeypatch, given, expected):
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    if given:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", given)
    import_tensorflow()
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == expected


def test_garbage_is_not_looked_for_among_tensorflows_objects():
    known, kept = gc.get_freeze_count(), [[]]
    assert any(found is kept for found in gc.get_objects())
    import_tensorflow()
    assert gc.get_freeze_count() > known
    assert not any(found is kept for found in gc.get_objects())
