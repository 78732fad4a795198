"""Drawing some units of many taps of a network, into files."""

import pathlib
import zlib
from collections.abc import Iterator, Sequence

import keras
import numpy as np

from tfunits.configs import UserError, VisualizationConfig
from tfunits.reports import DRAWN, WEIGHTS, Drawing, drawing_file, is_drawn, read_drawing, write_drawing
from tfunits.surgery import Graph, TensorKey, find_tensors
from tfunits.visualization.network import Network, Prepare
from tfunits.visualization.objectives import unit
from tfunits.visualization.parameterization import PARAMETERIZATIONS
from tfunits.visualization.rendering import default_sides, render
from tfunits.visualization.transforms import standard
from tfunits.visualization.weights import weight_images


def draw_units(
    model: keras.Model,
    taps: Sequence[str],
    options: VisualizationConfig,
    folder: pathlib.Path,
    *,
    prepare: tuple[float, float] | Prepare = (0.0, 1.0),
    keep: bool = False,
) -> Iterator[Drawing]:
    """Draw units of every tap, as many taps at once as `options.batch` allows.

    Args:
      model: a functional Keras model that reads one image.
      taps: taps or layers.
      options: which units, and how.
      folder: where the files go: per tap <tap>-<hash of the options>.json and .npz.
      prepare: as in `render`.
      keep: whether images that are there stay, which is right only where the folder belongs to one network.

    Yields: the images of every tap, in order, when they are on disk.

    Raises:
      ValueError: a model that does not read one image, a tap or unit that is not there.
    """
    network = Network(model, prepare)
    keys = network.find(taps)
    units = {tap: choose_units(network.graph, key, tap, options) for tap, key in keys.items()}
    sides = (options.image_size,) * 2 if options.image_size else default_sides(network)
    param = PARAMETERIZATIONS[options.param](sides, network.channels)
    for group in _divide(units, options.batch):
        paths = {tap: drawing_file(folder, options, tap) for tap in group}
        missing = [tap for tap in group if not (keep and is_drawn(paths[tap]))]
        images, values, failures = {}, {}, {}
        if missing:
            wanted = [(tap, number) for tap in missing for number in units[tap]]
            drawn = render(
                model, [unit(tap, number) for tap, number in wanted], param=param, prepare=prepare,
                transforms=standard if options.transforms == "standard" else (),
                steps=options.draw_steps, seed=options.draw_seed, batch=options.batch,
            )  # fmt: skip
            for place, (tap, number) in enumerate(wanted):
                images.setdefault(tap, []).append(drawn.images[place])
                values.setdefault(tap, []).append(drawn.values[place])
                if place in drawn.failures:
                    failures.setdefault(tap, {})[number] = drawn.failures[place]
        for tap in group:
            if tap not in missing:
                yield read_drawing(paths[tap])
                continue
            yield write_drawing(
                paths[tap], options.drawing_settings(tap), tap=tap, kind=DRAWN, units=units[tap],
                images=np.stack(images[tap]), values=np.array(values[tap]), failures=failures.get(tap, {}),
            )  # fmt: skip


def draw_weights(
    model: keras.Model,
    taps: Sequence[str],
    options: VisualizationConfig,
    folder: pathlib.Path,
    image_shape: tuple[int, ...],
) -> Iterator[Drawing]:
    """The weights of units of taps that read a flattened image, into files as `draw_units`.

    Args:
      model: a functional Keras model.
      taps: taps or layers; those that do not read the input are left out.
      options: which units.
      folder: where the files go.
      image_shape: (height, width, channels) of the image.

    Yields: the images of every tap that reads the input.

    Raises:
      UserError: no tap does.
    """
    graph = Graph(model)
    reasons = []
    for tap, key in find_tensors(graph, list(taps)).items():
        try:
            images = weight_images(model, tap, image_shape)
        except ValueError as error:
            reasons.append(str(error))
            continue
        units = choose_units(graph, key, tap, options)
        yield write_drawing(
            drawing_file(folder, options, tap), options.drawing_settings(tap), tap=tap, kind=WEIGHTS, units=units,
            images=images[units], values=np.full(len(units), np.nan), failures={},
        )  # fmt: skip
    if len(reasons) == len(taps):
        raise UserError(reasons[0])


def choose_units(graph: Graph, key: TensorKey, tap: str, options: VisualizationConfig) -> list[int]:
    """The named units, or as many random ones as are asked for and there, rising.

    Raises:
      UserError: a named unit that the tap does not have.
    """
    num_units = graph.shape(key)[-1]
    if options.units is None:
        generator = np.random.default_rng([options.draw_seed, zlib.crc32(tap.encode())])
        count = min(options.num_units, num_units)
        return sorted(generator.choice(num_units, count, replace=False).tolist())
    for number in options.units:
        if number >= num_units:
            raise UserError(f"--units={number}: expected 0 to {num_units - 1}, the units of {tap!r}")
    return list(options.units)


def _divide(units: dict[str, list[int]], batch: int) -> list[list[str]]:
    """Taps in groups of at most `batch` units, or of one tap."""
    groups: list[list[str]] = []
    for tap, numbers in units.items():
        if groups and sum(len(units[other]) for other in groups[-1]) + len(numbers) <= batch:
            groups[-1].append(tap)
        else:
            groups.append([tap])
    return groups
