"""Cells from label images: every pixel holds the id of the track that it belongs to, 0 where there is none."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from cellvjepa.cells.label_frames import cells_of_labels
from cellvjepa.cells.link import Linking, as_tracks
from cellvjepa.cells.names import stem_of
from cellvjepa.cells.table import LABEL_ENDINGS, Cells, checked_cells, match_movies
from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import open_movie
from cellvjepa.movies.readers.names import natural_key
from cellvjepa.movies.readers.series import series_folder
from cellvjepa.movies.readers.tiff import tiff
from cellvjepa.movies.readers.zarr import ome_zarr
from cellvjepa.progress import Progress, silent

_LOG = logging.getLogger(__name__)


def read_label_images(
    path: Path, movies: Sequence[Movie], *, strict: bool = False, link: Linking | None = None, progress: Progress = silent
) -> Cells:
    """Read cells from one label image, from the labels inside an OME-Zarr, or from a folder of label images named after their movies.

    A position is the mean of a cell's pixels, ``area_px`` is their number. Where there are several images, those that belong to no movie
    here or are not as large as theirs are left out with a warning.

    Parameters
    ----------
    path
        The label images.
    movies
        The movies.
    strict
        Whether to refuse an image that would be left out.
    link
        See :func:`cellvjepa.cells.table.read_cells`.
    progress
        Told of frames.

    Raises
    ------
    UserError
        If an image cannot be read or is no label image, none belongs to a movie and is as large as it is, or pixel values seem to be no
        track ids.
    """
    tables: list[pd.DataFrame] = []
    images: dict[str, Movie] = {}
    refused: list[UserError] = []
    for image, movie in label_pairs(path, movies, refused=None if strict else refused):
        try:
            check_labels(image, movie)
        except UserError as error:
            refused.append(error)
            continue
        tables.append(as_tracks(cells_of_labels(image, movie, progress), link, Path(image.uri), progress=progress))
        images[movie.name] = image
    if refused and (strict or not images):
        raise refused[0]
    if refused:
        others = f" (and {len(refused) - 1} more label images are left out)" if len(refused) > 1 else ""
        _LOG.warning("left out: %s%s", refused[0], others)
    table = pd.concat(tables, ignore_index=True)
    if table.empty:
        raise UserError("the label image holds no cell: all its pixels are 0", "give the image whose pixel values are track ids", path)
    return Cells(checked_cells(table, movies, path, strict=strict).table, images)


def cells_in_labels(labels: Movie, movie: Movie, *, link: Linking | None = None, progress: Progress = silent) -> Cells:
    """Read the cells of one movie from a label image that is open already, whatever it is called.

    Raises
    ------
    UserError
        If it is no label image, holds no cell, or is not as large as the movie, or its values seem to be no track ids.
    """
    check_labels(labels, movie)
    table = as_tracks(cells_of_labels(labels, movie, progress), link, Path(labels.uri), progress=progress)
    if table.empty:
        raise UserError("the label image holds no cell: all its pixels are 0", "give the image whose pixel values are track ids", labels.uri)
    return Cells(checked_cells(table, [movie], Path(labels.uri)).table, {movie.name: labels})


def label_pairs(path: Path, movies: Sequence[Movie], *, refused: list[UserError] | None = None) -> list[tuple[Movie, Movie]]:
    """Return each label image with its movie: the one that it lies in, the one that it is named after, or the only one.

    Parameters
    ----------
    path
        The label images.
    movies
        The movies.
    refused
        Takes what is wrong with images that belong to no movie; None: that is an error.

    Raises
    ------
    UserError
        If an image cannot be read, two belong to one movie, or there is none.
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
            remedy = f"name it after its movie, as {stem_of(movies[0].name)}_labels.tif for {movies[0].name}"
            error = UserError("the label image belongs to no movie", remedy, place)
            if refused is None:
                raise error
            refused.append(error)
            continue
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
    return next((stem.removesuffix(ending) for ending in LABEL_ENDINGS if stem.endswith(ending) and stem != ending), stem)


def check_labels(image: Movie, movie: Movie) -> None:
    """Check that an image may hold the labels of a movie.

    Raises
    ------
    UserError
        If it has several channels, another size, or no whole numbers.
    """
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
