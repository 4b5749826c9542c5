"""The Embed dock: from the movie you look at to a store of embeddings, and its points in the viewer."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from napari.layers import Labels, Points, Tracks
from napari.utils.notifications import show_info
from qtpy.compat import isalive
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QFileDialog, QFormLayout, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget
from superqt import QCollapsible

import cellvjepa
from napari_cellvjepa.embed.command import embed_words, write_script
from napari_cellvjepa.embed.model_line import ModelLine
from napari_cellvjepa.embed.offered import cells_in, images_in, likely_cells
from napari_cellvjepa.embed.request import Begun, Done, Request, carry_out
from napari_cellvjepa.embed.so_far import SoFar
from napari_cellvjepa.layers.files import cells_file, movie_file
from napari_cellvjepa.layers.of_movies import Shown, Space, cells_from, described, shown_by, shown_quietly
from napari_cellvjepa.layers.points import points_layers
from napari_cellvjepa.parts.choosers import LayerBox, PathLine
from napari_cellvjepa.parts.command import CopyCommand
from napari_cellvjepa.parts.docked import Docked
from napari_cellvjepa.parts.form import SectionForm
from napari_cellvjepa.parts.running import Running

_EVERYWHERE = "everywhere, on a grid"
_HOW = {
    Tracks: "windows along each track",
    Labels: "pixel values are track ids; windows along each track",
    Points: "one window around each point, or along tracks where the points have a track_id",
    type(None): "windows tile the whole image",
}


class EmbedWidget(Docked):
    """Embeds the movie of an image layer in another thread.

    Parameters
    ----------
    napari_viewer
        The viewer whose layers are offered and that gets the points.
    """

    _begun = Signal(object)  # from the other thread

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._space: Space | None = None
        self._so_far: SoFar | None = None
        self._folder = Path.home()
        self._suggested = ""
        self._make_inputs()
        self._lay_out()
        events = self._viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered, events.renamed, self._viewer.layers.selection.events.active):
            event.connect(self._offer_layers)
        self._offer_layers()

    def _make_inputs(self) -> None:
        self.movie = LayerBox("no image layer")
        self.about_movie = _caption()
        self.all_channels = QCheckBox("all channels of this movie")
        self.all_channels.setChecked(True)
        self.all_channels.setToolTip("Each channel is encoded by itself; their vectors stand side by side in the store.")
        self.cells = LayerBox(_EVERYWHERE)
        self.about_cells = _caption()
        self.about_model = _caption()
        self.model = ModelLine(self.about_model)
        self.store = PathLine("folder to write, NAME.zarr", {"Where the store is to stand": self._ask_store})
        self.store.setToolTip("<qt>A new folder for the vectors and their table (AnnData on Zarr). An interrupted embedding goes on here.</qt>")
        self.options = SectionForm(cellvjepa.Config().embed)
        self.start = QPushButton("Embed")
        self.copy = CopyCommand(self._words)
        self.cluster = QPushButton("For a cluster …")
        self.cluster.setToolTip("<qt>Write a script for SLURM, with a table of the cells if they are in this window only.</qt>")
        self.running = Running()
        self.bar, self.stop, self.status = self.running.bar, self.running.stop, self.running.status
        self.movie.currentIndexChanged.connect(self._describe)
        self.cells.currentIndexChanged.connect(self._describe)
        self.start.clicked.connect(self._start)
        self.cluster.clicked.connect(self._write_script)
        self.model.found.connect(lambda trained: self.options.follow(trained.embed))
        self._begun.connect(self._note_begun)
        self.running.progressed.connect(self._show_so_far)
        self.running.changed.connect(self._be_busy)

    def _lay_out(self) -> None:
        self._inputs = QWidget()
        form = QFormLayout(self._inputs)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Movie", self.movie)
        form.addRow("", self.about_movie)
        form.addRow("", self.all_channels)
        form.addRow("Cells", self.cells)
        form.addRow("", self.about_cells)
        form.addRow("Model", self.model)
        form.addRow("", self.about_model)
        form.addRow("Save as", self.store)
        more = QCollapsible("Windows and batches", expandedIcon="▾", collapsedIcon="▸")
        more.addWidget(self.options)
        form.addRow(more)
        layout = QVBoxLayout(self)
        commands = QHBoxLayout()
        commands.addWidget(self.copy, 1)
        commands.addWidget(self.cluster, 1)
        layout.addWidget(self._inputs)
        layout.addWidget(self.start)
        layout.addLayout(commands)
        layout.addWidget(self.running)
        layout.addStretch(1)

    def _offer_layers(self, event: object = None) -> None:
        """Offer the layers that are there now."""
        if not isalive(self):  # type: ignore[no-untyped-call]
            return  # the window has been closed and its layers go one by one
        layers = list(self._viewer.layers)
        images = images_in(layers)
        active, present = self._viewer.layers.selection.active, self.movie.layer()
        self.movie.offer(images, best=next((layer for layer in (active, present, *images) if layer in images), None))
        self.cells.offer(cells_in(layers), best=likely_cells(self.movie.layer(), layers))

    def _describe(self) -> None:
        """Say what has been chosen, and suggest a place for the store."""
        shown = shown_quietly(self.movie.layer())
        several = shown is not None and len(shown.movie.channels) > 1
        self.all_channels.setVisible(several)
        self.about_movie.setText(described(shown) if shown else "Open a movie, or one of File > Open Sample > cellvjepa.")
        self.about_cells.setText(_HOW[type(self.cells.layer())])
        if shown and self.store.text() == self._suggested:
            stem = Path(shown.movie.name).name.partition(".")[0]
            self._suggested = str(self._folder / f"{stem}_embeddings.zarr")
            self.store.set_text(self._suggested)

    def _shown(self) -> Shown | None:
        layer = self.movie.layer()
        return None if layer is None else shown_by(layer)

    def _request(self) -> tuple[Request, Space]:
        """Return what the form asks for, with nothing in it that belongs to a layer."""
        shown = self._shown()
        if shown is None:
            raise cellvjepa.UserError("there is no image layer to embed", "open a movie first", "Movie")
        if not self.model.text():
            raise cellvjepa.UserError("no model is chosen", "choose the folder of a run; `cellvjepa pretrain` makes one from your movies", "Model")
        if not self.store.text():
            raise cellvjepa.UserError("no place for the embeddings is chosen", "choose a folder to write, NAME.zarr", "Save as")
        request = Request(
            movie=shown.movie,
            channels=None if self.all_channels.isChecked() else (shown.channel,),
            cells=cells_from(self.cells.layer(), shown),
            model=Path(self.model.text()).expanduser(),
            store=Path(self.store.text()).expanduser(),
            embed=self.options.value(),
        )
        return request, shown.space

    def _start(self) -> None:
        try:
            request, self._space = self._request()
        except cellvjepa.UserError as error:
            self.running.refuse(error)
            return
        self._so_far = SoFar(self._viewer, self._space)
        self.running.do(partial(carry_out, request, begun=self._begun.emit), "Embedding", self._add_points, self._finish)

    def use_model(self, path: Path) -> None:
        """Take an encoder that another dock hands over."""
        self.model.set_text(str(path))
        self.model.look()

    def _files(self) -> tuple[str, str]:
        movie, cells = self.movie.layer(), self.cells.layer()
        return "" if movie is None else movie_file(movie), "" if cells is None else cells_file(cells)

    def _words(self) -> tuple[str, ...]:
        """Return the command that does the same."""
        request, _ = self._request()
        return embed_words(request, cellvjepa.encoder_config(request.model), *self._files())

    def _write_script(self) -> None:
        """Write a script for a cluster."""
        try:
            request, _ = self._request()
            trained = cellvjepa.encoder_config(request.model)
            suggested = str(request.store.with_suffix(".slurm"))
            path, _ = QFileDialog.getSaveFileName(self, "Where the script is to stand", suggested, "SLURM scripts (*.slurm *.sh)")
            if path:
                self._tell(write_script(request, trained, *self._files(), Path(path)))
        except cellvjepa.UserError as error:
            self.running.refuse(error)

    def _note_begun(self, begun: Begun) -> None:
        if self._so_far is not None and self.running.busy:
            self._so_far.begin(begun)

    def _show_so_far(self, stage: str, done: int, total: int) -> None:
        if stage == "embedding" and self._so_far is not None:
            self._so_far.show(done, total)

    def _add_points(self, done: Done) -> None:
        self._forget_so_far()
        for data, settings, _ in points_layers(done.embeddings, self._space):
            self._viewer.add_points(data, **settings)
        self._tell(f"{len(done.embeddings):,} embeddings are in {done.embeddings.path}. {done.note}".rstrip())

    def _forget_so_far(self) -> None:
        if self._so_far is not None:
            self._so_far.remove()
        self._so_far = None

    def _finish(self, cancelled: bool) -> None:
        self._forget_so_far()
        if cancelled:
            self._tell("Embedding was cancelled. What is done is kept: Embed with the same choices goes on from there.")

    def _tell(self, text: str) -> None:
        show_info(text)
        self.status.setText(text)

    def _be_busy(self, busy: bool) -> None:
        self._inputs.setEnabled(not busy)
        self.start.setEnabled(not busy)

    def _ask_store(self, parent: QWidget) -> str:
        options = QFileDialog.Option.DontConfirmOverwrite  # what stands there is never overwritten, but gone on with
        path, _ = QFileDialog.getSaveFileName(parent, "Where the store is to stand", self.store.text(), "Stores (*.zarr)", options=options)
        self._folder = Path(path).parent if path else self._folder
        return path

    def leave(self) -> None:
        """Stop the work and let go of the viewer."""
        self.running.cancel()
        self._forget_so_far()
        super().leave()


def _caption() -> QLabel:
    label = QLabel()
    label.setWordWrap(True)
    label.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
    label.setStyleSheet("color: palette(mid); font-size: 90%")
    return label
