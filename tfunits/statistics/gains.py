"""How much a quantity grows when width doubles."""

import dataclasses
import math
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gain:
    """Average factor per doubling of width.

    Attributes:
      value: mean ratio; NaN without any.
      num_doublings: ratios averaged.
      num_left_out: doublings left out because a value is 0 or missing.
    """

    value: float
    num_doublings: int
    num_left_out: int


def gain(value_by_size: Mapping[float, float], *, skip_first: bool = False) -> Gain:
    """Mean over successive doublings of value(2w) / value(w).

    Args:
      value_by_size: width multiplier -> value, in any order; sizes without their double give no ratio.
      skip_first: leave the smallest doubling out, as the authors' redundancy figures do.

    Returns: a `Gain`; a doubling with a zero is left out and counted.

    Example:
      >>> gain({0.25: 1.0, 0.5: 2.0, 1: 6.0}).value
      2.5

    Source: Casper et al. 2021, section 3 (the gain g).
    """
    ratios, left_out = [], 0
    doublings = [size for size in sorted(value_by_size) if 2 * size in value_by_size]
    for size in doublings[1:] if skip_first else doublings:
        low, high = value_by_size[size], value_by_size[2 * size]
        if low == 0 or high == 0 or math.isnan(low) or math.isnan(high):
            left_out += 1
        else:
            ratios.append(high / low)
    value = math.fsum(ratios) / len(ratios) if ratios else math.nan
    return Gain(value=value, num_doublings=len(ratios), num_left_out=left_out)
