"""Edits on any functional model, returning a new one."""

from tfunits.surgery.classifier import check_classifier, find_last_hidden
from tfunits.surgery.folding import factorize, fold_units
from tfunits.surgery.graph import Call, Graph, TensorKey, as_functional, hold_weights
from tfunits.surgery.inputs import Inputs, has_splits
from tfunits.surgery.removal import (
    CoupledUnit,
    chunk,
    coupled_units,
    keep_units,
    removal_error,
    remove_units,
    unit_layers,
)
from tfunits.surgery.rules import RULES, Kernel, PerUnit, Rule, register
from tfunits.surgery.taps import TAP_PREFIX, activation_name, find_taps, is_change_of_form, tap_keys
from tfunits.surgery.units import UnitMap
from tfunits.surgery.views import after, find_tensors, mask, read
from tfunits.surgery.weights import feeding_layers, incoming_norms, kernel_of
from tfunits.surgery.widening import widen

__all__ = [
    "RULES",
    "TAP_PREFIX",
    "Call",
    "CoupledUnit",
    "Graph",
    "Inputs",
    "Kernel",
    "PerUnit",
    "Rule",
    "TensorKey",
    "UnitMap",
    "activation_name",
    "after",
    "as_functional",
    "check_classifier",
    "chunk",
    "coupled_units",
    "factorize",
    "feeding_layers",
    "find_last_hidden",
    "find_taps",
    "find_tensors",
    "fold_units",
    "has_splits",
    "hold_weights",
    "incoming_norms",
    "is_change_of_form",
    "keep_units",
    "kernel_of",
    "mask",
    "read",
    "register",
    "removal_error",
    "remove_units",
    "tap_keys",
    "unit_layers",
    "widen",
]
