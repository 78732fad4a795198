"""The graph of a model computes what the model computes, from any set of tensors to any other."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from sample_networks import NETWORKS, call, chain, inputs_of, make, randomize

from tfunits.surgery import Graph, as_functional
from tfunits.surgery.graph import weights_of


@pytest.fixture(params=[*NETWORKS, "branched"])
def model(request, branched_model) -> keras.Model:
    return branched_model if request.param == "branched" else make(request.param)


def given(graph: Graph, arrays: list[np.ndarray]) -> dict:
    return dict(zip(graph.inputs, map(tf.constant, arrays), strict=True))


def all_keys(graph: Graph) -> list:
    return [*graph.inputs, *(key for made in graph.calls for key in made.outputs)]


def assert_equal(received: list, expected: list) -> None:
    """Bit by bit: the same operations ran on the same values."""
    for left, right in zip(received, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(left), right)


def test_running_the_graph_is_running_the_model(model):
    graph, arrays = Graph(model), inputs_of(model)
    assert_equal(graph.run(given(graph, arrays), graph.outputs), call(model, arrays))


def test_every_tensor_with_its_frontier_determines_the_output(model):
    graph, arrays = Graph(model), inputs_of(model)
    expected = call(model, arrays)
    for key in all_keys(graph):
        frontier = graph.frontier([key])
        values = graph.run(given(graph, arrays), frontier)
        assert_equal(graph.run(dict(zip(frontier, values, strict=True)), graph.outputs), expected)


def test_several_tensors_with_their_frontier_determine_the_output(model, rng):
    graph, arrays = Graph(model), inputs_of(model)
    expected, keys = call(model, arrays), all_keys(graph)
    for size in rng.integers(2, len(keys) + 1, size=5):
        chosen = [keys[i] for i in rng.choice(len(keys), size, replace=False)]
        frontier = graph.frontier(chosen)
        values = graph.run(given(graph, arrays), frontier)
        assert_equal(graph.run(dict(zip(frontier, values, strict=True)), graph.outputs), expected)


def test_the_output_depends_on_every_member_of_a_frontier(branched_model, images):
    """Negative control: nothing is kept that need not be known."""
    graph = Graph(branched_model)
    expected = branched_model(images).numpy()
    for made in graph.calls:
        frontier = graph.frontier(made.outputs)
        values = dict(zip(frontier, graph.run(given(graph, [images]), frontier), strict=True))
        for key in frontier:
            (changed,) = graph.run({**values, key: values[key] + 1.0}, graph.outputs)
            assert np.abs(changed - expected).max() > 0.01


def test_only_what_lies_behind_a_tensor_is_run_again(branched_model):
    graph = Graph(branched_model)
    gated = next(made for made in graph.calls if made.name == "gated")
    behind = [made.name for made in graph.behind(gated.outputs)]
    assert behind[-2:] == ["pooled", "scores"]
    assert len(behind) == 3  # The third is the operator `* 2.0`.
    assert [made.name for made in graph.needed(graph.outputs, gated.outputs)] == behind


def test_names_and_shapes(branched_model):
    graph = Graph(branched_model)
    shapes = {made.name: graph.shape(made.outputs[0]) for made in graph.calls}
    assert shapes["joined"] == (None, 8, 8, 8)
    assert shapes["scores"] == (None, 5)
    assert graph.spec(graph.inputs[0]) == tf.TensorSpec([None, 8, 8, 3], "float32")


def test_nested_models_are_laid_open():
    names = [made.name for made in Graph(make("nested")).calls]
    once = ["inner/wide", "inner/block/deep", "inner/sum"]
    assert names == [*once, *(name.replace("inner", "inner#2") for name in once), "both", "head"]


def test_a_second_call_of_a_shared_layer_has_a_name_of_its_own():
    assert [made.name for made in Graph(make("shared")).calls] == ["twice", "twice#2", "head"]


def test_consumers_of_a_tensor(branched_model):
    graph = Graph(branched_model)
    first = next(made for made in graph.calls if made.name == "first")
    assert sorted(c.name for c in graph.consumers(first.outputs[0])) == ["joined", "second", "summed"]
    assert graph.consumers(graph.outputs[0]) == []


def test_edit_applies_to_given_and_to_computed_tensors():
    model = make("shared")
    graph, arrays = Graph(model), inputs_of(model)
    (key,) = graph.calls[0].outputs
    seen = []
    graph.run(given(graph, arrays), graph.outputs, edit=lambda k, value: seen.append(k) or value)
    assert seen == all_keys(graph)

    def double(edited_key, value):
        return 2 * value if edited_key == key else value

    hidden = graph.run(given(graph, arrays), [key])[0]
    expected = graph.run({key: 2 * hidden}, graph.outputs)
    assert_equal(graph.run(given(graph, arrays), graph.outputs, edit=double), [v.numpy() for v in expected])
    assert_equal(graph.run({key: hidden}, graph.outputs, edit=double), [v.numpy() for v in expected])


def test_inference_switches_dropout_off_even_where_it_is_asked_for():
    inputs = keras.Input((6,))
    dropped = layers.Dropout(0.5, seed=0)(layers.Dense(8, "relu")(inputs), training=True)
    model = randomize(keras.Model(inputs, layers.Dense(3)(dropped)))
    graph, arrays = Graph(model), inputs_of(model, examples=16)
    run = [graph.run(given(graph, arrays), graph.outputs, inference=True)[0].numpy() for _ in range(2)]
    np.testing.assert_array_equal(run[0], run[1])
    assert np.abs(graph.run(given(graph, arrays), graph.outputs)[0] - run[0]).max() > 0


def test_a_nested_model_called_with_training_keeps_it():
    inner = keras.Sequential([keras.Input((6,)), layers.BatchNormalization(), layers.ReLU()])
    inputs = keras.Input((6,))
    model = randomize(keras.Model(inputs, layers.Dense(3)(inner(inputs, training=True))))
    graph, arrays = Graph(model), inputs_of(model)
    assert_equal(graph.run(given(graph, arrays), graph.outputs), call(model, arrays))


def test_a_compiled_function_is_traced_once_for_every_batch_size(branched_model, images):
    graph, traces = Graph(branched_model), []

    def scores(batch):
        traces.append(1)
        return graph.run({graph.inputs[0]: batch}, graph.outputs)[0]

    with keras.StatelessScope(initialize_variables=False):
        # As a network whose weights are only counted: the end of the next such scope would make its weights.
        keras.Sequential([keras.Input((5,)), layers.Dense(4)])
    run = graph.compile(scores, [graph.spec(graph.inputs[0])])
    for size in (1, 8, 27):
        np.testing.assert_allclose(run(tf.constant(images[:size])), branched_model(images[:size]), rtol=1e-5, atol=1e-5)
    assert len(traces) == 1


def test_the_tensors_that_are_live_at_a_position_determine_the_output(model):
    graph, arrays = Graph(model), inputs_of(model)
    expected = call(model, arrays)
    for position in range(len(graph.calls) + 1):
        live = graph.live(position)
        assert set(live) <= {*graph.inputs, *(key for made in graph.calls[:position] for key in made.outputs)}
        values = dict(zip(live, graph.run(given(graph, arrays), live), strict=True))
        for made in graph.calls[position:]:
            values.update(zip(made.outputs, made.run(values, inference=False), strict=True))
        assert_equal([values[key] for key in graph.outputs], expected)
        # Nothing is kept that need not be known.
        read = {key for made in graph.calls[position:] for key in made.inputs} | set(graph.outputs)
        assert set(live) <= read
    assert set(graph.live(len(graph.calls))) == set(graph.outputs)


def test_positions_of_tensors_and_layers(model):
    graph = Graph(model)
    for key in all_keys(graph):
        position = graph.position_behind(key)
        made_before = {k for made in graph.calls[:position] for k in made.outputs}
        assert key in made_before or (position == 0 and key in graph.inputs)
        assert position == 0 or key in graph.calls[position - 1].outputs
    for made in graph.calls:
        first = graph.first_position(made.operation)
        assert graph.calls[first].operation is made.operation
        assert all(before.operation is not made.operation for before in graph.calls[:first])


@pytest.mark.parametrize("limit", [0, 60, 2**22])
def test_a_compiled_function_keeps_the_weights_of_its_making(limit, monkeypatch, branched_model, images):
    """Those of up to the stated size; larger ones are read when it runs."""
    monkeypatch.setattr("tfunits.surgery.graph._LARGEST_CONSTANT", limit)
    graph = Graph(branched_model)
    sizes = {variable.path: int(np.prod(variable.shape)) for variable in branched_model.variables}
    assert min(sizes.values()) < 60 < max(sizes.values())
    expected = branched_model(images).numpy()

    def scores(batch):
        return graph.run({graph.inputs[0]: batch}, graph.outputs, inference=True)[0]

    run = graph.compile(scores, [graph.spec(graph.inputs[0])])
    np.testing.assert_allclose(run(tf.constant(images)), expected, rtol=1e-4, atol=1e-4)
    for variable in branched_model.variables:
        before = variable.numpy()
        variable.assign(before + 1.0)
        if sizes[variable.path] <= limit:
            np.testing.assert_allclose(run(tf.constant(images)), expected, rtol=1e-4, atol=1e-4)
        else:
            np.testing.assert_allclose(run(tf.constant(images)), branched_model(images), rtol=1e-4, atol=1e-4)
        variable.assign(before)


def test_only_the_calls_that_a_function_runs_need_have_constants(branched_model, images):
    graph = Graph(branched_model)
    calls = [made for made in graph.calls if made.name == "first"]

    def scores(batch):
        return graph.run({graph.inputs[0]: batch}, graph.outputs, inference=True)[0]

    run = graph.compile(scores, [graph.spec(graph.inputs[0])], calls)
    last = branched_model.get_layer("scores")
    last.bias.assign(last.bias.numpy() + 1.0)
    expected = branched_model(images).numpy()
    branched_model.get_layer("first").kernel.assign(branched_model.get_layer("first").kernel.numpy() * 3)
    np.testing.assert_allclose(run(tf.constant(images)), expected, rtol=1e-4, atol=1e-4)


def test_the_weights_of_calls_are_each_once():
    model = make("shared")
    graph = Graph(model)
    found = weights_of(graph.calls)
    assert sorted(map(id, found)) == sorted(map(id, model.variables))


class _Subclassed(keras.Model):
    def call(self, inputs):
        return inputs


class _OwnCall(keras.Model):
    """With a graph of Keras', which is not what a call does."""

    def call(self, inputs):
        return 2 * super().call(inputs)


def _ends():
    inputs = keras.Input((3,))
    return inputs, layers.Dense(2)(inputs)


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (_Subclassed(), r"the subclass _Subclassed; use .* keras.Model\(x, model.call\(x\)\)"),
        (_OwnCall(*_ends()), "the subclass _OwnCall; use"),
        (keras.Sequential([layers.Dense(3)]), r"an unbuilt Sequential; call its build\(input_shape\)"),
        (layers.Dense(3), r"a Dense; build it as keras.Model\(inputs, outputs\)"),
    ],
)
def test_models_without_a_graph_are_refused_with_the_way_out(model, kind):
    for function in (Graph, as_functional):
        with pytest.raises(ValueError, match=f"model: expected a functional Keras model, received {kind}"):
            function(model)


def test_a_functional_model_is_its_own_graph():
    model = chain(layers.Dense(3))
    assert as_functional(model) is model
