"""The blocks of Inception-v3 in the layout of 2016, as data: what its builder makes and what its cost counts."""

from typing import NamedTuple

from tfunits.configs.facts import VARIED_BLOCK

# Below this side nothing would be left of an image without padding.
SMALLEST_UNPADDED = 75
# What the auxiliary head reads.
AUXILIARY_BLOCK = "mixed_17x17x768e"


class Convolution(NamedTuple):
    """Convolution, batch normalisation and ReLU of a branch.

    Attributes:
      base: units at size 1.
      kernel: its side, or its height and width.
      stride: 2 in a block that halves the image.
      scaled: whether the size changes the units.
    """

    base: int
    kernel: int | tuple[int, int] = 1
    stride: int = 1
    scaled: bool = True


# Branches start from the block's input, some with 3x3 pooling; two convolutions in brackets stand side by side.
AVERAGE, MAX = "average", "max"
Step = Convolution | tuple[Convolution, Convolution] | str
Block = tuple[tuple[Step, ...], ...]


def _block_35(pooled: int) -> Block:
    return (
        (Convolution(64),),
        (Convolution(48), Convolution(64, 5)),
        (Convolution(64), Convolution(96, 3), Convolution(96, 3)),
        (AVERAGE, Convolution(pooled)),
    )


def _block_17(inner: int, *, scaled: bool = True) -> Block:
    row, column = (1, 7), (7, 1)
    return (
        (Convolution(192),),
        (Convolution(inner), Convolution(inner, row), Convolution(192, column)),
        (
            Convolution(inner),
            Convolution(inner, column),
            Convolution(inner, row),
            Convolution(inner, column),
            Convolution(192, row),
        ),
        (AVERAGE, Convolution(192, scaled=scaled)),
    )


def _block_8() -> Block:
    fork = (Convolution(384, (1, 3)), Convolution(384, (3, 1)))
    return (
        (Convolution(320),),
        (Convolution(384), fork),
        (Convolution(448), Convolution(384, 3), fork),
        (AVERAGE, Convolution(192)),
    )


# Name of a block, the authors' -> its branches, in the order in which they are joined.
BLOCKS: dict[str, Block] = {
    "mixed_35x35x256a": _block_35(32),
    "mixed_35x35x288a": _block_35(64),
    VARIED_BLOCK: _block_35(64),
    "mixed_17x17x768a": (
        (Convolution(384, 3, 2),),
        (Convolution(64), Convolution(96, 3), Convolution(96, 3, 2)),
        (MAX,),
    ),
    "mixed_17x17x768b": _block_17(128),
    "mixed_17x17x768c": _block_17(160),
    "mixed_17x17x768d": _block_17(160, scaled=False),
    "mixed_17x17x768e": _block_17(192),
    "mixed_17x17x1280a": (
        (Convolution(192), Convolution(320, 3, 2)),
        (Convolution(192), Convolution(192, (1, 7)), Convolution(192, (7, 1)), Convolution(192, 3, 2)),
        (MAX,),
    ),
    "mixed_8x8x2048a": _block_8(),
    "mixed_8x8x2048b": _block_8(),
}
