"""The steps of one run: each a function from a run to files, finished when its done-file is there."""

import functools
import pathlib
from collections.abc import Callable, Mapping

import keras
import numpy as np
import pandas as pd

from tfunits import models, reports, training
from tfunits.artifacts import (
    EventWriter,
    describe_environment,
    replacing,
    write_figure,
    write_json,
    write_table,
)
from tfunits.configs import (
    MEASURES_OF_STEPS,
    MeasureConfig,
    UserError,
    parse_keep_rule,
)
from tfunits.experiments.done import is_step_done
from tfunits.experiments.load import digest_weights
from tfunits.experiments.measuring import final_epoch, measure_dynamics, measure_step
from tfunits.experiments.run import Run
from tfunits.experiments.visualizing import visualize

_FIGURE_DPI = 110


def train(run: Run) -> str:
    """Train the network; write history, weights and the summary of the training.

    Returns: "finished" or "diverged".
    """
    config = run.config.training
    devices = training.device_names(run.strategy)
    write_json(run.run_dir.environment, {
        **describe_environment(devices=devices, deterministic=run.deterministic),
        "seed": config.seed, "data_seed": run.config.data.data_seed,
    })  # fmt: skip
    model = run.build_model()
    result = fit(run, model)
    state = "diverged" if result.diverged else "finished"
    digest = digest_weights(models.without_auxiliary_head(model))
    if not result.diverged:
        _save_weights(run, model, result)
    write_json(run.run_dir.done_file("train"), {
        "state": state,
        "epochs": len(result.history),
        "stop": result.stop,
        "best_epoch": result.best_epoch,
        "measured_weights": config.measured_weights,
        "batch_norm_momentum": result.batch_norm_momentum,
        "weight_decay": result.weight_decay,
        "weight_decay_candidates": result.candidates,
        "trainable_parameters": int(sum(np.prod(v.shape) for v in model.trainable_variables)),
        "weights_sha256": None if result.diverged else digest,
        "history": result.history.iloc[-1].to_dict() if len(result.history) else {},
    })  # fmt: skip
    return state


def fit(run: Run, model: keras.Model) -> training.TrainingResult:
    """Train the run's network; what every worker of a cluster does, of which only the chief's writes."""
    trainer = run.shared.trainer(run.config, model, run.data, run.strategy)
    keep = parse_keep_rule(run.execution.keep_epochs or ())
    result = training.fit_once(
        trainer, run.config.training, run_dir=run.run_dir, keep=keep,
        checkpoint_seconds=run.execution.checkpoint_seconds,
    )  # fmt: skip
    if trainer.model is not model:
        training.assign_variables(model.variables, training.read_variables(trainer.model.variables))
    return result


def _save_weights(run: Run, model: keras.Model, result: training.TrainingResult) -> None:
    """The measured weights as model.keras; of best and last, the other one beside it."""
    measured_is_best = run.config.training.measured_weights == "best"
    _save_model(model, run.run_dir.model)
    if run.execution.save == "all" and len(result.history) and result.best_weights is not None:
        training.assign_variables(model.variables, result.last_weights if measured_is_best else result.best_weights)
        _save_model(model, run.run_dir.path / ("last.keras" if measured_is_best else "best.keras"))


def _save_model(model: keras.Model, path: pathlib.Path) -> None:
    with replacing(path) as temporary:
        models.without_auxiliary_head(model).save(temporary)


def report(run: Run) -> str:
    """Draw the run's figures and enter figures, settings and final measures into TensorBoard.

    Returns: "finished".

    Raises:
      UserError: the run is not measured in the way asked for.
    """
    if not is_step_done(run.run_dir, "measure", run.config):
        raise UserError(f"--steps=report: expected a measured run, received {run.run_dir.name}; add the step measure")
    record = reports.read_run(run.run_dir, run.config.measure)
    title = run.run_dir.name
    figures = {}
    for (split, unit), curves in record.curves.items():
        name = f"ablation_{split}_{unit}"
        figures[name.replace(" ", "_")] = reports.plot_ablation(
            curves,
            title=f"{title}\n{split}, {reports.ABLATED.get(unit, unit)}",
            tolerance=run.config.measure.tolerance,
            unit=unit,
        )
    for split, statistics in record.statistics.items():
        figures[f"correlations_{split}"] = reports.plot_correlations(statistics, title=f"{title}, {split}")
    if record.chunks or record.reconstructions:
        figures["chunks"] = reports.plot_chunks(record, title=title)
    dynamics = reports.tabulate_dynamics(run.run_dir, run.config.measure)
    if len(dynamics):
        write_table(run.run_dir.path / "dynamics.csv", dynamics)
        figures["dynamics"] = reports.plot_dynamics(dynamics, title=title)
    if run.run_dir.history.exists():
        figures["training"] = reports.plot_training(pd.read_csv(run.run_dir.history), title=title)
    events = EventWriter(run.run_dir.tensorboard)
    step = final_epoch(run.run_dir)
    for name, figure in figures.items():
        events.image(name, write_figure(run.run_dir.figures / f"{name}.png", figure, _FIGURE_DPI), step)
    settings = {name: value for name, value in reports.flat_settings(run.config).items() if value is not None}
    if record.chosen_weight_decay is not None:
        settings["weight_decay"] = record.chosen_weight_decay
    events.hyperparameters(run.run_dir.name, settings, _final_measures(record, run.config.measure), step)
    events.close()
    return "finished"


def _final_measures(record: reports.RunRecord, options: MeasureConfig) -> dict[str, float]:
    frame = reports.tabulate([record], options)
    network = frame[frame["tap"] == reports.NETWORK]
    wanted = {"prunability", "redundancy", "similarity", "area"}
    found = {}
    for row in network.itertuples():
        if row.measure == "accuracy":
            found[f"final/{row.split}_accuracy"] = row.value
        elif (
            row.measure in wanted
            and row.split == options.measured_splits[0]
            and row.unit in ("", reports.first_unit(options))
        ):
            found[f"final/{row.measure}"] = row.value
    return found


STEP_FUNCTIONS: Mapping[str, Callable[[Run], str]] = {
    "train": train,
    **{step: functools.partial(measure_step, step) for step in MEASURES_OF_STEPS},
    "dynamics": measure_dynamics,
    "visualize": visualize,
    "report": report,
}
