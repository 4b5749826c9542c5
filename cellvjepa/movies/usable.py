"""Which movies of an archive yield clips of a shape."""

from __future__ import annotations

from dataclasses import replace

from cellvjepa.errors import UserError
from cellvjepa.movies.clip_shape import ClipShape, check_movie
from cellvjepa.movies.readers import Archive
from cellvjepa.movies.readers.finding import Skipped


def usable(archive: Archive, shape: ClipShape) -> Archive:
    """Return the archive without the movies that yield no clip; those join the skipped ones, with the reason.

    Parameters
    ----------
    archive
        The archive.
    shape
        The clips that are to be cut from it.

    Raises
    ------
    UserError
        If no movie is left: what is wrong with the first one, and how many there are.
    """
    refused: dict[str, UserError] = {}
    for movie in archive.movies:
        try:
            check_movie(movie, shape)
        except UserError as error:
            refused[movie.name] = error
    movies = tuple(movie for movie in archive.movies if movie.name not in refused)
    if not movies:
        first = next(iter(refused.values()))
        others = f" ({len(refused) - 1} more movies yield no clip either)" if len(refused) > 1 else ""
        raise UserError(first.what + others, first.remedy, first.where)
    skipped = (*archive.skipped, *(Skipped(name, error.what, error.remedy) for name, error in refused.items()))
    return replace(archive, movies=movies, skipped=skipped)
