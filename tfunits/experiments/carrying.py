"""Open steps of runs, and what is noted of their end."""

import contextlib
import pathlib
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow as tf

from tfunits import training
from tfunits.artifacts import RunDir, write_text
from tfunits.configs import (
    MEASURES_OF_STEPS,
    DamageError,
    ExecutionConfig,
    ExperimentConfig,
    UserError,
    parse_keep_rule,
)
from tfunits.experiments.done import is_step_done, mark_step_done, steps_of
from tfunits.experiments.run import Run
from tfunits.experiments.sharing import Shared
from tfunits.experiments.steps import STEP_FUNCTIONS
from tfunits.experiments.survey import describe_other_version

RESTART = "start the same command on all machines, and it continues"


def carry_out_batch(
    configs: Sequence[ExperimentConfig],
    execution: ExecutionConfig,
    strategy: tf.distribute.Strategy,
    *,
    deterministic: bool,
    labels: Sequence[str],
    when_ended: Callable[[str, str], None] | None = None,
) -> dict[str, str]:
    """The open steps of runs of one batch, in order; what every launcher's worker does.

    Args:
      configs: of `make_batches`.
      execution: steps and places.
      strategy: where to train.
      deterministic: whether TensorFlow was told to give equal bits.
      labels: what a line about each run begins with.
      when_ended: is told the name and the state of every run when it ends.

    Returns: name of a run -> its state: finished, diverged or failed.

    Raises:
      UserError: a mistake that concerns every run.
      KeyboardInterrupt: passed on, with the run marked interrupted.
    """
    states, shared = {}, Shared()
    with training.forgetting_gradients():
        for config, label in zip(configs, labels, strict=True):
            run_dir = RunDir.of(config, execution.run_root)
            run = Run(
                config=config, execution=execution, run_dir=run_dir, strategy=strategy, deterministic=deterministic,
                # Workers of a cluster compile for themselves, each run anew.
                shared=shared if training.num_workers(strategy) == 1 else Shared(),
            )  # fmt: skip
            try:
                with run_dir.claimed(config):
                    states[run_dir.name] = _carry_out(run, label)
            except DamageError as error:
                if training.num_workers(strategy) > 1:
                    raise
                print(f"{label}: {error}", file=sys.stderr, flush=True)
                states[run_dir.name] = "failed"
            if when_ended:
                when_ended(run_dir.name, states[run_dir.name])
            shared.free()
    # Networks hold cycles; without this a grid's memory grows by a network a batch.
    keras.backend.clear_session(free_memory=True)
    return states


def _carry_out(run: Run, label: str) -> str:
    """One run's open steps; returns its state."""
    run_dir, config = run.run_dir, run.config
    before = run_dir.status()
    seconds = dict(before.get("seconds", {}))
    if _has_diverged(run_dir):
        print(f"{label}: diverged when it was trained; skipped", flush=True)
        return _settle(run, "diverged", seconds)
    steps = steps_of(config, run.execution)
    open_steps = _open_steps(run_dir, steps, config)
    if not open_steps:
        print(f"{label}: finished before{describe_other_version(run_dir)}", flush=True)
        return _settle(run, "finished", seconds)
    print(f"{label}: {', '.join(open_steps)}", flush=True)
    try:
        run_dir.error_log.unlink(missing_ok=True)
        for step in open_steps:
            run_dir.set_status("running", step=step, seconds=seconds)
            start = time.perf_counter()
            if step == "train":
                # What every worker does next.
                training.broadcast_json(run.strategy, run_dir.name)
            state = STEP_FUNCTIONS[step](run)
            seconds[step] = round(seconds.get(step, 0) + time.perf_counter() - start, 2)
            if state == "diverged":
                print(f"{run_dir.name}: {_describe_divergence(run)}", file=sys.stderr, flush=True)
                return _settle(run, "diverged", seconds)
            mark_step_done(run_dir, step, config)
        return _settle(run, "finished", seconds)
    except KeyboardInterrupt:
        run_dir.set_status("interrupted", "stopped by the user; the same command continues", seconds=seconds)
        raise
    except UserError as error:
        reason = str(error)
    except OSError as error:
        reason = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
    except tf.errors.OpError as error:
        reason = _explain(run, error)
    except Exception as error:
        # One run's bug must not end a grid.
        reason = _log(run, error)
    if training.num_workers(run.strategy) > 1 and not run_dir.is_done("train"):
        # The other workers wait within this training, so that no other can begin.
        _fail(run_dir, reason, seconds, was_finished=False)
        raise UserError("training on several machines has ended with this run")
    # What cannot be measured or drawn takes nothing from what was finished before.
    return _fail(run_dir, reason, seconds, was_finished=before.get("state") == "finished")


def _log(run: Run, error: Exception) -> str:
    """Keep a traceback where the run is; returns the line that says what is wrong."""
    with contextlib.suppress(OSError):
        write_text(run.run_dir.error_log, traceback.format_exc())
    # TensorFlow puts a traceback before the message; the last line says what is wrong.
    last_line = (str(error).strip() or type(error).__name__).splitlines()[-1].strip()
    return f"{last_line} (traceback in {run.run_dir.error_log})"


def _explain(run: Run, error: tf.errors.OpError) -> str:
    """Why TensorFlow stopped: a lost worker, data that cannot be read, a full memory, or what it says itself."""
    if training.num_workers(run.strategy) > 1 and training.is_lost_worker(error):
        return f"another worker was lost, {_log(run, error)}; {RESTART}"
    damage = find_damage(run, error)
    return str(damage) if damage else _log(run, error)


def find_damage(run: Run, error: tf.errors.OpError) -> UserError | None:
    """The damaged file behind an error of reading data; None where the error is another."""
    # Names of the operations that take the next batch, in TensorFlow's message.
    if "data" not in vars(run) or not any(name in str(error) for name in ("IteratorGetNext", "MultiDeviceIterator")):
        return None
    print(f"{run.run_dir.name}: reading all files of {run.config.data.dataset} for a damaged one", flush=True)
    return run.data.explain(error)


def _settle(run: Run, state: str, seconds: Mapping[str, float]) -> str:
    """Delete what `--save` does not keep, then note the state; again after a kill in between."""
    message = _describe_divergence(run) if state == "diverged" else ""
    _discard(run)
    status = run.run_dir.status()
    if (status.get("state"), status.get("message")) != (state, message):
        run.run_dir.set_status(state, message, seconds=dict(seconds))
    return state


def _fail(run_dir: RunDir, message: str, seconds: Mapping[str, float], *, was_finished: bool) -> str:
    """Say in one line why a run failed, and note it."""
    print(f"{run_dir.name}: {message}", file=sys.stderr, flush=True)
    with contextlib.suppress(OSError):  # A full disk is the message; its status cannot be written.
        run_dir.set_status("finished" if was_finished else "failed", message, seconds=dict(seconds))
    return "failed"


def _open_steps(run_dir: RunDir, steps: Sequence[str], config: ExperimentConfig) -> list[str]:
    """Steps that need work, in order; where something is measured, its figures do too."""
    found = [step for step in steps if not is_step_done(run_dir, step, config)]
    is_measuring = not {*MEASURES_OF_STEPS, "dynamics"}.isdisjoint(found)
    return [step for step in steps if step in found or (step == "report" and is_measuring)]


def _describe_divergence(run: Run) -> str:
    epochs = run.run_dir.read_done("train").get("epochs")
    rate = run.config.training.learning_rate
    return f"--learning_rate={rate:g}: expected a rate that converges; the loss was not finite in epoch {epochs}"


def _has_diverged(run_dir: RunDir) -> bool:
    return run_dir.is_done("train") and run_dir.read_done("train").get("state") == "diverged"


def _discard(run: Run) -> None:
    """Delete what `--save` does not keep, of a run that needs it no more."""
    run_dir, keep = run.run_dir, run.execution.save
    if keep != "all":
        others = [run_dir.path / "best.keras", run_dir.path / "last.keras"]
        folders = [run_dir.checkpoints, *(candidate.checkpoints for candidate in run_dir.candidates())]
        for path in [*others, *(file for folder in folders for file in _unkept(folder, run.execution))]:
            path.unlink(missing_ok=True)
    readers = [step for step in steps_of(run.config, run.execution) if step in (*MEASURES_OF_STEPS, "visualize")]
    # A run that is not measured yet keeps its weights for that.
    if keep == "metrics" and all(is_step_done(run_dir, step, run.config) for step in ("measure", *readers)):
        run_dir.model.unlink(missing_ok=True)


def _unkept(folder: pathlib.Path, execution: ExecutionConfig) -> list[pathlib.Path]:
    """Checkpoint files that `--keep_epochs` does not name."""
    kept = training.Checkpoints(folder, parse_keep_rule(execution.keep_epochs or ())).kept()
    return [path for path in folder.glob("*.npz") if path not in kept]
