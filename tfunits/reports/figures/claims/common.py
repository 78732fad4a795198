"""What the claims of all papers share: their data, and checks made on one data set after the other."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

from tfunits.configs import Margins
from tfunits.reports.figures.checks import NO_RUNS
from tfunits.reports.figures.lines import Line, Missing, find_lines
from tfunits.reports.figures.runs import Runs
from tfunits.reports.figures.verdicts import Check, Verdict

# Letter -> names of data sets on which the answer is a verdict on the paper: CLAIMS' column of letters.
DATA = {
    "S": ("uncorrelated10", "uncorrelated10000"),
    "M": ("mnist_parity",),
    "C": ("cifar10",),
    "I": ("imagenet2012",),
}


def data_sets(letters: str) -> tuple[str, ...]:
    """The data sets of some letters.

    Example:
      >>> data_sets("SC")
      ('uncorrelated10', 'uncorrelated10000', 'cifar10')
    """
    return tuple(name for letter in letters for name in DATA[letter])


def on_each_data_set(check: Check) -> Check:
    """The check made of the runs of one data set after the other; without those of which it finds no run."""

    @functools.wraps(check)
    def check_each(runs: Runs, margins: Margins) -> Sequence[Verdict]:
        found = []
        for dataset, own in runs.by_dataset.items():
            verdicts = check(own, margins)
            if any(verdict.reason != NO_RUNS for verdict in verdicts):
                found += [dataclasses.replace(verdict, data=verdict.data or (dataset,)) for verdict in verdicts]
        return found

    return check_each


def find_line(runs: Runs, *, x: str = "size", **settings: Any) -> Line | Missing:
    """The first such line among runs of one data set."""
    return find_or_miss(runs, x=x, **settings)[0]


def find_or_miss(runs: Runs, *, x: str = "size", free: Sequence[str] = (), **settings: Any) -> Sequence[Line | Missing]:
    """As `find_lines` of one network, or what is missing, so that a check says so."""
    return find_lines(runs, x=x, free=free, **settings) or [Missing.of(x=x, **settings)]
