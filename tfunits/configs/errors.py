"""The one error for what a user can mend."""

# A value longer than this does not help its reader.
_MAX_SHOWN = 200


class UserError(ValueError):
    """A mistake that the user can mend: one sentence of what was expected, received, and what to do.

    The command line prints it as one line without a traceback; in Python it is an ordinary `ValueError`.
    """


class DamageError(UserError):
    """A file or folder of one run that is not what the run wrote; other runs have nothing to do with it."""


def reject(flag: str, received: object, expected: str, hint: str = "") -> UserError:
    """The error for one flag's value.

    Args:
      flag: name of the flag or field, without dashes.
      received: the value as given.
      expected: what is accepted.
      hint: what to do, if that is not plain from `expected`.

    Returns: a `UserError` to raise.

    Example:
      >>> str(reject("size", 0, "a number above 0", "use e.g. --size=0.25"))
      '--size=0: expected a number above 0; use e.g. --size=0.25'
    """
    if isinstance(received, tuple):
        # Names inside one value are joined as they are typed.
        received = ("+" if flag == "regularizers" else ",").join(map(str, received))
    text = f"{received:g}" if isinstance(received, float) else str(received)
    shown = " ".join(text.split())[:_MAX_SHOWN]
    return UserError(f"--{flag}={shown}: expected {expected}" + (f"; {hint}" if hint else ""))
