"""All settings of a run as a form: a preset, and what was changed of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QVBoxLayout, QWidget
from superqt import QCollapsible

import cellvjepa
from napari_cellvjepa.parts.form import SectionForm


class Settings(QWidget):
    """The form.

    Attributes
    ----------
    edited
        Signal: a setting may have changed.
    """

    edited = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._about = cellvjepa.presets()
        self._base = cellvjepa.load_config(next(iter(self._about)))
        self.preset = QComboBox()
        self.preset.addItems(list(self._about))
        self.about = _wrapped()
        self.problem = _wrapped()
        self.problem.setStyleSheet("color: #e69f00")
        self.changes = _wrapped()
        self.forms: dict[str, SectionForm] = {}
        self.folds: dict[str, QCollapsible] = {}
        self._lay_out()
        self.preset.currentTextChanged.connect(self._take_preset)
        self._tell()

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        line = QFormLayout()
        line.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        line.addRow("Preset", self.preset)
        layout.addLayout(line)
        for caption in (self.about, self.changes, self.problem):
            layout.addWidget(caption)
        for name, field in type(self._base).model_fields.items():
            form = SectionForm(getattr(self._base, name))
            form.edited.connect(self._tell)
            fold = QCollapsible(field.title or name, expandedIcon="▾", collapsedIcon="▸")
            fold.setDuration(0)
            fold.addWidget(form)
            for inside, margins in ((fold.layout(), (0, 0, 0, 0)), (fold.content().layout(), (6, 2, 0, 4))):
                if inside is not None:
                    inside.setSpacing(0)
                    inside.setContentsMargins(*margins)
            layout.addWidget(fold)
            self.forms[name], self.folds[name] = form, fold

    def config(self) -> cellvjepa.Config:
        """Return the settings.

        Raises
        ------
        UserError
            If they are not allowed.
        """
        sections: Mapping[str, Any] = {name: form.value() for name, form in self.forms.items()}
        return cellvjepa.config_from({name: section.model_dump() for name, section in sections.items()}, (), "Settings")

    def overrides(self) -> tuple[str, ...]:
        """Return what differs from the preset, or from the run that is gone on with, ``"section.field=value"``.

        Raises
        ------
        UserError
            If a setting is not allowed.
        """
        return cellvjepa.overrides_for(self.config(), self._base)

    def show_run(self, config: cellvjepa.Config, preset: str) -> None:
        """Show the settings of a run, as changes of the preset that it was made from."""
        self.preset.setCurrentText(preset if preset in self._about else next(iter(self._about)))
        for name, form in self.forms.items():
            form.show_values(getattr(config, name))
        self._tell()

    def _take_preset(self, name: str) -> None:
        """Take the values of a preset; what has been changed by hand stays."""
        self._base = cellvjepa.load_config(name)
        for section, form in self.forms.items():
            form.follow(getattr(self._base, section))
        self._tell()

    def _tell(self) -> None:
        """Say what the preset is for, what has been changed, and what is not allowed."""
        self.about.setText(self._about[self.preset.currentText()])
        fields = type(self._base).model_fields
        changed = {name: form.changed_fields() for name, form in self.forms.items()}
        for name, fold in self.folds.items():
            title = fields[name].title or name
            fold.setText(f"{title}  ({len(changed[name])} changed)" if changed[name] else title)
        count = sum(map(len, changed.values()))
        self.changes.setText(f"{count} changed from '{self.preset.currentText()}': bold below, ↺ takes it back." if count else "")
        self.changes.setVisible(count > 0)
        try:
            self.config()
            problem = ""
        except cellvjepa.UserError as error:
            problem = str(error)
        self.problem.setText(problem)
        self.problem.setVisible(bool(problem))
        self.edited.emit()


def _wrapped() -> QLabel:
    label = QLabel()
    label.setWordWrap(True)
    return label
