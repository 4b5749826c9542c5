"""The movies to train on: folders, files, addresses, or the open images that come from files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from napari.layers import Image
from napari.utils.notifications import show_info
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QAbstractItemView, QFileDialog, QHBoxLayout, QLineEdit, QListWidget, QPushButton, QVBoxLayout, QWidget

from napari_cellvjepa.layers.files import movie_file
from napari_cellvjepa.layers.maps import is_map


class MovieList(QWidget):
    """A list of paths.

    Parameters
    ----------
    viewer
        Whose open images can be taken.

    Attributes
    ----------
    edited
        Signal: the list has changed.
    """

    edited = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self.list = QListWidget()
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.list.setFixedHeight(74)
        self.list.setTextElideMode(Qt.TextElideMode.ElideLeft)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setToolTip("<qt>Folders are searched for movies. Folders and files can be dropped here.</qt>")
        self.typed = QLineEdit()
        self.typed.setPlaceholderText("or type a path or address, and press Enter")
        self.typed.returnPressed.connect(self._take_typed)
        self.setAcceptDrops(True)
        buttons = QHBoxLayout()
        for name, tip, do in (
            ("Folder", "Add a folder with movies in it", self._ask_folder),
            ("Files", "Add movies", self._ask_files),
            ("Open", "Add the movies that are open in the viewer", self.add_open_images),
            ("Remove", "Take the selected ones out of the list (nothing is deleted)", self._remove_selected),
        ):
            button = QPushButton(name)
            button.setToolTip(tip)
            button.setMinimumWidth(48)
            button.clicked.connect(lambda _=False, do=do: do())
            buttons.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(self.list)
        layout.addWidget(self.typed)
        layout.addLayout(buttons)

    def paths(self) -> tuple[str, ...]:
        """Return the paths, in their order."""
        return tuple(self.list.item(row).text() for row in range(self.list.count()))

    def set_paths(self, paths: Iterable[str]) -> None:
        """Show these paths and no others."""
        self.list.clear()
        self.list.addItems(list(paths))
        self.edited.emit()

    def add(self, paths: Iterable[str]) -> None:
        """Add paths that are not in the list yet."""
        known = self.paths()
        self.list.addItems([path for path in dict.fromkeys(map(_absolute, paths)) if path not in known])
        self.edited.emit()

    def add_open_images(self) -> None:
        """Add the files behind the images of the viewer; those that have none are named."""
        images = [layer for layer in self._viewer.layers if isinstance(layer, Image) and not is_map(layer)]
        files = {layer.name: movie_file(layer) for layer in images}
        self.add(file for file in files.values() if file)
        if without := [name for name, file in files.items() if not file]:
            show_info(f"{', '.join(map(repr, without))} does not come from a file that can be read again: save it as TIFF or OME-Zarr first.")
        elif not images:
            show_info("No image is open. Open a movie, or add a folder.")

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Take files and folders."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Add what was dropped."""
        self.add(url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile())
        event.acceptProposedAction()

    def _take_typed(self) -> None:
        if text := self.typed.text().strip().strip("'\""):
            self.add([text])
            self.typed.clear()

    def _ask_folder(self) -> None:
        if folder := QFileDialog.getExistingDirectory(self, "Folder with movies"):
            self.add([folder])

    def _ask_files(self) -> None:
        self.add(QFileDialog.getOpenFileNames(self, "Movies")[0])

    def _remove_selected(self) -> None:
        for item in self.list.selectedItems():
            self.list.takeItem(self.list.row(item))
        self.edited.emit()


def _absolute(path: str) -> str:
    return path if "://" in path else os.path.abspath(Path(path).expanduser())  # noqa: PTH100 - a pattern is no path to resolve
