"""What the three papers of Casper et al. draw alike."""

from tfunits.reports.figures import curves
from tfunits.reports.figures.curves import parameter_panels
from tfunits.reports.figures.figure import Figure, Source
from tfunits.reports.figures.panels import WidthPanel
from tfunits.reports.figures.table_panels import RecipePanel

_TABLE_INCHES = (13.0, 6.0)


def first_figures(paper: str, *, training_panel: bool) -> tuple[Figure, ...]:
    """Table 1 and figures 1a to 1c: recipes, and accuracy against width.

    Args:
      paper: begins the figures' names.
      training_panel: whether figure 1b has a panel of the training accuracy too.
    """
    panels = [WidthPanel(measure="accuracy", curves=curves.CIFAR, title="test" if training_panel else "")]
    if training_panel:
        panels.append(WidthPanel(measure="accuracy", curves=curves.CIFAR, title="training", split="train"))
    return (
        Figure(
            name=f"{paper}/table1",
            title="networks, data and training",
            panels=[RecipePanel()],
            inches=_TABLE_INCHES,
            source=Source.SETTINGS,
        ),
        Figure(
            name=f"{paper}/fig1a",
            title="accuracy on ImageNet",
            panels=[WidthPanel(measure="accuracy", curves=curves.IMAGENET_NETWORKS)],
            claims=("F01",),
        ),
        Figure(
            name=f"{paper}/fig1b",
            title="accuracy on CIFAR-10, true and random labels",
            panels=panels,
            claims=("F01", "F02") if training_panel else ("F01",),
        ),
        Figure(
            name=f"{paper}/fig1c",
            title="accuracy of AlexNets with three initialisations",
            panels=[WidthPanel(measure="accuracy", curves=curves.NORMAL_INITIALIZERS)],
            claims=("F01",),
        ),
    )


def parameters_figure(name: str) -> Figure:
    """Trainable parameters against width."""
    return Figure(name=name, title="trainable parameters", panels=parameter_panels(), source=Source.SETTINGS)
