"""Every claim of Casper et al. on runs in which it holds, in which it does not, and of too few seeds."""

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
from planted_runs import growing, make_runs, sloping

from tfunits.artifacts import RunDir
from tfunits.configs import MeasureConfig, VisualizationConfig, facts, resolve
from tfunits.reports.drawings import DRAWN, drawing_file, write_drawing
from tfunits.reports.figures import CLAIMS, FIGURES, Outcome, Runs, judge, judge_claims
from tfunits.reports.figures.checks import same_side
from tfunits.reports.figures.choosing import choose_learning_rate
from tfunits.reports.figures.claims import CONTRADICTIONS
from tfunits.reports.figures.claims.common import DATA
from tfunits.reports.figures.lines import Missing, find_batch_lines, find_groups, find_lines
from tfunits.reports.figures.rules import decide_greater
from tfunits.reports.records import RunRecord
from tfunits.statistics import AblationCurve

# As the scorecard has them: 5, 12 and 26 of the first paper are no checks.
IDS = [
    *(f"F{n:02}" for n in range(1, 32) if n not in (5, 12, 26)), *(f"V{n:02}" for n in range(1, 15)), "R13", "R18"
]  # fmt: skip

CIFAR, IMAGENET = {"dataset": "cifar10"}, {"dataset": "imagenet2012"}
ALEXNET, RESNET56 = {"model": "alexnet", **CIFAR}, {"model": "resnet56", **CIFAR}
RESNET18, INCEPTION = {"model": "resnet18", **IMAGENET}, {"model": "inception_v3", **IMAGENET}
SMALL = {"model": "mlp", "dataset": "uncorrelated10"}
LARGE = {"model": "mlp", "dataset": "uncorrelated10000"}
RANDOM = {"random_labels": True}
STEM_TO_END = list(facts.MODELS["resnet18"].base_widths)
INCEPTION_TAPS = list(facts.MODELS["inception_v3"].base_widths)
FIRST, MIDDLE, LAST = facts.VARIED_BLOCK, "mixed_17x17x768e", "mixed_8x8x2048b"
# Sizes of Inception-v3.
THIN = (0.25, 0.5, 1.0)


def gains(prunable, redundant):
    return {"P": growing(prunable), "R": growing(redundant, 0.3)}


GOOD = gains(2.4, 2.3)
# |r| of AlexNet's layers: high at both ends, and growing.
CORRELATED = {
    "conv1": sloping(0.1, 0.7),
    "conv2": sloping(0.1, 0.3),
    "fc3": sloping(0.1, 0.3),
    "fc4": sloping(0.1, 0.7),
}


def by_initializer(**planted):
    return [({**ALEXNET, "initializer": f"{name}_normal"}, {**GOOD, **found}) for name, found in planted.items()]


def by_regularizer(*, none=(), augmentation=(), dropout=(), weight_decay=(), everything=()):
    found = {
        "none": none,
        "augmentation": augmentation,
        "dropout": dropout,
        "weight_decay": weight_decay,
        "all": everything,
    }
    return [({**ALEXNET, "regularizers": [name]}, {**GOOD, **dict(planted)}) for name, planted in found.items()]


def by_scale(base, planted):
    return [
        ({**base, "init_scale": scale}, planted(number)) for number, scale in enumerate((0.01, 1.0, 100.0, 1e4, 1e6))
    ]


def by_optimizer(momentum, sgd, adam):
    names = {"momentum": momentum, "sgd": sgd, "adam": adam}
    return [({**LARGE, "optimizer": name}, planted) for name, planted in names.items()]


def by_k(base, *planted):
    return [({**base, "k": k}, {**GOOD, **found}) for k, found in zip((0.25, 1.0, 4.0), planted, strict=True)]


def cifar(prunable=2.4, exception=1.8):
    networks = [({**network, **labels}, dict(GOOD)) for network in (ALEXNET, RESNET56) for labels in ({}, RANDOM)]
    networks[0][1]["P"], networks[3][1]["P"] = growing(prunable), growing(exception)
    return networks


def perceptrons(gain=2.2, high=0.4):
    networks = [({**data, "init_scale": scale}, {"P": growing(gain), "R": growing(2.2, 0.3)})
                for data in (SMALL, LARGE) for scale in (0.01, 1.0)]  # fmt: skip
    networks[-1][1]["P"] = growing(gain, high)
    return networks


def taps(letter, values):
    return {f"{letter}@{tap}": value for tap, value in values.items()}


def in_depth(*gains):
    found = taps("P", {tap: growing(g) for tap, g in zip(STEM_TO_END, gains, strict=True)})
    return [
        (RESNET18, {**GOOD, **found, **taps("R", {t: growing(g) for t, g in zip(STEM_TO_END, gains, strict=True)})})
    ]


def many(tap_values, letters="ASC"):
    """The same order of taps by area, similarity and redundancy."""
    scale = {"A": 0.1, "S": 10.0, "C": 0.1}
    base = {"A": 0.5, "S": 1.0, "C": 0.1}
    name = {"C": "R"}
    return {f"{name.get(x, x)}@{tap}": base[x] + scale[x] * value for x in letters for tap, value in tap_values.items()}


S_RISES, S_FALLS = sloping(1.0, 5.0), sloping(-1.0, 5.0)
A_RISES, A_FALLS = sloping(0.05), sloping(-0.04)
C_RISES, C_FALLS = {"R": growing(2.2, 0.3)}, {"R": growing(1.8, 0.3)}
FLAT = {"P": 0.4, "R": 0.3}

# Claim -> networks in which it holds, networks in which it does not, and options of `make_runs`.
WORLDS = {
    "F01": ([(ALEXNET, {"acc": sloping(0.02)})], [(ALEXNET, {"acc": sloping(-0.03)})]),
    "F02": (
        [({**ALEXNET, **RANDOM}, {"train": 1.0}), ({**RESNET56, **RANDOM}, {"train": 1.0})],
        [({**ALEXNET, **RANDOM}, {"train": 0.9}), ({**RESNET56, **RANDOM}, {"train": 1.0})],
        {"noise": 0.0005},
    ),
    "F04": (by_initializer(glorot={"A": A_RISES}, he={}), by_initializer(glorot={"A": A_FALLS}, he={})),
    "F06": (
        by_initializer(glorot={"r": 0.3, "R": 0.2}, he={"r": sloping(0.1, 0.3), "R": 0.3}),
        by_initializer(glorot={"r": sloping(0.1, 0.3), "R": 0.3}, he={"r": 0.3, "R": 0.2}),
    ),
    "F09": (
        [(RESNET18, gains(2.6, 2.2)), (INCEPTION, gains(2.6, 2.0))],
        [(RESNET18, gains(2.1, 2.4)), (INCEPTION, gains(2.6, 2.0))],
    ),
    "F10": (in_depth(2.4, 2.2, 2.5, 2.3, 2.4), in_depth(2.1, 2.2, 2.3, 2.4, 2.5)),
    "F11": (cifar(), cifar(prunable=1.7)),
    "F13": (by_regularizer(), by_regularizer(dropout={"R": growing(3.1, 0.3)})),
    "F14": (
        by_initializer(glorot=gains(2.6, 2.2), he=gains(2.3, 2.6), lecun={}),
        by_initializer(glorot=gains(2.2, 2.2), he=gains(2.6, 2.6), lecun={}),
    ),
    "F15": (perceptrons(), perceptrons(1.7)),
    "F16": ([*perceptrons(2.1), (ALEXNET, {"P": growing(2.5), "R": growing(2.5, 0.3)})],
            [*perceptrons(2.4), (ALEXNET, {"P": growing(2.1), "R": growing(2.05, 0.3)})]),
    "F17": (perceptrons(high=0.3), perceptrons(high=0.55)),
    "F18": ([(ALEXNET, GOOD)], [(ALEXNET, {"P": growing(1.7), "R": growing(1.7, 0.3)})]),
    "F19": (
        [(INCEPTION, {**GOOD, **taps("R", {LAST: growing(1.7, 0.3)})})],
        [(INCEPTION, {**GOOD, **taps("P", dict.fromkeys(INCEPTION_TAPS, growing(2.4)))})],
        {"sizes": THIN},
    ),
    "F21": (
        [({**ALEXNET, "initializer": name}, GOOD) for name in ("glorot_uniform", "glorot_normal")],
        [({**ALEXNET, "initializer": name}, {**GOOD, "R": growing(gain, 0.3)})
         for name, gain in (("glorot_uniform", 2.8), ("glorot_normal", 2.3))],
    ),
    "F22": (by_scale(SMALL, lambda _: GOOD), by_scale(SMALL, lambda n: {**GOOD, "R": growing(2.2 + 0.2 * n, 0.3)})),
    "F23": (
        by_scale(LARGE, lambda n: {"R": 0.5 - 0.05 * n}),
        by_scale(LARGE, lambda n: {"R": 0.3 + 0.05 * n}),
    ),
    "F24": (by_optimizer({**FLAT}, {**FLAT, "R": 0.5}, {**FLAT}), by_optimizer({**FLAT}, {**FLAT, "R": 0.2}, {**FLAT})),
    "F25": (by_k(ALEXNET, {}, {}, {}), by_k(ALEXNET, {}, {}, {"acc": 0.3})),
    "F28": ([(ALEXNET, {"on_train": 1.05})], [(ALEXNET, {"on_train": 1.4})],
            {"measure": MeasureConfig(measured_splits=("test", "train"))}),
    "F29": ([(ALEXNET, {"spread": 0.005})], [(ALEXNET, {"spread": 0.1})]),
    "F30": ([(ALEXNET, {})], [(ALEXNET, {})], {}, {"untrained": {"R": growing(1.5, 0.3)}}),
    "V01": ([(ALEXNET, {"A": A_RISES, "S": S_FALLS}), (RESNET56, {"A": A_FALLS, "S": S_RISES})],
            [(ALEXNET, {"A": A_FALLS, "S": S_FALLS}), (RESNET56, {"S": S_RISES})]),
    "V02": ([(RESNET18, {"A": A_RISES}), (INCEPTION, {"A": A_RISES})], [(RESNET18, {"A": A_FALLS}), (INCEPTION, {})]),
    "V03": (
        [(RESNET18, {"S": S_RISES, **C_RISES}), (INCEPTION, {"S": S_FALLS, **C_FALLS})],
        [(RESNET18, {"S": S_RISES, **C_RISES}), (INCEPTION, {"S": S_RISES, **C_RISES})],
    ),
    "V04": (
        [({**RESNET56, **RANDOM}, {"S": 8.0}), (RESNET56, {"S": 4.0}), ({**ALEXNET, **RANDOM}, {"A": A_RISES})],
        [({**RESNET56, **RANDOM}, {"S": 3.0}), (RESNET56, {"S": 4.0}), ({**ALEXNET, **RANDOM}, {"A": A_RISES})],
    ),
    "V05": (
        by_initializer(glorot={"A": A_RISES}, he={"S": S_RISES, **C_RISES}, lecun={"A": A_RISES}),
        by_initializer(glorot={"A": A_RISES}, he={"S": S_RISES, "A": sloping(0.09)}, lecun={"A": A_RISES}),
    ),
    "V06": (
        by_initializer(lecun={"S": growing(5, 5)}, he={"S": growing(5, 5)}),
        by_initializer(lecun={"S": growing(5, 5)}, he={"S": 5.0}),
    ),
    "V07": (
        by_k(ALEXNET, {"R": 0.30}, {"R": 0.31}, {"R": 0.32}),
        by_k(ALEXNET, {"R": 0.30}, {"R": 0.31}, {"R": 0.32, "S": 9.0}),
    ),
    "V08": (
        by_scale(LARGE, lambda n: {"S": S_RISES, **C_RISES} if n == 0 else FLAT),
        by_scale(LARGE, lambda n: {"S": S_RISES, **C_RISES} if n in (0, 4) else FLAT),
    ),
    "V09": (
        by_scale(SMALL, lambda _: {"S": S_RISES, **C_RISES}),
        by_scale(SMALL, lambda n: {"S": S_RISES, **C_RISES, "A": sloping(0.02 * n)}),
    ),
    "V10": (
        [(RESNET56, many({"stem": 3, "stage1": 1, "stage2": 2, "stage3": 4}))],
        [(RESNET56, many({"stem": 3, "stage1": 4, "stage2": 1, "stage3": 2}))],
    ),
    "V11": (
        [(RESNET18, {**many({"stage4": 3}, "A"), **many({"stem": 3}, "SC")})],
        [(RESNET18, {**many({"stem": 3}, "A"), **many({"stem": 3}, "SC")})],
    ),
    "V12": (
        [(INCEPTION, {**many({FIRST: 1, MIDDLE: 2, LAST: 3}, "AC"), **many({FIRST: 1, MIDDLE: 2, LAST: 1}, "S")})],
        [(INCEPTION, {**many({FIRST: 3, MIDDLE: 2, LAST: 1}, "AC"), **many({FIRST: 1, MIDDLE: 2, LAST: 1}, "S")})],
        {"sizes": THIN},
    ),
    "V13": (
        by_optimizer({"S": sloping(1, 9)}, {"S": sloping(1, 5)}, {"S": sloping(1, 9)}),
        by_optimizer({"S": sloping(1, 5)}, {"S": sloping(1, 9)}, {"S": sloping(1, 9)}),
    ),
    "V14": (
        by_regularizer(
            none={"acc": 0.80, "A": sloping(0.02, 0.7), "S": sloping(1, 5)},
            augmentation={"acc": 0.85, "A": sloping(0.02, 0.65), "S": sloping(1, 4), "R": growing(2.3, 0.25)},
            dropout={"acc": 0.85, "A": sloping(0.02, 0.8), "S": sloping(1, 9)},
            weight_decay={"acc": 0.81, "A": sloping(0.02, 0.75), "S": sloping(1, 7)},
            everything={"acc": 0.88, "A": sloping(0.02, 0.8), "S": sloping(1, 9)},
        ),
        by_regularizer(
            none={"acc": 0.80, "A": sloping(0.02, 0.7), "S": sloping(1, 5)},
            augmentation={"acc": 0.85, "A": sloping(-0.02, 0.65), "S": sloping(1, 4), "R": growing(2.3, 0.25)},
            dropout={"acc": 0.75, "A": sloping(0.02, 0.8), "S": sloping(1, 9)},
            weight_decay={"acc": 0.81, "A": sloping(0.02, 0.75), "S": sloping(1, 7)},
            everything={"acc": 0.88, "A": sloping(0.02, 0.8), "S": sloping(1, 9)},
        ),
    ),
    "R13": (
        [
            (ALEXNET, taps("r", CORRELATED)),
            ({**ALEXNET, "regularizers": ["all"]}, taps("r", {**CORRELATED, "fc3": 0.4, "fc4": 0.8})),
        ],
        [(ALEXNET, taps("r", {**CORRELATED, "conv1": sloping(-0.1, 0.7)}))],
    ),
    "R18": (
        by_optimizer({"R": 0.5, "S": 9.0}, {"R": 0.3, "S": 4.0}, {"R": 0.4, "S": 7.0}),
        by_optimizer({"R": 0.2, "S": 9.0}, {"R": 0.3, "S": 4.0}, {"R": 0.4, "S": 7.0}),
    ),
}  # fmt: skip


def make_world(name: str, *, holds: bool, **options) -> Runs:
    networks, others, *more = WORLDS[name]
    chosen = {**(more[0] if more else {}), **(more[1] if len(more) > 1 and not holds else {}), **options}
    return make_runs(networks if holds else others, **chosen)


def outcome_of(name: str, runs: Runs) -> Outcome:
    judgements = judge_claims([CLAIMS[name]], "made", runs)
    assert all(judgement.on_papers_data for judgement in judgements)
    # The two synthetic data sets are judged apart.
    (outcome,) = {judgement.outcome for judgement in judgements}
    return outcome


def test_every_claim_of_the_three_papers_is_there():
    assert sorted(name for name in CLAIMS if name[0] != "D") == sorted(IDS)
    for name, claim in CLAIMS.items():
        assert name == claim.id
        assert set(claim.data) <= {dataset for found in DATA.values() for dataset in found} | {"cifar100"}
    assert {name for names in CONTRADICTIONS for name in names} <= set(CLAIMS)


@pytest.mark.parametrize("name", WORLDS)
def test_a_claim_agrees_where_it_holds(name):
    assert outcome_of(name, make_world(name, holds=True)) == Outcome.AGREES


@pytest.mark.parametrize("name", WORLDS)
def test_a_claim_disagrees_where_it_does_not(name):
    assert outcome_of(name, make_world(name, holds=False)) == Outcome.DISAGREES


@pytest.mark.parametrize("name", ["F01", "F10", "F14", "F22", "V05", "V12", "R13"])
def test_two_seeds_cannot_tell(name):
    assert outcome_of(name, make_world(name, holds=True, seeds=2)) == Outcome.CANNOT_TELL


def test_without_runs_no_claim_says_anything():
    nothing = make_runs([({"model": "fc5", "dataset": "digits_parity"}, {})], sizes=(1.0,))
    for judgement in judge_claims(CLAIMS.values(), "made", nothing):
        assert (judgement.outcome, judgement.data) == (Outcome.CANNOT_TELL, ())
        assert judgement.verdicts[0].reason == "there are no such runs"


def test_the_figure_of_perceptrons_is_compared_with_the_alexnets_beside_it():
    runs, alexnets = make_runs(perceptrons(2.1)), make_runs([(ALEXNET, {"P": growing(2.5), "R": growing(2.5, 0.3)})])
    figure = dataclasses.replace(FIGURES["frivolous/fig4d"], claims=("F01", "F16"))
    for beside, expected in ((alexnets.records, Outcome.AGREES), ((), Outcome.CANNOT_TELL)):
        judgements = judge(figure, dataclasses.replace(runs, beside=beside))
        assert [j.outcome for j in judgements if j.claim.id == "F16"] == [expected]
        assert all("AlexNet" not in verdict.check for j in judgements if j.claim.id == "F01" for verdict in j.verdicts)


def test_networks_that_somebody_tried_beside_it_are_no_curve():
    alexnets = make_runs([(ALEXNET, {"P": growing(2.5), "R": growing(2.5, 0.3)})])
    tried = make_runs([({**ALEXNET, "initializer": "he_normal"}, {"P": growing(1.2)})], seeds=1)
    runs = dataclasses.replace(make_runs(perceptrons(2.1)), beside=[*alexnets.records, *tried.records])
    [judgement] = judge(dataclasses.replace(FIGURES["frivolous/fig4d"], claims=("F16",)), runs)
    assert judgement.outcome == Outcome.AGREES


def test_blocks_of_inception_are_judged_as_they_are_drawn():
    for name in ("frivolous/figE4", "frivolous/figE5", "removable/figB8", "robustness/figC9"):
        for panel in FIGURES[name].panels:
            assert [curve.tap for curve in panel.curves] == [FIRST, MIDDLE, LAST], name


def test_redundant_units_on_unequal_rows_say_nothing_of_training_data():
    networks = [(ALEXNET, {"on_train": 1.4})]
    runs = make_runs(networks, measure=MeasureConfig(measured_splits=("test", "train")))

    def with_rows(test: int, train: int) -> Runs:
        rows = {"test": test, "train": train}
        records = [
            dataclasses.replace(
                record,
                statistics={
                    split: {tap: dataclasses.replace(units, num_rows=rows[split]) for tap, units in found.items()}
                    for split, found in record.statistics.items()
                },
            )
            for record in runs.records
        ]
        return dataclasses.replace(runs, records=records)

    for test, train, expected in (
        (10**5, 10**5, (Outcome.DISAGREES, ())),
        (100, 100, (Outcome.DISAGREES, ("rank-limited",))),
        (10**5, 100, (Outcome.CANNOT_TELL, ("rank-limited",))),
    ):
        [judgement] = judge_claims([CLAIMS["F28"]], "made", with_rows(test, train))
        [verdict] = [v for v in judgement.verdicts if v.check.startswith("R ")]
        assert (verdict.outcome, verdict.marks) == expected


def test_two_initial_scales_are_no_trend():
    """Spearman's correlation of two numbers is 1 or -1, in every seed."""
    networks = by_scale(LARGE, lambda n: {"R": 0.3 + 0.05 * n})
    [judgement] = judge_claims([CLAIMS["F23"]], "made", make_runs(networks[1:3]))
    assert judgement.outcome == Outcome.CANNOT_TELL
    apart = dataclasses.replace(
        (thin := make_runs(networks[:1], sizes=(0.25, 0.5))),
        records=[*thin.records, *make_runs(networks[1:], sizes=(1.0, 2.0)).records],
    )
    assert outcome_of("F23", apart) == Outcome.CANNOT_TELL


def test_last_epochs_say_nothing_of_the_batch():
    """Networks whose last epochs are measured have the usual batch alone."""
    runs = make_runs([(RESNET18, GOOD)])
    vars(runs)["dynamics"] = pd.concat([runs.frame.assign(epochs_to_end=left) for left in (8, 6, 4, 2, 0)])
    assert outcome_of("F25", runs) == Outcome.AGREES
    [judgement] = judge_claims([CLAIMS["F25"]], "made", make_runs(by_k(RESNET18, {}, {}, {})[:2]))
    assert "there are no such runs" in {verdict.reason for verdict in judgement.verdicts}


def with_layer_sizes(networks, layer_planted, **options) -> Runs:
    """ImageNet's networks, and Inception-v3 with one block of several widths."""
    layer = make_runs([(INCEPTION, layer_planted)], sizes=(2.0, 4.0), x="layer_size", **options)
    return dataclasses.replace(layer, records=[*make_runs(networks, sizes=THIN, **options).records, *layer.records])


@pytest.mark.parametrize(
    ("name", "resnet", "inception", "layer", "outcome"),
    [
        ("F07", 2.4, 2.3, 2.2, Outcome.AGREES),
        ("F07", 2.4, 2.3, 1.8, Outcome.DISAGREES),
        ("F07", 2.4, 1.9, 2.2, Outcome.DISAGREES),
        ("F08", 2.3, 1.9, 2.2, Outcome.AGREES),
        ("F08", 2.3, 2.2, 2.2, Outcome.DISAGREES),
        ("F08", 2.9, 1.9, 2.2, Outcome.DISAGREES),
        ("F08", 1.8, 1.9, 2.2, Outcome.DISAGREES),
    ],
)
def test_gains_on_imagenet_with_one_varied_block(name, resnet, inception, layer, outcome):
    """The varied block's own units count, against its own width."""
    # At its common width the block is that of the network of size 1.
    block = {f"P@{FIRST}": 0.4, f"R@{FIRST}": growing(inception, 0.3)}
    networks = [(RESNET18, gains(resnet, resnet)), (INCEPTION, {**gains(inception, inception), **block})]
    varied = {f"P@{FIRST}": growing(layer), f"R@{FIRST}": growing(layer, 0.3)}
    assert outcome_of(name, with_layer_sizes(networks, varied)) == outcome


def test_only_the_widened_block_changes():
    widened = {f"P@{FIRST}": growing(2.2), f"R@{FIRST}": growing(2.2, 0.3)}
    others = {f"P@{MIDDLE}": 0.4, f"P@{LAST}": 0.5, f"A@{MIDDLE}": 0.6}
    # Of a curve that is planted by its crossing the area grows with it.
    runs = make_runs([(INCEPTION, {**widened, **others})], x="layer_size")
    assert outcome_of("F20", runs) == Outcome.AGREES
    changed = make_runs([(INCEPTION, {**widened, **others, f"R@{LAST}": growing(2.8, 0.3)})], x="layer_size")
    assert outcome_of("F20", changed) == Outcome.DISAGREES


def test_a_tap_without_a_gain_has_no_place_in_a_trend():
    """Four units of equal variance are never redundant: all doublings are left out."""
    ones = dict.fromkeys(("mean", "std", "principal_variances", "num_similar"), np.ones((1, 4)))
    few = {**ones, "constant": np.zeros((1, 4), bool), "active_share": np.ones(4), "selectivity": np.ones(4)}
    runs = make_runs(in_depth(2.1, 2.2, 2.3, 2.4, 2.5))
    records = [
        dataclasses.replace(
            record,
            statistics={
                split: {tap: dataclasses.replace(u, **few) if tap == "stage2" else u for tap, u in found.items()}
                for split, found in record.statistics.items()
            },
        )
        for record in runs.records
    ]
    [judgement] = judge_claims([CLAIMS["F10"]], "made", dataclasses.replace(runs, records=records))
    [verdict] = [v for v in judgement.verdicts if v.check.startswith("no trend of g(R)")]
    assert (verdict.outcome, verdict.numbers["seeds"]) == (Outcome.CANNOT_TELL, 0)


def with_curve(runs: Runs, fractions, agreement) -> Runs:
    """The runs with another joint ablation curve, of as many draws as rows."""
    curve = AblationCurve(
        num_units=4, num_examples=100, fractions=np.array(fractions), num_agreeing=np.array(agreement)
    )
    key = ("test", "channel")
    records = [
        dataclasses.replace(record, curves={key: {**record.curves[key], "network": curve}}) for record in runs.records
    ]
    return dataclasses.replace(runs, records=records)


def test_agreement_falls_step_by_step():
    runs = make_runs([(ALEXNET, {})])
    assert outcome_of("F03", with_curve(runs, [0, 0.5, 1], [[100, 60, 20]])) == Outcome.AGREES
    # A wiggle of half a point is none.
    assert (
        outcome_of("F03", with_curve(runs, [0, 0.3, 0.6, 1], [[100, 60, 60, 10], [100, 60, 61, 10]])) == Outcome.AGREES
    )
    assert outcome_of("F03", with_curve(runs, [0, 0.3, 0.6, 1], [[100, 20, 40, 10]])) == Outcome.DISAGREES
    assert outcome_of("F03", with_curve(runs, [0, 0.5, 1], [[100, 100, 100]])) == Outcome.CANNOT_TELL


def test_gains_stay_on_their_side_of_2_at_every_tolerance():
    assert outcome_of("F27", make_runs([(ALEXNET, {**GOOD, "P": growing(2.4, 0.22)})])) == Outcome.AGREES
    found = {2.4: {0: 2.4, 1: 2.41, 2: 2.39}, 1.6: {0: 1.6, 1: 1.61, 2: 1.59}, 2.0: {0: 2.4, 1: 1.6, 2: 2.0}}
    above, below, unknown = (decide_greater("", values, 2) for values in found.values())
    assert same_side([above, above]).outcome == Outcome.AGREES
    assert same_side([below, below]).outcome == Outcome.AGREES
    assert same_side([above, below]).outcome == Outcome.DISAGREES
    assert same_side([above, unknown]).outcome == Outcome.CANNOT_TELL


def test_images_of_thin_networks(tmp_path):
    """Blocks whose thin images vary less, and some whose vary more; in the second world the other way round."""
    taps_of = {"resnet18": ("stage1", "stage2", "stage4"), "inception_v3": (LAST, "conv4", "mixed_17x17x768a")}
    rng = np.random.default_rng(0)
    board = (np.indices((4, 4)).sum(axis=0) % 2)[..., None]

    def draw(root, reverse: bool) -> Runs:
        records = []
        for model, seed, thin in itertools.product(taps_of, range(3), (True, False)):
            config = resolve({"model": model, **IMAGENET, "size": 0.25 if thin else 1.0, "seed": seed})
            run_dir = RunDir.of(config, root)
            for tap in taps_of[model]:
                varies_less = tap not in ("conv4", "mixed_17x17x768a")
                size = 1.0 if not thin else 0.5 if varies_less != reverse else 1.5
                images = (0.5 * size * board * rng.uniform(0.8, 1, (8, 4, 4, 1))).astype("float32")
                options = VisualizationConfig()
                write_drawing(
                    drawing_file(run_dir.visualizations, options, tap), options.drawing_settings(tap), tap=tap,
                    kind=DRAWN, units=range(8), images=images, values=np.ones(8), failures={},
                )  # fmt: skip
            records.append(
                RunRecord(run_dir=run_dir, config=config, state="finished", accuracy={}, curves={}, statistics={})
            )
        return Runs(records=records)

    assert outcome_of("F31", draw(tmp_path / "as claimed", reverse=False)) == Outcome.AGREES
    assert outcome_of("F31", draw(tmp_path / "reversed", reverse=True)) == Outcome.DISAGREES


def test_a_gain_of_two_seldom_convinces():
    """The negative control of gains: three curves of proportional growth, with noise between seeds."""
    networks = by_initializer(glorot={"P": 0.4, "R": 0.3}, he={"P": 0.4, "R": 0.3}, lecun={"P": 0.4, "R": 0.3})
    found = [outcome_of("F14", make_runs(networks, noise=0.05, seed=seed)) for seed in range(6)]
    assert Outcome.AGREES not in found
    assert found.count(Outcome.DISAGREES) <= 1


def test_lines_are_found_among_all_runs_of_a_root():
    """Presets that go with a condition do not set a network apart; what a user changed does."""
    networks = [
        (ALEXNET, {}), ({**ALEXNET, **RANDOM}, {}), ({**ALEXNET, "regularizers": ["all"]}, {}),
        ({**ALEXNET, "epochs": 3}, {}), ({**ALEXNET, "dataset": "digits"}, {}), ({**RESNET56, "k": 4.0}, {}),
    ]  # fmt: skip
    runs = make_runs(networks)
    assert [line.label for line in find_lines(runs, model="alexnet", dataset="cifar10")] == ["AlexNet", "AlexNet"]
    assert find_lines(runs, model="resnet56") == []
    groups = find_groups(runs, "regularizers", ("none", "weight_decay"), model="alexnet", dataset="cifar10")
    assert len(groups) == 2
    assert [group["weight_decay"] for group in groups] == 2 * [Missing(label="AlexNet, weight decay")]
    (line,) = find_lines(runs, model="alexnet", random_labels=True)
    assert (line.label, line.widths, line.thinnest, line.widest) == ("AlexNet, random labels", [1, 2, 4], 1, 4)
    # An untrained network has seen no labels: it is the baseline of both.
    assert {width: len(found) for width, found in line.baseline.items()} == {1: 3, 2: 3, 4: 3}
    assert find_lines(make_runs(networks[:1], untrained=None), model="alexnet")[0].baseline == {}


def test_the_best_learning_rate_on_validation_data_stands_at_each_width():
    runs = make_runs(
        [
            ({**SMALL, "learning_rate": 1.0}, {"acc": lambda size: 0.5 if size < 4 else 0.9, "P": 0.3}),
            ({**SMALL, "learning_rate": 0.1}, {"acc": 0.7, "P": 0.6}),
        ],
        noise=0,
    )
    (line,) = find_lines(runs, model="mlp")
    assert [line.records[line.members[width][0]].config.training.learning_rate for width in (1, 2, 4)] == [0.1, 0.1, 1]
    # Prunable units count against those at size 4.
    assert line.values("P", 2.0) == pytest.approx(dict.fromkeys(range(3), 0.6 * 2 / 4), rel=1e-5)
    diverged = [
        dataclasses.replace(record, accuracy={}) if record.config.training.learning_rate == 1 else record
        for record in runs.records
    ]
    (line,) = find_lines(dataclasses.replace(runs, records=diverged), model="mlp")
    assert {record.config.training.learning_rate for record in line.records.values()} == {0.1}


def test_verdicts_on_another_training_than_the_papers_bear_it():
    def marks(**given) -> set[tuple[str, ...]]:
        [judgement] = judge_claims([CLAIMS["F18"]], "made", make_runs([({**ALEXNET, **given}, GOOD)]))
        return {tuple(verdict.marks) for verdict in judgement.verdicts}

    assert marks() == marks(regularizers=["all"]) == marks(k=4.0) == {()}
    usual = resolve(ALEXNET).training.epochs
    assert marks(epochs=3) == {(f"epochs 3, not {usual}",)}
    # Of perceptrons several rates are tried.
    [line] = find_lines(make_runs([({**SMALL, "learning_rate": 0.01}, {})]), model="mlp")
    assert line.marks("P") == ()


def test_equal_rates_that_differ_by_rounding_are_chosen_as_figures_choose_them():
    seeds = ({0: 0.1, 1: 0.2, 2: 0.3}, {0: 0.3, 1: 0.2, 2: 0.1})
    runs = make_runs([({**SMALL, "learning_rate": rate}, {}) for rate in (1.0, 0.1)], noise=0, untrained=None)
    for first, second in (seeds, seeds[::-1]):
        planted = {1.0: first, 0.1: second}
        records = [
            dataclasses.replace(
                record, accuracy={"validation": {"accuracy": planted[training.learning_rate][training.seed]}}
            )
            for record in runs.records
            if (training := record.config.training)
        ]
        every = dataclasses.replace(runs, records=records)
        (line,) = find_lines(every, model="mlp")
        assert {record.config.training.learning_rate for record in line.records.values()} == {1.0}
        assert set(line.records) == set(choose_learning_rate(every).settings.index)


def test_the_largest_batch_of_each_width_is_a_line_of_its_own():
    networks = by_k(RESNET18, {}, {}, {})
    runs = make_runs(networks)
    thin = make_runs([({**RESNET18, "k": 16.0}, GOOD)], sizes=(1.0, 2.0))
    every = dataclasses.replace(runs, records=[*runs.records, *thin.records])
    (group,) = find_batch_lines(every, (0.25, 1.0, 4.0), model="resnet18")
    factors = [group["largest"].records[group["largest"].members[w][0]].config.training.k for w in (1, 2, 4)]
    assert factors == [16, 16, 4]
    (group,) = find_batch_lines(runs, (0.25, 1.0, 4.0), model="resnet18")
    assert "largest" not in group


def test_every_claim_belongs_to_a_figure():
    named = {claim for figure in FIGURES.values() for claim in figure.claims}
    assert set(IDS) <= named
