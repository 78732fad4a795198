"""Tables as panels, and sheets of images."""

import matplotlib.figure
import numpy as np
import pytest

from tfunits.configs import UserError, resolve
from tfunits.reports.drawings import DRAWN, drawing_file, write_drawing
from tfunits.reports.figures import Runs
from tfunits.reports.figures.table_panels import WidthTestPanel, plot_end_blocks
from tfunits.reports.width_test import DrawnRun


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two widths of one network: the thin one's images of the first block are smooth, of the others all alike."""
    drawn = []
    for size in (0.25, 1.0):
        config = resolve({"model": "resnet18", "size": size, "taps": ("blocks",), "num_units": 4})
        folder = tmp_path_factory.mktemp(f"size{size:g}")
        rng = np.random.default_rng(int(4 * size))
        drawings = {}
        for tap in ("stage1", "stage2", "stage4"):
            images = rng.uniform(0, 1, (4, 6, 6, 1)).astype("float32")
            images[:] *= 0.1 if (tap, size) == ("stage1", 0.25) else 1
            drawings[tap] = write_drawing(
                drawing_file(folder, config.visualization, tap), {}, tap=tap, kind=DRAWN, units=range(4),
                images=images, values=np.zeros(4), failures={},
            )  # fmt: skip
        drawn.append(DrawnRun(name=f"resnet18-{size:g}", config=config, drawings=drawings))
    return Runs(records=[], drawn=drawn)


def test_every_block_is_tested_or_the_ends_alone(runs):
    taps = {ends: list(WidthTestPanel(ends=ends).tabulate(runs)["tap"]) for ends in (None, 1, 2)}
    assert taps == {None: ["stage1", "stage2", "stage4"], 1: ["stage1"], 2: ["stage1", "stage4"]}
    first = WidthTestPanel(model="resnet18").tabulate(runs).iloc[0]
    # All four images of the thin network vary less than all of the wide one's: one of 70 splits of 8.
    assert first["pixels_p"] == pytest.approx(1 / 70)
    assert first["pixels_effect"] < 0.2


def test_a_network_that_was_not_drawn_has_no_test(runs):
    assert WidthTestPanel(model="inception_v3").tabulate(runs).empty
    with pytest.raises(UserError, match="expected images of two widths"):
        plot_end_blocks(runs, model="inception_v3", ends=1, frequencies=False)


def test_significant_values_are_bold(runs):
    axes = matplotlib.figure.Figure().subplots()
    table = WidthTestPanel().tabulate(runs)
    WidthTestPanel().plot(axes, table)
    [drawn] = axes.tables
    weights = [drawn[row, 2].get_text().get_fontweight() for row in (1, 2, 3)]
    assert weights == ["bold" if p < 0.025 or p > 0.975 else "normal" for p in table["pixels_p"]]
    assert "bold" in weights


def test_sheets_show_the_blocks_at_the_ends(runs):
    sheets = [plot_end_blocks(runs, model="resnet18", ends=ends, frequencies=ends == 2) for ends in (1, 2)]
    titles = [[part.get_suptitle() for row in sheet.subfigs for part in np.ravel(row)] for sheet in sheets]
    assert [len(found) for found in titles] == [2, 4]
    assert [("stage1" in title, "stage4" in title) for title in titles[1]] == [(True, False)] * 2 + [(False, True)] * 2
