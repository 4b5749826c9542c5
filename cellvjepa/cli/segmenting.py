"""Commands that make label images: outlines of cells, and outlines linked to tracks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cellvjepa.cli.arguments import Axes, ConfigFile, LabelsToLink, LinkedLabelsFile, OutlinesFile, Overrides, Paths, Pattern
from cellvjepa.cli.opening import grouped
from cellvjepa.config import load_config
from cellvjepa.errors import UserError
from cellvjepa.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cellvjepa.movies.movie import Movie
    from cellvjepa.movies.readers import Archive


def segment(
    paths: Paths,
    out: OutlinesFile,
    channel: Annotated[str | None, typer.Option("--channel", help="Where to look. Default: the first channel.", metavar="NAME")] = None,
    axes: Axes = None,
    pattern: Pattern = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Outline the cells of movies that have no label images: by brightness and shape, or with cellpose or stardist (--set segment.method=...)."""
    from cellvjepa.cells.segment import segment as segment_movie
    from cellvjepa.movies.readers import Given, open_archives

    values = load_config(config, overrides or ())
    with Terminal() as terminal:
        archive = open_archives(paths, Given(axes, pattern), progress=terminal)
        for line in grouped([(skipped.path, f"{skipped.what}. {skipped.remedy}.") for skipped in archive.skipped]):
            terminal.note(f"skipped {line}")
        for movie, place in _places(archive.movies, out):
            segment_movie(movie, place, values.segment, channel, progress=terminal)
            typer.echo(f"Labels: {place} (each frame counts anew: link them with `cellvjepa link`, or embed with --link laptrack)")


def link(
    path: Annotated[str, typer.Argument(help="The movie.", metavar="MOVIE")],
    labels: LabelsToLink,
    out: LinkedLabelsFile,
    axes: Axes = None,
    pattern: Pattern = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Link the cells of a label image from frame to frame (laptrack): label values become track ids, and a table of cells is written beside it."""
    from cellvjepa.cells.names import stem_of
    from cellvjepa.cells.relabel import link_labels, save_cells
    from cellvjepa.movies.readers import Given, open_archive, open_movie

    values = load_config(config, overrides or ())
    with Terminal() as terminal:
        movie = _only_movie(open_archive(path, Given(axes, pattern), progress=terminal), path)
        found = link_labels(open_movie(labels), movie, out, values.link, progress=terminal)
        table = save_cells(found.cells, out.with_name(f"{stem_of(out.name)}_cells.csv"))
    tracks = found.cells.table["track_id"].nunique()
    typer.echo(f"Labels: {out} ({tracks} tracks)\nCells: {table} ({len(found.cells.table)} rows)")


def _places(movies: Sequence[Movie], out: Path) -> list[tuple[Movie, Path]]:
    """Return where the labels of each movie are to stand: in a file for one movie, else in a folder, as ``NAME_labels.tif``."""
    from cellvjepa.cells.label_writing import TIFF
    from cellvjepa.cells.names import stem_of

    if out.suffix.lower() in (*TIFF, ".zarr"):
        if len(movies) != 1:
            raise UserError(f"there are {len(movies)} movies, and one file for their labels", "give a folder", "--out")
        return [(movies[0], out)]
    return [(movie, out / f"{stem_of(movie.name)}_labels.tif") for movie in movies]


def _only_movie(archive: Archive, path: str) -> Movie:
    if len(archive.movies) != 1:
        raise UserError(f"there are {len(archive.movies)} movies here", "give the path of one", path)
    return archive.movies[0]
