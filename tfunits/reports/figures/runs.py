"""The runs behind a figure, and the numbers that its panels and claims ask of them."""

import dataclasses
import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tfunits.configs import NETWORK, DataConfig, MeasureConfig, ModelConfig, TrainingConfig
from tfunits.reports.dynamics import tabulate_dynamics
from tfunits.reports.frames import tabulate
from tfunits.reports.records import RunRecord, first_unit, flat_settings, read_epochs, read_run
from tfunits.reports.width_test import DrawnRun

# Every field of model, data and training.
SETTINGS = tuple(field.name for part in (ModelConfig, DataConfig, TrainingConfig) for field in dataclasses.fields(part))
# Measures that are no ablation of the first measured split: on which split they are read if none is named.
OWN_SPLITS = {"accuracy": "test", "loss": "test"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Runs:
    """Measured runs, chosen by their settings.

    Attributes:
      records: one a run.
      measure: with which options they were measured.
      drawn: runs with images of their units, for figures that are drawn of these.
      beside: finished runs of other figures, for claims that compare this one with them (`Claim.beside`).
      num_parameters: name of a run -> trainable parameters, for figures that are drawn of settings alone.
    """

    records: Sequence[RunRecord]
    measure: MeasureConfig = dataclasses.field(default_factory=MeasureConfig)
    drawn: Sequence[DrawnRun] = ()
    beside: Sequence[RunRecord] = ()
    num_parameters: Mapping[str, int] = dataclasses.field(default_factory=dict)

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

    @functools.cached_property
    def dynamics(self) -> pd.DataFrame:
        """Every number at every kept epoch, as `reports.tabulate_dynamics` has it, with columns run, size and seed."""
        parts = [
            tabulate_dynamics(record.run_dir, self.measure).assign(
                run=record.run_dir.name, size=record.config.model.size, seed=record.config.training.seed
            )
            for record in self.trained.records
            if read_epochs(record.run_dir)
        ]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

    @functools.cached_property
    def rows(self) -> Sequence[tuple[RunRecord, Mapping[str, Any]]]:
        """Every run with its `settings` as plain values."""
        return list(zip(self.records, self.settings.to_dict("records"), strict=True))

    @functools.cached_property
    def by_dataset(self) -> Mapping[str, "Runs"]:
        """Data set -> its runs, by name; what is worked out of them is kept."""
        names = sorted(set(self.settings["dataset"]))
        return {name: self if len(names) == 1 else self.where(dataset=name) for name in names}

    @functools.cached_property
    def numbers(self) -> Mapping[tuple[str, str, str, str], Mapping[str, float]]:
        """(measure, tap, split, unit) -> name of a run -> its number, without those that are missing."""
        known = self.frame.dropna(subset="value")
        groups = known.groupby(["measure", "tap", "split", "unit"], sort=False, observed=True)
        return {key: dict(zip(part["run"], part["value"].astype(float), strict=True)) for key, part in groups}

    def where(self, **settings: Any) -> "Runs":
        """The runs with these settings.

        Args:
          **settings: field -> its value, a collection of values, or a function of the value that says whether.

        Example: `runs.where(model="alexnet", size=(0.25, 4), epochs=lambda epochs: epochs > 0)`
        """

        kept = np.ones(len(self.records), bool)
        for name, wanted in settings.items():
            kept &= np.fromiter((_matches(own, wanted) for own in self.settings[name].tolist()), bool, len(kept))
        return self.named(set(self.settings.index[kept]))

    def any_of(self, alternatives: Sequence[Mapping[str, Any]]) -> "Runs":
        """The runs that have the settings of one of some alternatives, each as `where` takes them."""
        return self.named({name for settings in alternatives for name in self.where(**settings).settings.index})

    def named(self, names: Collection[str]) -> "Runs":
        """The runs with these names, in order."""
        chosen = dataclasses.replace(self, records=[r for r in self.records if r.run_dir.name in names])
        # Hundreds of runs are worked out once, however often some of them are chosen.
        vars(chosen)["settings"] = self.settings[self.settings.index.isin(names)]
        vars(chosen)["frame"] = self.frame[self.frame["run"].isin(names)]
        return chosen

    def with_beside(self, model: str) -> "Runs":
        """These runs and those beside them that have a network."""
        own = {record.run_dir.name for record in self.records}
        others = [r for r in self.beside if r.config.model.model == model and r.run_dir.name not in own]
        return dataclasses.replace(self, records=[*self.records, *others])

    @property
    def trained(self) -> "Runs":
        """Those that were trained."""
        return self.where(epochs=lambda epochs: epochs > 0)

    @property
    def untrained(self) -> "Runs":
        """Those with `--epochs=0`: the baseline of gains."""
        return self.where(epochs=0)

    def baseline(self, of: "Runs | None" = None) -> "Runs":
        """Untrained networks of the same widths, inputs and seeds as trained ones.

        Args:
          of: runs with the trained ones, which may be chosen by how they were trained; these runs themselves if None.
        """
        keys = {network_key(record) for record in (of or self).trained.records}
        return self.named({r.run_dir.name for r in self.untrained.records if network_key(r) in keys})

    def measured(self, **fields: Any) -> "Runs":
        """The same runs as measured in another way; those that were not are left out.

        Args:
          **fields: of `MeasureConfig`, on top of the way these runs are read in.

        Example: `runs.measured(measured_examples=50_000)`
        """
        measure = dataclasses.replace(self.measure, **fields)
        records = [read_run(record.run_dir, measure) for record in self.records]
        return dataclasses.replace(self, records=[r for r in records if r.accuracy], measure=measure)

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
        split = split or OWN_SPLITS.get(measure, self.measure.measured_splits[0])
        frame = self.frame
        chosen = frame[(frame["measure"] == measure) & (frame["tap"] == tap) & (frame["split"] == split)]
        chosen = chosen[chosen["unit"].isin(["", unit or first_unit(self.measure)])].dropna(subset="value")
        settings = self.settings
        # A varied block of the common width is the network of that size.
        abscissa = settings[x].where(settings[x].notna(), settings["size"]) if x == "layer_size" else settings[x]
        found = pd.DataFrame(
            {
                "run": chosen["run"].to_numpy(),
                "x": abscissa.reindex(chosen["run"]).to_numpy(),
                "seed": chosen["seed"].to_numpy(),
                "value": chosen["value"].to_numpy(float),
            }
        )
        return found.sort_values(["x", "seed", "run"], ignore_index=True)


def has_settings(own: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a run's settings are those wanted, as `Runs.where` takes them."""
    return all(_matches(own[name], value) for name, value in wanted.items())


def _matches(value: Any, wanted: Any) -> bool:
    if callable(wanted):
        return bool(wanted(value))
    if isinstance(wanted, Iterable) and not isinstance(wanted, str):
        return value in wanted
    return value == wanted


def network_key(record: RunRecord) -> tuple:
    """What a trained network has in common with the untrained one of the same width, inputs and seed."""
    # No label enters an untrained network, nor what is measured of its units.
    return (
        record.config.model,
        dataclasses.replace(record.config.data, random_labels=False),
        record.config.training.seed,
    )
