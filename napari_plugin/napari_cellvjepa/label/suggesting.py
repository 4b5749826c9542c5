"""What to label next: clips that a probe is unsure of, and clips that stand for many; one after the other."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

import cellvjepa
from napari_cellvjepa.parts.command import CopyCommand
from napari_cellvjepa.parts.latest import Latest

_AT_ONCE = 24  # clips: so many are compared with each other before the labels that came meanwhile are looked at again


class Suggesting(QWidget):
    """The buttons, and what is still proposed.

    Attributes
    ----------
    proposed
        Signal ``(row, why)``: a row of the store to label next.
    """

    proposed = Signal(int, str)

    def __init__(self) -> None:
        super().__init__()
        self._found: cellvjepa.Embeddings | None = None
        self._labels: Path | None = None
        self._book: cellvjepa.LabelBook | None = None
        self._waiting: list[tuple[int, str]] = []
        self._search = Latest(self)
        self.next = QPushButton("Suggest next (N)")
        self.next.setToolTip("<qt>Go to the clip whose label would teach a probe most. Those that have a label are passed over.</qt>")
        self.stop = QPushButton("Cancel")
        self.copy = CopyCommand(self.command)
        self.why = QLabel()
        self.why.setWordWrap(True)
        self.next.clicked.connect(self.go_on)
        self.stop.clicked.connect(self.cancel)
        line = QHBoxLayout()
        for button in (self.next, self.stop, self.copy):
            line.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(line)
        layout.addWidget(self.why)
        self._enable()

    def follow(self, found: cellvjepa.Embeddings | None, labels: Path | None) -> None:
        """Propose clips of this store, given what stands in this label file."""
        if found is not self._found or labels != self._labels:
            self.cancel()
            self._waiting = []
            self.why.setText("" if found is not None or labels is None else "Suggestions need a store: embed these cells first.")
        self._found, self._labels = found, labels
        self._enable()

    def know(self, book: cellvjepa.LabelBook | None) -> None:
        """Take over which labels there are now."""
        self._book = book

    def go_on(self) -> None:
        """Propose the next clip; where none is left, look for more."""
        if self._found is None or self._search.under_way:
            return
        while self._waiting:
            row, why = self._waiting.pop(0)
            if not self._labelled(row):
                self._propose(row, why)
                return
        do = partial(_suggested, self._found.path, self._labels)
        self._search.do(do, "Suggest next", self._take, failed=self.why.setText, ended=self._enable)
        self.why.setText("comparing clips …")
        self._enable()

    def cancel(self) -> None:
        """Give up looking."""
        if self._search.under_way:
            self.why.setText("")
        self._search.cancel()
        self._enable()

    def command(self) -> list[str]:
        """Return the words of the command that writes the same suggestions to a table."""
        if self._found is None:
            raise cellvjepa.UserError("no store is chosen", "choose one under 'Cells of'", "Suggest next")
        labels = ["--labels", str(self._labels)] if self._labels is not None and self._labels.exists() else []
        out = self._found.path.with_name(f"{self._found.path.name.removesuffix('.zarr')}_to_label.csv")
        return ["cellvjepa", "suggest", str(self._found.path), "--out", str(out), *labels, "--count", str(_AT_ONCE)]

    def _take(self, found: cellvjepa.Suggestions) -> None:
        self._waiting = [(int(row), str(why)) for row, why in zip(found.rows_K, found.table["why"], strict=True)]
        self._waiting = [(row, why) for row, why in self._waiting if not self._labelled(row)]
        if not self._waiting:
            self.why.setText("Nothing is left to label.")
            return
        self._propose(*self._waiting.pop(0))
        if found.notes:
            self.why.setText(f"{self.why.text()} {' '.join(found.notes)}")

    def _propose(self, row: int, why: str) -> None:
        assert self._found is not None
        self.why.setText(f"Proposed: {why}. {len(self._waiting)} more are waiting.")
        self.proposed.emit(row, why)

    def _labelled(self, row: int) -> bool:
        if self._book is None or self._found is None:
            return False
        facts = self._found.table.iloc[row]
        said = self._book.of_cell(str(facts["movie"]), int(facts["track_id"]))
        return any(one.start < facts["t_stop"] and facts["t_start"] < one.stop for one in said)

    def _enable(self) -> None:
        self.next.setEnabled(self._found is not None and not self._search.under_way)
        self.copy.setEnabled(self._found is not None)
        self.stop.setVisible(self._search.under_way)


def _suggested(store: Path, labels: Path | None, progress: cellvjepa.Progress) -> cellvjepa.Suggestions:
    """Choose clips (in the other thread)."""
    progress("comparing clips", 0, 0)
    known = labels if labels is not None and labels.exists() else None
    return cellvjepa.suggest(store, _AT_ONCE, cellvjepa.Config().probe, known, progress)
