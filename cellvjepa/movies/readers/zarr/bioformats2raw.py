"""What bioformats2raw keeps beside the images that it writes: the OME-XML of the file they come from."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from xml.etree import ElementTree

from cellvjepa.errors import UserError
from cellvjepa.movies.readers.scale import in_s, in_um, number
from cellvjepa.movies.readers.zarr.folder import LocalFolder, ZarrFolder
from cellvjepa.movies.readers.zarr.metadata import node_at
from cellvjepa.movies.readers.zarr.remote import folder_at

_XML = "METADATA.ome.xml"


@dataclass(frozen=True)
class Series:
    """What the XML says of one image: its name, those of its channels, pixel size [um], time between frames [s]; None where it does not."""

    name: str | None
    channels: tuple[str | None, ...]
    z_um: float | None
    y_um: float | None
    x_um: float | None
    interval_s: float | None


def series_of(image: ZarrFolder, steps_up: int) -> Series | None:
    """Return what is kept beside an image; None where nothing is, or nothing that can be read.

    Parameters
    ----------
    image
        Its group.
    steps_up
        How far above it the collection is: 1, or 3 in a plate.
    """
    try:
        top, path = image.parent(), image.name
        for _ in range(steps_up - 1):
            path = f"{'' if top is None else top.name}/{path}"
            top = None if top is None else top.parent()
        collection = None if top is None else node_at(top)
        if collection is None or not collection.is_series_collection:
            return None
        beside = collection.folder.child("OME")
        index = node_at(beside)
        listed = [] if index is None else index.listed("series")
        number_of_it = listed.index(path) if path in listed else int(path) if path.isdecimal() and not listed else None
        every = _all_series(beside.address, _time_of_change(beside))
    except UserError:
        return None  # the image itself is fine
    return None if number_of_it is None or number_of_it >= len(every) else every[number_of_it]


def _time_of_change(folder: ZarrFolder) -> int | None:
    try:
        return (folder.path / _XML).stat().st_mtime_ns if isinstance(folder, LocalFolder) else None
    except OSError:
        return None


@lru_cache(maxsize=4)  # it holds all images of a file, and each of them asks for it
def _all_series(folder: str, changed_ns: int | None) -> tuple[Series, ...]:
    raw = folder_at(folder).read(_XML)
    found: list[Series] = []
    name: str | None = None
    try:
        for event, element in ElementTree.iterparse(io.BytesIO(raw or b""), events=("start", "end")):
            tag = element.tag.rpartition("}")[2]
            if event == "start" and tag == "Image":
                name = element.get("Name")
            elif event == "end" and tag == "Pixels":
                found.append(_series(name, element))
            if event == "end" and tag != "Channel":  # there is an entry for each plane
                element.clear()
    except (ElementTree.ParseError, ValueError):
        return ()
    return tuple(found)


def _series(name: str | None, pixels: ElementTree.Element) -> Series:
    def length_um(axis: str) -> float | None:
        return in_um(number(pixels.get(f"PhysicalSize{axis}")), pixels.get(f"PhysicalSize{axis}Unit", "um"))

    channels = tuple(element.get("Name") for element in pixels if element.tag.rpartition("}")[2] == "Channel")
    interval_s = in_s(number(pixels.get("TimeIncrement")), pixels.get("TimeIncrementUnit", "s"))
    return Series(name, channels, length_um("Z"), length_um("Y"), length_um("X"), interval_s)
