"""The command line: thin commands over public functions.

Exit codes: 0 done, 2 a mistake in the input (one line on stderr), 130 cancelled. Slow imports happen inside the
commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer
from typer.exceptions import TyperException

from cellvjepa import __version__
from cellvjepa.config import Config, config_from, load_config
from cellvjepa.errors import Cancelled, UserError
from cellvjepa.terminal import Terminal
from cellvjepa.writing import readable_write_errors, writable_folder

if TYPE_CHECKING:
    from cellvjepa.movies.readers import Archive

app = typer.Typer(
    name="cellvjepa",
    help="V-JEPA video encoders for live-cell microscopy: pretrain on your own archive, explore, classify from a few labels, export.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Paths = Annotated[
    list[Path], typer.Argument(help="Movies, or folders with movies in them (OME-Zarr, TIFF, folders of one TIFF per frame).", metavar="PATH...")
]
ConfigFile = Annotated[
    Optional[str], typer.Option("--config", help="Preset (tiny, small, base) or YAML file. Default: tiny.", metavar="PRESET|FILE")  # noqa: UP045
]
Overrides = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--set", help="Change one setting, e.g. --set training.steps=60; may be repeated. 'cellvjepa settings' lists all.", metavar="KEY=VALUE"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Store = Annotated[Path, typer.Argument(help="A store made by 'cellvjepa embed'.", metavar="STORE")]


class Projection(StrEnum):
    """Ways to bring embeddings to the plane."""

    umap = "umap"
    pca = "pca"


class Clustering(StrEnum):
    """Ways to find clusters."""

    hdbscan = "hdbscan"
    kmeans = "kmeans"
    leiden = "leiden"


class ProbeKind(StrEnum):
    """Kinds of probe."""

    attentive = "attentive"
    linear = "linear"
    knn = "knn"


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(f"cellvjepa {__version__}")
        raise typer.Exit


@app.command()
def demo(out: Annotated[Path, typer.Option("--out", help="Folder for the results.")] = Path("cellvjepa-demo")) -> None:
    """Tell the whole story on the sample data, in under three minutes on two CPU cores, ending with report.html."""
    from cellvjepa.stories.demo import run_demo

    with Terminal() as terminal:
        report = run_demo(out, terminal)
    typer.echo(f"Done. Open the report in a browser:\n{report.resolve()}")


@app.command()
def inspect(paths: Paths, config: ConfigFile = None, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Show every movie: axes, shape, dtype, channels, scale, interval, chunks, cost of a clip, and problems with remedies."""
    from cellvjepa.movies.clip_shape import ClipShape
    from cellvjepa.movies.readers import open_archives
    from cellvjepa.movies.survey import survey

    with Terminal() as terminal:
        archive = open_archives(paths, progress=terminal)
        found = survey(archive, ClipShape.of(load_config(config, overrides or ()).clip))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        _print_survey(archive, found)


@app.command()
def settings(config: ConfigFile = None, overrides: Overrides = None) -> None:
    """List every setting with its value, unit and meaning; each can be changed with --set."""
    from rich.console import Console
    from rich.table import Table

    values = load_config(config, overrides or ())
    table = Table("setting", "value", "meaning")
    for section, part in values:
        for name, field in type(part).model_fields.items():
            table.add_row(f"{section}.{name}", str(getattr(part, name)), field.description or "")
    Console().print(table)


@app.command()
def pretrain(
    paths: Paths,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--out",
            help="Folder of the run: configuration, metrics, checkpoints, encoder, report. Default: runs/ and the name of PATH.",
            metavar="RUN",
        ),
    ] = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint in RUN.")] = False,
    init_from: Annotated[
        Optional[Path], typer.Option("--init-from", help="Start from the weights of this run or encoder.safetensors.", metavar="WEIGHTS")  # noqa: UP045
    ] = None,
) -> None:
    """Pretrain an encoder on your own movies."""
    from cellvjepa.stories.run import tell_run
    from cellvjepa.training.pretrain import pretrain as run_pretraining
    from cellvjepa.training.pretrain import run_config

    out = out or Path("runs") / paths[0].resolve().name.split(".")[0]
    values = run_config(out, overrides or ()) if resume and config is None else load_config(config, overrides or ())
    with Terminal() as terminal:
        archive = _open_for_clips(paths, values, terminal)
        run_pretraining(archive.movies, out, values, resume=resume, init_from=init_from, progress=terminal)
        page = tell_run(out, archive.movies)
    typer.echo(f"Encoder: {out / 'encoder.safetensors'}\nReport:  {page}")


@app.command()
def embed(
    paths: Paths,
    model: Annotated[Path, typer.Option("--model", help="A run, or its encoder.safetensors.", metavar="RUN")],
    out: Annotated[Path, typer.Option("--out", help="The store to write (AnnData on Zarr).", metavar="STORE")],
    cells: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--cells", help="Where the cells are: cells.csv, a label image, or a folder of label images.", metavar="LABELS_OR_TRACKS"),
    ] = None,
    grid: Annotated[bool, typer.Option("--grid", help="Embed a grid that covers every movie, instead of cells.")] = False,
    overrides: Overrides = None,
) -> None:
    """Compute one embedding per cell and window of time, or per place of a grid. Run it again to resume."""
    from cellvjepa.cells.table import read_cells
    from cellvjepa.cells.windows import grid_windows, track_windows
    from cellvjepa.embedding.embed import embed_windows
    from cellvjepa.embedding.provenance import Source
    from cellvjepa.model.weights import load_encoder
    from cellvjepa.movies.clip_shape import ClipShape
    from cellvjepa.movies.levels import with_levels

    if (cells is None) == (not grid):
        raise UserError("it is not clear where to look", "give either --cells cells.csv or --grid", "embed")
    encoder, card = load_encoder(model)
    values = config_from(card.provenance.get("config", {}), overrides or (), model)
    shape = ClipShape.of(values.clip)
    with Terminal() as terminal:
        archive = _open_for_clips(paths, values, terminal)
        if cells is not None:
            table = read_cells(cells, archive, progress=terminal)
            windows = track_windows(archive.movies, table, shape, values.embed.stride_frames, values.embed.min_cover)
        else:
            windows = grid_windows(archive.movies, shape, values.embed.stride_frames)
        movies = [with_levels(movie) for movie in archive.movies]
        embed_windows(
            encoder,
            movies,
            windows,
            shape,
            values.embed,
            out,
            Source.of(card, model.resolve(), [path.resolve() for path in paths]),
            progress=terminal,
        )
    typer.echo(f"Store: {out} ({len(windows.clips)} embeddings)")


@app.command()
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


@app.command()
def probe(
    store: Store,
    labels: Annotated[Path, typer.Option("--labels", help="labels.csv: movie, track_id, label; optional t_start, t_stop.", metavar="CSV")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the probe and its report.", metavar="DIR")],
    kind: Annotated[Optional[ProbeKind], typer.Option("--kind", help="Default: linear.")] = None,  # noqa: UP045
    group: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--group", help="Column whose values never stand on both sides of a split. Default: movie, else track family.", metavar="COLUMN"
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
    page = tell_probe(out, found)
    typer.echo(f"{lead(found)}\nProbe:  {out}\nReport: {page}")


@app.command()
def predict(store: Store, probe: Annotated[Path, typer.Option("--probe", help="A folder made by 'cellvjepa probe'.", metavar="DIR")]) -> None:
    """Add a probe's prediction and its probability to every row of a store."""
    from cellvjepa.embedding.store import add_columns, open_store
    from cellvjepa.probing.evaluation import features_of
    from cellvjepa.probing.probe import FeatureSpec, load_probe
    from cellvjepa.probing.probe import predict as predict_rows

    kind = load_probe(probe).kind
    with Terminal() as terminal:
        features = features_of(store, kind, terminal)
    loaded = load_probe(probe, FeatureSpec.of(open_store(store).provenance, features))
    table = predict_rows(loaded, features)
    add_columns(store, table, "probe", dict(loaded.notes))
    counts = ", ".join(f"{name} {count}" for name, count in table["predicted"].value_counts().items())
    typer.echo(f"Store: {store} ({counts})")


@app.command()
def export(
    store: Store, to: Annotated[Path, typer.Option("--to", help="FILE.parquet, FILE.csv or FILE.h5ad.", metavar="FILE.{parquet,csv,h5ad}")]
) -> None:
    """Write a store as one table for Python, R or a spreadsheet."""
    from cellvjepa.embedding.tables import export as write_table

    with Terminal() as terminal:
        write_table(store, to, progress=terminal)
    typer.echo(f"Table: {to}")


def main() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; mistakes of the user are printed as one line on stderr."""
    try:
        with readable_write_errors("output"):
            code = app(args=list(arguments), standalone_mode=False)
    except (UserError, TyperException) as error:
        message = str(error) if isinstance(error, UserError) else " ".join(error.format_message().split())
        print(f"cellvjepa: {message}", file=sys.stderr)
        return 2
    except (Cancelled, KeyboardInterrupt, typer.Abort):
        print("cellvjepa: cancelled; what was done is kept (pretrain: add --resume; embed: run it again)", file=sys.stderr)
        return 130
    return code if isinstance(code, int) else 0


def _open_for_clips(paths: list[Path], config: Config, terminal: Terminal) -> Archive:
    from cellvjepa.movies.clip_shape import ClipShape
    from cellvjepa.movies.readers import open_archives
    from cellvjepa.movies.usable import usable

    archive = usable(open_archives(paths, progress=terminal), ClipShape.of(config.clip))
    for line in _grouped([(skipped.path, f"{skipped.what}. {skipped.remedy}.") for skipped in archive.skipped]):
        terminal.note(f"skipped {line}")
    return archive


def _grouped(findings: list[tuple[str, str]]) -> list[str]:
    """Say what many have in common once: ``"a.tif and 3 more: ..."``."""
    by_sentence: dict[str, list[str]] = {}
    for name, sentence in findings:
        by_sentence.setdefault(sentence, []).append(name)
    return [f"{names[0] if len(names) == 1 else f'{names[0]} and {len(names) - 1} more'}: {sentence}" for sentence, names in by_sentence.items()]


def _print_survey(archive: Archive, found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from cellvjepa.movies.survey import COLUMNS, table_rows

    console = Console()
    # Problems follow below the table: a sentence does not fit into a column, and many movies share one.
    table = Table(*COLUMNS[:-1], box=None, pad_edge=False, header_style="bold")
    for row in table_rows(archive, found):
        table.add_row(*row[:-1])
    console.print(table)
    described = zip(archive.movies, found["movies"], strict=True)
    for line in _grouped([(movie.name, f"{p['what']}. {p['remedy']}.") for movie, one in described for p in one["problems"]]):
        console.print(f"- {line}", markup=False, highlight=False)
    for line in _grouped([(s["path"], f"{s['what']}. {s['remedy']}.") for s in found["skipped"]]):
        console.print(f"- skipped {line}", markup=False, highlight=False)


if __name__ == "__main__":
    main()
