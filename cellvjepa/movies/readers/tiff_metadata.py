"""What TIFFs say about themselves: names of channels, pixel size, interval. Nothing here is believed yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile

from cellvjepa.movies.readers.scale import in_s, in_um, number


@dataclass(frozen=True)
class Claims:
    """What a file claims: names of channels, pixel size [um] and time between frames [s]; None where it says nothing."""

    channels: tuple[str | None, ...] = ()
    z_um: float | None = None
    y_um: float | None = None
    x_um: float | None = None
    interval_s: float | None = None


def claims_of(file: tifffile.TiffFile, series_index: int) -> Claims:
    """Read the claims of an OME-TIFF, an ImageJ TIFF or a MetaMorph STK about one of its series."""
    if file.is_ome and file.ome_metadata:
        return _of_ome(file.ome_metadata, series_index)
    if file.is_imagej and file.imagej_metadata:
        return _of_imagej(file.imagej_metadata, file.pages.first)
    if file.is_stk and file.stk_metadata:
        return _of_metamorph(file.stk_metadata)
    # The resolution of a plain TIFF is a printer's, usually 72 dpi.
    return Claims()


def companions_of(file: tifffile.TiffFile) -> tuple[str, ...]:
    """Return the names of other files that an OME-TIFF says it belongs together with."""
    if not (file.is_ome and file.ome_metadata):
        return ()
    root = _parsed(file.ome_metadata)
    if root is None:
        return ()
    blocks = [element for element in root.iter() if _local(element) == "UUID"]
    own = root.get("UUID") or next((b.text for b in blocks if b.get("FileName", "").lower() == file.filename.lower()), None)
    others = {b.text: b.get("FileName", "?") for b in blocks if b.text != own}
    # A file that was renamed names its former self, and only that.
    return tuple(sorted(set(others.values()))) if len(others) > 1 or (others and own is not None) else ()


def _of_ome(xml: str, series_index: int) -> Claims:
    root = _parsed(xml)
    images = [] if root is None else [e for e in root.iter() if _local(e) == "Pixels"]
    if series_index >= len(images):
        return Claims()
    pixels = images[series_index]

    def length_um(axis: str) -> float | None:
        return in_um(number(pixels.get(f"PhysicalSize{axis}")), pixels.get(f"PhysicalSize{axis}Unit", "um"))

    interval_s = in_s(number(pixels.get("TimeIncrement")), pixels.get("TimeIncrementUnit", "s"))
    if interval_s is None:
        interval_s = _median_step_s(pixels)
    channels = tuple(e.get("Name") for e in pixels if _local(e) == "Channel")
    return Claims(channels, length_um("Z"), length_um("Y"), length_um("X"), interval_s)


def _median_step_s(pixels: ElementTree.Element) -> float | None:
    """Return the usual distance in time of the planes of the first channel and depth."""
    times_s: dict[int, float] = {}
    for plane in pixels:
        if _local(plane) == "Plane" and plane.get("TheC", "0") == "0" and plane.get("TheZ", "0") == "0":
            frame, seconds = number(plane.get("TheT")), in_s(number(plane.get("DeltaT")), plane.get("DeltaTUnit", "s"))
            if frame is not None and seconds is not None and np.isfinite([frame, seconds]).all():
                times_s[int(frame)] = seconds
    frames = sorted(times_s)
    if len(frames) < 2:
        return None
    return float(np.median(np.diff([times_s[frame] for frame in frames]) / np.diff(frames)))


def _of_imagej(metadata: dict[str, Any], page: tifffile.TiffPage) -> Claims:
    unit = metadata.get("unit")
    unit = unit if isinstance(unit, str) else None

    def length_um(tag: str) -> float | None:
        value = page.tags.valueof(tag)
        if not (isinstance(value, tuple) and len(value) == 2 and value[0]):
            return None
        return in_um(value[1] / value[0], unit)

    interval_s = in_s(number(metadata.get("finterval")), str(metadata.get("tunit", "s")))
    return Claims((), in_um(number(metadata.get("spacing")), unit), length_um("YResolution"), length_um("XResolution"), interval_s)


def _of_metamorph(metadata: dict[str, Any]) -> Claims:
    unit = metadata.get("CalibrationUnits")
    if not metadata.get("SpatialCalibration") or not isinstance(unit, str):
        return Claims()
    return Claims((), None, in_um(number(metadata.get("YCalibration")), unit), in_um(number(metadata.get("XCalibration")), unit), None)


def _parsed(xml: str) -> ElementTree.Element | None:
    try:
        return ElementTree.fromstring(xml)
    except (ElementTree.ParseError, ValueError):
        return None


def _local(element: ElementTree.Element) -> str:
    """Return a tag without its namespace, which has the year of the schema in it."""
    return element.tag.rpartition("}")[2]
