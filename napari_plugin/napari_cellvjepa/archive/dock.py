"""The Archive dock: the movies of a folder as a tree with pictures, facts and search; one of them is opened, or a whole session."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_info
from qtpy.QtCore import QModelIndex, QSize, Qt, QTimer
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QAbstractItemView, QCheckBox, QHBoxLayout, QLabel, QLineEdit, QPushButton, QSplitter, QTreeView, QVBoxLayout, QWidget

import cellvjepa
from napari_cellvjepa.archive.catalogue import Catalogue, Node, catalogue
from napari_cellvjepa.archive.details import Details
from napari_cellvjepa.archive.pictures import Pictures
from napari_cellvjepa.archive.place import Place
from napari_cellvjepa.archive.recent import recent_archives, remember_archive
from napari_cellvjepa.archive.showing import bring_in, layers_in, read_layers, show
from napari_cellvjepa.archive.tree import ICON_PX, MovieTree
from napari_cellvjepa.layers.linking import frame_of
from napari_cellvjepa.layers.of_movies import MOVIE_KEY, LayerData
from napari_cellvjepa.layers.opening import add_store, store_layers
from napari_cellvjepa.layers.recognising import kind_of
from napari_cellvjepa.parts.busy import Busy
from napari_cellvjepa.parts.command import CopyCommand
from napari_cellvjepa.parts.docked import Docked
from napari_cellvjepa.parts.latest import Latest
from napari_cellvjepa.session.file import is_session
from napari_cellvjepa.session.sessions import ask_and_open, ask_and_save, open_in

_EMPTY = "Choose a folder with movies, or drop one here. Sub-folders, plates and wells become branches; nothing is copied or changed."
_EXPANDED_UP_TO = 60  # movies: more of them are shown as closed branches
_SEARCH_AFTER_MS = 150


class ArchiveWidget(Docked):
    """Shows the movies of an archive and opens them.

    Parameters
    ----------
    napari_viewer
        The viewer that the movies are opened in.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._looking, self._opening = Latest(self), Latest(self)
        self._paths: list[str] = []
        self.found: Catalogue | None = None
        self._at_once = False
        self._wanted = -1  # the movie that is being opened
        self.setAcceptDrops(True)
        self._make_parts()
        self._lay_out()
        self._connect()
        self._tell()

    def _make_parts(self) -> None:
        self.place = Place(recent_archives())
        self.search = QLineEdit()
        self.search.setPlaceholderText("search: a name, 3 channels, 240 frames, problem …")
        self.search.setClearButtonEnabled(True)
        self._searching = QTimer(self)
        self._searching.setSingleShot(True)
        self._searching.setInterval(_SEARCH_AFTER_MS)
        self.pictures = Pictures()
        self.movies = MovieTree(self.pictures, self)
        self.tree = QTreeView()
        self.tree.setModel(self.movies)
        self.tree.setHeaderHidden(True)
        self.tree.setIconSize(QSize(ICON_PX, ICON_PX))
        self.tree.setIndentation(14)
        self.tree.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.tree.setExpandsOnDoubleClick(False)
        self.tree.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.about = QLabel(_EMPTY)
        self.about.setWordWrap(True)
        self.details = Details()
        self.busy = Busy([self._looking, self._opening])
        self.open = QPushButton("Open movie")
        self.alone = QCheckBox("hide others")
        self.alone.setChecked(True)
        self.alone.setToolTip("<qt>When a movie is opened, those that are open already are hidden.</qt>")
        self.open_session, self.save_session = QPushButton("Open session"), QPushButton("Save session")
        self.save_session.setToolTip("<qt>Writes down what is open, how it looks, what is selected and plotted, and where one looks.</qt>")
        self.command = CopyCommand(self._words)

    def _lay_out(self) -> None:
        below = QWidget()
        under = QVBoxLayout(below)
        under.setContentsMargins(0, 0, 0, 0)
        under.addWidget(self.about)
        under.addWidget(self.details, 1)
        split = QSplitter(Qt.Orientation.Vertical)
        split.addWidget(self.tree)
        split.addWidget(below)
        split.setStretchFactor(0, 3)
        split.setStretchFactor(1, 1)
        split.setChildrenCollapsible(False)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        for part in (self.place, self.search):
            layout.addWidget(part)
        layout.addWidget(split, 1)
        layout.addWidget(self.busy)
        layout.addLayout(_row(self.open, self.alone, self.command))
        layout.addLayout(_row(self.open_session, self.save_session))

    def _connect(self) -> None:
        self.place.chosen.connect(lambda path: self.open_paths([path]))
        self.search.textChanged.connect(lambda _: self._searching.start())
        self._searching.timeout.connect(self._show_movies)
        self.tree.activated.connect(self._activate)
        self.tree.selectionModel().currentChanged.connect(lambda *_: self._describe())
        self.open.clicked.connect(lambda: self._activate(self.tree.currentIndex()))
        self.pictures.ready.connect(self._picture_ready)
        self.open_session.clicked.connect(lambda: ask_and_open(self._viewer, self))
        self.save_session.clicked.connect(lambda: ask_and_save(self._viewer, self))

    def open_paths(self, paths: Sequence[str | Path], *, at_once: bool = True) -> None:
        """Look through folders with movies, or open a session or a store.

        Parameters
        ----------
        paths
            Folders, files, addresses.
        at_once
            Whether a movie that is the only one is opened.
        """
        wanted = [str(path) for path in paths]
        if len(wanted) == 1 and is_session(Path(wanted[0])):
            open_in(self._viewer, Path(wanted[0]))
            return
        if len(wanted) == 1 and kind_of(Path(wanted[0])) == "store":
            do = partial(store_layers, wanted[0])
            self._opening.do(do, "Opening the store", partial(add_store, self._viewer), failed=self.details.tell)
            return
        self._opening.cancel()
        self._paths, self._at_once = wanted, at_once
        self.place.show_path(wanted[0] if len(wanted) == 1 else f"{len(wanted)} folders or files")
        self._show_catalogue(None)
        self.about.setText("Looking for movies …")
        self._looking.do(partial(catalogue, wanted), "Opening the archive", self._arrive, failed=self.about.setText, ended=self._tell_if_stopped)

    def _arrive(self, found: Catalogue) -> None:
        for path in self._paths:
            remember_archive(path if "://" in path else str(Path(path).absolute()))
        self.place.offer(recent_archives())
        self._show_catalogue(found)
        if self._at_once and len(found.entries) == 1:
            self.open_movie(0)

    def _show_catalogue(self, found: Catalogue | None) -> None:
        self.found = found
        self.pictures.forget()
        self.search.clear()
        self._show_movies()

    def _show_movies(self) -> None:
        """Show the movies that are searched for; the chosen one stays so if it is among them."""
        self._searching.stop()
        chosen = self._chosen().entry
        shown = self.movies.show_movies(self.found, self.search.text())
        if shown <= _EXPANDED_UP_TO:
            self.tree.expandAll()
            self._close_unused()
        index = self.movies.index_of(chosen)
        if index.isValid():
            self.tree.setCurrentIndex(index)
        self._tell(shown)
        self._describe()

    def _close_unused(self) -> None:
        for row in range(self.movies.rowCount()):
            index = self.movies.index(row, 0)
            if self.movies.node(index).title.startswith("Not used"):
                self.tree.collapse(index)

    def _tell(self, shown: int = 0) -> None:
        found = self.found
        self.open.setEnabled(found is not None)
        if found is None:
            self.about.setText(_EMPTY)
            return
        there = len(found.entries)
        text = f"{there:,} movie{'s' * (there != 1)}"
        trouble = sum(bool(entry.problems) for entry in found.entries)
        if self.search.text().strip():
            text = f"{shown:,} of {text}"
        elif trouble:
            text += f", {trouble:,} with something to know (⚠)"
        self.about.setText(text)

    def _tell_if_stopped(self) -> None:
        if self.found is None and self.about.text() == "Looking for movies …":
            self.about.setText("Opening the archive was cancelled.")

    def _chosen(self) -> Node:
        return self.movies.node(self.tree.currentIndex())

    def _describe(self) -> None:
        node = self._chosen()
        if self.found is None:
            self.details.tell("")
        elif node.entry >= 0:
            entry = self.found.entries[node.entry]
            self.details.show_movie(entry, self.pictures.picture(node.entry, entry.movie))
        elif node.skipped >= 0:
            skipped = self.found.archive.skipped[node.skipped]
            self.details.tell(f"{skipped.path}: {skipped.what}. {skipped.remedy}.")
        else:
            self.details.tell("")

    def _picture_ready(self, number: int) -> None:
        if self.found is not None and number == self._chosen().entry:
            self.details.show_picture(self.pictures.picture(number, self.found.entries[number].movie))

    def _activate(self, index: QModelIndex) -> None:
        node = self.movies.node(index)
        if node.entry >= 0:
            self.open_movie(node.entry)
        elif index.isValid():
            self.tree.setExpanded(index, not self.tree.isExpanded(index))

    def open_movie(self, number: int) -> None:
        """Open a movie of the archive, or show it where it is open."""
        assert self.found is not None
        movie = self.found.entries[number].movie
        if layers_in(self._viewer, movie):
            show(self._viewer, movie, alone=self.alone.isChecked())
            return
        if self._opening.under_way and self._wanted == number:
            return
        self._wanted = number
        do = partial(read_layers, self.found.archive, movie, self._frame())
        self._opening.do(do, f"Opening {movie.name}", partial(self._add, movie), failed=self.details.tell)

    def _add(self, movie: cellvjepa.Movie, layers: list[LayerData]) -> None:
        if not layers_in(self._viewer, movie):
            bring_in(self._viewer, layers)
        show(self._viewer, movie, alone=self.alone.isChecked())

    def _frame(self) -> int:
        """Return the frame at which the time slider stands, as far as one can tell before the movie is there."""
        images = [layer for layer in self._viewer.layers if MOVIE_KEY in layer.metadata and hasattr(layer, "contrast_limits")]
        return max(0, frame_of(self._viewer, images[0])) if images else 0

    def _words(self) -> list[str]:
        if not self._paths:
            raise cellvjepa.UserError("no archive is open", "choose a folder with movies first", "Archive")
        return ["cellvjepa", "inspect", *self._paths]

    def state(self) -> dict[str, Any]:
        """Return what a session keeps: the archive and what is searched for."""
        return {"paths": [path if "://" in path else Path(path).absolute() for path in self._paths], "search": self.search.text()}

    def take_state(self, state: dict[str, Any]) -> None:
        """Open the archive of a session."""
        found = state.get("paths")
        paths = [path for path in found if isinstance(path, str)] if isinstance(found, list) else []
        if paths and paths != self._paths:
            self.open_paths(paths, at_once=False)  # what was open comes with the session

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Take files and folders."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Open what was dropped."""
        paths = [url.toLocalFile() if url.isLocalFile() else url.toString() for url in event.mimeData().urls()]
        event.acceptProposedAction()
        if paths:
            self.open_paths(paths)
        else:
            show_info("There is no file or folder in what was dropped.")

    def leave(self) -> None:
        """Stop all work and let go of the viewer."""
        self._searching.stop()
        for work in (self._looking, self._opening):
            work.cancel()
        self.pictures.close()
        super().leave()


def _row(*widgets: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget)
    return row
