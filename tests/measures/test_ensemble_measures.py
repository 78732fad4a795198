"""Outputs of networks, alone and together, and a network without half of its units, against masks made by hand."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from scipy import special

from tfunits import measures, statistics, surgery

EXAMPLES, FEATURES, CLASSES, NETWORKS = 43, 6, 4, 4
# Float32 activations are computed once for each side.
ROUNDING = {"rtol": 1e-5, "atol": 1e-5}


def network(seed: int = 0, outputs: int = CLASSES, activation: str | None = None) -> keras.Model:
    """Two hidden layers of 9 and 7 units, with large weights, so that losses differ."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((FEATURES,))
    first = layers.Dense(9, "relu", name="first")(inputs)
    second = layers.Dense(7, "relu", name="second")(first)
    model = keras.Model(inputs, layers.Dense(outputs, activation, name="top")(second), name="network")
    generator = np.random.default_rng(seed)
    model.set_weights([0.7 * generator.normal(size=weight.shape) for weight in model.get_weights()])
    return model


@pytest.fixture
def vectors(rng) -> np.ndarray:
    return rng.normal(size=(EXAMPLES, FEATURES)).astype("float32")


@pytest.fixture
def labels(rng) -> np.ndarray:
    return rng.integers(CLASSES, size=EXAMPLES)


def batches(inputs: np.ndarray, labels: np.ndarray, size: int = 8) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(size)


def predict(model: keras.Model, inputs: np.ndarray) -> np.ndarray:
    return model.predict(inputs, verbose=0)


@pytest.mark.parametrize("activation", [None, "softmax"])
@pytest.mark.parametrize("size", [1, 8, EXAMPLES])
def test_outputs_are_those_that_keras_predicts(size, activation, two_devices, vectors, labels):
    model = network(activation=activation)
    for strategy in (None, two_devices):
        outputs, read = measures.read_outputs(model, batches(vectors, labels, size), strategy=strategy)
        np.testing.assert_allclose(outputs, predict(model, vectors), **ROUNDING)
        assert outputs.dtype == np.float32
        np.testing.assert_array_equal(read, labels)
    # Negative control: the same examples in another order.
    assert np.abs(outputs - predict(model, vectors[::-1])).max() > 0.1


def test_outputs_are_read_at_inference_and_of_the_split_asked_for(blobs):
    inputs = keras.Input((5,))
    dropped = layers.Dropout(0.9)(layers.Dense(4, "relu")(inputs), training=True)
    model = keras.Model(inputs, layers.Dense(3)(dropped))
    without = keras.Model(inputs, model.layers[-1](model.layers[1].output))
    outputs, read = measures.read_outputs(model, blobs, split="train")
    np.testing.assert_allclose(outputs, predict(without, blobs.splits["train"].inputs), **ROUNDING)
    np.testing.assert_array_equal(read, blobs.splits["train"].labels)


def test_labels_of_minus_one_and_one_are_read_as_classes(vectors, labels):
    binary = labels % 2
    for given in (binary, 2 * binary - 1, (2 * binary - 1)[:, None]):
        _, read = measures.read_outputs(network(outputs=1), batches(vectors, given))
        np.testing.assert_array_equal(read, binary)


@pytest.fixture
def networks() -> list[keras.Model]:
    return [network(seed) for seed in range(NETWORKS)]


@pytest.mark.parametrize("loss", ["squared", "cross_entropy"])
def test_bias_and_variance_of_networks_are_those_of_their_logits(loss, networks, vectors, labels, two_devices):
    logits = np.stack([predict(model, vectors) for model in networks])
    expected = statistics.bias_variance(logits, labels, loss=loss)
    for strategy in (None, two_devices):
        found = measures.bias_variance(networks, batches(vectors, labels), loss=loss, strategy=strategy)
        assert found.bias == pytest.approx(expected.bias, rel=1e-5)
        assert found.variance == pytest.approx(expected.variance, rel=1e-5)
    # By hand: the mean loss of one network.
    logs = special.log_softmax(logits.astype("float64"), axis=-1)
    right = np.eye(CLASSES)[labels]
    by_hand = ((np.exp(logs) - right) ** 2).sum(axis=-1) if loss == "squared" else -(logs * right).sum(axis=-1)
    assert found.loss == pytest.approx(by_hand.mean(), rel=1e-5)
    other = measures.bias_variance(networks, batches(vectors, (labels + 1) % CLASSES), loss=loss)
    assert abs(other.bias / expected.bias - 1) > 1e-3
    assert other.variance == pytest.approx(expected.variance, rel=1e-5)


@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_errors_of_ensembles_are_those_of_averaged_outputs(average, networks, vectors, labels):
    found = measures.ensemble_error_curve(networks, batches(vectors, labels), average=average)
    logits = np.stack([predict(model, vectors) for model in networks])
    np.testing.assert_allclose(found, statistics.ensemble_errors(logits, labels, average=average))
    averaged = (logits if average == "logits" else special.softmax(logits, axis=-1)).mean(axis=0)
    assert found[-1] == pytest.approx((averaged.argmax(axis=1) != labels).mean())
    single = [(model_logits.argmax(axis=1) != labels).mean() for model_logits in logits]
    assert found[0] == pytest.approx(np.mean(single))
    assert found[-1] != found[0]


def test_ensembles_of_one_output_vote_by_their_mean(vectors, labels):
    networks = [network(seed, outputs=1) for seed in range(3)]
    found = measures.ensemble_error_curve(networks, batches(vectors, labels % 2))
    mean = np.mean([predict(model, vectors) for model in networks], axis=0)[:, 0]
    assert found[-1] == pytest.approx(((mean > 0) != labels % 2).mean())
    flipped = measures.ensemble_error_curve(networks, batches(vectors, 1 - labels % 2))
    np.testing.assert_allclose(found + flipped, 1)


def with_softmax(model: keras.Model) -> keras.Model:
    """The same network with probabilities as its outputs, sharing its weights."""
    kind = "sigmoid" if model.output_shape[-1] == 1 else "softmax"
    return keras.Model(model.inputs, layers.Activation(kind)(model.outputs[0]))


def test_a_sigmoid_is_the_probability_of_one_of_two_classes(vectors, labels):
    plain = [network(seed, 1) for seed in range(NETWORKS)]
    sigmoids, data, given = [with_softmax(model) for model in plain], batches(vectors, labels % 2), labels % 2
    probability = np.stack([predict(model, vectors)[:, 0] for model in sigmoids]).astype("float64")
    error = measures.ensemble_error_curve(sigmoids, data, average="probabilities")[-1]
    assert error == np.mean((probability.mean(axis=0) > 0.5) != given)
    found = measures.bias_variance(sigmoids, data)
    # Both classes' squares: twice that of one.
    assert found.loss == pytest.approx(2 * np.mean((probability - given) ** 2), rel=1e-5)
    assert measures.bias_variance(sigmoids, data, loss="cross_entropy").loss == pytest.approx(
        -np.mean(np.log(np.where(given, probability, 1 - probability))), rel=1e-4
    )


@pytest.mark.parametrize(("outputs", "average"), [(CLASSES, "logits"), (CLASSES, "probabilities"), (1, "logits")])
def test_networks_that_end_in_a_softmax_or_sigmoid_have_the_same_errors(average, outputs, vectors, labels):
    plain = [network(seed, outputs) for seed in range(NETWORKS)]
    data = batches(vectors, labels % max(2, outputs))
    curves = [
        measures.ensemble_error_curve(kind, data, average=average) for kind in (plain, [with_softmax(m) for m in plain])
    ]
    np.testing.assert_array_equal(*curves)
    mixed = measures.ensemble_error_curve([with_softmax(plain[0]), *plain[1:]], data, average=average)
    np.testing.assert_array_equal(mixed, measures.ensemble_error_curve(plain, data, average=average))


@pytest.mark.parametrize("loss", ["squared", "cross_entropy"])
def test_networks_that_end_in_a_softmax_have_the_same_bias_and_variance(loss, networks, vectors, labels):
    data = batches(vectors, labels)
    plain = measures.bias_variance(networks, data, loss=loss)
    found = measures.bias_variance([with_softmax(model) for model in networks], data, loss=loss)
    assert (found.bias, found.variance) == (pytest.approx(plain.bias, 1e-5), pytest.approx(plain.variance, 1e-5))


def test_data_in_another_order_for_every_network_are_refused(networks, vectors, labels):
    data = tf.data.Dataset.from_tensor_slices((vectors, labels)).shuffle(EXAMPLES, seed=1)
    for measure in (measures.bias_variance, measures.ensemble_error_curve):
        with pytest.raises(ValueError, match="data: expected the same examples in every pass"):
            measure(networks, data.batch(8))
    kept = tf.data.Dataset.from_tensor_slices((vectors, labels)).shuffle(
        EXAMPLES, seed=1, reshuffle_each_iteration=False
    )
    found = measures.ensemble_error_curve(networks, kept.batch(8))
    np.testing.assert_allclose(found, measures.ensemble_error_curve(networks, batches(vectors, labels)))


@pytest.mark.parametrize(
    ("measure", "options", "message"),
    [
        (measures.bias_variance, {"count": 1}, "models: expected at least 2, received 1"),
        (measures.bias_variance, {"loss": "hinge"}, "loss: expected one of"),
        (measures.ensemble_error_curve, {"count": 0}, "models: expected at least 1, received 0"),
        (measures.ensemble_error_curve, {"average": "median"}, "average: expected one of"),
    ],
)
def test_options_of_ensembles_that_are_not_of_these_are_refused(measure, options, message, networks, vectors, labels):
    options = dict(options)
    given = networks[: options.pop("count", NETWORKS)]
    with pytest.raises(ValueError, match=message):
        measure(given, batches(vectors, labels), **options)


@pytest.mark.parametrize(
    "measure",
    [
        measures.read_outputs,
        measures.dropout_stability,
        lambda model, data: measures.bias_variance([model, model], data),
        lambda model, data: measures.ensemble_error_curve([model], data),
    ],
    ids=["read_outputs", "dropout_stability", "bias_variance", "ensemble_error_curve"],
)
def test_models_and_data_that_have_no_labels_or_classes_are_refused(measure, vectors, labels):
    with pytest.raises(ValueError, match="data: expected labels, whole numbers"):
        measure(network(), vectors)
    with pytest.raises(ValueError, match="data: expected labels, whole numbers"):
        measure(network(), batches(vectors, np.eye(CLASSES)[labels]))
    with pytest.raises(ValueError, match="expected a functional Keras model"):
        measure(keras.Sequential([layers.Dense(3)]), batches(vectors, labels))
    with pytest.raises(ValueError, match="data: expected batches of inputs of shape"):
        measure(network(), batches(vectors[:, :4], labels))
    inputs = keras.Input((FEATURES,))
    two = keras.Model(inputs, [layers.Dense(3, "relu")(inputs), layers.Dense(2)(inputs)])
    with pytest.raises(ValueError, match="model: expected one output, the classes' scores, received 2 outputs"):
        measure(two, batches(vectors, labels))


def removed_units(**options) -> list[dict[str, np.ndarray]]:
    """Which units of `network` every draw leaves out, 1 for those.

    Read from a network with the same taps whose units are all 1 and are its outputs: choices depend on the names and
    widths of taps alone.
    """
    inputs = keras.Input((FEATURES,))
    ones = {"kernel_initializer": "zeros", "bias_initializer": "ones", "activation": "relu"}
    first = layers.Dense(9, name="first", **ones)(inputs)
    second = layers.Dense(7, name="second", **ones)(first)
    model, seen = keras.Model(inputs, layers.Concatenate()([first, second])), []

    def look(labels, outputs):
        seen.append(outputs[0])
        return np.zeros(len(labels))

    data = batches(np.zeros((1, FEATURES), "float32"), np.zeros(1, int))
    measures.dropout_stability(model, data, loss=look, **options)
    assert (seen[0] == 1).all()
    return [{"first": (units == 0)[:9].astype(int), "second": (units == 0)[9:].astype(int)} for units in seen[1:]]


def loss_by_hand(outputs: np.ndarray, labels: np.ndarray) -> float:
    logs = special.log_softmax(outputs.astype("float64"), axis=-1)
    return -logs[np.arange(len(labels)), labels].mean()


@pytest.mark.parametrize(("share", "counts"), [(0.5, (4, 3)), (0.2, (1, 1))])
def test_a_share_of_every_layers_units_is_removed(share, counts):
    """Rounded down, 9 and 7 units; other ones in every draw."""
    removed = removed_units(share=share, draws=4)
    for draw in removed:
        assert (draw["first"].sum(), draw["second"].sum()) == counts
    assert len({tuple(draw["first"]) for draw in removed}) > 1


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_the_loss_without_units_is_that_of_a_masked_network(factor, vectors, labels):
    model, options = network(), {"draws": 3, "factor": factor}
    found = measures.dropout_stability(model, batches(vectors, labels), split="test", **options)
    outputs = predict(model, vectors)
    assert found.loss == pytest.approx(loss_by_hand(outputs, labels), rel=1e-5)
    assert found.error == pytest.approx((outputs.argmax(axis=1) != labels).mean())
    kernels = {name: model.get_layer(name).get_weights() for name in ("second", "top")}
    for draw, units in enumerate(removed_units(**options)):
        # What is left times the factor, which the layers behind may take instead.
        for name, (kernel, bias) in kernels.items():
            model.get_layer(name).set_weights([factor * kernel, bias])
        masked = predict(surgery.mask(model, {name: 1 - gone for name, gone in units.items()}), vectors)
        for name, weights in kernels.items():
            model.get_layer(name).set_weights(weights)
        assert found.dropped_loss[draw] == pytest.approx(loss_by_hand(masked, labels), rel=1e-4)
        assert found.dropped_error[draw] == pytest.approx((masked.argmax(axis=1) != labels).mean())
        assert abs(found.dropped_loss[draw] - found.loss) > 1e-3
    assert found.loss_change == pytest.approx(np.mean(found.dropped_loss) - found.loss)
    assert found.error_change == pytest.approx(np.mean(found.dropped_error) - found.error)


def test_removing_every_unit_leaves_the_bias(vectors, labels):
    model = network()
    bias = np.tile(model.get_layer("top").get_weights()[1], (EXAMPLES, 1))
    found = measures.dropout_stability(model, batches(vectors, labels), share=1, draws=2)
    np.testing.assert_allclose(found.dropped_loss, loss_by_hand(bias, labels), rtol=1e-5)
    np.testing.assert_allclose(found.dropped_error, (bias[0].argmax() != labels).mean())


def test_a_share_too_small_for_a_unit_changes_nothing(vectors, labels):
    found = measures.dropout_stability(network(), batches(vectors, labels), share=0.1, draws=2)
    np.testing.assert_allclose(found.dropped_loss, found.loss, rtol=1e-6)
    assert found.loss_change == pytest.approx(0, abs=1e-6)


def test_a_share_that_is_whole_on_paper_is_not_rounded_down(rng):
    """0.29 of 100 units are 29, and 28.999999999999996 in float64: the loss is minus the number of units left."""
    inputs = keras.Input((100,))
    model = keras.Model(inputs, layers.Dense(1, kernel_initializer="ones")(layers.ReLU()(inputs)))
    data = batches(np.ones((3, 100), "float32"), np.ones(3, int))
    found = measures.dropout_stability(model, data, share=0.29, draws=2, loss=lambda _, outputs: -outputs[:, 0])
    assert found.loss == -100
    assert found.dropped_loss.tolist() == [-71, -71]


def test_only_the_taps_asked_for_lose_units():
    removed = removed_units(draws=2, taps=["second"])
    for draw in removed:
        assert (draw["first"].sum(), draw["second"].sum()) == (0, 3)


@pytest.mark.parametrize("signed", [False, True])
def test_one_output_has_a_hinge_loss(signed, vectors, labels):
    model, classes = network(outputs=1), labels % 2
    scores = predict(model, vectors)[:, 0]
    given = 2 * classes - 1 if signed else classes
    found = measures.dropout_stability(model, batches(vectors, given), draws=2)
    assert found.loss == pytest.approx(np.maximum(0, 1 - (2 * classes - 1) * scores).mean(), rel=1e-5)
    assert found.error == pytest.approx(((scores > 0) != classes).mean())
    other = measures.dropout_stability(model, batches(vectors, 1 - classes), draws=2)
    np.testing.assert_allclose(found.dropped_error + other.dropped_error, 1)


@pytest.mark.parametrize("outputs", [CLASSES, 1])
def test_of_probabilities_the_loss_is_the_cross_entropy(outputs, vectors, labels):
    """As Keras's own losses have it."""
    model, given = with_softmax(network(outputs=outputs)), labels % max(2, outputs)
    found = measures.dropout_stability(model, batches(vectors, given), draws=1)
    probabilities = predict(model, vectors)
    loss = keras.losses.sparse_categorical_crossentropy if outputs > 1 else keras.losses.binary_crossentropy
    expected = loss(given if outputs > 1 else given[:, None], probabilities).numpy().mean()
    assert found.loss == pytest.approx(expected, rel=1e-4)


def test_any_loss_of_examples(vectors, labels):
    model, seen = network(), []

    def squared(given, outputs):
        seen.append((given, outputs))
        return ((outputs - np.eye(CLASSES)[given]) ** 2).sum(axis=1)

    found = measures.dropout_stability(model, batches(vectors, labels), draws=2, loss=squared)
    expected = ((predict(model, vectors) - np.eye(CLASSES)[labels]) ** 2).sum(axis=1).mean()
    assert found.loss == pytest.approx(expected, rel=1e-5)
    assert {outputs.shape[1:] for _, outputs in seen} == {(CLASSES,)}
    assert sum(len(given) for given, _ in seen) == 3 * EXAMPLES


def test_stability_depends_on_neither_batches_nor_devices_but_on_the_seed(vectors, labels, two_devices):
    model = network()

    def lost(size=8, **options):
        return measures.dropout_stability(model, batches(vectors, labels, size), draws=3, **options).dropped_loss

    for other in (lost(5), lost(EXAMPLES), lost(strategy=two_devices), lost(20, strategy=two_devices)):
        np.testing.assert_allclose(other, lost(), rtol=1e-5)
    assert (np.abs(lost(seed=1) - lost()) > 1e-4).all()
    more = measures.dropout_stability(model, batches(vectors, labels), draws=5).dropped_loss
    np.testing.assert_allclose(more[:3], lost(), rtol=1e-5)


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_maps_lose_whole_channels(factor, rng):
    """Behind it a wide convolution, whose arithmetic for the removed channels is left out."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((12, 12, 3))
    maps = layers.Conv2D(8, 3, activation="relu", name="maps")(inputs)
    wide = layers.Conv2D(64, 5, padding="same", name="wide")(maps)
    model = keras.Model(inputs, layers.Dense(CLASSES, name="top")(layers.GlobalAveragePooling2D()(wide)))
    images, labels = rng.normal(size=(6, 12, 12, 3)).astype("float32"), rng.integers(CLASSES, size=6)
    found = measures.dropout_stability(model, batches(images, labels, 4), draws=2, factor=factor)
    # The one of 70 ways to keep four of eight channels that gives the loss of each draw.
    kernel, bias = model.get_layer("wide").get_weights()
    model.get_layer("wide").set_weights([factor * kernel, bias])
    masked, kept = surgery.mask(model, {"maps": None}), list(itertools.combinations(range(8), 4))
    masks = np.array([np.isin(np.arange(8), units) for units in kept], "float32")[:, None, None]
    losses = [loss_by_hand(masked([images, np.repeat(m[None], 6, axis=0)]).numpy(), labels) for m in masks]
    for loss in found.dropped_loss:
        assert np.isclose(losses, loss, rtol=1e-5).any()
    assert (np.abs(found.dropped_loss - found.loss) > 1e-4).all()


def test_what_a_stability_says(vectors, labels, blobs):
    found = measures.dropout_stability(network(), batches(vectors, labels), draws=2, share=0.3, seed=4)
    assert found.settings == {"split": "train", "share": 0.3, "factor": 1.0, "draws": 2, "seed": 4}
    plain = found.to_dict()
    assert plain["dropped_loss"] == found.dropped_loss.tolist()
    assert plain["loss"] == found.loss
    assert f"{found.loss_change:+.4f}" in str(found)
    assert f"{found.error_change:+.4f}" in str(found)
    # On the training data unless said otherwise.
    inputs = keras.Input((5,))
    model = keras.Model(inputs, layers.Dense(3)(layers.Dense(4, "relu")(inputs)))
    splits = {name: measures.dropout_stability(model, blobs, split=name, draws=1).loss for name in ("train", "test")}
    assert measures.dropout_stability(model, blobs, draws=1).loss == splits["train"] != splits["test"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 0}, r"share: expected a number in \(0, 1\], received 0"),
        ({"share": 1.2}, "share: expected a number in"),
        ({"draws": 0}, "draws: expected at least 1, received 0"),
        ({"taps": ["no"]}, "taps: expected taps of 'network'"),
    ],
)
def test_options_of_stability_that_are_not_of_these_are_refused(options, message, vectors, labels):
    with pytest.raises(ValueError, match=message):
        measures.dropout_stability(network(), batches(vectors, labels), **options)
