"""The smallest network that still agrees with the given one."""

from tfunits.thinning.cost import count_flops, measure_seconds
from tfunits.thinning.thin import Thinned, thin

__all__ = ["Thinned", "count_flops", "measure_seconds", "thin"]
