"""What the Masks dock has done in another thread. It knows nothing of windows and layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cellvjepa
from napari_cellvjepa.masks.files import step_file, table_of


@dataclass(frozen=True, eq=False)
class Made:
    """What a step made.

    Parameters
    ----------
    kind
        One of :data:`napari_cellvjepa.masks.files.KINDS`.
    canvas
        The label image.
    cells
        The tracks in it, where its values are track ids, and ``table``, the file that they stand in.
    note
        What people should know, in a sentence.
    settings
        What was set in the form.
    """

    kind: str
    canvas: cellvjepa.LabelCanvas
    cells: cellvjepa.Cells | None
    table: Path | None
    note: str
    settings: Mapping[str, Any] = field(default_factory=dict)


def new_labels(movie: cellvjepa.Movie, folder: Path, progress: cellvjepa.Progress) -> Made:
    """Make an empty label image to paint.

    Raises
    ------
    UserError
        If it cannot be written.
    """
    progress("making an empty label image", 0, 0)
    canvas = cellvjepa.new_canvas(step_file(folder, movie, "painted"), movie)
    return Made("painted", canvas, None, None, f"Paint: every stroke is saved in {canvas.path}.")


def import_labels(source: Path, movie: cellvjepa.Movie, folder: Path, progress: cellvjepa.Progress) -> Made:
    """Copy label images from a file or folder, checked against the movie; tracks come along where the values are track ids.

    Raises
    ------
    UserError
        If they cannot be read, hold no cells, or do not fit the movie.
    """
    cells = cellvjepa.read_cells(source, cellvjepa.Archive(str(Path(movie.uri).parent), (movie,), ()), link="done", progress=progress)
    if movie.name not in cells.labels:
        raise cellvjepa.UserError("there are no label images here, only tracks", "open it with Cells in the Embed dock, or give label images", source)
    path = step_file(folder, movie, "imported")
    cellvjepa.save_labels(cells.labels[movie.name], movie, path, progress=progress)
    said = None if "label" in cells.table.columns else cellvjepa.why_unlinked(cells.table)
    found = f"{len(cells.table):,} outlines of {source.name} are imported"
    canvas = cellvjepa.LabelCanvas(path)
    if said is not None:
        return Made("imported", canvas, None, None, f"{found}. They are not linked from frame to frame yet: {said}. Link them.")
    if "label" in cells.table.columns and (cells.table["label"] != cells.table["track_id"]).any():
        return Made("imported", canvas, None, None, f"{found}. Their values are not those of the tracks: link them.")
    table = cellvjepa.save_cells(cells, table_of(path))
    return Made("imported", canvas, cells, table, f"{found}, {cells.table['track_id'].nunique():,} tracks.")


def segment(movie: cellvjepa.Movie, channel: str | None, config: Any, folder: Path, progress: cellvjepa.Progress) -> Made:
    """Outline the cells of all frames.

    Raises
    ------
    UserError, Cancelled
        As :func:`cellvjepa.segment`.
    """
    path = step_file(folder, movie, "segmented")
    cellvjepa.segment(movie, path, config, channel, progress=progress)
    note = "Each frame counts its cells from 1 on. Look through, mend by painting, then link."
    return Made("segmented", cellvjepa.LabelCanvas(path), None, None, note, config.model_dump())


def link(labels: cellvjepa.Movie, movie: cellvjepa.Movie, config: Any, folder: Path, progress: cellvjepa.Progress) -> Made:
    """Link the cells of a label image from frame to frame.

    Raises
    ------
    UserError, Cancelled
        As :func:`cellvjepa.link_labels`.
    """
    path = step_file(folder, movie, "linked")
    found = cellvjepa.link_labels(labels, movie, path, config, progress=progress)
    table = cellvjepa.save_cells(found.cells, table_of(path))
    born = found.cells.table.drop_duplicates("track_id")
    mothers = born.loc[born["parent_track_id"] >= 0, "parent_track_id"].nunique()
    divisions = f", {mothers:,} divisions" if config.divisions else ""
    note = f"{len(found.cells.table):,} outlines are {len(born):,} tracks{divisions}. The Embed dock takes them; Save keeps them beside the movie."
    return Made("linked", cellvjepa.LabelCanvas(path), found.cells, table, note, config.model_dump())


@dataclass(frozen=True, eq=False)
class Saved:
    """Files that were written: a label image, and the table of its cells if its values are track ids."""

    labels: Path
    table: Path | None
    note: str


def save(labels: cellvjepa.Movie, movie: cellvjepa.Movie, path: Path, parents: Any | None, progress: cellvjepa.Progress) -> Saved:
    """Write a label image, and the table of its cells if its values are track ids.

    Parameters
    ----------
    labels
        The label image, as it is now.
    movie
        The movie.
    path
        ``NAME.tif`` or ``NAME.zarr``.
    parents
        Mothers that are known: ``parent_track_id`` by ``track_id``.

    Raises
    ------
    UserError, Cancelled
        As :func:`cellvjepa.save_labels`.
    """
    cellvjepa.save_labels(labels, movie, path, progress=progress)
    try:
        cells = cellvjepa.cells_in_labels(labels, movie, progress=progress)
    except cellvjepa.UserError as error:
        return Saved(path, None, f"{path} is written. There is no table of tracks: {error.what}.")
    if parents is not None:
        known = cells.table["track_id"].map(parents).fillna(-1).astype("int64")
        there = known.isin(cells.table["track_id"])
        cells = cellvjepa.Cells(cells.table.assign(parent_track_id=known.where(there, -1)), cells.labels)
    table = cellvjepa.save_cells(cells, table_of(path))
    return Saved(path, table, f"{path} and {table.name} are written: {cells.table['track_id'].nunique():,} tracks.")


def words_of_segment(movie: cellvjepa.Movie, channel: str | None, config: Any, folder: Path) -> Sequence[str]:
    """Return the command that outlines the cells of all frames.

    Raises
    ------
    UserError
        If the movie is no file.
    """
    chosen = ["--channel", channel] if channel is not None else []
    return ["cellvjepa", "segment", file_of(movie), "--out", str(step_file(folder, movie, "segmented")), *chosen, *_settings(segment=config)]


def words_of_link(labels: cellvjepa.Movie, movie: cellvjepa.Movie, config: Any, folder: Path) -> Sequence[str]:
    """Return the command that links the cells of a label image.

    Raises
    ------
    UserError
        If the movie or the label image is no file.
    """
    out = step_file(folder, movie, "linked")
    return ["cellvjepa", "link", file_of(movie), "--labels", file_of(labels), "--out", str(out), *_settings(link=config)]


def file_of(movie: cellvjepa.Movie) -> str:
    """Return the path of a movie.

    Raises
    ------
    UserError
        If it is an array in memory.
    """
    if "://" not in movie.uri and not Path(movie.uri).exists():
        raise cellvjepa.UserError("this is no file, so that no command could read it", "save it as TIFF or OME-Zarr and open that", movie.uri)
    return movie.uri


def _settings(**section: Any) -> list[str]:
    base = cellvjepa.Config()
    return [word for override in cellvjepa.overrides_for(base.model_copy(update=section), base) for word in ("--set", override)]
