"""Kinds of panels about chunks of the last hidden layer, and about networks beside them."""

import dataclasses
from collections.abc import Sequence

import matplotlib.axes
import numpy as np
import pandas as pd

from tfunits.reports.chunks import LARGEST_SHARE
from tfunits.reports.figures.chunk_tables import (
    CHUNKS,
    NETWORKS,
    bias_variance_table,
    dynamics_table,
    ensemble_table,
    error_table,
    excess_table,
    first_fitted_epoch,
    reconstruction_table,
)
from tfunits.reports.figures.figure import Curve
from tfunits.reports.figures.runs import Runs
from tfunits.reports.plots import COLORS, colors_for, tidy
from tfunits.statistics import FITTED_ERROR, STEEPEST

# Whole networks of every width, one recipe: what most panels show.
ALL_RUNS = (Curve(label=""),)
# Doimo et al. 2022, figures 1b to 3: the guide of the eye.
_GUIDE_EXPONENT = -0.5
_GUIDE_LABEL = "$w^{-1/2}$"
_SHADE = {"color": "grey", "alpha": 0.13, "lw": 0}
_LEGEND_SIZE = 6
_CAP_SIZE = 2
_DRAWN = {NETWORKS: ("o-", "networks"), CHUNKS: ("s--", "chunks of the widest")}
_WIDTH_LABEL = "units of the last layer or chunk"


def _join(parts: Sequence[pd.DataFrame], curves: Sequence[Curve]) -> pd.DataFrame:
    """Tables of several curves, each named in a first column."""
    named = [part.assign(curve=curve.label) for part, curve in zip(parts, curves, strict=True)]
    # Empty tables have no dtypes to keep.
    joined = pd.concat([part for part in named if len(part)] or named[:1], ignore_index=True)
    return joined[["curve", *(name for name in joined.columns if name != "curve")]]


def _label(curve: str, kind: str) -> str:
    return f"{curve}, {kind}" if curve else kind


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExcessPanel:
    """Error minus error_inf of networks against their width, and of chunks against their size, both axes logarithmic.

    A dashed guide falls as w^-1/2, and the sizes w* <= w <= W/4 are shaded. An excess of nought or less has no place on
    such an axis; it stays in the table and in the fitted exponents.

    Attributes:
      title: above the panel.
      curves: recipes, each with a limit of its own networks.
      kinds: which of networks and chunks are drawn.
      split: on which they err.
    """

    title: str = ""
    curves: Sequence[Curve] = ALL_RUNS
    kinds: Sequence[str] = (NETWORKS, CHUNKS)
    split: str = "test"

    def tabulate(self, runs: Runs) -> pd.DataFrame:
        """`excess_table` of every curve, kinds that are drawn only."""
        return _join([excess_table(curve.choose(runs), self.split, self.kinds) for curve in self.curves], self.curves)

    def plot(self, axes: matplotlib.axes.Axes, table: pd.DataFrame) -> None:
        """A line a curve and kind, its exponent in the legend."""
        lines = [(curve.label, kind) for curve in self.curves for kind in self.kinds]
        for (curve, kind), color in zip(lines, colors_for(len(lines)), strict=True):
            part = table[(table["curve"] == curve) & (table["kind"] == kind)]
            shown = part[part["excess"] > 0]
            if shown.empty:
                continue
            style, name = _DRAWN[kind]
            bars = None if shown["error_std"].isna().all() else shown["error_std"]
            axes.errorbar(
                shown["width"], shown["excess"], yerr=bars, fmt=style, ms=3.5, lw=1.2, capsize=_CAP_SIZE, color=color,
                elinewidth=0.8, label=_label(curve, name) + _describe_exponent(part.iloc[0]),
            )  # fmt: skip
        _draw_guide(axes, table)
        if len(self.curves) == 1:
            _shade_clones(axes, table.iloc[0])
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        positive = table.loc[table["excess"] > 0, "excess"]
        if len(positive):
            # Room for the legend below the left end of the lines.
            axes.set_ylim(positive.min() / 6, positive.max() * 3)
        axes.set(xlabel=_WIDTH_LABEL, ylabel=rf"{self.split} error $-$ error$_\infty$", title=self.title)
        if hidden := len(table) - len(positive):
            text = f"{hidden} not above error$_\\infty$"
            axes.text(0.99, 0.01, text, transform=axes.transAxes, ha="right", fontsize=_LEGEND_SIZE, color="grey")
        _draw_sizes(axes, table["width"])
        axes.legend(fontsize=_LEGEND_SIZE, framealpha=0.6)
        tidy(axes)


def _describe_exponent(row: pd.Series) -> str:
    if np.isnan(row["exponent"]):
        return ""
    if max(abs(row["exponent_low"]), abs(row["exponent_high"])) >= STEEPEST:
        return "\n  exponent not resolved"
    return f"\n  exponent {row['exponent']:.2f} [{row['exponent_low']:.2f}, {row['exponent_high']:.2f}]"


def _draw_guide(axes: matplotlib.axes.Axes, table: pd.DataFrame) -> None:
    """w^-1/2 through the excess where the clones begin: w*, or the middle of the sizes where there is none."""
    positive = table[table["excess"] > 0].sort_values("width")
    if positive.empty:
        return
    start = table["clone_size"].iloc[0]
    reference = positive[positive["width"] >= start].head(1) if not np.isnan(start) else positive.head(0)
    reference = positive.iloc[[len(positive) // 2]] if reference.empty else reference
    width, excess = reference["width"].iloc[0], reference["excess"].iloc[0]
    ends = np.array([width / 2, table["width"].max()])
    axes.plot(ends, excess * (ends / width) ** _GUIDE_EXPONENT, ":", color="black", lw=1.2, label=_GUIDE_LABEL)


def _shade_clones(axes: matplotlib.axes.Axes, row: pd.Series) -> None:
    """Shade w* <= w <= W/4 and name w*, where there is one."""
    if np.isnan(row["clone_size"]):
        return
    start, end = row["clone_size"], row["layer_width"] / LARGEST_SHARE
    if end > start:
        axes.axvspan(start, end, **_SHADE)
    _mark(axes, start, "$w^*$")


def _mark(axes: matplotlib.axes.Axes, position: float, name: str, height: float = 0.99) -> None:
    """A thin upright line with its name at the top."""
    if np.isnan(position):
        return
    axes.axvline(position, color="grey", lw=0.8, ls=":")
    axes.text(position, height, f" {name} = {position:g}", transform=axes.get_xaxis_transform(), va="top", fontsize=7)


def _draw_sizes(axes: matplotlib.axes.Axes, sizes: pd.Series) -> None:
    """Ticks at powers of 2 among the sizes, at all sizes if none is one; at most eight."""
    every = sorted(set(sizes))
    powers = [size for size in every if np.log2(size) % 1 == 0] or every
    shown = powers[:: -(-len(powers) // 8)]
    axes.set_xticks(shown, [f"{size:g}" for size in shown])
    axes.minorticks_off()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ErrorPanel:
    """Errors of networks against their width, and of chunks against their size; errors of nought have a place.

    Attributes:
      title: above the panel.
      curves: recipes.
      kinds: which of networks and chunks are drawn.
      split: on which they err.
      x: width (units of the last hidden layer), or size where that is the same at all sizes.
    """

    title: str = ""
    curves: Sequence[Curve] = ALL_RUNS
    kinds: Sequence[str] = (NETWORKS, CHUNKS)
    split: str = "train"
    x: str = "width"

    def tabulate(self, runs: Runs) -> pd.DataFrame:
        """`error_table` of every curve, kinds that are drawn only."""
        table = _join([error_table(curve.choose(runs), self.split) for curve in self.curves], self.curves)
        return table[table["kind"].isin(self.kinds)].reset_index(drop=True)

    def plot(self, axes: matplotlib.axes.Axes, table: pd.DataFrame) -> None:
        """A line a curve and kind; of training errors w*, W* and the limit of a fit."""
        lines = [(curve.label, kind) for curve in self.curves for kind in self.kinds]
        for (curve, kind), color in zip(lines, colors_for(len(lines)), strict=True):
            part = table[(table["curve"] == curve) & (table["kind"] == kind)].sort_values(self.x)
            if part.empty:
                continue
            style, name = _DRAWN[kind]
            bars = None if part["error_std"].isna().all() else part["error_std"]
            axes.errorbar(
                part[self.x], part["error"], yerr=bars, fmt=style, ms=3.5, lw=1.2, capsize=_CAP_SIZE, color=color,
                elinewidth=0.8, label=_label(curve, name),
            )  # fmt: skip
        axes.set_xscale("log", base=2)
        axes.set(xlabel=_WIDTH_LABEL if self.x == "width" else "width (size)", ylabel=f"{self.split} error")
        axes.set(title=self.title)
        if self.split == "train":
            row = table.iloc[0]
            axes.axhline(FITTED_ERROR, color="grey", lw=0.8, ls=":")
            if self.x == "width" and len(self.curves) == 1:
                _mark(axes, row["clone_size"], "$w^*$")
                _mark(axes, row["fitting_width"], "$W^*$", 0.93)
            _draw_errors(axes, table["error"])
        _draw_sizes(axes, table[self.x])
        axes.legend(fontsize=_LEGEND_SIZE)
        tidy(axes)


def _draw_errors(axes: matplotlib.axes.Axes, errors: pd.Series, room: float = 2) -> None:
    """An axis on which errors of nought have a place, and small ones are told apart; up to `room` times the largest."""
    axes.set_yscale("symlog", linthresh=FITTED_ERROR)
    ticks = [0, 0.01, 0.1, *([0.5] if errors.max() < 0.6 else [1])]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(-FITTED_ERROR / 8, max(0.1, room * errors.max()))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReconstructionPanel:
    """R2 of the layer rebuilt from chunks, and the mean correlation of residuals, against the chunk's size.

    Held out over pairs outside the chunk, and in-sample over all pairs as the paper has it, with the noise floor.

    Attributes:
      title: above the panel.
      curves: one recipe, whose runs it chooses.
      split: on which activations were read.
    """

    title: str = ""
    curves: Sequence[Curve] = ALL_RUNS
    split: str = "test"

    def tabulate(self, runs: Runs) -> pd.DataFrame:
        """`reconstruction_table` of every curve."""
        return _join([reconstruction_table(curve.choose(runs), self.split) for curve in self.curves], self.curves)

    def plot(self, axes: matplotlib.axes.Axes, table: pd.DataFrame) -> None:
        """R2 and both correlations; of a second curve thinner."""
        for number, curve in enumerate(self.curves):
            part = table[table["curve"] == curve.label]
            for name, style, color, label in (
                ("held_out_r2", "o-", COLORS[0], "$R^2$, held out"),
                ("r2", "o:", COLORS[5], "$R^2$, in-sample"),
                ("held_out_correlation", "s-", COLORS[2], "mean |corr.| of residuals, held out"),
                ("correlation", "s:", COLORS[4], "the same, in-sample, all pairs"),
                ("noise_floor", "--", "grey", "noise floor, held out"),
            ):
                axes.plot(
                    part["chunk"], part[name], style, ms=3.5, lw=1.4 if number == 0 else 0.7, color=color,
                    label=label if number == 0 else None,
                )  # fmt: skip
        row = table.iloc[0]
        _mark(axes, row["clone_size"], "$w^*$", 0.5)
        axes.set_xscale("log", base=2)
        # Room for the legend above R2 of nearly 1.
        axes.set(xlabel="units of the chunk", ylim=(-0.03, 1.45), yticks=np.linspace(0, 1, 6))
        dimension = row["intrinsic_dimension"]
        known = "" if np.isnan(dimension) else f"intrinsic dimension {dimension:.1f}"
        axes.set_title("\n".join(filter(None, (self.title, known))), fontsize=9)
        _draw_sizes(axes, table["chunk"])
        axes.legend(
            fontsize=_LEGEND_SIZE, loc="upper left", ncols=2, framealpha=0.6, columnspacing=0.6, handlelength=1.6,
            borderaxespad=0,
        )  # fmt: skip
        tidy(axes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DynamicsPanel:
    """A number of chunks of several sizes against the epoch, a line a size.

    Attributes:
      measure: chunk_error, r2, correlation, held_out_r2 or held_out_correlation.
      title: above the panel.
      curves: recipes; the first is drawn with thick lines.
      split: train for chunk_error, test for the rest, if not given.
      sizes: fewest and most units of chunks that are drawn.
    """

    measure: str
    title: str = ""
    curves: Sequence[Curve] = ALL_RUNS
    split: str | None = None
    sizes: tuple[int, int] = (4, 4096)

    def tabulate(self, runs: Runs) -> pd.DataFrame:
        """The rows of `dynamics_table` that are drawn, of every curve; with chunk_error those of whole networks."""
        split = self.split or ("train" if self.measure == "chunk_error" else "test")
        measures = ("chunk_error", "error") if self.measure == "chunk_error" else (self.measure,)
        table = _join([dynamics_table(curve.choose(runs)) for curve in self.curves], self.curves)
        drawn = table["measure"].isin(measures) & (table["split"] == split)
        if self.measure == "chunk_error":
            # Beside errors of chunks the paper draws where those of the network on test data lie.
            drawn |= (table["measure"] == "error") & (table["split"] == "test")
        # The whole layer leaves no residual, and errs as the network.
        inner = table["chunk"].between(*self.sizes) & (table["chunk"] < table["chunk"].max())
        return table[drawn & (inner | (table["chunk"] == 0))].dropna(subset="value").reset_index(drop=True)

    def plot(self, axes: matplotlib.axes.Axes, table: pd.DataFrame) -> None:
        """Lines by size; the whole network in black, its test error dashed."""
        sizes = sorted(set(table["chunk"]) - {0})
        for number, curve in enumerate(self.curves):
            part = table[table["curve"] == curve.label]
            thick = number == 0
            for size, color in zip(sizes, _colors_of_sizes(len(sizes)), strict=False):
                line = part[part["chunk"] == size]
                axes.plot(
                    line["epoch"], line["value"], color=color, lw=1.8 if thick else 0.7, marker="." if thick else None,
                    ms=5, label=f"chunk of {size:g}" if thick else None,
                )  # fmt: skip
            for split, style in (("train", "-"), ("test", "--")):
                line = part[(part["chunk"] == 0) & (part["split"] == split)]
                if len(line):
                    label = f"network, {split}" if thick else None
                    axes.plot(line["epoch"], line["value"], style, color="black", lw=1.4, label=label)
        names = {
            "chunk_error": "training error",
            "correlation": "mean |correlation| of residuals",
            "held_out_correlation": "mean |correlation| of residuals",
        }
        title = self.title
        if len(self.curves) > 1:
            title += f"\nthick: {self.curves[0].label}; thin: {self.curves[1].label}"
        axes.set(xlabel="epoch", ylabel=names.get(self.measure, self.measure))
        axes.set_title(title, fontsize=9)
        # Room for the legend above the lines.
        if self.measure == "chunk_error":
            _draw_errors(axes, table["value"], room=12)
        else:
            axes.set_ylim(0, 1.4 * max(table["value"].max(), 1e-3))
        axes.legend(fontsize=_LEGEND_SIZE, ncols=3, framealpha=0.6, loc="upper right")
        tidy(axes)


def _colors_of_sizes(count: int) -> list:
    """Colours of chunks; black is the whole network's."""
    colors = [color for color in COLORS if color != "#000000"]
    return colors if count <= len(colors) else colors_for(count)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkDynamicsPanel:
    """Training and test error of whole networks against the epoch, and where the training error first is 0.

    Attributes:
      title: above the panel.
      curves: one recipe, whose runs it chooses.
    """

    title: str = ""
    curves: Sequence[Curve] = ALL_RUNS

    def tabulate(self, runs: Runs) -> pd.DataFrame:
        """The rows of `dynamics_table` of whole networks, of every curve."""
        table = _join([dynamics_table(curve.choose(runs)) for curve in self.curves], self.curves)
        splits = table["split"].isin(["train", "test"])
        return table[(table["measure"] == "error") & splits].reset_index(drop=True)

    def plot(self, axes: matplotlib.axes.Axes, table: pd.DataFrame) -> None:
        """A line a split, the epoch of the first fit marked."""
        for number, curve in enumerate(self.curves):
            part = table[table["curve"] == curve.label]
            for split, color in (("train", COLORS[0]), ("test", COLORS[1])):
                line = part[part["split"] == split]
                bars = None if line["std"].isna().all() else line["std"]
                axes.errorbar(
                    line["epoch"], line["value"], yerr=bars, marker=".", color=color, capsize=_CAP_SIZE, elinewidth=0.8,
                    ls="-" if number == 0 else ":", label=_label(curve.label, split),
                )  # fmt: skip
        first = first_fitted_epoch(table[table["curve"] == self.curves[0].label])
        if first is not None:
            axes.axvline(first, color="grey", lw=0.8, ls=":")
            axes.text(
                first, 0.99, f" first without training \n error: epoch {first} ", transform=axes.get_xaxis_transform(),
                fontsize=7, va="top", ha="left" if first < 0.6 * table["epoch"].max() else "right",
            )  # fmt: skip
        axes.set(xlabel="epoch", ylabel="error", title=self.title)
        _draw_errors(axes, table["value"])
        axes.legend(fontsize=_LEGEND_SIZE, loc="lower left", framealpha=0.6)
        tidy(axes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BiasVariancePanel:
    """Bias, variance and their sum over seeds against the width, with w* and W*.

    Attributes:
      title: above the panel.
      curves: one recipe, whose runs it chooses.
      loss: squared or cross_entropy.
      split: on which they are taken.
    """

    title: str = ""
    curves: Sequence[Curve] = ALL_RUNS
    loss: str = "squared"
    split: str = "test"

    def tabulate(self, runs: Runs) -> pd.DataFrame:
        """`bias_variance_table` of every curve."""
        tables = [bias_variance_table(curve.choose(runs), self.loss, self.split) for curve in self.curves]
        return _join(tables, self.curves)

    def plot(self, axes: matplotlib.axes.Axes, table: pd.DataFrame) -> None:
        """A line a part."""
        for number, curve in enumerate(self.curves):
            for part, style, color in (
                ("loss", "^-", "black"), ("bias", "s-", COLORS[0]), ("variance", "o-", COLORS[1]),
            ):  # fmt: skip
                line = table[(table["curve"] == curve.label) & (table["part"] == part)]
                axes.plot(
                    line["width"], line["value"], style, ms=3.5, color=color, lw=1.4 if number == 0 else 0.7,
                    label=_label(curve.label, part),
                )  # fmt: skip
        row = table.iloc[0]
        _mark(axes, row["clone_size"], "$w^*$")
        _mark(axes, row["fitting_width"], "$W^*$", 0.93)
        axes.set_xscale("log", base=2)
        axes.set(xlabel="units of the last hidden layer", ylabel=f"{self.loss.replace('_', '-')} loss, {self.split}")
        axes.set(title=self.title, ylim=(min(0, 1.1 * table["value"].min()), 1.3 * table["value"].max()))
        _draw_sizes(axes, table["width"])
        axes.legend(fontsize=_LEGEND_SIZE)
        tidy(axes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EnsemblePanel:
    """Error of ensembles of 1, 2, ... of the widest networks, which ends at error_inf.

    Attributes:
      title: above the panel.
      curves: recipes.
      split: on which they err.
    """

    title: str = ""
    curves: Sequence[Curve] = ALL_RUNS
    split: str = "test"

    def tabulate(self, runs: Runs) -> pd.DataFrame:
        """`ensemble_table` of every curve."""
        return _join([ensemble_table(curve.choose(runs), self.split) for curve in self.curves], self.curves)

    def plot(self, axes: matplotlib.axes.Axes, table: pd.DataFrame) -> None:
        """A line a curve, the error of all networks written in."""
        for curve, color in zip(self.curves, colors_for(len(self.curves)), strict=True):
            line = table[table["curve"] == curve.label]
            if len(line):
                limit = rf"error$_\infty$ = {line['error'].iloc[-1]:.4f}"
                label = f"{curve.label}, {limit}" if curve.label else limit
                axes.plot(line["networks"], line["error"], "o-", ms=3.5, color=color, label=label)
        axes.set(xlabel="networks in the ensemble", ylabel=f"{self.split} error", title=self.title)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(fontsize=_LEGEND_SIZE)
        tidy(axes)
