"""Figures and tables of Casper et al. 2021 (AAAI, "Frivolous units")."""

from tfunits.reports.figures.figure import Curve, Figure
from tfunits.reports.figures.panels import WidthPanel

_PRUNABLE_AND_REDUNDANT = ("prunability", "redundancy")
_NORMAL_INITIALIZERS = tuple(
    Curve(label=label, settings={"initializer": f"{name}_normal"})
    for label, name in (("Glorot", "glorot"), ("He", "he"), ("LeCun", "lecun"))
)

FIGURES = (
    Figure(
        name="frivolous/fig4c",
        title="AlexNets with three initialisations",
        panels=[
            WidthPanel(measure=measure, curves=_NORMAL_INITIALIZERS)
            for measure in ("accuracy", *_PRUNABLE_AND_REDUNDANT)
        ],
        claims=("F14",),
    ),
)
