"""What Casper et al. 2019 (ICLR, "Robustness and/or redundancy") claim beyond their arXiv version: R13 and R18."""

from collections.abc import Callable

from tfunits.configs import Margins
from tfunits.reports.figures.checks import flat, greater_at_widest, of_line
from tfunits.reports.figures.claims.common import data_sets, on_each_data_set
from tfunits.reports.figures.claims.frivolous_appendix import OPTIMIZERS
from tfunits.reports.figures.claims.readings import correlation_bin, high_correlation_shares, upper_correlations
from tfunits.reports.figures.lines import Line, find_groups, find_lines
from tfunits.reports.figures.rules import all_of, decide_greater, decide_less
from tfunits.reports.figures.runs import Runs
from tfunits.reports.figures.verdicts import Claim, Verdict

_ENDS = ("conv1", "fc4")
_MIDDLE = ("conv2", "fc3")
_CONVOLUTIONS = ("conv1", "conv2")
_DENSE = ("fc3", "fc4")


@on_each_data_set
def _ends_are_most_correlated(runs: Runs, margins: Margins) -> list[Verdict]:
    verdicts = []
    for line in find_lines(runs, free=("regularizers",), model="alexnet"):
        is_regularized = line.settings["regularizers"] != "none"
        verdicts.append(of_line("share of |r| >= 0.5 highest in conv1 and fc4", line, "S", _highest_ends(margins)))
        verdicts += [
            of_line(
                f"95th percentile of |r| {'does not grow' if is_regularized and tap in _DENSE else 'grows'}, {tap}",
                line,
                "S",
                _growth(tap, margins, grows=not (is_regularized and tap in _DENSE)),
            )
            for tap in (*_CONVOLUTIONS, *_DENSE)
        ]
    return verdicts


def _highest_ends(margins: Margins) -> Callable[[Line], Verdict]:
    def decide(line: Line) -> Verdict:
        shares = {tap: high_correlation_shares(line, line.widest, tap) for tap in (*_ENDS, *_MIDDLE)}
        return all_of(
            "",
            [
                decide_greater(f"{end} above {tap}", shares[end], than=shares[tap], margins=margins)
                for end in _ENDS
                for tap in _MIDDLE
            ],
            margins=margins,
        )

    return decide


def _growth(tap: str, margins: Margins, *, grows: bool) -> Callable[[Line], Verdict]:
    def decide(line: Line) -> Verdict:
        low, high = (upper_correlations(line, width, tap) for width in (line.thinnest, line.widest))
        if grows:
            return decide_greater("", high, than=low, margins=margins)
        # Less than a bin of the histogram cannot be seen.
        return decide_less("", high, correlation_bin(line, line.widest, tap), than=low, margins=margins)

    return decide


@on_each_data_set
def _momentum_compresses_most(runs: Runs, margins: Margins) -> list[Verdict]:
    verdicts = []
    for lines in find_groups(runs, "optimizer", OPTIMIZERS, model="mlp"):
        momentum, sgd, adam = (lines[name] for name in OPTIMIZERS)
        verdicts += [greater_at_widest(momentum, sgd, letter, margins) for letter in ("C", "S")]
        verdicts += [greater_at_widest(momentum, adam, "C", margins), greater_at_widest(adam, sgd, "S", margins)]
        verdicts += [flat(line, "A", margins) for line in (momentum, sgd, adam)]
    return verdicts


CLAIMS = (
    Claim(
        id="R13",
        paper="ICLR, figure B2",
        text="in AlexNets the share of |r| >= 0.5 is highest in conv1 and the last dense layer; the upper tail of |r| "
        "grows with width, but not in dense layers of regularised networks",
        data=data_sets("C"),
        check=_ends_are_most_correlated,
    ),
    Claim(
        id="R18",
        paper="ICLR, figure C12",
        text="on 10,000 dimensions, widest networks: C and S are larger with momentum than with SGD; Adam's C is "
        "below momentum's, its S above SGD's; A is flat for all three",
        data=("uncorrelated10000",),
        check=_momentum_compresses_most,
    ),
)
