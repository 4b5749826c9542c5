"""Opening a series of files as a movie."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie, Origin, Problem
from cellvjepa.movies.readers.axes import Arrangement, arrange
from cellvjepa.movies.readers.channels import distinct_names
from cellvjepa.movies.readers.given import NOTHING, Given
from cellvjepa.movies.readers.scale import believed
from cellvjepa.movies.readers.series.file_series import Series
from cellvjepa.movies.readers.series.series_contents import SeriesContents, contents_of
from cellvjepa.movies.readers.series.series_folder import series_at
from cellvjepa.movies.readers.series.series_headers import Headers
from cellvjepa.movies.readers.series.series_pixels import FrameKind, SeriesPixels
from cellvjepa.movies.readers.series.series_places import Places, channel_names, place
from cellvjepa.movies.readers.tiff import tiff
from cellvjepa.movies.readers.tiff.tiff import TiffContents


def open_series(series: Series, name: str, given: Given = NOTHING) -> Movie:
    """Open a series of files as a movie.

    Raises
    ------
    UserError
        If two files are for the same place, a file cannot be read, or the files of a channel are not alike.
    """
    uri = series.uri
    found = contents_of(series, place(series))
    places, frame = found.places, found.frames[0]
    arrangement = _arrangement(frame, series, given)
    one_TCZ = arrangement.to_tczyx(np.arange(frame.number, dtype=np.int64).reshape(*frame.lengths, 1, 1))[..., 0, 0]
    table = _table(places, one_TCZ)
    kinds = tuple(FrameKind.of(one) for one in found.frames)
    dtype = np.result_type(*(kind.dtype for kind in kinds))
    if len(kinds) == 1 and table.shape[1] > 1:  # the channels are in the files
        kinds = kinds * table.shape[1]
    segments = [one.planes.segment_px for one in found.frames if one.codec != "none" or one.planes.segment_px != one.planes.plane_px]
    files = tuple(os.path.join(series.folder, path) for path in series.paths)  # noqa: PTH118 - 100,000 of them
    pixels = SeriesPixels(uri, partial(reopen_pixels, uri, given), files, table, kinds, dtype, segments[0] if segments else None, Headers(len(files)))
    frames, channels, planes, *_ = pixels.shape
    claims = frame.claims
    interval_s = float(places.step) if places.are_s and places.step else claims.interval_s
    scale = believed(claims.z_um, claims.y_um, claims.x_um, interval_s, frames=frames, planes=planes)
    promoted = _promoted(places, kinds, dtype) if len(set(kinds)) > 1 else ()
    return Movie(
        uri=uri,
        name=name,
        pixels=pixels,
        channels=distinct_names(_channel_claims(found, channels), channels),
        pixel_um=scale.pixel_um,
        interval_s=scale.interval_s,
        axes=arrangement.origins,
        codec=frame.codec,
        size_bytes=math.prod(pixels.shape) * pixels.dtype.itemsize,
        problems=(
            *frame.problems,
            *series.assumed,
            *_how_read(series, are_all_seen=found.are_all_seen),
            *arrangement.problems,
            *found.problems,
            *found.places.problems,
            *promoted,
            *scale.problems,
        ),
        groups=series.groups,
    )


def open_frames(path: Path, name: str, given: Given = NOTHING) -> Movie:
    """Open a folder of frames, or a pattern of frames, as a movie.

    Raises
    ------
    UserError
        As :func:`open_series`, and if there is no series, or more than one.
    """
    found = series_at(str(path), given)
    return tiff.open_tiff(found, name, given) if isinstance(found, Path) else open_series(found, name, given)


def reopen_pixels(uri: str, given: Given) -> SeriesPixels:
    """Open the pixels of a series again."""
    pixels = open_frames(Path(uri), uri, given).pixels
    assert isinstance(pixels, SeriesPixels)
    return pixels


def _how_read(series: Series, *, are_all_seen: bool) -> tuple[Problem, ...]:
    """Say which pattern was found, and that not every file was looked into; nothing about plain frames that were."""
    is_plain = set(series.pattern.meanings) <= {"t", "time"} and "/" not in series.pattern.text and "*" not in series.pattern.text
    if are_all_seen and (is_plain or series.assumed or series.axes_given):
        return ()
    what = f'the files are read as "{series.pattern.text}"'
    if not are_all_seen:
        what += "; a few were looked into, the others are when they are read"
    remedy = "nothing to do: what is damaged is left out then" if series.axes_given else "if that is not what the names mean, say it with --pattern"
    return (Problem(what, remedy),)


def _channel_claims(found: SeriesContents, channels: int) -> tuple[str | None, ...]:
    """Return what the channels are called: in the files if each says it of its own channel, else in the names."""
    if found.places.channels == ("",):
        return found.frames[0].claims.channels
    said = [frame.claims.channels[0] if len(frame.claims.channels) == 1 else None for frame in found.frames]
    named = channel_names(found.places.channels)
    return tuple(said) if all(said) and len(set(said)) == channels else named


def _promoted(places: Places, kinds: tuple[FrameKind, ...], dtype: np.dtype[np.generic]) -> tuple[Problem, ...]:
    types = {channel: kind.dtype for channel, kind in zip(places.channels, kinds, strict=True)}
    if len(set(types.values())) == 1:
        return ()
    shown = ", ".join(f"{channel} {one.name}" for channel, one in types.items())
    return (
        Problem(f"the channels are of different types ({shown}) and are read as {dtype.name}", "nothing to do: each channel is scaled by itself"),
    )


def _length(contents: TiffContents, axis: str) -> int:
    return contents.lengths[contents.names.index(axis)] if axis in contents.names else 1


def _arrangement(frame: TiffContents, series: Series, given: Given) -> Arrangement:
    """Find among the planes of a file those axes that the names do not give."""
    meanings = series.pattern.meanings
    outside = {axis for axis, words in (("T", ("t", "time")), ("C", ("channel",)), ("Z", ("z",))) if set(words) & set(meanings)}
    said = None if given.axes is None else "".join(axis for axis in given.axes if axis not in outside)
    names = frame.names
    problems: list[Problem] = []
    origins: dict[str, Origin] = {}
    unexplained = [name for name, length in zip(names, frame.lengths, strict=True) if name not in "TCZ" and length > 1]
    if said is None and "T" in outside and "Z" not in outside and len(unexplained) == 1 and _length(frame, "Z") == 1:
        names = tuple("Z" if name in unexplained else "z" if name == "Z" else name for name in names)
        origins["Z"] = "assumed"
        what = f"the files do not say what their {frame.number} planes are; they are taken as depth"
        problems.append(Problem(what, "save them with named axes, or say it with --axes"))
    lengths = (*frame.lengths, *frame.planes.plane_px)
    found = arrange((*names, "Y", "X"), lengths, series.uri, given=said, slices_may_be_time="T" not in outside and frame.calls_any_stack_slices)
    for axis, source in zip("TCZ", found.sources, strict=False):
        if axis in outside and source is not None and lengths[source] > 1:
            what = {"T": "frames", "C": "channels", "Z": "planes"}[axis]
            remedy = "give the folder as an archive of movies, or write * for it in the --pattern"
            raise UserError(f"the files hold {lengths[source]} {what} each, and so do their names", remedy, series.uri)
        if axis in outside:
            origins[axis] = "given" if series.axes_given else "file"
    if not series.axes_given and "T" in outside and not series.time_is_said:
        origins["T"] = "assumed"
    return replace(found, origins=found.origins | origins, problems=(*found.problems, *problems))


def _table(places: Places, one_TCZ: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Put the planes in the files and the files in the series together: along each axis one of the two has length 1."""
    files = places.table
    planes = np.broadcast_to(one_TCZ, np.broadcast_shapes(files.shape, one_TCZ.shape))
    return np.stack([np.broadcast_to(files, planes.shape), planes], axis=-1)
