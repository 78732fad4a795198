"""Figures and tables of Casper et al. 2019 (ICLR submission, "Robustness and/or redundancy")."""

from tfunits.reports.figures.synthetic import OPTIMIZER_CURVES, SCALE_CURVES, synthetic_figure

_ALL_FOUR = ("accuracy", "area", "compressibility", "similarity")

_SYNTHETIC = (
    synthetic_figure(
        "robustness/figC5", "perceptrons on 10,000 dimensions, by their initial weights", SCALE_CURVES,
        _ALL_FOUR, ("V08",),
    ),
    synthetic_figure(
        "robustness/figC6", "perceptrons on 10 dimensions, by their initial weights", SCALE_CURVES,
        _ALL_FOUR, ("V09",),
    ),
    synthetic_figure(
        "robustness/figC12", "perceptrons on 10,000 dimensions, by optimiser", OPTIMIZER_CURVES, _ALL_FOUR, ("R18",)
    ),
)  # fmt: skip

FIGURES = (*_SYNTHETIC,)
