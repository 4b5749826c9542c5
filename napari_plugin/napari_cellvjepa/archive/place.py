"""A line of the Archive dock: which folder, file or address is open, those that were open before, and dialogs to choose another."""

from __future__ import annotations

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QComboBox, QCompleter, QFileDialog, QHBoxLayout, QMenu, QPushButton, QWidget


class Place(QWidget):
    """The line.

    Parameters
    ----------
    recent
        What was open before, the latest first.

    Attributes
    ----------
    chosen
        Signal ``(path)``.
    """

    chosen = Signal(str)

    def __init__(self, recent: list[str]) -> None:
        super().__init__()
        self.line = QComboBox()
        self.line.setEditable(True)
        self.line.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.line.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.line.setMinimumContentsLength(10)
        edit = self.line.lineEdit()
        assert edit is not None
        edit.setCompleter(QCompleter(self))  # of nothing: a path is not completed to another one when Enter is pressed
        edit.setPlaceholderText("folder with movies, a movie, or an address")
        edit.returnPressed.connect(self._choose)
        self.line.activated.connect(lambda _: self._choose())
        button = QPushButton("Choose")
        menu = QMenu(button)
        menu.addAction("Folder …").triggered.connect(lambda: self._take(QFileDialog.getExistingDirectory(self, "Folder with movies")))
        menu.addAction("File …").triggered.connect(lambda: self._take(QFileDialog.getOpenFileName(self, "Movie")[0]))
        button.setMenu(menu)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.line, 1)
        layout.addWidget(button)
        self.offer(recent)
        self.show_path("")

    def offer(self, recent: list[str]) -> None:
        """Offer what was open before."""
        text = self.line.currentText()
        with QSignalBlocker(self.line):
            self.line.clear()
            self.line.addItems(recent)
            for row, path in enumerate(recent):
                self.line.setItemData(row, path, Qt.ItemDataRole.ToolTipRole)
        self.show_path(text)

    def show_path(self, text: str) -> None:
        """Show what is open."""
        with QSignalBlocker(self.line):
            self.line.setEditText(text)
        self.line.setToolTip(text)

    def _choose(self) -> None:
        # Blanks and quotation marks come along when a path is pasted.
        if path := self.line.currentText().strip().strip("'\""):
            self.chosen.emit(path)

    def _take(self, path: str) -> None:
        if path:
            self.chosen.emit(path)
