"""The classes: keys, colours, and how many labels there are of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from qtpy.QtCore import QSignalBlocker, QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QHBoxLayout, QHeaderView, QLineEdit, QToolButton, QTreeWidget, QTreeWidgetItem, QVBoxLayout, QWidget

from napari_cellvjepa.plot.palette import GRAY, LIGHT, PALETTE

MOST_KEYS = 9
_NAME = Qt.ItemDataRole.UserRole
_SWATCH_PX = 14
_COLUMNS = ("key", "class", "labels", "groups")


@dataclass(frozen=True)
class Amount:
    """How much there is of a class.

    Parameters
    ----------
    labels
        How many labels.
    groups
        How many of the groups have any, in words.
    detail
        How many labels in each group, for who wants to know.
    """

    labels: int
    groups: str
    detail: str


def with_colours(kept: Mapping[str, str], found: Iterable[str]) -> dict[str, str]:
    """Return classes with their colours: those that were there keep theirs, new ones get the next that is free."""
    classes = dict(kept)
    for name in found:
        if name not in classes:
            classes[name] = next((colour for colour in (*PALETTE, *LIGHT) if colour not in classes.values()), GRAY)
    return classes


class ClassList(QWidget):
    """The list, with what adds, renames, moves and removes.

    Attributes
    ----------
    pressed
        Signal ``(name)``: a class was clicked in its first column, which does what its key does.
    edited
        Signal ``(names)``: the classes in their new order, after one was added or moved.
    renamed, removed
        Signals ``(old, new)`` and ``(name)``: asked for; nothing has been changed by then.
    """

    pressed = Signal(str)
    edited = Signal(object)
    renamed = Signal(str, str)
    removed = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.list = QTreeWidget()
        self.list.setColumnCount(len(_COLUMNS))
        self.list.setHeaderLabels(list(_COLUMNS))
        self.list.setRootIsDecorated(False)
        self.list.setUniformRowHeights(True)
        self.list.setIconSize(QSize(_SWATCH_PX, _SWATCH_PX))
        self.list.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.list.setSizeAdjustPolicy(QAbstractItemView.SizeAdjustPolicy.AdjustToContents)
        self.list.setMinimumHeight(76)
        header = self.list.header()
        header.setStretchLastSection(False)
        for column in range(len(_COLUMNS)):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Stretch if column == 1 else QHeaderView.ResizeMode.ResizeToContents)
        self.list.itemDoubleClicked.connect(self._edit)
        self.list.itemChanged.connect(self._take_name)
        self.list.itemClicked.connect(lambda item, column: self.pressed.emit(item.data(0, _NAME)) if column == 0 else None)
        self.name = QLineEdit()
        self.name.setPlaceholderText("new class, e.g. mitosis")
        self.name.returnPressed.connect(self._add)
        self._lay_out()

    def _lay_out(self) -> None:
        line = QHBoxLayout()
        line.addWidget(self.name, 1)
        buttons = (("Add", "Add a class.", self._add), ("↑", "Move it up: classes have the keys 1 to 9 in this order.", lambda: self._move(-1)))
        more = (("↓", "Move it down.", lambda: self._move(1)), ("Remove", "Remove the class and take back your labels of it.", self._remove))
        self.buttons: dict[str, QToolButton] = {}
        for text, tip, action in (*buttons, *more):
            button = self.buttons[text] = QToolButton()
            button.setText(text)
            button.setToolTip(f"<qt>{tip}</qt>")
            button.clicked.connect(action)
            line.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.list)
        layout.addLayout(line)

    def names(self) -> list[str]:
        """Return the classes in their order."""
        return [str(self._item(i).data(0, _NAME)) for i in range(self.list.topLevelItemCount())]

    def show_classes(self, classes: Mapping[str, str], amounts: Mapping[str, Amount], groups: str) -> None:
        """Show these classes with their colours, in this order; ``groups`` is what they are counted by."""
        self.list.setHeaderLabels([*_COLUMNS[:3], groups])
        chosen = self._chosen()
        with QSignalBlocker(self.list):
            while self.list.topLevelItemCount() > len(classes):
                self.list.takeTopLevelItem(self.list.topLevelItemCount() - 1)
            while self.list.topLevelItemCount() < len(classes):
                self.list.addTopLevelItem(QTreeWidgetItem())
            for place, (name, colour) in enumerate(classes.items()):
                amount = amounts.get(name, Amount(0, "", ""))
                item = self._item(place)
                texts = (str(place + 1) if place < MOST_KEYS else "", name, f"{amount.labels:,}", amount.groups)
                for column, text in enumerate(texts):
                    item.setText(column, text)
                    item.setToolTip(column, f"<qt>{amount.detail or 'Double-click the name to change it.'}</qt>")
                item.setIcon(0, _swatch(colour))
                item.setData(0, _NAME, name)
                item.setFlags(item.flags() | Qt.ItemFlag.ItemIsEditable)
        if 0 <= chosen < len(classes):
            self.list.setCurrentItem(self._item(chosen))

    def _item(self, place: int) -> QTreeWidgetItem:
        item = self.list.topLevelItem(place)
        assert item is not None
        return item

    def _chosen(self) -> int:
        item = self.list.currentItem()
        return -1 if item is None else self.list.indexOfTopLevelItem(item)

    def _add(self) -> None:
        name = self.name.text().strip()
        if name and name not in self.names():
            self.name.clear()
            self.edited.emit([*self.names(), name])

    def _edit(self, item: QTreeWidgetItem, column: int) -> None:
        if column == 1:
            self.list.editItem(item, 1)

    def _take_name(self, item: QTreeWidgetItem, column: int) -> None:
        old, new = str(item.data(0, _NAME)), item.text(1).strip()
        if column != 1 or new == old:
            return
        with QSignalBlocker(self.list):
            item.setText(1, old)  # until it is so
        if new and new not in self.names():
            self.renamed.emit(old, new)

    def _move(self, by: int) -> None:
        place, names = self._chosen(), self.names()
        if place >= 0 and 0 <= place + by < len(names):
            names[place], names[place + by] = names[place + by], names[place]
            self.list.setCurrentItem(self._item(place + by))
            self.edited.emit(names)

    def _remove(self) -> None:
        if (item := self.list.currentItem()) is not None:
            self.removed.emit(str(item.data(0, _NAME)))


def _swatch(colour: str) -> QIcon:
    pixmap = QPixmap(_SWATCH_PX, _SWATCH_PX)
    pixmap.fill(QColor(colour))
    return QIcon(pixmap)
