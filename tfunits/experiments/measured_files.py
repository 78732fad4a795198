"""The files that measures write: the options that decide and name them, and whether they are there.

Needs no TensorFlow, so that a grid is planned, and a finished one answered, without.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from tfunits.artifacts import RunDir
from tfunits.configs import MEASURES_OF_STEPS, ExperimentConfig, MeasureConfig, short_hash
from tfunits.console import ensure_tensorflow


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeasureFiles:
    """The files of one measure.

    Attributes:
      settings: the options that decide it and name its file, one entry a file.
      has_arrays: whether arrays stand beside the JSON.
    """

    settings: Callable[[MeasureConfig], list[dict[str, Any]]]
    has_arrays: bool = False


def _per_split(options: MeasureConfig, **settings: Any) -> list[dict[str, Any]]:
    return [{"split": split, **settings} for split in options.measured_splits]


def _ablation_settings(options: MeasureConfig) -> list[dict[str, Any]]:
    found = []
    for split in options.measured_splits:
        for order in options.ablation_order:
            # Noise and weights know no other units.
            for unit in options.ablation_unit if order not in ("noise", "weights") else ("channel",):
                settings = {
                    "split": split, "unit": unit, "draws": options.draws, "levels": options.levels,
                    "protocol": options.protocol, "seed": options.measure_seed,
                }  # fmt: skip
                # Named only where they are not the default, since they name files of finished runs.
                settings |= {} if order == "random" else {"order": order}
                settings |= {} if options.standard_error is None else {"standard_error": options.standard_error}
                found.append(settings)
    return found


def _unit_settings(options: MeasureConfig) -> list[dict[str, Any]]:
    precision = {} if options.moments_precision == "float32" else {"precision": options.moments_precision}
    return _per_split(
        options,
        max_rows=options.max_rows or "all",
        samplings=options.samplings,
        similarity_threshold=options.similarity_threshold,
        seed=options.measure_seed,
        **precision,
    )


def _chunk_settings(options: MeasureConfig) -> list[dict[str, Any]]:
    # w* is a property of the training set, whatever else is measured.
    splits = dict.fromkeys(("train", *options.measured_splits))
    return [{"split": split, "draws": options.chunk_draws, "seed": options.measure_seed} for split in splits]


def _reconstruction_settings(options: MeasureConfig) -> list[dict[str, Any]]:
    own = {"draws": options.reconstruction_draws, "seed": options.measure_seed}
    return [settings for target in ("layer", "chunk") for settings in _per_split(options, **own, target=target)]


def _stability_settings(options: MeasureConfig) -> list[dict[str, Any]]:
    return [{"split": "train", "share": 0.5, "factor": factor, "draws": 10, "seed": options.measure_seed}
            for factor in (1.0, 2.0)]  # fmt: skip


MEASURE_FILES: Mapping[str, MeasureFiles] = {
    "accuracy": MeasureFiles(settings=lambda options: [{}]),
    "ablation": MeasureFiles(settings=_ablation_settings),
    "units": MeasureFiles(settings=_unit_settings, has_arrays=True),
    "chunks": MeasureFiles(settings=_chunk_settings, has_arrays=True),
    "reconstruction": MeasureFiles(settings=_reconstruction_settings, has_arrays=True),
    "dimension": MeasureFiles(settings=lambda options: _per_split(options, seed=options.measure_seed)),
    "kinds": MeasureFiles(
        settings=lambda options: _per_split(
            options, variance_fraction=options.variance_fraction, max_rows=options.max_rows or "all",
            seed=options.measure_seed,
        ),
    ),
    "stability": MeasureFiles(settings=_stability_settings),
}  # fmt: skip


# A grid's runs share their options.
@functools.lru_cache
def files_of(names: tuple[str, ...], options: MeasureConfig, epoch: int | None) -> list[tuple[str, dict, str]]:
    """(measure, its settings, its file's name) of everything that some measures write."""
    mark = "" if epoch is None else f"@{epoch}"
    return [
        (name, settings, f"{name}{mark}-{short_hash(settings)}.json")
        for name in names
        for settings in settings_of(name, options)
    ]


def settings_of(name: str, options: MeasureConfig) -> list[dict[str, Any]]:
    """The options that decide a measure and name its files, one entry a file."""
    # Named only where it is given, since settings name files of finished runs.
    limit = {} if options.measured_examples is None else {"examples": options.measured_examples}
    return [{**settings, **limit} for settings in MEASURE_FILES[name].settings(options)]


def is_whole(path: pathlib.Path, name: str) -> bool:
    """Whether a measure's file is there, with the arrays that belong to it."""
    return path.is_file() and (not MEASURE_FILES[name].has_arrays or path.with_suffix(".npz").is_file())


def measure_files(config: ExperimentConfig, step: str = "measure") -> list[str]:
    """Names of the files that a step that measures the trained network writes last."""
    return [file for _, _, file in files_of(MEASURES_OF_STEPS[step], config.measure, None)]


def is_measured(run_dir: RunDir, step: str, config: ExperimentConfig) -> bool:
    """Whether every file is there that a step that measures writes."""
    if step != "dynamics":
        return _are_measured(run_dir, MEASURES_OF_STEPS[step], config, None)
    from tfunits.reports import read_epochs

    epochs = []
    if run_dir.is_done("train"):
        # It needs TensorFlow, which a new run's plan does not.
        ensure_tensorflow()
        from tfunits.experiments.load import kept_epochs

        epochs = kept_epochs(run_dir)
    # Where --save has deleted the checkpoints, those that were measured.
    epochs = epochs or read_epochs(run_dir)
    is_untrained = config.training.epochs == 0
    return bool(epochs or is_untrained) and all(
        _are_measured(run_dir, config.measure.dynamics, config, epoch) for epoch in epochs
    )


def _are_measured(run_dir: RunDir, names: tuple[str, ...], config: ExperimentConfig, epoch: int | None) -> bool:
    return all(is_whole(run_dir.measures / file, name) for name, _, file in files_of(names, config.measure, epoch))
