"""The Pretrain dock: an encoder learns from your own movies in a process of its own, and one sees how it goes."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_error, show_info
from qtpy.compat import isalive
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QFormLayout, QHBoxLayout, QLabel, QPushButton, QScrollArea, QTabWidget, QVBoxLayout, QWidget
from superqt import QCollapsible

import cellvjepa
from napari_cellvjepa.parts.choosers import PathLine
from napari_cellvjepa.parts.command import CopyCommand
from napari_cellvjepa.parts.docked import Docked
from napari_cellvjepa.parts.latest import Latest
from napari_cellvjepa.pretrain.movies import MovieList
from napari_cellvjepa.pretrain.process import ask_to_stop, start
from napari_cellvjepa.pretrain.progress import RunProgress
from napari_cellvjepa.pretrain.request import PretrainRequest, check
from napari_cellvjepa.pretrain.settings import Settings
from napari_cellvjepa.pretrain.watching import Seen, Watch

_MOST_RUNS = 8


class PretrainWidget(Docked):
    """Starts, watches, stops and resumes a pretraining.

    Parameters
    ----------
    napari_viewer
        The viewer whose open images can be trained on.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._seen: Seen | None = None
        self._doing = Latest(self)
        self._watch = Watch(self)
        self._make_parts()
        self._lay_out()
        self._connect()
        self._offer_last_run()
        self._allow()

    def _make_parts(self) -> None:
        recent = {f"{run.parent.name}/{run.name}": partial(_just, str(run)) for run in cellvjepa.recent_runs()[:_MOST_RUNS]}
        self.run = PathLine("folder of the run", {"New folder, or the folder of a run …": _ask_folder, **recent})
        self.run.setToolTip("<qt>A folder to write. Choose that of a run to see how it stands.</qt>")
        self.movies = MovieList(self._viewer)
        self.settings = Settings()
        self.init_from = PathLine("random weights", {"Folder of a run …": _ask_folder, "Weights …": _ask_file})
        self.init_from.setToolTip("<qt>A run or encoder.safetensors, or public weights of V-JEPA 2. Empty: random weights.</qt>")
        self.labels = PathLine("no labels", {"labels.csv …": _ask_file})
        self.cells = PathLine("no cells", {"cells.csv …": _ask_file, "Folder of label images …": _ask_folder})
        self.progress = RunProgress()
        self.start, self.resume, self.stop = QPushButton("Start"), QPushButton("Resume"), QPushButton("Stop")
        self.stop.setToolTip("<qt>A checkpoint is saved first; Resume goes on from there.</qt>")
        self.start.setToolTip("<qt>Training runs in a process of its own: this window, and napari, may be closed.</qt>")
        self.use = QPushButton("Use the encoder")
        self.use.setToolTip("<qt>Hands the best encoder so far to Embed; training goes on.</qt>")
        self.copy = CopyCommand(lambda: self.request(resume=self._is_resumable()).words())
        self.status = QLabel()
        self.status.setWordWrap(True)

    def _lay_out(self) -> None:
        page = QWidget()
        inside = QVBoxLayout(page)
        inside.setContentsMargins(4, 4, 4, 4)
        inside.addWidget(QLabel("Movies to train on"))
        inside.addWidget(self.movies)
        inside.addWidget(self.settings)
        more = QWidget()
        lines = QFormLayout(more)
        lines.setContentsMargins(0, 0, 0, 0)
        lines.addRow("Start from", self.init_from)
        lines.addRow("Labels to watch", self.labels)
        lines.addRow("Their cells", self.cells)
        fold = QCollapsible("Start from, and labels to watch", expandedIcon="▾", collapsedIcon="▸")
        fold.setDuration(0)
        fold.addWidget(more)
        inside.addWidget(fold)
        inside.addStretch(1)
        self.tabs = QTabWidget()
        self.tabs.addTab(_scrolled(page), "Settings")
        self.tabs.addTab(_scrolled(self.progress), "How it goes")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        top = QFormLayout()
        top.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        top.addRow("Run", self.run)
        layout.addLayout(top)
        layout.addWidget(self.tabs, 1)
        for line in ((self.start, self.resume, self.stop), (self.use, self.copy)):
            row = QHBoxLayout()
            for button in line:
                row.addWidget(button, 1)
            layout.addLayout(row)
        layout.addWidget(self.status)

    def _connect(self) -> None:
        self.run.changed.connect(self._follow_run)
        self._watch.seen.connect(self._show)
        self.start.clicked.connect(lambda: self._begin(resume=False))
        self.resume.clicked.connect(lambda: self._begin(resume=True))
        self.stop.clicked.connect(self._stop)
        self.use.clicked.connect(self._use_encoder)

    def _offer_last_run(self) -> None:
        """Show the run that was started or looked at last; a new one is given a folder that is free."""
        recent = cellvjepa.recent_runs()
        if recent:
            self.run.set_text(str(recent[0]))
        else:
            self.run.set_text(str(Path.home() / "cellvjepa_runs" / "first"))

    def folder(self) -> Path | None:
        """Return the folder of the run, or None."""
        return Path(self.run.text()).expanduser().absolute() if self.run.text() else None

    def request(self, *, resume: bool) -> PretrainRequest:
        """Return what the form asks for.

        Raises
        ------
        UserError
            If no folder is named, or a setting is not allowed.
        """
        folder = self.folder()
        if folder is None:
            raise cellvjepa.UserError("no folder is named for the run", "choose one", "Run")
        base = self._seen.state.config if resume and self._seen is not None else None
        config = self.settings.config()
        overrides = self.settings.overrides() if base is None else cellvjepa.overrides_for(config, base)
        movies, preset = self.movies.paths(), self.settings.preset.currentText()
        if not movies:
            raise cellvjepa.UserError("there are no movies to train on", "add a folder, files, or the open images", "Movies")
        return PretrainRequest(movies, folder, preset, overrides, resume, self.init_from.text(), self.labels.text(), self.cells.text())

    def _follow_run(self) -> None:
        self._seen = None
        self.progress.show_nothing()
        self.status.setText("")
        self._watch.follow(self.folder())
        self._allow()

    def _begin(self, *, resume: bool) -> None:
        try:
            request = self.request(resume=resume)
        except cellvjepa.UserError as error:
            self._tell_problem(error)
            return
        self.status.setText("starting …")
        self._doing.do(partial(_started, request), "Pretraining", lambda _: self._begun(), failed=self.status.setText, ended=self._allow)
        self._allow()

    def _begun(self) -> None:
        self.status.setText("Training runs in a process of its own: this window may be closed.")
        self.tabs.setCurrentIndex(1)
        self._watch.follow(self.folder())

    def _stop(self) -> None:
        folder = self.folder()
        if folder is not None:
            try:
                ask_to_stop(folder)
            except cellvjepa.UserError as error:
                self._tell_problem(error)
            self._watch.look_now()

    def _use_encoder(self) -> None:
        folder = self.folder()
        if folder is not None:
            self._doing.do(lambda progress: cellvjepa.usable_encoder(folder), "Taking the encoder", self._hand_over, failed=self.status.setText)

    def _hand_over(self, encoder: Path) -> None:
        """Open the Embed dock with this encoder in it."""
        self.status.setText(f"The encoder is in {encoder}.")
        window = getattr(self._viewer, "window", None)
        if window is not None:
            dock, embed = window.add_plugin_dock_widget("cellvjepa", "Embed", tabify=True)
            embed.use_model(encoder)
            dock.show()
            dock.raise_()

    def _show(self, seen: Seen) -> None:
        """Show what was seen of the run."""
        if not isalive(self) or seen.state.folder != self.folder():  # type: ignore[no-untyped-call]
            return
        before, self._seen = self._seen, seen
        first = before is None or not before.state.begun
        if first and seen.state.config is not None:
            self._take_over(seen)
        new_lines = before is None or before.state.metrics is not seen.state.metrics
        self.progress.show_run(seen, new_lines)
        if before is not None and before.running and not seen.running:
            self.status.setText(seen.sentence)
            show_info(f"{seen.state.folder.name}: {seen.sentence}")
        elif before is None and (seen.running or seen.state.begun):
            self.tabs.setCurrentIndex(1)
            self.status.setText("" if seen.running else "To start another run with these settings, name another folder above.")
        self._allow()

    def _take_over(self, seen: Seen) -> None:
        """Show the settings and movies of a run that is there, and remember it."""
        assert seen.state.config is not None
        cellvjepa.remember_run(seen.state.folder)
        self.settings.show_run(seen.state.config, seen.started.preset if seen.started else self.settings.preset.currentText())
        if seen.started is not None and not self.movies.paths():
            self.movies.set_paths(seen.started.movies)

    def _is_resumable(self) -> bool:
        return self._seen is not None and self._seen.state.begun and not self._seen.state.ended

    def _allow(self) -> None:
        """Allow what makes sense now."""
        if not isalive(self):  # type: ignore[no-untyped-call]
            return
        seen, busy = self._seen, self._doing.under_way
        running = seen is not None and seen.running
        self.start.setEnabled(not busy and not running and (seen is None or not seen.state.begun))
        self.resume.setEnabled(not busy and not running and self._is_resumable())
        self.stop.setEnabled(running and seen is not None and not seen.asked)
        self.use.setEnabled(seen is not None and seen.state.has_encoder)

    def _tell_problem(self, error: cellvjepa.UserError) -> None:
        show_error(str(error))
        self.status.setText(str(error))

    def leave(self) -> None:
        """Stop watching; what trains goes on."""
        self._watch.follow(None)
        self._doing.cancel()
        super().leave()


def _started(request: PretrainRequest, progress: cellvjepa.Progress) -> None:
    """Check and start (in another thread)."""
    check(request)
    start(request.words(), request.run, request.movies, request.preset)
    cellvjepa.remember_run(request.run)


def _scrolled(page: QWidget) -> QScrollArea:
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setFrameShape(QScrollArea.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidget(page)
    return area


def _just(path: str, parent: QWidget) -> str:
    return path


def _ask_folder(parent: QWidget) -> str:
    return QFileDialog.getExistingDirectory(parent, "Folder")


def _ask_file(parent: QWidget) -> str:
    return QFileDialog.getOpenFileName(parent, "File")[0]
