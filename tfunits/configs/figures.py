"""Names of the papers' figures, and the flagfiles that redraw them."""

import difflib
import pathlib
import re
from collections.abc import Sequence
from typing import NoReturn

from tfunits.configs.errors import reject

# --figure=all: every figure, one after the other.
ALL_FIGURES = "all"
_FLAGS_FOLDER = pathlib.Path(__file__).parents[2] / "flags"


def list_figures(folder: pathlib.Path = _FLAGS_FOLDER) -> list[str]:
    """<paper>/<figure> of every flagfile, sorted as a person counts: fig2 before fig10."""
    names = [str(path.relative_to(folder).with_suffix("").as_posix()) for path in folder.glob("*/*.flags")]
    return sorted(names, key=_count)


def _count(name: str) -> list[str | int]:
    """A key that sorts numbers inside names by their value."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def find_flagfiles(*names: str, folder: pathlib.Path = _FLAGS_FOLDER) -> dict[str, pathlib.Path]:
    """Figure -> its flagfile, of the figures that are named, each once and in the order of `list_figures`.

    Args:
      *names: <paper>/<figure>, a paper for all of its figures, or all.
      folder: of the flagfiles.

    Raises:
      UserError: no such figure; names those nearest to it.

    Example:
      >>> [*find_flagfiles("frivolous/fig4c", "frivolous/fig4b")]
      ['frivolous/fig4b', 'frivolous/fig4c']
    """
    known = list_figures(folder)
    chosen: set[str] = set()
    for name in names:
        found = [figure for figure in known if name in (ALL_FIGURES, figure, figure.split("/")[0])]
        chosen.update(found or _reject(name, known))
    return {figure: folder / f"{figure}.flags" for figure in known if figure in chosen}


def _reject(name: str, known: Sequence[str]) -> NoReturn:
    papers = dict.fromkeys(figure.split("/")[0] for figure in known)
    # A part of a name is as near as a slip of the finger.
    near = [other for other in known if name and name in other] or difflib.get_close_matches(
        name, [*papers, *known], n=3, cutoff=0.4
    )
    hint = f"the nearest are {', '.join(near[:5])}" if near else "their flagfiles lie below flags/"
    example = known[0] if known else "..."
    raise reject("figure", name, f"{ALL_FIGURES}, a paper or a figure such as {example}", hint)
