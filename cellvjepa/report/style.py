"""The look that all pictures share: paper, ink, and colours that colour-blind people can tell apart."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

INK, MUTED, FAINT, PAPER = "#22303a", "#5f6f79", "#d9e0e4", "#ffffff"
# Okabe and Ito's palette, the order chosen so that the first few differ most; its yellow is darkened to stand out on white.
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#b8a600", "#4d4d4d")
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*")
GREY = "#b9c2c8"
_DPI = 160
_DIGITS = re.compile(r"([0-9]+)")


@dataclass(frozen=True)
class Mark:
    """How a category is drawn: the same in every picture of a page."""

    colour: str
    marker: str


def marks_of(names: Iterable[str], order: Sequence[str] | None = None, grey: str | None = None) -> dict[str, Mark]:
    """Give each category a colour, and beyond eight another marker too.

    Colours follow the whole of ``order``, so that two pictures of which one lacks a category still agree.

    Parameters
    ----------
    names
        The categories that occur; those that ``order`` lacks come after it, sorted.
    order
        Order of the categories.
    grey
        The category that stands for none, e.g. ``"no cluster"``; it is drawn in grey.
    """
    ordered = dict.fromkeys([*(order or ()), *in_order(names, order)])
    coloured = [name for name in ordered if name != grey]
    marks = {name: Mark(PALETTE[i % len(PALETTE)], MARKERS[i // len(PALETTE) % len(MARKERS)]) for i, name in enumerate(coloured)}
    return marks if grey is None else marks | {grey: Mark(GREY, "o")}


def in_order(names: Iterable[str], order: Sequence[str] | None) -> list[str]:
    """Return the distinct names: those of ``order`` first and in its order, then the others, "cluster 2" before "cluster 10"."""
    present = set(names)
    first = [name for name in dict.fromkeys(order or ()) if name in present]
    return first + sorted(
        present - set(first), key=lambda name: [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in _DIGITS.split(name)]
    )


def new_figure(width_in: float, height_in: float) -> Figure:
    """Return an empty figure that no other part of the program knows of (no pyplot)."""
    figure = Figure(figsize=(width_in, height_in), dpi=_DPI, facecolor=PAPER, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def calm(axes: Axes, *, title: str = "", x_label: str = "", y_label: str = "", grid: bool = True) -> None:
    """Give axes titles, and take away what does not speak."""
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold", color=INK, pad=8)
    axes.set_xlabel(x_label, fontsize=9, color=MUTED)
    axes.set_ylabel(y_label, fontsize=9, color=MUTED)
    axes.tick_params(labelsize=8.5, colors=MUTED, length=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    if grid:
        axes.grid(True, color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)


def png_of(figure: Figure, dpi: int = _DPI) -> bytes:
    """Return a figure as PNG, with so many dots per inch."""
    _plain_text(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, facecolor=PAPER, metadata={"Software": None})
    return buffer.getvalue()


def svg_of(figure: Figure, dpi: int = _DPI) -> bytes:
    """Return a figure as SVG, the same bytes for the same figure; its texts stay texts that a drawing program can edit.

    Parameters
    ----------
    dpi
        Of what is a picture in it.
    """
    _plain_text(figure)
    buffer = io.BytesIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "cellvjepa"}):
        figure.savefig(buffer, format="svg", dpi=dpi, facecolor=PAPER, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _plain_text(figure: Figure) -> None:
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        # A dollar sign in the name of a movie or a label is no formula.
        text.set_parse_math(False)


def legend_columns(names: Sequence[str], width_in: float) -> int:
    """Return how many entries of a legend fit side by side below a figure."""
    entry_in = 0.065 * max((len(name) for name in names), default=1) + 0.42
    fit = max(1, int(width_in / entry_in))
    lines = max(1, -(-len(names) // fit))
    return max(1, -(-len(names) // lines))
