"""The Label dock: classes with keys, cells that are labelled with them, and a file that grows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_error
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QVBoxLayout

import cellvjepa
from napari_cellvjepa.label.cells import Cell
from napari_cellvjepa.label.classes import MOST_KEYS, with_colours
from napari_cellvjepa.label.clicks import CellClicks
from napari_cellvjepa.label.intervals import intervals_of
from napari_cellvjepa.label.keys import Keys
from napari_cellvjepa.label.over_time import OverTime
from napari_cellvjepa.label.panel import Panel
from napari_cellvjepa.label.point_labels import PointLabels
from napari_cellvjepa.label.subject import Subject
from napari_cellvjepa.label.telling import told_of_cell, told_of_file
from napari_cellvjepa.layers.journey import Journey
from napari_cellvjepa.layers.label_memory import recalled, remember
from napari_cellvjepa.layers.saying import described, renaming, saying
from napari_cellvjepa.parts.docked import Docked
from napari_cellvjepa.parts.label_pen import LabelPen

_TYPED_MS = 400


class LabelWidget(Docked):
    """Labels the cells of a store, of tracks or of a label image.

    Parameters
    ----------
    napari_viewer
        The viewer in which cells are clicked.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._subject: Subject | None = None
        self._cell: Cell | None = None
        self._classes: dict[str, str] = {}
        self.pen = LabelPen()
        self.journey = Journey(napari_viewer)
        self.clicks = CellClicks(napari_viewer)
        self.point_labels = PointLabels(napari_viewer)
        self.over_time = OverTime(napari_viewer)
        self.keys = Keys(self._actions())
        self._typed = QTimer(self)
        self._typed.setSingleShot(True)
        self._typed.setInterval(_TYPED_MS)
        self._make_parts()
        self._connect()
        self._enable()
        self.choice.offer()

    def _make_parts(self) -> None:
        panel = Panel(self._viewer)
        self.choice, self.form, self.tally, self.classes = panel.choice, panel.form, panel.tally, panel.tally.classes
        self.target, self.steps, self.suggesting = panel.target, panel.steps, panel.suggesting
        self.about, self.status = panel.about, panel.status
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(panel)

    def _actions(self) -> dict[str, Callable[[], object]]:
        """Return what the keys do."""
        found: dict[str, Callable[[], object]] = {"0": self.take_back, "S": self.begin, "E": self.end, "Esc": self.drop}
        found |= {str(number): partial(self.press, number) for number in range(1, MOST_KEYS + 1)}
        return found | {"N": self._next, "Ctrl+Z": self.undo, "Ctrl+Shift+Z": self.redo}

    def _connect(self) -> None:
        self.choice.chosen.connect(self._take_subject)
        self.choice.told.connect(self.about.setText)
        self.form.changed.connect(self._typed.start)
        self._typed.timeout.connect(self._take_file)
        self.classes.pressed.connect(self.label)
        self.classes.edited.connect(self._take_classes)
        self.classes.renamed.connect(self._rename)
        self.classes.removed.connect(self._remove)
        self.target.scope_changed.connect(self._tell_cell)
        for signal, action in ((self.target.begun, self.begin), (self.target.ended, self.end), (self.target.dropped, self.drop)):
            signal.connect(action)
        self.steps.undo.clicked.connect(self.undo)
        self.steps.redo.clicked.connect(self.redo)
        self.steps.none.clicked.connect(self.take_back)
        self.steps.use_keys.toggled.connect(self._enable)
        self.suggesting.proposed.connect(lambda row, why: self.journey.go(row))
        self.journey.arrived.connect(self._arrive)
        self.clicks.pointed.connect(self.choose)
        self.over_time.pointed.connect(self.choose)
        self.over_time.moved.connect(self._tell_cell)
        self.pen.changed.connect(self._take_labels)
        self.pen.saved.connect(self._saved)
        self.pen.failed.connect(self._failed)

    @property
    def subject(self) -> Subject | None:
        """Whose cells are labelled."""
        return self._subject

    @property
    def cell(self) -> Cell | None:
        """The chosen cell."""
        return self._cell

    def choose(self, cell: Cell) -> None:
        """Choose a cell to label."""
        self._cell = cell
        self.drop()
        self.over_time.choose(cell)
        self._enable()

    def press(self, number: int) -> None:
        """Label with the class that has a key."""
        names = list(self._classes)
        if number <= len(names):
            self.label(names[number - 1])
        else:
            self._tell(f"There is no class {number} yet.")

    def take_back(self) -> None:
        """Take back what is labelled."""
        self.label("")

    def label(self, name: str) -> None:
        """Give what is chosen a class; ``""`` takes a label back."""
        try:
            who = self.form.who()
            frame, scope = self.over_time.frame(), self.target.scope()
            intervals = intervals_of(self._viewer, self._subject, self._cell, scope, self.target.chosen(frame), frame)
            self._follow_file()
        except cellvjepa.UserError as error:
            show_error(str(error))
            self._tell(str(error))
            return
        title = described(name, intervals)
        self._tell(f"{title} …")
        self.pen.write(title, partial(saying, intervals, name, who), shown=len(intervals) > 1)
        self.drop()

    def begin(self) -> None:
        """Begin an interval at this time."""
        if self._cell is not None and (frame := self.over_time.frame()) >= 0:
            self.target.begin(frame)
            self.over_time.show_interval(*self.target.interval)

    def end(self) -> None:
        """End the interval with this time."""
        if self._cell is not None and self._subject is not None and (frame := self.over_time.frame()) >= 0:
            self.target.finish(frame, (self._subject.cells.span(self._cell) or (0, 0))[0])
            self.over_time.show_interval(*self.target.interval)

    def drop(self) -> None:
        """Forget the interval."""
        self.target.clear()
        self.over_time.show_interval(*self.target.interval)

    def undo(self) -> None:
        """Take back the last step."""
        self.pen.undo() if self.pen.done else self._tell("There is nothing to undo.")

    def redo(self) -> None:
        """Do again what was taken back."""
        self.pen.redo() if self.pen.undone else self._tell("There is nothing to redo.")

    def _next(self) -> None:
        self.suggesting.next.click()

    def _arrive(self, row: int) -> None:
        if self._subject is not None and self._subject.found is not None:
            facts = self._subject.found.table.iloc[row]
            if facts["track_id"] >= 0:
                self.choose(Cell(str(facts["movie"]), int(facts["track_id"])))

    def _take_subject(self, subject: Subject | None) -> None:
        """Label other cells from now on, as it is remembered in their layers."""
        self._subject, self._cell = subject, None
        kept = recalled(subject.carriers(self._viewer)) if subject else recalled([])
        usual = subject.label_file() if subject else None
        self._classes = dict(kept.classes)
        self.form.show_values(kept.file or (str(usual) if usual else ""), kept.annotator)
        self.target.offer(store=subject is not None and subject.found is not None, scope=kept.scope)
        self.target.clear()
        self.tally.offer(subject.groups if subject else {})
        self.clicks.follow(subject)
        self.journey.follow(subject.found if subject else None)
        self.over_time.follow(subject)
        self._take_file()
        self._enable()

    def _take_file(self) -> None:
        """Label in the file that the form names."""
        if self._subject is None:
            self.pen.follow(None, ())
            return
        self._remember()
        if not self.form.file.text():
            self.pen.follow(None, ())
            self._tell("Choose where the labels are to stand.")
            return
        self._follow_file()

    def _follow_file(self) -> None:
        self._typed.stop()
        assert self._subject is not None
        path = self.form.path()
        self.pen.follow(path, self._subject.movies)
        self.suggesting.follow(self._subject.found, path)

    def _remember(self) -> None:
        if self._subject is not None:
            file, who = self.form.file.text(), self.form.annotator.text().strip()
            usual = self._subject.label_file()
            where = "" if usual is not None and Path(file) == usual else file
            remember(self._subject.carriers(self._viewer), file=where, annotator=who, classes=self._classes, scope=self.target.scope())

    def _take_labels(self, cells: list[tuple[str, int]] | None) -> None:
        """Show which labels hold now."""
        book, subject = self.pen.book, self._subject
        self.suggesting.know(book)
        if book is not None and subject is not None:
            self._classes = with_colours(self._classes, book.classes())
            self.point_labels.take(subject, book, cells)
            if cells is None and (odd := told_of_file(book)):
                self._tell(odd)
        self._remember()
        self._show()
        self._enable()

    def _show(self) -> None:
        self.tally.show_labels(self.pen.book, self._classes)
        self.over_time.show_book(self.pen.book, self._classes, self.form.annotator.text().strip())

    def _take_classes(self, names: list[str]) -> None:
        colours = with_colours(self._classes, names)
        self._classes = {name: colours[name] for name in names}
        self._remember()
        self._show()

    def _rename(self, old: str, new: str) -> None:
        self._classes = {new if name == old else name: colour for name, colour in self._classes.items()}
        self._replace(old, new, f"'{old}' is called '{new}'")

    def _remove(self, name: str) -> None:
        self._classes.pop(name, None)
        self._replace(name, "", f"'{name}' is removed")

    def _replace(self, old: str, new: str, title: str) -> None:
        if self.pen.book is not None and old in self.pen.book.classes():
            self.pen.write(title, partial(renaming, old, new, self.form.annotator.text().strip()), shown=True)
        self._take_classes(list(self._classes))

    def _tell_cell(self) -> None:
        self.about.setText(told_of_cell(self._subject, self._cell, self.pen.book, self.over_time.frame()))

    def _saved(self, title: str, lines: int) -> None:
        self._tell(f"{title}. Saved." if lines else f"{title}: it was so already.")

    def _failed(self, problem: str) -> None:
        self._tell(f"Nothing was saved. {problem}")
        self._enable()

    def _tell(self, text: str) -> None:
        self.status.setText(text)

    def _enable(self, *_: object) -> None:
        ready = self._subject is not None
        for part in (self.form, self.classes, self.target, self.steps.none):
            part.setEnabled(ready)
        self.steps.undo.setEnabled(bool(self.pen.done))
        self.steps.redo.setEnabled(bool(self.pen.undone))
        self._tell_cell()
        if ready and self.steps.use_keys.isChecked():
            self.keys.take(self)
        else:
            self.keys.release()

    def leave(self) -> None:
        """Stop all work and let go of the viewer; labels that were asked for are still written."""
        self._remember()
        self._typed.stop()
        self.keys.release()
        for cancel in (self.suggesting.cancel, self.journey.cancel, self.pen.finish):
            cancel()
        for close in (self.choice.close_all, self.clicks.close, self.point_labels.close, self.over_time.close):
            close()
        super().leave()
