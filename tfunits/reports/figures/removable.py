"""Figures and tables of Casper et al. 2019 (arXiv, "Removable and/or repeated units")."""

from tfunits.reports.figures.synthetic import OPTIMIZER_CURVES, SCALE_CURVES, synthetic_figure

_ALL_THREE = ("accuracy", "area", "similarity")

_SYNTHETIC = (
    synthetic_figure(
        "removable/figB4", "perceptrons on 10,000 dimensions, by their initial weights", SCALE_CURVES,
        _ALL_THREE, ("V01", "V08"),
    ),
    synthetic_figure(
        "removable/figB5", "perceptrons on 10 dimensions, by their initial weights", SCALE_CURVES,
        _ALL_THREE, ("V01", "V09"),
    ),
    synthetic_figure(
        "removable/figB11", "perceptrons on 10,000 dimensions, by optimiser", OPTIMIZER_CURVES, _ALL_THREE, ("V13",)
    ),
)  # fmt: skip

FIGURES = (*_SYNTHETIC,)
