"""OME-XML: which plane of an image lies on which page of which file, and what the image says about itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from cellvjepa.errors import UserError
from cellvjepa.movies.readers.microscopes.interval import kept_interval_s
from cellvjepa.movies.readers.scale import in_s, in_um, number
from cellvjepa.movies.readers.tiff.claims import Claims

_MOST_PLANES = 2**26
_LARGEST_XML = 2**29  # characters


@dataclass(frozen=True)
class Block:
    """Planes that follow each other on pages of one file (``TiffData``).

    Parameters
    ----------
    file
        The file's name, or None for the file that holds the XML.
    uuid
        Its mark, or None.
    page
        The first page.
    first
        The first plane, counted in the image's order of dimensions.
    count
        How many; None for as many as there are pages.
    """

    file: str | None
    uuid: str | None
    page: int
    first: int
    count: int | None


@dataclass(frozen=True, eq=False)
class OmeImage:
    """One image (position) of an OME-XML.

    Parameters
    ----------
    name
        As the microscope called it; may be empty.
    order
        ``"XYCZT"``: the dimensions, the fastest first.
    lengths
        Frames, channels and planes; colours of a pixel are one channel.
    plane_px
        Rows and columns.
    blocks
        Where its planes lie.
    claims
        Names and scale.
    """

    name: str
    order: str
    lengths: tuple[int, int, int]
    plane_px: tuple[int, int]
    blocks: tuple[Block, ...]
    claims: Claims

    def positions(self) -> npt.NDArray[np.int64]:
        """Return for each frame, channel and plane its number in the order of dimensions, ``(T, C, Z)``."""
        t, c, z = self.lengths
        slowest_first = [axis for axis in reversed(self.order) if axis in "TCZ"]
        of = {"T": t, "C": c, "Z": z}
        counted = np.arange(t * c * z, dtype=np.int64).reshape([of[axis] for axis in slowest_first])
        return counted.transpose([slowest_first.index(axis) for axis in "TCZ"])


@dataclass(frozen=True, eq=False)
class Ome:
    """What an OME-XML says.

    Parameters
    ----------
    uuid
        The mark of the file that holds it, or None.
    master
        The name of the file that has the rest, if this one has only its mark (``BinaryOnly``).
    images
        Its images.
    """

    uuid: str | None
    master: str | None
    images: tuple[OmeImage, ...]


def is_ome(description: str) -> bool:
    """Whether a description is OME-XML."""
    return "<OME" in description[:4096] or "<ome:OME" in description[:4096]


def parse_ome(xml: str, where: str) -> Ome:
    """Read OME-XML.

    Raises
    ------
    UserError
        If it cannot be understood.
    """
    try:
        if len(xml) > _LARGEST_XML or "<!DOCTYPE" in xml[:4096] or "<!ENTITY" in xml[:4096]:
            raise ValueError("it is no plain OME-XML")
        root = ElementTree.fromstring(xml.encode())
        master = next((e.get("MetadataFile") for e in root if local(e) == "BinaryOnly"), None)
        images = [_image(e, pixels) for e in root if local(e) == "Image" for pixels in e if local(pixels) == "Pixels"]
        return Ome(root.get("UUID"), master, tuple(images))
    except (ElementTree.ParseError, ValueError, KeyError, OverflowError, RecursionError) as error:
        raise UserError(f"its OME-XML cannot be understood ({error})", "export the movie again as OME-TIFF, or as OME-Zarr", where) from error


def _image(image: ElementTree.Element, pixels: ElementTree.Element) -> OmeImage:
    order = pixels.get("DimensionOrder", "XYCZT")
    if sorted(order) != sorted("XYCZT"):
        raise ValueError(f"the order of dimensions is {order}")
    sizes = {axis: int(pixels.attrib[f"Size{axis}"]) for axis in "TCZYX"}
    channels = [e for e in pixels if local(e) == "Channel"]
    values = int(channels[0].get("SamplesPerPixel") or 1) if channels else 1
    lengths = sizes["T"], max(1, sizes["C"] // max(1, values)), sizes["Z"]
    if min(*lengths, sizes["Y"], sizes["X"]) < 1 or math.prod(lengths) > _MOST_PLANES:
        raise ValueError(f"an image is {' x '.join(f'{axis} {sizes[axis]}' for axis in 'TCZYX')}")
    strides: dict[str, int] = {}
    step = 1
    for axis in (axis for axis in order if axis in "TCZ"):
        strides[axis] = step
        step *= lengths["TCZ".index(axis)]
    blocks = tuple(block for e in pixels if local(e) == "TiffData" if (block := _block(e, strides, lengths)) is not None)
    return OmeImage(image.get("Name", ""), order, lengths, (sizes["Y"], sizes["X"]), blocks, claims_of_ome(pixels, channels))


def _block(data: ElementTree.Element, strides: dict[str, int], lengths: tuple[int, int, int]) -> Block | None:
    first = {axis: int(data.get(f"First{axis}", 0)) for axis in "TCZ"}
    if any(not 0 <= first[axis] < length for axis, length in zip("TCZ", lengths, strict=True)):
        return None  # ImageJ writes such when a movie is cropped
    page, count = int(data.get("IFD", 0)), data.get("PlaneCount", data.get("NumPlanes"))
    uuid = next((e for e in data if local(e) == "UUID"), None)
    return Block(
        None if uuid is None else uuid.get("FileName"),
        None if uuid is None else uuid.text,
        page,
        sum(first[axis] * strides[axis] for axis in "TCZ"),
        int(count) if count is not None else 1 if "IFD" in data.attrib else None,
    )


def claims_of_ome(pixels: ElementTree.Element, channels: list[ElementTree.Element]) -> Claims:
    """Read names and scale of an image."""

    def length_um(axis: str) -> float | None:
        return in_um(number(pixels.get(f"PhysicalSize{axis}")), pixels.get(f"PhysicalSize{axis}Unit", "um"))

    interval_s = in_s(number(pixels.get("TimeIncrement")), pixels.get("TimeIncrementUnit", "s"))
    interval_s = kept_interval_s(interval_s, _median_step_s(pixels))
    names = tuple(e.get("Name") for e in channels)
    return Claims(names, length_um("Z"), length_um("Y"), length_um("X"), interval_s)


def _median_step_s(pixels: ElementTree.Element) -> float | None:
    """Return the usual distance in time of the planes of the first channel and depth."""
    times_s: dict[int, float] = {}
    for plane in pixels:
        if plane.tag.endswith("Plane") and plane.get("TheC", "0") == "0" and plane.get("TheZ", "0") == "0":
            frame, seconds = number(plane.get("TheT")), in_s(number(plane.get("DeltaT")), plane.get("DeltaTUnit", "s"))
            if frame is not None and seconds is not None and math.isfinite(frame) and math.isfinite(seconds):
                times_s[int(frame)] = seconds
    frames = sorted(times_s)
    if len(frames) < 2:
        return None
    return float(np.median(np.diff([times_s[frame] for frame in frames]) / np.diff(frames)))


def local(element: ElementTree.Element) -> str:
    """Return a tag without its namespace, which has the year of the schema in it."""
    return element.tag.rpartition("}")[2]
