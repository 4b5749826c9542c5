"""Converting movies to OME-Zarr 0.5 with chunks that suit clips.

The way of the data: ``layout`` chooses how an image is cut; for each shard, ``image`` decodes a slab of the source at a time, makes
its coarser copies (``coarser``), and compresses both; ``shard`` writes the file, reads it back and compares; ``journal`` takes note.
``metadata`` comes last, so that an unfinished image is no image to anybody; all of it happens in ``DST.partial``, out of which the
store is moved when it is complete.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cellvjepa.errors import UserError
from cellvjepa.movies.convert.image import ImagePlan
from cellvjepa.movies.convert.places import targets
from cellvjepa.movies.convert.work import write_images
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import Archive
from cellvjepa.progress import Progress, silent

__all__ = ["Converted", "convert"]


@dataclass(frozen=True)
class Converted:
    """What was written.

    Parameters
    ----------
    destination
        The store, or the folder of stores.
    movies
        How many movies are in it.
    decoded_bytes
        Of the native pixels, labels included.
    written_bytes
        Of all files of pixels.
    """

    destination: Path
    movies: int
    decoded_bytes: int
    written_bytes: int


def convert(
    archive: Archive,
    destination: str | os.PathLike[str],
    labels: Mapping[str, Mapping[str, Movie]] | None = None,
    *,
    progress: Progress = silent,
) -> Converted:
    """Convert the movies of an archive to OME-Zarr 0.5; do it again to go on where it was interrupted.

    Parameters
    ----------
    archive
        One movie, or many.
    destination
        What to write: ``NAME.zarr`` for one movie; for several a folder, in which ``day2/pos4.tif`` becomes ``day2/pos4.zarr``, and what
        lies in a store keeps its place (``plate1.zarr/B/3/0``; plates stay plates).
    labels
        Label images by their name, for movies by their name; None: those that lie inside of OME-Zarr images.
    progress
        Counts megabytes.

    Raises
    ------
    UserError
        If the destination exists, the source is damaged or has changed since the conversion was begun, or the disk is full.
    Cancelled
        If ``progress`` says so; what is done is kept.
    """
    final = Path(os.path.abspath(destination))  # noqa: PTH100 - not resolved: a link keeps its name
    _check_destination(archive, final)
    labels = {movie.name: labels_inside(movie) for movie in archive.movies} if labels is None else labels
    plans = []
    for movie, target in zip(archive.movies, targets(archive, final), strict=True):
        own = labels.get(movie.name, {})
        for name, image in own.items():
            _check_labels(name, image, movie)
        plans.append(ImagePlan(movie, own, target))
    written = write_images(plans, archive.root, final, progress)
    return Converted(final, len(plans), sum(plan.decoded_bytes for plan in plans), written)


def labels_inside(movie: Movie) -> dict[str, Movie]:
    """Open the label images that lie inside of an OME-Zarr image, by their names.

    Raises
    ------
    UserError
        If they cannot be read.
    """
    from cellvjepa.movies.readers import open_movie
    from cellvjepa.movies.readers.zarr import ome_zarr

    is_zarr = "://" in movie.uri or ome_zarr.recognises(Path(movie.uri))
    return {uri.rpartition("/")[2]: open_movie(uri) for uri in ome_zarr.label_uris(movie.uri)} if is_zarr else {}


def _check_destination(archive: Archive, final: Path) -> None:
    if os.path.lexists(final):
        raise UserError("this exists already", "choose another name for the conversion, or remove it first", final)
    real = Path(os.path.realpath(final))
    for root in archive.root.split(os.pathsep):
        if Path(root).is_dir() and real.is_relative_to(os.path.realpath(root)):
            raise UserError("this lies inside of what is to be converted", "choose a place outside of it", final)


def _check_labels(name: str, image: Movie, movie: Movie) -> None:
    if not name or "/" in name or name.startswith("."):
        raise UserError(f"a label image cannot be called {name!r}", "rename it", image.uri)
    if image.pixels.dtype.kind not in "ui":
        raise UserError(f"label images hold whole numbers, but this one is {image.pixels.dtype}", "save it as uint16 or uint32", image.uri)
    found, wanted = image.shape, movie.shape
    if found["C"] != 1 or any(found[axis] != wanted[axis] for axis in "TYX") or found["Z"] not in (1, wanted["Z"]):
        shown = [" x ".join(f"{axis} {shape[axis]}" for axis in "TCZYX") for shape in (found, wanted)]
        raise UserError(f"the label image is {shown[0]}, but its movie {movie.name} is {shown[1]}", "give the labels of this movie", image.uri)
