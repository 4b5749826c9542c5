"""Commands that take embeddings out: tables for other programs, and what is in them that nobody asked for."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cellvjepa.cli.arguments import AsJson, GroupColumn, LabelsToCompare, Overrides, ReportFolder, Store
from cellvjepa.config import load_config
from cellvjepa.terminal import Terminal
from cellvjepa.writing import writable_folder


class Aggregate(StrEnum):
    """What a row of an averaged table is."""

    track = "track"
    well = "well"
    trajectory = "trajectory"


def export(
    store: Store,
    to: Annotated[
        Path,
        typer.Option("--to", help="FILE.parquet, FILE.csv, FILE.h5ad, or FOLDER.geff (tracks as a graph).", metavar="FILE.{parquet,csv,h5ad,geff}"),
    ],
    aggregate: Annotated[
        Aggregate | None,
        typer.Option(
            "--aggregate",
            help="Mean, standard deviation and number: one row per track; per well (every cell counts once); "
            "or per track and step of a time axis that all movies share.",
        ),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="labels.csv: its labels become the column 'label' of the table.", metavar="CSV")
    ] = None,
    vectors: Annotated[bool, typer.Option(help="With the embeddings and their projections, a column for each number.")] = True,
) -> None:
    """Write a store as one table for Python, R or a spreadsheet, or as tracks with embeddings."""
    from cellvjepa.embedding.tables import export as write_table
    from cellvjepa.probing.label_counts import label_column

    with Terminal() as terminal:
        columns = None if labels is None else label_column(store, labels)
        write_table(store, to, averaged=None if aggregate is None else aggregate.value, columns=columns, vectors=vectors, progress=terminal)
    typer.echo(f"{'Graph' if to.suffix.lower() == '.geff' else 'Table'}: {to}")


def report(
    store: Store,
    labels: LabelsToCompare = None,
    out: ReportFolder = None,
    group: GroupColumn = None,
    nuisance: Annotated[
        list[str] | None,
        typer.Option(
            "--nuisance", help="One more column of the store that embeddings should not tell, e.g. microscope; may be repeated.", metavar="COLUMN"
        ),
    ] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Show how well batch, position and brightness can be read from the embeddings, beside the phenotype."""
    from cellvjepa.probing.nuisances import score_nuisances
    from cellvjepa.stories.store_report import lead, numbers, tell_store

    chosen = [] if group is None else [f"probe.group={group}"]
    config = load_config(None, [*(overrides or ()), *chosen]).probe
    folder = writable_folder(out or store.with_name(f"{store.name.removesuffix('.zarr')}_report"))
    with Terminal() as terminal:
        found = score_nuisances(store, labels, config, nuisance or (), progress=terminal)
    page = tell_store(folder, found)
    if as_json:
        import json

        typer.echo(json.dumps(numbers(found), indent=2))
    else:
        typer.echo(f"{lead(found)}\nReport: {page}")
