"""Commands that make embeddings, and what is made of them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Optional

import typer

from cellvjepa.cli.arguments import Axes, Overrides, Paths, Pattern, Store
from cellvjepa.cli.opening import open_for_clips
from cellvjepa.config import config_from
from cellvjepa.errors import UserError
from cellvjepa.terminal import Terminal


class Projection(StrEnum):
    """Ways to bring embeddings to the plane."""

    umap = "umap"
    pca = "pca"


class Clustering(StrEnum):
    """Ways to find clusters."""

    hdbscan = "hdbscan"
    kmeans = "kmeans"
    leiden = "leiden"


def embed(
    paths: Paths,
    model: Annotated[
        Path, typer.Option("--model", help="A run, its encoder.safetensors, or encoder_tiny, which comes with the program.", metavar="RUN")
    ],
    out: Annotated[Path, typer.Option("--out", help="The store to write (AnnData on Zarr).", metavar="STORE")],
    cells: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--cells", help="Where the cells are: cells.csv, a label image, or a folder of label images.", metavar="LABELS_OR_TRACKS"),
    ] = None,
    grid: Annotated[bool, typer.Option("--grid", help="Embed a grid that covers every movie, instead of cells.")] = False,
    axes: Axes = None,
    pattern: Pattern = None,
    overrides: Overrides = None,
) -> None:
    """Compute one embedding per cell and window of time, or per place of a grid. Run it again to resume."""
    from cellvjepa.cells.table import read_cells
    from cellvjepa.cells.windows import grid_windows, track_windows
    from cellvjepa.embedding.embed import embed_windows
    from cellvjepa.embedding.provenance import Source
    from cellvjepa.model.weights import load_encoder, locate_encoder
    from cellvjepa.movies.clip_shape import ClipShape
    from cellvjepa.movies.levelled import levelled
    from cellvjepa.movies.readers import Given, absolute

    if (cells is None) == (not grid):
        raise UserError("it is not clear where to look", "give either --cells cells.csv or --grid", "embed")
    model = locate_encoder(model)
    encoder, card = load_encoder(model)
    values = config_from(card.provenance.get("config", {}), overrides or (), model)
    shape = ClipShape.of(values.clip)
    given = Given(axes, pattern)
    with Terminal() as terminal:
        archive = open_for_clips(paths, given, values, terminal)
        table = None if cells is None else read_cells(cells, archive, progress=terminal)
        movies = levelled(archive.movies, progress=terminal)
        if table is None:
            windows = grid_windows(movies, shape, values.embed.stride_frames)
        else:
            windows = track_windows(movies, table, shape, values.embed.stride_frames, values.embed.min_cover)
        embed_windows(
            encoder,
            movies,
            windows,
            shape,
            values.embed,
            out,
            Source.of(card, model.resolve(), [absolute(path) for path in paths], given),
            progress=terminal,
        )
    typer.echo(f"Store: {out} ({len(windows.clips)} embeddings)")


def cluster(
    store: Store,
    projection: Annotated[Projection, typer.Option(help="How to bring the embeddings to the plane.")] = Projection.umap,
    method: Annotated[Clustering, typer.Option(help="How to find clusters (on principal components).")] = Clustering.hdbscan,
    seed: Annotated[int, typer.Option(help="Seed of the projection.", min=0)] = 0,
) -> None:
    """Project a store to the plane and find clusters; both are added to the store."""
    from cellvjepa.embedding.clusters import cluster as find_clusters
    from cellvjepa.embedding.project import project

    with Terminal() as terminal:
        project(store, projection.value, seed=seed, progress=terminal)
        find_clusters(store, method.value, seed=seed, progress=terminal)
    typer.echo(f"Store: {store} (added {projection.value} and clusters by {method.value})")


def export(
    store: Store, to: Annotated[Path, typer.Option("--to", help="FILE.parquet, FILE.csv or FILE.h5ad.", metavar="FILE.{parquet,csv,h5ad}")]
) -> None:
    """Write a store as one table for Python, R or a spreadsheet."""
    from cellvjepa.embedding.tables import export as write_table

    with Terminal() as terminal:
        write_table(store, to, progress=terminal)
    typer.echo(f"Table: {to}")
