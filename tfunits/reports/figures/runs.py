"""The runs behind a figure, and the numbers that its panels and claims ask of them."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from tfunits.configs import NETWORK, DataConfig, MeasureConfig, ModelConfig, TrainingConfig
from tfunits.reports.records import RunRecord, first_unit, flat_settings, tabulate

# Every field of model, data and training.
SETTINGS = tuple(field.name for part in (ModelConfig, DataConfig, TrainingConfig) for field in dataclasses.fields(part))
# Measures that are no ablation of the first measured split: on which split they are read if none is named.
_OWN_SPLITS = {"accuracy": "test", "loss": "test"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Runs:
    """Measured runs, chosen by their settings.

    Attributes:
      records: one a run.
      measure: with which options they were measured.
    """

    records: Sequence[RunRecord]
    measure: MeasureConfig = dataclasses.field(default_factory=MeasureConfig)

    def __len__(self) -> int:
        return len(self.records)

    @functools.cached_property
    def settings(self) -> pd.DataFrame:
        """One row a run, its name the index: every field of model, data and training; lists joined by "+"."""
        rows = [flat_settings(record.config) for record in self.records]
        names = pd.Index([record.run_dir.name for record in self.records], dtype=object)
        return pd.DataFrame(rows, index=names, columns=None if rows else SETTINGS, dtype=object)

    @functools.cached_property
    def frame(self) -> pd.DataFrame:
        """Every number of every run, as `reports.tabulate` has it."""
        return tabulate(self.records, self.measure)

    def where(self, **settings: Any) -> "Runs":
        """The runs with these settings.

        Args:
          **settings: field -> its value, a collection of values, or a function of the value that says whether.

        Example: `runs.where(model="alexnet", size=(0.25, 4), epochs=lambda epochs: epochs > 0)`
        """

        def has(own: Mapping[str, Any]) -> bool:
            return all(_matches(own[name], wanted) for name, wanted in settings.items())

        kept = [r for r, own in zip(self.records, self.settings.to_dict("records"), strict=True) if has(own)]
        return dataclasses.replace(self, records=kept)

    @property
    def trained(self) -> "Runs":
        """Those that were trained."""
        return self.where(epochs=lambda epochs: epochs > 0)

    @property
    def untrained(self) -> "Runs":
        """Those with `--epochs=0`: the baseline of gains."""
        return self.where(epochs=0)

    def baseline(self) -> "Runs":
        """Untrained networks of the same widths, data and seeds as the trained ones among these runs."""
        keys = {_network_key(record) for record in self.trained.records}
        return dataclasses.replace(self, records=[r for r in self.untrained.records if _network_key(r) in keys])

    def values(
        self, measure: str, *, tap: str = NETWORK, split: str | None = None, unit: str | None = None, x: str = "size"
    ) -> pd.DataFrame:
        """One number a run.

        Args:
          measure: as `reports.load` names it.
          tap: of the network; the whole network if not given.
          split: the first measured one if None; test for accuracy and loss.
          unit: kind of ablated unit, for measures of ablations; the first if None.
          x: the setting that stands in the column "x".

        Returns: columns run, x, seed, value; rows rise in x, then seed; runs without the number have no row.
        """
        split = split or _OWN_SPLITS.get(measure, self.measure.measured_splits[0])
        frame = self.frame
        chosen = frame[(frame["measure"] == measure) & (frame["tap"] == tap) & (frame["split"] == split)]
        chosen = chosen[chosen["unit"].isin(["", unit or first_unit(self.measure)])].dropna(subset="value")
        found = pd.DataFrame(
            {
                "run": chosen["run"].to_numpy(),
                "x": self.settings[x].reindex(chosen["run"]).to_numpy(),
                "seed": chosen["seed"].to_numpy(),
                "value": chosen["value"].to_numpy(float),
            }
        )
        return found.sort_values(["x", "seed", "run"], ignore_index=True)


def _matches(value: Any, wanted: Any) -> bool:
    if callable(wanted):
        return bool(wanted(value))
    if isinstance(wanted, Iterable) and not isinstance(wanted, str):
        return value in wanted
    return value == wanted


def _network_key(record: RunRecord) -> tuple:
    return record.config.model, record.config.data, record.config.training.seed
