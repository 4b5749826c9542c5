"""Commands about archives: what is in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cellvjepa.cli.arguments import AsJson, Axes, ConfigFile, LabelImages, NoCache, Overrides, Paths, Pattern
from cellvjepa.cli.opening import grouped
from cellvjepa.cli.print_survey import print_survey
from cellvjepa.config import load_config
from cellvjepa.terminal import Terminal

if TYPE_CHECKING:
    from cellvjepa.config import TrainingConfig
    from cellvjepa.movies.block_size import Budget


def inspect(
    paths: Paths,
    axes: Axes = None,
    pattern: Pattern = None,
    every_movie: Annotated[bool, typer.Option("--all", help="A row for every movie, however many there are.")] = False,
    no_cache: NoCache = False,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Show every movie: axes, shape, dtype, channels, scale, interval, chunks, cost of a clip, and problems with remedies."""
    from cellvjepa.movies.clip_shape import ClipShape
    from cellvjepa.movies.readers import Given, open_archives
    from cellvjepa.movies.survey import survey

    values = load_config(config, overrides or ())
    with Terminal() as terminal:
        archive = open_archives(paths, Given(axes, pattern), remember=not no_cache, progress=terminal)
        found = survey(archive, ClipShape.of(values.clip), _budget(values.training))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        print_survey(found, every_movie)


def convert(
    path: Annotated[str, typer.Argument(help="A movie, or a folder with movies in it, in any layout that is read.", metavar="PATH")],
    destination: Annotated[
        Path, typer.Argument(help="What to write: NAME.zarr for one movie; for several a folder with one .zarr for each.", metavar="DST.zarr")
    ],
    axes: Axes = None,
    pattern: Pattern = None,
    labels: LabelImages = None,
    as_json: AsJson = False,
) -> None:
    """Write movies as OME-Zarr 0.5 that trains fast: clip-sized chunks, few files, checksums, coarser copies, labels. Run it again to resume."""
    from time import monotonic

    from cellvjepa.cells.movie_labels import movie_labels
    from cellvjepa.movies.convert import convert as convert_archive
    from cellvjepa.movies.readers import Given, open_archive

    with Terminal() as terminal:
        archive = open_archive(path, Given(axes, pattern), progress=terminal)
        found_labels = movie_labels(archive.movies, labels)
        taken = {image.uri for images in found_labels.values() for image in images.values()}
        left_out = [(skipped.path, f"{skipped.what}. {skipped.remedy}.") for skipped in archive.skipped if skipped.path not in taken]
        for line in grouped(left_out):
            terminal.note(f"skipped {line}")
        begun_s = monotonic()
        done = convert_archive(archive, destination, found_labels, progress=terminal)
        seconds = monotonic() - begun_s
    found = {"destination": str(done.destination), "movies": done.movies, "mb_in": done.decoded_bytes / 1e6, "mb_out": done.written_bytes / 1e6}
    speed = f"{done.decoded_bytes / 1e6 / max(seconds, 1e-3):,.0f} MB/s"
    if as_json:
        typer.echo(json.dumps(found | {"seconds": round(seconds, 3)}, indent=2))
    else:
        count = f"{done.movies} movie{'s' * (done.movies != 1)}"
        typer.echo(f"OME-Zarr: {done.destination} ({count}, {found['mb_in']:,.1f} MB of pixels in {found['mb_out']:,.1f} MB, {speed})")


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


def _budget(training: TrainingConfig) -> Budget:
    """Return about what a block may cost in training: live blocks and those read ahead share the memory."""
    from cellvjepa.movies.block_size import Budget

    return Budget(training.data_memory_mb * 10**6 // (2 * training.live_blocks), training.clips_per_block)
