"""Outlines: which pixels of a clip are its cell's, which are its neighbours', as label images say it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cellvjepa.cells.table import Cells
from cellvjepa.errors import UserError
from cellvjepa.movies.clip_shape import ClipShape, Sampling, sampling
from cellvjepa.movies.clips import Clip, Hidden, cut_clip
from cellvjepa.movies.movie import Movie

_LOOKS = 5  # frames that are looked at to see whether labels and tracks belong together


@dataclass(frozen=True, eq=False)
class Outlines:
    """How the outlines of cells play a part in their embeddings.

    Parameters
    ----------
    labels
        Label images by the name of their movie.
    mask_weight
        Share of a pooled average that comes from the tokens under the cell (:func:`cellvjepa.embedding.pooling.pool`); 0: none, where
        the cell is plays no part.
    hide_neighbours
        Replace pixels of other cells by the background.
    """

    labels: Mapping[str, Movie] = field(default_factory=dict)
    mask_weight: float = 0.0
    hide_neighbours: bool = False

    @property
    def needed(self) -> bool:
        """Return whether label images are read at all."""
        return self.mask_weight > 0 or self.hide_neighbours

    def read_through(self, memory: Callable[[Movie], Movie]) -> Outlines:
        """Return the same with other ways to read the label images."""
        return replace(self, labels={name: memory(movie) for name, movie in self.labels.items()})

    def check(self, movies: Mapping[str, Movie], clips: Sequence[Clip]) -> None:
        """Make sure that every clip has an outline, if any is needed.

        Raises
        ------
        UserError
            If a movie has no label image, or a clip is of no cell.
        """
        if not self.needed:
            return
        option = "embed.hide_neighbours" if self.hide_neighbours else "embed.mask_weight"
        missing = [name for name in movies if name not in self.labels]
        if missing:
            raise UserError(
                f"{len(missing)} of {len(movies)} movies have no label image, the first is {missing[0]}, and {option} needs them",
                f"give label images as the cells (--cells LABELS), or leave {option} out",
                "cells",
            )
        if any(not clip.cell_values for clip in clips):
            raise UserError(f"there are clips of no cell, and {option} needs one", f"give cells, or leave {option} out", "windows")


NO_OUTLINES = Outlines()


@dataclass(frozen=True, eq=False)
class Outline:
    """The pixels of one clip, before it is resampled.

    Parameters
    ----------
    own_TZYX, others_TZYX
        bool: pixels of the clip's cell, and of other cells. One plane where planes are projected or the label image has one.
    """

    own_TZYX: npt.NDArray[np.bool_]
    others_TZYX: npt.NDArray[np.bool_]

    def hidden(self) -> Hidden:
        """Return the neighbours as pixels to hide, and those of no cell as the background."""
        return Hidden(self.others_TZYX, ~(self.own_TZYX | self.others_TZYX))

    def cover(self, grid: tuple[int, int, int, int]) -> npt.NDArray[np.float32]:
        """Return the share of each token that the cell covers.

        Parameters
        ----------
        grid
            Tokens along t, z, y, x, which cut the clip into equal parts.

        Returns
        -------
        ndarray
            (N,) float32 in 0..1, in the order of the tokens.
        """
        found: npt.NDArray[Any] = self.own_TZYX.astype(np.float32)
        for axis, parts in enumerate(grid):
            found = np.moveaxis(np.tensordot(_shares(parts, found.shape[axis]), found, (1, axis)), 0, axis)
        return found.reshape(-1)


def with_outlines(cells: Cells, labels: Mapping[str, Movie], movies: Sequence[Movie]) -> Cells:
    """Return cells with label images of movies whose cells did not come from one; pixel values are track ids.

    Raises
    ------
    UserError
        If an image is not as large as its movie, or most cells have no pixel of their value in it.
    """
    shapes = {movie.name: movie.shape for movie in movies}
    added = {name: image for name, image in labels.items() if name not in cells.labels}
    for name, image in added.items():
        sizes = [" x ".join(f"{axis} {shape[axis]}" for axis in "TYX") for shape in (image.shape, shapes[name])]
        if sizes[0] != sizes[1]:
            raise UserError(f"the label image is {sizes[0]}, but its movie {name} is {sizes[1]}", "give the labels of this movie", image.uri)
        rows = cells.table[cells.table["movie"] == name]
        frames = np.unique(rows["t"])
        some = frames[:: max(1, len(frames) // _LOOKS)][:_LOOKS]
        rows = rows[rows["t"].isin(some)]
        found = sum(np.isin(rows["track_id"][rows["t"] == t], np.unique(image.pixels[int(t), 0])).sum() for t in some)
        if 2 * found < len(rows):
            raise UserError(
                f"its pixel values are not the track ids of {name}: in {len(some)} frames, {found} of {len(rows)} cells have pixels of their value",
                "give label images whose pixel values are the track ids, or take the cells from the label images themselves (--cells)",
                image.uri,
            )
    return replace(cells, labels={**added, **cells.labels})


def read_outline(labels: Movie, movie: Movie, clip: Clip, shape: ClipShape) -> Outline:
    """Read the outlines of a clip's cell and its neighbours from a label image as large as the movie.

    Raises
    ------
    UserError
        If the label image cannot be read.
    """
    found = sampling(movie, shape)
    whole = labels.shape["Z"] == movie.shape["Z"]
    planes = slice(clip.z0, clip.z0 + clip.extent[0]) if whole else slice(0, 1)
    labels_TZYX = cut_clip(labels.pixels, 0, clip, shape.frames, planes, (1, 1))
    values = clip.cell_values if len(clip.cell_values) == shape.frames else clip.cell_values[:1] * shape.frames
    assert values, "the clip is of no cell"
    wanted_T = np.array(values, np.int64).reshape(-1, 1, 1, 1)
    own = (labels_TZYX == wanted_T) & (wanted_T != 0)
    others = (labels_TZYX != 0) & ~own
    if shape.z == "max":
        own, others = own.any(axis=1, keepdims=True), others.any(axis=1, keepdims=True)
        others &= ~own
    return _coarser(Outline(own, others), found)


def _coarser(native: Outline, found: Sampling) -> Outline:
    """Return the outline in the pixels that are read: a pixel is the cell's if any part of it is, else a neighbour's if any part is."""
    if found.factor == (1, 1):
        return native
    height, width = found.read_px
    blocks = (height, found.factor[0], width, found.factor[1])
    parts = np.stack([native.own_TZYX, native.others_TZYX])
    own, others = parts.reshape(*parts.shape[:3], *blocks).max(axis=(4, 6))
    return Outline(own, others & ~own)


def _shares(parts: int, length: int) -> npt.NDArray[np.float32]:
    """Return how much of each of ``parts`` equal parts of a line every one of ``length`` pixels makes up, (parts, length); rows sum to 1."""
    edges = np.arange(parts + 1) * length / parts
    starts = np.arange(length)
    overlap = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    shares: npt.NDArray[np.float32] = (np.clip(overlap, 0, None) * parts / length).astype(np.float32)
    return shares
