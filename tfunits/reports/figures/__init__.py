"""Every figure and table of the papers, and what they claim about them."""

from tfunits.reports.figures import frivolous, redundant, removable, robustness
from tfunits.reports.figures.claims import CLAIMS
from tfunits.reports.figures.drawing import draw_figure
from tfunits.reports.figures.figure import Curve, Figure, Panel, Source
from tfunits.reports.figures.judging import judge, judge_claims
from tfunits.reports.figures.runs import Runs
from tfunits.reports.figures.scorecard import report_claims, write_scorecard
from tfunits.reports.figures.verdicts import Claim, Judgement, Outcome, Verdict

# <paper>/<figure> -> the figure.
FIGURES: dict[str, Figure] = {
    figure.name: figure for paper in (frivolous, removable, robustness, redundant) for figure in paper.FIGURES
}

__all__ = [
    "CLAIMS",
    "FIGURES",
    "Claim",
    "Curve",
    "Figure",
    "Judgement",
    "Outcome",
    "Panel",
    "Runs",
    "Source",
    "Verdict",
    "draw_figure",
    "judge",
    "judge_claims",
    "report_claims",
    "write_scorecard",
]
