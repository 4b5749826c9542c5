"""Commands that classify."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cellvjepa.cli.arguments import Group, Labels, Overrides, ProbeFolder, Store
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
    labels: Labels,
    out: ProbeFolder,
    kind: Annotated[ProbeKind | None, typer.Option("--kind", help="Default: linear.")] = None,
    group: Group = None,
    overrides: Overrides = None,
) -> None:
    """Train a classifier on the embeddings, and score it on groups it has not seen, beside simple baselines."""
    from cellvjepa.probing.evaluation import evaluate_labelled
    from cellvjepa.probing.labelled import Labelled
    from cellvjepa.probing.multilabel_evaluation import evaluate_multilabel
    from cellvjepa.probing.probe import save_probe
    from cellvjepa.stories import multilabel_probe
    from cellvjepa.stories.probe import lead, tell_probe
    from cellvjepa.stories.probe_files import choice_in_words

    chosen = [] if kind is None else [f"probe.kind={kind.value}"]
    chosen += [] if group is None else [f"probe.group={group}"]
    settings = load_config(None, [*(overrides or ()), *chosen]).probe
    writable_folder(out)
    with Terminal() as terminal:
        labelled = Labelled.of(store, labels, settings)
        if labelled.labels.multilabel:
            several = evaluate_multilabel(labelled, settings, progress=terminal)
            save_probe(several.probe, out)
            page = multilabel_probe.tell_multilabel_probe(out, several, store, terminal)
            probe_made, said = several.probe, [multilabel_probe.lead(several), several.gap, *(f"Note: {note}" for note in several.notes)]
        else:
            found = evaluate_labelled(labelled, settings, progress=terminal)
            save_probe(found.probe, out)
            page = tell_probe(out, found, store, terminal)
            probe_made, said = found.probe, [lead(found), found.gap, *(f"Note: {note}" for note in found.notes)]
    typer.echo("\n".join([*said, f"Probe:  {out} ({choice_in_words(probe_made)})", f"Report: {page}"]))


def predict(store: Store, probe: Annotated[Path, typer.Option("--probe", help="A folder made by 'cellvjepa probe'.", metavar="DIR")]) -> None:
    """Add a probe's prediction and its probability to every row of a store."""
    from cellvjepa.embedding.store import add_columns
    from cellvjepa.probing.label_sets import SEPARATOR
    from cellvjepa.probing.predicting import predict_store

    token_cache_gb = load_config(None, []).probe.token_cache_gb
    with Terminal() as terminal:
        table, loaded = predict_store(store, probe, token_cache_gb=token_cache_gb, progress=terminal)
    add_columns(store, table, "probe", dict(loaded.notes))
    counts = table["predicted"].str.split(SEPARATOR).explode().value_counts()  # of several classes at once each counts
    typer.echo(f"Store: {store} ({', '.join(f'{name} {count}' for name, count in counts.items())})")
