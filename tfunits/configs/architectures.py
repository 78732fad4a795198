"""What the papers' networks consist of, in numbers: parameters, operations and activations, without making a network.

A test compares them with the Keras models of `tfunits.models`.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from tfunits.configs.experiment import ModelConfig
from tfunits.configs.facts import VARIED_BLOCK
from tfunits.configs.inception import AUXILIARY_BLOCK, AVERAGE, BLOCKS, MAX, SMALLEST_UNPADDED, Convolution, Step

# [units] or [height, width, units].
Shape = tuple[int, ...]
Padding = Literal["same", "valid"]

_ALEXNET_CONVOLUTIONS = (96, 256)
_ALEXNET_DENSE = (384, 192)
_DENSE = 128
# Base width of a stage -> its number of blocks; a residual branch: kernels, and factors on the stage's width.
_RESNET56 = {16: 9, 32: 9, 64: 9}
_RESNET18 = {64: 2, 128: 2, 256: 2, 512: 2}
_RESNET50 = {64: 3, 128: 4, 256: 6, 512: 3}
_BASIC = ((3, 1), (3, 1))
_BOTTLENECK = ((1, 1), (3, 1), (1, 4))
_WIDE_RESNET28 = {16: 4, 32: 4, 64: 4}
_DENSENET_LAYERS = 6
_DENSENET_GROWTH = 8
# Width of the transition behind each stage.
_DENSENET_TRANSITIONS = (32, 40, None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
    """Sizes of one network, for one example.

    Attributes:
      parameters: trainable ones.
      flops: of a forward pass, multiplications and additions of dense layers and convolutions counted apart.
      activations: numbers that dense layers, convolutions and batch normalisations write.
      num_layers: dense layers and convolutions.
    """

    parameters: int
    flops: int
    activations: int
    num_layers: int


def describe_architecture(model: ModelConfig, input_shape: Shape, num_classes: int) -> Architecture:
    """The sizes of a network of the papers.

      flops = sum of 2 (weights of the kernel) (positions at which it is applied), over dense layers and convolutions

    Args:
      model: which network, and its widths.
      input_shape: of one example.
      num_classes: number of labels.

    Raises:
      ValueError: a user's own network, whose layers only its file knows; images that are too small for a layer.

    Example:
      >>> describe_architecture(ModelConfig(model="mlp"), (10,), 2).flops
      3072
    """
    if model.is_file:
        raise ValueError(f"model: expected a network of the papers, received {model.model!r}; its file alone knows it")
    # Only what changes the layers, since seeds and scales of a grid share their networks.
    widths = ModelConfig(
        model=model.model, size=model.size, layer_size=model.layer_size, last_width=model.last_width,
        auxiliary_head=model.auxiliary_head, unscaled_branch=model.unscaled_branch,
    )  # fmt: skip
    return _describe(widths, tuple(input_shape), num_classes)


@functools.lru_cache
def _describe(model: ModelConfig, input_shape: Shape, num_classes: int) -> Architecture:
    counter = _Counter(model, num_classes)
    _DESCRIPTIONS[model.model](counter, input_shape)
    return Architecture(
        parameters=counter.parameters,
        flops=counter.flops,
        activations=counter.activations,
        num_layers=counter.num_layers,
    )


class _Counter:
    """Sums over the layers that it is told of; every method returns the shape of what the layer writes."""

    def __init__(self, model: ModelConfig, num_classes: int) -> None:
        self.model, self.num_classes = model, num_classes
        self.parameters = self.flops = self.activations = self.num_layers = 0

    def width(self, base: int) -> int:
        return int(base * self.model.size)

    def _add(self, weights: int, positions: int, units: int) -> None:
        self.parameters += weights
        self.flops += 2 * weights * positions
        self.activations += positions * units
        self.num_layers += 1

    def dense(self, shape: Shape, units: int) -> Shape:
        """A dense layer with bias; of images, flattened."""
        self._add(math.prod(shape) * units, 1, units)
        self.parameters += units
        return (units,)

    def convolve(
        self,
        shape: Shape,
        units: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        padding: Padding = "same",
        *,
        bias: bool = False,
    ) -> Shape:
        """A convolution; `same` stands for symmetric padding too, which leaves as many positions."""
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        made = (*pool(shape, (height, width), stride, padding)[:2], units)
        self._add(height * width * shape[-1] * units, made[0] * made[1], units)
        self.parameters += units if bias else 0
        return made

    def normalize(self, shape: Shape, *, scale: bool = True) -> Shape:
        """Batch normalisation."""
        self.parameters += (1 + scale) * shape[-1]
        self.activations += math.prod(shape)
        return shape

    def classify(self, shape: Shape) -> None:
        """The mean over positions of images, and a linear head."""
        self.dense(shape[-1:], self.num_classes)

    def widen_last(self, shape: Shape) -> Shape:
        """The 1x1 convolution to the last width, where one is given."""
        if self.model.last_width is None:
            return shape
        return self.normalize(self.convolve(shape, self.model.last_width, 1))


def pool(shape: Shape, window: int | tuple[int, int], stride: int, padding: Padding) -> Shape:
    """The shape that windows leave of an image.

    Raises:
      ValueError: an image into which no window fits.
    """
    windows = (window, window) if isinstance(window, int) else window
    if padding == "same":
        sides = [-(-side // stride) for side in shape[:2]]
    else:
        sides = [(side - wide) // stride + 1 for side, wide in zip(shape[:2], windows, strict=True)]
    if min(sides) < 1:
        raise ValueError(f"input_shape: expected larger images, of which a layer receives {tuple(shape[:2])}")
    return (*sides, shape[-1])


def _alexnet(counter: _Counter, shape: Shape) -> None:
    for base in _ALEXNET_CONVOLUTIONS:
        shape = pool(counter.convolve(shape, counter.width(base), 5, bias=True), 3, 2, "same")
    for base in _ALEXNET_DENSE:
        shape = counter.dense(shape, counter.width(base))
    counter.dense(shape, counter.num_classes)


def _mlp(counter: _Counter, shape: Shape) -> None:
    counter.dense(counter.dense(shape, counter.width(_DENSE)), counter.num_classes)


def _fc5(counter: _Counter, shape: Shape) -> None:
    for _ in range(4):
        shape = counter.dense(shape, counter.width(_DENSE))
    counter.dense(shape, 1)


def _resnet(counter: _Counter, shape: Shape, stages: Mapping[int, int], branch: Sequence[tuple[int, int]]) -> Shape:
    """Stages of residual blocks of version 1, each with a projection on its first shortcut."""
    for stage, (base, num_blocks) in enumerate(stages.items()):
        for block in range(num_blocks):
            stride = 2 if stage and not block else 1
            if not block:
                counter.normalize(counter.convolve(shape, counter.width(base * branch[-1][1]), 1, stride))
            for kernel, factor in branch:
                shape = counter.normalize(counter.convolve(shape, counter.width(base * factor), kernel, stride))
                stride = 1
    return shape


def _resnet56(counter: _Counter, shape: Shape) -> None:
    shape = counter.normalize(counter.convolve(shape, counter.width(16), 3))
    counter.classify(_resnet(counter, shape, _RESNET56, _BASIC))


def _resnet18(counter: _Counter, shape: Shape) -> None:
    shape = counter.normalize(counter.convolve(shape, counter.width(64), 7, 2))
    counter.classify(_resnet(counter, pool(shape, 3, 2, "same"), _RESNET18, _BASIC))


def _resnet50(counter: _Counter, shape: Shape) -> None:
    shape = counter.normalize(counter.convolve(shape, 64, 7, 2))
    shape = _resnet(counter, pool(shape, 3, 2, "same"), _RESNET50, _BOTTLENECK)
    counter.classify(counter.widen_last(shape))


def _wide_resnet28(counter: _Counter, shape: Shape) -> None:
    shape = counter.convolve(shape, min(counter.width(16), 16), 3)
    for stage, (base, num_blocks) in enumerate(_WIDE_RESNET28.items()):
        width = counter.width(base)
        for block in range(num_blocks):
            stride = 2 if stage and not block else 1
            if stride > 1 or shape[-1] != width:
                counter.convolve(shape, width, 1, stride)
            shape = counter.convolve(counter.normalize(shape), width, 3, stride)
            shape = counter.convolve(counter.normalize(shape), width, 3)
    counter.classify(counter.widen_last(counter.normalize(shape)))


def _densenet40(counter: _Counter, shape: Shape) -> None:
    growth = counter.width(_DENSENET_GROWTH)
    shape = counter.normalize(counter.convolve(shape, counter.width(16), 3))
    for transition in _DENSENET_TRANSITIONS:
        for _ in range(_DENSENET_LAYERS):
            new = counter.convolve(counter.normalize(shape), counter.width(4 * _DENSENET_GROWTH), 1)
            counter.convolve(counter.normalize(new), growth, 3)
            shape = (*shape[:2], shape[-1] + growth)
        if transition is not None:
            shape = counter.convolve(counter.normalize(shape), counter.width(transition), 1)
            shape = pool(shape, 2, 2, "valid")
    counter.classify(counter.widen_last(counter.normalize(shape)))


def _inception_v3(counter: _Counter, shape: Shape) -> None:
    padding: Padding = "valid" if min(shape[:2]) >= SMALLEST_UNPADDED else "same"

    def convolve(shape: Shape, units: int, *geometry: object) -> Shape:
        return counter.normalize(counter.convolve(shape, units, *geometry), scale=False)

    shape = convolve(shape, counter.width(32), 3, 2, padding)
    shape = convolve(shape, counter.width(32), 3, 1, padding)
    shape = pool(convolve(shape, counter.width(64), 3), 3, 2, padding)
    shape = convolve(shape, counter.width(80), 1)
    shape = pool(convolve(shape, counter.width(192), 3, 1, padding), 3, 2, padding)
    for name, branches in BLOCKS.items():
        ends = [_branch(counter, convolve, shape, name, branch, padding) for branch in branches]
        shape = (*ends[0][:2], sum(end[-1] for end in ends))
        if name == AUXILIARY_BLOCK and counter.model.auxiliary_head is not False:
            _auxiliary_head(counter, convolve, shape, padding)
    counter.classify(shape)


def _branch(
    counter: _Counter,
    convolve: Callable[..., Shape],
    shape: Shape,
    block: str,
    branch: Sequence[Step],
    padding: Padding,
) -> Shape:
    for step in branch:
        if step == AVERAGE:
            continue
        if step == MAX:
            shape = pool(shape, 3, 2, padding)
            continue
        parts = [step] if isinstance(step, Convolution) else step
        ends = [
            convolve(shape, _inception_width(counter.model, block, part), part.kernel, part.stride,
                     "same" if part.stride == 1 else padding)
            for part in parts
        ]  # fmt: skip
        shape = (*ends[0][:2], sum(end[-1] for end in ends))
    return shape


def _inception_width(model: ModelConfig, block: str, convolution: Convolution) -> int:
    if not convolution.scaled and model.unscaled_branch is not False:
        return convolution.base
    varied = block == VARIED_BLOCK and model.layer_size is not None
    return int(convolution.base * (model.layer_size if varied else model.size))


def _auxiliary_head(counter: _Counter, convolve: Callable[..., Shape], shape: Shape, padding: Padding) -> None:
    shape = pool(shape, 5, 3, padding if min(shape[:2]) >= 5 else "same")
    shape = convolve(shape, counter.width(128), 1)
    shape = convolve(shape, counter.width(768), 5, 1, padding if min(shape[:2]) >= 5 else "same")
    counter.classify(shape)


_DESCRIPTIONS: Mapping[str, Callable[[_Counter, Shape], None]] = {
    "alexnet": _alexnet,
    "densenet40": _densenet40,
    "fc5": _fc5,
    "inception_v3": _inception_v3,
    "mlp": _mlp,
    "resnet18": _resnet18,
    "resnet50": _resnet50,
    "resnet56": _resnet56,
    "wide_resnet28": _wide_resnet28,
}
