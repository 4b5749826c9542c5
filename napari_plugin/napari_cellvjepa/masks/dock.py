"""The Masks dock: from a movie without outlines to label images and tracks that the other docks take."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from napari.layers import Image, Labels
from napari.utils.notifications import show_error, show_info
from qtpy.compat import isalive
from qtpy.QtWidgets import QFileDialog, QFormLayout, QHBoxLayout, QPushButton, QTabWidget, QVBoxLayout, QWidget

import cellvjepa
from napari_cellvjepa.layers.of_movies import Shown, described, shown_by, shown_quietly
from napari_cellvjepa.masks import request, steps
from napari_cellvjepa.masks.chosen import labels_of, mothers_in
from napari_cellvjepa.masks.files import folder_beside, saved_file
from napari_cellvjepa.masks.history import History
from napari_cellvjepa.masks.pages import LinkPage, OutlinePage, SavePage, StartPage, caption, show_settings
from napari_cellvjepa.masks.preview import PREVIEW_KEY, put_frame
from napari_cellvjepa.masks.previewing import Previewing, channel_of
from napari_cellvjepa.parts.busy import Busy
from napari_cellvjepa.parts.choosers import LayerBox, PathLine
from napari_cellvjepa.parts.docked import Docked
from napari_cellvjepa.parts.latest import Latest


class MasksWidget(Docked):
    """Outlines, paints, links and saves the cells of a movie.

    Parameters
    ----------
    napari_viewer
        The viewer whose layers are offered and that gets the labels.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._work = Latest(self)
        self._history = History(self._viewer)
        self._suggested_folder = self._suggested_file = ""
        self._make_inputs()
        self._lay_out()
        events = self._viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered, events.renamed, self._viewer.layers.selection.events.active):
            event.connect(self._offer_layers)
        self.destroyed.connect(self._work.cancel)  # the window may be closed with the dock in it
        for form, kind in ((self.outline.form, "segmented"), (self.linking.form, "linked")):
            show_settings(form, steps.last_settings(self._viewer, kind))
        self._offer_layers()

    def _make_inputs(self) -> None:
        self.movie = LayerBox("no image layer")
        self.about = caption("")
        self.labels = LayerBox("no labels yet")
        self.folder = PathLine("folder for labels", {"Folder for labels …": _ask_folder})
        self.folder.setToolTip("<qt>Every step is kept here, in a folder NAME_steps, until you remove it.</qt>")
        self.start, self.outline = StartPage(), OutlinePage(self._words_of_segment)
        self.linking, self.saving = LinkPage(self._words_of_link), SavePage()
        self.undo, self.redo = QPushButton("Undo"), QPushButton("Redo")
        self.undo.setToolTip("<qt>Take back the last stroke in the chosen labels; where there is none, the last step. Files stay.</qt>")
        self.redo.setToolTip("<qt>Bring back what was taken back.</qt>")
        self._previewing = Previewing(self._viewer, self.outline, self._previewed, self)
        self._previewing.changed.connect(self._enable)
        self.busy = Busy((self._previewing.work, self._work))
        self.status = caption("")
        self.movie.currentIndexChanged.connect(self._describe)
        self.labels.currentIndexChanged.connect(self._enable)
        self.start.paint.clicked.connect(self._paint)
        self.start.bring.clicked.connect(self._import)
        self.outline.take.clicked.connect(self._take_frame)
        self.outline.all_frames.clicked.connect(self._segment)
        self.linking.link.clicked.connect(self._link)
        self.saving.save.clicked.connect(self._save)
        self.undo.clicked.connect(self._undo)
        self.redo.clicked.connect(self._redo)

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Movie", self.movie)
        form.addRow("", self.about)
        form.addRow("Labels", self.labels)
        form.addRow("Keep in", self.folder)
        self.tabs = QTabWidget()
        for page, title in ((self.start, "Start"), (self.outline, "Outline"), (self.linking, "Link"), (self.saving, "Save")):
            self.tabs.addTab(page, title)
        self.tabs.currentChanged.connect(self._previewing.ask)
        buttons = QHBoxLayout()
        buttons.addWidget(self.undo)
        buttons.addWidget(self.redo)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addWidget(self.tabs, 1)
        layout.addLayout(buttons)
        layout.addWidget(self.busy)
        layout.addWidget(self.status)

    # What is chosen

    def _offer_layers(self, event: object = None) -> None:
        """Offer the layers that are there now."""
        if not isalive(self):  # type: ignore[no-untyped-call]
            return  # the window has been closed and its layers go one by one
        layers = [layer for layer in self._viewer.layers if PREVIEW_KEY not in layer.metadata]
        steps.make_paintable(layers)
        active, present = self._viewer.layers.selection.active, self.movie.layer()
        images = [layer for layer in layers if isinstance(layer, Image) and not isinstance(layer, Labels)]
        self.movie.offer(images, best=next((layer for layer in (active, present, *images) if layer in images), None))
        labels = [layer for layer in layers if isinstance(layer, Labels)]
        newest = [layer for layer in steps.last_step(self._viewer) if isinstance(layer, Labels)]
        likely = (active, self.labels.layer(), *newest, *reversed(labels))
        self.labels.offer(labels, best=next((layer for layer in likely if layer in labels), None))
        self._enable()

    def _describe(self) -> None:
        """Say what has been chosen, and suggest where labels are kept."""
        shown = shown_quietly(self.movie.layer())
        self.about.setText(described(shown) if shown else "Open a movie, or one of File > Open Sample > cellvjepa.")
        if shown is None:
            self._previewing.forget()
            return
        if self.folder.text() == self._suggested_folder:
            self._suggested_folder = str(folder_beside(shown.movie))
            self.folder.set_text(self._suggested_folder)
        if self.saving.place.text() == self._suggested_file:
            self._suggested_file = str(saved_file(self._folder(), shown.movie, ".tif"))
            self.saving.place.set_text(self._suggested_file)
        self._previewing.ask()

    def _previewed(self) -> tuple[Any, Shown] | None:
        """Return the image layer of which outlines are to be previewed, and its movie; None while the page is not seen."""
        shown = shown_quietly(self.movie.layer())
        return None if shown is None or self.tabs.currentWidget() is not self.outline else (self.movie.layer(), shown)

    def _enable(self) -> None:
        layer, working = self.labels.layer(), self._work.under_way
        for page in (self.start, self.linking, self.saving, self.outline.all_frames):
            page.setEnabled(not working)
        self.outline.take.setEnabled(layer is not None and self._previewing.found is not None and not working)
        self.undo.setEnabled(not working)
        self.redo.setEnabled(not working)

    def _shown(self) -> Shown | None:
        layer = self.movie.layer()
        return None if layer is None else shown_by(layer)

    def _movie(self) -> Shown:
        shown = self._shown()
        if shown is None:
            raise cellvjepa.UserError("there is no image layer", "open a movie first", "Movie")
        return shown

    def _folder(self) -> Path:
        if not self.folder.text():
            raise cellvjepa.UserError("no folder for labels is chosen", "choose one", "Keep in")
        return Path(self.folder.text()).expanduser()

    # Steps

    def _begin(self, do: Callable[[], Callable[[cellvjepa.Progress], Any]], title: str, then: Callable[[Any], object]) -> None:
        """Begin long work; ``do`` collects what it needs from the window and may say that something is missing."""
        try:
            work = do()
        except cellvjepa.UserError as error:
            show_error(str(error))
            self.status.setText(str(error))
            return
        self.status.setText("")
        came: list[bool] = []

        def succeed(result: Any) -> None:
            came.append(True)
            then(result)

        def fail(problem: str) -> None:
            came.append(False)
            self.status.setText(problem)

        def end() -> None:
            self._enable()
            if not came:
                self._tell(f"{title} was cancelled; nothing has changed.")

        self._work.do(work, title, succeed, failed=fail, ended=end)
        self._enable()

    def _begin_step(self, do: Callable[[Shown], Callable[[cellvjepa.Progress], request.Made]], title: str) -> None:
        def collect() -> Callable[[cellvjepa.Progress], Any]:
            shown = self._movie()
            work = do(shown)
            return lambda progress: (work(progress), shown)

        self._begin(collect, title, self._add)

    def _paint(self) -> None:
        self._begin_step(lambda shown: partial(request.new_labels, shown.movie, self._folder()), "New labels")

    def _import(self) -> None:
        def collect(shown: Shown) -> Callable[[cellvjepa.Progress], request.Made]:
            if not self.start.source.text():
                raise cellvjepa.UserError("no label images are chosen", "choose a file or folder", "Import")
            return partial(request.import_labels, Path(self.start.source.text()).expanduser(), shown.movie, self._folder())

        self._begin_step(collect, "Importing")

    def _segment(self) -> None:
        def collect(shown: Shown) -> Callable[[cellvjepa.Progress], request.Made]:
            return partial(request.segment, shown.movie, channel_of(shown), self.outline.form.value(), self._folder())

        self._begin_step(collect, "Outlining")

    def _link(self) -> None:
        def collect(shown: Shown) -> Callable[[cellvjepa.Progress], request.Made]:
            return partial(request.link, labels_of(self.labels.layer(), shown), shown.movie, self.linking.form.value(), self._folder())

        self._begin_step(collect, "Linking")

    def _add(self, done: tuple[request.Made, Shown]) -> None:
        made, shown = done
        self._history.forget_undone()
        self.outline.preview.setChecked(False)
        layer = steps.add_step(self._viewer, made, shown.movie, shown.space.settings())
        self.labels.choose(layer)
        self._tell(made.note)

    def _save(self) -> None:
        def collect() -> Callable[[cellvjepa.Progress], Any]:
            shown = self._movie()
            labels = labels_of(self.labels.layer(), shown)
            if not self.saving.place.text():
                raise cellvjepa.UserError("no place is chosen", "give a file, NAME_labels.tif", "Save as")
            path = Path(self.saving.place.text()).expanduser()
            return partial(request.save, labels, shown.movie, path, mothers_in(self._viewer, self.labels.layer()))

        self._begin(collect, "Saving", lambda saved: self._tell(saved.note))

    def _undo(self) -> None:
        self._tell(self._history.undo(self.labels.layer()))

    def _redo(self) -> None:
        self._tell(self._history.redo(self.labels.layer()))

    def _take_frame(self) -> None:
        """Put the preview into the chosen labels, as one stroke."""
        found, layer, shown = self._previewing.found, self.labels.layer(), shown_quietly(self.movie.layer())
        if found is None or layer is None or shown is None:
            return
        try:
            put_frame(layer, found, shown.movie)
        except cellvjepa.UserError as error:
            show_error(str(error))
            return
        self._tell(f"Frame {found.part.t} of {layer.name} is as the preview.")

    # Commands, words, leaving

    def _words_of_segment(self) -> Any:
        shown = self._movie()
        return request.words_of_segment(shown.movie, channel_of(shown), self.outline.form.value(), self._folder())

    def _words_of_link(self) -> Any:
        shown = self._movie()
        return request.words_of_link(labels_of(self.labels.layer(), shown), shown.movie, self.linking.form.value(), self._folder())

    def _tell(self, text: str) -> None:
        show_info(text)
        self.status.setText(text)

    def state(self) -> dict[str, Any]:
        """Return the folder and the forms, for a session file."""
        return {"folder": self.folder.text(), "segment": self.outline.form.entered(), "link": self.linking.form.entered()}

    def take_state(self, state: dict[str, Any]) -> None:
        """Take over the folder and the forms of a session file."""
        if isinstance(state.get("folder"), str):
            self.folder.set_text(state["folder"])
        for form, key in ((self.outline.form, "segment"), (self.linking.form, "link")):
            if isinstance(state.get(key), dict):
                show_settings(form, state[key])

    def leave(self) -> None:
        """Stop the work and let go of the viewer."""
        self._work.cancel()
        self._previewing.forget()
        super().leave()


def _ask_folder(parent: QWidget) -> str:
    return QFileDialog.getExistingDirectory(parent, "Folder for labels")
