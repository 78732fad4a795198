"""Chunks, reconstruction and dimension of the last hidden layer, against NumPy and scikit-learn on its activations."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

from tfunits import measures, models, statistics, surgery
from tfunits.measures import last_hidden
from tfunits.surgery import Graph

EXAMPLES, FEATURES, WIDTH, CLASSES = 61, 6, 12, 4
DRAWS = 5
R2_ERROR, CORRELATION_ERROR = 1e-6, 1e-4


def network(outputs: int = CLASSES, width: int = WIDTH, *, use_bias: bool = True, ending=None) -> keras.Model:
    """A network with large biases, so that chunks without them, or with a part of them, predict otherwise."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((FEATURES,))
    hidden = layers.Dense(width, "relu", name="hidden")(inputs)
    scores = layers.Dense(outputs, use_bias=use_bias, bias_initializer=keras.initializers.RandomNormal(), name="top")
    tensor = scores(hidden)
    for layer in ending or []:
        tensor = layer()(tensor)
    model = keras.Model(inputs, tensor, name="network")
    generator = np.random.default_rng(4)
    for layer in (model.get_layer("hidden"), model.get_layer("top")):
        layer.set_weights([generator.normal(size=weight.shape) for weight in layer.get_weights()])
    return model


@pytest.fixture
def vectors(rng) -> np.ndarray:
    return rng.normal(size=(EXAMPLES, FEATURES)).astype("float32")


@pytest.fixture
def labels(rng) -> np.ndarray:
    return rng.integers(CLASSES, size=EXAMPLES)


def batches(inputs: np.ndarray, labels: np.ndarray, size: int = 8) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(size)


def features_of(model: keras.Model, inputs: np.ndarray, layer: str = "hidden") -> np.ndarray:
    """Activations of the last hidden layer, float64."""
    return surgery.read(model, [layer])(inputs)[layer].numpy().astype("float64")


def classes_by_hand(features: np.ndarray, kernel: np.ndarray, bias: np.ndarray, chunk: np.ndarray) -> np.ndarray:
    scores = features[:, chunk] @ kernel.astype("float64")[chunk] + bias
    return (scores[:, 0] > 0).astype(int) if scores.shape[1] == 1 else scores.argmax(axis=1)


def check_chunks(model, data, features, labels, top="top", **options) -> statistics.ChunkErrors:
    """Compare a measure with gathering and multiplying in float64, chunk by chunk."""
    found = measures.chunks(model, data, draws=DRAWS, **options)
    kernel, *bias = model.get_layer(top).get_weights()
    bias = bias[0] if bias else np.zeros(kernel.shape[1])
    assert found.num_examples == len(labels)
    for i, size in enumerate(found.sizes):
        drawn = statistics.draw_chunks(features.shape[1], size, DRAWS, options.get("seed", 0))
        wrong = np.array([classes_by_hand(features, kernel, bias, chunk) != labels for chunk in drawn])
        wrong = np.broadcast_to(wrong, (DRAWS, len(labels)))
        np.testing.assert_array_equal(found.num_wrong[i], wrong.sum(axis=1))
        np.testing.assert_array_equal(found.wrong_draws[i], wrong.sum(axis=0))
    return found


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("outputs", [CLASSES, 1])
def test_chunks_are_gathered_and_multiplied(outputs, use_bias, vectors, labels):
    model = network(outputs, use_bias=use_bias)
    labels = labels % max(outputs, 2)
    found = check_chunks(model, batches(vectors, labels), features_of(model, vectors), labels)
    assert found.sizes.tolist() == [1, 2, 4, 8, WIDTH]
    # Chunks of one size differ, and small ones err more.
    assert len(set(found.num_wrong[1])) > 1
    # The whole layer is the network.
    expected = measures.predicted_classes(model, model.predict(vectors, verbose=0))
    assert (found.num_wrong[-1] == (expected != labels).sum()).all()
    np.testing.assert_array_equal(found.wrong_draws[-1], DRAWS * (expected != labels))


@pytest.mark.parametrize("change", ["no_bias", "part_of_bias", "rescaled", "other_chunks"])
def test_other_readings_of_a_chunk_err_otherwise(change, vectors, labels):
    """Negative controls: without bias, with w/W of it, with units times W/w, and of other units."""
    model = network()
    kernel, bias = model.get_layer("top").get_weights()
    features, size = features_of(model, vectors), 4
    found = measures.chunks(model, batches(vectors, labels), sizes=[size], draws=DRAWS)
    if change == "rescaled":
        features = features * WIDTH / size
    bias = bias * {"no_bias": 0, "part_of_bias": size / WIDTH}.get(change, 1)
    drawn = statistics.draw_chunks(WIDTH, size, DRAWS, seed=int(change == "other_chunks"))
    wrong = [(classes_by_hand(features, kernel, bias, chunk) != labels).sum() for chunk in drawn]
    assert found.num_wrong[0].tolist() != wrong


@pytest.mark.parametrize("size", [1, 7, EXAMPLES])
def test_chunks_do_not_depend_on_the_batch_size(size, vectors, labels):
    model = network()
    whole, parts = (measures.chunks(model, batches(vectors, labels, n), draws=DRAWS) for n in (8, size))
    np.testing.assert_array_equal(whole.num_wrong, parts.num_wrong)
    np.testing.assert_array_equal(whole.wrong_draws, parts.wrong_draws)


def test_chunks_are_the_same_on_several_devices(two_devices, vectors, labels):
    model, data = network(), batches(vectors, labels)
    one, two = (measures.chunks(model, data, draws=DRAWS, strategy=s) for s in (None, two_devices))
    np.testing.assert_array_equal(one.num_wrong, two.num_wrong)
    np.testing.assert_array_equal(one.wrong_draws, two.wrong_draws)


def test_draws_are_gathered_in_several_parts(monkeypatch, vectors, labels):
    """Where they are too many to stand in memory at once."""
    model, data = network(), batches(vectors, labels)
    whole = measures.chunks(model, data, draws=DRAWS)
    monkeypatch.setattr(last_hidden, "_GATHERED_VALUES", 50)
    parts = measures.chunks(model, data, draws=DRAWS)
    np.testing.assert_array_equal(whole.num_wrong, parts.num_wrong)
    np.testing.assert_array_equal(whole.wrong_draws, parts.wrong_draws)


def test_examples_in_another_order_err_alike(rng, vectors, labels):
    model, order = network(), rng.permutation(EXAMPLES)
    first = measures.chunks(model, batches(vectors, labels), draws=DRAWS)
    other = measures.chunks(model, batches(vectors[order], labels[order]), draws=DRAWS)
    np.testing.assert_array_equal(first.num_wrong, other.num_wrong)
    np.testing.assert_array_equal(first.wrong_draws[:, order], other.wrong_draws)
    assert (first.wrong_draws != other.wrong_draws).any()


def test_the_seed_draws_other_chunks_and_more_draws_add_to_them(vectors, labels):
    model, data = network(), batches(vectors, labels)
    few, more, other = (measures.chunks(model, data, draws=n, seed=s) for n, s in ((3, 0), (9, 0), (9, 1)))
    np.testing.assert_array_equal(few.num_wrong, more.num_wrong[:, :3])
    assert (more.num_wrong[:-1] != other.num_wrong[:-1]).any(axis=1).all()
    np.testing.assert_array_equal(more.num_wrong[-1], other.num_wrong[-1])


@pytest.mark.parametrize("sizes", [[3], [3, 5, 3], [WIDTH], [1, WIDTH]])
def test_the_sizes_asked_for_and_the_whole_layer(sizes, vectors, labels):
    model = network()
    found = check_chunks(model, batches(vectors, labels), features_of(model, vectors), labels, sizes=sizes)
    assert found.sizes.tolist() == sorted({*sizes, WIDTH})


@pytest.mark.parametrize("kind", ["column", "signed", "uint8"])
def test_labels_of_any_form(kind, vectors, labels):
    """Of two classes -1 and 1 are 0 and 1; labels may stand in a column."""
    model, binary = network(1), labels % 2
    given = {"column": binary[:, None], "signed": 2 * binary - 1, "uint8": binary.astype("uint8")}
    expected = measures.chunks(model, batches(vectors, binary), draws=2)
    found = measures.chunks(model, batches(vectors, given[kind]), draws=2)
    np.testing.assert_array_equal(found.wrong_draws, expected.wrong_draws)
    flipped = measures.chunks(model, batches(vectors, 1 - binary), draws=2)
    np.testing.assert_array_equal(flipped.num_wrong, EXAMPLES - expected.num_wrong)


ENDINGS = {
    "softmax": [lambda: layers.Softmax()],
    "activation": [lambda: layers.Activation("softmax")],
    "log_softmax": [lambda: layers.Activation("log_softmax")],
    "sigmoid": [lambda: layers.Activation("sigmoid")],
    "linear": [lambda: layers.Activation("linear"), lambda: layers.Dropout(0.5), lambda: layers.Softmax()],
    "reshape": [lambda: layers.Reshape((-1,))],
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_only_scales_the_scores_changes_no_chunk(ending, vectors, labels):
    plain, ended = (network(ending=layers_) for layers_ in (None, ENDINGS[ending]))
    expected, found = (measures.chunks(model, batches(vectors, labels), draws=DRAWS) for model in (plain, ended))
    np.testing.assert_array_equal(found.wrong_draws, expected.wrong_draws)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", None])
def test_the_activation_of_one_output_changes_no_chunk(activation, vectors, labels):
    """A sigmoid's class is 1 above a half, a score's above 0."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((FEATURES,))
    top = layers.Dense(1, activation, name="top")
    model = keras.Model(inputs, top(layers.Dense(WIDTH, "relu", name="hidden")(inputs)))
    found = check_chunks(model, batches(vectors, labels % 2), features_of(model, vectors), labels % 2)
    predicted = measures.predicted_classes(model, model.predict(vectors, verbose=0))
    assert (found.num_wrong[-1] == (predicted != labels % 2).sum()).all()
    assert 0 < found.num_wrong[-1, 0] < EXAMPLES


@pytest.mark.parametrize(
    ("model", "shape", "outputs", "hidden"),
    [
        ("alexnet", (8, 8, 3), 4, "tap_fc4"),
        ("mlp", (10,), 3, "tap_hidden"),
        ("fc5", (10,), 2, None),
        ("wide_resnet28", (32, 32, 3), 4, None),
    ],
)
def test_chunks_of_the_papers_networks(model, shape, outputs, hidden, rng):
    """FC5 has one output and hinge loss; WideResNet's last hidden layer is an average over its maps."""
    network = models.build(model, size=0.125, input_shape=shape, num_classes=outputs)
    images = rng.normal(size=(11, *shape)).astype("float32")
    given = rng.integers(outputs, size=11)
    graph = Graph(network)
    key, top = surgery.find_last_hidden(graph)
    producer = graph.producer[key].name
    assert hidden in (None, producer)
    found = check_chunks(
        network, batches(images, given, 4), features_of(network, images, producer), given, top=top.name, sizes=[2]
    )
    predicted = measures.predicted_classes(network, network.predict(images, verbose=0))
    np.testing.assert_array_equal(found.wrong_draws[-1], DRAWS * (predicted != given))


def test_units_that_are_chunked_may_be_a_concatenation_and_behind_dropout(branched_model, rng, labels):
    """Dropout is off; the layer that the last dense one reads has 8 units, of two branches."""
    images = rng.normal(size=(EXAMPLES, 8, 8, 3)).astype("float32")
    check_chunks(
        branched_model, batches(images, labels), features_of(branched_model, images, "pooled"), labels, top="scores"
    )
    inputs = keras.Input((FEATURES,))
    hidden = layers.Dropout(0.9, name="dropped")(layers.Dense(5, "relu", name="hidden")(inputs), training=True)
    model = keras.Model(inputs, layers.Dense(3, name="top")(hidden))
    vectors = rng.normal(size=(EXAMPLES, FEATURES)).astype("float32")
    check_chunks(model, batches(vectors, labels % 3), features_of(model, vectors), labels % 3)


def test_a_layer_of_one_unit(vectors, labels):
    model = network(width=1)
    found = measures.chunks(model, batches(vectors, labels), draws=2)
    assert (found.sizes.tolist(), found.num_wrong.shape) == ([1], (1, 2))
    curve = measures.reconstruction(model, vectors, draws=2)
    np.testing.assert_allclose([curve.r2, curve.held_out_r2], 1, atol=1e-9)


def test_labels_beyond_the_networks_classes_are_refused(vectors):
    with pytest.raises(ValueError, match="data: expected labels from 0 to"):
        measures.chunks(network(), batches(vectors, np.full(EXAMPLES, CLASSES)), draws=2)


def refused_endings():
    image, vector, sequence = keras.Input((8, 8, 3)), keras.Input((FEATURES,)), keras.Input((5, FEATURES))
    hidden = layers.Dense(4, "relu")(vector)
    pooled = layers.GlobalAveragePooling2D()
    return {
        "convolution": (image, pooled(layers.Conv2D(3, 3)(image))),
        "convolution_with_softmax": (image, layers.Reshape((3,))(layers.Conv2D(3, 8, activation="softmax")(image))),
        "other_kernel_with_softmax": (
            vector,
            layers.EinsumDense("ab,bc->ac", output_shape=3, activation="softmax")(layers.Dense(3)(hidden)),
        ),
        "rectified": (vector, layers.Dense(3, "relu")(hidden)),
        "activation_behind": (vector, layers.ReLU()(layers.Dense(3)(hidden))),
        "sum_of_two": (vector, layers.Add()([layers.Dense(3)(hidden), layers.Dense(3)(vector)])),
        "batch_norm_behind": (vector, layers.BatchNormalization()(layers.Dense(3)(hidden))),
        "dense_along_a_sequence": (sequence, layers.Flatten()(layers.Dense(1)(layers.Dense(4, "relu")(sequence)))),
    }


@pytest.mark.parametrize("measure", [measures.chunks, measures.reconstruction, measures.intrinsic_dimension])
@pytest.mark.parametrize("ending", refused_endings())
def test_ends_that_are_not_dense_are_refused(ending, measure):
    inputs, outputs = refused_endings()[ending]
    model = keras.Model(inputs, outputs, name="other")
    data = batches(np.zeros((8, *inputs.shape[1:]), "float32"), np.zeros(8, int))
    with pytest.raises(ValueError, match="model: expected a network that ends in a dense layer of class scores, re"):
        measure(model, data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"draws": 0}, "draws: expected at least 1, received 0"),
        ({"sizes": [13]}, "sizes: expected whole numbers from 1 to the layer's 12 units, received"),
        ({"sizes": [0]}, "sizes: expected whole"),
        ({"sizes": []}, "sizes: expected whole"),
    ],
)
@pytest.mark.parametrize("measure", [measures.chunks, measures.reconstruction])
def test_options_of_chunks_that_are_not_of_these_are_refused(measure, options, message, vectors, labels):
    with pytest.raises(ValueError, match=message):
        measure(network(), batches(vectors, labels), **options)


def test_models_and_data_that_have_no_chunks_are_refused(vectors, labels):
    with pytest.raises(ValueError, match="data: expected labels, whole numbers"):
        measures.chunks(network(), vectors)
    for measure in (measures.chunks, measures.reconstruction, measures.intrinsic_dimension):
        with pytest.raises(ValueError, match="expected a functional Keras model"):
            measure(keras.Sequential([layers.Dense(3)]), batches(vectors, labels))
        inputs = keras.Input((FEATURES,))
        two = keras.Model(inputs, [layers.Dense(3)(inputs), layers.Dense(2)(inputs)])
        with pytest.raises(ValueError, match="model: expected one output, the classes' scores, received 2 outputs"):
            measure(two, batches(vectors, labels))


def reconstructed(model, data, **options):
    return measures.reconstruction(model, data, draws=2, **options)


def by_hand(fitted, scored, chunk, target):
    predicted = Ridge(alpha=1e-8, solver="svd").fit(fitted[:, chunk], fitted[:, target]).predict(scored[:, chunk])
    return r2_score(scored[:, target], predicted, multioutput="variance_weighted"), scored[:, target] - predicted


def mean_correlation(residuals):
    covariance = np.cov(residuals, rowvar=False)
    std = np.sqrt(np.diag(covariance))
    return np.abs(covariance / (np.outer(std, std) + 1e-8))[np.tril_indices(len(covariance), -1)].mean()


@pytest.mark.parametrize("size", [7, 8, 61])
def test_reconstructions_are_ridge_regressions(size, vectors, labels):
    """Held out: fitted on examples 0, 2, 4, ..., whatever the batches, and scored on 1, 3, 5, ..."""
    model = network()
    features = features_of(model, vectors)
    found = reconstructed(model, batches(vectors, labels, size), sizes=[1, 4], seed=5)
    assert (found.width, found.num_rows, found.sizes.tolist()) == (WIDTH, EXAMPLES, [1, 4, WIDTH])
    everything = np.arange(WIDTH)
    for i, j in np.ndindex(2, 2):
        chunk = statistics.draw_chunks(WIDTH, found.sizes[i], 2, seed=5)[j]
        outside = np.setdiff1d(everything, chunk)
        r2, residuals = by_hand(features, features, chunk, everything)
        assert found.r2[i, j] == pytest.approx(r2, abs=R2_ERROR)
        assert found.correlation[i, j] == pytest.approx(mean_correlation(residuals), abs=CORRELATION_ERROR)
        r2, residuals = by_hand(features[::2], features[1::2], chunk, everything)
        assert found.held_out_r2[i, j] == pytest.approx(r2, abs=R2_ERROR)
        expected = mean_correlation(residuals[:, outside])
        assert found.held_out_correlation[i, j] == pytest.approx(expected, abs=CORRELATION_ERROR)
        # Negative control: the halves the other way round.
        other, _ = by_hand(features[1::2], features[::2], chunk, everything)
        assert abs(other - r2) > 100 * R2_ERROR
    np.testing.assert_allclose([found.r2[-1], found.held_out_r2[-1]], 1, atol=1e-9)
    assert np.isnan(found.held_out_correlation[-1]).all()


def test_chunks_reconstruct_chunks(vectors):
    model = network()
    features = features_of(model, vectors)
    found = reconstructed(model, vectors, target="chunk")
    assert found.sizes.tolist() == [1, 2, 4]
    whole = reconstructed(model, vectors, sizes=[4])
    order = np.random.default_rng([0, 4, 1]).permutation(WIDTH)
    r2, _ = by_hand(features, features, order[:4], order[4:8])
    assert found.r2[2, 1] == pytest.approx(r2, abs=R2_ERROR)
    # A chunk of the same draw reconstructs the layer, itself included, better.
    assert (found.r2[2] < whole.r2[0]).all()
    for sizes in ([WIDTH], [7, 9]):
        with pytest.raises(ValueError, match="sizes: expected one of at most half of 12 units for a map to a chunk"):
            reconstructed(model, vectors, target="chunk", sizes=sizes)


def test_reconstruction_is_the_same_on_several_devices_and_of_any_batches(two_devices, vectors, labels):
    model = network()
    one = reconstructed(model, vectors)
    others = [reconstructed(model, batches(vectors, labels, size), strategy=two_devices) for size in (7, 20)]
    for found in others:
        for name in ("r2", "held_out_r2"):
            np.testing.assert_allclose(getattr(found, name), getattr(one, name), atol=R2_ERROR)
        for name in ("correlation", "held_out_correlation"):
            np.testing.assert_allclose(getattr(found, name), getattr(one, name), atol=CORRELATION_ERROR)


@pytest.mark.parametrize(("examples", "enough"), [(3, False), (4, True)])
def test_four_examples_are_the_fewest_to_reconstruct(examples, enough, vectors):
    if enough:
        assert reconstructed(network(), vectors[:examples]).num_rows == 4
    else:
        with pytest.raises(ValueError, match="data: expected at least four examples, received 3"):
            reconstructed(network(), vectors[:examples])


def test_an_unknown_target_is_refused(vectors):
    with pytest.raises(ValueError, match="target: expected one of layer, chunk, received 'unit'"):
        measures.reconstruction(network(), vectors, target="unit")


def test_independent_residuals_of_a_network_are_at_the_noise_floor(rng):
    """64 units that pass their inputs on; in-sample the authors' mean over all pairs falls by (1 - w/W)^2, although
    nothing is explained, and held out it does not."""
    width, size = 64, 32
    inputs = keras.Input((width,))
    linear = layers.Dense(width, kernel_initializer="identity", name="hidden")(inputs)
    model = keras.Model(inputs, layers.Dense(2)(linear))
    found = reconstructed(model, rng.normal(size=(2000, width)).astype("float32"), sizes=[1, size])
    floor, floors = statistics.noise_floor(2000, size), found.noise_floor
    np.testing.assert_allclose(found.held_out_correlation[:2], np.tile(floors[:2, None], 2), rtol=0.06)
    np.testing.assert_allclose(found.correlation[1], (1 - size / width) ** 2 * floor, rtol=0.1)
    assert found.too_few_rows.tolist() == [False, False, False]
    # The chunk's own half of the variance is all it explains.
    np.testing.assert_allclose(found.r2[1], 0.5, atol=0.05)
    assert (found.held_out_r2[1] < found.r2[1]).all()


def latent_network(dimension: int, width: int = 20) -> keras.Model:
    keras.utils.set_random_seed(2)
    inputs = keras.Input((dimension,))
    maps = layers.Dense(width, "tanh", name="tap_hidden")(inputs)
    return keras.Model(inputs, layers.Dense(3)(maps))


@pytest.mark.parametrize("dimension", [1, 3])
def test_the_dimension_is_that_of_what_the_layer_reads(dimension, rng):
    inputs = rng.uniform(-0.5, 0.5, size=(1500, dimension)).astype("float32")
    model = latent_network(dimension)
    found = measures.intrinsic_dimension(model, inputs)
    assert found.value == pytest.approx(dimension, rel=0.12)
    points = surgery.read(model, ["hidden"])(inputs)["hidden"].numpy()
    expected = statistics.intrinsic_dimension(points)
    assert found.value == pytest.approx(expected.value, rel=1e-3)
    assert (found.num_points, found.num_left_out) == (1500, 0)
    assert measures.intrinsic_dimension(model, inputs, tap="hidden") == found
    other = measures.intrinsic_dimension(model, inputs, method="likelihood", discarded_share=0)
    expected = statistics.intrinsic_dimension(points, method="likelihood", discarded_share=0)
    assert other.value == pytest.approx(expected.value, rel=1e-3)
    assert other.value != found.value


def test_all_positions_of_a_tap_are_coordinates(branched_model, images):
    found = measures.intrinsic_dimension(branched_model, images, tap="joined")
    points = surgery.read(branched_model, ["joined"])(images)["joined"].numpy().reshape(len(images), -1)
    assert found.value == pytest.approx(statistics.intrinsic_dimension(points).value, rel=1e-3)


@pytest.mark.parametrize("size", [7, 50])
def test_some_examples_at_random_are_the_points(size, rng, two_devices):
    """As many as asked for, whatever the batches and devices; others of another seed."""
    inputs, model = rng.uniform(size=(120, 3)).astype("float32"), latent_network(3)
    data = tf.data.Dataset.from_tensor_slices(inputs).batch(size)
    found = measures.intrinsic_dimension(model, data, max_points=40)
    assert found.num_points == 40
    other = measures.intrinsic_dimension(model, inputs, max_points=40, seed=1)
    assert found.value != other.value
    again = measures.intrinsic_dimension(model, inputs, max_points=40, strategy=two_devices)
    assert again.value == pytest.approx(found.value, rel=1e-3)
    first = measures.intrinsic_dimension(model, inputs[:40])
    assert first.value != found.value


def test_points_that_have_no_dimension_are_refused(rng):
    model, inputs = latent_network(3), rng.normal(size=(20, 3)).astype("float32")
    for options, message in (
        ({"tap": "no"}, r"taps: expected taps of '.*' \(hidden\), received \['no'\]"),
        ({"max_points": 2}, "max_points: expected at least 3, received 2"),
        ({"method": "mine"}, "method: expected 'fit' or 'likelihood', received 'mine'"),
    ):
        with pytest.raises(ValueError, match=message):
            measures.intrinsic_dimension(model, inputs, **options)
    with pytest.raises(ValueError, match="points: expected at least 3 different ones, received 1"):
        measures.intrinsic_dimension(model, np.zeros((9, 3), "float32"))
