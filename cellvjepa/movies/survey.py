"""The survey: everything known about an archive before a clip is read, for people and for scripts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from cellvjepa.errors import UserError
from cellvjepa.movies.block_size import Budget
from cellvjepa.movies.clip_cost import ClipCost, Stored, random_cost, stream_cost
from cellvjepa.movies.clip_shape import ClipShape, Sampling, check_movie
from cellvjepa.movies.movie import AXES, LazyPixels, Movie, Problem
from cellvjepa.movies.readers import Archive

USUAL_BUDGET = Budget(block_bytes=2**27, clips_per_block=64)

# Converting is worth a line when reading is slow and becomes so many times faster. 800 MB/s of pixels in clips are 500 clips of
# 16 x 224 x 224 uint16 per second: a few cores feed a large GPU then. Small clips are many before they are as much.
_SLOW_STREAM_MB_PER_S, _FASTER_STREAM = 800.0, 2.0
_SLOW_RANDOM_MB_PER_S, _FASTER_RANDOM = 50.0, 4.0
_FAST_CLIPS_PER_S = 1000.0


@dataclass(frozen=True)
class Costs:
    """What clips of a movie cost, as it is stored and as ``cellvjepa convert`` would store it."""

    random: ClipCost
    stream: ClipCost
    converted_random: ClipCost
    converted_stream: ClipCost

    @classmethod
    def of(cls, stored: Stored, shape: ClipShape, budget: Budget) -> Costs:
        """Predict them."""
        converted = stored.converted()
        return cls(
            random_cost(stored, shape), stream_cost(stored, shape, budget), random_cost(converted, shape), stream_cost(converted, shape, budget)
        )


def survey(archive: Archive, shape: ClipShape, budget: Budget = USUAL_BUDGET) -> dict[str, Any]:
    """Describe every movie of an archive, as ``cellvjepa inspect --json`` prints it. No pixels are read.

    Parameters
    ----------
    archive
        The archive.
    shape
        The clips that are to be cut from it.
    budget
        What a block of the stream may cost.

    Returns
    -------
    dict
        ``movies``: per movie name, uri, shape, axes (file, assumed or given), dtype, channels, pixel_um [um], interval_s [s], chunks,
        codec, bytes (of all pixels, decoded), groups, problems; ``levels``: factor (z, y, x), shape and chunks of each resolution, the
        movie's own first, and ``level_read``: the index of the one that clips are read from;
        ``read_amplification`` (bytes decoded per byte used, for a random clip of one channel), ``mb_per_clip`` (decoded for such a
        clip [MB]), and ``predicted``: for one core, ``random_clips_per_s`` and ``random_mb_per_s`` [MB/s of pixels in clips], the same
        for the stream of ``pretrain``, and ``stream_amplification``. These and level_read are None where the movie yields no clip.
        ``skipped``: path, what and remedy of what is not used.
    """
    known: dict[object, Costs] = {}
    return {
        "movies": [_describe(movie, shape, budget, known) for movie in archive.movies],
        "skipped": [asdict(skipped) for skipped in archive.skipped],
    }


def _describe(movie: Movie, shape: ClipShape, budget: Budget, known: dict[object, Costs]) -> dict[str, Any]:
    problems = list(movie.problems)
    costs = level_read = None
    try:
        found = check_movie(movie, shape)
    except UserError as error:
        problems.append(Problem(error.what, error.remedy))
    else:
        costs = _costs(movie, found, shape, budget, known)
        level_read = [id(pixels) for _, pixels in _levels(movie)].index(id(found.pixels))
        problems += _too_small(movie, found)
        problems += _slow(movie, found, costs)
    return {
        "name": movie.name,
        "uri": movie.uri,
        "shape": movie.shape,
        "axes": dict(movie.axes),
        "dtype": movie.pixels.dtype.name,
        "channels": list(movie.channels),
        "pixel_um": None if movie.pixel_um is None else asdict(movie.pixel_um),
        "interval_s": movie.interval_s,
        "chunks": dict(zip(AXES, movie.pixels.chunks, strict=True)),
        "codec": movie.codec,
        "bytes": movie.size_bytes,
        "groups": dict(movie.groups),
        "levels": [
            {"factor": list(factor), "shape": dict(zip(AXES, pixels.shape, strict=True)), "chunks": dict(zip(AXES, pixels.chunks, strict=True))}
            for factor, pixels in _levels(movie)
        ],
        "level_read": level_read,
        "read_amplification": None if costs is None else _rounded(costs.random.amplification),
        "mb_per_clip": None if costs is None else _rounded(costs.random.decoded_mb),
        "predicted": None if costs is None else _predicted(costs),
        "problems": [asdict(problem) for problem in problems],
    }


def _levels(movie: Movie) -> list[tuple[tuple[int, int, int], LazyPixels]]:
    return [((1, 1, 1), movie.pixels), *((copy.factor, copy.pixels) for copy in movie.pyramid)]


def _costs(movie: Movie, found: Sampling, shape: ClipShape, budget: Budget, known: dict[object, Costs]) -> Costs:
    pixels = found.pixels
    kind = (pixels.shape, pixels.chunks, pixels.dtype, movie.codec, found.t_step, found.extent_px, found.factor)
    if kind not in known:  # thousands of movies of an archive are stored alike
        known[kind] = Costs.of(Stored(found, movie.codec), shape, budget)
    return known[kind]


def _predicted(costs: Costs) -> dict[str, float]:
    return {
        "random_clips_per_s": _rounded(costs.random.clips_per_s),
        "random_mb_per_s": _rounded(costs.random.mb_per_s),
        "stream_amplification": _rounded(costs.stream.amplification),
        "stream_clips_per_s": _rounded(costs.stream.clips_per_s),
        "stream_mb_per_s": _rounded(costs.stream.mb_per_s),
    }


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _too_small(movie: Movie, found: Sampling) -> list[Problem]:
    _, height, width = found.extent_px
    there_y, there_x = movie.shape["Y"], movie.shape["X"]
    if height <= there_y and width <= there_x:
        return []
    what = f"the image ({there_y} x {there_x}) is smaller than a clip ({height} x {width} native px); clips are padded"
    return [Problem(what, "choose a smaller clip.size_px or clip.pixel_um")]


def _slow(movie: Movie, found: Sampling, costs: Costs) -> list[Problem]:
    """Say where converting makes reading much faster."""
    slow_stream = _slower(costs.stream, costs.converted_stream, _SLOW_STREAM_MB_PER_S, _FASTER_STREAM)
    slow_random = _slower(costs.random, costs.converted_random, _SLOW_RANDOM_MB_PER_S, _FASTER_RANDOM)
    if not (slow_stream or slow_random):
        return []
    pieces = pieces_of(found.pixels.chunks, found.pixels.shape)
    if slow_stream:
        now, then, how = costs.stream, costs.converted_stream, "about"
    else:
        now, then, how = costs.random, costs.converted_random, "fast enough for training, but at single places, as embed reads, about"
    what = f"{'uncompressed' if movie.codec == 'none' else movie.codec} {pieces}: {how} {_about(now)} clips/s per core (predicted)"
    return [Problem(what, f"'cellvjepa convert PATH DST.zarr' gives about {_about(then)}")]


def _slower(now: ClipCost, converted: ClipCost, slow_mb_per_s: float, times: float) -> bool:
    return now.mb_per_s < min(slow_mb_per_s, converted.mb_per_s / times) and now.clips_per_s < _FAST_CLIPS_PER_S


def pieces_of(chunks: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """Return what chunks of a shape T C Z Y X are called: strips, whole images, or chunks of some lengths."""
    t, c, z, y, x = chunks
    if t == c == z == 1 and x >= shape[4] > 1:
        return "whole images" if y >= shape[3] else f"strips of {y} row{'s' * (y > 1)}"
    return f"chunks of {' x '.join(str(length) for length in chunks if length > 1) or '1'}"


def _about(cost: ClipCost) -> str:
    return f"{float(f'{cost.clips_per_s:.2g}'):,.0f}" if cost.clips_per_s >= 10 else f"{cost.clips_per_s:.2g}"
