"""One field of a configuration: its help, what it accepts, and the check of it."""

import dataclasses
import functools
import math
from typing import Any

from tfunits.configs.errors import reject

# numpy's seeds and TensorFlow's counters hold 64 bits with a sign.
_TOO_LARGE = 2**63


def option(
    default: Any,
    help: str,
    *,
    choices: tuple[str, ...] | None = None,
    above: float | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    plain_list: bool = False,
) -> Any:
    """A dataclass field with its help and bounds; flags are generated from these.

    `plain_list` fields hold tuples, and a comma in their flag is no grid axis.
    """
    metadata = {
        "help": help,
        "choices": choices,
        "above": above,
        "minimum": minimum,
        "maximum": maximum,
        "plain_list": plain_list,
    }
    return dataclasses.field(default=default, metadata=metadata)


def expected_value(field: dataclasses.Field) -> str:
    """What a field accepts, in words, for error lines and help."""
    bounds = field.metadata
    if bounds["choices"]:
        return "one of " + ", ".join(bounds["choices"])
    parts = []
    if bounds["above"] is not None:
        parts.append(f"above {bounds['above']:g}")
    if bounds["minimum"] is not None:
        parts.append(f"of at least {bounds['minimum']:g}")
    if bounds["maximum"] is not None:
        parts.append(f"of at most {bounds['maximum']:.10g}")
    kinds = {int: "a whole number", float: "a number", bool: "true or false", str: "a name"}
    return " ".join([kinds[value_type(field)], " and ".join(parts)]).strip()


@functools.cache
def value_type(field: dataclasses.Field) -> type:
    """The scalar type of a field: int, float, bool or str (also for optional and list fields)."""
    annotation = str(field.type)
    for kind in (bool, int, float, str):
        if field.type is kind or kind.__name__ in annotation:
            return kind
    raise TypeError(f"field {field.name}: no flag type for {field.type}")


def check_fields(config: Any) -> None:
    """Raise `UserError` for the first field outside its choices or bounds."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        # A grid is thousands of runs, nearly all of defaults, which a test has checked.
        if value is None or value is field.default:
            continue
        values = value if field.metadata["plain_list"] else (value,)
        if field.metadata["plain_list"] and not values:
            raise reject(field.name, "", expected_value(field))
        for item in values:
            _check_item(field, item, value)


def _check_item(field: dataclasses.Field, item: Any, shown: Any) -> None:
    bounds = field.metadata
    inside = _has_type(value_type(field), item) and (
        (bounds["choices"] is None or item in bounds["choices"])
        and (bounds["above"] is None or item > bounds["above"])
        and (bounds["minimum"] is None or item >= bounds["minimum"])
        and (bounds["maximum"] is None or item <= bounds["maximum"])
    )
    if not inside:
        raise reject(field.name, shown, expected_value(field))


def _has_type(kind: type, item: Any) -> bool:
    """Whether a value is of a field's type; a whole number is a number, and no number is infinite or beyond 64 bits."""
    if isinstance(item, bool) or kind is bool:
        return kind is bool and isinstance(item, bool)
    if kind is str:
        return isinstance(item, str)
    if isinstance(item, int):
        return abs(item) < _TOO_LARGE
    return kind is float and isinstance(item, float) and math.isfinite(item)
