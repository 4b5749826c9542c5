"""From outlines that each frame counts anew to label images whose values are track ids, and the table that goes with them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.cells.label_frames import cells_of_labels
from cellvjepa.cells.label_images import check_labels
from cellvjepa.cells.label_writing import check_suffix, label_dtype, write_labels
from cellvjepa.cells.link import linked
from cellvjepa.cells.table import COLUMNS, Cells, checked_cells
from cellvjepa.config import LinkConfig
from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie
from cellvjepa.progress import Progress, silent
from cellvjepa.writing import atomic_path


@dataclass(frozen=True, eq=False)
class LinkedLabels:
    """Cells that were linked: the label image whose pixel values are their track ids, and the table."""

    labels: Movie
    cells: Cells


def link_labels(
    labels: Movie, movie: Movie, out: str | os.PathLike[str], config: LinkConfig | None = None, *, progress: Progress = silent
) -> LinkedLabels:
    """Link the cells of a label image with laptrack, and write the image again with track ids as pixel values.

    Parameters
    ----------
    labels
        A label image of the movie, whatever its values are: in each frame, pixels of one value are one cell.
    movie
        The movie.
    out
        ``NAME.tif`` or ``NAME.zarr``; what stands there is replaced when all is done. It must not be the labels themselves.
    config
        How far cells move, and whether they divide; None: by the defaults.
    progress
        Told of frames.

    Raises
    ------
    UserError
        If the labels do not fit the movie or hold no cell, laptrack is not installed, or the image cannot be written.
    Cancelled
        If ``progress`` says so; nothing is written then.
    """
    path = Path(os.path.abspath(out))  # noqa: PTH100 - a link keeps its name
    check_suffix(path)
    if str(path) in (labels.uri, movie.uri):
        raise UserError("this is what is to be linked", "choose another name for the linked labels", path)
    check_labels(labels, movie)
    found = cells_of_labels(labels, movie, progress).rename(columns={"track_id": "label"})
    if found.empty:
        raise UserError("the label image holds no cell: all its pixels are 0", "outline cells first", labels.uri)
    table = linked(found, config, progress=progress)
    frames = relabelled(labels, table, progress)
    image = write_labels(path, movie, frames, label_dtype(int(table["track_id"].max())))
    cells = checked_cells(table.drop(columns="label"), [movie], path)
    return LinkedLabels(image, Cells(cells.table, {movie.name: image}))


def relabelled(labels: Movie, table: pd.DataFrame, progress: Progress = silent) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the frames of a label image, Z Y X int64, with ``track_id`` in the place of ``label``.

    Parameters
    ----------
    labels
        The label image.
    table
        ``t``, ``label``, ``track_id`` of each of its cells.
    progress
        Told of frames.
    """
    ids = {int(str(t)): rows for t, rows in table.groupby("t")[["label", "track_id"]]}
    frames = labels.shape["T"]
    for t in range(frames):
        progress("writing labels", t, frames)
        yield _renamed(labels.pixels[t, 0], ids.get(t))
    progress("writing labels", frames, frames)


def _renamed(frame_ZYX: npt.NDArray[Any], rows: pd.DataFrame | None) -> npt.NDArray[np.int64]:
    if rows is None:
        return np.zeros(frame_ZYX.shape, np.int64)
    values, index = np.unique(frame_ZYX, return_inverse=True)
    known = pd.Series(rows["track_id"].to_numpy(np.int64), index=rows["label"].to_numpy(np.int64))
    return known.reindex(values.astype(np.int64), fill_value=0).to_numpy(np.int64)[index].reshape(frame_ZYX.shape)


def save_labels(labels: Movie, movie: Movie, out: str | os.PathLike[str], *, progress: Progress = silent) -> Movie:
    """Write a label image of a movie to another place or in another format, pixel by pixel.

    Parameters
    ----------
    labels
        The label image.
    movie
        The movie: size, pixel size and interval are its.
    out
        ``NAME.tif`` or ``NAME.zarr``; what stands there is replaced when all is done.
    progress
        Told of frames.

    Raises
    ------
    UserError
        If the labels do not fit the movie, hold no ids, or cannot be written.
    Cancelled
        If ``progress`` says so; nothing is written then.
    """
    path = Path(os.path.abspath(out))  # noqa: PTH100 - a link keeps its name
    check_suffix(path)
    check_labels(labels, movie)
    if str(path) in (labels.uri, movie.uri):
        raise UserError("this is the place that it is read from", "choose another name", path)

    def frames() -> Iterator[npt.NDArray[Any]]:
        for t in range(movie.shape["T"]):
            progress("writing labels", t, movie.shape["T"])
            frame = labels.pixels[t, 0]
            if frame.size and (
                frame.min() < 0 or frame.max() > np.iinfo(dtype).max or (frame.dtype.kind == "f" and (frame != np.floor(frame)).any())
            ):
                raise UserError(
                    f"frame {t} has pixel values that are no labels: negative, fractions, or too large", "check the label image", labels.uri
                )
            yield np.broadcast_to(frame, (movie.shape["Z"], *frame.shape[1:]))
        progress("writing labels", movie.shape["T"], movie.shape["T"])

    kind = labels.pixels.dtype
    dtype = np.dtype(np.uint16) if kind.kind == "u" and kind.itemsize <= 2 else np.dtype(np.uint32)
    return write_labels(path, movie, frames(), dtype)


def save_cells(cells: Cells, path: str | os.PathLike[str]) -> Path:
    """Write a table of cells as ``cells.csv``: movie, track_id, t, y_px, x_px, area_px, parent_track_id, and z_px where it is known.

    Raises
    ------
    UserError
        If it cannot be written.
    """
    table = cells.table[list(COLUMNS)]
    table = table.drop(columns=[name for name in ("z_px", "area_px") if table[name].isna().all()])
    with atomic_path(path) as part:
        table.to_csv(part, index=False, float_format="%.3f")
    return Path(path)
