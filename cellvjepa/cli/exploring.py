"""Commands that look into a store: maps, clusters, and what is similar to what."""

from __future__ import annotations

import json
import math
from enum import StrEnum
from typing import Annotated, Any

import typer

from cellvjepa.cli.arguments import AsJson, Store
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


def cluster(
    store: Store,
    projection: Annotated[Projection, typer.Option(help="How to bring the embeddings to the plane.")] = Projection.umap,
    method: Annotated[Clustering, typer.Option(help="How to find clusters (on principal components).")] = Clustering.hdbscan,
    seed: Annotated[int, typer.Option(help="Seed of the projection, the clusters and the landmarks.", min=0)] = 0,
    landmarks: Annotated[
        int | None,
        typer.Option(
            help="Rows, drawn at random, that UMAP and clusters are fitted on; the others are placed among them. "
            "Default: 100,000, and 20,000 for hdbscan.",
            metavar="ROWS",
        ),
    ] = None,
) -> None:
    """Project a store to the plane and find clusters; both are added to the store."""
    from cellvjepa.embedding.clusters import cluster as find_clusters
    from cellvjepa.embedding.project import project

    with Terminal() as terminal:
        project(store, projection.value, seed=seed, landmarks=landmarks, progress=terminal)
        find_clusters(store, method.value, seed=seed, landmarks=landmarks, progress=terminal)
    typer.echo(f"Store: {store} (added {projection.value} and clusters by {method.value})")


def similar(
    store: Store,
    clip: Annotated[str, typer.Option("--clip", help="The clip in question: its clip_id in the store's table.", metavar="ID")],
    count: Annotated[int, typer.Option("--count", help="How many to show.", min=1, max=10_000)] = 10,
    overlapping: Annotated[
        bool, typer.Option("--overlapping", help="Show windows of the same track at the same time, too; they show the same frames.")
    ] = False,
    exact: Annotated[
        bool, typer.Option("--exact", help="Search until the answer is proven exact, however long that takes (a million rows: up to seconds).")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find the cells and windows of time that are most similar to one, in all movies of a store."""
    from cellvjepa.embedding.similar import open_index

    with Terminal() as terminal:
        index = open_index(store, progress=terminal)
    row = index.row_of(clip)
    found = index.similar(row, count, overlapping=overlapping, exact=exact)
    if as_json:
        asked = _record({"row": row, **index.embeddings.table.iloc[row].to_dict()})
        results = [_record(record) for record in found.table.to_dict("records")]
        typer.echo(json.dumps({"clip": asked, "measure": "cosine of standardised vectors", "exact": found.exact, "similar": results}))
        return
    columns = ["similarity", "clip_id", "track_id", "t_start", "t_stop"]
    typer.echo(found.table[columns].to_string(index=False, float_format="{:.3f}".format) if len(found.table) else "There is no other window.")
    if not found.exact:
        typer.echo("Not proven exact: others may be as similar as the last of these. --exact searches until it is proven.")


def _record(values: dict[Any, Any]) -> dict[str, Any]:
    """Return a row of a table as JSON has it: plain numbers, null where something is unknown."""
    plain = {str(name): value.item() if hasattr(value, "item") else value for name, value in values.items()}
    return {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in plain.items()}
