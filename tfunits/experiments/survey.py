"""What is done of every run of a grid, from one look at its directory. Nothing here needs TensorFlow."""

import dataclasses
from collections.abc import Sequence

from tfunits import __version__
from tfunits.artifacts import RunDir, read_json
from tfunits.configs import Cost, ExecutionConfig, ExperimentConfig, UserError, estimate_cost, identity
from tfunits.experiments.done import is_step_done, steps_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class SurveyedRun:
    """One run as its directory was found.

    Attributes:
      config: the experiment.
      run_dir: where it is, or will be.
      state: of status.json; "new" where there is none.
      done: steps asked for that are done, in order.
      is_settled: whether it ended before and nothing is left to do, to delete or to ask.
      cost: of the steps that are not done; nothing of a run that has ended.
    """

    config: ExperimentConfig
    run_dir: RunDir
    state: str
    done: tuple[str, ...]
    is_settled: bool
    cost: Cost


def survey(experiments: Sequence[ExperimentConfig], execution: ExecutionConfig) -> list[SurveyedRun]:
    """Look at every run once, in order; writes nothing and waits for no lock.

    Raises:
      UserError: steps that a run cannot have.
    """
    return [_survey(config, execution) for config in experiments]


def _survey(config: ExperimentConfig, execution: ExecutionConfig) -> SurveyedRun:
    run_dir = RunDir.of(config, execution.run_root)
    steps = steps_of(config, execution)
    state = run_dir.status().get("state", "new") if run_dir.path.is_dir() else "new"
    try:
        done = [] if state == "new" else [step for step in steps if is_step_done(run_dir, step, config)]
    except UserError:
        # A damaged file, which who carries out the run names.
        done = []
    left = [step for step in steps if step not in done]
    has_ended = (state == "finished" and not left) or (state == "diverged" and run_dir.is_done("train"))
    return SurveyedRun(
        config=config,
        run_dir=run_dir,
        state=state,
        done=tuple(done),
        is_settled=has_ended and not _has_more_than_kept(run_dir, execution) and _holds(run_dir, config),
        cost=Cost() if has_ended else estimate_cost(config, left),
    )


def _has_more_than_kept(run_dir: RunDir, execution: ExecutionConfig) -> bool:
    """Whether something may have to be deleted, of a kill or by `--save`; who claims the run looks more closely."""
    if any(run_dir.path.glob("**/.part-*")):
        return True
    if execution.save == "all":
        return False
    files = [run_dir.path / "best.keras", run_dir.path / "last.keras"]
    files += [run_dir.model] if execution.save == "metrics" else []
    return any(path.exists() for path in files) or any(run_dir.path.glob("**/checkpoints/*.npz"))


def _holds(run_dir: RunDir, config: ExperimentConfig) -> bool:
    """Whether the directory holds this experiment; who claims it says what is wrong."""
    try:
        return identity(run_dir.config()) == identity(config)
    except (OSError, ValueError, TypeError, AttributeError):
        return False


def describe_other_version(run_dir: RunDir) -> str:
    """A note on a run that another version of tfunits trained, whose draws may be others.

    A damaged file says nothing here; who reads the results names it.
    """
    try:
        trained = read_json(run_dir.environment).get("tfunits") if run_dir.environment.is_file() else None
    except (OSError, UserError, AttributeError):
        trained = None
    return f" by tfunits {trained}, which is not this {__version__}" if trained not in (None, __version__) else ""
