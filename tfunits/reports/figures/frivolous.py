"""Figures and tables of Casper et al. 2021 (AAAI, "Frivolous units")."""

from tfunits.reports.figures.figure import Curve, Figure
from tfunits.reports.figures.panels import WidthPanel
from tfunits.reports.figures.synthetic import DATASET_CURVES, OPTIMIZER_CURVES, SCALE_CURVES, synthetic_figure

_PRUNABLE_AND_REDUNDANT = ("prunability", "redundancy")
_NEITHER = ("non_prunability", "non_redundancy")
_ALL_THREE = ("accuracy", *_PRUNABLE_AND_REDUNDANT)
_NORMAL_INITIALIZERS = tuple(
    Curve(label=label, settings={"initializer": f"{name}_normal"})
    for label, name in (("Glorot", "glorot"), ("He", "he"), ("LeCun", "lecun"))
)

_SYNTHETIC = (
    synthetic_figure(
        "frivolous/fig4d", "perceptrons on synthetic data of 10 and 10,000 dimensions", DATASET_CURVES,
        _ALL_THREE, ("F01", "F15", "F16", "F17", "F27", "F28", "F30"),
    ),
    synthetic_figure(
        "frivolous/figE3d", "units of these perceptrons that are neither prunable nor redundant", DATASET_CURVES,
        _NEITHER, ("F18",),
    ),
    synthetic_figure(
        "frivolous/figE7", "perceptrons on 10 dimensions, by their initial weights", SCALE_CURVES,
        _ALL_THREE, ("F01", "F22", "F27", "F28", "F30"),
    ),
    synthetic_figure(
        "frivolous/figE8", "perceptrons on 10,000 dimensions, by their initial weights", SCALE_CURVES,
        _ALL_THREE, ("F01", "F23", "F27", "F28", "F30"),
    ),
    synthetic_figure(
        "frivolous/figE9", "perceptrons on 10,000 dimensions, by optimiser", OPTIMIZER_CURVES,
        _ALL_THREE, ("F01", "F24"),
    ),
)  # fmt: skip

FIGURES = (
    Figure(
        name="frivolous/fig4c",
        title="AlexNets with three initialisations",
        panels=[WidthPanel(measure=measure, curves=_NORMAL_INITIALIZERS) for measure in _ALL_THREE],
        claims=("F14",),
    ),
    *_SYNTHETIC,
)
