"""Where labels stand, and who says so: two lines of a form."""

from __future__ import annotations

import getpass
from pathlib import Path

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QFileDialog, QFormLayout, QLineEdit, QWidget

import cellvjepa
from napari_cellvjepa.parts.choosers import PathLine


class LabelForm(QWidget):
    """The two lines.

    Attributes
    ----------
    changed
        Signal: another file or annotator is meant.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.file = PathLine("labels.csv", {"Label file …": self._ask_file})
        self.file.setToolTip("<qt>Lines are appended; none is ever changed. <tt>cellvjepa probe --labels</tt> reads it.</qt>")
        self.annotator = QLineEdit(_user())
        self.annotator.setPlaceholderText("your name")
        self.annotator.setToolTip("<qt>Who says so: of one annotator's labels of the same window, the last one holds.</qt>")
        self.file.changed.connect(self._tell)
        self.annotator.textChanged.connect(self._tell)
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Labels in", self.file)
        form.addRow("Annotator", self.annotator)

    def show_values(self, file: str, annotator: str) -> None:
        """Show these, without telling; an empty annotator leaves the name that is there."""
        with QSignalBlocker(self):
            self.file.set_text(file)
            if annotator:
                self.annotator.setText(annotator)

    def path(self) -> Path:
        """Return the label file.

        Raises
        ------
        UserError
            If none is chosen.
        """
        if not (text := self.file.text()):
            raise cellvjepa.UserError("no label file is chosen", "choose where the labels are to stand", "Labels in")
        return Path(text).expanduser()

    def who(self) -> str:
        """Return the annotator.

        Raises
        ------
        UserError
            If nobody is named.
        """
        if not (name := self.annotator.text().strip()):
            raise cellvjepa.UserError("nobody is named", "type your name: labels of nobody in particular could not be taken back", "Annotator")
        return name

    def _tell(self, text: str) -> None:
        self.changed.emit()

    def _ask_file(self, parent: QWidget) -> str:
        options = QFileDialog.Option.DontConfirmOverwrite  # nothing that stands there is changed
        return QFileDialog.getSaveFileName(parent, "Label file", self.file.text(), "Labels (*.csv)", options=options)[0]


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # where the user has no name
        return ""
