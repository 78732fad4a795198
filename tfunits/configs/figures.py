"""Names of the papers' figures, and the flagfiles that redraw them."""

import difflib
import pathlib
import re
from collections.abc import Sequence

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


def find_flagfiles(name: str, folder: pathlib.Path = _FLAGS_FOLDER) -> dict[str, pathlib.Path]:
    """Figure -> its flagfile, of one figure or of all.

    Args:
      name: <paper>/<figure>, or all.
      folder: of the flagfiles.

    Raises:
      UserError: no such figure; names those nearest to it.
    """
    known = list_figures(folder)
    chosen: Sequence[str] = known if name == ALL_FIGURES else [name] if name in known else ()
    if not chosen:
        # A part of a name is as near as a slip of the finger.
        near = [other for other in known if name in other] or difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        hint = f"the nearest are {', '.join(near[:5])}" if near else "their flagfiles lie below flags/"
        raise reject("figure", name, f"{ALL_FIGURES}, or a figure such as {known[0] if known else '...'}", hint)
    return {figure: folder / f"{figure}.flags" for figure in chosen}
