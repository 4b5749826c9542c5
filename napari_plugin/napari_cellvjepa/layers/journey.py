"""Going to a cell: its movie is opened where it is not, shown, and time, depth and camera move there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Signal

import cellvjepa
from napari_cellvjepa.layers.linking import add_movie, go_to, movie_layers, show_movie, stores_in
from napari_cellvjepa.layers.of_movies import LayerData, Space, image_layers, labels_layer
from napari_cellvjepa.layers.opening import labels_of
from napari_cellvjepa.layers.points import points_layer
from napari_cellvjepa.layers.store_movies import Movies
from napari_cellvjepa.parts.latest import Latest


class Journey(QObject):
    """Takes a viewer to the rows of a store.

    Parameters
    ----------
    viewer
        The viewer.

    Attributes
    ----------
    arrived
        Signal ``(row)``: the viewer shows this row's cell.
    failed
        Signal ``(problem)``: the movie cannot be shown; people have been told.
    """

    arrived = Signal(int)
    failed = Signal(str)

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self._found: cellvjepa.Embeddings | None = None
        self.reading = Latest(self)
        self._opening = ""
        self._wanted = -1
        self.movies: Movies | None = None
        self.elsewhere: Callable[[], Path | None] = lambda: None

    def follow(self, found: cellvjepa.Embeddings | None) -> None:
        """Travel in this store from now on."""
        self.cancel()
        self._found = found
        self.movies = None if found is None else Movies(found)

    def go(self, row: int) -> None:
        """Go to a row; where its movie must be opened first, :attr:`arrived` comes later, unless another row is asked for meanwhile."""
        found = self._found
        assert found is not None
        assert self.movies is not None
        self._wanted = row
        name = str(found.table["movie"].iloc[row])
        if next(movie_layers(self._viewer, name), None) is not None:
            self._arrive()
            return
        if self._opening == name:
            return  # whichever of its cells is asked for last
        self.cancel()
        self._opening, self._wanted = name, row
        do = partial(_opened, self.movies, name, self.elsewhere())
        self.reading.do(do, "Opening the movie", self._add, failed=self.failed.emit, ended=self._end)

    def cancel(self) -> None:
        """Give up opening a movie."""
        self.reading.cancel()
        self._opening = ""

    @property
    def under_way(self) -> bool:
        """Whether a movie is being opened."""
        return self.reading.under_way

    def _add(self, layers: list[LayerData]) -> None:
        add_movie(self._viewer, layers)
        self._arrive()

    def _arrive(self) -> None:
        found = self._found
        assert found is not None
        row, name, store = self._wanted, str(found.table["movie"].iloc[self._wanted]), str(found.path)
        image = next(movie_layers(self._viewer, name))
        shown = [layer for layer in stores_in(self._viewer).get(store, []) if len(layer.features) and layer.features["movie"].iloc[0] == name]
        if not shown:
            data, settings, _ = points_layer(found, name, Space.of_layer(image))
            self._viewer.add_points(data, **settings)
        show_movie(self._viewer, store, name)
        go_to(self._viewer, found, row, image)
        self.arrived.emit(row)

    def _end(self) -> None:
        self._opening = ""


def _opened(movies: Movies, name: str, elsewhere: Path | None, progress: cellvjepa.Progress) -> list[LayerData]:
    """Return the layers of a movie (in the other thread)."""
    movie = movies.movie(name, progress, elsewhere)
    labels = labels_of(movie)
    if not labels and (masks := movies.masks(name)) is not None:
        labels = [labels_layer(masks, movie)]
    return [*image_layers(movie), *labels]
