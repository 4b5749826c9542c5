"""Commands that classify."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Optional

import typer

from cellvjepa.cli.arguments import Overrides, Store
from cellvjepa.config import load_config
from cellvjepa.terminal import Terminal
from cellvjepa.writing import writable_folder


class ProbeKind(StrEnum):
    """Kinds of probe."""

    auto = "auto"
    attentive = "attentive"
    linear = "linear"
    knn = "knn"


def probe(
    store: Store,
    labels: Annotated[Path, typer.Option("--labels", help="labels.csv: movie, track_id, label; optional t_start, t_stop.", metavar="CSV")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the probe and its report.", metavar="DIR")],
    kind: Annotated[Optional[ProbeKind], typer.Option("--kind", help="Default: linear.")] = None,  # noqa: UP045
    group: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--group",
            help="What never stands on both sides of a split: lineage, field, well, plate, experiment (one held out at a time), time, or any column. "
            "Default: the coarsest there is enough of.",
            metavar="COLUMN",
        ),
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Train a classifier on the embeddings, and score it on groups it has not seen, beside simple baselines."""
    from cellvjepa.probing.evaluation import evaluate
    from cellvjepa.probing.probe import save_probe
    from cellvjepa.stories.probe import lead, tell_probe

    chosen = [] if kind is None else [f"probe.kind={kind.value}"]
    chosen += [] if group is None else [f"probe.group={group}"]
    settings_of_probe = load_config(None, [*(overrides or ()), *chosen]).probe
    writable_folder(out)
    with Terminal() as terminal:
        found = evaluate(store, labels, settings_of_probe, progress=terminal)
    save_probe(found.probe, out)
    with Terminal() as terminal:
        page = tell_probe(out, found, store, terminal)
    notes = "".join(f"Note: {note}\n" for note in found.notes)
    typer.echo(f"{lead(found)}\n{found.gap}\n{notes}Probe:  {out}\nReport: {page}")


def predict(store: Store, probe: Annotated[Path, typer.Option("--probe", help="A folder made by 'cellvjepa probe'.", metavar="DIR")]) -> None:
    """Add a probe's prediction and its probability to every row of a store."""
    from cellvjepa.embedding.store import add_columns
    from cellvjepa.probing.predicting import predict_store

    token_cache_gb = load_config(None, []).probe.token_cache_gb
    with Terminal() as terminal:
        table, loaded = predict_store(store, probe, token_cache_gb=token_cache_gb, progress=terminal)
    add_columns(store, table, "probe", dict(loaded.notes))
    counts = ", ".join(f"{name} {count}" for name, count in table["predicted"].value_counts().items())
    typer.echo(f"Store: {store} ({counts})")
