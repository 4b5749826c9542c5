"""A form made from a section of the configuration: titles, descriptions, limits and defaults are those of config.py."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from qtpy.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QFormLayout, QLineEdit, QSpinBox, QWidget

import cellvjepa

_LARGEST = 2**31 - 1


@dataclass(frozen=True)
class _Editor:
    """A widget for one field, and how its value is read and set."""

    widget: QWidget
    read: Callable[[], Any]
    write: Callable[[Any], Any]


class SectionForm(QWidget):
    """One line per field of a section, with its default; the mouse tells what it means.

    Parameters
    ----------
    section
        The section as it is before anybody changes it, e.g. ``cellvjepa.Config().embed``.
    """

    def __init__(self, section: BaseModel) -> None:
        super().__init__()
        self._section = type(section)
        self._editors: dict[str, _Editor] = {}
        layout = QFormLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for name, field in self._section.model_fields.items():
            editor = _editor_for(field)
            editor.write(getattr(section, name))
            editor.widget.setObjectName(name)
            editor.widget.setToolTip(f"<qt>{field.description or ''}</qt>")
            layout.addRow(_title(name, field), editor.widget)
            layout.labelForField(editor.widget).setToolTip(editor.widget.toolTip())
            self._editors[name] = editor

    def value(self) -> BaseModel:
        """Return the section as the form shows it.

        Raises
        ------
        UserError
            If a value is not allowed.
        """
        try:
            return self._section.model_validate({name: editor.read() for name, editor in self._editors.items()})
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]) if first["loc"] else ""
            title = self._section.model_fields[name].title if name else None
            raise cellvjepa.UserError(f"{first['input']!r} is not allowed: {first['msg']}", "correct the value", title or name) from None


def _title(name: str, field: FieldInfo) -> str:
    """Return a field's title with its unit, which stands in brackets at the end of its description."""
    title = field.title or name
    description = (field.description or "").rstrip()
    unit = description.rpartition("[")[2].rstrip("]") if description.endswith("]") else ""
    return f"{title} [{unit}]" if unit else title


def _editor_for(field: FieldInfo) -> _Editor:
    kind, optional = _without_none(field.annotation)
    low, high = _limits(field)
    if typing.get_origin(kind) is Literal:
        return _choice(typing.get_args(kind))
    if kind is bool:
        check = QCheckBox()
        return _Editor(check, check.isChecked, check.setChecked)
    if kind is int:
        return _whole_number(int(low), int(high), optional)
    if kind is float:
        number = QDoubleSpinBox()
        number.setDecimals(3)
        number.setRange(low, high)
        number.setSingleStep(0.05 if high <= 1 else 1.0)
        if not optional:
            return _Editor(number, number.value, number.setValue)
        assert low == 0, "0 stands for None, so it must not be a value itself"
        number.setSpecialValueText("none")
        return _Editor(number, lambda: number.value() or None, lambda value: number.setValue(value or 0.0))
    assert kind is str, f"no editor for {field.annotation}"
    text = QLineEdit()
    return _Editor(text, text.text, text.setText)


def _choice(options: tuple[Any, ...]) -> _Editor:
    box = QComboBox()
    for option in options:
        box.addItem(str(option), option)
    return _Editor(box, box.currentData, lambda value: box.setCurrentIndex(options.index(value)))


def _whole_number(low: int, high: int, optional: bool) -> _Editor:
    box = QSpinBox()
    box.setRange(low - optional, high)
    if not optional:
        return _Editor(box, box.value, box.setValue)
    # One below the smallest value stands for None.
    box.setSpecialValueText("none")
    return _Editor(box, lambda: None if box.value() < low else box.value(), lambda value: box.setValue(low - 1 if value is None else value))


def _without_none(annotation: Any) -> tuple[Any, bool]:
    """Return an annotation without ``None`` and without pydantic's limits, and whether ``None`` was in it."""
    options = typing.get_args(annotation) if typing.get_origin(annotation) in (types.UnionType, typing.Union) else (annotation,)
    kinds = [option for option in options if option is not type(None)]
    assert len(kinds) == 1, f"no editor for {annotation}"
    kind = typing.get_args(kinds[0])[0] if hasattr(kinds[0], "__metadata__") else kinds[0]
    return kind, len(kinds) < len(options)


def _limits(field: FieldInfo) -> tuple[float, float]:
    """Return the smallest and the largest value that a field's limits allow (whole numbers; for others an open end is included)."""
    notes = [*field.metadata]
    for option in (field.annotation, *typing.get_args(field.annotation)):
        for note in getattr(option, "__metadata__", ()):
            notes += [*note.metadata] if isinstance(note, FieldInfo) else [note]
    low, high = 0.0, float(_LARGEST)
    for note in notes:
        if (at_least := getattr(note, "ge", None)) is not None:
            low = at_least
        if (above := getattr(note, "gt", None)) is not None:
            low = above + 1 if _without_none(field.annotation)[0] is int else above
        if (at_most := getattr(note, "le", None)) is not None:
            high = at_most
    return low, high
