"""Runs of one recipe: networks that differ in width and seed alone."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tfunits.artifacts import read_json
from tfunits.configs import UserError
from tfunits.reports.figures.chunk_tables import (
    CriticalSizes,
    Limit,
    find_critical_sizes,
    find_limit,
    find_widest,
    with_chunks,
)
from tfunits.reports.figures.runs import Runs
from tfunits.reports.records import RunRecord, read_dynamics
from tfunits.statistics import FEWEST_REPLICATES

# Networks of the ensemble that stands for error_inf (Doimo et al. 2022, figures 3 and 7): with fewer, its own excess
# makes every exponent too steep.
_ENSEMBLE = 20
_ENSEMBLES: Mapping[str, int] = {"imagenet2012": 4}
_MODELS = ("fc5", "wide_resnet28", "densenet40", "resnet50")
# Settings of which a curve may have several: its widths, its seeds, and the weight decay found for each width.
_FREE = ("size", "seed", "weight_decay", "weight_decay_choices", "regularizers", "last_width")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Trained networks with chunks that differ in width and seed alone.

    Attributes:
      key: the settings that they share.
      is_decayed: whether they are trained with weight decay, of whatever strength.
      runs: theirs.
    """

    key: Mapping[str, Any]
    is_decayed: bool
    runs: Runs

    @property
    def dataset(self) -> str:
        """Name of their data set."""
        return self.key["dataset"]

    @property
    def label(self) -> str:
        """Which network, on which data, with or without weight decay."""
        return f"{self.key['model']} on {self.dataset}{'' if self.is_decayed else ' without weight decay'}"

    @property
    def smallest_ensemble(self) -> int:
        """Networks that error_inf needs."""
        return _ENSEMBLES.get(self.dataset, _ENSEMBLE)

    @functools.cached_property
    def widest(self) -> list[RunRecord]:
        """The networks whose chunks are looked at."""
        return find_widest(self.runs)

    @functools.cached_property
    def critical(self) -> CriticalSizes:
        """w*, W* and W."""
        sizes = find_critical_sizes(self.runs)
        assert sizes is not None  # a recipe's runs have chunks
        return sizes

    @functools.cached_property
    def limit(self) -> Limit | None:
        """error_inf on test data, from however many networks; None without stored outputs."""
        try:
            return find_limit(self.runs)
        except UserError:
            return None

    @functools.cached_property
    def by_width(self) -> dict[int, list[RunRecord]]:
        """Width of the last hidden layer -> networks, rising; widths of fewer than three networks are left out."""
        found: dict[int, list[RunRecord]] = {}
        for record in with_chunks(self.runs):
            found.setdefault(record.chunks["train"].width, []).append(record)
        return {width: found[width] for width in sorted(found) if len(found[width]) >= FEWEST_REPLICATES}

    @functools.cached_property
    def trajectories(self) -> dict[int, dict[int, RunRecord]]:
        """Seed of a widest network -> epoch -> what was measured after it, the last epoch among them."""
        found = {}
        for record in self.widest:
            epochs = read_dynamics(record.run_dir, self.runs.measure)
            if epochs:
                last = int(read_json(record.run_dir.done_file("train"))["epochs"])
                found[record.config.training.seed] = {**epochs, **({} if last in epochs else {last: record})}
        return found


def find_recipes(runs: Runs, **settings: Any) -> list[Recipe]:
    """The recipes among runs, each with the widths that the network has by its size alone.

    Args:
      runs: any; only trained ones with chunks on training and test data count.
      **settings: as of `Runs.where`.
    """
    return list(_group(runs.where(last_width=None, **settings), lambda own: ()))


def find_kept_widths(runs: Runs) -> list[Recipe]:
    """Networks of several sizes whose last width is the same (Doimo et al. 2022, figure S4a)."""
    given = runs.where(last_width=lambda width: width is not None)
    return [group for group in _group(given, lambda own: own["last_width"]) if _count(group, "size") > 1]


def find_grown_widths(runs: Runs) -> list[Recipe]:
    """Networks of one size whose last width alone differs (Doimo et al. 2022, figure S4b)."""
    return [group for group in _group(runs, lambda own: own["size"]) if _count(group, "last_width") > 1]


def _group(runs: Runs, also: Callable[[Mapping[str, Any]], Any]) -> Iterator[Recipe]:
    # The papers look for clones in these networks; others may have been measured in the same ways.
    runs = runs.where(model=_MODELS)
    chosen = dataclasses.replace(runs, records=[record for record in with_chunks(runs) if "test" in record.chunks])
    groups: dict[tuple, list[RunRecord]] = {}
    keys = {}
    for record, own in zip(chosen.records, chosen.settings.to_dict("records"), strict=True):
        is_decayed = own["weight_decay"] > 0 or own["weight_decay_choices"] is not None
        others = "+".join(sorted(set(str(own["regularizers"]).split("+")) - {"none", "weight_decay"}))
        key = {name: value for name, value in own.items() if name not in _FREE} | {"others": others, "also": also(own)}
        mark = (*key.values(), is_decayed)
        groups.setdefault(mark, []).append(record)
        keys[mark] = key
    for mark, records in groups.items():
        yield Recipe(key=keys[mark], is_decayed=mark[-1], runs=dataclasses.replace(runs, records=records))


def _count(recipe: Recipe, field: str) -> int:
    return recipe.runs.settings[field].nunique(dropna=False)


def by_seed(records: Sequence[RunRecord], read: Callable[[RunRecord], float | None]) -> dict[int, float]:
    """Seed -> a number of its network; networks that have none are left out."""
    found = {record.config.training.seed: read(record) for record in records}
    return {seed: float(value) for seed, value in found.items() if value is not None and np.isfinite(value)}


def chunk_error(record: RunRecord, size: int | None = None, split: str = "train") -> float | None:
    """Mean error of a network's chunks of a size, of the whole layer if it is None; None where it was not measured."""
    chunks = record.chunks.get(split)
    return None if chunks is None else _at_size(chunks.sizes, chunks.errors, size)


def reconstruction_number(record: RunRecord, size: int, name: str = "held_out_correlation") -> float | None:
    """A number of how chunks of a size determine a network's layer on test data, mean over chunks; None without it."""
    curve = record.reconstructions.get(("test", "layer"))
    return None if curve is None else _at_size(curve.sizes, getattr(curve, name).mean(axis=1), size)


def _at_size(sizes: np.ndarray, values: np.ndarray, size: int | None) -> float | None:
    if size is None:
        return float(values[-1])
    return float(values[list(sizes).index(size)]) if size in sizes else None
