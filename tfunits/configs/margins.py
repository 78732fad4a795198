"""What claims count as the same."""

import dataclasses
import math
from collections.abc import Sequence

from tfunits.configs.errors import reject

_SHARES = ("area", "accuracy", "accuracy_loss", "confidence")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Margins:
    """Within which differences two quantities count as the same; what a claim's words mean in numbers.

    All are ours, fixed before any run was judged, and none is the papers' (CLAIMS, rules (2) and (3)).

    Attributes:
      gain: of two gains.
      area: of two areas under ablation curves.
      accuracy: of two accuracies, in [0, 1].
      compressibility: of two compressibilities, in %.
      ratio: of two prunable or redundant shares or similarities: their quotient is in 1 / ratio ... ratio.
      accuracy_loss: by which a wider network may fall behind a thinner one that it is at least as good as.
      modest_gain: of gains that the papers call close to each other, or close to 2.
      exponent_width: a wider interval of an exponent cannot tell.
      confidence: of every interval.
    """

    gain: float = 0.25
    area: float = 0.05
    accuracy: float = 0.02
    compressibility: float = 5.0
    ratio: float = 1.25
    accuracy_loss: float = 0.01
    modest_gain: float = 0.5
    exponent_width: float = 0.5
    confidence: float = 0.95

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{field.name}: expected a finite number above 0, received {value}")
            if field.name in _SHARES and value >= 1:
                raise ValueError(f"{field.name}: expected a number below 1, received {value}")
        if self.ratio <= 1:
            raise ValueError(f"ratio: expected a number above 1, received {self.ratio}")


MARGIN_NAMES = tuple(field.name for field in dataclasses.fields(Margins))


def parse_margins(words: Sequence[str]) -> Margins:
    """Our margins, but for those that words like gain=0.3 name.

    Args:
      words: each a name of `Margins` and a number.

    Raises:
      UserError: another word, a name that stands twice, or a number that the margin cannot have.

    Example:
      >>> parse_margins(["gain=0.3", "ratio=1.5"]).gain
      0.3
    """
    given: dict[str, float] = {}
    for word in words:
        name, _, text = word.partition("=")
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if name not in MARGIN_NAMES or name in given or math.isnan(number):
            expected = f"name=number, each name once, of {', '.join(MARGIN_NAMES)}"
            raise reject("margins", tuple(words), expected, f"{word!r} is none")
        given[name] = number
    try:
        return Margins(**given)
    except ValueError as error:
        raise reject("margins", tuple(words), "numbers that margins can have", str(error)) from None
