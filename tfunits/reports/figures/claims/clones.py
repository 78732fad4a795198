"""What the claims about clones read of a recipe: sizes of chunks, their power law, and why there is none."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from tfunits.configs import UserError
from tfunits.reports.chunks import LARGEST_SHARE, fit_chunk_sizes
from tfunits.reports.figures.recipes import Recipe, chunk_error, reconstruction_number
from tfunits.reports.figures.verdicts import Verdict
from tfunits.reports.records import RunRecord
from tfunits.statistics import FITTED_ERROR, PowerLawInterval

# Data on which the papers train their convolutional networks.
CIFAR = ("cifar10", "cifar100")
# Ours (CLAIMS): "about" a number is within this factor of it.
ABOUT = 2.0


def chunk_sizes_within(recipe: Recipe, first: float, last: float) -> list[int]:
    """Sizes of the widest networks' chunks within bounds."""
    return [int(size) for size in recipe.widest[0].chunks["train"].sizes if first <= size <= last]


def clone_sizes(recipe: Recipe, clone: float) -> list[int]:
    """Sizes of clones that overlap little: from w* to W / 4."""
    return chunk_sizes_within(recipe, clone, recipe.critical.layer_width / LARGEST_SHARE)


def fit_chunks(recipe: Recipe, sizes: Sequence[int]) -> PowerLawInterval | str:
    """The power law of chunks of these sizes, or why there is none."""
    if len(sizes) < 2:
        return f"two chunk sizes are needed, {len(sizes)} in the range; wider networks have more"
    try:
        return fit_chunk_sizes(recipe.widest, recipe.limit.wrong, sizes)
    except (UserError, ValueError) as error:
        return shorten(error)


def refuse_limit(recipe: Recipe) -> str:
    """Why there is no error_inf; empty where there is one."""
    count = recipe.limit.num_networks if recipe.limit else 0
    if count >= recipe.smallest_ensemble:
        return ""
    return f"error_inf needs {recipe.smallest_ensemble} of the widest networks with stored outputs, received {count}"


def refuse_clones(recipe: Recipe) -> str:
    """Why there is no w*; empty where there is one."""
    if recipe.critical.clone_size is not None:
        return ""
    return unfitted(len(recipe.widest), len(recipe.widest))


def unfitted(count: int, networks: int) -> str:
    """The reason that so many networks have no w*."""
    return f"{count} of {networks} networks do not fit their training data to {FITTED_ERROR:.0%} and have no w*"


def refuse_trajectories(recipe: Recipe) -> str:
    """Why nothing is known of epochs; empty where something is."""
    return "" if recipe.trajectories else "no epochs were measured (--steps=dynamics with --keep_epochs)"


def shorten(error: Exception) -> str:
    """An error as a reason: without the name of an argument, and without what to do about it."""
    return str(error).split(": ", 1)[-1].split(";")[0]


def quotients(first: Mapping[int, float], second: Mapping[int, float]) -> dict[int, float]:
    """Seed -> first / second, where both are known and the second is not 0."""
    return {seed: first[seed] / second[seed] for seed in first if second.get(seed)}


def mean_of(values: Mapping[int, float]) -> float:
    """Mean over seeds of what is known; NaN of nothing."""
    known = [value for value in values.values() if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan


def network_test_error(record: RunRecord) -> float | None:
    """Test error of a whole network, if it was measured."""
    error = chunk_error(record, split="test")
    if error is None and "test" in record.accuracy:
        return 1 - record.accuracy["test"]["accuracy"]
    return error


def residual_correlation(record: RunRecord, size: int) -> float:
    """Residuals' mean correlation, held out and outside chunks of a size; NaN where it was not measured."""
    found = reconstruction_number(record, size)
    return math.nan if found is None else found


def label_verdict(verdict: Verdict, recipe: Recipe) -> Verdict:
    """The verdict with the recipe's name and data."""
    return dataclasses.replace(verdict, check=f"{verdict.check}, {recipe.label}", data=(recipe.dataset,))
