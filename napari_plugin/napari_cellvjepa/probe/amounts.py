"""How many labels there are of each class, in how many groups, and what is wrong with them."""

from __future__ import annotations

from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QLabel

import cellvjepa
from napari_cellvjepa.parts.latest import Latest
from napari_cellvjepa.probe.request import count

HINT = "The Label dock writes such a file; so does Explore with Save as labels."


class Amounts(QLabel):
    """The text.

    Attributes
    ----------
    columns_known
        Signal ``(names)``: columns by which these labels could be grouped.
    """

    columns_known = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._counting = Latest(self)
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)

    def count(self, store: Path | None, labels: str, config: Any) -> None:
        """Count the labels of a file, and tell when that is done; without store or file there is nothing to count."""
        self._counting.cancel()
        if store is None or not labels:
            self.setText("" if store is None else HINT)
            return
        do = partial(_counted, store, Path(labels).expanduser(), config)
        self._counting.do(do, "Counting labels", self._show)

    def cancel(self) -> None:
        """Give up counting."""
        self._counting.cancel()

    def _show(self, found: cellvjepa.LabelCounts | str) -> None:
        if isinstance(found, str):
            self.setText(f"⚠ {escape(found)}")
            return
        self.columns_known.emit(found.columns)
        self.setText(_in_words(found))


def _counted(store: Path, labels: Path, config: Any, progress: cellvjepa.Progress) -> cellvjepa.LabelCounts | str:
    """Count the labels, or say what is wrong with them: nobody has asked yet, so it is no error (in the other thread)."""
    try:
        return count(store, labels, config, progress)
    except cellvjepa.UserError as error:
        return str(error)


def _in_words(found: cellvjepa.LabelCounts) -> str:
    classes = " · ".join(f"{escape(str(name))} {int(rows):,}" for name, rows in found.counts.sum().items())
    lines = [f"<b>{found.rows:,} labelled windows</b>: {classes}", f"in {len(found.counts)} groups by {escape(found.basis)}"]
    lines += [f"⚠ {escape(found.problem)}"] if found.problem else []
    lines += [f"Note: {escape(note)}" for note in found.notes]
    return "<br>".join(lines)
