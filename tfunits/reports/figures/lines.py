"""The curves that claims speak of, found among any runs: networks that differ in width and seed alone."""

import dataclasses
import functools
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from tfunits.configs import NETWORK, DataConfig, ModelConfig, TrainingConfig, UserError, facts, resolve
from tfunits.reports.figures.choosing import best_learning_rate
from tfunits.reports.figures.runs import OWN_SPLITS, Runs, has_settings, network_key
from tfunits.reports.records import RunRecord, first_unit, flat_settings
from tfunits.statistics import gain

# Settings that the papers vary; everywhere else a claim means the recipe's own.
CONDITIONS = (
    "initializer", "init_scale", "optimizer", "regularizers", "random_labels", "k", "layer_size", "last_width"
)  # fmt: skip
# CLAIMS' letters -> the measures' names.
MEASURES = {
    "P": "prunability",
    "R": "redundancy",
    "nP": "non_prunability",
    "nR": "non_redundancy",
    "A": "area",
    "C": "compressibility",
    "S": "similarity",
    "acc": "accuracy",
}
MODEL_NAMES = {
    "alexnet": "AlexNet",
    "densenet40": "DenseNet40",
    "fc5": "FC5",
    "inception_v3": "Inception-v3",
    "mlp": "MLP",
    "resnet18": "ResNet18",
    "resnet50": "ResNet50",
    "resnet56": "ResNet56",
    "wide_resnet28": "WR28",
}
ALL_REGULARIZERS = "+".join(facts.REGULARIZERS)
RANK_LIMITED = "rank-limited"
# Measures that a covariance of too low a rank falsifies (CLAIMS, rule (4)).
_NEEDING_RANK = ("redundancy", "non_redundancy", "compressibility")
# The papers try several rates for these networks and keep the best at each width (FACTS 5).
_RATE_CHOSEN = ("mlp",)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """One curve: trained networks that differ in width and seed alone, beside untrained ones of the same kind.

    Attributes:
      label: what sets it apart from other curves.
      dataset: of all its networks.
      settings: field -> value, of one of its networks.
      runs: all runs among which it was found.
      members: width -> seed -> name of a run.
      baseline: the same of untrained networks; empty where there are none.
      records: name of a run -> its record, of the members.
    """

    label: str
    dataset: str
    settings: Mapping[str, Any]
    runs: Runs
    members: Mapping[float, Mapping[int, str]]
    baseline: Mapping[float, Mapping[int, str]]
    records: Mapping[str, RunRecord]

    @property
    def widths(self) -> list[float]:
        """Rising."""
        return sorted(self.members)

    @property
    def widest(self) -> float:
        """The largest width."""
        return max(self.members)

    @property
    def thinnest(self) -> float:
        """The smallest width."""
        return min(self.members)

    def values(
        self, letter: str, width: float, *, tap: str = NETWORK, split: str | None = None, untrained: bool = False
    ) -> dict[int, float]:
        """Seed -> a measure of the network of one width; seeds without it are left out.

        Args:
          letter: as in CLAIMS, P for prunability say; or a measure's name.
          width: one of `widths`.
          tap: of the network; the whole network if not given.
          split: the first measured one if None; test for accuracy.
          untrained: of the untrained networks instead.
        """
        measure = MEASURES.get(letter, letter)
        split = split or OWN_SPLITS.get(measure, self.runs.measure.measured_splits[0])
        found: dict[str, float] = {}
        for unit in ("", first_unit(self.runs.measure)):
            found |= self.runs.numbers.get((measure, tap, split, unit), {})
        names = (self.baseline if untrained else self.members).get(width, {})
        return {seed: found[name] for seed, name in names.items() if name in found}

    def gains(self, letter: str, **where: Any) -> dict[int, float]:
        """Seed -> mean factor per doubling of width, of seeds that have every width; of what `values` takes."""
        by_seed = self._by_seed(letter, **where)
        return {seed: gain(values).value for seed, values in by_seed.items()}

    def gain_on_means(self, letter: str, **where: Any) -> float:
        """The gain of the means over seeds."""
        by_width = {width: self.values(letter, width, **where) for width in self.widths}
        return gain({width: float(np.mean([*v.values()])) for width, v in by_width.items() if v}).value

    def changes(self, letter: str, **where: Any) -> dict[int, float]:
        """Seed -> D: the value of the widest network minus that of the thinnest."""
        low, high = (self.values(letter, width, **where) for width in (self.thinnest, self.widest))
        return {seed: high[seed] - low[seed] for seed in high if seed in low}

    def means(self, letter: str, **where: Any) -> dict[int, float]:
        """Seed -> mean over widths, of seeds that have every width."""
        return {seed: float(np.mean([*v.values()])) for seed, v in self._by_seed(letter, **where).items()}

    def _by_seed(self, letter: str, **where: Any) -> dict[int, dict[float, float]]:
        by_width = {width: self.values(letter, width, **where) for width in self.widths}
        seeds = set.intersection(*(set(values) for values in by_width.values()))
        return {seed: {width: values[seed] for width, values in by_width.items()} for seed in sorted(seeds)}

    def marks(self, letter: str, *, tap: str = NETWORK, split: str | None = None) -> tuple[str, ...]:
        """What a reader must know beside a measure of the line.

        Fields of the training that are not the recipe's, with the recipe's own value; and "rank-limited" where a
        network has fewer than five rows a unit and the measure needs them.
        """
        changed = tuple(f"{name} {value}, not {usual}" for name, (value, usual) in self.changed_training.items())
        if MEASURES.get(letter, letter) not in _NEEDING_RANK:
            return changed
        split = split or self.runs.measure.measured_splits[0]
        names = {name for by_seed in self.members.values() for name in by_seed.values()}
        for record in (self.records[name] for name in names):
            taps = record.statistics.get(split, {})
            if any(units.rank_limited for name, units in taps.items() if tap in (NETWORK, name)):
                return (*changed, RANK_LIMITED)
        return changed

    @functools.cached_property
    def changed_training(self) -> dict[str, tuple[Any, Any]]:
        """Field of the training -> its value and the recipe's, where they differ; none of untrained networks."""
        fields = {field.name for field in dataclasses.fields(TrainingConfig)}
        changed = _changed(self.settings) if self.settings["epochs"] else {}
        return {name: values for name, values in changed.items() if name in fields}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Missing:
    """A curve that a claim speaks of and of which there are no runs.

    Attributes:
      label: as its line would have it.
    """

    label: str

    @classmethod
    def of(cls, *, model: str, x: str = "size", **settings: Any) -> "Missing":
        """The missing line of a network with these conditions."""
        return cls(
            label=_label({**dict.fromkeys(CONDITIONS), "num_examples": None, "model": model, **settings}, x, settings)
        )


def find_lines(runs: Runs, *, x: str = "size", free: Collection[str] = (), **settings: Any) -> list[Line]:
    """The curves of trained networks among some runs.

    Args:
      runs: any, such as those of a figure or all below a root.
      x: size, or layer_size where one block alone varies; for lines of several widths.
      free: conditions (`CONDITIONS`) of any value, each with a line of its own.
      **settings: field -> value, values or function, as `Runs.where` takes them. Conditions that are neither named
        here nor free have their recipe's own value.

    Returns: lines of two widths or more, in the order of their labels. Where perceptrons were trained with several
      learning rates, the best on validation data, by its mean over seeds, stands at each width.
    """
    return _find(runs, x, free, settings, is_trained=True)


def find_untrained_lines(runs: Runs, *, x: str = "size", free: Collection[str] = (), **settings: Any) -> list[Line]:
    """The curves of untrained networks, otherwise as `find_lines`; how they would be trained does not matter."""
    return _find(runs, x, free, settings, is_trained=False)


def find_groups(
    runs: Runs, vary: str, values: Sequence[Any], *, model: str, x: str = "size", **settings: Any
) -> list[dict[Any, Line | Missing]]:
    """Lines that differ in one condition alone, side by side.

    Args:
      runs: any.
      vary: the condition.
      values: which of its values.
      model, x, **settings: as `find_lines`.

    Returns: one group a kind of networks that has any of the values: every value -> its line.
    """
    groups: dict[str, dict[Any, Line]] = {}
    for value in values:
        for line in find_lines(runs, x=x, model=model, **{**settings, vary: value}):
            groups.setdefault(_rest_key(line.settings, {vary}, x), {})[value] = line
    missing = {value: Missing.of(model=model, x=x, **{**settings, vary: value}) for value in values}
    return [{**missing, **found} for found in groups.values()]


def find_batch_lines(
    runs: Runs, factors: Sequence[float], *, model: str, **settings: Any
) -> list[dict[float | str, Line | Missing]]:
    """Lines that differ in the factor k on batch size and learning rate, as `find_groups`.

    Where networks of different widths have different largest factors, as many examples as fit into memory, a line more
    stands under "largest": at each width the networks with the largest factor.
    """
    groups = []
    for lines in find_groups(runs, "k", factors, model=model, **settings):
        line = next(line for line in lines.values() if isinstance(line, Line))
        rest = _rest_key(line.settings, {"k"}, "size")
        same = [
            (record, own)
            for record, own in runs.rows
            if own["model"] == model and own["epochs"] > 0 and _rest_key(own, {"k"}, "size") == rest
        ]
        largest = {width: max(own["k"] for _, own in same if own["size"] == width) for width in line.widths}
        chosen = [(record, own) for record, own in same if own["k"] == largest.get(own["size"])]
        if len(set(largest.values())) > 1 and max(largest.values()) > max(factors):
            lines["largest"] = dataclasses.replace(
                line,
                label=f"{MODEL_NAMES[model]}, largest batch",
                members=_choose(chosen, "size"),
                records={record.run_dir.name: record for record, _ in chosen},
                baseline={},
            )
        groups.append(lines)
    return groups


def _find(
    all_runs: Runs, x: str, free: Collection[str], settings: Mapping[str, Any], *, is_trained: bool
) -> list[Line]:
    grouped: dict[str, list[tuple[RunRecord, Mapping[str, Any]]]] = {}
    for record, own in all_runs.rows:
        if (own["epochs"] > 0) != is_trained or not has_settings(own, settings):
            continue
        checked = [name for name in CONDITIONS if name not in (*settings, *free, x)]
        # Of the recipe for these labels, which are true ones where no claim says otherwise.
        defaults = {**recipe(own["model"], own["dataset"], random_labels=own["random_labels"]), "random_labels": False}
        if any(own[name] != defaults.get(name, own[name]) for name in checked):
            continue
        grouped.setdefault(_line_key(own, x, is_trained), []).append((record, own))
    untrained = _index_untrained(all_runs)
    named = {*settings, *(name for name in free if _varies(name, grouped.values()))}
    lines = []
    for members in grouped.values():
        by_width = _choose(members, x)
        varies_block = x != "layer_size" or any(own["layer_size"] is not None for _, own in members)
        if len(by_width) < 2 or not varies_block:
            continue
        own = members[0][1]
        kept = {name for by_seed in by_width.values() for name in by_seed.values()}
        records = {record.run_dir.name: record for record, _ in members if record.run_dir.name in kept}
        # The record that fills (width, seed), with which the untrained one shares everything but training.
        baseline = {
            width: {
                seed: untrained[network_key(records[name])]
                for seed, name in by_seed.items()
                if network_key(records[name]) in untrained
            }
            for width, by_seed in by_width.items()
        }
        lines.append(
            Line(
                label=_label(own, x, named) + ("" if is_trained else ", untrained"),
                dataset=own["dataset"],
                settings=own,
                runs=all_runs,
                members=by_width,
                baseline=baseline if is_trained and all(baseline.values()) else {},
                records=records,
            )
        )
    return sorted(lines, key=lambda line: (line.label, line.dataset))


def _varies(name: str, groups: Collection[Sequence[tuple[RunRecord, Mapping[str, Any]]]]) -> bool:
    """Whether networks of one kind differ in a condition."""
    values: dict[str, set] = {}
    for members in groups:
        own = members[0][1]
        values.setdefault(own["model"], set()).add(own[name])
    return any(len(found) > 1 for found in values.values())


def _choose(members: Sequence[tuple[RunRecord, Mapping[str, Any]]], x: str) -> dict[float, dict[int, str]]:
    """Width -> seed -> the run; of several learning rates those of the best mean validation accuracy."""
    by_rate: dict[float, dict[float, dict[int, RunRecord]]] = {}
    for record, own in members:
        width = own[x] if own[x] is not None else own["size"]
        by_rate.setdefault(width, {}).setdefault(own["learning_rate"], {})[own["seed"]] = record
    chosen = {}
    for width, rates in sorted(by_rate.items()):
        best = best_learning_rate({rate: list(records.values()) for rate, records in rates.items()})
        # Where all diverged, the width stays, without numbers.
        records = rates[max(rates) if best is None else best]
        chosen[width] = {seed: record.run_dir.name for seed, record in sorted(records.items())}
    return chosen


def _index_untrained(runs: Runs) -> dict[Any, str]:
    return {network_key(r): r.run_dir.name for r in runs.records if r.config.training.epochs == 0}


@functools.lru_cache(maxsize=256)
def _resolve_flat(given: str) -> dict[str, Any]:
    return flat_settings(resolve({name: _listed(name, value) for name, value in json.loads(given).items()}))


def _listed(name: str, value: Any) -> Any:
    return tuple(value.split("+")) if name == "regularizers" else value


def recipe(model: str, dataset: str, **conditions: Any) -> dict[str, Any]:
    """Every field of the recipe of a network on some data under some conditions; empty for a user's own."""
    given = {name: value for name, value in conditions.items() if value is not None}
    try:
        return _resolve_flat(json.dumps({"model": model, "dataset": dataset, **given}, sort_keys=True))
    except UserError:
        return {}


def _line_key(own: Mapping[str, Any], x: str, is_trained: bool) -> str:
    """What all networks of a line have in common."""
    if not is_trained:
        fields = {field.name for part in (ModelConfig, DataConfig) for field in dataclasses.fields(part)}
        return json.dumps({name: own[name] for name in fields - {x, "random_labels"}}, sort_keys=True)
    return _rest_key(own, set(), x) + json.dumps({name: own[name] for name in CONDITIONS if name != x}, sort_keys=True)


def _rest_key(own: Mapping[str, Any], vary: Collection[str], x: str) -> str:
    """Model, data, and what else sets a run apart from the recipe for its conditions."""
    rest = {name: value for name, (value, _) in _changed(own).items()}
    if x != "size":
        rest["size"] = own["size"]
    kept = {name: own[name] for name in CONDITIONS if name not in {*vary, x}}
    return json.dumps({"model": own["model"], "dataset": own["dataset"], **rest, **kept}, sort_keys=True)


def _changed(own: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Field -> its value and that of the recipe for a run's conditions, of those that differ; no width, no seed."""
    base = recipe(own["model"], own["dataset"], **{name: own[name] for name in CONDITIONS if name != "layer_size"})
    left_out = {"size", "seed", *CONDITIONS, *(("learning_rate",) if own["model"] in _RATE_CHOSEN else ())}
    return {name: (v, base.get(name)) for name, v in own.items() if name not in left_out and v != base.get(name)}


def _label(own: Mapping[str, Any], x: str, named: Collection[str]) -> str:
    """The network, and what sets it apart: conditions that are named, or not those of its recipe."""
    model = own["model"]
    parts = [MODEL_NAMES.get(model, model) + ("-layer" if x == "layer_size" else "")]
    dataset = own.get("dataset", "")
    defaults = recipe(model, dataset, random_labels=own["random_labels"]) if dataset else {}
    for name in CONDITIONS:
        value = own[name]
        if name == x or value is None or callable(value) or (name not in named and value == defaults.get(name, value)):
            continue
        if name == "random_labels":
            parts += ["random labels"] if value else []
        elif name in ("init_scale", "k", "layer_size", "last_width"):
            parts.append(f"{'init factor' if name == 'init_scale' else name.replace('_', ' ')} {value:g}")
        elif name == "regularizers":
            parts.append(
                {"none": "no regularisers", ALL_REGULARIZERS: "all regularisers"}.get(value, value.replace("_", " "))
            )
        else:
            parts.append(value.replace("_", " "))
    if model == "mlp" and str(dataset).startswith("uncorrelated"):
        parts.append(f"{int(dataset.removeprefix('uncorrelated')):,} dimensions")
    if own["num_examples"]:
        parts.append(f"{own['num_examples']:,} examples")
    return ", ".join(parts)
