"""Commands about events in time, and about labelling."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellvjepa.cli.arguments import (
    AsJson,
    Clips,
    EventsFolder,
    LabelsOfAnnotators,
    LabelsSoFar,
    Overrides,
    Store,
    TableOfDisagreements,
    TableToFillIn,
)
from cellvjepa.config import load_config
from cellvjepa.terminal import Terminal
from cellvjepa.writing import atomic_path, writable_folder


def events(
    store: Store,
    event: Annotated[list[str], typer.Option("--event", help="A class that is an event, e.g. dividing; may be repeated.", metavar="CLASS")],
    out: EventsFolder,
    by: Annotated[str | None, typer.Option("--by", help="Column whose values are compared, e.g. well or treatment.", metavar="COLUMN")] = None,
    conditions: Annotated[
        Path | None, typer.Option("--conditions", help="Table that says for each movie or well what the column --by is.", metavar="CSV")
    ] = None,
    feature: Annotated[
        list[str] | None,
        typer.Option("--feature", help="Column of the store to average around the onset; may be repeated.", metavar="COLUMN"),
    ] = None,
    known: Annotated[
        Path | None,
        typer.Option("--known", help="Known events, lines like those of labels.csv: how far off are the found ones?", metavar="CSV"),
    ] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Find events such as divisions or deaths in tracks that a probe has classified: when they begin, how often, who differs."""
    from cellvjepa.probing.event_study import study_events
    from cellvjepa.stories.events import lead, numbers, tell_events

    config = load_config(None, overrides or ()).probe
    writable_folder(out)
    with Terminal() as terminal:
        study = study_events(store, event, config, by=by, conditions_csv=conditions, features=feature or (), known_csv=known, progress=terminal)
    page = tell_events(out, study)
    if as_json:
        import json

        typer.echo(json.dumps(numbers(study), indent=2))
    else:
        typer.echo(f"{lead(study)}\nEvents: {out / 'events.csv'}\nReport: {page}")


def suggest(
    store: Store,
    out: TableToFillIn,
    labels: LabelsSoFar = None,
    count: Clips = 20,
    overrides: Overrides = None,
) -> None:
    """Suggest the clips to label next: those a probe is unsure of and that differ, and those that stand for many."""
    from cellvjepa.errors import UserError
    from cellvjepa.probing.suggest import suggest as suggest_clips

    config = load_config(None, overrides or ()).probe
    if out.exists():
        raise UserError("this file exists, and somebody may have filled it in", "choose another name", out)
    with Terminal() as terminal:
        found = suggest_clips(store, count, config, labels, progress=terminal)
    with atomic_path(out) as part:
        found.table.to_csv(part, index=False)
    for note in found.notes:
        typer.echo(f"Note: {note}")
    typer.echo(f"{len(found.table)} of {found.unlabelled} unlabelled clips. Fill in the column 'label' of {out}.")


def agreement(
    labels: LabelsOfAnnotators,
    out: TableOfDisagreements = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Say how far annotators agree (Cohen's kappa), and on which clips they do not."""
    import numpy as np
    import pandas as pd

    from cellvjepa.probing.agreement import agreements, summary
    from cellvjepa.probing.label_file import read_lines

    config = load_config(None, overrides or ()).probe
    found = agreements(pd.concat([read_lines(path) for path in labels], ignore_index=True), np.random.default_rng(config.seed), config.bootstrap)
    if out is not None:
        with atomic_path(out) as part:
            pd.concat([pair.disagreements for pair in found], ignore_index=True).to_csv(part, index=False)
    if as_json:
        import json

        typer.echo(json.dumps([summary(pair) for pair in found], indent=2))
        return
    for pair in found:
        typer.echo(str(pair))
