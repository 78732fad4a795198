"""Numbers out of a network and data: ablation, redundancy, similarity, chunks, dimension, ensembles."""

from tfunits.measures.ablation import ablation_curves, prunability
from tfunits.measures.curves import AblationCurves
from tfunits.measures.ensembles import (
    DropoutStability,
    bias_variance,
    dropout_stability,
    ensemble_error_curve,
    read_outputs,
)
from tfunits.measures.inputs import predicted_classes
from tfunits.measures.last_hidden import chunks, intrinsic_dimension, reconstruction
from tfunits.measures.noise import noise_curves
from tfunits.measures.report import Report, report
from tfunits.measures.results import (
    NoiseTolerance,
    Prunability,
    Redundancy,
    Result,
    Similarity,
    SingleUnitEffects,
    UnitKinds,
    UnitTypes,
)
from tfunits.measures.single_units import single_unit_effects, unit_kinds
from tfunits.measures.units import NetworkStatistics, redundancy, similarity, unit_statistics, unit_types
from tfunits.measures.weight_ablation import weight_ablation_curves

__all__ = [
    "AblationCurves",
    "DropoutStability",
    "NetworkStatistics",
    "NoiseTolerance",
    "Prunability",
    "Redundancy",
    "Report",
    "Result",
    "Similarity",
    "SingleUnitEffects",
    "UnitKinds",
    "UnitTypes",
    "ablation_curves",
    "bias_variance",
    "chunks",
    "dropout_stability",
    "ensemble_error_curve",
    "intrinsic_dimension",
    "noise_curves",
    "predicted_classes",
    "prunability",
    "read_outputs",
    "reconstruction",
    "redundancy",
    "report",
    "similarity",
    "single_unit_effects",
    "unit_kinds",
    "unit_statistics",
    "unit_types",
    "weight_ablation_curves",
]
