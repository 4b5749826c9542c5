"""The page on which a probe is trained: labels, kind, groups, and what is being learnt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import QFileDialog, QFormLayout, QHBoxLayout, QPushButton, QScrollArea, QVBoxLayout, QWidget
from superqt import QCollapsible

import cellvjepa
from napari_cellvjepa.parts.choosers import PathLine
from napari_cellvjepa.parts.command import CopyCommand
from napari_cellvjepa.parts.form import SectionForm
from napari_cellvjepa.parts.running import Running
from napari_cellvjepa.probe.amounts import HINT, Amounts
from napari_cellvjepa.probe.choices import GroupBox, KindBox
from napari_cellvjepa.probe.learning import Learning
from napari_cellvjepa.probe.request import Training, train

_ELSEWHERE = ("kind", "group", "event_threshold", "event_min_frames", "event_gap_frames", "suggest_representatives")
_SETTLE_MS = 400  # after typing, before labels are counted


class Teaching(QWidget):
    """The page.

    Attributes
    ----------
    made
        Signal ``(report)``: a probe has been trained, a :class:`cellvjepa.ReportedProbe`.
    chosen
        Signal: other labels or another folder were chosen.
    """

    made = Signal(object)
    chosen = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._found: cellvjepa.Embeddings | None = None
        self._make_parts()
        self._lay_out()
        self._settling = QTimer(self)
        self._settling.setSingleShot(True)
        self._settling.setInterval(_SETTLE_MS)
        self._settling.timeout.connect(self._count)
        self.labels.changed.connect(self._settling.start)
        self.labels.changed.connect(self.chosen)
        self.out.changed.connect(self.chosen)
        for edited in (self.kind.activated, self.group.activated, self.options.edited):
            edited.connect(self.chosen)
        self.group.activated.connect(self._settling.start)
        self.amounts.columns_known.connect(self.group.offer)
        self.options.edited.connect(self._settling.start)
        self.start.clicked.connect(self._start)
        self.running.changed.connect(self._be_busy)

    def _make_parts(self) -> None:
        self.labels = PathLine("labels.csv", {"Label file …": _ask_labels})
        self.labels.setToolTip(f"<qt>{HINT} Columns: movie, track_id, label; t_start, t_stop where a label is for some frames only.</qt>")
        self.kind, self.group = KindBox(), GroupBox()
        self.out = PathLine("folder to write", {"Folder for the probe …": _ask_folder})
        self.out.setToolTip(
            "<qt>Gets the probe, its report and its tables; <tt>cellvjepa predict --probe</tt> reads it. A probe that is there is replaced.</qt>"
        )
        self.options = SectionForm(cellvjepa.Config().probe)
        form = self.options.layout()
        assert isinstance(form, QFormLayout)
        for name in _ELSEWHERE:
            editor = self.options.findChild(QWidget, name)
            assert editor is not None, name
            form.setRowVisible(editor, False)
        self.amounts = Amounts()
        self.start = QPushButton("Train")
        self.copy = CopyCommand(lambda: self.request().words())
        self.running, self.learning = Running(), Learning()
        self.stop, self.status = self.running.stop, self.running.status

    def _lay_out(self) -> None:
        self._inputs = QWidget()
        form = QFormLayout(self._inputs)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for title, widget in {"Labels": self.labels, "Kind": self.kind, "Groups by": self.group, "Save in": self.out}.items():
            form.addRow(title, widget)
            form.labelForField(widget).setToolTip(widget.toolTip())
        more = QCollapsible("More options", expandedIcon="▾", collapsedIcon="▸")
        more.addWidget(self.options)
        form.addRow(more)
        buttons = QHBoxLayout()
        buttons.addWidget(self.start, 1)
        buttons.addWidget(self.copy)
        inside = QWidget()
        layout = QVBoxLayout(inside)
        layout.setContentsMargins(4, 6, 4, 4)
        layout.addWidget(self._inputs)
        layout.addWidget(self.amounts)
        layout.addLayout(buttons)
        for widget in (self.running, self.learning):
            layout.addWidget(widget)
        layout.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QScrollArea.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(inside)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scroll)

    def follow(self, found: cellvjepa.Embeddings | None, labels: str = "", folder: str = "", settings: Mapping[str, Any] | None = None) -> None:
        """Teach probes of this store from now on.

        Parameters
        ----------
        labels, folder
            Label file and folder that its layers remember; empty: those that are suggested.
        settings
            Those of the section ``probe`` that are not the default, as its layers remember them.
        """
        self.cancel()
        self._found = found
        stem = "" if found is None else str(found.path.with_name(found.path.name.removesuffix(".zarr")))
        self.labels.set_text(labels)
        self.out.set_text(folder or (f"{stem}_probe" if stem else ""))
        self.group.offer(())
        self._show_settings(settings or {})
        self._count()

    def request(self) -> Training:
        """Return what the page asks for.

        Raises
        ------
        UserError
            If something has not been chosen.
        """
        if self._found is None:
            raise cellvjepa.UserError("no store is open", "open one first: NAME.zarr, made by Embed or by `cellvjepa embed`", "Store")
        if not self.labels.text():
            raise cellvjepa.UserError("no label file is chosen", f"choose one. {HINT}", "Labels")
        if not self.out.text():
            raise cellvjepa.UserError("no folder for the probe is chosen", "choose one to write", "Save in")
        labels, out = (Path(line.text()).expanduser() for line in (self.labels, self.out))
        return Training(self._found.path, labels, out, self.settings())

    def settings(self) -> Any:
        """Return the section ``probe`` as the page shows it.

        Raises
        ------
        UserError
            If a value is not allowed.
        """
        return self.options.value().model_copy(update={"kind": self.kind.chosen(), "group": self.group.chosen()})

    def changed_settings(self) -> dict[str, Any]:
        """Return the settings that are not the default, as plain values; none while one of them is not allowed."""
        try:
            found, usual = (section.model_dump(mode="json") for section in (self.settings(), cellvjepa.Config().probe))
        except cellvjepa.UserError:
            return {}
        return {name: value for name, value in found.items() if value != usual[name]}

    def _show_settings(self, changed: Mapping[str, Any]) -> None:
        usual = cellvjepa.Config().probe
        try:
            section = type(usual).model_validate({**usual.model_dump(), **changed})
        except ValueError:
            section = usual  # they are of another version
        self.options.show_values(section)
        self.kind.choose(section.kind)
        self.group.choose(section.group)

    def cancel(self) -> None:
        """Give up all work."""
        self._settling.stop()
        self.amounts.cancel()
        if self.running.busy:
            self.running.cancel()
            self.learning.end()
            self.running.tell("")

    @property
    def under_way(self) -> bool:
        """Whether a probe is being trained."""
        return self.running.busy

    def count_again(self) -> None:
        """Count the labels soon: the file may have changed."""
        self._settling.start()

    def _count(self) -> None:
        """Count the labels, where there are some to count."""
        if self.under_way:
            return
        try:
            self.amounts.count(None if self._found is None else self._found.path, self.labels.text(), self.settings())
        except cellvjepa.UserError as error:
            self.amounts.setText(str(error))

    def _start(self) -> None:
        try:
            request = self.request()
        except cellvjepa.UserError as error:
            self.running.refuse(error)
            return
        self.amounts.cancel()
        self.learning.begin()
        written: list[cellvjepa.ReportedProbe] = []
        do = partial(_trained, request, self.learning.note, written)
        self.running.do(do, "Training the probe", lambda _: None, partial(self._finish, written))

    def _finish(self, written: list[cellvjepa.ReportedProbe], cancelled: bool) -> None:
        self.learning.end()
        if written:
            self.running.tell(f"The probe is in {written[0].folder}.")
            self.made.emit(written[0])
        elif cancelled:
            self.running.tell("Training was cancelled; nothing was written.")

    def _be_busy(self, busy: bool) -> None:
        self._inputs.setEnabled(not busy)
        self.start.setEnabled(not busy)


def _trained(
    request: Training, watch: Callable[[cellvjepa.Learnt], None], written: list[cellvjepa.ReportedProbe], progress: cellvjepa.Progress
) -> None:
    """Train (in the other thread); what has been written is noted, also where it was cancelled too late."""
    written.append(train(request, watch, progress))


def _ask_labels(parent: QWidget) -> str:
    return QFileDialog.getOpenFileName(parent, "Label file", "", "Labels (*.csv)")[0]


def _ask_folder(parent: QWidget) -> str:
    return QFileDialog.getExistingDirectory(parent, "Folder for the probe")
