"""Tables, figures and gains out of run directories; no TensorFlow."""

from tfunits.reports.chunks import (
    chunk_table,
    fit_chunk_power_law,
    fit_width_power_law,
    fitting_width,
    further_tables,
    limit_error,
    plot_chunks,
    plot_widths,
    width_table,
)
from tfunits.reports.dynamics import plot_dynamics, tabulate_dynamics
from tfunits.reports.grid import GridReport, report_grid
from tfunits.reports.plots import (
    ABLATED,
    plot_ablation,
    plot_against_width,
    plot_correlations,
    plot_training,
    plot_units,
)
from tfunits.reports.records import (
    NETWORK,
    RunRecord,
    find_runs,
    first_unit,
    flat_settings,
    load,
    read_dynamics,
    read_epochs,
    read_run,
    tabulate,
)
from tfunits.reports.sweeps import find_untrained, sampling_table, split_table, tolerance_table
from tfunits.reports.tables import format_table, gain_table, grid_table, run_notes, run_table

__all__ = [
    "ABLATED",
    "NETWORK",
    "GridReport",
    "RunRecord",
    "chunk_table",
    "find_runs",
    "find_untrained",
    "first_unit",
    "fit_chunk_power_law",
    "fit_width_power_law",
    "fitting_width",
    "flat_settings",
    "format_table",
    "further_tables",
    "gain_table",
    "grid_table",
    "limit_error",
    "load",
    "plot_ablation",
    "plot_against_width",
    "plot_chunks",
    "plot_correlations",
    "plot_dynamics",
    "plot_training",
    "plot_units",
    "plot_widths",
    "read_dynamics",
    "read_epochs",
    "read_run",
    "report_grid",
    "run_notes",
    "run_table",
    "sampling_table",
    "split_table",
    "tabulate",
    "tabulate_dynamics",
    "tolerance_table",
    "width_table",
]
