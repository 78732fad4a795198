"""Which of several learning rates a figure draws."""

import pandas as pd
import pytest
from made_records import make_record

from tfunits.reports.figures import Runs
from tfunits.reports.figures.choosing import choose_learning_rate, fix_learning_rate

# Rate -> validation accuracy of two seeds: the best single seed is at 1, the best mean at 0.1 and 0.01 alike.
VALIDATION = {1.0: (0.9, 0.5), 0.1: (0.75, 0.85), 0.01: (0.85, 0.75), 0.001: (0.7, 0.7)}


def record(rate, seed, validation=0.0, **given):
    fields = {"model": "mlp", "dataset": "uncorrelated10", "learning_rate": rate, "seed": seed}
    # Test accuracy points the other way: it must not choose.
    accuracy = {"train": 1.0, "validation": validation, "test": 1 - validation}
    return make_record({**fields, **given}, accuracy=accuracy)


def candidates(validation=VALIDATION, **given):
    return [record(rate, seed, v, **given) for rate, values in validation.items() for seed, v in enumerate(values)]


def rates(runs):
    return sorted((r.config.model.size, r.config.training.learning_rate, r.config.training.seed) for r in runs.records)


def test_the_best_mean_over_seeds_is_chosen_and_the_largest_of_equal_ones():
    assert rates(choose_learning_rate(Runs(records=candidates()))) == [(1, 0.1, 0), (1, 0.1, 1)]


def test_every_width_and_setting_has_its_own_rate():
    other = {1.0: (0.1, 0.1), 0.001: (0.2, 0.2)}
    records = candidates() + candidates(other, size=2.0) + candidates(other, optimizer="adam")
    chosen = choose_learning_rate(Runs(records=records))
    assert rates(chosen) == [(1, 0.001, 0), (1, 0.001, 1), (1, 0.1, 0), (1, 0.1, 1), (2, 0.001, 0), (2, 0.001, 1)]


def test_means_that_differ_by_rounding_alone_are_equal():
    values = (0.1, 0.1, 0.4)
    assert pd.Series(values).mean() != pd.Series(values[::-1]).mean()
    for first, second in ((values, values[::-1]), (values[::-1], values)):
        chosen = choose_learning_rate(Runs(records=candidates({1.0: first, 0.1: second})))
        assert {rate for _, rate, _ in rates(chosen)} == {1}


def test_a_rate_at_which_a_seed_diverged_is_not_chosen():
    fields = {"model": "mlp", "dataset": "uncorrelated10", "learning_rate": 0.1, "seed": 2}
    records = [*candidates(), record(1.0, 2, 0.5), make_record(fields, state="diverged"), record(0.01, 2, 0.7)]
    assert rates(choose_learning_rate(Runs(records=records))) == [(1, 0.01, seed) for seed in range(3)]


def test_untrained_networks_stay_and_are_no_candidates():
    untrained = [record(0.1, seed, 1.0, epochs=0) for seed in range(2)]
    chosen = choose_learning_rate(Runs(records=[*untrained, *candidates({1.0: (0.3, 0.3)})]))
    assert [r.config.training.epochs for r in chosen.records] == [0, 0, 50, 50]
    assert len(choose_learning_rate(Runs(records=untrained))) == 2


def test_a_fixed_rate_is_one_an_optimizer():
    records = candidates() + candidates(optimizer="adam") + [record(1.0, 0, epochs=0)]
    fixed = fix_learning_rate({"momentum": 0.1, "adam": 0.001})(Runs(records=records))
    found = [(r.config.training.optimizer, r.config.training.learning_rate) for r in fixed.trained.records]
    assert found == [("momentum", 0.1)] * 2 + [("adam", 0.001)] * 2
    assert len(fixed.untrained) == 1


@pytest.mark.parametrize("choose", [choose_learning_rate, fix_learning_rate({"momentum": 0.1})])
def test_no_runs_stay_none(choose):
    assert len(choose(Runs(records=[]))) == 0
