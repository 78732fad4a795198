"""Changed runs of a network against whole networks that are changed in the same way."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from perturbed_networks import (
    EXAMPLES,
    NETWORKS,
    ROUNDING,
    TRIALS,
    call,
    called_again,
    chain,
    channels,
    classes,
    collect,
    every_kind_of_change,
    inputs_of,
    only_output,
    random_masks,
    randomize,
    residual,
    run_all,
)

from tfunits import measures, surgery
from tfunits.measures import perturbations
from tfunits.measures.perturbations import PerturbedRuns, UnitMasks
from tfunits.surgery import Graph, find_tensors, tap_keys


@pytest.mark.parametrize("name", NETWORKS)
def test_every_trial_is_the_whole_network_with_a_mask(name, rng):
    """Of every tap and all taps at once, by channel and by location."""
    model = NETWORKS[name]()
    graph, arrays = Graph(model), inputs_of(model)
    keys = tap_keys(graph)
    masks = {
        (unit, tap): random_masks(rng, channels(graph.shape(key)[1:]) if unit == "channel" else graph.shape(key)[1:])
        for unit in ("channel", "location")
        for tap, key in keys.items()
    }
    sites = {case: {keys[case[1]]: UnitMasks(values)} for case, values in masks.items()}
    sites |= {
        (unit, None): {keys[tap]: UnitMasks(masks[unit, tap]) for tap in keys} for unit in ("channel", "location")
    }
    unchanged, found = run_all(graph, sites, arrays)
    np.testing.assert_allclose(unchanged, call(model, arrays), **ROUNDING)
    for (unit, tap), outputs in found.items():
        for trial in range(TRIALS):
            involved = keys if tap is None else [tap]
            given = {t: masks[unit, t][trial].reshape(-1 if unit == "channel" else masks[unit, t][trial].shape)
                     for t in involved}  # fmt: skip
            expected = call(surgery.mask(model, given), arrays)
            np.testing.assert_allclose(outputs[trial], expected, **ROUNDING)
            np.testing.assert_array_equal(classes(outputs[trial]), classes(expected))
    # Negative control: the masks change the network, and different ones change it differently.
    assert all(np.abs(outputs[-1] - unchanged).max() > 0.01 for outputs in found.values())
    assert np.mean([np.abs(outputs[0] - outputs[1]).max() > 0.01 for outputs in found.values()]) > 0.5


@pytest.mark.parametrize("name", ["residual", "gated", "nested", "two_inputs", "several_outputs_of_a_call"])
def test_any_tensors_can_be_masked_together(name, rng):
    """Inputs, the output, tensors at one cut and tensors far apart."""
    model = NETWORKS[name]()
    graph, arrays = Graph(model), inputs_of(model)
    keys = [*graph.inputs, *(key for made in graph.calls for key in made.outputs)]
    chosen = [rng.choice(len(keys), size, replace=False) for size in (1, 2, 3, 4)]
    chosen += [[0], [len(keys) - 1], [0, len(keys) - 1]]
    masks = [{keys[i]: random_masks(rng, graph.shape(keys[i])[1:]) for i in indices} for indices in chosen]
    sites = {i: {key: UnitMasks(m) for key, m in given.items()} for i, given in enumerate(masks)}
    _, found = run_all(graph, sites, arrays)
    start = dict(zip(graph.inputs, map(tf.constant, arrays), strict=True))
    for i, given in enumerate(masks):
        for trial in range(TRIALS):
            expected = graph.run(
                start, graph.outputs, inference=True,
                edit=lambda key, value, g=given, t=trial: value * g[key][t] if key in g else value,
            )[0]  # fmt: skip
            np.testing.assert_allclose(found[i][trial], expected, **ROUNDING)


@pytest.mark.parametrize("name", ["residual", "two_inputs", "shared"])
def test_nothing_depends_on_batches_stacks_pieces_or_devices(name, monkeypatch, two_devices):
    model = NETWORKS[name]()
    graph, arrays = Graph(model), inputs_of(model)
    sites = every_kind_of_change(model)
    runs = PerturbedRuns(graph, sites, only_output)
    unchanged, expected = collect(runs, model, arrays)
    assert np.abs(expected["all noise"][1:] - unchanged).max() > 0.01

    def check(way: str, **options) -> None:
        plain, found = collect(options.pop("runs", runs), model, arrays, **options)
        np.testing.assert_allclose(plain, unchanged, **ROUNDING)
        for case, outputs in found.items():
            np.testing.assert_allclose(outputs, expected[case], **ROUNDING, err_msg=f"{case} {way}")

    for batch_size in (1, 3):
        check("other batches", batch_size=batch_size)
    # A fresh one is compiled by both threads; the last of three batches has one example, for two devices.
    check("devices", runs=PerturbedRuns(graph, sites, only_output), batch_size=3, strategy=two_devices)
    for stacked in (1, 2 * EXAMPLES * 80):
        monkeypatch.setattr(perturbations, "_STACKED_VALUES", stacked)
        check("other stacks")
    monkeypatch.setattr("tfunits.measures.devices._PIECE_VALUES", 1)
    check("single examples")
    monkeypatch.setattr("tfunits.measures.devices._PIECE_VALUES", 200)
    check("pieces on devices", batch_size=4, strategy=two_devices)


@pytest.mark.parametrize("build", [NETWORKS["branches"], NETWORKS["nested"], called_again])
def test_long_stretches_behind_a_change_give_the_same_as_single_segments(build, monkeypatch):
    """With a cut at every tensor, shared layers whose weights are masked, and changes far apart."""
    model = build()
    graph, arrays = Graph(model), inputs_of(model)
    rng = np.random.default_rng(8)
    keys = [key for made in graph.calls for key in made.outputs]
    masks = {key: UnitMasks(random_masks(rng, graph.shape(key)[1:])) for key in keys}
    sites = {**every_kind_of_change(model), **{i: {key: masks[key]} for i, key in enumerate(keys)}}
    sites["far apart"] = {keys[0]: masks[keys[0]], keys[-1]: masks[keys[-1]]}
    runs = {}
    for many in (10**9, 1):
        monkeypatch.setattr(perturbations, "_MANY_SEGMENTS", many)
        runs[many] = PerturbedRuns(graph, sites, only_output)
    single, stretched = (collect(made, model, arrays) for made in runs.values())
    np.testing.assert_allclose(stretched[0], single[0], **ROUNDING)
    for case, outputs in stretched[1].items():
        np.testing.assert_allclose(outputs, single[1][case], **ROUNDING, err_msg=str(case))
    assert [made._stretch > 1 for made in runs.values()] == [False, True]


@keras.saving.register_keras_serializable(package="tests")
class RowCounter(layers.Layer):
    """Passes its input on and notes how many rows it had."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.rows = []

    def call(self, inputs):
        if isinstance(inputs, keras.KerasTensor):
            return inputs

        def note(values):
            self.rows.append(len(values))
            return values

        noted = tf.numpy_function(note, [inputs], inputs.dtype)
        return tf.ensure_shape(noted, inputs.shape)


def test_what_lies_before_a_change_is_run_once(rng):
    before, behind = RowCounter(), RowCounter()
    model = chain(before, layers.Dense(5, "relu", name="tap"), behind, layers.Dense(3), shape=(4,))
    masks = random_masks(rng, (5,))
    masks[-1] = [1, 0, 0, 0, 0]
    graph = Graph(model)
    (key,) = find_tensors(graph, ["tap"]).values()
    run_all(graph, {"tap": {key: UnitMasks(masks)}}, inputs_of(model))
    assert before.rows == [EXAMPLES]
    assert sorted(behind.rows) == [EXAMPLES, TRIALS * EXAMPLES]


@pytest.mark.parametrize("around", [False, True])
def test_where_everything_is_masked_one_example_stands_for_all_unless_a_shortcut_leads_around(around):
    counter = RowCounter()
    inputs = keras.Input((4,))
    hidden = layers.Dense(4, "relu", name="tap")(inputs)
    counted = counter(layers.Add()([hidden, inputs]) if around else hidden)
    model = randomize(keras.Model(inputs, layers.Dense(3)(counted)))
    graph, arrays = Graph(model), inputs_of(model)
    (key,) = find_tensors(graph, ["tap"]).values()
    counter.rows.clear()
    _, found = run_all(graph, {"tap": {key: UnitMasks(np.zeros((1, 4), "float32"))}}, arrays)
    assert sorted(counter.rows) == ([EXAMPLES, EXAMPLES] if around else [1, EXAMPLES])
    assert found["tap"].shape == (1, EXAMPLES, 3)
    assert (np.ptp(found["tap"][0], axis=0).max() > 0.1) == around


def test_only_when_every_tap_is_masked_wholly_does_nothing_depend_on_the_input():
    """Of two parallel taps, one that is left keeps the examples apart."""
    model = NETWORKS["two_inputs"]()
    graph, arrays = Graph(model), inputs_of(model)
    keys = tap_keys(graph)
    left = np.array([[0], [1], [0]], "float32") * np.ones((3, 4), "float32")
    right = np.array([[1], [0], [0]], "float32") * np.ones((3, 4), "float32")
    sites = {keys["seen"]: UnitMasks(left[:, None, None]), keys["told"]: UnitMasks(right)}
    _, found = run_all(graph, {"both": sites}, arrays)
    assert [np.ptp(outputs, axis=0).max() > 0.1 for outputs in found["both"]] == [True, True, False]
    np.testing.assert_allclose(found["both"][2], np.tile(model.layers[-1].bias, (EXAMPLES, 1)), rtol=1e-6)


def test_a_masked_tensor_that_nothing_reads_changes_nothing():
    inputs = keras.Input((5, 4))
    _, last, _ = layers.LSTM(3, return_sequences=True, return_state=True, name="tap_memory")(inputs)
    model = randomize(keras.Model(inputs, layers.Dense(3)(last)))
    curves = measures.ablation_curves(model, inputs_of(model)[0], draws=1)
    assert (curves.joint.agreement == 1).all()


@pytest.mark.parametrize("limit", [0, 2**40])
@pytest.mark.parametrize("name", ["before_norm"])
def test_weights_may_be_constants_or_not(name, limit, monkeypatch):
    model = NETWORKS[name]()
    graph, arrays = Graph(model), inputs_of(model)
    sites = every_kind_of_change(model)
    unchanged, expected = run_all(graph, sites, arrays)
    monkeypatch.setattr("tfunits.surgery.graph._LARGEST_CONSTANT", limit)
    plain, found = run_all(graph, sites, arrays)
    np.testing.assert_allclose(plain, unchanged, **ROUNDING)
    for case, outputs in found.items():
        np.testing.assert_allclose(outputs, expected[case], **ROUNDING)


def test_perturbations_of_unequal_numbers_of_trials_are_refused():
    model = residual()
    graph = Graph(model)
    first, second, _ = tap_keys(graph).values()
    sites = {first: UnitMasks(np.ones((2, 6), "float32")), second: UnitMasks(np.ones((3, 4), "float32"))}
    with pytest.raises(ValueError, match="too many values"):
        PerturbedRuns(graph, {"both": sites}, only_output)
