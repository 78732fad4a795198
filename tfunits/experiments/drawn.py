"""What was drawn of a run. Nothing here needs TensorFlow."""

import pathlib

from tfunits import reports
from tfunits.artifacts import RunDir, read_json
from tfunits.configs import DamageError, ExperimentConfig, short_hash


def is_visualized(run_dir: RunDir, config: ExperimentConfig) -> bool:
    """Whether all taps that are asked for are drawn as they are asked for."""
    options = config.visualization
    return visualized_file(run_dir, config).is_file() and all(
        reports.is_drawn(reports.drawing_file(run_dir.visualizations, options, tap))
        for tap in _drawn_taps(run_dir, config)
    )


def _drawn_taps(run_dir: RunDir, config: ExperimentConfig) -> list[str]:
    """The taps that were drawn in the way that is asked for."""
    path = visualized_file(run_dir, config)
    try:
        return read_json(path)["taps"]
    except (KeyError, TypeError):
        raise DamageError(f"{path}: expected the taps that were drawn; delete it and run again") from None


def visualized_file(run_dir: RunDir, config: ExperimentConfig) -> pathlib.Path:
    """The done-file of one way of drawing: which taps and units, and how."""
    options = config.visualization
    key = short_hash({"taps": list(options.taps), **options.drawing_settings("")})
    return run_dir.done_file(f"visualize-{key}")


def read_drawn_run(run_dir: RunDir, config: ExperimentConfig) -> reports.DrawnRun:
    """A run with what was drawn of it in the way that is asked for."""
    taps = _drawn_taps(run_dir, config) if is_visualized(run_dir, config) else []
    drawings = reports.read_drawings(run_dir, config.visualization, taps)
    return reports.DrawnRun(name=run_dir.name, config=config, drawings=drawings)
