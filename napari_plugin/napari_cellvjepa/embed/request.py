"""What the user asks for in the Embed dock, as a value, and the function that does it. It knows nothing of windows and layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

import cellvjepa
from napari_cellvjepa.layers.cell_sources import CellSource, LabelImage, Places, Tracked


@dataclass(frozen=True, eq=False)
class Request:
    """An embedding that is wanted.

    Parameters
    ----------
    movie
        What to embed.
    channels
        Which channels of it; None: those that the model asks for.
    cells
        Where; None: everywhere, on a grid.
    model
        Folder of a run, or ``encoder.safetensors``.
    store
        Where the store is to stand.
    embed
        The section ``embed`` of the configuration.
    """

    movie: cellvjepa.Movie
    channels: tuple[str, ...] | None
    cells: CellSource | None
    model: Path
    store: Path
    embed: Any


@dataclass(frozen=True, eq=False)
class Done:
    """What came of a request: the open store, and what people should know about it (or ``""``)."""

    embeddings: cellvjepa.Embeddings
    note: str


@dataclass(frozen=True, eq=False)
class Begun:
    """What is about to be embedded.

    Parameters
    ----------
    store
        Where it will stand.
    table
        One row for each window.
    order
        int64 (N,): when n windows are done, they are the first n of these rows.
    shape
        Of the clips.
    """

    store: Path
    table: pd.DataFrame
    order: npt.NDArray[np.int64]
    shape: cellvjepa.ClipShape


def carry_out(request: Request, progress: cellvjepa.Progress, begun: Callable[[Begun], object] = lambda _: None) -> Done:
    """Embed, project and open the store.

    Parameters
    ----------
    request
        What is wanted.
    progress
        Told of each step; may cancel.
    begun
        Told of the windows once they are known (in the same thread).

    Raises
    ------
    UserError
        If anything about the model, the movie, the cells or the store is not as it should be.
    Cancelled
        If ``progress`` says so; what has been computed is kept, and the same request goes on from there.
    """
    progress("reading the model", 0, 0)
    encoder, card = cellvjepa.load_encoder(request.model)
    shape = cellvjepa.ClipShape.of(request.embed.clip(_config_of(card.provenance, request.model).clip))
    if request.channels is not None:
        shape = replace(shape, channels=request.channels)
    progress("measuring intensity levels", 0, 0)
    movie = cellvjepa.with_levels(request.movie)
    progress("choosing windows", 0, 0)
    windows = windows_of(request, movie, shape, progress)
    begun(Begun(request.store, windows.table, cellvjepa.embedding_order(windows), shape))
    source = cellvjepa.Source.of(card, request.model, [movie.uri])
    labels = {movie.name: request.cells.movie} if isinstance(request.cells, LabelImage) else None
    cellvjepa.embed_windows(encoder, [movie], windows, shape, request.embed, request.store, source, labels=labels, progress=progress)
    found = cellvjepa.open_store(request.store)
    if "X_umap" in found.projections:
        return Done(found, "")
    try:
        return Done(cellvjepa.project(request.store, "umap", progress=progress), "")
    except cellvjepa.UserError as error:
        return Done(found, str(error))  # the embeddings are there; it is only that they cannot be drawn as a map


def _config_of(provenance: Mapping[str, Any], model: Path) -> cellvjepa.Config:
    """Return the configuration that an encoder was trained with."""
    try:
        return cellvjepa.Config.model_validate(provenance["config"])
    except (KeyError, ValueError):
        raise cellvjepa.UserError(
            "the encoder does not say what clips it was trained on", "choose a run of `cellvjepa pretrain` made by this version", model
        ) from None


def windows_of(request: Request, movie: cellvjepa.Movie, shape: cellvjepa.ClipShape, progress: cellvjepa.Progress) -> cellvjepa.Windows:
    """Return the windows that a request asks for.

    Raises
    ------
    UserError
        If there are none, or the cells do not fit the movie.
    """
    stride, cover, stride_min = request.embed.stride_frames, request.embed.min_cover, request.embed.stride_min
    match request.cells:
        case None:
            return cellvjepa.grid_windows([movie], shape, stride, stride_min=stride_min)
        case LabelImage(labels):
            cells = cellvjepa.cells_in_labels(labels, movie, progress=progress)
        case Tracked(table, name):
            cells = cellvjepa.checked_cells(table.assign(movie=movie.name), [movie], Path(name))
        case Places(table, name):
            return _windows_around(table, name, movie, shape)
    return cellvjepa.track_windows([movie], cells, shape, stride, cover, stride_min=stride_min, follow=request.embed.follow)


def _windows_around(places: pd.DataFrame, name: str, movie: cellvjepa.Movie, shape: cellvjepa.ClipShape) -> cellvjepa.Windows:
    if places.empty:
        raise cellvjepa.UserError("there are no points", "add some, or choose other cells", name)
    span_frames = cellvjepa.check_movie(movie, shape).span_frames
    t_start = np.clip(np.rint(places["t"] - (span_frames - 1) / 2), 0, movie.shape["T"] - span_frames).astype(np.int64)
    # A place has no track; its number in the layer takes that part, so that the embedding can be traced back to it.
    return cellvjepa.windows_at(movie, shape, places.assign(t_start=t_start, track_id=np.arange(len(places))))
