"""Web pages: nothing from elsewhere, nothing of a name becomes markup."""

import base64
import html.parser
import pathlib
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from tfunits.artifacts import write_figure
from tfunits.reports import html as pages

EVIL = "<script>alert(\"1\")</script> & 'quoted' <img src=http://x.org/y.png onerror=x>"


class Reader(html.parser.HTMLParser):
    """What a browser sees: open tags with attributes, texts, and whether every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def named(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("pictures") / "wide.png"
    write_figure(path, Figure(figsize=(3, 1)), 10)
    return path


def make_page(picture: pathlib.Path, text: str = EVIL) -> str:
    frame = pd.DataFrame({text: [text, None], "value": [0.123456789, np.nan], "count": [3, 4]}, index=[text, "b"])
    body = pages.table(frame, index=True) + pages.listing([text]) + pages.commands([text])
    body += pages.paragraph(text, dim=True) + pages.image(picture, alt=text, caption=text)
    return pages.page(text, {text: body, "empty": ""}, subtitle=text, warnings=[text])


def test_no_name_becomes_markup(picture: pathlib.Path) -> None:
    """The same tags with and without markup in every text, and the text as it is."""
    found, plain = (Reader(make_page(picture, text)) for text in (EVIL, "plain"))
    assert [tag for tag, _ in found.tags] == [tag for tag, _ in plain.tags]
    assert sum(EVIL in text for text in found.texts) == sum("plain" in text for text in plain.texts)
    (shown,) = found.named("img")
    assert shown["alt"] == EVIL


def test_nothing_is_read_from_elsewhere(picture: pathlib.Path) -> None:
    found = Reader(make_page(picture, "plain"))
    assert all(attributes["src"].startswith("data:image/png;base64,") for attributes in found.named("img"))
    assert not [tag for tag, attributes in found.tags if tag in ("link", "iframe", "object") or "href" in attributes]
    assert not any("src" in attributes for attributes in found.named("script"))
    assert not re.search(r"url\(|@import|https?:", make_page(picture, "plain"))
    (policy,) = (a["content"] for a in found.named("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_a_page_is_for_phones_and_dark_screens_too(picture: pathlib.Path) -> None:
    text = make_page(picture, "plain")
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in Reader(text).named("meta")
    assert "prefers-color-scheme: dark" in text
    assert 'class="wide"' in text
    assert "<h2>empty</h2>" not in text


def test_a_picture_is_held_byte_by_byte(picture: pathlib.Path) -> None:
    for given in (picture, picture.read_bytes()):
        (shown,) = Reader(pages.image(given, alt="a")).named("img")
        assert base64.b64decode(shown["src"].partition(",")[2]) == picture.read_bytes()


def test_numbers_are_short_to_read_and_whole_to_sort() -> None:
    values = [0.123456789, 12.0, np.inf, -1e-9]
    found = Reader(pages.table(pd.DataFrame({"value": values, "count": [1, 2, 3, 4], "finished": [True] * 4})))
    cells = [attributes for attributes in found.named("td") if attributes.get("class") == "number"]
    assert [float(cell["data-value"]) for cell in cells[::2]] == values
    assert [cell["title"] for cell in cells[1::2]] == ["1.0", "2.0", "3.0", "4.0"]
    texts = [text.strip() for text in found.texts if text.strip()]
    assert texts[:3] == ["value", "count", "finished"]
    assert texts[3:] == ["0.1235", "1", "True", "12", "2", "True", "inf", "3", "True", "-1e-09", "4", "True"]
    assert all(attributes["type"] == "button" for attributes in found.named("button"))


def test_what_is_missing_is_empty() -> None:
    frame = pd.DataFrame({"a": [np.nan, 1.5], "b": [None, "x"], "c": [[1, 2], ()]})
    found = Reader(pages.table(frame))
    assert [text for text in found.texts if text.strip()] == ["a", "b", "c", "[1, 2]", "1.5", "x", "()"]


def test_a_page_is_written_whole(tmp_path: pathlib.Path, picture: pathlib.Path) -> None:
    path = tmp_path / "new" / "page.html"
    text = make_page(picture, "Größe")
    pages.write_page(path, text)
    assert path.read_bytes().decode("utf-8") == text
    pages.write_page(path, text + "\udcff")
    assert path.read_bytes().decode("utf-8") == text + "?"
    assert [file.name for file in path.parent.iterdir()] == ["page.html"]
