"""Which steps of a run are done. Nothing here needs TensorFlow."""

import dataclasses

from tfunits.artifacts import RunDir, write_json
from tfunits.configs import (
    DEFAULT_STEPS,
    MEASURES_OF_STEPS,
    STEPS,
    ExecutionConfig,
    ExperimentConfig,
    reject,
    short_hash,
)
from tfunits.experiments.measured_files import is_measured


def is_step_done(run_dir: RunDir, step: str, config: ExperimentConfig) -> bool:
    """Whether a step needs no work: trained; every measure asked for is there; the last report was this one."""
    if step in MEASURES_OF_STEPS or step == "dynamics":
        return is_measured(run_dir, step, config)
    if step == "visualize":
        # What draws takes seconds to import.
        from tfunits.experiments.drawn import is_visualized

        return is_visualized(run_dir, config)
    if not run_dir.is_done(step):
        return False
    return step == "train" or run_dir.read_done(step).get("of") == _report_key(run_dir, config)


def mark_step_done(run_dir: RunDir, step: str, config: ExperimentConfig) -> None:
    """Write the done-file of a step that has no other: others write their own, or a measure is its own."""
    if step == "report":
        write_json(run_dir.done_file(step), {"state": "finished", "of": _report_key(run_dir, config)})


def _report_key(run_dir: RunDir, config: ExperimentConfig) -> str:
    """What the figures show: the measures that are there, and how they are read."""
    files = sorted(path.name for path in run_dir.measures.glob("*.json"))
    return short_hash({**dataclasses.asdict(config.measure), "files": files})


def steps_of(config: ExperimentConfig, execution: ExecutionConfig) -> list[str]:
    """The steps of one run, in order.

    Raises:
      UserError: training of a user's own network.
    """
    given = execution.steps or tuple(step for step in DEFAULT_STEPS if step != "train" or not config.model.is_file)
    if config.model.is_file and {"train", "dynamics"}.intersection(given):
        raise reject(
            "steps", ",".join(given), "no train or dynamics for a file: model", "a file is measured as it is"
        )  # fmt: skip
    return [step for step in STEPS if step in given]
