"""Are thin networks easier to read? Images of the units of thin and wide networks, tested against each other."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tfunits.artifacts import write_figure, write_table, write_text
from tfunits.configs import MODELS, ExperimentConfig, VisualizationConfig, identity
from tfunits.reports.drawings import DOMAINS, DRAWN, WEIGHTS, Drawing, show_amplitude, show_image
from tfunits.statistics import holm, permutation_test, tail_probability

# Casper et al. 2021, table 2: p values beyond these, at either end, are printed in bold.
_BOLD_BELOW = 0.025
_PANEL_INCHES = 1.0
_FIGURE_DPI = 130


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrawnRun:
    """A run with images of its units.

    Attributes:
      name: of the run.
      config: the experiment.
      drawings: tap -> images.
    """

    name: str
    config: ExperimentConfig
    drawings: Mapping[str, Drawing]


def pair_widths(runs: Sequence[DrawnRun]) -> list[tuple[DrawnRun, DrawnRun]]:
    """The thinnest and the widest of every set of runs that differ in nothing but their width."""
    sets: dict[str, list[DrawnRun]] = {}
    for run in runs:
        if not run.config.model.is_file and run.drawings:
            sets.setdefault(_without_width(run.config), []).append(run)
    pairs = []
    for members in sets.values():
        thin, wide = (choose(members, key=_width) for choose in (min, max))
        if _width(thin) < _width(wide):
            pairs.append((thin, wide))
    return pairs


def _width(run: DrawnRun) -> tuple[float, float]:
    model = run.config.model
    return model.size, model.layer_size or model.size


def varied_widths(thin: DrawnRun, wide: DrawnRun) -> tuple[float, float]:
    """The widths in which two runs differ: sizes, or where these are equal those of the one varied block."""
    sizes = [(run.config.model.size, run.config.model.layer_size) for run in (thin, wide)]
    if sizes[0][0] != sizes[1][0]:
        return sizes[0][0], sizes[1][0]
    first, second = (size if layer is None else layer for size, layer in sizes)
    return first, second


def _without_width(config: ExperimentConfig) -> str:
    parts = identity(config)
    parts["model"] = {name: value for name, value in parts["model"].items() if name not in ("size", "layer_size")}
    return json.dumps(parts, sort_keys=True)


def width_test(pairs: Sequence[tuple[DrawnRun, DrawnRun]], options: VisualizationConfig) -> pd.DataFrame:
    """Does the thin network's image of a unit vary less than the wide one's?

    Args:
      pairs: from `pair_widths`.
      options: reading of total variation, and shuffles of the test.

    Returns: one row a (pair, tap): model, dataset, seed, thin, wide (sizes), tap, thin_images, wide_images, and for
      each domain <domain>_p (one-sided, small where thin images vary less), <domain>_upper_p (the other tail),
      <domain>_effect (mean of thin over mean of wide) and <domain>_holm (two-sided, adjusted for all tests).

    Source: Casper et al. 2021, appendix, table 2.
    """
    shuffled = {} if options.num_shuffles is None else {"exact": False, "num_shuffles": options.num_shuffles}
    rows, two_sided = [], []
    for thin, wide in pairs:
        model, widths = thin.config.model, varied_widths(thin, wide)
        for tap in [tap for tap in thin.drawings if tap in wide.drawings]:
            row = {
                "model": model.model, "dataset": thin.config.data.dataset, "seed": thin.config.training.seed,
                "thin": widths[0], "wide": widths[1], "tap": tap,
            }  # fmt: skip
            for domain in DOMAINS:
                values = [run.drawings[tap].variations[domain][options.variation] for run in (thin, wide)]
                values = [kept[np.isfinite(kept)] for kept in values]
                row |= {"thin_images": len(values[0]), "wide_images": len(values[1])}
                if not all(map(len, values)):
                    continue
                test = permutation_test(*values, **shuffled, seed=options.draw_seed)
                row |= {
                    f"{domain}_p": test.p_value, f"{domain}_upper_p": test.upper_p_value,
                    f"{domain}_effect": test.effect,
                }  # fmt: skip
                two_sided.append((len(rows), f"{domain}_holm", test.two_sided_p_value))
            rows.append(row)
    for (number, column, _), adjusted in zip(two_sided, holm([p for _, _, p in two_sided]), strict=True):
        rows[number][column] = float(adjusted)
    columns = ["model", "dataset", "seed", "thin", "wide", "tap", "thin_images", "wide_images"]
    columns += [f"{domain}_{what}" for domain in DOMAINS for what in ("p", "upper_p", "effect", "holm")]
    return pd.DataFrame(rows, columns=columns)


def format_width_test(table: pd.DataFrame) -> str:
    """The table as Markdown that is aligned for a terminal too: bold where p < 0.025 or p > 0.975, as in the paper."""
    shown = table[["model", "seed", "thin", "wide", "tap"]].copy()
    for name in ("thin", "wide"):
        shown[name] = [f"{size:g}x" for size in shown[name]]
    for domain in DOMAINS:
        bold = is_bold(table, domain)
        shown[f"{domain}: p"] = [
            f"**{p:.3f}**" if b else _number(p) for p, b in zip(table[f"{domain}_p"], bold, strict=True)
        ]
        shown["effect" if domain == DOMAINS[0] else "effect "] = [_number(v) for v in table[f"{domain}_effect"]]
        shown["Holm" if domain == DOMAINS[0] else "Holm "] = [_number(v) for v in table[f"{domain}_holm"]]
    cells = [list(shown.columns), *shown.astype(str).to_numpy().tolist()]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def is_bold(table: pd.DataFrame, domain: str) -> np.ndarray:
    """Which tests of a domain are bold: p < 0.025, or p > 0.975 unless that is for want of other splits or of ranks."""
    p, upper = (table[f"{domain}_{what}"].to_numpy(float) for what in ("p", "upper_p"))
    return (p < _BOLD_BELOW) | ((p > 1 - _BOLD_BELOW) & (upper <= 2 * _BOLD_BELOW))


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3f}"


def width_test_notes(table: pd.DataFrame) -> list[str]:
    """What a reader of the table must know."""
    bold = np.concatenate([is_bold(table, domain) for domain in DOMAINS])
    p_values = np.concatenate([table[f"{domain}_p"].to_numpy(float) for domain in DOMAINS])
    low, high = int((bold & (p_values < 0.5)).sum()), int((bold & (p_values > 0.5)).sum())
    chances = [
        tail_probability(row.thin_images, row.wide_images, _BOLD_BELOW)
        for row in table.itertuples()
        for domain in DOMAINS
        if not np.isnan(getattr(row, f"{domain}_p"))
    ]
    adjusted = table[[f"{domain}_holm" for domain in DOMAINS]].to_numpy().ravel()
    kept = int((adjusted <= 2 * _BOLD_BELOW).sum())
    return [
        "p: one-sided permutation test on the ranks of total variations; small where the thin network's images vary "
        "less. effect: mean of the thin over mean of the wide network",
        f"bold: {low + high} of {len(chances)} tests ({low} below {_BOLD_BELOW}, {high} above {1 - _BOLD_BELOW}), "
        f"where chance alone gives {sum(chances):.1f}; after Holm's adjustment {kept} remain",
        "units of one network are no replicates of a width: a small p says that these two networks differ, not that "
        "thin and wide ones do; for that, compare seeds",
    ]


def plot_width_sheet(thin: DrawnRun, wide: DrawnRun, taps: Sequence[str], *, frequencies: bool) -> Figure:
    """Images of the thin and the wide network side by side, a pair of panels a tap.

    Args:
      thin, wide: runs.
      taps: drawn in both.
      frequencies: whether Fourier amplitudes stand below the images.

    Source: Casper et al. 2021, figure 5 (the first block) and figure E13 (first and last, with frequencies).
    """
    drawn = {(tap, run.name): run.drawings[tap].images() for tap in taps for run in (thin, wide)}
    columns = max(map(len, drawn.values()))
    rows = 2 if frequencies else 1
    figure = Figure(
        figsize=(2 * _PANEL_INCHES * columns + 0.4, (_PANEL_INCHES * rows + 0.35) * len(taps)), layout="constrained"
    )
    parts = np.atleast_2d(figure.subfigures(len(taps), 2, wspace=0.04, squeeze=False))
    widths = dict(zip((thin.name, wide.name), varied_widths(thin, wide), strict=True))
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    for row, tap in enumerate(taps):
        for part, run in zip(parts[row], (thin, wide), strict=True):
            images = drawn[tap, run.name]
            panels = part.subplots(rows, columns, squeeze=False)
            for axes in panels.ravel():
                axes.axis("off")
            for column, image in enumerate(images):
                show_image(panels[0, column], image)
                if frequencies:
                    show_amplitude(panels[1, column], image)
            letter = next(letters, "")
            what = "weights of " if run.drawings[tap].kind == WEIGHTS else ""
            part.suptitle(f"({letter}) {what}{tap}, {run.config.model.model} {widths[run.name]:g}x", fontsize=9)
    return figure


def report_widths(
    runs: Sequence[DrawnRun], options: VisualizationConfig, folder: pathlib.Path
) -> tuple[str, list[pathlib.Path]]:
    """Write the width test of a grid, as a table and figures of the first and last block.

    Args:
      runs: with images.
      options: of the test.
      folder: where the files go.

    Returns: what is to be printed, and the files: width_test.csv, width_test.md, and for every pair of runs
      <model>-<seed>-first_block.png (the AAAI paper's figure 5) and <model>-<seed>-first_and_last_block.png (E13).
      Nothing where no two runs differ in width alone.
    """
    pairs = pair_widths(runs)
    table = width_test(pairs, options)
    if table.empty:
        return "", []
    text = format_width_test(table) + "\n\n" + "\n".join(width_test_notes(table))
    write_table(folder / "width_test.csv", table)
    write_text(folder / "width_test.md", text + "\n")
    files = [folder / "width_test.csv", folder / "width_test.md"]
    names = [f"{thin.config.model.model}-{thin.config.training.seed}" for thin, _ in pairs]
    for number, (thin, wide) in enumerate(pairs):
        # Pairs that differ in more than model and seed are numbered.
        name = names[number] if names.count(names[number]) == 1 else f"{names[number]}-{number}"
        taps = [tap for tap in thin.drawings if tap in wide.drawings]
        blocks = [tap for tap in taps if tap in MODELS[thin.config.model.model].blocks] or taps
        is_drawn = thin.drawings[blocks[0]].kind == DRAWN
        ends = list(dict.fromkeys([blocks[0], blocks[-1]]))
        for title, shown, frequencies in (("first_block", ends[:1], False), ("first_and_last_block", ends, is_drawn)):
            files.append(folder / f"{name}-{title}.png")
            figure = plot_width_sheet(thin, wide, shown, frequencies=frequencies)
            write_figure(files[-1], figure, _FIGURE_DPI)
    return text, files
