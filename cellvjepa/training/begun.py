"""What a run was begun with beside its settings: which movies, and the statistics of their pixels. A run that goes on must find the same."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cellvjepa.errors import UserError
from cellvjepa.model.pixel_statistics import PixelStatistics
from cellvjepa.movies.movie import Movie
from cellvjepa.writing import atomic_path

_FILE = "begun_with.json"


def statistics_begun_with(run: Path, movies: Sequence[Movie], measured: PixelStatistics, resume: bool) -> PixelStatistics:
    """Return the pixel statistics that a run's weights belong to: as measured, noted where the run begins; as noted where it goes on.

    Parameters
    ----------
    run
        The folder of the run. Of runs that an earlier version began nothing is noted.
    movies
        All that are trained on.
    measured
        On clips of these movies, as they are now.
    resume
        Whether the run goes on.

    Raises
    ------
    UserError
        If the movies are others: clips would be others than those of the uninterrupted run; or the note cannot be read.
    """
    file, now = run / _FILE, {movie.name: f"{'x'.join(map(str, movie.pixels.shape))} {movie.pixels.dtype}" for movie in movies}
    if not (resume and file.is_file()):
        with atomic_path(file) as part:
            noted = {"movies": now, "pixel_mean": measured.mean, "pixel_std": measured.std}
            part.write_text(json.dumps(noted, indent=2) + "\n", encoding="utf-8")
        return measured
    try:
        noted = json.loads(file.read_text(encoding="utf-8"))
        then, mean, std = dict(noted["movies"]), float(noted["pixel_mean"]), float(noted["pixel_std"])
        if not (math.isfinite(mean) and 0 < std < math.inf):
            raise ValueError(f"pixels of mean {mean} and standard deviation {std}")
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise UserError(f"the file cannot be read ({error})", "remove it, if the movies are those that the run was begun with", file) from None
    if then != now:
        changed = {name for name in then.keys() & now.keys() if then[name] != now[name]}
        told = f"{_told('new', now.keys() - then.keys())}{_told('missing', then.keys() - now.keys())}{_told('of another size or type', changed)}"
        raise UserError(
            f"this run was begun with other movies ({told}{len(then)} then, {len(now)} now)",
            f"give the same movies, or begin a new run that starts from this one: --init-from {run} and another --out",
            run,
        )
    return replace(measured, mean=mean, std=std)


def _told(what: str, names: set[str]) -> str:
    if not names:
        return ""
    first = sorted(names)[0]
    return f"{what}: {first}{f' and {len(names) - 1} more' if len(names) > 1 else ''}; "
