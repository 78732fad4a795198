"""The few Keras layers of our own, registered as package "tfunits"."""

from tfunits.layers.counted import (
    CountedGroupNormalization,
    CountedLayerNormalization,
    CountedRMSNormalization,
    PositionBias,
    TakeUnits,
)
from tfunits.layers.dropout import ReplicaDropout
from tfunits.layers.mask import ChannelMask
from tfunits.layers.normalization import BatchNormalization, LocalResponseNormalization

__all__ = [
    "BatchNormalization",
    "ChannelMask",
    "CountedGroupNormalization",
    "CountedLayerNormalization",
    "CountedRMSNormalization",
    "LocalResponseNormalization",
    "PositionBias",
    "ReplicaDropout",
    "TakeUnits",
]
