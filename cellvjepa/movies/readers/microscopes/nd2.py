"""Nikon ND2, through the library ``nd2`` (extra ``formats``)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers.channels import distinct_names
from cellvjepa.movies.readers.given import NOTHING, Given
from cellvjepa.movies.readers.microscopes.foreign import reading, refuse_without
from cellvjepa.movies.readers.microscopes.interval import kept_interval_s
from cellvjepa.movies.readers.microscopes.nd2_frames import MAGIC, OLD_MAGIC, Nd2Planes, frame_offsets
from cellvjepa.movies.readers.microscopes.plane_pixels import PlanePixels, placed, refuse_large, refuse_short
from cellvjepa.movies.readers.remedies import COPY_AGAIN
from cellvjepa.movies.readers.scale import believed
from cellvjepa.movies.readers.several import chosen, each_of, parted
from cellvjepa.movies.readers.tiff_start import first_bytes

if TYPE_CHECKING:
    import nd2

SUFFIX = ".nd2"

_AXES = {"TimeLoop": "T", "NETimeLoop": "T", "ZStackLoop": "Z", "XYPosLoop": "P"}
_MOST_FRAMES = 2**26
_CHUNK_BYTES = 16


@dataclass(frozen=True)
class Nd2Contents:
    """What a file holds, as it says.

    Parameters
    ----------
    attributes
        Size and type of the frames.
    axes, lengths
        The loops of the recording, outermost first; P are the positions.
    positions
        Their names.
    channels
        Their names.
    um
        Pixel size in z, y, x [um]; None where it is not calibrated.
    interval_s
        Time between frames [s]; 0 where it was as short as possible, None where it is not even.
    """

    attributes: nd2.structures.Attributes
    axes: tuple[str, ...]
    lengths: tuple[int, ...]
    positions: tuple[str | None, ...]
    channels: tuple[str, ...]
    um: tuple[float | None, float | None, float | None]
    interval_s: float | None


def recognises(path: Path) -> bool:
    """Whether this is to be read as an ND2."""
    file = parted(path)[0]
    return file.name.lower().endswith(SUFFIX) and not file.is_dir()


def movies_in(path: Path) -> list[Path]:
    """Return the uris of the positions in a file.

    Raises
    ------
    UserError
        As :func:`open_nd2`.
    """
    return each_of(path, len(_read_contents(path).positions))


def open_nd2(path: Path, name: str, given: Given = NOTHING) -> Movie:
    """Open one position as a movie.

    Raises
    ------
    UserError
        If the library is not installed, or the file is empty, truncated, damaged, in colour, or not to be understood.
    """
    uri = str(path)
    file, which = parted(path)
    contents = _read_contents(file)
    which = chosen(path, which, len(contents.positions))
    with reading(str(file), "an ND2"):
        offsets = frame_offsets(file)
    frames = np.arange(math.prod(contents.lengths), dtype=np.int64).reshape(contents.lengths)
    axes = contents.axes
    if "P" in axes:
        frames = np.moveaxis(frames, axes.index("P"), 0)[which]
        axes = tuple(axis for axis in axes if axis != "P")
    there = np.isin(frames, np.fromiter(offsets, np.int64, len(offsets)))
    attributes = contents.attributes
    components, plane_px = attributes.componentCount, (attributes.heightPx, attributes.widthPx or 0)
    numbers = np.where(there[..., None], frames[..., None] * components + np.arange(components), -1)
    place = placed(numbers, (*axes, "C"), plane_px, uri, given)
    planes = _planes(str(file), attributes, place.table, offsets)
    _refuse_what_does_not_fit(planes, file)
    pixels = PlanePixels(uri, partial(reopen_pixels, uri, given), planes)
    t, c, z, *_ = pixels.shape
    interval_s = _measured_s(planes) if contents.interval_s == 0 else contents.interval_s
    scale = believed(*contents.um, interval_s, frames=t, planes=z)
    position = contents.positions[which]
    return Movie(
        uri=uri,
        name=name,
        pixels=pixels,
        channels=distinct_names(contents.channels, c),
        pixel_um=scale.pixel_um,
        interval_s=scale.interval_s,
        axes=place.arrangement.origins,
        codec="deflate" if planes.compressed else "none",
        size_bytes=math.prod(pixels.shape) * pixels.dtype.itemsize,
        problems=(*place.problems, *scale.problems),
        groups={"field": position or str(which)} if len(contents.positions) > 1 else {},
    )


def reopen_pixels(uri: str, given: Given) -> PlanePixels:
    """Open the pixels of one position again."""
    pixels = open_nd2(Path(uri), uri, given).pixels
    assert isinstance(pixels, PlanePixels)
    return pixels


def _read_contents(path: Path) -> Nd2Contents:
    refuse_without("nd2", path)
    import nd2

    where = str(path)
    start = first_bytes(path)
    if start.startswith(OLD_MAGIC):
        raise UserError("this is an ND2 of the old kind (JPEG 2000), which is not read", "save it again with NIS-Elements, or as OME-TIFF", where)
    if not start.startswith(MAGIC):
        raise UserError(f"this is not an ND2: it begins with {start[:8]!r}", "check what the file really is", where)
    frame_offsets(path)  # what is truncated is said in our words
    with reading(where, "an ND2"), nd2.ND2File(path) as file:
        attributes = file.attributes
        _refuse_attributes(attributes, path)
        loops = list(file.experiment)
        lengths = tuple(int(loop.count) for loop in loops)
        if min(lengths, default=1) < 1 or math.prod(lengths) > _MOST_FRAMES:
            raise UserError(f"the file is damaged: its loops are {' x '.join(map(str, lengths))}", COPY_AGAIN, where)
        if not loops:
            lengths = (attributes.sequenceCount,)
        channels = file.metadata.channels or []
        return Nd2Contents(
            attributes=attributes,
            axes=tuple(_AXES.get(loop.type, loop.type) for loop in loops) or ("unnamed",),
            lengths=lengths,
            positions=_positions(loops),
            channels=tuple(str(channel.channel.name) for channel in channels),
            um=_calibrated_um(channels, loops),
            interval_s=_interval_s(loops),
        )


def _refuse_attributes(attributes: nd2.structures.Attributes, path: Path) -> None:
    where = str(path)
    per_channel = attributes.componentCount // (attributes.channelCount or 1)
    if per_channel in (3, 4):
        raise UserError("this is a colour image (RGB), not a grey one", "save it in grey, one channel per image", where)
    bits = attributes.bitsPerComponentInMemory
    known = (8, 16, 32) if attributes.pixelDataType == "unsigned" else (32,)
    if bits not in known or attributes.compressionType == "lossy" or not 0 < attributes.componentCount < 1024:
        what = f"{bits} bit, {attributes.pixelDataType}, {attributes.componentCount} values per pixel, compression {attributes.compressionType}"
        raise UserError(f"its pixels are of a kind that is not read ({what})", "save it as OME-TIFF", where)
    plane_px = (attributes.heightPx, attributes.widthPx or 0)
    refuse_large(plane_px, bits // 8 * attributes.componentCount, where)
    if not 0 < attributes.sequenceCount <= _MOST_FRAMES or (attributes.widthBytes or 0) < plane_px[1] * bits // 8 * attributes.componentCount:
        raise UserError("the file is damaged: what it says about its frames does not fit together", COPY_AGAIN, where)
    refuse_large((plane_px[0], attributes.widthBytes or 0), 1, where)


def _positions(loops: list[Any]) -> tuple[str | None, ...]:
    for loop in loops:
        if loop.type == "XYPosLoop":
            points = list(loop.parameters.points)
            names = [str(point.name) if point.name else None for point in points]
            return tuple(names[i] if i < len(names) else None for i in range(int(loop.count)))
    return (None,)


def _calibrated_um(channels: list[Any], loops: list[Any]) -> tuple[float | None, float | None, float | None]:
    step = next((loop.parameters.stepUm for loop in loops if loop.type == "ZStackLoop"), None)
    z = None if step is None else abs(float(step))
    if not channels or not all(channels[0].volume.axesCalibrated[:2]):
        return z, None, None
    x, y, _ = channels[0].volume.axesCalibration
    return z, float(y), float(x)


def _interval_s(loops: list[Any]) -> float | None:
    """Return the interval of the time loop; 0 where it was as short as possible, None where its phases have different ones."""
    loop = next((loop for loop in loops if _AXES.get(loop.type) == "T"), None)
    if loop is None:
        return None
    phases = list(loop.parameters.periods) if loop.type == "NETimeLoop" else [loop.parameters]
    asked_ms = {round(float(phase.periodMs), 3) for phase in phases}
    measured_ms = [float(phase.periodDiff.avg) for phase in phases if phase.periodDiff.avg]
    return None if len(asked_ms) != 1 else kept_interval_s(asked_ms.pop() / 1000, measured_ms[0] / 1000 if measured_ms else None)


def _measured_s(planes: Nd2Planes) -> float:
    """Return the mean time between the first and the last frame; 0 where it cannot be told."""
    frames = planes.shape[0]
    try:
        return (planes.recorded_s((frames - 1, 0, 0)) - planes.recorded_s((0, 0, 0))) / (frames - 1)
    except (ValueError, OSError, ZeroDivisionError):
        return 0.0


def _planes(path: str, attributes: nd2.structures.Attributes, table: np.ndarray[Any, Any], offsets: dict[int, int]) -> Nd2Planes:
    numbers, components = np.divmod(table, attributes.componentCount)
    kind = "f" if attributes.pixelDataType == "float" else "u"
    places = np.array([offsets[int(number)] for number in numbers.flat], np.uint64)
    if (places > np.uint64(2**62)).any():
        raise UserError("the file is damaged: the map of its frames points beyond its end", COPY_AGAIN, path)
    return Nd2Planes(
        path=path,
        plane_px=(attributes.heightPx, attributes.widthPx or 0),
        stored=np.dtype(f"<{kind}{attributes.bitsPerComponentInMemory // 8}"),
        row_bytes=attributes.widthBytes or 0,
        components=attributes.componentCount,
        compressed=attributes.compressionType == "lossless",
        numbers=numbers,
        offsets=places.astype(np.int64).reshape(numbers.shape),
        channels=components,
    )


def _refuse_what_does_not_fit(planes: Nd2Planes, file: Path) -> None:
    needed = 1 if planes.compressed else planes.plane_px[0] * planes.row_bytes
    size = file.stat().st_size
    refuse_short(int(planes.offsets.max()) + _CHUNK_BYTES + needed, size, str(file))
    frames = np.unique(planes.numbers).size
    if frames * needed > size:
        raise UserError(f"the file is damaged: it claims {frames} frames of {needed:,} bytes in {size:,}", COPY_AGAIN, file)
