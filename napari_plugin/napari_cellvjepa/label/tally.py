"""The classes with their keys and colours, how many labels there are of each, and a hint if a probe could not learn of them."""

from __future__ import annotations

from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QVBoxLayout, QWidget

import cellvjepa
from napari_cellvjepa.label.amounts import amounts, hint
from napari_cellvjepa.label.classes import ClassList

_FIRST_CHOICES = ("group", "well", "folder", "movie")


class Tally(QWidget):
    """The list of classes, and by what their labels are counted."""

    def __init__(self) -> None:
        super().__init__()
        self._groups: dict[str, dict[str, str]] = {}
        self._book: cellvjepa.LabelBook | None = None
        self._colours: dict[str, str] = {}
        self.classes = ClassList()
        self.group = QComboBox()
        self.group.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.group.setToolTip("<qt>A probe is tested on groups that it has not seen, so each class is needed in several.</qt>")
        self.group.activated.connect(self._count)
        self.hint = QLabel()
        self.hint.setWordWrap(True)
        groups = QFormLayout()
        groups.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        groups.addRow("Count by", self.group)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.classes, 1)
        layout.addLayout(groups)
        layout.addWidget(self.hint)

    def offer(self, groups: dict[str, dict[str, str]]) -> None:
        """Count by one of these: for each name, the group of each movie."""
        self._groups = groups
        self.group.clear()
        self.group.addItems(list(groups))
        self.group.setCurrentText(next((name for name in _FIRST_CHOICES if name in groups), ""))

    def show_labels(self, book: cellvjepa.LabelBook | None, colours: dict[str, str]) -> None:
        """Show these classes, and how many labels there are of each."""
        self._book, self._colours = book, colours
        self._count()

    def _count(self, *_: object) -> None:
        basis = self.group.currentText()
        group_of = self._groups.get(basis, {})
        several = f"{basis}s" if len(set(group_of.values())) > 1 else ""
        self.classes.show_classes(self._colours, amounts(self._book, self._colours, group_of) if self._book else {}, several)
        self.hint.setText(hint(self._book, self._colours, group_of, basis) if self._book else "")
        self.hint.setVisible(bool(self.hint.text()))
