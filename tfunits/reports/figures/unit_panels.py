"""Panels of what stands behind the measures: ablation curves, correlations between units, last epochs."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import matplotlib.axes
import numpy as np
import pandas as pd

from tfunits.configs import NETWORK
from tfunits.reports.figures.figure import Curve
from tfunits.reports.figures.panels import CAP_SIZE, GROWING, LABELS, OF_ABLATIONS, draw_widths, scale_growing
from tfunits.reports.figures.runs import Runs
from tfunits.reports.plots import MARKERS, colors_for, size_label, tidy
from tfunits.reports.records import RunRecord, first_unit
from tfunits.statistics import AblationCurve

# In place of a tap: each layer alone is ablated, and the curves are averaged.
MEAN_OF_TAPS = "mean of taps"
# Casper et al. 2021, figure 2: three widths stand for five in panels of distributions.
_VIOLIN_SIZES = (0.25, 1.0, 4.0)
_VIOLIN_WIDTH = 0.42
_UPPER_TAIL = 0.95


@dataclasses.dataclass(frozen=True, kw_only=True)
class AblationPanel:
    """Unchanged predictions against the share of masked units: a line a width, error bars over seeds.

    Attributes:
      title: above the panel.
      settings: which runs, as `Runs.where` takes them.
      tap: whose units are masked: the network's, all layers at once; `MEAN_OF_TAPS`; or a tap's.
    """

    title: str
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    tap: str = NETWORK

    def tabulate(self, runs: Runs) -> pd.DataFrame:
        """Columns size, tap, fraction (masked), agreement (mean over draws and seeds), std (over seeds), seeds."""
        split, unit = runs.measure.measured_splits[0], first_unit(runs.measure)
        rows = []
        for record in runs.where(**self.settings).trained.records:
            curves = _pick(record.curves.get((split, unit), {}), self.tap)
            if curves:
                fractions = np.mean([curve.fractions for curve in curves], axis=0)
                agreement = np.mean([curve.agreement.mean(axis=0) for curve in curves], axis=0)
                rows += [
                    (record.config.model.size, level, *values)
                    for level, values in enumerate(zip(fractions, agreement, strict=True))
                ]
        found = pd.DataFrame(rows, columns=["size", "level", "fraction", "agreement"])
        grouped = found.groupby(["size", "level"])
        table = grouped["fraction"].mean().to_frame().assign(
            tap=self.tap, agreement=grouped["agreement"].mean(), std=grouped["agreement"].std(ddof=1),
            seeds=grouped["agreement"].count(),
        )  # fmt: skip
        return table.reset_index()[["size", "tap", "fraction", "agreement", "std", "seeds"]]

    def plot(self, axes: matplotlib.axes.Axes, table: pd.DataFrame) -> None:
        """A line a width, from light to dark."""
        groups = list(table.groupby("size"))
        for number, ((size, part), color) in enumerate(zip(groups, colors_for(len(groups)), strict=True)):
            axes.errorbar(
                part["fraction"], part["agreement"], yerr=None if part["std"].isna().all() else part["std"],
                color=color, marker=MARKERS[number % len(MARKERS)], ms=4, capsize=CAP_SIZE,
                label=f"size {size_label(size)}",
            )  # fmt: skip
        axes.set(
            xlabel="masked share of units", ylabel="unchanged predictions", ylim=(0, 1.03), xlim=(-0.02, 1.02),
            title=self.title,
        )  # fmt: skip
        tidy(axes)


def _pick(curves: Mapping[str, AblationCurve], tap: str) -> list[AblationCurve]:
    if tap == MEAN_OF_TAPS:
        return [curve for name, curve in curves.items() if name != NETWORK]
    return [curves[tap]] if tap in curves else []


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorrelationPanel:
    """Distribution of |r| between the units of a layer: a violin a width, its mean as a bar.

    Attributes:
      title: above the panel.
      tap: whose units.
      settings: which runs, as `Runs.where` takes them.
      color: number of the palette's.
    """

    title: str
    tap: str
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    color: int = 0

    def tabulate(self, runs: Runs) -> pd.DataFrame:
        """Pairs of units by |r|, those of all seeds and samplings together.

        Returns: columns size, tap, low, high (ends of a bin of |r|), share (of the pairs), and of the whole
          distribution mean, above_threshold (share with |r| at or above that of similarity) and upper_tail (the |r|
          below which 95 % of the pairs lie, to the end of its bin).
        """
        split = runs.measure.measured_splits[0]
        chosen = runs.where(**self.settings).trained
        parts = []
        for size in _pick_sizes({record.config.model.size for record in chosen.records}):
            records = chosen.where(size=size).records
            found = [r.statistics[split][self.tap] for r in records if self.tap in r.statistics.get(split, {})]
            pairs = sum(units.correlation_histogram.sum(axis=0) for units in found)
            if not np.sum(pairs):
                continue
            share = pairs / pairs.sum()
            edges = np.linspace(0, 1, len(share) + 1)
            threshold = found[0].similarity_threshold
            parts.append(pd.DataFrame({
                "size": size, "tap": self.tap, "low": edges[:-1], "high": edges[1:], "share": share,
                "mean": share @ (edges[:-1] + edges[1:]) / 2,
                "above_threshold": share[edges[:-1] >= threshold - 1e-9].sum(),
                "upper_tail": edges[1 + np.searchsorted(share.cumsum(), _UPPER_TAIL - 1e-12)],
            }))  # fmt: skip
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

    def plot(self, axes: matplotlib.axes.Axes, table: pd.DataFrame) -> None:
        """A violin a width."""
        groups = list(table.groupby("size"))
        color = colors_for(self.color + 1)[self.color]
        for position, (_, part) in enumerate(groups):
            middle = (part["low"] + part["high"]) / 2
            half = _VIOLIN_WIDTH * part["share"] / part["share"].max()
            axes.fill_betweenx(middle, position - half, position + half, color=color, alpha=0.55, lw=0)
            axes.hlines(part["mean"].iloc[0], position - 0.2, position + 0.2, color="black", lw=1.2)
        axes.set_xticks(range(len(groups)), [size_label(size) for size, _ in groups])
        axes.set(
            xlabel="width (size)", ylabel="|r| between units", ylim=(0, 1), xlim=(-0.6, len(groups) - 0.4),
            title=self.title,
        )  # fmt: skip
        tidy(axes)


def _pick_sizes(present: Collection[float]) -> list[float]:
    """The paper's three widths, as far as there are such runs; every width where fewer than two of them are there."""
    found = [size for size in _VIOLIN_SIZES if size in present]
    return found if len(found) > 1 else sorted(present)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LastEpochsPanel:
    """A measure of the network in its last epochs: a line a width, error bars over seeds.

    Attributes:
      measure: as `reports.tabulate_dynamics` names it.
      title: above the panel.
      tap: of which it is read.
    """

    measure: str
    title: str = ""
    tap: str = NETWORK

    def tabulate(self, runs: Runs) -> pd.DataFrame:
        """Columns size, measure, tap, epochs_before_end, mean, std (n - 1; missing for one seed), seeds."""
        found = runs.dynamics
        if found.empty:
            return found
        split = "test" if self.measure == "accuracy" else runs.measure.measured_splits[0]
        unit = first_unit(runs.measure) if self.measure in OF_ABLATIONS else ""
        is_wanted = {"measure": self.measure, "tap": self.tap, "split": split, "unit": unit}
        chosen = found[np.logical_and.reduce([found[name] == value for name, value in is_wanted.items()])]
        grouped = chosen.groupby(["size", "epochs_to_end"])["value"]
        table = pd.DataFrame({"mean": grouped.mean(), "std": grouped.std(ddof=1), "seeds": grouped.count()})
        table = table.reset_index().rename(columns={"epochs_to_end": "epochs_before_end"})
        return table.assign(measure=self.measure, tap=self.tap)[
            ["size", "measure", "tap", "epochs_before_end", "mean", "std", "seeds"]
        ]

    def plot(self, axes: matplotlib.axes.Axes, table: pd.DataFrame) -> None:
        """A line a width; the end of training is at the right."""
        groups = list(table.groupby("size"))
        for number, ((size, part), color) in enumerate(zip(groups, colors_for(len(groups)), strict=True)):
            axes.errorbar(
                -part["epochs_before_end"], part["mean"], yerr=None if part["std"].isna().all() else part["std"],
                color=color, marker=MARKERS[number % len(MARKERS)], ms=4, capsize=CAP_SIZE,
                label=f"size {size_label(size)}",
            )  # fmt: skip
        axes.set(xlabel="epochs before the end", ylabel=LABELS.get(self.measure, self.measure), title=self.title)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if self.measure in GROWING:
            scale_growing(axes, table["mean"])
        tidy(axes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParameterPanel:
    """Trainable parameters against the width: a line a network, nothing trained.

    Attributes:
      title: above the panel.
      curves: the networks.
      first: number of the first one's colour and marker, so that panels of a figure have different ones.
    """

    title: str
    curves: Sequence[Curve]
    first: int = 0

    def tabulate(self, runs: Runs) -> pd.DataFrame:
        """Columns curve, size, parameters."""
        rows = []
        for curve in self.curves:
            counts = {}
            for record in curve.choose(runs).records:
                counts[_width(record, curve)] = runs.num_parameters[record.run_dir.name]
            rows += [(curve.label, size, counts[size]) for size in sorted(counts)]
        return pd.DataFrame(rows, columns=["curve", "size", "parameters"])

    def plot(self, axes: matplotlib.axes.Axes, table: pd.DataFrame) -> None:
        """A line a network, both axes logarithmic."""
        colors = colors_for(self.first + len(self.curves))
        for number, curve in enumerate(self.curves, start=self.first):
            part = table[table["curve"] == curve.label]
            axes.plot(
                part["size"], part["parameters"], color=colors[number], marker=MARKERS[number % len(MARKERS)], ms=4,
                label=curve.label,
            )  # fmt: skip
        axes.set_yscale("log")
        draw_widths(axes, sorted(table["size"].unique()))
        axes.set(ylabel="trainable parameters", title=self.title)
        tidy(axes)


def _width(record: RunRecord, curve: Curve) -> float:
    model = record.config.model
    return (model.layer_size or model.size) if curve.x == "layer_size" else model.size
