"""A page as one HTML file. Every text is escaped: the name of a movie may be anything."""

from __future__ import annotations

import base64
import html
import os
import re
import unicodedata
from pathlib import Path

from cellvjepa.report.page import Block, Details, Gallery, Note, Page, Picture, Section, Table
from cellvjepa.writing import atomic_path

# Nothing may be loaded and nothing may run, even if a text got through unescaped.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_NUMBER = re.compile(r"[-+\u2212±]?\d[\d\s.,]*(%|[eE][-+]?\d+)?(\s*([\[(±].*)?)?|[-\u2013\u2014]?|n/?a|nan")
_PNG_PX_PER_CSS_PX = 1.6  # pictures are drawn at 160 dots per inch, a page has 96

_STYLE = """
:root { color-scheme: light; --ink: #22303a; --muted: #5f6f79; --faint: #d9e0e4; --wash: #f5f7f8; --accent: #0072b2; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body { margin: 0; background: #fff; color: var(--ink); font: 1.0625rem/1.6 Charter, "Bitstream Charter", "Sitka Text", Cambria, Georgia, serif; }
main { max-width: 62rem; margin: 0 auto; padding: 3.5rem 1.5rem 4rem; }
header > p, section > p, footer { max-width: 44rem; }
h1, h2, nav, table, .title, figcaption, .note, details, footer {
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif; }
h1 { font-size: 2.1rem; line-height: 1.2; letter-spacing: -0.015em; margin: 0 0 1rem; }
h2 { font-size: 1.35rem; line-height: 1.3; letter-spacing: -0.01em; margin: 0 0 .75rem; }
p { margin: 0 0 1rem; }
header p { font-size: 1.15rem; }
nav { margin: 1.75rem 0 0; font-size: .9rem; }
nav ol { list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: 0; padding: 0; }
a { color: var(--accent); text-decoration: none; } a:hover, a:focus { text-decoration: underline; }
section { border-top: 1px solid var(--faint); margin-top: 2.5rem; padding-top: 2rem; }
figure { margin: 1.5rem 0; }
figure img { display: block; max-width: 100%; height: auto; }
figure img.moving { image-rendering: pixelated; border-radius: 3px; }
figcaption { color: var(--muted); font-size: .875rem; line-height: 1.5; margin-top: .6rem; max-width: 44rem; }
.title { font-weight: 600; font-size: .95rem; margin: 0 0 .5rem; }
.gallery { display: flex; flex-wrap: wrap; gap: 1.5rem 2rem; align-items: flex-start; }
.gallery figure { margin: 0; flex: 1 1 20rem; max-width: 100%; }
.gallery figcaption { max-width: 29rem; }
.scroll { overflow-x: auto; margin: 1.5rem 0 0; }
table { border-collapse: collapse; font-size: .9rem; line-height: 1.4; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .45rem .9rem; border-bottom: 1px solid var(--faint); vertical-align: top; }
th:first-child, td:first-child { padding-left: .4rem; }
thead th { color: var(--muted); font-weight: 600; border-bottom: 2px solid var(--faint); vertical-align: bottom; }
.number { text-align: right; white-space: nowrap; }
tr.strong td { background: #eaf3f9; font-weight: 600; }
.note { border-left: 4px solid var(--faint); background: var(--wash); border-radius: 0 4px 4px 0;
  padding: .8rem 1.1rem; margin: 1.25rem 0; max-width: 44rem; font-size: .95rem; line-height: 1.5; }
.note.good { border-color: #009e73; background: #eef8f4; } .note.warn { border-color: #e6b800; background: #fdf8e6; }
.note.bad { border-color: #d55e00; background: #fdf3ec; }
details { margin: 1.25rem 0; font-size: .9rem; } summary { cursor: pointer; color: var(--accent); }
pre { background: var(--wash); padding: 1rem; overflow-x: auto; border-radius: 4px;
  font: .8rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; }
footer { border-top: 1px solid var(--faint); margin-top: 3rem; padding-top: 1rem; color: var(--muted); font-size: .85rem; line-height: 1.5; }
footer p { margin: 0 0 .4rem; }
@media (max-width: 40rem) { main { padding: 2rem 1rem 3rem; } h1 { font-size: 1.7rem; } body { font-size: 1rem; } }
@media print { main { max-width: none; padding: 0; } nav { display: none; } section { break-inside: auto; } h2 { break-after: avoid; }
  figure, tr, .note { break-inside: avoid; } body { font-size: 10.5pt; } * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""


def write_page(page: Page, path: str | os.PathLike[str]) -> Path:
    """Write a page as one HTML file that needs nothing else: no network, no script, no other file.

    Raises
    ------
    UserError
        If the disk is full or the place cannot be written to; what was there before is still there.
    """
    text = html_of(page)
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")
    return Path(path)


def html_of(page: Page) -> str:
    """Return a page as HTML.

    Parameters
    ----------
    page
        The page; all its texts are shown as they are, whatever characters they hold.
    """
    links = "".join(f'<li><a href="#section-{i}">{_text(section.title)}</a></li>' for i, section in enumerate(page.sections, start=1))
    sections = "\n".join(_section(section, i) for i, section in enumerate(page.sections, start=1))
    navigation = f'<nav aria-label="Sections"><ol>{links}</ol></nav>' if len(page.sections) > 2 else ""
    foot = f"<footer>{_paragraphs(page.foot)}</footer>" if page.foot else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_text(page.title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<header>
<h1>{_text(page.title)}</h1>
{_paragraphs(page.lead)}
{navigation}
</header>
{sections}
{foot}
</main>
</body>
</html>
"""


def _text(text: str) -> str:
    # Control characters are no text in HTML, and half a pair of surrogates cannot be written as UTF-8.
    shown = "".join(c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs") else "\N{REPLACEMENT CHARACTER}" for c in text)
    return html.escape(shown, quote=True)


def _paragraphs(text: str) -> str:
    return "\n".join(f"<p>{_text(part.strip())}</p>" for part in re.split(r"\n\s*\n", text) if part.strip())


def _section(section: Section, number: int) -> str:
    blocks = "\n".join(_block(block) for block in section.blocks)
    return f'<section id="section-{number}">\n<h2>{_text(section.title)}</h2>\n{_paragraphs(section.text)}\n{blocks}\n</section>'


def _block(block: Block) -> str:
    match block:
        case Picture():
            return _picture(block)
        case Gallery():
            pictures = "\n".join(_picture(picture) for picture in block.pictures)
            return f'<figure><div class="gallery">\n{pictures}\n</div>\n{_caption(block.caption)}</figure>'
        case Table():
            return _table(block)
        case Note():
            return f'<div class="note {block.kind}">{_text(block.text)}</div>'
        case Details():
            return f"<details><summary>{_text(block.title)}</summary><pre>{_text(block.text)}</pre></details>"


def _caption(caption: str) -> str:
    return f"<figcaption>{_text(caption)}</figcaption>" if caption else ""


def _picture(picture: Picture) -> str:
    still = picture.data.startswith(b"\x89PNG")
    kind, moving, scale = ("png", "", _PNG_PX_PER_CSS_PX) if still else ("gif", ' class="moving"', 1.0)
    width, height = (round(side / scale) for side in _size_px(picture.data))
    title = f'<div class="title">{_text(picture.title)}</div>' if picture.title else ""
    source = f"data:image/{kind};base64,{base64.b64encode(picture.data).decode('ascii')}"
    image = f'<img{moving} width="{width}" height="{height}" alt="{_text(picture.alt)}" src="{source}">'
    return f"<figure>{title}{image}{_caption(picture.caption)}</figure>"


def _size_px(data: bytes) -> tuple[int, int]:
    """Return width and height from the first bytes of a PNG or GIF."""
    if data.startswith(b"\x89PNG"):
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    return int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")


def _table(table: Table) -> str:
    numeric = [all(_NUMBER.fullmatch(row[c].strip()) for row in table.rows) for c in range(len(table.header))]
    classes = [' class="number"' if number and table.rows else "" for number in numeric]
    head = "".join(f'<th scope="col"{kind}>{_text(name)}</th>' for kind, name in zip(classes, table.header, strict=True))
    body = ""
    for r, row in enumerate(table.rows):
        cells = "".join(f"<td{kind}>{_text(text)}</td>" for kind, text in zip(classes, row, strict=True))
        strong = ' class="strong"' if r in table.strong_rows else ""
        body += f"<tr{strong}>{cells}</tr>\n"
    inner = f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>"
    return f'<figure><div class="scroll">{inner}</div>{_caption(table.caption)}</figure>'
