"""Arguments and options of the commands: those that are the same in several, then, flag by flag, what else bears a name that is used twice."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_TRACKS, _CSV, _FOLDER = "LABELS_OR_TRACKS", "CSV", "DIR"

# The same wherever they are.

# Texts, not paths: a Path would turn s3://bucket into s3:/bucket.
Paths = Annotated[
    list[str],
    typer.Argument(
        help="Movies, or folders with movies in them (OME-Zarr, TIFF, NDTiff, ND2, CZI, LIF, one file per frame); OME-Zarr may lie behind s3:// or https://.",
        metavar="PATH...",
    ),
]
Axes = Annotated[
    str | None,
    typer.Option("--axes", help="What the axes of every file are, in their order, e.g. TZYX; overrules what files say.", metavar="AXES"),
]
Pattern = Annotated[
    str | None,
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
    str | None,
    typer.Option("--config", help="Preset (tiny, small, base, paper) or YAML file. Default: tiny.", metavar="PRESET|FILE"),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Change one setting, e.g. --set training.steps=60; may be repeated. 'cellvjepa settings' lists all.", metavar="KEY=VALUE"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Store = Annotated[Path, typer.Argument(help="A store made by 'cellvjepa embed'.", metavar="STORE")]

# --model

Model = Annotated[Path, typer.Option("--model", help="A run, its encoder.safetensors, or encoder_tiny, which comes with the program.", metavar="RUN")]
RunWithPredictor = Annotated[
    Path, typer.Option("--model", help="A run of 'cellvjepa pretrain', with its predictor.safetensors; or encoder_tiny.", metavar="RUN")
]

# --cells: where the cells are

CellsToEmbed = Annotated[
    Path | None,
    typer.Option(
        "--cells",
        help="Where the cells are: a label image or a folder of them, a table or file of tracks (ours, Cell Tracking Challenge, GEFF, "
        "TrackMate, btrack, ultrack), or a folder of any of these.",
        metavar=_TRACKS,
    ),
]
CellsToWatch = Annotated[Path | None, typer.Option("--cells", help="Where the labelled cells are; with --labels. As for 'embed'.", metavar=_TRACKS)]
CellsToLookUp = Annotated[
    Path | None,
    typer.Option("--cells", help="Also look up each cell in each frame: cells.csv, a label image, or a folder of label images.", metavar=_TRACKS),
]

Outlines = Annotated[
    Path | None,
    typer.Option(
        "--outlines",
        help="Label images whose pixel values are track ids, where the cells themselves come from a table; for embed.mask_weight, "
        "embed.hide_neighbours, and intensities under the outline.",
        metavar="LABELS",
    ),
]

# --labels: what is known about cells (to 'convert' they are label images)

Labels = Annotated[Path, typer.Option("--labels", help="labels.csv: movie, track_id, label; optional t_start, t_stop.", metavar=_CSV)]
LabelsToWatch = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        help="Watch how well these labels can be told apart while training, and keep the latest encoder that does as well as the best.",
        metavar="LABELS",
    ),
]
LabelsToCompare = Annotated[
    Path | None,
    typer.Option("--labels", help="labels.csv of a phenotype to compare with: movie, track_id, label; optional t_start, t_stop.", metavar=_CSV),
]
LabelsSoFar = Annotated[Path | None, typer.Option("--labels", help="What is labelled already: it is not suggested again.", metavar=_CSV)]
LabelsOfAnnotators = Annotated[list[Path], typer.Argument(help="Label files with the column 'annotator'.", metavar="LABELS...")]
LabelsToLink = Annotated[Path, typer.Option("--labels", help="The label image: in each frame, pixels of one value are one cell.", metavar="LABELS")]
LabelImages = Annotated[
    Path | None,
    typer.Option("--labels", help="Label images to take along. Default: those inside the movies, or beside them as NAME_labels.tif."),
]

# --group: what never stands on both sides of a split

Group = Annotated[
    str | None,
    typer.Option(
        "--group",
        help="What never stands on both sides of a split: lineage, field, well, plate, experiment (one held out at a time), time, or any column. "
        "Default: the coarsest there is enough of.",
        metavar="COLUMN",
    ),
]
GroupColumn = Annotated[
    str | None,
    typer.Option("--group", help="Column whose values never stand on both sides of a split. Default: movie, else track family.", metavar="COLUMN"),
]

# --out: what is written

RunFolder = Annotated[
    Path | None,
    typer.Option(
        "--out", help="Folder of the run: configuration, metrics, checkpoints, encoder, report. Default: runs/ and the name of PATH.", metavar="RUN"
    ),
]
StoreToWrite = Annotated[Path, typer.Option("--out", help="The store to write (AnnData on Zarr).", metavar="STORE")]
MapsFolder = Annotated[Path, typer.Option("--out", help="Folder for the maps (one OME-Zarr per movie) and surprise.csv.", metavar="FOLDER")]
OutlinesFile = Annotated[
    Path,
    typer.Option(
        "--out", help="The label image to write, NAME.tif or NAME.zarr; for several movies a folder for their NAME_labels.tif.", metavar="LABELS"
    ),
]
LinkedLabelsFile = Annotated[Path, typer.Option("--out", help="The label image to write, NAME.tif or NAME.zarr.", metavar="LABELS")]
ProbeFolder = Annotated[Path, typer.Option("--out", help="Folder for the probe and its report.", metavar=_FOLDER)]
EventsFolder = Annotated[Path, typer.Option("--out", help="Folder for tables and report.", metavar=_FOLDER)]
ReportFolder = Annotated[Path | None, typer.Option("--out", help="Folder for the report. Default: STORE_report beside the store.", metavar=_FOLDER)]
DemoFolder = Annotated[Path, typer.Option("--out", help="Folder for the results.")]
TableToFillIn = Annotated[Path, typer.Option("--out", help="The table to fill in: a label file whose labels are empty.", metavar=_CSV)]
TableOfDisagreements = Annotated[Path | None, typer.Option("--out", help="Table of the clips on which they disagree.", metavar=_CSV)]

# --count

Clips = Annotated[int, typer.Option("--count", help="How many clips.", min=1, max=10_000)]

# --dask

Dask = Annotated[
    str | None,
    typer.Option(
        "--dask",
        help="Have a dask cluster compute: the address of its scheduler, or local, or local:4 for four processes here.",
        metavar="ADDRESS",
    ),
]
