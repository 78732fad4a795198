"""Which checkpoints of a training stay on disk."""

import dataclasses
import re
from collections.abc import Iterable, Sequence

from tfunits.configs.errors import reject

_RULE = re.compile(r"(last|every|)([0-9]{1,9})")


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeepRule:
    """Epochs, counted from 1, whose checkpoints stay.

    Attributes:
      last: the newest this many.
      every: multiples of each of these.
      listed: these themselves.
    """

    last: int = 0
    every: tuple[int, ...] = ()
    listed: tuple[int, ...] = ()

    def __or__(self, other: "KeepRule") -> "KeepRule":
        """The rule that keeps what either keeps."""
        return KeepRule(
            last=max(self.last, other.last),
            every=tuple(sorted({*self.every, *other.every})),
            listed=tuple(sorted({*self.listed, *other.listed})),
        )

    def select(self, epochs: Iterable[int]) -> set[int]:
        """Those of some epochs that stay.

        Example:
          >>> sorted(KeepRule(last=2, every=(3,), listed=(1,)).select(range(1, 9)))
          [1, 3, 6, 7, 8]
        """
        epochs = sorted(set(epochs))
        newest = epochs[-self.last :] if self.last else []
        return {*newest, *(e for e in epochs if e in self.listed or any(e % step == 0 for step in self.every))}


def parse_keep_rule(words: Sequence[str]) -> KeepRule:
    """The rule that words like last8, every10 and 5 stand for.

    Raises:
      UserError: another word, or a number below 1.
    """
    numbers: dict[str, list[int]] = {"last": [], "every": [], "": []}
    for word in words:
        match = _RULE.fullmatch(word)
        if not match or int(match[2]) < 1:
            raise reject("keep_epochs", tuple(words), "numbers of epochs, lastN or everyN", f"{word!r} is none")
        numbers[match[1]].append(int(match[2]))
    return KeepRule(last=max(numbers["last"], default=0), every=tuple(numbers["every"]), listed=tuple(numbers[""]))
