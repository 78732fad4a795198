"""Small classifiers of every topology that a perturbation must find its way through, with inputs for them."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from tfunits import measures, surgery
from tfunits.measures.perturbations import Noise, PerturbedRuns, UnitMasks, WeightMasks
from tfunits.surgery import Graph, Inputs, kernel_of, tap_keys

EXAMPLES = 7
TRIALS = 3
ROUNDING = {"rtol": 1e-4, "atol": 1e-4}


def randomize(model: keras.Model, seed: int = 3) -> keras.Model:
    """Give every float variable random values; variances stay positive."""
    generator = np.random.default_rng(seed)
    for variable in model.variables:
        if "seed" not in variable.path:
            noise = generator.normal(size=variable.shape)
            variable.assign(np.abs(noise) + 0.5 if "variance" in variable.path else noise)
    return model


def chain(*parts: keras.layers.Layer, shape: tuple[int, ...]) -> keras.Model:
    """Layers one after the other, with random weights."""
    tensor = inputs = keras.Input(shape)
    for part in parts:
        tensor = part(tensor)
    return randomize(keras.Model(inputs, tensor))


def maps() -> keras.Model:
    """Convolution, pooling, flattening, dropout."""
    return chain(
        layers.Conv2D(4, 3, activation="relu", name="first"),
        layers.MaxPooling2D(2),
        layers.Conv2D(3, 2, activation="tanh", name="second"),
        layers.Flatten(),
        layers.Dropout(0.5),
        layers.Dense(6, "relu", name="third"),
        layers.Dense(4),
        shape=(7, 6, 2),
    )


def residual() -> keras.Model:
    """The shortcut of a block goes around the tap inside it."""
    inputs = keras.Input((5,))
    stem = layers.Dense(4, name="stem")(inputs)
    inside = layers.Dense(6, "relu", name="tap_inside")(stem)
    stream = layers.Add(name="tap_stream")([stem, layers.Dense(4)(inside)])
    deeper = layers.Add(name="tap_end")([stream, layers.Dense(4, "relu")(stream)])
    return randomize(keras.Model(inputs, layers.Dense(3)(deeper)))


def branches() -> keras.Model:
    """Parallel branches that meet in a concatenation; one tensor is read far behind others."""
    inputs = keras.Input((6, 6, 2))
    first = layers.Conv2D(3, 3, padding="same", activation="relu", name="first")(inputs)
    left = layers.Conv2D(2, 1, activation="relu", name="left")(first)
    right = layers.Conv2D(4, 3, padding="same", activation="relu", name="right")(first)
    joined = layers.Concatenate(name="joined")([left, right, first])
    last = layers.GlobalAveragePooling2D()(layers.Conv2D(5, 3, activation="relu", name="last")(joined))
    skipped = layers.GlobalMaxPooling2D()(first)
    return randomize(keras.Model(inputs, layers.Dense(3)(layers.Concatenate(name="both")([last, skipped]))))


def shared() -> keras.Model:
    """One layer called on its own output."""
    layer = layers.Dense(5, "relu", name="twice")
    inputs = keras.Input((5,))
    return randomize(keras.Model(inputs, layers.Dense(3, name="head")(layer(layer(inputs)))))


def nested() -> keras.Model:
    """A model called twice, with a Sequential inside it."""
    inner_input = keras.Input((4,))
    block = keras.Sequential([keras.Input((4,)), layers.Dense(4, "relu", name="deep")], name="block")
    hidden = layers.Dense(4, "tanh", name="wide")(inner_input)
    inner = keras.Model(inner_input, layers.Add(name="sum")([block(hidden), hidden]), name="inner")
    inputs = keras.Input((4,))
    once = inner(inputs)
    both = layers.Concatenate(name="both")([once, inner(once)])
    return randomize(keras.Model(inputs, layers.Dense(3, name="head")(both)))


def gated() -> keras.Model:
    """A map times a gate that is made from it."""
    inputs = keras.Input((4, 4, 3))
    seen = layers.Conv2D(5, 3, padding="same", activation="relu", name="seen")(inputs)
    squeezed = layers.Dense(2, "relu", name="squeezed")(layers.GlobalAveragePooling2D()(seen))
    gate = layers.Reshape((1, 1, 5))(layers.Dense(5, "sigmoid")(squeezed))
    product = layers.Multiply(name="product")([seen, gate])
    return randomize(keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(product * 2.0))))


def two_inputs() -> keras.Model:
    image, vector = keras.Input((4, 4, 2), name="image"), keras.Input((3,), name="vector")
    seen = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu", name="seen")(image))
    told = layers.Dense(4, "relu", name="told")(vector)
    return randomize(keras.Model([image, vector], layers.Dense(3)(layers.Average(name="mean")([seen, told]))))


def several_outputs_of_a_call() -> keras.Model:
    inputs = keras.Input((6,))
    hidden = layers.Dense(6, "relu", name="hidden")(inputs)
    low, high = ops.split(hidden, 2, axis=-1)
    mixed = ops.concatenate([low - high, 1.0 / (high + 1.0), hidden[:, 1:3]], axis=-1)
    return randomize(keras.Model(inputs, layers.Dense(3)(layers.ReLU(name="rectified")(mixed))))


def before_norm() -> keras.Model:
    """Behind the tap, zeros become something else."""
    return chain(
        layers.Conv2D(4, 3, use_bias=False, name="tap_raw"),
        layers.BatchNormalization(),
        layers.ReLU(name="tap_rectified"),
        layers.Conv2D(3, 2),
        layers.GlobalMaxPooling2D(),
        layers.Dense(3),
        shape=(6, 6, 2),
    )


def scalar() -> keras.Model:
    return chain(layers.Dense(6, "relu", name="hidden"), layers.Dense(1), shape=(5,))


def words() -> keras.Model:
    """Word numbers of which 0 is padding, so that a mask travels beside the values."""
    inputs = keras.Input((5,), dtype="int32")
    embedded = layers.Embedding(7, 4, mask_zero=True)(inputs)
    hidden = layers.Dense(4, "relu", name="hidden")(embedded)
    _, last, memory = layers.LSTM(3, return_sequences=True, return_state=True, name="memory")(hidden)
    pooled = layers.GlobalAveragePooling1D()(hidden)
    return randomize(keras.Model(inputs, layers.Dense(3)(layers.Concatenate(name="joined")([last, memory, pooled]))))


def called_again() -> keras.Model:
    """A shared layer is called before and behind another one."""
    again, between = layers.Dense(5, "relu", name="again"), layers.Dense(5, "relu", name="between")
    inputs = keras.Input((5,))
    return randomize(keras.Model(inputs, layers.Dense(3)(again(between(again(inputs))))))


NETWORKS: dict[str, Callable[[], keras.Model]] = {
    builder.__name__: builder
    for builder in (
        *(maps, residual, branches, shared, nested, gated, two_inputs, several_outputs_of_a_call, before_norm),
        *(scalar, words),
    )
}


def inputs_of(model: keras.Model, examples: int = EXAMPLES) -> list[np.ndarray]:
    """Random inputs, one array an input of the model."""
    generator = np.random.default_rng(5)
    return [
        generator.integers(0, 7, size=(examples, *tensor.shape[1:])).astype("int32")
        if tensor.dtype == "int32"
        else generator.normal(size=(examples, *tensor.shape[1:])).astype("float32")
        for tensor in model.inputs
    ]


def as_data(arrays: list[np.ndarray], batch_size: int = EXAMPLES) -> tf.data.Dataset:
    """Batches of one or several inputs."""
    # A second element beside the inputs would be their labels.
    slices = arrays[0] if len(arrays) == 1 else ({f"{i}": a for i, a in enumerate(arrays)},)
    data = tf.data.Dataset.from_tensor_slices(slices)
    return data.batch(batch_size)


def variables_of(model: keras.Model) -> list[bytes]:
    """Every variable, seeds and averages too, bit by bit."""
    return [keras.ops.convert_to_numpy(variable).tobytes() for variable in model.variables]


def only_output(outputs: list[tf.Tensor]) -> tf.Tensor:
    (output,) = outputs
    return output


def random_masks(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Two at random, and one that masks everything."""
    masks = rng.integers(0, 2, size=(TRIALS, *shape)).astype("float32")
    masks[-1] = 0
    return masks


def channels(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*(1 for _ in shape[:-1]), shape[-1])


def collect(runs, model, arrays, *, batch_size=EXAMPLES, strategy=None):
    """(outputs of the unchanged network, outputs of every trial per perturbation), all batches together."""
    inputs = Inputs(as_data(arrays, batch_size), "test", model)
    pieces = list(runs.run(inputs, "testing", strategy=strategy))
    assert [piece.first for piece, _, _ in pieces] == [0, *np.cumsum([p.size for p, _, _ in pieces])[:-1]]
    found = {name: np.concatenate([part[name] for _, _, part in pieces], axis=1) for name in pieces[0][2]}
    return np.concatenate([unchanged for _, unchanged, _ in pieces]), found


def run_all(graph, sites, arrays, **options):
    return collect(PerturbedRuns(graph, sites, only_output), graph.model, arrays, **options)


def call(model: keras.Model, arrays: list[np.ndarray]) -> np.ndarray:
    given = keras.tree.pack_sequence_as(surgery.as_functional(model)._inputs_struct, arrays)
    return model(given, training=False).numpy()


def classes(outputs: np.ndarray) -> np.ndarray:
    return outputs.argmax(axis=-1) if outputs.shape[-1] > 1 else outputs[..., 0] > 0


def every_kind_of_change(model: keras.Model) -> dict:
    """Masks at each tap and all, noise at one tap and at all, weights of two layers at once, all mixed."""
    rng, graph = np.random.default_rng(6), Graph(model)
    keys = tap_keys(graph)
    masks = {key: UnitMasks(random_masks(rng, graph.shape(key)[1:])) for key in keys.values()}
    noise = {
        key: Noise(np.array([0.0, 0.5, 0.5], "float32"), np.array([7, 7, i + 8], "int64"))
        for i, key in enumerate(keys.values())
    }
    kernels = {
        call.operation: kernel_of(call.operation) for call in graph.calls if kernel_of(call.operation) is not None
    }
    chosen = [rng.integers(0, 2, size=(TRIALS, *kernel.shape)).astype(bool) for kernel in kernels.values()]
    weights = {
        layer: WeightMasks(TRIALS, lambda trial, m=m: m[trial]) for layer, m in zip(kernels, chosen, strict=True)
    }
    last_tap, first_layer = list(keys.values())[-1], next(iter(weights))
    return {
        **{("mask", tap): {key: masks[key]} for tap, key in keys.items()},
        "all masks": masks,
        "noise": {last_tap: noise[last_tap]},
        "all noise": noise,
        "weights": weights,
        "mixed": {first_layer: weights[first_layer], last_tap: masks[last_tap]},
    }


MEASURES = {
    "ablation": measures.ablation_curves,
    "noise": measures.noise_curves,
    "weights": measures.weight_ablation_curves,
    "single": measures.single_unit_effects,
    "kinds": measures.unit_kinds,
}


def forgetful() -> keras.Model:
    """Dropout that is asked for, batch normalisation: much that a forward pass could change."""
    inputs = keras.Input((5,))
    hidden = layers.BatchNormalization()(layers.Dense(9, "relu", name="hidden")(inputs))
    dropped = layers.Dropout(0.5)(hidden, training=True)
    noisy = layers.GaussianNoise(1.0)(layers.Dense(6, "relu", name="second")(dropped), training=True)
    return randomize(keras.Model(inputs, layers.Dense(4)(noisy)))
