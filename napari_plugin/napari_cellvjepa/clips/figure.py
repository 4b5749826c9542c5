"""Rows as a figure for a paper: the clips are read once more as the network sees them, and written as PNG or SVG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from napari.utils.notifications import show_info
from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton

import cellvjepa
from napari_cellvjepa.clips.reading import Reader
from napari_cellvjepa.clips.thumbnails import nowhere
from napari_cellvjepa.layers.store_movies import Movies
from napari_cellvjepa.parts.latest import Latest

_MOST_STILLS, _MOST_ROWS = 350, 60  # beyond that a figure is no figure any more
Save = Callable[[Path, Sequence[cellvjepa.PicturedClip]], Path]


class SaveFigure(QPushButton):
    """A button that saves rows as a gallery of stills or as a montage over time.

    Parameters
    ----------
    shown
        Returns the rows and their captions, in the order in which they are shown.
    """

    def __init__(self, shown: Callable[[], list[tuple[int, str]]]) -> None:
        super().__init__("Figure")
        self.setToolTip("<qt>Save these cells as a figure, PNG or SVG at 300 dpi, with a scale bar and times where the movie knows them.</qt>")
        self._shown = shown
        self._found: cellvjepa.Embeddings | None = None
        self._movies: Movies | None = None
        self._elsewhere: Callable[[], Path | None] = nowhere
        self._saving = Latest(self)
        menu = QMenu(self)
        self.gallery = menu.addAction("Gallery …")
        self.montage = menu.addAction("Montage over time …")
        self.gallery.triggered.connect(lambda: self._ask("gallery", cellvjepa.save_gallery, _MOST_STILLS))
        self.montage.triggered.connect(lambda: self._ask("montage", cellvjepa.save_montage, _MOST_ROWS))
        menu.aboutToShow.connect(self._offer)
        self.setMenu(menu)

    def follow(self, found: cellvjepa.Embeddings | None, movies: Movies | None, elsewhere: Callable[[], Path | None]) -> None:
        """Save rows of this store from now on (as :meth:`napari_cellvjepa.clips.gallery.Gallery.follow`)."""
        self.cancel()
        self._found, self._movies, self._elsewhere = found, movies, elsewhere

    def cancel(self) -> None:
        """Give up saving; nothing half-written is left."""
        self._saving.cancel()
        self._enable()

    def _ask(self, name: str, save: Save, most: int) -> None:
        found, movies, shown = self._found, self._movies, self._shown()
        if found is None or movies is None or not shown:
            return
        suggested = found.path.with_name(f"{found.path.name.removesuffix('.zarr')}_{name}.png")
        chosen = QFileDialog.getSaveFileName(self, f"Save the {name}", str(suggested), "Pictures (*.png *.svg)")[0]
        if not chosen:
            return
        path = Path(chosen) if Path(chosen).suffix else Path(f"{chosen}.png")
        first = "" if len(shown) <= most else f" It shows the first {most} of {len(shown):,} cells."
        self.setEnabled(False)
        do = partial(_saved, Reader(found, movies, None), shown[:most], self._elsewhere(), save, path)
        self._saving.do(do, f"Saving the {name}", lambda _: show_info(f"The {name} is in {path}.{first}"), ended=self._enable)

    def _offer(self) -> None:
        for action in (self.gallery, self.montage):
            action.setEnabled(bool(self._shown()))

    def _enable(self) -> None:
        self.setEnabled(True)


def _saved(reader: Reader, rows: list[tuple[int, str]], elsewhere: Path | None, save: Save, path: Path, progress: cellvjepa.Progress) -> Path:
    """Read the rows and write the figure (in the other thread)."""
    clips = []
    for done, (row, caption) in enumerate(rows):
        progress("reading clips", done, len(rows))
        moving = reader.read(row, elsewhere, progress)
        clips.append(cellvjepa.PicturedClip(moving.frames, caption, moving.interval_s, moving.pixel_um))
    progress("drawing", 0, 0)
    return save(path, clips)
