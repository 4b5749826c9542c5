"""Between the two worlds: what cellvjepa calls movies and cells, napari calls layers (embeddings: ``points.py``).

A layer's axes are T [Z] Y X: the depth axis is there where a movie has more than one plane. Space is in um and time in s where
the movie says so, else in pixels and frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from napari.layers import Labels, Tracks

import cellvjepa
from napari_cellvjepa.layers.cell_sources import CellSource, LabelImage, Places, Tracked
from napari_cellvjepa.layers.layer_pixels import LayerPixels
from napari_cellvjepa.layers.seen import SeenPixels

LayerData: TypeAlias = tuple[Any, dict[str, Any], str]

MOVIE_KEY = "cellvjepa_movie"  # in a layer's metadata: the Movie it shows
CHANNEL_KEY = "cellvjepa_channel"
LABEL_IMAGE_KEY = "cellvjepa_label_image"  # the path of the label image it shows
CELLS_KEY = "cellvjepa_cells"  # the path of the table whose tracks it shows

_TRANSMITTED = ("phase", "bright", "bf", "dic", "trans", "qpi")
_FLUORESCENT = ("green", "magenta", "cyan", "yellow", "red", "blue")


@dataclass(frozen=True)
class Space:
    """Where pixels lie in napari's world.

    Parameters
    ----------
    scale, translate
        Of the axes T [Z] Y X.
    units
        Names of units as napari writes them, e.g. ``"second"``, ``"micrometer"``, ``"pixel"``.
    """

    scale: tuple[float, ...]
    translate: tuple[float, ...]
    units: tuple[str, ...]

    @classmethod
    def of_movie(cls, movie: cellvjepa.Movie) -> Space:
        """Return the space of a movie."""
        size, interval_s = movie.pixel_um, movie.interval_s
        scale = [interval_s or 1.0, size.y if size else 1.0, size.x if size else 1.0]
        units = ["second" if interval_s else "pixel", *["micrometer" if size else "pixel"] * 2]
        if movie.shape["Z"] > 1:
            # A stack whose step is unknown is drawn with cubic voxels rather than flat.
            scale.insert(1, (size.z or size.x) if size else 1.0)
            units.insert(1, units[1])
        return cls(tuple(scale), (0.0,) * len(scale), tuple(units))

    @classmethod
    def of_layer(cls, layer: Any) -> Space:
        """Return the space of an image layer."""
        return cls(tuple(map(float, layer.scale)), tuple(map(float, layer.translate)), tuple(str(unit) for unit in layer.units))

    @property
    def axes(self) -> tuple[str, ...]:
        """Labels of the axes."""
        return ("t", "z", "y", "x") if len(self.scale) == 4 else ("t", "y", "x")

    def settings(self) -> dict[str, Any]:
        """Return what napari's layers take."""
        return {"scale": self.scale, "translate": self.translate, "units": self.units, "axis_labels": self.axes}


def image_layers(movie: cellvjepa.Movie, ahead: int | None = None) -> list[LayerData]:
    """Return one image layer per channel; pixels are read when they are looked at, of a pyramid those that the zoom asks for.

    Parameters
    ----------
    movie
        With measured levels: they are the limits of contrast.
    ahead
        A frame that is read at once, so that the window need not wait for it (in another thread).
    """
    assert movie.levels is not None, movie.uri
    copies = [movie, *(replace(movie, pixels=copy.pixels) for copy in movie.pyramid)]
    levels_TCZYX = [_looked_at(copy, ahead if copy is copies[-1] else None) for copy in copies]
    several = len(movie.channels) > 1
    fluorescent = iter(_FLUORESCENT * len(movie.channels))
    layers: list[LayerData] = []
    for c, channel in enumerate(movie.channels):
        gray = not several or channel.lower().startswith(_TRANSMITTED)
        settings = {
            "name": f"{movie.name} [{channel}]" if several else movie.name,
            "colormap": "gray" if gray else next(fluorescent),
            "blending": "translucent" if not c else "additive",
            "contrast_limits": tuple(movie.levels[c].tolist()),
            "metadata": {MOVIE_KEY: movie, CHANNEL_KEY: channel},
            **Space.of_movie(movie).settings(),
        }
        levels = [_plain_axes(level_TCZYX, c, movie) for level_TCZYX in levels_TCZYX]
        layers.append((levels[0], settings, "image") if len(levels) == 1 else (levels, {**settings, "multiscale": True}, "image"))
    return layers


def labels_layer(labels: cellvjepa.Movie, movie: cellvjepa.Movie) -> LayerData:
    """Return a label image that belongs to a movie as a Labels layer."""
    pixels = _plain_axes(_looked_at(labels), 0, movie)
    metadata = {MOVIE_KEY: movie, LABEL_IMAGE_KEY: labels.uri}
    settings = {"name": f"{movie.name} cells", "opacity": 0.35, "visible": False, "metadata": metadata, **Space.of_movie(movie).settings()}
    return pixels, settings, "labels"


def tracks_layer(cells: cellvjepa.Cells, movie: cellvjepa.Movie, path: str | None = None) -> LayerData:
    """Return the cells of a movie as a Tracks layer with their lineage; ``path`` is the file they are from."""
    table = cells.of(movie.name).table
    space = Space.of_movie(movie)
    positions = [table["t"], *([table["z_px"].fillna((movie.shape["Z"] - 1) / 2)] if len(space.scale) == 4 else []), table["y_px"], table["x_px"]]
    data = np.column_stack([table["track_id"], *positions]).astype(np.float64)
    born = table.drop_duplicates("track_id")
    known = set(born["track_id"])
    graph = {int(i): [int(p)] for i, p in zip(born["track_id"], born["parent_track_id"], strict=True) if p in known}
    settings = {
        "name": f"{movie.name} tracks",
        "graph": graph,
        "tail_length": 12,
        "tail_width": 2,
        "blending": "translucent",
        "metadata": {MOVIE_KEY: movie, **({CELLS_KEY: path} if path else {})},
        **space.settings(),
    }
    return data, settings, "tracks"


@dataclass(frozen=True, eq=False)
class Shown:
    """What an image layer shows.

    Parameters
    ----------
    movie
        The whole movie, with all its channels where the layer was opened by this plugin.
    channel
        The one that the layer shows.
    space
        Where the layer lies.
    """

    movie: cellvjepa.Movie
    channel: str
    space: Space


def shown_by(layer: Any) -> Shown:
    """Return the movie behind an image layer, whoever made the layer.

    Raises
    ------
    UserError
        If its axes cannot be T [Z] Y X.
    """
    movie = layer.metadata.get(MOVIE_KEY)
    if isinstance(movie, cellvjepa.Movie) and tuple(_array_of(layer).shape) == _plain_shape(movie):
        return Shown(movie, str(layer.metadata[CHANNEL_KEY]), Space.of_layer(layer))
    return Shown(_movie_of_array(layer), layer.name, Space.of_layer(layer))


def shown_quietly(layer: Any | None) -> Shown | None:
    """Return the movie behind an image layer; None for no layer, and for one that cannot be a movie."""
    try:
        return None if layer is None else shown_by(layer)
    except cellvjepa.UserError:
        return None


def described(shown: Shown) -> str:
    """Say in two lines what a movie is: frames, size, units."""
    movie = shown.movie
    t, c, z, y, x = movie.pixels.shape
    size = movie.pixel_um
    frames = f"{t} frames" + (f", every {_duration(movie.interval_s)}" if movie.interval_s else "")
    more = (f", {z} planes" if z > 1 else "") + (f", {c} channels" if c > 1 else "")
    return f"{frames}\n{y} x {x} px" + (f" of {size.y:.3g} µm" if size else "") + more


def cells_from(layer: Any, shown: Shown) -> CellSource | None:
    """Return what a Labels, Tracks or Points layer says about where the cells of an image are; None for no layer.

    Positions are those that napari shows, whatever scale and place the layer has; label images belong to the image pixel by pixel.

    Raises
    ------
    UserError
        If the layer has other axes than the image.
    """
    if layer is None:
        return None
    if isinstance(layer, Labels):
        return LabelImage(_movie_of_array(layer))
    name = f"the layer '{layer.name}'"
    positions = _in_pixels(layer, shown.space)
    columns = dict(zip(("t", "y_px", "x_px"), positions.T[[0, -2, -1]], strict=True))
    track_id = layer.data[:, 0] if isinstance(layer, Tracks) else layer.features.get("track_id")
    if track_id is None:
        return Places(pd.DataFrame(columns), name)
    table = pd.DataFrame({**columns, "t": np.rint(columns["t"]).astype(np.int64), "track_id": np.asarray(track_id).astype(np.int64)})
    if positions.shape[1] == 4:
        table["z_px"] = positions[:, 1]
    return Tracked(table, name)


def _movie_of_array(layer: Any) -> cellvjepa.Movie:
    """Return a movie of one channel made of the pixels of any image or label layer."""
    where = f"the layer '{layer.name}'"
    if getattr(layer, "rgb", False):
        raise cellvjepa.UserError("this is a colour (RGB) image", "split it into channels and choose one of them", where)
    data = _array_of(layer)
    if data.ndim not in (3, 4):
        raise cellvjepa.UserError(f"a movie has the axes t, y, x or t, z, y, x, but this has {data.ndim}", "choose another layer", where)
    pixels = LayerPixels(data)
    return cellvjepa.Movie(
        uri=where,
        name=layer.name,
        pixels=pixels,
        channels=(layer.name,),
        pixel_um=_pixel_um(layer),
        interval_s=_in_unit(layer, 0, "s"),
        axes=dict.fromkeys(("T", "C", "Z", "Y", "X"), "given"),
        codec="none",
        size_bytes=math.prod(pixels.shape) * pixels.dtype.itemsize,
    )


def _array_of(layer: Any) -> Any:
    return layer.data[0] if getattr(layer, "multiscale", False) else layer.data


def _in_pixels(layer: Any, space: Space) -> npt.NDArray[np.float64]:
    """Return the positions T [Z] Y X of a Points or Tracks layer in the pixels of an image."""
    positions = np.asarray(layer.data, np.float64)[:, isinstance(layer, Tracks) :]
    if positions.shape[1] != len(space.scale):
        raise cellvjepa.UserError(
            f"its positions have {positions.shape[1]} axes and those of the image are {', '.join(space.axes)}",
            "choose a layer that belongs to this image",
            f"the layer '{layer.name}'",
        )
    return np.asarray((positions * layer.scale + layer.translate - space.translate) / space.scale, np.float64)


def _duration(seconds: float) -> str:
    return f"{seconds:g} s" if seconds < 120 else f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


def _looked_at(movie: cellvjepa.Movie, ahead: int | None = None) -> Any:
    seen = SeenPixels(movie.pixels, movie.name)
    array_TCZYX = cellvjepa.lazy_array(replace(movie, pixels=seen))
    if ahead is not None:
        seen.read_ahead(array_TCZYX.chunks, min(ahead, movie.shape["T"] - 1))
    return array_TCZYX


def _plain_axes(pixels_TCZYX: Any, channel: int, movie: cellvjepa.Movie) -> Any:
    """Return T [Z] Y X: a coarser copy keeps its depth axis where the movie has one, however few planes are left."""
    return pixels_TCZYX[:, channel] if movie.shape["Z"] > 1 else pixels_TCZYX[:, channel, 0]


def _plain_shape(movie: cellvjepa.Movie) -> tuple[int, ...]:
    t, _, z, y, x = movie.pixels.shape
    return (t, z, y, x) if z > 1 else (t, y, x)


def _pixel_um(layer: Any) -> cellvjepa.PixelSize | None:
    y, x = _in_unit(layer, -2, "um"), _in_unit(layer, -1, "um")
    z = _in_unit(layer, -3, "um") if layer.ndim == 4 else None
    return cellvjepa.PixelSize(z, y, x) if y and x else None


def _in_unit(layer: Any, axis: int, unit: str) -> float | None:
    """Return a layer's scale along an axis in a unit, or None where it is in pixels."""
    own = layer.units[axis]
    return float((layer.scale[axis] * own).to(unit).magnitude) if own.is_compatible_with(unit) else None
