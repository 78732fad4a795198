"""Tables, figures and gains out of run directories; no TensorFlow."""

from tfunits.reports.grid import GridReport, report_grid
from tfunits.reports.plots import plot_ablation, plot_against_width, plot_correlations, plot_training
from tfunits.reports.records import NETWORK, RunRecord, find_runs, flat_settings, load, read_run, tabulate
from tfunits.reports.tables import format_table, gain_table, grid_table, run_notes, run_table

__all__ = [
    "NETWORK",
    "GridReport",
    "RunRecord",
    "find_runs",
    "flat_settings",
    "format_table",
    "gain_table",
    "grid_table",
    "load",
    "plot_ablation",
    "plot_against_width",
    "plot_correlations",
    "plot_training",
    "read_run",
    "report_grid",
    "run_notes",
    "run_table",
    "tabulate",
]
