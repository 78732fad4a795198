"""The command line: absl flags generated from the configuration fields, and configurations from flags."""

import dataclasses
import difflib
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags as absl_flags

from tfunits.configs import facts
from tfunits.configs.errors import UserError, reject
from tfunits.configs.experiment import (
    ExecutionConfig,
    ExperimentConfig,
    MeasureConfig,
    VisualizationConfig,
)
from tfunits.configs.figures import find_flagfiles
from tfunits.configs.grids import expand, resolve_all
from tfunits.configs.image_forms import find_image_form
from tfunits.configs.keeping import parse_keep_rule
from tfunits.configs.options import expected_value, value_type
from tfunits.configs.prepared import resolve_data_dir
from tfunits.configs.presets import PRESET_FIELDS
from tfunits.configs.request import Request
from tfunits.configs.resolve import experiment_fields
from tfunits.configs.small import shrink

# Values of several names inside one grid axis: --regularizers=none,augmentation+dropout.
_COMBINATION_FIELDS = ("regularizers",)
_HELP_WIDTH = 100


class _FieldParser(absl_flags.ArgumentParser):
    """Text -> tuple of values (of a grid axis or a plain list) or one value (of an execution field)."""

    def __init__(self, field: dataclasses.Field, *, axis: bool) -> None:
        super().__init__()
        self.field, self.axis = field, axis
        self.syntactic_help = expected_value(field)

    def parse(self, argument: Any) -> Any:
        if not isinstance(argument, str):
            return argument
        texts = argument.split(",") if self.axis or self.field.metadata["plain_list"] else [argument]
        values = tuple(parse_value(self.field, text.strip()) for text in texts)
        return values if self.axis or self.field.metadata["plain_list"] else values[0]

    def flag_type(self) -> str:
        return "list" if self.axis else value_type(self.field).__name__


class _NamesParser(absl_flags.ArgumentParser):
    """Text -> names between its commas; absl's own list takes quotation marks for those of a CSV file."""

    def parse(self, argument: Any) -> Any:
        return tuple(name.strip() for name in argument.split(",")) if isinstance(argument, str) else argument

    def flag_type(self) -> str:
        return "list"


class _PlainSerializer(absl_flags.ArgumentSerializer):
    def serialize(self, value: Any) -> str:
        return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def parse_value(field: dataclasses.Field, text: str) -> Any:
    """One value of a field from its text.

    Raises:
      UserError: the text is not of the field's type; bounds and choices are the configuration's to check.
    """
    if field.name in _COMBINATION_FIELDS:
        return tuple(text.split("+"))
    kind = value_type(field)
    if kind is bool:
        if text.lower() in ("true", "false", "1", "0"):
            return text.lower() in ("true", "1")
        raise reject(field.name, text, "true or false")
    try:
        if text == "":
            raise ValueError
        return kind(text)
    except ValueError:
        raise reject(field.name, text, expected_value(field)) from None


def _is_axis(field: dataclasses.Field) -> bool:
    """Whether a comma makes runs: not in how runs are measured and drawn, which is not part of their identity."""
    looked_at = (*dataclasses.fields(MeasureConfig), *dataclasses.fields(VisualizationConfig))
    if field.name in {other.name for other in looked_at}:
        return False
    return field.name in _COMBINATION_FIELDS or not field.metadata["plain_list"]


def make_flags() -> absl_flags.FlagValues:
    """All flags of the command line, in a registry of their own."""
    registry = absl_flags.FlagValues()
    for field in experiment_fields().values():
        define_flag(registry, field, axis=_is_axis(field))
    for field in dataclasses.fields(ExecutionConfig):
        define_flag(registry, field, axis=False)
    absl_flags.DEFINE_multi_string(
        "grid", [],
        'axes of one grid, e.g. "model=mlp size=0.25,1"; repeat the flag for a union of grids over the common flags',
        flag_values=registry,
    )  # fmt: skip
    absl_flags.DEFINE(
        _NamesParser(), "figure", None,
        "redraw figures of the papers, e.g. frivolous/fig4c,frivolous/fig4d, each from training to plot with the flags "
        "of flags/<figure>.flags; frivolous for all of a paper, all for every one; with --steps=report, from what is "
        "there",
        flag_values=registry, serializer=_PlainSerializer(),
    )  # fmt: skip
    for name, help in (
        ("plan", "print the grid and what of it is done, and run nothing"),
        ("small", "the same on embedded data: short training, sizes up to 1, two seeds, few chunks and random orders"),
        ("help", "print this help"),
        ("version", "print the version"),
    ):
        absl_flags.DEFINE_boolean(name, False, help, flag_values=registry)
    return registry


def define_flag(registry: absl_flags.FlagValues, field: dataclasses.Field, *, axis: bool) -> None:
    """Define the flag of a field; a comma in an axis makes runs."""
    flag = absl_flags.Flag(
        parser=_FieldParser(field, axis=axis),
        serializer=_PlainSerializer(),
        name=field.name,
        default=None,
        help_string=field.metadata["help"],
        boolean=value_type(field) is bool,
    )
    absl_flags.DEFINE_flag(flag, flag_values=registry)


def parse(registry: absl_flags.FlagValues, argv: Sequence[str]) -> None:
    """Read a command line, flagfiles included, into a registry.

    Args:
      registry: from `make_flags`.
      argv: program name and arguments.

    Raises:
      UserError: an unknown flag, a value that cannot be read, or a word that is no flag.
    """
    try:
        leftover = registry(list(argv))[1:]
    except absl_flags.UnrecognizedFlagError as error:
        near = difflib.get_close_matches(error.flagname, list(registry), n=1)
        hint = f"did you mean --{near[0]}" if near else "see --help"
        raise UserError(f"--{error.flagname}: expected a known flag; {hint}") from None
    except UnicodeDecodeError:
        raise UserError("--flagfile: expected a text file, received another kind; write one flag a line") from None
    except absl_flags.Error as error:
        raise UserError(_one_line(error)) from None
    if leftover:
        word = leftover[0]
        hint = f"write --{word}" if "=" in word else "every setting is a flag; see --help"
        raise UserError(f"{word}: expected only flags of the form --name=value; {hint}")


def _one_line(error: Exception) -> str:
    """absl's message without its own prefix around ours."""
    text = " ".join(str(error).split())
    if text.startswith("flag --") and ": --" in text:
        return text[text.index(": --") + len(": ") :]
    if text.startswith("flag --"):
        return text.removeprefix("flag ").partition(": ")[0] + ": expected true or false"
    return text.replace("ERROR:: Unable to open flagfile:", "--flagfile: expected a readable file;")


def read_requests(registry: absl_flags.FlagValues, argv: Sequence[str]) -> list[Request]:
    """What a command line asks for: one grid, or one a figure.

    Args:
      registry: holds the parsed command line.
      argv: the same command line; flags in it win over those of a figure's flagfile.

    Raises:
      UserError: no such figure, grids beside one, margins without one, an export of several, or as `read_command_line`.
    """
    names = registry["figure"].value
    if names is None:
        if registry["margins"].value is not None:
            raise reject("margins", registry["margins"].value, "--figure beside it, whose claims they are for")
        return [read_command_line(registry)]
    if registry["grid"].value:
        raise reject(
            "grid", registry["grid"].value[0], "no such flag with --figure, whose flagfile has grids of its own",
            "narrow it by the flags themselves, such as --size=0.25",
        )  # fmt: skip
    requests = []
    for name, path in find_flagfiles(*names).items():
        own = make_flags()
        parse(own, [argv[0], f"--flagfile={path}", *argv[1:]])
        requests.append(dataclasses.replace(read_command_line(own), figure=name))
    if len(requests) > 1 and registry["export"].value is not None:
        raise reject("export", registry["export"].value, "one figure, since each would replace the file of the last")
    return requests


def read_command_line(registry: absl_flags.FlagValues) -> Request:
    """The grid of experiments that parsed flags stand for.

    Raises:
      UserError: a grid that is not of the form "name=value name=value", a combination that is no experiment, or a data
        folder that does not exist.
    """
    fields = experiment_fields()
    axes, plain = {}, {}
    for name, field in fields.items():
        value = registry[name].value
        if value is not None:
            if _is_axis(field):
                axes[name] = value
            else:
                plain[name] = (value,)
    grids = [_parse_grid(text, fields) for text in registry["grid"].value]
    execution = {f.name: registry[f.name].value for f in dataclasses.fields(ExecutionConfig)}
    if execution["data_dir"] is not None and not registry["small"].value:
        data_dir = resolve_data_dir(execution["data_dir"])
        if not data_dir.is_dir() and (data_dir.exists() or not execution["download"]):
            raise reject("data_dir", execution["data_dir"], "an existing folder")
    combinations = expand({**axes, **plain}, grids)
    if registry["small"].value:
        combinations = shrink(combinations)
    experiments = tuple(resolve_all(combinations))
    execution = ExecutionConfig(**{name: value for name, value in execution.items() if value is not None})
    _check_kept_epochs(execution, experiments, "leave out --small" if registry["small"].value else "raise --epochs")
    if "visualize" in (execution.steps or ()):
        _check_drawn(experiments)
    return Request(
        experiments=experiments,
        execution=execution,
        plan=registry["plan"].value,
        is_small=registry["small"].value,
        dataset_given=not registry["small"].value and ("dataset" in axes or any("dataset" in grid for grid in grids)),
    )


def _check_kept_epochs(execution: ExecutionConfig, experiments: Sequence[ExperimentConfig], remedy: str) -> None:
    """Refuse epochs that no run of the grid reaches."""
    listed = parse_keep_rule(execution.keep_epochs or ()).listed
    trained = [config.training.epochs for config in experiments if not config.model.is_file]
    if listed and trained and max(listed) > max(trained):
        last = f"epochs up to the last, {max(trained)}"
        raise reject("keep_epochs", execution.keep_epochs, last, f"or {remedy}")


def _check_drawn(experiments: Sequence[ExperimentConfig]) -> None:
    """Refuse, before anything is trained, images of networks that read none, and units that a tap does not have."""
    for config in experiments:
        data, options = config.data, config.visualization
        if find_image_form(data.dataset, data.preprocessing) is None:
            raise reject(
                "steps", "visualize", f"data that are images, not {data.dataset}, whose inputs have no spatial axes",
                "leave the step out, or choose another --dataset",
            )  # fmt: skip
        if config.model.is_file or config.model.last_width or config.model.layer_size or options.units is None:
            continue
        known = facts.MODELS[config.model.model]
        groups = {"all": tuple(known.base_widths), "blocks": known.blocks or tuple(known.base_widths)}
        for tap in groups.get(options.taps[0], options.taps):
            width = known.tap_width(tap, config.model.size)
            if max(options.units) >= width:
                expected = f"0 to {width - 1}, the units of {tap} at size {config.model.size:g}"
                raise reject("units", max(options.units), expected)


def _parse_grid(text: str, fields: Mapping[str, dataclasses.Field]) -> dict[str, tuple]:
    grid = {}
    # An empty text has one word too, which is none of a field.
    for word in text.split() or [""]:
        name, equals, value = word.partition("=")
        if not equals or name not in fields or not _is_axis(fields[name]):
            raise reject("grid", text, "words of the form field=value,value", f"{word!r} is none")
        if name in grid:
            raise reject("grid", text, f"{name} once", f"write {name}=value,value")
        grid[name] = tuple(parse_value(fields[name], item) for item in value.split(","))
    return grid


def help_text(registry: absl_flags.FlagValues, usage: str) -> str:
    """The help page: usage, then one entry a flag, with what it accepts."""
    return format_help(
        registry,
        [usage, "", "A comma makes a grid axis: --size=0.25,1 --seed=0,1 are four runs.", ""],
        {
            "What is run": list(experiment_fields().values()),
            "Where and how": list(dataclasses.fields(ExecutionConfig)),
            "Other": ["grid", "figure", "plan", "small", "help", "version"],
        },
    )


def format_help(
    registry: absl_flags.FlagValues,
    introduction: Sequence[str],
    sections: Mapping[str, Sequence[dataclasses.Field | str]],
) -> str:
    """A help page.

    Args:
      registry: holds the flags.
      introduction: lines before them.
      sections: title -> fields whose flags stand there, or names of flags that have none.
    """
    lines = list(introduction)
    for title, entries in sections.items():
        lines.append(f"{title}:")
        for entry in entries:
            name, note = (entry, "") if isinstance(entry, str) else (entry.name, _describe_field(entry))
            lines += [
                f"  --{name}",
                *(" " * 6 + line for line in textwrap.wrap(registry[name].help + note, _HELP_WIDTH - 8)),
            ]
        lines.append("")
    lines.append("  --flagfile=PATH\n      read flags from a file, one a line; flags after it win")
    return "\n".join(lines)


def _describe_field(field: dataclasses.Field) -> str:
    """What a flag accepts and what holds without it, as a note behind its help."""
    accepted = expected_value(field)
    if field.metadata["plain_list"] and not field.metadata["choices"] and value_type(field) is not str:
        accepted = f"a list, each {accepted}"
    parts = [accepted] if accepted not in ("a name", "true or false") else []
    if field.name in PRESET_FIELDS:
        parts.append("by default the recipe's")
    elif field.default is not None and "if not given" not in field.metadata["help"]:
        default = ",".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
        parts.append(f"default {str(default).lower() if isinstance(default, bool) else default}")
    return f" ({'; '.join(parts)})" if parts else ""
