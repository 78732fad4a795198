"""Numbers out of a network and data: ablation, redundancy, similarity."""

from tfunits.measures.ablation import AblationCurves, ablation_curves, prunability
from tfunits.measures.inputs import predicted_classes
from tfunits.measures.report import Report, report
from tfunits.measures.results import Prunability, Redundancy, Result, Similarity, UnitTypes
from tfunits.measures.units import NetworkStatistics, redundancy, similarity, unit_statistics, unit_types

__all__ = [
    "AblationCurves",
    "NetworkStatistics",
    "Prunability",
    "Redundancy",
    "Report",
    "Result",
    "Similarity",
    "UnitTypes",
    "ablation_curves",
    "predicted_classes",
    "prunability",
    "redundancy",
    "report",
    "similarity",
    "unit_statistics",
    "unit_types",
]
