"""A grid of experiments in this process: each run's steps, its state, and the tables at the end."""

import contextlib
import pathlib
import sys
import time
import traceback
from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf

from tfunits import __version__, reports, training
from tfunits.artifacts import RunDir, read_json, write_text
from tfunits.configs import (
    MEASURES_OF_STEPS,
    Cluster,
    ExecutionConfig,
    ExperimentConfig,
    UserError,
    parse_keep_rule,
    run_id,
    short_hash,
)
from tfunits.experiments.run import Run
from tfunits.experiments.steps import STEP_FUNCTIONS, fit, is_step_done, mark_step_done, steps_of
from tfunits.experiments.visualizing import read_drawn_run

_EXIT_FAILED = 1
_RESTART = "start the same command on all machines, and it continues"


def make_deterministic(execution: ExecutionConfig) -> bool:
    """Tell TensorFlow to give equal bits in equal runs where that is asked for; returns whether it was."""
    has_gpu = bool(tf.config.list_physical_devices("GPU"))
    deterministic = not has_gpu if execution.deterministic is None else execution.deterministic
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    return deterministic


def run_grid(
    experiments: Sequence[ExperimentConfig],
    execution: ExecutionConfig,
    *,
    strategy: tf.distribute.Strategy | None = None,
    cluster: Cluster | None = None,
) -> int:
    """Carry out every run that is not finished, then print tables.

    Of several machines, all train; the chief alone reads and writes run directories, measures and prints.

    Args:
      experiments: each once.
      execution: steps, places, devices.
      strategy: where to train; made from `execution` if None. A process may make one of several devices only once.
      cluster: machines that train together; None for this one.

    Returns: 0 if every run is finished, 1 if one diverged or failed.

    Raises:
      UserError: a mistake that concerns every run.
      KeyboardInterrupt: passed on, with the run marked interrupted; what is finished stays.
    """
    for config in experiments:
        steps_of(config, execution)
    start = time.perf_counter()
    deterministic = make_deterministic(execution)
    strategy = strategy or training.make_strategy(execution.num_devices, cluster, execution.worker_timeout)
    if cluster:
        print(f"worker {cluster.index} of {len(cluster.workers)}", flush=True)
        if not cluster.is_chief:
            return _assist(experiments, execution, strategy, deterministic)
    states = {}
    for number, config in enumerate(experiments, start=1):
        run_dir = RunDir.of(config, execution.run_root)
        label = f"[{number}/{len(experiments)}] {run_dir.name}"
        run = Run(config=config, execution=execution, run_dir=run_dir, strategy=strategy, deterministic=deterministic)
        with run_dir.claimed(config):
            states[run_dir.name] = _carry_out(run, label)
        # Networks hold cycles; without this a grid's memory grows by a network a run.
        keras.backend.clear_session(free_memory=True)
    _print_results(experiments, execution)
    print(f"time:          {time.perf_counter() - start:.0f} s, {time.process_time():.0f} s of CPU")
    # Workers that are gone by now were needed no more.
    with contextlib.suppress(tf.errors.OpError):
        training.broadcast_json(strategy, None)
    return 0 if all(state == "finished" for state in states.values()) else _EXIT_FAILED


def _describe_other_version(run_dir: RunDir) -> str:
    """A note on a run that another version of tfunits trained, whose draws may be others."""
    trained = read_json(run_dir.environment).get("tfunits") if run_dir.environment.is_file() else None
    return f" by tfunits {trained}, which is not this {__version__}" if trained not in (None, __version__) else ""


def _assist(
    experiments: Sequence[ExperimentConfig],
    execution: ExecutionConfig,
    strategy: tf.distribute.Strategy,
    deterministic: bool,
) -> int:
    """Train with the chief what it says is to be trained; a worker reads and writes no run directory."""
    known = {run_id(config): config for config in experiments}
    run = None
    try:
        while (name := training.broadcast_json(strategy, None)) is not None:
            if name not in known:
                raise UserError(f"run {name}: expected one of this command's; give every worker the same command")
            run = Run(
                config=known[name], execution=execution, run_dir=RunDir.of(known[name], execution.run_root),
                strategy=strategy, deterministic=deterministic,
            )  # fmt: skip
            print(f"{name}: train", flush=True)
            fit(run, run.build_model())
            keras.backend.clear_session(free_memory=True)
    except tf.errors.OpError as error:
        last_line = str(error).strip().splitlines()[-1]
        if training.is_lost_worker(error):
            raise UserError(f"another worker was lost ({type(error).__name__}: {last_line}); {_RESTART}") from None
        raise (_find_damage(run, error) if run else None) or UserError(last_line) from None
    return 0


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
        print(f"{label}: finished before{_describe_other_version(run_dir)}", flush=True)
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
        return f"another worker was lost, {_log(run, error)}; {_RESTART}"
    damage = _find_damage(run, error)
    return str(damage) if damage else _log(run, error)


def _find_damage(run: Run, error: tf.errors.OpError) -> UserError | None:
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
    epochs = read_json(run.run_dir.done_file("train"))["epochs"]
    rate = run.config.training.learning_rate
    return f"--learning_rate={rate:g}: expected a rate that converges; the loss was not finite in epoch {epochs}"


def _has_diverged(run_dir: RunDir) -> bool:
    return run_dir.is_done("train") and read_json(run_dir.done_file("train"))["state"] == "diverged"


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
        for name, more in reports.further_tables(records[0], measure).items():
            print(f"{name}\n{reports.format_table(more)}\n")
        _print_drawings(experiments, execution)
        _print_accuracies(records[0])
        print(f"run directory: {records[0].run_dir.path}")
    else:
        folder = root / f"grid-{short_hash([run_id(config) for config in experiments])}"
        grid = reports.report_grid(records, measure, folder, untrained=reports.find_untrained(records, root, measure))
        print(reports.format_table(grid.table.dropna(axis=1, how="all"), index=False))
        if len(grid.gains):
            print("\ngains per doubling of width:")
            print(reports.format_table(grid.gains, index=False))
        files = [*grid.files, *_print_drawings(experiments, execution, folder)]
        print(f"\ngrid report: {', '.join(str(path) for path in files)}")
    print(f"TensorBoard:   tensorboard --logdir {root}")


def _print_drawings(
    experiments: Sequence[ExperimentConfig], execution: ExecutionConfig, folder: pathlib.Path | None = None
) -> list[pathlib.Path]:
    """Tables of what was drawn, and of a grid the width test, whose files are returned."""
    if "visualize" not in (execution.steps or ()):
        return []
    options = experiments[0].visualization
    runs = [read_drawn_run(RunDir.of(config, execution.run_root), config) for config in experiments]
    for run in runs:
        if run.drawings:
            print(f"\nimages of {run.name} (total variation: {options.variation})")
            print(reports.format_drawings(reports.drawing_table(run.drawings, options.variation)))
    text, files = reports.report_widths(runs, options, folder) if folder else ("", [])
    if text:
        print(f"\nthin against wide networks:\n{text}")
    sheets = [RunDir(pathlib.Path(execution.run_root) / run.name).figures for run in runs if run.drawings]
    if sheets:
        print(f"\nsheets of images: {sheets[0]}" + (f" and {len(sheets) - 1} more" if len(sheets) > 1 else ""))
    return files


def _print_accuracies(record: reports.RunRecord) -> None:
    if record.accuracy:
        values = ", ".join(f"{split} {scores['accuracy']:.4f}" for split, scores in record.accuracy.items())
        print(f"accuracy:      {values}")
    elif record.run_dir.is_done("train") and (last := read_json(record.run_dir.done_file("train"))["history"]):
        shown = {name: value for name, value in last.items() if name.endswith(("_accuracy", "_loss"))}
        print(
            f"last epoch:    {', '.join(f'{name} {value:.4f}' for name, value in shown.items() if value is not None)}"
        )
    if record.chosen_weight_decay is not None:
        print(f"weight decay:  {record.chosen_weight_decay:g}, chosen by validation")
