"""A form made from a section of the configuration: titles, descriptions, limits and defaults are those of config.py."""

from __future__ import annotations

import typing
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtWidgets import QAbstractSpinBox, QComboBox, QFormLayout, QFrame, QHBoxLayout, QLabel, QToolButton, QVBoxLayout, QWidget

import cellvjepa
from napari_cellvjepa.parts.editors import Editor, Kind, editor_for

_NARROW_PX = 64


class SectionForm(QWidget):
    """One line per field of a section, with its default; the mouse tells what it means.

    What has been changed is bold, and the arrow behind it takes it back.

    Parameters
    ----------
    section
        The section as it is before anybody changes it, e.g. ``cellvjepa.Config().embed``.

    Attributes
    ----------
    edited
        Signal: a value may have changed.
    """

    edited = Signal()

    def __init__(self, section: BaseModel) -> None:
        super().__init__()
        self._section = type(section)
        self._base = section.model_dump()
        self._editors: dict[str, Editor] = {}
        self._labels: dict[str, QLabel] = {}
        layout = QFormLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        layout.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        for name, field in self._section.model_fields.items():
            self._add_line(layout, name, field)

    def _add_line(self, layout: QFormLayout, name: str, field: FieldInfo) -> None:
        editor = _editor_of(field)
        editor.write(self._base[name])
        editor.widget.setObjectName(name)
        editor.widget.setToolTip(f"<qt>{field.description or ''}</qt>")
        _mind_the_wheel(editor.widget)
        _let_shrink(editor.widget)
        label = QLabel(_title(name, field))
        label.setToolTip(editor.widget.toolTip())
        label.linkActivated.connect(lambda _, name=name: self.take_back(name))
        if isinstance(editor.widget, ModelList):  # wider than what stands beside a label
            layout.addRow(label)
            layout.addRow(editor.widget)
        else:
            layout.addRow(label, editor.widget)
        self._editors[name], self._labels[name] = editor, label
        editor.changed.connect(lambda *_, name=name: self._note_change(name))

    def value(self) -> BaseModel:
        """Return the section as the form shows it.

        Raises
        ------
        UserError
            If a value is not allowed.
        """
        try:
            return self._section.model_validate(self.entered())
        except ValidationError as error:
            raise _refusal(error, self._section) from None

    def entered(self) -> dict[str, Any]:
        """Return what stands in the form, allowed or not."""
        return {name: editor.read() for name, editor in self._editors.items()}

    def changed_fields(self) -> tuple[str, ...]:
        """Return the names of the fields that are not as they were before anybody changed them."""
        return tuple(name for name, value in self.entered().items() if value != self._base[name])

    def follow(self, section: BaseModel) -> None:
        """Begin with other values: fields that were changed stay as they are, the others take the new value."""
        changed = self.changed_fields()
        self._base = section.model_dump()
        for name, editor in self._editors.items():
            if name not in changed:
                editor.write(self._base[name])
            self._mark(name)

    def show_values(self, section: BaseModel) -> None:
        """Show values as if they had been entered."""
        values = section.model_dump()
        for name, editor in self._editors.items():
            editor.write(values[name])
            self._mark(name)

    def take_back(self, name: str) -> None:
        """Give a field the value that it had before anybody changed it."""
        self._editors[name].write(self._base[name])
        self._mark(name)

    def _note_change(self, name: str) -> None:
        self._mark(name)
        self.edited.emit()

    def _mark(self, name: str) -> None:
        """Show whether a field has been changed."""
        title, label = _title(name, self._section.model_fields[name]), self._labels[name]
        if self._editors[name].read() == self._base[name]:
            label.setText(title)
            return
        label.setText(f'<b>{title}</b> <a href="back" style="text-decoration: none; color: palette(highlight);">&nbsp;↺</a>')


class ModelList(QWidget):
    """A list whose entries are small sections, each of one of several kinds.

    Parameters
    ----------
    kinds
        What an entry may be.

    Attributes
    ----------
    edited
        Signal: something in it may have changed.
    """

    edited = Signal()

    def __init__(self, kinds: tuple[type[BaseModel], ...]) -> None:
        super().__init__()
        self._kinds = kinds
        self._forms: list[SectionForm] = []
        self._frames: list[QWidget] = []
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        adding = QHBoxLayout()
        self._new = QComboBox()
        self._new.addItem("Add …")
        self._new.addItems([_kind_name(kind) for kind in kinds])
        self._new.activated.connect(self._add_chosen)
        _mind_the_wheel(self._new)
        adding.addWidget(self._new)
        adding.addStretch(1)
        self._column.addLayout(adding)

    def read(self) -> tuple[dict[str, Any], ...]:
        """Return the entries as plain values."""
        return tuple(form.entered() for form in self._forms)

    def write(self, entries: typing.Sequence[dict[str, Any]]) -> None:
        """Show entries."""
        for frame in self._frames:
            frame.setParent(None)
            frame.deleteLater()
        self._forms, self._frames = [], []
        for entry in entries:
            self._append(next(kind.model_validate(entry) for kind in self._kinds if set(entry) == set(kind.model_fields)))
        self.edited.emit()

    def _add_chosen(self, number: int) -> None:
        self._new.setCurrentIndex(0)
        if number:
            self._append(self._kinds[number - 1]())
            self.edited.emit()

    def _append(self, entry: BaseModel) -> None:
        form, frame = SectionForm(entry), QFrame()
        frame.setFrameShape(QFrame.Shape.StyledPanel)
        away = QToolButton()
        away.setText("✕")
        away.setToolTip("Take this one out.")
        away.clicked.connect(lambda: self._remove(form))
        head = QHBoxLayout()
        head.addWidget(QLabel(f"<b>{_kind_name(type(entry))}</b>"), 1)
        head.addWidget(away)
        inside = QVBoxLayout(frame)
        inside.setContentsMargins(6, 3, 3, 6)
        inside.addLayout(head)
        inside.addWidget(form)
        self._column.insertWidget(len(self._forms), frame)
        self._forms.append(form)
        self._frames.append(frame)
        form.edited.connect(self.edited)

    def _remove(self, form: SectionForm) -> None:
        at = self._forms.index(form)
        frame = self._frames.pop(at)
        del self._forms[at]
        frame.setParent(None)
        frame.deleteLater()
        self.edited.emit()


def _editor_of(field: FieldInfo) -> Editor:
    kind = Kind.of(field.annotation, field.metadata)
    first = kind.options[0]
    inner = Kind.of(typing.get_args(first)[0]).options if typing.get_origin(first) is tuple else ()
    if inner and all(isinstance(option, type) and issubclass(option, BaseModel) for option in inner):
        entries = ModelList(inner)
        return Editor(entries, entries.read, entries.write, entries.edited)
    return editor_for(kind)


class _WheelGuard(QObject):
    """Lets the wheel scroll the page, not turn a number that happens to pass under the mouse."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Take the wheel from what has not been clicked."""
        if event.type() == QEvent.Type.Wheel and isinstance(watched, QWidget) and not watched.hasFocus():
            event.ignore()
            return True
        return bool(super().eventFilter(watched, event))


def _mind_the_wheel(widget: QWidget) -> None:
    guard = _WheelGuard(widget)
    for part in (widget, *widget.findChildren(QWidget)):
        if isinstance(part, QAbstractSpinBox | QComboBox):
            part.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            part.installEventFilter(guard)


def _let_shrink(widget: QWidget) -> None:
    """Let numbers and choices be narrow: a dock is, and the largest number that fits in need not be seen whole."""
    for part in (widget, *widget.findChildren(QWidget)):
        if isinstance(part, QAbstractSpinBox | QComboBox):
            part.setMinimumWidth(_NARROW_PX)


def _refusal(error: ValidationError, section: type[BaseModel]) -> cellvjepa.UserError:
    """Say in plain words what is not allowed."""
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ").replace("Input should", "it should")
    if not first["loc"]:
        return cellvjepa.UserError(message, "change one of them", section.__name__.removesuffix("Config"))
    name = str(first["loc"][0])
    title = section.model_fields[name].title or name
    if first["type"] == "value_error":
        return cellvjepa.UserError(message, "correct the value", title)
    return cellvjepa.UserError(f"{first['input']!r} is not allowed: {message}", "correct the value", title)


def _kind_name(kind: type[BaseModel]) -> str:
    return str(kind.model_config.get("title") or kind.__name__)


def _title(name: str, field: FieldInfo) -> str:
    """Return a field's title with its unit, which stands in brackets at the end of its description."""
    title = field.title or name
    description = (field.description or "").rstrip()
    unit = description.rpartition("[")[2].rstrip("]") if description.endswith("]") else ""
    return f"{title} [{unit}]" if unit else title
