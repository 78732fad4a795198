"""What measures return: one row a tap, readable when printed."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from tfunits.configs import NETWORK


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
        frame = pd.DataFrame([*self.rows.values(), self.network], index=[*self.rows, NETWORK])
        # Whole numbers stay whole beside a cell that has no meaning for the network.
        return frame.convert_dtypes(convert_floating=False).rename_axis("tap")

    def __str__(self) -> str:
        settings = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        table = self.to_frame().to_string(float_format=lambda x: f"{x:.3f}", na_rep="")
        return f"{type(self).__name__} ({settings})\n{table}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: settings, one entry a tap, the network."""
        plain = {name: {key: _plain(value) for key, value in row.items()} for name, row in self.rows.items()}
        network = {key: _plain(value) for key, value in self.network.items()}
        return {"settings": dict(self.settings), "taps": plain, "network": network}


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


class Prunability(Result):
    """Prunable units: largest and mean over draws, what is left, area under the ablation curve."""


class NoiseTolerance(Result):
    """Noise at which predictions change: mean over draws, area under the curve, agreement at the largest noise."""


class Redundancy(Result):
    """Redundant units: units beyond the principal components that hold most of the variance."""


class Similarity(Result):
    """Similar units: other units with large |r|, averaged over units."""


class UnitTypes(Result):
    """Dead, silent, constant and selective units, and the rank of the activations."""


class UnitKinds(Result):
    """Silent and constant units; the others redundant or distinct, functional or blocked."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SingleUnitEffects(Result):
    """Predictions that change when one unit is masked.

    Attributes:
      changed: tap -> changed predictions of every unit, int64 [units].
      num_examples: number of predictions compared.
    """

    changed: Mapping[str, np.ndarray]
    num_examples: int

    @classmethod
    def from_counts(
        cls, changed: Mapping[str, np.ndarray], num_examples: int, settings: Mapping[str, Any]
    ) -> "SingleUnitEffects":
        """The effects with their table: units, blocked ones, mean and largest share of changed predictions."""

        def row(counts: np.ndarray) -> dict[str, Any]:
            shares = counts / num_examples
            return {
                "units": len(counts),
                "blocked": int((counts == 0).sum()),
                "mean_change": float(shares.mean()),
                "largest_change": float(shares.max()),
            }

        rows = {name: row(counts) for name, counts in changed.items()}
        network = row(np.concatenate(list(changed.values())))
        return cls(rows=rows, network=network, settings=settings, changed=changed, num_examples=num_examples)
