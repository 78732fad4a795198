"""Every form of data gives the same numbers, and what is no data for a model is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfunits import measures
from tfunits.surgery import Inputs

EXAMPLES = 27


def network(shape: tuple[int, ...] = (6,), outputs: int = 3, activation: str | None = None) -> keras.Model:
    keras.utils.set_random_seed(1)
    inputs = keras.Input(shape)
    hidden = layers.Dense(5, "relu", name="hidden")(inputs)
    return keras.Model(inputs, layers.Dense(outputs, activation)(hidden), name="network")


@pytest.fixture
def vectors(rng) -> np.ndarray:
    return rng.normal(size=(EXAMPLES, 6)).astype("float32")


def means(model: keras.Model, data, tap: str = "hidden", **options) -> np.ndarray:
    return measures.unit_statistics(model, data, **options).taps[tap].mean[0]


def expected_means(model: keras.Model, inputs: np.ndarray, tap: str = "hidden") -> np.ndarray:
    kernel, bias = (weights.astype("float64") for weights in model.get_layer(tap).get_weights())
    return np.maximum(inputs @ kernel + bias, 0).mean(axis=0)


FORMS = {
    "array": lambda x: x,
    "tensor": tf.constant,
    "batches": lambda x: tf.data.Dataset.from_tensor_slices(x).batch(8),
    "batches_and_labels": lambda x: tf.data.Dataset.from_tensor_slices((x, np.zeros(len(x)))).batch(8),
    "unknown_number": lambda x: tf.data.Dataset.from_tensor_slices(x).batch(8).filter(lambda _: True),
    "padded_with_batches": lambda x: tf.data.Dataset.from_tensor_slices(x).repeat(2).take(len(x)).batch(8),
    "float64": lambda x: x.astype("float64"),
    "float64_batches": lambda x: tf.data.Dataset.from_tensor_slices(x.astype("float64")).batch(8),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_numbers(form, vectors):
    model = network()
    np.testing.assert_allclose(means(model, FORMS[form](vectors)), expected_means(model, vectors), atol=1e-6)
    curves = measures.ablation_curves(model, FORMS[form](vectors), draws=1)
    assert curves.to_dict() == measures.ablation_curves(model, vectors, draws=1).to_dict()


def test_whole_numbers_are_inputs(rng):
    pixels, model = rng.integers(0, 256, size=(EXAMPLES, 6), dtype="uint8"), network()
    np.testing.assert_allclose(means(model, pixels), expected_means(model, pixels.astype("float64")), rtol=1e-5)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_the_split_of_a_data_set_is_the_one_asked_for(split, blobs):
    model = network((5,))
    expected = expected_means(model, blobs.splits[split].inputs)
    np.testing.assert_allclose(means(model, blobs, split=split), expected, atol=1e-6)
    curves = measures.ablation_curves(model, blobs, split=split)
    assert curves.joint.num_examples == len(blobs.splits[split])
    assert curves.settings["split"] == split


def two_inputs(structure) -> keras.Model:
    keras.utils.set_random_seed(1)
    right, left = keras.Input((3,), name="right"), keras.Input((3,), name="left")
    both = [layers.Dense(4, "relu", name="of_right")(right), layers.Dense(2, "relu", name="of_left")(left)]
    return keras.Model(structure(right, left), layers.Dense(3)(layers.Concatenate(name="both")(both)))


@pytest.mark.parametrize(
    "structure",
    [lambda right, left: {"right": right, "left": left}, lambda right, left: [right, left]],
    ids=["dict", "list"],
)
def test_inputs_by_name_reach_the_inputs_of_that_name(structure, vectors):
    """As in Keras, where a dict of arrays goes by names whether the model has a dict or a list of inputs."""
    model, named = two_inputs(structure), {"right": vectors[:, :3], "left": vectors[:, 3:]}
    data = tf.data.Dataset.from_tensor_slices((named, np.zeros(EXAMPLES))).batch(8)
    for side, inputs in named.items():
        np.testing.assert_allclose(
            means(model, data, tap=f"of_{side}"), expected_means(model, inputs, f"of_{side}"), atol=1e-6
        )


def test_several_inputs_in_order(vectors):
    model = two_inputs(lambda right, left: [right, left])
    data = tf.data.Dataset.from_tensor_slices(((vectors[:, :3], vectors[:, 3:]), np.zeros(EXAMPLES))).batch(8)
    expected = expected_means(model, vectors[:, 3:], "of_left")
    np.testing.assert_allclose(means(model, data, tap="of_left"), expected, atol=1e-6)


@pytest.mark.parametrize("measure", [measures.unit_statistics, measures.ablation_curves, measures.report])
@pytest.mark.parametrize(
    ("make_data", "message"),
    [
        (lambda x: x[:0], "data: expected at least one batch, received none"),
        (lambda x: x[:, :5], r"expected batches of inputs of shape \(6,\), as 'network' reads, received \(5,\)"),
        (lambda x: x[:, None], r"expected batches of inputs of shape \(6,\), as 'network' reads, received \(1, 6\)"),
        (lambda x: tf.data.Dataset.from_tensor_slices(x), r"of shape \(6,\), as 'network' reads, received \(\)"),
        (lambda x: tf.data.Dataset.from_tensor_slices(x).batch(8).repeat(), "received a repeated dataset; add .take"),
        (lambda x: tf.data.Dataset.from_tensor_slices(((x, x), x)).batch(8), r"received \(6,\) and \(6,\)"),
    ],
)
def test_data_that_a_model_cannot_read_is_refused(measure, make_data, message, vectors):
    with pytest.raises(ValueError, match=message):
        measure(network(), make_data(vectors))


def test_an_unknown_split_is_refused(blobs):
    with pytest.raises(ValueError, match="split: expected one of train, validation, test, received 'dev'"):
        measures.ablation_curves(network((5,)), blobs, split="dev")


@pytest.mark.parametrize("data", [[[1.0] * 6], "digits", None, iter(())])
def test_data_of_another_kind_is_refused(data):
    with pytest.raises(TypeError, match="expected a tfunits Dataset, a batched tf.data.Dataset or arrays of inputs"):
        measures.unit_statistics(network(), data)


@pytest.mark.parametrize(
    ("outputs", "activation", "values", "classes"),
    [
        (3, None, [[1, 3, 2], [-1, -3, -2]], [1, 0]),
        (3, "softmax", [[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]], [2, 0]),
        (1, None, [[0.1], [-0.1]], [1, 0]),
        (1, "tanh", [[0.1], [-0.1]], [1, 0]),
        (1, "sigmoid", [[0.6], [0.4]], [1, 0]),
        (1, "hard_sigmoid", [[0.6], [0.4]], [1, 0]),
    ],
)
def test_predicted_classes(outputs, activation, values, classes):
    model = network(outputs=outputs, activation=activation)
    assert measures.predicted_classes(model, np.array(values, "float32")).tolist() == classes


LABELS = np.arange(EXAMPLES) % 3


def read_labels(data, shape: tuple[int, ...] = (6,), split: str = "test") -> np.ndarray:
    return np.concatenate([labels for _, labels in Inputs(data, split, network(shape)).with_labels()])


@pytest.mark.parametrize("kind", ["int32", "int64", "uint8", "int8"])
@pytest.mark.parametrize("column", [False, True])
def test_labels_are_whole_numbers_in_a_row_or_a_column(column, kind, vectors):
    given = LABELS.astype(kind)[:, None] if column else LABELS.astype(kind)
    data = tf.data.Dataset.from_tensor_slices((vectors, given)).batch(8)
    assert Inputs(data, "test", network()).has_labels
    np.testing.assert_array_equal(read_labels(data), LABELS)


def test_labels_belong_to_their_inputs(vectors):
    data = tf.data.Dataset.from_tensor_slices((vectors, LABELS)).batch(8)
    inputs = Inputs(data, "test", network())
    for (batch,), labels in inputs.with_labels():
        for row, label in zip(batch.numpy(), labels, strict=True):
            assert LABELS[np.flatnonzero((vectors == row).all(axis=1))[0]] == label
    assert (inputs.num_examples, inputs.batch_size, inputs.num_batches) == (EXAMPLES, 8, 4)


@pytest.mark.parametrize("outputs", [1, 2])
def test_labels_of_minus_one_and_one_are_zero_and_one(outputs, vectors):
    signed = np.where(LABELS > 0, 1, -1)
    inputs = keras.Input((6,))
    model = keras.Model(inputs, layers.Dense(outputs)(inputs))
    found = Inputs((vectors, signed), "test", model).with_labels()
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in found]), LABELS > 0)


@pytest.mark.parametrize("labels", [[-1, 0, 1, 2], [0, 1, 2, 3]])
def test_labels_that_are_no_classes_are_refused_where_they_are_needed(labels, vectors):
    """Among three classes -1 is none, such as examples to be ignored have; nor is 3."""
    inputs = keras.Input((6,))
    model = keras.Model(inputs, layers.Dense(3)(inputs))
    given = Inputs((vectors[:4], np.array(labels)), "test", model)
    np.testing.assert_array_equal(next(given.with_labels())[1], labels)
    given.require_labels()
    with pytest.raises(ValueError, match="data: expected labels from 0 to 2, the network's classes, received"):
        next(given.with_labels())


def test_arrays_of_inputs_and_labels_are_batches(vectors):
    inputs = keras.Input((6,))
    two = [inputs, keras.Input((6,))]
    model = keras.Model(two, layers.Dense(3)(layers.Add()(two)))
    for given in ([vectors, 2 * vectors], ([vectors, 2 * vectors], LABELS)):
        found = list(Inputs(given, "test", model))
        np.testing.assert_array_equal(np.concatenate([second for _, second in found]), 2 * vectors)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_labels_of_a_data_set_are_those_of_the_split(split, blobs):
    np.testing.assert_array_equal(read_labels(blobs, (5,), split), blobs.splits[split].labels)


@pytest.mark.parametrize("weighted", [False, True])
def test_what_stands_behind_the_labels_is_left_out(weighted, vectors):
    parts = (vectors, LABELS, np.ones(EXAMPLES, "float32")) if weighted else (vectors, LABELS)
    np.testing.assert_array_equal(read_labels(tf.data.Dataset.from_tensor_slices(parts).batch(8)), LABELS)


@pytest.mark.parametrize(
    "make_data",
    [
        lambda x: x,
        lambda x: tf.data.Dataset.from_tensor_slices(x).batch(8),
        lambda x: tf.data.Dataset.from_tensor_slices((x,)).batch(8),
        lambda x: tf.data.Dataset.from_tensor_slices((x, LABELS.astype("float32"))).batch(8),
        lambda x: tf.data.Dataset.from_tensor_slices((x, np.eye(3, dtype="int32")[LABELS])).batch(8),
        lambda x: tf.data.Dataset.from_tensor_slices((x, {"class": LABELS})).batch(8),
        lambda x: tf.data.Dataset.from_tensor_slices((x, LABELS > 0)).batch(8),
        lambda x: tf.data.Dataset.from_generator(
            lambda: iter([(x, LABELS)]), output_types=(tf.float32, tf.int64)
        ),
    ],
    ids=["array", "batches", "tuple_of_inputs", "float", "one_hot", "dict", "bool", "unknown_shape"],
)  # fmt: skip
def test_what_is_no_label_is_left_out_or_refused(make_data, vectors):
    inputs = Inputs(make_data(vectors), "test", network())
    assert not inputs.has_labels
    assert {labels for _, labels in inputs.with_labels()} == {None}
    np.testing.assert_array_equal(np.concatenate([batch[0] for batch in inputs]), vectors)
    with pytest.raises(
        ValueError, match=r"data: expected labels, whole numbers \[batch\], beside the inputs, received"
    ):
        inputs.require_labels()
