"""Numbers of chunks of the last hidden layer and of whole networks of several widths, as panels and claims ask them.

Every function takes runs of one network, data set and recipe, of any sizes and seeds, with the step chunks.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tfunits.configs import NETWORK, MeasureConfig, UserError
from tfunits.reports.chunks import LARGEST_SHARE, fit_chunk_power_law, fit_width_power_law, fitting_width, limit_error
from tfunits.reports.dynamics import tabulate_dynamics
from tfunits.reports.figures.runs import Runs
from tfunits.reports.records import RunRecord
from tfunits.statistics import FITTED_ERROR, PowerLawInterval, bias_variance, first_at_most

# Rows of tables: whole networks by the width of their last hidden layer, and chunks of the widest ones by their size.
NETWORKS, CHUNKS = "networks", "chunks"
_RECONSTRUCTED = ("r2", "correlation", "held_out_r2", "held_out_correlation")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CriticalSizes:
    """From which size on chunks and networks fit their training set.

    Attributes:
      clone_size: w*, the smallest chunk of the widest networks with a mean training error of at most 1 %.
      fitting_width: W*, the smallest width whose networks' mean training error is at most that.
      layer_width: W, of the widest networks.
    """

    clone_size: int | None
    fitting_width: int | None
    layer_width: int

    @property
    def largest_clone(self) -> float:
        """W / 4, the largest chunk that enters a power law."""
        return self.layer_width / LARGEST_SHARE


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limit:
    """error_inf, the error of the ensemble of all networks of the widest size.

    Attributes:
      wrong: whether the ensemble is wrong about each example, bool [examples].
      errors: of ensembles of 1, 2, ... networks, float64 [networks].
    """

    wrong: np.ndarray
    errors: np.ndarray

    @property
    def error(self) -> float:
        """error_inf, in [0, 1]."""
        return float(self.errors[-1])

    @property
    def num_networks(self) -> int:
        """Networks of the ensemble."""
        return len(self.errors)


def with_chunks(runs: Runs) -> list[RunRecord]:
    """The trained runs whose chunks were measured on training data."""
    return [record for record in runs.trained.records if "train" in record.chunks]


def find_widest(runs: Runs) -> list[RunRecord]:
    """The trained runs with the widest last hidden layer; where that is the same at all sizes, of the largest size."""
    records = with_chunks(runs)
    largest = max((_width_key(record) for record in records), default=None)
    return [record for record in records if _width_key(record) == largest]


def _width_key(record: RunRecord) -> tuple[int, float]:
    return record.chunks["train"].width, record.size or 0


def find_critical_sizes(runs: Runs) -> CriticalSizes | None:
    """w*, W* and W; None where no chunks were measured.

    Source: Doimo et al. 2022, section 3; CLAIMS, header, for 1 %.
    """
    widest = find_widest(runs)
    if not widest:
        return None
    found = [record.chunks["train"] for record in widest]
    errors = np.mean([errors.errors for errors in found], axis=0)
    return CriticalSizes(
        clone_size=first_at_most(found[0].sizes, errors, FITTED_ERROR),
        fitting_width=fitting_width(with_chunks(runs)),
        layer_width=found[0].width,
    )


def find_limit(runs: Runs, split: str = "test") -> Limit | None:
    """error_inf of the widest networks among the runs; None where none has stored its outputs.

    Source: Doimo et al. 2022, section 3 (an ensemble of 20; outputs are averaged, DESIGN section 6).
    """
    stored = [record for record in find_widest(runs) if record.run_dir.logits.is_file()]
    if not stored:
        return None
    errors, wrong = limit_error(stored, split)
    return Limit(wrong=wrong, errors=errors)


def ensemble_table(runs: Runs, split: str = "test") -> pd.DataFrame:
    """Error of ensembles of 1, 2, ... of the widest networks: columns networks, error, width; empty without outputs."""
    limit = find_limit(runs, split)
    if limit is None:
        return pd.DataFrame(columns=["networks", "error", "width"])
    width = find_widest(runs)[0].chunks["train"].width
    return pd.DataFrame({"networks": range(1, limit.num_networks + 1), "error": limit.errors, "width": width})


def error_table(runs: Runs, split: str = "train") -> pd.DataFrame:
    """Errors of whole networks by width, and of random chunks of the widest ones by size.

    Args:
      runs: of one recipe.
      split: on which they err.

    Returns: columns kind (networks or chunks), width (of the last hidden layer, or of the chunk), size (width
      multiplier), networks (how many), error (their mean; of chunks over draws, too), error_std (over networks, n - 1),
      w*, W* and W as clone_size, fitting_width, layer_width. The whole layer of the widest networks is a row of
      networks and none of chunks.

    Source: Doimo et al. 2022, figures 2, 3 and 4a-c.
    """
    by_width: dict[tuple[int, float], list[float]] = {}
    for record in with_chunks(runs):
        if split in record.chunks:
            by_width.setdefault(_width_key(record), []).append(float(record.chunks[split].errors[-1]))
    rows = [
        {"kind": NETWORKS, "width": width, "size": size, **_summarize(errors)}
        for (width, size), errors in sorted(by_width.items())
    ]
    widest = [record for record in find_widest(runs) if split in record.chunks]
    if widest:
        errors = np.stack([record.chunks[split].errors for record in widest])
        sizes = widest[0].chunks[split].sizes
        rows += [
            {"kind": CHUNKS, "width": int(size), "size": widest[0].size, **_summarize(errors[:, i])}
            for i, size in enumerate(sizes[:-1])
        ]
    table = pd.DataFrame(rows, columns=["kind", "width", "size", "networks", "error", "error_std"])
    return _with_critical_sizes(table, runs)


def _summarize(values: Sequence[float]) -> dict[str, float]:
    """Number, mean and standard deviation (n - 1) of values of several networks."""
    std = np.std(values, ddof=1) if len(values) > 1 else np.nan
    return {"networks": len(values), "error": float(np.mean(values)), "error_std": float(std)}


def _with_critical_sizes(table: pd.DataFrame, runs: Runs) -> pd.DataFrame:
    sizes = find_critical_sizes(runs)
    found = dataclasses.asdict(sizes) if sizes else dict.fromkeys(f.name for f in dataclasses.fields(CriticalSizes))
    return table.assign(**{name: np.nan if value is None else value for name, value in found.items()})


def excess_table(runs: Runs, split: str = "test", kinds: Sequence[str] = (NETWORKS, CHUNKS)) -> pd.DataFrame:
    """Excess of errors over error_inf, with the power law of each kind.

    Args:
      runs: of one recipe.
      split: on which they err.
      kinds: which rows.

    Returns: `error_table` on the split with further columns limit (error_inf), limit_networks, excess, and of the
      kind's power law coefficient, exponent, exponent_low, exponent_high (95 % of bootstrap samples over networks and
      examples; missing where no law can be fitted); empty without stored outputs.

    Source: Doimo et al. 2022, figures 1b, 2 and 3.
    """
    table, limit = error_table(runs, split), find_limit(runs, split)
    columns = [*table.columns, "limit", "limit_networks", "excess", "coefficient", "exponent", "exponent_low",
               "exponent_high"]  # fmt: skip
    if limit is None:
        return pd.DataFrame(columns=columns)
    table = table[table["kind"].isin(kinds)].reset_index(drop=True)
    table = table.assign(limit=limit.error, limit_networks=limit.num_networks, excess=table["error"] - limit.error)
    for kind in kinds:
        law = find_power_law(runs, kind, split, limit=limit)
        of_kind = table["kind"] == kind
        table.loc[of_kind, "coefficient"] = law.law.coefficient if law else np.nan
        table.loc[of_kind, "exponent"] = law.law.exponent if law else np.nan
        table.loc[of_kind, "exponent_low"] = law.low if law else np.nan
        table.loc[of_kind, "exponent_high"] = law.high if law else np.nan
    return table[columns]


def find_power_law(
    runs: Runs, kind: str, split: str = "test", *, limit: Limit | None = None
) -> PowerLawInterval | None:
    """The law of the excess: of chunks with w* <= w <= W / 4, or of networks with W >= W*.

    Args:
      runs: of one recipe.
      kind: `NETWORKS` or `CHUNKS`.
      split: on which they err.
      limit: of the same runs and split, where it is known.

    Returns: the law with its bootstrap interval; None where none can be fitted: no w* or W*, or fewer than two sizes
      from there on.
    """
    limit = limit or find_limit(runs, split)
    if limit is None:
        return None
    try:
        if kind == CHUNKS:
            return fit_chunk_power_law(find_widest(runs), limit.wrong, split)
        return fit_width_power_law(with_chunks(runs), limit.wrong, split)
    except (UserError, ValueError):
        # No excess at any width has no law either.
        return None


def reconstruction_table(runs: Runs, split: str = "test", target: str = "layer") -> pd.DataFrame:
    """How well chunks of the widest networks determine the whole layer.

    Args:
      runs: of one recipe.
      split: on which activations are read.
      target: layer, or chunk for another chunk of the same size.

    Returns: one row a chunk size: columns chunk, networks, and r2, correlation (in-sample, all pairs), held_out_r2,
      held_out_correlation (pairs outside the chunk), each the mean over networks and draws, with <name>_std over
      networks (n - 1); noise_floor, too_few_rows, intrinsic_dimension (mean over networks), and w*, W*, W.

    Source: Doimo et al. 2022, figure 4d-f.
    """
    curves = [
        record.reconstructions[split, target]
        for record in find_widest(runs)
        if (split, target) in record.reconstructions
    ]
    columns = [
        "chunk", "networks", *(name + end for name in _RECONSTRUCTED for end in ("", "_std")), "noise_floor",
        "too_few_rows",
    ]  # fmt: skip
    if not curves:
        return pd.DataFrame(columns=columns)
    # The whole layer leaves no residual.
    inner = curves[0].sizes < curves[0].width
    table = pd.DataFrame({"chunk": curves[0].sizes, "networks": len(curves)})
    for name in _RECONSTRUCTED:
        means = np.stack([getattr(curve, name).mean(axis=1) for curve in curves])
        table[name] = means.mean(axis=0)
        table[f"{name}_std"] = means.std(axis=0, ddof=1) if len(curves) > 1 else np.nan
    table["noise_floor"], table["too_few_rows"] = curves[0].noise_floor, curves[0].too_few_rows
    table = table[inner].reset_index(drop=True)[columns]
    return _with_critical_sizes(table.assign(intrinsic_dimension=find_dimension(runs, split)), runs)


def find_dimension(runs: Runs, split: str = "test") -> float:
    """Intrinsic dimension of the last hidden layer, mean over the widest networks; NaN where it was not measured."""
    found = [
        stored["value"]
        for record in find_widest(runs)
        for stored in record.values.get("dimension", ())
        if stored["settings"]["split"] == split and stored["value"] is not None
    ]
    return float(np.mean(found)) if found else np.nan


def dynamics_table(runs: Runs, *, options: MeasureConfig | None = None) -> pd.DataFrame:
    """Errors of networks and of their chunks, and reconstruction from chunks, against the epoch.

    Args:
      runs: of one recipe; of the widest those with the step dynamics count.
      options: with which they were measured; the runs' own if None.

    Returns: of epochs that all of the networks kept, columns epoch, split, measure (error, chunk_error, r2,
      correlation, held_out_r2, held_out_correlation), chunk (its size; 0 for the whole network), networks, value (their
      mean), std (over networks, n - 1).

    Source: Doimo et al. 2022, figure 5.
    """
    parts = []
    # Where networks of all sizes kept epochs, the widest are shown.
    for record in find_widest(runs) or runs.trained.records:
        frame = tabulate_dynamics(record.run_dir, options or runs.measure)
        if len(frame):
            parts.append(frame[(frame["tap"] == NETWORK) & (frame["unit"] == "")].assign(run=record.run_dir.name))
    columns = ["epoch", "split", "measure", "chunk", "networks", "value", "std"]
    if not parts:
        return pd.DataFrame(columns=columns)
    frame = pd.concat(parts, ignore_index=True)
    # A network's best epoch is kept beside those that were asked for.
    frame = frame[frame.groupby("epoch")["run"].transform("nunique") == len(parts)].reset_index(drop=True)
    errors = frame["measure"] == "accuracy"
    frame["value"] = frame["value"].where(~errors, 1 - frame["value"])
    frame["measure"] = frame["measure"].where(~errors, "error")
    frame = frame[frame["measure"].isin(["error", "chunk_error", *_RECONSTRUCTED])]
    grouped = frame.groupby(["epoch", "split", "measure", "chunk"], observed=True)["value"]
    return grouped.agg(networks="count", value="mean", std="std").reset_index()[columns]


def first_fitted_epoch(table: pd.DataFrame, chunk: int = 0, error: float = 0.0) -> int | None:
    """The first measured epoch with a mean training error of at most this; None if there is none.

    Args:
      table: from `dynamics_table`.
      chunk: its size; 0 for the whole network.
      error: 0 for every example right.
    """
    name = "chunk_error" if chunk else "error"
    part = table[(table["measure"] == name) & (table["split"] == "train") & (table["chunk"] == chunk)]
    return first_at_most(part["epoch"], part["value"], error)


def up_to_margin(outputs: np.ndarray) -> np.ndarray:
    """Outputs [..., classes]; single scores only up to the margin of the hinge loss, beyond which they grow freely."""
    return np.clip(outputs, -1, 1) if outputs.shape[-1] == 1 else outputs


def bias_variance_table(runs: Runs, loss: str = "squared", split: str = "test") -> pd.DataFrame:
    """Bias and variance over the seeds of every width; of scores of the hinge loss as far as their margin, in [-1, 1].

    Args:
      runs: of one recipe, with outputs.
      loss: squared or cross_entropy (not of networks with one output).
      split: on which they are taken.

    Returns: columns width, size, networks, part (bias, variance or loss), value, and w*, W*, W; widths of a single
      network are left out.

    Source: Doimo et al. 2022, figure S5; Yang et al. 2020.
    """
    by_width: dict[tuple[int, float], list[RunRecord]] = {}
    for record in with_chunks(runs):
        if record.run_dir.logits.is_file():
            by_width.setdefault(_width_key(record), []).append(record)
    rows = []
    for (width, size), records in sorted(by_width.items()):
        if len(records) < 2:
            continue
        stored = [record.outputs(split) for record in records]
        outputs = up_to_margin(np.stack([outputs for outputs, _ in stored]))
        found = bias_variance(outputs, stored[0][1], loss)
        for part in ("bias", "variance", "loss"):
            row = {"width": width, "size": size, "networks": len(records), "part": part}
            rows.append({**row, "value": getattr(found, part)})
    table = pd.DataFrame(rows, columns=["width", "size", "networks", "part", "value"])
    return _with_critical_sizes(table, runs)
