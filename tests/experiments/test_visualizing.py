"""The step that draws a run's units, and what a grid makes of its images."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_runs import carry_out, make_config, save_network, snapshot

from tfunits import datasets, reports, surgery, visualization
from tfunits.artifacts import RunDir
from tfunits.configs import find_image_form
from tfunits.experiments import is_step_done, load_model
from tfunits.visualization import Preparation

# Two of them have the spatial axes that gradients need; none is trained.
QUICK = {"model": "alexnet", "epochs": 0, "draw_steps": 2, "num_units": 2}
STEPS = ("train", "visualize")


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """Two widths, drawn."""
    root = tmp_path_factory.mktemp("grid")
    configs = [make_config(**QUICK, size=size, taps=("conv1", "fc4")) for size in (0.03125, 0.0625)]
    assert carry_out(root, *configs, steps=STEPS) == 0
    return root, configs


def read_json(run_dir, tap):
    (path,) = run_dir.visualizations.glob(f"{tap}-*.json")
    return json.loads(path.read_text()), np.load(path.with_suffix(".npz"))


def test_images_sheets_and_numbers_of_every_tap_are_there(grid):
    root, configs = grid
    for config, widths in zip(configs, ({"conv1": 3, "fc4": 6}, {"conv1": 6, "fc4": 12}), strict=True):
        run_dir = RunDir.of(config, root)
        assert sorted(path.name for path in run_dir.figures.iterdir()) == ["units_conv1.png", "units_fc4.png"]
        for tap, width in widths.items():
            stored, arrays = read_json(run_dir, tap)
            assert arrays["images"].shape == (2, 32, 32, 1)
            assert stored["units"] == arrays["units"].tolist()
            assert len(set(stored["units"])) == 2
            assert set(stored["units"]) <= set(range(width))
            expected = tf.image.total_variation(tf.constant(arrays["images"]))
            np.testing.assert_allclose(stored["total_variation"]["pixels"]["absolute"], expected, rtol=1e-5)


def test_an_image_is_what_render_draws_of_the_stored_network(grid):
    """With the pixels standardised and grey, as the digits are."""
    root, (config, _) = grid
    run_dir = RunDir.of(config, root)
    stored, arrays = read_json(run_dir, "conv1")

    def standardize(images):
        return tf.image.per_image_standardization(tf.repeat(images, 3, axis=-1))

    objectives = [visualization.unit("conv1", unit) for unit in stored["units"]]
    drawn = visualization.render(
        load_model(run_dir.path), objectives, param=visualization.fft_image(32, 1), prepare=standardize, steps=2
    )
    np.testing.assert_allclose(drawn.images, arrays["images"], atol=1e-5)
    np.testing.assert_allclose(drawn.values, stored["values"], rtol=1e-4)
    activations = surgery.read(load_model(run_dir.path), ["conv1"])(standardize(arrays["images"]))["conv1"]
    means = np.mean(activations, axis=(1, 2))[np.arange(2), stored["units"]]
    np.testing.assert_allclose(means, stored["values"], rtol=1e-4)


def test_the_pictures_are_in_tensorboard(grid):
    root, (config, _) = grid
    tags = set()
    for path in RunDir.of(config, root).tensorboard.glob("*tfevents*"):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            tags |= {value.tag for value in event.summary.value}
    assert {"visualization/units_conv1", "visualization/units_fc4"} <= tags


def test_a_grid_tests_thin_against_wide(grid, capsys):
    root, configs = grid
    (folder,) = root.glob("grid-*")
    table = (folder / "width_test.csv").read_text().splitlines()
    assert [line.split(",")[:6] for line in table[1:]] == [
        ["alexnet", "digits", "0", "0.03125", "0.0625", tap] for tap in ("conv1", "fc4")
    ]
    pictures = {path.name for path in folder.glob("*.png")}
    assert pictures == {"alexnet-0-first_block.png", "alexnet-0-first_and_last_block.png"}
    assert carry_out(root, *configs, steps=STEPS) == 0
    printed = capsys.readouterr().out
    assert printed.count("finished before") == 2
    assert (folder / "width_test.md").read_text() in printed


def test_what_is_drawn_is_not_drawn_again_and_other_options_are(grid):
    root, (config, _) = grid
    run_dir = RunDir.of(config, root)
    before = snapshot(run_dir.visualizations)
    assert carry_out(root, config, steps=STEPS) == 0
    assert snapshot(run_dir.visualizations) == before
    for done in run_dir.path.glob("done/visualize-*.json"):
        done.unlink()
    assert carry_out(root, config, steps=STEPS) == 0
    assert snapshot(run_dir.visualizations) == before
    other = make_config(**{**QUICK, "draw_steps": 1}, size=0.03125, taps=("conv1",), units=(2,))
    assert RunDir.of(other, root).path == run_dir.path
    assert carry_out(root, other, steps=STEPS) == 0
    after = snapshot(run_dir.visualizations)
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 2
    assert is_step_done(run_dir, "visualize", config)
    assert is_step_done(run_dir, "visualize", other)


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_images_that_are_gone_are_drawn_again_and_damaged_ones_are_named(grid, suffix, capsys):
    root, (config, _) = grid
    run_dir = RunDir.of(config, root)
    (file,) = (path for path in run_dir.visualizations.glob(f"fc4-*{suffix}"))
    before = file.read_bytes()
    file.write_bytes(b"{")
    run_dir.done_file("x").parent.mkdir(exist_ok=True)
    for done in run_dir.path.glob("done/visualize-*.json"):
        done.unlink()
    assert carry_out(root, config, steps=STEPS) == 1
    error = capsys.readouterr().err
    assert file.name in error
    assert "delete it" in error
    file.unlink()
    assert not is_step_done(run_dir, "visualize", config)
    assert carry_out(root, config, steps=STEPS) == 0
    assert file.read_bytes() == before
    assert is_step_done(run_dir, "visualize", config)


def test_weights_that_are_not_kept_go_when_all_is_measured_and_drawn(tmp_path):
    config = make_config(epochs=0, num_units=1)
    assert carry_out(tmp_path, config, steps=("train",), save="metrics") == 0
    assert RunDir.of(config, tmp_path).model.is_file()
    # Not drawn, then not measured yet.
    assert carry_out(tmp_path, config, steps=STEPS, save="metrics") == 0
    assert RunDir.of(config, tmp_path).model.is_file()
    other = make_config(epochs=0, num_units=2)
    assert carry_out(tmp_path, other, steps=("measure", "visualize"), save="metrics") == 0
    assert not RunDir.of(config, tmp_path).model.exists()


def test_a_vectors_network_is_drawn_by_its_weights(tmp_path, capsys):
    config = make_config(epochs=0, num_units=3)
    assert carry_out(tmp_path, config, steps=STEPS) == 0
    run_dir = RunDir.of(config, tmp_path)
    assert "drawing the weights of its first layer" in capsys.readouterr().out
    stored, arrays = read_json(run_dir, "hidden")
    assert stored["kind"] == reports.WEIGHTS
    kernel = load_model(run_dir.path).get_layer("hidden").kernel.numpy()[:, stored["units"]].T.reshape(3, 8, 8, 1)
    for weights, image in zip(kernel, arrays["images"], strict=True):
        np.testing.assert_allclose(image, weights / (2 * np.abs(weights).max()) + 0.5, atol=1e-6)
    assert (run_dir.figures / "weights_hidden.png").is_file()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"dataset": "uncorrelated10", "num_examples": 200, "batch_size": 32},
            "--steps=visualize: expected data that are images, received uncorrelated10",
        ),
        ({"units": (8,)}, "--units=8: expected 0 to 7, the units of 'hidden'"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(tmp_path, capsys, fields, message):
    config = make_config(epochs=0, **fields)
    assert carry_out(tmp_path, config, steps=STEPS) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not list(RunDir.of(config, tmp_path).visualizations.glob("*"))


def test_a_users_network_is_drawn_and_its_taps_are_named(tmp_path, capsys):
    model = save_network(tmp_path / "own.keras", (8, 8, 1))
    options = {"model": model, "preprocessing": "image8", "draw_steps": 1, "units": (0, 4)}
    config = make_config(**options)
    assert carry_out(tmp_path, config, steps=("visualize",)) == 0
    stored, arrays = read_json(RunDir.of(config, tmp_path), "hidden")
    assert stored["units"] == [0, 4]
    assert arrays["images"].shape == (2, 8, 8, 1)
    assert carry_out(tmp_path, make_config(**options, taps=("scores",)), steps=("visualize",)) == 1
    assert "--taps=scores: expected all, or some of hidden" in capsys.readouterr().err


def test_a_unit_whose_optimisation_fails_is_named_and_its_panel_stays_empty(tmp_path, capsys):
    save_network(tmp_path / "own.keras", (8, 8, 1))
    network = keras.models.load_model(tmp_path / "own.keras")
    kernel, bias = network.get_layer("hidden").get_weights()
    kernel[:, 4] = np.nan
    network.get_layer("hidden").set_weights([kernel, bias])
    network.save(tmp_path / "own.keras")
    model = f"file:{tmp_path / 'own.keras'}"
    # Without a step, since a gradient that passes the layer's weights meets those of unit 4.
    config = make_config(model=model, preprocessing="image8", draw_steps=0, units=(0, 4))
    assert carry_out(tmp_path, config, steps=("visualize",)) == 0
    assert "unit 4 of hidden was not finite at step 0; skipped" in capsys.readouterr().out
    stored, arrays = read_json(RunDir.of(config, tmp_path), "hidden")
    assert stored["failures"] == {"4": 0}
    assert np.isfinite(arrays["images"]).all(axis=(1, 2, 3)).tolist() == [True, False]
    assert stored["total_variation"]["pixels"]["absolute"][1] is None
    drawing = reports.read_drawings(RunDir.of(config, tmp_path), config.visualization, ["hidden"])["hidden"]
    assert drawing.labels()[1] == "4: not finite\nat step 0"
    assert np.isfinite(drawing.values).tolist() == [True, False]


@pytest.mark.parametrize(("dataset", "preprocessing"), [("digits", "image32"), ("digits", "image8")])
def test_images_are_prepared_as_the_data_are(dataset, preprocessing):
    """A stored image, back in [0, 1], becomes the network's input."""
    form = find_image_form(dataset, preprocessing)
    inputs = datasets.load(dataset, preprocessing=preprocessing).splits["test"].inputs[:5]
    low, high = (extreme(inputs, axis=(1, 2, 3), keepdims=True) for extreme in (np.min, np.max))
    images = ((inputs - low) / (high - low) if form.standardized else inputs)[..., : form.shape[-1]]
    np.testing.assert_allclose(Preparation(form)(tf.constant(images)), inputs, atol=2e-5)


def test_a_run_says_how_its_images_are_prepared(grid, tmp_path):
    root, (config, _) = grid
    prepare = visualization.preparation_of(RunDir.of(config, root).path)
    assert prepare == Preparation(find_image_form("digits", "image32"))
    with pytest.raises(ValueError, match="run: expected the directory of a run, received"):
        visualization.preparation_of(tmp_path)
    vectors = make_config(epochs=0)
    assert carry_out(tmp_path, vectors, steps=("train",)) == 0
    with pytest.raises(ValueError, match="run: expected a network that reads images, received one of digits as vec"):
        visualization.preparation_of(RunDir.of(vectors, tmp_path).path)
