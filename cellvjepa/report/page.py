"""What a report is made of: a page has sections, a section has blocks. ``html.write_page`` makes one file of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Picture:
    """A still or moving picture.

    Parameters
    ----------
    data
        The bytes of a PNG or GIF.
    caption
        What it shows and how to read it.
    alt
        What it shows, for those who cannot see it.
    title
        A short heading above it, e.g. the name of a class.
    """

    data: bytes
    caption: str
    alt: str
    title: str = ""

    def __post_init__(self) -> None:
        assert self.data.startswith((b"\x89PNG\r\n\x1a\n", b"GIF8")), "a picture is a PNG or a GIF"
        assert self.alt.strip(), "a picture has a text for those who cannot see it"


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side; as many in a row as the window is wide."""

    pictures: tuple[Picture, ...]
    caption: str = ""


@dataclass(frozen=True)
class Table:
    """A table of texts; columns of numbers are set flush right. ``strong_rows`` are the rows to look at first."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    strong_rows: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.header) for row in self.rows), "every row of a table has a text for each column"


@dataclass(frozen=True)
class Note:
    """A remark that stands out: good news, a warning, bad news, or plain."""

    text: str
    kind: Literal["good", "warn", "bad", "plain"] = "plain"


@dataclass(frozen=True)
class Details:
    """A text that most readers pass over, such as a configuration: folded away, set as it is written."""

    title: str
    text: str


Block = Picture | Gallery | Table | Note | Details


@dataclass(frozen=True)
class Section:
    """A heading, what there is to say (an empty line begins a new paragraph), and what there is to see."""

    title: str
    text: str
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True)
class Page:
    """A report. ``lead`` says in a few sentences what was found, ``foot`` where it comes from."""

    title: str
    lead: str
    sections: tuple[Section, ...]
    foot: str = ""
