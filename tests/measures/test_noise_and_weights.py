"""Noisy activations and masked weights against numpy, and against networks whose weights are really zero."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers
from perturbed_networks import (
    NETWORKS,
    as_data,
    call,
    called_again,
    chain,
    classes,
    inputs_of,
    maps,
    randomize,
    run_all,
    variables_of,
)
from scipy import stats

from tfunits import measures
from tfunits.measures import curves
from tfunits.measures.perturbations import Noise, PerturbedRuns
from tfunits.surgery import Graph, feeding_layers, kernel_of, tap_keys

SHAPE = (5, 4, 3)
# Five standard deviations of a normal variable.
FAR = 5


def transparent(shape: tuple[int, ...] = SHAPE) -> keras.Model:
    """A network whose output is its one tap."""
    return chain(layers.Identity(name="tap_values"), layers.Flatten(), shape=shape)


def added_noise(inputs: np.ndarray, scales, seeds, **options) -> np.ndarray:
    """What is added to a tensor, over the standard deviation of each example, [trials, examples, values]."""
    graph = Graph(transparent(inputs.shape[1:]))
    (key,) = tap_keys(graph).values()
    noise = Noise(np.array(scales, "float32"), np.array(seeds, "int64"))
    unchanged, found = run_all(graph, {"noise": {key: noise}}, [inputs], **options)
    flat = inputs.reshape(len(inputs), -1).astype("float64")
    np.testing.assert_array_equal(unchanged, flat)
    return (found["noise"] - flat) / flat.std(axis=1)[:, None]


@pytest.fixture
def values(rng) -> np.ndarray:
    """Examples of very different spread."""
    spread = 10.0 ** rng.integers(-2, 3, size=(200, 1, 1, 1))
    return (spread * rng.normal(size=(200, *SHAPE))).astype("float32")


def test_noise_is_standard_normal_times_each_examples_own_spread(values):
    (noise,) = added_noise(values, [1.0], [12])
    assert stats.kstest(noise.ravel(), "norm").pvalue > 1e-3
    each = noise.std(axis=1)
    assert np.abs(each - 1).max() < FAR / np.sqrt(2 * noise.shape[1])
    # Negative control: examples' own spreads differ by orders of magnitude.
    assert np.ptp(values.reshape(200, -1).std(axis=1)) > 50


def test_noise_of_a_seed_is_the_same_at_every_scale_and_none_at_zero(values):
    noise = added_noise(values, [0.0, 0.5, 2.0, 1.0], [3, 3, 3, 4])
    assert (noise[0] == 0).all()
    np.testing.assert_allclose(noise[2], 4 * noise[1], rtol=1e-2, atol=1e-3)
    assert abs(np.corrcoef(noise[2].ravel(), noise[3].ravel())[0, 1]) < FAR / np.sqrt(noise[2].size)


def test_noise_of_examples_and_places_is_independent(values):
    (noise,) = added_noise(values, [1.0], [5])
    for rows in (noise, noise.T):
        correlation = np.corrcoef(rows)
        off_diagonal = correlation[~np.eye(len(correlation), dtype=bool)]
        assert np.abs(off_diagonal).max() < 1.2 * FAR / np.sqrt(rows.shape[1])
        assert abs(off_diagonal.mean()) < 0.01


def test_noise_is_a_function_of_the_examples_number(values, monkeypatch, two_devices):
    whole = added_noise(values[:30], [1.0], [9], batch_size=30)
    for batch_size, strategy in ((1, None), (7, None), (7, two_devices)):
        again = added_noise(values[:30], [1.0], [9], batch_size=batch_size, strategy=strategy)
        np.testing.assert_allclose(again, whole, rtol=1e-5, atol=1e-5)
    # Three values an example are no whole block of the generator.
    odd = values[:30, 0, 0]
    np.testing.assert_allclose(
        added_noise(odd, [1.0], [9], batch_size=4), added_noise(odd, [1.0], [9], batch_size=30), rtol=1e-5, atol=1e-5
    )


def captured(monkeypatch, function, model, data, **options):
    """What a measure changes: perturbation -> place -> change."""
    seen = []

    class Capturing(PerturbedRuns):
        def __init__(self, graph, perturbations, read):
            seen.append(perturbations)
            super().__init__(graph, perturbations, read)

    with monkeypatch.context() as patch:
        patch.setattr(curves, "PerturbedRuns", Capturing)
        result = function(model, data, **options)
    return result, seen[0]


def test_seeds_of_noise_differ_between_draws_and_taps_and_stay_within_a_draw(monkeypatch):
    model = maps()
    keys = tap_keys(Graph(model))
    data = inputs_of(model)[0]
    options = {"draws": 3, "levels": 4, "largest": 2.0}
    curves, changes = captured(monkeypatch, measures.noise_curves, model, data, **options)
    np.testing.assert_allclose(curves.joint.fractions, [0, 2 / 3, 4 / 3, 2])
    names = [str(tensor) for tensor in changes]
    assert names == ["first", "second", "third", "None"]
    seeds = {}
    for name, sites in changes.items():
        for change in sites.values():
            np.testing.assert_allclose(change.scales, np.tile([2 / 3, 4 / 3, 2], 3), rtol=1e-6)
            assert (change.seeds.reshape(3, 3) == change.seeds.reshape(3, 3)[:, :1]).all()
            if name is not None:
                seeds[name] = change.seeds[::3].tolist()
    assert len(set(sum(seeds.values(), []))) == 9
    joint = dict(zip(keys, changes[None].values(), strict=True))
    assert {tap: change.seeds[::3].tolist() for tap, change in joint.items()} == seeds
    _, other = captured(monkeypatch, measures.noise_curves, model, data, **options, seed=1)
    assert not set(other["first"].popitem()[1].seeds) & set(seeds["first"])


def test_agreement_under_noise_is_that_of_a_normal_score(rng):
    """A linear score has noise of std s * std(example) * |w|, so that it keeps its sign with a known probability."""
    examples, levels = 3000, 5
    model = chain(layers.Identity(name="tap_values"), layers.Dense(1, use_bias=False), shape=(20,))
    inputs = (10.0 ** rng.integers(-1, 2, size=(examples, 1)) * rng.normal(size=(examples, 20))).astype("float32")
    curve = measures.noise_curves(model, as_data([inputs], 500), largest=2.0, levels=levels, joint=False).taps["values"]
    weights = model.layers[-1].get_weights()[0][:, 0].astype("float64")
    score, spread = inputs @ weights, inputs.std(axis=1) * np.linalg.norm(weights)

    def expected(scale: float) -> tuple[float, float]:
        kept = stats.norm.cdf(np.abs(score) / (scale * spread))
        return kept.sum(), np.sqrt((kept * (1 - kept)).sum())

    assert (curve.num_agreeing[:, 0] == examples).all()
    for level, scale in enumerate(np.linspace(0, 2, levels)[1:], start=1):
        mean, std = expected(scale)
        far = FAR * std / np.sqrt(len(curve.num_agreeing))
        assert np.abs(curve.num_agreeing[:, level].mean() - mean) < far
        # Negative control: half or twice the noise would be seen.
        assert all(np.abs(expected(factor * scale)[0] - mean) > 1.5 * far for factor in (0.5, 2))
    assert len({tuple(row) for row in curve.num_agreeing}) == 3


def test_the_scale_of_an_example_does_not_matter_to_a_network_without_biases(rng):
    """Its noise is scaled with it; powers of two are exact."""
    model = chain(
        layers.Conv2D(4, 2, activation="relu", use_bias=False, name="first"), layers.Flatten(),
        layers.Dense(6, "relu", use_bias=False, name="second"), layers.Dense(3, use_bias=False), shape=(4, 4, 2),
    )  # fmt: skip
    inputs = inputs_of(model, examples=60)[0]
    scaled = inputs * (2.0 ** rng.integers(-4, 5, size=(60, 1, 1, 1))).astype("float32")
    plain, other = (measures.noise_curves(model, data) for data in (inputs, scaled))
    assert plain.to_dict() == other.to_dict()
    assert plain.joint.agreement[:, 1:].max() < 1


def zeroed(model: keras.Model, masks: dict) -> keras.Model:
    """A copy with kernels that are really zero there."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for name, mask in masks.items():
        kernel = kernel_of(next(layer for layer in copy._flatten_layers() if layer.name == name))
        kernel.assign(kernel.numpy() * mask)
    return copy


def separable() -> keras.Model:
    """Convolutions of all kinds, with normalisation and biases that stay."""
    return chain(
        layers.Conv2D(4, 3, groups=2), layers.BatchNormalization(), layers.ReLU(name="grouped"),
        layers.DepthwiseConv2D(2, depth_multiplier=2, activation="relu", name="depthwise"),
        layers.SeparableConv2D(5, 2, activation="relu", name="separable"),
        layers.Conv2DTranspose(3, 2, activation="relu", name="transposed"),
        layers.Flatten(), layers.Dense(4), shape=(6, 6, 2),
    )  # fmt: skip


WEIGHT_NETWORKS = {
    **{name: NETWORKS[name] for name in ("residual", "branches", "shared", "gated")},
    "kinds": separable,
    "again": called_again,
}


@pytest.mark.parametrize("name", WEIGHT_NETWORKS)
def test_masked_weights_are_weights_that_are_zero(name, monkeypatch):
    """Stated numbers in every layer, nested in a draw; shared layers in all their calls; all layers jointly."""
    model = WEIGHT_NETWORKS[name]()
    arrays = inputs_of(model, examples=25)
    draws, levels = 2, 4
    before = variables_of(model)
    curves, changes = captured(
        monkeypatch, measures.weight_ablation_curves, model, as_data(arrays, 10), draws=draws, levels=levels
    )
    assert variables_of(model) == before
    graph, whole = Graph(model), classes(call(model, arrays))
    keys = tap_keys(graph)
    assert changes[None].keys() == {layer for sites in changes.values() for layer in sites}
    orders = set()
    for tap, sites in changes.items():
        curve = curves.joint if tap is None else curves.taps[tap]
        if tap is not None:
            assert list(sites) == list(dict.fromkeys(made.operation for made in feeding_layers(graph, keys[tap])))
        masks = {layer: np.array([change.mask(trial) for trial in range(change.num_trials)])
                 for layer, change in sites.items()}  # fmt: skip
        removed = np.zeros(levels, int)
        for layer, found in masks.items():
            size = int(np.prod(kernel_of(layer).shape))
            found = found.reshape(draws, levels - 1, size)
            counts = [i * size // (levels - 1) for i in range(levels)]
            np.testing.assert_array_equal((~found).sum(axis=2), [counts[1:]] * draws)
            assert (found[:, 1:] <= found[:, :-1]).all()
            orders |= {(layer.name, found[draw].tobytes()) for draw in range(draws)}
            removed += counts
        np.testing.assert_allclose(curve.fractions, removed / removed[-1])
        assert curve.num_units == removed[-1]
        assert (curve.num_agreeing[:, 0] == 25).all()
        for draw, level in itertools.product(range(draws), range(1, levels)):
            trial = draw * (levels - 1) + level - 1
            copy = zeroed(model, {layer.name: found[trial] for layer, found in masks.items()})
            assert curve.num_agreeing[draw, level] == (classes(call(copy, arrays)) == whole).sum()
    assert len(orders) == draws * len(changes[None])
    assert curves.joint.agreement[:, 1:].min() < 1


def test_trials_of_weights_give_the_outputs_of_zeroed_networks(monkeypatch):
    """Outputs, not classes alone."""
    model = separable()
    arrays = inputs_of(model)
    _, changes = captured(monkeypatch, measures.weight_ablation_curves, model, arrays[0], draws=1, levels=3)
    graph = Graph(model)
    unchanged, found = run_all(graph, changes, arrays, batch_size=3)
    for tap, outputs in found.items():
        for trial in range(2):
            copy = zeroed(model, {layer.name: change.mask(trial) for layer, change in changes[tap].items()})
            np.testing.assert_allclose(outputs[trial], call(copy, arrays), rtol=1e-4, atol=1e-4)
            assert np.abs(outputs[trial] - unchanged).max() > 0.01


@pytest.mark.parametrize("measure", [measures.noise_curves, measures.weight_ablation_curves])
def test_options(measure):
    model = maps()
    inputs = inputs_of(model, examples=20)
    options = {"draws": 2, "levels": 3}
    whole = measure(model, inputs[0], **options)
    assert measure(model, as_data(inputs, 6), **options).to_dict() == whole.to_dict()
    assert measure(model, inputs[0], **options, seed=5).to_dict()["joint"] != whole.to_dict()["joint"]
    some = measure(model, inputs[0], **options, taps=["second"], joint=False)
    assert some.joint is None
    np.testing.assert_array_equal(some.taps["second"].num_agreeing, whole.taps["second"].num_agreeing)
    more = measure(model, inputs[0], draws=4, levels=3)
    np.testing.assert_array_equal(more.joint.num_agreeing[:2], whole.joint.num_agreeing)


@pytest.mark.parametrize("measure", [measures.noise_curves, measures.weight_ablation_curves])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"draws": 0}, "draws: expected at least 1, received 0"),
        ({"levels": 1}, "levels: expected at least 2, received 1"),
        ({"standard_error": 0.1, "draws": 1}, "draws: expected at least 2, received 1"),
        ({"standard_error": 0.0}, "standard_error: expected a positive number, received 0.0"),
        ({"taps": ["nothing"]}, "taps: expected taps of"),
    ],
)
def test_options_that_are_not_of_these_are_refused(measure, options, message):
    model = maps()
    with pytest.raises(ValueError, match=message):
        measure(model, inputs_of(model)[0], **options)
    with pytest.raises(ValueError, match="expected a functional Keras model"):
        measure(keras.Sequential([layers.Dense(3)]), np.zeros((2, 3), "float32"))


@pytest.mark.parametrize("largest", [0, -1.0, float("nan")])
def test_noise_must_be_positive(largest):
    model = maps()
    with pytest.raises(ValueError, match=f"largest: expected a positive number, received {largest}"):
        measures.noise_curves(model, inputs_of(model)[0], largest=largest)


def test_a_tap_without_weights_is_refused():
    inputs = keras.Input((4,))
    model = randomize(keras.Model(inputs, layers.Dense(3)(layers.ReLU(name="rectified")(inputs))))
    with pytest.raises(ValueError, match="units that are the network's input"):
        measures.weight_ablation_curves(model, np.zeros((3, 4), "float32"))
