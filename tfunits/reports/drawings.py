"""Images of what units respond to: read back from runs, tabulated, laid out on sheets."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfunits.artifacts import RunDir, read_arrays, read_json, write_arrays, write_json
from tfunits.configs import UserError, VisualizationConfig, short_hash
from tfunits.reports.tables import format_table
from tfunits.statistics import READINGS, fourier_amplitude, total_variation

# What total variations are of.
DOMAINS = ("pixels", "frequencies")
DRAWN, WEIGHTS = "drawn", "weights"
_SHEET_COLUMNS = 8
_PANEL_INCHES = 1.15
# Below this share of an image's largest amplitude frequencies are shown as black.
_AMPLITUDE_FLOOR = 1e-3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawing:
    """Images of some units of a tap.

    Attributes:
      tap: whose units.
      kind: DRAWN by optimisation, or WEIGHTS of a first layer.
      units: their numbers.
      values: what each image reaches: its unit's mean activation; nan of a failed one, and of weights.
      failures: unit -> the step at which its optimisation was not finite.
      variations: domain of `DOMAINS` -> reading -> total variation of every image, nan of a failed one.
      arrays: the .npz file of the images.
    """

    tap: str
    kind: str
    units: tuple[int, ...]
    values: np.ndarray
    failures: Mapping[int, int]
    variations: Mapping[str, Mapping[str, np.ndarray]]
    arrays: pathlib.Path

    def images(self) -> np.ndarray:
        """float32 [units, height, width, channels] in [0, 1]; nan of a failed one.

        Raises:
          UserError: a damaged file; the error names it.
        """
        try:
            return read_arrays(self.arrays)["images"]
        except ValueError as error:
            raise UserError(f"{error}; delete it and run again") from None

    @property
    def what(self) -> str:
        """What the images are, in a word."""
        return "weights" if self.kind == WEIGHTS else "units"

    def describe_failures(self) -> list[str]:
        """A line for every unit that was skipped."""
        steps = self.failures.items()
        return [f"unit {unit} of {self.tap} was not finite at step {step}; skipped" for unit, step in steps]

    def labels(self) -> list[str]:
        """A line for every image: unit, and value or failure."""
        lines = []
        for unit, value in zip(self.units, self.values, strict=True):
            if unit in self.failures:
                lines.append(f"{unit}: not finite\nat step {self.failures[unit]}")
            else:
                lines.append(f"{unit}" if np.isnan(value) else f"{unit}: {value:.3g}")
        return lines


def file_stem(tap: str) -> str:
    """A tap's name in the names of files."""
    return tap.replace("/", "--")


def is_drawn(path: pathlib.Path) -> bool:
    """Whether a tap's JSON from `drawing_file` is there, with the images that belong to it."""
    return path.is_file() and path.with_suffix(".npz").is_file()


def drawing_file(folder: pathlib.Path, options: VisualizationConfig, tap: str) -> pathlib.Path:
    """The JSON file of a tap's images; their arrays stand beside it."""
    return folder / f"{file_stem(tap)}-{short_hash(options.drawing_settings(tap))}.json"


def write_drawing(
    path: pathlib.Path, settings: Mapping[str, Any], *, tap: str, kind: str, units: Sequence[int], images: np.ndarray,
    values: np.ndarray, failures: Mapping[int, int],
) -> Drawing:  # fmt: skip
    """Write images of a tap with their total variations; the JSON last, so that it says that all is there.

    Args:
      path: from `drawing_file`.
      settings: what decided the images.
      tap, kind, units, values, failures: as in `Drawing`.
      images: float32 [units, height, width, channels].
    """
    write_arrays(path.with_suffix(".npz"), {"images": images, "units": np.asarray(units, "int64")})
    write_json(path, {
        "tap": tap, "kind": kind, "settings": dict(settings), "units": [int(unit) for unit in units],
        "values": np.asarray(values, float), "failures": {str(unit): int(step) for unit, step in failures.items()},
        "total_variation": measure_variations(images),
    })  # fmt: skip
    return read_drawing(path)


def measure_variations(images: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """Total variations in pixels and in Fourier amplitudes.

    Args:
      images: [images, height, width, channels].

    Returns: domain of `DOMAINS` -> reading -> float64 [images], nan where an image is not finite.
    """
    found = {domain: {reading: np.full(len(images), np.nan) for reading in READINGS} for domain in DOMAINS}
    finite = np.isfinite(images).all(axis=(1, 2, 3))
    views = {"pixels": images[finite], "frequencies": fourier_amplitude(images[finite])}
    for domain, view in views.items():
        for reading in READINGS:
            found[domain][reading][finite] = total_variation(view, reading=reading)
    return found


def read_drawing(path: pathlib.Path) -> Drawing:
    """Read what `write_drawing` wrote.

    Raises:
      UserError: a damaged file; the error names it.
    """
    stored = read_json(path)
    try:
        return Drawing(
            tap=stored["tap"],
            kind=stored["kind"],
            units=tuple(stored["units"]),
            values=np.array(stored["values"], float),
            failures={int(unit): step for unit, step in stored["failures"].items()},
            variations={
                domain: {reading: np.array(stored["total_variation"][domain][reading], float) for reading in READINGS}
                for domain in DOMAINS
            },
            arrays=path.with_suffix(".npz"),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: expected the images of a tap, received another file ({error}); delete it") from None


def read_drawings(run_dir: RunDir, options: VisualizationConfig, taps: Sequence[str]) -> dict[str, Drawing]:
    """Tap -> its images, of the taps that were drawn with these options."""
    paths = {tap: drawing_file(run_dir.visualizations, options, tap) for tap in taps}
    return {tap: read_drawing(path) for tap, path in paths.items() if is_drawn(path)}


def drawing_table(drawings: Mapping[str, Drawing], reading: str) -> pd.DataFrame:
    """One row a tap: images, silent units, mean activation reached, mean total variations.

    Args:
      drawings: tap -> images.
      reading: of total variation.
    """
    rows = {}
    for tap, drawing in drawings.items():
        rows[tap] = {
            "images": int(np.isfinite(drawing.variations["pixels"][reading]).sum()),
            "silent": int((drawing.values == 0).sum()),
            "activation": _mean(drawing.values),
            **{f"variation_{domain}": _mean(drawing.variations[domain][reading]) for domain in DOMAINS},
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def format_drawings(table: pd.DataFrame) -> str:
    """`drawing_table` as aligned text; activations may be of any scale."""
    shown = table.copy()
    shown["activation"] = ["" if np.isnan(value) else f"{value:.3g}" for value in table["activation"]]
    return format_table(shown)


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")


def plot_drawing(drawing: Drawing, *, name: str) -> Figure:
    """The sheet of a tap's images.

    Args:
      drawing: the images.
      name: of the run or network.
    """
    title = f"{name}\n{drawing.what} of {drawing.tap}, and their Fourier amplitudes"
    return plot_sheet(drawing.images(), drawing.labels(), title=title)


def plot_sheet(images: np.ndarray, labels: Sequence[str], *, title: str) -> Figure:
    """A sheet of images, each above its Fourier amplitude.

    Args:
      images: [images, height, width, channels] in [0, 1]; one that is not finite stays empty.
      labels: a line or two for every image.
      title: of the figure.
    """
    columns = min(len(images), _SHEET_COLUMNS)
    rows = -(-len(images) // columns)
    figure = Figure(
        figsize=(_PANEL_INCHES * max(columns, 3), 2.35 * _PANEL_INCHES * rows + 0.5), layout="constrained"
    )  # fmt: skip
    panels = figure.subplots(2 * rows, columns, squeeze=False)
    for axes in panels.ravel():
        axes.axis("off")
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        row, column = divmod(number, columns)
        show_image(panels[2 * row, column], image)
        show_amplitude(panels[2 * row + 1, column], image)
        panels[2 * row, column].set_title(label, fontsize=7)
    figure.suptitle(title, fontsize=9)
    return figure


def show_image(axes: Axes, image: np.ndarray) -> None:
    """Draw an image; one of other than one or three channels by their mean."""
    axes.axis("off")
    if not np.isfinite(image).all():
        return
    if image.shape[-1] == 3:
        axes.imshow(image, vmin=0, vmax=1, interpolation="nearest")
    else:
        axes.imshow(image.mean(axis=-1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")


def show_amplitude(axes: Axes, image: np.ndarray) -> None:
    """Draw an image's Fourier amplitude, summed over channels, on a logarithmic scale; frequency 0 is in the middle."""
    axes.axis("off")
    if not np.isfinite(image).all():
        return
    # The mean brightness is no frequency that an eye looks for, and would outshine all others.
    amplitude = fourier_amplitude(image - image.mean(axis=(0, 1))).sum(axis=-1)
    largest = amplitude.max() or 1
    axes.imshow(
        np.log(np.maximum(amplitude / largest, _AMPLITUDE_FLOOR)), cmap="gray", vmin=np.log(_AMPLITUDE_FLOOR), vmax=0,
        interpolation="nearest",
    )  # fmt: skip
