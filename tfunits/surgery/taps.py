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
# Layers and operations that leave every number as it is (at inference).
_FORM = frozenset({"Cast", "Dropout", "ExpandDims", "Flatten", "Identity", "ReplicaDropout", "Reshape", "Squeeze"})
_NOT_TAPPED = frozenset({"linear", "softmax", "logsoftmax"})


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
    own = {_own_name(call.name): call.outputs[0] for call in graph.calls if _own_name(call.name)}
    found = own or {call.name: call.outputs[0] for call in graph.calls if _is_tap(graph, call)}
    if not found:
        raise ValueError(
            f"model: expected activations or merges between input and output, received {graph.model.name!r} without "
            "any; name a layer tap_<name> to measure its output"
        )
    return found


def _own_name(layer: str) -> str | None:
    """The tap that a layer's name declares, with the nested models before it; None if it declares none."""
    folder, slash, name = layer.rpartition("/")
    return f"{folder}{slash}{name.removeprefix(TAP_PREFIX)}" if name.startswith(TAP_PREFIX) else None


def _is_tap(graph: Graph, call: Call) -> bool:
    key = call.outputs[0]
    if len(call.outputs) != 1 or len(graph.shape(key)) < 2 or _is_output(graph, key):
        return False
    if _is_activation(call):
        return not _is_gate(graph, key)
    consumers = graph.consumers(key)
    return _is_merge(call) and not (consumers and all(_is_activation(consumer) for consumer in consumers))


def _is_output(graph: Graph, key: TensorKey) -> bool:
    """Whether a tensor is a model output, or becomes one by a change of form alone."""
    consumers = graph.consumers(key)
    changed_in_form = bool(consumers) and all(
        is_change_of_form(call) and _is_output(graph, call.outputs[0]) for call in consumers
    )
    return key in graph.outputs or changed_in_form


def is_change_of_form(call: Call) -> bool:
    """Whether a call leaves every number as it is: a cast, a reshape, a linear activation, dropout at inference."""
    kind = type(call.operation).__name__
    return kind in _FORM or (kind == "Activation" and activation_name(call.operation) == "linear")


def _is_merge(call: Call) -> bool:
    return type(call.operation).__name__ in _MERGES and len(call.inputs) > 1


def _is_activation(call: Call) -> bool:
    """Whether a call's result is a non-linear activation of units."""
    kind = type(call.operation).__name__
    name = activation_name(call.operation)
    if kind in _ACTIVATION_LAYERS or kind in _ACTIVATION_OPERATIONS:
        return kind != "Softmax" and name not in _NOT_TAPPED
    return name not in (None, *_NOT_TAPPED)


def activation_name(operation: Any) -> str | None:
    """Name of the activation inside a layer, in lower case without underscores; None if it has none."""
    activation = getattr(operation, "activation", None)
    if activation is None or not callable(activation):
        return None
    return getattr(activation, "__name__", type(activation).__name__).lower().replace("_", "")


def _is_gate(graph: Graph, key: TensorKey) -> bool:
    """Whether a tensor is only multiplied onto others; a constant factor on the way is none of these."""
    consumers = graph.consumers(key)

    def leads_to_gate(call: Call) -> bool:
        if type(call.operation).__name__ == "Multiply" and len(call.inputs) > 1:
            return True
        scales = type(call.operation).__name__ in ("Multiply", "Rescaling")
        return (scales or is_change_of_form(call)) and _is_gate(graph, call.outputs[0])

    return bool(consumers) and all(leads_to_gate(call) for call in consumers)
