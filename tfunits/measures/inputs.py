"""What measures are asked for: taps, options, and the class that a network predicts."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tfunits.surgery import (
    Graph,
    TensorKey,
    activation_name,
    check_classifier,
    is_change_of_form,
    tap_keys,
)

PROTOCOLS = ("exact", "authors")
# Activations whose one output is a probability, in `activation_name`'s spelling.
PROBABILITIES = ("sigmoid", "hardsigmoid")


def choose_taps(graph: Graph, names: Sequence[str] | None) -> dict[str, TensorKey]:
    """Name -> key of the taps asked for, in the network's order; all if None.

    Raises:
      ValueError: no tap, or a name that is none.
    """
    keys = tap_keys(graph)
    if names is None:
        return keys
    unknown = [name for name in names if name not in keys]
    if unknown or not names:
        raise ValueError(f"taps: expected taps of {graph.model.name!r} ({', '.join(keys)}), received {list(names)}")
    return {name: key for name, key in keys.items() if name in set(names)}


def check_share(name: str, value: float) -> None:
    """Raise `ValueError` unless a value is in (0, 1]."""
    if not 0 < value <= 1:
        raise ValueError(f"{name}: expected a number in (0, 1], received {value}")


def check_least(name: str, value: int, least: int) -> None:
    """Raise `ValueError` unless a value is large enough."""
    if value < least:
        raise ValueError(f"{name}: expected at least {least}, received {value}")


def check_one_of(name: str, value: str, known: Sequence[str]) -> None:
    """Raise `ValueError` unless a value is one of the known ones."""
    if value not in known:
        raise ValueError(f"{name}: expected one of {', '.join(known)}, received {value!r}")


def check_protocol(protocol: str) -> None:
    """Raise `ValueError` unless a protocol is one of `PROTOCOLS`."""
    check_one_of("protocol", protocol, PROTOCOLS)


def predicted_classes(model: keras.Model, outputs: np.ndarray) -> np.ndarray:
    """The classes that a network's outputs stand for.

      argmax of several outputs;   of one output: positive (a score) or above 1/2 (a sigmoid's probability)

    Args:
      model: that gave the outputs.
      outputs: [examples, classes] or [examples, 1].

    Returns: int32 [examples].

    Raises:
      ValueError: a model that is not functional, or has no single output with an axis of classes.
    """
    graph = Graph(model)
    check_classifier(graph)
    return predict_classes(graph, [tf.constant(outputs)]).numpy()


def predict_classes(graph: Graph, outputs: list[tf.Tensor]) -> tf.Tensor:
    """The class that a network predicts for every example, as `predicted_classes`.

    Args:
      graph: of a network that passes `check_classifier`.
      outputs: the value of its one output, inside a `tf.function` or not.

    Returns: int32 [batch, ...].
    """
    (scores,) = outputs
    if scores.shape[-1] != 1:
        return tf.argmax(scores, axis=-1, output_type=tf.int32)
    threshold = 0.5 if last_activation(graph) in PROBABILITIES else 0.0
    return tf.cast(scores[..., 0] > threshold, tf.int32)


def last_activation(graph: Graph) -> str:
    """What makes a network's one output, in `activation_name`'s spelling: an activation, else the kind of layer."""
    last = graph.producer[graph.outputs[0]]
    while is_change_of_form(last) and last.inputs[0] in graph.producer:
        last = graph.producer[last.inputs[0]]
    return activation_name(last.operation) or type(last.operation).__name__.lower()
