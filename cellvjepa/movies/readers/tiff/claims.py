"""What TIFFs say about themselves: names of channels, pixel size, interval. Nothing here is believed yet."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tifffile

from cellvjepa.movies.readers.scale import in_s, in_um, number
from cellvjepa.movies.readers.tiff.ifd import Page, TagFile

_X_RESOLUTION, _Y_RESOLUTION = 282, 283
_INCUCYTE = 60020  # a private tag with XML, on the last page
_SPACING = re.compile(rb"<FullResPixelSpacing>\s*([0-9.]+)\s*([^<\s]+)\s*<")
_NIKON = (65332, 65333)  # private tags with XML
_NIKON_NUMBER = re.compile(rb'<(dCalibration|dPeriod|dAvgPeriodDiff)\b[^>]*\bvalue="([0-9.eE+-]+)"')
_LARGEST_XML = 2**22


@dataclass(frozen=True)
class Claims:
    """What a file claims: names of channels, pixel size [um] and time between frames [s]; None where it says nothing."""

    channels: tuple[str | None, ...] = ()
    z_um: float | None = None
    y_um: float | None = None
    x_um: float | None = None
    interval_s: float | None = None


def claims_of_imagej(file: TagFile, page: Page, description: str) -> Claims:
    """Read the claims of an ImageJ TIFF."""
    metadata = tifffile.tifffile.imagej_description_metadata(description)
    unit = metadata.get("unit")
    unit = unit if isinstance(unit, str) else None

    def length_um(tag: int) -> float | None:
        value = file.values(page, tag)
        if value is None or value.size != 2 or not value[0]:
            return None
        return in_um(float(value[1]) / float(value[0]), unit)

    interval_s = in_s(number(metadata.get("finterval")), str(metadata.get("tunit", "s")))  # not "fps": that is how fast it is played
    return Claims((), in_um(number(metadata.get("spacing")), unit), length_um(_Y_RESOLUTION), length_um(_X_RESOLUTION), interval_s)


def claims_of_incucyte(file: TagFile, pages: Sequence[Page]) -> Claims:
    """Read the pixel size of an IncuCyte export. Its DateTime is the time of export, hours after the recording; it is no interval."""
    for page in pages:
        tags = page.tags[page.tags["code"] == _INCUCYTE]
        if len(tags) and tags["count"][0] <= _LARGEST_XML:
            found = _SPACING.search(np.asarray(file.values(page, _INCUCYTE)).tobytes())
            if found:
                size_um = in_um(number(found[1].decode("ascii")), found[2].decode("utf-8" if b"\xc2" in found[2] else "latin-1", "replace"))
                return Claims((), None, size_um, size_um, None)
    return Claims()


def claims_of_nikon(file: TagFile, page: Page) -> Claims:
    """Read pixel size [um] and period [ms] of an export of NIS-Elements."""
    found: dict[bytes, float] = {}
    for code in _NIKON:
        tags = page.tags[page.tags["code"] == code]
        if len(tags) and tags["count"][0] <= _LARGEST_XML:
            for name, text in _NIKON_NUMBER.findall(np.asarray(file.values(page, code)).tobytes().replace(b"\0", b"")):
                value = number(text.decode("ascii"))
                if value is not None and value > 0:
                    found.setdefault(name, value)
    size_um, period_ms = found.get(b"dCalibration"), found.get(b"dAvgPeriodDiff", found.get(b"dPeriod"))
    return Claims((), None, size_um, size_um, None if period_ms is None else period_ms / 1e3)
