"""Reading the clips of rows as small pictures, in other threads: nothing here knows of a window."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import cellvjepa
from napari_cellvjepa.layers.store_movies import Movies


@dataclass(frozen=True, eq=False)
class Moving:
    """The clip of a row, to be looked at.

    Parameters
    ----------
    frames
        uint8 T Y X, or T Y X 3 in colour.
    cell
        Where the row's cell is half way in time: parts of height and width, (.5, .5) in the middle.
    interval_s, pixel_um
        From frame to frame, and from pixel to pixel; None where the movie does not say.
    """

    frames: npt.NDArray[np.uint8]
    cell: tuple[float, float]
    interval_s: float | None
    pixel_um: float | None


class Reader:
    """Reads rows of a store; safe to use from several threads.

    Parameters
    ----------
    found
        The store.
    movies
        The movies behind it.
    size_px
        Height and width of the pictures; None: as the network sees them.
    """

    def __init__(self, found: cellvjepa.Embeddings, movies: Movies, size_px: int | None) -> None:
        self.stage = ""  # what is being done for a while, e.g. an archive opened
        self.stopped = threading.Event()
        self._found, self._movies, self._size_px = found, movies, size_px
        self._shape = replace(found.provenance.clip_shape, channels=found.provenance.channels)
        self._missing: dict[tuple[str, Path | None], cellvjepa.UserError] = {}

    def read(self, row: int, elsewhere: Path | None, progress: cellvjepa.Progress | None = None) -> Moving:
        """Read a row.

        Parameters
        ----------
        progress
            Told how its archive is opened, if it has to be; None: :attr:`stage` tells.

        Raises
        ------
        UserError
            If it cannot be read; a movie that is not there is looked for once.
        Cancelled
            After :meth:`stop`.
        """
        name = str(self._found.table["movie"].iloc[row])
        movie = self._movies.remembered(self._movie(name, elsewhere, progress or self._report))
        if self.stopped.is_set():
            raise cellvjepa.Cancelled
        clip = cellvjepa.clip_of_row(self._found, row, movie)
        frames = cellvjepa.read_pictures(movie, clip, self._shape, self._size_px)
        sampled = cellvjepa.check_movie(movie, self._shape)
        pixel_um = sampled.pixel_um.x * self._shape.size_px / frames.shape[2] if sampled.pixel_um else None
        return Moving(frames, _place(clip, self._found.table.iloc[row]), sampled.interval_s, pixel_um)

    def again(self) -> Reader:
        """Return a reader of the same that has not been stopped, and looks again for movies that were missing."""
        return Reader(self._found, self._movies, self._size_px)

    def stop(self) -> None:
        """Have whatever is under way end soon."""
        self.stopped.set()

    def _movie(self, name: str, elsewhere: Path | None, progress: cellvjepa.Progress) -> cellvjepa.Movie:
        known = self._movies.known(name)
        if known is not None:
            return known
        if (name, elsewhere) in self._missing:
            raise self._missing[name, elsewhere]
        try:
            return self._movies.movie(name, progress, elsewhere)
        except cellvjepa.UserError as error:
            self._missing[name, elsewhere] = error
            raise
        finally:
            self.stage = ""

    def _report(self, stage: str, done: int, total: int) -> None:
        if self.stopped.is_set():
            raise cellvjepa.Cancelled
        self.stage = f"{stage} ({done:,} of {total:,})" if total else stage


def _place(clip: cellvjepa.Clip, facts: Any) -> tuple[float, float]:
    """Return where a row's cell is in its clip: it is not in the middle where the crop was moved inwards from a border."""
    y, x = (
        (float(facts[name]) + 0.5 - start - way / 2) / extent
        for name, start, way, extent in zip(("y_px", "x_px"), (clip.y0, clip.x0), clip.drift, clip.extent[1:], strict=True)
    )
    return y, x
