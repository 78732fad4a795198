"""The orders in which units are masked, against numpy."""

import collections
import itertools

import keras
import numpy as np
import pytest
from keras import layers
from perturbed_networks import as_data, branches, chain, inputs_of, maps, randomize
from scipy import stats

from tfunits import measures, surgery
from tfunits.measures import curves
from tfunits.measures.orders import ORDERS, ORDERS_BY_ACTIVATION, MaskingPlan, distinct_trials
from tfunits.measures.perturbations import PerturbedRuns
from tfunits.surgery import Graph, incoming_norms, tap_keys

UNITS = 6


def plan(shape=(UNITS,), *, draws=3, levels=7, **options) -> MaskingPlan:
    return MaskingPlan.draw("tap", shape, draws=draws, levels=levels, **options)


def sequences(made: MaskingPlan) -> np.ndarray:
    """Units in the order in which they are masked, [draws, units], read off the masks themselves."""
    every = MaskingPlan(shape=made.shape, removed=np.arange(made.num_units + 1), rank=made.rank)
    kept = np.array(
        [[every.mask(draw, level).ravel() for level in range(made.num_units + 1)] for draw in range(made.num_draws)]
    )
    return np.diff(kept, axis=1).argmin(axis=2)


def test_random_orders_are_uniform():
    """All 24 orders of four units, by a chi-square test."""
    draws = 4800
    counts = collections.Counter(map(tuple, sequences(plan((4,), draws=draws, levels=2))))
    assert set(counts) == set(itertools.permutations(range(4)))
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3
    # Negative control: the test finds an order that is preferred by a half.
    assert stats.chisquare([300, *[(draws - 300) / 23] * 23]).pvalue < 0.01


@pytest.mark.parametrize("order", ORDERS)
def test_a_draw_does_not_depend_on_how_many_there_are(order, rng):
    given = (
        {"covariance": np.cov(rng.normal(size=(UNITS, 20)))}
        if order == "targeted"
        else {"scores": np.array([1, 2, 1, 1, 2, 1])}
    )
    many = plan(draws=9, order=order, **given).rank
    np.testing.assert_array_equal(plan(draws=4, order=order, **given).rank, many[:4])
    np.testing.assert_array_equal(plan(draws=range(5, 8), order=order, **given).rank, many[5:8])
    assert len({tuple(rank) for rank in many}) > 1


@pytest.mark.parametrize("seed", range(3))
def test_targeted_starts_with_a_random_unit_and_goes_on_by_its_correlation(seed, rng):
    rows = rng.normal(size=(50, UNITS)) @ rng.normal(size=(UNITS, UNITS))
    made = plan(order="targeted", covariance=np.cov(rows, rowvar=False), draws=200, seed=seed)
    correlation = np.abs(np.corrcoef(rows, rowvar=False))
    for first, *others in sequences(made):
        np.testing.assert_array_equal([first, *others], np.argsort(-correlation[first]))
        assert (np.diff(correlation[first][others]) < 0).all()
    counts = np.bincount(sequences(made)[:, 0], minlength=UNITS)
    assert stats.chisquare(counts).pvalue > 1e-3


def test_targeted_masks_copies_of_either_sign_first_and_constant_units_last(rng):
    unit = rng.normal(size=(100, 1))
    rows = np.hstack([unit, -2 * unit, unit + 1, rng.normal(size=(100, 2)), np.ones((100, 1))])
    first_is_copied = 0
    for sequence in sequences(plan(order="targeted", covariance=np.cov(rows, rowvar=False), draws=60)):
        if sequence[0] < 3:
            first_is_copied += 1
            assert set(sequence[:3]) == {0, 1, 2}
        if sequence[0] != 5:
            assert sequence[-1] == 5
    assert 0 < first_is_copied < 60


@pytest.mark.parametrize("order", ["l1_norm", "mean_activation", "zero_share"])
def test_ranks_go_from_small_to_large_and_ties_at_random(order):
    scores = np.array([3.0, -1.0, 2.0, 2.0, 2.0, 0.5])
    found = sequences(plan(order=order, scores=scores, draws=120))
    np.testing.assert_array_equal(scores[found], np.sort(scores)[None].repeat(120, axis=0))
    ties = collections.Counter(tuple(row[2:5]) for row in found)
    assert set(ties) == set(itertools.permutations([2, 3, 4]))
    np.testing.assert_array_equal(found, sequences(plan(order=order, scores=scores, draws=120)))
    assert (found != sequences(plan(order=order, scores=scores, draws=120, seed=1))).any()


def test_locations_have_the_rank_of_their_channel_and_go_in_random_order():
    scores, shape = np.array([2.0, 1.0, 3.0]), (2, 3, 3)
    found = sequences(plan(shape, order="l1_norm", scores=scores, draws=4, levels=4))
    channel = np.indices(shape)[2].ravel()
    np.testing.assert_array_equal(channel[found], np.tile(np.repeat([1, 0, 2], 6), (4, 1)))
    assert len({tuple(row) for row in found}) == 4
    masks = [plan(shape, order="l1_norm", scores=scores, draws=1, levels=4).mask(0, level) for level in range(4)]
    np.testing.assert_array_equal([mask.any(axis=(0, 1)) for mask in masks],
                                  [[1, 1, 1], [1, 0, 1], [0, 0, 1], [0, 0, 0]])  # fmt: skip


@pytest.mark.parametrize("units", [1, 4, 7, 72])
@pytest.mark.parametrize("levels", [2, 5, 7])
def test_numbers_of_masked_units(units, levels):
    exact, authors = plan((units,), levels=levels), plan((units,), levels=levels, protocol="authors")
    assert exact.removed.tolist() == [i * units // (levels - 1) for i in range(levels)]
    assert authors.removed.tolist() == [int(level * units) for level in np.linspace(0, 1, levels)]
    for made in (exact, authors):
        masked = [(made.mask(1, level) == 0).sum() for level in range(levels)]
        np.testing.assert_array_equal(masked, made.removed)
        assert made.mask(0, 0).dtype == np.float32


def test_trials_that_mask_the_same_units_are_run_once():
    small, large = plan((2,), draws=2, levels=4), plan((1, 5), draws=2, levels=4)
    assert small.removed.tolist() == [0, 0, 1, 2]
    assert distinct_trials([small]) == [[(0, 2)], [(0, 3), (1, 3)], [(1, 2)]]
    groups = distinct_trials([small, large])
    assert sorted(place for group in groups for place in group) == [(d, i) for d in range(2) for i in (1, 2, 3)]
    for group in groups:
        masks = {tuple(np.concatenate([small.mask(*p), large.mask(*p).ravel()])) for p in group}
        assert len(masks) == 1


def activations(model: keras.Model, tap: str, inputs: np.ndarray) -> np.ndarray:
    values = surgery.read(model, [tap])(inputs)[tap].numpy().astype("float64")
    return values.reshape(-1, values.shape[-1])


def expected_ranks(order: str, model: keras.Model, tap: str, inputs: np.ndarray) -> dict:
    """What decides the order, from all activations at once."""
    rows = activations(model, tap, inputs)
    return {
        "random": dict,
        "targeted": lambda: {"covariance": np.cov(rows, rowvar=False)},
        "mean_activation": lambda: {"scores": rows.mean(axis=0)},
        "zero_share": lambda: {"scores": -(rows == 0).mean(axis=0)},
        "l1_norm": lambda: {"scores": incoming_norms(Graph(model), tap_keys(Graph(model))[tap])},
    }[order]()


@pytest.mark.parametrize("unit", ["channel", "location"])
@pytest.mark.parametrize("order", ORDERS)
def test_curves_of_every_order_are_those_of_whole_masked_networks(order, unit):
    """Each tap alone and all of them, whose units go in the same orders."""
    model = branches()
    (inputs,) = inputs_of(model, examples=30)
    graph, options = Graph(model), {"draws": 2, "levels": 4, "seed": 3}
    shapes = {tap: graph.shape(key)[1:] for tap, key in tap_keys(graph).items()}
    taps = ["left", "last", "both"]
    plans = {
        tap: MaskingPlan.draw(
            tap, shapes[tap] if unit == "location" else shapes[tap][-1:], order=order,
            **options, **expected_ranks(order, model, tap, inputs),
        )
        for tap in taps
    }  # fmt: skip
    found = measures.ablation_curves(model, as_data([inputs], 11), taps=taps, order=order, unit=unit, **options)
    assert found.settings["order"] == order
    whole = model(inputs).numpy().argmax(axis=1)
    for involved, curve in [*(([tap], found.taps[tap]) for tap in taps), (taps, found.joint)]:
        for draw, level in itertools.product(range(2), (1, 2)):
            masked = surgery.mask(model, {tap: plans[tap].mask(draw, level) for tap in involved})
            agreeing = (masked(inputs).numpy().argmax(axis=1) == whole).sum()
            assert curve.num_agreeing[draw, level] == agreeing
    assert found.joint.agreement[:, 1:].min() < 1


def masked_sequence(monkeypatch, model, inputs, order: str) -> list[int]:
    """Units of the one tap in the order in which a measure masks them."""
    seen = []

    class Capturing(PerturbedRuns):
        def __init__(self, graph, perturbations, read):
            seen.extend(change.values for sites in perturbations.values() for change in sites.values())
            super().__init__(graph, perturbations, read)

    with monkeypatch.context() as patch:
        patch.setattr(curves, "PerturbedRuns", Capturing)
        measures.ablation_curves(model, inputs, order=order, draws=1, levels=inputs.shape[1] + 1, joint=False)
    (masks,) = seen
    return np.argsort(masks.sum(axis=0), kind="stable").tolist()


def test_means_and_shares_of_zeros_are_not_other_numbers(monkeypatch, rng):
    """Units whose means, spreads and shares of zeros come in different orders."""
    model = chain(layers.Identity(name="tap_values"), layers.Dense(2), shape=(4,))
    rows = np.array([3.0, 4.0, 7.0, 0.5]) + [1.0, 0.3, 0.1, 0.2] * rng.uniform(-1, 1, size=(60, 4))
    for unit, zeros in enumerate([20, 6, 12, 2]):
        rows[:zeros, unit] = 0
    inputs = rows.astype("float32")
    by_mean, by_std = np.argsort(rows.mean(axis=0)).tolist(), np.argsort(rows.std(axis=0)).tolist()
    by_zeros = np.argsort(-(rows == 0).mean(axis=0)).tolist()
    assert len({tuple(by_mean), tuple(by_std), tuple(by_zeros), tuple(by_mean[::-1])}) == 4
    assert masked_sequence(monkeypatch, model, inputs, "mean_activation") == by_mean
    assert masked_sequence(monkeypatch, model, inputs, "zero_share") == by_zeros == [0, 2, 1, 3]


def needle(noise_units: int = 5) -> keras.Model:
    """One unit decides the class; it has the largest weights, the largest mean, and the fewest zeros."""
    model = chain(layers.Dense(noise_units + 1, "relu", name="hidden"), layers.Dense(2), shape=(3,))
    kernel = np.full((3, noise_units + 1), 0.01)
    kernel[:, 2] = [1.0, 1.0, 1.0]
    bias = np.full(noise_units + 1, -0.01)
    bias[2] = 1.0
    scores = np.zeros((noise_units + 1, 2))
    scores[2] = [0.0, 1.0]
    model.layers[1].set_weights([kernel, bias])
    model.layers[2].set_weights([scores, np.array([0.5, 0.0])])
    return model


def test_orders_by_rank_keep_what_matters_most_to_the_end(rng):
    inputs = (np.abs(rng.normal(size=(40, 3))) * rng.integers(0, 2, size=(40, 1))).astype("float32")
    for order in ("l1_norm", "mean_activation", "zero_share"):
        agreement = measures.ablation_curves(needle(), inputs, order=order, draws=4).joint.agreement
        np.testing.assert_array_equal(agreement[:, :-1], np.ones((4, 6)))
        assert (agreement[:, -1] < 1).all()
    # Negative control: at random, the unit goes early in some draw.
    assert measures.ablation_curves(needle(), inputs, draws=4).joint.agreement[:, 1:-1].min() < 1


def test_joint_curves_take_the_taps_own_orders(rng):
    """The joint curve of one tap alone is the curve of this tap."""
    model = maps()
    (inputs,) = inputs_of(model, examples=20)
    for order in ("random", "targeted", "l1_norm"):
        found = measures.ablation_curves(model, inputs, taps=["third"], order=order, draws=2)
        np.testing.assert_array_equal(found.taps["third"].num_agreeing, found.joint.num_agreeing)


@pytest.mark.parametrize("order", ORDERS_BY_ACTIVATION)
def test_orders_by_activation_do_not_depend_on_batches_or_devices(order, two_devices):
    model = branches()
    inputs = inputs_of(model, examples=23)
    expected = measures.ablation_curves(model, as_data(inputs, 23), order=order, draws=2).to_dict()
    for batch_size, strategy in ((4, None), (11, two_devices)):
        data = as_data(inputs, batch_size)
        assert measures.ablation_curves(model, data, order=order, draws=2, strategy=strategy).to_dict() == expected


def test_units_without_weights_have_no_norms():
    inputs = keras.Input((4,))
    summed = layers.Add(name="summed")([inputs, layers.Dense(4)(inputs)])
    model = randomize(keras.Model(inputs, layers.Dense(3)(summed)))
    with pytest.raises(ValueError, match="units that are the network's input; leave that tap out"):
        measures.ablation_curves(model, inputs_of(model)[0], order="l1_norm")
    with pytest.raises(ValueError, match="order: expected one of random, targeted, l1_norm, mean_activation, zero_sh"):
        measures.ablation_curves(model, inputs_of(model)[0], order="largest")
