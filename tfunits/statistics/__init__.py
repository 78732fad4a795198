"""Arrays in, arrays out: moments, components, correlation, curves, gains, dimension, power laws, ensembles."""

from tfunits.statistics.chunks import (
    FITTED_ERROR,
    STRICTLY_FITTED_ERROR,
    ChunkErrors,
    check_sizes,
    chunk_sizes,
    draw_chunks,
    draw_orders,
    first_at_most,
)
from tfunits.statistics.components import count_components, count_redundant, principal_variances
from tfunits.statistics.correlation import (
    absolute_correlations,
    correlation_histogram,
    correlation_matrix,
    count_similar,
    explained_by_others,
)
from tfunits.statistics.curves import REFERENCE_SIZE, AblationCurve, area_under_curve, crossing_fraction
from tfunits.statistics.dimension import IntrinsicDimension, dimension_by_scale, intrinsic_dimension
from tfunits.statistics.ensembles import (
    BiasVariance,
    average_outputs,
    bias_variance,
    ensemble_errors,
    ensemble_wrong,
)
from tfunits.statistics.gains import Gain, gain
from tfunits.statistics.images import READINGS, fourier_amplitude, total_variation
from tfunits.statistics.intervals import (
    CONFIDENCE,
    FEWEST_REPLICATES,
    Interval,
    contrast_interval,
    pair_replicates,
    ratio_interval,
    t_interval,
)
from tfunits.statistics.moments import PRECISIONS, Moments, StreamingMoments
from tfunits.statistics.permutation import PermutationTest, holm, permutation_test, tail_probability
from tfunits.statistics.power_laws import PowerLaw, PowerLawInterval, bootstrap_power_law, fit_power_law
from tfunits.statistics.reconstruction import (
    CORRELATION_FLOOR,
    RIDGE_PENALTY,
    Reconstruction,
    ReconstructionCurve,
    mean_absolute_correlation,
    noise_floor,
    reconstruct,
    reconstruction_curve,
)
from tfunits.statistics.threads import one_thread
from tfunits.statistics.units import (
    CONSTANT_VARIATION,
    ROWS_PER_UNIT,
    SELECTIVITY,
    SILENT_ACTIVE_SHARE,
    UnitStatistics,
    class_selectivity,
)

__all__ = [
    "READINGS",
    "CONFIDENCE",
    "CONSTANT_VARIATION",
    "CORRELATION_FLOOR",
    "FEWEST_REPLICATES",
    "FITTED_ERROR",
    "PRECISIONS",
    "REFERENCE_SIZE",
    "RIDGE_PENALTY",
    "ROWS_PER_UNIT",
    "SELECTIVITY",
    "SILENT_ACTIVE_SHARE",
    "STRICTLY_FITTED_ERROR",
    "AblationCurve",
    "BiasVariance",
    "ChunkErrors",
    "Gain",
    "Interval",
    "IntrinsicDimension",
    "Moments",
    "PermutationTest",
    "PowerLaw",
    "PowerLawInterval",
    "Reconstruction",
    "ReconstructionCurve",
    "StreamingMoments",
    "UnitStatistics",
    "absolute_correlations",
    "area_under_curve",
    "average_outputs",
    "bias_variance",
    "bootstrap_power_law",
    "check_sizes",
    "chunk_sizes",
    "class_selectivity",
    "contrast_interval",
    "correlation_histogram",
    "correlation_matrix",
    "count_components",
    "count_redundant",
    "count_similar",
    "crossing_fraction",
    "dimension_by_scale",
    "draw_chunks",
    "draw_orders",
    "ensemble_errors",
    "ensemble_wrong",
    "explained_by_others",
    "first_at_most",
    "fit_power_law",
    "fourier_amplitude",
    "gain",
    "holm",
    "intrinsic_dimension",
    "mean_absolute_correlation",
    "noise_floor",
    "one_thread",
    "pair_replicates",
    "permutation_test",
    "principal_variances",
    "ratio_interval",
    "reconstruct",
    "reconstruction_curve",
    "t_interval",
    "tail_probability",
    "total_variation",
]
