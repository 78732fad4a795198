"""What is said about a claim: verdicts of curves, judgements of figures, and the claims themselves."""

import dataclasses
import enum
import math
from collections.abc import Callable, Mapping, Sequence

from tfunits.configs import Margins
from tfunits.reports.figures.runs import Runs


class Outcome(enum.StrEnum):
    """What a run says about a claim."""

    AGREES = "agrees"
    NOT_ABOVE_UNTRAINED = "agrees, but not above untrained"
    DISAGREES = "disagrees"
    CANNOT_TELL = "cannot tell"


AGREEING = (Outcome.AGREES, Outcome.NOT_ABOVE_UNTRAINED)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """One check of a claim on one curve.

    Attributes:
      check: what was compared, e.g. "g(P) > 2, Glorot".
      outcome: what it says.
      numbers: name -> number that decided, e.g. {"value": 2.4, "low": 2.1, "high": 2.7, "seeds": 3}.
      reason: one sentence where the outcome is "cannot tell".
      data: the data sets of the networks.
      marks: what a reader must know beside it, e.g. "rank-limited".
      p_for, p_against: two-sided p values of the evidence for the claim and against it; NaN where no test was made.
    """

    check: str
    outcome: Outcome
    numbers: Mapping[str, float] = dataclasses.field(default_factory=dict)
    reason: str = ""
    data: Sequence[str] = ()
    marks: Sequence[str] = ()
    p_for: float = math.nan
    p_against: float = math.nan


Check = Callable[[Runs, Margins], Sequence[Verdict]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """What a paper says about figures, as a check.

    Attributes:
      id: as in the scorecard.
      paper: which papers and figures say it.
      text: the check in our words.
      data: data sets on which the answer is a verdict on the paper; on others it is one on stand-in data.
      check: from any runs, of which it chooses its own by their settings, to one verdict a curve; none where there are
        no such runs.
      beside: a network whose runs the claim speaks of too, although the figure has none of them; None without.
    """

    id: str
    paper: str
    text: str
    data: Sequence[str]
    check: Check
    beside: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the runs of one figure say about one claim, on one data set and measured in one way.

    Attributes:
      claim: which.
      figure: whose runs.
      data: the networks' data sets; none where there are no such runs.
      on_papers_data: whether it is a verdict on the paper.
      rows: examples of a split that were measured; None for all.
      outcome: of all verdicts together.
      verdicts: one a curve.
    """

    claim: Claim
    figure: str
    data: Sequence[str]
    on_papers_data: bool
    rows: int | None
    outcome: Outcome
    verdicts: Sequence[Verdict]
