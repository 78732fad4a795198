"""Small functional networks of every kind that surgery must understand, with random weights, and inputs for them."""

from collections.abc import Callable

import keras
import numpy as np
from keras import layers, ops


def randomize(model: keras.Model, seed: int = 3) -> keras.Model:
    """Give every float variable random values; variances stay positive."""
    generator = np.random.default_rng(seed)
    for variable in model.variables:
        if "seed" not in variable.path:
            noise = generator.normal(size=variable.shape)
            variable.assign(np.abs(noise) + 0.5 if "variance" in variable.path else noise)
    return model


def chain(*parts: keras.layers.Layer, shape: tuple[int, ...] = (6,)) -> keras.Model:
    """Layers one after the other, as a functional model."""
    tensor = inputs = keras.Input(shape)
    for part in parts:
        tensor = part(tensor)
    return keras.Model(inputs, tensor)


def around(build, shape: tuple[int, ...], count: int = 6) -> keras.Model:
    """Input, "made" with units, what is built of it, "between", and "head" that reads this."""
    inputs = keras.Input(shape)
    made = layers.Dense(count, "sigmoid", name="made")(inputs)
    between = layers.Identity(name="between")(build(made))
    head = layers.Dense(3, name="head")(layers.Flatten()(between))
    return randomize(keras.Model(inputs, head, name="around"))


def shared_reader(activation: str = "linear", padding: str = "valid") -> keras.Model:
    """Two inputs seen by layers of their own, which one layer reads."""
    given = [keras.Input((6, 6, 2)), keras.Input((6, 6, 2))]
    reader = layers.Conv2D(4, 3, padding=padding, activation="tanh", name="reader")
    seen = [layers.Conv2D(5, 3, activation=activation, name=n)(x) for n, x in zip("ab", given, strict=True)]
    joined = layers.Concatenate()([layers.Flatten()(reader(tensor)) for tensor in seen])
    return randomize(keras.Model(given, layers.Dense(3)(joined)))


def sequential() -> keras.Model:
    return keras.Sequential(
        [keras.Input((6,)), layers.Dense(5, "relu", name="first"), layers.Dropout(0.5), layers.Dense(3, name="last")]
    )


def sequential_built_later() -> keras.Model:
    model = keras.Sequential([layers.Dense(5, "relu", name="first"), layers.Dense(3, name="last")])
    model.build((None, 6))
    return model


def residual() -> keras.Model:
    inputs = keras.Input((6, 6, 2))
    stem = layers.Conv2D(3, 3, padding="same", name="stem")(inputs)
    branch = layers.ReLU(name="rectified")(layers.BatchNormalization(name="norm")(stem))
    joined = layers.Concatenate(name="joined")([branch, layers.Add(name="summed")([stem, branch])])
    return keras.Model(inputs, layers.Dense(3)(layers.Flatten()(joined)))


def nested() -> keras.Model:
    """A functional model called twice, with a Sequential inside it."""
    inner_input = keras.Input((4,))
    block = keras.Sequential([keras.Input((4,)), layers.Dense(4, "relu", name="deep")], name="block")
    hidden = layers.Dense(4, "tanh", name="wide")(inner_input)
    inner = keras.Model(inner_input, layers.Add(name="sum")([block(hidden), hidden]), name="inner")
    inputs = keras.Input((4,))
    once = inner(inputs)
    return keras.Model(inputs, layers.Dense(3, name="head")(layers.Concatenate(name="both")([once, inner(once)])))


def shared() -> keras.Model:
    """One layer called on its own output."""
    layer = layers.Dense(5, "relu", name="twice")
    inputs = keras.Input((5,))
    return keras.Model(inputs, layers.Dense(3, name="head")(layer(layer(inputs))))


def two_inputs() -> keras.Model:
    image, vector = keras.Input((4, 4, 2), name="image"), keras.Input((3,), name="vector")
    seen = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu", name="seen")(image))
    told = layers.Dense(4, "relu", name="told")(vector)
    return keras.Model([image, vector], layers.Dense(3)(layers.Average(name="mean")([seen, told])))


def dict_inputs() -> keras.Model:
    right, left = keras.Input((3,), name="right"), keras.Input((3,), name="left")
    both = layers.Concatenate()([layers.Dense(4, "relu", name="of_right")(right), layers.Dense(2, "relu")(left)])
    return keras.Model({"right": right, "left": left}, layers.Dense(3)(both))


def two_outputs() -> keras.Model:
    inputs = keras.Input((6,))
    hidden = layers.Dense(5, "relu", name="hidden")(inputs)
    return keras.Model(inputs, [layers.Dense(3)(hidden), layers.Dense(2)(layers.ReLU(name="again")(hidden - 1.0))])


def operators() -> keras.Model:
    """Arithmetic, keras.ops and slices; an operation with several outputs."""
    inputs = keras.Input((6,))
    hidden = ops.relu(layers.Dense(6, name="hidden")(inputs) * 2.0)
    low, high = ops.split(hidden, 2, axis=-1)
    mixed = ops.concatenate([low - high, 1.0 / (high + 1.0), hidden[:, 1:3]], axis=-1)
    return keras.Model(inputs, layers.Dense(3, name="head")(ops.maximum(mixed, -1.0)))


def recurrent() -> keras.Model:
    """Word numbers of which 0 is padding, so that a mask travels beside the values."""
    words = keras.Input((5,), dtype="int32")
    embedded = layers.Embedding(7, 4, mask_zero=True, name="embedded")(words)
    hidden = layers.Dense(4, "relu", name="hidden")(embedded)
    _, last, memory = layers.LSTM(3, return_sequences=True, return_state=True, name="memory")(hidden)
    pooled = layers.GlobalAveragePooling1D(name="pooled")(hidden)
    return keras.Model(words, layers.Dense(3)(layers.Concatenate(name="joined")([last, memory, pooled])))


NETWORKS: dict[str, Callable[[], keras.Model]] = {
    builder.__name__: builder
    for builder in (
        *(sequential, sequential_built_later, residual, nested, shared, two_inputs, dict_inputs, two_outputs),
        *(operators, recurrent),
    )
}


def make(name: str) -> keras.Model:
    """One of `NETWORKS`, with random weights."""
    return randomize(NETWORKS[name]())


def inputs_of(model: keras.Model, examples: int = 4) -> list[np.ndarray]:
    """Random inputs, one array an input of the model, in the order of `model.inputs`."""
    generator = np.random.default_rng(5)
    return [
        generator.integers(0, 7, size=(examples, *tensor.shape[1:])).astype("int32")
        if tensor.dtype == "int32"
        else generator.normal(size=(examples, *tensor.shape[1:])).astype("float32")
        for tensor in model.inputs
    ]


def call(model: keras.Model, arrays: list[np.ndarray], **options: object) -> list[np.ndarray]:
    """A model's outputs, flat, of inputs in the order of `model.inputs`."""
    given = keras.tree.pack_sequence_as(getattr(model, "_inputs_struct", arrays[0]), arrays)
    return [output.numpy() for output in keras.tree.flatten(model(given, **options))]
