"""The weights of a first layer as images."""

import keras
import numpy as np

from tfunits.surgery import Graph, feeding_layers, find_tensors, kernel_of


def weight_images(model: keras.Model, layer: str, image_shape: tuple[int, ...] | None = None) -> np.ndarray:
    """What every unit of a first layer multiplies the pixels with: what it responds to, without any optimisation.

      w_u / (2 max |w_u|) + 1/2

    Args:
      model: a functional Keras model.
      layer: a tap or layer whose units a single dense layer or convolution makes out of the model's input.
      image_shape: (height, width, channels) of the image that a dense layer reads flattened, row by row; if None, the
        input's own. Of a convolution the images are its kernels.

    Returns: float32 [units, height, width, channels] in [0, 1]; 1/2 is no weight.

    Raises:
      ValueError: a layer that is not there or does not read the input, or weights that are no images of that shape.

    Example:
      >>> weight_images(model, "conv1").shape
      (12, 5, 5, 3)
    """
    graph = Graph(model)
    (key,) = find_tensors(graph, [layer]).values()
    feeding = feeding_layers(graph, key)
    kernel = kernel_of(feeding[0].operation)
    before = graph.needed([feeding[0].inputs[0]], graph.inputs)
    if len(feeding) != 1 or any(kernel_of(call.operation) is not None for call in before):
        raise ValueError(f"layer: expected a layer that reads the input of {model.name!r}, received {layer!r}")
    if not isinstance(feeding[0].operation, keras.layers.Dense | keras.layers.Conv2D):
        raise ValueError(f"layer: expected a dense or two-dimensional layer, received {layer!r}")
    weights = keras.ops.convert_to_numpy(kernel)
    if weights.ndim == 2:
        shape = tuple(image_shape or graph.shape(graph.inputs[0])[1:])
        if len(shape) != 3 or None in shape or np.prod(shape) != len(weights):
            raise ValueError(
                f"image_shape: expected (height, width, channels) of {len(weights)} numbers, received {shape}; an "
                "input that is no image has no weight images"
            )
        weights = weights.reshape(*shape, -1)
    elif image_shape is not None:
        raise ValueError(f"image_shape: expected none for the kernels of a convolution, received {image_shape}")
    images = np.moveaxis(weights, -1, 0)
    largest = np.abs(images).max(axis=(1, 2, 3), keepdims=True)
    return (images / (2 * np.where(largest > 0, largest, 1)) + 0.5).astype("float32")
