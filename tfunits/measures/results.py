"""What measures return: one row a tap, readable when printed."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pandas as pd


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """A measure of a network, tap by tap.

    Attributes:
      rows: tap -> named numbers.
      network: the same numbers for the whole network, where they have a meaning.
      settings: how it was measured.
    """

    rows: Mapping[str, Mapping[str, Any]]
    network: Mapping[str, Any]
    settings: Mapping[str, Any]

    def to_frame(self) -> pd.DataFrame:
        """One row a tap, in order, with the tap's name as index, the network last."""
        # A list of rows, since a tap may be called "network" too.
        frame = pd.DataFrame([*self.rows.values(), self.network], index=[*self.rows, "network"])
        # Whole numbers stay whole beside a cell that has no meaning for the network.
        return frame.convert_dtypes(convert_floating=False).rename_axis("tap")

    def __str__(self) -> str:
        settings = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        table = self.to_frame().to_string(float_format=lambda x: f"{x:.3f}", na_rep="")
        return f"{type(self).__name__} ({settings})\n{table}"


class Prunability(Result):
    """Prunable units: largest and mean over draws, what is left, area under the ablation curve."""


class Redundancy(Result):
    """Redundant units: units beyond the principal components that hold most of the variance."""


class Similarity(Result):
    """Similar units: other units with large |r|, averaged over units."""


class UnitTypes(Result):
    """Dead, silent and constant units."""
