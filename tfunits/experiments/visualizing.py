"""What is drawn of a run's network: images of some units of every tap, one sheet a tap."""

from tfunits import reports
from tfunits.artifacts import EventWriter, write_figure, write_json
from tfunits.configs import MODELS, UserError, find_image_form
from tfunits.experiments.drawn import visualized_file
from tfunits.experiments.measuring import final_epoch
from tfunits.experiments.run import Run
from tfunits.surgery import find_taps
from tfunits.visualization.drawing import draw_units, draw_weights
from tfunits.visualization.preparation import Preparation

_FIGURE_DPI = 130


def visualize(run: Run) -> str:
    """Draw units of every tap that is asked for: arrays, a sheet as PNG and in TensorBoard; what is there stays.

    Returns: "finished".

    Raises:
      UserError: data that are no images, a network that cannot be drawn, or a tap or unit that it does not have.
    """
    options, data = run.config.visualization, run.config.data
    form = find_image_form(data.dataset, data.preprocessing)
    if form is None:
        raise UserError(
            f"--steps=visualize: expected data that are images, received {data.dataset}, whose inputs of shape "
            f"{data.input_shape} have no spatial axes; leave the step out, or choose another --dataset"
        )
    taps = _choose_taps(run)
    folder = run.run_dir.visualizations
    try:
        if form.is_vector:
            print(f"{run.run_dir.name} reads images in a row: drawing the weights of its first layer", flush=True)
            drawings = draw_weights(run.model, taps, options, folder, form.shape)
        else:
            drawings = draw_units(run.model, taps, options, folder, prepare=Preparation(form), keep=True)
        events = EventWriter(run.run_dir.tensorboard)
        drawn = []
        for drawing in drawings:
            _draw_sheet(run, drawing, events)
            drawn.append(drawing.tap)
        events.close()
    except ValueError as error:
        raise UserError(str(error)) from None
    write_json(visualized_file(run.run_dir, run.config), {"state": "finished", "taps": drawn})
    return "finished"


def _choose_taps(run: Run) -> list[str]:
    """The taps that are drawn.

    Raises:
      UserError: a name that a user's own network does not have.
    """
    wanted = run.config.visualization.taps
    known = list(find_taps(run.model))
    if wanted == ("all",):
        return known
    if wanted == ("blocks",):
        named = MODELS[run.config.model.model].blocks if not run.config.model.is_file else ()
        return list(named) or known
    for tap in wanted:
        if tap not in known:
            raise UserError(f"--taps={tap}: expected all, or some of {', '.join(known)}")
    return list(wanted)


def _draw_sheet(run: Run, drawing: reports.Drawing, events: EventWriter) -> None:
    name = f"{drawing.what}_{reports.file_stem(drawing.tap)}"
    figure = reports.plot_drawing(drawing, name=run.run_dir.name)
    png = write_figure(run.run_dir.figures / f"{name}.png", figure, _FIGURE_DPI)
    events.image(f"visualization/{name}", png, final_epoch(run.run_dir))
    for line in drawing.describe_failures():
        print(f"{run.run_dir.name}: {line}", flush=True)
