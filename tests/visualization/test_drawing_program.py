"""`python -m tfunits.visualization`, as its user calls it."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from tfunits.visualization import __main__ as program


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A small convolutional network in a file."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((12, 12, 3))
    tensor = keras.layers.Conv2D(4, 3, activation="relu", name="first")(inputs)
    tensor = keras.layers.Dense(3, name="scores")(keras.layers.GlobalAveragePooling2D(name="pooled")(tensor))
    path = tmp_path_factory.mktemp("network") / "small.keras"
    keras.Model(inputs, tensor).save(path)
    return path


def run(*arguments) -> int:
    return program.main(["program", *map(str, arguments)])


def test_a_file_is_drawn_with_sheets_arrays_and_a_table(network, tmp_path, capsys):
    arguments = (f"--model_file={network}", "--layer=first", "--units=0,3", "--draw_steps=2", f"--out={tmp_path}")
    assert run(*arguments) == 0
    printed = capsys.readouterr().out
    assert str(tmp_path / "first.png") in printed
    assert "variation_pixels" in printed
    (arrays,) = tmp_path.glob("first-*.npz")
    images = np.load(arrays)["images"]
    assert images.shape == (2, 12, 12, 3)
    assert json.loads(arrays.with_suffix(".json").read_text())["units"] == [0, 3]
    # The file may hold other weights by then, so that nothing is kept.
    before = arrays.stat().st_mtime_ns
    assert run(*arguments, "--input_range=-5,5") == 0
    assert arrays.stat().st_mtime_ns > before
    assert not np.array_equal(np.load(arrays)["images"], images)


def test_all_taps_are_drawn_unless_layers_are_named(network, tmp_path):
    assert run(f"--model_file={network}", "--draw_steps=0", "--num_units=1", f"--out={tmp_path}") == 0
    assert [path.name for path in tmp_path.glob("*.png")] == ["first.png"]


def test_a_network_of_flat_images_is_drawn_by_its_weights(tmp_path, capsys):
    inputs = keras.Input((12,))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="relu", name="hidden")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2, name="scores")(model.output))
    model.save(tmp_path / "flat.keras")
    out = f"--out={tmp_path / 'out'}"
    assert run(f"--model_file={tmp_path / 'flat.keras'}", out) == 2
    error = capsys.readouterr().err
    assert "no spatial axes" in error
    assert error.count("\n") == 1
    assert run(f"--model_file={tmp_path / 'flat.keras'}", "--image_shape=3,4,1", "--units=2", out) == 0
    (arrays,) = (tmp_path / "out").glob("hidden-*.npz")
    weights = model.get_layer("hidden").kernel.numpy()[:, 2].reshape(3, 4, 1)
    np.testing.assert_allclose(np.load(arrays)["images"][0], weights / (2 * np.abs(weights).max()) + 0.5, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--layer=second",), "layer: expected taps or layers of"),
        (("--layer=first", "--units=4"), "--units=4: expected 0 to 3, the units of 'first'"),
        (("--layer=first", "--image_size=2"), "param: expected images that first can be computed from, received 2x2x3"),
        (("--draw_steps=-1",), "--draw_steps=-1: expected a whole number of at least 0"),
    ],
)
def test_mistakes_are_one_line_without_a_traceback(network, tmp_path, capsys, arguments, message):
    assert run(f"--model_file={network}", "--transforms=none", *arguments, f"--out={tmp_path / 'out'}") == 2
    error = capsys.readouterr().err
    assert error.startswith("tfunits.visualization: ")
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--run=nowhere", "--run: expected a run directory"),
        ("--model_file=nowhere.keras", "model file: expected an existing .keras file"),
        ("--keras_application=Lenet", "--keras_application=Lenet: expected one of ConvNeXtBase"),
    ],
)
def test_a_network_that_is_not_there_is_named(capsys, flag, message):
    assert run(flag) == 2
    assert message in capsys.readouterr().err


def test_an_application_has_random_weights_of_the_seed_and_its_own_preprocessing(tmp_path, monkeypatch):
    """Of a small stand-in: the real ones are too large for a test."""
    module = sys.modules[keras.applications.MobileNet.__module__]
    given = []

    def build(weights):
        given.append(weights)
        inputs = keras.Input((8, 8, 3))
        return keras.Model(inputs, keras.layers.Conv2D(2, 3, activation="relu", name="conv", use_bias=False)(inputs))

    build.__module__ = module.__name__
    monkeypatch.setattr(keras.applications, "MobileNet", build)
    common = ("--keras_application=MobileNet", "--layer=conv", "--draw_steps=0", "--units=0")
    drawn = {}
    for out, more in {"a": (), "b": (), "c": ("--input_range=-1,1",), "d": ("--input_range=0,1",)}.items():
        assert run(*common, f"--out={tmp_path / out}", *more) == 0
        (stored,) = (tmp_path / out).glob("*.json")
        drawn[out] = json.loads(stored.read_text())["values"][0]
    assert given == 4 * [None]
    # MobileNet reads pixels from -1 to 1.
    assert drawn["a"] == drawn["b"] == pytest.approx(drawn["c"], rel=1e-3)
    assert drawn["a"] != pytest.approx(drawn["d"], rel=1e-2)


def test_help_needs_no_tensorflow():
    code = (
        "import sys, runpy; sys.argv = ['v', '--help']\n"
        "try: runpy.run_module('tfunits.visualization', run_name='__main__')\n"
        "except SystemExit as end: print(end.code, 'tensorflow' in sys.modules, 'keras' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0].startswith("usage: python -m tfunits.visualization")
    assert done.stdout.splitlines()[-1] == "0 False False"
