"""What the three papers of Casper et al. draw of perceptrons on synthetic data.

Every width and setting has five candidate learning rates. Panels show the runs at the rate that validation chose, then
those at one fixed rate, then the chosen ones on fifty times as many inputs: a thousand rows are too few to tell the
redundant units of the widest networks (512 units want 2,560).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tfunits.reports.figures.choosing import choose_learning_rate, fix_learning_rate
from tfunits.reports.figures.figure import Curve, Figure
from tfunits.reports.figures.panels import WidthPanel, describe_inputs

# Fresh inputs on which the chosen runs are measured again.
MANY_INPUTS = 50_000
# One rate for all widths and initial weights: that of the preset where steps are in proportion to gradients, and the
# usual one of the optimisers that normalise them, which is also what the authors' program took for Adam (FACTS 4.1).
_FIXED_RATES = {"momentum": 0.1, "sgd": 0.1, "adam": 0.001, "rmsprop": 0.001}
_FIXED_TITLE = "rate 0.1"
_FIXED_TITLE_BY_OPTIMIZER = "rate 0.1, of Adam and RMSProp 0.001"

# Factor on the initial weights -> its label: with the standard deviations of hidden and output layer (FACTS 5).
_SCALES = {0.01: "1e-2", 1.0: "1", 100.0: "1e2", 10_000.0: "1e4", 1e6: "1e6"}
SCALE_CURVES = tuple(
    Curve(label=f"init factor {label} (std {1e-3 * scale:g}, {1e-2 * scale:g})", settings={"init_scale": scale})
    for scale, label in _SCALES.items()
)
OPTIMIZER_CURVES = tuple(
    Curve(label=label, settings={"optimizer": name})
    for name, label in (
        ("momentum", "momentum"),
        ("sgd", "SGD"),
        ("adam", "Adam"),
        ("rmsprop", "RMSProp (not in the paper's figure)"),
    )
)
# Both data sets, and two of the factors.
DATASET_CURVES = tuple(
    Curve(
        label=f"{dimensions:,} dimensions, init factor {_SCALES[scale]}",
        settings={"dataset": f"uncorrelated{dimensions}", "init_scale": scale},
    )
    for dimensions in (10, 10_000)
    for scale in (0.01, 1.0)
)


def synthetic_figure(
    name: str, title: str, curves: Sequence[Curve], measures: Sequence[str], claims: Sequence[str]
) -> Figure:
    """A figure with three rows of panels, a column a measure: chosen rates, a fixed rate, chosen rates on many inputs.

    Args:
      name, title, claims: as `Figure` has them.
      curves: of every panel.
      measures: one column each.
    """
    by_optimizer = any("optimizer" in curve.settings for curve in curves)
    chosen = {"choose": choose_learning_rate, "listed": ("learning_rate",)}
    many = {"measured_examples": MANY_INPUTS}
    rows: dict[str, Mapping[str, Any]] = {
        "chosen rates": chosen,
        _FIXED_TITLE_BY_OPTIMIZER if by_optimizer else _FIXED_TITLE: {"choose": fix_learning_rate(_FIXED_RATES)},
        f"chosen rates, {describe_inputs(many)}": {**chosen, "measured": many},
    }
    return Figure(
        name=name,
        title=title,
        panels=[
            WidthPanel(measure=measure, curves=curves, title=row, **options)
            for row, options in rows.items()
            for measure in measures
        ],
        claims=claims,
        choose=choose_learning_rate,
        further=(many,),
        columns=len(measures),
    )
