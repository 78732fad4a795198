"""Curves that the three papers of Casper et al. draw again and again, and the panels that hold them."""

from collections.abc import Sequence
from typing import Any

from tfunits.configs import VARIED_BLOCK
from tfunits.reports.figures.figure import Curve
from tfunits.reports.figures.panels import WidthPanel
from tfunits.reports.figures.unit_panels import ParameterPanel

# The networks on ImageNet. Of the one whose single block is varied, that block alone is measured, as the captions say.
RESNET18 = Curve(label="ResNet18", settings={"model": "resnet18"})
INCEPTION = Curve(label="Inception-v3", settings={"model": "inception_v3", "layer_size": None})
_VARIED = {"model": "inception_v3", "size": 1.0}
INCEPTION_LAYER = Curve(label="Inception-v3-layer", settings=_VARIED, x="layer_size", tap=VARIED_BLOCK)
IMAGENET = (RESNET18, INCEPTION, INCEPTION_LAYER)
# Accuracies and parameters are the network's.
IMAGENET_NETWORKS = (RESNET18, INCEPTION, Curve(label="Inception-v3-layer", settings=_VARIED, x="layer_size"))
# AlexNet stands here with all regularisers, as in the papers' figures (FACTS F12); its random labels go without.
CIFAR = (
    Curve(label="AlexNet, regularised", settings={"model": "alexnet", "random_labels": False}),
    Curve(label="AlexNet, random labels", settings={"model": "alexnet", "random_labels": True}),
    Curve(label="ResNet56", settings={"model": "resnet56", "random_labels": False}),
    Curve(label="ResNet56, random labels", settings={"model": "resnet56", "random_labels": True}),
)


def _initializers(distribution: str) -> tuple[Curve, ...]:
    return tuple(
        Curve(label=f"{label} {distribution}", settings={"initializer": f"{name}_{distribution}"})
        for label, name in (("Glorot", "glorot"), ("He", "he"), ("LeCun", "lecun"))
    )


NORMAL_INITIALIZERS = _initializers("normal")
UNIFORM_INITIALIZERS = _initializers("uniform")
REGULARIZERS = tuple(
    Curve(label=label, settings={"regularizers": name})
    for label, name in (
        ("none", "none"),
        ("data augmentation", "augmentation"),
        ("dropout", "dropout"),
        ("weight decay", "weight_decay"),
        ("all three", "augmentation+dropout+weight_decay"),
    )
)
# ResNet18's factors, and size -> the factor of the largest batch that the authors' machine held: 8192, 4096, 3072, 1024
# and 512 images (FACTS 4.3).
_LARGEST_FACTORS = {0.25: 32.0, 0.5: 16.0, 1.0: 12.0, 2.0: 4.0, 4.0: 2.0}
_FACTORS = {0.25: "1/4", 1.0: "1", 4.0: "4"}
RESNET18_FACTORS = (
    *(Curve(label=f"k = {label}", settings={"k": k}) for k, label in _FACTORS.items()),
    Curve(label="largest batch", settings=[{"size": size, "k": k} for size, k in _LARGEST_FACTORS.items()]),
)
CIFAR_FACTORS = tuple(
    Curve(label=f"{label}, k = {factor}", settings={"model": model, "k": k})
    for label, model in (("AlexNet", "alexnet"), ("ResNet56", "resnet56"))
    for k, factor in _FACTORS.items()
)

# Legends of the papers name other layers (FACTS F21, F31); these are the taps.
RESNET18_TAPS = tuple(Curve(label=tap.replace("stage", "stage "), tap=tap)
                      for tap in ("stem", "stage1", "stage2", "stage3", "stage4"))  # fmt: skip
RESNET56_TAPS = tuple(Curve(label=tap.replace("stage", "stage "), tap=tap)
                      for tap in ("stem", "stage1", "stage2", "stage3"))  # fmt: skip
INCEPTION_TAPS = tuple(
    Curve(label=label, tap=tap)
    for label, tap in (
        ("last 35x35 block", VARIED_BLOCK),
        ("last 17x17 block", "mixed_17x17x768e"),
        ("last 8x8 block", "mixed_8x8x2048b"),
    )
)

_PERCEPTRONS = tuple(
    Curve(label=f"{dimensions:,} dimensions", settings={"dataset": f"uncorrelated{dimensions}"})
    for dimensions in (10, 10_000)
)
_CIFAR_NETWORKS = tuple(
    Curve(label=label, settings={"model": model}) for label, model in (("AlexNet", "alexnet"), ("ResNet56", "resnet56"))
)


def parameter_panels() -> list[ParameterPanel]:
    """Trainable parameters: perceptrons, networks on CIFAR-10, networks on ImageNet."""
    panels, first = [], 0
    for title, curves in (
        ("perceptrons", _PERCEPTRONS),
        ("CIFAR-10", _CIFAR_NETWORKS),
        ("ImageNet", IMAGENET_NETWORKS),
    ):
        panels.append(ParameterPanel(title=title, curves=curves, first=first))
        first += len(curves)
    return panels


def width_panels(measures: Sequence[str], curves: Sequence[Curve], **options: Any) -> list[WidthPanel]:
    """A panel a measure, all with the same curves; options as `WidthPanel` has them."""
    return [WidthPanel(measure=measure, curves=curves, **options) for measure in measures]
