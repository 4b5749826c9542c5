"""Commands that classify."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cellvjepa.cli.arguments import Group, Labels, Overrides, ProbeFolder, Store
from cellvjepa.config import load_config
from cellvjepa.terminal import Terminal


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
    from cellvjepa.stories.make_probe import make_probe
    from cellvjepa.stories.probe_files import choice_in_words

    chosen = [] if kind is None else [f"probe.kind={kind.value}"]
    chosen += [] if group is None else [f"probe.group={group}"]
    settings = load_config(None, [*(overrides or ()), *chosen]).probe
    with Terminal() as terminal:
        made = make_probe(store, labels, out, settings, progress=terminal)
    typer.echo("\n".join([*made.said, f"Probe:  {out} ({choice_in_words(made.probe)})", f"Report: {made.page}"]))


def predict(store: Store, probe: Annotated[Path, typer.Option("--probe", help="A folder made by 'cellvjepa probe'.", metavar="DIR")]) -> None:
    """Add a probe's prediction and its probability to every row of a store."""
    from cellvjepa.probing.label_sets import SEPARATOR
    from cellvjepa.probing.predicting import apply_probe

    token_cache_gb = load_config(None, []).probe.token_cache_gb
    with Terminal() as terminal:
        table = apply_probe(store, probe, token_cache_gb=token_cache_gb, progress=terminal)
    counts = table["predicted"].str.split(SEPARATOR).explode().value_counts()  # of several classes at once each counts
    typer.echo(f"Store: {store} ({', '.join(f'{name} {count}' for name, count in counts.items())})")
