"""Draw what units of a network respond to: of a run, of a .keras file, or of keras.applications."""

import pathlib
import sys
from typing import TYPE_CHECKING, Any

import tfunits
from tfunits.configs import DrawingSource, UserError, VisualizationConfig, find_image_form, read_drawing_flags
from tfunits.console import carry_out, import_tensorflow

if TYPE_CHECKING:
    import keras

_FIGURE_DPI = 130


def main(argv: list[str]) -> int:
    """Carry out a command line; returns the exit code."""
    return carry_out(
        "tfunits.visualization", lambda: _run(argv), when_interrupted="interrupted; what was written stays"
    )


def _run(argv: list[str]) -> int:
    request = read_drawing_flags(argv)
    if isinstance(request, str):
        print(request, flush=True)
        return 0
    import_tensorflow()
    try:
        _draw(*request)
    except UserError as error:
        # As `tfunits.load` names its argument.
        flag = "--run:" if request[0].run else "--model_file:"
        raise UserError(str(error).replace("run_or_file:", flag)) from None
    return 0


def _draw(source: DrawingSource, options: VisualizationConfig) -> None:
    from tfunits import reports
    from tfunits.artifacts import RunDir, write_figure
    from tfunits.surgery import as_functional, find_taps
    from tfunits.visualization.drawing import draw_units, draw_weights
    from tfunits.visualization.preparation import Preparation

    form = None
    if source.run is not None:
        model, name = tfunits.load(source.run), pathlib.Path(source.run).name
        data = RunDir(source.run).config().data
        form = find_image_form(data.dataset, data.preprocessing)
        if form is None:
            raise UserError(
                f"--run={source.run}: expected a network of images, received one of {data.dataset}, whose inputs of "
                f"shape {data.input_shape} have no spatial axes"
            )
    elif source.model_file is not None:
        model, name = tfunits.load(source.model_file), pathlib.Path(source.model_file).stem
    else:
        model, name = _build_application(source.keras_application, options.draw_seed), source.keras_application
    folder = pathlib.Path(source.out or pathlib.Path("visualizations") / name)
    try:
        taps = list(dict.fromkeys(source.layer or find_taps(model)))
        if source.image_shape or (form and form.is_vector):
            if len(as_functional(model).inputs[0].shape) != 2:
                raise UserError("--image_shape: expected a network that reads a vector, received one that reads images")
            print(f"{name} reads images in a row: drawing the weights of its first layer", flush=True)
            drawings = draw_weights(model, taps, options, folder, form.shape if form else source.image_shape)
        else:
            prepare = Preparation(form) if form else source.input_range or _find_preparation(source)
            drawings = draw_units(model, taps, options, folder, prepare=prepare)
        found = {}
        for drawing in drawings:
            found[drawing.tap] = drawing
            path = folder / f"{reports.file_stem(drawing.tap)}.png"
            write_figure(path, reports.plot_drawing(drawing, name=name), _FIGURE_DPI)
            print("\n".join([str(path), *drawing.describe_failures()]), flush=True)
    except UserError:
        raise
    except ValueError as error:
        hint = "; --image_shape=HEIGHT,WIDTH,CHANNELS draws them" if "weight_images" in str(error) else ""
        raise UserError(f"{error}{hint}") from None
    print(f"\ntotal variation: {options.variation}")
    print(reports.format_drawings(reports.drawing_table(found, options.variation)))


def _build_application(name: str, seed: int) -> "keras.Model":
    """A network of keras.applications with seeded random weights."""
    import keras

    builder = getattr(keras.applications, name, None)
    # Beside the networks' functions the module has a module for each.
    names = [other for other in dir(keras.applications) if other[0].isupper()]
    if builder is None or name not in names:
        raise UserError(f"--keras_application={name}: expected one of {', '.join(names)}")
    keras.utils.set_random_seed(seed)
    return builder(weights=None)


def _find_preparation(source: DrawingSource) -> Any:
    """Black and white as 0 and 1; or what an application's own preprocessing makes of pixels up to 255."""
    if source.keras_application is None:
        return (0.0, 1.0)
    import keras

    own = sys.modules[getattr(keras.applications, source.keras_application).__module__].preprocess_input
    return lambda images: own(255.0 * images, data_format="channels_last")


if __name__ == "__main__":
    sys.exit(main(sys.argv))
