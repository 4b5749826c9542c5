"""The buttons that take back, with the list of keys."""

from __future__ import annotations

from qtpy.QtWidgets import QCheckBox, QGridLayout, QLabel, QPushButton, QWidget

_KEYS = "1-9 label · 0 takes a label back · S, E interval · Esc drops it · N next · Ctrl+Z undo"


class Steps(QWidget):
    """Undo, redo, no label; and whether the keys are the dock's."""

    def __init__(self) -> None:
        super().__init__()
        self.undo, self.redo, self.none = QPushButton("Undo (Ctrl+Z)"), QPushButton("Redo"), QPushButton("No label (0)")
        self.redo.setToolTip("Ctrl+Shift+Z")
        self.none.setToolTip("<qt>Take back what you say of this time.</qt>")
        self.use_keys = QCheckBox("Use keys")
        self.use_keys.setChecked(True)
        self.use_keys.setToolTip("<qt>While this is on, the dock takes these keys before napari does. Where one types text they do not count.</qt>")
        about = QLabel(_KEYS)
        about.setWordWrap(True)
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for column, button in enumerate((self.undo, self.redo, self.none)):
            layout.addWidget(button, 0, column)
        layout.addWidget(self.use_keys, 1, 0)
        layout.addWidget(about, 1, 1, 1, 2)
