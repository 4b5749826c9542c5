"""Clips: those behind a store, and their pixels for the encoder, read a batch ahead and in an order in which neighbours share them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cellvjepa.cells.outlines import NO_OUTLINES, Outlines, read_outline
from cellvjepa.cells.windows import windows_at
from cellvjepa.embedding.recent import RecentChunks
from cellvjepa.embedding.store import Embeddings
from cellvjepa.errors import UserError
from cellvjepa.model.grid import Grid
from cellvjepa.movies.clip_shape import ClipShape, channel_indices, sampling
from cellvjepa.movies.clips import Clip, read_clip
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import open_movie

_THREADS = 4  # decoding releases Python's lock


def movies_of(clips: Sequence[Clip], movies: Sequence[Movie]) -> dict[str, Movie]:
    """Return the movies that clips come from, by name."""
    named = {movie.name: movie for movie in movies}
    return {name: named[name] for name in dict.fromkeys(clip.movie for clip in clips)}


def common_channels(movies: Sequence[Movie], shape: ClipShape) -> tuple[str, ...]:
    """Return the channels to embed: those of the shape, else those of the first movie, which all others must have too.

    Raises
    ------
    UserError
        If movies differ in their channels, or in their planes where all planes are used: their vectors could not be compared.
    """
    first = movies[0]
    for movie in movies:
        channel_indices(movie, shape)
        if shape.channels is None and set(movie.channels) != set(first.channels):
            common = [name for name in first.channels if name in movie.channels]
            raise UserError(
                f"its channels ({', '.join(movie.channels)}) are not those of {first.name} ({', '.join(first.channels)})",
                f"choose channels that all have (--set clip.channels=[{','.join(common)}])" if common else "embed them into stores of their own",
                movie.uri,
            )
        planes, wanted = (sampling(m, shape).planes for m in (movie, first))
        if planes != wanted:
            raise UserError(
                f"it has {planes} planes and {first.name} has {wanted}", "set clip.z=max, or embed them into stores of their own", movie.uri
            )
    return shape.channels or first.channels


def reading_order(clips: Sequence[Clip]) -> npt.NDArray[np.int64]:
    """Return the order in which clips that share pixels follow each other: movie, time, place."""
    return np.array(sorted(range(len(clips)), key=lambda i: (clips[i].movie, clips[i].t0, clips[i].y0, clips[i].x0)), np.int64)


def read_batches(
    movies: Mapping[str, Movie], clips: Sequence[Clip], shape: ClipShape, batch_size: int, outlines: Outlines = NO_OUTLINES
) -> Iterator[tuple[Sequence[Clip], npt.NDArray[np.float32]]]:
    """Yield clips and their pixels, (B, C, T, Z, Y, X) float32, in the order given; the next batch is read meanwhile."""
    for batch, found in _batches_ahead(_Reading.of(movies, shape, outlines, None), clips, batch_size):
        yield batch, np.stack([pixels_CTZYX for pixels_CTZYX, _ in found])


def read_outlined(
    movies: Mapping[str, Movie], clips: Sequence[Clip], shape: ClipShape, batch_size: int, outlines: Outlines, grid: Grid
) -> Iterator[tuple[Sequence[Clip], npt.NDArray[np.float32], npt.NDArray[np.float32] | None]]:
    """Yield batches as :func:`read_batches` does, with neighbours hidden if wanted, and the share of each token that the cell covers.

    Parameters
    ----------
    grid
        The tokens of a clip.

    Yields
    ------
    tuple
        Clips; (B, C, T, Z, Y, X) float32; (B, N) float32 cover, or None where ``outlines.mask_weight`` is 0.
    """
    for batch, found in _batches_ahead(_Reading.of(movies, shape, outlines, grid), clips, batch_size):
        covers = [cover_N for _, cover_N in found if cover_N is not None]
        yield batch, np.stack([pixels_CTZYX for pixels_CTZYX, _ in found]), np.stack(covers) if covers else None


@dataclass(frozen=True, eq=False)
class _Reading:
    """What is read of a clip: its pixels, and the cover of its tokens if wanted."""

    movies: Mapping[str, Movie]
    labels: Mapping[str, Movie]
    shape: ClipShape
    outlines: Outlines
    grid: Grid | None

    @classmethod
    def of(cls, movies: Mapping[str, Movie], shape: ClipShape, outlines: Outlines, grid: Grid | None) -> _Reading:
        memory = RecentChunks()
        wanted = [name for name in movies if outlines.needed]
        labels = {name: memory.of(outlines.labels[name]) for name in wanted}
        return cls({name: memory.of(movie) for name, movie in movies.items()}, labels, shape, outlines, grid)

    def __call__(self, clip: Clip) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
        movie = self.movies[clip.movie]
        if not self.outlines.needed:
            return read_clip(movie, clip, self.shape), None
        outline = read_outline(self.labels[clip.movie], movie, clip, self.shape)
        pixels_CTZYX = read_clip(movie, clip, self.shape, outline.hidden() if self.outlines.hide_neighbours else None)
        if not self.outlines.mask_weight or self.grid is None:
            return pixels_CTZYX, None
        return pixels_CTZYX, outline.cover((self.grid.t, self.grid.z, self.grid.y, self.grid.x))


def _batches_ahead(
    read: _Reading, clips: Sequence[Clip], batch_size: int
) -> Iterator[tuple[Sequence[Clip], list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]]]]:
    ahead: deque[tuple[Sequence[Clip], list[Future[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]]]]] = deque()
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="cellvjepa-clips")
    try:
        for start in range(0, len(clips), batch_size):
            batch = clips[start : start + batch_size]
            ahead.append((batch, [pool.submit(read, clip) for clip in batch]))
            if len(ahead) > 1:
                first, reads = ahead.popleft()
                yield first, [one.result() for one in reads]
        while ahead:
            first, reads = ahead.popleft()
            yield first, [one.result() for one in reads]
    finally:
        pool.shutdown(cancel_futures=True)


def outlines_of(embeddings: Embeddings) -> Outlines:
    """Return how outlines play a part in a store, with its label images opened again, to encode its clips once more.

    Label images that its vectors do not depend on are left out where they cannot be opened.

    Raises
    ------
    UserError
        If a label image cannot be opened that is needed to make the same vectors.
    """
    provenance, labels = embeddings.provenance, dict[str, Movie]()
    needed = provenance.mask_weight > 0 or provenance.hide_neighbours
    for name, uri in provenance.label_images.items():
        try:
            labels[name] = open_movie(uri)
        except UserError:
            if needed:
                raise
    return Outlines(labels, provenance.mask_weight, provenance.hide_neighbours)


def clip_of_row(embeddings: Embeddings, row: int, movie: Movie) -> Clip:
    """Return the clip behind one row of a store.

    Parameters
    ----------
    row
        Of the table.
    movie
        The movie it is in.

    Raises
    ------
    UserError
        If the movie no longer has this clip.
    """
    facts = embeddings.table.iloc[[row]]
    (clip,) = windows_at(movie, embeddings.provenance.clip_shape, facts).clips
    if clip.clip_id != facts["clip_id"].iloc[0]:
        raise UserError(f"the movie '{movie.name}' has changed since this store was made", "embed it again into another store", movie.uri)
    return clip


def clips_of(embeddings: Embeddings, movies: Sequence[Movie]) -> tuple[Clip, ...]:
    """Return the clip behind each row of a store, to look at it or to encode it again.

    Parameters
    ----------
    embeddings
        An open store.
    movies
        The archive's movies.

    Raises
    ------
    UserError
        If a movie is missing or no longer has these clips.
    """
    named = {movie.name: movie for movie in movies}
    clips: dict[int, Clip] = {}
    for name in embeddings.table["movie"].unique():
        rows = embeddings.table[embeddings.table["movie"] == name]
        if name not in named:
            known = ", ".join(sorted(named)[:3]) or "none"
            raise UserError(
                f"the movie '{name}' of this store is not among those given ({known})", "give the archive it was made from", embeddings.path
            )
        found = windows_at(named[name], embeddings.provenance.clip_shape, rows).clips
        if [clip.clip_id for clip in found] != rows["clip_id"].tolist():
            raise UserError(f"the movie '{name}' has changed since this store was made", "embed it again into another store", named[name].uri)
        clips.update(zip(rows.index, found, strict=True))
    return tuple(clips[row] for row in embeddings.table.index)
