"""Cells from label images: every pixel holds the id of the track that it belongs to, 0 where there is none."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.cells.table import Cells, checked_cells, match_movies, stem_of
from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import open_movie
from cellvjepa.movies.readers.names import natural_key
from cellvjepa.movies.readers.series import series_folder
from cellvjepa.movies.readers.tiff import tiff
from cellvjepa.movies.readers.zarr import ome_zarr
from cellvjepa.progress import Progress, silent

ENDINGS = ("_track_labels", "_labels", "_label", "_cp_masks", "_masks", "_mask", "_segmentation", "_seg", "_tracks", "_tracked")


def read_label_images(path: Path, movies: Sequence[Movie], *, progress: Progress = silent) -> Cells:
    """Read cells from one label image, from the labels inside an OME-Zarr, or from a folder of label images named after their movies.

    A position is the mean of a cell's pixels, ``area_px`` is their number.

    Raises
    ------
    UserError
        If an image cannot be read, is no label image, belongs to no movie, or is not as large as its movie.
    """
    tables = []
    for image, movie in label_pairs(path, movies):
        _check(image, movie)
        tables.append(_cells_of(image, movie, progress))
    table = pd.concat(tables, ignore_index=True)
    if table.empty:
        raise UserError("the label image holds no cell: all its pixels are 0", "give the image whose pixel values are track ids", path)
    return checked_cells(table, movies, path)


def cells_in_labels(labels: Movie, movie: Movie, *, progress: Progress = silent) -> Cells:
    """Read the cells of one movie from a label image that is open already, whatever it is called.

    Raises
    ------
    UserError
        If it is no label image, holds no cell, or is not as large as the movie.
    """
    _check(labels, movie)
    table = _cells_of(labels, movie, progress)
    if table.empty:
        raise UserError("the label image holds no cell: all its pixels are 0", "give the image whose pixel values are track ids", labels.uri)
    return checked_cells(table, [movie], Path(labels.uri))


def label_pairs(path: Path, movies: Sequence[Movie]) -> list[tuple[Movie, Movie]]:
    """Return each label image with its movie: the one that it lies in, the one that it is named after, or the only one.

    Raises
    ------
    UserError
        If an image cannot be read, or belongs to no movie.
    """
    themselves = {movie.uri for movie in movies}
    places = sorted((place for place in _images_below(path) if str(place) not in themselves), key=lambda place: natural_key(str(place)))
    if not places:
        raise UserError("there are no label images here", "give a TIFF or OME-Zarr labels, or a folder of them named after their movies", path)
    if len(places) == len(movies) == 1:
        return [(open_movie(places[0]), movies[0])]
    inside = {str(Path(movie.uri) / "labels"): movie for movie in movies}
    names = [_movie_name(place.name if place == path else place.relative_to(path).as_posix()) for place in places]
    pairs: dict[str, tuple[Movie, Movie]] = {}
    for place, named in zip(places, match_movies(names, movies), strict=True):
        movie = inside.get(str(place.parent), named)
        if movie is None:
            raise UserError(
                "the label image belongs to no movie", f"name it after its movie, as {stem_of(movies[0].name)}_labels.tif for {movies[0].name}", place
            )
        if movie.name in pairs:
            raise UserError(f"{pairs[movie.name][0].name} and {place.name} both belong to {movie.name}", "give a path with one of them", path)
        pairs[movie.name] = open_movie(place), movie
    return list(pairs.values())


def _images_below(path: Path) -> Iterator[Path]:
    if ome_zarr.recognises(path):
        images, _ = ome_zarr.images_in(path)
        labels = [image for image in images if image.is_labels]
        yield from (image.path for image in labels or images)
    elif not path.is_dir():
        yield path
    elif series := (*series_folder.sorted_folder(path).series, *series_folder.label_series(path)):
        yield from dict.fromkeys(Path(one.uri) for one in series)
    else:
        for entry in path.iterdir():
            if (entry.is_dir() or tiff.recognises(entry)) and not entry.name.startswith("."):
                yield from _images_below(entry)


def _movie_name(label_name: str) -> str:
    stem = re.sub(r"[-_ ]?t?\{[a-z]+\}", "", stem_of(label_name))  # of a series: pos4_mask{t}.tif
    return next((stem.removesuffix(ending) for ending in ENDINGS if stem.endswith(ending) and stem != ending), stem)


def _check(image: Movie, movie: Movie) -> None:
    found, wanted = image.shape, movie.shape
    if found["C"] != 1:
        raise UserError(f"the label image has {found['C']} channels", "give an image with one channel whose values are track ids", image.uri)
    if any(found[axis] != wanted[axis] for axis in "TYX") or found["Z"] not in (1, wanted["Z"]):
        raise UserError(
            f"the label image is {_size(found)}, but its movie {movie.name} is {_size(wanted)}",
            "give the labels of this movie, pixel by pixel",
            image.uri,
        )
    if image.pixels.dtype.kind not in "uif":
        raise UserError(f"label images hold whole numbers, but this one is {image.pixels.dtype}", "save it as uint16 or uint32", image.uri)


def _size(shape: dict[str, int]) -> str:
    return " x ".join(f"{axis} {shape[axis]}" for axis in "TZYX" if axis != "Z" or shape["Z"] > 1)


def _cells_of(image: Movie, movie: Movie, progress: Progress) -> pd.DataFrame:
    """Stream through the frames; as many as one read decodes are in memory."""
    frames, step = image.shape["T"], image.pixels.chunks[0]
    parts = []
    for t0 in range(0, frames, step):
        progress(f"reading cells of {movie.name}", t0, frames)
        for t, labels_ZYX in enumerate(image.pixels[t0 : t0 + step, 0], start=t0):
            parts.append(_cells_in_frame(labels_ZYX, image.uri).assign(t=t))
    progress(f"reading cells of {movie.name}", frames, frames)
    table = pd.concat(parts, ignore_index=True).assign(movie=movie.name)
    return table if image.shape["Z"] > 1 else table.drop(columns="z_px")


def _cells_in_frame(labels_ZYX: npt.NDArray[Any], where: str) -> pd.DataFrame:
    at_ZYX = np.nonzero(labels_ZYX)
    found = labels_ZYX[at_ZYX]
    if found.size and (found.min() < 0 or (found.dtype.kind == "f" and (found != np.floor(found)).any())):
        raise UserError(
            "the pixel values are not track ids: some are negative or fractions", "give the image whose pixel values are track ids", where
        )
    ids, index = np.unique(found, return_inverse=True)
    count = np.bincount(index, minlength=len(ids))
    means = {name: np.bincount(index, weights=at, minlength=len(ids)) / count for name, at in zip(("z_px", "y_px", "x_px"), at_ZYX, strict=True)}
    return pd.DataFrame({"track_id": ids.astype(np.int64), **means, "area_px": count.astype(np.float64)})
