"""Cells from TrackMate's XML: its own file, and the simple one of "Export tracks to XML file"."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

import numpy as np
import pandas as pd

from cellvjepa.cells.lineage import ordered_links, tracks_of
from cellvjepa.cells.names import stem_of
from cellvjepa.cells.table import Cells, checked_cells, movie_of
from cellvjepa.cells.tracks import with_numbers
from cellvjepa.cells.units import in_pixels, is_length
from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie
from cellvjepa.progress import Progress

_LOG = logging.getLogger(__name__)
_BLOCK_BYTES = 2**20
_AXES = ("z", "y", "x")
_SIZES = {"z": "voxeldepth", "y": "pixelheight", "x": "pixelwidth"}
_SAVE_AGAIN = "save it again from TrackMate"


def recognises(path: Path) -> bool:
    """Whether this is an XML file; reading it tells whose."""
    return path.suffix.lower() == ".xml" and path.is_file()


def read_trackmate_xml(path: Path, movies: Sequence[Movie], strict: bool, progress: Progress) -> Cells:
    """Read the spots of visible tracks; where a track divides or merges, new tracks begin.

    TrackMate writes calibrated positions and the pixel size it used; where it did not know that, it writes pixels.

    Raises
    ------
    UserError
        If it is no such file, has no tracks, or belongs to no movie here.
    """
    found = _Found(path)
    found.parse(progress)
    movie = movie_of(path, movies, found.image_name)
    table = found.simple_table() if found.is_simple else found.table()
    unit = found.space_unit
    for axis in _AXES:
        size = found.pixel_size.get(axis)
        values = table[axis]
        pixels = values / size if size else in_pixels(values, unit, axis, movie, path)
        table = table.assign(**{f"{axis}_px": pixels})
    # A position is an index times the pixel size, so that 0 is the centre of the first pixel, as here.
    if "area" in table.columns:
        y_size, x_size = (found.pixel_size.get(axis) or (1.0 if not is_length(unit) else np.nan) for axis in ("y", "x"))
        table = table.assign(area_px=table["area"] / (y_size * x_size)).drop(columns="area")
    table = with_numbers(table.drop(columns=list(_AXES)), path, strict=strict)
    return checked_cells(table.assign(movie=movie.name), movies, path, strict=strict)


@dataclass(eq=False)
class _Found:
    """What is in the file, gathered while it is read: numbers only, never the tree."""

    path: Path
    is_simple: bool = False
    space_unit: str | None = None
    image_name: str | None = None
    pixel_size: dict[str, float] = field(default_factory=dict)
    spots: dict[str, array[float]] = field(default_factory=lambda: {name: array("d") for name in ("id", "t", "z", "y", "x", "area")})
    links: array[int] = field(default_factory=lambda: array("q"))
    link_tracks: array[int] = field(default_factory=lambda: array("q"))
    visible: set[int] = field(default_factory=set)
    _place: list[str] = field(default_factory=list)
    _track: int = -1

    def parse(self, progress: Progress) -> None:
        parser = expat.ParserCreate()
        parser.StartDoctypeDeclHandler = self._refuse_doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = lambda name: self._place.pop()
        size = self.path.stat().st_size
        try:
            with self.path.open("rb") as file:
                while block := file.read(_BLOCK_BYTES):
                    progress("reading tracks", min(file.tell(), size), size)
                    parser.Parse(block, False)
                parser.Parse(b"", True)
        except expat.ExpatError as error:
            raise UserError(f"this is no XML file, or a damaged one ({error})", _SAVE_AGAIN, self.path) from None
        except (ValueError, KeyError, OverflowError) as error:
            if isinstance(error, UserError):
                raise
            line = parser.CurrentLineNumber
            raise UserError(f"line {line} has no number where there must be one ({error})", _SAVE_AGAIN, self.path) from None

    def table(self) -> pd.DataFrame:
        """Return the spots in visible tracks, as TrackMate knows them, with our tracks."""
        spots = pd.DataFrame({name: np.array(values, np.float64) for name, values in self.spots.items()}, copy=False)
        if spots.empty:
            raise UserError("the file has no spots", "give the file that TrackMate saved after tracking", self.path)
        if spots["area"].isna().all():
            spots = spots.drop(columns="area")
        links, of = np.array(self.links, np.int64).reshape(-1, 2), np.array(self.link_tracks, np.int64)
        if self.visible:
            links = links[np.isin(of, list(self.visible))]
        if not len(links):
            remedy = "track them in TrackMate, or export its label image and give --link laptrack"
            raise UserError("the file has spots, but no tracks", remedy, self.path)
        return with_links(spots.rename_axis(index="spot"), links, self.path)

    def simple_table(self) -> pd.DataFrame:
        """Return what the simple file has: tracks without divisions."""
        spots = pd.DataFrame({name: np.array(self.spots[name], np.float64) for name in ("id", "t", "z", "y", "x")})
        if spots.empty:
            raise UserError("the file has no tracks", "give the file that TrackMate saved after tracking", self.path)
        return spots.rename(columns={"id": "track_id"}).rename_axis(index="spot")

    def _refuse_doctype(self, *_: object) -> None:
        what = "the XML defines a document type, which TrackMate never does"
        raise UserError(what, "do not use this file: it may have been tampered with", self.path)

    def _start(self, name: str, said: dict[str, str]) -> None:
        if not self._place and name not in ("TrackMate", "Tracks"):
            raise UserError(f"this XML file is not TrackMate's: it begins with {name!r:.80}", "give a file that TrackMate has saved", self.path)
        self._place.append(name)
        match name:
            case "Spot" if "ID" in said:
                position = (said.get("POSITION_Z", "0"), said["POSITION_Y"], said["POSITION_X"])
                self._spot(float(int(said["ID"])), said["FRAME"], position, said.get("AREA"))
            case "Track":
                self._track = int(said["TRACK_ID"])
            case "Edge":
                self.links.extend((int(said["SPOT_SOURCE_ID"]), int(said["SPOT_TARGET_ID"])))
                self.link_tracks.append(self._track)
            case "TrackID":
                self.visible.add(int(said["TRACK_ID"]))
            case "Model":
                self.space_unit = said.get("spatialunits")
            case "ImageData":
                self.image_name = stem_of(said.get("filename", "")) or None
                sizes = {axis: float(said[key]) for axis, key in _SIZES.items() if key in said}
                self.pixel_size = {axis: size for axis, size in sizes.items() if 0 < size < np.inf}
            case "Tracks":
                self.is_simple, self.space_unit = True, said.get("spaceUnits")
            case "particle":
                self._track += 1
            case "detection":
                self._spot(float(self._track), said["t"], (said.get("z", "0"), said["y"], said["x"]), None)

    def _spot(self, number: float, t: str, position: tuple[str, ...], area: str | None) -> None:
        values = (number, float(t), *map(float, position), np.nan if area is None else float(area))
        for column, value in zip(self.spots.values(), values, strict=True):
            column.append(value)


def with_links(spots: pd.DataFrame, links_K2: np.ndarray[tuple[int, ...], np.dtype[np.int64]], path: Path) -> pd.DataFrame:
    """Return the spots that links join, with ``track_id`` and ``parent_track_id``.

    Parameters
    ----------
    spots
        ``id`` and ``t`` [frames] of each, and anything else.
    links_K2
        ``(K, 2)`` int64: ids of two spots.
    path
        The source, for messages.

    Raises
    ------
    UserError
        If an id stands for two spots, a frame is no whole number, or no link joins two spots.
    """
    if spots["id"].duplicated().any():
        raise UserError(f"{spots['id'].duplicated().sum()} spots have the id of another one", _SAVE_AGAIN, path)
    if not (np.isfinite(spots["t"]) & (spots["t"] == np.floor(spots["t"])) & (spots["t"].abs() < 2**31)).all():
        raise UserError("some spots are in a frame that is no whole number", _SAVE_AGAIN, path)
    row = pd.Series(np.arange(len(spots)), index=spots["id"].astype(np.int64)).reindex(links_K2.ravel()).to_numpy().reshape(-1, 2)
    known = ~np.isnan(row.astype(np.float64)).any(axis=1)
    t = spots["t"].to_numpy(np.int64)
    links, within = ordered_links(t, row[known].astype(np.int64))
    lost = int((~known).sum()) + within
    if not len(links):
        raise UserError("no link joins two spots of different frames", _SAVE_AGAIN, path)
    if lost:
        _LOG.warning("%s: %d of %d links are left out: they join spots that are not there, or of the same frame", path, lost, len(links_K2))
    used, rows = np.unique(links, return_inverse=True)
    if len(used) < len(spots):
        _LOG.warning("%s: %d of %d spots are left out: they are in no track", path, len(spots) - len(used), len(spots))
    found = tracks_of(t[used], rows.reshape(-1, 2))
    if found.merged:
        _LOG.warning("%s: %d tracks merge; they begin anew there, as children of one of them", path, found.merged)
    joined = spots.iloc[used].assign(track_id=found.track_id_N, parent_track_id=found.parent_track_id_N)
    return joined.set_axis(joined["id"].astype(np.int64).rename("spot")).drop(columns="id")
