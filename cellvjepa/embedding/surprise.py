"""Surprise: where and when a movie goes on otherwise than the model foretells, as a map and for each cell."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from cellvjepa.cells.table import Cells
from cellvjepa.embedding.dense import about_map, tile_batches, weights_sha256
from cellvjepa.embedding.encoding import embedding_precision
from cellvjepa.embedding.foretelling import Seen, latent_errors, mask_token, step_weights
from cellvjepa.embedding.map_image import map_folder, map_is_there, new_map, open_map, place_of
from cellvjepa.embedding.reading import common_channels
from cellvjepa.embedding.tiles import Tile, Tiling, Values, blended, tile_movie
from cellvjepa.errors import UserError
from cellvjepa.model.predictor_file import PredictorCard
from cellvjepa.model.vjepa import VJepa
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.reference import Reference, position_scale
from cellvjepa.progress import Progress, silent
from cellvjepa.writing import atomic_path, writable_folder

MAP, TABLE = "surprise.zarr", "surprise.csv"
_STEPS_AT_ONCE = 64  # of a map, held in memory while cells are looked up


@dataclass(frozen=True, eq=False)
class Foreteller:
    """A frozen model that can foretell, and how it is asked.

    Parameters
    ----------
    model, card
        As :func:`cellvjepa.model.predictor_file.load_predictor` gives them; the model on the device to use.
    shape
        What a clip is.
    reference
        Sampling that the encoder was trained at.
    seen
        What each time step is foretold from: the rest of the clip, or what is before it.
    """

    model: VJepa
    card: PredictorCard
    shape: ClipShape
    reference: Reference
    seen: Seen = "rest"


def write_surprise(
    foreteller: Foreteller,
    movies: Sequence[Movie],
    out: str | os.PathLike[str],
    *,
    batch_size: int = 32,
    overlap: float = 0.5,
    progress: Progress = silent,
) -> list[Path]:
    """Write a map of surprise for each movie: ``out/<movie>/surprise.zarr``, an OME-Zarr image that lies upon the movie.

    float32, one channel for each of the movie's, and one number for each token: the mean distance between what the predictor says of
    the place and what the target encoder says, each time step hidden in turn; averaged where clips overlap. NaN where nothing is
    foretold: the first steps where the past alone is seen. A map that is there already is left as it is.

    Parameters
    ----------
    movies
        With their levels measured.
    out
        Folder to write to.
    batch_size
        Clips per forward pass.
    overlap
        Share of a clip that it has in common with the next one, along each axis. [0-1)
    progress
        Told of each batch; may cancel: the maps of earlier movies are kept.

    Returns
    -------
    list of Path
        The maps.

    Raises
    ------
    UserError
        If clips have one time step only, a movie cannot give such clips, the movies' channels differ, a map of something else is in
        the way, or the maps cannot be written.
    """
    folder = writable_folder(out)
    asked = replace(foreteller, shape=replace(foreteller.shape, channels=common_channels(tuple(movies), foreteller.shape)))
    model = weights_sha256(asked.model)
    written = []
    for movie in movies:
        tiling = _tiling(movie, asked, overlap)
        path = map_folder(folder, movie) / MAP
        about = _about(movie, asked, overlap, model)
        if not map_is_there(path, about):
            channels = asked.shape.channels or ()
            with new_map(path, place_of(movie, asked.shape, tiling), channels, "float32", about) as steps:
                errors = _errors(asked, movie, tiling, batch_size, progress)
                for step, values_zyxC in blended(tiling, errors, len(channels), step_weights(tiling.clip_grid, asked.seen)):
                    steps[step] = np.moveaxis(values_zyxC, -1, 0)
        written.append(path)
    return written


def cells_surprise(
    foreteller: Foreteller, movies: Sequence[Movie], cells: Cells, maps: Sequence[Path], *, overlap: float = 0.5, progress: Progress = silent
) -> pd.DataFrame:
    """Look up how surprising each cell is in each frame: the mean of the map over the disc that the cell covers.

    Parameters
    ----------
    movies, maps
        In the same order; the maps as :func:`write_surprise` returned them for the same ``foreteller`` and ``overlap``.
    cells
        Where the cells are. A cell of unknown area is taken to be as large as one token; every disc has at least that area.
    progress
        Told of each movie; may cancel.

    Returns
    -------
    pandas.DataFrame
        ``movie``, ``track_id``, ``t``, ``y_px``, ``x_px``, then ``surprise``: the mean over channels, and with several channels one
        column each. NaN in frames that have no surprise.

    Raises
    ------
    UserError
        If the movies' channels differ, or a map cannot be read.
    """
    asked = replace(foreteller, shape=replace(foreteller.shape, channels=common_channels(tuple(movies), foreteller.shape)))
    channels = asked.shape.channels or ()
    parts = []
    for number, (movie, path) in enumerate(zip(movies, maps, strict=True)):
        progress("looking up cells", number, len(movies))
        table = cells.of(movie.name).table
        values_NC = _at_cells(table, _tiling(movie, asked, overlap), open_map(path), len(channels))
        part = table[["movie", "track_id", "t", "y_px", "x_px"]].assign(surprise=values_NC.mean(axis=1))
        if len(channels) > 1:
            part = part.assign(**{f"surprise_{name}": values_NC[:, c] for c, name in enumerate(channels)})
        parts.append(part)
    progress("looking up cells", len(movies), len(movies))
    return pd.concat(parts, ignore_index=True)


def write_cells_surprise(table: pd.DataFrame, out: str | os.PathLike[str]) -> Path:
    """Write what :func:`cells_surprise` returned as ``surprise.csv``, in place of an older one.

    Raises
    ------
    UserError
        If it cannot be written.
    """
    path = Path(out) / TABLE
    with atomic_path(path) as part:
        table.to_csv(part, index=False, float_format="%.6g")
    return path


def _tiling(movie: Movie, asked: Foreteller, overlap: float) -> Tiling:
    tiling = tile_movie(movie, asked.shape, asked.model.target_encoder.shape.tubelet, overlap)
    if tiling.clip_grid.t < 2:
        raise UserError(
            "a clip of this model is one time step, so nothing can be foretold from the rest",
            "use a model whose clip.frames are at least twice its model.tubelet's",
            movie.uri,
        )
    return tiling


def _about(movie: Movie, asked: Foreteller, overlap: float, model: str) -> dict[str, Any]:
    return about_map(movie, asked.shape, asked.reference, overlap) | {"model": model, "foretold_from": asked.seen}


def _errors(asked: Foreteller, movie: Movie, tiling: Tiling, batch_size: int, progress: Progress) -> Iterator[tuple[Tile, Values]]:
    device = next(asked.model.parameters()).device
    factors = position_scale(movie, asked.shape, asked.reference)
    scale_4 = None if factors == (1, 1, 1, 1) else torch.tensor(factors, device=device)
    token, precision, grid = mask_token(asked.card.hides), embedding_precision(device), tiling.clip_grid
    for tiles, pixels in tile_batches(movie, tiling, asked.shape, batch_size, f"surprise of {movie.name}", progress):
        channels = torch.split(torch.from_numpy(pixels).to(device), 1, dim=1)
        errors = [latent_errors(asked.model, one, asked.seen, token, scale_4, precision) for one in channels]
        errors_BNC = torch.stack(errors, dim=-1).cpu().numpy()
        yield from zip(tiles, errors_BNC.reshape(len(tiles), grid.t, grid.z, grid.y, grid.x, -1), strict=True)


def _at_cells(table: pd.DataFrame, tiling: Tiling, steps: Any, channels: int) -> npt.NDArray[np.float64]:
    """Return the mean of a map over each cell's disc, (rows, C); planes are averaged."""
    found = np.full((len(table), channels), np.nan)
    step_of = table["t"].to_numpy() // tiling.frames_per_token
    area_px = table["area_px"].fillna(0).to_numpy()
    for first in range(0, tiling.grid.t, _STEPS_AT_ONCE):
        planes_tCYX = np.asarray(steps[first : first + _STEPS_AT_ONCE], np.float32).mean(axis=2)
        rows = np.flatnonzero((step_of >= first) & (step_of < first + len(planes_tCYX)))
        for row, y, x in zip(rows, table["y_px"].to_numpy()[rows], table["x_px"].to_numpy()[rows], strict=True):
            found[row] = _disc_mean(planes_tCYX[step_of[row] - first], y, x, area_px[row], tiling.pitch_px)
    return found


def _disc_mean(plane_CYX: Values, y_px: float, x_px: float, area_px: float, pitch_px: tuple[float, float]) -> npt.NDArray[np.float64]:
    """Return the mean over a disc [native px], each token weighted by how much of it lies inside, to a quarter of a token."""
    fine = 4
    radius_px = np.sqrt(max(area_px, pitch_px[0] * pitch_px[1]) / np.pi)
    places = []
    for centre, pitch, length in zip((y_px, x_px), pitch_px, plane_CYX.shape[1:], strict=True):
        low, high = (int(np.floor((centre + 0.5 + side * radius_px) / pitch)) for side in (-1, 1))
        tokens = np.arange(max(0, low), min(length - 1, high) + 1)
        inside = (tokens[:, None] + (np.arange(fine) + 0.5) / fine) * pitch - 0.5 - centre
        places.append((tokens, inside.reshape(-1)))
    (rows, dy), (columns, dx) = places
    covered = (dy[:, None] ** 2 + dx**2 <= radius_px**2).reshape(len(rows), fine, len(columns), fine).mean(axis=(1, 3))
    values = plane_CYX[:, rows[:, None], columns].astype(np.float64)
    mean: npt.NDArray[np.float64] = (values * covered).sum(axis=(1, 2)) / covered.sum()
    return mean
