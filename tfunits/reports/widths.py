"""What the width of a network is in a grid: its size, or that of the one layer that varies."""

from collections.abc import Mapping, Sequence

from tfunits.configs import MODELS, VARIED_BLOCK, ExperimentConfig

# Field -> what stands below the axis of a figure; the first that varies is the abscissa.
WIDTHS = {
    "size": "width (size)",
    "layer_size": "width of the varied block (layer_size)",
    "last_width": "units of the last hidden layer",
}


def width_field(configs: Sequence[ExperimentConfig]) -> str:
    """The field by which the networks of a grid are wide: size, or where all have one size, what else was varied.

    Args:
      configs: of the grid's runs.

    Returns: a name of `WIDTHS`; size where no width varies.
    """
    for name in WIDTHS:
        is_given = any(getattr(config.model, name) is not None for config in configs)
        if is_given and len({width_of(config, name) for config in configs}) > 1:
            return name
    return "size"


def width_of(config: ExperimentConfig, name: str = "size") -> float:
    """The width of a network in a field of `WIDTHS`, which is that of its size where the field is not given.

    Example:
      >>> width_of(tfunits.configs.resolve({"model": "wide_resnet28", "size": 2}), "last_width")
      128
    """
    model = config.model
    given = getattr(model, name)
    if given is not None or model.is_file or name != "last_width":
        return model.size if given is None else given
    known = MODELS[model.model]
    return known.tap_width(list(known.base_widths)[-1], model.size)


def tap_size(config: ExperimentConfig, tap: str) -> float | None:
    """The width multiplier of one tap, with which its shares count against the network at size 4.

    Args:
      config: of the run.
      tap: its name.

    Returns: the size of the network, or where the tap alone was varied its own; None for a user's own network.
    """
    model = config.model
    if model.is_file:
        return None
    if tap == VARIED_BLOCK and model.layer_size is not None:
        return model.layer_size
    known = MODELS[model.model].base_widths
    if model.last_width is not None and tap == list(known)[-1]:
        return model.last_width / sum(known[tap])
    return model.size


def network_size(config: ExperimentConfig, units: Mapping[str, int]) -> float | None:
    """The width multiplier of all taps together: their units over those at size 1.

      s = sum_t n_t / sum_t (n_t / s_t)

    Args:
      config: of the run.
      units: tap -> its number of units n_t, channels or locations; s_t is its `tap_size`.

    Returns: the size itself where every tap has it; None for a user's own network.
    """
    sizes = {tap: tap_size(config, tap) for tap in units}
    if config.model.is_file or not sizes or set(sizes.values()) == {config.model.size}:
        return None if config.model.is_file else config.model.size
    return sum(units.values()) / sum(number / sizes[tap] for tap, number in units.items())
