"""What a figure of a paper is: runs, panels, and what the paper claims about it."""

import dataclasses
import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, Self, runtime_checkable

import matplotlib.axes
import matplotlib.figure
import pandas as pd

from tfunits.reports.figures.runs import Runs

# From fields of `MeasureConfig` to other ones.
ChangeMeasuring = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class Panel(Protocol):
    """One panel of a figure: numbers first, then their picture.

    Attributes:
      title: above the panel.
    """

    title: str

    def tabulate(self, runs: Runs) -> pd.DataFrame:
        """The numbers behind the panel, tidy; empty where the runs do not have them."""

    def plot(self, axes: matplotlib.axes.Axes, table: pd.DataFrame) -> None:
        """Draw what `tabulate` returned."""


@runtime_checkable
class MeasuredPanel(Protocol):
    """A panel that may be of runs measured in another way than the rest of its figure."""

    def measured_as(self, change: ChangeMeasuring) -> "Panel":
        """The panel of runs measured as changed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """One line of a panel: which runs, and which tap of them.

    Attributes:
      label: in the legend.
      settings: field -> value, as `Runs.where` takes them; or several such, of which one is enough.
      tap: None for the panel's own.
      x: the setting on the abscissa; None for the panel's own.
    """

    label: str
    settings: Mapping[str, Any] | Sequence[Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    tap: str | None = None
    x: str | None = None

    def choose(self, runs: Runs) -> Runs:
        """The curve's runs."""
        return runs.any_of([self.settings] if isinstance(self.settings, Mapping) else self.settings)


class Source(enum.StrEnum):
    """What a figure is drawn of: measured runs, images of their units, or their settings alone, so that none is run."""

    MEASURES = "measures"
    IMAGES = "images"
    SETTINGS = "settings"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure or table of a paper.

    Attributes:
      name: <paper>/<figure>, also the name of its flagfile below flags/.
      title: what it shows, in our words.
      panels: in order.
      claims: ids of what the papers claim about it, of `CLAIMS`.
      choose: which of the runs are drawn, where a grid holds candidates of which one is chosen (such as learning
        rates): from all runs to those chosen; None for all.
      further: further ways in which the chosen runs are measured: fields of `MeasureConfig`, one mapping a way.
      columns: panels beside each other, where a figure has several rows of them.
      first_letter: of the panels, where a figure is some of a paper's.
      inches: width and height of a panel; None for those of all figures.
      source: what it is drawn of.
      picture: draws the whole figure where it is no panels but a sheet of images; they then hold its numbers only.
    """

    name: str
    title: str
    panels: Sequence[Panel]
    claims: Sequence[str] = ()
    choose: Callable[[Runs], Runs] | None = None
    further: Sequence[Mapping[str, Any]] = ()
    columns: int = 4
    first_letter: str = "a"
    inches: tuple[float, float] | None = None
    source: Source = Source.MEASURES
    picture: Callable[[Runs], matplotlib.figure.Figure] | None = None

    def measured_as(self, change: ChangeMeasuring) -> Self:
        """The figure with its further ways of measuring changed: what is measured, judged and drawn."""
        return dataclasses.replace(
            self,
            further=[change(fields) for fields in self.further],
            panels=[panel.measured_as(change) if isinstance(panel, MeasuredPanel) else panel for panel in self.panels],
        )
