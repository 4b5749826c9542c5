"""Whose cells are labelled: those of a store, or those of a Tracks or Labels layer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from napari.layers import Image, Labels, Tracks

import cellvjepa
from napari_cellvjepa.label.cells import CellIndex
from napari_cellvjepa.layers.linking import movie_layers, stores_in
from napari_cellvjepa.layers.maps import is_map
from napari_cellvjepa.layers.of_movies import MOVIE_KEY, Space
from napari_cellvjepa.layers.saying import usual_label_file

_COLUMNS = ("movie", "track_id", "t_start", "t_stop", "y_px", "x_px")


@dataclass(frozen=True, eq=False)
class Subject:
    """Cells that can be labelled.

    Parameters
    ----------
    name
        For people.
    cells
        When and where they are; of a Labels layer that is not known beforehand, and this is empty.
    movies
        Names of their movies.
    groups
        What movies can be grouped by: for each name, the group of each movie.
    found
        The store, or None.
    layer
        The layer, or None.
    """

    name: str
    cells: CellIndex
    movies: tuple[str, ...]
    groups: dict[str, dict[str, str]]
    found: cellvjepa.Embeddings | None = None
    layer: Any = None

    def carriers(self, viewer: Any) -> list[Any]:
        """Return the layers in whose metadata it is remembered how these cells are labelled."""
        return [self.layer] if self.found is None else stores_in(viewer).get(str(self.found.path), [])

    def label_file(self) -> Path | None:
        """Return where the labels stand unless people choose another file; None where nobody knows the folder."""
        if self.found is not None:
            return usual_label_file(self.found)
        movie = self.layer.metadata.get(MOVIE_KEY)
        if not isinstance(movie, cellvjepa.Movie) or "://" in movie.uri or not Path(movie.uri).exists():
            return None
        return Path(movie.uri).with_name(f"{Path(movie.uri).name.partition('.')[0]}_labels.csv")


def layers_with_cells(viewer: Any) -> list[Any]:
    """Return the layers whose cells can be labelled without a store: tracks, and labels that have a time axis."""
    layers = [layer for layer in viewer.layers if not is_map(layer)]
    return [layer for layer in layers if (isinstance(layer, Tracks) and len(layer.data)) or (isinstance(layer, Labels) and layer.ndim in (3, 4))]


def movie_of(viewer: Any, layer: Any) -> str:
    """Return the name of the movie that a Tracks or Labels layer belongs to."""
    movie = layer.metadata.get(MOVIE_KEY)
    if isinstance(movie, cellvjepa.Movie):
        return str(movie.name)
    images = [other for other in viewer.layers if isinstance(other, Image)]
    named = [image for image in images if layer.name.startswith(image.name)]
    (image,) = named[:1] or (images if len(images) == 1 else [layer])
    found = image.metadata.get(MOVIE_KEY)
    return str(found.name if isinstance(found, cellvjepa.Movie) else image.name)


def read_store_subject(path: Path, progress: cellvjepa.Progress) -> Subject:
    """Return the cells of a store (in the other thread)."""
    progress("reading the table", 0, 0)
    found = cellvjepa.open_store(path)
    progress("sorting the cells", 0, 0)
    cells = CellIndex(found.table)
    return Subject(path.name, cells, cells.movies, _groups(found.table, cells.movies), found=found)


def read_layer_subject(layer: Any, name: str, movie: str, data: npt.NDArray[Any] | None, progress: cellvjepa.Progress) -> Subject:
    """Return the cells of a layer (in the other thread, in which nothing of the layer is looked at).

    Parameters
    ----------
    data
        Of a Tracks layer: track, t, [z], y, x, in native frames and pixels; None for a Labels layer.
    """
    progress("sorting the cells", 0, 0)
    table = pd.DataFrame({name: [] for name in _COLUMNS})
    if data is not None:
        t, y, x = (data[:, axis] for axis in (1, -2, -1))
        t = np.rint(t).astype(np.int64)
        columns = {"track_id": data[:, 0].astype(np.int64), "t_start": t, "t_stop": t + 1, "y_px": y, "x_px": x}
        table = pd.DataFrame({**columns, **({"z_px": data[:, 2]} if data.shape[1] == 5 else {})}).assign(movie=movie)
    return Subject(name, CellIndex(table), (movie,), {"movie": {movie: movie}}, layer=layer)


def shown_movie(viewer: Any, subject: Subject) -> str:
    """Return the movie of a subject that is looked at: the first whose image or points are shown, else the first."""
    if subject.found is None or len(subject.movies) == 1:
        return subject.movies[0]
    visible = (layer for layer in viewer.layers if layer.visible)
    for layer in visible:
        name = movie_of(viewer, layer) if isinstance(layer, Image) else _points_movie(layer) if layer in subject.carriers(viewer) else ""
        if name in subject.movies:
            return name
    return subject.movies[0]


@dataclass(frozen=True)
class Ground:
    """Where frames and pixels of a movie lie in the viewer.

    Parameters
    ----------
    space
        Scale and place of the axes T [Z] Y X, for native frames and pixels.
    """

    space: Space

    def frame(self, viewer: Any) -> int:
        """Return the native frame at which the time slider stands."""
        return int(np.rint((viewer.dims.point[self._axis(viewer)] - self.space.translate[0]) / self.space.scale[0]))

    def go(self, viewer: Any, frame: int) -> None:
        """Move the time slider to a native frame."""
        viewer.dims.set_point(self._axis(viewer), frame * self.space.scale[0] + self.space.translate[0])

    def pixel(self, position: npt.ArrayLike) -> tuple[float, float]:
        """Return the pixel y, x at a position of the viewer's world."""
        y, x = (np.asarray(position, float)[-2:] - self.space.translate[-2:]) / self.space.scale[-2:]
        return float(y), float(x)

    def _axis(self, viewer: Any) -> int:
        return int(viewer.dims.ndim - len(self.space.scale))


def ground_of(viewer: Any, subject: Subject, movie: str) -> Ground | None:
    """Return where a movie lies: as its image, else as the layer of its cells, else as the points of the store; None if it is not shown."""
    for layer in [*movie_layers(viewer, movie), *([subject.layer] if subject.layer is not None and subject.layer in viewer.layers else [])]:
        if len(layer.scale) in (3, 4):
            return Ground(Space.of_layer(layer))
    for layer in subject.carriers(viewer):
        if len(layer.features) and _points_movie(layer) == movie:
            first, space = layer.features.iloc[0], Space.of_layer(layer)
            frames = float(first["t_stop"] - first["t_start"])  # a step of the points is a whole window
            return Ground(Space((space.scale[0] / frames, *space.scale[1:]), space.translate, space.units))
    return None


def _points_movie(layer: Any) -> str:
    return str(layer.features["movie"].iloc[0]) if len(layer.features) else ""


def _groups(table: pd.DataFrame, movies: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return what the movies of a store can be grouped by: themselves, their folders (wells of a plate), columns with one text for each movie."""
    names = list(movies)
    groups = {"movie": {name: name for name in names}}
    folders = {name: name.rpartition("/")[0] for name in names}
    if 1 < len(set(folders.values())) < len(names):
        groups["folder"] = folders
    first = table.groupby("movie", sort=False, observed=True).first()
    for column in table.columns:
        if column in ("movie", "clip_id") or pd.api.types.is_float_dtype(table[column]) or column not in first:
            continue
        of_movie = first[column]
        if of_movie.nunique() > 1 and bool((table[column].to_numpy() == of_movie.reindex(table["movie"]).to_numpy()).all()):
            groups[str(column)] = {str(name): str(of_movie[name]) for name in names}
    return groups
