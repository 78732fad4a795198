"""Tables of the papers as panels, and sheets of images."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.axes
import matplotlib.figure
import pandas as pd

from tfunits.configs import MODELS, UserError
from tfunits.reports.drawings import DOMAINS
from tfunits.reports.figures.runs import Runs
from tfunits.reports.records import RunRecord
from tfunits.reports.width_test import DrawnRun, is_bold, pair_widths, plot_width_sheet, width_test

# Networks whose initial weights are no preset but the network's own (FACTS 2.2 to 2.4, F15).
_OWN_WEIGHTS = {
    "inception_v3": "truncated normal, std 0.1",
    "resnet18": "lecun normal",
    "resnet56": "lecun normal",
}
_FONT_SIZE = 7
_BOLD_DIGITS = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecipePanel:
    """How networks are trained, from the settings of runs: a row a data set and network, with every value they take.

    Attributes:
      title: above the table.
    """

    title: str = ""

    def tabulate(self, runs: Runs) -> pd.DataFrame:
        """Columns data, network, sizes, parameters (fewest to most), initial_weights, optimizer, learning_rate,
        schedule, batch_size, k, epochs, batch_norm, regularizers, weight_decay, runs."""  # fmt: skip
        rows: dict[tuple[str, str], list[RunRecord]] = {}
        for record in runs.records:
            rows.setdefault((record.config.data.dataset, record.config.model.model), []).append(record)
        return pd.DataFrame(
            [self._row(data, model, records, runs.num_parameters) for (data, model), records in rows.items()]
        )

    def _row(
        self, data: str, model: str, records: Sequence[RunRecord], num_parameters: Mapping[str, int]
    ) -> dict[str, Any]:
        trainings = [record.config.training for record in records]
        models = [record.config.model for record in records]
        counts = [num_parameters[record.run_dir.name] for record in records]
        scales = [model.init_scale for model in models]
        initial = [
            (model.initializer or _OWN_WEIGHTS.get(model.model, "its own")).replace("_", " ")
            + (f" x {scale:g}" if len(set(scales)) > 1 else "")
            for model, scale in zip(models, scales, strict=True)
        ]
        return {
            "data": data + (" (+ random labels)" if any(r.config.data.random_labels for r in records) else ""),
            "network": model,
            "sizes": _values(sorted({model.size for model in models} | {m.layer_size for m in models if m.layer_size})),
            "parameters": f"{min(counts):,} to {max(counts):,}",
            "initial_weights": _values(initial),
            "optimizer": _values(training.optimizer for training in trainings),
            "learning_rate": _values(training.learning_rate for training in trainings),
            "schedule": _values(training.schedule for training in trainings),
            "batch_size": _values(training.batch_size for training in trainings),
            "k": _values(training.k for training in trainings),
            "epochs": _values(training.epochs for training in trainings),
            "batch_norm": "yes" if MODELS[model].has_batch_norm else "no",
            "regularizers": _values("+".join(training.regularizers) for training in trainings),
            "weight_decay": _values(training.weight_decay for training in trainings),
            "runs": len(records),
        }

    def plot(self, axes: matplotlib.axes.Axes, table: pd.DataFrame) -> None:
        """The table turned, a column a network: its rows are too long for a page."""
        turned = table.drop(columns=["data", "network"]).T
        cells = [[_wrap(str(value)) for value in row] for row in turned.to_numpy()]
        heads = [f"{row.network}\n{row.data.replace(' (', chr(10) + '(')}" for row in table.itertuples()]
        draw_table(axes, cells, columns=heads, rows=[name.replace("_", " ") for name in turned.index])
        axes.set_title(self.title)


def _values(values: Iterable[Any]) -> str:
    """Every different value, in the order of its first run."""
    return ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in dict.fromkeys(values))


def _wrap(text: str, width: int = 26) -> str:
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WidthTestPanel:
    """Total variation of thin networks' images against wide ones': p values and effects, a row a block.

    Attributes:
      title: above the table.
      model: of which network; None for all.
      ends: 1 for the first block alone, 2 for first and last; None for every one.
    """

    title: str = ""
    model: str | None = None
    ends: int | None = None

    def tabulate(self, runs: Runs) -> pd.DataFrame:
        """Columns as `reports.width_test` has them; empty where no two drawn runs differ in width alone."""
        pairs = _pairs(runs, self.model)
        if not pairs:
            return pd.DataFrame()
        table = width_test(pairs, pairs[0][0].config.visualization)
        if self.ends is None:
            return table
        blocks = {
            name: _end_blocks(thin, wide, self.ends) for thin, wide in pairs for name in [thin.config.model.model]
        }
        kept = [row.tap in blocks[row.model] for row in table.itertuples()]
        return table[kept].reset_index(drop=True)

    def plot(self, axes: matplotlib.axes.Axes, table: pd.DataFrame) -> None:
        """The table; p values at either end are bold, as in the paper."""
        shown = ["p", "effect", "holm"]
        heads = ["network", "block"] + [f"{domain}\n{name}" for domain in DOMAINS for name in shown]
        cells, bold = [], []
        marks = {domain: is_bold(table, domain) for domain in DOMAINS}
        for number, row in enumerate(table.to_dict("records")):
            cells.append(
                [f"{row['model']} {row['thin']:g}x, {row['wide']:g}x, seed {row['seed']}", row["tap"]]
                + [f"{row[f'{domain}_{name}']:.{_BOLD_DIGITS}f}" for domain in DOMAINS for name in shown]
            )
            bold += [(number + 1, 2 + len(shown) * at) for at, domain in enumerate(DOMAINS) if marks[domain][number]]
        drawn = draw_table(axes, cells, columns=heads)
        for place in bold:
            drawn[place].get_text().set_fontweight("bold")
        axes.set_title(self.title)


def draw_table(
    axes: matplotlib.axes.Axes, cells: Sequence[Sequence[str]], *, columns: Sequence[str], rows: Sequence[str] = ()
) -> Any:
    """A table that fills a panel; a row is as high as its longest text. Returns matplotlib's."""
    axes.axis("off")
    table = axes.table(
        cells, colLabels=columns, rowLabels=rows or None, loc="center", cellLoc="left", bbox=(0, 0, 1, 1)
    )
    table.auto_set_font_size(False)
    table.set_fontsize(_FONT_SIZE)
    table.auto_set_column_width(list(range(-1 if rows else 0, len(columns))))
    heights = [max(text.count("\n") + 1.6 for text in row) for row in [columns, *cells]]
    for (row, _), cell in table.get_celld().items():
        cell.set_height(heights[row] / sum(heights))
        cell.set_linewidth(0.4)
        if row == 0:
            cell.set_facecolor("#eeeeee")
    return table


def plot_end_blocks(runs: Runs, *, model: str, ends: int, frequencies: bool) -> matplotlib.figure.Figure:
    """Images of units of a thin and a wide network, of the first block or of first and last.

    Args:
      runs: with images; the first pair that differs in width alone is drawn.
      model: whose.
      ends: 1 for the first block, 2 for first and last.
      frequencies: whether Fourier amplitudes stand below.

    Raises:
      UserError: no two drawn runs of the network differ in width alone.
    """
    pairs = _pairs(runs, model)
    if not pairs:
        raise UserError(f"{model}: expected images of two widths, received none; add the steps train,visualize")
    thin, wide = pairs[0]
    return plot_width_sheet(thin, wide, _end_blocks(thin, wide, ends), frequencies=frequencies)


def _pairs(runs: Runs, model: str | None) -> list[tuple[DrawnRun, DrawnRun]]:
    pairs = pair_widths(runs.drawn)
    return [pair for pair in pairs if model in (None, pair[0].config.model.model)]


def _end_blocks(thin: DrawnRun, wide: DrawnRun, ends: int) -> list[str]:
    taps = [tap for tap in thin.drawings if tap in wide.drawings]
    blocks = [tap for tap in taps if tap in MODELS[thin.config.model.model].blocks] or taps
    return list(dict.fromkeys([blocks[0], blocks[-1]][:ends]))
