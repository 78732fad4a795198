"""One rule for every experiment's small form, which runs anywhere."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfunits.configs import facts
from tfunits.configs.experiment import ModelConfig

# Fields of the papers' data and schedules that have no meaning on the embedded twin.
_DROPPED = ("preprocessing", "split", "validation_examples", "background_class", "epochs", "batch_size", "num_examples")
_LARGEST_SIZE = 1.0
_SEEDS = 2


def shrink(combinations: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The small form of a grid: embedded data with their short recipe, sizes up to 1, two seeds.

    Data that are not embedded become those that the network has by default; what only they know is left out. The two
    seeds are the first two that are given, or 0 and 1.

    Args:
      combinations: field -> value, of every run; runs that become the same one stand there once more.

    Returns: field -> value, of every run of the small form.

    Example:
      >>> shrink([{"model": "resnet18", "dataset": "imagenet2012", "size": 4.0, "seed": 3}])[0]
      {'model': 'resnet18', 'size': 1.0, 'seed': 3}
    """
    given = [combination["seed"] for combination in combinations if combination.get("seed") is not None]
    seeds = list(dict.fromkeys([*given, *range(_SEEDS)]))[:_SEEDS]
    small = [_shrink(combination) for combination in combinations]
    return [{**combination, "seed": seed} for combination in small for seed in seeds]


def _shrink(combination: Mapping[str, Any]) -> dict[str, Any]:
    small = {name: value for name, value in combination.items() if value is not None}
    dataset = small.get("dataset")
    model = facts.MODELS.get(small.get("model", ModelConfig.model))
    known = facts.DATASETS.get(dataset)
    if model is not None and dataset is not None and not (known and known.embedded):
        del small["dataset"]
        small = {name: value for name, value in small.items() if name not in _DROPPED}
    for name in ("size", "layer_size"):
        if name in small:
            small[name] = min(small[name], _LARGEST_SIZE)
    return small
