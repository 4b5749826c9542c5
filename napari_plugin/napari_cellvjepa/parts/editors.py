"""Widgets for single values of a form: one for each kind of field that the configuration has."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic.fields import FieldInfo
from qtpy.QtCore import Signal
from qtpy.QtGui import QValidator
from qtpy.QtWidgets import QAbstractSpinBox, QCheckBox, QComboBox, QDoubleSpinBox, QHBoxLayout, QLineEdit, QSpinBox, QWidget

LARGEST = 2**31 - 1
_DECIMALS = 15


@dataclass(frozen=True)
class Editor:
    """A widget for one value: how it is read and set, and the signal that tells that somebody may have changed it."""

    widget: QWidget
    read: Callable[[], Any]
    write: Callable[[Any], Any]
    changed: Any


@dataclass(frozen=True)
class Kind:
    """What a field takes.

    Parameters
    ----------
    options
        The types it may have, without None.
    optional
        Whether it may be None.
    low, high
        Limits of a number.
    open_low
        Whether the lower limit itself is not allowed.
    """

    options: tuple[Any, ...]
    optional: bool
    low: float
    high: float
    open_low: bool

    @classmethod
    def of(cls, annotation: Any, metadata: Sequence[Any] = ()) -> Kind:
        """Return the kind of an annotation such as ``Annotated[int, Field(gt=0)] | None``."""
        plain, notes = _unpacked(annotation)
        options = typing.get_args(plain) if typing.get_origin(plain) in (types.UnionType, typing.Union) else (plain,)
        notes += [*metadata]
        kinds = []
        for option in options:
            kind, more = _unpacked(option)
            kinds.append(kind)
            notes += more
        low, high, open_low = 0.0, float(LARGEST), False
        for note in notes:
            if (at_least := getattr(note, "ge", None)) is not None:
                low = at_least
            if (above := getattr(note, "gt", None)) is not None:
                low, open_low = above, True
            if (at_most := getattr(note, "le", None)) is not None:
                high = at_most
            if (below := getattr(note, "lt", None)) is not None:
                high = below
        return cls(tuple(kind for kind in kinds if kind is not type(None)), type(None) in kinds, low, high, open_low)


def editor_for(kind: Kind) -> Editor:
    """Return an editor for a kind of field."""
    first = kind.options[0]
    if typing.get_origin(first) is Literal:
        return _choice(typing.get_args(first), others=int in kind.options[1:])
    assert len(kind.options) == 1, f"no editor for {kind.options}"
    if first is bool:
        check = QCheckBox()
        return Editor(check, check.isChecked, check.setChecked, check.toggled)
    if first is int:
        return _whole_number(int(kind.low) + kind.open_low, int(kind.high), kind.optional)
    if first is float:
        return _number(kind)
    if typing.get_origin(first) is tuple:
        parts = typing.get_args(first)
        return _words(kind.optional) if parts == (str, ...) else _row([editor_for(Kind.of(part)) for part in parts])
    assert first is str, f"no editor for {first}"
    return _text(kind.optional)


class NumberBox(QDoubleSpinBox):
    """A number that may be small: 0.000001 is written 1e-06, and steps are of the size of the number.

    Parameters
    ----------
    low, high
        Limits.
    none
        The value that stands for None; None: there is none.
    """

    def __init__(self, low: float, high: float, none: float | None) -> None:
        super().__init__()
        self._none = none
        self._written: tuple[float | None, float] = (None, math.nan)
        self.setDecimals(_DECIMALS)
        self.setRange(low if none is None else none, high)
        if none is not None:
            self.setSpecialValueText("none")

    def read(self) -> float | None:
        """Return the number: as it was written, if it still is that, else as it is shown."""
        written, shown = self._written
        if self.value() == shown:
            return written
        return None if self.value() == self._none else self.value()

    def write(self, value: float | None) -> None:
        """Set the number."""
        shown = self._none if value is None else value
        assert shown is not None, "None was not among the values"
        self.setValue(shown)
        self._written = (value, self.value())

    def textFromValue(self, value: float) -> str:
        """Write a number as briefly as it can be."""
        return f"{value:.10g}"

    def valueFromText(self, text: str) -> float:
        """Read a number; decimal commas are points."""
        return self._none if text == self.specialValueText() and self._none is not None else float(text.replace(",", "."))

    def validate(self, text: str, position: int) -> tuple[QValidator.State, str, int]:
        """Accept whatever Python takes for a number; the rest may become one."""
        if self._none is not None and text.strip() == self.specialValueText():
            return QValidator.State.Acceptable, text, position
        try:
            number = float(text.replace(",", "."))
        except ValueError:
            return QValidator.State.Intermediate, text, position
        fits = math.isfinite(number) and self.minimum() <= number <= self.maximum()
        return QValidator.State.Acceptable if fits else QValidator.State.Intermediate, text, position

    def stepBy(self, steps: int) -> None:
        """Go up or down by the size of the leading digit; a share by 0.05."""
        value = max(self.value(), 0.0)
        size = 0.05 if self.maximum() <= 1 else 10.0 ** math.floor(math.log10(value) + 1e-9) if value else 0.1
        if self.maximum() > 1 and steps < 0 and value <= size * (1 + 1e-9):
            size /= 10
        self.setValue(round(self.value() + steps * size, _DECIMALS - 3))


def _number(kind: Kind) -> Editor:
    # 0 stands for None where it is no value itself.
    none = (kind.low if kind.open_low else kind.low - 1) if kind.optional else None
    number = NumberBox(kind.low, kind.high, none)
    return Editor(number, number.read, number.write, number.valueChanged)


def _whole_number(low: int, high: int, optional: bool) -> Editor:
    box = QSpinBox()
    box.setRange(low - optional, high)
    if not optional:
        return Editor(box, box.value, box.setValue, box.valueChanged)
    # One below the smallest value stands for None.
    box.setSpecialValueText("none")
    return Editor(
        box,
        lambda: None if box.value() < low else box.value(),
        lambda value: box.setValue(low - 1 if value is None else value),
        box.valueChanged,
    )


def _choice(options: tuple[Any, ...], others: bool) -> Editor:
    box = QComboBox()
    for option in options:
        box.addItem(str(option), option)
    if not others:
        return Editor(box, box.currentData, lambda value: box.setCurrentIndex(options.index(value)), box.currentIndexChanged)
    box.setEditable(True)
    box.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
    named = {str(option): option for option in options}

    def read() -> Any:
        text = box.currentText().strip()
        return named.get(text, int(text) if text.lstrip("-").isdigit() else text)

    return Editor(box, read, lambda value: box.setEditText(str(value)), box.editTextChanged)


def _text(optional: bool) -> Editor:
    line = QLineEdit()
    line.setPlaceholderText("none" if optional else "")
    return Editor(line, lambda: line.text().strip() or (None if optional else ""), lambda value: line.setText(value or ""), line.textChanged)


def _words(optional: bool) -> Editor:
    line = QLineEdit()
    line.setPlaceholderText("all" if optional else "none")
    line.setToolTip("Separated by commas.")

    def read() -> tuple[str, ...] | None:
        words = tuple(word for part in line.text().split(",") if (word := part.strip()))
        return words or (None if optional else ())

    return Editor(line, read, lambda value: line.setText(", ".join(value or ())), line.textChanged)


class _Row(QWidget):
    """Numbers side by side."""

    changed = Signal()

    def __init__(self, editors: Sequence[Editor]) -> None:
        super().__init__()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        for editor in editors:
            editor.changed.connect(lambda *_: self.changed.emit())
            if len(editors) > 2 and isinstance(editor.widget, QAbstractSpinBox):
                editor.widget.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
                editor.widget.setStyleSheet("min-width: 24px")  # napari's own style wants more than a dock has for four
            layout.addWidget(editor.widget, 1)


def _row(editors: Sequence[Editor]) -> Editor:
    def write(values: Sequence[Any]) -> None:
        for editor, value in zip(editors, values, strict=True):
            editor.write(value)

    row = _Row(editors)
    return Editor(row, lambda: tuple(editor.read() for editor in editors), write, row.changed)


def _unpacked(annotation: Any) -> tuple[Any, list[Any]]:
    """Return a type without its limits, and the limits."""
    if not hasattr(annotation, "__metadata__"):
        return annotation, []
    notes: list[Any] = []
    for note in annotation.__metadata__:
        notes += [*note.metadata] if isinstance(note, FieldInfo) else [note]
    return annotation.__origin__, notes
