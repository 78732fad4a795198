"""What Casper et al. 2021 (AAAI, "Frivolous units") claim about its appendix's figures and its methods: F18 to F31."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from tfunits.configs import Margins, facts
from tfunits.reports.drawings import DOMAINS
from tfunits.reports.figures import curves
from tfunits.reports.figures.checks import (
    NO_RUNS,
    common_widths,
    flat,
    gain_above,
    gain_inside,
    greater_at_widest,
    of_line,
    rises,
    same,
    same_at_each_width,
    same_gain,
    same_side,
    untrained_gain_near,
)
from tfunits.reports.figures.claims.common import data_sets, find_line, on_each_data_set
from tfunits.reports.figures.claims.readings import drawing_tests, gains_at_tolerance, past_epochs, sampling_spreads
from tfunits.reports.figures.lines import (
    CONDITIONS,
    Line,
    Missing,
    find_batch_lines,
    find_groups,
    find_lines,
    find_untrained_lines,
)
from tfunits.reports.figures.rules import all_of, any_of, cannot_tell, decide_greater, decide_less
from tfunits.reports.figures.runs import Runs
from tfunits.reports.figures.verdicts import Claim, Outcome, Verdict
from tfunits.reports.plots import size_label
from tfunits.reports.sweeps import PRUNABILITY_TOLERANCES, REDUNDANCY_TOLERANCES

# F29, ours: of redundancy over independent samplings of positions, relative to its mean.
_SAMPLING_SPREAD = 0.01
# FACTS 5: factors on the initial weights that the figures show.
INIT_FACTORS = (0.01, 1.0, 100.0, 10_000.0, 1e6)
OPTIMIZERS = ("momentum", "sgd", "adam")
# FACTS 4.1: factors on batch size and learning rate.
BATCH_FACTORS = (0.25, 1.0, 4.0)
# The last blocks with maps of 35x35, 17x17 and 8x8, as they are drawn.
INCEPTION_TAPS = tuple(str(curve.tap) for curve in curves.INCEPTION_TAPS)
# FACTS 4.3: epochs before the end at which ResNet18 is measured.
PAST_EPOCHS = (8, 6, 4, 2)
INITIALIZERS = ("glorot", "he", "lecun")
# Table 2: in bold beyond these; blocks whose images vary less in the thin network, and those that vary more.
_BOLD_BELOW = 0.025
_LESS_VARIED = (("resnet18", "stage4"), ("inception_v3", "mixed_8x8x2048b"))
_MORE_VARIED = (("inception_v3", "conv4"), ("inception_v3", "mixed_17x17x768a"))


@on_each_data_set
def _the_rest_grows_less_than_width(runs: Runs, margins: Margins) -> list[Verdict]:
    lines = find_lines(runs, free=CONDITIONS)
    return [gain_inside(line, letter, 1, 2, margins) for line in lines for letter in ("nP", "nR")]


@on_each_data_set
def _taps_of_inception_differ(runs: Runs, margins: Margins) -> list[Verdict]:
    def decide(line: Line) -> Verdict:
        gains = {
            f"g({letter}) {tap}": line.gains(letter, tap=tap)
            for letter in ("P", "R")
            for tap in facts.MODELS["inception_v3"].base_widths
        }
        at_most = any_of("", [decide_less(name, found, 2.0, margins=margins) for name, found in gains.items()])
        means = {name: float(np.mean([*found.values()])) for name, found in gains.items() if found}
        return dataclasses.replace(at_most, numbers={**at_most.numbers, **means})

    lines = find_lines(runs, model="inception_v3")
    return [
        verdict
        for line in lines
        for verdict in (
            gain_above(line, "P", margins),
            of_line("a tap has g(P) <= 2 or g(R) <= 2", line, "R", decide),
        )
    ]


@on_each_data_set
def _only_the_widened_block_changes(runs: Runs, margins: Margins) -> list[Verdict]:
    line = find_line(runs, model="inception_v3", x="layer_size")
    widened, *others = INCEPTION_TAPS
    # Shares of the others' units are in units of size 4, which is the same factor at every width of the one block.
    return [
        *(rises(line, letter, margins, tap=widened) for letter in ("P", "R", "A")),
        *(flat(line, letter, margins, tap=tap) for tap in others for letter in ("P", "R", "A")),
    ]


@on_each_data_set
def _uniform_is_like_normal(runs: Runs, margins: Margins) -> list[Verdict]:
    verdicts = []
    for name in INITIALIZERS:
        values = [f"{name}_uniform", f"{name}_normal"]
        for lines in find_groups(runs, "initializer", values, model="alexnet"):
            pair = [lines[value] for value in values]
            verdicts += [same_gain(*pair, letter, margins) for letter in ("P", "R")]
            verdicts.append(same_at_each_width(*pair, "acc", margins))
    return verdicts


@on_each_data_set
def _gains_are_the_same_at_each_init(runs: Runs, margins: Margins) -> list[Verdict]:
    return [
        same_gain(lines[one], lines[other], letter, margins)
        for lines in find_groups(runs, "init_scale", INIT_FACTORS, model="mlp")
        for letter in ("P", "R")
        for one, other in itertools.combinations(INIT_FACTORS, 2)
    ]


@on_each_data_set
def _small_init_is_more_redundant(runs: Runs, margins: Margins) -> list[Verdict]:
    verdicts = []
    for lines in find_groups(runs, "init_scale", INIT_FACTORS, model="mlp"):
        smallest, *larger = INIT_FACTORS
        verdicts += [greater_at_widest(lines[smallest], lines[factor], "R", margins) for factor in larger]
        verdicts.append(_rank_correlation(lines, margins))
    return verdicts


def _rank_correlation(lines: Mapping[float, Line | Missing], margins: Margins) -> Verdict:
    """Whether R falls with the factor on the initial weights, at the largest width that all lines have."""
    check = f"Spearman correlation of R with the init factor < 0, {len(lines)} MLPs"
    known = {factor: line for factor, line in lines.items() if isinstance(line, Line)}
    if len(known) < len(lines):
        return cannot_tell(check, NO_RUNS)
    widths = common_widths(*known.values())
    if not widths:
        return cannot_tell(check, "the lines have no width in common")
    found = decide_less(f"{check} at {size_label(widths[-1])}x", _rank_correlations(known, widths[-1]), margins=margins)
    marks = dict.fromkeys(mark for line in known.values() for mark in line.marks("R"))
    return dataclasses.replace(found, marks=tuple(marks))


def _rank_correlations(lines: Mapping[float, Line], width: float) -> dict[int, float]:
    """Seed -> Spearman's correlation of R with the factor on the initial weights, at one width."""
    values = {factor: line.values("R", width) for factor, line in lines.items()}
    seeds = set.intersection(*(set(found) for found in values.values()))
    return {
        seed: float(stats.spearmanr(list(values), [found[seed] for found in values.values()]).statistic)
        for seed in sorted(seeds)
        if len({found[seed] for found in values.values()}) > 1
    }


@on_each_data_set
def _optimizers_prune_alike(runs: Runs, margins: Margins) -> list[Verdict]:
    verdicts = []
    for lines in find_groups(runs, "optimizer", OPTIMIZERS, model="mlp"):
        verdicts += [
            same_at_each_width(lines[one], lines[other], "P", margins)
            for one, other in itertools.combinations(OPTIMIZERS, 2)
        ]
        verdicts += [greater_at_widest(lines["sgd"], lines[o], "R", margins) for o in ("momentum", "adam")]
    return verdicts


@on_each_data_set
def _batches_and_last_epochs_do_not_matter(runs: Runs, margins: Margins) -> list[Verdict]:
    verdicts = []
    for model in ("resnet18", "resnet56", "alexnet"):
        for lines in find_batch_lines(runs, BATCH_FACTORS, model=model):
            others = [name for name in lines if name != 1.0]
            # Networks with k = 1 alone, such as those whose last epochs are measured, say nothing of k.
            for name in others if any(isinstance(lines[name], Line) for name in others) else ():
                pair = lines[name], lines[1.0]
                verdicts.append(same_at_each_width(*pair, "acc", margins))
                verdicts += [same_gain(*pair, letter, margins) for letter in ("P", "R")]
    for line in find_lines(runs, model="resnet18"):
        verdicts += compare_past_epochs(line, ("P", "R"), PAST_EPOCHS, margins)
    return verdicts


def _list_epochs(past: Sequence[int], found: Collection[int]) -> str:
    return ", ".join(str(epoch) for epoch in past if epoch in found)


def compare_past_epochs(line: Line, letters: Sequence[str], past: Sequence[int], margins: Margins) -> list[Verdict]:
    """Whether measures some epochs before the end are those at the end, at every width; none without such epochs."""
    by_width = {width: past_epochs(line, width, letters) for width in line.widths}
    known = {width: found for width, found in by_width.items() if 0 in found and set(past) & set(found)}
    return [
        of_line(
            f"{letter} same {_list_epochs(past, found)} epochs before the end, {size_label(width)}x",
            line,
            letter,
            lambda _, found=found, letter=letter: all_of(
                "",
                [
                    same(f"{epoch} before", letter, found[epoch].get(letter, {}), found[0].get(letter, {}), margins)
                    for epoch in past
                    if epoch in found
                ],
                margins=margins,
            ),
        )
        for width, found in known.items()
        for letter in letters
    ]


@on_each_data_set
def _tolerances_do_not_matter(runs: Runs, margins: Margins) -> list[Verdict]:
    readings = (("P", PRUNABILITY_TOLERANCES), ("R", REDUNDANCY_TOLERANCES))

    def decide(line: Line, letter: str, tolerances: Sequence[float]) -> Verdict:
        gains = [gains_at_tolerance(line, letter, tolerance) for tolerance in tolerances]
        found = same_side([decide_greater("", gain, 2.0, margins=margins) for gain in gains], margins=margins)
        means = {f"at {t:g}": float(np.mean([*g.values()])) for t, g in zip(tolerances, gains, strict=True) if g}
        return dataclasses.replace(found, numbers=means)

    return [
        of_line(
            f"g({letter}) on one side of 2 at every tolerance",
            line,
            letter,
            lambda line, letter=letter, tolerances=tolerances: decide(line, letter, tolerances),
        )
        for line in find_lines(runs, free=CONDITIONS)
        for letter, tolerances in readings
    ]


@on_each_data_set
def _training_data_say_the_same(runs: Runs, margins: Margins) -> list[Verdict]:
    if not {"train", "test"} <= set(runs.frame["split"]) or runs.frame.query("split == 'train'")["tap"].nunique() < 2:
        return []

    def decide(line: Line, letter: str) -> Verdict:
        marks = {split: line.marks(letter, split=split) for split in ("train", "test")}
        each = [
            same(
                f"at {size_label(w)}x",
                letter,
                line.values(letter, w, split="train"),
                line.values(letter, w, split="test"),
                margins,
            )
            for w in line.widths
        ]
        found = dataclasses.replace(all_of("", each, margins=margins), marks=(*marks["train"], *marks["test"]))
        # Too few rows of the one say something of rows, not of data; too few of both are what the papers had.
        if marks["train"] != marks["test"]:
            found = dataclasses.replace(
                found,
                outcome=Outcome.CANNOT_TELL,
                reason="one of the two has fewer than five rows a unit, the other has more",
                p_for=math.nan,
                p_against=math.nan,
            )
        return found

    return [
        of_line(
            f"{letter} same on training and on test data",
            line,
            letter,
            functools.partial(decide, letter=letter),
        )
        for line in find_lines(runs, free=CONDITIONS)
        for letter in ("P", "R", "A", "S")
    ]


@on_each_data_set
def _samplings_agree(runs: Runs, margins: Margins) -> list[Verdict]:
    def decide(line: Line) -> Verdict:
        spreads = {width: sampling_spreads(line, width) for width in line.widths}
        return all_of(
            "",
            [decide_less(f"{size_label(w)}x", v, _SAMPLING_SPREAD, margins=margins) for w, v in spreads.items() if v],
            margins=margins,
        )

    return [
        of_line("std of R over samplings <= 1 % of R", line, "R", decide)
        for line in find_lines(runs, free=CONDITIONS)
        if any(sampling_spreads(line, width) for width in line.widths)
    ]


@on_each_data_set
def _untrained_networks_double(runs: Runs, margins: Margins) -> list[Verdict]:
    lines = find_untrained_lines(runs, free=CONDITIONS)
    return [untrained_gain_near(line, letter, margins) for line in lines for letter in ("P", "R")]


def _some_thin_networks_are_easier_to_read(runs: Runs, margins: Margins) -> list[Verdict]:
    table = drawing_tests(runs)
    return [
        dataclasses.replace(verdict, data=(str(dataset),))
        for dataset, rows in table.groupby("dataset")
        for verdict in _compare_images(rows, margins)
    ]


def _compare_images(table: pd.DataFrame, margins: Margins) -> list[Verdict]:
    counts = {"low": {}, "high": {}}
    for seed, rows in table.groupby("seed"):
        p_values = np.concatenate([rows[f"{domain}_p"].dropna() for domain in DOMAINS])
        counts["low"][int(seed)] = float((p_values < _BOLD_BELOW).sum())
        counts["high"][int(seed)] = float((p_values > 1 - _BOLD_BELOW).sum())
    verdicts = [
        decide_greater("some of the tests have p < 0.025", counts["low"], margins=margins),
        decide_greater("some of the tests have p > 0.975", counts["high"], margins=margins),
        decide_greater("more have p < 0.025 than p > 0.975", counts["low"], than=counts["high"], margins=margins),
    ]
    for sign, decide, blocks in (("<", decide_less, _LESS_VARIED), (">", decide_greater, _MORE_VARIED)):
        verdicts += [
            decide(
                f"effect of {domain} {sign} 1, {tap} of {model}",
                _effects(table, model, tap, domain),
                1.0,
                margins=margins,
            )
            for model, tap in blocks
            for domain in DOMAINS
        ]
    return verdicts


def _effects(table: pd.DataFrame, model: str, tap: str, domain: str) -> dict[int, float]:
    """Seed -> mean variation of the thin network's images over the wide one's."""
    rows = table[(table["model"] == model) & (table["tap"] == tap)].dropna(subset=f"{domain}_effect")
    values = zip(rows["seed"], rows[f"{domain}_effect"], strict=True)
    return {int(seed): float(value) for seed, value in values if math.isfinite(value)}


CLAIMS = (
    Claim(
        id="F18",
        paper="AAAI, figures E2, E3, appendix E",
        text="units that are not prunable, and those that are not redundant, grow with width but less than it does: 1 "
        "< g < 2 for every curve",
        data=data_sets("SCI"),
        check=_the_rest_grows_less_than_width,
    ),
    Claim(
        id="F19",
        paper="AAAI, figure E4, appendix E",
        text="some tap of Inception-v3 has g(P) <= 2 or g(R) <= 2 although the network's g(P) > 2 (the text; the "
        "caption says instead that gains are similar)",
        data=data_sets("I"),
        check=_taps_of_inception_differ,
    ),
    Claim(
        id="F20",
        paper="AAAI, figure E5; ICLR, figure C10; arXiv, figure B9",
        text="with one block widened, P, R and A grow at that tap and stay the same at two others",
        data=data_sets("I"),
        check=_only_the_widened_block_changes,
    ),
    Claim(
        id="F21",
        paper="AAAI, figure E6",
        text="uniform initial weights give the g(P), g(R) and accuracy of normal ones",
        data=data_sets("C"),
        check=_uniform_is_like_normal,
    ),
    Claim(
        id="F22",
        paper="AAAI, figure E7",
        text="on 10 dimensions g(P) and g(R) are the same at five scales of the initial weights",
        data=("uncorrelated10",),
        check=_gains_are_the_same_at_each_init,
    ),
    Claim(
        id="F23",
        paper="AAAI, figure E8",
        text="on 10,000 dimensions R of the widest is largest at the smallest initial weights and falls with their "
        "scale",
        data=("uncorrelated10000",),
        check=_small_init_is_more_redundant,
    ),
    Claim(
        id="F24",
        paper="AAAI, figure E9",
        text="on 10,000 dimensions P is the same with momentum, SGD and Adam at each width; R of the widest is "
        "highest with SGD",
        data=("uncorrelated10000",),
        check=_optimizers_prune_alike,
    ),
    Claim(
        id="F25",
        paper="AAAI, figures E10-E12",
        text="batch size and rate times 1/4, 1 or 4 (or the largest batch) give the same accuracy, g(P) and g(R); so "
        "do P and R at the last epochs",
        data=data_sets("CI"),
        check=_batches_and_last_epochs_do_not_matter,
    ),
    Claim(
        id="F27",
        paper="AAAI, section 4",
        text="g(P) is on the same side of 2 at tolerances of 0.1 to 0.5, g(R) at 0.05 to 0.15",
        data=data_sets("SCI"),
        check=_tolerances_do_not_matter,
    ),
    Claim(
        id="F28",
        paper="AAAI, section 4; ICLR, section 3",
        text="P, R, A and S are the same on training as on test data",
        data=data_sets("SCI"),
        check=_training_data_say_the_same,
    ),
    Claim(
        id="F29",
        paper="AAAI, appendix D",
        text="R differs between three samplings of positions by at most 1 % of its mean (standard deviation)",
        data=data_sets("CI"),
        check=_samplings_agree,
    ),
    Claim(
        id="F30",
        paper="AAAI, appendix B",
        text="in untrained networks prunable and redundant units double with width: g(P) = 2 and g(R) = 2",
        data=data_sets("SC"),
        check=_untrained_networks_double,
    ),
    Claim(
        id="F31",
        paper="AAAI, table 2",
        text="images of thin networks vary less in some blocks (more of them) and more in others; less in ResNet18's "
        "last and Inception's last block, more in Conv4 and the first 17x17 block",
        data=data_sets("I"),
        check=_some_thin_networks_are_easier_to_read,
    ),
)
