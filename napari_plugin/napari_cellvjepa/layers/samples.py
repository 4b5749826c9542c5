"""The sample data as layers."""

from __future__ import annotations

import cellvjepa
from napari_cellvjepa.layers.of_movies import LayerData, image_layers, labels_layer, tracks_layer


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
    return [*image_layers(movie), *masks, tracks_layer(cells, movie, str(place / "cells.csv"))]
