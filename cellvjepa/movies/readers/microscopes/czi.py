"""Zeiss CZI: scenes of tiles."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie, Problem, Shape5
from cellvjepa.movies.readers.channels import distinct_names
from cellvjepa.movies.readers.given import NOTHING, Given
from cellvjepa.movies.readers.microscopes.czi_segments import CziContents, Tile, read_czi, read_tile
from cellvjepa.movies.readers.microscopes.foreign import reading
from cellvjepa.movies.readers.microscopes.interval import kept_interval_s
from cellvjepa.movies.readers.microscopes.mapped_file import MappedFile
from cellvjepa.movies.readers.microscopes.plane_pixels import Place, PlanePixels, placed, refuse_large
from cellvjepa.movies.readers.remedies import COPY_AGAIN
from cellvjepa.movies.readers.scale import believed, number
from cellvjepa.movies.readers.several import chosen, each_of, parted
from cellvjepa.movies.readers.tiff_start import first_bytes

SUFFIX = ".czi"

_MAGIC = b"ZISRAWFILE"
_NOT_OF_PLANES = ("X", "Y", "M", "S")  # M numbers the tiles of a plane, S the scenes
_EMPTIEST = 64  # a plane with more empty pixels than this per pixel of a tile is not believed
_MOST_SPARSE = 64


@dataclass(frozen=True, eq=False)
class CziPlanes:
    """:class:`~cellvjepa.movies.readers.microscopes.plane_pixels.Planes` of one scene.

    Parameters
    ----------
    path
        The file.
    corner_px, plane_px
        Where the scene starts in the file's coordinates, and its rows and columns.
    tiles
        For each plane its tiles, later ones on top.
    table
        ``(T, C, Z)`` int64: the index of each plane.
    """

    path: str
    corner_px: tuple[int, int]
    plane_px: tuple[int, int]
    tiles: list[list[Tile]]
    table: npt.NDArray[np.int64]

    @property
    def shape(self) -> Shape5:
        """Return the lengths of T, C, Z, Y, X."""
        t, c, z = self.table.shape
        return t, c, z, *self.plane_px

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the native type, in the byte order of this machine."""
        return self.tiles[0][0].dtype.newbyteorder("=")

    @property
    def chunks(self) -> Shape5:
        """Return the size of a tile; 1 everywhere where nothing has to be decoded."""
        first = self.tiles[0][0]
        return (1, 1, 1, 1, 1) if first.codec == "none" else (1, 1, 1, *first.size_px)

    def read(self, places: Sequence[Place], rows: slice, columns: slice) -> Iterator[npt.NDArray[Any]]:
        """Yield the same part of planes; what no tile covers is 0."""
        mapped = MappedFile(self.path)
        for place in places:
            part = np.zeros((rows.stop - rows.start, columns.stop - columns.start), self.dtype)
            for tile in self.tiles[int(self.table[place])]:
                y, x = tile.starts["Y"] - self.corner_px[0] - rows.start, tile.starts["X"] - self.corner_px[1] - columns.start
                top, bottom = max(0, y), min(part.shape[0], y + tile.size_px[0])
                left, right = max(0, x), min(part.shape[1], x + tile.size_px[1])
                if top < bottom and left < right:
                    part[top:bottom, left:right] = read_tile(mapped, tile, slice(top - y, bottom - y, 1), slice(left - x, right - x, 1))
            yield part[:: rows.step, :: columns.step]


def recognises(path: Path) -> bool:
    """Whether this is to be read as a CZI."""
    file = parted(path)[0]
    return file.name.lower().endswith(SUFFIX) and not file.is_dir()


def movies_in(path: Path) -> list[Path]:
    """Return the uris of the scenes in a file.

    Raises
    ------
    UserError
        As :func:`open_czi`.
    """
    return each_of(path, len(_scenes(_read_contents(path))))


def open_czi(path: Path, name: str, given: Given = NOTHING) -> Movie:
    """Open one scene as a movie.

    Raises
    ------
    UserError
        If the file is empty, truncated, damaged, in colour, or not to be understood.
    """
    uri = str(path)
    file, which = parted(path)
    contents = _read_contents(file)
    scenes = _scenes(contents)
    scene = list(scenes)[chosen(path, which, len(scenes))]
    tiles = scenes[scene]
    axes, numbers, planes = _planes_of(tiles, file)
    corner_px = (min(t.starts["Y"] for t in tiles), min(t.starts["X"] for t in tiles))
    plane_px = (
        max(t.starts["Y"] + t.size_px[0] for t in tiles) - corner_px[0],
        max(t.starts["X"] + t.size_px[1] for t in tiles) - corner_px[1],
    )
    covered = max(sum(math.prod(t.size_px) for t in plane) for plane in planes)
    refuse_large(plane_px, tiles[0].dtype.itemsize, str(file))
    if math.prod(plane_px) > _EMPTIEST * covered:
        raise UserError(f"the file is damaged: its tiles lie in a plane of {plane_px[0]:,} x {plane_px[1]:,} pixels", COPY_AGAIN, file)
    place = placed(numbers, axes, plane_px, uri, given)
    pixels = PlanePixels(uri, partial(reopen_pixels, uri, given), CziPlanes(str(file), corner_px, plane_px, planes, place.table))
    t, c, z, *_ = pixels.shape
    described = _parsed(contents.xml)
    z_um, y_um, x_um = (_distance_um(described, axis) for axis in "ZYX")
    scale = believed(z_um, y_um, x_um, _interval_s(described, contents.times_s), frames=t, planes=z)
    gaps = (Problem("its tiles leave parts of the plane empty: there the pixels are 0", "export a rectangle without gaps"),)
    return Movie(
        uri=uri,
        name=name,
        pixels=pixels,
        channels=distinct_names(_channel_names(described), c),
        pixel_um=scale.pixel_um,
        interval_s=scale.interval_s,
        axes=place.arrangement.origins,
        codec=tiles[0].codec,
        size_bytes=math.prod(pixels.shape) * pixels.dtype.itemsize,
        problems=(*place.problems, *(gaps if covered < math.prod(plane_px) else ()), *scale.problems),
        groups={"field": _scene_name(described, scene)} if len(scenes) > 1 else {},
    )


def reopen_pixels(uri: str, given: Given) -> PlanePixels:
    """Open the pixels of one scene again."""
    pixels = open_czi(Path(uri), uri, given).pixels
    assert isinstance(pixels, PlanePixels)
    return pixels


def _read_contents(path: Path) -> CziContents:
    start = first_bytes(path)
    if not start.startswith(_MAGIC):
        raise UserError(f"this is not a CZI: it begins with {start[:8]!r}", "check what the file really is", path)
    with reading(str(path), "a CZI"):
        return read_czi(path)


def _scenes(contents: CziContents) -> dict[int, list[Tile]]:
    """Return the tiles of full resolution of each scene."""
    found: dict[int, list[Tile]] = defaultdict(list)
    for tile in contents.tiles:
        if tile.is_full:
            found[tile.starts.get("S", 0)].append(tile)
    return dict(sorted(found.items())) or {0: []}


def _planes_of(tiles: list[Tile], file: Path) -> tuple[list[str], npt.NDArray[np.int64], list[list[Tile]]]:
    """Return the axes before Y and X, the index of each plane along them (-1: missing or incomplete), and its tiles."""
    if not tiles:
        raise UserError("the file holds no image of full resolution", COPY_AGAIN, file)
    kinds = {(tile.kind, tile.codec) for tile in tiles}
    if len({kind for kind, _ in kinds}) > 1:
        raise UserError("its channels are of different types", "save each channel as a file of its own, or all as 16 bit", file)
    axes = sorted({axis for tile in tiles for axis in tile.starts if axis not in _NOT_OF_PLANES})
    values = [sorted({tile.starts.get(axis, 0) for tile in tiles}) for axis in axes]
    for index, axis in enumerate(axes):
        found = values[index]
        if axis == "T" and found[-1] - found[0] < _MOST_SPARSE * len(found):
            values[index] = list(range(found[0], found[-1] + 1))  # a frame that is missing is noticed
    if math.prod(map(len, values)) > _MOST_SPARSE * (len(tiles) + _MOST_SPARSE):
        raise UserError("the file is damaged: most of the planes that it should hold are not there", COPY_AGAIN, file)
    where = [{value: index for index, value in enumerate(found)} for found in values]
    by_place: dict[tuple[int, ...], list[Tile]] = defaultdict(list)
    for tile in tiles:
        by_place[tuple(at[tile.starts.get(axis, 0)] for axis, at in zip(axes, where, strict=True))].append(tile)
    complete = max(map(len, by_place.values()))
    numbers = np.full([len(found) for found in values], -1, np.int64)
    planes: list[list[Tile]] = []
    for place, pieces in by_place.items():
        if len(pieces) == complete:
            numbers[place] = len(planes)
            planes.append(sorted(pieces, key=lambda tile: tile.starts.get("M", 0)))
    names = [axis if axis in "TCZ" else f"unnamed {axis}" for axis in axes]
    return names, numbers, planes


def _parsed(xml: bytes) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(xml)
    except (ElementTree.ParseError, ValueError):
        return ElementTree.Element("nothing")


def _distance_um(described: ElementTree.Element, axis: str) -> float | None:
    value = number(described.findtext(f"./Metadata/Scaling/Items/Distance[@Id='{axis}']/Value"))
    return None if value is None else value * 1e6


def _interval_s(described: ElementTree.Element, times_s: tuple[float, ...]) -> float | None:
    asked_s = number(described.findtext("./Metadata/Information/Image/Dimensions/T/Positions/Interval/Increment"))
    steps_s = np.diff(times_s)
    return kept_interval_s(asked_s, float(np.median(steps_s)) if steps_s.size else None)


def _channel_names(described: ElementTree.Element) -> list[str | None]:
    return [
        channel.get("Name") or channel.findtext("Fluor") for channel in described.findall("./Metadata/Information/Image/Dimensions/Channels/Channel")
    ]


def _scene_name(described: ElementTree.Element, scene: int) -> str:
    for found in described.findall("./Metadata/Information/Image/Dimensions/S/Scenes/Scene"):
        if found.get("Index") == str(scene) and found.get("Name"):
            return str(found.get("Name"))
    return str(scene)
