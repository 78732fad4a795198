"""Claims of Doimo et al. on networks in which what they say is planted, or the contrary, or too little to tell."""

import dataclasses
import math
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from fake_clones import CLONE, Planted, excess_of, make_epoch, make_network
from fake_runs import write_chunks, write_reconstruction, write_run

from tfunits.artifacts import write_json
from tfunits.configs import Margins
from tfunits.reports import RunRecord, read_run
from tfunits.reports.figures import Runs
from tfunits.reports.figures.claims.redundant import CLAIMS
from tfunits.reports.figures.recipes import Recipe, find_recipes
from tfunits.reports.figures.rules import decide_less
from tfunits.reports.figures.verdicts import Outcome, Verdict

AGREES, DISAGREES, CANNOT_TELL = Outcome.AGREES, Outcome.DISAGREES, Outcome.CANNOT_TELL
BY_ID = {claim.id: claim for claim in CLAIMS}
WIDTHS = (8, 32, 128)
NO_DECAY = {"weight_decay": 0.0}
Grow = Callable[..., list[RunRecord]]


@pytest.fixture
def grow(tmp_path: pathlib.Path) -> Grow:
    """Networks of some widths and seeds with something planted."""

    def make(
        planted: Planted | None = None,
        *,
        widths: Iterable[int] = (128,),
        seeds: int = 20,
        base: int | None = None,
        **given: Any,
    ) -> list[RunRecord]:
        sizes = {} if base is None else {width: {"size": width / base} for width in widths}
        return [
            make_network(tmp_path, planted or Planted(), width, seed, {**given, **sizes.get(width, {})})
            for width in widths
            for seed in range(seeds)
        ]

    return make


def judge(claim: str, records: Sequence[RunRecord], margins: Margins | None = None) -> list[Verdict]:
    return list(BY_ID[claim].check(Runs(records=records), margins or Margins()))


def outcomes(claim: str, records: Sequence[RunRecord]) -> list[Outcome]:
    return [verdict.outcome for verdict in judge(claim, records)]


def test_every_claim_is_there_once() -> None:
    numbers = [*range(1, 11), 12, 13, 14, 16, 17, 18]
    assert [claim.id for claim in CLAIMS] == [f"D{number:02d}" for number in numbers]
    assert all(claim.paper.startswith("Doimo et al. 2022") and claim.text and claim.data for claim in CLAIMS)


def test_nothing_is_said_without_runs_or_of_other_networks(grow: Grow) -> None:
    others = [
        dataclasses.replace(record, config=dataclasses.replace(
            record.config, model=dataclasses.replace(record.config.model, model="mlp")
        ))
        for record in grow(seeds=3)
    ]  # fmt: skip
    for claim in CLAIMS:
        assert list(claim.check(Runs(records=[]), Margins())) == []
        assert list(claim.check(Runs(records=others), Margins())) == []


def test_verdicts_name_the_recipe_and_its_data(grow: Grow) -> None:
    for verdict in [v for claim in ("D03", "D05", "D07") for v in judge(claim, grow(seeds=3))]:
        assert verdict.check.endswith(", fc5 on digits_parity")
        assert verdict.data == ("digits_parity",)


class TestExponents:
    def test_full_networks_at_one_half(self, grow: Grow) -> None:
        (verdict,) = judge("D01", grow(widths=WIDTHS))
        assert verdict.outcome == AGREES
        assert verdict.numbers["low"] <= -0.5 <= verdict.numbers["high"] < verdict.numbers["low"] + 0.5
        assert verdict.numbers["networks"] == 20

    def test_steeper_networks(self, grow: Grow) -> None:
        (verdict,) = judge("D01", grow(Planted(excess=excess_of(-1.2)), widths=WIDTHS))
        assert verdict.outcome == DISAGREES
        assert verdict.p_against < 0.05

    def test_an_ensemble_of_fewer_than_twenty_is_no_limit(self, grow: Grow) -> None:
        (verdict,) = judge("D01", grow(widths=WIDTHS, seeds=19))
        assert verdict.outcome == CANNOT_TELL
        assert "20 of the widest networks with stored outputs, received 19" in verdict.reason

    def test_a_wide_interval_cannot_tell(self, grow: Grow) -> None:
        """Of an excess of a few examples, although the interval holds -1/2."""
        planted = Planted(full_excess=excess_of(-0.5, 0.004), noise=1.0)
        (verdict,) = judge("D01", grow(planted, widths=WIDTHS))
        assert verdict.outcome == CANNOT_TELL
        assert "is wider than 0.5" in verdict.reason

    def test_networks_that_do_not_fit_are_left_out(self, grow: Grow) -> None:
        """Below W* error falls more steeply, and nothing is claimed."""
        (verdict,) = judge("D01", grow(widths=(2, 4, *WIDTHS)))
        assert verdict.outcome == AGREES

    def test_chunks_at_one_half_and_steeper_below(self, grow: Grow) -> None:
        above, below = judge("D03", grow())
        assert (above.outcome, below.outcome) == (AGREES, AGREES)
        assert below.numbers["below"] < below.numbers["from_clones_on"] == pytest.approx(-0.5, abs=0.02)

    def test_chunks_of_another_exponent_that_are_flatter_below(self, grow: Grow) -> None:
        planted = Planted(excess=lambda size: 0.3 * (size / CLONE) ** (-1.0 if size >= CLONE else -0.2))
        assert outcomes("D03", grow(planted)) == [DISAGREES, DISAGREES]

    def test_one_law_below_and_above_cannot_tell_which_is_steeper(self, grow: Grow) -> None:
        planted = Planted(excess=lambda size: min(0.8, 0.1 * (size / CLONE) ** -0.5))
        above, below = judge("D03", grow(planted))
        assert above.outcome == AGREES
        assert below.numbers["value"] == pytest.approx(0, abs=0.01)

    def test_without_clones_there_is_no_range(self, grow: Grow) -> None:
        verdicts = judge("D03", grow(Planted(train=lambda size: 0.5, full_train=lambda width: 0.5)))
        assert [verdict.outcome for verdict in verdicts] == [CANNOT_TELL] * 2
        assert "20 of 20 networks do not fit" in verdicts[0].reason

    def test_a_range_of_one_size_has_no_exponent(self, grow: Grow) -> None:
        above, below = judge("D03", grow(Planted(train=lambda size: 0.0 if size >= 32 else 0.5)))
        assert [above.outcome, below.outcome] == [CANNOT_TELL] * 2
        assert "two chunk sizes are needed, 1 in the range" in above.reason

    def test_weight_decay_brings_one_half_and_its_absence_minus_one(self, grow: Grow) -> None:
        half, whole = Planted(), Planted(excess=excess_of(-1.1))
        agreeing = [*grow(half, widths=WIDTHS), *grow(whole, widths=WIDTHS, **NO_DECAY)]
        assert outcomes("D18", agreeing) == [AGREES, AGREES]
        contrary = [*grow(whole, widths=WIDTHS), *grow(half, widths=WIDTHS, **NO_DECAY)]
        assert outcomes("D18", contrary) == [DISAGREES, DISAGREES]
        between = Planted(excess=excess_of(-0.75))
        assert outcomes("D18", grow(between, widths=WIDTHS)) == [CANNOT_TELL]


def test_densenets_fit_from_352_units_on(grow: Grow) -> None:
    def found(**errors: float) -> list[Outcome]:
        by_width = {int(width[1:]): error for width, error in errors.items()}
        planted = Planted(full_train=by_width.__getitem__)
        given = {"model": "densenet40", "dataset": "cifar10", "weight_decay": 5e-4}
        return outcomes("D02", grow(planted, widths=by_width, seeds=3, base=88, **given))

    assert found(w88=0.1, w176=0.02, w352=0, w704=0) == [AGREES]
    assert found(w88=0.1, w176=0.02, w352=0.01, w704=0) == [AGREES]
    assert found(w176=0.02, w352=0.02, w704=0.01) == [DISAGREES]
    assert found(w176=0, w352=0, w704=0) == [DISAGREES]
    assert found(w88=0.1, w176=0.02) == [CANNOT_TELL]


class TestChunksAgainstNetworks:
    def test_clones_are_as_good_and_smaller_chunks_worse(self, grow: Grow) -> None:
        excess = excess_of(-0.5)
        planted = Planted(full_excess=lambda width: excess(width) / (1.3 if width >= CLONE else 3))
        verdicts = judge("D04", grow(planted, widths=(4, *WIDTHS)))
        assert [verdict.outcome for verdict in verdicts] == [AGREES] * 3
        assert [verdict.numbers["value"] for verdict in verdicts[1:]] == pytest.approx([1.3, 1.3], rel=0.15)

    def test_clones_that_are_worse_and_smaller_chunks_that_are_better(self, grow: Grow) -> None:
        excess = excess_of(-0.5)
        planted = Planted(full_excess=lambda width: excess(width) / 4 if width >= CLONE else 0.88)
        assert outcomes("D04", grow(planted, widths=(4, *WIDTHS))) == [DISAGREES] * 3

    def test_at_the_margin_nothing_is_told(self, grow: Grow) -> None:
        planted = Planted(full_excess=lambda width: excess_of(-0.5)(width) / 2)
        assert CANNOT_TELL in outcomes("D04", grow(planted, widths=WIDTHS))

    def test_widths_between_the_sizes_of_chunks_are_interpolated(self, grow: Grow) -> None:
        """Nearer to chunks of 16 than of 32; the other way round the ratio would be 0.9."""
        (verdict,) = judge("D04", [*grow(), *grow(widths=(20,))])
        assert verdict.outcome == AGREES
        assert verdict.check.startswith("at w = 20")
        assert verdict.numbers["value"] == pytest.approx(1.01, abs=0.05)


class TestSizes:
    def test_clones_are_small_on_other_data(self, grow: Grow) -> None:
        """In sizes, although their logarithms are compared."""
        (verdict,) = judge("D05", grow(seeds=3))
        assert verdict.outcome == AGREES
        assert [verdict.numbers[name] for name in ("value", "low", "high")] == [8, 8, 8]

    def test_clones_of_more_than_half_the_layer(self, grow: Grow) -> None:
        assert outcomes("D05", grow(Planted(train=lambda size: 0.5), seeds=3)) == [DISAGREES]

    @pytest.mark.parametrize(("clone", "outcome"), [(64, AGREES), (8, DISAGREES)])
    def test_the_papers_number_on_its_data(self, grow: Grow, clone: int, outcome: Outcome) -> None:
        planted = Planted(train=lambda size: 0.0 if size >= clone else 0.5)
        (verdict,) = judge("D05", grow(planted, seeds=3, dataset="mnist_parity"))
        assert (verdict.outcome, verdict.numbers["value"]) == (outcome, pytest.approx(clone))

    def test_networks_without_clones_cannot_tell(self, grow: Grow) -> None:
        fitting, others = grow(seeds=4), grow(Planted(train=lambda size: 0.5, full_train=lambda width: 0.5), seeds=4)
        (verdict,) = judge("D05", [*fitting[:3], *others[3:]])
        assert verdict.outcome == CANNOT_TELL
        assert "1 of 4 networks do not fit" in verdict.reason

    def test_two_seeds_cannot_tell(self, grow: Grow) -> None:
        assert outcomes("D05", grow(seeds=2)) == [CANNOT_TELL]

    @pytest.mark.parametrize(
        ("dimension", "outcome"), [(3, AGREES), (20, DISAGREES), (8, CANNOT_TELL), (None, CANNOT_TELL)]
    )
    def test_the_dimension_is_below_the_clones_size(
        self, grow: Grow, dimension: float | None, outcome: Outcome
    ) -> None:
        assert outcomes("D08", grow(Planted(dimension=dimension), seeds=5)) == [outcome]

    def test_the_papers_dimension_on_its_data(self, grow: Grow) -> None:
        assert outcomes("D08", grow(Planted(dimension=2.5), seeds=3, dataset="mnist_parity")) == [AGREES, AGREES]
        assert outcomes("D08", grow(Planted(dimension=6), seeds=3, dataset="mnist_parity")) == [AGREES, DISAGREES]

    def test_clones_are_no_smaller_than_the_peak_of_the_variance(self, grow: Grow) -> None:
        agreeing = grow(widths=(4, 8, 32, 128))
        first, second = judge("D16", agreeing)
        assert (first.outcome, second.outcome) == (AGREES, AGREES)
        assert (first.numbers["variance_peak"], first.numbers["fitting_width"]) == (8, 8)
        contrary = grow(Planted(train=lambda size: 0.0), widths=(4, 8, 32, 128))
        assert outcomes("D16", contrary) == [DISAGREES, DISAGREES]
        for record in agreeing[:20]:
            record.run_dir.logits.unlink()
        assert outcomes("D16", agreeing) == [CANNOT_TELL, CANNOT_TELL]


class TestReconstruction:
    def test_few_units_determine_the_layer(self, grow: Grow) -> None:
        assert outcomes("D06", grow(Planted(r2=lambda size: 0.12 * size), seeds=3)) == [AGREES] * 3

    def test_too_low_falling_and_bent(self, grow: Grow) -> None:
        planted = Planted(r2={1: 0.5, 2: 0.8, 4: 0.6, 8: 0.5, 16: 0.5, 32: 0.5, 64: 0.5}.__getitem__)
        assert outcomes("D06", grow(planted, seeds=3)) == [DISAGREES] * 3

    def test_not_measured_cannot_tell(self, grow: Grow) -> None:
        records = [dataclasses.replace(record, reconstructions={}) for record in grow(seeds=3)]
        assert outcomes("D06", records) == [CANNOT_TELL] * 3
        assert outcomes("D07", records) == [CANNOT_TELL]

    def test_residuals_of_clones_are_noise(self, grow: Grow) -> None:
        (verdict,) = judge("D07", grow(seeds=3))
        assert verdict.outcome == AGREES
        assert verdict.numbers["noise_floor"] == pytest.approx(math.sqrt(2 / (math.pi * (10_000 - 8 - 1))))
        assert verdict.numbers["all_pairs"] == pytest.approx(1 / 8)

    def test_residuals_that_stay_correlated(self, grow: Grow) -> None:
        planted = Planted(correlation=lambda size: 0.4 if size < 64 else 0.3)
        assert outcomes("D07", grow(planted, seeds=3)) == [DISAGREES]

    def test_residuals_at_the_margin(self, grow: Grow) -> None:
        planted = Planted(correlation=lambda size: 0.4 if size == 1 else 0.1)
        records = grow(planted, seeds=6)
        curves = [record.reconstructions["test", "layer"] for record in records]
        for curve, sign in zip(curves, (1, -1) * 3, strict=True):
            curve.held_out_correlation[0] *= 1 + 0.05 * sign
        assert outcomes("D07", records) == [CANNOT_TELL]

    def test_a_noise_floor_that_is_too_high_cannot_tell(self, grow: Grow) -> None:
        """Neither for nor against: with 150 rows independent residuals are as correlated as 0.1."""
        for correlation in (0.01, 0.3):
            planted = Planted(correlation=lambda size, low=correlation: 0.3 if size == 1 else low, rows=150)
            (verdict,) = judge("D07", grow(planted, seeds=3))
            assert verdict.outcome == CANNOT_TELL
            assert "75 held-out rows are too few" in verdict.reason


@dataclasses.dataclass(frozen=True, kw_only=True)
class History:
    """Epoch -> (training error by chunk size, test error, correlation by chunk size) of every seed."""

    train: Mapping[int, Callable[[int], float]]
    test: Mapping[int, float]
    correlation: Mapping[int, Callable[[int], float]]

    def epochs(self, record: RunRecord) -> dict[int, RunRecord]:
        sizes = [int(size) for size in record.chunks["train"].sizes]
        # Seeds differ a little.
        own = 1 + 0.01 * (record.config.training.seed - 1)
        return {
            epoch: make_epoch(
                record,
                train={size: self.train[epoch](size) for size in sizes},
                test=self.test[epoch] * own,
                correlation=lambda size, at=self.correlation[epoch]: at(size) * own,
            )
            for epoch in self.test
        }


def fits_from(size: int) -> Callable[[int], float]:
    return lambda chunk: 0.0 if chunk >= size else 0.4 / chunk + 0.05


def flat(value: float) -> Callable[[int], float]:
    return lambda size: value


# What the paper describes: the network fits at epoch 80 of 100, its clones at 90, where test error comes to a stand.
DESCRIBED = History(
    train={1: flat(0.5), 50: flat(0.2), 80: fits_from(128), 90: fits_from(8), 100: fits_from(8)},
    test={1: 0.6, 50: 0.4, 80: 0.25, 90: 0.2, 100: 0.2},
    correlation={
        1: flat(0.5), 50: lambda size: 0.45 / size**0.2, 80: lambda size: 0.3 / size, 90: lambda size: 0.3 / size,
        100: lambda size: 0.3 / size,
    },
)  # fmt: skip
# The contrary: clones are there from the start and vanish, test error rises until the network fits, and falls again.
CONTRARY = History(
    train={1: flat(0.5), 50: fits_from(4), 80: flat(0.0), 90: flat(0.0), 100: flat(0.0)},
    test={1: 0.3, 50: 0.25, 80: 0.4, 90: 0.45, 100: 0.3},
    correlation={
        1: flat(0.1), 50: flat(0.2), 80: flat(0.4), 90: flat(0.45), 100: lambda size: 0.5 + 0.001 * size,
    },
)  # fmt: skip


@pytest.fixture
def follow(monkeypatch: pytest.MonkeyPatch) -> Callable[[History, History], None]:
    """What epochs show of all recipes, or of those without weight decay."""

    def set_to(history: History, without_decay: History | None = None) -> None:
        def trajectories(recipe: Recipe) -> dict[int, dict[int, RunRecord]]:
            own = history if recipe.is_decayed or without_decay is None else without_decay
            return {record.config.training.seed: own.epochs(record) for record in recipe.widest}

        monkeypatch.setattr(Recipe, "trajectories", property(trajectories))

    return set_to


class TestEpochs:
    def test_correlations_fall_until_the_network_fits(self, grow: Grow, follow: Callable) -> None:
        follow(DESCRIBED)
        assert outcomes("D09", grow(seeds=3)) == [AGREES] * 3
        follow(CONTRARY)
        assert outcomes("D09", grow(seeds=3)) == [DISAGREES] * 3

    def test_networks_that_never_fit_cannot_tell(self, grow: Grow, follow: Callable) -> None:
        follow(dataclasses.replace(DESCRIBED, train=dict.fromkeys(DESCRIBED.train, flat(0.1))))
        assert set(outcomes("D09", grow(seeds=3))) == {CANNOT_TELL}
        verdicts = judge("D10", grow(seeds=3))
        assert {v.outcome for v in verdicts if "keep a training error" not in v.check} == {CANNOT_TELL}

    def test_two_seeds_cannot_tell(self, grow: Grow, follow: Callable) -> None:
        follow(DESCRIBED)
        for claim in ("D09", "D10", "D17"):
            assert set(outcomes(claim, grow(seeds=2))) == {CANNOT_TELL}

    def test_the_network_fits_before_its_clones(self, grow: Grow, follow: Callable) -> None:
        follow(DESCRIBED)
        verdicts = judge("D10", grow(seeds=3))
        assert [verdict.outcome for verdict in verdicts] == [AGREES] * 6
        assert ["chunks of 32" in verdicts[0].check, "chunks of 64" in verdicts[1].check] == [True] * 2
        assert [verdicts[0].numbers[name] for name in ("first", "second")] == [80, 90]

    def test_chunks_that_never_fit_do_so_after_the_end(self, grow: Grow, follow: Callable) -> None:
        follow(dataclasses.replace(DESCRIBED, train={**DESCRIBED.train, 90: fits_from(64), 100: fits_from(64)}))
        never, late, *_ = judge("D10", grow(seeds=3))
        assert [never.outcome, late.outcome] == [AGREES, AGREES]
        assert [never.numbers["second"], late.numbers["second"]] == [101, 90]

    def test_clones_that_fit_with_the_network_cannot_tell(self, grow: Grow, follow: Callable) -> None:
        """Between two epochs that were kept either may have been first."""
        follow(CONTRARY)
        verdicts = judge("D10", grow(seeds=3))
        assert [verdict.outcome for verdict in verdicts[:2]] == [CANNOT_TELL] * 2
        # Chunks that do not fit at the start do later; test error rises on the way to training error 0.
        assert [verdict.outcome for verdict in verdicts[2:5]] == [DISAGREES, AGREES, DISAGREES]
        assert "no fall" in verdicts[-1].reason

    def test_a_fall_at_the_very_end_disagrees(self, grow: Grow, follow: Callable) -> None:
        follow(dataclasses.replace(DESCRIBED, test={**DESCRIBED.test, 90: 0.26, 100: 0.2}))
        assert outcomes("D10", grow(seeds=3))[-1] == DISAGREES

    def test_the_last_tenth_must_have_been_kept(self, grow: Grow, follow: Callable) -> None:
        def moved(values: Mapping[int, Any]) -> dict[int, Any]:
            return {{80: 60}.get(epoch, epoch): value for epoch, value in values.items() if epoch != 90}

        follow(History(**{name: moved(getattr(DESCRIBED, name)) for name in ("train", "test", "correlation")}))
        assert outcomes("D10", grow(seeds=3))[-1] == CANNOT_TELL

    def test_networks_stopped_early_are_more_correlated(self, grow: Grow, follow: Callable) -> None:
        follow(DESCRIBED)
        (verdict,) = judge("D17", grow(seeds=3))
        assert (verdict.outcome, verdict.numbers["epoch"]) == (AGREES, 1)
        follow(CONTRARY)
        assert outcomes("D17", grow(seeds=3)) == [DISAGREES]
        follow(dataclasses.replace(DESCRIBED, correlation=dict.fromkeys(DESCRIBED.test, flat(0.3))))
        assert outcomes("D17", grow(seeds=3)) == [CANNOT_TELL]

    def test_without_decay_residuals_stay_correlated(self, grow: Grow, follow: Callable) -> None:
        stays = dataclasses.replace(DESCRIBED, correlation=dict.fromkeys(DESCRIBED.test, flat(0.5)))
        follow(DESCRIBED, stays)
        correlated = Planted(excess=excess_of(-1.2), correlation=lambda size: 0.6)
        assert outcomes("D12", [*grow(), *grow(correlated, **NO_DECAY)]) == [AGREES] * 3
        follow(DESCRIBED, DESCRIBED)
        alike = Planted(correlation=lambda size: 0.2 / size)
        assert outcomes("D12", [*grow(), *grow(alike, **NO_DECAY)]) == [DISAGREES] * 3
        assert outcomes("D12", grow(seeds=3)) == []

    def test_without_decay_ensembles_and_kept_epochs_each_say_their_part(self, grow: Grow, follow: Callable) -> None:
        correlated = Planted(excess=excess_of(-1.2), correlation=lambda size: 0.6)
        ensemble = judge("D12", [*grow(), *grow(correlated, **NO_DECAY)])
        assert [verdict.check.split(" without")[0] for verdict in ensemble] == ["exponent of chunks", "correlation"]
        assert [verdict.outcome for verdict in ensemble] == [AGREES] * 2
        follow(DESCRIBED, dataclasses.replace(DESCRIBED, correlation=dict.fromkeys(DESCRIBED.test, flat(0.5))))
        kept = judge("D12", [*grow(seeds=3), *grow(correlated, seeds=3, **NO_DECAY)])
        assert [verdict.check.startswith("without weight decay the correlation stays") for verdict in kept] == [
            True,
            False,
        ]
        assert [verdict.outcome for verdict in kept] == [AGREES] * 2
        few = judge("D12", [*grow(seeds=2), *grow(correlated, seeds=2, **NO_DECAY)])
        assert CANNOT_TELL in {verdict.outcome for verdict in few}

    def test_without_decay_the_clones_of_networks_with_decay_are_read_where_none_are(self, grow: Grow) -> None:
        unfitted = Planted(excess=excess_of(-1.2), train=lambda size: 0.5)
        exponent, *others = judge("D12", [*grow(), *grow(unfitted, **NO_DECAY)])
        assert (exponent.outcome, exponent.numbers["from_chunks_of"]) == (AGREES, 8)
        assert len(others) == 1
        alone = judge("D12", grow(unfitted, **NO_DECAY))
        assert [verdict.outcome for verdict in alone] == [CANNOT_TELL] * 2

    def test_a_resnet50_that_does_not_fit_has_no_clones(self, grow: Grow, follow: Callable) -> None:
        given = {"model": "resnet50", "dataset": "imagenet2012", "base": 2048, "seeds": 4, "weight_decay": 1e-4}
        stays = dataclasses.replace(DESCRIBED, correlation=dict.fromkeys(DESCRIBED.test, flat(0.5)))
        follow(stays)
        unfitted = {"train": lambda size: 0.5, "full_train": lambda width: 0.2 if width < 8192 else 0.08}
        steep = Planted(excess=lambda size: min(0.85, (size / 256) ** -1.0 / 2), noise=0.01, **unfitted)
        assert outcomes("D13", grow(steep, widths=(2048, 8192), **given)) == [AGREES] * 4
        follow(DESCRIBED)
        fitted = {"train": lambda size: 0.5, "full_train": lambda width: 0.0}
        gentle = Planted(excess=lambda size: min(0.85, (size / 256) ** -0.2 / 2), noise=0.01, **fitted)
        assert outcomes("D13", grow(gentle, widths=(2048, 8192), **given)) == [DISAGREES] * 4
        two = grow(steep, widths=(2048, 8192), **{**given, "seeds": 2})
        assert set(outcomes("D13", two)) == {CANNOT_TELL}


def test_trajectories_are_read_from_run_directories(tmp_path: pathlib.Path) -> None:
    run_dir = write_run(tmp_path, {"model": "fc5", "size": 2 / 128, "seed": 5, "weight_decay": 0.01})
    write_json(run_dir.done_file("train"), {"state": "finished", "epochs": 50})
    for epoch, wrong in ((10, 40), (40, 20), (None, 0)):
        for split in ("train", "test"):
            write_chunks(run_dir, {1: [wrong], 2: [wrong]}, split, epoch=epoch)
    write_reconstruction(run_dir, [0.5, 1.0], epoch=10)
    (recipe,) = find_recipes(Runs(records=[read_run(run_dir)]))
    ((seed, epochs),) = recipe.trajectories.items()
    assert (seed, list(epochs)) == (5, [10, 40, 50])
    assert [record.chunks["train"].errors[-1] for record in epochs.values()] == [0.4, 0.2, 0]
    assert list(epochs[10].reconstructions) == [("test", "layer")]


class TestLastWidths:
    GIVEN: Mapping[str, Any] = {"model": "wide_resnet28", "dataset": "cifar10", "weight_decay": 5e-4}

    def networks(self, grow: Grow, size: float, last_width: int, error: float, seeds: int = 20) -> list[RunRecord]:
        excess = excess_of(-0.5, 0.3)
        planted = Planted(excess=lambda width: error if width == last_width else excess(width))
        given = {**self.GIVEN, "last_width": last_width}
        return grow(planted, widths=(last_width,), base=last_width / size, seeds=seeds, **given)

    def test_clones_come_with_the_width_of_all_layers(self, grow: Grow) -> None:
        kept = [*self.networks(grow, 1, 128, 0.3), *self.networks(grow, 4, 128, 0.05)]
        assert outcomes("D14", kept) == [AGREES] * 4
        rising = [*self.networks(grow, 1, 128, 0.05), *self.networks(grow, 4, 128, 0.3)]
        assert outcomes("D14", rising)[0] == DISAGREES

    @pytest.mark.parametrize(("error", "outcome"), [(0.3, AGREES), (0.1, DISAGREES), (0.28, CANNOT_TELL)])
    def test_and_not_with_that_of_the_last_alone(self, grow: Grow, error: float, outcome: Outcome) -> None:
        grown = [*self.networks(grow, 1, 64, 0.3), *self.networks(grow, 1, 256, error)]
        (verdict,) = judge("D14", grown)
        assert (verdict.outcome, "only the last width" in verdict.check) == (outcome, True)


class TestRecipes:
    def test_decay_apart_and_its_strength_together(self, grow: Grow) -> None:
        records = [*grow(widths=(8, 32), seeds=3), *grow(widths=(128,), seeds=3, weight_decay=0.001)]
        records += grow(widths=(8,), seeds=3, **NO_DECAY)
        decayed, plain = find_recipes(Runs(records=records))
        assert (decayed.is_decayed, plain.is_decayed) == (True, False)
        assert list(decayed.by_width) == [8, 32, 128]
        assert [record.size for record in decayed.widest] == [1, 1, 1]
        assert plain.label == "fc5 on digits_parity without weight decay"

    def test_weight_decay_that_validation_chooses_counts(self, grow: Grow) -> None:
        records = grow(widths=(8,), seeds=3)
        chosen = [
            dataclasses.replace(record, config=dataclasses.replace(record.config, training=dataclasses.replace(
                record.config.training, weight_decay=0.0, weight_decay_choices=(0.0, 0.01)
            )))
            for record in records
        ]  # fmt: skip
        (recipe,) = find_recipes(Runs(records=chosen))
        assert recipe.is_decayed

    def test_other_data_and_other_rates_are_other_recipes(self, grow: Grow) -> None:
        records = [*grow(seeds=3), *grow(seeds=3, learning_rate=0.01), *grow(seeds=3, dataset="mnist_parity")]
        assert len(find_recipes(Runs(records=records))) == 3

    def test_runs_without_chunks_and_untrained_ones_do_not_count(self, grow: Grow) -> None:
        records = [dataclasses.replace(record, chunks={}) for record in grow(seeds=3)]
        assert find_recipes(Runs(records=[*records, *grow(seeds=3, epochs=0)])) == []

    def test_widths_of_two_networks_are_left_out(self, grow: Grow) -> None:
        (recipe,) = find_recipes(Runs(records=[*grow(widths=(8,), seeds=2), *grow(seeds=3)]))
        assert list(recipe.by_width) == [128]


def test_noise_neither_agrees_nor_disagrees_too_often() -> None:
    """Residuals whose quotient lies on the margin: a verdict either way in about one study in twenty."""
    rng = np.random.default_rng(0)
    found = [
        decide_less("", dict(enumerate(0.25 + 0.05 * rng.normal(size=5))), 0.25).outcome != CANNOT_TELL
        for _ in range(400)
    ]
    assert 0.02 < np.mean(found) < 0.085
