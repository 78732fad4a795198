"""Parts of a grid, for machines that know nothing of each other."""

import re
from collections.abc import Sequence
from typing import TypeVar

from tfunits.configs.errors import reject

Item = TypeVar("Item")
_SHARD = re.compile(r"([1-9]\d{0,8})/([1-9]\d{0,8})")


def parse_shard(text: str | None) -> tuple[int, int]:
    """Number and count of a part, as `--shard` writes them.

    Args:
      text: number/count, counted from 1; None is the whole.

    Raises:
      UserError: text of another form, or a number above the count.

    Example:
      >>> parse_shard("3/40")
      (3, 40)
    """
    if text is None:
        return (1, 1)
    found = _SHARD.fullmatch(text)
    if not found or int(found[1]) > int(found[2]):
        raise reject("shard", text, "number/count with a number from 1 to the count, e.g. --shard=3/40")
    return (int(found[1]), int(found[2]))


def take_shard(items: Sequence[Item], shard: tuple[int, int]) -> list[Item]:
    """The items of one part: dealt out in turn, so that equal neighbours spread over all parts.

    Args:
      items: in an order that all parts share.
      shard: number and count.

    Returns: every item is in exactly one part; parts differ by one item at most.

    Example:
      >>> take_shard(["a", "b", "c", "d", "e"], (2, 3))
      ['b', 'e']
    """
    number, count = shard
    return list(items[number - 1 :: count])
