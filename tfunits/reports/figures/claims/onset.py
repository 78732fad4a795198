"""Checks of how clones come about in training: D09, D10, D17, and parts of D12 and D13."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from tfunits.configs import Margins
from tfunits.reports.figures.claims.clones import (
    CIFAR,
    chunk_sizes_within,
    mean_of,
    network_test_error,
    quotients,
    refuse_clones,
    refuse_trajectories,
    residual_correlation,
)
from tfunits.reports.figures.recipes import Recipe, chunk_error
from tfunits.reports.figures.rules import all_of, cannot_tell, decide_greater, decide_inside, decide_less
from tfunits.reports.figures.verdicts import Verdict
from tfunits.reports.records import RunRecord
from tfunits.statistics import STRICTLY_FITTED_ERROR, first_at_most

# Doimo et al. 2022, figure 5, on CIFAR: chunks above this size are those whose residuals lose their correlation, and
# chunks of two sizes by which training is followed.
_LARGEST_CORRELATED = 64
_FOLLOWED = (256, 128)
# Ours (CLAIMS): what "no sizeable reduction", "does not fall" and "the end" of training are.
_SETTLED = 0.1
_KEPT = 0.8
_LAST_PART = 0.1


def correlation_falls_then_stays(recipe: Recipe, margins: Margins) -> list[Verdict]:
    """D09: clones' residuals lose their correlation until the network fits, and no more; smaller chunks' keep it."""
    checks = (
        "clones' correlation falls until training error is 0",
        f"clones' correlation then changes by less than {_SETTLED:.0%}",
        "correlation at the end is lower for clones than for smaller chunks",
    )
    large, small = _followed_sizes(recipe)
    refused = refuse_trajectories(recipe) or _refuse_sizes(large, small)
    if refused:
        return [cannot_tell(check, refused) for check in checks]
    first, fitted, last, smaller = {}, {}, {}, {}
    for seed, epochs in recipe.trajectories.items():
        fitting = _fitted_epoch(epochs)
        if fitting is not None:
            first[seed] = _mean_correlation(epochs[min(epochs)], large)
            fitted[seed] = _mean_correlation(epochs[fitting], large)
            last[seed] = _mean_correlation(epochs[max(epochs)], large)
            smaller[seed] = _mean_correlation(epochs[max(epochs)], small)
    change = {seed: value - 1 for seed, value in quotients(last, fitted).items()}
    return [
        decide_less(checks[0], quotients(fitted, first), 1, margins=margins),
        decide_inside(checks[1], change, -_SETTLED, _SETTLED, margins=margins),
        decide_less(checks[2], last, than=smaller, margins=margins),
    ]


def network_fits_first(recipe: Recipe, margins: Margins) -> list[Verdict]:
    """D10: the network fits before its clones; test error falls mostly before, still after, and not at the very end."""
    large, small = _followed_sizes(recipe)
    check = "the network fits before its clones"
    refused = refuse_trajectories(recipe) or _refuse_sizes(large, small)
    if refused:
        return [cannot_tell(check, refused)]
    fitting = {seed: e for seed, epochs in recipe.trajectories.items() if (e := _fitted_epoch(epochs)) is not None}
    verdicts = []
    for size in [size for size in _FOLLOWED if size in large] if recipe.dataset in CIFAR else large[-2:]:
        chunks = {}
        for seed in fitting:
            epochs = recipe.trajectories[seed]
            found = _fitted_epoch(epochs, size)
            # One that never fits does so after the last epoch, at the earliest.
            chunks[seed] = max(epochs) + 1 if found is None else found
        verdict = decide_less(f"first epoch of training error 0, network before chunks of {size}", fitting, than=chunks,
                              margins=margins)  # fmt: skip
        verdicts.append(verdict)
    least = {
        seed: min(filter(_is_known, (chunk_error(record, small[-1]) for record in epochs.values())), default=math.nan)
        for seed, epochs in recipe.trajectories.items()
    }
    name = f"chunks of {small[-1]} keep a training error above 0"
    verdicts.append(decide_greater(name, least, STRICTLY_FITTED_ERROR, margins=margins))
    return [*verdicts, *_test_error_falls(recipe, fitting, margins)]


def _test_error_falls(recipe: Recipe, fitting: Mapping[int, int], margins: Margins) -> list[Verdict]:
    before, after, late = {}, {}, {}
    for seed, fitted in fitting.items():
        errors = {epoch: network_test_error(record) for epoch, record in recipe.trajectories[seed].items()}
        errors = {epoch: error for epoch, error in errors.items() if error is not None}
        last = max(errors, default=0)
        if {fitted, last} <= errors.keys():
            before[seed] = errors[min(errors)] - errors[fitted]
            after[seed] = errors[fitted] - errors[last]
            # The last kept epoch before the last tenth of training, unless that is long before.
            earliest, latest = (1 - 2 * _LAST_PART) * last, (1 - _LAST_PART) * last
            tenth = max((epoch for epoch in errors if earliest <= epoch <= latest), default=None)
            late[seed] = math.nan if tenth is None else errors[tenth] - errors[last]
    verdicts = [
        decide_greater("test error falls more before training error 0 than after", before, than=after, margins=margins),
        decide_greater("test error still falls after training error 0", after, 0, margins=margins),
    ]
    check = f"test error does not fall over the last {_LAST_PART:.0%} of epochs"
    # Less than half of the fall that it is set against; a margin of accuracies may be more than all of it.
    margin = min(margins.accuracy, mean_of(after) / 2)
    if not margin > 0:
        return [*verdicts, cannot_tell(check, "there is no fall after training error 0 to set it against")]
    return [*verdicts, decide_inside(check, late, -margin, margin, margins=margins)]


def correlation_stays(recipe: Recipe, check: str, margins: Margins) -> Verdict:
    """Correlation at the end >= 0.8 of that at the start, at every w."""
    refused = refuse_trajectories(recipe)
    if refused:
        return cannot_tell(check, refused)
    verdicts = []
    for size in chunk_sizes_within(recipe, 1, recipe.critical.layer_width / 2):
        known = recipe.trajectories.items()
        first = {seed: residual_correlation(epochs[min(epochs)], size) for seed, epochs in known}
        last = {seed: residual_correlation(epochs[max(epochs)], size) for seed, epochs in known}
        verdicts.append(decide_greater(f"w = {size}", quotients(last, first), _KEPT, margins=margins))
    return all_of(check, verdicts, margins=margins)


def stopped_early(recipe: Recipe, margins: Margins) -> list[Verdict]:
    """D17: where training error is closest to test error, residuals of clones are more correlated than at the end."""
    check = "correlation is higher where training error is closest to test error than at the end"
    refused = refuse_trajectories(recipe) or refuse_clones(recipe)
    if refused:
        return [cannot_tell(check, refused)]
    verdicts = []
    for size in chunk_sizes_within(recipe, recipe.critical.clone_size, recipe.critical.layer_width / 2):
        early, late, chosen = {}, {}, {}
        for seed, epochs in recipe.trajectories.items():
            gaps = {
                epoch: abs(test - train)
                for epoch, record in epochs.items()
                if (test := network_test_error(record)) is not None and (train := chunk_error(record)) is not None
            }
            if gaps:
                chosen[seed] = min(gaps, key=gaps.__getitem__)
                early[seed] = residual_correlation(epochs[chosen[seed]], size)
                late[seed] = residual_correlation(epochs[max(epochs)], size)
        found = decide_greater(f"w = {size}", early, than=late, margins=margins)
        verdicts.append(dataclasses.replace(found, numbers={**found.numbers, "epoch": mean_of(chosen)}))
    return [all_of(check, verdicts, margins=margins)] if verdicts else [cannot_tell(check, "w* is above W / 2")]


def _followed_sizes(recipe: Recipe) -> tuple[list[int], list[int]]:
    """Chunks that are clones up to W / 2, and those that are not: above 64 and the rest, or from w* on and the rest."""
    sizes = chunk_sizes_within(recipe, 1, recipe.critical.layer_width / 2)
    clone = recipe.critical.clone_size or math.inf
    first = _LARGEST_CORRELATED + 1 if recipe.dataset in CIFAR else clone
    return [size for size in sizes if size >= first], [size for size in sizes if size < first]


def _fitted_epoch(epochs: Mapping[int, RunRecord], size: int | None = None) -> int | None:
    """The first kept epoch at which the network, or its chunks of a size, have no training error."""
    known = {epoch: error for epoch, record in epochs.items() if (error := chunk_error(record, size)) is not None}
    return first_at_most(list(known), list(known.values()), STRICTLY_FITTED_ERROR)


def _mean_correlation(record: RunRecord, sizes: Sequence[int]) -> float:
    return float(np.mean([residual_correlation(record, size) for size in sizes]))


def _refuse_sizes(large: Sequence[int], small: Sequence[int]) -> str:
    return "" if large and small else "no chunk sizes up to W / 2 are clones" if not large else "all chunks are clones"


def _is_known(value: float | None) -> bool:
    return value is not None
