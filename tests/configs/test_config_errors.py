"""The one line that a user reads."""

import pytest

from tfunits.configs import UserError, reject


@pytest.mark.parametrize(
    ("received", "shown"),
    [(0, "0"), (0.25, "0.25"), (1e-05, "1e-05"), ("x", "x"), (True, "True"), (("all", "dropout"), "all,dropout")],
)
def test_values_are_shown_as_they_are_typed(received: object, shown: str) -> None:
    assert str(reject("flag", received, "another")) == f"--flag={shown}: expected another"


def test_names_inside_one_value_are_joined_by_a_plus() -> None:
    assert str(reject("regularizers", ("all", "dropout"), "another")).startswith("--regularizers=all+dropout: ")


def test_the_hint_ends_the_line() -> None:
    assert str(reject("size", 0, "more", "use --size=1")) == "--size=0: expected more; use --size=1"


def test_in_python_it_is_an_ordinary_value_error() -> None:
    with pytest.raises(ValueError, match="--size"):
        raise reject("size", 0, "more")
    assert issubclass(UserError, ValueError)
