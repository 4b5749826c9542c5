"""The whole program as one function, on the sample data: a newcomer learns the project from it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile

from cellvjepa.cells.table import Cells, read_cells
from cellvjepa.cells.windows import Windows, track_windows
from cellvjepa.config import Config, load_config
from cellvjepa.embedding.clusters import cluster
from cellvjepa.embedding.embed import embed_windows
from cellvjepa.embedding.project import project
from cellvjepa.embedding.provenance import Source
from cellvjepa.embedding.store import Embeddings, open_store
from cellvjepa.errors import UserError
from cellvjepa.model.weights import load_encoder
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.clips import read_clip
from cellvjepa.movies.levels import with_levels
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import Archive, open_archive
from cellvjepa.movies.survey import survey
from cellvjepa.movies.survey_table import survey_table
from cellvjepa.movies.usable import usable
from cellvjepa.probing.evaluation import Evaluation, evaluate
from cellvjepa.probing.labels import Labels
from cellvjepa.progress import Progress, silent
from cellvjepa.report import pictures, plots
from cellvjepa.report.animations import animate
from cellvjepa.report.html import write_page
from cellvjepa.report.page import Gallery, Page, Picture, Section, Table
from cellvjepa.report.strip import strip
from cellvjepa.shipped import sample_data_folder
from cellvjepa.stories.probe import lead, score_section, tell_probe
from cellvjepa.stories.probe_comparison import comparison_in_words, comparison_section
from cellvjepa.stories.run import curves_section, masks_on_a_clip, masks_section, tell_run
from cellvjepa.training.metrics import read_metrics
from cellvjepa.training.pretrain import pretrain
from cellvjepa.writing import atomic_path, writable_folder

_RESULTS = ("run", "cells.zarr", "probe", "report.html", "overview.png")
# `tiny`, but with crops as wide as these cells need, which makes a step four times cheaper; and short, because it starts from the
# encoder that comes with the program.
_START = "encoder_tiny"
_SETTINGS = ("clip.size_px=32", "training.steps=300", "training.learning_rate=5e-4", "monitor.every=50")
_EXAMPLES = 4  # clips shown per class
_SHOWN_PX = 96  # width of each, at least about this
_SHOWN_FRAME = 8  # in the middle of the first stretch of behaviour
_UNLABELLED = "not labelled"


def run_demo(out: str | os.PathLike[str], progress: Progress = silent) -> Path:
    """Inspect, pretrain, embed, cluster, probe and report, on the sample data.

    Parameters
    ----------
    out
        Folder for the results; those of an earlier demo in it are replaced.
    progress
        Told of each step; may cancel.

    Returns
    -------
    Path
        ``report.html``.

    Raises
    ------
    UserError
        If ``out`` cannot be written to or holds something else.
    """
    folder = _empty_folder(out)
    data = sample_data_folder()
    config = load_config("tiny", _SETTINGS)
    shape = ClipShape.of(config.clip)

    archive = usable(open_archive(data, progress=progress), shape)
    run = pretrain(archive.movies, folder / "run", config, init_from=_START, progress=progress)
    tell_run(run, archive.movies)

    simulated = open_archive(data / "simulated")
    movies = [with_levels(movie) for movie in simulated.movies]
    cells = read_cells(data / "simulated" / "cells.csv", simulated)
    windows = track_windows(movies, cells, shape)
    encoder, card = load_encoder(run)
    source = Source.of(card, run.resolve(), [(data / "simulated").resolve()])
    store = embed_windows(encoder, movies, windows, shape, config.embed, folder / "cells.zarr", source, progress=progress)
    project(store, "umap", seed=0, progress=progress)
    cluster(store, "kmeans", seed=0, progress=progress)

    found = evaluate(store, data / "simulated" / "labels.csv", config.probe, progress=progress)
    tell_probe(folder / "probe", found, store, progress)

    frame, embeddings = _labelled_frame(simulated.movies[0], cells, found.labels), open_store(store)
    maps = _maps(embeddings, found.labels)
    with atomic_path(folder / "overview.png") as part:
        part.write_bytes(strip([frame.data, maps[0].data, plots.draw_confusion(found.report.confusion_KK, found.report.classes)]))
    page = Page(
        title="What cells do, learnt without labels",
        lead=_lead(found),
        sections=(
            _data_section(archive, simulated, frame, shape),
            masks_section(masks_on_a_clip(simulated.movies, config), config),
            curves_section(read_metrics(run / "metrics.jsonl")),
            _map_section(maps, len(embeddings)),
            _examples_section(movies, windows, found.labels, shape),
            score_section(found),
            comparison_section(found.comparison),
            _next_section(folder, config),
        ),
        foot="Made by 'cellvjepa demo' from the sample data that come with the program; their licences lie beside them. "
        "The simulated cells show that the program works. They say nothing about biology.",
    )
    return write_page(page, folder / "report.html")


def _empty_folder(out: str | os.PathLike[str]) -> Path:
    folder = writable_folder(out)
    strangers = [path.name for path in folder.iterdir() if path.name not in _RESULTS and not path.name.startswith(".")]
    if strangers:
        raise UserError(f"this folder holds other things ({strangers[0]})", "choose a new folder with --out", folder)
    for name in _RESULTS:
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        else:
            (folder / name).unlink(missing_ok=True)
    return folder


def _lead(found: Evaluation) -> str:
    compared = " ".join(sentence for sentence, _ in comparison_in_words(found.comparison) if sentence.startswith("With 20"))
    return (
        "Six fields of simulated cells that differ in what they do more than in how they look; and two short cuts of real recordings. A "
        "small network that comes with the program, and has watched such movies before, watched all of them for half a minute, without being told "
        "anything. Then its features were frozen, and a simple classifier "
        f"learnt to name the behaviours from labelled examples in other fields.\n\n{lead(found)} {compared}"
    )


def _data_section(archive: Archive, simulated: Archive, frame: Picture, shape: ClipShape) -> Section:
    wide = 10_000  # a page breaks lines by itself
    columns = [column for column in survey_table(survey(archive, shape)["movies"], wide).columns if column.title not in ("size", "stored\nas", "x")]
    return Section(
        "The movies",
        "In one frame a resting and a migrating cell look the same; only time tells them apart. The labels, drawn here as coloured outlines, are "
        "used much later, and only to test what the network has learnt by itself.",
        (
            Gallery((frame, *_other_frames(archive, simulated))),
            Table(
                tuple(" ".join(c.title.split()) for c in columns),
                tuple(zip(*(c.texts for c in columns), strict=True)),
                "What 'cellvjepa inspect' says about them.",
            ),
        ),
    )


def _labelled_frame(movie: Movie, cells: Cells, labels: Labels) -> Picture:
    here = cells.of(movie.name).table
    here = here[here["t"] == _SHOWN_FRAME]
    known = labels.table.assign(label=labels.names_N)
    known = known[(known["movie"] == movie.name) & (known["t_start"] <= _SHOWN_FRAME) & (known["t_stop"] > _SHOWN_FRAME)]
    names = here["track_id"].map(known.set_index("track_id")["label"].astype(str)).fillna(_UNLABELLED)
    outlines = tifffile.imread(Path(movie.uri).parent / "labels" / f"{movie.name.split('.')[0]}_labels.tif", key=_SHOWN_FRAME)
    marks = pictures.CellMarks(here[["y_px", "x_px"]].to_numpy(), names.tolist(), outlines, here["track_id"].tolist())
    return Picture(
        pictures.draw_frame(
            movie.pixels[_SHOWN_FRAME, 0, 0], marks, order=[*labels.classes, _UNLABELLED], pixel_um=movie.pixel_um.x if movie.pixel_um else None
        ),
        f"Frame {_SHOWN_FRAME} of {movie.name}. Outlines: what each cell does around this time.",
        "A frame of a simulated movie with its cells outlined in the colour of their behaviour",
        "Simulated cells",
    )


def _other_frames(archive: Archive, simulated: Archive) -> list[Picture]:
    inside = {movie.uri for movie in simulated.movies}
    return [
        Picture(
            pictures.draw_frame(movie.pixels[_SHOWN_FRAME, 0, 0], pixel_um=movie.pixel_um.x if movie.pixel_um else None),
            f"Frame {_SHOWN_FRAME} of {movie.name}.",
            f"A frame of the movie {movie.name}",
            "A real recording",
        )
        for movie in archive.movies
        if movie.uri not in inside
    ]


def _maps(embeddings: Embeddings, labels: Labels) -> tuple[Picture, Picture]:
    names = np.full(len(embeddings), _UNLABELLED, dtype=object)
    names[labels.rows_N] = labels.names_N
    points = embeddings.projections["X_umap"]
    clusters = embeddings.table["cluster"].astype(str).tolist()
    by_label = plots.draw_map(points, names_N=names.tolist(), title="by what the cells do", order=[*labels.classes, _UNLABELLED], grey=_UNLABELLED)
    return (
        Picture(by_label, "Coloured by the true behaviour.", "UMAP of the embeddings coloured by behaviour"),
        Picture(
            plots.draw_map(points, names_N=clusters, title="by cluster"),
            "Coloured by clusters found without labels (k-means on principal components).",
            "UMAP of the embeddings coloured by cluster",
        ),
    )


def _map_section(maps: tuple[Picture, Picture], count: int) -> Section:
    return Section(
        "The map",
        f"Each dot is one cell during 16 frames; {count} in all. Dots that lie near each other have similar features. The network has never seen the "
        "labels: where a colour keeps together, it has found that behaviour by itself. Distances between far groups mean little.",
        (Gallery(maps),),
    )


def _examples_section(movies: Sequence[Movie], windows: Windows, labels: Labels, shape: ClipShape) -> Section:
    named = {movie.name: movie for movie in movies}
    shown = []
    for name in labels.classes:
        rows = labels.rows_N[labels.names_N == name]
        chosen = rows[np.linspace(0, len(rows) - 1, _EXAMPLES).astype(int)]
        clips = [read_clip(named[windows.clips[row].movie], windows.clips[row], shape)[0].max(axis=1) for row in chosen]
        shown.append(Picture(animate(clips, zoom=max(2, _SHOWN_PX // shape.size_px)), "", f"{_EXAMPLES} moving examples of {name} cells", name))
    return Section(
        "What the classes look like",
        "Examples of the clips that were embedded: 16 frames each, played in a loop. The camera stands still while a cell moves, because following "
        "it would hide that it does.",
        (Gallery(tuple(shown)),),
    )


def _next_section(folder: Path, config: Config) -> Section:
    return Section(
        "Your own movies",
        f"This was a network of {config.model.depth} layers after {config.training.steps} steps on eight short movies. For your own archive: look at "
        "it with 'cellvjepa inspect', pretrain with 'cellvjepa pretrain FOLDER --out RUN' (ten minutes on a CPU give a first impression; on a GPU "
        "use --config small), then 'cellvjepa embed', 'cluster' and 'probe'. 'cellvjepa COMMAND --help' explains each.",
        (
            Table(
                ("in this folder", "what it is"),
                (
                    ("run/", "the encoder, its configuration, metrics and report"),
                    ("cells.zarr", "one embedding per cell and window; open it in napari beside a movie, or with anndata.read_zarr"),
                    ("probe/", "the classifier, its predictions and its report"),
                ),
                f"Folder: {folder.resolve()}",
            ),
        ),
    )
