"""A network as visualisation needs it: from images in [0, 1] to activations, for many layers in one pass."""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from tfunits.surgery import Call, Graph, TensorKey, find_tensors
from tfunits.visualization.convolutions import find_replacement
from tfunits.visualization.parameterization import Parameterization

# From images [batch, height, width, channels] in [0, 1] to a network's inputs.
Prepare = Callable[[tf.Tensor], tf.Tensor]
# Pixels more or fewer than a network's own, to see whether layers can be read from images of other sizes: fewer, since
# strides and kernels may have no room for one pixel less; more, since padded strides round one pixel less up.
_OTHER_SIZES = (-1, 8)


class Network:
    """A network that reads images.

    Args:
      model: a functional Keras model with one image input, channels last.
      prepare: (low, high), what the network reads for black and white; or a function of images in [0, 1].

    Raises:
      ValueError: a model that is not functional, has several inputs, or an input without two spatial axes.
    """

    def __init__(self, model: keras.Model, prepare: tuple[float, float] | Prepare = (0.0, 1.0)) -> None:
        self.graph = Graph(model)
        shapes = [tuple(self.graph.shape(key)[1:]) for key in self.graph.inputs]
        if len(shapes) != 1:
            raise ValueError(
                f"model: expected one input, received {len(shapes)} ({', '.join(self.graph.input_names)}); "
                "make a model that reads the image alone"
            )
        if len(shapes[0]) == 1:
            raise ValueError(
                f"model: expected an input of shape (height, width, channels), received {shapes[0]}, which has no "
                "spatial axes; weight_images draws the weights of a layer that reads a flattened image"
            )
        dtype = self.graph.dtype(self.graph.inputs[0])
        if len(shapes[0]) != 3 or shapes[0][-1] is None or not tf.as_dtype(dtype).is_floating:
            raise ValueError(
                "model: expected an input of shape (height, width, channels) of floating-point numbers, received "
                f"{shapes[0]} of {dtype}"
            )
        self.input_shape = shapes[0]
        self._prepare = prepare if callable(prepare) else _scale_to(prepare)

    @property
    def channels(self) -> int:
        """Channels of the images it is drawn with: its own, or what `prepare` makes them of."""
        return getattr(self._prepare, "channels", None) or self.input_shape[-1]

    def find(self, layers: Sequence[str]) -> dict[str, TensorKey]:
        """Tap or layer -> key of its output.

        Raises:
          ValueError: a name that is neither, with those that are.
        """
        try:
            return find_tensors(self.graph, layers)
        except ValueError as error:
            raise ValueError(str(error).replace("names:", "layer:", 1)) from None

    def prepare(self, images: tf.Tensor) -> tf.Tensor:
        """The network's inputs of images in [0, 1].

        Raises:
          ValueError: `prepare` gives another number of channels than the network reads.
        """
        inputs = tf.cast(self._prepare(images), self.graph.dtype(self.graph.inputs[0]))
        if inputs.shape[-1] != self.input_shape[-1]:
            raise ValueError(
                f"param: expected images of which prepare makes {self.input_shape[-1]} channels, as "
                f"{self.graph.model.name!r} reads, received {inputs.shape[-1]}"
            )
        return inputs

    def sides(self, param: Parameterization) -> tuple[int, int]:
        """Height and width that the network reads; those of the images where it says none."""
        height, width = self.input_shape[:2]
        return height or param.height, width or param.width

    def reads_any_size(self, keys: Sequence[TensorKey], sides: tuple[int, int]) -> bool:
        """Whether tensors can be computed from images of other sizes than the given one."""
        height, width, channels = *sides, self.input_shape[-1]
        others = [tf.TensorSpec([None, height + more, width + more, channels], tf.float32) for more in _OTHER_SIZES]

        @tf.function(input_signature=[others], autograph=False)
        def read(sizes: list[tf.Tensor]) -> list[list[tf.Tensor]]:
            return [list(values.values()) for inputs in sizes for values in self._run(inputs, [list(keys)], None)]

        try:
            read.get_concrete_function()
        except (ValueError, tf.errors.InvalidArgumentError):
            return False
        return True

    def calls(self, keys: Sequence[TensorKey]) -> list[Call]:
        """What is run to compute tensors."""
        return self.graph.needed(keys, self.graph.inputs)

    def activations(
        self, images: tf.Tensor, groups: Sequence[Sequence[TensorKey]], counts: tf.Tensor
    ) -> list[dict[TensorKey, tf.Tensor]]:
        """Activations of images that stand in groups, each of which is read at its own layers.

        Behind the last layer that a group is read at, its images are dropped: what the groups share is computed in one
        batch, and nothing is computed that none of them needs.

        Args:
          images: [batch, height, width, channels] in [0, 1], group by group.
          groups: keys that each group is read at; the one that needs most of the network first (`depth`).
          counts: int32 [groups], images in each.

        Returns: for every group key -> activations [images, ...].
        """
        return self._run(self.prepare(images), groups, counts)

    def depth(self, keys: Sequence[TensorKey]) -> int:
        """How far into the network tensors lie; groups go by it, the deepest first."""
        return max(self.graph.position_behind(key) for key in keys)

    def _run(
        self, inputs: tf.Tensor, groups: Sequence[Sequence[TensorKey]], counts: tf.Tensor | None
    ) -> list[dict[TensorKey, tf.Tensor]]:
        wanted = {key for keys in groups for key in keys}
        calls = self.calls(list(wanted))
        last_read = {key: place for place, call in enumerate(calls) for key in call.inputs}
        last_made = [max(p for p, call in enumerate(calls) if set(call.outputs) & set(keys)) for keys in groups]
        values: dict[TensorKey, tf.Tensor] = {self.graph.inputs[0]: inputs}
        found: list[dict[TensorKey, tf.Tensor]] = [{} for _ in groups]
        running = len(groups)
        for place, call in enumerate(calls):
            made = call.run(values, inference=True, operation=find_replacement(call.operation))
            values.update(zip(call.outputs, made, strict=True))
            remaining = sum(last > place for last in last_made)
            for key in wanted.intersection(call.outputs):
                rows = [values[key]] if counts is None else _split(values[key], tf.unstack(counts[:running]))
                for number, keys in enumerate(groups[:running]):
                    if key in keys:
                        found[number][key] = rows[number]
                if 0 < remaining < running and last_read.get(key, -1) > place:
                    values[key] = tf.concat(rows[:remaining], axis=0)
            values = {key: value for key, value in values.items() if last_read.get(key, -1) > place}
            if 0 < remaining < running:
                kept = [tf.reduce_sum(counts[:remaining]), tf.reduce_sum(counts[remaining:running])]
                done = wanted.intersection(call.outputs)
                values = {key: value if key in done else _split(value, kept)[0] for key, value in values.items()}
            running = remaining
        return found


def _split(values: tf.Tensor, counts: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Consecutive rows, so many each. A split's gradient joins them in one pass, those of slices take one each."""
    return [values] if len(counts) == 1 else tf.split(values, tf.stack(counts), axis=0, num=len(counts))


def _scale_to(bounds: tuple[float, float]) -> Prepare:
    """Black as the one number, white as the other."""
    low, high = map(float, bounds)
    return lambda images: low + (high - low) * images
