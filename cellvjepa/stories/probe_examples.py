"""Clips that a probe is sure of, unsure of, or wrong about: read again from their movies, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.embedding.reading import clips_of, movies_of, outlines_of, read_batches
from cellvjepa.embedding.store import open_store
from cellvjepa.errors import UserError
from cellvjepa.movies.levels import with_levels
from cellvjepa.movies.readers import open_archives
from cellvjepa.progress import Progress, silent
from cellvjepa.report.animations import animate
from cellvjepa.report.page import Block, Gallery, Note, Picture, Section

KINDS = {
    "most certain": "What the probe takes for the best examples of each class, and rightly so.",
    "most uncertain": "What it cannot decide: the next clips to look at, and perhaps to label.",
    "confidently wrong": "What it takes for another class without doubt. Look at these first: either the probe or the label is wrong.",
}
_CLASSES = 8  # shown of each kind: a page of 200 classes could not be opened
_CLIPS = 3  # shown per class and kind
_SHOWN_PX = 96  # width of each, at least about this


@dataclass(frozen=True, eq=False)
class Shown:
    """One moving picture: clips of one class and kind, side by side."""

    kind: str
    label: str
    caption: str
    gif: bytes


def read_examples(store: str, examples: pd.DataFrame, progress: Progress = silent) -> tuple[Shown, ...]:
    """Read the clips of examples from the movies that a store was made from, and let them move.

    Parameters
    ----------
    store
        The store.
    examples
        ``kind`` (one of :data:`KINDS`), ``row`` (position in the store), ``label``, ``predicted``, ``probability``, the best first.

    Raises
    ------
    UserError
        If the store, a movie or a label image is missing, cannot be read or has changed.
    """
    chosen = _chosen(examples)
    if chosen.empty:
        return ()
    rows = chosen["row"].unique().astype(np.int64)
    pixels = dict(zip(rows.tolist(), _pixels(store, rows, progress), strict=True))
    shown = []
    for kind in KINDS:
        for label, lines in chosen[chosen["kind"] == kind].groupby("label", sort=False):
            clips = [pixels[int(row)] for row in lines["row"]]
            gif = animate(clips, zoom=max(1, _SHOWN_PX // clips[0].shape[-1]))
            shown.append(Shown(kind, str(label), _caption(kind, lines), gif))
    return tuple(shown)


def examples_section(shown: Sequence[Shown], trouble: str = "") -> Section:
    """Return the examples by kind; or why they cannot be shown."""
    blocks: list[Block] = []
    for kind, what in KINDS.items():
        pictures = tuple(Picture(one.gif, one.caption, f"Moving clips labelled {one.label}: {kind}", one.label) for one in shown if one.kind == kind)
        if pictures:
            blocks += [Note(f"{kind.capitalize()}. {what}"), Gallery(pictures)]
    if trouble:
        blocks.append(Note(f"The clips cannot be shown: {trouble}", "warn"))
    return Section(
        "What it is sure of, and what it gets wrong",
        "Titles name the label of the clips below. Each prediction was made by a probe that had seen nothing of the clip's group. Of several "
        "channels the first is shown.",
        tuple(blocks),
    )


def _chosen(examples: pd.DataFrame) -> pd.DataFrame:
    """Return the first few of each kind and class; of many classes, those with the most examples."""
    known = examples[examples["kind"].isin(KINDS)]
    common = known["label"].value_counts(sort=True).index[:_CLASSES]
    return known[known["label"].isin(common)].groupby(["kind", "label"], sort=False, observed=True).head(_CLIPS)


def _caption(kind: str, lines: pd.DataFrame) -> str:
    if kind == "most certain":
        return "probability " + ", ".join(f"{value:.2f}" for value in lines["probability"])
    return "taken for " + ", ".join(f"{name} ({value:.2f})" for name, value in zip(lines["predicted"], lines["probability"], strict=True))


def _pixels(store: str, rows: npt.NDArray[np.int64], progress: Progress) -> list[npt.NDArray[np.float32]]:
    """Return the first channel of each clip, (T, Y, X)."""
    embeddings = open_store(store)
    few = replace(embeddings, table=embeddings.table.iloc[rows])
    source, provenance = embeddings.provenance.source, embeddings.provenance
    wanted = set(few.table["movie"].astype(str))
    movies = [with_levels(movie) for movie in open_archives(source.archives, source.given).movies if movie.name in wanted]
    clips = clips_of(few, movies)
    shape = replace(provenance.clip_shape, channels=provenance.channels[:1])
    found: list[npt.NDArray[np.float32]] = []
    for _, pixels_BCTZYX in read_batches(movies_of(clips, movies), clips, shape, 16, outlines_of(embeddings)):
        found += list(pixels_BCTZYX[:, 0].max(axis=2))
        progress("reading examples", len(found), len(clips))
    return found


def examples_or_trouble(store: str, examples: pd.DataFrame, progress: Progress = silent) -> tuple[tuple[Shown, ...], str]:
    """Return what :func:`read_examples` does, or nothing and the reason."""
    if examples.empty or not store:
        return (), ""
    try:
        return read_examples(store, examples, progress), ""
    except UserError as error:
        return (), str(error)
