"""Ablation curves against brute force, and against networks of which the answer is known."""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfunits import measures, models, surgery
from tfunits.measures.orders import MaskingPlan

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


def widened(first: np.ndarray, bias: np.ndarray, last: np.ndarray) -> keras.Model:
    inputs = keras.Input((6,))
    hidden = layers.Dense(first.shape[1], "relu", name="hidden")
    scores = layers.Dense(last.shape[1], use_bias=False)
    model = keras.Model(inputs, scores(hidden(inputs)))
    hidden.set_weights([first, bias])
    scores.set_weights([last])
    return model


WIDENINGS: dict[str, Callable] = {
    "silent": lambda u, b, w, v: ([u, 0 * u], [b, 0 * b - 1], [w, v]),
    "blocked_copy": lambda u, b, w, v: ([u, u], [b, b], [w, 0 * w]),
    "blocked_new": lambda u, b, w, v: ([u, 2 * u[::-1]], [b, b], [w, 0 * w]),
}


@pytest.mark.parametrize("kind", WIDENINGS)
def test_masking_exactly_the_silent_or_blocked_units_changes_nothing(kind, vectors, rng):
    u, b, w, v = (rng.normal(size=shape).astype("float32") for shape in ((6, 5), (5,), (5, 4), (5, 4)))
    first, bias, last = (np.concatenate(part, axis=-1 - i // 2) for i, part in enumerate(WIDENINGS[kind](u, b, w, v)))
    narrow, wide = widened(u, b, w), widened(first, bias, last)
    np.testing.assert_allclose(wide(vectors), narrow(vectors), rtol=1e-5, atol=1e-5)
    added = np.repeat([1, 0], 5)
    classes = np.argmax(wide(vectors), axis=-1)
    np.testing.assert_array_equal(np.argmax(surgery.mask(wide, {"hidden": added})(vectors), axis=-1), classes)
    # Negative control: the other half does all the work.
    without = surgery.mask(wide, {"hidden": 1 - added})(vectors)
    assert (np.argmax(without, axis=-1) != classes).any()


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
