"""Which runs of a grid of candidates a figure draws."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from tfunits.reports.figures.runs import Runs

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
    trained = runs.trained
    if not len(trained):
        return runs
    settings = trained.settings
    grouped = [name for name in settings if name not in ("learning_rate", "seed")]
    scores = pd.DataFrame(
        {
            "group": [repr(row) for row in settings[grouped].itertuples(index=False, name=None)],
            "rate": settings["learning_rate"].astype(float).to_numpy(),
            "score": [_validation_accuracy(record.accuracy) for record in trained.records],
        },
        index=settings.index,
    )
    means = scores.groupby(["group", "rate"])["score"].agg(lambda values: values.mean(skipna=False)).dropna()
    # Equal means may differ in their last bits, by the order of the seeds.
    means = means.round(_DIGITS)
    # Rates rise, so that the last of equal ones is the largest.
    best = {
        group: part.index[-1][1]
        for group, part in means[means == means.groupby("group").transform("max")].groupby("group")
    }
    kept = {name for name, row in scores.iterrows() if best.get(row["group"]) == row["rate"]}
    return runs.named(kept | set(runs.untrained.settings.index))


def _validation_accuracy(accuracy: Mapping[str, Mapping[str, float]]) -> float:
    return accuracy.get("validation", {}).get("accuracy", np.nan)


def fix_learning_rate(rate_by_optimizer: Mapping[str, float]) -> Callable[[Runs], Runs]:
    """A choice of the runs at one learning rate an optimiser; untrained networks all stay.

    Example: `fix_learning_rate({"momentum": 0.1, "adam": 0.001})(runs)`
    """

    def choose(runs: Runs) -> Runs:
        fixed = runs.any_of([{"optimizer": name, "learning_rate": rate} for name, rate in rate_by_optimizer.items()])
        return runs.named({*fixed.settings.index, *runs.untrained.settings.index})

    return choose
