"""A form made from a section of the configuration."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, Field
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication, QCheckBox, QComboBox, QDoubleSpinBox, QFormLayout, QLineEdit, QSpinBox, QToolButton, QWidget

import cellvjepa
from napari_cellvjepa.parts.form import ModelList, SectionForm
from tests.plugin.mouse import NO_KEY


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


@pytest.mark.parametrize("preset", ["tiny", "small", "base", "paper"])
def test_every_section_of_every_preset_goes_through_a_form_unchanged(qtbot: Any, preset: str) -> None:
    config = cellvjepa.load_config(preset)
    for name in type(config).model_fields:
        made = SectionForm(getattr(config, name))
        qtbot.addWidget(made)
        assert made.value() == getattr(config, name)
        assert made.changed_fields() == ()


def test_numbers_that_no_box_can_show_whole_stay_what_they_are(qtbot: Any) -> None:
    changes = ["training.learning_rate=0.0003333333333333333", "training.final_learning_rate=1e-17", "probe.event_min_frames=0", "clip.z=3"]
    config = cellvjepa.load_config(None, changes)
    for name in ("training", "probe", "clip"):
        made = SectionForm(getattr(config, name))
        qtbot.addWidget(made)
        assert made.value() == getattr(config, name)


def test_what_was_changed_is_bold_and_can_be_taken_back(qtbot: Any, form: SectionForm) -> None:
    layout = form.layout()
    assert isinstance(layout, QFormLayout)
    batch = form.findChild(QSpinBox, "batch_size")
    label = layout.labelForField(batch)
    edits: list[None] = []
    form.edited.connect(lambda: edits.append(None))
    batch.setValue(7)
    assert form.changed_fields() == ("batch_size",)
    assert label.text().startswith("<b>Batch size [clips]</b>")
    label.linkActivated.emit("back")
    assert batch.value() == cellvjepa.Config().embed.batch_size
    assert label.text() == "Batch size [clips]"
    assert form.changed_fields() == ()
    assert len(edits) == 2


def test_other_values_are_followed_where_nothing_was_changed(form: SectionForm) -> None:
    form.findChild(QSpinBox, "batch_size").setValue(7)
    form.follow(cellvjepa.load_config(None, ["embed.batch_size=128", "embed.pool=mean"]).embed)
    assert form.value() == cellvjepa.load_config(None, ["embed.batch_size=7", "embed.pool=mean"]).embed
    assert form.changed_fields() == ("batch_size",)


def test_small_numbers_are_typed_as_people_write_them(qtbot: Any) -> None:
    made = SectionForm(cellvjepa.Config().training)
    qtbot.addWidget(made)
    rate = made.findChild(QDoubleSpinBox, "learning_rate")
    assert rate.text() == "0.001"
    rate.selectAll()
    qtbot.keyClicks(rate, "3e-5")
    assert made.value().model_dump()["learning_rate"] == 3e-5
    rate.stepBy(1)
    assert rate.value() == pytest.approx(4e-5)
    rate.setValue(1e-4)
    rate.stepBy(-1)
    assert rate.value() == pytest.approx(9e-5)


def test_several_numbers_stand_in_a_line(qtbot: Any) -> None:
    made = SectionForm(cellvjepa.Config().model)
    qtbot.addWidget(made)
    boxes = made.findChild(QWidget, "tubelet").findChildren(QSpinBox)
    boxes[0].setValue(2)
    assert made.value().model_dump()["tubelet"] == (2, 1, 8, 8)
    assert made.changed_fields() == ("tubelet",)
    boxes[0].setValue(4)
    assert made.changed_fields() == ()


def test_words_are_separated_by_commas_and_none_means_all(qtbot: Any) -> None:
    made = SectionForm(cellvjepa.Config().clip)
    qtbot.addWidget(made)
    channels = made.findChild(QLineEdit, "channels")
    assert (channels.text(), channels.placeholderText()) == ("", "all")
    channels.setText(" phase, GFP ")
    assert made.value().model_dump()["channels"] == ("phase", "GFP")


def test_a_choice_may_also_be_a_number(qtbot: Any) -> None:
    made = SectionForm(cellvjepa.Config().clip)
    qtbot.addWidget(made)
    depth = made.findChild(QComboBox, "z")
    for text, value in (("5", 5), ("stack", "stack")):
        depth.setEditText(text)
        assert made.value().model_dump()["z"] == value
    depth.setEditText("top")
    with pytest.raises(cellvjepa.UserError, match=r"Depth: 'top' is not allowed"):
        made.value()


def test_mask_generators_are_added_changed_and_taken_out(qtbot: Any) -> None:
    made = SectionForm(cellvjepa.Config().masks)
    qtbot.addWidget(made)
    entries = made.findChild(ModelList, "generators")
    entries.findChildren(QToolButton)[0].click()
    assert [type(one).__name__ for one in made.value().generators] == ["ForecastMaskConfig"]
    adding = next(box for box in entries.findChildren(QComboBox) if box.itemText(0) == "Add …")
    adding.activated.emit(1)
    entries.findChild(QSpinBox, "blocks").setValue(3)
    first, second = made.value().generators
    assert (type(first).__name__, second.blocks) == ("ForecastMaskConfig", 3)
    assert made.changed_fields() == ("generators",)
    made.take_back("generators")
    assert made.value() == cellvjepa.Config().masks
    for button in entries.findChildren(QToolButton):
        button.click()
    with pytest.raises(cellvjepa.UserError, match=r"^Mask generators: .*at least 1 item"):
        made.value()


def test_fields_that_do_not_go_together_are_told_in_words(qtbot: Any) -> None:
    made = SectionForm(cellvjepa.Config().model)
    qtbot.addWidget(made)
    made.findChild(QSpinBox, "heads").setValue(5)
    with pytest.raises(cellvjepa.UserError, match=r"^Model: dim \(128\) must be a multiple of its heads \(5\)\. change one of them\.$"):
        made.value()


def test_the_wheel_scrolls_the_page_and_changes_nothing_that_was_not_clicked(form: SectionForm) -> None:
    batch = form.findChild(QSpinBox, "batch_size")
    wheel = QWheelEvent(
        QPointF(2, 2), QPointF(2, 2), QPoint(0, 0), QPoint(0, 120), Qt.MouseButton.NoButton, NO_KEY, Qt.ScrollPhase.NoScrollPhase, False
    )
    QApplication.sendEvent(batch, wheel)
    assert form.changed_fields() == ()
