"""The width test: pairs of runs, p values and effects against scipy and means, notes and figures."""

import dataclasses
import io

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from matplotlib.image import imread

from tfunits.artifacts import RunDir
from tfunits.configs import VisualizationConfig, resolve
from tfunits.reports import DRAWN, DrawnRun, drawing_file, read_drawings, report_widths, width_test, write_drawing
from tfunits.reports.drawings import DOMAINS

OPTIONS = VisualizationConfig()


def draw(root, rng, *, smooth=False, taps=("stage1", "stage4"), num_units=8, broken=(), **fields) -> DrawnRun:
    """A run whose images are noise, or noise on half of the scale."""
    config = resolve({"model": "resnet18", **fields})
    run_dir = RunDir.of(config, root)
    for tap in taps:
        images = rng.uniform(size=(num_units, 6, 7, 1)).astype("float32") * (0.5 if smooth else 1)
        images[list(broken)] = np.nan
        path = drawing_file(run_dir.visualizations, OPTIONS, tap)
        write_drawing(
            path, OPTIONS.drawing_settings(tap), tap=tap, kind=DRAWN, units=range(num_units), images=images,
            values=np.where(np.isin(range(num_units), broken), np.nan, 1.0), failures=dict.fromkeys(broken, 3),
        )  # fmt: skip
    return DrawnRun(name=run_dir.name, config=config, drawings=read_drawings(run_dir, OPTIONS, taps))


def test_p_values_and_effects_are_those_of_scipy_and_of_means(tmp_path, rng):
    thin, wide = draw(tmp_path, rng, size=0.25), draw(tmp_path, rng, size=4.0)
    table = width_test.width_test([(thin, wide)], OPTIONS)
    assert list(table["tap"]) == ["stage1", "stage4"]
    for row in table.itertuples():
        assert (row.thin, row.wide, row.thin_images, row.wide_images) == (0.25, 4, 8, 8)
        for domain in DOMAINS:
            first, second = (run.drawings[row.tap].variations[domain]["absolute"] for run in (thin, wide))
            expected = scipy.stats.mannwhitneyu(first, second, alternative="less", method="exact").pvalue
            np.testing.assert_allclose(getattr(row, f"{domain}_p"), expected, rtol=1e-12)
            np.testing.assert_allclose(getattr(row, f"{domain}_effect"), first.mean() / second.mean(), rtol=1e-12)


def test_total_variations_of_stored_images_are_those_of_numpy(tmp_path, rng):
    drawing = draw(tmp_path, rng, size=1.0).drawings["stage1"]
    images = drawing.images().astype(np.float64)
    amplitude = np.abs(np.fft.fftshift(np.fft.fft2(images, axes=(1, 2)), axes=(1, 2))) / np.sqrt(42)
    for view, domain in ((images, "pixels"), (amplitude, "frequencies")):
        by_axis = [np.diff(view, axis=axis) for axis in (1, 2)]
        expected = sum(np.abs(d).sum(axis=(1, 2, 3)) for d in by_axis)
        np.testing.assert_allclose(drawing.variations[domain]["absolute"], expected, rtol=1e-10)
        signed = sum(np.abs(d.sum(axis=(1, 2))).sum(axis=-1) for d in by_axis)
        np.testing.assert_allclose(drawing.variations[domain]["signed"], signed, rtol=1e-10)


def test_calmer_images_of_the_thin_network_give_a_small_p_and_of_the_wide_one_a_large(tmp_path, rng):
    calm, restless = draw(tmp_path, rng, size=0.25, smooth=True), draw(tmp_path, rng, size=4.0)
    table = width_test.width_test([(calm, restless)], OPTIONS)
    assert (table["pixels_p"] < 0.001).all()
    assert (table["pixels_effect"] < 0.7).all()
    # 4 tests of two-sided p 2 / 12,870.
    np.testing.assert_allclose(table["pixels_holm"].min(), 4 * 2 / 12870, rtol=1e-9)
    other = width_test.width_test([(restless, calm)], OPTIONS)
    assert (other["pixels_p"] == 1).all()
    assert (other["pixels_effect"] > 1.4).all()
    assert other["pixels_holm"].equals(table["pixels_holm"])


def test_the_extremes_of_widths_are_paired_and_nothing_else_may_differ(tmp_path, rng):
    runs = [draw(tmp_path, rng, size=size, seed=seed) for seed in (0, 1) for size in (1.0, 0.25, 0.5)]
    runs += [draw(tmp_path, rng, size=2.0, learning_rate=0.5), draw(tmp_path, rng, size=4.0, seed=2)]
    pairs = width_test.pair_widths(runs)
    found = [(a.config.model.size, b.config.model.size, a.config.training.seed) for a, b in pairs]
    assert found == [(0.25, 1, 0), (0.25, 1, 1)]


def test_one_varied_block_is_a_width_too(tmp_path, rng):
    runs = [draw(tmp_path, rng, model="inception_v3", taps=("conv4",), layer_size=size) for size in (0.25, 4.0)]
    ((thin, wide),) = width_test.pair_widths(runs)
    assert (thin.config.model.layer_size, wide.config.model.layer_size) == (0.25, 4)


def test_images_that_failed_are_left_out(tmp_path, rng):
    thin, wide = draw(tmp_path, rng, size=0.25, broken=(2, 5)), draw(tmp_path, rng, size=4.0)
    (row,) = width_test.width_test([(thin, wide)], OPTIONS).query("tap == 'stage1'").itertuples()
    assert (row.thin_images, row.wide_images) == (6, 8)
    first, second = (run.drawings["stage1"].variations["pixels"]["absolute"] for run in (thin, wide))
    expected = scipy.stats.mannwhitneyu(np.delete(first, [2, 5]), second, alternative="less", method="exact").pvalue
    np.testing.assert_allclose(row.pixels_p, expected, rtol=1e-12)
    gone = draw(tmp_path / "gone", rng, size=0.25, broken=range(8))
    table = width_test.width_test([(gone, wide)], OPTIONS)
    assert table["pixels_p"].isna().all()
    assert "**" not in width_test.format_width_test(table)


def test_shuffles_are_seeded_and_near_the_exact_value(tmp_path, rng):
    pair = (draw(tmp_path, rng, size=0.25), draw(tmp_path, rng, size=4.0))
    exact = width_test.width_test([pair], OPTIONS)
    many = dataclasses.replace(OPTIONS, num_shuffles=20_000)
    shuffled, again, other = (
        width_test.width_test([pair], dataclasses.replace(many, draw_seed=seed)) for seed in (0, 0, 1)
    )
    columns = [f"{domain}_p" for domain in DOMAINS]
    pd.testing.assert_frame_equal(shuffled, again)
    assert not shuffled[columns].equals(other[columns])
    errors = np.sqrt(exact[columns] * (1 - exact[columns]) / 20_000)
    assert ((shuffled[columns] - exact[columns]).abs() <= 4.5 * errors).all(axis=None)


def test_the_printed_table_is_bold_as_the_papers_and_says_what_chance_gives(tmp_path, rng):
    table = width_test.width_test([(draw(tmp_path, rng, size=0.25), draw(tmp_path, rng, size=4.0))], OPTIONS)
    table["pixels_p"] = [0.0249, 0.9751]
    table["frequencies_p"] = [0.025, 0.975]
    # Of ties alone, or of so few splits, both tails are large.
    table[["pixels_upper_p", "frequencies_upper_p"]] = [[0.98, 0.98], [0.03, 0.03]]
    table[["pixels_holm", "frequencies_holm"]] = [[0.04, 1.0], [0.06, np.nan]]
    lines = width_test.format_width_test(table).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert "**0.025**" in lines[2]
    assert "**0.975**" in lines[3]
    assert lines[2].count("**") == lines[3].count("**") == 2
    notes = width_test.width_test_notes(table)
    # 0.0574 of the splits of 8 against 8 are bold, by hand: 320 below and 418 above of 12,870.
    assert "bold: 2 of 4 tests (1 below 0.025, 1 above 0.975), where chance alone gives 0.2" in notes[1]
    assert notes[1].endswith("after Holm's adjustment 1 remain")
    assert "no replicates of a width" in notes[2]


def test_equal_widths_are_seldom_bold(tmp_path, rng):
    """The negative control: networks of one width, whose images have one distribution."""
    config = resolve({"model": "resnet18", "size": 0.25})
    template = draw(tmp_path, rng, size=0.25, taps=("stage1",))
    p_values = []
    for _ in range(400):
        runs = []
        for _ in range(2):
            values = {domain: {"absolute": rng.normal(size=8) + 10} for domain in DOMAINS}
            drawing = dataclasses.replace(template.drawings["stage1"], variations=values)
            runs.append(DrawnRun(name="made", config=config, drawings={"stage1": drawing}))
        p_values.append(width_test.width_test([tuple(runs)], OPTIONS)["pixels_p"][0])
    # Four standard errors; p values are steps, a little above uniform ones.
    error = np.sqrt(0.025 * 0.975 / 400)
    assert np.mean(np.array(p_values) < 0.025) < 0.025 + 4 * error
    # The upper end counts the observed split: 0.0325 of the splits of 8 against 8.
    assert np.mean(np.array(p_values) > 0.975) < 0.0325 + 4 * error
    assert abs(np.mean(p_values) - 0.5) < 4 * np.sqrt(1 / 12 / 400) + 0.03


def test_the_report_has_table_and_figures_of_first_and_last_block(tmp_path, rng):
    runs = [draw(tmp_path, rng, size=size, taps=("stem", "stage1", "stage4")) for size in (0.25, 1.0)]
    text, files = report_widths(runs, OPTIONS, tmp_path / "grid")
    assert [path.name for path in files] == [
        "width_test.csv", "width_test.md", "resnet18-0-first_block.png", "resnet18-0-first_and_last_block.png"
    ]  # fmt: skip
    assert (tmp_path / "grid" / "width_test.md").read_text() == text + "\n"
    pd.testing.assert_frame_equal(
        pd.read_csv(files[0]), width_test.width_test(width_test.pair_widths(runs), OPTIONS), check_dtype=False
    )
    small, large = (imread(path) for path in files[2:])
    assert large.shape[0] > 2 * small.shape[0]
    assert report_widths(runs[:1], OPTIONS, tmp_path / "none") == ("", [])
    assert not (tmp_path / "none").exists()


def test_a_width_sheet_shows_the_images_of_both(tmp_path, rng):
    thin, wide = (draw(tmp_path, rng, size=size, num_units=count) for size, count in ((0.25, 3), (4.0, 5)))
    figure = width_test.plot_width_sheet(thin, wide, ["stage1", "stage4"], frequencies=True)
    shown = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert len(shown) == 2 * (3 + 5) * 2
    images = [run.drawings[tap].images()[..., 0] for tap in ("stage1", "stage4") for run in (thin, wide)]
    for image in np.concatenate(images):
        assert any(view.shape == image.shape and np.allclose(view, image) for view in shown)
    titles = [part._suptitle.get_text() for part in figure.subfigs]
    assert titles == [
        "(a) stage1, resnet18 0.25x", "(b) stage1, resnet18 4x", "(c) stage4, resnet18 0.25x", "(d) stage4, resnet18 4x"
    ]  # fmt: skip
    figure.savefig(io.BytesIO())


@pytest.mark.parametrize("reading", ["absolute", "signed"])
def test_the_reading_is_an_option(tmp_path, rng, reading):
    pair = (draw(tmp_path, rng, size=0.25), draw(tmp_path, rng, size=4.0))
    table = width_test.width_test([pair], dataclasses.replace(OPTIONS, variation=reading))
    means = [run.drawings["stage1"].variations["pixels"][reading].mean() for run in pair]
    np.testing.assert_allclose(table["pixels_effect"][0], means[0] / means[1])


def test_equal_images_and_single_units_are_never_bold(tmp_path, rng):
    thin, wide = (draw(tmp_path, rng, size=size, num_units=1) for size in (0.25, 4.0))
    table = width_test.width_test([(thin, wide)], OPTIONS)
    assert "**" not in width_test.format_width_test(table)
    assert set(table["pixels_p"]) <= {0.5, 1.0}
    tied = pd.DataFrame({"pixels_p": [1.0], "pixels_upper_p": [1.0]})
    assert not width_test.is_bold(tied, "pixels").any()


def test_a_fixed_block_beside_varied_sizes_is_no_width(tmp_path, rng):
    runs = [draw(tmp_path, rng, model="inception_v3", taps=("conv4",), size=s, layer_size=0.5) for s in (0.25, 1.0)]
    (row,) = width_test.width_test(width_test.pair_widths(runs), OPTIONS).itertuples()
    assert (row.thin, row.wide) == (0.25, 1)
