"""Which runs of a grid of candidates a figure draws."""

import math
from collections.abc import Callable, Mapping, Sequence

from tfunits.reports.figures.runs import Runs
from tfunits.reports.records import RunRecord

_DIGITS = 9


def choose_learning_rate(runs: Runs) -> Runs:
    """Of every width and setting, the runs at its best learning rate; untrained networks all stay.

    The best one has the highest validation accuracy, averaged over seeds; of equal ones it is the largest. A rate at
    which a seed diverged is not chosen.

    Args:
      runs: any; groups are of those that differ in learning rate and seed only.

    Returns: the chosen runs, in order.

    Source: Casper et al. 2021, section 4 and appendix A ("best" rates); that validation data choose is our rule.
    """
    candidates: dict[str, dict[float, list[RunRecord]]] = {}
    for record, own in runs.trained.rows:
        rest = {name: value for name, value in own.items() if name not in ("learning_rate", "seed")}
        candidates.setdefault(repr(rest), {}).setdefault(own["learning_rate"], []).append(record)
    kept = set(runs.untrained.settings.index)
    for records_by_rate in candidates.values():
        best = best_learning_rate(records_by_rate)
        kept |= {record.run_dir.name for record in ([] if best is None else records_by_rate[best])}
    return runs.named(kept)


def best_learning_rate(records_by_rate: Mapping[float, Sequence[RunRecord]]) -> float | None:
    """The rate with the best validation accuracy, averaged over seeds; of equal ones the largest.

    Args:
      records_by_rate: rate -> the runs with it, one a seed.

    Returns: a key; None if a seed diverged at each.
    """
    # Equal means may differ in their last bits, by the order of the seeds.
    means = {
        rate: round(math.fsum(map(_validation_accuracy, records)) / len(records), _DIGITS)
        for rate, records in records_by_rate.items()
    }
    known = {rate: mean for rate, mean in means.items() if not math.isnan(mean)}
    return max(known, key=lambda rate: (known[rate], rate), default=None)


def _validation_accuracy(record: RunRecord) -> float:
    return record.accuracy.get("validation", {}).get("accuracy", math.nan)


def fix_learning_rate(rate_by_optimizer: Mapping[str, float]) -> Callable[[Runs], Runs]:
    """A choice of the runs at one learning rate an optimiser; untrained networks all stay.

    Example: `fix_learning_rate({"momentum": 0.1, "adam": 0.001})(runs)`
    """

    def choose(runs: Runs) -> Runs:
        fixed = runs.any_of([{"optimizer": name, "learning_rate": rate} for name, rate in rate_by_optimizer.items()])
        return runs.named({*fixed.settings.index, *runs.untrained.settings.index})

    return choose
