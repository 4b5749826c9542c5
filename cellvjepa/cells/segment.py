"""Segmentation: outlines of the cells of a movie that has none, frame by frame; they are numbered anew in each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cellvjepa.cells import trained, watershed
from cellvjepa.cells.cell_size import measured_diameter_px
from cellvjepa.cells.label_writing import check_suffix, write_labels
from cellvjepa.config import SegmentConfig
from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie
from cellvjepa.progress import Progress, silent

_FRAMES_MEASURED = 5
_MEASURED_PX = 1024  # along each axis, in the middle of the frame
_MOST_CELLS = 2**16 - 1  # in a frame: what uint16 can tell apart


@dataclass(frozen=True, eq=False)
class CellFinder:
    """Outlines cells in any frame of a movie.

    Parameters
    ----------
    movie
        The movie.
    channel
        The index of the channel that is looked at.
    diameter_um
        What its cells measure across, as given or measured [um; px where the movie does not say its pixel size]; None: the model knows.
    outline
        Outlines the cells of a frame, Y X or Z Y X.
    """

    movie: Movie
    channel: int
    diameter_um: float | None
    outline: trained.Outline

    def __call__(self, t: int, rows: slice = slice(None), columns: slice = slice(None)) -> npt.NDArray[np.int32]:
        """Return the cells of a frame, or of a part of it.

        Returns
        -------
        ndarray
            int32, Y X, or Z Y X where the movie has several planes: 0 where there is no cell, else its number, from 1 on.
        """
        return self.outline(_plain(self.movie.pixels[t, self.channel, :, rows, columns]))


def cell_finder(movie: Movie, config: SegmentConfig, channel: str | None = None, *, progress: Progress = silent) -> CellFinder:
    """Get ready to outline cells: measure how large they are, or read the model.

    Parameters
    ----------
    movie
        The movie.
    config
        How.
    channel
        Where to look; None: in the first channel.
    progress
        Told of frames that are measured.

    Raises
    ------
    UserError
        If there is no such channel, no cell stands out, or the model or its library is not there.
    """
    if channel is not None and channel not in movie.channels:
        raise UserError(f"there is no channel {channel!r}", f"its channels are {', '.join(movie.channels)}", movie.uri)
    index = 0 if channel is None else movie.channels.index(channel)
    size_um = pixel_um(movie)
    if config.method != "threshold":
        if movie.shape["Z"] > 1:
            raise UserError(f"{config.method} is used for single planes here, and this movie has {movie.shape['Z']}", "use threshold", movie.uri)
        diameter = config.diameter_um
        pixels = None if diameter is None else diameter / size_um[-1]
        outline = trained.cellpose(config.model, pixels) if config.method == "cellpose" else trained.stardist(config.model)
        return CellFinder(movie, index, diameter, outline)
    diameter = config.diameter_um or measured_diameter_um(movie, config, index, progress=progress)
    lengths = watershed.lengths_of(config, diameter, size_um)
    return CellFinder(movie, index, diameter, lambda frame: watershed.outlined(frame, config, lengths))


def pixel_um(movie: Movie) -> tuple[float, ...]:
    """Return the extent of a pixel along Y X, or Z Y X where there are several planes [um]; 1 where it is unknown."""
    size = movie.pixel_um
    plane = (1.0, 1.0) if size is None else (size.y, size.x)
    return plane if movie.shape["Z"] == 1 else ((size and size.z) or plane[1], *plane)


def measured_diameter_um(movie: Movie, config: SegmentConfig, channel: int, *, progress: Progress = silent) -> float:
    """Measure what cells of a movie are across, in a few of its frames [um; px where the movie does not say its pixel size].

    Raises
    ------
    UserError
        If nothing stands out in any of them.
    """
    size_um = pixel_um(movie)
    chosen = np.unique(np.linspace(0, movie.shape["T"] - 1, _FRAMES_MEASURED).round().astype(int)).tolist()
    frames = []
    for done, t in enumerate(chosen):
        progress("measuring cells", done, len(chosen))
        frames.append(_plain(movie.pixels[int(t), channel, :, _middle(movie.shape["Y"]), _middle(movie.shape["X"])]))
    found = measured_diameter_px(frames, config, [size / size_um[-1] for size in size_um])
    progress("measuring cells", len(chosen), len(chosen))
    if found is None:
        raise UserError(
            f"no {config.cells} cells stand out in the frames {', '.join(map(str, chosen))}",
            "say how large they are (segment.diameter_um), whether they are bright or dark (segment.cells), or choose another channel",
            movie.uri,
        )
    return found * size_um[-1]


def segment(
    movie: Movie,
    out: str | os.PathLike[str],
    config: SegmentConfig | None = None,
    channel: str | None = None,
    *,
    progress: Progress = silent,
) -> Movie:
    """Outline the cells of every frame and write them as a label image. Each frame counts its cells from 1 on: link them before following any.

    Parameters
    ----------
    movie
        The movie.
    out
        ``NAME.tif`` or ``NAME.zarr``; what stands there is replaced when all is done.
    config
        How; None: by the defaults.
    channel
        Where to look; None: in the first channel.
    progress
        Told of frames.

    Returns
    -------
    Movie
        The label image.

    Raises
    ------
    UserError
        As :func:`cell_finder`; or the label image cannot be written.
    Cancelled
        If ``progress`` says so; nothing is written then.
    """
    path = Path(os.path.abspath(out))  # noqa: PTH100 - a link keeps its name
    check_suffix(path)
    if str(path) == movie.uri:
        raise UserError("this is the movie itself", "choose another name for the labels", path)
    finder = cell_finder(movie, config or SegmentConfig(), channel, progress=progress)
    return write_labels(path, movie, _frames(finder, progress))


def _frames(finder: CellFinder, progress: Progress) -> Iterator[npt.NDArray[np.int32]]:
    frames = finder.movie.shape["T"]
    for t in range(frames):
        progress("outlining cells", t, frames)
        found = finder(t)
        if found.max(initial=0) > _MOST_CELLS:
            raise UserError(
                f"{found.max():,} cells were found in frame {t}", "these are no cells: raise the threshold or the smallest area", finder.movie.uri
            )
        yield found
    progress("outlining cells", frames, frames)


def _plain(frame_ZYX: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return frame_ZYX[0] if len(frame_ZYX) == 1 else frame_ZYX


def _middle(length: int) -> slice:
    start = max(0, (length - _MEASURED_PX) // 2)
    return slice(start, start + _MEASURED_PX)
