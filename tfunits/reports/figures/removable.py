"""Figures and tables of Casper et al. 2019 (arXiv, "Removable and/or repeated units").

A network's area under the ablation curve is the mean over its layers, each ablated alone.
"""

from tfunits.reports.figures import curves
from tfunits.reports.figures.common import first_figures, parameters_figure
from tfunits.reports.figures.curves import width_panels
from tfunits.reports.figures.figure import Figure
from tfunits.reports.figures.synthetic import OPTIMIZER_CURVES, SCALE_CURVES, synthetic_figure
from tfunits.reports.figures.unit_panels import (
    MEAN_OF_TAPS,
    AblationPanel,
    CorrelationPanel,
    LastEpochsPanel,
)

_UNITS = ("area", "similarity")
_ALL_THREE = ("accuracy", *_UNITS)
_GLOROT, _HE = ({"initializer": f"{name}_normal"} for name in ("glorot", "he"))

_MAIN = (
    *first_figures("removable", training_panel=False),
    Figure(
        name="removable/fig2",
        title="AlexNets of two initialisations, each layer ablated alone",
        panels=[
            AblationPanel(title="Glorot", settings=_GLOROT, tap=MEAN_OF_TAPS),
            AblationPanel(title="He", settings=_HE, tap=MEAN_OF_TAPS),
        ],
        claims=("F04",),
    ),
    Figure(
        name="removable/fig3",
        title="correlations in conv2 of AlexNets of two initialisations",
        panels=[
            CorrelationPanel(title="Glorot", tap="conv2", settings=_GLOROT),
            CorrelationPanel(title="He", tap="conv2", settings=_HE, color=1),
        ],
        claims=("F06",),
    ),
    Figure(
        name="removable/fig4",
        title="removable and repeated units on ImageNet",
        panels=width_panels(_UNITS, curves.IMAGENET),
        claims=("V01", "V02", "V03"),
    ),
    Figure(
        name="removable/fig5",
        title="AlexNets and ResNet56s with true and random labels",
        panels=width_panels(_UNITS, curves.CIFAR),
        claims=("V01", "V04"),
    ),
    Figure(
        name="removable/fig6",
        title="AlexNets with three initialisations",
        panels=width_panels(_UNITS, curves.NORMAL_INITIALIZERS),
        claims=("V01", "V05", "V06"),
    ),
)

_APPENDIX = (
    parameters_figure("removable/figB1"),
    Figure(
        name="removable/figB2",
        title="ResNet18s in their last epochs",
        panels=[LastEpochsPanel(measure=measure) for measure in _ALL_THREE],
        claims=("V07",),
    ),
    Figure(
        name="removable/figB3",
        title="AlexNets with uniform initial weights",
        panels=width_panels(_ALL_THREE, curves.UNIFORM_INITIALIZERS),
        claims=("V01", "V07"),
    ),
    synthetic_figure(
        "removable/figB4", "perceptrons on 10,000 dimensions, by their initial weights", SCALE_CURVES,
        _ALL_THREE, ("V08",),
    ),
    synthetic_figure(
        "removable/figB5", "perceptrons on 10 dimensions, by their initial weights", SCALE_CURVES,
        _ALL_THREE, ("V09",),
    ),
    Figure(
        name="removable/figB6",
        title="layers of ResNet56",
        panels=width_panels(_UNITS, curves.RESNET56_TAPS),
        claims=("V10",),
    ),
    Figure(
        name="removable/figB7",
        title="layers of ResNet18",
        panels=width_panels(_UNITS, curves.RESNET18_TAPS),
        claims=("V11",),
    ),
    Figure(
        name="removable/figB8",
        title="blocks of Inception-v3",
        panels=width_panels(_UNITS, curves.INCEPTION_TAPS),
        claims=("V12",),
    ),
    Figure(
        name="removable/figB9",
        title="blocks of Inception-v3 where the last 35x35 block alone is varied",
        panels=width_panels(_UNITS, curves.INCEPTION_TAPS, x="layer_size"),
        claims=("F20",),
    ),
    Figure(
        name="removable/figB10",
        title="AlexNets with regularisers",
        panels=width_panels(_ALL_THREE, curves.REGULARIZERS),
        claims=("V01", "V14"),
    ),
    synthetic_figure(
        "removable/figB11", "perceptrons on 10,000 dimensions, by optimiser", OPTIMIZER_CURVES, _ALL_THREE, ("V13",)
    ),
    Figure(
        name="removable/figB12",
        title="ResNet18s, batch size and learning rate times k",
        panels=width_panels(_ALL_THREE, curves.RESNET18_FACTORS),
        claims=("V01", "V07"),
    ),
    Figure(
        name="removable/figB13",
        title="AlexNets and ResNet56s, batch size and learning rate times k",
        panels=width_panels(_ALL_THREE, curves.CIFAR_FACTORS),
        claims=("V01", "V07"),
    ),
)  # fmt: skip

FIGURES = (*_MAIN, *_APPENDIX)
