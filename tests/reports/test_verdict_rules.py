"""Rules of claims: each agrees, disagrees and cannot tell where it should, and noise does neither too often."""

import math

import numpy as np
import pytest

from tfunits.configs import Margins
from tfunits.reports.figures import Outcome, Verdict
from tfunits.reports.figures.rules import (
    all_of,
    any_of,
    combine,
    correct,
    decide_gain,
    decide_greater,
    decide_inside,
    decide_less,
    decide_same,
    decide_same_ratio,
)

AGREES, ABOVE, DISAGREES, CANNOT = (
    Outcome.AGREES, Outcome.NOT_ABOVE_UNTRAINED, Outcome.DISAGREES, Outcome.CANNOT_TELL
)  # fmt: skip


def by_seed(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


def verdict(outcome: Outcome, p: float = math.nan, name: str = "made") -> Verdict:
    """Evidence for or against, whichever the outcome speaks of."""
    found = {AGREES: (p, 1.0), ABOVE: (p, 1.0), DISAGREES: (1.0, p), CANNOT: (0.5, 0.5)}[outcome]
    return Verdict(check=name, outcome=outcome, p_for=found[0], p_against=found[1], numbers={"value": p})


@pytest.mark.parametrize(
    ("values", "outcome"),
    [((2.3, 2.4, 2.5), AGREES), ((1.7, 1.6, 1.5), DISAGREES), ((1.5, 2.5, 3.0), CANNOT), ((2.4, 2.5), CANNOT)],
)
def test_greater_and_less_mirror_each_other(values, outcome):
    found = decide_greater("g", by_seed(*values), 2)
    assert found.outcome == outcome
    mirrored = decide_less("g", by_seed(*(-value for value in values)), -2)
    assert (mirrored.outcome, mirrored.p_for, mirrored.p_against) == pytest.approx(
        (found.outcome, found.p_for, found.p_against), nan_ok=True
    )
    assert found.numbers["value"] == pytest.approx(np.mean(values))
    assert found.numbers["seeds"] == len(values)


def test_two_seeds_cannot_tell_and_say_so():
    found = decide_greater("g", by_seed(9.0, 9.1), 2)
    assert found.outcome == CANNOT
    assert found.reason == "3 seeds are needed, 2 have the numbers"
    assert decide_same("A", by_seed(1, 1, 1), by_seed(1), 0.1).reason == "3 seeds are needed, 1 has the numbers"
    # A gain of which every doubling had a zero is none.
    assert decide_greater("g", by_seed(9, 9, 9, math.nan), 2).numbers["seeds"] == 3
    assert decide_greater("g", by_seed(9, 9, math.nan), 2).outcome == CANNOT


def test_pairs_of_seeds_are_compared():
    """What seeds have in common hides nothing; without common seeds it does."""
    common = np.array([1.0, 2.0, 3.0])
    first, second = by_seed(*(common + [0.1, 0.11, 0.09])), by_seed(*common)
    found = decide_greater("P", first, than=second)
    assert found.outcome == AGREES
    assert (found.numbers["first"], found.numbers["second"]) == pytest.approx((2.1, 2.0))
    assert decide_greater("P", {seed + 9: value for seed, value in first.items()}, than=second).outcome == CANNOT


@pytest.mark.parametrize(
    ("values", "outcome"),
    [
        ((0.01, 0.0, -0.01), AGREES),
        ((0.2, 0.21, 0.19), DISAGREES),
        ((-0.2, -0.21, -0.19), DISAGREES),
        # Not significantly different from 0, which is not the same as the same.
        ((-0.1, 0.0, 0.1), CANNOT),
        # A difference, though a small one.
        ((0.02, 0.021, 0.019), AGREES),
    ],
)
def test_same_is_an_interval_inside_the_margin(values, outcome):
    second = by_seed(1.0, 2.0, 3.0)
    first = {seed: second[seed] + value for seed, value in enumerate(values)}
    assert decide_same("A", first, second, 0.05).outcome == outcome
    assert decide_inside("A", by_seed(*values), -0.05, 0.05).outcome == outcome


@pytest.mark.parametrize(
    ("factor", "outcome"), [(1.0, AGREES), (1.2, AGREES), (0.82, AGREES), (1.35, DISAGREES), (0.7, DISAGREES)]
)
def test_ratios_are_the_same_between_four_fifths_and_five_quarters(factor, outcome):
    second = {seed: 10 + 0.01 * seed for seed in range(4)}
    first = {seed: factor * value + 0.01 * (-1) ** seed for seed, value in second.items()}
    found = decide_same_ratio("P", first, second)
    assert found.outcome == outcome
    assert found.numbers["low"] <= factor <= found.numbers["high"]
    assert decide_same_ratio("P", second, first).outcome == outcome


def test_ratios_of_zeros_and_of_noise():
    zeros = by_seed(0, 0, 0)
    assert decide_same_ratio("S", zeros, zeros).outcome == AGREES
    assert decide_same_ratio("S", by_seed(1, 1.1, 1.2), zeros).outcome == DISAGREES
    assert decide_same_ratio("S", zeros, by_seed(1, 1.1, 1.2)).outcome == DISAGREES
    assert decide_same_ratio("S", by_seed(1, 5, 2), by_seed(4, 1, 3)).outcome == CANNOT


def test_a_gain_stands_beside_that_of_untrained_networks():
    gains = by_seed(2.3, 2.4, 2.5)
    options = {"untrained": by_seed(2.0, 2.0, 2.1), "on_means": 2.41}
    found = decide_gain("g", gains, **options)
    assert found.outcome == AGREES
    assert (found.numbers["on_means"], found.numbers["untrained"]) == pytest.approx((2.41, 6.1 / 3))
    options["untrained"] = by_seed(2.4, 2.3, 2.6)
    assert decide_gain("g", gains, **options).outcome == ABOVE
    missing = decide_gain("g", gains, untrained=None)
    assert missing.outcome == CANNOT
    assert "untrained networks" in missing.reason
    # Two of them are no better: that nothing shows the gain to be above theirs is not that it is not.
    few = decide_gain("g", gains, untrained={0: 2.0, 1: 2.1})
    assert (few.outcome, few.numbers["untrained"]) == (CANNOT, pytest.approx(2.05))
    # Below the bound no baseline is needed.
    assert decide_gain("g", by_seed(1.5, 1.6, 1.7), untrained=None).outcome == DISAGREES


def test_a_panel_agrees_if_all_do_and_disagrees_if_one_does():
    assert combine([verdict(AGREES), verdict(AGREES)]) == AGREES
    assert combine([verdict(AGREES), verdict(ABOVE)]) == ABOVE
    assert combine([verdict(AGREES), verdict(CANNOT)]) == CANNOT
    assert combine([verdict(AGREES), verdict(CANNOT), verdict(DISAGREES)]) == DISAGREES
    assert combine([]) == CANNOT


def test_holms_correction_makes_a_lonely_disagreement_undecided():
    curves = [verdict(DISAGREES, 0.03), verdict(DISAGREES, 0.001), verdict(AGREES, 0.001)]
    # By hand: 0.001 times 3 and 0.03 times 2.
    found = correct(curves)
    assert [v.outcome for v in found] == [CANNOT, DISAGREES, AGREES]
    assert found[0].reason == "against the claim only before Holm's correction for 3 curves (p = 0.06)"
    assert correct(curves[:1]) == curves[:1]
    assert correct(curves, Margins(confidence=0.9))[0].outcome == DISAGREES
    # A verdict without a test stays.
    assert correct([verdict(DISAGREES)])[0].outcome == DISAGREES


def test_conjunctions_and_disjunctions():
    both = all_of("order", [verdict(AGREES, 0.01, "one"), verdict(AGREES, 0.04, "two")])
    assert (both.outcome, both.check, both.p_for) == (AGREES, "order (two)", 0.04)
    assert all_of("order", [verdict(AGREES, 0.01), verdict(CANNOT)]).outcome == CANNOT
    refuted = all_of("order", [verdict(AGREES, 0.01), verdict(DISAGREES, 0.01, "two")])
    assert (refuted.outcome, refuted.p_against) == (DISAGREES, 0.02)
    assert all_of("order", [verdict(AGREES, 0.01), verdict(DISAGREES, 0.04)]).outcome == CANNOT
    one = any_of("some", [verdict(DISAGREES, 0.01), verdict(AGREES, 0.02, "two")])
    assert (one.outcome, one.check, one.p_for) == (AGREES, "some (two)", 0.04)
    assert any_of("some", [verdict(DISAGREES, 0.01), verdict(AGREES, 0.03)]).outcome == CANNOT
    none = any_of("some", [verdict(DISAGREES, 0.01), verdict(DISAGREES, 0.04)])
    assert (none.outcome, none.p_against) == (DISAGREES, 0.04)
    assert all_of("nothing", []).outcome == any_of("nothing", []).outcome == CANNOT


RULES = {
    "greater": lambda noise: decide_greater("", by_seed(*noise[0]), 0),
    "paired": lambda noise: decide_greater("", by_seed(*noise[0]), than=by_seed(*noise[1])),
    "edge of the margin": lambda noise: decide_inside("", by_seed(*(noise[0] + 3)), -3, 3),
    "edge of the ratio": lambda noise: decide_same_ratio("", by_seed(*(125 + noise[0])), by_seed(*(100 + noise[1]))),
    "one of six": lambda noise: any_of("", [decide_greater("", by_seed(*row), 0) for row in noise]),
    "all of six": lambda noise: all_of("", [decide_greater("", by_seed(*row), 0) for row in noise]),
    "panel of six": lambda noise: Verdict(
        check="", outcome=combine(correct([decide_greater("", by_seed(*row), 0) for row in noise]))
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_noise_seldom_agrees_and_seldom_disagrees(rule):
    """Where the truth lies on the border, each error has at most half of 1 - confidence; of six curves the whole."""
    rng = np.random.default_rng(1)
    trials = 200
    found = [RULES[rule](rng.normal(size=(6, 4))).outcome for _ in range(trials)]
    error = 0.05 if "six" in rule else 0.025
    allowed = error + 4 * math.sqrt(error * (1 - error) / trials)
    for outcome in (AGREES, DISAGREES):
        assert found.count(outcome) / trials <= allowed


def test_without_corrections_six_curves_err_too_often():
    """The negative control of the panel: one of six curves disagrees by chance."""
    rng = np.random.default_rng(1)
    panels = [[decide_greater("", by_seed(*row), 0) for row in rng.normal(size=(6, 4))] for _ in range(200)]
    assert np.mean([combine(panel) == DISAGREES for panel in panels]) > 0.1


def test_margins_decide():
    first, second = by_seed(0.50, 0.51, 0.52), by_seed(0.40, 0.41, 0.42)
    assert decide_same("A", first, second, Margins().area).outcome == DISAGREES
    assert decide_same_ratio("P", first, second, margins=Margins(ratio=1.1)).outcome == DISAGREES
    assert decide_same_ratio("P", first, second, margins=Margins(ratio=1.5)).outcome == AGREES
    values = by_seed(2.05, 2.2, 2.4)
    assert decide_greater("g", values, 2).outcome == CANNOT
    assert decide_greater("g", values, 2, margins=Margins(confidence=0.8)).outcome == AGREES
