"""Commands that make embeddings, and what is made of them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cellvjepa.cli.arguments import Axes, CellsToEmbed, Dask, Model, Outlines, Overrides, Paths, Pattern, StoreToWrite
from cellvjepa.cli.opening import open_for_clips
from cellvjepa.config import Config, config_from
from cellvjepa.errors import UserError
from cellvjepa.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cellvjepa.cells.table import Cells
    from cellvjepa.cells.windows import Windows
    from cellvjepa.embedding.provenance import Source
    from cellvjepa.model.encoder import Encoder
    from cellvjepa.model.weights import EncoderCard
    from cellvjepa.movies.clip_shape import ClipShape
    from cellvjepa.movies.movie import Movie
    from cellvjepa.movies.readers import Archive, Given


class Link(StrEnum):
    """What to do about cells that are not linked from frame to frame."""

    laptrack = "laptrack"
    done = "done"


def embed(
    paths: Paths,
    model: Model,
    out: StoreToWrite,
    cells: CellsToEmbed = None,
    outlines: Outlines = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse cells of which some cannot be used, instead of leaving these out.")] = False,
    link: Annotated[
        Link | None, typer.Option("--link", help="laptrack: link cells from frame to frame, if they are not. done: label values are track ids.")
    ] = None,
    grid: Annotated[bool, typer.Option("--grid", help="Embed a grid that covers every movie, instead of cells.")] = False,
    dense: Annotated[
        bool, typer.Option("--dense", help="Write maps of the features of every place of every movie into the folder --out, instead of a store.")
    ] = False,
    dask: Dask = None,
    axes: Axes = None,
    pattern: Pattern = None,
    overrides: Overrides = None,
) -> None:
    """Compute one embedding per cell and window of time, or per place of a grid. Run it again to resume."""
    from cellvjepa.model.weights import load_encoder, locate_encoder
    from cellvjepa.movies.levelled import levelled
    from cellvjepa.movies.readers import Given

    _refuse_unclear(cells, outlines, strict, link, grid, dense)
    run = locate_encoder(model)
    encoder, card = load_encoder(run)
    values = config_from(card.provenance.get("config", {}), overrides or (), run)
    values = values.model_copy(update={"clip": values.embed.clip(values.clip)})
    given = Given(axes, pattern)
    with Terminal() as terminal:
        archive = open_for_clips(paths, given, values, terminal)
        _refuse_unknown_time(archive.movies, values)
        places = None if cells is None else _cells(cells, outlines, archive, strict, link, terminal)
        movies = levelled(archive.movies, progress=terminal)
        if dense:
            done = _write_maps(encoder, card, movies, values, out, terminal)
        else:
            source = _source(card, run, paths, given)
            done = _write_store(encoder, source, movies, places, values, out, dask, terminal)
    typer.echo(done)


def _refuse_unclear(cells: Path | None, outlines: Path | None, strict: bool, link: Link | None, grid: bool, dense: bool) -> None:
    if (cells is not None) + grid + dense != 1:
        raise UserError("it is not clear where to look", "give either --cells cells.csv or --grid, or --dense for maps of everything", "embed")
    if cells is None and (outlines or strict or link):
        given_alone = "--outlines" if outlines else "--strict" if strict else "--link"
        raise UserError("there are no cells that this could be about", f"{given_alone} goes with --cells", "embed")


def _source(card: EncoderCard, run: Path, paths: Sequence[str], given: Given) -> Source:
    from cellvjepa.embedding.provenance import Source
    from cellvjepa.movies.readers import absolute

    return Source.of(card, run.resolve(), [absolute(path) for path in paths], given)


def _write_maps(encoder: Encoder, card: EncoderCard, movies: Sequence[Movie], values: Config, out: Path, terminal: Terminal) -> str:
    """Write maps of every movie, and say what was written."""
    from cellvjepa.embedding.dense import write_dense_maps
    from cellvjepa.embedding.provenance import reference_of
    from cellvjepa.model.device import choose_device
    from cellvjepa.movies.clip_shape import ClipShape

    encoder.to(choose_device(values.embed.device))
    shape, reference = ClipShape.of(values.clip), reference_of(card)
    maps = write_dense_maps(encoder, movies, shape, reference, out, batch_size=values.embed.batch_size, progress=terminal)
    return f"Maps: {out} ({len(maps)} images)"


def _write_store(
    encoder: Encoder,
    source: Source,
    movies: Sequence[Movie],
    places: Cells | None,
    values: Config,
    out: Path,
    dask: str | None,
    terminal: Terminal,
) -> str:
    """Embed cells or, without any, a grid, and say what was written."""
    from cellvjepa.embedding.dask_workers import DaskWorkers
    from cellvjepa.embedding.embed import embed_windows
    from cellvjepa.embedding.store import open_store
    from cellvjepa.movies.clip_shape import ClipShape

    shape = ClipShape.of(values.clip)
    windows = _windows(movies, places, shape, values, terminal)
    before = len(open_store(out)) if out.is_dir() else 0
    embed_windows(
        encoder,
        movies,
        windows,
        shape,
        values.embed,
        out,
        source,
        labels=places.labels if places else None,
        workers=DaskWorkers(dask) if dask else None,
        progress=terminal,
    )
    rows = len(open_store(out))
    added = f", {rows - before} of them new: maps and clusters are made anew by `cellvjepa cluster`" if 0 < before < rows else ""
    return f"Store: {out} ({rows} embeddings{added})"


def _refuse_unknown_time(movies: Sequence[Movie], values: Config) -> None:
    unknown = [movie for movie in movies if movie.interval_s is None]
    if values.embed.window_min is not None and unknown:
        raise UserError(
            f"{len(unknown)} of {len(movies)} movies do not say their frame interval", "leave embed.window_min out, or these movies", unknown[0].uri
        )


def _cells(path: Path, outlines: Path | None, archive: Archive, strict: bool, link: Link | None, terminal: Terminal) -> Cells:
    from cellvjepa.cells.movie_labels import movie_labels
    from cellvjepa.cells.outlines import with_outlines
    from cellvjepa.cells.table import read_cells

    found = read_cells(path, archive, strict=strict, link=link.value if link else None, progress=terminal)
    if outlines is None:
        return found
    images = movie_labels(archive.movies, outlines)
    several = [name for name, labels in images.items() if len(labels) > 1]
    if several:
        raise UserError(f"{several[0]} has {len(images[several[0]])} label images", "give a path with one for each movie (--outlines)", outlines)
    return with_outlines(found, {name: next(iter(labels.values())) for name, labels in images.items() if labels}, archive.movies)


def _windows(movies: Sequence[Movie], cells: Cells | None, shape: ClipShape, values: Config, terminal: Terminal) -> Windows:
    from cellvjepa.cells.intensity import with_grid_intensity, with_intensity
    from cellvjepa.cells.windows import grid_windows, track_windows

    embed = values.embed
    if cells is None:
        places = grid_windows(movies, shape, embed.stride_frames, stride_min=embed.stride_min)
        return with_grid_intensity(places, movies, shape, progress=terminal)
    cells = with_intensity(cells, movies, shape, progress=terminal)
    windows = track_windows(movies, cells, shape, embed.stride_frames, embed.min_cover, stride_min=embed.stride_min, follow=embed.follow)
    tracks, shown = (table.groupby(["movie", "track_id"]).ngroups for table in (cells.table, windows.table))
    if shown < tracks:
        terminal.note(
            f"{tracks - shown} of {tracks} tracks have no embedding: no window shows them in {embed.min_cover:.0%} of its frames (embed.min_cover)."
        )
    return windows
