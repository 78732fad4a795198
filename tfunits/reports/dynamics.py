"""Measures against the epoch of one run."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tfunits.artifacts import RunDir, read_json
from tfunits.configs import MeasureConfig
from tfunits.reports.frames import tabulate
from tfunits.reports.plots import PANEL_INCHES, colors_for, tidy
from tfunits.reports.records import NETWORK, read_dynamics

# From this ratio of the last to the first epoch on, epochs stand on a log scale.
_LOG_FROM = 20
_PANELS = ("accuracy", "prunability", "redundancy", "similarity", "clone_size", "intrinsic_dimension")


def tabulate_dynamics(run_dir: RunDir, measure: MeasureConfig | None = None) -> pd.DataFrame:
    """Every number at every kept epoch, as one tidy frame.

    Args:
      run_dir: of a run with the step dynamics.
      measure: with which options it was measured; the defaults if None.

    Returns: columns epoch, epochs_to_end, split, unit, tap, measure, value, and chunk: the size of the chunk where the
      measure is one of a chunk (chunk_error, r2, correlation, held_out_r2, held_out_correlation), else 0. Empty
      without such a step.
    """
    records = read_dynamics(run_dir, measure)
    last = int(read_json(run_dir.done_file("train"))["epochs"]) if records else 0
    parts = []
    for epoch, record in records.items():
        frame = tabulate([record], measure)[["split", "unit", "tap", "measure", "value"]].assign(chunk=0)
        rows = []
        for split, errors in record.chunks.items():
            pairs = zip(errors.sizes.tolist(), errors.errors, strict=True)
            rows += [(split, "", NETWORK, "chunk_error", value, size) for size, value in pairs]
        for (split, target), curve in record.reconstructions.items():
            means = curve.to_frame()
            for name in ("r2", "correlation", "held_out_r2", "held_out_correlation"):
                unit = "" if target == "layer" else "to a chunk"
                rows += [(split, unit, NETWORK, name, value, size) for size, value in means[name].items()]
        more = pd.DataFrame(rows, columns=list(frame.columns))
        known = [part for part in (frame, more) if len(part)]
        if not known:
            continue
        both = pd.concat(known, ignore_index=True)
        both.insert(0, "epoch", epoch)
        both.insert(1, "epochs_to_end", last - epoch)
        parts.append(both)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def plot_dynamics(frame: pd.DataFrame, *, title: str) -> Figure:
    """Measures of the network against the epoch: a panel a measure, a line a split; of chunks, a line a size.

    Args:
      frame: from `tabulate_dynamics`.
      title: of the figure.
    """
    network = frame[frame["tap"] == NETWORK]
    known = network[network["value"].notna()]["measure"].unique()
    panels = [name for name in _PANELS if name in known]
    chunked = [name for name in ("chunk_error", "held_out_correlation") if name in known]
    # Kinds of units, say, when nothing else was measured.
    panels = panels or ([] if chunked else sorted(known)[: len(_PANELS)])
    count = len(panels) + len(chunked)
    columns = min(3, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(PANEL_INCHES * columns, 0.9 * PANEL_INCHES * rows), layout="constrained")
    every = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, name in zip(every, [*panels, *chunked], strict=False):
        part = network[network["measure"] == name]
        if name in chunked:
            split = "train" if (part["split"] == "train").any() else part["split"].iloc[0]
            groups = list(part[(part["split"] == split) & (part["unit"] == "")].groupby("chunk"))
            axes.set_title(f"by chunk size, {split}", fontsize=8)
        else:
            groups = list(part.groupby(_label(part), sort=False))
        for (label, line), color in zip(groups, colors_for(len(groups)), strict=True):
            axes.plot(line["epoch"], line["value"], marker=".", color=color, label=str(label))
        axes.set(xlabel="epoch", ylabel=name.replace("_", " "))
        if len(groups) > 1:
            axes.legend(fontsize=6, ncols=2 if len(groups) > 5 else 1)
        epochs = sorted(part["epoch"].unique())
        if epochs[-1] >= _LOG_FROM * epochs[0]:
            axes.set_xscale("log")
            # The kept epochs themselves, as many as can stand beside each other.
            shown = np.unique(np.geomspace(1, len(epochs), min(6, len(epochs))).round().astype(int)) - 1
            axes.set_xticks([epochs[i] for i in shown], [str(epochs[i]) for i in shown])
            axes.minorticks_off()
        tidy(axes)
    for axes in every[count:]:
        axes.remove()
    figure.suptitle(title, fontsize=10)
    return figure


def _label(part: pd.DataFrame) -> pd.Series:
    """What every row's line is called: its split, and how it was ablated where not channels were in random order."""
    plain = part["unit"].isin(["", "channel"])
    return part["split"].where(plain, part["split"] + ", " + part["unit"])
