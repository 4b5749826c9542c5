"""The label images that belong to movies, to go wherever these go."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cellvjepa.cells.label_images import label_pairs
from cellvjepa.cells.names import stem_of
from cellvjepa.cells.table import LABEL_ENDINGS
from cellvjepa.movies.convert import labels_inside
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import open_movie

_FOLDERS = ("labels", "masks")
_SUFFIXES = (".ome.tif", ".ome.tiff", ".tif", ".tiff", ".zarr")


def movie_labels(movies: Sequence[Movie], path: Path | None = None) -> dict[str, dict[str, Movie]]:
    """Open the label images of movies.

    Parameters
    ----------
    movies
        The movies.
    path
        Label images, as :func:`cellvjepa.cells.label_images.read_label_images` takes them; None: those that belong to a movie without
        doubt, because they lie inside of it (OME-Zarr) or beside it under its name and one that says labels (``pos4_labels.tif``).

    Returns
    -------
    dict
        By the name of the movie, then by their own.

    Raises
    ------
    UserError
        If one cannot be read, or belongs to no movie.
    """
    found = {movie.name: labels_inside(movie) for movie in movies}
    if path is None:
        for movie in movies:
            for beside in _beside(movie):
                found[movie.name].setdefault(_own_name(beside, movie), open_movie(beside))
        return found
    for image, movie in label_pairs(path, movies):
        inside = Path(image.uri).parent == Path(movie.uri) / "labels"
        found[movie.name][Path(image.uri).name if inside else _own_name(Path(image.uri), movie)] = image
    return found


def nearby_labels(movie: Movie) -> dict[str, Movie]:
    """Open the label images of a movie to be looked at: those that belong to it without doubt, and those of its name in a folder beside it.

    Parameters
    ----------
    movie
        The movie. Folders beside it are looked into that are called labels or masks: ``labels/pos4_labels.tif`` belongs to ``pos4.tif``.

    Returns
    -------
    dict
        By their own names.

    Raises
    ------
    UserError
        If one cannot be read.
    """
    found = dict(movie_labels([movie])[movie.name])
    for folder in _FOLDERS:
        for image in _beside(movie, folder):
            found.setdefault(_own_name(image, movie), open_movie(image))
    return found


def _beside(movie: Movie, folder: str = "") -> list[Path]:
    path = Path(movie.uri)
    if not (path.is_file() or (path.is_dir() and path.suffix == ".zarr")):
        return []
    wanted = [path.parent / folder / f"{stem_of(path.name)}{ending}{suffix}" for ending in LABEL_ENDINGS for suffix in _SUFFIXES]
    return [image for image in wanted if image.exists()]


def _own_name(image: Path, movie: Movie) -> str:
    """Return the name of a label image without that of its movie: ``pos4_track_labels.tif`` gives ``track_labels``."""
    stem = stem_of(image.name)
    return stem.removeprefix(stem_of(Path(movie.uri).name)).strip("_-. ") or "labels"
