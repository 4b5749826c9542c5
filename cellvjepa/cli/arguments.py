"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

# Texts, not paths: a Path would turn s3://bucket into s3:/bucket.
Paths = Annotated[
    list[str],
    typer.Argument(
        help="Movies, or folders with movies in them (OME-Zarr, TIFF, NDTiff, ND2, CZI, LIF, one file per frame); OME-Zarr may lie behind s3:// or https://.",
        metavar="PATH...",
    ),
]
Axes = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--axes", help="What the axes of every file are, in their order, e.g. TZYX; overrules what files say.", metavar="AXES"),
]
Pattern = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--pattern", help="How files of one frame are named below PATH, e.g. '{channel}/T{t}.tif'.", metavar="PATTERN"),
]
NoCache = Annotated[
    bool,
    typer.Option(
        "--no-cache",
        help="Open every movie afresh. Else what was learnt about files that have not changed since is taken from the user's cache folder, "
        "or from the folder that CELLVJEPA_CACHE names (empty: none).",
    ),
]
ConfigFile = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--config", help="Preset (tiny, small, base, paper) or YAML file. Default: tiny.", metavar="PRESET|FILE"),
]
Overrides = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--set", help="Change one setting, e.g. --set training.steps=60; may be repeated. 'cellvjepa settings' lists all.", metavar="KEY=VALUE"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Store = Annotated[Path, typer.Argument(help="A store made by 'cellvjepa embed'.", metavar="STORE")]
