"""The command that does in a terminal, or on a cluster, what the Embed dock asks for."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cellvjepa
from napari_cellvjepa.embed.request import Request
from napari_cellvjepa.layers.cell_sources import LabelImage, Places, Tracked

_SCRIPT = """#!/bin/bash
# Embeds with cellvjepa on a SLURM cluster: sbatch {name}
# Movies, model and this environment must lie where the node sees them. Send it again, or let it be requeued: it goes on where it stopped.
# For many jobs at once there is workflows/embed_slurm.py in cellvjepa's repository:
#   python workflows/embed_slurm.py --jobs 8 --gpus 1 -- {arguments}
#
#SBATCH --job-name=cellvjepa-embed
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --time=08:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log

set -euo pipefail

# Make the environment known here, for instance:
#   source ~/environments/cellvjepa/bin/activate

{command}
"""


def embed_words(request: Request, trained: cellvjepa.Config, movie: str, cells: str) -> tuple[str, ...]:
    """Return the command, word by word.

    Parameters
    ----------
    request
        What is wanted.
    trained
        The configuration of the encoder: what the command starts from.
    movie, cells
        The files of the movie and of the cells, ``""`` where there are none.

    Raises
    ------
    UserError
        If something is in this window only, or has no equivalent on the command line.
    """
    if not movie:
        remedy = "save it as TIFF or OME-Zarr (File > Save Selected Layers), and open that"
        raise cellvjepa.UserError("these pixels are in this window only, so that no command can read them", remedy, request.movie.uri)
    if isinstance(request.cells, Places):
        raise cellvjepa.UserError("the command line has no windows around single points", "embed them here, or embed everywhere", request.cells.name)
    if isinstance(request.cells, LabelImage) and not cells:
        remedy = "save it as TIFF (File > Save Selected Layers) and open that, or embed here"
        raise cellvjepa.UserError("this label image is in this window only, so that no command can read it", remedy, request.cells.movie.uri)
    if isinstance(request.cells, Tracked) and not cells:
        remedy = "press 'For a cluster', which writes them into a table beside the script"
        raise cellvjepa.UserError("these cells are in this window only, so that no command can read them", remedy, request.cells.name)
    asked = trained.model_copy(update={"embed": request.embed})
    if request.channels is not None:
        asked = asked.model_copy(update={"clip": trained.clip.model_copy(update={"channels": request.channels})})
    words = ["cellvjepa", "embed", movie, "--model", str(request.model), "--out", str(request.store)]
    words += ["--cells", cells] if request.cells is not None else ["--grid"]
    # Label images are taken at their word here: their values are track ids.
    words += ["--link", "done"] if isinstance(request.cells, LabelImage) else []
    for override in cellvjepa.overrides_for(asked, trained):
        words += ["--set", override]
    return tuple(words)


def write_script(request: Request, trained: cellvjepa.Config, movie: str, cells: str, script: Path) -> str:
    """Write a script for SLURM, with a table of the cells beside it where they are in this window only; return what was written.

    Raises
    ------
    UserError
        As :func:`embed_words`, and if the files cannot be written.
    """
    tables = []
    if isinstance(request.cells, Tracked) and not cells:
        table = script.with_name(f"{script.stem}_cells.csv")
        with cellvjepa.atomic_path(table) as part:
            request.cells.table.assign(movie=request.movie.name).to_csv(part, index=False)
        cells, tables = str(table), [f"the cells into {table.name}"]
    words = embed_words(replace(request, store=request.store.absolute()), trained, movie, cells)
    with cellvjepa.atomic_path(script) as part:
        part.write_text(_SCRIPT.format(name=script.name, arguments=_shell(words[2:]), command=_shell(words)), encoding="utf-8", newline="\n")
    return " and ".join([f"The script was written to {script}", *tables]) + f". On the cluster: sbatch {script.name}"


def _shell(words: Sequence[str]) -> str:
    return shlex.join(words)
