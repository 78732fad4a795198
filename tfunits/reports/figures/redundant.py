"""Figures of Doimo et al. 2022 (NeurIPS, "Redundant representations").

Letters of panels follow the paper where one figure shows several data sets; each data set has a figure of its own here.
"""

from collections.abc import Sequence
from typing import Any

from tfunits.reports.figures.chunk_panels import (
    ALL_RUNS,
    BiasVariancePanel,
    DynamicsPanel,
    EnsemblePanel,
    ErrorPanel,
    ExcessPanel,
    NetworkDynamicsPanel,
    ReconstructionPanel,
)
from tfunits.reports.figures.chunk_tables import CHUNKS, NETWORKS
from tfunits.reports.figures.figure import Curve, Figure, Panel


def is_decayed(regularizers: str) -> bool:
    """Whether a run's regularisers, joined by "+", have weight decay among them."""
    return "weight_decay" in regularizers.split("+")


def is_not_decayed(regularizers: str) -> bool:
    """The opposite of `is_decayed`."""
    return not is_decayed(regularizers)


WITH_DECAY = Curve(label="weight decay", settings={"regularizers": is_decayed})
WITHOUT_DECAY = Curve(label="no weight decay", settings={"regularizers": is_not_decayed})
_BOTH = (WITH_DECAY, WITHOUT_DECAY)
# Mean correlation as verdicts use it, and as the paper draws it.
_CORRELATIONS = {
    "held_out_correlation": "held out, outside the chunk",
    "correlation": "in-sample, all pairs",
}


def _excess(letter: str, title: str, claims: Sequence[str], *kinds: str) -> Figure:
    """Networks against width, or chunks against their size, of one data set; and the ensembles behind error_inf."""
    return Figure(
        name=f"redundant/{letter}", title=title, panels=[ExcessPanel(kinds=kinds), EnsemblePanel()], claims=claims
    )


def _signatures(name: str, title: str) -> Figure:
    """Training errors, and how well chunks determine the layer, of one data set."""
    panels = [ErrorPanel(title="training error"), ReconstructionPanel(title="layer rebuilt from a chunk")]
    return Figure(name=f"redundant/{name}", title=title, panels=panels, claims=("D05", "D06", "D07", "D08"))


def _dynamics(name: str, title: str, claims: Sequence[str] = ("D09", "D10", "D17"), **options: Any) -> Figure:
    """Correlation of residuals, training error of chunks, and errors of the network, against the epoch."""
    return Figure(name=f"redundant/{name}", title=title, panels=_dynamics_panels(**options), claims=claims)


def _dynamics_panels(curves: Sequence[Curve] = ALL_RUNS) -> list[Panel]:
    return [
        *(DynamicsPanel(measure=name, title=title, curves=curves) for name, title in _CORRELATIONS.items()),
        DynamicsPanel(measure="chunk_error", title="training error of chunks", curves=curves[:1]),
        NetworkDynamicsPanel(title="errors of the network", curves=curves[:1]),
    ]


def _no_decay(name: str, network: str) -> tuple[Figure, Figure]:
    """Networks with and without weight decay: errors of chunks, and the correlation of residuals against the epoch."""
    chunks = Figure(
        name=f"redundant/{name}a",
        title=f"error of chunks with and without weight decay, {network}",
        panels=[
            ExcessPanel(curves=_BOTH, kinds=(CHUNKS,)),
            ReconstructionPanel(curves=_BOTH[1:]),
            EnsemblePanel(curves=_BOTH),
        ],
        claims=("D12",),
    )
    correlations = Figure(
        name=f"redundant/{name}b",
        title=f"correlation of residuals with and without weight decay, {network}",
        # Thick lines are those without, as in the paper.
        panels=[
            DynamicsPanel(measure=measure, title=title, curves=(WITHOUT_DECAY, WITH_DECAY))
            for measure, title in _CORRELATIONS.items()
        ],
        claims=("D12",),
    )
    return chunks, correlations


def _bias_variance(name: str, title: str, losses: Sequence[str] = ("squared", "cross_entropy")) -> Figure:
    panels = [BiasVariancePanel(title=loss.replace("_", "-"), loss=loss) for loss in losses]
    return Figure(name=f"redundant/{name}", title=title, panels=panels, claims=("D16",))


def _fully_connected(name: str, title: str) -> Figure:
    """Everything that is asked of networks after training, a column with and one without weight decay."""
    panels: list[Panel] = []
    for curve in _BOTH:
        alone = (Curve(label="", settings=curve.settings),)
        panels += [
            ExcessPanel(title=curve.label, curves=alone),
            ErrorPanel(title=f"training error, {curve.label}", curves=alone),
            ReconstructionPanel(title=f"layer rebuilt from a chunk, {curve.label}", curves=alone),
            BiasVariancePanel(title=f"bias and variance, {curve.label}", curves=alone),
        ]
    panels += [
        EnsemblePanel(title="ensembles of the widest", curves=_BOTH),
        ErrorPanel(title="test error", curves=_BOTH, split="test"),
        ExcessPanel(title="chunks", curves=_BOTH, kinds=(CHUNKS,)),
        ExcessPanel(title="networks", curves=_BOTH, kinds=(NETWORKS,)),
    ]
    claims = ("D01", "D03", "D04", "D05", "D06", "D07", "D08", "D12", "D16", "D18")
    return Figure(name=f"redundant/{name}", title=title, panels=panels, claims=claims)


def _fully_connected_dynamics(name: str, title: str) -> Figure:
    """What happens over epochs with weight decay, and beside it without."""
    without = (Curve(label="", settings=WITHOUT_DECAY.settings),)
    panels = [
        *(DynamicsPanel(measure=m, title=t, curves=(WITHOUT_DECAY, WITH_DECAY)) for m, t in _CORRELATIONS.items()),
        *_dynamics_panels((Curve(label="", settings=WITH_DECAY.settings),))[2:],
        DynamicsPanel(measure="chunk_error", title="training error of chunks, no weight decay", curves=without),
        NetworkDynamicsPanel(title="errors of the network, no weight decay", curves=without),
    ]
    return Figure(name=f"redundant/{name}", title=title, panels=panels, claims=("D09", "D10", "D12", "D17"))


_FC5, _WR28, _DENSENET = "FC5", "Wide-ResNet-28", "DenseNet40"
_PARITY, _CIFAR10, _CIFAR100 = "parity of MNIST's digits", "CIFAR-10", "CIFAR-100"
# Chunks are set against full networks where there are networks of several widths.
_SCALING = ("D01", "D04")
_CHUNK_SCALING = ("D03",)

FIGURES = (
    Figure(
        name="redundant/fig1b",
        title=f"error of networks and of chunks of the widest, {_DENSENET} on {_CIFAR10}",
        panels=[ExcessPanel(), EnsemblePanel()],
        claims=("D01", "D03", "D04"),
    ),
    Figure(
        name="redundant/fig2a",
        title=f"error against width, {_FC5} on {_PARITY}",
        panels=[ExcessPanel(curves=_BOTH, kinds=(NETWORKS,)), EnsemblePanel(curves=_BOTH)],
        claims=("D01", "D04", "D18"),
    ),
    _excess("fig2b", f"error against width, {_WR28} on {_CIFAR10}", _SCALING, NETWORKS),
    _excess("fig2c", f"error against width, {_WR28} on {_CIFAR100}", _SCALING, NETWORKS),
    _excess("fig3a", f"error of chunks, {_FC5} on {_PARITY}", _CHUNK_SCALING, CHUNKS),
    _excess("fig3b", f"error of chunks, {_WR28} on {_CIFAR10}", _CHUNK_SCALING, CHUNKS),
    _excess("fig3c", f"error of chunks, {_WR28} on {_CIFAR100}", _CHUNK_SCALING, CHUNKS),
    _signatures("fig4ad", f"signatures of redundancy, {_FC5} on {_PARITY}"),
    _signatures("fig4be", f"signatures of redundancy, {_WR28} on {_CIFAR10}"),
    _signatures("fig4cf", f"signatures of redundancy, {_WR28} on {_CIFAR100}"),
    _dynamics("fig5", f"onset of clones, {_WR28} on {_CIFAR10}"),
    *_no_decay("fig6", f"{_WR28} on {_CIFAR10}"),
    Figure(
        name="redundant/fig7",
        title="ResNet50 on ImageNet, which it does not fit",
        panels=[
            ErrorPanel(title="training error", kinds=(NETWORKS,)),
            ExcessPanel(title="test error"),
            *(DynamicsPanel(measure=name, title=title) for name, title in _CORRELATIONS.items()),
        ],
        claims=("D13",),
    ),
    _dynamics("figS1", f"onset of clones, {_WR28} on {_CIFAR100}", ("D09", "D10")),
    Figure(
        name="redundant/figS2c",
        title=f"training error, {_DENSENET} on {_CIFAR10}",
        panels=[ErrorPanel(), ReconstructionPanel()],
        claims=("D02",),
    ),
    _dynamics("figS2def", f"onset of clones, {_DENSENET} on {_CIFAR10}", ("D09", "D10")),
    *_no_decay("figS3", f"{_DENSENET} on {_CIFAR10}"),
    Figure(
        name="redundant/figS4a",
        title=f"only what lies before the last layer grows, {_WR28} on {_CIFAR10}",
        panels=[
            ErrorPanel(title="test error", kinds=(NETWORKS,), split="test", x="size"),
            ErrorPanel(title="training error", kinds=(NETWORKS,), x="size"),
            ExcessPanel(title="chunks of the largest", kinds=(CHUNKS,)),
            ReconstructionPanel(title="layer rebuilt from a chunk"),
        ],
        claims=("D14",),
    ),
    Figure(
        name="redundant/figS4b",
        title=f"only the last layer of a narrow {_WR28} grows, {_CIFAR10}",
        panels=[
            ErrorPanel(title="test error", kinds=(NETWORKS,), split="test"),
            ErrorPanel(title="training error"),
            ReconstructionPanel(title="layer rebuilt from a chunk"),
        ],
        claims=("D14",),
    ),
    _bias_variance("figS5a", f"bias and variance, {_WR28} on {_CIFAR10}"),
    _bias_variance("figS5b", f"bias and variance, {_WR28} on {_CIFAR100}"),
    _bias_variance("figS5c", f"bias and variance, {_DENSENET} on {_CIFAR10}"),
    _fully_connected("fc5_digits", f"{_FC5} on the parity of scikit-learn's digits"),
    _fully_connected_dynamics("fc5_digits_dynamics", f"onset of clones, {_FC5} on scikit-learn's digits"),
    _fully_connected("fc5_uncorrelated", f"{_FC5} on labels of a random teacher, 10 inputs"),
    _fully_connected_dynamics("fc5_uncorrelated_dynamics", f"onset of clones, {_FC5} on labels of a random teacher"),
)
