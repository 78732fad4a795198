"""Every claim of Casper et al. on runs in which it holds, in which it does not, and of too few seeds."""

import pytest
from planted_runs import growing, make_runs, sloping

from tfunits.configs import MeasureConfig, facts
from tfunits.reports.figures import CLAIMS, Outcome, Runs, judge_claims
from tfunits.reports.figures.claims import CONTRADICTIONS
from tfunits.reports.figures.claims.common import DATA

# As the scorecard has them: 5, 12 and 26 of the first paper are no checks.
IDS = [
    *(f"F{n:02}" for n in range(1, 32) if n not in (5, 12, 26)), *(f"V{n:02}" for n in range(1, 15)), "R13", "R18"
]  # fmt: skip

C, I = {"dataset": "cifar10"}, {"dataset": "imagenet2012"}  # noqa: E741
ALEXNET, RESNET56 = {"model": "alexnet", **C}, {"model": "resnet56", **C}
RESNET18, INCEPTION = {"model": "resnet18", **I}, {"model": "inception_v3", **I}
SMALL = {"model": "mlp", "dataset": "uncorrelated10"}
LARGE = {"model": "mlp", "dataset": "uncorrelated10000"}
RANDOM = {"random_labels": True}
STEM_TO_END = list(facts.MODELS["resnet18"].base_widths)
INCEPTION_TAPS = list(facts.MODELS["inception_v3"].base_widths)
FIRST, MIDDLE, LAST = facts.VARIED_BLOCK, "mixed_17x17x1280a", "mixed_8x8x2048b"
# Sizes of Inception-v3.
THIN = (0.25, 0.5, 1.0)
GOOD = {"P": growing(2.4), "R": growing(2.3, 0.3)}


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
        [(RESNET18, {"P": growing(2.6), "R": growing(2.2, 0.3)}), (INCEPTION, {"P": growing(2.6), "R": growing(2, 0.3)})],
        [(RESNET18, {"P": growing(2.1), "R": growing(2.4, 0.3)}), (INCEPTION, {"P": growing(2.6), "R": growing(2, 0.3)})],
    ),
    "F10": (in_depth(2.4, 2.2, 2.5, 2.3, 2.4), in_depth(2.1, 2.2, 2.3, 2.4, 2.5)),
    "F11": (cifar(), cifar(prunable=1.7)),
    "F13": (by_regularizer(), by_regularizer(dropout={"R": growing(3.1, 0.3)})),
    "F14": (
        by_initializer(glorot={"P": growing(2.6), "R": growing(2.2, 0.3)}, he={"P": growing(2.3), "R": growing(2.6, 0.3)}, lecun={}),
        by_initializer(glorot={"P": growing(2.2), "R": growing(2.2, 0.3)}, he={"P": growing(2.6), "R": growing(2.6, 0.3)}, lecun={}),
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
        [(ALEXNET, taps("r", {"conv1": sloping(0.1, 0.7), "conv2": sloping(0.1, 0.3), "fc3": sloping(0.1, 0.3), "fc4": sloping(0.1, 0.7)})),
         ({**ALEXNET, "regularizers": ["all"]}, taps("r", {"conv1": sloping(0.1, 0.7), "conv2": sloping(0.1, 0.3), "fc3": 0.4, "fc4": 0.8}))],
        [(ALEXNET, taps("r", {"conv1": sloping(-0.1, 0.7), "conv2": sloping(0.1, 0.3), "fc3": sloping(0.1, 0.3), "fc4": sloping(0.1, 0.7)}))],
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
