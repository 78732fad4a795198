"""A figure's files: picture as PNG and PDF, and the numbers behind every panel as CSV."""

import pathlib
import textwrap

import matplotlib.figure
import numpy as np
import pandas as pd

from tfunits.artifacts import replacing, write_figure, write_table
from tfunits.configs import MODELS, ExperimentConfig
from tfunits.reports.figures.figure import Figure
from tfunits.reports.figures.runs import Runs
from tfunits.reports.plots import PANEL_INCHES, add_legend_below

_DPI = 130
_TITLE_SIZE = 10
# Of the title's font, on average, and a little more.
_CHARACTER_INCHES = 0.085


def draw_figure(figure: Figure, runs: Runs, folder: pathlib.Path) -> list[pathlib.Path]:
    """Draw a figure from what its runs hold.

    Args:
      figure: of `FIGURES`.
      runs: the figure's, of which it chooses.
      folder: where `<name>.png`, `<name>.pdf` and `<name>.csv` go.

    Returns: the files.
    """
    tables = [panel.tabulate(runs) for panel in figure.panels]
    picture = figure.picture(runs) if figure.picture else plot_figure(figure, tables)
    if stand_ins := name_stand_ins(runs):
        title = picture.get_suptitle() or f"{figure.name}: {figure.title}"
        _set_title(picture, f"{title}\nstand-in data: {', '.join(stand_ins)}")
    path = folder / figure.name
    files = [path.with_name(f"{path.name}{suffix}") for suffix in (".png", ".pdf", ".csv")]
    write_figure(files[0], picture, _DPI)
    with replacing(files[1]) as temporary:
        # Without a date, equal numbers give an equal file.
        picture.savefig(temporary, format="pdf", metadata={"CreationDate": None})
    write_table(files[2], join_tables(figure, tables))
    return files


def plot_figure(figure: Figure, tables: list[pd.DataFrame]) -> matplotlib.figure.Figure:
    """The picture of a figure whose panels hold these numbers; a panel without numbers says so."""
    count = len(figure.panels)
    columns = min(count, figure.columns)
    rows = -(-count // columns)
    width, height = figure.inches or (1.1 * PANEL_INCHES, 1.05 * PANEL_INCHES)
    picture = matplotlib.figure.Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = np.ravel(picture.subplots(rows, columns, squeeze=False))
    for letter, panel, table, one in zip(_letters(figure), figure.panels, tables, axes, strict=False):
        if table.empty:
            one.text(0.5, 0.5, "not measured", ha="center", va="center", color="grey", transform=one.transAxes)
            one.set(title=panel.title, xticks=[], yticks=[])
        else:
            panel.plot(one, table)
        if count > 1:
            one.set_title(f"({letter}) {one.get_title()}", fontsize=9)
    for one in axes[count:]:
        one.remove()
    add_legend_below(picture)
    _set_title(picture, f"{figure.name}: {figure.title}")
    return picture


def _set_title(picture: matplotlib.figure.Figure, title: str) -> None:
    """The title above a figure, in as many lines as its width takes."""
    width = int(picture.get_figwidth() / _CHARACTER_INCHES)
    lines = [line for part in title.splitlines() for line in textwrap.wrap(part, width)]
    picture.suptitle("\n".join(lines), fontsize=_TITLE_SIZE)


def name_stand_ins(runs: Runs) -> list[str]:
    """Embedded data sets of a figure's runs on which no paper trained their networks, sorted."""
    configs = [run.config for run in (*runs.records, *runs.drawn)]
    return sorted({config.data.dataset for config in configs if _is_stand_in(config)})


def _is_stand_in(config: ExperimentConfig) -> bool:
    if config.model.is_file or not config.data.dataset_facts.embedded:
        return False
    return config.data.dataset not in MODELS[config.model.model].papers_dataset_name.split(" or ")


def join_tables(figure: Figure, tables: list[pd.DataFrame]) -> pd.DataFrame:
    """The numbers of all panels, with columns that say which: its letter, as in the picture, and its title."""
    lettered = [
        table.assign(panel=letter, title=panel.title)
        for letter, panel, table in zip(_letters(figure), figure.panels, tables, strict=True)
    ]
    joined = pd.concat(lettered, ignore_index=True)
    first = ["panel", "title"]
    return joined[[*first, *(name for name in joined.columns if name not in first)]]


def _letters(figure: Figure) -> list[str]:
    """a, b, c, ..., as papers letter panels."""
    return [chr(ord(figure.first_letter) + number) for number in range(len(figure.panels))]
