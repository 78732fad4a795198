"""Networks that predict classes, and the last hidden layer of those that end in a dense layer."""

import keras

from tfunits.surgery.graph import Graph, TensorKey
from tfunits.surgery.taps import activation_name, is_change_of_form
from tfunits.surgery.weights import kernel_of

# Activations behind the scores, in `activation_name`'s spelling, that leave every predicted class as it is.
_ORDER_KEEPING = ("linear", "logsoftmax", "sigmoid", "softmax", "tanh")


def check_classifier(graph: Graph) -> None:
    """Raise `ValueError` unless a network has one output with an axis of classes."""
    if len(graph.outputs) != 1:
        raise ValueError(f"model: expected one output, the classes' scores, received {len(graph.outputs)} outputs")
    shape = graph.shape(graph.outputs[0])
    if len(shape) < 2:
        raise ValueError(f"model: expected an output of shape [batch, classes] or [batch, 1], received {shape}")


def find_last_hidden(graph: Graph) -> tuple[TensorKey, keras.layers.Dense]:
    """The tensor that the last dense layer reads, and this layer.

    Raises:
      ValueError: a network whose output is not that of a dense layer [batch, units], but for a softmax or sigmoid.
    """
    check_classifier(graph)
    key = graph.outputs[0]
    while key in graph.producer:
        call = graph.producer[key]
        kind = activation_name(call.operation) or type(call.operation).__name__.lower()
        if isinstance(call.operation, keras.layers.Dense):
            if kind in _ORDER_KEEPING and len(graph.shape(call.inputs[0])) == 2:
                return call.inputs[0], call.operation
            break
        if not (is_change_of_form(call) or kind in _ORDER_KEEPING) or kernel_of(call.operation) is not None:
            break
        key = call.inputs[0]
    raise ValueError(
        f"model: expected a network that ends in a dense layer of class scores, received {graph.model.name!r}; "
        "chunks are of the layer that it reads"
    )
