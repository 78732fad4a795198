"""Sets chosen units to zero."""

from typing import Any

import keras
import numpy as np


@keras.saving.register_keras_serializable(package="tfunits")
class ChannelMask(keras.layers.Layer):
    """Multiplies the units of a tensor by constants, 0 for a masked unit and 1 for a kept one.

    Args:
      mask: one number per unit [units], or one per location and unit [..., units].
    """

    def __init__(self, mask: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mask = np.asarray(mask, "float32")
        # Padded steps stay padded steps.
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        """Inputs with the masked units at zero."""
        return inputs * keras.ops.cast(self.mask, inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        """The mask as a list."""
        return {**super().get_config(), "mask": self.mask.tolist()}
