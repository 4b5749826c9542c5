"""Tracks from a table of edges between the masks of successive frames, as trackastra writes it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cellvjepa.cells.label_frames import cells_of_labels
from cellvjepa.cells.label_images import check_labels, label_pairs
from cellvjepa.cells.lineage import ordered_links, tracks_of
from cellvjepa.cells.movie_labels import movie_labels
from cellvjepa.cells.table import Cells, checked_cells, movie_of
from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie
from cellvjepa.progress import Progress, silent

_LOG = logging.getLogger(__name__)
_ENDS = ("source_frame", "source_label", "target_frame", "target_label")
_MASKS = "put the label image that was tracked beside the table or beside the movie (as pos4_labels.tif for pos4.tif)"


def recognises(table: pd.DataFrame) -> bool:
    """Whether a table is one of edges, by its columns."""
    return set(_ENDS) <= set(table.columns)


def read_edges(table: pd.DataFrame, path: Path, movies: Sequence[Movie], *, strict: bool = False, progress: Progress = silent) -> Cells:
    """Read the tracks of one movie: the masks of its label image, joined by a table of edges.

    Parameters
    ----------
    table
        ``source_frame``, ``source_label``, ``target_frame``, ``target_label``: the values of two masks that are the same cell, or mother
        and daughter.
    path
        The table. The label image lies beside it, or beside or inside of the movie.
    movies
        The movies.
    strict
        Whether to refuse edges and cells that cannot be used, instead of leaving them out with a warning.
    progress
        Told of frames.

    Raises
    ------
    UserError
        If there is no label image, or more than one; or too many edges join masks that are not there.
    """
    movie = movie_of(path, movies)
    image = _label_image(path, movie)
    check_labels(image, movie)
    cells = cells_of_labels(image, movie, progress).rename(columns={"track_id": "label"})
    numbers = table[list(_ENDS)].apply(pd.to_numeric, errors="coerce")
    index = pd.MultiIndex.from_frame(cells[["t", "label"]])
    ends = [index.get_indexer(pd.MultiIndex.from_frame(numbers[[f"{end}_frame", f"{end}_label"]])) for end in ("source", "target")]
    pairs = np.stack(ends, axis=1).astype(np.int64)
    known = (pairs >= 0).all(axis=1)
    if (~known).any():
        line = table.index[int(np.argmin(known))]
        what = f"{(~known).sum()} of {len(table)} edges join masks that are not in {Path(image.uri).name}; the first is in line {line}"
        error = UserError(what, "give the label image that was tracked", path)
        if strict or (~known).mean() >= 0.5:
            raise error
        _LOG.warning("%s", error)
    t = cells["t"].to_numpy(np.int64)
    found = tracks_of(t, ordered_links(t, pairs[known])[0])
    cells = cells.assign(track_id=found.track_id_N, parent_track_id=found.parent_track_id_N).rename_axis(index="mask")
    return Cells(checked_cells(cells, movies, path, strict=strict).table, {movie.name: image})


def _label_image(path: Path, movie: Movie) -> Movie:
    images = list(movie_labels([movie])[movie.name].values())
    if not images:
        try:
            images = [image for image, _ in label_pairs(path.parent, [movie], refused=[])]
        except UserError as error:
            raise UserError(f"there is no label image for this table of edges ({error.what})", _MASKS, path) from None
    if len(images) != 1:
        names = ", ".join(Path(image.uri).name for image in images) or "none"
        raise UserError(f"it is not clear which label image this table of edges is of: {names}", _MASKS, path)
    return images[0]
