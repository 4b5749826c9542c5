"""Leica LIF, through the library ``liffile`` (extra ``formats``): a file of many images, each bare in a block of its own."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers.channels import distinct_names
from cellvjepa.movies.readers.given import NOTHING, Given
from cellvjepa.movies.readers.microscopes.foreign import reading, refuse_without
from cellvjepa.movies.readers.microscopes.plane_pixels import BarePlanes, PlanePixels, placed, refuse_large, refuse_short
from cellvjepa.movies.readers.remedies import COPY_AGAIN
from cellvjepa.movies.readers.scale import believed, in_s, in_um, number
from cellvjepa.movies.readers.several import chosen, each_of, parted
from cellvjepa.movies.readers.tiff_start import first_bytes

if TYPE_CHECKING:
    import liffile

SUFFIX = ".lif"

_MAGIC = b"\x70\x00\x00\x00"
_OUR_AXES = {"T": "4", "Z": "3", "Y": "2", "X": "1"}  # what Leica numbers them
_WAVELENGTHS = ("λ", "Λ")
_STAGE = "M"  # the positions of an image that was taken at several
_MOST_POSITIONS = 2**16

logging.getLogger("liffile").addHandler(logging.NullHandler())  # else it would write to the terminal


@dataclass(frozen=True)
class LifContents:
    """One image, and one position of it.

    Parameters
    ----------
    sizes
        Lengths of the axes by name, in the order in which they are stored.
    dtype
        The type of its pixels.
    offset, size_bytes
        Where its block starts, and how long it is [bytes].
    element
        What the file says about it.
    position
        Which position, where it has several.
    path
        Its name, with the names of the collections that it is in.
    """

    sizes: Mapping[str, int]
    dtype: np.dtype[Any]
    offset: int
    size_bytes: int
    element: ElementTree.Element
    position: int
    path: str

    @property
    def strides(self) -> dict[str, int]:
        """Return how many bytes lie between two steps along each axis."""
        found = {}
        stride = self.dtype.itemsize
        for axis in reversed(list(self.sizes)):
            found[axis] = stride
            stride *= self.sizes[axis]
        return found


def recognises(path: Path) -> bool:
    """Whether this is to be read as a LIF."""
    file = parted(path)[0]
    return file.name.lower().endswith(SUFFIX) and not file.is_dir()


def movies_in(path: Path) -> list[Path]:
    """Return the uris of the images in a file.

    Raises
    ------
    UserError
        As :func:`open_lif`.
    """
    with _opened(path) as file:
        return each_of(path, len(_places(file, path)))


def open_lif(path: Path, name: str, given: Given = NOTHING) -> Movie:
    """Open one image as a movie.

    Raises
    ------
    UserError
        If the library is not installed, or the file is empty, truncated, damaged, in colour, or not to be understood.
    """
    uri = str(path)
    file, which = parted(path)
    contents, several = _read_contents(path, file, which)
    sizes, strides = contents.sizes, contents.strides
    leading = [axis for axis in sizes if axis not in ("Y", "X", _STAGE)]
    place = placed(_starts(contents, leading), _named(leading, sizes), (sizes["Y"], sizes["X"]), uri, given)
    planes = BarePlanes(
        paths=(str(file),),
        plane_px=(sizes["Y"], sizes["X"]),
        stored=contents.dtype,
        strides=(strides["Y"], strides["X"]),
        files=np.zeros_like(place.table),
        offsets=place.table,
    )
    pixels = PlanePixels(uri, partial(reopen_pixels, uri, given), planes)
    t, c, z, *_ = pixels.shape
    z_um, y_um, x_um = (_step_um(contents.element, axis) for axis in "ZYX")
    scale = believed(z_um, y_um, x_um, _interval_s(contents.element), frames=t, planes=z)
    field = contents.path + (f" {contents.position}" if sizes.get(_STAGE, 1) > 1 else "")
    return Movie(
        uri=uri,
        name=name,
        pixels=pixels,
        channels=distinct_names(_channel_names(contents.element), c),
        pixel_um=scale.pixel_um,
        interval_s=scale.interval_s,
        axes=place.arrangement.origins,
        codec="none",
        size_bytes=math.prod(pixels.shape) * pixels.dtype.itemsize,
        problems=(*place.problems, *scale.problems),
        groups={"field": field} if several else {},
    )


def reopen_pixels(uri: str, given: Given) -> PlanePixels:
    """Open the pixels of one image again."""
    pixels = open_lif(Path(uri), uri, given).pixels
    assert isinstance(pixels, PlanePixels)
    return pixels


def _opened(path: Path) -> liffile.LifFile:
    refuse_without("liffile", path)
    import liffile

    start = first_bytes(path)
    if not start.startswith(_MAGIC):
        raise UserError(f"this is not a LIF: it begins with {start[:8]!r}", "check what the file really is", path)
    characters = int.from_bytes(start[9:13], "little")
    refuse_short(13 + 2 * characters, path.stat().st_size, str(path))
    with reading(str(path), "a LIF"):
        return liffile.LifFile(path, squeeze=False)


def _read_contents(path: Path, file: Path, which: int | None) -> tuple[LifContents, bool]:
    where = str(file)
    with _opened(file) as opened:
        places = _places(opened, file)
        image, position = places[chosen(path, which, len(places))]
        with reading(where, "a LIF"):
            if not hasattr(image, "frames") or image.is_flim:
                raise UserError(f"{image.path} holds lifetimes, not an image", "export its intensity as OME-TIFF", where)
            contents = LifContents(
                image.sizes, image.dtype, image.memory_block.offset, image.memory_block.size, image.xml_element, position, image.path
            )
    _refuse_what_does_not_fit(contents, file)
    return contents, len(places) > 1


def _places(file: liffile.LifFile, path: Path) -> list[tuple[liffile.LifImageABC, int]]:
    """Return the images of a file, once for each position that they were taken at."""
    with reading(str(path), "a LIF"):
        if file.type is not type(file.type).LIF:
            raise UserError(f"this is no LIF but of the kind {file.type.name}", "export it as LIF or OME-TIFF", path)
        places = [(image, position) for image in file.images for position in range(_positions_of(image))]
    if not places:
        raise UserError("the file holds no image", COPY_AGAIN, path)
    return places


def _positions_of(image: liffile.LifImageABC) -> int:
    try:
        return min(max(1, int(image.sizes.get(_STAGE, 1))), _MOST_POSITIONS)
    except Exception:  # opening that image says what is wrong with it
        return 1


def _refuse_what_does_not_fit(contents: LifContents, file: Path) -> None:
    where, sizes = str(file), contents.sizes
    if sizes.get("S", 1) > 1:
        raise UserError(f"{contents.path} is a colour image (RGB), not a grey one", "save it in grey, one channel per image", where)
    if "Y" not in sizes or "X" not in sizes:
        raise UserError(f"{contents.path} has no image plane: its axes are {' '.join(sizes)}", "export it with the axes Y and X", where)
    refuse_large((sizes["Y"], sizes["X"]), contents.dtype.itemsize, where)
    if min(sizes.values()) < 1 or contents.dtype.itemsize > 4:
        raise UserError(f"{contents.path} is not to be understood ({dict(sizes)}, {contents.dtype})", COPY_AGAIN, where)
    needed = math.prod(sizes.values()) * contents.dtype.itemsize
    if needed > contents.size_bytes or contents.offset < 0:
        raise UserError(f"{contents.path} needs {needed:,} bytes, but its block has {contents.size_bytes:,}", COPY_AGAIN, where)
    refuse_short(contents.offset + needed, file.stat().st_size, where)


def _starts(contents: LifContents, leading: list[str]) -> npt.NDArray[np.int64]:
    """Return where each plane starts [byte], along the axes before Y and X."""
    strides = contents.strides
    starts = np.array(contents.offset + contents.position * strides.get(_STAGE, 0), np.int64)
    for axis in leading:
        starts = starts[..., None] + np.arange(contents.sizes[axis], dtype=np.int64) * strides[axis]
    return starts


def _named(leading: list[str], sizes: Mapping[str, int]) -> list[str]:
    """Name wavelengths channels, where there are no others."""
    channels = [axis for axis in leading if axis.startswith("C") and sizes[axis] > 1]
    if not channels:
        channels = [axis for axis in leading if axis in _WAVELENGTHS and sizes[axis] > 1]
    return ["C" if len(channels) == 1 and axis == channels[0] else axis if axis in "TZ" else f"unnamed {axis}" for axis in leading]


def _dimension(element: ElementTree.Element, axis: str) -> tuple[float | None, str | None]:
    """Return the distance of two steps along an axis, and its unit."""
    for found in element.findall("./Data/Image/ImageDescription/Dimensions/DimensionDescription"):
        length, steps = number(found.get("Length")), number(found.get("NumberOfElements"))
        if found.get("DimID") == _OUR_AXES[axis] and length is not None and steps is not None and steps > 1:
            return abs(length) / (steps - 1), found.get("Unit")
    return None, None


def _step_um(element: ElementTree.Element, axis: str) -> float | None:
    return in_um(*_dimension(element, axis))


def _interval_s(element: ElementTree.Element) -> float | None:
    return in_s(*_dimension(element, "T"))


def _channel_names(element: ElementTree.Element) -> list[str | None]:
    """Return the dyes, or the colours that channels are shown in."""
    described = element.findall("./Data/Image/ImageDescription/Channels/ChannelDescription")
    names: list[str | None] = []
    for channel in sorted(described, key=lambda found: number(found.get("BytesInc")) or 0.0):
        properties = {found.findtext("Key"): found.findtext("Value") for found in channel.findall("./ChannelProperty")}
        names.append(properties.get("DyeName") or channel.get("LUTName"))
    return names
