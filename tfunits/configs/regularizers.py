"""Which regularisers a training applies, and how strongly: names, strengths, model and data made consistent."""

from collections.abc import Mapping
from typing import Any

from tfunits.configs import facts
from tfunits.configs.errors import reject
from tfunits.configs.experiment import DataConfig

# Regulariser -> the field that holds its strength; augmentation has none.
_STRENGTHS = {"weight_decay": "weight_decay", "dropout": "dropout_rate"}


def resolve_regularizers(
    model: str, data: DataConfig, given: Mapping[str, Any], preset: Mapping[str, Any]
) -> dict[str, Any]:
    """The names of what is applied, sorted, and the strength of each, 0 for what is not applied.

    A strength that is given applies its regulariser unless names are given too; "all" stands for everything that the
    model and data can have and the recipe gives a strength.

    Args:
      model: one of the papers' networks.
      data: what it is trained on.
      given: fields of the user.
      preset: fields of the recipe.

    Returns: values of regularizers, weight_decay, weight_decay_choices and dropout_rate; with choices, weight_decay
      is 0 until validation has chosen.

    Raises:
      UserError: an unknown name, one that model or data cannot have, or names and strengths that contradict each other.
    """
    if "weight_decay_choices" in given and "weight_decay" in given:
        raise reject("weight_decay", given["weight_decay"], "no such flag beside --weight_decay_choices")
    choices = None if "weight_decay" in given else given.get("weight_decay_choices", preset.get("weight_decay_choices"))
    if choices is not None:
        _check_choices(choices)
        # As strong as the strongest; what applies is chosen later.
        applied = sorted({*preset.get("regularizers", ()), "weight_decay"} - {"none"})
        preset = {**preset, "weight_decay": max(choices), "regularizers": tuple(applied)}
    strengths = {name: given.get(field, preset.get(field, 0.0)) for name, field in _STRENGTHS.items()}
    reasons = _impossible(model, data)
    possible = [name for name in facts.REGULARIZERS if name not in reasons]
    named = tuple(given.get("regularizers", preset.get("regularizers", ("none",))))
    _check_names(named)
    everything = {name for name in possible if strengths.get(name, 1) != 0}
    chosen = everything if named == ("all",) else set(named) - {"none"}
    by_strength = set()
    if "regularizers" not in given:
        by_strength = {name for name, field in _STRENGTHS.items() if _is_positive(given.get(field))}
    for name in sorted(chosen | by_strength):
        if name in reasons:
            flag = _STRENGTHS[name] if name in by_strength else "regularizers"
            received = given[flag] if name in by_strength else named
            accepted = f"one of none, all, {', '.join(possible)} for {model} on {data.dataset}"
            raise reject(flag, received, "no such flag here" if name in by_strength else accepted, reasons[name])
    chosen |= by_strength
    resolved: dict[str, Any] = {"regularizers": tuple(sorted(chosen)) or ("none",)}
    for name, field in _STRENGTHS.items():
        if name in chosen and strengths[name] == 0:
            if field in given:
                raise reject(field, given[field], f"a number above 0, since --regularizers names {name}")
            raise reject("regularizers", named, f"a --{field} above 0 beside {name}", "the recipe has none")
        if name not in chosen and _is_positive(given.get(field)):
            raise reject(field, given[field], f"no such flag with --regularizers={'+'.join(named)}")
        # A negative or broken strength stays, for the configuration to refuse.
        unused = 0.0 if field not in given or _is_positive(given[field]) else given[field]
        resolved[field] = strengths[name] if name in chosen else unused
    resolved["weight_decay_choices"] = choices if "weight_decay" in chosen else None
    if resolved["weight_decay_choices"] is not None:
        resolved["weight_decay"] = 0.0
    elif "weight_decay_choices" in given:
        raise reject("weight_decay_choices", choices, f"no such flag with --regularizers={'+'.join(named)}")
    return resolved


def _check_choices(choices: Any) -> None:
    numbers = isinstance(choices, tuple) and all(isinstance(c, int | float) and c >= 0 for c in choices)
    if not numbers or not 2 <= len(choices) == len(set(choices)):
        raise reject("weight_decay_choices", choices, "two or more different numbers of at least 0")


def _is_positive(strength: Any) -> bool:
    return isinstance(strength, int | float) and strength > 0


def _impossible(model: str, data: DataConfig) -> dict[str, str]:
    """Regulariser -> why this model on this data cannot have it."""
    reasons = {}
    if not data.dataset_facts.augmentable or len(data.input_shape) != 3:
        reasons["augmentation"] = f"{data.dataset} as {data.preprocessing or 'vectors'} has no augmentation"
    if not facts.MODELS[model].has_dropout:
        reasons["dropout"] = f"{model} has no dropout layer"
    return reasons


def _check_names(named: tuple[str, ...]) -> None:
    known = ("none", "all", *facts.REGULARIZERS)
    if any(name not in known for name in named):
        raise reject("regularizers", named, "one of " + ", ".join(known) + ", or several joined by +")
    if len(named) > 1 and {"none", "all"} & set(named):
        raise reject("regularizers", named, "none or all alone, or names joined by +")
