"""Figures and tables of Casper et al. 2019 (ICLR submission, "Robustness and/or redundancy").

Robustness is the area under the ablation curve, redundancy compressibility and similarity; a network's are means over
its layers, each ablated alone.
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

_UNITS = ("area", "compressibility", "similarity")
_ALL_FOUR = ("accuracy", *_UNITS)
# Figure B2: columns are trainings, rows layers.
_ALEXNETS = {
    "no regulariser": {"regularizers": "none", "random_labels": False},
    "regularised": {"regularizers": "augmentation+dropout+weight_decay"},
    "random labels": {"random_labels": True},
}
_ALEXNET_TAPS = ("conv1", "conv2", "fc3", "fc4")

_MAIN = (
    *first_figures("robustness", training_panel=True),
    Figure(
        name="robustness/fig2",
        title="ResNet18s, and AlexNets of two initialisations, each layer ablated alone",
        panels=[
            AblationPanel(title="ResNet18", settings={"model": "resnet18"}, tap=MEAN_OF_TAPS),
            *(
                AblationPanel(
                    title=f"AlexNet, {label}",
                    settings={"model": "alexnet", "initializer": f"{name}_normal"},
                    tap=MEAN_OF_TAPS,
                )
                for label, name in (("Glorot", "glorot"), ("He", "he"))
            ),
        ],
        claims=("F04",),
    ),
    Figure(
        name="robustness/fig3",
        title="robustness and redundancy on ImageNet",
        panels=width_panels(_UNITS, curves.IMAGENET),
        claims=("V02", "V03"),
    ),
    Figure(
        name="robustness/fig4",
        title="AlexNets and ResNet56s with true and random labels",
        panels=width_panels(_UNITS, curves.CIFAR),
        claims=("V04",),
    ),
    Figure(
        name="robustness/fig5",
        title="AlexNets with three initialisations",
        panels=width_panels(_UNITS, curves.NORMAL_INITIALIZERS),
        claims=("V05", "V06"),
    ),
)

_APPENDIX = (
    parameters_figure("robustness/figA1"),
    Figure(
        name="robustness/figB2",
        title="correlations in the layers of AlexNets",
        panels=[
            CorrelationPanel(title=f"{label}, {tap}", tap=tap, settings=settings, color=number)
            for tap in _ALEXNET_TAPS
            for number, (label, settings) in enumerate(_ALEXNETS.items())
        ],
        claims=("R13",),
        columns=len(_ALEXNETS),
    ),
    Figure(
        name="robustness/figC3",
        title="ResNet18s in their last epochs",
        panels=[LastEpochsPanel(measure=measure) for measure in _ALL_FOUR],
        claims=("V07",),
    ),
    Figure(
        name="robustness/figC4",
        title="AlexNets with uniform initial weights",
        panels=width_panels(_ALL_FOUR, curves.UNIFORM_INITIALIZERS),
        claims=("V07",),
    ),
    synthetic_figure(
        "robustness/figC5", "perceptrons on 10,000 dimensions, by their initial weights", SCALE_CURVES,
        _ALL_FOUR, ("V08",),
    ),
    synthetic_figure(
        "robustness/figC6", "perceptrons on 10 dimensions, by their initial weights", SCALE_CURVES,
        _ALL_FOUR, ("V09",),
    ),
    Figure(
        name="robustness/figC7",
        title="layers of ResNet56",
        panels=width_panels(_UNITS, curves.RESNET56_TAPS),
        claims=("V10",),
    ),
    Figure(
        name="robustness/figC8",
        title="layers of ResNet18",
        panels=width_panels(_UNITS, curves.RESNET18_TAPS),
        claims=("V11",),
    ),
    Figure(
        name="robustness/figC9",
        title="blocks of Inception-v3",
        panels=width_panels(_UNITS, curves.INCEPTION_TAPS),
        claims=("V12",),
    ),
    Figure(
        name="robustness/figC10",
        title="blocks of Inception-v3 where the last 35x35 block alone is varied",
        panels=width_panels(_UNITS, curves.INCEPTION_TAPS, x="layer_size"),
        claims=("F20",),
    ),
    Figure(
        name="robustness/figC11",
        title="AlexNets with regularisers",
        panels=width_panels(_ALL_FOUR, curves.REGULARIZERS),
        claims=("V14",),
    ),
    synthetic_figure(
        "robustness/figC12", "perceptrons on 10,000 dimensions, by optimiser", OPTIMIZER_CURVES, _ALL_FOUR, ("R18",)
    ),
    Figure(
        name="robustness/figC13",
        title="ResNet18s, batch size and learning rate times k",
        panels=width_panels(_ALL_FOUR, curves.RESNET18_FACTORS),
        claims=("V07",),
    ),
    Figure(
        name="robustness/figC14",
        title="AlexNets and ResNet56s, batch size and learning rate times k",
        panels=width_panels(_ALL_FOUR, curves.CIFAR_FACTORS),
        claims=("V07",),
    ),
)  # fmt: skip

FIGURES = (*_MAIN, *_APPENDIX)
