"""One rule for every experiment's small form, which runs anywhere."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfunits.configs.experiment import LARGEST_SEED, ExperimentConfig
from tfunits.configs.resolve import resolve

# Fields of the papers' data and schedules that have no meaning on the embedded twin.
_DROPPED = (
    "preprocessing", "split", "validation_examples", "background_class", "num_examples", "batch_size", "schedule",
    "warmup_epochs", "drop_epochs", "decay_epochs", "schedule_examples", "patience",
)  # fmt: skip
_LARGEST_SIZE = 1.0
_SEEDS = 2
# A twentieth of the default numbers: to reconstruct the 2,048 units of ResNet50 takes most of a second a chunk.
_MOST_CHUNKS = {"chunk_draws": 25, "reconstruction_draws": 5}
# A network of 10,000 inputs takes two seconds for so many, and twenty for ten times as many.
_MOST_FURTHER_EXAMPLES = 5_000


def shrink(combinations: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The small form of a grid: embedded data, at most half their short recipe's epochs, sizes up to 1, two seeds.

    Data that are not embedded become those that the network has by default; what only they know is left out. The two
    seeds are the first two that are given, a single one and the next, or 0 and 1; a user's own network, which is not
    trained, needs none. Random labels have no more epochs than true ones. Ablations take the first kind of unit that
    is given, in one random order unless `draws` or `standard_error` say otherwise. Of every size at most a twentieth
    of the default number of chunks is drawn.

    Args:
      combinations: field -> value, of every run.

    Returns: field -> value, of every run of the small form; combinations that become the same ones stand there once.

    Raises:
      UserError: a combination that is no experiment.

    Example:
      >>> small = shrink([{"model": "resnet18", "dataset": "imagenet2012", "size": 4.0, "seed": 3}])[0]
      >>> [f"{name}={small[name]}" for name in ("size", "epochs", "draws", "chunk_draws", "seed")]
      ['size=1.0', 'epochs=5', 'draws=1', 'chunk_draws=25', 'seed=3']
    """
    given = [combination["seed"] for combination in combinations if combination.get("seed") is not None]
    following = range(given[-1] + 1, min(given[-1] + _SEEDS, LARGEST_SEED) + 1) if given else ()
    seeds = list(dict.fromkeys([*given, *following, *range(_SEEDS)]))[:_SEEDS]
    small: dict[frozenset, dict[str, Any]] = {}
    shrunk: set[frozenset] = set()
    for combination in combinations:
        config = resolve(combination)
        if config.model.is_file:
            small.setdefault(_key(combination), dict(combination))
            continue
        others = {name: value for name, value in combination.items() if name != "seed"}
        if _key(others) in shrunk:
            continue
        shrunk.add(_key(others))
        for form in ({**_shrink(others, config), "seed": seed} for seed in seeds):
            small.setdefault(_key(form), form)
    return list(small.values())


def _key(combination: Mapping[str, Any]) -> frozenset:
    """Equal for equal values, however numbers and lists are written."""
    return frozenset((name, tuple(v) if isinstance(v, list) else v) for name, v in combination.items())


def shrink_measuring(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A further way in which a figure's runs are measured, in the small form: of many examples of a split 5,000.

    Args:
      fields: of `MeasureConfig`.

    Example:
      >>> shrink_measuring({"measured_examples": 50_000})
      {'measured_examples': 5000}
    """
    if "measured_examples" not in fields:
        return dict(fields)
    return {**fields, "measured_examples": min(fields["measured_examples"], _MOST_FURTHER_EXAMPLES)}


def _shrink(combination: Mapping[str, Any], config: ExperimentConfig) -> dict[str, Any]:
    small = {name: value for name, value in combination.items() if value is not None}
    if not config.data.dataset_facts.embedded:
        small = {name: value for name, value in small.items() if name not in ("dataset", *_DROPPED)}
    for name in ("size", "layer_size"):
        if name in small:
            small[name] = min(small[name], _LARGEST_SIZE)
    if "standard_error" not in small:
        small.setdefault("draws", 1)
    for name, most in _MOST_CHUNKS.items():
        small[name] = min(small.get(name, most), most)
    if "ablation_unit" in small:
        small["ablation_unit"] = small["ablation_unit"][:1]
    # Random labels take six times as long to be learnt; a small form shows what is drawn, not that they are.
    others = {name: value for name, value in small.items() if name not in ("epochs", "random_labels")}
    short = -(-resolve(others).training.epochs // 2)
    if small.get("epochs", resolve(small).training.epochs) > short:
        small["epochs"] = short
    return small
