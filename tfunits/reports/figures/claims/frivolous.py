"""What Casper et al. 2021 (AAAI, "Frivolous units") claim about the figures of its main text: F01 to F17."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from tfunits.configs import NETWORK, Margins, facts
from tfunits.reports.figures.checks import (
    gain_above,
    gain_at_most,
    greater_at_widest,
    greater_gain,
    less_at_each_width,
    of_line,
    of_lines,
    rises,
    same_gain,
)
from tfunits.reports.figures.claims.common import data_sets, find_line, find_or_miss, on_each_data_set
from tfunits.reports.figures.claims.readings import agreements, mean_correlations, training_accuracies
from tfunits.reports.figures.lines import ALL_REGULARIZERS, CONDITIONS, Line, Missing, find_groups, find_lines
from tfunits.reports.figures.rules import all_of, cannot_tell, decide_greater, decide_inside, decide_less
from tfunits.reports.figures.runs import Runs
from tfunits.reports.figures.verdicts import Claim, Outcome, Verdict
from tfunits.reports.plots import size_label
from tfunits.statistics import FEWEST_REPLICATES

# F02: what the papers call fitting.
_FITTED_ACCURACY = 0.99
_NORMALS = {"Glorot": "glorot_normal", "He": "he_normal", "LeCun": "lecun_normal"}
_SYNTHETIC = data_sets("S")
# FACTS 5: the factors on the initial weights that figure 4d shows; the second is its high one.
_FEW_INIT_FACTORS = (0.01, 1.0)


@on_each_data_set
def _wider_is_no_less_accurate(runs: Runs, margins: Margins) -> list[Verdict]:
    lines = find_lines(runs, free=CONDITIONS, random_labels=False)
    lines += find_lines(runs, x="layer_size", free=CONDITIONS, random_labels=False)

    def decide(line: Line) -> Verdict:
        doublings = [(width, 2 * width) for width in line.widths if 2 * width in line.members]
        return all_of(
            "",
            [
                decide_greater(
                    f"{size_label(wide)}x against {size_label(thin)}x",
                    line.values("acc", wide),
                    -margins.accuracy_loss,
                    than=line.values("acc", thin),
                    margins=margins,
                )
                for thin, wide in doublings
            ],
            margins=margins,
        )

    return [of_line("acc(2w) >= acc(w)", line, "acc", decide) for line in lines]


@on_each_data_set
def _random_labels_are_fitted(runs: Runs, margins: Margins) -> list[Verdict]:
    def decide(line: Line) -> Verdict:
        return all_of(
            "",
            [
                decide_greater(f"{size_label(w)}x", training_accuracies(line, w), _FITTED_ACCURACY, margins=margins)
                for w in line.widths
                if w >= 1
            ],
            margins=margins,
        )

    lines = [
        line
        for model in ("alexnet", "resnet56")
        for line in find_lines(runs, free=("regularizers",), model=model, random_labels=True)
    ]
    return [of_line("training accuracy >= 99 %", line, "acc", decide) for line in lines]


@on_each_data_set
def _agreement_falls(runs: Runs, margins: Margins) -> list[Verdict]:
    def decide(line: Line, width: float) -> Verdict:
        by_level = agreements(line, width)
        levels = len(next(iter(by_level.values()), ()))
        first, *others = ({seed: float(a[level]) for seed, a in by_level.items()} for level in range(max(1, levels)))
        steps = [
            decide_less(f"step {number}", later, margins.accuracy_loss, than=sooner, margins=margins)
            for number, (sooner, later) in enumerate(itertools.pairwise([first, *others]), start=1)
        ]
        return all_of("", [decide_less("all against none", [first, *others][-1], than=first, margins=margins), *steps])

    return [
        of_line(
            f"agreement falls with the ablated share, {size_label(w)}x", line, "A", lambda line, w=w: decide(line, w)
        )
        for line in find_lines(runs, free=CONDITIONS)
        for w in line.widths
    ]


@on_each_data_set
def _area_rises_less_with_he(runs: Runs, margins: Margins) -> list[Verdict]:
    verdicts = []
    for lines in find_groups(runs, "initializer", [_NORMALS["Glorot"], _NORMALS["He"]], model="alexnet"):
        glorot, he = (lines[_NORMALS[name]] for name in ("Glorot", "He"))
        verdicts += [
            rises(glorot, "A", margins),
            of_lines(
                "D(A) less",
                (he, glorot),
                "A",
                lambda one, other: decide_less("", one.changes("A"), than=other.changes("A"), margins=margins),
            ),
        ]
    return verdicts


@on_each_data_set
def _correlations_grow_more_with_he(runs: Runs, margins: Margins) -> list[Verdict]:
    def growths(line: Line) -> dict[int, float]:
        low, high = (mean_correlations(line, width, "conv2") for width in (line.thinnest, line.widest))
        return {seed: high[seed] - low[seed] for seed in high if seed in low}

    verdicts = []
    for lines in find_groups(runs, "initializer", [_NORMALS["He"], _NORMALS["Glorot"]], model="alexnet"):
        pair = lines[_NORMALS["He"]], lines[_NORMALS["Glorot"]]
        verdicts += [
            of_lines(
                "growth of mean |r| in conv2 greater",
                pair,
                "S",
                lambda one, other: decide_greater("", growths(one), than=growths(other), margins=margins),
            ),
            greater_at_widest(*pair, "R", margins),
        ]
    return verdicts


def _imagenet_lines(runs: Runs) -> dict[str, tuple[Line | Missing, str]]:
    """Network -> its line, and the tap whose numbers the paper shows: of the one varied block that block's own."""
    return {
        "ResNet18": (find_line(runs, model="resnet18"), NETWORK),
        "Inception-v3": (find_line(runs, model="inception_v3"), NETWORK),
        "Inception-layer": (find_line(runs, model="inception_v3", x="layer_size"), facts.VARIED_BLOCK),
    }


@on_each_data_set
def _prunable_units_more_than_double(runs: Runs, margins: Margins) -> list[Verdict]:
    return [gain_above(line, "P", margins, tap=tap) for line, tap in _imagenet_lines(runs).values()]


@on_each_data_set
def _redundant_units_about_double(runs: Runs, margins: Margins) -> list[Verdict]:
    lines = _imagenet_lines(runs)
    low, high = 2 - margins.modest_gain, 2 + margins.modest_gain
    verdicts = []
    for name, (line, tap) in lines.items():
        side = gain_at_most if name == "Inception-v3" else gain_above
        verdicts += [
            side(line, "R", margins, tap=tap),
            of_line(
                f"g(R) within {margins.modest_gain:g} of 2",
                line,
                "R",
                lambda line, tap=tap: decide_inside("", line.gains("R", tap=tap), low, high, margins=margins),
                tap=tap,
            ),
        ]
    return verdicts


@on_each_data_set
def _prunable_units_gain_more_than_redundant(runs: Runs, margins: Margins) -> list[Verdict]:
    lines = _imagenet_lines(runs)
    return [
        of_line(
            "g(P) > g(R)",
            lines[name][0],
            "R",
            lambda line: decide_greater("", line.gains("P"), than=line.gains("R"), margins=margins),
        )
        for name in ("ResNet18", "Inception-v3")
    ]


@on_each_data_set
def _every_tap_gains_without_a_trend_in_depth(runs: Runs, margins: Margins) -> list[Verdict]:
    line = find_line(runs, model="resnet18")
    taps = list(facts.MODELS["resnet18"].base_widths)
    verdicts = [rises(line, letter, margins, tap=tap) for letter in ("P", "R") for tap in taps]
    return [*verdicts, *(of_line(f"no trend of g({x}) in depth", line, x, _no_trend(x, taps)) for x in ("P", "R"))]


def _no_trend(letter: str, taps: Sequence[str]) -> Callable[[Line], Verdict]:
    def decide(line: Line) -> Verdict:
        gains = {tap: {seed: g for seed, g in line.gains(letter, tap=tap).items() if math.isfinite(g)} for tap in taps}
        seeds = set.intersection(*(set(found) for found in gains.values()))
        steps = np.array([np.diff([gains[tap][seed] for tap in taps]) for seed in sorted(seeds)])
        numbers = {tap: float(np.mean([*found.values()])) if found else math.nan for tap, found in gains.items()}
        numbers["seeds"] = len(seeds)
        if len(seeds) < FEWEST_REPLICATES:
            return cannot_tell(
                "", f"{FEWEST_REPLICATES} seeds are needed, {len(seeds)} have the numbers", numbers=numbers
            )
        has_trend = bool((steps > 0).all() or (steps < 0).all())
        return Verdict(check="", outcome=Outcome.DISAGREES if has_trend else Outcome.AGREES, numbers=numbers)

    return decide


@on_each_data_set
def _cifar_networks_more_than_double(runs: Runs, margins: Margins) -> list[Verdict]:
    verdicts = []
    for model, is_random in itertools.product(("alexnet", "resnet56"), (False, True)):
        # The figure's AlexNet has all regularisers, against the text (FACTS F12): whichever there are.
        lines = find_or_miss(runs, free=("regularizers",), model=model, random_labels=is_random)
        is_exception = model == "resnet56" and is_random
        for line in lines:
            verdicts += [
                (gain_at_most if is_exception else gain_above)(line, "P", margins),
                gain_above(line, "R", margins),
            ]
    return verdicts


@on_each_data_set
def _regularizers_change_gains_modestly(runs: Runs, margins: Margins) -> list[Verdict]:
    names = ("none", *facts.REGULARIZERS, ALL_REGULARIZERS)
    verdicts = []
    for lines in find_groups(runs, "regularizers", names, model="alexnet"):
        for letter in ("P", "R"):
            verdicts += [gain_above(lines[name], letter, margins) for name in names]
            verdicts += [
                same_gain(lines[name], lines["none"], letter, margins, within=margins.modest_gain) for name in names[1:]
            ]
    return verdicts


@on_each_data_set
def _initializers_trade_one_gain_for_the_other(runs: Runs, margins: Margins) -> list[Verdict]:
    verdicts = []
    for lines in find_groups(runs, "initializer", list(_NORMALS.values()), model="alexnet"):
        glorot, he, lecun = (lines[initializer] for initializer in _NORMALS.values())
        verdicts += [gain_above(line, letter, margins) for letter in ("P", "R") for line in (glorot, he, lecun)]
        verdicts += [greater_gain(glorot, he, "P", margins), greater_gain(he, glorot, "R", margins)]
    return verdicts


@on_each_data_set
def _perceptrons_more_than_double(runs: Runs, margins: Margins) -> list[Verdict]:
    lines = find_lines(runs, model="mlp", init_scale=_FEW_INIT_FACTORS)
    return [gain_above(line, letter, margins) for line in lines for letter in ("P", "R")]


def _perceptrons_gain_less_than_alexnets(runs: Runs, margins: Margins) -> list[Verdict]:
    perceptrons = find_lines(runs, model="mlp", dataset=_SYNTHETIC, init_scale=_FEW_INIT_FACTORS)
    every = find_lines(runs, free=("initializer", "regularizers", "random_labels"), model="alexnet")
    # Anything may stand in the same root: two networks that somebody tried are no curve of the paper.
    alexnets = [line for line in every if len(line.gains("P")) >= FEWEST_REPLICATES] or every
    by_data = {dataset: [line for line in alexnets if line.dataset == dataset] for dataset in _datasets(alexnets)}
    if not perceptrons:
        return []
    verdicts = []
    for dataset, lines in (by_data or {None: []}).items():
        data = (*_datasets(perceptrons), *([dataset] if dataset else []))
        for letter in ("P", "R"):
            check = f"mean g({letter}) of {len(perceptrons)} curves of MLPs < that of {len(lines)} of AlexNets"
            if not lines:
                verdicts.append(cannot_tell(check, "there is no run of AlexNet", data=data))
                continue
            means = [_mean_gains(found, letter) for found in (perceptrons, lines)]
            found = decide_less(check, means[0], than=means[1], margins=margins)
            marks = dict.fromkeys(mark for line in (*perceptrons, *lines) for mark in line.marks(letter))
            verdicts.append(dataclasses.replace(found, data=data, marks=tuple(marks)))
    return verdicts


def _mean_gains(lines: Sequence[Line], letter: str) -> dict[int, float]:
    """Seed -> mean gain of the lines, of seeds that all have."""
    gains = [line.gains(letter) for line in lines]
    seeds = set.intersection(*(set(found) for found in gains))
    return {seed: float(np.mean([found[seed] for found in gains])) for seed in sorted(seeds)}


def _datasets(lines: Sequence[Line]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(line.dataset for line in lines))


def _high_initial_weights_prune_less(runs: Runs, margins: Margins) -> list[Verdict]:
    lines = find_lines(runs, model="mlp", dataset=_SYNTHETIC, init_scale=_FEW_INIT_FACTORS)
    settings = [(line.dataset, line.settings["init_scale"]) for line in lines]
    by_setting = dict(zip(settings, lines, strict=True))
    wanted = list(itertools.product(_SYNTHETIC, _FEW_INIT_FACTORS))
    if wanted[-1] not in by_setting:
        return []
    high = by_setting[wanted[-1]]
    others = [by_setting.get(w, Missing.of(model="mlp", dataset=w[0], init_scale=w[1])) for w in wanted[:-1]]
    verdicts = [less_at_each_width(high, other, "P", margins) for other in others]
    verdicts += [same_gain(high, other, "P", margins) for other in others]
    return [dataclasses.replace(verdict, data=_SYNTHETIC) for verdict in verdicts]


CLAIMS = (
    Claim(
        id="F01",
        paper="AAAI, figures 1a-c, E6a-E12a",
        text="test accuracy does not fall by more than a point when width doubles (random labels exempt)",
        data=data_sets("SCI"),
        check=_wider_is_no_less_accurate,
    ),
    Claim(
        id="F02",
        paper="AAAI, text on figure 4a; ICLR, section 4",
        text="AlexNet and ResNet56 of at least their common width fit random labels: training accuracy >= 99 %",
        data=data_sets("C"),
        check=_random_labels_are_fitted,
    ),
    Claim(
        id="F03",
        paper="AAAI, figures 2a-b",
        text="agreement falls as more units are ablated, in every network and at every width",
        data=data_sets("C"),
        check=_agreement_falls,
    ),
    Claim(
        id="F04",
        paper="AAAI, figures 2a-b; arXiv, figure 2; ICLR, figures 2b-c",
        text="Glorot AlexNets become more robust to ablation with width (D(A) > 0), and more so than He ones",
        data=data_sets("C"),
        check=_area_rises_less_with_he,
    ),
    Claim(
        id="F06",
        paper="AAAI, figures 2c-d; arXiv, figure 3",
        text="in He AlexNets conv2's mean |r| grows more with width than in Glorot ones, and R of the widest is larger",
        data=data_sets("C"),
        check=_correlations_grow_more_with_he,
    ),
    Claim(
        id="F07",
        paper="AAAI, figure 3a",
        text="g(P) > 2 for ResNet18, Inception-v3 and Inception-v3 with one varied block",
        data=data_sets("I"),
        check=_prunable_units_more_than_double,
    ),
    Claim(
        id="F08",
        paper="AAAI, figure 3b and section 5",
        text="g(R) > 2 for ResNet18 and Inception-v3 with one varied block, at most 2 for Inception-v3; all near 2",
        data=data_sets("I"),
        check=_redundant_units_about_double,
    ),
    Claim(
        id="F09",
        paper="AAAI, text on figures 3a-b",
        text="g(P) > g(R) for ResNet18 and Inception-v3",
        data=data_sets("I"),
        check=_prunable_units_gain_more_than_redundant,
    ),
    Claim(
        id="F10",
        paper="AAAI, figures 3c-d",
        text="P and R grow with width at every tap of ResNet18, and their gains have no trend in depth",
        data=data_sets("I"),
        check=_every_tap_gains_without_a_trend_in_depth,
    ),
    Claim(
        id="F11",
        paper="AAAI, figure 4a",
        text="g(P) > 2 and g(R) > 2 for AlexNet and ResNet56, with true and with random labels, but for g(P) <= 2 of "
        "ResNet56 with random ones",
        data=data_sets("C"),
        check=_cifar_networks_more_than_double,
    ),
    Claim(
        id="F13",
        paper="AAAI, figure 4b",
        text="g(P) > 2 and g(R) > 2 with every regulariser, none and all, each near that without",
        data=data_sets("C"),
        check=_regularizers_change_gains_modestly,
    ),
    Claim(
        id="F14",
        paper="AAAI, figure 4c",
        text="g(P) > 2 and g(R) > 2 for Glorot, He and LeCun, and a trade-off: g(P) Glorot > He, g(R) Glorot < He",
        data=data_sets("C"),
        check=_initializers_trade_one_gain_for_the_other,
    ),
    Claim(
        id="F15",
        paper="AAAI, figure 4d",
        text="g(P) > 2 and g(R) > 2 for perceptrons on 10 and 10,000 dimensions, with each initialisation shown",
        data=data_sets("S"),
        check=_perceptrons_more_than_double,
    ),
    Claim(
        id="F16",
        paper="AAAI, text on figure 4d",
        text="the mean gain of the perceptrons' curves is below that of AlexNet's",
        data=data_sets("SC"),
        check=_perceptrons_gain_less_than_alexnets,
        beside="alexnet",
    ),
    Claim(
        id="F17",
        paper="AAAI, text on figure 4d",
        text="on 10,000 dimensions with large initial weights P is at every width below that of the three other "
        "curves, while its gain is theirs",
        data=data_sets("S"),
        check=_high_initial_weights_prune_less,
    ),
)
