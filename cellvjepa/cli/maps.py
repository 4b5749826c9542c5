"""Commands that make maps of movies."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cellvjepa.cli.arguments import Axes, CellsToLookUp, MapsFolder, Overrides, Paths, Pattern, RunWithPredictor
from cellvjepa.cli.opening import open_for_clips
from cellvjepa.config import config_from
from cellvjepa.errors import UserError
from cellvjepa.terminal import Terminal


class From(StrEnum):
    """What a time step is foretold from."""

    rest = "rest"
    past = "past"


def surprise(
    paths: Paths,
    model: RunWithPredictor,
    out: MapsFolder,
    cells: CellsToLookUp = None,
    store: Annotated[
        Path | None,
        typer.Option("--store", help="With --cells: add mean and largest of each window to this store of these cells.", metavar="STORE"),
    ] = None,
    seen: Annotated[
        From, typer.Option("--from", help="What each time step is foretold from: the rest of the clip, before and after it, or the past alone.")
    ] = From.rest,
    refit: Annotated[
        bool,
        typer.Option(
            help="Fit to each movie, without labels, what follows from the predictor and from the steps before and after; else the predictor alone."
        ),
    ] = True,
    overlap: Annotated[float, typer.Option(help="Share of a clip that it has in common with the next one, along each axis.", min=0, max=0.9)] = 0.5,
    axes: Axes = None,
    pattern: Pattern = None,
    overrides: Overrides = None,
) -> None:
    """Map where and when movies go on otherwise than the model foretells: divisions, deaths, what comes and goes."""
    from cellvjepa.cells.table import read_cells
    from cellvjepa.embedding.cell_surprise import add_surprise, cells_surprise, write_cells_surprise
    from cellvjepa.embedding.provenance import reference_of
    from cellvjepa.embedding.store import open_store
    from cellvjepa.embedding.surprise import Foreteller, write_surprise
    from cellvjepa.model.device import choose_device
    from cellvjepa.model.predictor_file import load_predictor
    from cellvjepa.movies.clip_shape import ClipShape
    from cellvjepa.movies.levelled import levelled
    from cellvjepa.movies.readers import Given

    if store is not None:
        if cells is None:
            raise UserError("a store has rows of cells, and no cells are given", "add --cells", "surprise")
        open_store(store)  # now, and not after an hour of work
    network, encoder_card, card = load_predictor(model)
    values = config_from(encoder_card.provenance.get("config", {}), overrides or (), model)
    network.to(choose_device(values.embed.device))
    foreteller = Foreteller(network, card, ClipShape.of(values.clip), reference_of(encoder_card), seen.value, refit)
    with Terminal() as terminal:
        archive = open_for_clips(paths, Given(axes, pattern), values, terminal)
        table = None if cells is None else read_cells(cells, archive, progress=terminal)
        movies = levelled(archive.movies, progress=terminal)
        maps = write_surprise(foreteller, movies, out, batch_size=values.embed.batch_size, overlap=overlap, progress=terminal)
        found = None if table is None else cells_surprise(foreteller, movies, table, maps, overlap=overlap, progress=terminal)
    typer.echo(f"Maps: {out} ({len(maps)} movies)")
    if found is not None:
        typer.echo(f"Cells: {write_cells_surprise(found, out)} ({len(found)} rows)")
        if store is not None:
            typer.echo(f"Store: {store} (surprise of {add_surprise(store, found, seen.value)} rows)")
