"""Maps as OME-Zarr 0.5 images: one number or several for each token of a movie, at the place and with the scale of what it shows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import zarr

from cellvjepa import __version__
from cellvjepa.embedding.layout import quiet_zarr
from cellvjepa.embedding.tiles import Tiling
from cellvjepa.errors import UserError
from cellvjepa.model.grid import Grid
from cellvjepa.movies.clip_shape import ClipShape, sampling
from cellvjepa.movies.movie import Movie
from cellvjepa.writing import atomic_path

_CHUNK_NUMBERS, _CHUNK_TOKENS = 128, 256


class Steps(Protocol):
    """A map on disk, T C Z Y X, that is written step by step."""

    def __setitem__(self, step: int, values_CZYX: npt.NDArray[Any], /) -> None: ...


class _Limits:
    """Writes a map and takes note of the least and the largest number of each channel, between which it is shown."""

    def __init__(self, array: Any) -> None:
        self._array = array
        self._low, self._high = (np.full(array.shape[1], end) for end in (np.inf, -np.inf))

    def __setitem__(self, step: int, values_CZYX: npt.NDArray[Any], /) -> None:
        self._array[step] = values_CZYX
        # Not nanmin, which warns of channels without any number.
        self._low = np.fmin(self._low, np.fmin.reduce(values_CZYX.reshape(len(self._low), -1), axis=1))
        self._high = np.fmax(self._high, np.fmax.reduce(values_CZYX.reshape(len(self._high), -1), axis=1))

    def __iter__(self) -> Iterator[tuple[float, float]]:
        for low, high in zip(self._low.tolist(), self._high.tolist(), strict=True):
            yield (low, high) if low < high else (0.0, 1.0)


@dataclass(frozen=True)
class Place:
    """How a map lies upon its movie: distance between tokens along t, z, y, x, and where the first one is centred.

    In seconds and micrometres where the movie has them, else in native frames and pixels.
    """

    grid: Grid
    step: tuple[float, float, float, float]
    centre: tuple[float, float, float, float]
    units: Mapping[str, str]


def place_of(movie: Movie, shape: ClipShape, tiling: Tiling) -> Place:
    """Return how the map of a movie lies upon it."""
    size, interval_s = movie.pixel_um, movie.interval_s
    z0 = sampling(movie, shape).z0
    native = (interval_s or 1.0, (size and size.z) or 1.0, size.y if size else 1.0, size.x if size else 1.0)
    # A map of a projection stands for all planes, and is shown at the first of them.
    extent = (tiling.frames_per_token, tiling.planes_per_token, *tiling.pitch_px)
    first = (0.0, float(z0), 0.0, 0.0)
    step = tuple(unit * count for unit, count in zip(native, extent, strict=True))
    centre = tuple(unit * (start + (count - 1) / 2) for unit, start, count in zip(native, first, extent, strict=True))
    units = ({"t": "second"} if interval_s else {}) | (dict.fromkeys("yx", "micrometer") if size else {})
    return Place(tiling.grid, _four(step), _four(centre), units | ({"z": "micrometer"} if size and size.z else {}))


@contextmanager
def new_map(path: Path, place: Place, names: tuple[str, ...], dtype: str, about: Mapping[str, Any], colours: tuple[str, ...] = ()) -> Iterator[Steps]:
    """Write an OME-Zarr image with one channel per name; it takes its place when all is written.

    Parameters
    ----------
    path
        Where the image will stand.
    dtype
        Of the numbers: ``"float16"``, ``"float32"`` or ``"uint8"``.
    about
        How it was made, values as JSON has them: what :func:`map_is_there` compares.
    colours
        Of the channels, if they are to be shown together.

    Raises
    ------
    UserError
        If it cannot be written.
    """
    grid = place.grid
    with atomic_path(path) as part, quiet_zarr():
        group = zarr.create_group(part, zarr_format=3)
        array = group.create_array(
            "0",
            shape=(grid.t, len(names), grid.z, grid.y, grid.x),
            chunks=(1, min(_CHUNK_NUMBERS, len(names)), 1, min(_CHUNK_TOKENS, grid.y), min(_CHUNK_TOKENS, grid.x)),
            dtype=dtype,
            dimension_names=list("tczyx"),
            fill_value=0,
        )
        steps = _Limits(array)
        yield steps
        limits = [(0.0, 255.0)] * len(names) if colours else list(steps)
        group.attrs.update({"ome": _ome(path.name.removesuffix(".zarr"), place, names, limits, colours), "cellvjepa": _described(about)})


def open_map(path: Path) -> zarr.Array[Any]:
    """Open the map of an image that :func:`new_map` wrote, T C Z Y X; read when it is sliced.

    Raises
    ------
    UserError
        If it is not there, or not whole.
    """
    try:
        return zarr.open_array(path / "0", mode="r", zarr_format=3)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"the map cannot be read ({type(error).__name__}: {error})", "remove it and make it again", path) from None


def map_is_there(path: Path, about: Mapping[str, Any]) -> bool:
    """Tell whether this very map has been made already.

    Raises
    ------
    UserError
        If something else is at its place; what differs is named.
    """
    if not path.exists():
        return False
    try:
        stored = json.loads((path / "zarr.json").read_text(encoding="utf-8"))["attributes"]["cellvjepa"]["made"]
        known = dict(stored)
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError("something is here that is no map of cellvjepa", "choose another --out", path) from None
    wanted = _described(about)["made"]
    differing = [f"{name} is {known.get(name)} there and {value} now" for name, value in wanted.items() if known.get(name) != value]
    if differing:
        raise UserError(f"there is a map made in another way ({'; '.join(differing)})", "choose another --out, or remove the old map", path)
    return True


def map_folder(out: Path, movie: Movie) -> Path:
    """Return the folder of a movie's maps, below ``out`` whatever the movie is called."""
    parts = [re.sub(r"[^\w.+ -]", "_", part) for part in PurePosixPath(movie.name.replace("\\", "/")).parts]
    return out.joinpath(*(part if part.strip(". ") else "_" for part in parts))


def _ome(name: str, place: Place, names: Sequence[str], limits: Sequence[tuple[float, float]], colours: Sequence[str]) -> dict[str, Any]:
    kinds = {"t": "time", "c": "channel"}
    axes = [{"name": axis, "type": kinds.get(axis, "space")} | ({"unit": place.units[axis]} if axis in place.units else {}) for axis in "tczyx"]
    scale, translation = ([values[0], one, *values[1:]] for values, one in ((place.step, 1.0), (place.centre, 0.0)))
    transformations = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": translation}]
    multiscale = {"name": name, "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": transformations}]}
    channels = []
    for index, (label, (low, high)) in enumerate(zip(names, limits, strict=True)):
        window = {"min": low, "max": high, "start": low, "end": high}
        # Of many numbers that are not colours only the first is shown until the user asks for others.
        shown = {"color": colours[index] if colours else "FFFFFF", "active": bool(colours) or index == 0}
        channels.append({"label": label, **shown, "window": window})
    return {"version": "0.5", "multiscales": [multiscale], "omero": {"channels": channels}}


def _described(about: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps(dict(about)))
    return {"version": __version__, "made": made}


def _four(values: tuple[float, ...]) -> tuple[float, float, float, float]:
    t, z, y, x = values
    return t, z, y, x
