"""Small networks to draw, with weights of a seed."""

import keras
import numpy as np
from keras import layers


def with_weights(model: keras.Model, seed: int = 5) -> keras.Model:
    """Normal weights that keep activations at about 1, and biases that let all units start alive."""
    generator = np.random.default_rng(seed)
    for variable in model.variables:
        if "seed" in variable.path:
            continue
        noise = generator.normal(size=variable.shape)
        if len(variable.shape) > 1:
            variable.assign(noise / np.sqrt(np.prod(variable.shape[:-1]) / 2))
        else:
            variable.assign(0.1 * noise if "mean" in variable.path else 1 + 0.3 * np.abs(noise))
    return model


def chain(*parts: keras.layers.Layer, shape: tuple[int | None, ...], seed: int = 5) -> keras.Model:
    """Layers one after the other."""
    tensor = inputs = keras.Input(shape, name="image")
    for part in parts:
        tensor = part(tensor)
    return with_weights(keras.Model(inputs, tensor, name="drawn"), seed)


def like_alexnet() -> keras.Model:
    """Layers that images of any size go through, and behind them layers of one size."""
    return chain(
        layers.Conv2D(4, 3, padding="same", activation="relu", name="low"),
        layers.MaxPooling2D(2),
        layers.Conv2D(5, 3, padding="same", activation="relu", name="high"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(6, activation="relu", name="dense"),
        layers.Dropout(0.5),
        layers.Dense(3, name="scores"),
        shape=(16, 16, 3),
    )


def inference(model: keras.Model, name: str, images: np.ndarray) -> np.ndarray:
    """A layer's output, by Keras itself."""
    return keras.Model(model.input, model.get_layer(name).output)(images, training=False).numpy()
