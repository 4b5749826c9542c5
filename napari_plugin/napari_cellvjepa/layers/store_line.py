"""A line of the Explore dock: which of the open stores is plotted, and a button to open another one."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QPushButton, QWidget


class StoreLine(QWidget):
    """The line.

    Attributes
    ----------
    chosen
        Signal ``(path)``: an open store was chosen; ``""`` if there is none.
    wanted
        Signal ``(path)``: another one is to be opened.
    """

    chosen = Signal(str)
    wanted = Signal(str)

    def __init__(self) -> None:
        super().__init__()
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

    def offer(self, paths: list[str], shown: str) -> None:
        """Offer stores; the one that is shown stays chosen, else the first is."""
        with QSignalBlocker(self.list):
            self.list.clear()
            for path in paths:
                self.list.addItem(Path(path).name, path)
                self.list.setItemData(self.list.count() - 1, path, Qt.ItemDataRole.ToolTipRole)
            self.list.setCurrentIndex(paths.index(shown) if shown in paths else 0 if paths else -1)
        self._choose()

    def _choose(self) -> None:
        self.chosen.emit(self.list.currentData() or "")

    def _ask(self) -> None:
        if path := QFileDialog.getExistingDirectory(self, "A store of embeddings (NAME.zarr)"):
            self.wanted.emit(path)
