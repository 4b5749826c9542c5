"""Lines of a form: they choose a layer of the viewer, a file or folder, or a column."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLineEdit, QMenu, QPushButton, QSizePolicy, QWidget
from superqt import QSearchableComboBox

MAP_KEY = "cellvjepa_map"  # in a layer's metadata: what it shows of a model and of what, values as JSON has them; it is no movie and has no cells


class LayerBox(QComboBox):
    """A list of layers that keeps its choice while layers come and go; those that show what a model sees are never offered.

    Parameters
    ----------
    nothing
        What the first entry says, which stands for no layer.
    """

    def __init__(self, nothing: str) -> None:
        super().__init__()
        self._nothing = nothing
        self._layers: list[Any] = []
        self._by_hand = False
        # A long name must not widen the dock.
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.activated.connect(self._note_hand)
        self.offer([])

    def layer(self) -> Any | None:
        """Return the chosen layer, or None."""
        index = self.currentIndex()
        return self._layers[index - 1] if index > 0 else None

    def offer(self, layers: Iterable[Any], best: Any | None = None) -> None:
        """Offer these layers; what was chosen stays chosen if it is among them.

        Parameters
        ----------
        best
            Chosen where the user has not chosen, or what was chosen is gone.
        """
        chosen = self.layer()
        self._layers = [layer for layer in layers if MAP_KEY not in layer.metadata]
        if best is not None and MAP_KEY in best.metadata:
            best = chosen if chosen in self._layers else next(iter(self._layers), None)
        kept = self._by_hand and (chosen in self._layers or (chosen is None and self.count() > 0))
        if not kept:
            self._by_hand = False
            chosen = best
        with QSignalBlocker(self):
            self.clear()
            self.addItem(self._nothing)
            self.addItems([layer.name for layer in self._layers])
            self.setCurrentIndex(self._layers.index(chosen) + 1 if chosen in self._layers else 0)
        self.currentIndexChanged.emit(self.currentIndex())

    def choose(self, layer: Any | None) -> None:
        """Choose a layer as by hand."""
        self._by_hand = True
        self.setCurrentIndex(self._layers.index(layer) + 1 if layer is not None else 0)

    def _note_hand(self) -> None:
        self._by_hand = True


class PathLine(QWidget):
    """A path that is typed, dropped, or chosen from dialogs.

    Parameters
    ----------
    hint
        What an empty line says.
    dialogs
        What the button offers: a name, and a function that asks for a path and returns it, or ``""``.

    Attributes
    ----------
    changed
        Signal ``(path)``.
    """

    changed = Signal(str)

    def __init__(self, hint: str, dialogs: dict[str, Callable[[QWidget], str]]) -> None:
        super().__init__()
        self._line = QLineEdit()
        self._line.setPlaceholderText(hint)
        self._line.setClearButtonEnabled(True)
        self._line.textChanged.connect(self.changed)
        self._dialogs = tuple(dialogs.values())
        button = QPushButton("Choose")
        if len(dialogs) == 1:
            button.setToolTip(next(iter(dialogs)))
            button.clicked.connect(lambda: self.ask(0))
        else:
            menu = QMenu(button)
            for number, title in enumerate(dialogs):
                menu.addAction(title).triggered.connect(lambda _=False, number=number: self.ask(number))
            button.setMenu(menu)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._line, 1)
        layout.addWidget(button)

    def text(self) -> str:
        """Return the path, without blanks and quotation marks around it, which come along when it is pasted."""
        return self._line.text().strip().strip("'\"")

    def set_text(self, path: str) -> None:
        """Set the path."""
        self._line.setText(path)

    def ask(self, number: int) -> None:
        """Open one of the dialogs; what is chosen becomes the path."""
        if path := self._dialogs[number](self):
            self.set_text(path)


class ColumnBox(QSearchableComboBox):
    """A list of columns in which one can type to find."""

    def __init__(self) -> None:
        super().__init__()
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(6)

    def offer(self, names: tuple[str, ...], chosen: str) -> None:
        """Offer columns and choose one."""
        with QSignalBlocker(self):
            self.clear()
            self.addItems(list(names))  # type: ignore[no-untyped-call]
            self.setCurrentText(chosen)
        line = self.lineEdit()
        assert line is not None  # one can type in it
        line.setCursorPosition(0)  # a long name is read from its beginning
