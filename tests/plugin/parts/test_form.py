"""A form made from a section of the configuration."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, Field
from qtpy.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QFormLayout, QLineEdit, QSpinBox

import cellvjepa
from napari_cellvjepa.parts.form import SectionForm


@pytest.fixture
def form(qtbot: Any) -> SectionForm:
    made = SectionForm(cellvjepa.Config().embed)
    qtbot.addWidget(made)
    return made


def test_untouched_it_gives_the_defaults_of_the_command_line(form: SectionForm) -> None:
    assert form.value() == cellvjepa.Config().embed


def test_it_starts_from_what_it_is_given(qtbot: Any) -> None:
    section = cellvjepa.load_config(None, ["embed.stride_frames=5", "embed.pool=moments", "embed.min_cover=0.25"]).embed
    made = SectionForm(section)
    qtbot.addWidget(made)
    assert made.value() == section


def test_titles_units_and_explanations_are_those_of_the_configuration(form: SectionForm) -> None:
    layout = form.layout()
    assert isinstance(layout, QFormLayout)
    for name, field in type(cellvjepa.Config().embed).model_fields.items():
        editor = form.findChild(object, name) or next(w for w in form.children() if w.objectName() == name)
        assert layout.labelForField(editor).text().startswith(field.title)
        assert field.description in editor.toolTip()
    assert layout.labelForField(form.findChild(QSpinBox, "stride_frames")).text() == "Stride [frames]"


def test_what_is_entered_is_what_one_gets(form: SectionForm) -> None:
    form.findChild(QSpinBox, "batch_size").setValue(7)
    form.findChild(QSpinBox, "stride_frames").setValue(3)
    form.findChild(QDoubleSpinBox, "min_cover").setValue(0.75)
    form.findChild(QComboBox, "pool").setCurrentText("moments")
    form.findChild(QLineEdit, "device").setText("cpu")
    form.findChild(QComboBox, "follow").setCurrentText("smooth")
    form.findChild(QCheckBox, "hide_neighbours").setChecked(True)
    form.findChild(QDoubleSpinBox, "window_min").setValue(90.5)
    changed = {"batch_size": 7, "stride_frames": 3, "min_cover": 0.75, "pool": "moments", "device": "cpu"}
    changed |= {"follow": "smooth", "hide_neighbours": True, "window_min": 90.5}
    assert form.value().model_dump() == cellvjepa.Config().embed.model_dump() | changed


def test_a_time_that_is_not_given_is_none(form: SectionForm) -> None:
    stride = form.findChild(QDoubleSpinBox, "stride_min")
    assert (stride.text(), form.value().model_dump()["stride_min"]) == ("none", None)
    stride.setValue(2.5)
    assert form.value().model_dump()["stride_min"] == 2.5


def test_limits_are_kept_while_typing(form: SectionForm) -> None:
    stride, cover = form.findChild(QSpinBox, "stride_frames"), form.findChild(QDoubleSpinBox, "min_cover")
    stride.setValue(-5)
    assert stride.text() == "none"
    cover.setValue(3)
    assert cover.value() == 1


def test_a_value_that_is_not_allowed_is_named(qtbot: Any) -> None:
    class Section(BaseModel):
        code: str = Field("ab", title="Code", max_length=2)
        wanted: bool = Field(True, title="Wanted")

    made = SectionForm(Section())
    qtbot.addWidget(made)
    made.findChild(QCheckBox, "wanted").setChecked(False)
    assert made.value() == Section(wanted=False)
    made.findChild(QLineEdit, "code").setText("abc")
    with pytest.raises(cellvjepa.UserError, match=r"Code: 'abc' is not allowed: String should have at most 2 characters\. correct the value"):
        made.value()
