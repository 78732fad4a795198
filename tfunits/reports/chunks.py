"""Chunks of the last hidden layer of one run, and of runs of several widths."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfunits.configs import MeasureConfig, UserError
from tfunits.reports.plots import COLORS, PANEL_INCHES, colors_for, tidy
from tfunits.reports.records import RunRecord
from tfunits.statistics import (
    FITTED_ERROR,
    PowerLawInterval,
    ReconstructionCurve,
    bootstrap_power_law,
    ensemble_errors,
    ensemble_wrong,
    first_at_most,
)

# Chunks larger than W over this overlap too much to be independent (DESIGN section 6).
LARGEST_SHARE = 4


def chunk_table(record: RunRecord) -> pd.DataFrame:
    """One row a chunk size: errors on every split, R2 and residual correlations.

    Columns: <split>_error, and of the reconstruction on test data (or the first split) r2, correlation (in-sample, all
    pairs), held_out_r2, held_out_correlation (pairs outside the chunk), noise_floor, too_few_rows.
    """
    parts = [errors.to_frame()["error"].rename(f"{split}_error") for split, errors in record.chunks.items()]
    shown = _shown_reconstruction(record)
    parts += [shown[1].to_frame()] if shown else []
    return pd.concat(parts, axis=1) if parts else pd.DataFrame()


def _shown_reconstruction(record: RunRecord) -> tuple[str, ReconstructionCurve] | None:
    """(split, curve) of the layer on test data, or on the first split that was measured; None without any."""
    curves = {split: curve for (split, target), curve in record.reconstructions.items() if target == "layer"}
    split = "test" if "test" in curves else next(iter(curves), None)
    return None if split is None else (split, curves[split])


def plot_chunks(record: RunRecord, *, title: str) -> Figure:
    """Errors of chunks against their size, w* marked, and how well chunks reconstruct the layer.

    Args:
      record: of a run with chunks or reconstructions.
      title: of the figure.
    """
    figure = Figure(figsize=(2.2 * PANEL_INCHES, PANEL_INCHES), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (split, errors), color in zip(record.chunks.items(), COLORS, strict=False):
        left.errorbar(
            errors.sizes, errors.errors, errors.error_std, marker="o", ms=3.5, capsize=2, color=color, label=split
        )
        if split == "train" and errors.clone_size() is not None:
            left.axvline(errors.clone_size(), color="grey", lw=0.8, ls=":")
            left.text(errors.clone_size(), 0.98, " $w^*$", transform=left.get_xaxis_transform(), va="top", fontsize=8)
    left.axhline(FITTED_ERROR, color="grey", lw=0.8, ls=":")
    # Errors of nought have a place too.
    left.set_yscale("symlog", linthresh=FITTED_ERROR / 2)
    left.set(xlabel="units in the chunk", ylabel="error", ylim=(0, 1))
    if record.chunks:
        left.legend(fontsize=7)
    shown = _shown_reconstruction(record)
    if shown:
        _draw_reconstruction(right, shown[1], shown[0])
    for axes, found in ((left, next(iter(record.chunks.values()), None)), (right, shown and shown[1])):
        axes.set_xscale("log", base=2)
        axes.minorticks_off()
        if found is not None:
            axes.set_xticks(found.sizes, [str(size) for size in found.sizes], fontsize=7)
    right.set(xlabel="units in the chunk", ylim=(-0.05, 1.05))
    for axes in (left, right):
        tidy(axes)
    figure.suptitle(title, fontsize=10)
    return figure


def plot_widths(by_curve: Mapping[str, Sequence[RunRecord]], *, split: str, title: str) -> Figure:
    """Error of whole networks against their last width, and of chunks of the widest ones against the chunk's size.

    Args:
      by_curve: name of a curve -> its runs with chunks, of several widths.
      split: of the errors.
      title: of the figure.

    Source: Doimo et al. 2022, figure 1b.
    """
    figure = Figure(figsize=(1.5 * PANEL_INCHES, 1.15 * PANEL_INCHES), layout="constrained")
    axes = figure.subplots()
    smallest = 1.0
    for (curve, records), color in zip(by_curve.items(), colors_for(len(by_curve)), strict=True):
        table = width_table(records, split)
        axes.errorbar(
            table.index, table["error"], table["error_std"], marker="o", ms=4, capsize=2, color=color,
            label=f"{curve}, whole networks",
        )  # fmt: skip
        known = [record.chunks[split] for record in records]
        widest = [errors for errors in known if errors.width == max(e.width for e in known)]
        mean = np.mean([errors.errors for errors in widest], axis=0)
        axes.plot(widest[0].sizes, mean, "s--", ms=3, color=color, alpha=0.7, label=f"{curve}, chunks of the widest")
        smallest = min([smallest, *mean[mean > 0], *table["error"][table["error"] > 0]])
    axes.set_xscale("log", base=2)
    # Errors of nought have a place too.
    axes.set_yscale("symlog", linthresh=smallest / 2)
    axes.set(
        xlabel="units of the last hidden layer, or of the chunk", ylabel=f"{split} error", ylim=(0, 1), title=title
    )
    axes.legend(fontsize=7)
    tidy(axes)
    return figure


def _draw_reconstruction(axes: Axes, curve: ReconstructionCurve, split: str) -> None:
    frame = curve.to_frame()
    for name, marker, color, label in (
        ("held_out_r2", "o-", COLORS[0], f"$R^2$, held out ({split})"),
        ("held_out_correlation", "s-", COLORS[2], "mean |correlation| of residuals, held out"),
        ("correlation", "s:", COLORS[4], "the same, in-sample, all pairs"),
        ("noise_floor", "--", "grey", "noise floor"),
    ):
        axes.plot(frame.index, frame[name], marker, ms=3.5, lw=1.2, color=color, label=label)
    axes.legend(fontsize=6, loc="best")


def width_table(records: Sequence[RunRecord], split: str = "train") -> pd.DataFrame:
    """Full networks against chunks of the widest one, by width of the last hidden layer.

    Args:
      records: runs with chunks, of one network, data set and recipe at several widths.
      split: on which they are compared.

    Returns: one row a width: networks, their mean error and its std over seeds, the error of chunks of the widest
      networks of that size, and the quotient of both; the widest network's own row has its whole error on both sides.

    Raises:
      UserError: no run with chunks on this split.

    Source: Doimo et al. 2022, section 3 (figures 1b, 2 and 3).
    """
    known = [record.chunks[split] for record in records if split in record.chunks]
    if not known:
        raise UserError(
            f"--steps=chunks: expected runs with chunks on {split} data, received none; add the step chunks"
        )
    widest = max(errors.width for errors in known)
    rows = []
    for width in sorted({errors.width for errors in known}):
        full = np.array([errors.errors[-1] for errors in known if errors.width == width])
        of_size = [e.errors[list(e.sizes).index(width)] for e in known if e.width == widest and width in e.sizes]
        chunk = float(np.mean(of_size)) if of_size else np.nan
        rows.append({
            "width": width,
            "networks": len(full),
            "error": full.mean(),
            "error_std": full.std(ddof=1) if len(full) > 1 else np.nan,
            "chunk_error": chunk,
            "quotient": chunk / full.mean() if full.mean() > 0 else np.nan,
        })  # fmt: skip
    return pd.DataFrame(rows).set_index("width")


def fitting_width(records: Sequence[RunRecord], error: float = FITTED_ERROR) -> int | None:
    """W*, the smallest width whose networks' mean training error is at most this; None if there is none."""
    table = width_table(records)
    return first_at_most(table.index, table["error"], error)


def limit_error(
    records: Sequence[RunRecord], split: str = "test", *, average: str = "logits", seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """error_inf: errors of ensembles of 1, 2, ... of the given networks, and which examples all of them together miss.

    Args:
      records: runs of one network, width, data set and recipe that differ in their seeds, with their outputs.
      split: on which they err.
      average: "logits" or "probabilities".
      seed: of the smaller ensembles.

    Returns: errors, float64 [networks], and bool [examples].

    Raises:
      UserError: no run, one without outputs on this split, or runs of other data.

    Source: Doimo et al. 2022, section 3; DESIGN section 6.
    """
    if not records:
        raise UserError("records: expected at least one run, received none")
    found = [record.outputs(split) for record in records]
    labels = found[0][1]
    if not all(np.array_equal(labels, others) for _, others in found):
        raise UserError(f"records: expected runs on the same {split} data, received other labels; group them by data")
    outputs = np.stack([outputs for outputs, _ in found])
    errors = ensemble_errors(outputs, labels, average=average, seed=seed)
    return errors, ensemble_wrong(outputs, labels, average=average)


def fit_chunk_power_law(
    records: Sequence[RunRecord],
    limit_wrong: np.ndarray,
    split: str = "test",
    *,
    num_samples: int = 1000,
    seed: int = 0,
) -> PowerLawInterval:
    """a w^b of the excess error of chunks over error_inf, for w* <= w <= W / 4, with a bootstrap interval of b.

    Args:
      records: runs of one width, network, data set and recipe with chunks on training data and on the split.
      limit_wrong: examples that the infinite ensemble misses, [examples]; from `limit_error`.
      split: on which the excess is taken.
      num_samples: of the bootstrap, over networks and examples together.
      seed: of the bootstrap.

    Raises:
      UserError: a run without such chunks, networks without w*, or fewer than two sizes of chunks between w* and W / 4.

    Source: Doimo et al. 2022, section 3; DESIGN section 6: larger chunks overlap.
    """
    missing = [r.run_dir.name for r in records if not {"train", split} <= r.chunks.keys()]
    if missing or not records:
        raise UserError(
            f"--steps=chunks: expected runs with chunks on train and {split} data, received "
            f"{missing[0] if missing else 'no run'}; measure it with --measured_splits={split}"
        )
    training = [record.chunks["train"] for record in records]
    if len({errors.width for errors in training}) > 1:
        raise UserError(f"records: expected one width, received {sorted({errors.width for errors in training})}")
    sizes = training[0].sizes
    first = first_at_most(sizes, np.mean([errors.errors for errors in training], axis=0), FITTED_ERROR)
    chosen = [i for i, size in enumerate(sizes) if first is not None and first <= size <= sizes[-1] / LARGEST_SHARE]
    if len(chosen) < 2:
        raise UserError(
            f"--steps=chunks: expected two chunk sizes from w* to a quarter of the layer, received w* = {first} "
            f"and sizes {list(map(int, sizes))}; train longer, or wider networks"
        )
    chosen_sizes = [int(sizes[i]) for i in chosen]
    return fit_chunk_sizes(records, limit_wrong, chosen_sizes, split, num_samples=num_samples, seed=seed)


def fit_chunk_sizes(
    records: Sequence[RunRecord],
    limit_wrong: np.ndarray,
    sizes: Sequence[int],
    split: str = "test",
    *,
    num_samples: int = 1000,
    seed: int = 0,
) -> PowerLawInterval:
    """a w^b of the excess error of chunks of the given sizes over error_inf, with a bootstrap interval of b.

    Args:
      records: runs of one width, network, data set and recipe with chunks of these sizes on the split.
      sizes: of the chunks, at least two. Bootstrap samples of other sizes of the same records draw the same networks
        and examples, so that their exponents can be subtracted.
      limit_wrong, split, num_samples, seed: as of `fit_chunk_power_law`.
    """
    known = [record.chunks[split] for record in records]
    errors = [np.stack([chunks.wrong_shares[list(chunks.sizes).index(size)] for chunks in known]) for size in sizes]
    return bootstrap_power_law(sizes, errors, limit_wrong, paired=True, num_samples=num_samples, seed=seed)


def fit_width_power_law(
    records: Sequence[RunRecord],
    limit_wrong: np.ndarray,
    split: str = "test",
    *,
    num_samples: int = 1000,
    seed: int = 0,
) -> PowerLawInterval:
    """a W^b of the excess error of whole networks over error_inf, for W >= W*, with a bootstrap interval of b.

    Args:
      records: runs of one network, data set and recipe at several widths, with chunks and outputs.
      limit_wrong: examples that the infinite ensemble misses, [examples]; from `limit_error`.
      split: on which the excess is taken.
      num_samples: of the bootstrap, over networks and examples together.
      seed: of the bootstrap.

    Raises:
      UserError: no W*, or fewer than two widths from it on.

    Source: Doimo et al. 2022, section 3, figures 1b and 2.
    """
    by_width: dict[int, list[np.ndarray]] = {}
    fitting = fitting_width(records)
    for record in records:
        if "train" in record.chunks and fitting is not None and (width := record.chunks["train"].width) >= fitting:
            outputs, labels = record.outputs(split)
            by_width.setdefault(width, []).append(ensemble_wrong(outputs[np.newaxis], labels).astype(float))
    if len(by_width) < 2:
        raise UserError(
            f"--size: expected networks of at least two widths from W* on, received W* = {fitting} and widths "
            f"{sorted({r.chunks['train'].width for r in records if 'train' in r.chunks})}; train longer, or wider ones"
        )
    widths = sorted(by_width)
    errors = [np.stack(by_width[width]) for width in widths]
    return bootstrap_power_law(widths, errors, limit_wrong, paired=False, num_samples=num_samples, seed=seed)


def further_tables(record: RunRecord, measure: MeasureConfig) -> dict[str, pd.DataFrame]:
    """What else a run's summary shows: chunks, kinds of units, dropout stability; by heading."""
    tables = {}
    chunks = chunk_table(record)
    if len(chunks):
        width = int(chunks.index[-1])
        clone = record.chunks["train"].clone_size() if "train" in record.chunks else None
        known = f", w* = {clone}, {width / clone:.3g} clones" if clone else ""
        tables[f"chunks of the last hidden layer, {width} units{known}"] = chunks
    for stored in record.values.get("kinds", ()):
        if stored["settings"]["split"] == measure.measured_splits[0]:
            tables["kinds of units"] = pd.DataFrame.from_dict(
                {**stored["taps"], "network": stored["network"]}, orient="index"
            )
    stability = {
        f"{stored['settings']['factor']:g}": {
            "loss": stored["loss"],
            "loss_change": float(np.mean(stored["dropped_loss"])) - stored["loss"],
            "error": stored["error"],
            "error_change": float(np.mean(stored["dropped_error"])) - stored["error"],
        }
        for stored in record.values.get("stability", ())
    }
    if stability:
        tables["half of every layer dropped, the rest times"] = pd.DataFrame.from_dict(stability, orient="index")
    return tables
