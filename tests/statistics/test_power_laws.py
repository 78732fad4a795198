"""Power laws against scipy's curve_fit, and bootstrap intervals of exponents that are known."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import curve_fit

from tfunits.statistics import (
    PowerLaw,
    PowerLawInterval,
    bootstrap_power_law,
    bootstrap_ratio,
    fit_power_law,
    percentile_interval,
)

SEARCH = settings(deadline=None, derandomize=True, max_examples=100)
WIDTHS = np.array([16, 32, 64, 128, 256, 512])


@SEARCH
@given(
    widths=st.lists(st.integers(1, 5000), min_size=2, max_size=9, unique=True),
    exponent=st.floats(-2, 1),
    coefficient=st.sampled_from([1, -1, 3e-200, -2e-9, 4e7, 1e200]),
)
def test_an_exact_law_is_found_again(widths: list[int], exponent: float, coefficient: float) -> None:
    """To the digits of float64 that are left where one width's square outweighs all others."""
    exact = PowerLaw(coefficient=coefficient, exponent=exponent)
    values = exact.predict(widths)
    weights, logs = (values / coefficient) ** 2, np.log(widths)
    rounding = 1e-13 / np.cov(logs, aweights=weights, ddof=0)
    assume(rounding < 1e-6)
    found = fit_power_law(widths, values)
    assert found.exponent == pytest.approx(exponent, abs=rounding)
    np.testing.assert_allclose(found.predict(widths), values, rtol=10 * rounding)


def test_a_law_by_hand() -> None:
    law = PowerLaw(coefficient=3, exponent=-2)
    np.testing.assert_array_equal(law.predict([[1, 2], [4, 1]]), [[3, 0.75], [0.1875, 3]])
    # Between two points any law of their sign passes through both: here 8 * w^-3.
    assert fit_power_law([1, 2], [8, 1]).exponent == pytest.approx(-3, abs=1e-6)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("noise", [0.02, 0.3])
def test_it_is_curve_fits(seed: int, noise: float) -> None:
    """Of clean and of noisy values, some of which are negative and stay in."""
    rng = np.random.default_rng(seed)
    values = 2 * WIDTHS**-0.5 * (1 + noise * rng.normal(size=6)) + noise * 0.3 * rng.normal(size=6)
    (a, b), _ = curve_fit(lambda w, a, b: a * w**b, WIDTHS.astype(float), values, p0=(2, -0.5), maxfev=10_000)
    found = fit_power_law(WIDTHS, values)
    squares = [np.sum((values - law) ** 2) for law in (found.predict(WIDTHS), a * WIDTHS**b)]
    assert squares[0] <= squares[1] * (1 + 1e-9)
    if noise < 0.1:
        assert (found.coefficient, found.exponent) == pytest.approx((a, b), rel=1e-5)
        # A straight line through the logarithms weighs the small values more.
        assert found.exponent != pytest.approx(np.polyfit(np.log(WIDTHS), np.log(np.abs(values)), 1)[0], rel=1e-5)


@SEARCH
@given(seed=st.integers(0, 2**32), num_widths=st.integers(2, 8), span=st.sampled_from([0.1, 3, 14]))
def test_no_law_is_nearer(seed: int, num_widths: int, span: float) -> None:
    """Values of any signs have several nearest laws nearby; a fine grid of exponents knows the nearest."""
    rng = np.random.default_rng(seed)
    logs, values = rng.uniform(0, span, size=num_widths), rng.normal(size=num_widths)
    assume(np.ptp(logs) > 1e-3)
    powers = np.exp(np.linspace(-20, 20, 40_001)[:, None] * (logs - logs.mean()))
    powers /= np.linalg.norm(powers, axis=1, keepdims=True)
    nearest = values @ values - np.max((powers @ values) ** 2)
    found = fit_power_law(np.exp(logs), values)
    assert np.sum((values - found.predict(np.exp(logs))) ** 2) <= nearest + 1e-9 * (values @ values)
    assert -20 <= found.exponent <= 20


@SEARCH
@given(seed=st.integers(0, 2**32), factor=st.sampled_from([-1, 1e-100, -1e100]), stretch=st.sampled_from([1e-9, 1e9]))
def test_units_of_values_and_widths_do_not_matter(seed: int, factor: float, stretch: float) -> None:
    rng = np.random.default_rng(seed)
    values = WIDTHS**-0.7 + 0.01 * rng.normal(size=6)
    law = fit_power_law(WIDTHS, values)
    order = rng.permutation(6)
    for changed, scale in (
        (fit_power_law(WIDTHS, factor * values), factor),
        (fit_power_law(stretch * WIDTHS, values), stretch**-law.exponent),
        (fit_power_law(WIDTHS[order], values[order]), 1),
        (fit_power_law(np.tile(WIDTHS, 2), np.tile(values, 2)), 1),
    ):
        assert changed.exponent == pytest.approx(law.exponent, abs=1e-6)
        assert changed.coefficient == pytest.approx(scale * law.coefficient, rel=1e-5)


def test_steps_end_at_the_steepest_exponents() -> None:
    assert fit_power_law([1, 2, 4], [1, 0, 0]).exponent == -20
    assert fit_power_law([1, 2, 4], [0, 0, -1]) == PowerLaw(coefficient=pytest.approx(-(4.0**-20)), exponent=20)
    # Signs that differ cannot both be met.
    assert abs(fit_power_law([1, 2], [1, -1]).exponent) == 20


def simulate(
    seed: int,
    exponent: float,
    *,
    networks: int = 20,
    examples: int = 300,
    widths: np.ndarray = WIDTHS,
    spread: float = 0.3,
) -> tuple[list[np.ndarray], np.ndarray]:
    """Errors whose mean over networks and examples falls as w^exponent to the limit, and that limit.

    Examples differ in how hard they are and in how they fall, networks differ at every width.
    """
    rng = np.random.default_rng(seed)
    limit = (rng.uniform(size=examples) < 0.1).astype(float)
    hardness = (1 - limit) * rng.exponential(size=examples)
    falls = 1 + 0.5 * rng.uniform(-1, 1, size=(len(WIDTHS), examples))
    quality = 1 + spread * rng.uniform(-1, 1, size=(networks, len(WIDTHS)))
    scale = 0.1 * (WIDTHS / WIDTHS[0]) ** exponent
    errors = [limit + scale[i] * hardness * falls[i] * quality[:, i, None] for i in range(len(WIDTHS))]
    return [np.clip(rows, 0, 1) for rows in errors], limit


@pytest.mark.parametrize("paired", [True, False])
def test_the_interval_covers_the_true_exponent_as_often_as_it_says(paired: bool) -> None:
    """Of 120 studies +- 2 for 95 %, +- 4 for 80 %. Twenty networks show nineteen twentieths of their variance."""
    covered = np.zeros(2)
    for seed in range(120):
        errors, limit = simulate(seed, -0.5, examples=100)
        found = bootstrap_power_law(WIDTHS, errors, limit, paired=paired, num_samples=150, seed=seed)
        inner = np.quantile(found.exponents, [0.1, 0.9])
        covered += [found.low <= -0.5 <= found.high, inner[0] <= -0.5 <= inner[1]]
    assert 0.87 < covered[0] / 120 < 0.995
    assert 0.66 < covered[1] / 120 < 0.90


@pytest.mark.parametrize("paired", [True, False])
def test_the_interval_tells_minus_one_half_from_minus_one(paired: bool) -> None:
    for seed in range(5):
        steep = bootstrap_power_law(WIDTHS, *simulate(seed, -1), paired=paired)
        flat = bootstrap_power_law(WIDTHS, *simulate(seed, -0.5), paired=paired)
        assert steep.low < -1 < steep.high < -0.75
        assert -0.75 < flat.low < -0.5 < flat.high


def test_networks_and_examples_both_widen_the_interval() -> None:
    """Either alone claims too narrow a one: networks averaged beforehand, or examples that all are the same."""
    errors, limit = simulate(0, -0.5, networks=10, examples=50, spread=0.2)
    options = {"paired": False, "num_samples": 2000}
    both = bootstrap_power_law(WIDTHS, errors, limit, **options)
    of_examples = bootstrap_power_law(WIDTHS, [rows.mean(axis=0)[None] for rows in errors], limit, **options)
    even = [np.tile(rows.mean(axis=1, keepdims=True), len(limit)) for rows in errors]
    of_networks = bootstrap_power_law(WIDTHS, even, np.full_like(limit, limit.mean()), **options)
    for part in (of_examples, of_networks):
        assert part.law.exponent == pytest.approx(both.law.exponent, abs=1e-6)
    variances = [np.var(found.exponents) for found in (both, of_examples, of_networks)]
    assert min(variances[1:]) > 0.1 * variances[0]
    assert max(variances[1:]) < 0.9 * variances[0]
    # Independent sources of chance.
    assert variances[0] == pytest.approx(sum(variances[1:]), rel=0.15)


def test_networks_that_are_good_at_all_widths_move_paired_exponents_less() -> None:
    rng = np.random.default_rng(0)
    examples = rng.uniform(size=50)
    quality = rng.uniform(0.2, 1, size=(8, 1))
    errors = [width**-0.5 * quality * examples for width in WIDTHS]
    paired, apart = (bootstrap_power_law(WIDTHS, errors, np.zeros(50), paired=paired) for paired in (True, False))
    np.testing.assert_allclose(paired.exponents, -0.5, atol=1e-6)
    assert apart.high - apart.low > 0.1


def test_examples_are_drawn_alike_for_errors_and_limit() -> None:
    """Where the errors are the limit and a law, drawing other examples for the limit would blur the law."""
    limit = (np.arange(200) % 2).astype(float)
    errors = [np.tile(limit + (1 - limit) * 0.01 * width**-0.5, (3, 1)) for width in WIDTHS]
    found = bootstrap_power_law(WIDTHS, errors, limit, paired=True)
    assert found.law.exponent == pytest.approx(-0.5, abs=1e-6)
    np.testing.assert_allclose(found.exponents, -0.5, atol=1e-6)


@pytest.mark.parametrize("paired", [True, False])
def test_samples_are_those_of_a_plain_loop(paired: bool) -> None:
    """A bootstrap written out: indices of examples, indices of networks, means, a fit."""
    errors, limit = simulate(3, -0.5, networks=4, examples=30)
    rng = np.random.default_rng(7)
    exponents = []
    for _ in range(100):
        examples = rng.integers(30, size=30)
        networks = [rng.integers(4, size=4) for _ in WIDTHS[: 1 if paired else None]] * (6 if paired else 1)
        means = [rows[np.ix_(some, examples)].mean() for rows, some in zip(errors, networks, strict=True)]
        exponents.append(fit_power_law(WIDTHS, means - limit[examples].mean()).exponent)
    found = bootstrap_power_law(WIDTHS, errors, limit, paired=paired, num_samples=100, seed=7)
    np.testing.assert_allclose(found.exponents, exponents, atol=1e-6)
    # At 2.475 and 96.525 of the 99 steps between them, rounded outwards.
    assert (found.low, found.high) == pytest.approx((np.sort(exponents)[2], np.sort(exponents)[97]), abs=1e-6)
    whole = fit_power_law(WIDTHS, [rows.mean() - limit.mean() for rows in errors])
    assert (found.law.coefficient, found.law.exponent) == pytest.approx((whole.coefficient, whole.exponent), rel=1e-5)


def test_widths_may_have_different_numbers_of_networks() -> None:
    errors, limit = simulate(0, -0.5)
    errors = [rows[: 5 + i] for i, rows in enumerate(errors)]
    found = bootstrap_power_law(WIDTHS, errors, limit, paired=False)
    means = [rows.mean() - limit.mean() for rows in errors]
    assert found.law.exponent == pytest.approx(fit_power_law(WIDTHS, means).exponent, abs=1e-6)
    assert found.low < found.law.exponent < found.high
    with pytest.raises(ValueError, match=r"the same networks at all widths, received \[ 5  6 .*; or use paired=False"):
        bootstrap_power_law(WIDTHS, errors, limit, paired=True)


def test_a_wrong_limit_is_a_wrong_exponent() -> None:
    errors, limit = simulate(0, -1)
    assert bootstrap_power_law(WIDTHS, errors, 0 * limit, paired=True).low > -0.75


def test_the_seed_makes_the_samples() -> None:
    errors, limit = simulate(0, -0.5, networks=5, examples=50)
    first, again, other = (
        bootstrap_power_law(WIDTHS, errors, limit, paired=True, num_samples=130, seed=seed) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.exponents, again.exponents)
    assert not np.isin(other.exponents, first.exponents).any()
    # Samples do not depend on how many follow.
    fewer = bootstrap_power_law(WIDTHS, errors, limit, paired=True, num_samples=70, seed=1)
    np.testing.assert_allclose(fewer.exponents, first.exponents[:70], atol=1e-9)
    assert (first.num_samples, fewer.num_samples) == (130, 70)


def test_samples_without_any_excess_leave_the_interval_open() -> None:
    """One example in three has all the excess; a sample of three has it in 19 of 27 cases."""
    wrong = np.array([[1.0, 0, 0]])
    found = bootstrap_power_law([1, 4], [wrong, wrong / 2], np.zeros(3), paired=True)
    assert np.isnan(found.exponents).mean() == pytest.approx(8 / 27, abs=0.05)
    assert (found.low, found.high) == (-np.inf, np.inf)
    assert found.law.exponent == pytest.approx(-0.5, abs=1e-6)
    # Where few samples are so, the interval does not notice.
    narrow = bootstrap_power_law([1, 4], [wrong, wrong / 2], np.zeros(3), paired=True, confidence=0.2)
    assert (narrow.low, narrow.high, narrow.confidence) == (pytest.approx(-0.5, abs=1e-6),) * 2 + (0.2,)


def test_memory_stays_small() -> None:
    """All weights of 1,000 samples of 10,000 examples would take 80 MB, all weighted errors 10 GB."""
    rng = np.random.default_rng(0)
    errors = [rng.uniform(0, width**-0.5, size=(10, 10_000)) for width in WIDTHS]
    tracemalloc.start()
    found = bootstrap_power_law(WIDTHS, errors, np.zeros(10_000), paired=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(found, PowerLawInterval)
    assert peak < 8 * errors[0].size * len(WIDTHS) * 2 + 25e6


@pytest.mark.parametrize(
    ("widths", "values", "message"),
    [
        ([4], [1], r"widths: expected at least two different ones, received \[4.\]; measure more widths"),
        ([4, 4, 4], [1, 2, 3], "widths: expected at least two different ones"),
        ([], [], "widths: expected at least two different ones"),
        ([0, 4], [1, 2], "widths: expected a list of numbers above 0"),
        ([-1, 4], [1, 2], "widths: expected a list of numbers above 0"),
        ([np.nan, 4], [1, 2], "widths: expected a list of numbers above 0"),
        ([[1, 2]], [[1, 2]], "widths: expected a list of numbers above 0"),
        ([1, 2], [1, 2, 3], r"values: expected shape \(2,\) as widths, received \(3,\)"),
        ([1, 2], [1, np.nan], "values: expected finite ones that are not all 0"),
        ([1, 2], [1, np.inf], "values: expected finite ones that are not all 0"),
        ([1, 2], [0, 0], r"values: expected finite ones that are not all 0, received \[0. 0.\]; leave"),
    ],
)
def test_errors_of_a_fit(widths: list, values: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_power_law(widths, values)


HALF = np.full((3, 10), 0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"widths": [4, 4]}, "widths: expected at least two different ones"),
        ({"errors": [HALF]}, "errors: expected an array of each of the 2 widths, received 1"),
        ({"errors": [HALF, HALF[:, 1:]]}, r"examples as limit's \(10,\), received \[\(3, 10\), \(3, 9\)\]"),
        ({"errors": [HALF, HALF[0]]}, r"errors: expected \[networks, examples\]"),
        ({"errors": [HALF, HALF[:0]]}, r"errors: expected \[networks, examples\]"),
        ({"limit": np.zeros((3, 10))}, r"errors: expected \[networks, examples\] with examples as limit's \(3, 10\)"),
        ({"errors": [HALF, 3 * HALF]}, r"errors, limit: expected shares in \[0, 1\]"),
        ({"errors": [HALF, -HALF]}, r"errors, limit: expected shares in \[0, 1\]"),
        ({"errors": [HALF, np.nan * HALF]}, r"errors, limit: expected shares in \[0, 1\]"),
        ({"limit": np.full(10, 2)}, r"errors, limit: expected shares in \[0, 1\]"),
        ({"errors": [HALF, HALF[:2]]}, "errors: expected the same networks at all widths"),
        (
            {"errors": [HALF, HALF], "limit": HALF[0]},
            "errors: expected some excess over the limit, received none at any width",
        ),
        ({"confidence": 1}, r"confidence: expected a number in \(0, 1\), received 1"),
        ({"confidence": 0}, r"confidence: expected a number in \(0, 1\), received 0"),
        ({"num_samples": 0}, "num_samples: expected 1 or more, received 0"),
    ],
)
def test_errors_of_a_bootstrap(arguments: dict, message: str) -> None:
    given = {"widths": [1, 4], "errors": [HALF, HALF / 2], "limit": np.zeros(10), "paired": True, "num_samples": 5}
    assert bootstrap_power_law(**given).law.exponent == pytest.approx(-0.5, abs=1e-6)
    with pytest.raises(ValueError, match=message):
        bootstrap_power_law(**{**given, **arguments})


def test_paired_samples_of_other_widths_are_the_same_draws() -> None:
    """So that exponents can be subtracted: of the same two widths, alone and among others, they are equal."""
    errors, limit = simulate(0, -0.5, networks=5, examples=50)
    two = bootstrap_power_law(WIDTHS[:2], errors[:2], limit, paired=True, num_samples=70)
    twice = bootstrap_power_law(np.tile(WIDTHS[:2], 2), errors[:2] * 2, limit, paired=True, num_samples=70)
    np.testing.assert_allclose(two.exponents, twice.exponents, atol=1e-9)
    apart = bootstrap_power_law(np.tile(WIDTHS[:2], 2), errors[:2] * 2, limit, paired=False, num_samples=70)
    assert np.abs(two.exponents - apart.exponents).max() > 0.01


def test_what_is_particular_to_a_network_and_an_example_counts_three_times() -> None:
    """Samples of nothing but such noise: sqrt(3) times as spread as their mean really is (Owen 2007)."""
    rng, spreads, means = np.random.default_rng(0), [], []
    for seed in range(40):
        wrong = (rng.uniform(size=(20, 300)) < 0.5).astype(float)
        ratio, samples = bootstrap_ratio(wrong, np.ones((1, 300)), np.zeros(300), num_samples=200, seed=seed)
        means.append(ratio)
        spreads.append(samples.std())
    assert np.mean(spreads) / np.std(means) == pytest.approx(3**0.5, rel=0.2)


class TestRatio:
    def test_by_hand(self) -> None:
        limit = np.array([1.0, 0, 0, 0])
        first, other = np.array([[1, 1, 0, 0]]), np.array([[1, 1, 1, 0], [1, 1, 0, 0]])
        ratio, samples = bootstrap_ratio(first, other, limit, num_samples=500)
        assert ratio == pytest.approx(0.25 / 0.375)
        # A sample may hold no example that the others miss beyond the limit.
        assert 0 < np.isnan(samples).mean() < 0.2
        assert (samples[~np.isnan(samples)] <= 1 + 1e-9).all()

    @pytest.mark.parametrize("paired", [0.0, 1.0])
    def test_the_interval_covers_the_true_ratio_as_often_as_it_says(self, paired: float) -> None:
        """Of 150 studies +- 2 for 95 %; of excesses that examples share, and that they do not."""
        covered = 0
        for seed in range(150):
            rng = np.random.default_rng(seed)
            hardness = rng.exponential(size=(2, 200)) * 0.1
            hardness[1] = paired * hardness[0] + (1 - paired) * hardness[1]
            rows = [
                np.clip(scale * hard * (1 + 0.3 * rng.uniform(-1, 1, size=(10, 1))), 0, 1)
                for scale, hard in zip((1, 2), hardness, strict=True)
            ]
            _, samples = bootstrap_ratio(*rows, np.zeros(200), num_samples=200, seed=seed)
            low, high = percentile_interval(samples)
            covered += low <= 0.5 <= high
        assert 0.87 < covered / 150 < 0.995

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"others": 0 * HALF}, "others: expected an excess above 0 over the limit, received 0"),
            ({"others": HALF[:, 1:]}, r"errors: expected \[networks, examples\]"),
            ({"errors": 3 * HALF}, r"errors, limit: expected shares in \[0, 1\]"),
            ({"num_samples": 0}, "num_samples: expected 1 or more, received 0"),
        ],
    )
    def test_errors(self, arguments: dict, message: str) -> None:
        given = {"errors": HALF, "others": HALF, "limit": np.zeros(10)}
        with pytest.raises(ValueError, match=message):
            bootstrap_ratio(**{**given, **arguments})


def test_ends_of_samples_count_nan_on_both_sides() -> None:
    samples = np.arange(101.0)
    assert percentile_interval(samples, 0.5) == (25, 75)
    assert percentile_interval(np.append(samples, [np.nan] * 4), 0.5) == (22, 78)
    assert percentile_interval(np.full(10, np.nan)) == (-np.inf, np.inf)
