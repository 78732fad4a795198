"""Every figure and table of the papers, and what they claim about them."""

from tfunits.reports.figures import frivolous, redundant, removable, robustness
from tfunits.reports.figures.drawing import draw_figure
from tfunits.reports.figures.figure import Curve, Figure, Panel, Source
from tfunits.reports.figures.runs import Runs

# <paper>/<figure> -> the figure.
FIGURES: dict[str, Figure] = {
    figure.name: figure for paper in (frivolous, removable, robustness, redundant) for figure in paper.FIGURES
}

__all__ = ["FIGURES", "Curve", "Figure", "Panel", "Runs", "Source", "draw_figure"]
