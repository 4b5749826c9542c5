"""A page of the Explore dock: where the movies are, if not where the store says."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QLabel, QVBoxLayout, QWidget

from napari_cellvjepa.parts.choosers import PathLine


class Elsewhere(QWidget):
    """The page."""

    def __init__(self) -> None:
        super().__init__()
        about = QLabel("Where the movies are now, if they have been moved since they were embedded:")
        about.setWordWrap(True)
        self.line = PathLine("where the store says", {"Folder with the movies …": _ask})
        layout = QVBoxLayout(self)
        layout.addWidget(about)
        layout.addWidget(self.line)
        layout.addStretch(1)

    def folder(self) -> Path | None:
        """Return the folder, or None where the store is right."""
        return Path(self.line.text()).expanduser() if self.line.text() else None


def _ask(parent: QWidget) -> str:
    return QFileDialog.getExistingDirectory(parent, "Folder with the movies")
