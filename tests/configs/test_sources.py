"""The flags of `python -m tfunits.visualization`."""

import dataclasses

import pytest

from tfunits.configs import DrawingSource, UserError, VisualizationConfig, read_drawing_flags


def read(*arguments: str):
    return read_drawing_flags(["program", *arguments])


def test_flags_become_a_network_and_options():
    source, options = read("--model_file=a.keras", "--layer=conv1,fc4", "--units=0,5,7", "--draw_steps=9")
    assert source == DrawingSource(model_file="a.keras", layer=("conv1", "fc4"))
    assert options == VisualizationConfig(units=(0, 5, 7), draw_steps=9)


def test_ranges_and_shapes_are_numbers():
    source, _ = read("--model_file=a.keras", "--input_range=-1,1.5", "--image_shape=8,9,1")
    assert (source.input_range, source.image_shape) == ((-1.0, 1.5), (8, 9, 1))


def test_help_names_every_flag_and_needs_no_network():
    page = read("--help")
    for field in dataclasses.fields(DrawingSource):
        assert f"\n  --{field.name}\n" in page
    for name in ("units", "num_units", "image_size", "draw_steps", "param", "batch", "variation"):
        assert f"\n  --{name}\n" in page
    # What only runs have.
    assert "--taps" not in page
    assert "--num_shuffles" not in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "expected one of --run, --model_file, --keras_application, received none; see --help"),
        (("--run=a", "--model_file=b"), "received --run and --model_file"),
        (("--run=a", "--input_range=0,1"), "--input_range=0.0,1.0: expected no such flag with --run"),
        (("--run=a", "--image_shape=8,8,1"), "--image_shape=8,8,1: expected no such flag with --run"),
        (("--model_file=a", "--input_range=1"), "--input_range=1.0: expected two numbers"),
        (("--model_file=a", "--image_shape=8,8"), "--image_shape=8,8: expected three numbers"),
        (("--model_file=a", "--image_shape=8,8,0"), "--image_shape=8,8,0: expected a whole number of at least 1"),
        (("--model_file=a", "--units=1,x"), "--units=x: expected a whole number"),
        (("--model_file=a", "--param=cppn"), "--param=cppn: expected one of fft, pixel, laplacian"),
        (("--model_file=a", "--layers=b"), "--layers: expected a known flag; did you mean --layer"),
        (("model_file=a",), "model_file=a: expected only flags"),
    ],
)
def test_mistakes_are_one_line_that_names_the_flag(arguments, message):
    with pytest.raises(UserError) as error:
        read(*arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
