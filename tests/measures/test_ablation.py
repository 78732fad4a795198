"""Ablation curves against brute force, and against networks of which the answer is known."""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfunits import measures, models, surgery
from tfunits.measures.orders import MaskingPlan
from tfunits.statistics import crossing_fraction

UNITS = ("channel", "location")


def batches(inputs: np.ndarray, size: int) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(inputs).batch(size)


def dense_network(hidden: int, outputs: int, activation: str | None = None, tap: str = "hidden") -> keras.Model:
    """Six inputs, one hidden ReLU layer, random weights."""
    inputs = keras.Input((6,))
    values = layers.Dense(hidden, "relu", name=tap)(inputs)
    model = keras.Model(inputs, layers.Dense(outputs, activation, name="scores")(values))
    generator = np.random.default_rng(4)
    for variable in model.variables:
        variable.assign(generator.normal(size=variable.shape))
    return model


def counting_network(units: int, threshold: float) -> keras.Model:
    """All units are 1 on every example; the class is 0 as long as more than `threshold` of them are left."""
    inputs = keras.Input((6,))
    ones = layers.Dense(units, "relu", kernel_initializer="zeros", bias_initializer="ones", name="ones")(inputs)
    scores = layers.Dense(2, kernel_initializer="zeros", name="scores")
    model = keras.Model(inputs, scores(ones))
    scores.kernel.assign(np.eye(2)[[0] * units])
    scores.bias.assign([0.0, threshold])
    return model


@pytest.fixture
def vectors(rng) -> np.ndarray:
    return rng.normal(size=(27, 6)).astype("float32")


def brute_force(model, inputs, taps: Sequence[str], unit: str, *, draws: int, levels: int, seed: int) -> np.ndarray:
    """Agreeing examples [draws, levels], each from a whole forward pass of a model with constant masks."""
    graph = surgery.Graph(model)
    shapes = {tap: graph.shape(surgery.tap_keys(graph)[tap])[1:] for tap in taps}
    flat = {tap: shape if unit == "location" else (shape[-1],) for tap, shape in shapes.items()}
    options = {"draws": draws, "levels": levels, "protocol": "exact", "seed": seed}
    plans = {tap: MaskingPlan.draw(tap, flat[tap], **options) for tap in taps}
    whole = np.argmax(model(inputs), axis=-1)
    agreeing = np.full((draws, levels), len(inputs))
    for draw, level in np.ndindex(draws, levels):
        if level:
            masked = surgery.mask(model, {tap: plan.mask(draw, level) for tap, plan in plans.items()})
            agreeing[draw, level] = (np.argmax(masked(inputs), axis=-1) == whole).sum()
    return agreeing


def word_network() -> keras.Model:
    """Word numbers of which 0 is padding, so that a mask travels beside the values."""
    keras.utils.set_random_seed(1)
    words = keras.Input((8,), dtype="int32")
    embedded = layers.Embedding(7, 4, "normal", mask_zero=True)(words)
    hidden = layers.Dense(9, "relu", bias_initializer="normal", name="hidden")(embedded)
    return keras.Model(words, layers.Dense(4)(layers.LSTM(5, name="memory")(hidden)))


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("network", ["branched", "alexnet", "words"])
def test_counts_are_those_of_whole_masked_networks(network, unit, branched_model, images, rng):
    model, inputs = branched_model, images
    if network == "alexnet":
        model = models.build("alexnet", size=0.0625, input_shape=(8, 8, 3), num_classes=4, init_scale=3.0)
    elif network == "words":
        model, inputs = word_network(), rng.integers(0, 7, size=(27, 8)).astype("int32")
    options = {"draws": 2, "levels": 4, "seed": 5}
    curves = measures.ablation_curves(model, batches(inputs, 8), unit=unit, **options)
    assert list(curves.taps) == list(surgery.find_taps(model))
    for tap, curve in curves.taps.items():
        np.testing.assert_array_equal(curve.num_agreeing, brute_force(model, inputs, [tap], unit, **options))
    everywhere = brute_force(model, inputs, list(curves.taps), unit, **options)
    np.testing.assert_array_equal(curves.joint.num_agreeing, everywhere)
    # Negative control: another order gives other counts, so that equality above means the masks were these.
    other = brute_force(model, inputs, list(curves.taps), unit, **{**options, "seed": 6})
    assert (curves.joint.num_agreeing != other).any()


def test_the_mask_of_a_draw_is_nested_and_of_the_stated_size():
    plan = MaskingPlan.draw("tap", (5, 5, 4), draws=3, levels=7, protocol="exact", seed=0)
    masks = np.array([[plan.mask(draw, level) for level in range(7)] for draw in range(3)])
    assert masks.shape == (3, 7, 5, 5, 4)
    assert (np.diff(masks, axis=1) <= 0).all()
    expected = [i * 100 // 6 for i in range(7)]
    np.testing.assert_array_equal((1 - masks).sum(axis=(2, 3, 4)), [expected] * 3)


def test_orders_of_draws_taps_and_seeds_differ():
    def rank(name="tap", seed=0):
        return MaskingPlan.draw(name, (50,), draws=2, levels=3, protocol="exact", seed=seed).rank

    rows = [*rank(), *rank(name="other"), *rank(seed=1)]
    assert len({tuple(row) for row in rows}) == 6
    assert all(sorted(row) == list(range(50)) for row in rows)
    np.testing.assert_array_equal(rank(), rank())


def test_every_unit_is_equally_often_the_first_to_go():
    draws, units = 600, 6
    plan = MaskingPlan.draw("tap", (units,), draws=draws, levels=units + 1, protocol="exact", seed=1)
    counts = np.array([plan.mask(draw, 1) == 0 for draw in range(draws)]).sum(axis=0)
    # Binomial with mean 100 and standard deviation 9.1; five of them.
    assert np.abs(counts - draws / units).max() < 46


def test_nothing_depends_on_the_batch_size(branched_model, images):
    counts = [measures.ablation_curves(branched_model, batches(images, size), draws=2) for size in (4, 9, 27)]
    for curves in counts[1:]:
        assert curves.to_dict() == counts[0].to_dict()
        assert curves.joint.num_examples == 27


def test_masks_run_in_parts_give_the_same_counts(vectors, monkeypatch):
    model = dense_network(12, 4)
    whole = measures.ablation_curves(model, vectors)
    monkeypatch.setattr("tfunits.measures.perturbations._STACKED_VALUES", 12 * 27 * 4)
    np.testing.assert_array_equal(measures.ablation_curves(model, vectors).joint.num_agreeing, whole.joint.num_agreeing)


def test_equal_seeds_give_equal_curves_and_different_seeds_different_ones(vectors):
    model = dense_network(12, 4)
    first, again, other = (measures.ablation_curves(model, vectors, seed=seed).joint for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.num_agreeing, again.num_agreeing)
    assert (first.num_agreeing != other.num_agreeing).any()


@pytest.mark.parametrize("unit", UNITS)
def test_two_devices_give_the_same_counts(unit, branched_model, images, two_devices):
    """With an uneven last batch, and one of a single example."""
    options = {"unit": unit, "draws": 2}
    expected = measures.ablation_curves(branched_model, images, **options).to_dict()
    for size in (8, 13):
        data = batches(images, size)
        assert measures.ablation_curves(branched_model, data, **options, strategy=two_devices).to_dict() == expected


def test_both_ends_of_a_curve(branched_model, images):
    """No unit masked changes no prediction; with all masked, the order in which they went does not matter."""
    curves = measures.ablation_curves(branched_model, images)
    for curve in [*curves.taps.values(), curves.joint]:
        assert (curve.num_agreeing[:, 0] == len(images)).all()
        assert len(set(curve.num_agreeing[:, -1])) == 1
        assert (curve.fractions[[0, -1]] == [0, 1]).all()
        assert curve.num_agreeing.shape == (3, 7)
    assert curves.joint.num_units == 4 + 4 + 8 + 8
    # Behind `gated` lies only the head, so that all that is left of it is its bias.
    only_bias = np.argmax(branched_model.get_layer("scores").bias)
    expected = (np.argmax(branched_model(images), axis=-1) == only_bias).sum()
    assert curves.taps["gated"].num_agreeing[0, -1] == expected


def test_four_channels_lose_0_0_1_2_2_3_and_4(vectors):
    left = sum(
        measures.ablation_curves(counting_network(4, threshold + 0.5), vectors, draws=1).joint.agreement[0]
        for threshold in range(4)
    )
    np.testing.assert_array_equal(4 - left, [0, 0, 1, 2, 2, 3, 4])


def test_fractions_are_those_really_masked(vectors):
    curve = measures.ablation_curves(counting_network(4, 0.5), vectors, draws=1).joint
    np.testing.assert_array_equal(curve.fractions, np.array([0, 0, 1, 2, 2, 3, 4]) / 4)


def test_the_authors_protocol_masks_59_of_72_units_at_five_sixths(vectors):
    """int(5/6 * 72) is 59 in floating point; then 13 units are left, else 12."""
    assert int(np.linspace(0, 1, 7)[5] * 72) == 59
    model = counting_network(72, 12.5)
    exact = measures.ablation_curves(model, vectors, draws=1).joint
    authors = measures.ablation_curves(model, vectors, draws=1, protocol="authors").joint
    assert exact.num_agreeing[0].tolist() == [27, 27, 27, 27, 27, 0, 0]
    assert authors.num_agreeing[0].tolist() == [27, 27, 27, 27, 27, 27, 0]
    np.testing.assert_array_equal(exact.fractions, [0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1])
    np.testing.assert_array_equal(authors.fractions, np.linspace(0, 1, 7))


def test_prunability_of_a_network_that_needs_a_third_of_its_units(vectors):
    """Of twelve units more than 4.5 must be left: 6 may go, 8 may not; from 1 to 0, a line passes 0.8 after a fifth."""
    model = counting_network(12, 4.5)
    prunable = measures.prunability(model, vectors)
    expected = (6 + 0.2 * 2) / 12
    assert prunable.rows["ones"]["prunable"] == pytest.approx(expected)
    assert prunable.network["prunable"] == pytest.approx(expected)
    assert prunable.network["not_prunable"] == pytest.approx(1 - expected)
    assert prunable.network["area"] == pytest.approx(4 / 7)
    stricter = measures.prunability(model, vectors, tolerance=0.05)
    assert stricter.network["prunable"] == pytest.approx((6 + 0.05 * 2) / 12)
    scaled = measures.prunability(model, vectors, size=0.5)
    assert scaled.network["prunable"] == pytest.approx(expected / 8)
    assert scaled.network["not_prunable"] == pytest.approx((1 - expected) / 8)


def test_the_order_of_units_in_a_layer_does_not_matter_to_the_ends(vectors, rng):
    model, permuted, order = dense_network(12, 4), dense_network(12, 4), rng.permutation(12)
    hidden, scores = permuted.get_layer("hidden"), permuted.get_layer("scores")
    hidden.set_weights([w[..., order] for w in hidden.get_weights()])
    scores.kernel.assign(scores.kernel.numpy()[order])
    np.testing.assert_allclose(permuted(vectors), model(vectors), rtol=1e-4, atol=1e-5)
    left, right = (measures.ablation_curves(m, vectors).joint.num_agreeing for m in (model, permuted))
    np.testing.assert_array_equal(left[:, [0, -1]], right[:, [0, -1]])
    assert (left != right).any()


def widened(first: np.ndarray, bias: np.ndarray, last: np.ndarray, last_bias: np.ndarray | None = None) -> keras.Model:
    inputs = keras.Input((first.shape[0],))
    hidden = layers.Dense(first.shape[1], "relu", name="hidden")
    scores = layers.Dense(last.shape[1])
    model = keras.Model(inputs, scores(hidden(inputs)))
    hidden.set_weights([first, bias])
    scores.set_weights([last, np.zeros(last.shape[1]) if last_bias is None else last_bias])
    return model


# Incoming weights u, bias b, outgoing weights w; v is the outgoing weight of silent units.
WIDENINGS: dict[str, Callable] = {
    "silent": lambda u, b, w, v: ([u, 0 * u], [b, 0 * b - 1], [w, v]),
    "blocked_copy": lambda u, b, w, v: ([u, u], [b, b], [w, 0 * w]),
    "blocked_new": lambda u, b, w, v: ([u, 2 * u[::-1]], [b, b], [w, 0 * w]),
    "split": lambda u, b, w, v: ([u, u], [b, b], [w / 2, w / 2]),
    "balanced": lambda u, b, w, v: ([u, u], [b, b], [2 * w, -w]),
}
WITHOUT_EFFECT = ("silent", "blocked_copy", "blocked_new")


def widen(kind: str, u: np.ndarray, b: np.ndarray, w: np.ndarray, v: np.ndarray, **options) -> keras.Model:
    return widened(*(np.concatenate(p, axis=-1 - i // 2) for i, p in enumerate(WIDENINGS[kind](u, b, w, v))), **options)


@pytest.mark.parametrize("kind", WIDENINGS)
def test_masking_exactly_the_added_units_changes_nothing(kind, vectors, rng):
    u, b, w, v = (rng.normal(size=shape).astype("float32") for shape in ((6, 5), (5,), (5, 4), (5, 4)))
    narrow, wide = widened(u, b, w), widen(kind, u, b, w, v)
    np.testing.assert_allclose(wide(vectors), narrow(vectors), rtol=1e-4, atol=1e-4)
    first_half = np.repeat([1, 0], 5)
    classes = np.argmax(wide(vectors), axis=-1)
    # One copy of split or balanced units gives the scores times 1/2, or 2.
    np.testing.assert_array_equal(np.argmax(surgery.mask(wide, {"hidden": first_half})(vectors), axis=-1), classes)
    if kind in WITHOUT_EFFECT:
        # Negative control: the first half does all the work.
        without = surgery.mask(wide, {"hidden": 1 - first_half})(vectors)
        assert (np.argmax(without, axis=-1) != classes).any()


UNITS_OF_THEORY = 24
WEIGHTS = np.linspace(0.7, 1.3, UNITS_OF_THEORY)
THRESHOLD = 0.3
# Examples that each need one unit's outgoing weight to stay above the threshold: agreement is linear in the units.
ONE_HOT = np.eye(UNITS_OF_THEORY, dtype="float32")


def theory(first: list[np.ndarray], last: list[np.ndarray]) -> keras.Model:
    """One-hot inputs, copies of the identity, a score that must exceed a threshold."""
    u = np.concatenate(first, axis=1)
    w = np.concatenate(last)[:, None] * [[0.0, 1.0]]
    return widened(u, np.zeros(u.shape[1]), w, np.array([THRESHOLD, 0.0]))


def curve_of(model: keras.Model, draws: int = 150):
    return measures.ablation_curves(model, ONE_HOT, draws=draws).joint


def balanced(offset: float) -> keras.Model:
    return theory([ONE_HOT, ONE_HOT], [WEIGHTS / 2 + offset, WEIGHTS / 2 - offset])


def assert_mean(curve, expected: np.ndarray) -> None:
    """The mean over draws, within four standard errors."""
    spread = curve.agreement.std(axis=0, ddof=1) / np.sqrt(len(curve.agreement))
    assert (np.abs(curve.agreement.mean(axis=0) - expected) <= 4 * spread + 1e-9).all()


def test_blocked_and_silent_units_leave_curves_as_they_are_in_expectation():
    """So twice as many units are prunable, and the area stays."""
    narrow = curve_of(theory([ONE_HOT], [WEIGHTS]))
    np.testing.assert_allclose(narrow.agreement, np.tile(1 - np.arange(7) / 6, (150, 1)))
    assert narrow.prunability()[1] * narrow.num_units == pytest.approx(0.2 * UNITS_OF_THEORY)
    none = np.zeros(UNITS_OF_THEORY)
    other = np.roll(ONE_HOT, 1, axis=0)
    for first, last in (
        ([ONE_HOT, ONE_HOT], [WEIGHTS, none]),  # blocked_copy
        ([ONE_HOT, ONE_HOT + other], [WEIGHTS, none]),  # blocked_new
        ([ONE_HOT, -ONE_HOT], [WEIGHTS, WEIGHTS]),  # silent
    ):
        wide = curve_of(theory(first, last))
        assert wide.num_units == 2 * narrow.num_units
        assert_mean(wide, narrow.fractions * -1 + 1)
        assert wide.area == pytest.approx(narrow.area, abs=0.02)
        assert wide.agreement.std(axis=0)[1:-1].min() > 0.02
        mean_curve = crossing_fraction(wide.fractions, wide.agreement.mean(axis=0))
        assert mean_curve * wide.num_units == pytest.approx(2 * 0.2 * narrow.num_units, rel=0.1)


def both_masked(fractions: np.ndarray) -> np.ndarray:
    """Chance that both of two units are among the masked ones, of 2 n."""
    total = 2 * UNITS_OF_THEORY
    count = fractions * total
    return count * (count - 1) / (total * (total - 1))


def test_split_units_raise_the_curve():
    """Either half alone is above the threshold, so that both must go."""
    assert WEIGHTS.min() / 2 > THRESHOLD
    split = curve_of(balanced(0.0))
    assert_mean(split, 1 - both_masked(split.fractions))
    # Negative control: the narrow network's curve is lower at every inner level.
    assert (1 - split.fractions < split.agreement.mean(axis=0))[1:-1].all()


def test_balanced_units_lower_the_curve_as_they_drift_apart():
    """Once w/2 - b is below the threshold, the larger copy alone decides."""
    offsets = [0.0, 0.1, 0.2, 0.4, 2.0]
    curves = [curve_of(balanced(offset)) for offset in offsets]
    for offset, curve in zip(offsets, curves, strict=True):
        needs_large = (WEIGHTS / 2 - offset <= THRESHOLD).mean()
        lost = needs_large * curve.fractions + (1 - needs_large) * both_masked(curve.fractions)
        assert_mean(curve, 1 - lost)
    # The masks are the same, so that every draw falls.
    agreements = np.array([curve.agreement for curve in curves])
    assert (np.diff(agreements, axis=0) <= 0).all()
    areas = [curve.area for curve in curves]
    assert areas[0] > areas[1] > areas[2] > areas[3] == areas[4]


def fragile_network() -> keras.Model:
    """Every one-hot example needs its own unit: no two draws need agree, and a level's agreement is fixed."""
    return theory([ONE_HOT], [WEIGHTS])


@pytest.mark.parametrize("measure", [measures.ablation_curves, measures.noise_curves, measures.weight_ablation_curves])
def test_draws_go_on_until_the_standard_error_is_reached(measure, vectors):
    model = dense_network(12, 4)
    plain = measure(model, vectors, draws=3, seed=2)
    assert "standard_error" not in plain.settings
    until = measure(model, vectors, draws=3, seed=2, standard_error=0.03)
    assert until.settings["standard_error"] == 0.03
    for before, after in ((plain.joint, until.joint), (plain.taps["hidden"], until.taps["hidden"])):
        draws = len(after.num_agreeing)
        np.testing.assert_array_equal(after.num_agreeing[:3], before.num_agreeing)
        assert 3 < draws < 100
        assert standard_error(after.agreement) <= 0.03
        # Not before it was reached.
        assert standard_error(after.agreement[: draws // 2]) > 0.03
    # A curve that has it does not go on.
    np.testing.assert_array_equal(
        measure(model, vectors, draws=draws, seed=2).joint.num_agreeing, until.joint.num_agreeing
    )


def standard_error(agreement: np.ndarray) -> float:
    """The largest of all levels."""
    return (agreement.std(axis=0, ddof=1) / np.sqrt(len(agreement))).max()


def test_a_curve_without_spread_needs_no_further_draw():
    found = measures.ablation_curves(fragile_network(), ONE_HOT, draws=2, standard_error=1e-9)
    assert found.joint.num_agreeing.shape == found.taps["hidden"].num_agreeing.shape == (2, 7)


def test_a_standard_error_that_is_not_reached_ends_after_a_hundred_draws(vectors):
    found = measures.ablation_curves(dense_network(12, 4), vectors, draws=2, levels=3, standard_error=1e-6, joint=False)
    assert found.taps["hidden"].num_agreeing.shape == (100, 3)
    assert found.prunability().rows["hidden"]["draws"] == 100


def test_curves_that_have_their_standard_error_wait_for_no_other(vectors):
    """Of two taps, one without spread."""
    inputs = keras.Input((6,))
    ones = layers.Dense(4, "relu", kernel_initializer="zeros", name="unread")(inputs)
    hidden = dense_network(12, 8).get_layer("hidden")
    silent = layers.Dense(3, use_bias=False, kernel_initializer="zeros")(ones)
    head = layers.Dense(3, kernel_initializer=keras.initializers.RandomNormal(seed=3))(hidden(inputs))
    model = keras.Model(inputs, layers.Add()([silent, head]) * 1.0)
    found = measures.ablation_curves(model, vectors, taps=["unread", "hidden"], draws=2, standard_error=0.05)
    assert len(found.taps["unread"].num_agreeing) == 2
    assert len(found.taps["hidden"].num_agreeing) > 2


def hidden_values(model: keras.Model, inputs: np.ndarray) -> np.ndarray:
    kernel, bias = (w.astype("float64") for w in model.get_layer("hidden").get_weights())
    return np.maximum(inputs @ kernel + bias, 0)


def curve_of_classes(model: keras.Model, inputs: np.ndarray, classify: Callable) -> np.ndarray:
    """Agreeing examples of a dense network, from its weights, where `classify` maps scores to classes."""
    plan = MaskingPlan.draw("hidden", (12,), draws=3, levels=7, protocol="exact", seed=0)
    kernel, bias = model.get_layer("scores").get_weights()
    hidden = hidden_values(model, inputs)
    whole = classify(hidden @ kernel + bias)
    return np.array(
        [
            [(classify(hidden * plan.mask(draw, level) @ kernel + bias) == whole).sum() for level in range(7)]
            for draw in range(3)
        ]
    )


@pytest.mark.parametrize("activation", [None, "tanh", "sigmoid"])
def test_the_class_of_one_output_is_its_side(activation, vectors):
    """A score's sign, a probability's side of one half."""
    model = dense_network(12, 1, activation)
    expected = curve_of_classes(model, vectors, lambda scores: scores[:, 0] > 0)
    assert expected.min() < len(vectors)
    np.testing.assert_array_equal(measures.ablation_curves(model, vectors).joint.num_agreeing, expected)


@pytest.mark.parametrize("activation", [None, "softmax"])
def test_the_class_of_several_outputs_is_the_largest(activation, vectors):
    model = dense_network(12, 4, activation)
    expected = curve_of_classes(model, vectors, lambda scores: scores.argmax(axis=1))
    np.testing.assert_array_equal(measures.ablation_curves(model, vectors).joint.num_agreeing, expected)


@pytest.mark.parametrize("last", [layers.Activation("linear", dtype="float32"), layers.Reshape((1,))])
def test_a_probability_stays_one_when_it_is_cast_or_reshaped(last, vectors):
    model = dense_network(12, 1, "sigmoid")
    expected = curve_of_classes(model, vectors, lambda scores: scores[:, 0] > 0)
    wrapped = keras.Model(model.input, last(model.output))
    curves = measures.ablation_curves(wrapped, vectors, taps=["hidden"])
    np.testing.assert_array_equal(curves.joint.num_agreeing, expected)


def test_an_output_without_an_axis_of_classes_is_refused(vectors):
    model = dense_network(12, 1)
    with pytest.raises(ValueError, match="expected"):
        measures.ablation_curves(keras.Model(model.input, keras.ops.squeeze(model.output, axis=-1)), vectors)


def test_a_network_with_dropout_is_measured_at_inference(vectors):
    plain = dense_network(12, 4)
    dropped = layers.Dropout(0.5)(plain.get_layer("hidden").output, training=True)
    model = keras.Model(plain.input, plain.get_layer("scores")(dropped))
    left, right = (measures.ablation_curves(m, vectors).joint.num_agreeing for m in (plain, model))
    np.testing.assert_array_equal(left, right)


def test_only_the_taps_asked_for_are_masked(branched_model, images):
    every = measures.ablation_curves(branched_model, images, draws=1)
    some = measures.ablation_curves(branched_model, images, draws=1, taps=["joined", "first"])
    assert list(some.taps) == ["first", "joined"]
    assert some.joint.num_units == 12
    np.testing.assert_array_equal(some.taps["joined"].num_agreeing, every.taps["joined"].num_agreeing)
    alone = measures.ablation_curves(branched_model, images, draws=1, taps=["gated"], joint=False)
    assert alone.joint is None
    np.testing.assert_array_equal(alone.taps["gated"].num_agreeing, every.taps["gated"].num_agreeing)


def test_a_tap_may_be_called_joint(vectors):
    named = dense_network(12, 4, tap="joint")
    deeper = layers.Dense(4, name="head")(layers.ReLU(name="second")(named.output - 1.0))
    curves = measures.ablation_curves(keras.Model(named.input, deeper), vectors, draws=1)
    assert curves.taps["joint"].num_units == 12
    assert curves.joint.num_units == 16


def test_curves_as_plain_values(vectors):
    curves = measures.ablation_curves(dense_network(12, 4), vectors, draws=2, levels=3, seed=9)
    values = curves.to_dict()
    assert values["settings"] == {
        "unit": "channel", "order": "random", "draws": 2, "levels": 3, "protocol": "exact", "seed": 9, "split": "test",
    }  # fmt: skip
    assert values["joint"]["num_agreeing"] == curves.joint.num_agreeing.tolist()
    assert values["taps"]["hidden"]["num_units"] == 12
    assert "hidden" in str(curves)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit": "pixel"}, "unit: expected one of channel, location, received 'pixel'"),
        ({"protocol": "mine"}, "protocol: expected one of exact, authors, received 'mine'"),
        ({"draws": 0}, "draws: expected at least 1, received 0"),
        ({"levels": 1}, "levels: expected at least 2, received 1"),
        ({"order": "largest"}, "order: expected one of random, targeted, l1_norm, .* received 'largest'"),
        ({"draws": 1, "standard_error": 0.1}, "draws: expected at least 2, received 1"),
        ({"standard_error": -0.1}, "standard_error: expected a positive number, received -0.1"),
        ({"taps": ["nothing"]}, r"taps: expected taps of '.*' \(hidden\), received \['nothing'\]"),
        ({"taps": []}, "taps: expected"),
    ],
)
def test_options_that_are_not_of_these_are_refused(options, message, vectors):
    with pytest.raises(ValueError, match=message):
        measures.ablation_curves(dense_network(12, 4), vectors, **options)


@pytest.mark.parametrize("tolerance", [0, 1.5])
def test_tolerances_out_of_range_are_refused(tolerance, vectors):
    with pytest.raises(ValueError, match=r"tolerance: expected a number in \(0, 1\], received"):
        measures.prunability(dense_network(4, 3), vectors, tolerance=tolerance)


def test_a_model_with_two_outputs_is_refused(vectors):
    model = dense_network(12, 4)
    two = keras.Model(model.input, [model.output, layers.Dense(2)(model.get_layer("hidden").output)])
    with pytest.raises(ValueError, match="expected one output, the classes' scores, received 2 outputs"):
        measures.ablation_curves(two, vectors)


def test_a_model_that_is_not_functional_is_refused(vectors):
    with pytest.raises(ValueError, match="expected a functional Keras model"):
        measures.ablation_curves(keras.Sequential([layers.Dense(3)]), vectors)


def test_locations_of_a_map_of_unknown_size_are_refused(images):
    inputs = keras.Input((None, None, 3))
    maps = layers.Conv2D(4, 3, activation="relu", name="maps")(inputs)
    model = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(maps)))
    with pytest.raises(ValueError, match="expected a tap of known size, received 'maps' .*use unit='channel'"):
        measures.ablation_curves(model, images, unit="location")
    assert measures.ablation_curves(model, images).joint.num_units == 4
