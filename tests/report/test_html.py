"""A report is one safe, complete file: whatever the texts hold, nothing runs and nothing is loaded."""

from __future__ import annotations

import errno
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellvjepa.errors import UserError
from cellvjepa.report.animations import animate
from cellvjepa.report.html import html_of, write_page
from cellvjepa.report.page import Details, Gallery, Note, Page, Picture, Section, Table
from cellvjepa.report.plots import draw_map

EVIL = "<script>alert(1)</script>"
TAGS = {"html", "head", "meta", "title", "style", "body", "main", "header", "h1", "h2", "p", "nav", "ol", "li", "a", "section", "figure", "div"}
TAGS |= {"img", "figcaption", "table", "thead", "tbody", "tr", "th", "td", "details", "summary", "pre", "footer"}
GIF = animate([np.zeros((2, 4, 6))], zoom=1)


class Reader(HTMLParser):
    """Collects what a browser would see, and insists that every element is closed."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        self.attributes.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)


def read(page: Page) -> Reader:
    reader = Reader()
    reader.feed(html_of(page))
    reader.close()
    assert not reader.open
    return reader


def page_of(text: str) -> Page:
    """Return a page that says ``text`` in every place where a text can be."""
    shown = text if text.strip() else "alt"
    picture = Picture(GIF, text, shown, text)
    blocks = (
        picture,
        Gallery((picture, picture), text),
        Table((text, text), ((text, text), ("1", "2")), text, (1,)),
        Note(text, "warn"),
        Details(text, text),
    )
    return Page(text, text, (Section(text, text, blocks),) * 3, text)


def shape_of(reader: Reader) -> list[tuple[str, list[str]]]:
    """Return what may not depend on texts: elements and their attributes (a column of numbers has a class)."""
    return [(tag, sorted(set(attributes) - {"class"})) for tag, attributes in reader.attributes if tag != "p"]


@given(st.text(max_size=30))
@settings(max_examples=60, deadline=None)
def test_any_text_is_shown_and_never_becomes_an_element(text: str) -> None:
    harmless, found = read(page_of("x")), read(page_of(text))
    if text.strip():
        assert shape_of(found) == shape_of(harmless)
    for tag, attributes in found.attributes:
        assert not any(name.startswith("on") for name in attributes), tag


@pytest.mark.parametrize(
    "text", [EVIL, '" onerror="alert(1)', "'><img src=x onerror=alert(1)>", "</style><script>", "a & b", "javascript:alert(1)", "&lt;"]
)
def test_an_evil_name_is_harmless_and_readable(text: str) -> None:
    found = read(page_of(text))
    assert "".join(found.text).count(text) >= 20
    assert "script" not in {tag for tag, _ in found.attributes}


def test_nothing_is_loaded_from_anywhere() -> None:
    found = read(page_of("a lab"))
    addresses = [value for _, attributes in found.attributes for name, value in attributes.items() if name in ("src", "href", "srcset", "data")]
    assert addresses
    assert all(address is not None and address.startswith(("data:image/", "#section-")) for address in addresses)
    html = html_of(page_of("a lab"))
    assert "http:" not in html
    assert "https:" not in html
    assert "default-src 'none'" in html


def test_every_picture_has_its_size_and_a_text_for_those_who_cannot_see_it() -> None:
    page = Page("t", "l", (Section("s", "t", (Picture(GIF, "", "a cell"), Picture(draw_map(np.zeros((1, 2))), "", "a dot"))),))
    moving, still = (attributes for tag, attributes in read(page).attributes if tag == "img")
    assert (moving["width"], moving["height"], moving["alt"]) == ("6", "4", "a cell")
    assert (still["width"], still["height"], still["alt"]) == ("440", "440", "a dot")


def test_a_picture_without_such_a_text_or_of_another_kind_is_refused() -> None:
    with pytest.raises(AssertionError, match="cannot see it"):
        Picture(GIF, "caption", " ")
    with pytest.raises(AssertionError, match="a PNG or a GIF"):
        Picture(b"<svg onload=alert(1)>", "caption", "alt")
    with pytest.raises(AssertionError, match="a text for each column"):
        Table(("one", "two"), (("1",),))


@pytest.mark.parametrize(
    ("column", "right"),
    [
        (("0.91 [0.85, 0.95]", "0.5"), True),
        (("12 %", "1e-3", "-"), True),
        (("1,083", "-4.5", "0.5 ± 0.1"), True),
        (("4 cells", "5"), False),
        (("dying",), False),
        ((), False),
    ],
)
def test_columns_of_numbers_are_set_flush_right(column: tuple[str, ...], right: bool) -> None:
    page = Page("t", "l", (Section("s", "t", (Table(("head",), tuple((text,) for text in column)),)),))
    kinds = {attributes.get("class") for tag, attributes in read(page).attributes if tag in ("td", "th")}
    assert kinds == {"number" if right else None}


def test_an_empty_line_begins_a_paragraph() -> None:
    found = read(Page("t", "one\nline\n\n \ntwo", ()))
    assert [tag for tag, _ in found.attributes].count("p") == 2


def test_half_a_character_does_not_stop_the_report(tmp_path: Path) -> None:
    path = write_page(page_of("bad \udc80 name \x00"), tmp_path / "report.html")
    assert "bad \N{REPLACEMENT CHARACTER} name \N{REPLACEMENT CHARACTER}" in path.read_text(encoding="utf-8")


def test_a_report_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_page(page_of("first"), tmp_path / "new" / "report.html")
    before = path.read_bytes()

    def full(self: Path, data: str, encoding: str) -> int:
        self.write_bytes(b"<html>")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(UserError, match="the disk is full. free some space or choose another output folder."):
        write_page(page_of("second"), path)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]
