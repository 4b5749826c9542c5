"""Commands that train."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cellvjepa.cli.arguments import Axes, CellsToWatch, ConfigFile, LabelsToWatch, Overrides, Paths, Pattern, RunFolder
from cellvjepa.cli.opening import open_for_clips
from cellvjepa.config import Config, load_config
from cellvjepa.errors import UserError
from cellvjepa.terminal import Terminal

if TYPE_CHECKING:
    from cellvjepa.movies.readers import Archive
    from cellvjepa.stories.labelled import LabelledWindows


def pretrain(
    paths: Paths,
    out: RunFolder = None,
    axes: Axes = None,
    pattern: Pattern = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint in RUN.")] = False,
    init_from: Annotated[
        Path | None,
        typer.Option(
            "--init-from",
            help="Start from the weights of this run or encoder.safetensors, or from public ones: V-JEPA 2 or 2.1 (.pt, .safetensors, or a folder "
            "of Hugging Face).",
            metavar="WEIGHTS",
        ),
    ] = None,
    labels: LabelsToWatch = None,
    cells: CellsToWatch = None,
) -> None:
    """Pretrain an encoder on your own movies."""
    from cellvjepa.movies.readers import Given
    from cellvjepa.stories.run import tell_run
    from cellvjepa.training.alarms import CollapsedError
    from cellvjepa.training.pretrain import pretrain as run_pretraining
    from cellvjepa.training.pretrain import run_config
    from cellvjepa.training.processes import together
    from cellvjepa.training.stop_file import UntilAsked

    if (labels is None) != (cells is None):
        raise UserError("labels and cells belong together", "give both --labels labels.csv and --cells cells.csv, or neither", "pretrain")
    if init_from is not None and not resume and not init_from.exists():
        raise UserError("there is nothing here", "check the path: a run, its encoder.safetensors, or public weights", f"--init-from {init_from}")
    out = out or Path("runs") / _name_of(paths[0])
    with together() as processes, Terminal(requeued=True, first=processes.first) as terminal:
        resumed = resume and config is None and processes.first
        values = processes.from_first(run_config(out, overrides or ()) if resumed else load_config(config, overrides or ()))
        archive = open_for_clips(paths, Given(axes, pattern), values, terminal)
        watch = None
        if labels is not None and cells is not None and processes.first:
            watch = _watch(archive, cells, labels, values, terminal)
        progress = UntilAsked(out, terminal) if processes.first else terminal
        try:
            run_pretraining(archive.movies, out, values, resume=resume, init_from=init_from, watch=watch, progress=progress, processes=processes)
        except CollapsedError:
            if processes.first:
                tell_run(out, archive.movies)
            raise
        page = tell_run(out, archive.movies) if processes.first else None
    if page is not None:
        typer.echo(f"Encoder: {out / 'encoder.safetensors'}\nReport:  {page}")


def _watch(archive: Archive, cells: Path, labels: Path, config: Config, terminal: Terminal) -> LabelledWindows | None:
    from cellvjepa.cells.table import read_cells
    from cellvjepa.stories.labelled import watch_labels

    return watch_labels(archive.movies, read_cells(cells, archive, progress=terminal), labels, config)


def _name_of(path: str) -> str:
    """Return what to call a run after its movies: the last folder or file of a path or address that is no pattern."""
    plain = [part for part in (path if "://" in path else os.path.abspath(path)).split("/") if part and "{" not in part]  # noqa: PTH100
    return plain[-1].split(".")[0] if plain else "run"
