"""The numbers that figures draw."""

import matplotlib.colors
import numpy as np
import pandas as pd
import pytest
from fake_runs import COUNTS, JOINT, UNITS, make_curve, make_statistics
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tfunits import reports
from tfunits.statistics import AblationCurve

TITLE = "mlp-digits"


def draw_ablation(**options: float) -> Axes:
    curves = {name: make_curve(rows) for name, rows in {**COUNTS, "network": JOINT}.items()}
    (axes,) = reports.plot_ablation(curves, title=TITLE, **options).axes
    return axes


@pytest.mark.parametrize(("number", "rows"), enumerate([COUNTS["copies"], COUNTS["dead"], JOINT]))
def test_an_ablation_line_is_the_mean_over_draws_and_its_shade_the_range(number: int, rows: list) -> None:
    axes, agreement = draw_ablation(), np.array(rows) / 10
    np.testing.assert_allclose(axes.lines[number].get_xdata(), [0, 0.5, 1])
    np.testing.assert_allclose(axes.lines[number].get_ydata(), agreement.mean(axis=0))
    outline = axes.collections[number].get_paths()[0].vertices
    for x, low, high in zip([0, 0.5, 1], agreement.min(axis=0), agreement.max(axis=0), strict=True):
        drawn = outline[outline[:, 0] == x, 1]
        assert (drawn.min(), drawn.max()) == pytest.approx((low, high))


def test_the_joint_curve_is_black_and_the_line_to_cross_dotted() -> None:
    axes = draw_ablation(tolerance=0.3)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["copies", "dead", "all taps at once"]
    assert [line.get_color() == "black" for line in axes.lines[:3]] == [False, False, True]
    assert axes.lines[3].get_ydata() == pytest.approx([0.7, 0.7])
    assert axes.lines[3].get_linestyle() == ":"
    assert axes.get_title() == TITLE


def test_many_taps_have_different_colours() -> None:
    curves = {str(number): make_curve(JOINT) for number in range(12)}
    lines = reports.plot_ablation(curves, title=TITLE).axes[0].lines[:12]
    assert len({matplotlib.colors.to_hex(line.get_color()) for line in lines}) == 12


def test_correlations_are_a_density_a_tap() -> None:
    statistics = {name: make_statistics(rows) for name, rows in UNITS.items()}
    first, second = reports.plot_correlations(statistics, title=TITLE).axes
    density, edges, _ = first.patches[0].get_data()
    # Of six pairs of units, the two pairs of copies have |r| = 1 and the others 0.
    np.testing.assert_allclose(density[[0, -1]], np.array([4, 2]) / 6 * 50)
    assert (density * np.diff(edges)).sum() == pytest.approx(1)
    assert first.get_title() == "copies: 1 of 3 similar"
    assert second.get_title() == "dead: 0 of 3 similar"
    # One unit that varies has no pair.
    assert second.patches[0].get_data().values.sum() == 0
    assert first.lines[0].get_xdata() == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("count", [1, 4, 5, 9])
def test_a_panel_a_tap_and_no_empty_ones(count: int) -> None:
    statistics = {str(number): make_statistics(UNITS["copies"]) for number in range(count)}
    assert len(reports.plot_correlations(statistics, title=TITLE).axes) == count


@pytest.mark.parametrize(("lowest", "scale"), [(0.5, "log"), (0.0, "linear")])
def test_training_draws_loss_and_accuracy_of_both_splits(lowest: float, scale: str) -> None:
    history = pd.DataFrame({
        "epoch": [1, 2, 3], "train_loss": [2.0, 1.0, lowest], "validation_loss": [3.0, 2.0, 1.0],
        "train_accuracy": [0.1, 0.5, 0.9], "validation_accuracy": [0.2, 0.3, 0.4],
    })  # fmt: skip
    figure = reports.plot_training(history, title=TITLE)
    for axes, quantity in zip(figure.axes, ("loss", "accuracy"), strict=True):
        assert axes.get_ylabel() == quantity
        for line, split in zip(axes.lines, ("train", "validation"), strict=True):
            assert line.get_label() == split
            np.testing.assert_array_equal(line.get_xydata(), history[["epoch", f"{split}_{quantity}"]])
    assert figure.axes[0].get_yscale() == scale


def make_frame(values: dict[tuple[str, str], dict[int, list[float]]]) -> pd.DataFrame:
    """(curve, measure) -> seed -> values at sizes 1/4, 1/2, 1."""
    rows = [
        (curve, measure, seed, size, value)
        for (curve, measure), by_seed in values.items()
        for seed, row in by_seed.items()
        for size, value in zip((0.25, 0.5, 1), row, strict=True)
    ]
    return pd.DataFrame(rows, columns=["curve", "measure", "seed", "size", "value"])


GROWING = {
    ("he", "prunability"): {0: [1, 2, 6], 1: [3, 4, 10]},
    ("glorot", "prunability"): {0: [1, 1, 2], 1: [1, 1, 2]},
}


def draw_widths(values: dict, *measures: str) -> Figure:
    return reports.plot_against_width(make_frame(values), measures, title=TITLE)


def test_a_line_is_the_mean_and_a_bar_the_std_over_seeds() -> None:
    (axes,) = draw_widths(GROWING, "prunability").axes
    line, _, (bars,) = axes.containers[0].lines
    np.testing.assert_allclose(line.get_xydata(), [[0.25, 2], [0.5, 3], [1, 8]])
    # The std of two values, divided by n - 1, is their distance over the square root of two.
    for (x, low), (_, high), mean, distance in zip(
        *np.array(bars.get_segments()).transpose(1, 0, 2), [2, 3, 8], [2, 2, 4], strict=True
    ):
        assert x in (0.25, 0.5, 1)
        assert (low, high) == pytest.approx((mean - distance / 2**0.5, mean + distance / 2**0.5))
    assert [container.get_label() for container in axes.containers] == ["he", "glorot"]


def test_one_seed_has_no_bar() -> None:
    (axes,) = draw_widths({("he", "prunability"): {0: [1, 2, 4]}}, "prunability").axes
    assert not axes.containers[0].has_yerr


def test_the_largest_and_smallest_gain_are_written_in() -> None:
    """he: (3/2 + 8/3) / 2; glorot: (1 + 2) / 2."""
    (axes,) = draw_widths(GROWING, "prunability").axes
    assert [text.get_text() for text in axes.texts] == ["$g_{max}$ = 2.08\n$g_{min}$ = 1.50"]
    assert axes.get_yscale() == "log"


def test_one_curve_has_one_gain() -> None:
    (axes,) = draw_widths({("he", "redundancy"): {0: [1, 2, 6]}}, "redundancy").axes
    assert [text.get_text() for text in axes.texts] == ["$g$ = 2.50"]


def test_accuracy_has_no_gain_and_a_zero_no_logarithm() -> None:
    values = {("he", "accuracy"): {0: [0.5, 0.6, 0.7]}, ("he", "redundancy"): {0: [0, 1, 2]}}
    accuracy, redundancy = draw_widths(values, "accuracy", "redundancy").axes
    assert (len(accuracy.texts), accuracy.get_yscale()) == (0, "linear")
    assert redundancy.get_yscale() == "linear"
    assert [text.get_text() for text in redundancy.texts] == ["$g$ = 2.00"]
    assert redundancy.containers[0].lines[0].get_ydata().tolist() == [0, 1, 2]


def test_widths_are_labelled_as_users_write_them() -> None:
    (axes,) = draw_widths(GROWING, "prunability").axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1/4", "1/2", "1"]
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["he", "glorot"]


@pytest.mark.parametrize(
    "names",
    [[f"alexnet, {'regularizers augmentation, ' * count}{end}" for end in "ab"] for count in (2, 4, 20)]
    + [[f"learning_rate {number}" for number in range(30)]],
    ids=("2 names", "4 names", "20 names", "30 curves"),
)
def test_a_legend_that_would_cover_the_lines_is_below_them(names: list[str]) -> None:
    """As wide as the figure at most, and the panels as high as without it."""
    measures = ("prunability", "redundancy")
    short, long = (
        draw_widths({(name, measure): {0: [1, 2, 4]} for name in curves for measure in measures}, *measures)
        for curves in (["he", "glorot"], names)
    )
    for figure in (short, long):
        FigureCanvasAgg(figure).draw()
    heights = [figure.axes[0].get_window_extent().height for figure in (short, long)]
    assert heights[1] == pytest.approx(heights[0], rel=0.2)
    assert (short.legends, [axes.get_legend() for axes in long.axes]) == ([], [None, None])
    [legend] = long.legends
    box = legend.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= long.bbox.width
    assert box.y1 <= min(axes.get_tightbbox().y0 for axes in long.axes)
    assert [text.get_text().replace("\n", " ") for text in legend.get_texts()] == names


def test_a_curve_without_a_measure_is_left_out_of_its_panel() -> None:
    values = {("he", "prunability"): {0: [1, 2, 4]}, ("glorot", "redundancy"): {0: [1, 3, 9]}}
    prunability, redundancy = draw_widths(values, "prunability", "redundancy").axes
    assert [container.get_label() for container in prunability.containers] == ["he"]
    assert [container.get_label() for container in redundancy.containers] == ["glorot"]


def test_a_training_without_validation_is_drawn():
    history = pd.DataFrame({"epoch": [1, 2], "train_loss": [1.0, 0.5], "train_accuracy": [0.5, 0.75]})
    figure = reports.plot_training(history, title="no validation")
    for axes, values in zip(figure.axes, ([1.0, 0.5], [0.5, 0.75]), strict=True):
        (line,) = axes.lines
        assert (line.get_label(), list(line.get_ydata())) == ("train", values)
    assert figure.axes[0].get_yscale() == "log"


@pytest.mark.parametrize(
    ("unit", "label"),
    [
        ("channel", "masked share of units"),
        ("channel targeted", "masked share of units"),
        ("noise", "noise / std of activations"),
        ("weights", "masked share of weights"),
    ],
)
def test_the_abscissa_of_an_ablation_says_what_is_done(unit: str, label: str) -> None:
    curve = AblationCurve(
        num_units=4, num_examples=10, fractions=np.array([0, 1, 2.0]), num_agreeing=np.array([[10, 6, 2]])
    )
    (axes,) = reports.plot_ablation({"hidden": curve}, title=TITLE, unit=unit).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == (label, "unchanged predictions")
    # Noise may be larger than the activations themselves.
    assert axes.get_xlim() == (0, 2)
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[0, 1], [1, 0.6], [2, 0.2]])


def units_frame(count: int) -> pd.DataFrame:
    """Layers of ten units, of which layer i has i dead ones at most, and the network."""
    numbers = np.arange(count)
    frame = pd.DataFrame(
        {
            "units": 10, "prunable": numbers / count, "redundant": 1 - numbers / count, "dead": numbers % 5,
            "silent": numbers % 7, "constant": numbers % 3, "similar": (numbers % 10) * 0.9,
        },
        index=[f"layer{number}" for number in numbers],
    )  # fmt: skip
    return pd.concat([frame, frame.tail(1).set_axis(["network"])])


@pytest.mark.parametrize("count", [1, 3, 50])
def test_units_are_bars_of_shares_a_row_a_layer(count: int) -> None:
    frame = units_frame(count)
    figure = reports.plot_units(frame, title=TITLE)
    left, right = figure.axes
    labels = [label.get_text() for label in left.get_yticklabels()]
    assert labels == [f"layer{number} (10)" for number in range(count)]
    drawn = {bars.get_label(): [bar.get_width() for bar in bars] for bars in left.containers}
    taps = frame.head(count)
    assert drawn.keys() == {"prunable", "redundant", "dead", "silent", "constant"}
    for name, widths in drawn.items():
        divisor = 1 if name in ("prunable", "redundant") else 10
        np.testing.assert_allclose(widths, taps[name] / divisor)
    np.testing.assert_allclose([bar.get_width() for bar in right.containers[0]], taps["similar"] / 9)
    assert (left.get_xlabel(), right.get_xlabel()) == ("share of the layer's units", "similar share of the others")
    # Bars of a layer stand about its own line, the first layer above.
    for bars in left.containers:
        middles = [bar.get_y() + bar.get_height() / 2 for bar in bars]
        assert (np.abs(np.array(middles) - np.arange(count)) <= 0.4).all()
    assert left.yaxis_inverted()
    assert figure.get_suptitle() == TITLE
    # Beside the axes, since a bar may be as long as they are wide.
    assert [axes.get_legend() for axes in (left, right)] == [None, None]
    assert {text.get_text() for text in figure.legends[0].get_texts()} == drawn.keys()
    # Every layer's name has its own line on the page.
    assert figure.get_figheight() * 72 / count > 7


def test_units_read_back_from_json_are_drawn_alike(tmp_path) -> None:
    frame = units_frame(4)
    frame.astype(object).to_json(tmp_path / "units.json", orient="index")
    again = pd.read_json(tmp_path / "units.json", orient="index", convert_axes=False)
    widths = [
        [bar.get_width() for axes in reports.plot_units(each, title=TITLE).axes for bar in axes.patches]
        for each in (frame, again)
    ]
    np.testing.assert_allclose(widths[0], widths[1])


def test_a_layer_of_one_unit_has_no_others() -> None:
    frame = pd.DataFrame({"units": [1], "similar": [0.0], "redundant": [1.0]}, index=["neck"])
    left, right = reports.plot_units(frame, title=TITLE).axes
    assert [bar.get_width() for bar in right.containers[0]] == [0]
    assert [bars.get_label() for bars in left.containers] == ["redundant"]
