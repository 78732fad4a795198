"""The order in which units go, and what it costs, against least squares in numpy."""

import itertools
import sys

import numpy as np
import pytest

from tfunits.thinning import elimination
from tfunits.thinning.elimination import Elimination, Reader

ROWS = 400
RIDGE = 1e-3


def eliminate(readers: list[Reader], group: np.ndarray) -> Elimination:
    return elimination.eliminate(readers, group, RIDGE)


@pytest.fixture
def without_ridge(monkeypatch) -> None:
    """Of what fits are held back by nothing but rounding is left."""
    monkeypatch.setattr(sys.modules[__name__], "RIDGE", 1e-12)


def reader(rows: np.ndarray, weights: np.ndarray, numbers: list[int] | None = None, *, is_joint: bool = True) -> Reader:
    gram = weights @ weights.T
    return Reader(
        numbers=np.arange(len(weights)) if numbers is None else np.array(numbers),
        covariance=np.cov(rows, rowvar=False, bias=True),
        gram=gram if is_joint else np.diag(np.diag(gram)),
        is_joint=is_joint,
    )


def share_lost(rows: np.ndarray, weights: np.ndarray, left: list[int]) -> float:
    """What the best fit with intercept to units that are left misses of rows @ weights, as a share of its variance."""
    received = rows @ weights
    given = np.hstack([rows[:, left], np.ones((len(rows), 1))])
    rest = received - given @ np.linalg.lstsq(given, received, rcond=None)[0]
    return float((rest**2).sum() / ((received - received.mean(axis=0)) ** 2).sum())


def correlated(rng: np.random.Generator, units: int = 8, results: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Activations that depend on one another, with means, and outgoing weights."""
    rows = rng.normal(size=(ROWS, units)) @ rng.normal(size=(units, units)) + rng.normal(size=units)
    return rows, rng.normal(size=(units, results))


def test_errors_are_those_of_least_squares(without_ridge, rng):
    """Of all units left together, also behind many steps of one at a time."""
    rows, weights = correlated(rng)
    found = eliminate([reader(rows, weights)], np.arange(8))
    left = list(range(8))
    for number, error in zip(found.numbers.tolist(), found.errors, strict=True):
        left.remove(number)
        assert error == pytest.approx(share_lost(rows, weights, left), rel=1e-6)
    assert len(left) == 1
    assert found.errors[0] < 0.3 < found.errors[-1]


def test_each_step_is_the_cheapest(without_ridge, rng):
    rows, weights = correlated(rng)
    found = eliminate([reader(rows, weights)], np.arange(8))
    left = list(range(8))
    for number in found.numbers.tolist():
        losses = {other: share_lost(rows, weights, [i for i in left if i != other]) for other in left}
        assert number == min(losses, key=losses.get)
        left.remove(number)
    # Negative control: another order loses more at some step.
    backwards = [share_lost(rows, weights, found.numbers[-i:].tolist()) for i in range(1, 7)]
    assert (found.errors[:6][::-1] < np.array(backwards) + 1e-12).any()


def test_several_readers_add_up(without_ridge, rng):
    rows, weights = correlated(rng)
    scaled, other = 3 * rows[:, ::-1] + 1, rng.normal(size=(8, 2))
    readers = [reader(rows, weights), reader(scaled, other, list(range(7, -1, -1)))]
    found = eliminate(readers, np.arange(8))
    left = list(range(8))
    for number, error in zip(found.numbers.tolist(), found.errors, strict=True):
        left.remove(number)
        expected = share_lost(rows, weights, left) + share_lost(scaled, other, [7 - i for i in left])
        assert error == pytest.approx(expected, rel=1e-6)
    # Scales of activations and weights do not matter: shares are added.
    larger = eliminate([readers[0], reader(100 * scaled, 7 * other, list(range(7, -1, -1)))], np.arange(8))
    np.testing.assert_array_equal(larger.numbers, found.numbers)
    np.testing.assert_allclose(larger.errors, found.errors, rtol=1e-6)


@pytest.mark.parametrize("silent_first", [True, False])
def test_silent_constant_and_duplicated_units_go_first(silent_first, rng):
    rows, weights = correlated(rng, 9)
    rows[:, 2], rows[:, 5] = 0, 4.0
    rows[:, 7] = rows[:, 0]
    rows[:, 8] = 2 * rows[:, 1] - rows[:, 3] + 5
    if not silent_first:
        rows, weights = rows[:, ::-1], weights[::-1]
    found = eliminate([reader(rows, weights)], np.arange(9))
    first = set(found.numbers[:4].tolist())
    first = first if silent_first else {8 - i for i in first}
    assert {2, 5} < first
    assert len(first & {0, 7}) == 1
    assert len(first & {1, 3, 8}) == 1
    # What does not vary costs nothing; of the others, the ridge holds fits back a little, by about its share.
    assert set(found.numbers[:2].tolist()) == ({2, 5} if silent_first else {6, 3})
    assert found.errors[1] < 1e-12
    assert found.errors[3] < RIDGE
    assert found.errors[4] > 5 * found.errors[3]
    assert found.count(RIDGE) == 4


def test_units_that_nothing_depends_on_go_first(without_ridge, rng):
    rows = rng.normal(size=(ROWS, 6))
    weights = rng.normal(size=(6, 3))
    weights[4] = 0
    weights[1] *= 1e-3
    found = eliminate([reader(rows, weights)], np.arange(6))
    assert found.numbers[:2].tolist() == [4, 1]
    assert found.errors[0] < 1e-10
    assert found.errors[1] < 1e-5 < found.errors[2]


def test_the_ridge_changes_little(rng):
    rows, weights = correlated(rng)
    found = eliminate([reader(rows, weights)], np.arange(8))
    left = list(range(8))
    for number, error in zip(found.numbers.tolist(), found.errors, strict=True):
        left.remove(number)
        assert error == pytest.approx(share_lost(rows, weights, left), rel=0.2, abs=0.01)


def test_only_the_group_goes_and_others_help(without_ridge, rng):
    """Units of another group stay: they take over, and are never removed."""
    rows, weights = correlated(rng)
    rows[:, 6] = rows[:, 0] + rows[:, 1]
    group = np.array([1, 5, 0, 3])
    found = eliminate([reader(rows, weights)], group)
    assert set(found.numbers.tolist()) < set(group.tolist())
    assert len(found.numbers) == len(found.errors) == 3
    left = list(range(8))
    for number, error in zip(found.numbers.tolist(), found.errors, strict=True):
        left.remove(number)
        assert error == pytest.approx(share_lost(rows, weights, left), rel=1e-3, abs=1e-9)
    assert found.numbers[0] in (0, 1)
    assert found.errors[0] < 1e-9
    # Without the others' help it costs.
    alone = eliminate([reader(rows[:, sorted(group)], weights[sorted(group)], sorted(group))], group)
    assert alone.errors[0] > 1e-3


def test_readers_of_other_units_cost_nothing(without_ridge, rng):
    rows, weights = correlated(rng)
    first = reader(rows[:, :5], weights[:5], [0, 1, 2, 3, 4])
    second = reader(rows[:, 3:], weights[3:], [3, 4, 5, 6, 7])
    with np.errstate(all="raise"):
        found = eliminate([first, second], np.arange(8))
    left = list(range(8))
    for number, error in zip(found.numbers.tolist(), found.errors, strict=True):
        left.remove(number)
        if not (any(i < 5 for i in left) and any(i > 2 for i in left)):
            break
        expected = share_lost(rows[:, :5], weights[:5], [i for i in left if i < 5]) + share_lost(
            rows[:, 3:], weights[3:], [i - 3 for i in left if i > 2]
        )
        assert error == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("count", [1, 2])
def test_the_last_unit_stays(count, rng):
    rows, weights = rng.normal(size=(ROWS, count + 1)), np.zeros((count + 1, 2))
    with np.errstate(all="raise"):
        found = eliminate([reader(rows, weights)], np.arange(count))
    assert len(found.numbers) == count - 1
    assert found.count(np.inf) == count - 1
    assert np.isfinite(found.errors).all()


def test_units_that_are_read_apart_are_not_folded(without_ridge, rng):
    """A copy saves nothing where no other unit can take over: each costs its own variance times its weights."""
    rows, weights = correlated(rng)
    rows[:, 7] = rows[:, 0]
    rows[:, 2] = 3
    found = eliminate([reader(rows, weights, is_joint=False)], np.arange(8))
    costs = rows.var(axis=0) * (weights**2).sum(axis=1)
    np.testing.assert_array_equal(found.numbers, np.argsort(costs)[:7])
    np.testing.assert_allclose(found.errors, np.cumsum(np.sort(costs))[:7] / costs.sum(), rtol=1e-6, atol=1e-9)
    # Negative control: folded, the copy is free.
    joint = eliminate([reader(rows, weights)], np.arange(8))
    assert set(joint.numbers[:2].tolist()) in ({2, 0}, {2, 7})


def test_counts_at_thresholds(without_ridge, rng):
    rows, weights = correlated(rng)
    found = eliminate([reader(rows, weights)], np.arange(8))
    assert found.count(0) == 0
    assert found.count(found.errors[2]) == 3
    assert found.count(found.errors[2] * (1 - 1e-9)) == 2
    assert found.count(np.inf) == 7
    assert all(a <= b for a, b in itertools.pairwise(found.errors))


def test_arguments_stay_as_they_are(rng):
    rows, weights = correlated(rng)
    given = reader(rows, weights)
    before = [given.covariance.copy(), given.gram.copy(), given.numbers.copy()]
    group = np.arange(8)
    first, second = eliminate([given], group), eliminate([given], group)
    for value, array in zip(before, (given.covariance, given.gram, given.numbers), strict=True):
        np.testing.assert_array_equal(value, array)
    np.testing.assert_array_equal(group, np.arange(8))
    np.testing.assert_array_equal(first.errors, second.errors)
