"""Leaving out the arithmetic of masked channels changes no number."""

import numpy as np
import pytest
from keras import layers
from perturbed_networks import NETWORKS, ROUNDING, TRIALS, call, chain, channels, inputs_of, maps, random_masks, run_all

from tfunits import surgery
from tfunits.layers import LocalResponseNormalization
from tfunits.measures import perturbations
from tfunits.measures.perturbations import UnitMasks
from tfunits.surgery import Graph, tap_keys

# Behind half precision.
COARSE = {"rtol": 0.03, "atol": 0.03}
ZEROS_STAY = {
    "strided": [layers.Conv2D(5, 3, strides=2, padding="same", use_bias=False)],
    "dilated": [layers.Conv2D(5, 3, dilation_rate=2, activation="tanh")],
    "behind pooling": [layers.MaxPooling2D(2), layers.Conv2D(5, 2, padding="same", activation="relu")],
    "behind padded pooling": [layers.AveragePooling2D(3, 2, padding="same"), layers.Conv2D(5, 2, strides=(1, 2))],
    "behind other sizes": [layers.UpSampling2D(2), layers.ZeroPadding2D(1), layers.Conv2D(5, 3)],
    "behind zeros at zero": [layers.LeakyReLU(), layers.Activation("tanh"), layers.ReLU(), layers.Conv2D(5, 1)],
    "behind slopes": [layers.PReLU(), layers.ELU(), layers.Dropout(0.5), layers.Conv2D(5, (2, 3))],
    "behind a threshold": [layers.ReLU(threshold=0.5), layers.Conv2D(5, 3)],
    "dense on maps": [layers.Dense(5, "sigmoid"), layers.Conv2D(3, 2)],
    "dense without bias": [layers.GlobalMaxPooling2D(), layers.Dense(5, "relu", use_bias=False)],
    "dense on a pooled map": [layers.GlobalAveragePooling2D(keepdims=True), layers.Reshape((4,)), layers.Dense(5)],
    "half precision": [layers.Conv2D(5, 3, dtype="mixed_float16", activation="relu")],
}
ZEROS_GO = {
    "normalised": [layers.BatchNormalization(), layers.Conv2D(5, 3)],
    "normalised by layer": [layers.LayerNormalization(), layers.Conv2D(5, 3)],
    "half at zero": [layers.Activation("sigmoid"), layers.Conv2D(5, 3)],
    "log 2 at zero": [layers.Activation("softplus"), layers.Conv2D(5, 3)],
    "below a sloped threshold": [layers.ReLU(negative_slope=0.5, threshold=1.0), layers.Conv2D(5, 3)],
    "shared out": [layers.Softmax(), layers.Conv2D(5, 3)],
    "groups": [layers.Conv2D(6, 3, groups=2)],
    "depthwise": [layers.DepthwiseConv2D(3)],
    "separable": [layers.SeparableConv2D(5, 3)],
    "transposed": [layers.Conv2DTranspose(5, 3)],
    "flattened": [layers.Flatten(), layers.Dense(5)],
    "moved": [layers.Permute((3, 1, 2)), layers.Conv2D(5, 3)],
}


def forced_sparse(monkeypatch) -> list[str]:
    """Leave out masked channels wherever possible, and note the layers that do."""
    # Below 0, so that even a layer whose work is not counted would do.
    monkeypatch.setattr(perturbations, "_SPARED_SHARE", -1)
    monkeypatch.setattr(perturbations, "_SMALL_WORK", 0)
    noted, run = [], perturbations.run_on_channels

    def noting(call, value, kept):
        noted.append(call.name)
        return run(call, value, kept)

    monkeypatch.setattr(perturbations, "run_on_channels", noting)
    return noted


@pytest.mark.parametrize("case", [*ZEROS_STAY, *ZEROS_GO])
def test_leaving_out_masked_channels_changes_no_number(case, monkeypatch, rng):
    noted = forced_sparse(monkeypatch)
    parts = (ZEROS_STAY | ZEROS_GO)[case]
    parts = [part.__class__.from_config(part.get_config()) for part in parts]
    model = chain(layers.Conv2D(4, 2, name="tap_maps"), *parts, layers.Flatten(), layers.Dense(3), shape=(7, 7, 2))
    graph, arrays = Graph(model), inputs_of(model, examples=3)
    (key,) = tap_keys(graph).values()
    masks = random_masks(rng, (1, 1, 4))
    _, found = run_all(graph, {"tap": {key: UnitMasks(masks)}}, arrays)
    assert bool(noted) == (case in ZEROS_STAY)
    for outputs, mask in zip(found["tap"], masks, strict=True):
        expected = call(surgery.mask(model, {"tap_maps": mask.ravel()}), arrays)
        np.testing.assert_allclose(outputs, expected, **(COARSE if case == "half precision" else ROUNDING))
    assert np.abs(found["tap"][0] - found["tap"][1]).max() > 0.05


def test_local_normalisation_sees_masked_neighbours_as_zero(monkeypatch, rng):
    noted = forced_sparse(monkeypatch)
    model = chain(
        layers.Conv2D(6, 3, activation="relu", name="tap_maps"), LocalResponseNormalization(alpha=0.5),
        layers.Conv2D(5, 3), layers.Flatten(), layers.Dense(3), shape=(7, 7, 2),
    )  # fmt: skip
    graph, arrays = Graph(model), inputs_of(model)
    (key,) = tap_keys(graph).values()
    masks = random_masks(rng, (1, 1, 6))
    _, found = run_all(graph, {"tap": {key: UnitMasks(masks)}}, arrays)
    assert len(noted) == 1
    for outputs, mask in zip(found["tap"], masks, strict=True):
        np.testing.assert_allclose(outputs, call(surgery.mask(model, {"tap_maps": mask.ravel()}), arrays), **ROUNDING)


@pytest.mark.parametrize("name", ["branches", "residual", "gated", "before_norm", "maps", "nested"])
def test_leaving_out_is_right_in_every_topology_and_jointly(name, monkeypatch, rng):
    noted = forced_sparse(monkeypatch)
    model = NETWORKS[name]()
    graph, arrays = Graph(model), inputs_of(model)
    keys = tap_keys(graph)
    masks = {tap: random_masks(rng, channels(graph.shape(key)[1:])) for tap, key in keys.items()}
    sites = {tap: {key: UnitMasks(masks[tap])} for tap, key in keys.items()}
    sites[None] = {key: UnitMasks(masks[tap]) for tap, key in keys.items()}
    _, found = run_all(graph, sites, arrays, batch_size=4)
    assert noted
    for tap, outputs in found.items():
        for trial in range(TRIALS):
            given = {t: masks[t][trial].ravel() for t in (keys if tap is None else [tap])}
            np.testing.assert_allclose(outputs[trial], call(surgery.mask(model, given), arrays), **ROUNDING)


@pytest.mark.parametrize("change", ["low rank", "quantised"])
def test_kernels_that_are_not_what_a_layer_multiplies_with_are_not_taken_apart(change, monkeypatch, rng):
    noted = forced_sparse(monkeypatch)
    model = chain(layers.Dense(6, "relu", name="hidden"), layers.Dense(5, name="changed"), layers.Dense(3), shape=(4,))
    layer = model.get_layer("changed")
    if change == "low rank":
        layer.enable_lora(2)
        layer.lora_kernel_b.assign(rng.normal(size=layer.lora_kernel_b.shape))
    else:
        layer.quantize("int8")
    graph, arrays = Graph(model), inputs_of(model)
    (key,) = tap_keys(graph).values()
    masks = random_masks(rng, (6,))
    _, found = run_all(graph, {"tap": {key: UnitMasks(masks)}}, arrays)
    for outputs, mask in zip(found["tap"], masks, strict=True):
        np.testing.assert_allclose(outputs, call(surgery.mask(model, {"hidden": mask}), arrays), **COARSE)
    assert "changed" not in noted


def test_locations_are_never_left_out_as_channels(monkeypatch, rng):
    noted = forced_sparse(monkeypatch)
    model = maps()
    graph, arrays = Graph(model), inputs_of(model)
    key = tap_keys(graph)["first"]
    masks = random_masks(rng, graph.shape(key)[1:])
    _, found = run_all(graph, {"tap": {key: UnitMasks(masks)}}, arrays)
    assert not noted
    np.testing.assert_allclose(found["tap"][0], call(surgery.mask(model, {"first": masks[0]}), arrays), **ROUNDING)
