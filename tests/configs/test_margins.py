"""Margins of claims, and how they are given."""

import math

import pytest

from tfunits.configs import ExecutionConfig, Margins, UserError, flags, parse_margins


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"gain": 0}, "gain: expected a finite number above 0, received 0"),
        ({"area": math.nan}, "area: expected a finite number above 0"),
        ({"accuracy": math.inf}, "accuracy: expected a finite number above 0, received inf"),
        *[
            ({name: 2}, f"{name}: expected a number below 1, received 2")
            for name in ("accuracy", "accuracy_loss", "area")
        ],
        ({"ratio": 1.0}, "ratio: expected a number above 1"),
        ({"confidence": 1.0}, "confidence: expected a number below 1"),
    ],
)
def test_margins_are_checked(fields, message):
    with pytest.raises(ValueError, match=message):
        Margins(**fields)


def test_what_is_not_named_stays_ours():
    assert parse_margins([]) == Margins()
    assert parse_margins(["accuracy_loss=0.02", "ratio=1.5"]) == Margins(accuracy_loss=0.02, ratio=1.5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["gian=0.3"],
            "^--margins=gian=0.3: expected name=number, each name once, of gain, .*; 'gian=0.3' is none$",
        ),
        (["gain=0.3", "gain=0.4"], "'gain=0.4' is none"),
        (["gain"], "'gain' is none"),
        (["gain=large"], "'gain=large' is none"),
        (["ratio=1"], "^--margins=ratio=1: .*; ratio: expected a number above 1, received 1.0$"),
    ],
)
def test_words_that_are_no_margin_are_refused(words, message):
    with pytest.raises(UserError, match=message):
        parse_margins(words)
    with pytest.raises(UserError, match=message):
        ExecutionConfig(margins=tuple(words))


def test_margins_are_for_figures():
    argv = ["program", "--small", "--margins=gain=0.3,area=0.1"]
    registry = flags.make_flags()
    flags.parse(registry, argv)
    with pytest.raises(UserError, match="^--margins=gain=0.3,area=0.1: expected --figure beside it"):
        flags.read_requests(registry, argv)
    argv.append("--figure=frivolous/figE7")
    registry = flags.make_flags()
    flags.parse(registry, argv)
    [request] = flags.read_requests(registry, argv)
    assert parse_margins(request.execution.margins) == Margins(gain=0.3, area=0.1)
