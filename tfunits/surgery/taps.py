"""Where the units of a network are read and masked."""

from typing import Any

import keras

from tfunits.surgery.graph import Call, Graph, TensorKey

TAP_PREFIX = "tap_"

_ACTIVATION_LAYERS = frozenset(
    {"Activation", "CELU", "ELU", "LeakyReLU", "PReLU", "ReLU", "ThresholdedReLU", "Softmax"}
)
# Operations of keras.ops, by class name, as they stand in a functional graph.
_ACTIVATION_OPERATIONS = frozenset(
    {
        *("Celu", "Elu", "Gelu", "Glu", "HardShrink", "HardSigmoid", "HardSilu", "HardTanh", "LeakyRelu", "LogSigmoid"),
        *("Mish", "Relu", "Relu6", "Selu", "Sigmoid", "Silu", "Softmax", "Softplus", "Softsign", "SoftShrink"),
        *("SparsePlus", "Squareplus", "Tanh", "TanhShrink", "Threshold"),
    }
)
_MERGES = frozenset({"Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract"})
_GATE_PATH = frozenset({"Reshape", "Rescaling", "Dropout", "ReplicaDropout"})
_NOT_TAPPED = frozenset({"linear", "softmax", "log_softmax"})


def find_taps(model: keras.Model) -> dict[str, str]:
    """The taps of a model: name of the tap -> name of the layer whose output it is, in order.

    In tfunits' own networks a tap is a layer named `tap_<name>`. In any other model the taps are the outputs of every
    non-linear activation and of every merge that is not read by an activation alone, except model outputs, softmax
    and the gates of a Multiply.

    Args:
      model: a functional or a built Sequential model.

    Raises:
      ValueError: a model that is not functional, or in which nothing can be tapped.

    Example:
      >>> find_taps(tfunits.models.build("mlp", input_shape=(10,), num_classes=2))
      {'hidden': 'tap_hidden'}
    """
    graph = Graph(model)
    return {name: graph.producer[key].name for name, key in tap_keys(graph).items()}


def tap_keys(graph: Graph) -> dict[str, TensorKey]:
    """Tap name -> key of its tensor, in order; rules and errors as `find_taps`."""
    own = {
        call.name.removeprefix(TAP_PREFIX): call.outputs[0] for call in graph.calls if call.name.startswith(TAP_PREFIX)
    }
    found = own or {call.name: call.outputs[0] for call in graph.calls if _is_tap(graph, call)}
    if not found:
        raise ValueError(
            f"model: expected activations or merges between input and output, received {graph.model.name!r} without "
            "any; name a layer tap_<name> to measure its output"
        )
    return found


def _is_tap(graph: Graph, call: Call) -> bool:
    key = call.outputs[0]
    if len(call.outputs) != 1 or key in graph.outputs or len(graph.shape(key)) < 2:
        return False
    consumers = graph.consumers(key)
    if _is_activation(call):
        return not _is_gate(graph, key)
    is_merge = type(call.operation).__name__ in _MERGES and len(call.inputs) > 1
    return is_merge and not (consumers and all(_is_activation(consumer) for consumer in consumers))


def _is_activation(call: Call) -> bool:
    """Whether a call's result is a non-linear activation of units."""
    kind = type(call.operation).__name__
    if kind in _ACTIVATION_LAYERS or kind in _ACTIVATION_OPERATIONS:
        return kind != "Softmax" and _activation_name(call.operation) not in _NOT_TAPPED
    return _activation_name(call.operation) not in (None, *_NOT_TAPPED)


def _activation_name(operation: Any) -> str | None:
    activation = getattr(operation, "activation", None)
    if activation is None or not callable(activation):
        return None
    return getattr(activation, "__name__", type(activation).__name__)


def _is_gate(graph: Graph, key: TensorKey) -> bool:
    """Whether a tensor is only multiplied onto others."""
    consumers = graph.consumers(key)
    return bool(consumers) and all(
        type(call.operation).__name__ == "Multiply"
        or (type(call.operation).__name__ in _GATE_PATH and _is_gate(graph, call.outputs[0]))
        for call in consumers
    )
