"""Writing label images that the rest of the program, and others, read: TIFF or OME-Zarr 0.5, frame by frame."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cellvjepa import __version__
from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import open_movie
from cellvjepa.writing import atomic_path, readable_write_errors

TIFF = (".tif", ".tiff")
_CHUNK_PX = 512
_LARGE_TIFF = 2**31


def write_labels(path: Path, movie: Movie, frames: Iterator[npt.NDArray[Any]], dtype: npt.DTypeLike = np.uint16) -> Movie:
    """Write a label image as large as a movie; it stands at its place only when all of it is written.

    Parameters
    ----------
    path
        ``NAME.tif`` (compressed OME-TIFF) or ``NAME.zarr`` (OME-Zarr 0.5). What stands there is replaced.
    movie
        Whose labels they are: size, pixel size and interval are its.
    frames
        One array Z Y X (or Y X, where there is one plane) for each frame.
    dtype
        Of the pixels; it must hold all values.

    Returns
    -------
    Movie
        The label image, open.

    Raises
    ------
    UserError
        If the suffix is another one, or it cannot be written.
    """
    check_suffix(path)
    if path.suffix.lower() in TIFF:
        _write_tiff(path, movie, frames, np.dtype(dtype))
    else:
        with readable_write_errors(path), atomic_path(path) as part:
            array = new_array(part, movie, dtype)
            for t, frame in enumerate(frames):
                array[t, 0] = frame.astype(array.dtype, copy=False).reshape(array.shape[2:])
    return open_movie(path)


def check_suffix(path: Path) -> None:
    """Refuse what is neither TIFF nor OME-Zarr.

    Raises
    ------
    UserError
        If the name has another suffix.
    """
    if path.suffix.lower() not in (*TIFF, ".zarr"):
        raise UserError("label images are written as TIFF or OME-Zarr", f"call it {path.stem or 'labels'}.tif or {path.stem or 'labels'}.zarr", path)


def label_dtype(largest: int) -> np.dtype[Any]:
    """Return the smallest of uint16 and uint32 that holds a value."""
    return np.dtype(np.uint16 if largest < 2**16 else np.uint32)


def new_array(folder: Path, movie: Movie, dtype: npt.DTypeLike) -> Any:
    """Make an OME-Zarr label image in which all pixels are 0, and return its array, T C Z Y X; chunks that nobody writes take no space.

    Parameters
    ----------
    folder
        Of the image, which must not exist yet.
    movie
        Whose labels they are.
    dtype
        Of the pixels.
    """
    import zarr

    t, _, z, y, x = movie.pixels.shape
    group = zarr.create_group(folder, zarr_format=3)
    array = group.create_array(
        "0",
        shape=(t, 1, z, y, x),
        chunks=(1, 1, 1, min(_CHUNK_PX, y), min(_CHUNK_PX, x)),
        dtype=np.dtype(dtype).name,
        dimension_names=list("tczyx"),
        fill_value=0,
        config={"write_empty_chunks": True},  # a store without any chunk looks like one that was not copied whole
    )
    group.attrs.update({"ome": _ome(folder.name, movie), "cellvjepa": {"version": __version__, "source": movie.name}})
    return array


def _ome(name: str, movie: Movie) -> dict[str, Any]:
    size, interval_s = movie.pixel_um, movie.interval_s
    units = ({"t": "second"} if interval_s else {}) | (dict.fromkeys("yx", "micrometer") if size else {})
    units |= {"z": "micrometer"} if size and size.z else {}
    kinds = {"t": "time", "c": "channel"}
    axes = [{"name": axis, "type": kinds.get(axis, "space")} | ({"unit": units[axis]} if axis in units else {}) for axis in "tczyx"]
    scale = [interval_s or 1.0, 1.0, (size and size.z) or 1.0, size.y if size else 1.0, size.x if size else 1.0]
    datasets = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}]
    multiscale = {"name": name.removesuffix(".zarr"), "axes": axes, "datasets": datasets}
    return {"version": "0.5", "multiscales": [multiscale], "image-label": {"version": "0.5"}}


def _write_tiff(path: Path, movie: Movie, frames: Iterator[npt.NDArray[Any]], dtype: np.dtype[Any]) -> None:
    import tifffile

    t, _, z, y, x = movie.pixels.shape
    size = movie.pixel_um
    about: dict[str, Any] = {"axes": "TZYX" if z > 1 else "TYX"}
    about |= {"PhysicalSizeX": size.x, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": size.y, "PhysicalSizeYUnit": "µm"} if size else {}
    about |= {"PhysicalSizeZ": size.z, "PhysicalSizeZUnit": "µm"} if size and size.z and z > 1 else {}
    about |= {"TimeIncrement": movie.interval_s, "TimeIncrementUnit": "s"} if movie.interval_s else {}
    planes = (plane.astype(dtype, copy=False) for frame in frames for plane in (frame if frame.ndim == 3 else frame[None]))
    with atomic_path(path) as part:
        shape = (t, z, y, x) if z > 1 else (t, y, x)
        large = t * z * y * x * dtype.itemsize > _LARGE_TIFF
        tifffile.imwrite(
            part, planes, shape=shape, dtype=dtype, ome=True, bigtiff=large, compression="zlib", photometric="minisblack", metadata=about
        )
        next(frames, None)  # what comes after the last frame: that the progress is told


def is_ours(folder: Path) -> bool:
    """Whether a folder is a label image that :func:`new_array` made."""
    try:
        attributes = json.loads((folder / "zarr.json").read_text(encoding="utf-8"))["attributes"]
        return "image-label" in attributes["ome"] and "cellvjepa" in attributes
    except (OSError, ValueError, KeyError, TypeError):
        return False
