"""Whether runs may be averaged: of one version and the same data, every seed at every width."""

from collections.abc import Hashable, Iterable, Mapping

from tfunits.configs import UserError
from tfunits.reports.records import RunRecord

# Names of runs in one line; the rest is counted.
_MAX_NAMED = 3
# Entries of an environment that are of one run, or hold others.
_NOT_COMPARED = ("seed", "data_seed", "command", "packages")


def check_mixture(records: Iterable[RunRecord]) -> None:
    """Refuse to average runs that different versions of tfunits trained, or whose data of one name differ.

    What the settings say themselves (another data set, another seed of the data) makes another curve and is no mixture.
    Data of one name differ where a folder, or a user's network in its file, has changed between two runs.

    Args:
      records: runs that are to be averaged or compared.

    Raises:
      UserError: there are two versions or contents; it names runs of each.

    Example:
      >>> check_mixture([])
    """
    by_kind: dict[str, dict[str, list[str]]] = {}
    for record in records:
        model, data, name = record.config.model, record.config.data, record.run_dir.name
        for kind, value in (
            ("one version of tfunits", record.environment.get("tfunits")),
            (f"one content of {data.dataset}", data.folder_sha256),
            (f"one content of {model.model}", model.model_file_sha256),
        ):
            if value is not None:
                by_kind.setdefault(kind, {}).setdefault(value, []).append(name)
    for kind, found in by_kind.items():
        if len(found) > 1:
            listed = "; ".join(f"{value[:10]}: {name_runs(names)}" for value, names in found.items())
            raise UserError(
                f"runs that are averaged: expected {kind}, received {len(found)} ({listed}); report those of each by "
                "themselves, or train them again under another --run_root"
            )


def name_runs(names: Iterable[str]) -> str:
    """The first few names, and how many there are more."""
    names = list(names)
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(names[:_MAX_NAMED]) + more


def describe_missing_seeds(found: Mapping[tuple[str, float], Iterable[int]]) -> list[str]:
    """A line for every curve that lacks seeds at some of its widths which it or another curve has.

    Args:
      found: (curve, width) -> seeds of its finished runs.

    Example:
      >>> describe_missing_seeds({("he", 0.5): [0, 1], ("he", 1.0): [0]})
      ['he: no finished run of seed 1 at width 1']
    """
    every = {seed for seeds in found.values() for seed in seeds}
    widths: dict[tuple[str, tuple[int, ...]], list[float]] = {}
    for (curve, width), seeds in found.items():
        if absent := sorted(every.difference(seeds)):
            widths.setdefault((curve, tuple(absent)), []).append(width)
    return [
        f"{curve}: no finished run of seed {', '.join(map(str, seeds))} at width "
        + ", ".join(f"{width:g}" for width in sorted(where))
        for (curve, seeds), where in widths.items()
    ]


def compare_environments(records: Iterable[RunRecord]) -> dict[str, dict[str, list[str]]]:
    """What runs were made with: versions, devices and the like.

    Args:
      records: of the runs.

    Returns: name -> value -> names of the runs with this value; one value where all runs agree.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for record in records:
        packages: Mapping[str, Hashable] = record.environment.get("packages", {})
        own = {name: value for name, value in record.environment.items() if name not in _NOT_COMPARED}
        for name, value in {**own, **packages}.items():
            shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            found.setdefault(name, {}).setdefault(shown, []).append(record.run_dir.name)
    return found
