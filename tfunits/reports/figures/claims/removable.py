"""What Casper et al. 2019 (arXiv, "Removable and/or repeated units") claim about their figures, and their ICLR version
about the same ones: V01 to V14."""

import itertools
from collections.abc import Callable, Sequence

from tfunits.configs import Margins, facts
from tfunits.reports.figures.checks import (
    falls,
    flat,
    greater_at_each_width,
    greater_at_widest,
    greater_mean,
    less_mean,
    of_line,
    of_lines,
    rises,
    same_at_each_width,
    same_sign_of_change,
)
from tfunits.reports.figures.claims.common import data_sets, find_line, find_or_miss, on_each_data_set
from tfunits.reports.figures.claims.frivolous_appendix import (
    BATCH_FACTORS,
    INCEPTION_TAPS,
    INIT_FACTORS,
    INITIALIZERS,
    OPTIMIZERS,
    PAST_EPOCHS,
    compare_past_epochs,
)
from tfunits.reports.figures.lines import (
    ALL_REGULARIZERS,
    CONDITIONS,
    Line,
    Missing,
    find_batch_lines,
    find_groups,
    find_lines,
)
from tfunits.reports.figures.rules import all_of, any_of, decide_greater, decide_inside
from tfunits.reports.figures.runs import Runs
from tfunits.reports.figures.verdicts import Claim, Verdict
from tfunits.reports.plots import size_label

_NORMALS = tuple(f"{name}_normal" for name in INITIALIZERS)
_SHALLOW = ("mlp", "fc5")


def either_rises(line: Line | Missing, margins: Margins) -> Verdict:
    """D(A) > 0 or D(S) > 0."""

    def decide(line: Line) -> Verdict:
        each = [decide_greater(f"D({letter})", line.changes(letter), margins=margins) for letter in ("A", "S")]
        return any_of("", each, margins=margins)

    return of_line("D(A) > 0 or D(S) > 0", line, "A", decide)


@on_each_data_set
def _deep_networks_are_removable_or_repeated(runs: Runs, margins: Margins) -> list[Verdict]:
    lines = find_lines(runs, free=CONDITIONS, model=lambda model: model not in _SHALLOW)
    return [either_rises(line, margins) for line in lines]


@on_each_data_set
def _imagenet_networks_are_more_removable(runs: Runs, margins: Margins) -> list[Verdict]:
    return [rises(find_line(runs, model=model), "A", margins) for model in ("resnet18", "inception_v3")]


@on_each_data_set
def _imagenet_networks_repeat_differently(runs: Runs, margins: Margins) -> list[Verdict]:
    resnet, inception = (find_line(runs, model=model) for model in ("resnet18", "inception_v3"))
    rising = [rises(resnet, letter, margins) for letter in ("S", "C")]
    return [*rising, *(falls(inception, letter, margins) for letter in ("S", "C"))]


@on_each_data_set
def _random_labels_make_resnets_repeat(runs: Runs, margins: Margins) -> list[Verdict]:
    free = ("regularizers",)
    verdicts = []
    for line in find_lines(runs, free=free, model="resnet56", random_labels=True):
        true_labels = find_or_miss(runs, free=free, model="resnet56", random_labels=False)
        verdicts.append(flat(line, "A", margins))
        verdicts += [greater_at_widest(line, other, "S", margins) for other in true_labels]
    lines = find_lines(runs, free=free, model="alexnet", random_labels=True)
    return verdicts + [either_rises(line, margins) for line in lines]


@on_each_data_set
def _he_networks_repeat_instead(runs: Runs, margins: Margins) -> list[Verdict]:
    verdicts = []
    for lines in find_groups(runs, "initializer", _NORMALS, model="alexnet"):
        glorot, he, lecun = (lines[initializer] for initializer in _NORMALS)
        verdicts += [rises(glorot, "A", margins), rises(lecun, "A", margins), flat(he, "A", margins)]
        verdicts += [rises(he, letter, margins) for letter in ("S", "C")]
    return verdicts


@on_each_data_set
def _similarity_more_than_doubles_once(runs: Runs, margins: Margins) -> list[Verdict]:
    def decide(line: Line) -> Verdict:
        doublings = [(width, 2 * width) for width in line.widths if 2 * width in line.members]
        each = []
        for thin, wide in doublings:
            twice = {seed: 2 * value for seed, value in line.values("S", thin).items()}
            check = f"{size_label(wide)}x against twice {size_label(thin)}x"
            each.append(decide_greater(check, line.values("S", wide), than=twice, margins=margins))
        return any_of("", each, margins=margins)

    return [
        of_line("S(2w) > 2 S(w) at some doubling", lines[f"{name}_normal"], "S", decide)
        for lines in find_groups(runs, "initializer", _NORMALS, model="alexnet")
        for name in ("lecun", "he")
    ]


@on_each_data_set
def _training_choices_do_not_matter(runs: Runs, margins: Margins) -> list[Verdict]:
    verdicts = []
    for line in find_lines(runs, model=("resnet18", "inception_v3", "resnet56", "alexnet")):
        verdicts += compare_past_epochs(line, ("A", "S", "C"), PAST_EPOCHS, margins)
    for name in INITIALIZERS:
        values = [f"{name}_uniform", f"{name}_normal"]
        for lines in find_groups(runs, "initializer", values, model="alexnet"):
            pair = [lines[value] for value in values]
            if all(isinstance(line, Line) for line in pair):
                verdicts += [same_at_each_width(*pair, letter, margins) for letter in ("A", "S", "C")]
    for model in ("resnet18", "resnet56", "alexnet"):
        for lines in find_batch_lines(runs, BATCH_FACTORS, model=model):
            others = [name for name, line in lines.items() if name != 1.0 and isinstance(line, Line)]
            verdicts += [same_at_each_width(lines[name], lines[1.0], x, margins) for name in others for x in ("A", "S")]
            if {min(BATCH_FACTORS), max(BATCH_FACTORS)} <= set(others):
                verdicts.append(_slightly_more(lines[max(BATCH_FACTORS)], lines[min(BATCH_FACTORS)], "C", margins))
    return verdicts


def _slightly_more(first: Line | Missing, second: Line | Missing, letter: str, margins: Margins) -> Verdict:
    """X of the first line, averaged over widths, is above that of the second by less than the margin of X."""
    margin = {"C": margins.compressibility, "acc": margins.accuracy}[letter]
    return of_lines(
        f"{letter} slightly more (0 to {margin:g})",
        (first, second),
        letter,
        lambda one, other: decide_inside("", one.means(letter), 0, margin, than=other.means(letter), margins=margins),
    )


@on_each_data_set
def _on_10000_dimensions_small_weights_repeat(runs: Runs, margins: Margins) -> list[Verdict]:
    verdicts = []
    for lines in find_groups(runs, "init_scale", INIT_FACTORS, model="mlp"):
        verdicts += [flat(lines[factor], letter, margins) for factor in INIT_FACTORS for letter in ("acc", "A")]
        verdicts += [rises(lines[min(INIT_FACTORS)], letter, margins) for letter in ("S", "C")]
        verdicts += [flat(lines[max(INIT_FACTORS)], letter, margins) for letter in ("S", "C")]
    return verdicts


@on_each_data_set
def _on_10_dimensions_all_repeat(runs: Runs, margins: Margins) -> list[Verdict]:
    verdicts = []
    for lines in find_groups(runs, "init_scale", INIT_FACTORS, model="mlp"):
        for line in (lines[factor] for factor in INIT_FACTORS):
            verdicts += [flat(line, letter, margins) for letter in ("acc", "A")]
            verdicts += [rises(line, letter, margins) for letter in ("S", "C")]
    return verdicts


def _highest(
    line: Line | Missing, letter: str, highest: Sequence[str], others: Sequence[str], margins: Margins
) -> Verdict:
    """X of each of some taps of the widest network is above that of each other one."""

    def decide(line: Line) -> Verdict:
        values = {tap: line.values(letter, line.widest, tap=tap) for tap in (*highest, *others)}
        return all_of(
            "",
            [
                decide_greater(f"{high} above {low}", values[high], than=values[low], margins=margins)
                for high, low in itertools.product(highest, others)
            ],
            margins=margins,
        )

    what = " and ".join(highest)
    width = f" at {size_label(line.widest)}x" if isinstance(line, Line) else ""
    return of_line(f"{letter} highest in {what}{width}", line, letter, decide)


@on_each_data_set
def _stem_and_last_stage_lead_in_resnet56(runs: Runs, margins: Margins) -> list[Verdict]:
    line = find_line(runs, model="resnet56")
    stem, *middle, last = facts.MODELS["resnet56"].base_widths
    return [_highest(line, letter, (stem, last), middle, margins) for letter in ("A", "S", "C")]


@on_each_data_set
def _last_stage_is_removable_and_stem_repeats_in_resnet18(runs: Runs, margins: Margins) -> list[Verdict]:
    line = find_line(runs, model="resnet18")
    taps = list(facts.MODELS["resnet18"].base_widths)
    highest = {"A": taps[-1], "S": taps[0], "C": taps[0]}
    return [
        _highest(line, letter, (top,), [tap for tap in taps if tap != top], margins) for letter, top in highest.items()
    ]


@on_each_data_set
def _inception_taps_are_ordered(runs: Runs, margins: Margins) -> list[Verdict]:
    line = find_line(runs, model="inception_v3")

    def ordered(letter: str) -> Callable[[Line], Verdict]:
        def decide(line: Line) -> Verdict:
            values = {tap: line.values(letter, line.widest, tap=tap) for tap in INCEPTION_TAPS}
            return all_of(
                "",
                [
                    decide_greater(f"{later} above {sooner}", values[later], than=values[sooner], margins=margins)
                    for sooner, later in itertools.pairwise(INCEPTION_TAPS)
                ],
                margins=margins,
            )

        return decide

    first, middle, last = INCEPTION_TAPS
    rising = [of_line(f"{x} rises from 35x35 over 17x17 to 8x8", line, x, ordered(x)) for x in ("A", "C")]
    return [*rising, _highest(line, "S", (middle,), (first, last), margins)]


@on_each_data_set
def _sgd_repeats_least(runs: Runs, margins: Margins) -> list[Verdict]:
    verdicts = []
    for lines in find_groups(runs, "optimizer", OPTIMIZERS, model="mlp"):
        for line in (lines[name] for name in OPTIMIZERS):
            verdicts += [flat(line, "acc", margins), flat(line, "A", margins), rises(line, "S", margins)]
        verdicts += [greater_at_widest(lines[o], lines["sgd"], "S", margins) for o in ("momentum", "adam")]
    return verdicts


@on_each_data_set
def _regularizers_shift_but_keep_trends(runs: Runs, margins: Margins) -> list[Verdict]:
    names = (*facts.REGULARIZERS, ALL_REGULARIZERS)
    verdicts = []
    for lines in find_groups(runs, "regularizers", ("none", *names), model="alexnet"):
        none, dropout, decay = (lines[name] for name in ("none", "dropout", "weight_decay"))
        verdicts += [greater_at_each_width(lines[name], none, "acc", margins) for name in names]
        verdicts.append(_slightly_more(decay, none, "acc", margins))
        verdicts += [
            same_sign_of_change(lines[name], none, letter, margins) for name in names for letter in ("A", "S", "C")
        ]
        for letter in ("A", "S"):
            verdicts += [
                greater_mean(dropout, none, letter, margins),
                greater_mean(decay, none, letter, margins),
                greater_mean(dropout, decay, letter, margins),
            ]
        verdicts += [less_mean(lines["augmentation"], none, letter, margins) for letter in ("A", "C", "S")]
    return verdicts


CLAIMS = (
    Claim(
        id="V01",
        paper="arXiv, section 2.4",
        text="every deep network becomes more removable or more repeated with width: D(A) > 0 or D(S) > 0",
        data=data_sets("CI"),
        check=_deep_networks_are_removable_or_repeated,
    ),
    Claim(
        id="V02",
        paper="arXiv, figure 4a; ICLR, figure 3a",
        text="ResNet18 and Inception-v3 become more removable with width: D(A) > 0",
        data=data_sets("I"),
        check=_imagenet_networks_are_more_removable,
    ),
    Claim(
        id="V03",
        paper="arXiv, figure 4b; ICLR, figures 3b-c",
        text="S and C grow with width in ResNet18 and fall in Inception-v3",
        data=data_sets("I"),
        check=_imagenet_networks_repeat_differently,
    ),
    Claim(
        id="V04",
        paper="arXiv, figure 5; ICLR, figure 4",
        text="on random labels ResNet56 has a flat A and a larger S than on true ones; AlexNet has D(A) > 0 or D(S) > "
        "0",
        data=data_sets("C"),
        check=_random_labels_make_resnets_repeat,
    ),
    Claim(
        id="V05",
        paper="arXiv, figure 6a; ICLR, figure 5",
        text="D(A) > 0 for Glorot and LeCun AlexNets; He ones have a flat A while D(S) > 0 and D(C) > 0",
        data=data_sets("C"),
        check=_he_networks_repeat_instead,
    ),
    Claim(
        id="V06",
        paper="arXiv, figure 6b; ICLR, figure 5c",
        text="in LeCun and He AlexNets S more than doubles at some doubling of width",
        data=data_sets("C"),
        check=_similarity_more_than_doubles_once,
    ),
    Claim(
        id="V07",
        paper="arXiv, figures B2-B3, B12-B13; ICLR, figures C3-C4, C13-C14",
        text="A, S and C are the same at the last epochs and for uniform and normal initial weights; A and S at every "
        "k, where C is slightly higher at a higher one",
        data=data_sets("CI"),
        check=_training_choices_do_not_matter,
    ),
    Claim(
        id="V08",
        paper="arXiv, figure B4; ICLR, figure C5",
        text="on 10,000 dimensions accuracy and A are flat at each initialisation; S and C grow with width at the "
        "smallest and are flat at the largest",
        data=("uncorrelated10000",),
        check=_on_10000_dimensions_small_weights_repeat,
    ),
    Claim(
        id="V09",
        paper="arXiv, figure B5; ICLR, figure C6",
        text="on 10 dimensions accuracy and A are flat and S and C grow with width, at each initialisation",
        data=("uncorrelated10",),
        check=_on_10_dimensions_all_repeat,
    ),
    Claim(
        id="V10",
        paper="arXiv, figure B6; ICLR, figure C7",
        text="in the widest ResNet56 stem and last stage have the two highest A, S and C",
        data=data_sets("C"),
        check=_stem_and_last_stage_lead_in_resnet56,
    ),
    Claim(
        id="V11",
        paper="arXiv, figure B7; ICLR, figure C8",
        text="in the widest ResNet18 the last stage has the highest A, the stem the highest S and C",
        data=data_sets("I"),
        check=_last_stage_is_removable_and_stem_repeats_in_resnet18,
    ),
    Claim(
        id="V12",
        paper="arXiv, figure B8; ICLR, figure C9",
        text="in the widest Inception-v3 A and C rise from the 35x35 over the 17x17 to the 8x8 block; S is highest in "
        "the 17x17 one",
        data=data_sets("I"),
        check=_inception_taps_are_ordered,
    ),
    Claim(
        id="V13",
        paper="arXiv, figure B11",
        text="on 10,000 dimensions accuracy and A are flat and S grows with each optimiser; S of the widest is larger "
        "with momentum and Adam than with SGD",
        data=("uncorrelated10000",),
        check=_sgd_repeats_least,
    ),
    Claim(
        id="V14",
        paper="arXiv, figure B10; ICLR, figure C11",
        text="each regulariser raises accuracy (decay slightly) and keeps the signs of D(A), D(S) and D(C); dropout "
        "raises A and S, decay less, augmentation lowers A, C and S",
        data=data_sets("C"),
        check=_regularizers_shift_but_keep_trends,
    ),
)
