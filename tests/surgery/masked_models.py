"""What a smaller model is compared with: the whole model, masked by hand at tensors that a test names."""

from collections.abc import Iterable, Mapping

import keras
import numpy as np
from keras import layers
from sample_networks import call, chain, inputs_of, randomize

from tfunits.surgery import Graph, find_tensors, mask, read, remove_units, unit_layers

IMAGE = (6, 6, 2)
# Largest difference from the masked model, as a share of its largest output.
CLOSE = 1e-5
# A mask that changes the output by less than this share would prove nothing.
VISIBLE = 1e-3


def masked_by_hand(model: keras.Model, tensors: Mapping[str, Iterable[int]]) -> keras.Model:
    """A model with zeros at the given positions of the last axis of inner tensors."""
    graph = Graph(model)
    masks = {}
    for name, key in find_tensors(graph, list(tensors)).items():
        masks[name] = np.ones(graph.shape(key)[-1])
        masks[name][list(tensors[name])] = 0
    return mask(model, masks)


def difference(received: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """Largest difference, as a share of the largest expected value."""
    shapes = [array.shape for array in expected]
    assert [array.shape for array in received] == shapes
    pairs = [(a.astype("float64"), b.astype("float64")) for a, b in zip(received, expected, strict=True)]
    return float(np.max([np.abs(a - b).max() / np.abs(b).max() for a, b in pairs]))


def assert_same_function(thin: keras.Model, expected: keras.Model, arrays: list | None = None) -> None:
    arrays = inputs_of(expected) if arrays is None else arrays
    assert difference(call(thin, arrays, training=False), call(expected, arrays, training=False)) < CLOSE


def assert_visible(model: keras.Model, masked: keras.Model, arrays: list | None = None) -> None:
    """Negative control: the mask changes what the model computes."""
    arrays = inputs_of(model) if arrays is None else arrays
    assert difference(call(masked, arrays, training=False), call(model, arrays, training=False)) > VISIBLE


def assert_removed(
    model: keras.Model,
    layers: Mapping[str, list[int]],
    tensors: Mapping[str, Iterable[int]],
    *,
    arrays: list | None = None,
    **options: str,
) -> keras.Model:
    """Remove units and compare with the model in which `tensors` are masked; returns the smaller model."""
    expected = masked_by_hand(model, tensors)
    before = [value.numpy() for value in model.variables]
    thin = remove_units(model, layers, **options)
    assert_same_function(thin, expected, arrays)
    assert_visible(model, expected, arrays)
    assert sum(unit_layers(thin).values()) < sum(unit_layers(model).values())
    for value, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(variable, value)
    return thin


def shapes(model: keras.Model) -> dict[str, tuple[int | None, ...]]:
    """Shape of what every call of a model makes."""
    graph = Graph(model)
    return {made.name: graph.shape(made.outputs[0]) for made in graph.calls}


def activations(model: keras.Model, name: str, array: np.ndarray) -> np.ndarray:
    """Of one tensor [samples, units], every position one sample."""
    values = read(model, [name])(array)[name].numpy().astype("float64")
    return values.reshape(-1, values.shape[-1])


def weights_of(model: keras.Model, name: str) -> list[np.ndarray]:
    return [weight.numpy().astype("float64") for weight in model.get_layer(name).weights]


def saved_and_loaded(model: keras.Model, folder, **options: object) -> keras.Model:
    model.save(folder / "model.keras")
    return keras.saving.load_model(folder / "model.keras", **options)


def convolutional() -> keras.Model:
    """Convolutions with everything that keras-surgeon handled between them."""
    return randomize(
        chain(
            layers.Conv2D(5, 3, padding="same", name="first"), layers.BatchNormalization(name="norm"),
            layers.Activation("tanh", name="squashed"), layers.Conv2D(6, 3, name="second"),
            layers.ReLU(name="rectified"), layers.MaxPooling2D(2, name="pooled"),
            layers.Flatten(name="flat"), layers.Dense(7, "tanh", name="hidden"),
            layers.Dense(3, "softmax", name="scores"), shape=IMAGE,
        )
    )  # fmt: skip
