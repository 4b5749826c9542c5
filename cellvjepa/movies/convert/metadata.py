"""What a converted store says about itself: OME-Zarr 0.5, and below ``cellvjepa`` where it comes from and what was assumed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cellvjepa import __version__
from cellvjepa.movies.convert.image import ImagePlan, Part
from cellvjepa.movies.convert.layout import Level
from cellvjepa.movies.convert.shard import codecs_of
from cellvjepa.movies.movie import Movie

OME_VERSION = "0.5"

_COLOURS = (
    (r"dapi|hoechst|blue|bfp|405", "0000FF"),
    (r"gfp|fitc|green|488|venus|yfp", "00FF00"),
    (r"rfp|mcherry|tritc|red|cy3|561|594|tdtomato", "FF0000"),
    (r"cy5|far.?red|640|647|irfp", "FF00FF"),
)
_OTHER_COLOURS = ("FFFFFF", "00FF00", "FF00FF", "00FFFF", "FFFF00", "FF0000", "0000FF")


def array_metadata(level: Level, dtype: np.dtype[Any]) -> dict[str, Any]:
    """Return the ``zarr.json`` of the array of one resolution."""
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(level.shape),
        "data_type": dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(level.shard)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0 if dtype.kind in "ui" else 0.0,
        "codecs": codecs_of(level, dtype.itemsize),
        "attributes": {},
        "dimension_names": ["t", "c", "z", "y", "x"],
        "storage_transformers": [],
    }


def group_metadata(ome: Mapping[str, Any] | None = None, ours: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the ``zarr.json`` of a group.

    Parameters
    ----------
    ome
        What OME-Zarr knows: ``multiscales``, ``plate``, ``labels``, ...
    ours
        What only cellvjepa knows.
    """
    attributes: dict[str, Any] = {} if ome is None else {"ome": {"version": OME_VERSION, **ome}}
    if ours is not None:
        attributes["cellvjepa"] = dict(ours)
    return {"zarr_format": 3, "node_type": "group", "attributes": attributes}


def image_metadata(image: ImagePlan, movie: Movie) -> dict[str, Any]:
    """Return the ``zarr.json`` of the group of an image.

    Parameters
    ----------
    image
        What was converted.
    movie
        The same movie with its levels.
    """
    ome = {"multiscales": [_multiscale(image.parts[0], movie, "mean of 2 x 2 pixels")], "omero": {"channels": _channels(movie)}}
    ours = {
        "version": __version__,
        "source": movie.name,
        "axes": dict(movie.axes),
        "groups": dict(movie.groups),
        "problems": [problem.what for problem in movie.problems],
    }
    return group_metadata(ome, ours)


def label_metadata(part: Part, movie: Movie) -> dict[str, Any]:
    """Return the ``zarr.json`` of the group of a label image.

    Parameters
    ----------
    part
        The label image.
    movie
        Whose labels they are; pixel size and interval are its.
    """
    ome = {"multiscales": [_multiscale(part, movie, "one of 2 x 2 pixels")], "image-label": {"source": {"image": "../../"}}}
    return group_metadata(ome, {"version": __version__, "source": part.movie.name})


def plate_metadata(name: str, wells: Mapping[tuple[str, str], Sequence[str]]) -> dict[str, Any]:
    """Return the ``zarr.json`` of a plate.

    Parameters
    ----------
    name
        Of the plate.
    wells
        The fields of each well, by row and column.
    """
    rows, columns = (list(dict.fromkeys(well[axis] for well in wells)) for axis in (0, 1))
    described = [{"path": f"{r}/{c}", "rowIndex": rows.index(r), "columnIndex": columns.index(c)} for r, c in wells]
    plate = {
        "name": name,
        "rows": [{"name": row} for row in rows],
        "columns": [{"name": column} for column in columns],
        "wells": described,
        "field_count": max(len(fields) for fields in wells.values()),
    }
    return group_metadata({"plate": plate})


def well_metadata(fields: Sequence[str]) -> dict[str, Any]:
    """Return the ``zarr.json`` of a well."""
    return group_metadata({"well": {"images": [{"path": field} for field in fields]}})


def _multiscale(part: Part, movie: Movie, how: str) -> dict[str, Any]:
    size = movie.pixel_um
    units = {
        "t": None if movie.interval_s is None else "second",
        "z": None if size is None or size.z is None else "micrometer",
        "y": None if size is None else "micrometer",
        "x": None if size is None else "micrometer",
    }
    kinds = {"t": "time", "c": "channel"}
    axes = [{"name": axis, "type": kinds.get(axis, "space")} | ({"unit": unit} if (unit := units.get(axis)) else {}) for axis in "tczyx"]
    steps = (movie.interval_s or 1.0, 1.0, (size and size.z) or 1.0, 1.0 if size is None else size.y, 1.0 if size is None else size.x)
    datasets = [{"path": str(k), "coordinateTransformations": _transformations(steps, 2**k)} for k in range(len(part.layout.levels))]
    return {"name": part.folder.rpartition("/")[2] or movie.name, "axes": axes, "datasets": datasets, "type": how}


def _transformations(steps: tuple[float, ...], factor: int) -> list[dict[str, Any]]:
    """Return where a level lies: its first pixel is centred on those it stands for, half of them away from the first of them."""
    t, c, z, y, x = steps
    scale: dict[str, Any] = {"type": "scale", "scale": [t, c, z, y * factor, x * factor]}
    if factor == 1:
        return [scale]
    return [scale, {"type": "translation", "translation": [0.0, 0.0, 0.0, y * (factor - 1) / 2, x * (factor - 1) / 2]}]


def _channels(movie: Movie) -> list[dict[str, Any]]:
    assert movie.levels is not None
    dtype = movie.pixels.dtype
    described = []
    for index, (name, (low, high)) in enumerate(zip(movie.channels, movie.levels.tolist(), strict=True)):
        ends = (float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)) if dtype.kind in "ui" else (low, high)
        window = {"min": ends[0], "max": ends[1], "start": low, "end": high}
        described.append({"label": name, "color": _colour(name, index, len(movie.channels)), "active": True, "window": window})
    return described


def _colour(name: str, index: int, count: int) -> str:
    if count == 1:
        return "FFFFFF"
    found = next((colour for pattern, colour in _COLOURS if re.search(pattern, name, re.IGNORECASE)), None)
    return found or _OTHER_COLOURS[index % len(_OTHER_COLOURS)]
