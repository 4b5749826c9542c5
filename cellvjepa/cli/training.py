"""Commands that train."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Optional

import typer

from cellvjepa.cli.arguments import Axes, ConfigFile, Overrides, Paths, Pattern
from cellvjepa.cli.opening import open_for_clips
from cellvjepa.config import load_config
from cellvjepa.terminal import Terminal


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
    axes: Axes = None,
    pattern: Pattern = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint in RUN.")] = False,
    init_from: Annotated[
        Optional[Path], typer.Option("--init-from", help="Start from the weights of this run or encoder.safetensors.", metavar="WEIGHTS")  # noqa: UP045
    ] = None,
) -> None:
    """Pretrain an encoder on your own movies."""
    from cellvjepa.movies.readers import Given
    from cellvjepa.stories.run import tell_run
    from cellvjepa.training.pretrain import pretrain as run_pretraining
    from cellvjepa.training.pretrain import run_config

    out = out or Path("runs") / _name_of(paths[0])
    values = run_config(out, overrides or ()) if resume and config is None else load_config(config, overrides or ())
    with Terminal() as terminal:
        archive = open_for_clips(paths, Given(axes, pattern), values, terminal)
        run_pretraining(archive.movies, out, values, resume=resume, init_from=init_from, progress=terminal)
        page = tell_run(out, archive.movies)
    typer.echo(f"Encoder: {out / 'encoder.safetensors'}\nReport:  {page}")


def _name_of(path: str) -> str:
    """Return what to call a run after its movies: the last folder or file of a path or address that is no pattern."""
    plain = [part for part in (path if "://" in path else os.path.abspath(path)).split("/") if part and "{" not in part]  # noqa: PTH100
    return plain[-1].split(".")[0] if plain else "run"
