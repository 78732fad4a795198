"""Images of units: what is stored comes back, tables, sheets."""

import io

import numpy as np
import pytest

from tfunits.artifacts import RunDir
from tfunits.configs import UserError, VisualizationConfig
from tfunits.reports import (
    DRAWN,
    drawing_file,
    drawing_table,
    plot_drawing,
    read_drawing,
    read_drawings,
    write_drawing,
)
from tfunits.reports.drawings import plot_sheet, show_amplitude

OPTIONS = VisualizationConfig(draw_steps=5)


@pytest.fixture
def drawing(tmp_path, rng):
    images = rng.uniform(size=(3, 8, 9, 3)).astype("float32")
    images[1] = np.nan
    path = drawing_file(tmp_path / "visualizations", OPTIONS, "block/conv")
    return write_drawing(
        path, OPTIONS.drawing_settings("block/conv"), tap="block/conv", kind=DRAWN, units=[2, 4, 7], images=images,
        values=[0.0, np.nan, 1.5], failures={4: 9},
    )  # fmt: skip


def test_what_is_stored_comes_back(tmp_path, drawing):
    found = read_drawings(RunDir(tmp_path), OPTIONS, ["block/conv", "other"])
    assert list(found) == ["block/conv"]
    again = found["block/conv"]
    assert (again.tap, again.kind, again.units, again.failures) == ("block/conv", DRAWN, (2, 4, 7), {4: 9})
    np.testing.assert_array_equal(again.values, [0.0, np.nan, 1.5])
    np.testing.assert_array_equal(again.images(), drawing.images())
    assert np.isnan(again.variations["pixels"]["absolute"]).tolist() == [False, True, False]


def test_other_options_are_other_files(tmp_path, drawing):
    for change in ({"draw_steps": 6}, {"draw_seed": 1}, {"num_units": 3}, {"units": (1,)}, {"param": "pixel"},
                   {"transforms": "none"}, {"image_size": 16}):  # fmt: skip
        assert not read_drawings(RunDir(tmp_path), VisualizationConfig(**{"draw_steps": 5, **change}), ["block/conv"])
    # How they are drawn at once and read changes no image.
    same = VisualizationConfig(draw_steps=5, batch=3, variation="signed", num_shuffles=9)
    assert read_drawings(RunDir(tmp_path), same, ["block/conv"])


@pytest.mark.parametrize("content", ["{", "{}", '{"tap": 1, "kind": "drawn", "units": 3}', "[]"])
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "conv.json"
    path.write_text(content)
    with pytest.raises(UserError, match="conv.json: expected"):
        read_drawing(path)


def test_the_table_has_means_of_what_is_finite(drawing):
    table = drawing_table({"block/conv": drawing}, "absolute")
    row = table.loc["block/conv"]
    assert (row["images"], row["silent"], row["activation"]) == (2, 1, 0.75)
    expected = np.nanmean(drawing.variations["pixels"]["absolute"])
    np.testing.assert_allclose(row["variation_pixels"], expected)


def test_a_sheet_shows_every_image_above_its_amplitude_and_leaves_out_what_failed(drawing):
    figure = plot_drawing(drawing, name="run")
    assert figure.get_suptitle() == "run\nunits of block/conv, and their Fourier amplitudes"
    assert drawing.describe_failures() == ["unit 4 of block/conv was not finite at step 9; skipped"]
    panels = np.array(figure.axes).reshape(2, 3)
    assert [len(axes.images) for axes in panels.ravel()] == [1, 0, 1, 1, 0, 1]
    np.testing.assert_array_equal(panels[0, 2].images[0].get_array(), drawing.images()[2])
    assert [axes.get_title() for axes in panels[0]] == ["2: 0", "4: not finite\nat step 9", "7: 1.5"]
    figure.savefig(io.BytesIO())


def test_many_images_take_several_rows(rng):
    images = rng.uniform(size=(11, 4, 4, 1))
    figure = plot_sheet(images, list("abcdefghijk"), title="many")
    assert sum(len(axes.images) for axes in figure.axes) == 22
    assert len(figure.axes) == 4 * 8


def test_an_amplitude_shows_a_waves_frequency_and_orientation():
    from matplotlib.figure import Figure

    rows, columns = np.mgrid[:16, :16]
    axes = Figure().subplots()
    show_amplitude(axes, 0.5 + 0.5 * np.cos(2 * np.pi * (3 * rows - 5 * columns) / 16)[..., None])
    shown = axes.images[0].get_array()
    bright = {tuple(place) for place in np.argwhere(shown > shown.min() + 1e-6)}
    assert bright == {(8 + 3, 8 - 5), (8 - 3, 8 + 5)}


def test_an_even_image_has_a_dark_amplitude():
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    show_amplitude(axes, np.full((8, 8, 3), 0.5))
    assert np.ptp(axes.images[0].get_array()) == 0
