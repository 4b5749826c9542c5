"""Opening files in napari: movies, stores of embeddings, and the sample data."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_info

import cellvjepa
from napari_cellvjepa.layers.of_movies import LayerData, image_layers, labels_layer, tracks_layer
from napari_cellvjepa.layers.points import MOST_LAYERS, points_layers

MOST_MOVIES = 12
_TIFF = (".tif", ".tiff")
_ZARR_METADATA = ("zarr.json", ".zattrs", ".zgroup")
_LARGEST_METADATA = 2**24  # a file that calls itself metadata is not read whatever its size
_ENTRIES_LOOKED_AT = 1000  # of a folder that may hold a million files


def get_reader(path: str | list[str]) -> Callable[[str], list[LayerData]] | None:
    """Return the function that opens a path, or None where the path is nothing of ours.

    Ours are TIFF files, folders with TIFF files in them, images in Zarr, and stores of embeddings. Several files at once (to be
    stacked) are left to others.
    """
    if not isinstance(path, str):
        return None
    place = Path(path)
    try:
        if place.is_file():
            return read_movie if place.suffix.lower() in _TIFF else None
        if not place.is_dir():
            return None
        if any((place / name).is_file() for name in _ZARR_METADATA):
            return read_store if _holds_a_table(place) else read_movie
        with os.scandir(place) as entries:
            found = any(entry.name.lower().endswith(_TIFF) for entry in islice(entries, _ENTRIES_LOOKED_AT))
        return read_movie if found else None
    except OSError:
        return None  # it cannot even be looked at: others may know better


def read_movie(path: str) -> list[LayerData]:
    """Open a movie as one image layer per channel, with the label images that belong to it; pixels are read when they are looked at.

    A folder may hold a few movies: the first is shown and the others are hidden.

    Raises
    ------
    UserError
        If nothing in it can be read, or it holds too many movies to open them all.
    """
    movies = cellvjepa.open_archive(path).movies if Path(path).is_dir() else (cellvjepa.open_movie(path),)
    if len(movies) > MOST_MOVIES:
        first = ", ".join(movie.name for movie in movies[:3])
        raise cellvjepa.UserError(f"there are {len(movies)} movies here ({first}, ...)", "open one of them", path)
    layers: list[LayerData] = []
    for number, movie in enumerate(movies):
        for pixels, settings, kind in image_layers(cellvjepa.with_levels(movie)):
            layers.append((pixels, {**settings, "visible": number == 0}, kind))
        layers += labels_of(movie)
    return layers


def labels_of(movie: cellvjepa.Movie) -> list[LayerData]:
    """Return the label images that belong to a movie, hidden; one that cannot be shown does not keep the movie from being shown."""
    try:
        images = cellvjepa.movie_labels([movie])[movie.name]
    except cellvjepa.UserError as error:
        show_info(f"The labels are not shown: {error}")
        return []
    fitting = {name: image for name, image in images.items() if all(image.shape[axis] == movie.shape[axis] for axis in "TZYX")}
    for name in sorted(set(images) - set(fitting)):
        show_info(f"The labels '{name}' are not shown: their size is not that of {movie.name}.")
    shown = [labels_layer(image, movie) for image in fitting.values()]
    return [(pixels, {**settings, "name": f"{movie.name} {name}"}, kind) for name, (pixels, settings, kind) in zip(fitting, shown, strict=True)]


def read_store(path: str) -> list[LayerData]:
    """Open a store of embeddings as one Points layer per movie.

    Raises
    ------
    UserError
        If it is unfinished, damaged, or was not written by cellvjepa.
    """
    found = cellvjepa.open_store(path)
    movies = found.table["movie"].nunique()
    if movies > MOST_LAYERS:
        show_info(f"{found.path.name} holds {movies} movies; the first {MOST_LAYERS} are shown.")
    return points_layers(found)


def sample_simulated() -> list[LayerData]:
    """Return a simulated movie whose cells differ only in what they do, with masks and tracks."""
    return _sample("simulated", "field1.ome.tif", "labels/field1_labels.tif")


def sample_phase() -> list[LayerData]:
    """Return a cut of a real recording in quantitative phase, with tracks."""
    return _sample("mdamb231_phase", "movie.ome.tif", None)


def sample_nuclei() -> list[LayerData]:
    """Return a cut of a real recording of fluorescent nuclei, some of which divide, with masks and tracks."""
    return _sample("migration_nuclei", "movie.ome.tif", "labels/movie_labels.tif")


def _sample(folder: str, name: str, labels: str | None) -> list[LayerData]:
    place = cellvjepa.sample_data_folder() / folder
    archive = cellvjepa.open_archive(place)
    movie = cellvjepa.with_levels(next(movie for movie in archive.movies if movie.name == name))
    cells = cellvjepa.read_cells(place / "cells.csv", archive)
    masks = [labels_layer(cellvjepa.open_movie(place / labels), movie)] if labels else []
    return [*image_layers(movie), *masks, tracks_layer(cells, movie)]


def _holds_a_table(folder: Path) -> bool:
    """Tell whether a Zarr group says of itself that it is AnnData (Zarr 3 and 2 say it in different files)."""
    return "anndata" in (_attributes(folder / "zarr.json").get("encoding-type"), _attributes(folder / ".zattrs").get("encoding-type"))


def _attributes(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > _LARGEST_METADATA:
            return {}
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    attributes = found.get("attributes", {}) if file.name == "zarr.json" else found
    return attributes if isinstance(attributes, dict) else {}
