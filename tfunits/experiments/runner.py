"""A grid of experiments in this process: each run's steps, its state, and the tables at the end."""

import contextlib
import pathlib
import sys
import time
import traceback
from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf

from tfunits import reports, training
from tfunits.artifacts import RunDir, read_json, write_json
from tfunits.configs import ExecutionConfig, ExperimentConfig, UserError, run_id, short_hash
from tfunits.experiments.steps import STEP_FUNCTIONS, Run, step_key, steps_of

_EXIT_FAILED = 1


def prepare_devices(execution: ExecutionConfig) -> tuple[tf.distribute.Strategy, bool]:
    """The one strategy of this process, and whether equal runs give equal bits; call once, first."""
    strategy = training.make_strategy(execution.num_devices)
    has_gpu = bool(tf.config.list_physical_devices("GPU"))
    deterministic = not has_gpu if execution.deterministic is None else execution.deterministic
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    return strategy, deterministic


def run_grid(experiments: Sequence[ExperimentConfig], execution: ExecutionConfig) -> int:
    """Carry out every run that is not finished, then print tables.

    Args:
      experiments: each once.
      execution: steps, places, devices.

    Returns: 0 if every run is finished, 1 if one diverged or failed.

    Raises:
      UserError: a mistake that concerns every run.
      KeyboardInterrupt: passed on, with the run marked interrupted; what is finished stays.
    """
    for config in experiments:
        steps_of(config, execution)
    start = time.perf_counter()
    strategy, deterministic = prepare_devices(execution)
    states = {}
    for number, config in enumerate(experiments, start=1):
        run_dir = RunDir.of(config, execution.run_root)
        label = f"[{number}/{len(experiments)}] {run_dir.name}"
        with run_dir.claimed(config):
            states[run_dir.name] = _carry_out(
                Run(
                    config=config, execution=execution, run_dir=run_dir, strategy=strategy, deterministic=deterministic
                ),
                label,
            )
        # Networks hold cycles; without this a grid's memory grows by a network a run.
        keras.backend.clear_session(free_memory=True)
    _print_results(experiments, execution)
    print(f"time:          {time.perf_counter() - start:.0f} s, {time.process_time():.0f} s of CPU")
    return 0 if all(state == "finished" for state in states.values()) else _EXIT_FAILED


def _carry_out(run: Run, label: str) -> str:
    """One run's open steps; returns its state."""
    run_dir, config = run.run_dir, run.config
    if _has_diverged(run_dir):
        print(f"{label}: diverged when it was trained; skipped", flush=True)
        return "diverged"
    steps = steps_of(config, run.execution)
    open_steps = [step for step in steps if not run_dir.is_done(step_key(step, config))]
    if not open_steps:
        print(f"{label}: finished before", flush=True)
        if run_dir.status().get("state") != "finished":  # Killed between its last step and its status.
            run_dir.set_status("finished")
        return "finished"
    print(f"{label}: {', '.join(open_steps)}", flush=True)
    seconds = dict(run_dir.status().get("seconds", {}))
    try:
        for step in open_steps:
            run_dir.set_status("running", step=step, seconds=seconds)
            start = time.perf_counter()
            state = STEP_FUNCTIONS[step](run)
            seconds[step] = round(seconds.get(step, 0) + time.perf_counter() - start, 2)
            if state == "diverged":
                return _end(run_dir, "diverged", _describe_divergence(run), seconds)
            _mark_done(run_dir, step, config)
        _discard(run)
        return _end(run_dir, "finished", "", seconds)
    except KeyboardInterrupt:
        run_dir.set_status("interrupted", "stopped by the user; the same command continues", seconds=seconds)
        raise
    except UserError as error:
        return _end(run_dir, "failed", str(error), seconds)
    except OSError as error:
        return _end(
            run_dir, "failed", f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""), seconds
        )
    except Exception as error:
        # One run's bug must not end a grid; its traceback is kept where the run is.
        run_dir.error_log.write_text(traceback.format_exc())
        # TensorFlow puts a traceback before the message; the last line says what is wrong.
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1].strip()
        return _end(run_dir, "failed", f"{reason} (traceback in {run_dir.error_log})", seconds)


def _end(run_dir: RunDir, state: str, message: str, seconds: Mapping[str, float]) -> str:
    """Note how a run ended and say it where it did not end well; returns the state."""
    if message:
        print(f"{run_dir.name}: {message}", file=sys.stderr, flush=True)
    with contextlib.suppress(OSError):  # A full disk is the message; its status cannot be written.
        run_dir.set_status(state, message, seconds=dict(seconds))
    return state


def _describe_divergence(run: Run) -> str:
    epochs = read_json(run.run_dir.done_file("train"))["epochs"]
    rate = run.config.training.learning_rate
    return f"--learning_rate={rate:g}: expected a rate that converges; the loss was not finite in epoch {epochs}"


def _has_diverged(run_dir: RunDir) -> bool:
    return run_dir.is_done("train") and read_json(run_dir.done_file("train"))["state"] == "diverged"


def _mark_done(run_dir: RunDir, step: str, config: ExperimentConfig) -> None:
    """Write a step's done-file, unless the step wrote it itself."""
    if not run_dir.is_done(step_key(step, config)):
        write_json(run_dir.done_file(step_key(step, config)), {"state": "finished"})


def _discard(run: Run) -> None:
    """Delete what `--save` does not keep, once nothing needs it any more."""
    keep = run.execution.save
    if keep != "all":
        for path in run.run_dir.checkpoints.glob("*.npz"):
            path.unlink()
    if keep == "metrics" and "measure" in steps_of(run.config, run.execution):
        run.run_dir.model.unlink(missing_ok=True)


def _print_results(experiments: Sequence[ExperimentConfig], execution: ExecutionConfig) -> None:
    measure = experiments[0].measure
    records = [reports.read_run(RunDir.of(config, execution.run_root), measure) for config in experiments]
    root = pathlib.Path(execution.run_root)
    print()
    if len(records) == 1:
        table = reports.run_table(records[0], measure)
        if len(table):
            print(reports.format_table(table))
            print("\n".join(reports.run_notes(records[0], measure)) + "\n")
        _print_accuracies(records[0])
        print(f"run directory: {records[0].run_dir.path}")
    else:
        folder = root / f"grid-{short_hash([run_id(config) for config in experiments])}"
        grid = reports.report_grid(records, measure, folder)
        print(reports.format_table(grid.table, index=False))
        if len(grid.gains):
            print("\ngains per doubling of width:")
            print(reports.format_table(grid.gains, index=False))
        print(f"\ngrid report: {', '.join(str(path) for path in grid.files)}")
    print(f"TensorBoard:   tensorboard --logdir {root}")


def _print_accuracies(record: reports.RunRecord) -> None:
    if record.accuracy:
        values = ", ".join(f"{split} {scores['accuracy']:.4f}" for split, scores in record.accuracy.items())
        print(f"accuracy:      {values}")
