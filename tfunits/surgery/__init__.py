"""Edits on any functional model, returning a new one."""

from tfunits.surgery.graph import Call, Graph, TensorKey, as_functional, hold_weights
from tfunits.surgery.taps import TAP_PREFIX, activation_name, find_taps, is_change_of_form, tap_keys
from tfunits.surgery.views import after, find_tensors, mask, read
from tfunits.surgery.weights import feeding_layers, incoming_norms, kernel_of

__all__ = [
    "TAP_PREFIX",
    "Call",
    "Graph",
    "TensorKey",
    "activation_name",
    "after",
    "as_functional",
    "feeding_layers",
    "find_taps",
    "find_tensors",
    "hold_weights",
    "incoming_norms",
    "is_change_of_form",
    "kernel_of",
    "mask",
    "read",
    "tap_keys",
]
