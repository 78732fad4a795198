"""How a claim is decided: verdicts of curves, and of a whole panel."""

import dataclasses
import enum
from collections.abc import Callable, Sequence

from tfunits.reports.figures.runs import Runs


class Outcome(enum.StrEnum):
    """What a run says about a claim."""

    AGREES = "agrees"
    NOT_ABOVE_UNTRAINED = "agrees, but not above untrained"
    DISAGREES = "disagrees"
    CANNOT_TELL = "cannot tell"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """One check of a claim on one curve.

    Attributes:
      check: what was compared, e.g. "g(P) > 2, Glorot".
      outcome: what it says.
      numbers: name -> number that decided, e.g. {"value": 2.4, "low": 2.1, "high": 2.7, "seeds": 3}.
      reason: one sentence where the outcome is "cannot tell".
    """

    check: str
    outcome: Outcome
    numbers: dict[str, float]
    reason: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """What a paper says about figures, as a check.

    Attributes:
      id: as in the scorecard.
      paper: which paper and figures.
      text: the check in our words.
      data: data sets on which the answer is a verdict on the paper; on others it is one on stand-in data.
      check: from a figure's runs to one verdict a curve.
    """

    id: str
    paper: str
    text: str
    data: Sequence[str]
    check: Callable[[Runs], Sequence[Verdict]]
