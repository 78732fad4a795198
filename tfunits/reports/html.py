"""Web pages of one file: plots, tables and commands, without anything from elsewhere."""

import base64
import html
import pathlib
import struct
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from tfunits.artifacts import replacing

# Where a PNG file says its width and height.
_PNG_SIZE = slice(16, 24)
# From this width over height on, panels side by side cannot be read on a phone unless they scroll.
_WIDE = 2
# Phones, light and dark screens, paper; tables scroll by themselves.
_STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --dim: #57606a; --ground: #fff; --line: #d0d7de; --shade: #f3f5f7;
  --accent: #0072b2; --warn: #fff4e0; --warn-line: #d55e00; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e9ec; --dim: #9aa4ae; --ground: #14171a; --line: #3a424a;
  --shade: #20252a; --accent: #56b4e9; --warn: #33260f; --warn-line: #e69f00; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 75rem; color: var(--text); background: var(--ground);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .5rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; padding-bottom: .2rem; border-bottom: 1px solid var(--line); }
p, li { overflow-wrap: anywhere; }
.dim { color: var(--dim); font-size: .9rem; }
.warn { background: var(--warn); border-left: 4px solid var(--warn-line); padding: .5rem 1rem; margin: 1rem 0; }
.warn ul { margin: 0; padding-left: 1rem; }
figure { margin: 1rem 0; }
figure img { display: block; max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
@media (max-width: 40rem) { figure img.wide { max-width: none; width: 48rem; } }
figcaption { color: var(--dim); font-size: .9rem; }
pre { background: var(--shade); padding: .7rem; overflow-x: auto; border-radius: 4px; margin: .5rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap; }
td.number, th.number { text-align: right; }
tbody tr:hover { background: var(--shade); }
th button { all: unset; cursor: pointer; font-weight: 600; }
th button:focus-visible { outline: 2px solid var(--accent); }
th[aria-sort=ascending] button::after { content: " \\25b2"; }
th[aria-sort=descending] button::after { content: " \\25bc"; }
@media print { pre { white-space: pre-wrap; } .scroll { overflow: visible; } }
"""
# A click on a heading sorts by its column, a second one the other way round; what is missing stays last.
_SCRIPT = """
for (const button of document.querySelectorAll("th button")) button.addEventListener("click", () => {
  const th = button.parentElement, column = th.cellIndex, body = th.closest("table").tBodies[0];
  const falls = th.getAttribute("aria-sort") === "ascending";
  for (const other of th.parentElement.cells) other.removeAttribute("aria-sort");
  th.setAttribute("aria-sort", falls ? "descending" : "ascending");
  const key = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
  const compare = (a, b) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    const order = th.className === "number" ? a - b : a.localeCompare(b);
    return falls ? -order : order;
  };
  body.append(...[...body.rows].sort((a, b) => compare(key(a), key(b))));
});
"""


def page(title: str, sections: Mapping[str, str], *, subtitle: str = "", warnings: Sequence[str] = ()) -> str:
    """A whole page.

    Args:
      title: of the page, plain text.
      sections: heading, plain text -> content, made by the other functions here; an empty one is left out.
      subtitle: below the title, plain text.
      warnings: lines that a reader must see first, plain text.

    Returns: HTML of one file, which reads nothing from elsewhere.

    Example:
      >>> "<h1>a &lt; b</h1>" in page("a < b", {"Runs": paragraph("none")})
      True
    """
    parts = [f"<h1>{html.escape(title)}</h1>"]
    parts += [paragraph(subtitle, dim=True)] if subtitle else []
    parts += [f'<div class="warn">{listing(warnings)}</div>'] if warnings else []
    parts += [f"<section><h2>{html.escape(name)}</h2>\n{body}</section>" for name, body in sections.items() if body]
    # The first rule keeps a page that someone was sent from reaching out, whatever a name in it holds.
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + f"\n<script>{_SCRIPT}</script>\n</body>\n</html>\n"
    )


def write_page(path: pathlib.Path, content: str) -> None:
    """Write what `page` returns as a file."""
    with replacing(path) as temporary:
        # As the page says of itself; names of files may hold what no text can.
        temporary.write_bytes(content.encode("utf-8", "replace"))


def paragraph(text: str, *, dim: bool = False) -> str:
    """Plain text as a paragraph; dim for what explains."""
    style = ' class="dim"' if dim else ""
    return f"<p{style}>{html.escape(text)}</p>\n"


def listing(lines: Iterable[str]) -> str:
    """Plain texts as a list."""
    return "<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in lines) + "</ul>\n"


def commands(lines: Iterable[str]) -> str:
    """Lines to type, plain text."""
    return f"<pre><code>{html.escape(chr(10).join(lines))}</code></pre>\n"


def image(picture: bytes | pathlib.Path, *, alt: str, caption: str = "") -> str:
    """A PNG picture, held by the page itself.

    Args:
      picture: its bytes, or the file.
      alt: what it shows, for those who cannot see it.
      caption: below it, plain text.
    """
    content = picture if isinstance(picture, bytes) else picture.read_bytes()
    width, height = struct.unpack(">II", content[_PNG_SIZE])
    source = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    below = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    style = ' class="wide"' if width > _WIDE * height else ""
    return f'<figure><div class="scroll"><img{style} src="{source}" alt="{html.escape(alt)}"></div>{below}</figure>\n'


def table(frame: pd.DataFrame, *, index: bool = False) -> str:
    """A frame as a table that is sorted by a click on a heading.

    Args:
      frame: counts are written whole, other numbers with four digits (all of them in a tooltip), missing ones empty.
      index: whether the index is the first column.

    Example:
      >>> '<td>a &amp; b</td>' in table(pd.DataFrame({"run": ["a & b"]}))
      True
    """
    shown = frame.reset_index() if index else frame
    numeric = [pd.api.types.is_numeric_dtype(kind) and not _is_bool(kind) for kind in shown.dtypes]
    mark = [' class="number"' if is_number else "" for is_number in numeric]
    head = "".join(
        f'<th scope="col"{cls}><button type="button">{html.escape(str(name).replace("_", " "))}</button></th>'
        for name, cls in zip(shown.columns, mark, strict=True)
    )
    rows = []
    for values in shown.itertuples(index=False, name=None):
        cells = [
            _number_cell(value) if is_number else f"<td>{html.escape(_text(value))}</td>"
            for value, is_number in zip(values, numeric, strict=True)
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    body = "\n".join(rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>\n'


def _is_bool(kind: object) -> bool:
    return pd.api.types.is_bool_dtype(kind)


def _text(value: object) -> str:
    return "" if pd.api.types.is_scalar(value) and pd.isna(value) else str(value)


def _number_cell(value: float) -> str:
    if pd.isna(value):
        return '<td class="number"></td>'
    value = float(value)
    is_whole = np.isfinite(value) and value == int(value)
    # As scripts read it.
    full = repr(value).replace("inf", "Infinity")
    shown = f"{value:.0f}" if is_whole else f"{value:.4g}"
    return f'<td class="number" data-value="{full}" title="{full}">{shown}</td>'
