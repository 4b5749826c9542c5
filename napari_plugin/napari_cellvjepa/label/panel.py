"""What is in the Label dock, from top to bottom."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QFormLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_cellvjepa.label.choice import SubjectChoice
from napari_cellvjepa.label.stack import stacked
from napari_cellvjepa.label.steps import Steps
from napari_cellvjepa.label.suggesting import Suggesting
from napari_cellvjepa.label.tally import Tally
from napari_cellvjepa.label.target import Target
from napari_cellvjepa.parts.label_form import LabelForm


class Panel(QWidget):
    """The parts; the dock connects them.

    Parameters
    ----------
    viewer
        The viewer whose stores and layers are offered.
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self.choice, self.form, self.tally, self.target = SubjectChoice(viewer), LabelForm(), Tally(), Target()
        self.suggesting, self.steps = Suggesting(), Steps()
        self.about, self.status = QLabel(), QLabel()
        for label in (self.about, self.status):
            label.setWordWrap(True)
        # Else napari leaves room below it.
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        top = QWidget()
        line = QFormLayout(top)
        line.setContentsMargins(0, 0, 0, 0)
        line.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        line.addRow("Cells of", self.choice)
        parts = (top, self.form, self.tally, None, self.about, self.target, self.steps, self.status, None, self.suggesting)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.addWidget(stacked(parts, self.tally))
