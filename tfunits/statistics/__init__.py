"""Arrays in, arrays out: moments, components, correlation, curves, gains."""

from tfunits.statistics.components import count_components, count_redundant, principal_variances
from tfunits.statistics.correlation import (
    absolute_correlations,
    correlation_histogram,
    correlation_matrix,
    count_similar,
)
from tfunits.statistics.curves import REFERENCE_SIZE, AblationCurve, area_under_curve, crossing_fraction
from tfunits.statistics.gains import Gain, gain
from tfunits.statistics.moments import Moments
from tfunits.statistics.units import UnitStatistics

__all__ = [
    "REFERENCE_SIZE",
    "AblationCurve",
    "Gain",
    "Moments",
    "UnitStatistics",
    "absolute_correlations",
    "area_under_curve",
    "correlation_histogram",
    "correlation_matrix",
    "count_components",
    "count_redundant",
    "count_similar",
    "crossing_fraction",
    "gain",
    "principal_variances",
]
