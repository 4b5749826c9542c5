"""A line of a dock: with which of the open stores it works, and a button to open another one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QPushButton, QWidget

import cellvjepa
from napari_cellvjepa.layers.linking import stores_in
from napari_cellvjepa.parts.latest import Latest


class StoreLine(QWidget):
    """The line.

    Parameters
    ----------
    viewer
        The viewer whose Points layers are offered.
    read
        Reads what the dock needs of a store, in the other thread.

    Attributes
    ----------
    opened
        Signal ``(read)``: what ``read`` returned of the store that was chosen; None if none is open any more.
    failed
        Signal ``(problem)``.
    reading
        The work.
    """

    opened = Signal(object)
    failed = Signal(str)

    def __init__(self, viewer: Any, read: Callable[[Path, cellvjepa.Progress], Any]) -> None:
        super().__init__()
        self._viewer, self._read = viewer, read
        self._shown = self._opening = ""
        self.reading = Latest(self)
        self.list = QComboBox()
        self.list.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.list.setMinimumContentsLength(10)
        self.list.activated.connect(self._choose)
        button = QPushButton("Open")
        button.setToolTip("Open a store of embeddings (NAME.zarr).")
        button.clicked.connect(self._ask)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.list, 1)
        layout.addWidget(button)
        for event in (viewer.layers.events.inserted, viewer.layers.events.removed):
            event.connect(self.offer)

    def follow(self, found: cellvjepa.Embeddings | None) -> None:
        """Note with which store the dock works now."""
        self._shown, self._opening = "" if found is None else str(found.path), ""

    def open_store(self, path: str | Path) -> None:
        """Open a store."""
        self._opening = str(path)
        self.reading.do(partial(self._read, Path(path)), "Opening the store", self.opened.emit, failed=self.failed.emit, ended=self._end)

    def offer(self, event: object = None) -> None:
        """Offer the stores that are open; the one that is worked with stays so while it is there, else the first is."""
        if not isalive(self):  # type: ignore[no-untyped-call]
            return
        paths, shown = list(stores_in(self._viewer)), self._shown or self._opening
        with QSignalBlocker(self.list):
            self.list.clear()
            for path in paths:
                self.list.addItem(Path(path).name, path)
                self.list.setItemData(self.list.count() - 1, path, Qt.ItemDataRole.ToolTipRole)
            self.list.setCurrentIndex(paths.index(shown) if shown in paths else 0 if paths else -1)
        self._choose()

    def leave(self) -> None:
        """Stop reading and let go of the viewer."""
        self.reading.cancel()
        for event in (self._viewer.layers.events.inserted, self._viewer.layers.events.removed):
            event.disconnect(self.offer)

    def _choose(self) -> None:
        """Work with the chosen store, unless that is so or will be."""
        path = self.list.currentData() or ""
        if not path:
            if self._shown:
                self.opened.emit(None)
        elif path not in (self._opening, self._shown):
            self.open_store(path)

    def _ask(self) -> None:
        if path := QFileDialog.getExistingDirectory(self, "A store of embeddings (NAME.zarr)"):
            self.open_store(path)

    def _end(self) -> None:
        self._opening = ""
