"""Which network `python -m tfunits.visualization` draws, and its flags."""

import dataclasses
from collections.abc import Sequence

from absl import flags as absl_flags

from tfunits.configs.errors import UserError, reject
from tfunits.configs.experiment import VisualizationConfig
from tfunits.configs.flags import define_flag, format_help, parse
from tfunits.configs.options import check_fields, option

_USAGE = """python -m tfunits.visualization --run=runs/<id> | --model_file=PATH.keras | --keras_application=NAME
    [--layer=NAME,...] [--units=0,5,7] [--flag=value ...]"""
_NETWORKS = ("run", "model_file", "keras_application")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrawingSource:
    """Which network is drawn, what it reads, and where the images go."""

    run: str | None = option(None, "a run's directory")
    model_file: str | None = option(None, "a functional Keras model, as a .keras file")
    keras_application: str | None = option(
        None, "a network of keras.applications, e.g. InceptionV3, with random weights"
    )
    layer: tuple[str, ...] | None = option(None, "taps or layers to draw; all taps if not given", plain_list=True)
    input_range: tuple[float, ...] | None = option(
        None, "what the network reads for black and white, e.g. -1,1; 0,1 if not given, what a run's data have, or an "
        "application's own", plain_list=True,
    )  # fmt: skip
    image_shape: tuple[int, ...] | None = option(
        None, "height,width,channels of the image that a network reads flattened: draws the weights of its first layer",
        minimum=1, plain_list=True,
    )  # fmt: skip
    out: str | None = option(None, "folder of the images; visualizations/<name of the network> if not given")

    def __post_init__(self) -> None:
        check_fields(self)
        given = [name for name in _NETWORKS if getattr(self, name) is not None]
        if len(given) != 1:
            received = " and ".join(f"--{name}" for name in given) or "none"
            raise UserError(
                f"expected one of {', '.join(f'--{name}' for name in _NETWORKS)}, received {received}; see --help"
            )
        if self.input_range is not None and len(self.input_range) != 2:
            raise reject("input_range", self.input_range, "two numbers, e.g. -1,1")
        if self.image_shape is not None and len(self.image_shape) != 3:
            raise reject("image_shape", self.image_shape, "three numbers, e.g. 8,8,1")
        if self.run is not None and (self.input_range or self.image_shape):
            name = "input_range" if self.input_range else "image_shape"
            raise reject(name, getattr(self, name), "no such flag with --run", "a run's data say what it reads")


def read_drawing_flags(argv: Sequence[str]) -> tuple[DrawingSource, VisualizationConfig] | str:
    """What a command line asks for: network and options, or the help page.

    Args:
      argv: program name and arguments.

    Raises:
      UserError: a wrong flag or value, or none or several networks.
    """
    sections = {
        "Which network": list(dataclasses.fields(DrawingSource)),
        # --layer names what --taps names of a run.
        "What is drawn": [field for field in dataclasses.fields(VisualizationConfig) if field.name in _DRAWING_FIELDS],
    }
    registry = absl_flags.FlagValues()
    for field in (field for fields in sections.values() for field in fields):
        define_flag(registry, field, axis=False)
    absl_flags.DEFINE_boolean("help", False, "print this help", flag_values=registry)
    parse(registry, argv)
    if registry["help"].value:
        return format_help(registry, [f"usage: {_USAGE}", ""], {**sections, "Other": ["help"]})
    source, options = (
        {field.name: registry[field.name].value for field in fields} for fields in sections.values()
    )  # fmt: skip
    given = {name: value for name, value in options.items() if value is not None}
    return DrawingSource(**source), VisualizationConfig(**given)


_DRAWING_FIELDS = (
    "units", "num_units", "image_size", "draw_steps", "draw_seed", "param", "transforms", "batch", "variation"
)  # fmt: skip
