"""Figures of one run and of a grid."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import matplotlib.axes
import matplotlib.ticker
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tfunits.reports.records import NETWORK
from tfunits.reports.widths import WIDTHS
from tfunits.statistics import AblationCurve, UnitStatistics, gain

# Okabe and Ito's palette, which the colour-blind can tell apart.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
MARKERS = "osD^vP*X"
PANEL_INCHES = 3.4
_LEGEND_SIZE = 7
# Of a legend's font, on average and a little more; of a line with its mark and the space around it; of a row.
_LEGEND_CHARACTER_INCHES = 0.06
_HANDLE_INCHES = 0.45
_LEGEND_ROW_INCHES = 0.16
_MOST_LEGEND_COLUMNS = 6
# Characters of a curve's name whose legend covers no more than half of a panel.
_SHORT_NAME = 24
# Kind of unit, with its order where it is not random -> what an ablation does.
ABLATED = {
    "channel": "channels masked",
    "location": "locations masked",
    "noise": "noise on activations",
    "weights": "weights masked",
}
_LABELS = {
    "accuracy": "test accuracy",
    "prunability": "prunable units / units at size 4",
    "redundancy": "redundant units / units at size 4",
    "similarity": "similar units per unit",
}
_GROWING = ("prunability", "redundancy", "similarity")


def plot_ablation(
    curves: Mapping[str, AblationCurve], *, title: str, tolerance: float = 0.2, unit: str = "channel"
) -> Figure:
    """Agreement against the masked fraction: a line a tap (mean over draws, range shaded), the joint curve in black.

    Args:
      curves: tap -> curve; the joint one under "network".
      title: of the figure.
      tolerance: drawn as a dotted line at 1 - tolerance.
      unit: what is masked, or "noise", whose standard deviation the abscissa then is.
    """
    figure = Figure(figsize=(1.5 * PANEL_INCHES, 1.15 * PANEL_INCHES), layout="constrained")
    axes = figure.subplots()
    for (name, curve), color in zip(curves.items(), colors_for(len(curves)), strict=True):
        joint = name == NETWORK
        color = "black" if joint else color
        axes.plot(
            curve.fractions, curve.agreement.mean(axis=0), "--" if joint else "-",
            marker="o", markersize=3.5, color=color, label="all taps at once" if joint else name,
        )  # fmt: skip
        axes.fill_between(
            curve.fractions, curve.agreement.min(axis=0), curve.agreement.max(axis=0), color=color, alpha=0.12, lw=0
        )
    axes.axhline(1 - tolerance, color="grey", lw=0.8, ls=":")
    abscissa = {"noise": "noise / std of activations", "weights": "masked share of weights"}.get(
        unit, "masked share of units"
    )
    largest = max(curve.fractions[-1] for curve in curves.values())
    axes.set(xlabel=abscissa, ylabel="unchanged predictions", xlim=(0, largest), ylim=(0, 1.02), title=title)
    axes.legend(fontsize=7, ncols=1 if len(curves) <= 8 else 3)
    tidy(axes)
    return figure


def plot_correlations(statistics: Mapping[str, UnitStatistics], *, title: str) -> Figure:
    """Distribution of |r| over pairs of units: a panel a tap, with the share of pairs at or above the threshold."""
    count = len(statistics)
    columns = min(count, 4)
    rows = -(-count // columns)
    figure = Figure(figsize=(0.8 * PANEL_INCHES * columns, 0.7 * PANEL_INCHES * rows), layout="constrained")
    panels = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
    for axes, (name, units) in zip(panels, statistics.items(), strict=False):
        histogram = units.correlation_histogram.sum(axis=0)
        edges = np.linspace(0, 1, len(histogram) + 1)
        density = histogram / max(1, histogram.sum()) * len(histogram)
        axes.stairs(density, edges, fill=True, color=COLORS[0], alpha=0.8)
        axes.axvline(units.similarity_threshold, color="grey", lw=0.8, ls=":")
        similar = units.mean_similar()
        axes.set_title(f"{name}: {similar:.3g} of {units.num_units - 1} similar", fontsize=8)
        axes.set(xlabel="|r|", ylabel="density", xlim=(0, 1))
        tidy(axes)
    for axes in panels[count:]:
        axes.remove()
    figure.suptitle(title, fontsize=10)
    return figure


def plot_units(frame: pd.DataFrame, *, title: str) -> Figure:
    """What the units of a network do, a row a layer: shares that are prunable, redundant, dead, silent, constant; and
    how many others a unit is similar to.

    Args:
      frame: from `tfunits.measures.Report.to_frame`, or read back from the JSON that it writes.
      title: of the figure.
    """
    taps = frame.drop(index=NETWORK, errors="ignore")
    shares = {name: taps[name].astype(float) for name in ("prunable", "redundant") if name in taps}
    for name in ("dead", "silent", "constant"):
        if name in taps:
            shares[name] = taps[name].astype(float) / taps["units"].astype(float)
    positions = np.arange(len(taps))
    height = 0.8 / max(1, len(shares))
    figure = Figure(figsize=(2.6 * PANEL_INCHES, 1.0 + 0.3 * max(4, len(taps))), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(2, 1), sharey=True)
    for index, ((name, values), color) in enumerate(zip(shares.items(), COLORS, strict=False)):
        left.barh(positions + (index + 0.5) * height - 0.4, values, height, color=color, label=name)
    similar = taps["similar"].astype(float) / (taps["units"].astype(float) - 1).clip(lower=1)
    right.barh(positions, similar, 0.7, color=COLORS[5])
    left.set_yticks(positions, [f"{name} ({units})" for name, units in zip(taps.index, taps["units"], strict=True)])
    left.tick_params(axis="y", labelsize=7)
    left.set_ylim(len(taps) - 0.5, -0.5)
    left.set(xlabel="share of the layer's units", xlim=(0, 1))
    right.set(xlabel="similar share of the others", xlim=(0, 1))
    # Outside, since bars of any row may be as long as the axes are wide.
    figure.set_figheight(figure.get_figheight() + add_legend_below(figure))
    for axes in (left, right):
        tidy(axes)
    figure.suptitle(title, fontsize=10)
    return figure


def plot_training(history: pd.DataFrame, *, title: str) -> Figure:
    """Loss and accuracy of training and validation against the epoch."""
    figure = Figure(figsize=(2.2 * PANEL_INCHES, PANEL_INCHES), layout="constrained")
    for axes, quantity in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        # A training without a validation set has no such columns.
        columns = [name for name in (f"train_{quantity}", f"validation_{quantity}") if name in history]
        for name, color in zip(columns, COLORS, strict=False):
            axes.plot(history["epoch"], history[name], marker=".", color=color, label=name.partition("_")[0])
        axes.set(xlabel="epoch", ylabel=quantity)
        if quantity == "loss" and (history[columns] > 0).all(axis=None):
            axes.set_yscale("log")
        axes.legend(fontsize=7)
        tidy(axes)
    figure.suptitle(title, fontsize=10)
    return figure


def plot_against_width(
    frame: pd.DataFrame, measures: Sequence[str], *, title: str, skip_first: Sequence[str] = (), by: str = "size"
) -> Figure:
    """Measures against the width: a panel a measure, a line a curve, error bars over seeds.

    Panels of growing quantities are log-log, with the largest and smallest gain per doubling written in.

    Args:
      frame: columns curve, seed, measure, value and the width's, of networks.
      measures: one panel each.
      title: of the figure.
      skip_first: measures whose smallest doubling is left out of the gain.
      by: column of the width: size, layer_size or last_width.
    """
    figure = Figure(figsize=(PANEL_INCHES * len(measures), 1.05 * PANEL_INCHES), layout="constrained")
    curves = list(dict.fromkeys(frame["curve"]))
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(measures))), measures, strict=True):
        part = frame[frame["measure"] == name]
        gains = []
        for curve, color, marker in zip(curves, colors_for(len(curves)), _cycle(MARKERS, len(curves)), strict=True):
            grouped = part[part["curve"] == curve].groupby(by)["value"]
            mean, std = grouped.mean(), grouped.std(ddof=1)
            if mean.empty:
                continue
            bars = None if std.isna().all() else std
            axes.errorbar(mean.index, mean, yerr=bars, color=color, marker=marker, ms=4, capsize=2, label=curve)
            gains.append(gain(mean.to_dict(), skip_first=name in skip_first).value)
        axes.set_xscale("log", base=2)
        sizes = sorted(frame[by].unique())
        axes.set_xticks(sizes, [size_label(size) for size in sizes])
        axes.minorticks_off()
        axes.set(xlabel=WIDTHS[by], ylabel=_LABELS.get(name, name))
        _scale_growth(axes, name, part["value"], gains)
        tidy(axes)
    if 1 < len(curves) <= len(COLORS) and max(map(len, map(str, curves))) <= _SHORT_NAME:
        lines = _labelled_lines(figure)
        figure.axes[0].legend(lines.values(), lines, fontsize=_LEGEND_SIZE)
    elif len(curves) > 1:
        # It would cover the lines, and below them leave none of their height.
        figure.set_figheight(figure.get_figheight() + add_legend_below(figure))
    figure.suptitle(title, fontsize=10)
    return figure


def add_legend_below(figure: Figure) -> float:
    """Add one legend of all axes without their own below them, as wide as the figure at most; none of a single line.

    Returns: its height in inches.
    """
    lines = _labelled_lines(figure)
    if len(lines) < 2:
        return 0.0
    width = figure.get_figwidth()
    labels = [textwrap.fill(label, int((width - _HANDLE_INCHES) / _LEGEND_CHARACTER_INCHES)) for label in lines]
    longest = max(len(row) for label in labels for row in label.splitlines())
    entry = _HANDLE_INCHES + _LEGEND_CHARACTER_INCHES * longest
    columns = max(1, min(_MOST_LEGEND_COLUMNS, len(lines), int(width / entry)))
    figure.legend(lines.values(), labels, loc="outside lower center", ncols=columns, fontsize=_LEGEND_SIZE)
    rows = -(-len(lines) // columns) * max(len(label.splitlines()) for label in labels)
    return _LEGEND_ROW_INCHES * rows


def _labelled_lines(figure: Figure) -> dict[str, Any]:
    """Label -> line, of all axes without a legend of their own."""
    shared = [axes for axes in figure.axes if axes.get_legend() is None]
    return {label: line for axes in shared for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}


def _scale_growth(axes: matplotlib.axes.Axes, name: str, values: pd.Series, gains: Sequence[float]) -> None:
    """Log scale and gains for quantities that grow with width."""
    if name not in _GROWING:
        return
    if (values > 0).all() and len(values):
        axes.set_yscale("log", base=2)
        axes.yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:.3g}"))
    known = [value for value in gains if not np.isnan(value)]
    if known:
        text = f"$g_{{max}}$ = {max(known):.2f}\n$g_{{min}}$ = {min(known):.2f}"
        text = text if len(known) > 1 else f"$g$ = {known[0]:.2f}"
        axes.text(0.03, 0.97, text, transform=axes.transAxes, va="top", fontsize=8)


def size_label(size: float) -> str:
    """A width multiplier as a tick's label: 1/4, 1, 4."""
    return f"1/{1 / size:g}" if size < 1 and 1 / size == int(1 / size) else f"{size:g}"


def colors_for(count: int) -> list:
    """Colours for lines: the palette, or an even colour map for many."""
    if count <= len(COLORS):
        return list(COLORS[:count])
    return [matplotlib.colormaps["viridis"](i / (count - 1)) for i in range(count)]


def _cycle(items: str, count: int) -> list[str]:
    return [items[i % len(items)] for i in range(count)]


def tidy(axes: matplotlib.axes.Axes) -> None:
    """Axes without a frame at the top and the right, and a title that fits."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.title.set_fontsize(min(10, axes.title.get_fontsize()))
