"""The tree of an archive as Qt's views read it: what is not looked at is not asked for."""

from __future__ import annotations

from typing import Any, TypeAlias

from qtpy.QtCore import QAbstractItemModel, QModelIndex, QObject, QPersistentModelIndex, QSize, Qt
from qtpy.QtGui import QColor, QIcon, QPixmap

from napari_cellvjepa.archive.catalogue import Catalogue, Node, tree_of
from napari_cellvjepa.archive.pictures import Pictures, blank

ICON_PX = 44
_NONE = QModelIndex()

AnyIndex: TypeAlias = QModelIndex | QPersistentModelIndex


class MovieTree(QAbstractItemModel):
    """Branches and movies; a movie has a picture and a line of facts.

    Parameters
    ----------
    pictures
        Where pictures come from.
    """

    def __init__(self, pictures: Pictures, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pictures = pictures
        self._found: Catalogue | None = None
        self._nodes: list[Node] = [Node("")]
        self._number: dict[int, int] = {id(self._nodes[0]): 0}
        self._of_entry: dict[int, int] = {}
        self._blank = QIcon(blank())
        pictures.ready.connect(self._picture_ready)

    def show_movies(self, found: Catalogue | None, text: str = "") -> int:
        """Show the movies of an archive of whose text these words are a part; returns how many."""
        self.beginResetModel()
        self._found = found
        numbers = found.matching(text) if found else []
        root = tree_of(found, numbers, with_skipped=not text.strip()) if found else Node("")
        self._nodes = _all(root)
        self._number = {id(node): place for place, node in enumerate(self._nodes)}
        self._of_entry = {node.entry: place for place, node in enumerate(self._nodes) if node.entry >= 0}
        self.endResetModel()
        return len(numbers)

    def node(self, index: AnyIndex) -> Node:
        """Return the node of an index."""
        return self._nodes[index.internalId()] if index.isValid() else self._nodes[0]

    def index_of(self, entry: int) -> QModelIndex:
        """Return the index of a movie; none where it is not shown."""
        return self._index(self._nodes[self._of_entry[entry]]) if entry in self._of_entry else QModelIndex()

    def index(self, row: int, column: int, parent: AnyIndex = _NONE) -> QModelIndex:
        """Return the index of a child."""
        children = self.node(parent).children
        return self._index(children[row]) if column == 0 and 0 <= row < len(children) else QModelIndex()

    def parent(self, index: AnyIndex = _NONE) -> QModelIndex:  # type: ignore[override]
        """Return what a node hangs on."""
        above = self.node(index).parent
        return QModelIndex() if above is None or above is self._nodes[0] else self._index(above)

    def rowCount(self, parent: AnyIndex = _NONE) -> int:
        """Return how many children there are."""
        return len(self.node(parent).children)

    def columnCount(self, parent: AnyIndex = _NONE) -> int:
        """Return 1."""
        return 1

    def data(self, index: AnyIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what is shown of a node."""
        if not index.isValid() or self._found is None:
            return None
        node = self.node(index)
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(node)
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._hint(node)
        if role == Qt.ItemDataRole.DecorationRole and node.entry >= 0:
            picture = self._pictures.picture(node.entry, self._found.entries[node.entry].movie)
            return self._blank if picture is None else _icon(picture)
        if role == Qt.ItemDataRole.SizeHintRole and node.entry >= 0:
            return QSize(120, ICON_PX + 4)
        if role == Qt.ItemDataRole.ForegroundRole and (node.skipped >= 0 or (node.entry < 0 and node.title.startswith("Not used"))):
            return QColor(140, 140, 140)
        return None

    def _text(self, node: Node) -> str:
        assert self._found is not None
        if node.entry < 0:
            return node.title
        entry = self._found.entries[node.entry]
        return f"{node.title}\n{entry.line}{'  ⚠' if entry.problems else ''}"

    def _hint(self, node: Node) -> str:
        assert self._found is not None
        if node.skipped >= 0:
            skipped = self._found.archive.skipped[node.skipped]
            return f"<qt>{skipped.what}. {skipped.remedy}.</qt>"
        return "" if node.entry < 0 else f"<qt>{self._found.entries[node.entry].movie.name}</qt>"

    def _index(self, node: Node) -> QModelIndex:
        return self.createIndex(node.row, 0, self._number[id(node)])

    def _picture_ready(self, entry: int) -> None:
        index = self.index_of(entry)
        if index.isValid():
            self.dataChanged.emit(index, index, [Qt.ItemDataRole.DecorationRole])


def _icon(picture: QPixmap) -> QIcon:
    icon = QIcon(picture)
    icon.addPixmap(picture, QIcon.Mode.Selected)  # else Qt would tint it
    return icon


def _all(root: Node) -> list[Node]:
    nodes, to_visit = [], [root]
    while to_visit:
        node = to_visit.pop()
        nodes.append(node)
        to_visit += node.children
    return nodes
