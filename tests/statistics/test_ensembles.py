"""Ensembles, their errors, and bias and variance: by hand, against scipy, and over simulated networks."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, rel_entr, softmax
from sklearn.metrics import mean_squared_error, zero_one_loss

from tfunits.statistics import (
    BiasVariance,
    average_outputs,
    bias_variance,
    bootstrap_variance,
    ensemble_errors,
    ensemble_wrong,
    ensembles,
)

SEARCH = settings(deadline=None, derandomize=True, max_examples=60)
LOSSES = ("squared", "cross_entropy")


@st.composite
def networks(draw: st.DrawFn, smallest: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Outputs of a few networks and the labels, one score among the numbers of classes."""
    shape = draw(st.tuples(st.integers(smallest, 6), st.integers(1, 12), st.sampled_from([1, 2, 3, 5])))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    outputs = draw(st.sampled_from([0.1, 1, 30])) * rng.normal(size=shape)
    return outputs.astype(draw(st.sampled_from(["float32", "float64"]))), rng.integers(max(2, shape[2]), size=shape[1])


def losses_for(outputs: np.ndarray) -> tuple[str, ...]:
    return LOSSES[:1] if outputs.shape[-1] == 1 else LOSSES


# Both networks are unsure of the first example; the surer one is wrong about the second.
BY_HAND = np.log([[[0.6, 0.4], [0.01, 0.99]], [[0.2, 0.8], [0.7, 0.3]]])


def test_averages_by_hand() -> None:
    np.testing.assert_allclose(average_outputs(np.array([[[1.0, 2, 6]], [[3.0, 2, 0]]])), [[2, 2, 3]], rtol=1e-15)
    mean_logs = [[math.log(0.12) / 2, math.log(0.32) / 2], [math.log(0.007) / 2, math.log(0.297) / 2]]
    np.testing.assert_allclose(average_outputs(BY_HAND), mean_logs, rtol=1e-14)
    np.testing.assert_allclose(average_outputs(BY_HAND, "probabilities"), [[0.4, 0.6], [0.355, 0.645]], rtol=1e-14)


def test_logits_and_probabilities_may_vote_for_different_classes() -> None:
    """One sure network outvotes two others by its logits alone."""
    outputs = np.array([[[20.0, 0]], [[0, 2]], [[0, 2]]])
    assert ensemble_wrong(outputs, [0]).tolist() == [False]
    assert ensemble_wrong(outputs, [0], average="probabilities").tolist() == [True]
    # Of one network 1/3 is right, of a pair two of three by logits (0 and 1, 0 and 2) and none by probabilities.
    np.testing.assert_allclose(ensemble_errors(outputs, [0]), [2 / 3, 1 / 3, 0], rtol=1e-14)
    assert ensemble_errors(outputs, [0], average="probabilities")[-1] == 1


@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_a_single_score_is_averaged_whatever_is_asked_for(average: str) -> None:
    outputs = np.array([[[3.0], [1], [0]], [[-1.0], [-5], [0]]])
    np.testing.assert_array_equal(average_outputs(outputs, average), [[1], [-2], [0]])
    # A score of 0 is class 0, as in training.
    assert ensemble_wrong(outputs, [1, 0, 0], average=average).tolist() == [False, False, False]
    assert ensemble_wrong(outputs, [0, 1, 1], average=average).tolist() == [True, True, True]
    np.testing.assert_array_equal(ensemble_errors(outputs, [1, 0, 0], average=average), [(0 + 2 / 3) / 2, 0])


@SEARCH
@given(networks(smallest=1), st.sampled_from(["logits", "probabilities"]))
def test_the_average_is_scipys(case: tuple, average: str) -> None:
    outputs, labels = case
    members = outputs.astype("float64")
    if average == "probabilities" and outputs.shape[-1] > 1:
        members = softmax(members, axis=-1)
    found = average_outputs(outputs, average)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, members.mean(axis=0), rtol=1e-12, atol=1e-15)
    classes = found[:, 0] > 0 if outputs.shape[-1] == 1 else np.argmax(found, axis=-1)
    wrong = ensemble_wrong(outputs, labels, average=average)
    assert wrong.dtype == bool
    assert wrong.mean() == pytest.approx(zero_one_loss(labels, classes))


@SEARCH
@given(networks(smallest=1), st.sampled_from(["logits", "probabilities"]))
def test_errors_are_means_over_all_subsets(case: tuple, average: str) -> None:
    outputs, labels = case
    expected = [
        np.mean([
            ensemble_wrong(outputs[list(subset)], labels, average=average).mean()
            for subset in itertools.combinations(range(len(outputs)), size)
        ])
        for size in range(1, len(outputs) + 1)
    ]  # fmt: skip
    found = ensemble_errors(outputs, labels, average=average)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert found[-1] == ensemble_wrong(outputs, labels, average=average).mean()


def noisy_networks(num_networks: int = 20, num_examples: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Networks that are right but for noise of their own."""
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=num_examples)
    return 0.8 * np.eye(4)[labels] + rng.normal(size=(num_networks, num_examples, 4)), labels


def test_errors_of_many_networks_are_means_over_some_subsets() -> None:
    outputs, labels = noisy_networks()
    found = ensemble_errors(outputs, labels)
    assert found.shape == (20,)
    assert found[0] == pytest.approx(np.mean([ensemble_wrong(each[None], labels).mean() for each in outputs]))
    without_one = [ensemble_wrong(np.delete(outputs, i, axis=0), labels).mean() for i in range(20)]
    assert found[-2] == pytest.approx(np.mean(without_one))
    # Independent noise averages out.
    assert (np.diff(found[[0, 1, 3, 7, 19]]) < 0).all()
    # 20 subsets of a size leave little chance: their means are near those over 500.
    np.testing.assert_allclose(found, ensemble_errors(outputs, labels, num_subsets=500), atol=0.01)


def test_the_seed_makes_the_subsets_and_order_and_ends_do_not_depend_on_it() -> None:
    outputs, labels = noisy_networks(8)
    first, again, other = (ensemble_errors(outputs, labels, num_subsets=9, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first[[0, 6, 7]], other[[0, 6, 7]])
    assert (first[1:6] != other[1:6]).any()
    assert ensemble_errors(outputs, labels, num_subsets=1)[-1] == first[-1]


def test_the_last_error_is_the_ensembles_even_where_classes_tie() -> None:
    """All classes have the same mean; which is largest after rounding depends on the order of the sum."""
    rng = np.random.default_rng(0)
    outputs = rng.permuted(np.tile(np.arange(1, 8)[:, None, None] / 10, (1, 1000, 5)), axis=0)
    labels = rng.integers(5, size=1000)
    assert ensemble_errors(outputs, labels)[-1] == ensemble_wrong(outputs, labels).mean()
    assert (outputs.sum(axis=0).argmax(axis=1) != outputs[::-1].sum(axis=0).argmax(axis=1)).any()


def test_subsets_are_different_ones() -> None:
    """35 of the 35 triples of seven networks: with repetition some would be missing."""
    outputs, labels = noisy_networks(7)
    every = ensemble_errors(outputs, labels, num_subsets=35)
    np.testing.assert_allclose(every, ensemble_errors(outputs, labels, num_subsets=35, seed=1), rtol=1e-14)
    subsets = list(ensembles._subsets(7, 34, np.random.default_rng(0)))
    assert len(subsets) == len(set(subsets)) == 7 + 21 + 34 + 34 + 21 + 7 + 1
    assert all(len(set(subset)) == len(subset) for subset in subsets)


def test_bias_and_variance_of_the_squared_loss_by_hand() -> None:
    """Probabilities 0.6 and 0.2 of the right class, then 0.01 and 0.7: means 0.4 and 0.355, and two classes each."""
    found = bias_variance(BY_HAND, [0, 0])
    variance = 2 * np.mean([2 * 0.2**2, 2 * 0.345**2])
    assert found.variance == pytest.approx(variance, rel=1e-12)
    assert found.bias == pytest.approx(2 * np.mean([0.6**2, 0.645**2]) - variance / 2, rel=1e-12)
    assert found.loss == pytest.approx(2 * np.mean([0.4**2, 0.8**2, 0.99**2, 0.3**2]), rel=1e-12)


def test_bias_and_variance_of_the_cross_entropy_by_hand() -> None:
    """q is proportional to the geometric means: sqrt(0.12) and sqrt(0.32), sqrt(0.007) and sqrt(0.297)."""
    found = bias_variance(BY_HAND, [0, 1], loss="cross_entropy")
    norms = [math.sqrt(0.12) + math.sqrt(0.32), math.sqrt(0.007) + math.sqrt(0.297)]
    right = [math.sqrt(0.12) / norms[0], math.sqrt(0.297) / norms[1]]
    assert found.bias == pytest.approx(-np.mean(np.log(right)), rel=1e-12)
    assert found.variance == pytest.approx(-np.mean(np.log(norms)), rel=1e-12)
    assert found.loss == pytest.approx(-np.mean(np.log([0.6, 0.2, 0.99, 0.3])), rel=1e-12)


def test_bias_and_variance_of_scores_by_hand() -> None:
    """Scores 3 and 1 of +1, -2 and 2 of -1: means 2 and 0, variances 2 and 8."""
    found = bias_variance(np.array([[[3.0], [-2]], [[1.0], [2]]]), [1, 0])
    assert found == BiasVariance(bias=((1 - 2 / 2) + (1 - 8 / 2)) / 2, variance=5)
    assert found.loss == (4 + 0 + 1 + 9) / 4


@SEARCH
@given(networks())
def test_bias_and_variance_are_the_loss(case: tuple) -> None:
    outputs, labels = case
    num_networks, _, num_classes = outputs.shape
    members = outputs.astype("float64")
    if num_classes == 1:
        targets = np.tile(2 * labels[:, None] - 1.0, (num_networks, 1))
        squared = mean_squared_error(targets, members.reshape(-1, 1))
    else:
        targets = np.tile(np.eye(num_classes)[labels], (num_networks, 1))
        squared = num_classes * mean_squared_error(targets, softmax(members, axis=-1).reshape(-1, num_classes))
        nats = -np.mean(np.sum(targets * log_softmax(members, axis=-1).reshape(-1, num_classes), axis=1))
        assert bias_variance(outputs, labels, "cross_entropy").loss == pytest.approx(nats, rel=1e-10, abs=1e-14)
    assert bias_variance(outputs, labels).loss == pytest.approx(squared, rel=1e-10, abs=1e-14)


@SEARCH
@given(networks())
def test_they_are_their_definitions(case: tuple) -> None:
    outputs, labels = case
    num_networks, num_examples, num_classes = outputs.shape
    members = outputs.astype("float64")
    predictions = members if num_classes == 1 else softmax(members, axis=-1)
    variance = np.var(predictions, axis=0, ddof=1).sum() / num_examples
    assert bias_variance(outputs, labels).variance == pytest.approx(variance, rel=1e-10, abs=1e-14)
    if num_classes > 1:
        center = softmax(log_softmax(members, axis=-1).mean(axis=0), axis=-1)
        found = bias_variance(outputs, labels, "cross_entropy")
        assert found.variance == pytest.approx(rel_entr(center, predictions).sum(axis=-1).mean(), rel=1e-9, abs=1e-12)
        assert found.bias == pytest.approx(rel_entr(np.eye(num_classes)[labels], center).sum() / num_examples, rel=1e-9)


@SEARCH
@given(networks(), st.randoms(use_true_random=False))
def test_the_order_of_networks_examples_and_classes_does_not_matter(case: tuple, random: object) -> None:
    outputs, labels = case
    num_networks, num_examples, num_classes = outputs.shape
    order = [random.sample(range(n), n) for n in (num_networks, num_examples, num_classes)]
    changed, relabelled = outputs[np.ix_(*order)], labels[order[1]]
    if num_classes > 1:
        relabelled = np.argsort(order[2])[relabelled]
    for loss in losses_for(outputs):
        expected, found = bias_variance(outputs, labels, loss), bias_variance(changed, relabelled, loss)
        assert (found.bias, found.variance) == pytest.approx((expected.bias, expected.variance), rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(ensemble_errors(changed, relabelled), ensemble_errors(outputs, labels), atol=1e-12)


@SEARCH
@given(networks(smallest=1), st.integers(2, 5))
def test_equal_networks_have_no_variance(case: tuple, copies: int) -> None:
    outputs, labels = case
    same = np.tile(outputs[:1], (copies, 1, 1))
    for loss in losses_for(outputs):
        found = bias_variance(same, labels, loss)
        assert found.variance == pytest.approx(0, abs=1e-13)
        assert found.loss == pytest.approx(bias_variance(same[:2], labels, loss).loss, rel=1e-12)
    wrong = ensemble_wrong(outputs[:1], labels)
    np.testing.assert_allclose(ensemble_errors(same, labels), wrong.mean(), rtol=1e-14)


@SEARCH
@given(networks(), st.floats(-1e3, 1e3))
def test_adding_a_number_to_all_logits_changes_nothing(case: tuple, shift: float) -> None:
    outputs, labels = case
    outputs = outputs.astype("float64")
    if outputs.shape[-1] > 1:
        for loss in LOSSES:
            expected, found = bias_variance(outputs, labels, loss), bias_variance(outputs + shift, labels, loss)
            assert (found.bias, found.variance) == pytest.approx((expected.bias, expected.variance), rel=1e-7, abs=1e-9)


def test_the_squared_losss_parts_are_unbiased() -> None:
    """Scores f = 1/2 + noise of std 2 for targets of 1: bias 1/4, variance 4, whatever the number of networks.

    Of 40,000 examples the variance is known to 0.02 with four networks or more and to 0.03 with two. Dividing by the
    number of networks would give 2 and 2.67 and 3.6.
    """
    rng = np.random.default_rng(0)
    for num_networks in (2, 3, 10):
        outputs = 0.5 + 2 * rng.normal(size=(num_networks, 40_000, 1))
        found = bias_variance(outputs, np.ones(40_000, int))
        assert found.variance == pytest.approx(4, abs=0.12)
        assert found.bias == pytest.approx(0.25, abs=0.08)
        biased = outputs.var(axis=0).mean()
        assert biased != pytest.approx(4, abs=0.12)
        assert found.loss - biased != pytest.approx(0.25, abs=0.08)


def test_few_networks_give_the_cross_entropy_too_little_variance() -> None:
    rng = np.random.default_rng(0)
    outputs, labels = rng.normal(size=(64, 2000, 5)), rng.integers(5, size=2000)
    parts = [bias_variance(outputs[:count], labels, "cross_entropy") for count in (2, 4, 64)]
    assert parts[0].variance < 0.9 * parts[1].variance < 0.81 * parts[2].variance
    assert parts[0].bias > parts[1].bias > parts[2].bias


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_huge_logits_stay_finite(kind: str) -> None:
    """Two networks sure of different classes: q is even, each is log(2) - 10,000 away from it, and both lose 10,000."""
    outputs = np.array([[[1e4, -1e4]], [[-1e4, 1e4]]], kind)
    found = bias_variance(outputs, [0], "cross_entropy")
    assert found.bias == pytest.approx(math.log(2), rel=1e-9)
    assert found.variance == pytest.approx(1e4 - math.log(2), rel=1e-12)
    found = bias_variance(outputs, [0])
    assert (found.bias, found.variance) == pytest.approx((0, 1))
    np.testing.assert_allclose(average_outputs(outputs, "probabilities"), [[0.5, 0.5]])
    np.testing.assert_array_equal(average_outputs(outputs), [[0, 0]])
    # The plain formula is not a number.
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        plain = np.exp(outputs) / np.exp(outputs).sum(axis=-1, keepdims=True)
    assert np.isnan(plain).any()


def test_parts_of_the_examples_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs, labels = noisy_networks(6, 101)

    def everything() -> list:
        both = [bias_variance(outputs, labels, loss) for loss in LOSSES]
        return [
            average_outputs(outputs, "probabilities"),
            ensemble_errors(outputs, labels),
            [[found.bias, found.variance] for found in both],
        ]

    expected = everything()
    for values in (1, 500, 3000):
        monkeypatch.setattr(ensembles, "_BLOCK_VALUES", values)
        for found, known in zip(everything(), expected, strict=True):
            np.testing.assert_allclose(found, known, rtol=1e-12)


OUTPUTS = np.zeros((3, 4, 2))
LABELS = np.zeros(4, int)


@pytest.mark.parametrize(
    ("outputs", "labels", "message"),
    [
        (OUTPUTS[0], LABELS, r"outputs: expected shape \[networks, examples, classes\], received \(4, 2\)"),
        (OUTPUTS[:0], LABELS, r"outputs: expected shape \[networks, examples, classes\], received \(0, 4, 2\)"),
        (OUTPUTS[:, :0], LABELS[:0], r"outputs: expected shape .* received \(3, 0, 2\)"),
        (OUTPUTS + np.nan, LABELS, "outputs: expected finite values, received NaN or infinity; leave networks out"),
        (OUTPUTS - np.inf, LABELS, "outputs: expected finite values"),
        (OUTPUTS, LABELS[1:], r"labels: expected shape \(4,\) as examples of outputs, received \(3,\)"),
        (OUTPUTS, LABELS[:, None], r"labels: expected shape \(4,\) as examples of outputs, received \(4, 1\)"),
        (OUTPUTS, LABELS + 2, r"labels: expected classes from 0 to 1, received \[2\]"),
        (OUTPUTS, LABELS - 1, r"labels: expected classes from 0 to 1, received \[-1\]"),
        (OUTPUTS, LABELS + 0.5, r"labels: expected classes from 0 to 1, received \[0.5\]"),
        (OUTPUTS[:, :, :1], LABELS - 1, r"labels: expected classes from 0 to 1, received \[-1\]"),
    ],
)
def test_errors_of_arrays(outputs: np.ndarray, labels: np.ndarray, message: str) -> None:
    for measure in (ensemble_wrong, ensemble_errors, bias_variance):
        with pytest.raises(ValueError, match=message):
            measure(outputs, labels)


def test_other_errors() -> None:
    for measure in (ensemble_wrong, ensemble_errors):
        with pytest.raises(
            ValueError, match=r"average: expected one of \('logits', 'probabilities'\), received 'votes'"
        ):
            measure(OUTPUTS, LABELS, average="votes")
    with pytest.raises(ValueError, match="average: expected one of"):
        average_outputs(OUTPUTS, "votes")
    with pytest.raises(ValueError, match="outputs: expected finite values"):
        average_outputs(OUTPUTS * np.nan)
    with pytest.raises(ValueError, match="num_subsets: expected 1 or more, received 0"):
        ensemble_errors(OUTPUTS, LABELS, num_subsets=0)
    with pytest.raises(ValueError, match=r"loss: expected one of \('squared', 'cross_entropy'\), received 'hinge'"):
        bias_variance(OUTPUTS, LABELS, "hinge")
    for loss in LOSSES:
        with pytest.raises(ValueError, match="outputs: expected at least two networks, received 1; train more seeds"):
            bias_variance(OUTPUTS[:1], LABELS, loss)
    with pytest.raises(ValueError, match="loss: expected 'squared' of networks with one output, received 'cross_ent"):
        bias_variance(OUTPUTS[:, :, :1], LABELS, "cross_entropy")


@SEARCH
@given(networks())
def test_a_bootstrap_sample_has_the_variance_of_its_networks(given_networks: tuple[np.ndarray, np.ndarray]) -> None:
    """However far the outputs are from 0."""
    outputs, labels = given_networks
    for shift in (0, 1000):
        moved = (outputs + shift).astype(np.float64)
        found = bootstrap_variance(moved, num_samples=5, seed=3)
        draws = np.random.default_rng(3).integers(len(outputs), size=(5, len(outputs)))
        scale = len(outputs) / (len(outputs) - 1)
        expected = [scale * bias_variance(moved[draw], labels).variance for draw in draws]
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("num_networks", [3, 10])
def test_samples_of_a_variance_lie_around_it_for_few_networks_as_for_many(num_networks: int) -> None:
    outputs = np.random.default_rng(0).normal(size=(num_networks, 400, 1))
    found = bootstrap_variance(outputs, num_samples=2000)
    assert found.mean() == pytest.approx(bias_variance(outputs, np.zeros(400, int)).variance, rel=0.02)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (np.zeros((1, 4, 2)), "outputs: expected at least two networks, received 1; train more seeds"),
        (np.zeros((3, 4)), r"outputs: expected shape \[networks, examples, classes\], received \(3, 4\)"),
        (np.full((3, 4, 2), np.nan), "outputs: expected finite values"),
    ],
)
def test_errors_of_a_bootstrap_of_the_variance(outputs: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bootstrap_variance(outputs)
