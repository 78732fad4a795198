"""Several networks together, and one network without half of its units: what their outputs say."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from scipy import special

from tfunits.measures.devices import most_examples, run_pieces
from tfunits.measures.inputs import (
    check_classifier,
    check_least,
    check_share,
    choose_taps,
    last_activation,
    predict_classes,
)
from tfunits.measures.orders import MaskingPlan
from tfunits.measures.perturbations import PerturbedRuns, UnitMasks
from tfunits.statistics import BiasVariance, ensemble_errors
from tfunits.statistics import bias_variance as decompose
from tfunits.surgery import Graph, Inputs

# Losses of examples: (labels int [batch], outputs [batch, classes]) -> float [batch].
Loss = Callable[[np.ndarray, np.ndarray], np.ndarray]
# Random choices of half of the units.
DROPOUT_DRAWS = 10
# Float32 probabilities whose logits are finite: of a softmax, and of a sigmoid, which may round to 1.
_LEAST_PROBABILITY = np.finfo(np.float32).tiny
_SIGMOID_ROUNDING = 1e-7


def read_outputs(
    model: keras.Model, data: Any, *, split: str = "test", strategy: tf.distribute.Strategy | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """A network's outputs, float32 [examples, classes], and the labels, int [examples].

    Raises:
      ValueError: data without labels, a model that is not functional or not a classifier, or inputs of another shape.
    """
    graph = Graph(model)
    check_classifier(graph)
    inputs = Inputs(data, split, model)
    inputs.require_labels()

    def read(batch: list[tf.Tensor]) -> tf.Tensor:
        (outputs,) = graph.run(dict(zip(graph.inputs, batch, strict=True)), graph.outputs, inference=True)
        return tf.cast(outputs, tf.float32)

    compiled = graph.compile(read, [[graph.spec(key) for key in graph.inputs]])
    found = [
        (outputs, piece.labels)
        for piece, outputs in run_pieces(
            lambda piece: compiled(piece.inputs).numpy(), inputs, strategy=strategy,
            most_examples=most_examples(graph), description="reading outputs",
        )
    ]  # fmt: skip
    outputs, labels = zip(*found, strict=True)
    return np.concatenate(outputs), np.concatenate(labels)


def bias_variance(
    models: Sequence[keras.Model],
    data: Any,
    *,
    loss: str = "squared",
    split: str = "test",
    strategy: tf.distribute.Strategy | None = None,
) -> BiasVariance:
    """Bias and variance of networks that differ in their seeds or training data.

    Args:
      models: at least two functional models that give logits or probabilities, or one output whose sign is the class.
      data: with labels: a `tfunits.datasets.Dataset` or a batched tf.data.Dataset of (inputs, labels).
      loss: "squared" or "cross_entropy"; see `tfunits.statistics.bias_variance`.
      split: which split of a `Dataset`.
      strategy: whose devices share the forward passes.

    Returns: a `BiasVariance`.

    Raises:
      ValueError: fewer than two models, another loss, data without labels, or a model that is not functional.

    Source: Yang et al. 2020 (Rethinking bias-variance trade-off), sections 2 and 3; Doimo et al. 2022, appendix.
    """
    check_least("models", len(models), 2)
    return decompose(*_read_scores(models, data, split, strategy), loss=loss)


def ensemble_error_curve(
    models: Sequence[keras.Model],
    data: Any,
    *,
    average: str = "logits",
    seed: int = 0,
    split: str = "test",
    strategy: tf.distribute.Strategy | None = None,
) -> np.ndarray:
    """Error of ensembles of 1, 2, ..., all networks, float64 [networks]; the last is error_inf of Doimo et al.

    Args:
      models: functional models that give logits or probabilities, or one output whose sign is the class.
      data: with labels: a `tfunits.datasets.Dataset` or a batched tf.data.Dataset of (inputs, labels).
      average: what is averaged, "logits" or "probabilities".
      seed: of the subsets of networks over which smaller ensembles are averaged.
      split: which split of a `Dataset`.
      strategy: whose devices share the forward passes.

    Raises:
      ValueError: no model, another average, data without labels, or a model that is not functional.

    Source: Doimo et al. 2022, section 3; Geiger et al. 2020 for the average of logits.
    """
    check_least("models", len(models), 1)
    return ensemble_errors(*_read_scores(models, data, split, strategy), average=average, seed=seed)


def _read_scores(
    models: Sequence[keras.Model], data: Any, split: str, strategy: tf.distribute.Strategy | None
) -> tuple[np.ndarray, np.ndarray]:
    """Logits of several networks, [networks, examples, classes], and labels."""
    found = [read_outputs(model, data, split=split, strategy=strategy) for model in models]
    labels = found[0][1]
    if not all(np.array_equal(labels, others) for _, others in found):
        raise ValueError(
            "data: expected the same examples in every pass, received other labels in a later one; "
            "shuffle with reshuffle_each_iteration=False"
        )
    activations = [last_activation(Graph(model)) for model in models]
    logits = np.stack([_as_logits(kind, outputs) for kind, (outputs, _) in zip(activations, found, strict=True)])
    if logits.shape[-1] == 1 and set(activations) == {"sigmoid"}:
        # One probability stands for two classes; one output without a sigmoid need not be a logit.
        logits = np.concatenate([np.zeros_like(logits), logits], axis=-1)
    return logits, labels


def _as_logits(activation: str, outputs: np.ndarray) -> np.ndarray:
    """Outputs without the softmax or sigmoid that ends a network, up to a constant an example."""
    if activation == "softmax":
        return np.log(np.maximum(outputs, _LEAST_PROBABILITY))
    if activation == "sigmoid":
        return special.logit(np.clip(outputs, _SIGMOID_ROUNDING, 1 - _SIGMOID_ROUNDING))
    return outputs


@dataclasses.dataclass(frozen=True, kw_only=True)
class DropoutStability:
    """A network with and without a random share of the units of all its taps.

    Attributes:
      loss, error: of the whole network, means over examples.
      dropped_loss, dropped_error: without the units, float64 [draws].
      settings: how it was measured.
    """

    loss: float
    error: float
    dropped_loss: np.ndarray
    dropped_error: np.ndarray
    settings: dict[str, Any]

    @property
    def loss_change(self) -> float:
        """Mean over draws of how much the loss grows."""
        return float(self.dropped_loss.mean() - self.loss)

    @property
    def error_change(self) -> float:
        """Mean over draws of how much the error grows."""
        return float(self.dropped_error.mean() - self.error)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = dataclasses.asdict(self)
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in values.items()}

    def __str__(self) -> str:
        return (
            f"DropoutStability: loss {self.loss:.4f}, {self.loss_change:+.4f} without the units; "
            f"error {self.error:.4f}, {self.error_change:+.4f}"
        )


def dropout_stability(
    model: keras.Model,
    data: Any,
    *,
    share: float = 0.5,
    factor: float = 1.0,
    draws: int = DROPOUT_DRAWS,
    loss: Loss | None = None,
    taps: Sequence[str] | None = None,
    seed: int = 0,
    split: str = "train",
    strategy: tf.distribute.Strategy | None = None,
) -> DropoutStability:
    """How much the loss changes when a share of the units of every tap is removed at random.

    Args:
      model: a functional model with one output.
      data: with labels: a `tfunits.datasets.Dataset` or a batched tf.data.Dataset of (inputs, labels).
      share: of every tap's units that go, rounded down, in (0, 1].
      factor: of the units that stay; 2 keeps the mean of what half of them give on.
      draws: random choices, at least 1.
      loss: (labels, outputs) -> loss of every example; if None the cross-entropy of logits or probabilities, or
        max(0, 1 - y f) of one score.
      taps: names of the taps; all if None.
      seed: of the choices.
      split: which split of a `Dataset`.
      strategy: whose devices share the work.

    Returns: a `DropoutStability`.

    Raises:
      ValueError: an option that is not of these, data without labels, or a model that is not functional.

    Source: DESIGN section 6; Kuditipudi et al. 2019 (Explaining landscape connectivity), definition 1, for factor 2.
    """
    check_share("share", share)
    check_least("draws", draws, 1)
    graph = Graph(model)
    check_classifier(graph)
    keys = choose_taps(graph, taps)
    inputs = Inputs(data, split, model)
    inputs.require_labels()
    masks = {}
    for name, key in keys.items():
        shape = graph.shape(key)[1:]
        plan = MaskingPlan.draw(name, (*(1 for _ in shape[:-1]), shape[-1]), draws=draws, levels=2, seed=seed)
        # A share of a number of units that is whole on paper may fall just short of it.
        removed = int(share * plan.num_units + 1e-9)
        kept = (plan.rank >= removed).reshape(draws, *plan.shape)
        masks[key] = UnitMasks((factor * kept).astype(np.float32))
    runs = PerturbedRuns(graph, {"dropped": masks}, lambda outputs: outputs[0])
    loss = loss or functools.partial(_default_loss, last_activation(graph))
    losses: list[np.ndarray] = []
    wrong: list[np.ndarray] = []
    for piece, outputs, found in runs.run(inputs, "dropout stability", strategy=strategy):
        every = [outputs, *found["dropped"]]
        losses.append(np.array([loss(piece.labels, one) for one in every], np.float64))
        classes = [predict_classes(graph, [tf.constant(one)]).numpy() for one in every]
        wrong.append(np.array(classes) != piece.labels)
    mean_loss, error = (np.concatenate(parts, axis=1).mean(axis=1) for parts in (losses, wrong))
    return DropoutStability(
        loss=float(mean_loss[0]),
        error=float(error[0]),
        dropped_loss=mean_loss[1:],
        dropped_error=error[1:],
        settings={"split": split, "share": share, "factor": factor, "draws": draws, "seed": seed},
    )


def _default_loss(activation: str, labels: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    outputs = _as_logits(activation, outputs.astype(np.float64))
    if outputs.shape[-1] == 1 and activation == "sigmoid":
        return np.logaddexp(0, (1 - 2 * labels) * outputs[:, 0])
    if outputs.shape[-1] == 1:
        return np.maximum(0, 1 - (2 * labels - 1) * outputs[:, 0])
    return -special.log_softmax(outputs, axis=-1)[np.arange(len(labels)), labels]
