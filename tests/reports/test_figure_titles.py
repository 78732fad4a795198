"""Titles above figures, and legends below them."""

import matplotlib.figure
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from tfunits.reports.figures import FIGURES, Figure
from tfunits.reports.figures.drawing import plot_figure


class EmptyPanel:
    title = ""

    def tabulate(self, runs) -> pd.DataFrame:
        return pd.DataFrame()


class LinePanel(EmptyPanel):
    def plot(self, axes, table: pd.DataFrame) -> None:
        for label in table["label"]:
            axes.plot([0, 1], label=label)


def draw_title(title: str, panels: int, inches: tuple[float, float] | None) -> matplotlib.figure.Figure:
    figure = Figure(name="paper/fig1", title=title, panels=[EmptyPanel()] * panels, inches=inches)
    picture = plot_figure(figure, [pd.DataFrame()] * panels)
    FigureCanvasAgg(picture).draw()
    return picture


@pytest.mark.parametrize("panels", [1, 2, 4])
def test_every_title_is_as_wide_as_its_figure_at_most(panels: int) -> None:
    """Negative control: in one line, the longest is wider than one panel."""
    longest = max((figure.title for figure in FIGURES.values()), key=len)
    for title in (longest, "M" * 8 + " " + "W" * 8, longest.upper()):
        picture = draw_title(title, panels, None)
        box = picture._suptitle.get_window_extent()
        assert 0 <= box.x0 < box.x1 <= picture.bbox.width
    picture = draw_title(longest, 1, None)
    assert "\n" in picture.get_suptitle()
    picture.suptitle(picture.get_suptitle().replace("\n", " "), fontsize=10)
    picture.canvas.draw()
    assert picture._suptitle.get_window_extent().width > picture.bbox.width


def test_short_titles_stay_in_one_line() -> None:
    assert draw_title("accuracy", 1, (5.0, 3.0)).get_suptitle() == "paper/fig1: accuracy"


@pytest.mark.parametrize(
    "labels", [["AlexNet, random labels"] * 4, ["init factor 1e-2 (std 1e-05, 0.0001)"] * 5, ["a"] * 9], ids=str
)
@pytest.mark.parametrize("panels", [1, 3])
def test_every_legend_is_as_wide_as_its_figure_at_most(labels: list[str], panels: int) -> None:
    table = pd.DataFrame({"label": [f"{label} {number}" for number, label in enumerate(labels)]})
    picture = plot_figure(Figure(name="paper/fig1", title="", panels=[LinePanel()] * panels), [table] * panels)
    FigureCanvasAgg(picture).draw()
    [legend] = picture.legends
    box = legend.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= picture.bbox.width
    assert len(legend.get_texts()) == len(labels)
