"""Which units a user names, and whether they can go."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tfunits.surgery.units import UnitMap


def find_units(units: UnitMap, name: str) -> np.ndarray:
    """Units at the positions of a layer's output.

    Raises:
      ValueError: a layer that is not in the model, or has no units.
    """
    calls = {call.name: call for call in units.graph.calls}
    if name not in calls:
        raise ValueError(
            f"layers: expected layers of {units.graph.model.name!r}, received {name!r}; those that make units: "
            + ", ".join(call.name for call, _ in units.sources)
        )
    found = units.of(calls[name]) if len(calls[name].outputs) == 1 else None
    if found is None:
        raise ValueError(
            f"layers: expected a layer with units, received {name!r} of {type(calls[name].operation).__name__}, which "
            "has none that can be followed; name the layer that makes them"
        )
    return found[1]


def check_named(layers: Any) -> None:
    """Raise `TypeError` unless units are given as a mapping, layer -> indices."""
    if not isinstance(layers, Mapping):
        raise TypeError(
            f"layers: expected a dict, layer -> indices of its units, received {layers!r}; use {{layer: [3]}}"
        )


def check_indices(name: str, indices: Iterable[int], count: int) -> np.ndarray:
    """Indices as an array.

    Raises:
      ValueError: one that is no whole number, out of range or given twice.
    """
    given = list(indices) if isinstance(indices, Iterable) and not isinstance(indices, str) else [None]
    if not all(isinstance(index, int | np.integer) and not isinstance(index, bool) for index in given):
        raise ValueError(f"{name}: expected indices of units, whole numbers, received {indices!r}; use np.flatnonzero")
    found = np.array(given, int)
    if len(found) and (found.min() < 0 or found.max() >= count):
        wrong = found[(found < 0) | (found >= count)]
        raise ValueError(f"{name}: expected indices from 0 to {count - 1}, received {wrong.tolist()}")
    if len(np.unique(found)) < len(found):
        twice = [index for index in np.unique(found).tolist() if (found == index).sum() > 1]
        raise ValueError(f"{name}: expected every index once, received {twice} several times")
    return found


def check_removable(units: UnitMap, name: str, ids: np.ndarray) -> None:
    """Raise `ValueError` where one of some units must stay, with the reason."""
    reasons = [units.fixed[number] for number in ids.tolist() if number in units.fixed]
    if reasons:
        raise ValueError(f"{name}: expected units that can be removed, received units that cannot, since {reasons[0]}")


def check_left(units: UnitMap, removed: np.ndarray) -> None:
    """Raise `ValueError` where a layer would lose all its units."""
    for call in units.graph.calls:
        for key in call.outputs:
            for ids in units.layouts[key]:
                if ids is not None and len(ids) and removed[ids].all():
                    raise ValueError(
                        f"{call.name}: expected at least one unit to be left, received all {len(ids)}; keep one"
                    )
