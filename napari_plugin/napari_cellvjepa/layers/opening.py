"""Opening files in napari: movies with what belongs to them, folders of movies, and stores of embeddings."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import napari
from napari.layers import Layer
from napari.utils.notifications import show_info

import cellvjepa
from napari_cellvjepa.layers.of_movies import MOVIE_KEY, LayerData, image_layers, labels_layer, tracks_layer
from napari_cellvjepa.layers.points import MOST_LAYERS, points_layers
from napari_cellvjepa.layers.recognising import kind_of, movies_in, rows_in
from napari_cellvjepa.parts.work import Work

MOST_MOVIES = 12
ROWS_AT_ONCE = 50_000  # of a store; more are read in another thread
NO_LAYERS: list[Any] = [(None,)]  # what napari takes for "it was opened, and there is no layer to add"


def get_reader(path: str | list[str]) -> Callable[[str], list[LayerData]] | None:
    """Return the function that opens a path, or None where the path is nothing of ours.

    Ours are files of microscopes, images in Zarr, stores of embeddings, and folders with movies in them. Several files at once (to be
    stacked) are left to others.
    """
    if not isinstance(path, str):
        return None
    kind = kind_of(Path(path))
    return None if kind is None else {"movie": read_movie, "store": read_store, "folder": read_folder}[kind]


def read_movie(path: str) -> list[LayerData]:
    """Open a movie as one image layer per channel, with the label images and tracks that belong to it; pixels are read when they are looked at.

    A folder may hold a few movies: the first is shown and the others are hidden.

    Raises
    ------
    UserError
        If nothing in it can be read, or it holds too many movies to open them all.
    """
    archive = cellvjepa.open_archive(path) if Path(path).is_dir() else cellvjepa.Archive(path, (cellvjepa.open_movie(path),), ())
    if len(archive.movies) > MOST_MOVIES:
        first = ", ".join(movie.name for movie in archive.movies[:3])
        raise cellvjepa.UserError(f"there are {len(archive.movies)} movies here ({first}, ...)", "open one of them, or use the Archive dock", path)
    layers: list[LayerData] = []
    for number, movie in enumerate(archive.movies):
        layers += layers_of(cellvjepa.levelled([movie])[0], archive, visible=number == 0)
    return layers


def read_folder(path: str) -> list[LayerData]:
    """Open a folder: its movies where they are few, else in the Archive dock, which opens them one by one."""
    viewer = napari.current_viewer()
    if viewer is None or movies_in(Path(path), MOST_MOVIES + 1) <= MOST_MOVIES:
        return read_movie(path)
    _, dock = viewer.window.add_plugin_dock_widget("cellvjepa", "Archive")
    dock.open_paths([path])
    return NO_LAYERS


def layers_of(movie: cellvjepa.Movie, archive: cellvjepa.Archive | None, *, visible: bool = True, ahead: int | None = None) -> list[LayerData]:
    """Return the image layers of a movie with its label images and tracks.

    Parameters
    ----------
    movie
        With measured levels.
    archive
        What the movie is part of, where its tracks are looked for; None: they are not.
    visible
        Whether its images are to be seen.
    ahead
        A frame that is read at once (in another thread).
    """
    images = [(pixels, {**settings, "visible": visible}, kind) for pixels, settings, kind in image_layers(movie, ahead)]
    whole = archive is not None and Path(archive.root).is_dir()
    return [*images, *labels_of(movie, nearby=whole), *(tracks_of(movie, archive, visible=visible) if archive else [])]


def labels_of(movie: cellvjepa.Movie, *, nearby: bool = False) -> list[LayerData]:
    """Return the label images that belong to a movie, hidden; one that cannot be shown does not keep the movie from being shown.

    Parameters
    ----------
    movie
        The movie.
    nearby
        Whether folders beside it are looked into as well.
    """
    try:
        images = cellvjepa.nearby_labels(movie) if nearby else cellvjepa.movie_labels([movie])[movie.name]
    except cellvjepa.UserError as error:
        show_info(f"The labels are not shown: {error}")
        return []
    fitting = {name: image for name, image in images.items() if all(image.shape[axis] == movie.shape[axis] for axis in "TZYX")}
    for name in sorted(set(images) - set(fitting)):
        show_info(f"The labels '{name}' are not shown: their size is not that of {movie.name}.")
    shown = [labels_layer(image, movie) for image in fitting.values()]
    return [(pixels, {**settings, "name": f"{movie.name} {name}"}, kind) for name, (pixels, settings, kind) in zip(fitting, shown, strict=True)]


def tracks_of(movie: cellvjepa.Movie, archive: cellvjepa.Archive, *, visible: bool = True) -> list[LayerData]:
    """Return the tracks that lie beside a movie; those that cannot be read do not keep the movie from being shown."""
    try:
        found = cellvjepa.movie_cells(movie, archive)
    except cellvjepa.UserError as error:
        show_info(f"The tracks are not shown: {error}")
        return []
    if found is None or not len(found[0].table):
        return []
    data, settings, kind = tracks_layer(found[0], movie, str(found[1]))
    return [(data, {**settings, "visible": visible}, kind)]


def read_store(path: str) -> list[LayerData]:
    """Open a store of embeddings as one Points layer per movie; seen are those of the movie that is shown, else the first.

    The layers of a large store come when they are ready.

    Raises
    ------
    UserError
        If it is unfinished, damaged, or was not written by cellvjepa.
    """
    viewer = napari.current_viewer()
    if viewer is None or rows_in(Path(path)) <= ROWS_AT_ONCE:
        return _seen_first(store_layers(path), viewer)
    work = Work(partial(store_layers, path), "Opening the store")
    work.setParent(viewer.window._qt_window)  # nothing is delivered to a window that has been closed
    work.succeeded.connect(partial(add_store, viewer))
    work.start()
    return NO_LAYERS


def add_store(viewer: Any, layers: list[LayerData]) -> None:
    """Add the layers of a store."""
    for data, settings, kind in _seen_first(layers, viewer):
        viewer.add_layer(Layer.create(data, settings, kind))


def store_layers(path: str, progress: cellvjepa.Progress | None = None) -> list[LayerData]:
    """Return the layers of a store (in whichever thread)."""
    if progress is not None:
        progress("reading its table", 0, 0)
    found = cellvjepa.open_store(path)
    movies = found.table["movie"].nunique()
    if movies > MOST_LAYERS:
        show_info(f"{found.path.name} holds {movies} movies; the first {MOST_LAYERS} are shown.")
    return points_layers(found)


def _seen_first(layers: list[LayerData], viewer: Any) -> list[LayerData]:
    """Return Points layers of which those are visible that belong to a movie that is shown, if there are such."""
    shown = {layer.metadata[MOVIE_KEY].name for layer in viewer.layers if layer.visible and MOVIE_KEY in layer.metadata} if viewer else set()
    names = [str(settings["features"]["movie"].iloc[0]) for _, settings, _ in layers]
    if not shown & set(names):
        return layers
    return [(data, {**settings, "visible": name in shown}, kind) for name, (data, settings, kind) in zip(names, layers, strict=True)]
