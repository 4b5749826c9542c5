"""The pages of the Masks dock: where outlines come from, how cells are outlined, how they are linked, and where they are saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QFileDialog, QFormLayout, QHBoxLayout, QLabel, QPushButton, QScrollArea, QVBoxLayout, QWidget

import cellvjepa
from napari_cellvjepa.parts.choosers import PathLine
from napari_cellvjepa.parts.command import CopyCommand
from napari_cellvjepa.parts.form import SectionForm

Words = Callable[[], Any]
_PHASE = "<qt>Cells in <b>phase contrast</b> are bright and dark at once, and no threshold finds their outlines: use cellpose, or paint.</qt>"


class StartPage(QWidget):
    """New labels to paint, or labels from a file."""

    def __init__(self) -> None:
        super().__init__()
        self.paint = QPushButton("New empty labels")
        self.paint.setToolTip(
            "<qt>A label image as large as the movie, on the disk: however large it is, it takes no memory, and every stroke is saved.</qt>"
        )
        self.source = PathLine("TIFF, OME-Zarr, or folder", {"File …": _ask_file, "Folder or OME-Zarr …": _ask_folder})
        self.source.setToolTip(
            "<qt>Label images: TIFF, OME-Zarr, one file per frame, or a folder of the Cell Tracking Challenge. They are copied.</qt>"
        )
        self.bring = QPushButton("Import")
        layout = QVBoxLayout(self)
        layout.addWidget(caption("Paint cells with napari's brush (key 2) and bucket (4); M gives the next cell a new number."))
        layout.addWidget(self.paint)
        layout.addSpacing(8)
        layout.addWidget(caption("Or take label images that there are:"))
        layout.addWidget(self.source)
        layout.addWidget(self.bring)
        layout.addStretch(1)


class OutlinePage(QWidget):
    """How cells are outlined, with a preview.

    Parameters
    ----------
    words
        The words of the command that does the same.

    Attributes
    ----------
    edited
        Signal: the preview may be another one now.
    """

    edited = Signal()

    def __init__(self, words: Words) -> None:
        super().__init__()
        self.form = SectionForm(cellvjepa.Config().segment)
        self.form.edited.connect(self.edited)
        self.preview = QCheckBox("Preview on the shown frame")
        self.preview.toggled.connect(self.edited)
        self.found = caption("")
        self.take = QPushButton("Put this frame into the labels")
        self.take.setToolTip("<qt>Replace the shown frame of the chosen labels by the preview; Ctrl+Z, as for a stroke, takes it back.</qt>")
        self.all_frames = QPushButton("Outline all frames")
        self.copy = CopyCommand(words)
        inside = QWidget()
        lines = QVBoxLayout(inside)
        lines.setContentsMargins(0, 0, 0, 0)
        lines.addWidget(self.form)
        lines.addWidget(caption(_PHASE))
        lines.addStretch(1)
        layout = QVBoxLayout(self)
        layout.addWidget(scrolled(inside), 1)
        layout.addWidget(self.preview)
        layout.addWidget(self.found)
        layout.addWidget(self.take)
        layout.addLayout(beside(self.all_frames, self.copy))


class LinkPage(QWidget):
    """How outlines are linked from frame to frame.

    Parameters
    ----------
    words
        The words of the command that does the same.
    """

    def __init__(self, words: Words) -> None:
        super().__init__()
        self.form = SectionForm(cellvjepa.Config().link)
        self.link = QPushButton("Link")
        self.copy = CopyCommand(words)
        layout = QVBoxLayout(self)
        layout.addWidget(
            caption("laptrack finds which outlines are the same cell. What comes out is new: labels whose values are track ids, and tracks.")
        )
        layout.addWidget(self.form)
        layout.addStretch(1)
        layout.addLayout(beside(self.link, self.copy))


class SavePage(QWidget):
    """Where labels and tracks are saved."""

    def __init__(self) -> None:
        super().__init__()
        self.place = PathLine("NAME_labels.tif or .zarr", {"Where the labels are to stand": _ask_labels})
        self.place.setToolTip("<qt>TIFF (compressed) or OME-Zarr. As <tt>NAME_labels.tif</tt> beside the movie they are opened with it.</qt>")
        self.save = QPushButton("Save")
        form = QFormLayout()
        form.addRow("Save as", self.place)
        layout = QVBoxLayout(self)
        layout.addWidget(caption("Writes the chosen labels and, if they are linked, the table of tracks beside them (NAME_cells.csv)."))
        layout.addLayout(form)
        layout.addWidget(self.save)
        layout.addStretch(1)


def show_settings(form: SectionForm, values: dict[str, Any]) -> None:
    """Show values that were set before, as far as they are still allowed."""
    try:
        section = form.value()
        form.show_values(type(section).model_validate({**section.model_dump(), **values}))
    except ValueError:
        return


def caption(text: str) -> QLabel:
    """Return small text that wraps."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
    label.setStyleSheet("color: palette(mid); font-size: 90%")
    return label


def beside(first: QWidget, second: QWidget) -> QHBoxLayout:
    """Return a line of two widgets, the first of which is wider."""
    line = QHBoxLayout()
    line.addWidget(first, 1)
    line.addWidget(second)
    return line


def scrolled(inside: QWidget) -> QScrollArea:
    """Return a widget in an area that scrolls up and down."""
    area = QScrollArea()
    area.setWidget(inside)
    area.setWidgetResizable(True)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setFrameShape(QScrollArea.Shape.NoFrame)
    return area


def _ask_file(parent: QWidget) -> str:
    return QFileDialog.getOpenFileName(parent, "Label image", "", "Label images (*.tif *.tiff)")[0]


def _ask_folder(parent: QWidget) -> str:
    return QFileDialog.getExistingDirectory(parent, "Folder of label images, or OME-Zarr")


def _ask_labels(parent: QWidget) -> str:
    path, _ = QFileDialog.getSaveFileName(parent, "Where the labels are to stand", str(Path.home()), "TIFF (*.tif);;OME-Zarr (*.zarr)")
    return path
