"""Gradient ascent on images, for many objectives in one compiled step."""

import dataclasses
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from tfunits.surgery import TensorKey
from tfunits.visualization import transforms as _transforms
from tfunits.visualization.network import Network, Prepare
from tfunits.visualization.objectives import Objective
from tfunits.visualization.parameterization import DEFAULT_SIDE, Parameterization, fft_image
from tfunits.visualization.redirection import redirected_relus

# Casper et al. 2021, appendix.
DEFAULT_STEPS = 256
# Lucid 0.3.10 (optvis.render, misc.redirected_relu_grad); its comparison lets redirection last for 17 steps.
LEARNING_RATE = 0.05
REDIRECTED_STEPS = 16
# Of Adam.
_FIRST_DECAY, _SECOND_DECAY, _EPSILON = 0.9, 0.999, 1e-8
_DEFAULT_BATCH = 64
# What a bar does not say within this many seconds nobody waits for.
_BAR_DELAY = 2
# Keras writes its messages in bold.
_COLOR_CODE = re.compile(r"\x1b\[[0-9;]*m")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Rendering:
    """Images that were drawn for objectives.

    Attributes:
      objectives: what for.
      images: float32 [objectives * copies, height, width, channels] in [0, 1], the copies of an objective side by side;
        nan where the optimisation failed.
      values: float32 [objectives], the objectives of the images themselves, without transforms.
      history: float32 [steps, objectives], the objectives under the transforms, before every step.
      failures: number of an objective -> the first step at which its value was not finite; the number of steps where
        only its image was not (a ReLU of nan is 0 on CPUs).
    """

    objectives: tuple[Objective, ...]
    images: np.ndarray
    values: np.ndarray
    history: np.ndarray
    failures: Mapping[int, int]

    @property
    def copies(self) -> int:
        """Images of one objective."""
        return len(self.images) // len(self.objectives)


def render(
    model: keras.Model,
    objective: Objective | Sequence[Objective],
    *,
    param: Parameterization | None = None,
    transforms: Sequence[_transforms.Transform] | Callable[[int, int], Sequence[_transforms.Transform]] = (
        _transforms.standard
    ),
    steps: int = DEFAULT_STEPS,
    learning_rate: float = LEARNING_RATE,
    prepare: tuple[float, float] | Prepare = (0.0, 1.0),
    copies: int = 1,
    redirected_steps: int = REDIRECTED_STEPS,
    seed: int = 0,
    batch: int = _DEFAULT_BATCH,
) -> Rendering:
    """Draw images that raise objectives, by gradient ascent under random transforms.

      z <- z + Adam(d objective(network(prepare(transforms(image(z))))) / dz)

    Objectives of one form are optimised together, and those of other layers beside them, in one compiled step; what one
    image becomes depends neither on the others nor on their order nor on `batch`. (Weights that are nan fail every
    image whose gradient passes them, of whatever unit.)

    Args:
      model: a functional Keras model that reads one image, channels last. Inference is meant: dropout does nothing and
        batch normalisation takes its moving averages.
      objective: what to draw: `unit`, `neuron`, `direction`, `layer`, `diversity` and their sums; or a list of such.
      param: `fft_image(...)`, `pixel_image(...)` or `laplacian_image(...)`; if None an `fft_image` of the size that the
        network reads, at most 128x128.
      transforms: in order; or a function that gives them for (height, width) of the image. A network of which the layer
        can be read at one size only gets what the transforms leave cropped or padded to it.
      steps: of gradient ascent, at least 0.
      learning_rate: of Adam.
      prepare: (low, high), what the network reads for black and white; or a function from images [batch, height, width,
        channels] in [0, 1] to its inputs.
      copies: images of every objective, which start differently; for `diversity`.
      redirected_steps: first steps in which gradients pass ReLUs that are silent everywhere.
      seed: of starts and transforms.
      batch: largest number of images at once, which bounds the memory.

    Returns: a `Rendering`.

    Raises:
      ValueError: a model that does not read one image, a layer or unit that is not there, images that are too small for
        the layer, an objective that does not depend on the image, or numbers out of their range.
      TypeError: an objective, a parameterisation or a transform that is none, or a number that is not whole.

    Example:
      >>> from tfunits.visualization import unit
      >>> drawn = render(model, [unit("conv1", 3), unit("conv2", 0)], steps=2)
      >>> drawn.images.shape
      (2, 32, 32, 3)

    Source: Lucid 0.3.10, optvis.render.render_vis; Olah et al. 2017, "Feature visualization".
    """
    objectives = (objective,) if isinstance(objective, Objective) else tuple(objective)
    _check(objectives, steps=steps, learning_rate=learning_rate, copies=copies, batch=batch, seed=seed)
    network = Network(model, prepare)
    param = fft_image(default_sides(network), network.channels) if param is None else param
    if not isinstance(param, Parameterization):
        raise TypeError(f"param: expected a parameterisation such as fft_image(128), received {param!r}")
    groups = _group(network, objectives, network.sides(param))
    chain = tuple(transforms(param.height, param.width) if callable(transforms) else transforms)
    if not all(map(callable, chain)):
        raise TypeError(f"transforms: expected transforms such as jitter(8), received {chain}")
    images = np.full((len(objectives), copies, param.height, param.width, param.channels), np.nan, "float32")
    values = np.full(len(objectives), np.nan, "float32")
    history = np.full((steps, len(objectives)), np.nan, "float32")
    blocks = _pack(groups, batch // copies)
    with tqdm(
        desc="drawing", total=steps * sum(len(passes) for _, passes in blocks), unit="step", disable=None,
        delay=_BAR_DELAY, dynamic_ncols=True,
    ) as bar:  # fmt: skip
        for block, passes in blocks:
            ascent = _Ascent(
                network, block, param, chain, copies=copies, learning_rate=learning_rate,
                steps=steps, redirected_steps=redirected_steps, seed=seed,
            )  # fmt: skip
            for members in passes:
                order = [number for group in members for number in group]
                found = ascent.run([[objectives[number] for number in group] for group in members], bar.update)
                images[order], values[order], history[:, order] = found
    return _finish(objectives, images, values, history)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Group:
    """Objectives of one form.

    Attributes:
      keys: layer -> key of its output.
      depth: how far into the network these lie.
      members: numbers of the objectives.
      example: one of them.
      reads_any_size: whether the layers can be read from images of any size.
    """

    keys: Mapping[str, TensorKey]
    depth: int
    members: list[int]
    example: Objective
    reads_any_size: bool = True


def _check(objectives: Sequence[Any], *, steps: int, learning_rate: float, copies: int, batch: int, seed: int) -> None:
    if not objectives:
        raise ValueError("objective: expected at least one, received none")
    for objective in objectives:
        if not isinstance(objective, Objective):
            raise TypeError(f"objective: expected an objective such as unit('conv1', 0), received {objective!r}")
        if not objective.layers:
            raise ValueError(f"objective: expected one that depends on the image, received {objective}")
    for name, value, least in (("steps", steps, 0), ("copies", copies, 1), ("batch", batch, copies), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise TypeError(f"{name}: expected a whole number, received {value!r}")
        if value < least:
            raise ValueError(f"{name}: expected a number of at least {least}, received {value}")
    if not learning_rate > 0:
        raise ValueError(f"learning_rate: expected a number above 0, received {learning_rate}")


def _group(network: Network, objectives: Sequence[Objective], sides: tuple[int, int]) -> list[_Group]:
    """Objectives by their form: those that need images of the network's own size first, and the deepest first."""
    keys = network.find(list(dict.fromkeys(name for objective in objectives for name in objective.layers)))
    shapes = {name: network.graph.shape(key) for name, key in keys.items()}
    members: dict[tuple, list[int]] = {}
    for number, objective in enumerate(objectives):
        objective.check(shapes)
        members.setdefault(objective.form, []).append(number)
    groups = []
    for numbers in members.values():
        example = objectives[numbers[0]]
        own = {name: keys[name] for name in example.layers}
        groups.append(_Group(keys=own, depth=network.depth(list(own.values())), members=numbers, example=example))
    if not network.reads_any_size(list(keys.values()), sides):
        groups = [
            dataclasses.replace(group, reads_any_size=network.reads_any_size(list(group.keys.values()), sides))
            for group in groups
        ]
    return sorted(groups, key=lambda group: (group.reads_any_size, -group.depth))


def _pack(groups: Sequence[_Group], most: int) -> list[tuple[list[_Group], list[list[list[int]]]]]:
    """Groups that are optimised together, and in which passes: for every group of a block, numbers of objectives.

    A block has at most `most` objectives, or is one larger group in several passes: every group is compiled once.
    """
    blocks: list[list[_Group]] = []
    for group in groups:
        last = blocks[-1] if blocks else []
        fits = sum(len(other.members) for other in (*last, group)) <= most
        if last and fits and last[0].reads_any_size == group.reads_any_size:
            last.append(group)
        else:
            blocks.append([group])
    packed = []
    for block in blocks:
        num_passes = -(-len(block[0].members) // most) if len(block) == 1 else 1
        parts = [np.array_split(group.members, num_passes) for group in block]
        packed.append((block, [[part[i].tolist() for part in parts] for i in range(num_passes)]))
    return packed


def default_sides(network: Network) -> tuple[int, int]:
    """Height and width of the images that are drawn for a network unless told otherwise: its own, at most 128."""
    height, width = (min(side or DEFAULT_SIDE, DEFAULT_SIDE) for side in network.input_shape[:2])
    return height, width


class _Ascent:
    """The compiled steps of one block of objectives."""

    def __init__(
        self, network: Network, block: Sequence[_Group], param: Parameterization,
        transforms: Sequence[_transforms.Transform], *, copies: int, learning_rate: float, steps: int,
        redirected_steps: int, seed: int,
    ) -> None:  # fmt: skip
        self._network, self._block, self._param = network, block, param
        self._copies, self._learning_rate, self._seed = copies, learning_rate, seed
        self._steps, self._redirected_steps = steps, min(steps, redirected_steps)
        self._keys = [list(group.keys.values()) for group in block]
        all_keys = [key for keys in self._keys for key in keys]
        self._fit = [] if block[0].reads_any_size else [_transforms.crop_or_pad(*network.sides(param))]
        self._transforms = [*transforms, *self._fit]
        numbers = [tf.TensorSpec([None, *shape], tf.float32) for shape in param.shapes]
        self._group_specs = [
            [tf.TensorSpec([None, *p.shape], p.dtype) for p in group.example.parameters] for group in block
        ]
        counts = tf.TensorSpec([len(block)], tf.int32)
        calls = network.calls(all_keys)

        def compiled(function: Callable, *signature: Any) -> Callable:
            try:
                return network.graph.compile(function, [counts, self._group_specs, *signature], calls)
            except (ValueError, tf.errors.InvalidArgumentError) as error:
                raise self._explain(error) from None

        # Numbers, and the means and mean squares of their gradients; kept between steps, which change them in place.
        self._state = [[_variable(spec) for spec in numbers] for _ in range(3)]
        step = tf.TensorSpec([], tf.int32)
        self._redirected = compiled(self._step_redirected, step) if self._redirected_steps > 0 else None
        self._plain = compiled(self._step, step) if steps > self._redirected_steps else None
        self._evaluate = compiled(self._look)

    def _explain(self, error: Exception) -> ValueError:
        layers = ", ".join(dict.fromkeys(name for group in self._block for name in group.keys))
        # TensorFlow puts a traceback before the cause.
        reason = " ".join(_COLOR_CODE.sub("", str(error)).strip().split("\n\n")[-1].split())
        if reason.startswith(("objective: ", "param: ")):
            return ValueError(reason)
        return ValueError(
            f"param: expected images that {layers} can be computed from, received {self._param.height}x"
            f"{self._param.width}x{self._param.channels} ({reason[:300]})"
        )

    def run(
        self, objectives: Sequence[Sequence[Objective]], report: Callable[[int], Any]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Optimise: images [objectives, copies, ...], values [objectives], history [steps, objectives]."""
        counts = tf.constant([len(group) * self._copies for group in objectives], tf.int32)
        parameters = [
            [tf.constant(np.stack(column)) for column in zip(*(o.parameters for o in group), strict=True)]
            for group in objectives
        ]
        flat = [objective for group in objectives for objective in group]
        starts = [start_numbers(self._param, self._seed, o, copy) for o in flat for copy in range(self._copies)]
        columns = [np.stack(column) for column in zip(*starts, strict=True)]
        for part, variables in enumerate(self._state):
            for variable, column in zip(variables, columns, strict=True):
                variable.assign(column if part == 0 else np.zeros_like(column))
        history = []
        try:
            for step in range(self._steps):
                advance = self._redirected if step < self._redirected_steps else self._plain
                history.append(advance(counts, parameters, tf.constant(step)))
                report(1)
            images, values = self._evaluate(counts, parameters)
        # Aborted: what oneDNN answers to images that are smaller than a kernel.
        except (tf.errors.InvalidArgumentError, tf.errors.AbortedError) as error:
            raise self._explain(error) from None
        shape = (len(flat), self._copies, *images.shape[1:])
        stacked = np.stack([v.numpy() for v in history]) if history else np.zeros((0, len(flat)), "float32")
        return images.numpy().reshape(shape), values.numpy(), stacked

    def _step_redirected(self, counts: Any, parameters: Any, step: Any) -> Any:
        with redirected_relus():
            return self._step(counts, parameters, step)

    def _step(self, counts: Any, parameters: Any, step: Any) -> Any:
        """One step of Adam; returns the values [objectives] before it."""
        numbers = [tf.convert_to_tensor(number) for number in self._state[0]]
        seed = tf.random.experimental.stateless_fold_in(tf.constant([self._seed, 0]), step)
        changed = _transforms.apply(self._transforms, self._param.images(numbers), seed)
        values = self._values(changed, counts, parameters)
        gradients = tf.gradients([-tf.reduce_sum(v) for v in values], numbers)
        if any(gradient is None for gradient in gradients):
            raise ValueError("objective: expected one that depends on the image")
        values = tf.concat(values, axis=0)
        with tf.control_dependencies([values]):
            _adam(*self._state, gradients, step, self._learning_rate)
        return values

    def _look(self, counts: Any, parameters: Any) -> Any:
        """The images, and their values [objectives] without transforms."""
        images = self._param.images([tf.convert_to_tensor(number) for number in self._state[0]])
        fitted = _transforms.apply(self._fit, images, tf.zeros([2], tf.int32))
        return images, tf.concat(self._values(fitted, counts, parameters), axis=0)

    def _values(self, images: tf.Tensor, counts: tf.Tensor, parameters: Any) -> list[tf.Tensor]:
        """Values [objectives] of every group."""
        found = []
        read = self._network.activations(images, self._keys, counts)
        for group, activations, own in zip(self._block, read, parameters, strict=True):
            arranged = {name: _by_copies(activations[key], self._copies) for name, key in group.keys.items()}
            found.append(group.example.evaluate(arranged.__getitem__, iter(own)))
        return found


def _variable(spec: tf.TensorSpec) -> tf.Variable:
    """A variable for any number of images."""
    return tf.Variable(tf.zeros([0, *spec.shape[1:]]), shape=spec.shape, trainable=False)


def _adam(
    numbers: Sequence[tf.Variable], means: Sequence[tf.Variable], squares: Sequence[tf.Variable],
    gradients: Sequence[tf.Tensor], step: tf.Tensor, learning_rate: float,
) -> None:  # fmt: skip
    """One step of Adam on numbers, and on means and mean squares of their gradients, by TensorFlow's fused operation.

    Source: Kingma and Ba 2015, with the epsilon of TensorFlow 1, which Lucid 0.3.10 optimises with.
    """
    time = tf.cast(step + 1, tf.float32)
    for number, mean, square, gradient in zip(numbers, means, squares, gradients, strict=True):
        tf.raw_ops.ResourceApplyAdam(
            var=number.handle, m=mean.handle, v=square.handle, grad=gradient,
            beta1_power=_FIRST_DECAY**time, beta2_power=_SECOND_DECAY**time, beta1=_FIRST_DECAY, beta2=_SECOND_DECAY,
            lr=learning_rate, epsilon=_EPSILON,
        )  # fmt: skip


def _by_copies(activations: tf.Tensor, copies: int) -> tf.Tensor:
    """Activations [objectives * copies, ...] as float32 [objectives, copies, ...]."""
    static, dynamic = activations.shape[1:], tf.shape(activations)[1:]
    arranged = tf.reshape(tf.cast(activations, tf.float32), tf.concat([[-1, copies], dynamic], axis=0))
    arranged.set_shape([None, copies, *static])
    return arranged


def start_numbers(param: Parameterization, seed: int, objective: Objective, copy: int) -> list[np.ndarray]:
    """The numbers that an image starts from: by its objective's numbers (its unit), not by its place in a list."""
    digest = zlib.crc32(b"".join(np.ascontiguousarray(number).tobytes() for number in objective.parameters))
    return param.start([seed, digest, copy])


def _finish(
    objectives: tuple[Objective, ...], images: np.ndarray, values: np.ndarray, history: np.ndarray
) -> Rendering:
    """Mark what is not finite."""
    failures = {}
    for number in range(len(objectives)):
        bad = np.flatnonzero(~np.isfinite(history[:, number]))
        if len(bad) or not np.isfinite(values[number]) or not np.isfinite(images[number]).all():
            failures[number] = int(bad[0]) if len(bad) else len(history)
            images[number], values[number] = np.nan, np.nan
    return Rendering(
        objectives=objectives, images=images.reshape(-1, *images.shape[2:]), values=values, history=history,
        failures=failures,
    )  # fmt: skip
