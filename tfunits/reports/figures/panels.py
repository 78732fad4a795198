"""Kinds of panels."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import matplotlib.axes
import matplotlib.ticker
import numpy as np
import pandas as pd

from tfunits.configs import NETWORK
from tfunits.reports.figures.figure import ChangeMeasuring, Curve
from tfunits.reports.figures.runs import Runs
from tfunits.reports.plots import MARKERS, colors_for, size_label, tidy
from tfunits.statistics import gain

# Measure -> label of its axis.
LABELS = {
    "accuracy": "test accuracy",
    "area": "area under ablation curve",
    "compressibility": "compressibility (%)",
    "non_prunability": "non-prunable units / units at size 4",
    "non_redundancy": "non-redundant units / units at size 4",
    "prunability": "prunable units / units at size 4",
    "redundancy": "redundant units / units at size 4",
    "similarity": "similar units per unit",
}
# Measures drawn on a logarithmic axis, with their gains written in.
GROWING = ("prunability", "redundancy", "non_prunability", "non_redundancy")
# Measures of ablations, of which there is one a kind of ablated unit.
OF_ABLATIONS = ("prunability", "non_prunability", "mean_prunability", "area")
_SPLIT_NAMES = {"test": "test", "train": "training", "validation": "validation"}
CAP_SIZE = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class WidthPanel:
    """A measure against the width multiplier: a line a curve, error bars over seeds, log2 axes for what grows.

    Attributes:
      measure: as `reports.load` names it.
      curves: the lines.
      title: above the panel.
      tap: of which the measure is read, for curves that name none.
      x: the setting on the abscissa, for curves that name none.
      split: where the measure is read; None for the first measured split (accuracy: test).
      choose: which of the figure's runs are drawn, as `Figure.choose`; None for all.
      measured: fields of `MeasureConfig` in which these runs are read otherwise than as the figure's command says.
      listed: settings whose values stand in the table, such as what `choose` has chosen.
    """

    measure: str
    curves: Sequence[Curve]
    title: str = ""
    tap: str = NETWORK
    x: str = "size"
    split: str | None = None
    choose: Callable[[Runs], Runs] | None = None
    measured: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    listed: Sequence[str] = ()

    def measured_as(self, change: ChangeMeasuring) -> Self:
        """The panel of runs measured as changed, which its title says; itself where it is of no further way."""
        if not self.measured:
            return self
        measured, title = change(self.measured), self.title
        if "measured_examples" in self.measured:
            title = title.replace(describe_inputs(self.measured), describe_inputs(measured))
        return dataclasses.replace(self, measured=measured, title=title)

    def tabulate(self, runs: Runs) -> pd.DataFrame:
        """The numbers of every curve.

        Returns: columns curve, measure, tap, unit (what an ablation masks; the first kind is drawn), the setting on the
          abscissa, mean, std (n - 1; missing for one seed), seeds (how many), untrained (mean), and those listed.
        """
        runs = self.choose(runs) if self.choose else runs
        runs = runs.measured(**self.measured) if self.measured else runs
        units = runs.measure.ablation_unit if self.measure in OF_ABLATIONS else ("",)
        parts = [self._tabulate(runs, curve, unit) for curve in self.curves for unit in units]
        columns = ["curve", "measure", "tap", "unit", "x", "mean", "std", "seeds", "untrained", *self.listed]
        return pd.concat(parts, ignore_index=True)[columns].rename(columns={"x": self.x})

    def _tabulate(self, runs: Runs, curve: Curve, unit: str) -> pd.DataFrame:
        chosen, tap = curve.choose(runs).trained, curve.tap or self.tap
        options = {"tap": tap, "split": self.split, "unit": unit or None, "x": curve.x or self.x}
        values = chosen.values(self.measure, **options)
        table = _summarize(values)
        untrained = _summarize(runs.baseline(chosen).values(self.measure, **options))["mean"].rename("untrained")
        table = table.join(untrained)
        for name in self.listed:
            table[name] = values["run"].map(chosen.settings[name]).groupby(values["x"]).agg(_join_values)
        return table.reset_index().assign(curve=curve.label, measure=self.measure, tap=tap, unit=unit)

    def plot(self, axes: matplotlib.axes.Axes, table: pd.DataFrame) -> None:
        """A line a curve; the gains of all curves as g_max and g_min."""
        labels = [curve.label for curve in self.curves]
        gains = []
        for number, (label, color) in enumerate(zip(labels, colors_for(len(labels)), strict=True)):
            part = table[(table["curve"] == label) & (table["unit"] == table["unit"].iloc[0])].set_index(self.x)
            if part.empty:
                continue
            bars = None if part["std"].isna().all() else part["std"]
            axes.errorbar(
                part.index.astype(float), part["mean"], yerr=bars, color=color, marker=MARKERS[number % len(MARKERS)],
                ms=4, capsize=CAP_SIZE, label=label,
            )  # fmt: skip
            gains.append(gain(part["mean"].to_dict()).value)
        draw_widths(axes, sorted(table[self.x].unique()))
        label = LABELS.get(self.measure, self.measure)
        axes.set(ylabel=label.replace("test", _SPLIT_NAMES[self.split or "test"]), title=self.title)
        if self.measure in GROWING:
            draw_gains(axes, gains)
            scale_growing(axes, table["mean"])
        tidy(axes)


def describe_inputs(measured: Mapping[str, Any]) -> str:
    """On how many inputs runs are measured, from fields of `MeasureConfig`."""
    return f"{measured['measured_examples']:,} inputs"


def _summarize(values: pd.DataFrame) -> pd.DataFrame:
    """Mean, standard deviation and number of the seeds at every x."""
    grouped = values.groupby("x")["value"]
    return pd.DataFrame({"mean": grouped.mean(), "std": grouped.std(ddof=1), "seeds": grouped.count()})


def _join_values(values: pd.Series) -> str:
    """The different values of runs that one point averages, of which there should be one."""
    return "+".join(f"{value:g}" if isinstance(value, float) else str(value) for value in dict.fromkeys(values))


def scale_growing(axes: matplotlib.axes.Axes, values: pd.Series) -> None:
    """A log2 ordinate for values that double somewhere; it would hold no tick between closer ones."""
    if len(values) and values.min() > 0 and values.max() >= 2 * values.min():
        axes.set_yscale("log", base=2)
        axes.yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:.3g}"))


def draw_widths(axes: matplotlib.axes.Axes, sizes: Sequence[float]) -> None:
    """A log2 abscissa with a tick a size."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [size_label(size) for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel("width (size)")


def draw_gains(axes: matplotlib.axes.Axes, gains: Sequence[float]) -> None:
    """Largest and smallest gain per doubling, written into a panel."""
    known = [value for value in gains if not np.isnan(value)]
    if known:
        text = f"$g_{{max}}$ = {max(known):.2f}\n$g_{{min}}$ = {min(known):.2f}"
        axes.text(0.03, 0.97, text if len(known) > 1 else f"$g$ = {known[0]:.2f}", transform=axes.transAxes,
                  va="top", fontsize=8)  # fmt: skip
