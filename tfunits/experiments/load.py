"""Trained networks back from disk."""

import hashlib
import pathlib
import re
import zipfile

import keras
import numpy as np

import tfunits.layers  # noqa: F401  (registers our own layers, which a saved network may contain)
from tfunits import models
from tfunits.artifacts import RunDir, read_json
from tfunits.configs import MODELS, ExperimentConfig, UserError
from tfunits.training import Checkpoints, assign_variables, averaged_weights, candidate_name


def build_network(config: ExperimentConfig, input_shape: tuple[int, ...], num_classes: int) -> keras.Model:
    """The network of an experiment with its initial weights, in TensorFlow's current strategy."""
    model, training_config = config.model, config.training
    own = {name: getattr(model, name) for name in MODELS[model.model].options}
    return models.build(
        model.model,
        size=model.size,
        input_shape=input_shape,
        num_classes=num_classes,
        initializer=model.initializer,
        init_scale=model.init_scale,
        dropout_rate=training_config.dropout_rate,
        seed=training_config.seed,
        precision=training_config.precision,
        **own,
    )


def load_model(run_or_file: str | pathlib.Path, *, epoch: int | None = None) -> keras.Model:
    """The network of a run directory, as measured or after a kept epoch, or of a .keras file; see `tfunits.load`."""
    path = pathlib.Path(run_or_file)
    if epoch is not None:
        if not isinstance(epoch, int):
            raise UserError(f"epoch: expected a whole number, received {epoch!r}")
        return load_epoch(RunDir(path), epoch)
    if path.suffix == ".keras":
        return load_file(path)
    run_dir = RunDir(path)
    if not run_dir.config_file.is_file():
        raise UserError(
            f"run_or_file: expected a run directory or a .keras file, received {str(path)!r}, which is neither"
        )
    if not run_dir.model.is_file():
        raise UserError(
            f"run_or_file: expected a run that kept its weights, received {str(path)!r}; "
            "train it with --save=best or --save=all"
        )
    return load_file(run_dir.model)


def _trained_folder(run_dir: RunDir) -> RunDir:
    """The directory whose checkpoints led to a run's weights: that of the chosen weight decay, where there was one."""
    if run_dir.config().training.weight_decay_choices is not None and run_dir.is_done("train"):
        return run_dir.candidate(candidate_name(read_json(run_dir.done_file("train"))["weight_decay"]))
    return run_dir


def kept_epochs(run_dir: RunDir) -> list[int]:
    """Epochs of a trained run that were kept, and the last, rising."""
    if not run_dir.is_done("train"):
        return []
    return Checkpoints(_trained_folder(run_dir).checkpoints).kept_epochs()


def load_epoch(run_dir: RunDir, epoch: int) -> keras.Model:
    """The network of a run as it was after an epoch whose checkpoint was kept."""
    if not run_dir.config_file.is_file():
        raise UserError(f"run_or_file: expected a run directory beside epoch={epoch}, received {str(run_dir.path)!r}")
    config = run_dir.config()
    values = Checkpoints(_trained_folder(run_dir).checkpoints).variables_at(epoch)
    model = build_network(config, config.data.input_shape, config.data.num_classes)
    assign_variables(model.variables, values[: len(model.variables)])
    if config.training.average_decay:
        averaged = averaged_weights(model)
        assign_variables(averaged, values[-len(averaged) :])
    return models.without_auxiliary_head(model)


def load_file(path: str | pathlib.Path) -> keras.Model:
    """The network of a .keras file, for inference and measures.

    Raises:
      UserError: no file, a damaged one, or one with layers that are not known.
    """
    if not pathlib.Path(path).is_file():
        raise UserError(f"model file: expected an existing .keras file, received {str(path)!r}")
    if not zipfile.is_zipfile(path):
        raise UserError(f"model file: expected a whole .keras file, received {str(path)!r}, damaged or of another kind")
    try:
        return keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        # Keras puts the whole configuration around the sentence that says what is wrong.
        unknown = re.search(r"Could not locate \w+ '[^']+'", str(error))
        reason = (
            unknown[0] if unknown else (str(error).strip() or type(error).__name__).splitlines()[0].partition(". ")[0]
        )
        raise UserError(
            f"model file: expected a Keras model of known layers, received {str(path)!r} ({reason})"
        ) from None


def digest_weights(model: keras.Model) -> str:
    """SHA-256 of a network's weights, whatever the file around them."""
    digest = hashlib.sha256()
    for weight in model.weights:
        digest.update(np.ascontiguousarray(weight.numpy()))
    return digest.hexdigest()
