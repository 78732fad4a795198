"""Figures and tables of Casper et al. 2021 (AAAI, "Frivolous units")."""

import functools

from tfunits.reports.figures import curves
from tfunits.reports.figures.common import first_figures, parameters_figure
from tfunits.reports.figures.curves import width_panels
from tfunits.reports.figures.figure import Figure, Source
from tfunits.reports.figures.synthetic import DATASET_CURVES, OPTIMIZER_CURVES, SCALE_CURVES, synthetic_figure
from tfunits.reports.figures.table_panels import WidthTestPanel, plot_end_blocks
from tfunits.reports.figures.unit_panels import AblationPanel, CorrelationPanel, LastEpochsPanel

_FRIVOLOUS = ("prunability", "redundancy")
_NEITHER = ("non_prunability", "non_redundancy")
_ALL_THREE = ("accuracy", *_FRIVOLOUS)
_GLOROT, _HE = ({"initializer": f"{name}_normal"} for name in ("glorot", "he"))

_MAIN = (
    *first_figures("frivolous", training_panel=True),
    Figure(
        name="frivolous/fig2",
        title="AlexNets with Glorot and He initialisation, all layers ablated at once; units of conv2",
        panels=[
            AblationPanel(title="Glorot", settings=_GLOROT),
            AblationPanel(title="He", settings=_HE),
            CorrelationPanel(title="Glorot", tap="conv2", settings=_GLOROT),
            CorrelationPanel(title="He", tap="conv2", settings=_HE, color=1),
        ],
        claims=("F03", "F04", "F06"),
    ),
    Figure(
        name="frivolous/fig3ab",
        title="frivolous units on ImageNet",
        panels=width_panels(_FRIVOLOUS, curves.IMAGENET),
        claims=("F07", "F08", "F09", "F27", "F29"),
    ),
    Figure(
        name="frivolous/fig3cd",
        title="frivolous units of ResNet18's layers",
        panels=width_panels(_FRIVOLOUS, curves.RESNET18_TAPS),
        first_letter="c",
        claims=("F10",),
    ),
    Figure(
        name="frivolous/fig4a",
        title="AlexNets and ResNet56s with true and random labels",
        panels=width_panels(_ALL_THREE, curves.CIFAR),
        claims=("F02", "F11", "F27", "F29", "F30"),
    ),
    Figure(
        name="frivolous/fig4b",
        title="AlexNets with regularisers",
        panels=width_panels(_ALL_THREE, curves.REGULARIZERS),
        claims=("F13",),
    ),
    Figure(
        name="frivolous/fig4c",
        title="AlexNets with three initialisations",
        panels=width_panels(_ALL_THREE, curves.NORMAL_INITIALIZERS),
        claims=("F04", "F14"),
    ),
    synthetic_figure(
        "frivolous/fig4d", "perceptrons on synthetic data of 10 and 10,000 dimensions", DATASET_CURVES,
        _ALL_THREE, ("F01", "F15", "F16", "F17", "F27", "F28", "F30"),
    ),
    Figure(
        name="frivolous/fig5",
        title="images of units of ResNet18's first block",
        panels=[WidthTestPanel(model="resnet18", ends=1)],
        source=Source.IMAGES,
        picture=functools.partial(plot_end_blocks, model="resnet18", ends=1, frequencies=False),
    ),
    Figure(
        name="frivolous/table2",
        title="are images of thin networks' units smoother than those of wide ones?",
        panels=[WidthTestPanel()],
        claims=("F31",),
        inches=(10.0, 5.0),
        source=Source.IMAGES,
    ),
)  # fmt: skip

_APPENDIX = (
    parameters_figure("frivolous/figE1"),
    Figure(
        name="frivolous/figE2ab",
        title="units that are not frivolous, on ImageNet",
        panels=width_panels(_NEITHER, curves.IMAGENET),
        claims=("F18",),
    ),
    Figure(
        name="frivolous/figE2cd",
        title="units that are not frivolous, of ResNet18's layers",
        panels=width_panels(_NEITHER, curves.RESNET18_TAPS),
        first_letter="c",
        claims=("F18",),
    ),
    Figure(
        name="frivolous/figE3a",
        title="units that are not frivolous: true and random labels",
        panels=width_panels(_NEITHER, curves.CIFAR),
        claims=("F18",),
    ),
    Figure(
        name="frivolous/figE3b",
        title="units that are not frivolous: AlexNets with regularisers",
        panels=width_panels(_NEITHER, curves.REGULARIZERS),
        claims=("F18",),
    ),
    Figure(
        name="frivolous/figE3c",
        title="units that are not frivolous: AlexNets with three initialisations",
        panels=width_panels(_NEITHER, curves.NORMAL_INITIALIZERS),
        claims=("F18",),
    ),
    synthetic_figure(
        "frivolous/figE3d", "units of perceptrons that are neither prunable nor redundant", DATASET_CURVES,
        _NEITHER, ("F18",),
    ),
    Figure(
        name="frivolous/figE4",
        title="frivolous units of Inception-v3's blocks",
        panels=width_panels(_FRIVOLOUS, curves.INCEPTION_TAPS),
        claims=("F19",),
    ),
    Figure(
        name="frivolous/figE5",
        title="frivolous units of Inception-v3's blocks where the last 35x35 block alone is varied",
        panels=width_panels(_FRIVOLOUS, curves.INCEPTION_TAPS, x="layer_size"),
        claims=("F20",),
    ),
    Figure(
        name="frivolous/figE6",
        title="AlexNets with uniform initial weights",
        panels=width_panels(_ALL_THREE, curves.UNIFORM_INITIALIZERS),
        claims=("F01", "F21"),
    ),
    synthetic_figure(
        "frivolous/figE7", "perceptrons on 10 dimensions, by their initial weights", SCALE_CURVES,
        _ALL_THREE, ("F01", "F22", "F27", "F28", "F30"),
    ),
    synthetic_figure(
        "frivolous/figE8", "perceptrons on 10,000 dimensions, by their initial weights", SCALE_CURVES,
        _ALL_THREE, ("F01", "F23", "F27", "F28", "F30"),
    ),
    synthetic_figure(
        "frivolous/figE9", "perceptrons on 10,000 dimensions, by optimiser", OPTIMIZER_CURVES,
        _ALL_THREE, ("F01", "F24"),
    ),
    Figure(
        name="frivolous/figE10",
        title="ResNet18s, batch size and learning rate times k",
        panels=width_panels(_ALL_THREE, curves.RESNET18_FACTORS),
        claims=("F01", "F25"),
    ),
    Figure(
        name="frivolous/figE11",
        title="AlexNets and ResNet56s, batch size and learning rate times k",
        panels=width_panels(_ALL_THREE, curves.CIFAR_FACTORS),
        claims=("F01", "F25"),
    ),
    Figure(
        name="frivolous/figE12",
        title="ResNet18s in their last epochs",
        panels=[LastEpochsPanel(measure=measure) for measure in _ALL_THREE],
        claims=("F25",),
    ),
    Figure(
        name="frivolous/figE13",
        title="images of units of ResNet18's first and last block, and their Fourier amplitudes",
        panels=[WidthTestPanel(model="resnet18", ends=2)],
        source=Source.IMAGES,
        picture=functools.partial(plot_end_blocks, model="resnet18", ends=2, frequencies=True),
    ),
)  # fmt: skip

FIGURES = (*_MAIN, *_APPENDIX)
