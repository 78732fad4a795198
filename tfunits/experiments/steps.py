"""The steps of one run: each a function from a run to files, finished when its done-file is there."""

import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from tfunits import datasets, measures, models, reports, training
from tfunits.artifacts import (
    EventWriter,
    RunDir,
    describe_environment,
    read_arrays,
    read_json,
    replacing,
    write_arrays,
    write_figure,
    write_json,
)
from tfunits.configs import (
    FILE_PREFIX,
    SPLITS,
    STEPS,
    ExecutionConfig,
    ExperimentConfig,
    MeasureConfig,
    UserError,
    parse_keep_rule,
    reject,
    short_hash,
)
from tfunits.experiments.load import build_network, load_file
from tfunits.surgery import as_functional, find_taps

_FIGURE_DPI = 110
# Logits of a split are kept up to 400 MB; ImageNet's 1.3 million training images would have 5 GB.
_MOST_LOGITS = 10**8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One run while it is worked on; data and model are made when first needed.

    Attributes:
      config: the experiment.
      execution: where and how.
      run_dir: its directory, claimed by this process.
      strategy: where to train.
      deterministic: whether TensorFlow was told to give equal bits.
    """

    config: ExperimentConfig
    execution: ExecutionConfig
    run_dir: RunDir
    strategy: tf.distribute.Strategy
    deterministic: bool

    @functools.cached_property
    def data(self) -> datasets.Dataset:
        """The run's data set."""
        data = self.config.data
        options = {
            f.name: getattr(data, f.name) for f in dataclasses.fields(data) if f.name not in ("dataset", "data_seed")
        }
        loaded = datasets.load(
            data.dataset,
            data_seed=data.data_seed,
            data_dir=self.execution.data_dir,
            download=self.execution.download,
            **options,
        )
        expected = {"train": data.num_train, "validation": data.num_validation, "test": data.num_test}
        found = {split: len(loaded.splits[split]) if split in loaded.splits else 0 for split in SPLITS}
        if found != expected:
            counts = [" / ".join(f"{values[split]:,}" for split in SPLITS) for values in (found, expected)]
            print(
                f"{self.run_dir.name}: the data hold {counts[0]} examples, where {counts[1]} are published", flush=True
            )
        return loaded

    def build_model(self) -> keras.Model:
        """The network with its initial weights."""
        with self.strategy.scope():
            return build_network(self.config, self.data.input_shape, self.data.num_classes)

    @functools.cached_property
    def model(self) -> keras.Model:
        """The network that is measured.

        Raises:
          UserError: it was not trained, or its weights were not kept.
        """
        if self.config.model.is_file:
            return self._load_own_model()
        if not self.run_dir.model.is_file():
            if self.run_dir.is_done("train"):
                hint = "its weights were not kept (--save=metrics); train it again under another --run_root"
            else:
                hint = "it is not trained; add the step train"
            raise UserError(f"--steps=measure: expected the trained weights of {self.run_dir.name}; {hint}")
        model = load_file(self.run_dir.model)
        trained = read_json(self.run_dir.done_file("train")) if self.run_dir.is_done("train") else {}
        if trained.get("weights_sha256", digest := _digest_weights(model)) != digest:
            raise UserError(
                f"{self.run_dir.model}: expected the weights that training wrote, received those of another network; "
                f"delete {self.run_dir.done_file('train')} to write them again from the checkpoint, or to train again "
                "where --save kept none"
            )
        return model

    def _load_own_model(self) -> keras.Model:
        """A user's network, of which only the data's input shape is asked."""
        name, data = self.config.model.model, self.config.data
        model = load_file(name.removeprefix(FILE_PREFIX))
        try:
            expected = [tuple(tensor.shape[1:]) for tensor in as_functional(model).inputs]
        except ValueError as error:
            raise UserError(f"--model={name}: {error}") from None
        shape = self.data.input_shape
        fits = len(expected) == 1 and len(expected[0]) == len(shape)
        if not fits or any(size not in (None, given) for size, given in zip(expected[0], shape, strict=True)):
            forms = [f"--preprocessing={n} {s}" for n, s in data.dataset_facts.preprocessings.items()]
            raise UserError(
                f"--model={name}: expected a network that reads {shape}, as {data.dataset} gives with "
                f"--preprocessing={data.preprocessing}, received one that reads {', '.join(map(str, expected))}; "
                f"{data.dataset} has {', '.join(forms)}"
            )
        self._check_outputs(model)
        return model

    def _check_outputs(self, model: keras.Model) -> None:
        """Whether a user's network predicts the data's classes, and has taps."""
        name, num_classes = self.config.model.model, self.data.num_classes
        shapes = [tuple(tensor.shape[1:]) for tensor in as_functional(model).outputs]
        accepted = [(num_classes,)] + ([(1,)] if num_classes == 2 else [])
        if len(shapes) != 1 or shapes[0] not in accepted:
            raise UserError(
                f"--model={name}: expected one output of shape {' or '.join(map(str, accepted))}, a score a class of "
                f"{self.data.name}, received {', '.join(map(str, shapes))}; choose its data with --dataset"
            )
        try:
            taps = find_taps(model)
        except ValueError as error:
            raise UserError(f"--model={name}: {error}") from None
        if reports.NETWORK in taps:
            raise UserError(f"--model={name}: expected no layer named {reports.NETWORK!r}, the name of the whole")


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
    digest = _digest_weights(models.without_auxiliary_head(model))
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
    return training.fit(
        model,
        run.data,
        run.config.training,
        run_dir=run.run_dir,
        strategy=run.strategy,
        keep=parse_keep_rule(run.execution.keep_epochs or ()),
    )


def _digest_weights(model: keras.Model) -> str:
    """SHA-256 of a network's weights, whatever the file around them."""
    digest = hashlib.sha256()
    for weight in model.weights:
        digest.update(np.ascontiguousarray(weight.numpy()))
    return digest.hexdigest()


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


def measure(run: Run) -> str:
    """Measure the network on every split asked for; each measure is one file, and a finished one is skipped.

    Returns: "finished".
    """
    options = run.config.measure
    _write_once(run, "accuracy", {}, lambda: _measure_accuracy(run))
    for split in options.measured_splits:
        for unit in options.ablation_unit:
            settings = ablation_settings(options, split, unit)
            _write_once(run, "ablation", settings, functools.partial(_measure_ablation, run, settings))
        settings = unit_settings(options, split)
        _write_once(run, "units", settings, functools.partial(_measure_units, run, settings))
    return "finished"


def ablation_settings(options: MeasureConfig, split: str, unit: str) -> dict[str, Any]:
    """The options that decide an ablation measure, and its file's name."""
    return {
        "split": split, "unit": unit, "draws": options.draws, "levels": options.levels,
        "protocol": options.protocol, "seed": options.measure_seed,
    }  # fmt: skip


def unit_settings(options: MeasureConfig, split: str) -> dict[str, Any]:
    """The options that decide the statistics of units, and their files' name."""
    return {
        "split": split, "max_rows": options.max_rows or "all", "samplings": options.samplings,
        "similarity_threshold": options.similarity_threshold, "seed": options.measure_seed,
    }  # fmt: skip


def measure_files(config: ExperimentConfig) -> list[str]:
    """Names of the files that the measure step writes last."""
    options = config.measure
    names = [_file_name("accuracy", {})]
    for split in options.measured_splits:
        names += [_file_name("ablation", ablation_settings(options, split, unit)) for unit in options.ablation_unit]
        names.append(_file_name("units", unit_settings(options, split)))
    return names


def _file_name(name: str, settings: Mapping[str, Any]) -> str:
    return f"{name}-{short_hash(dict(settings))}.json"


def _write_once(run: Run, name: str, settings: Mapping[str, Any], make: Callable[[], Mapping]) -> None:
    path = run.run_dir.measures / _file_name(name, settings)
    if not _is_measured(path):
        write_json(path, {"measure": name, "settings": dict(settings), **make()})


def _is_measured(path: pathlib.Path) -> bool:
    """Whether a measure's file is there, with the arrays that belong to statistics of units."""
    return path.is_file() and (not path.name.startswith("units-") or path.with_suffix(".npz").is_file())


def _measure_accuracy(run: Run) -> dict[str, Any]:
    """Accuracy and loss on every split, from logits that are kept beside."""
    logits = run.run_dir.logits
    if not logits.exists():
        sizes = {split: len(part) * run.data.num_classes for split, part in run.data.splits.items()}
        kept = [split for split in SPLITS if 0 < sizes.get(split, 0) <= _MOST_LOGITS]
        found = training.predict_splits(run.model, {split: run.data.batches(split) for split in kept})
        outputs = {split: outputs for split, (outputs, _) in found.items()}
        labels = {f"{split}_labels": labels for split, (_, labels) in found.items()}
        write_arrays(logits, {**outputs, **labels}, compress=False)
    arrays = read_arrays(logits)
    kept = [split for split in SPLITS if split in arrays]
    return {"splits": {split: _scores(run, arrays[split], arrays[f"{split}_labels"]) for split in kept}}


def _scores(run: Run, outputs: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    # A user's network may give probabilities or logits; only its classes are known to mean something.
    is_file = run.config.model.is_file
    classes = measures.predicted_classes(run.model, outputs) if is_file else training.predicted_labels(outputs).numpy()
    scores: dict[str, Any] = {"accuracy": float(np.mean(classes == labels)), "examples": len(labels)}
    if not is_file:
        losses = training.LOSSES[run.config.training.loss](tf.constant(labels), tf.constant(outputs))
        scores["loss"] = float(tf.reduce_mean(tf.cast(losses, tf.float64)))
    return scores


def _measure_ablation(run: Run, settings: Mapping[str, Any]) -> dict[str, Any]:
    curves = measures.ablation_curves(run.model, run.data, **settings).to_dict()
    return {"taps": curves["taps"], "joint": curves["joint"]}


def _measure_units(run: Run, settings: Mapping[str, Any]) -> dict[str, Any]:
    options = {**settings, "max_rows": None if settings["max_rows"] == "all" else settings["max_rows"]}
    found = measures.unit_statistics(run.model, run.data, **options)
    arrays = {f"{tap}/{name}": a for tap, units in found.taps.items() for name, a in units.to_arrays().items()}
    path = run.run_dir.measures / _file_name("units", settings)
    write_arrays(path.with_suffix(".npz"), arrays)
    return {"taps": {tap: {"units": units.num_units, "rows": units.num_rows} for tap, units in found.taps.items()}}


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
        figures[name] = reports.plot_ablation(
            curves, title=f"{title}\n{split}, {unit}s masked", tolerance=run.config.measure.tolerance
        )
    for split, statistics in record.statistics.items():
        figures[f"correlations_{split}"] = reports.plot_correlations(statistics, title=f"{title}, {split}")
    if run.run_dir.history.exists():
        figures["training"] = reports.plot_training(pd.read_csv(run.run_dir.history), title=title)
    events = EventWriter(run.run_dir.tensorboard)
    done = read_json(run.run_dir.done_file("train")) if run.run_dir.is_done("train") else {}
    step = int(done.get("epochs", 0))
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
            and row.unit in ("", options.ablation_unit[0])
        ):
            found[f"final/{row.measure}"] = row.value
    return found


STEP_FUNCTIONS: Mapping[str, Callable[[Run], str]] = {"train": train, "measure": measure, "report": report}


def is_step_done(run_dir: RunDir, step: str, config: ExperimentConfig) -> bool:
    """Whether a step needs no work: trained; every measure asked for is there; the last report was this one."""
    if step == "measure":
        return all(_is_measured(run_dir.measures / name) for name in measure_files(config))
    if not run_dir.is_done(step):
        return False
    return step == "train" or read_json(run_dir.done_file(step)).get("of") == _report_key(config)


def mark_step_done(run_dir: RunDir, step: str, config: ExperimentConfig) -> None:
    """Write the done-file of a step that has no other: training writes its own, a measure is its own."""
    if step == "report":
        write_json(run_dir.done_file(step), {"state": "finished", "of": _report_key(config)})


def _report_key(config: ExperimentConfig) -> str:
    """What the figures show: the measures, and how they are read."""
    return short_hash(dataclasses.asdict(config.measure))


def steps_of(config: ExperimentConfig, execution: ExecutionConfig) -> list[str]:
    """The steps of one run, in order.

    Raises:
      UserError: training of a user's own network.
    """
    given = execution.steps or tuple(step for step in STEPS if step != "train" or not config.model.is_file)
    if config.model.is_file and "train" in given:
        raise reject("steps", ",".join(given), "measure or report for a file: model", "a file is measured as it is")
    return [step for step in STEPS if step in given]
